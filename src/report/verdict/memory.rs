//! Commands that give servers more memory, or bound what they take: of each pod its own amounts.

use super::{
    super::{Input, sets},
    command::{explain, redis_cli},
    next::patch as patch_policy,
    pods,
    ruling::Ruling,
};
use crate::{
    assess::{
        bound::{Bound, Room},
        eviction::MORE_PERCENT,
        headroom::{self, Demand, HeadroomVerdict},
        in_start,
        obstacle::{self, Obstacle},
        oom::{self, Rescue},
        patch,
    },
    domain::{
        bytes::Bytes,
        finding::FindingCode as Code,
        names::PodName,
        not_given::{Lack, NotGiven, Quota},
        pod::Container,
        quantity,
        snapshot::Target,
        start::redis_text,
    },
};

/// How far a limit is raised by hand.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    /// By a quarter of what it is.
    AQuarter,
    /// To what a `maxmemory` needs that is raised by hand.
    MoreRoom,
    /// To what the policy needs, where that is known, else by a quarter.
    Needed,
    /// To this.
    This(Bytes),
}

/// Against the next kill, and how this one is acknowledged. `None`: the operator has its own word for a server that is killed
/// while it loads.
pub(super) fn after_a_kill(input: &Input<'_>, target: &Target, pods: &[PodName]) -> Option<String> {
    let rescue = input.kills.iter().find_map(|kills| oom::rescue(input.policy, target, kills));
    let noted = oom::acknowledging(input.policy, input.kills).map_or_else(String::new, |it| {
        format!("; once you have taken note: {it} (it takes the kill out of this status)")
    });
    match rescue {
        Some(Rescue::AtMaximum(limit)) => {
            let change =
                format!(r#"{{"spec":{{"headroom":{{"maximumLimit":"{}"}}}}}}"#, quantity::format(oom::raised(limit)));
            let raise =
                patch_policy(input, &change, "the operator then raises the limit in place and restarts nothing");
            return Some(format!("{raise}, or store less data{noted}"));
        }
        Some(_) => return None,
        None => {}
    }
    // One without a bound is not alone with it.
    let unset = input.findings.iter().filter(|finding| finding.code == Code::MaxmemoryUnset.as_str());
    let unset: Vec<PodName> = unset.filter_map(|finding| finding.pod.as_deref().map(PodName::from)).collect();
    let done = if unset.contains(&target.pod.name) {
        bound(input, target, &unset)
    } else {
        raise(input, target, pods, To::AQuarter)
    };
    done.map(|done| format!("{done}{noted}"))
}

/// Raises the limit of the one that has no room for a full sync.
pub(super) fn raise_feeder(input: &Input<'_>, named: Option<&Target>) -> String {
    let primary = || input.sets.iter().find_map(|set| input.snapshot.target(set.primaries.first()?));
    let raised = named
        .or_else(primary)
        .and_then(|target| raise(input, target, std::slice::from_ref(&target.pod.name), To::AQuarter));
    raised.unwrap_or_else(|| format!("raise the limit of the primary; {} says more", explain("FullSyncHeadroom")))
}

/// What its limit must be for a `maxmemory`.
fn demand(input: &Input<'_>, target: &Target) -> Demand {
    let judged = input.judged.demand(target.pod.name.as_str()).copied();
    judged.unwrap_or_else(|| Demand::of(input.policy, &[target]))
}

/// The limit that a target lacks, and what keeps it from that; `None`: it lacks none, or that is not known.
pub(super) fn lacking<'a>(input: &Input<'a>, target: &'a Target) -> Option<(Bytes, Option<Obstacle<'a>>)> {
    let HeadroomVerdict::Insufficient { need, .. } = headroom::judge(&demand(input, target), target) else {
        return None;
    };
    let container = target.pod.container.as_ref().ok()?;
    Some((need, obstacle::judge(input.policy, Some(input.snapshot), target, container, need)))
}

/// Of those pods the ones that lack some of their limit, and the limit that each needs.
fn needs<'a>(input: &Input<'a>, pods: &[PodName]) -> impl Iterator<Item = (&'a Target, &'a Container, Bytes)> {
    pods.iter().filter_map(|pod| {
        let target = input.snapshot.target(pod)?;
        Some((target, target.pod.container.as_ref().ok()?, lacking(input, target)?.0))
    })
}

/// Raises a limit to what the policy needs, by whatever keeps the operator from it.
pub(super) fn raise_to(
    input: &Input<'_>,
    target: &Target,
    pods: &[PodName],
    lacking: Option<(Bytes, Option<Obstacle<'_>>)>,
) -> Option<String> {
    match lacking {
        // It is asked for already: what the kubelet says of it is what the remedy says.
        Some((_, Some(Obstacle::NotWritten(_) | Obstacle::NeverWritten { .. } | Obstacle::Fails(_)))) => {
            Some(format!("kubectl describe pod {} -n {}", target.pod.name, input.policy.namespace))
        }
        Some((_, Some(Obstacle::AboveMaximum(_)))) => {
            let most = needs(input, pods).map(|(.., need)| need).max()?;
            let change = format!(r#"{{"spec":{{"headroom":{{"maximumLimit":"{}"}}}}}}"#, quantity::format(most));
            Some(patch_policy(input, &change, "the operator then raises the limits in place and restarts nothing"))
        }
        Some((_, Some(Obstacle::Refused(why @ (NotGiven::Quota(_) | NotGiven::LimitRange { .. }))))) => {
            lets(input, &why, pods)
        }
        _ => raise(input, target, pods, To::Needed),
    }
}

/// Where the node has no room for the limit that is needed: less data, as far as that costs no key, or room. Of the two the one that
/// helps at once comes first.
pub(super) fn smaller(input: &Input<'_>, target: &Target, full: &Obstacle<'_>) -> String {
    let pod = &target.pod.name;
    let moves = input.sets.iter().any(|set| set.primaries.contains(pod));
    let moves = if moves {
        "only when a replica is primary instead".to_owned()
    } else {
        format!("once its node is cordoned: kubectl delete pod {pod} -n {}", input.policy.namespace)
    };
    let room = match full {
        Obstacle::Infeasible(_) => format!("{}: move {pod} to a larger node, {moves}", full.why()),
        _ => format!(
            "{}: {}; the limit then rises by itself; or move {pod} elsewhere, {moves}",
            full.why(),
            pods::make_room(target)
        ),
    };
    // All members get the same: what one holds another has to bear.
    let set = input.sets.iter().find(|set| set.pods.contains(&target.pod.name));
    let members = set.map(|set| set.pods.as_slice()).unwrap_or_default();
    let all = Room::of(members.iter().filter_map(|pod| input.snapshot.target(pod)));
    let bears = all.and_then(|room| Some((room.used, room.bears(&demand(input, target))?)));
    let Some((used, bears)) = bears else { return room };
    let set = redis_cli(input, target, &format!("CONFIG SET maxmemory {}", redis_text(bears)));
    let also = for_others(target, members, |_| None);
    let start = in_start(&input.policy.namespace, input.snapshot, target, (bears, None));
    let stays = target.sample().map(|sample| sample.memory.maxmemory).unwrap_or_default();
    format!(
        "one of the two: (a) a smaller maxmemory, which helps at once: {set} (restarts nothing, and no key goes: about {} are \
         used{also}), and by day, because new pods start without it, instead of a higher limit: {start}; or (b) keep {stays}, and by \
         day the template gets the higher limit as TemplateTooSmall says: {room}",
        used.quantised()
    )
}

/// That the limit which is lacking has been asked for, and is asked for again.
pub(super) fn tried(input: &Input<'_>, ruling: &Ruling<'_>) -> Option<String> {
    if ruling.code() != Some(Code::HeadroomInsufficient) {
        return None;
    }
    ruling.pods().iter().find_map(|pod| match lacking(input, input.snapshot.target(pod)?)?.1? {
        Obstacle::NotWritten(_) | Obstacle::Deferred(_) => Some(
            "has asked for the higher limit; the kubelet raises it in place as soon as the node has room".to_owned(),
        ),
        refused @ Obstacle::Refused(_) => {
            Some(format!("asks for the higher limit again within minutes: {}", refused.why()))
        }
        other => Some(format!("raises no limit: {}; it looks on, and says so when this is over", other.why())),
    })
}

/// Makes the API server let the limits of those pods be raised that it refuses: `why` is of one of them, and each has its own
/// need.
pub(super) fn lets(input: &Input<'_>, why: &NotGiven, pods: &[PodName]) -> Option<String> {
    let namespace = &input.policy.namespace;
    match why {
        NotGiven::Quota(quota) => {
            let Quota { name, lacks } = quota;
            let of = |lack: &Lack| {
                format!(r#""{}":"{}""#, lack.resource, quantity::format(allowing(input, name, lack, pods)))
            };
            let hard = lacks.iter().map(of).collect::<Vec<_>>().join(",");
            Some(format!(
                r#"kubectl patch resourcequota {name} -n {namespace} --type merge -p '{{"spec":{{"hard":{{{hard}}}}}}}' (restarts nothing)"#
            ))
        }
        NotGiven::LimitRange { of, asked, .. } => {
            let refused = pods.iter().filter_map(|pod| match refusal(input, pod)? {
                NotGiven::LimitRange { of: its, asked, .. } if its == *of => Some(asked),
                _ => None,
            });
            // Without containers beside it a pod has the limit of its Redis.
            let most = refused.chain(needs(input, pods).map(|(.., need)| need)).fold(*asked, Bytes::max);
            Some(format!(
                "kubectl edit limitrange -n {namespace} (of type {of}, max.memory: {} or more; restarts nothing)",
                quantity::format(most)
            ))
        }
        NotGiven::Node { .. } | NotGiven::Other(_) => None,
    }
}

/// What the API server last said of a higher limit of that pod.
fn refusal(input: &Input<'_>, pod: &PodName) -> Option<NotGiven> {
    let uid = &input.snapshot.target(pod)?.pod.uid;
    input.snapshot.surroundings.refused_limit(uid).map(NotGiven::read)
}

/// What the quota of that name has to allow for all of those pods: what is used of it, and what each of them needs more than it
/// has asked for.
fn allowing(input: &Input<'_>, quota: &str, lack: &Lack, pods: &[PodName]) -> Bytes {
    let refused = |pod: &PodName| match refusal(input, pod)? {
        NotGiven::Quota(its) if its.name == quota => its.lacks.into_iter().find(|its| its.resource == lack.resource),
        _ => None,
    };
    // Some may have got theirs since.
    let used = pods.iter().filter_map(refused).map(|its| its.used).fold(lack.used, Bytes::max);
    let rule = &input.policy.headroom;
    let known = |pod: &PodName| {
        let (target, container, need) = needs(input, std::slice::from_ref(pod)).next()?;
        if lack.resource.starts_with("limits.") {
            return Some(need.saturating_sub(container.spec_limit.unwrap_or_default()));
        }
        let request = headroom::request_with(rule, &target.pod, container, need);
        Some(request.unwrap_or_default().saturating_sub(container.spec_request.unwrap_or_default()))
    };
    // Of one that does not answer what it was refused is known.
    let more = pods.iter().filter_map(|pod| known(pod).or_else(|| Some(refused(pod)?.needed)));
    used + lack.needed.max(more.sum())
}

/// Where a reader finds what the template needs, which is nothing for the night.
const BY_DAY: &str = "for new pods, by day, Remedy Afterwards of the finding MaxmemoryUnset";

/// Bounds the members of a set that have no maxmemory, by what the limits of all its members bear.
pub(super) fn bound(input: &Input<'_>, target: &Target, pods: &[PodName]) -> Option<String> {
    let set = input.sets.iter().find(|set| set.pods.contains(&target.pod.name))?;
    let unbound: Vec<PodName> = pods.iter().filter(|pod| set.pods.contains(pod)).cloned().collect();
    let members = || set.pods.iter().filter_map(|pod| input.snapshot.target(pod));
    let setting =
        |maxmemory: Bytes| redis_cli(input, target, &format!("CONFIG SET maxmemory {}", redis_text(maxmemory)));
    let also = for_others(target, &unbound, |_| None);
    match Room::of(members())?.bound(&demand(input, target)) {
        Bound::Fits(most) => {
            Some(format!("{} (restarts nothing{also}; it holds until the next start: {BY_DAY})", setting(most)))
        }
        Bound::AfterARaise { limit, maxmemory } => {
            let mut short: Vec<&Target> =
                members().filter(|member| member.pod.limit().is_some_and(|has| has < limit)).collect();
            short.sort_by_key(|member| set.primaries.contains(&member.pod.name));
            let names: Vec<PodName> = short.iter().map(|member| member.pod.name.clone()).collect();
            let raised = raise(input, short.first()?, &names, To::This(limit))?;
            Some(format!(
                "{raised}, and then {} (restarts nothing{also}; both hold until the next start: {BY_DAY})",
                setting(maxmemory)
            ))
        }
    }
}

/// "; the same for redis-1, redis-2; for stock-0 3Gi instead": the other pods that a command is for, each with its own amount.
/// One whose amount is not known gets that of the first.
fn for_others(target: &Target, pods: &[PodName], amount: impl Fn(&PodName) -> Option<String>) -> String {
    let own = amount(&target.pod.name);
    let mut same = Vec::new();
    let mut others: Vec<(String, Vec<PodName>)> = Vec::new();
    for pod in pods.iter().filter(|pod| **pod != target.pod.name) {
        match amount(pod).filter(|its| own.as_ref() != Some(its)) {
            None => same.push(pod.clone()),
            Some(its) => match others.iter_mut().find(|(other, _)| *other == its) {
                Some((_, pods)) => pods.push(pod.clone()),
                None => others.push((its, vec![pod.clone()])),
            },
        }
    }
    let same = if same.is_empty() { String::new() } else { format!("; the same for {}", sets::list(&same)) };
    others.iter().fold(same, |said, (amount, pods)| format!("{said}; for {} {amount} instead", sets::list(pods)))
}

/// Raises maxmemory by a quarter, and before it the limits that do not bear it.
pub(super) fn more_room(input: &Input<'_>, target: &Target, pods: &[PodName]) -> Option<String> {
    let to = |target: &Target| Some(more(target.sample()?.memory.maxmemory));
    let of = |pod: &PodName| input.snapshot.target(pod);
    let set = redis_cli(input, target, &format!("CONFIG SET maxmemory {}", redis_text(to(target)?)));
    let also = for_others(target, pods, |pod| to(of(pod)?).map(redis_text));
    let short = |target: &Target| {
        let (Some(limit), Some(to)) = (target.pod.limit(), to(target)) else { return false };
        demand(input, target).limit(to) > limit
    };
    let short: Vec<PodName> = pods.iter().filter(|pod| of(pod).is_some_and(short)).cloned().collect();
    let bears = target.pod.limit().filter(|_| short.is_empty());
    let bears = bears.map_or_else(String::new, |limit| format!("; the limit of {limit} is enough for it"));
    let gains = gains(input, target, to(target)?);
    let start = in_start(&input.policy.namespace, input.snapshot, target, (to(target)?, None));
    let set =
        format!("{set} (restarts nothing{also}{bears}{gains}), and by day, because new pods start without it: {start}");
    match short.first().and_then(of) {
        None => Some(set),
        Some(first) => Some(format!("{}, and then {set}", raise(input, first, &short, To::MoreRoom)?)),
    }
}

/// A `maxmemory` that is raised by hand.
fn more(maxmemory: Bytes) -> Bytes {
    maxmemory.percent(MORE_PERCENT).round_down_mib()
}

/// How much time that maxmemory gains, where the set grows.
fn gains(input: &Input<'_>, target: &Target, maxmemory: Bytes) -> String {
    let growth = input.sets.iter().find(|set| set.pods.contains(&target.pod.name)).and_then(|set| set.growth);
    let more = target.sample().map(|sample| maxmemory.saturating_sub(sample.memory.maxmemory));
    let time = growth.zip(more).and_then(|(growth, more)| growth.about(more));
    time.map_or_else(String::new, |time| format!("; it gains {time}"))
}

/// The limit to which that target's is raised by hand.
fn raised(input: &Input<'_>, target: &Target, to: To) -> Option<Bytes> {
    let need = match to {
        To::This(limit) => Some(limit),
        To::Needed => lacking(input, target).map(|(need, _)| need),
        To::MoreRoom => target.sample().map(|sample| demand(input, target).limit(more(sample.memory.maxmemory))),
        To::AQuarter => None,
    };
    need.or_else(|| target.pod.limit().map(oom::raised))
}

/// Raises the limit of those pods: in place where that restarts nothing, else in the template.
pub(super) fn raise(input: &Input<'_>, target: &Target, pods: &[PodName], to: To) -> Option<String> {
    let container = target.pod.container.as_ref().ok()?;
    let in_place = obstacle::of_the_pod(Some(input.snapshot), target, container).is_none();
    if !in_place {
        let most = alike(input, target, pods, |target| raised(input, target, to))?;
        return in_template(input, target, most);
    }
    let amounts = |target: &Target| {
        let (limit, container) = (raised(input, target, to)?, target.pod.container.as_ref().ok()?);
        Some((limit, headroom::request_with(&input.policy.headroom, &target.pod, container, limit)))
    };
    let (limit, request) = amounts(target)?;
    let requests = request
        .map_or_else(String::new, |request| format!(r#","requests":{{"memory":"{}"}}"#, quantity::format(request)));
    let also = for_others(target, pods, |pod| {
        let (limit, request) = amounts(input.snapshot.target(pod)?)?;
        let request = request.map_or_else(String::new, |it| format!(" (requests {})", quantity::format(it)));
        Some(quantity::format(limit) + &request)
    });
    Some(format!(
        r#"kubectl patch pod {} -n {} --subresource resize -p '{{"spec":{{"containers":[{{"name":"{}","resources":{{"limits":{{"memory":"{}"}}{requests}}}}}]}}}}' (restarts nothing{also}; a new pod starts with the template's limit again)"#,
        target.pod.name,
        input.policy.namespace,
        container.name,
        quantity::format(limit)
    ))
}

/// Gives new pods of that target's set the limit that the maxmemory of each of those pods needs which it makes.
pub(super) fn by_maxmemory(input: &Input<'_>, target: &Target, pods: &[PodName]) -> Option<String> {
    let need = |target: &Target| {
        let maxmemory = target.sample()?.memory.maxmemory;
        (maxmemory > Bytes::ZERO).then(|| demand(input, target).limit(maxmemory))
    };
    need(target)?;
    in_template(input, target, alike(input, target, pods, need)?)
}

/// The most that any of those pods needs which are made as that target is: one template is for all of them.
fn alike(
    input: &Input<'_>,
    target: &Target,
    pods: &[PodName],
    need: impl Fn(&Target) -> Option<Bytes>,
) -> Option<Bytes> {
    let of_it = |other: &&Target| other.pod.owner.is_some() && other.pod.owner == target.pod.owner;
    let others = pods.iter().filter_map(|pod| input.snapshot.target(pod)).filter(of_it);
    others.chain([target]).filter_map(need).max()
}

/// Gives new pods that limit.
fn in_template(input: &Input<'_>, target: &Target, to: Bytes) -> Option<String> {
    Some(patch::of(&input.policy.namespace, input.snapshot, target, to)?.exact())
}
