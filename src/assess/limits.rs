//! Findings about `maxmemory`, the container's limit and request, and the pod template.

use super::{
    View,
    headroom::{self, HeadroomVerdict, told_apart},
};
use crate::domain::{
    bytes::Bytes,
    finding::{Finding, FindingCode, Severity},
    pod::{Container, ResizeProgress, Right},
    policy::Mode,
    ratio::Ratio,
    sample::Sample,
};

/// A limit that the operator raises begins like this.
pub const WILL_RAISE: &str = "the operator will raise the limit to ";
/// From here on the resident memory is near the limit, in percent of it (ADR 0010).
const RSS_NEAR_LIMIT: Ratio = Ratio(80);
/// From here on a burst of writes, or the pages that a fork copies, reach it (ADR 0010).
const RSS_AT_LIMIT: Ratio = Ratio(90);

pub(super) fn findings(view: &View<'_>, sample: &Sample) -> Vec<Finding> {
    let mut findings = Vec::new();
    let maxmemory = sample.memory.maxmemory;
    if maxmemory == Bytes::ZERO && !sample.is_unread("maxmemory") {
        findings.push(view.finding(
            FindingCode::MaxmemoryUnset,
            "maxmemory is 0: nothing bounds the data but the kernel's OOM killer",
            suggested_maxmemory(view),
        ));
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

/// The `maxmemory` for which the limit is enough; headroom is computed from live values, so this only advises.
fn suggested_maxmemory(view: &View<'_>) -> String {
    let rule = &view.policy.headroom;
    let limit = view.target.pod.container.as_ref().ok().and_then(Container::limit);
    let room = limit.map(|limit| headroom::bearable(rule, limit));
    let used = view.target.sample().map(|sample| sample.memory.used).unwrap_or_default();
    match (limit, room) {
        (Some(limit), Some(room)) if room > Bytes::ZERO && used > room => format!(
            "raise the limit of {limit} first: with about {} used, a maxmemory that fits it would evict data or refuse \
             writes at once",
            used.quantised()
        ),
        (Some(limit), Some(room)) if room > Bytes::ZERO => {
            format!("set maxmemory to at most {room}, for which the limit of {limit} is enough")
        }
        _ => "set maxmemory, and a container limit above it".into(),
    }
}

fn limit_missing(view: &View<'_>, maxmemory: Bytes) -> Finding {
    let remedy = if maxmemory == Bytes::ZERO {
        "set maxmemory first, then a memory limit above it in the pod template".to_owned()
    } else {
        let need = headroom::required_limit(&view.policy.headroom, maxmemory);
        format!("{}; a limit is never added in place", in_template(view, need))
    };
    view.finding(FindingCode::LimitMissing, "the container has no memory limit", remedy)
}

fn insufficient(view: &View<'_>, container: &Container, maxmemory: Bytes, have: Bytes, need: Bytes) -> Vec<Finding> {
    let evidence = headroom::shortfall("the policy", &view.policy.headroom, maxmemory, have, need);
    let mut findings = vec![view.finding(FindingCode::HeadroomInsufficient, evidence, remedy(view, container, need))];
    if container.resize_restarts && view.policy.headroom.resize_pod {
        findings.push(view.finding(
            FindingCode::ResizeWouldRestart,
            format!("resizePolicy of container {} for memory is RestartContainer", container.name),
            "a resize would restart Redis, so it is not done; set resizePolicy to NotRequired, or the limit in the pod template",
        ));
    }
    findings
}

/// What is done about a limit that is too small, or what is in the way. The order is from what the policy rules out
/// to what the cluster rules out to what is under way; the first that applies is said.
fn remedy(view: &View<'_>, container: &Container, need: Bytes) -> String {
    let rule = &view.policy.headroom;
    let pod = &view.target.pod;
    let template = in_template(view, need);
    if !rule.resize_pod {
        return format!("{template}, or add ResizePod to spec.headroom.remedies");
    }
    if let Some(most) = rule.maximum_limit.filter(|most| *most < need) {
        return format!(
            "spec.headroom.maximumLimit {most} is below the {need} needed: raise it (lowering maxmemory evicts data, or refuses writes)"
        );
    }
    if container.resize_restarts {
        return format!("not resized, because that would restart Redis: {template}");
    }
    if pod.pod_level_resources {
        return format!(
            "the pod has pod-level resources, which are not resized: raise them and the limit to {need} in the pod template"
        );
    }
    if let Some(owner) = pod.foreign_controller() {
        return format!(
            "not resized, because {} {}, which owns the pod, may delete a pod that is not as its template says: set the \
             limit to {need} there",
            owner.kind, owner.name
        );
    }
    if view.around.is_some_and(|around| !around.snapshot.resize_supported) {
        return format!("this API server cannot resize pods (Kubernetes 1.33 and newer can): {template}");
    }
    if let Some(policy) = view.claimed_by() {
        return format!("policy {policy}, which is older, acts for this workload: change it there");
    }
    if container.spec_limit.is_some_and(|asked| asked >= need) {
        return under_way(&pod.resize, need);
    }
    if view.policy.mode == Mode::Observe {
        return format!("in mode Enforce the operator would raise the limit to {need} in place");
    }
    match view.around.map(|around| around.snapshot.rights.resize) {
        Some(Right::Denied) => {
            format!("the operator lacks the right to patch pods/resize: grant it, or {template}")
        }
        Some(Right::Unknown) => {
            format!("the operator raises the limit to {need} in place once it knows that it may patch pods/resize")
        }
        Some(Right::Granted) | None => {
            format!("{WILL_RAISE}{need} in place, without a restart")
        }
    }
}

fn under_way(progress: &ResizeProgress, need: Bytes) -> String {
    match progress {
        ResizeProgress::None | ResizeProgress::InProgress => {
            format!("the kubelet is raising the limit to {need} in place")
        }
        ResizeProgress::Deferred(text) => {
            format!(
                "a limit of {need} is asked for; the node has no room for it now, and the kubelet will try again: {}",
                short(text)
            )
        }
        ResizeProgress::Infeasible(text) => {
            format!(
                "a limit of {need} is asked for; this node can never hold it, so move the pod to a larger one: {}",
                short(text)
            )
        }
        ResizeProgress::Error(text) => {
            format!("a limit of {need} is asked for, and the kubelet fails to set it: {}", short(text))
        }
    }
}

/// The kubelet's text, as far as it fits beside ours.
fn short(text: &str) -> String {
    const MOST: usize = 200;
    text.chars().take(MOST).collect()
}

fn request_below(view: &View<'_>, container: &Container, maxmemory: Bytes) -> Option<Finding> {
    let request = container.spec_request.filter(|request| *request < maxmemory)?;
    Some(view.finding(
        FindingCode::RequestBelowMaxmemory,
        {
            let (request, maxmemory) = told_apart(request, maxmemory);
            format!("memory request {request}, maxmemory {maxmemory}")
        },
        format!("raise the memory request to at least {maxmemory}: the node may not have what Redis may take"),
    ))
}

/// What gives the next new pod that limit: where the template has it already, the pod is from before.
fn in_template(view: &View<'_>, need: Bytes) -> String {
    match template_limit(view) {
        Some((made_by, limit)) if limit >= need => {
            format!("let the pod be replaced (finish the roll-out): the template of {made_by} gives {limit} already")
        }
        _ => format!("set the limit to {need} in the pod template"),
    }
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
    if limit >= headroom::required_exactly(&view.policy.headroom, maxmemory) {
        return None;
    }
    let need = headroom::required_limit(&view.policy.headroom, maxmemory);
    let (gives, needed) = told_apart(limit, need);
    let evidence = format!("the template of {made_by} gives {gives}, needed {needed} for maxmemory {maxmemory}");
    let remedy = if limit < headroom::template_floor(&sample.memory) {
        format!(
            "set the limit to {need} in the pod template; with {limit} a new pod could not even load the data, so none is evicted"
        )
    } else if view.policy.headroom.resize_pod {
        format!(
            "set the limit to {need} in the pod template; until then every new pod must be resized before it has loaded"
        )
    } else {
        format!("set the limit to {need} in the pod template")
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
            "raise the limit before the kernel kills Redis; where much of it is fragmentation, a restart gives that back. \
             Lowering maxmemory evicts data and gives no resident memory back",
        )
    };
    (share >= RSS_NEAR_LIMIT).then(|| finding().with_severity(severity))
}
