//! Headroom by resizing pods in place. A resize is not a remediation: no window, no cooldown.

use super::{Context, effect::Effect};
use crate::{
    assess::{
        fragmentation::Cause,
        headroom,
        oom::{self, Rescue},
    },
    domain::{
        bytes::Bytes,
        names::PodName,
        pod::{Container, ResizeProgress, Right},
        policy::Mode,
        snapshot::Target,
        step::Step,
        surroundings::Kept,
    },
};

/// What the policy demands of this container, when its `spec` is below it.
fn missing<'a>(ctx: &Context<'_>, target: &'a Target) -> Option<(&'a Container, Bytes)> {
    let container = target.pod.container.as_ref().ok()?;
    let maxmemory = target.sample()?.memory.maxmemory;
    // Judged to the byte, as the finding is; set in whole mebibytes.
    let least = headroom::required_exactly(&ctx.policy.headroom, maxmemory);
    let need = capped(ctx, container, headroom::required_limit(&ctx.policy.headroom, maxmemory));
    (maxmemory > Bytes::ZERO && container.spec_limit? < least).then_some((container, need))
}

/// What the policy demands, and why.
fn demanded(ctx: &Context<'_>, target: &Target) -> Option<(Bytes, String)> {
    let (container, need) = missing(ctx, target)?;
    let (limit, maxmemory) = (container.spec_limit.unwrap_or_default(), target.sample()?.memory.maxmemory);
    let reason = if need < headroom::required_exactly(&ctx.policy.headroom, maxmemory) {
        format!("limit {limit} may be {need} (maximumLimit), and maxmemory {maxmemory} needs more than that")
    } else {
        let percent = ctx.policy.headroom.percent;
        format!("limit {limit} is below the {need} that maxmemory {maxmemory} needs with {percent} % headroom")
    };
    Some((need, reason))
}

/// What a full sync lacks that a restart of the set takes, where one is due, and why: the limit that gives it to the member
/// that lacks it most, so that all stay alike.
fn lacking_for_a_restart(ctx: &Context<'_>, target: &Target) -> Option<(Bytes, String)> {
    let container = target.pod.container.as_ref().ok()?;
    let shard = ctx.look.shard_of(target)?;
    let due = |member: &&Target| {
        ctx.look.member(member).is_some_and(|judged| {
            let verdict = &judged.fragmentation;
            verdict.restart_due.is_some() && matches!(verdict.cause, Cause::Fragmented | Cause::TotalOnly)
        })
    };
    // One alone is restarted with consent only.
    let possible = shard.members.len() > 1 || ctx.policy.restart.allow_downtime;
    let wanted = ctx.policy.fragmentation.restart_allowed && !ctx.policy.suspend && possible;
    if !wanted || !shard.members.iter().any(due) {
        return None;
    }
    let lacks = |member: &&Target| {
        let (limit, sample) = (member.pod.container.as_ref().ok()?.limit()?, member.sample()?);
        let need = sample.memory.rss + headroom::fork_need(sample);
        (need > limit).then(|| need.round_up_mib())
    };
    let need = shard.members.iter().filter_map(lacks).max()?;
    let limit = container.spec_limit.filter(|limit| *limit < need)?;
    Some((
        need,
        format!("limit {limit} leaves too little for the full sync of a restart that is due, which takes {need}"),
    ))
}

/// What ends a loop of kills while it loads, and why. Only of kills that are stored: were they forgotten, the same limit
/// would be the first one again.
fn ends_a_loop(ctx: &Context<'_>, target: &Target) -> Option<(Bytes, String)> {
    let stored = ctx.snapshot.surroundings.kills.iter().find(|kills| kills.pod == target.pod.name)?;
    let kills = ctx.look.kills.iter().find(|kills| *kills == stored)?;
    let Rescue::Raise(limit) = oom::rescue(ctx.policy, target, kills)? else { return None };
    let times = if kills.while_loading == 1 { "once".to_owned() } else { format!("{} times", kills.while_loading) };
    Some((limit, format!("the kernel killed it {times} while it loaded its data: only a higher limit ends that")))
}

/// Where `maxmemory` is lowered to what the limit bears, the limit is raised before, as far as it may be.
fn capped(ctx: &Context<'_>, container: &Container, need: Bytes) -> Bytes {
    let rule = &ctx.policy.headroom;
    let most = rule.maximum_limit.filter(|most| rule.set_maxmemory && *most < need);
    most.filter(|most| container.spec_limit.is_some_and(|asked| asked < *most)).unwrap_or(need)
}

/// What rules out that the container gets that limit in place, as far as can be told before it is asked for. It is a finding
/// of `assess::headroom` too.
fn ruled_out(ctx: &Context<'_>, target: &Target, container: &Container, limit: Bytes) -> Option<String> {
    let rule = &ctx.policy.headroom;
    if !rule.resize_pod {
        return Some("ResizePod is not among spec.headroom.remedies".to_owned());
    }
    if let Some(most) = rule.maximum_limit.filter(|most| limit > *most) {
        return Some(format!("spec.headroom.maximumLimit is {most}"));
    }
    if container.resize_restarts {
        return Some("a resize would restart Redis (resizePolicy)".to_owned());
    }
    if target.pod.pod_level_resources {
        return Some("the pod has pod-level resources, which are not resized".to_owned());
    }
    if let Some(owner) = target.pod.foreign_controller() {
        return Some(format!("{} {} owns the pod", owner.kind, owner.name));
    }
    if !ctx.snapshot.resize_supported {
        return Some("this API server cannot resize pods".to_owned());
    }
    (ctx.snapshot.rights.resize == Right::Denied).then(|| "the operator may not patch pods/resize".to_owned())
}

/// Why the container does not get that limit; `None`: it does, or that is not known yet.
pub(super) fn stuck(ctx: &Context<'_>, target: &Target, container: &Container, limit: Bytes) -> Option<String> {
    let limit = capped(ctx, container, limit);
    if let Some(why) = ruled_out(ctx, target, container, limit) {
        return Some(why);
    }
    if ctx.snapshot.surroundings.leaves_alone(&target.pod.uid, Kept::Limit, &limit.to_string()) {
        return Some("it was set back, or refused, again and again".to_owned());
    }
    if ctx.snapshot.surroundings.refused_limits.contains(&target.pod.uid) {
        return Some("the API server refuses a higher one".to_owned());
    }
    if container.spec_limit.is_none_or(|asked| asked < limit) {
        return None;
    }
    match &target.pod.resize {
        ResizeProgress::None | ResizeProgress::InProgress => None,
        ResizeProgress::Deferred(_) => Some("the node has no room for a higher one now".to_owned()),
        ResizeProgress::Infeasible(_) => Some("the node can never hold a higher one".to_owned()),
        ResizeProgress::Error(_) => Some("the kubelet fails to set a higher one".to_owned()),
    }
}

/// The effect that gives the container that limit, if nothing forbids it. What forbids it is a finding of
/// `assess::headroom`, so nothing is said here.
fn effect(ctx: &Context<'_>, target: &Target, limit: Bytes) -> Option<Effect> {
    let container = target.pod.container.as_ref().ok()?;
    let allowed = ruled_out(ctx, target, container, limit).is_none()
        && ctx.snapshot.rights.resize == Right::Granted
        && !target.pod.terminating;
    allowed.then(|| Effect::Resize {
        pod: target.pod.name.clone(),
        uid: target.pod.uid.clone(),
        resource_version: target.pod.resource_version.clone(),
        container: container.name.clone(),
        limit,
        request: target.pod.guaranteed.then_some(limit),
    })
}

/// Resizes that are due, from a live snapshot, each with its reason. `busy`: pods that a remediation is restarting
/// now and resizes itself.
pub fn due(ctx: &Context<'_>, busy: &[PodName]) -> Vec<(Effect, String)> {
    if ctx.policy.mode != Mode::Enforce || !ctx.policy.headroom.resize_pod {
        return Vec::new();
    }
    let targets = ctx.snapshot.targets.iter().filter(|target| !busy.contains(&target.pod.name));
    targets
        .filter_map(|target| {
            let owner = target.pod.owner.as_ref();
            let claims = &ctx.snapshot.claimed_by_other;
            if owner.is_some_and(|owner| claims.iter().any(|(uid, _)| *uid == owner.uid)) {
                return None;
            }
            let wanted = [demanded(ctx, target), lacking_for_a_restart(ctx, target), ends_a_loop(ctx, target)];
            let around = &ctx.snapshot.surroundings;
            let possible = wanted.into_iter().flatten().filter_map(|(need, reason)| {
                let left_alone = around.leaves_alone(&target.pod.uid, Kept::Limit, &need.to_string());
                Some((need, effect(ctx, target, need).filter(|_| !left_alone)?, reason))
            });
            possible.max_by_key(|(need, ..)| *need).map(|(_, effect, reason)| (effect, reason))
        })
        .collect()
}

/// The Resize step that must follow the eviction of that member: its template gives less than the policy demands, so
/// the replacement must be resized before it has loaded. The larger of the live limit and the demand is kept; without
/// the right to resize what the pod had is enough, and a template that gives as much needs no step.
pub fn replacement_step(ctx: &Context<'_>, target: &Target) -> Option<(Step, String)> {
    if !ctx.policy.headroom.resize_pod {
        return None;
    }
    let container = target.pod.container.as_ref().ok()?;
    let set = ctx.look.set_of(target)?;
    let template = set.template_limits.iter().find(|(name, _)| *name == container.name)?.1?;
    let maxmemory = target.sample()?.memory.maxmemory;
    let mut limit = container.limit().unwrap_or_default();
    let may_raise = ctx.snapshot.rights.resize != Right::Denied;
    if may_raise
        && maxmemory > Bytes::ZERO
        && template.max(limit) < headroom::required_exactly(&ctx.policy.headroom, maxmemory)
    {
        limit = headroom::required_limit(&ctx.policy.headroom, maxmemory);
    }
    if let Some(maximum) = ctx.policy.headroom.maximum_limit {
        limit = limit.min(maximum);
    }
    let possible = !container.resize_restarts && !target.pod.pod_level_resources && ctx.snapshot.resize_supported;
    (template < limit && possible).then(|| {
        let reason = format!("the template gives {template}; the pod before had, or needs, {limit}");
        (Step::Resize { pod: target.pod.name.clone(), limit }, reason)
    })
}

/// The effect of a [`Step::Resize`] on the live pod, or `None` when its `spec` already holds the limit.
pub fn step_effect(ctx: &Context<'_>, target: &Target, limit: Bytes) -> Option<Effect> {
    let container = target.pod.container.as_ref().ok()?;
    if container.spec_limit.is_some_and(|have| have >= limit) {
        return None;
    }
    effect(ctx, target, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            fixtures::{self, NOW},
            oom::Kill,
            policy::Policy,
            snapshot::{Observation, Snapshot},
            surroundings::{LeftAlone, Undone},
        },
        plan::PlanSettings,
    };

    /// A world whose exact need is no whole number of mebibytes.
    fn unaligned() -> (Policy, Snapshot, Bytes) {
        let (policy, mut snapshot) = fixtures::enforced();
        let maxmemory = fixtures::MAXMEMORY + Bytes(1000);
        let need = headroom::required_exactly(&policy.headroom, maxmemory);
        assert_ne!(need, headroom::required_limit(&policy.headroom, maxmemory));
        for target in &mut snapshot.targets {
            let Observation::Seen(sample) = &mut target.redis else { panic!("a sample") };
            sample.memory.maxmemory = maxmemory;
            limit(target, need);
        }
        snapshot.stateful_sets[0].template_limits = vec![("redis".into(), Some(need))];
        (policy, snapshot, need)
    }

    fn limit(target: &mut Target, limit: Bytes) {
        let container = target.pod.container.as_mut().unwrap();
        (container.spec_limit, container.live_limit) = (Some(limit), Some(limit));
    }

    fn with<T>(policy: &Policy, snapshot: &Snapshot, look: impl FnOnce(&Context<'_>) -> T) -> T {
        let settings = PlanSettings::default();
        look(&Context::of(policy, snapshot, &[], NOW, &settings))
    }

    #[test]
    fn a_limit_that_is_exactly_enough_is_not_raised_to_the_next_mebibyte() {
        let (policy, mut snapshot, need) = unaligned();
        assert_eq!(with(&policy, &snapshot, |ctx| due(ctx, &[])), []);
        assert_eq!(with(&policy, &snapshot, |ctx| replacement_step(ctx, &snapshot.targets[1])), None);
        limit(&mut snapshot.targets[1], Bytes(need.0 - 1));
        let due = with(&policy, &snapshot, |ctx| due(ctx, &[]));
        let [(Effect::Resize { pod, limit, .. }, _)] = due.as_slice() else { panic!("{due:?}") };
        assert_eq!((pod, *limit), (&fixtures::pod_name(1), need.round_up_mib()));
    }

    #[test]
    fn a_template_that_is_a_byte_short_has_its_replacement_resized() {
        let (policy, mut snapshot, need) = unaligned();
        snapshot.stateful_sets[0].template_limits = vec![("redis".into(), Some(Bytes(need.0 - 1)))];
        let step = with(&policy, &snapshot, |ctx| replacement_step(ctx, &snapshot.targets[1]));
        assert!(matches!(step, Some((Step::Resize { limit, .. }, _)) if limit == need), "{step:?}");
    }

    /// redis-1 is killed while it loads, as it was seen by the look before this one.
    fn killed_while_loading() -> (Policy, Snapshot) {
        let (policy, mut snapshot) = fixtures::enforced();
        let at = fixtures::seconds_ago(30);
        let container = snapshot.targets[1].pod.container.as_mut().unwrap();
        container.killed = Some(Kill { started_at: Some(fixtures::seconds_ago(50)), at });
        snapshot.targets[1].redis = Observation::Pending;
        snapshot.targets[1].history.clear();
        (policy, snapshot)
    }

    #[test]
    fn a_load_loop_is_ended_once_its_kills_are_stored() {
        let (policy, mut snapshot) = killed_while_loading();
        assert_eq!(with(&policy, &snapshot, |ctx| due(ctx, &[])), [], "they are not stored yet");
        snapshot.surroundings.kills = with(&policy, &snapshot, |ctx| ctx.look.kills.clone());
        let raised = with(&policy, &snapshot, |ctx| due(ctx, &[]));
        let [(Effect::Resize { pod, limit, .. }, reason)] = raised.as_slice() else { panic!("{raised:?}") };
        assert_eq!((pod, *limit), (&fixtures::pod_name(1), Bytes::mib(1280)));
        assert_eq!(reason, "the kernel killed it once while it loaded its data: only a higher limit ends that");
        for (what, forbid) in [
            ("observe", (|policy, _| policy.mode = Mode::Observe) as fn(&mut Policy, &mut Snapshot)),
            ("no remedy", |policy, _| policy.headroom.resize_pod = false),
            ("left alone", |_, snapshot| {
                snapshot.surroundings.left_alone = vec![LeftAlone {
                    pod: fixtures::pod_name(1),
                    uid: fixtures::pod_uid(1),
                    kept: Kept::Limit,
                    value: Bytes::mib(1280).to_string(),
                    times: 3,
                    undone: Undone::By(None),
                    until: NOW,
                }];
            }),
        ] {
            let (mut policy, mut snapshot) = (policy.clone(), snapshot.clone());
            forbid(&mut policy, &mut snapshot);
            assert_eq!(with(&policy, &snapshot, |ctx| due(ctx, &[])), [], "{what}");
        }
    }

    /// A restart is due, and a full sync lacks room on the primary.
    #[test]
    fn a_restart_that_is_due_gets_the_room_of_its_full_sync_first() {
        let (mut policy, mut snapshot) = fixtures::enforced();
        policy.headroom.minimum = Bytes::mib(1);
        for target in &mut snapshot.targets {
            target.sample_mut().unwrap().memory.maxmemory = Bytes::mib(100);
            limit(target, Bytes::mib(210));
        }
        // 201 MiB resident, and a quarter of 69 MiB for the fork.
        let need = Bytes(201 * 1024 * 1024 + 69 * 1024 * 1024 / 4).round_up_mib();
        let resized = |policy: &Policy, snapshot: &Snapshot| {
            let due = with(policy, snapshot, |ctx| due(ctx, &[]));
            let limits = due.into_iter().map(|(effect, _)| match effect {
                Effect::Resize { limit, .. } => limit,
                other => panic!("{other:?}"),
            });
            limits.collect::<Vec<_>>()
        };
        assert_eq!(resized(&policy, &snapshot), [need; 3], "all members stay alike");
        let calm = Policy { suspend: true, ..policy.clone() };
        assert_eq!(resized(&calm, &snapshot), [], "nothing is restarted");
        policy.headroom.maximum_limit = Some(Bytes::mib(215));
        assert_eq!(resized(&policy, &snapshot), [], "not above the maximum");
        policy.headroom.maximum_limit = None;
        snapshot.targets.iter_mut().for_each(|target| limit(target, need));
        assert_eq!(resized(&policy, &snapshot), []);
    }

    // Found by reading: what maxmemory demands was above the maximum, and hid the raise that was allowed.
    #[test]
    fn a_demand_above_the_maximum_does_not_hide_what_ends_a_load_loop() {
        let (mut policy, mut snapshot) = killed_while_loading();
        let target = &mut snapshot.targets[1];
        target.redis = fixtures::three_pods().targets[1].redis.clone();
        let sample = target.sample_mut().unwrap();
        (sample.persistence.loading, sample.memory.maxmemory) = (true, Bytes::mib(4096));
        policy.headroom.maximum_limit = Some(Bytes::mib(2048));
        snapshot.surroundings.kills = with(&policy, &snapshot, |ctx| ctx.look.kills.clone());
        let due = with(&policy, &snapshot, |ctx| due(ctx, &[]));
        let [(Effect::Resize { pod, limit, .. }, _)] = due.as_slice() else { panic!("{due:?}") };
        assert_eq!((pod, *limit), (&fixtures::pod_name(1), Bytes::mib(1280)));
    }
}
