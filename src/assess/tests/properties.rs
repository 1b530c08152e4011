//! What holds for any snapshot: order does not matter, nobody is lost, what was not seen is not judged.

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        peaks::Peaks,
        policy::{HeadroomMethod, HeadroomRule},
        sample::ReplicaLink,
    },
    topology,
};

/// What a member of a random snapshot is.
#[derive(Clone, Debug)]
enum Member {
    Primary,
    Follows(u8),
    FollowsStranger,
    Unseen,
}

fn member() -> impl Strategy<Value = Member> {
    prop_oneof![
        Just(Member::Primary),
        (0_u8..6).prop_map(Member::Follows),
        Just(Member::FollowsStranger),
        Just(Member::Unseen),
    ]
}

/// Members of up to two sets, some in cluster mode, each with a ratio.
fn snapshot() -> impl Strategy<Value = Snapshot> {
    prop::collection::vec((member(), any::<bool>(), any::<bool>(), 50_u32..600), 0..6).prop_map(|members| {
        let mut snapshot = three_pods();
        snapshot.targets = (0..)
            .zip(members)
            .map(|(n, (member, second_set, cluster, ratio))| {
                let mut target = fixtures::target(n);
                if second_set && let Some(owner) = &mut target.pod.owner {
                    owner.uid = "second".into();
                    owner.name = "second".into();
                }
                target.history.iter_mut().for_each(|r| r.ratio = Ratio(ratio));
                let Observation::Seen(sample) = &mut target.redis else { return target };
                sample.replication.replicas.clear();
                sample.server.cluster_enabled = cluster;
                let follow = |primary| {
                    Role::Replica(ReplicaLink { primary, link_up: cluster, sync_in_progress: false, read_only: true })
                };
                match member {
                    Member::Primary => sample.replication.role = Role::Primary,
                    Member::Follows(m) => sample.replication.role = follow(fixtures::address(m)),
                    Member::FollowsStranger => sample.replication.role = follow(fixtures::address(9)),
                    Member::Unseen => target.redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into())),
                }
                target
            })
            .collect();
        snapshot
    })
}

/// Any amount; mostly one that meets the others.
fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..1 << 33, 1 => any::<u64>()]
}

/// Headroom by either method.
fn rule() -> impl Strategy<Value = HeadroomRule> {
    (any::<bool>(), 10_u32..=400, amount(), any::<bool>()).prop_map(|(measured, percent, minimum, resize_pod)| {
        let method = if measured { HeadroomMethod::Measured } else { HeadroomMethod::Fixed };
        HeadroomRule { method, percent, minimum: Bytes(minimum), resize_pod, ..policy().headroom }
    })
}

fn of_one_kind(one: FindingCode, other: FindingCode) -> bool {
    let band = |code: FindingCode| code.as_str().starts_with("Fragmentation");
    one == other || (band(one) && band(other))
}

fn found(snapshot: &Snapshot) -> Vec<Finding> {
    Assessment::of(&policy(), snapshot, &AssessSettings::default()).findings(&[], None)
}

proptest! {
    #[test]
    fn the_order_of_targets_does_not_matter(snapshot in snapshot(), turn in 0_usize..6) {
        let expected = found(&snapshot);
        let mut turned = snapshot.clone();
        let n = turned.targets.len().max(1);
        let by = (turn % n).min(turned.targets.len());
        turned.targets.rotate_left(by);
        prop_assert_eq!(found(&turned), expected);
    }

    #[test]
    fn every_target_is_in_one_shard(snapshot in snapshot()) {
        let shards = topology::find(&policy(), &snapshot);
        let mut members: Vec<_> = shards.iter().flat_map(|w| w.members.iter().map(|t| &t.pod.name)).collect();
        members.sort();
        prop_assert_eq!(members, snapshot.targets.iter().map(|t| &t.pod.name).collect::<Vec<_>>());
        for shard in &shards {
            let parts = shard.lead.all().len() + shard.replicas.len() + shard.unknown.len();
            prop_assert_eq!(parts, shard.members.len());
        }
    }

    #[test]
    fn what_was_not_seen_is_not_judged(snapshot in snapshot()) {
        let findings = found(&snapshot);
        for target in snapshot.targets.iter().filter(|t| t.sample().is_none()) {
            let said: Vec<_> = findings.iter().filter(|f| f.pod.as_ref() == Some(&target.pod.name)).map(|f| f.code).collect();
            prop_assert_eq!(said, vec![Unreachable]);
        }
    }

    #[test]
    fn two_primaries_and_no_primary_are_never_said_of_one_workload_that_has_one(snapshot in snapshot()) {
        let findings = codes(&found(&snapshot));
        let shards = topology::find(&policy(), &snapshot);
        if shards.iter().all(|w| w.lead.all().len() == 1) {
            prop_assert!(!findings.contains(&TwoPrimaries) && !findings.contains(&NoPrimary));
        }
    }

    /// By either method, of any amounts: no finding is worse than one of its kind was before. The bands of fragmentation are
    /// one kind.
    #[test]
    fn a_higher_limit_makes_no_finding_worse(
        snapshot in snapshot(),
        (limit, more) in (amount(), amount()),
        (used, rss, maxmemory) in (amount(), amount(), amount()),
        rule in rule(),
    ) {
        let mut policy = policy();
        policy.headroom = rule;
        let with = |limit: u64| {
            let mut snapshot = snapshot.clone();
            for set in &mut snapshot.stateful_sets {
                set.template_limits = vec![("redis".into(), Some(Bytes(limit)))];
            }
            for target in &mut snapshot.targets {
                let container = target.pod.container.as_mut().unwrap();
                (container.spec_limit, container.live_limit) = (Some(Bytes(limit)), Some(Bytes(limit)));
                target.history.iter_mut().for_each(|reading| (reading.used, reading.rss) = (Bytes(used), Bytes(rss)));
                if let Some(sample) = target.sample_mut() {
                    (sample.memory.used, sample.memory.rss) = (Bytes(used), Bytes(rss));
                    sample.memory.maxmemory = Bytes(maxmemory);
                }
                target.peaks = Peaks { covered: Duration::from_secs(used % 90_000), clients: Bytes(rss), ..Peaks::default() };
            }
            Assessment::of(&policy, &snapshot, &AssessSettings::default()).findings(&[], None)
        };
        let (before, after) = (with(limit), with(limit.saturating_add(more)));
        for one in &after {
            let was = before.iter().filter(|was| was.pod == one.pod && of_one_kind(was.code, one.code));
            prop_assert!(was.map(|was| was.severity).max() >= Some(one.severity), "{one:#?} {before:#?}");
        }
    }
}
