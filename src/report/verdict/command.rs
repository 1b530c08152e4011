//! The exact command for the person, by what was found: with namespace, names and container, and what it does to pods.

use super::{
    super::{
        Input,
        sets::{self, Writes},
    },
    next::patch as patch_policy,
    ruling::{self, Ruling},
};
use crate::{
    assess::{
        headroom::{self, Demand, HeadroomVerdict},
        obstacle::{self, Obstacle},
        oom, patch,
    },
    domain::{
        blocked::{BlockReason as Reason, Blocked},
        bytes::{Bytes, MIB},
        finding::FindingCode as Code,
        names::PodName,
        not_given::{NotGiven, Quota},
        pod::Container,
        quantity,
        sample::{Engine, Role},
        sentinel::Sentinel,
        snapshot::Target,
        start::redis_text,
    },
};

/// A limit that is raised by hand: by so much, in percent of what it is. From 90 % resident it leaves 72 %.
const RAISED_PERCENT: u32 = 125;

/// Findings whose command does what their remedy says.
const SAID: &[Code] = &[
    Code::RssNearLimit,
    Code::UtilizationCritical,
    Code::UtilizationWarning,
    Code::MaxmemoryUnset,
    Code::TemplateTooSmall,
    Code::OomKilled,
    Code::OomKillLoop,
];

/// What explains that code or reason.
pub(super) fn explain(code: &str) -> String {
    format!("kubectl redis-memory explain {code}")
}

/// What the reader does about what rules.
pub(super) fn against(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    let remedy = ruling.found().first().map(|finding| finding.remedy.as_str()).unwrap_or_default();
    // What is raised on a replica first is never evicted by it while its primary keeps it.
    let leads = |pod: &PodName| input.sets.iter().any(|set| set.primaries.contains(pod));
    let mut pods = ruling.pods();
    pods.sort_by_key(|pod| leads(pod));
    let target = pods.first().and_then(|pod| input.snapshot.target(pod));
    let exact = match (ruling.code(), target) {
        (Some(Code::RssNearLimit), Some(target)) => raise(input, target, &pods, None),
        (
            Some(Code::UtilizationCritical | Code::UtilizationWarning | Code::EvictionStopsWrites),
            Some(target),
        ) => more_room(input, target, &pods),
        (Some(Code::OomKilled | Code::OomKillLoop), Some(target)) => after_a_kill(input, target, &pods),
        (Some(Code::MaxmemoryUnset), Some(target)) => bound(input, target, &pods),
        (Some(Code::HeadroomInsufficient), Some(target)) => match lacking(input, target) {
            Some((_, Some(full @ (Obstacle::Deferred(_) | Obstacle::Infeasible(_))))) => {
                return smaller(input, target, &full);
            }
            lacking => raise_to(input, target, &pods, lacking),
        },
        (Some(Code::TemplateTooSmall | Code::LimitMissing), Some(target)) => {
            let need = target.sample().map(|sample| sample.memory.maxmemory).filter(|maxmemory| maxmemory.0 > 0);
            need.and_then(|maxmemory| {
                in_template(input, target, demand(input, target).limit(maxmemory))
            })
        }
        (Some(Code::EvictionPolicyUnsafe), Some(target)) => input.policy.eviction_allowed.first().map(|allowed| {
            let set = redis_cli(input, target, &format!("CONFIG SET maxmemory-policy {allowed}"));
            format!("{set} (restarts nothing, and holds until the next start: write it into the template too)")
        }),
        (Some(Code::NoPrimary), _) if remedy.starts_with("wait for the pods") => Some(missing(input)),
        (Some(Code::NoPrimary), _) => promote(input, remedy),
        (Some(Code::TwoPrimaries | Code::PrimaryEmpty), _) => {
            let members = input.sets.iter().find(|set| set.primaries.len() > 1 || remedy.contains(&set.name));
            let target =
                members.or_else(|| input.sets.first()).and_then(|set| input.snapshot.target(set.pods.first()?));
            target.map(|target| format!("{} (on each member)", redis_cli(input, target, "INFO replication")))
        }
        (Some(Code::Unreachable | Code::ContainerUnknown), Some(target)) => Some(look_at(input, target)),
        (Some(Code::AuthenticationFailed), _) => input.policy.redis.password.as_ref().map(|secret| {
            format!(
                "kubectl get secret {} -n {} -o jsonpath='{{.data.{}}}' | base64 -d (shows the password: try it with redis-cli, and \
                 mend the Secret or the servers' user, whichever is wrong; the operator then logs in by itself within a \
                 minute)",
                secret.name, input.policy.namespace, secret.key.replace('.', "\\.")
            )
        }),
        (Some(Code::NoTargets), _) => {
            Some(format!("kubectl get statefulsets,pods -n {} --show-labels", input.policy.namespace))
        }
        (None, _) if ruling.reason == ruling::PODS_MISSING => Some(missing(input)),
        (None, _) if ruling.reason == ruling::WRITES_STOPPED => writes_stopped(input),
        (Some(Code::RoleLabelMissing), Some(target)) => relabel(input, target),
        _ => None,
    };
    said(ruling, exact, remedy)
}

/// The command first, and what it does not say.
fn said(ruling: &Ruling<'_>, exact: Option<String>, remedy: &str) -> String {
    match (exact, remedy) {
        (Some(exact), "") => exact,
        // These commands are what the remedy says.
        (Some(exact), _) if SAID.iter().any(|code| ruling.code() == Some(*code)) => exact,
        // Once is enough.
        (Some(exact), remedy) => format!("{exact}; {}", remedy.replacen(&format!(": {exact}"), "", 1)),
        (None, "") => "nothing now".to_owned(),
        (None, remedy) => format!("{remedy}; {} says more", explain(&ruling.reason)),
    }
}

/// Where a set takes no writes: what its replicas or its primary say.
fn writes_stopped(input: &Input<'_>) -> Option<String> {
    let set = input.sets.iter().find(|set| matches!(set.writes, Writes::Stopped(_) | Writes::Pause(_)));
    // Where replicas are missing they are to be looked at, else the primary.
    let alone = set.filter(|set| matches!(&set.writes, Writes::Stopped(why) if why.contains("replicas")));
    let replica = alone.and_then(|set| set.pods.iter().find(|pod| !set.primaries.contains(pod)));
    let pod = replica.or_else(|| set.and_then(|set| set.primaries.first()));
    let looked = pod.and_then(|pod| input.snapshot.target(pod)).map(|target| look_at(input, target));
    let primary = alone.and_then(|set| input.snapshot.target(set.primaries.first()?));
    let without = primary.map_or_else(String::new, |primary| {
        format!(
            " (lines with MASTER, auth or timeout say why it does not follow). If writes have to go on without a replica: \
             {}; what is written then is lost should it die",
            redis_cli(input, primary, "CONFIG SET min-replicas-to-write 0")
        )
    });
    looked.map(|looked| looked + &without)
}

/// Against the next kill, and how this one is acknowledged. `None`: the operator has its own word for a server that is killed
/// while it loads.
fn after_a_kill(input: &Input<'_>, target: &Target, pods: &[PodName]) -> Option<String> {
    if input.kills.iter().any(|kills| oom::rescue(input.policy, target, kills).is_some()) {
        return None;
    }
    // One without a bound is not alone with it.
    let unset = input.findings.iter().filter(|finding| finding.code == Code::MaxmemoryUnset.as_str());
    let unset: Vec<PodName> = unset.filter_map(|finding| finding.pod.as_deref().map(PodName::from)).collect();
    let done =
        if unset.contains(&target.pod.name) { bound(input, target, &unset) } else { raise(input, target, pods, None) };
    let acknowledging = oom::acknowledging(input.policy);
    done.map(|done| format!("{done}; once you have taken note: {acknowledging} (it takes the kill out of this status)"))
}

/// The exact command that lifts that refusal, where there is one.
pub(super) fn lifting(input: &Input<'_>, blocked: &Blocked) -> Option<String> {
    let namespace = &input.policy.namespace;
    let named = || {
        let mut targets = input.snapshot.targets.iter();
        targets.find(|target| blocked.text.split([' ', ':', ',', '\'']).any(|word| word == target.pod.name.as_str()))
    };
    match blocked.reason {
        Reason::Suspended => Some(patch_policy(input, r#"{"spec":{"suspend":false}}"#, "lets the operator go on")),
        Reason::DowntimeNotAllowed => Some(patch_policy(
            input,
            r#"{"spec":{"restart":{"allowDowntime":true}}}"#,
            "writes stop while the only primary restarts and loads",
        )),
        Reason::TooFewReplicas if blocked.text.contains("missing pods") => Some(missing(input)),
        Reason::TooFewReplicas => Some(patch_policy(
            input,
            r#"{"spec":{"restart":{"minimumSyncedReplicas":0}}}"#,
            "lets the primary be the only copy while a replica restarts; better add a replica",
        )),
        Reason::FullSyncHeadroom => Some(raise_feeder(input, named())),
        Reason::ReplicaNotSynced => named()
            .map(|target| format!("nothing now; if it is still so after ten minutes: {}", look_at(input, target))),
        Reason::SentinelsNotReady => sentinel(input, blocked)
            .map(|ask| format!("nothing now; if it is still so after ten minutes: {ask} (whom it names)")),
        Reason::MemberUnknown => named().map(|target| look_at(input, target)),
        Reason::TemplateTooSmall => {
            let target = named()?;
            let maxmemory = target.sample()?.memory.maxmemory;
            in_template(input, target, demand(input, target).limit(maxmemory))
        }
        Reason::ResizeRefused => lets(input, &NotGiven::read(&blocked.text), 1),
        Reason::PersistenceFailing => named().map(|target| look_at(input, target)),
        Reason::DisruptionBudget if blocked.text.contains("never") => {
            let mut budgets = input.snapshot.budgets.iter().flatten();
            let budget = budgets.find(|budget| blocked.text.contains(&budget.name))?;
            Some(format!(
                "kubectl edit pdb {} -n {namespace} (maxUnavailable: 1 instead of what it has lets one pod restart at a time)",
                budget.name
            ))
        }
        Reason::EvictionWouldRollOut => {
            let set = input.snapshot.stateful_sets.first()?;
            Some(format!(
                "kubectl rollout status statefulset/{} -n {namespace} (let the pending change roll out, or take it back: kubectl rollout undo)",
                set.name
            ))
        }
        Reason::PermissionMissing if blocked.text.contains("acting.") => Some(
            "helm upgrade the operator with the chart value that the refusal names (restarts only the operator)"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Raises the limit of the one that has no room for a full sync.
fn raise_feeder(input: &Input<'_>, named: Option<&Target>) -> String {
    let primary = || input.sets.iter().find_map(|set| input.snapshot.target(set.primaries.first()?));
    let raised =
        named.or_else(primary).and_then(|target| raise(input, target, std::slice::from_ref(&target.pod.name), None));
    raised.unwrap_or_else(|| format!("raise the limit of the primary; {} says more", explain("FullSyncHeadroom")))
}

/// What its limit must be for a `maxmemory`.
fn demand(input: &Input<'_>, target: &Target) -> Demand {
    let judged = input.judged.demand(target.pod.name.as_str()).copied();
    judged.unwrap_or_else(|| Demand::of(input.policy, &[target]))
}

/// The limit that a target lacks, and what keeps it from that; `None`: it lacks none, or that is not known.
fn lacking<'a>(input: &Input<'a>, target: &'a Target) -> Option<(Bytes, Option<Obstacle<'a>>)> {
    let HeadroomVerdict::Insufficient { need, .. } = headroom::judge(&demand(input, target), target) else {
        return None;
    };
    let container = target.pod.container.as_ref().ok()?;
    Some((need, obstacle::judge(input.policy, Some(input.snapshot), target, container, need)))
}

/// Raises a limit to what the policy needs, by whatever keeps the operator from it.
fn raise_to(
    input: &Input<'_>,
    target: &Target,
    pods: &[PodName],
    lacking: Option<(Bytes, Option<Obstacle<'_>>)>,
) -> Option<String> {
    match lacking {
        // It is asked for already: what the kubelet says of it is what the remedy says.
        Some((_, Some(Obstacle::NotWritten(_) | Obstacle::Fails(_)))) => {
            Some(format!("kubectl describe pod {} -n {}", target.pod.name, input.policy.namespace))
        }
        Some((need, Some(Obstacle::AboveMaximum(_)))) => {
            let change = format!(r#"{{"spec":{{"headroom":{{"maximumLimit":"{}"}}}}}}"#, quantity::format(need));
            Some(patch_policy(input, &change, "the operator then raises the limits in place and restarts nothing"))
        }
        Some((_, Some(Obstacle::Refused(why @ (NotGiven::Quota(_) | NotGiven::LimitRange { .. }))))) => {
            lets(input, &why, pods.len())
        }
        lacking => raise(input, target, pods, lacking.map(|(need, _)| need)),
    }
}

/// Where the node has no room for the limit that is needed: room, or less data, as far as that costs no key.
fn smaller(input: &Input<'_>, target: &Target, full: &Obstacle<'_>) -> String {
    let room = format!(
        "make room on the node of {0} or let it have a larger one (kubectl describe pod {0} -n {1} names it): {2}",
        target.pod.name,
        input.policy.namespace,
        full.why()
    );
    let limit = target.pod.container.as_ref().ok().and_then(Container::limit);
    let bears = limit.map(|limit| demand(input, target).bearable(limit));
    let used = target.sample().map(|sample| sample.memory.used.percent(headroom::ABOVE_USED_PERCENT));
    match (bears, used) {
        (Some(bears), Some(used)) if bears >= used => {
            let set = redis_cli(input, target, &format!("CONFIG SET maxmemory {}", redis_text(bears)));
            format!("{room}; or {set} (deletes nothing, restarts nothing; the same for the other members)")
        }
        _ => room,
    }
}

/// That the limit which is lacking has been asked for, and is asked for again.
pub(super) fn tried(input: &Input<'_>, ruling: &Ruling<'_>) -> Option<&'static str> {
    if ruling.code() != Some(Code::HeadroomInsufficient) {
        return None;
    }
    ruling.pods().iter().find_map(|pod| match lacking(input, input.snapshot.target(pod)?)?.1? {
        Obstacle::NotWritten(_) | Obstacle::Deferred(_) => {
            Some("has asked for the higher limit; the kubelet raises it in place as soon as the node has room")
        }
        Obstacle::Refused(_) => Some("asks for the higher limit again within minutes"),
        _ => None,
    })
}

/// Makes the API server let the limits of so many pods be raised that it refuses.
fn lets(input: &Input<'_>, why: &NotGiven, pods: usize) -> Option<String> {
    let namespace = &input.policy.namespace;
    match why {
        NotGiven::Quota(Quota { name, resource, needed, used, .. }) => {
            let all = Bytes(needed.0.saturating_mul(u64::try_from(pods).unwrap_or(u64::MAX)));
            let hard = quantity::format(*used + all);
            Some(format!(
                r#"kubectl patch resourcequota {name} -n {namespace} --type merge -p '{{"spec":{{"hard":{{"{resource}":"{hard}"}}}}}}' (restarts nothing)"#
            ))
        }
        NotGiven::LimitRange { of, asked, .. } => Some(format!(
            "kubectl edit limitrange -n {namespace} (of type {of}, max.memory: {} or more; restarts nothing)",
            quantity::format(*asked)
        )),
        NotGiven::Node { .. } | NotGiven::Other(_) => None,
    }
}

/// Bounds a server that has no maxmemory, by what its limit bears.
fn bound(input: &Input<'_>, target: &Target, pods: &[PodName]) -> Option<String> {
    // What one member of a set holds another has to bear when it follows it, or leads.
    let set = input.sets.iter().find(|set| set.pods.contains(&target.pod.name))?;
    let pods: Vec<PodName> = pods.iter().filter(|pod| set.pods.contains(pod)).cloned().collect();
    let pods = pods.as_slice();
    let used = |pod: &PodName| Some(input.snapshot.target(pod)?.sample()?.memory.used);
    let used = pods.iter().filter_map(used).max()?;
    let limit = target.pod.container.as_ref().ok().and_then(Container::limit)?;
    let bears = demand(input, target).bearable(limit);
    if bears < used.percent(headroom::ABOVE_USED_PERCENT) {
        // What is used is bounded where the limit bears a quarter more than that.
        let to = demand(input, target).limit(used.percent(RAISED_PERCENT));
        let value = redis_text(demand(input, target).bearable(to));
        let set = redis_cli(input, target, &format!("CONFIG SET maxmemory {value}"));
        let raised = raise(input, target, pods, Some(to))?;
        let also = the_same_for(target, pods);
        return Some(format!(
            "{raised}, and then {set} (restarts nothing{also}; write both into the template too, which rolls the pods)"
        ));
    }
    let set = redis_cli(input, target, &format!("CONFIG SET maxmemory {}", redis_text(bears)));
    let also = the_same_for(target, pods);
    Some(format!(
        "{set} (restarts nothing{also}; it holds until the next start: write maxmemory into the template too)"
    ))
}

/// "; the same for redis-1, redis-2": the other pods that a command is for.
fn the_same_for(target: &Target, pods: &[PodName]) -> String {
    let others: Vec<PodName> = pods.iter().filter(|pod| **pod != target.pod.name).cloned().collect();
    if others.is_empty() { String::new() } else { format!("; the same for {}", sets::list(&others)) }
}

/// Raises maxmemory by a quarter, and before it the limit where that does not bear it.
fn more_room(input: &Input<'_>, target: &Target, pods: &[PodName]) -> Option<String> {
    let maxmemory = target.sample()?.memory.maxmemory;
    let to = Bytes(maxmemory.percent(RAISED_PERCENT).0 / MIB * MIB);
    let set = redis_cli(input, target, &format!("CONFIG SET maxmemory {}", redis_text(to)));
    let also = the_same_for(target, pods);
    let limit = target.pod.container.as_ref().ok().and_then(Container::limit);
    let enough = limit.is_none_or(|limit| demand(input, target).limit(to) <= limit);
    let bears =
        limit.filter(|_| enough).map_or_else(String::new, |limit| format!("; the limit of {limit} is enough for it"));
    let set = format!("{set} (restarts nothing{also}{bears}; write it into the template too)");
    if enough {
        return Some(set);
    }
    Some(format!("{}, and then {set}", raise(input, target, pods, None)?))
}

/// Raises the limit of those pods, to `need` or by a quarter: in place where that restarts nothing, else in the template.
fn raise(input: &Input<'_>, target: &Target, pods: &[PodName], need: Option<Bytes>) -> Option<String> {
    let container = target.pod.container.as_ref().ok()?;
    let to = need.or_else(|| Some(container.limit()?.percent(RAISED_PERCENT).round_up_mib()))?;
    let in_place = obstacle::of_the_pod(Some(input.snapshot), target, container).is_none();
    if !in_place {
        return in_template(input, target, to);
    }
    let amount = quantity::format(to);
    let request = headroom::request_with(&input.policy.headroom, &target.pod, container, to);
    let requests = request
        .map_or_else(String::new, |request| format!(r#","requests":{{"memory":"{}"}}"#, quantity::format(request)));
    let also = the_same_for(target, pods);
    Some(format!(
        r#"kubectl patch pod {} -n {} --subresource resize -p '{{"spec":{{"containers":[{{"name":"{}","resources":{{"limits":{{"memory":"{amount}"}}{requests}}}}}]}}}}' (restarts nothing{also}; a new pod starts with the template's limit again)"#,
        target.pod.name, input.policy.namespace, container.name
    ))
}

/// Gives new pods that limit.
fn in_template(input: &Input<'_>, target: &Target, to: Bytes) -> Option<String> {
    Some(patch::of(&input.policy.namespace, input.snapshot, target, to)?.exact())
}

/// Promotes the member that has everything, where all are of one history and nobody else decides.
fn promote(input: &Input<'_>, remedy: &str) -> Option<String> {
    if !remedy.starts_with("this operator never promotes") {
        return None;
    }
    let set = input.sets.iter().find(|set| set.primaries.is_empty() && set.silent.is_empty())?;
    let members: Vec<&Target> = set.pods.iter().filter_map(|pod| input.snapshot.target(pod)).collect();
    let mut samples = members.iter().filter_map(|target| target.sample());
    let history = &samples.next()?.replication.replid;
    if samples.any(|sample| sample.replication.replid != *history) {
        return None;
    }
    let offset = |target: &Target| target.sample().map(|sample| sample.replication.offset);
    let best = members.iter().max_by_key(|target| (offset(target), std::cmp::Reverse(&target.pod.name)))?;
    Some(format!(
        "{} (its offset is the highest; writes go on from then, restarts nothing)",
        redis_cli(input, best, "REPLICAOF NO ONE")
    ))
}

/// A command for that server.
fn redis_cli(input: &Input<'_>, target: &Target, command: &str) -> String {
    let redis = &input.policy.redis;
    let container = target.pod.container.as_ref().map_or("redis", |container| container.name.as_str());
    let port = target.pod.container.as_ref().map_or(6379, |container| container.port);
    let valkey = target.sample().is_some_and(|sample| sample.server.engine == Engine::Valkey);
    let program = if valkey { "valkey-cli" } else { "redis-cli" };
    let login = if redis.password.is_some() { " --askpass" } else { "" };
    let tls = if redis.tls.is_some() { " --tls" } else { "" };
    format!(
        "kubectl exec -it {} -n {} -c {container} -- {program} -p {port}{tls}{login} {command}",
        target.pod.name, input.policy.namespace
    )
}

/// Gives a pod the role label of what its server is.
fn relabel(input: &Input<'_>, target: &Target) -> Option<String> {
    let label = &input.policy.redis.role_label;
    let value = match target.sample()?.replication.role {
        Role::Primary => &label.primary,
        Role::Replica(_) => &label.replica,
        Role::Unknown => return None,
    };
    let (pod, namespace) = (&target.pod.name, &input.policy.namespace);
    Some(format!("kubectl label pod {pod} -n {namespace} --overwrite {}={value}", label.key))
}

/// What the pod and its server say.
fn look_at(input: &Input<'_>, target: &Target) -> String {
    let (pod, namespace) = (&target.pod.name, &input.policy.namespace);
    let container =
        target.pod.container.as_ref().map_or_else(|_| String::new(), |container| format!(" -c {}", container.name));
    format!(
        "kubectl describe pod {pod} -n {namespace} (its events), then kubectl logs {pod} -n {namespace}{container} --tail=50 (its log)"
    )
}

/// Asks the Sentinel that a refusal names last: the one that differs.
fn sentinel(input: &Input<'_>, blocked: &Blocked) -> Option<String> {
    let namespace = &input.policy.namespace;
    let named = |sentinel: &&Sentinel| blocked.text.contains(&format!("Sentinel in {})", sentinel.pod));
    let sentinel = input.snapshot.sentinels.iter().rfind(named)?;
    let Sentinel { pod, port, .. } = sentinel;
    Some(format!("kubectl exec -it {pod} -n {namespace} -- redis-cli -p {port} SENTINEL MASTERS"))
}

/// Why pods are not there.
fn missing(input: &Input<'_>) -> String {
    let namespace = &input.policy.namespace;
    if let Some(target) = ruling::not_running(input).next() {
        return format!(
            "kubectl describe pod {} -n {namespace} (its events say what it lacks: make room on a node or add one where none \
             fits; it then starts by itself)",
            target.pod.name
        );
    }
    let Some((set, _)) = sets::short(input).next() else {
        return format!(
            "kubectl get statefulsets,deployments,pods -n {namespace} (removed on purpose: it is forgotten in a day)"
        );
    };
    format!(
        "kubectl describe statefulset {} -n {namespace} (its events say why a pod is not made: quota, node, admission)",
        set.name
    )
}
