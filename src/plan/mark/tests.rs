//! Marks of two primaries: made, standing, going.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::{
    domain::{
        blocked::BlockReason,
        finding::FindingCode,
        fixtures::{self, NOW},
        names::RunId,
        policy::{AuthorityRule, Policy},
        sample::{PreviousHistory, Role, Sample},
        snapshot::{Observation, Snapshot},
    },
    plan::{PlanSettings, decide, effect::Effect, labels, next::Next},
};

/// The history of redis-1, which clients were led to.
const RIGHT: &str = "1111111111111111111111111111111111111111";
/// The history that redis-0 began when it came back as a primary.
const STALE: &str = "0000000000000000000000000000000000000001";
/// The offset of redis-1 when both were seen.
const OFFSET: u64 = 2_000_000;

struct World {
    policy: Policy,
    snapshot: Snapshot,
    records: Vec<WorkloadRecord>,
    settings: PlanSettings,
}

impl World {
    /// redis-1 is primary and labelled; redis-0 has come back as a primary with what it held then.
    fn split() -> Self {
        let (policy, snapshot) = fixtures::enforced();
        let mut world = Self { policy, snapshot, records: Vec::new(), settings: PlanSettings::default() };
        world.snapshot.targets[0].pod.role_label = None;
        world.snapshot.targets[1].pod.role_label = Some("primary".into());
        for (n, replid, offset, keys) in [(0, STALE, 1_500_000, 1_000), (1, RIGHT, OFFSET, 6_000)] {
            let sample = world.sample(n);
            sample.replication.role = Role::Primary;
            sample.replication.replid = replid.into();
            sample.replication.offset = offset;
            sample.replication.replicas.clear();
            sample.keys = keys;
        }
        world
    }

    fn sample(&mut self, n: usize) -> &mut Sample {
        self.snapshot.targets[n].sample_mut().expect("the fixture has a sample")
    }

    fn ctx(&self) -> Context<'_> {
        Context::of(&self.policy, &self.snapshot, &self.records, NOW, &self.settings)
    }

    /// The records are written, if they must be.
    fn remember(&mut self) -> bool {
        match decide::decide(&self.ctx(), None, false, true).act {
            Next::Remember(records) => {
                self.records = records;
                true
            }
            _ => false,
        }
    }

    fn marked() -> Self {
        let mut world = Self::split();
        assert!(world.remember(), "two primaries leave a mark");
        assert!(!world.remember(), "once");
        world
    }

    /// The process of redis-1 is gone; it is back as a replica of redis-0, which is left alone.
    fn only_the_stale_one_is_left(&mut self) {
        self.snapshot.targets[1].pod.role_label = None;
        let back = self.sample(1);
        back.run_id = RunId::from("back");
        back.keys = 1_000;
        back.replication.role = fixtures::replica_role();
        back.replication.replid = STALE.into();
        self.sample(2).keys = 1_000;
        self.sample(2).replication.replid = STALE.into();
        self.sample(0).replication.replicas = vec![fixtures::replica_line(1), fixtures::replica_line(2)];
    }

    fn labels(&self) -> Vec<String> {
        labels::due(&self.ctx(), None)
            .into_iter()
            .filter_map(|(effect, _)| match effect {
                Effect::Label { pod, value, .. } => Some(format!("{pod}={value}")),
                _ => None,
            })
            .collect()
    }

    fn mark(&self) -> Option<&SeveralPrimaries> {
        self.records.iter().find_map(|record| record.several_primaries.as_ref())
    }
}

fn pod(claimant: &Claimant) -> &str {
    claimant.identity.pod.as_str()
}

// The review's case: everything that was acknowledged at redis-1 after the split is gone, one primary is left, and the
// clients were led to it as if nothing had been.
#[test]
fn no_label_follows_the_stale_one_that_is_left() {
    let mut world = World::marked();
    let mark = world.mark().expect("it stands");
    assert_eq!(mark.recorded.as_ref().map(pod), Some("redis-1"));
    assert_eq!(mark.others.iter().map(pod).collect::<Vec<_>>(), ["redis-0"]);
    assert!(world.records[0].outcome.is_none(), "nothing was ever remediated here");
    world.only_the_stale_one_is_left();
    assert!(!world.remember(), "the mark stands");
    assert_eq!(world.labels(), Vec::<String>::new());
    let decision = decide::decide(&world.ctx(), None, false, true);
    assert_eq!(decision.act, Next::Rest);
    let text = &decision.blocked.iter().find(|it| it.reason == BlockReason::TwoPrimaries).expect("refused").text;
    for said in
        ["redis-1 (6000 keys, offset 2000000, history 11111111", "redis-0 (1000 keys", "redis-0 is the only one now"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    let findings = world.ctx().look.findings(&world.records, None);
    assert!(findings.iter().any(|finding| finding.code == FindingCode::TwoPrimaries), "{findings:?}");
    assert!(!findings.iter().any(|finding| finding.code == FindingCode::RoleLabelMissing), "no label is announced");
    for finding in &findings {
        assert!(finding.evidence.len() <= 500 && finding.remedy.len() <= 500, "{finding:?}");
    }

    // A person has compared, and says so by the annotation that the text names.
    let wanted = text.rsplit_once("redismemory.io/accept-primary=").expect("it is named").1.to_owned();
    world.snapshot.surroundings.accepted = Some("redis-2.1".into());
    assert!(!world.remember(), "another acceptance is none");
    world.snapshot.surroundings.accepted = Some(wanted);
    assert!(world.remember() && world.mark().is_none());
    assert_eq!(world.labels(), ["redis-0=primary", "redis-1=replica"]);
}

#[test]
fn the_recorded_one_alone_again_ends_it() {
    let mut world = World::marked();
    world.sample(0).replication.role = fixtures::replica_role();
    assert_eq!(world.labels(), ["redis-0=replica"], "clients follow it before the mark is gone, too");
    assert!(world.remember() && world.mark().is_none());
}

#[test]
fn nothing_is_settled_while_a_member_is_silent() {
    let mut world = World::marked();
    world.snapshot.targets[0].redis = Observation::Failed(crate::domain::snapshot::ProbeFailure::TimedOut("x".into()));
    assert!(!world.remember());
}

fn promoted(world: &mut World, replid: &str, end: u64) {
    world.only_the_stale_one_is_left();
    world.sample(0).replication.role = fixtures::replica_role();
    let third = world.sample(2);
    third.replication.role = Role::Primary;
    third.replication.replid = "2".repeat(40);
    third.replication.previous = Some(PreviousHistory { replid: replid.into(), end });
}

/// redis-2, which followed redis-1, was promoted: by its lineage it holds what was there when the two were seen, or not.
#[rstest]
#[case::later(RIGHT, OFFSET + 1, true)]
#[case::earlier(RIGHT, OFFSET, false)]
#[case::of_the_other(STALE, OFFSET + 1000, false)]
fn a_promoted_replica_of_the_recorded_one_continues_it(#[case] replid: &str, #[case] end: u64, #[case] settles: bool) {
    let mut world = World::marked();
    promoted(&mut world, replid, end);
    assert_eq!(world.remember(), settles);
    assert_eq!(world.labels().is_empty(), !settles);
}

// A server that starts from a snapshot which a replica wrote names its former primary's history as its own past.
#[test]
fn the_other_claimant_is_no_continuation_whatever_it_says_of_its_past() {
    let mut world = World::marked();
    world.only_the_stale_one_is_left();
    let stale = world.sample(0);
    stale.run_id = RunId::from("again");
    stale.replication.replid = "3".repeat(40);
    stale.replication.previous = Some(PreviousHistory { replid: RIGHT.into(), end: OFFSET + 1 });
    assert!(!world.remember());
    assert_eq!(world.labels(), Vec::<String>::new());
}

#[rstest]
#[case::nothing_is_lost_where_nothing_is_held(|w: &mut World| { w.sample(0).keys = 0; w.sample(1).keys = 0; })]
#[case::a_sentinel_decides(|w: &mut World| w.sample(0).sentinel_seen = Some(true))]
#[case::another_policy_acts(|w: &mut World| w.snapshot.claimed_by_other = vec![(fixtures::set_uid(), "other".into())])]
fn no_mark(#[case] change: fn(&mut World)) {
    let mut world = World::split();
    change(&mut world);
    assert!(!world.remember());
}

/// Whom clients were led to, by the best sign that there is.
#[rstest]
#[case::by_the_label(|_: &mut World| {}, Some("redis-1"))]
#[case::by_our_record(|w: &mut World| {
    w.snapshot.targets[0].pod.role_label = Some("primary".into());
    let primary = identity(&w.snapshot.targets[0]);
    w.records = vec![WorkloadRecord { primary, ..WorkloadRecord::new(fixtures::shard_id(), "redis".into(), NOW) }];
}, Some("redis-0"))]
#[case::by_who_follows(|w: &mut World| w.snapshot.targets[1].pod.role_label = None, Some("redis-0"))]
#[case::by_what_it_holds(|w: &mut World| {
    w.snapshot.targets[1].pod.role_label = None;
    w.sample(2).replication.role = Role::Primary;
    w.sample(2).keys = 0;
    w.sample(0).keys = 0;
}, Some("redis-1"))]
#[case::by_nothing(|w: &mut World| {
    w.snapshot.targets[1].pod.role_label = None;
    w.sample(2).replication.role = Role::Primary;
}, None)]
fn the_recorded_one(#[case] change: fn(&mut World), #[case] expected: Option<&str>) {
    let mut world = World::split();
    world.policy.redis.authority = AuthorityRule::Label;
    change(&mut world);
    assert!(world.remember());
    assert_eq!(world.mark().expect("made").recorded.as_ref().map(pod), expected);
}
