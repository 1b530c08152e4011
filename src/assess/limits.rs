//! Findings about `maxmemory`, the container's limit and request, and the pod template.

use super::{
    View,
    bound::{Bound, Room},
    headroom::{self, HeadroomVerdict, told_apart},
    obstacle::{self, Obstacle},
    oom,
    own_maxmemory::in_start,
    patch,
};
use crate::domain::{
    bytes::Bytes,
    finding::{Finding, FindingCode, Severity},
    pod::{Container, Right},
    policy::Mode,
    ratio::Ratio,
    sample::Sample,
    snapshot::Target,
};

/// A limit that the operator raises begins like this.
pub const WILL_RAISE: &str = "the operator will raise the limit to ";
/// From here on the resident memory is near the limit, in percent of it (ADR 0010).
pub const RSS_NEAR_LIMIT: Ratio = Ratio(80);
/// From here on a burst of writes, or the pages that a fork copies, reach it (ADR 0010).
const RSS_AT_LIMIT: Ratio = Ratio(90);

pub(super) fn findings(view: &View<'_>, sample: &Sample) -> Vec<Finding> {
    let mut findings = Vec::new();
    let maxmemory = sample.memory.maxmemory;
    if maxmemory == Bytes::ZERO && !sample.is_unread("maxmemory") {
        let (remedy, afterwards) = suggested_maxmemory(view);
        let evidence = "maxmemory is 0: nothing bounds the data but the kernel's OOM killer";
        findings.push(view.finding(FindingCode::MaxmemoryUnset, evidence, remedy).with_afterwards(afterwards));
    }
    let Ok(container) = &view.target.pod.container else { return findings };
    if container.limit().is_none() {
        findings.push(limit_missing(view, maxmemory));
    }
    if let HeadroomVerdict::Insufficient { have, need } = view.headroom {
        findings.extend(insufficient(view, container, maxmemory, have, need));
    }
    findings.extend(request_below(view, container, maxmemory));
    findings.extend(template(view, sample));
    findings.extend(rss_near_limit(view, container, sample));
    findings
}

/// The `maxmemory` for which the limits of its set are enough, and how new pods get it; headroom is computed from live values, so
/// this only advises.
fn suggested_maxmemory(view: &View<'_>) -> (String, String) {
    let members = view.around.map_or(&[][..], |around| around.members);
    // One server that is looked at by itself is a set of its own.
    let room = if members.is_empty() { Room::of([view.target]) } else { Room::of(members.iter().copied()) };
    let Some(room) = room else { return ("set maxmemory, and a container limit above it".into(), String::new()) };
    let own = view.target.pod.limit();
    let whose = if own == Some(room.limit) { "" } else { ", the least of its set," };
    let for_good = |maxmemory, limit| {
        let around = view.around.as_ref()?;
        let place = in_start(&view.policy.namespace, around.snapshot, view.target, (maxmemory, limit));
        Some(format!("by day, because new pods start without it: {place}"))
    };
    match room.bound(&view.demand) {
        Bound::Fits(most) => (
            format!("set maxmemory to at most {most}, for which the limit of {}{whose} is enough", room.limit),
            for_good(most, None).unwrap_or_default(),
        ),
        Bound::AfterARaise { limit, maxmemory } => (
            format!(
                "raise the limit of {}{whose} to {limit} first, then set maxmemory to {maxmemory}: with about {} used, a maxmemory that \
                 fits would evict data or refuse writes at once",
                room.limit,
                room.used.quantised()
            ),
            for_good(maxmemory, Some(limit)).unwrap_or_default(),
        ),
    }
}

fn limit_missing(view: &View<'_>, maxmemory: Bytes) -> Finding {
    let remedy = if maxmemory == Bytes::ZERO {
        "set maxmemory first, then a memory limit above it in the pod template".to_owned()
    } else {
        let need = view.demand.limit(maxmemory);
        format!("{}; a limit is never added in place", in_template(view, need))
    };
    view.finding(FindingCode::LimitMissing, "the container has no memory limit", remedy)
}

fn insufficient(view: &View<'_>, container: &Container, maxmemory: Bytes, have: Bytes, need: Bytes) -> Vec<Finding> {
    let evidence = headroom::shortfall("the policy", &view.demand, maxmemory, have, need);
    let instead = less_instead(view).map_or_else(String::new, |less| {
        format!("; or, instead, set maxmemory to {less} on every member of its set, which their limits bear")
    });
    let remedy = format!("{}{instead}", remedy(view, container, need));
    let mut findings = vec![view.finding(FindingCode::HeadroomInsufficient, evidence, remedy)];
    if container.resize_restarts && view.policy.headroom.resize_pod {
        findings.push(view.finding(
            FindingCode::ResizeWouldRestart,
            format!("resizePolicy of container {} for memory is RestartContainer", container.name),
            "a resize would restart Redis, so it is not done; set resizePolicy to NotRequired, or the limit in the pod template",
        ));
    }
    findings
}

/// What is done about a limit that is too small, or what is in the way.
pub(super) fn remedy(view: &View<'_>, container: &Container, need: Bytes) -> String {
    let snapshot = view.around.map(|around| around.snapshot);
    if let Some(obstacle) = obstacle::judge(view.policy, snapshot, view.target, container, need) {
        return obstacle.remedy(need, &in_template(view, need));
    }
    if view.policy.mode == Mode::Observe {
        return format!("in mode Enforce the operator would raise the limit to {need} in place");
    }
    match snapshot.map(|snapshot| snapshot.rights.resize) {
        Some(Right::Unknown) => {
            format!("the operator raises the limit to {need} in place once it knows that it may patch pods/resize")
        }
        _ => format!("{WILL_RAISE}{need} in place, without a restart"),
    }
}

fn request_below(view: &View<'_>, container: &Container, maxmemory: Bytes) -> Option<Finding> {
    let request = container.spec_request.filter(|request| *request < maxmemory)?;
    // One template is for all.
    let of_it = |other: &&Target| other.pod.owner.is_some() && other.pod.owner == view.target.pod.owner;
    let members = view.around.map_or(&[][..], |around| around.members).iter().copied().filter(of_it);
    let all = members.filter_map(Target::sample).map(|sample| sample.memory.maxmemory).fold(maxmemory, Bytes::max);
    // No request is above its limit, and that of a Guaranteed pod is its limit.
    let limit = container.spec_limit.filter(|limit| *limit < all).map(|_| view.demand.limit(all));
    let to = limit.filter(|_| view.target.pod.guaranteed).unwrap_or_else(|| all.round_up_mib());
    let snapshot = view.around.map(|around| around.snapshot);
    let patch = snapshot.and_then(|all| patch::of_request(&view.policy.namespace, all, view.target, to, limit));
    let change =
        patch.map_or_else(|| format!("raise the memory request to {to} in the pod template"), |it| it.to_string());
    Some(view.finding(
        FindingCode::RequestBelowMaxmemory,
        {
            let (request, maxmemory) = told_apart(request, maxmemory);
            format!("memory request {request}, maxmemory {maxmemory}")
        },
        format!("{change}; until then the node may not have what Redis may take"),
    ))
}

/// The `maxmemory` by which a set needs no higher limit and loses no key, where the node of a member has no room for a higher limit:
/// one of the two is done, not both.
fn less_instead(view: &View<'_>) -> Option<Bytes> {
    let around = view.around.as_ref()?;
    let without_room = |member: &&Target| {
        let (Ok(container), HeadroomVerdict::Insufficient { need, .. }) =
            (&member.pod.container, headroom::judge(&view.demand, member))
        else {
            return false;
        };
        let obstacle = obstacle::judge(view.policy, Some(around.snapshot), member, container, need);
        matches!(obstacle, Some(Obstacle::Deferred(_) | Obstacle::Infeasible(_)))
    };
    let members = || around.members.iter().copied();
    if members().any(|member| without_room(&member)) { Room::of(members())?.bears(&view.demand) } else { None }
}

/// What gives the next new pod that limit: where the template has it already, the pod is from before.
fn in_template(view: &View<'_>, need: Bytes) -> String {
    let snapshot = view.around.map(|around| around.snapshot);
    let patch = snapshot.and_then(|snapshot| patch::of(&view.policy.namespace, snapshot, view.target, need));
    patch.map_or_else(|| format!("set the limit to {need} in the pod template"), |patch| patch.to_string())
}

/// The limit with which the next new pod starts, and what makes it, as "StatefulSet redis".
fn template_limit(view: &View<'_>) -> Option<(String, Bytes)> {
    let (container, around) = (view.target.pod.container.as_ref().ok()?, view.around.as_ref()?);
    let (made_by, limits) = if let Some(set) = around.set {
        (format!("StatefulSet {}", set.name), &set.template_limits)
    } else {
        let deployment = around.snapshot.deployment(&view.target.pod.owner.as_ref()?.uid)?;
        (format!("Deployment {}", deployment.name), &deployment.template_limits)
    };
    let limit = limits.iter().find(|(name, _)| *name == container.name)?.1?;
    Some((made_by, limit))
}

/// A template that gives the next new pod less than the policy demands.
fn template(view: &View<'_>, sample: &Sample) -> Option<Finding> {
    let maxmemory = sample.memory.maxmemory;
    if maxmemory == Bytes::ZERO {
        return None;
    }
    let (made_by, limit) = template_limit(view)?;
    if limit >= view.demand.surely(maxmemory) {
        return None;
    }
    let need = view.demand.limit(maxmemory);
    let (gives, needed) = told_apart(limit, need);
    let evidence = format!("the template of {made_by} gives {gives}, needed {needed} for maxmemory {maxmemory}");
    let mut change = in_template(view, need);
    if let Some(less) = less_instead(view) {
        change = format!("only where maxmemory stays {maxmemory} and is not set to {less}: {change}");
    }
    let remedy = if limit < headroom::template_floor(&sample.memory) {
        format!("{change}; with {limit} a new pod could not even load the data, so none is evicted")
    } else if view.policy.headroom.resize_pod {
        format!("{change}; until then every new pod must be resized before it has loaded")
    } else {
        change
    };
    Some(view.finding(FindingCode::TemplateTooSmall, evidence, remedy))
}

fn rss_near_limit(view: &View<'_>, container: &Container, sample: &Sample) -> Option<Finding> {
    let limit = container.limit()?;
    let share = Ratio::of(sample.memory.rss, limit)?;
    let severity = if share >= RSS_AT_LIMIT { Severity::Critical } else { Severity::Warning };
    let finding = || {
        view.finding(
            FindingCode::RssNearLimit,
            format!("RSS about {}, limit {limit}", sample.memory.rss.quantised()),
            format!(
                "raise the limit to {} before the kernel kills Redis; where much of it is fragmentation, a restart gives that back. \
                 Lowering maxmemory evicts data and gives no resident memory back",
                oom::raised(limit)
            ),
        )
    };
    (share >= RSS_NEAR_LIMIT).then(|| finding().with_severity(severity))
}
