//! A plan of a large set is cut between whole restarts and whole hand-overs, and the next plan does the rest.

use jiff::SignedDuration;
use rstest::rstest;

use super::*;
use crate::{
    domain::{
        addresses::PodAddresses,
        fixtures::{self, NOW, pod_name},
        journal::{Outcome, RestartRecord, WorkloadRecord},
        names::{NodeAddress, PodUid, RunId},
        policy::Policy,
        ratio::Ratio,
        sample::{ReplicaLine, ReplicaLink, Role, Sample},
        snapshot::{Observation, Snapshot},
        step::StepKind,
    },
    plan::{
        PlanSettings, advance,
        begin::{self, Considered},
        next::Next,
    },
};

fn sample(target: &mut Target) -> &mut Sample {
    match &mut target.redis {
        Observation::Seen(sample) => sample,
        Observation::Failed(_) | Observation::Pending => panic!("no sample"),
    }
}

/// A set of `n` pods, the first of them primary, each due for a restart. `resize`: replacements are too small.
struct Set {
    policy: Policy,
    snapshot: Snapshot,
    primary: u8,
    records: Vec<WorkloadRecord>,
    settings: PlanSettings,
    restarts: u32,
}

impl Set {
    fn new(pods: u8, resize: bool) -> Self {
        let (mut policy, mut snapshot) = if pods == 1 { fixtures::standalone() } else { fixtures::enforced() };
        policy.restart.minimum_synced_replicas = 0;
        if pods > 1 {
            snapshot.targets = (0..pods).map(member).collect();
            snapshot.services =
                vec![fixtures::primary_service((0..pods).map(pod_name).collect(), vec!["uid-0".into()])];
        }
        for set in &mut snapshot.stateful_sets {
            set.replicas = pods.into();
            if resize {
                set.template_limits = vec![("redis".into(), Some(Bytes::mib(700)))];
            }
        }
        let mut set =
            Self { policy, snapshot, primary: 0, records: Vec::new(), settings: PlanSettings::default(), restarts: 0 };
        set.lead(0);
        set
    }

    fn ctx(&self) -> Context<'_> {
        let Self { policy, snapshot, records, settings, .. } = self;
        Context::of(policy, snapshot, records, NOW, settings)
    }

    fn consider(&self) -> Considered {
        begin::consider(&self.ctx())
    }

    /// Makes that pod the primary and all others its replicas.
    fn lead(&mut self, primary: u8) {
        self.primary = primary;
        let pods = u8::try_from(self.snapshot.targets.len()).unwrap();
        for n in 0..pods {
            let target = &mut self.snapshot.targets[usize::from(n)];
            let leads = n == primary;
            if pods > 1 {
                target.pod.role_label = Some(if leads { "primary" } else { "replica" }.into());
            }
            let replication = &mut sample(target).replication;
            let link = ReplicaLink { primary: name(primary), link_up: true, sync_in_progress: false, read_only: true };
            replication.role = if leads { Role::Primary } else { Role::Replica(link) };
            replication.replicas = (0..pods).filter(|other| leads && *other != n).map(line).collect();
        }
    }

    /// What the steps do, all at once: every pod that is restarted is clean, the role is where it was handed to.
    fn carry_out(&mut self, steps: &[PlannedStep]) {
        for planned in steps {
            let number = |pod: &PodName| pod.as_str().rsplit('-').next().unwrap().parse::<u8>().unwrap();
            match &planned.step {
                Step::Switchover { to, .. } => self.lead(number(to.as_ref().unwrap())),
                Step::Evict { pod } => {
                    self.restarts += 1;
                    let target = &mut self.snapshot.targets[usize::from(number(pod))];
                    target.pod.uid = PodUid::new(format!("replacement-{}", self.restarts));
                    let (uid, run_id) = (target.pod.uid.clone(), RunId::new(format!("replaced{}", self.restarts)));
                    let clean = sample(target);
                    (clean.pod_uid, clean.run_id) = (uid, run_id.clone());
                    (clean.memory.rss, clean.memory.ratio) = (Bytes::mib(80), Ratio(115));
                    target.history = fixtures::history(&run_id, Ratio(115), fixtures::USED, Bytes::mib(80));
                }
                _ => {}
            }
        }
        let at = NOW.saturating_sub(SignedDuration::from_secs(60)).unwrap();
        let restarts = restarted_pods(steps).into_iter().map(|pod| RestartRecord { pod, at }).collect();
        self.records.push(WorkloadRecord {
            outcome: Some(Outcome::Succeeded),
            remediation: "r".into(),
            generation: 1,
            restarts,
            ..WorkloadRecord::new(fixtures::shard_id(), "redis".into(), at)
        });
    }
}

fn name(n: u8) -> NodeAddress {
    NodeAddress { host: format!("redis-{n}.redis.shop.svc"), port: fixtures::PORT }
}

fn line(n: u8) -> ReplicaLine {
    let address = NodeAddress { host: format!("10.0.1.{n}"), port: fixtures::PORT };
    ReplicaLine { address, ..fixtures::replica_line(1) }
}

fn member(n: u8) -> Target {
    let mut target = fixtures::target(n % 10);
    target.pod.name = pod_name(n);
    target.pod.uid = PodUid::new(format!("uid-{n}"));
    target.pod.addresses = PodAddresses::of([format!("10.0.1.{n}").as_str()]);
    target.pod.dns_name = Some(name(n).host);
    let run_id = RunId::new(format!("run{n}"));
    target.history = fixtures::history(&run_id, Ratio(291), fixtures::USED, fixtures::RSS);
    let uid = target.pod.uid.clone();
    let seen = sample(&mut target);
    (seen.run_id, seen.pod_uid) = (run_id, uid);
    target
}

fn pods_of(steps: &[PlannedStep], kind: StepKind) -> Vec<PodName> {
    steps.iter().filter(|planned| planned.step.kind() == kind).map(|planned| planned.step.pod().clone()).collect()
}

/// Every pod that is evicted comes back, gets its settings and is proven; every replica of the old primary is repointed.
fn is_whole(steps: &[PlannedStep], members: usize) {
    assert!(steps.len() <= Plan::MAX_STEPS);
    let sorted = |mut pods: Vec<PodName>| {
        pods.sort();
        pods
    };
    let evicted = sorted(pods_of(steps, StepKind::Evict));
    let awaited = [pods_of(steps, StepKind::AwaitReplica), pods_of(steps, StepKind::AwaitPrimary)].concat();
    assert_eq!(sorted(awaited), evicted);
    assert_eq!(sorted(pods_of(steps, StepKind::RestoreSettings)), evicted);
    assert_eq!(sorted(pods_of(steps, StepKind::Prove)), evicted);
    let handed_over = pods_of(steps, StepKind::Switchover);
    let repointed = pods_of(steps, StepKind::Repoint);
    match handed_over.as_slice() {
        [] => assert_eq!(repointed, Vec::<PodName>::new()),
        [old] => {
            assert_eq!(repointed.len(), members - 2);
            assert_eq!(evicted.iter().filter(|pod| *pod == old).count(), 1);
            let proven = |planned: &PlannedStep| planned.step.kind() == StepKind::Prove && planned.step.pod() != old;
            let exchange = steps.iter().position(|planned| planned.step.kind() == StepKind::Switchover);
            assert!(steps.iter().rposition(proven) < exchange, "nothing is handed over before the proofs hold");
        }
        more => panic!("{more:?}"),
    }
}

#[rstest]
fn a_plan_is_cut_between_whole_units_and_the_next_one_does_the_rest(#[values(false, true)] resize: bool) {
    for pods in 1..=40 {
        let mut set = Set::new(pods, resize);
        let mut restarted = Vec::new();
        let mut plans = 0;
        while let Some(plan) = set.consider().plan {
            plans += 1;
            assert!(plans < 8, "{pods} pods: it does not end");
            let considered = set.consider();
            assert_eq!(considered.blocked, [], "{pods} pods, plan {plans}");
            let journal = considered.begin.expect("nothing is in the way");
            is_whole(&plan.steps, usize::from(pods));
            let evicted = restarted_pods(&plan.steps);
            let all: usize = evicted.len() + plan.left.len() + restarted.len();
            assert_eq!((all, &journal.left), (usize::from(pods), &plan.left), "{pods} pods: every pod has its place");
            let says = plan.steps.iter().any(|planned| planned.reason.contains("follow"));
            assert_eq!(says, !plan.left.is_empty() || !pods_of(&plan.steps, StepKind::Repoint).is_empty());
            restarted.extend(evicted);
            set.carry_out(&plan.steps);
        }
        restarted.sort();
        restarted.dedup();
        assert_eq!(restarted.len(), usize::from(pods), "each pod once");
        assert_eq!(set.restarts, u32::from(pods), "each pod once");
    }
}

#[test]
fn the_end_says_what_follows() {
    let mut set = Set::new(16, true);
    let mut journal = set.consider().begin.unwrap();
    assert_eq!(journal.left.len(), 4, "{:?}", journal.left);
    let last = journal.steps.iter().rfind(|planned| planned.step.kind() == StepKind::Prove).unwrap();
    assert!(
        last.reason.ends_with("; then this plan ends, and the other 4 pods follow in the next plan"),
        "{}",
        last.reason
    );
    set.carry_out(&journal.steps.clone());
    journal.cursor = u32::try_from(journal.steps.len()).unwrap();
    let Next::End(record) = advance::next(&set.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Succeeded));
    let left = "; the other 4 pods follow in the next plan: redis-8, redis-9, redis-15, redis-0";
    assert!(record.message.contains("the other 4 pods follow in the next plan: "), "{} {left}", record.message);
    assert!(record.message.ends_with("redis-0"), "the primary is last: {}", record.message);
}

/// What is not due by itself is restarted with its set for once. Where not all fit, it is what waits.
#[test]
fn the_most_urgent_come_first_where_not_all_fit() {
    let mut set = Set::new(20, true);
    for n in 0..19 {
        let target = &mut set.snapshot.targets[n];
        let run_id = sample(target).run_id.clone();
        // A ratio below the threshold, and still enough to gain.
        target.history = fixtures::history(&run_id, Ratio(240), Bytes::mib(84), fixtures::RSS);
    }
    let plan = set.consider().plan.unwrap();
    assert_eq!(restarted_pods(&plan.steps).first(), Some(&pod_name(19)));
    let says = plan.steps.iter().find(|planned| planned.reason.contains("then this plan ends")).unwrap();
    assert!(says.reason.ends_with("the other 8 pods follow when one of them is due"), "{}", says.reason);
}

#[test]
fn a_set_that_no_plan_can_hand_over_is_refused_by_its_size() {
    let refused = |pods| {
        let considered = Set::new(pods, false).consider();
        considered.blocked.into_iter().find(|blocked| blocked.reason.as_str() == "SetTooLarge").map(|one| one.text)
    };
    assert_eq!(refused(56), None);
    let text = refused(57).expect("57 members are too many");
    assert!(text.contains("57 members") && text.contains("56"), "{text}");
    let whole = Set::new(56, true);
    let ctx = whole.ctx();
    let plan = plan(&ctx, &ctx.look.shards[0]).unwrap();
    assert_eq!(plan.left.len() + restarted_pods(&plan.steps).len(), 56);
}
