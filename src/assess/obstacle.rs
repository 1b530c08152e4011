//! What keeps a container from a higher limit in place: one judgement for the finding, for what is planned, and for the
//! command that a person is given.

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    bytes::Bytes,
    not_given::NotGiven,
    pod::{Container, Owner, ResizeProgress, Right},
    policy::{HeadroomMethod, Policy},
    snapshot::{Snapshot, Target},
    surroundings::LeftAlone,
};

/// Words of the API server or the kubelet that are no numbers are cut to this.
const MOST: usize = 200;

/// What keeps a container from a higher limit in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// The policy has the operator raise no limit.
    NoRemedy,
    /// The policy's maximum is less than is needed.
    AboveMaximum(Bytes),
    /// `resizePolicy` would have the container restarted.
    WouldRestart,
    /// `spec.resources` of the pod bounds its containers together.
    PodLevelResources,
    /// A controller that may delete a pod which differs from its template.
    ForeignOwner(&'a Owner),
    /// The API server has no `pods/resize`.
    NotSupported,
    /// An older policy acts for the set.
    Claimed(&'a str),
    /// The limit is asked for and the kubelet has not written it to the cgroup yet: this one holds.
    NotWritten(Option<Bytes>),
    /// The limit is asked for, and the kubelet has not written it to the cgroup for longer than `stepTimeout`: it is not waited for
    /// any more.
    NeverWritten {
        /// The limit that holds.
        holds: Option<Bytes>,
        /// When it was first seen so.
        since: Timestamp,
    },
    /// The node has no room now; the kubelet tries again.
    Deferred(NotGiven),
    /// The node can never hold it.
    Infeasible(NotGiven),
    /// The kubelet fails to set it.
    Fails(NotGiven),
    /// The operator may not patch `pods/resize`.
    NoRight,
    /// The API server refuses it.
    Refused(NotGiven),
    /// It was set back, or refused, so often that it is left alone for a while.
    LeftAlone(&'a LeftAlone),
}

/// What of the pod keeps anybody from resizing it, whatever the limit.
pub fn of_the_pod<'a>(snapshot: Option<&Snapshot>, target: &'a Target, container: &Container) -> Option<Obstacle<'a>> {
    if container.resize_restarts {
        return Some(Obstacle::WouldRestart);
    }
    if target.pod.pod_level_resources {
        return Some(Obstacle::PodLevelResources);
    }
    if let Some(owner) = target.pod.foreign_controller() {
        return Some(Obstacle::ForeignOwner(owner));
    }
    snapshot.is_some_and(|snapshot| !snapshot.resize_supported).then_some(Obstacle::NotSupported)
}

/// What of the policy and of the pod rules out that the operator asks for that limit.
pub fn ruled_out<'a>(
    policy: &Policy,
    snapshot: Option<&Snapshot>,
    target: &'a Target,
    container: &Container,
    limit: Bytes,
) -> Option<Obstacle<'a>> {
    let rule = &policy.headroom;
    if !rule.resize_pod {
        return Some(Obstacle::NoRemedy);
    }
    let above = rule.maximum_limit.filter(|most| limit > *most).map(Obstacle::AboveMaximum);
    above.or_else(|| of_the_pod(snapshot, target, container))
}

/// What keeps the container from that limit: from what the policy rules out over what the cluster rules out to what is
/// under way or was tried; the first that applies. `None`: the operator can ask for it.
pub fn judge<'a>(
    policy: &Policy,
    snapshot: Option<&'a Snapshot>,
    target: &'a Target,
    container: &Container,
    limit: Bytes,
) -> Option<Obstacle<'a>> {
    if let Some(obstacle) = ruled_out(policy, snapshot, target, container, limit) {
        return Some(obstacle);
    }
    if let Some(policy) = snapshot.and_then(|snapshot| claimed_by(snapshot, target)) {
        return Some(Obstacle::Claimed(policy));
    }
    if container.spec_limit.is_some_and(|asked| asked >= limit) {
        return Some(match &target.pod.resize {
            ResizeProgress::None | ResizeProgress::InProgress => match never_written(policy, snapshot, target) {
                Some(since) => Obstacle::NeverWritten { holds: container.live_limit, since },
                None => Obstacle::NotWritten(container.live_limit),
            },
            ResizeProgress::Deferred(text) => Obstacle::Deferred(NotGiven::read(text)),
            ResizeProgress::Infeasible(text) => Obstacle::Infeasible(NotGiven::read(text)),
            ResizeProgress::Error(text) => Obstacle::Fails(NotGiven::read(text)),
        });
    }
    let snapshot = snapshot?;
    if snapshot.rights.resize == Right::Denied {
        return Some(Obstacle::NoRight);
    }
    let (around, wavers) = (&snapshot.surroundings, policy.headroom.method == HeadroomMethod::Measured);
    if let Some(left) = around.limit_left_alone(&target.pod.uid, limit, wavers) {
        return Some(Obstacle::LeftAlone(left));
    }
    around.refused_limit(&target.pod.uid).map(|text| Obstacle::Refused(NotGiven::read(text)))
}

/// Since when a limit of that pod is asked for and not written, where that is longer than `stepTimeout`: the kubelet that writes it is
/// waited for no longer. `None`: it is written, or may be within that time.
pub fn never_written(policy: &Policy, snapshot: Option<&Snapshot>, target: &Target) -> Option<Timestamp> {
    let snapshot = snapshot?;
    let since = snapshot.surroundings.unwritten_since(&target.pod.uid)?;
    let bound = SignedDuration::try_from(policy.restart.step_timeout).unwrap_or(SignedDuration::MAX);
    (snapshot.at.duration_since(since) > bound).then_some(since)
}

/// The older policy that acts for this target's set.
pub fn claimed_by<'a>(snapshot: &'a Snapshot, target: &Target) -> Option<&'a str> {
    let owner = target.pod.owner.as_ref()?;
    let mut claims = snapshot.claimed_by_other.iter();
    claims.find(|(uid, _)| *uid == owner.uid).map(|(_, policy)| policy.as_str())
}

impl Obstacle<'_> {
    /// It goes by itself within moments, so that nothing else is done meanwhile.
    pub const fn is_under_way(&self) -> bool {
        matches!(self, Self::NotWritten(_))
    }

    /// Why the limit is not raised, with the numbers, to follow "the limit is not raised: ".
    pub fn why(&self) -> String {
        match self {
            Self::NoRemedy => "ResizePod is not among spec.headroom.remedies".to_owned(),
            Self::AboveMaximum(most) => format!("spec.headroom.maximumLimit is {most}"),
            Self::WouldRestart => "a resize would restart Redis (resizePolicy)".to_owned(),
            Self::PodLevelResources => "the pod has pod-level resources, which are not resized".to_owned(),
            Self::ForeignOwner(owner) => format!("{} {} owns the pod", owner.kind, owner.name),
            Self::NotSupported => "this API server cannot resize pods".to_owned(),
            Self::Claimed(policy) => format!("policy {policy}, which is older, acts for this workload"),
            Self::NotWritten(Some(holds)) => format!("the kubelet has not written it yet, and {holds} hold"),
            Self::NotWritten(None) => "the kubelet has not written it yet".to_owned(),
            Self::NeverWritten { holds, since } => format!("the kubelet has not written it {}", so_far(*holds, *since)),
            Self::Deferred(why) => said("the node has no room for a higher one now", why),
            Self::Infeasible(why) => said("the node can never hold a higher one", why),
            Self::Fails(why) => said("the kubelet fails to set a higher one", why),
            Self::NoRight => "the operator may not patch pods/resize".to_owned(),
            Self::Refused(why) => said("the API server refuses a higher one", why),
            Self::LeftAlone(_) => "it was set back, or refused, again and again".to_owned(),
        }
    }

    /// What a person does about it, so that the container gets `need`. `template`: how the template is changed.
    pub fn remedy(&self, need: Bytes, template: &str) -> String {
        match self {
            Self::NoRemedy => format!("{template}, or add ResizePod to spec.headroom.remedies"),
            Self::AboveMaximum(most) => format!(
                "spec.headroom.maximumLimit {most} is below the {need} needed: raise it (lowering maxmemory evicts data, or \
                 refuses writes)"
            ),
            Self::WouldRestart => format!("not resized, because that would restart Redis: {template}"),
            Self::PodLevelResources => {
                format!("the pod has pod-level resources, which are not resized: raise them too, and {template}")
            }
            Self::ForeignOwner(owner) => format!(
                "not resized, because {} {}, which owns the pod, may delete a pod that is not as its template says: {template}",
                owner.kind, owner.name
            ),
            Self::NotSupported => {
                format!("this API server cannot resize pods (Kubernetes 1.33 and newer can): {template}")
            }
            Self::Claimed(policy) => {
                format!("policy {policy}, which is older, acts for this workload: change it there")
            }
            Self::NotWritten(holds) => {
                let holds =
                    holds.map_or_else(String::new, |holds| format!("; {holds} hold until the cgroup is written"));
                format!("the kubelet is raising the limit to {need} in place{holds}")
            }
            Self::NeverWritten { holds, since } => format!(
                "a limit of {need} is asked for, and the kubelet has not written it to the cgroup {}: see what the pod's events and \
                 its node say (a kubelet before 1.33 never does it), or {template}",
                so_far(*holds, *since)
            ),
            Self::Deferred(why) => format!(
                "a limit of {need} is asked for; the node has no room for it now, and the kubelet will try again: {}",
                why.why(MOST)
            ),
            Self::Infeasible(why) => format!(
                "a limit of {need} is asked for; this node can never hold it, so move the pod to a larger one: {}",
                why.why(MOST)
            ),
            Self::Fails(why) => {
                format!("a limit of {need} is asked for, and the kubelet fails to set it: {}", why.why(MOST))
            }
            Self::NoRight => format!("the operator lacks the right to patch pods/resize: grant it, or {template}"),
            Self::Refused(why) => {
                let do_this = match why {
                    NotGiven::Quota(quota) => {
                        let to = match quota.lacks.as_slice() {
                            [only] => only.wanted().to_string(),
                            lacks => {
                                let each = lacks.iter().map(|lack| format!("{} of {}", lack.wanted(), lack.resource));
                                each.collect::<Vec<_>>().join(" and ")
                            }
                        };
                        format!("raise quota {} to {to} for this pod, or free that much", quota.name)
                    }
                    NotGiven::LimitRange { asked, .. } => format!("raise the maximum of the LimitRange to {asked}"),
                    NotGiven::Node { .. } | NotGiven::Other(_) => "let the operator make the change".to_owned(),
                };
                format!(
                    "{}; {do_this}: the operator tries again",
                    said(&format!("the API server refuses the limit of {need}"), why)
                )
            }
            Self::LeftAlone(left) => format!(
                "no limit is raised before {}: it was set back, or refused, again and again",
                left.until.strftime("%Y-%m-%dT%H:%M:%SZ")
            ),
        }
    }
}

/// "since 2026-01-02T03:04:05Z, and 1 GiB hold".
fn so_far(holds: Option<Bytes>, since: Timestamp) -> String {
    let holds = holds.map_or_else(String::new, |holds| format!(", and {holds} hold"));
    format!("since {}{holds}", since.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

fn said(what: &str, why: &NotGiven) -> String {
    let why = why.why(MOST);
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

#[cfg(test)]
mod tests;
