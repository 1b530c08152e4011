//! Keeping the role label under authority Operator: every pod says its live role, and Services follow.

use super::{Context, effect::Effect, replica};
use crate::{
    assess::{empty, several},
    domain::{
        journal::Journal,
        pod::Right,
        policy::{Mode, Policy},
        snapshot::Target,
        step::Step,
        surroundings::Kept,
    },
    topology::Shard,
};

/// Members whose role label does not say their live role, with the value that it should have; the primary first.
/// Empty unless exactly one member is primary: with none or two, moving labels would move clients on a guess.
pub fn wrong<'a>(policy: &Policy, shard: &Shard<'a>) -> Vec<(&'a Target, String)> {
    let Some(primary) = shard.primary() else {
        return Vec::new();
    };
    // Clients must not be led to a primary that lost its data while a replica still holds it.
    if empty::primary_empty(shard).is_some() {
        return Vec::new();
    }
    let label = &policy.redis.role_label;
    let members = shard.members.iter().copied();
    let mut wrong: Vec<(&Target, String)> = members
        .filter(|target| !target.pod.terminating)
        .filter_map(|target| {
            let should = label.value_of(&target.sample()?.replication.role)?;
            (target.pod.role_label.as_deref() != Some(should)).then(|| (target, should.to_owned()))
        })
        .collect();
    wrong.sort_by_key(|(target, _)| (target.pod.uid != primary.pod.uid, target.pod.name.clone()));
    wrong
}

/// Label moves that are due, from a live snapshot. During a switchover its two pods are left to it.
pub fn due(ctx: &Context<'_>, journal: Option<&Journal>) -> Vec<(Effect, String)> {
    if ctx.policy.mode != Mode::Enforce || ctx.snapshot.rights.label != Right::Granted {
        return Vec::new();
    }
    // Not before it has begun: its own gates wait for labels that say the roles.
    let begun = journal.filter(|journal| journal.current.begun_at.is_some());
    let switching = begun.and_then(|journal| match journal.step() {
        Some(Step::Switchover { from, to: Some(to) }) => Some([from, to]),
        _ => None,
    });
    let mut due = Vec::new();
    for shard in &ctx.look.shards {
        let templated = shard.stateful_sets.iter().any(|set| set.template_role_label.is_some());
        let claimed = shard.claimed_by(ctx.snapshot).is_some();
        if !shard.follow.is_ours() || claimed || templated || shard.fails_over() {
            continue;
        }
        // After two primaries clients are not led to one that lacks what they were told is stored.
        if several::unsettled(shard, ctx.records).is_some() {
            continue;
        }
        // A member that does not answer may be the primary that clients are using: then no label that a pod has is
        // moved on the word of the others, and only new pods get theirs.
        let blind = !shard.unknown.is_empty();
        // In the middle of a hand-over nobody is primary, and one that then says so need not have been given the role.
        if let (Some(pods), Some(primary)) = (switching, shard.primary()) {
            let two = shard.members.iter().copied().filter(|member| pods.contains(&&member.pod.name));
            let third = !pods.contains(&&primary.pod.name);
            if third && !replica::adopted(shard, primary, two) {
                continue;
            }
        }
        for (target, value) in wrong(ctx.policy, shard) {
            if blind && (target.pod.role_label.is_some() || value == ctx.policy.redis.role_label.primary) {
                continue;
            }
            if switching.is_some_and(|pods| pods.contains(&&target.pod.name)) {
                continue;
            }
            if ctx.snapshot.surroundings.leaves_alone(&target.pod.uid, Kept::RoleLabel, &value) {
                continue;
            }
            let label = &ctx.policy.redis.role_label;
            let reason = format!("{} is live {value}; Services follow {}", target.pod.name, label.key);
            due.push((Effect::label(target, label, value), reason));
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        assess::AssessSettings,
        domain::{
            fixtures::{self, NOW},
            policy::AuthorityRule,
            sample::Role,
            snapshot::{Observation, ProbeFailure, Snapshot},
        },
        plan::PlanSettings,
    };

    fn labels(snapshot: &Snapshot, mode: Mode) -> Vec<(String, String)> {
        let mut policy = fixtures::policy();
        policy.mode = mode;
        policy.redis.authority = AuthorityRule::Operator;
        let settings = PlanSettings {
            assess: AssessSettings::default(),
            proof_settle: Duration::ZERO,
            proof_timeout: Duration::ZERO,
            switchover: crate::domain::switchover::SwitchoverChoice::Auto,
        };
        let ctx = Context::of(&policy, snapshot, &[], NOW, &settings);
        let due = due(&ctx, None).into_iter();
        due.filter_map(|(effect, _)| match effect {
            Effect::Label { pod, value, .. } => Some((pod.to_string(), value)),
            _ => None,
        })
        .collect()
    }

    fn unlabelled() -> Snapshot {
        let mut snapshot = fixtures::three_pods();
        for target in &mut snapshot.targets {
            target.pod.role_label = None;
        }
        snapshot
    }

    fn pair(pod: &str, value: &str) -> (String, String) {
        (pod.to_owned(), value.to_owned())
    }

    #[test]
    fn every_pod_gets_its_live_role_the_primary_first() {
        let expected = [pair("redis-0", "primary"), pair("redis-1", "replica"), pair("redis-2", "replica")];
        assert_eq!(labels(&unlabelled(), Mode::Enforce), expected);
        assert_eq!(labels(&unlabelled(), Mode::Observe), []);
    }

    #[test]
    fn with_two_primaries_or_none_no_label_moves() {
        let mut snapshot = unlabelled();
        let Observation::Seen(sample) = &mut snapshot.targets[1].redis else { panic!("a sample") };
        sample.replication.role = Role::Primary;
        assert_eq!(labels(&snapshot, Mode::Enforce), []);
    }

    #[test]
    fn while_a_member_is_silent_only_new_replicas_are_labelled() {
        let mut snapshot = unlabelled();
        snapshot.targets[1].redis = Observation::Failed(ProbeFailure::TimedOut("silent".into()));
        assert_eq!(labels(&snapshot, Mode::Enforce), [pair("redis-2", "replica")]);
    }

    #[test]
    fn without_the_right_nothing_is_tried() {
        let mut snapshot = unlabelled();
        snapshot.rights.label = Right::Denied;
        assert_eq!(labels(&snapshot, Mode::Enforce), []);
    }
}
