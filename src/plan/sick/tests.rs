//! When the role leaves a primary that is killed, to whom, and what keeps it where it is.

use jiff::SignedDuration;
use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::{
    domain::{
        blocked::BlockReason,
        fixtures::{self, NOW, pod_name},
        journal::{Journal, Outcome, WorkloadRecord},
        oom::PodKills,
        pod::ResizeProgress,
        policy::Policy,
        request::{Ask, Request, Wanted},
        sample::Sample,
        snapshot::Snapshot,
        step::Plan,
        surroundings::RefusedLimit,
        window::Window,
    },
    plan::{
        PlanSettings,
        decide::{Decision, decide},
        next::Next,
        promise,
    },
};

const MAXMEMORY: Bytes = Bytes::mib(800);
/// What that needs by the policy's 50 %.
const NEED: Bytes = Bytes::mib(1200);

/// A set without fragmentation whose primary was killed for its limit of 1 GiB, which the policy does not raise; redis-2 has
/// what is needed.
struct World {
    policy: Policy,
    snapshot: Snapshot,
    records: Vec<WorkloadRecord>,
}

type Meddle = fn(&mut World);

impl World {
    fn new() -> Self {
        let (mut policy, mut snapshot) = fixtures::enforced();
        policy.headroom.resize_pod = false;
        for target in &mut snapshot.targets {
            target.history.clear();
        }
        let mut world = Self { policy, snapshot, records: Vec::new() };
        for n in 0..3 {
            let sample = world.sample(n);
            (sample.memory.maxmemory, sample.memory.rss) = (MAXMEMORY, sample.memory.used);
            if let Ok(config) = &mut sample.config {
                config.maxmemory = MAXMEMORY;
            }
            world.limit(n, Bytes::mib(1024));
        }
        world.limit(2, NEED);
        world.killed(0, Cause::Headroom);
        world
    }

    fn sample(&mut self, n: usize) -> &mut Sample {
        self.snapshot.targets[n].sample_mut().expect("a sample")
    }

    fn limit(&mut self, n: usize, bytes: Bytes) {
        let container = self.snapshot.targets[n].pod.container.as_mut().unwrap();
        (container.spec_limit, container.live_limit) = (Some(bytes), Some(bytes));
    }

    fn killed(&mut self, n: usize, cause: Cause) {
        let pod = &self.snapshot.targets[n].pod;
        self.snapshot.surroundings.kills.push(PodKills {
            pod: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            first_at: NOW - SignedDuration::from_mins(9),
            last_at: NOW - SignedDuration::from_mins(2),
            times: 2,
            while_loading: 0,
            cause,
            evidence: "last seen with used about 780 MiB".into(),
            loading_limit_bytes: None,
        });
    }

    fn decide(&self, journal: Option<&Journal>) -> (Decision, String) {
        let settings = PlanSettings::default();
        let ctx = Context::of(&self.policy, &self.snapshot, &self.records, NOW, &settings);
        let decision = decide(&ctx, journal, false, true);
        let findings = promise::findings(&ctx, journal, &decision);
        let of_0 = findings.iter().find(|it| it.pod == Some(pod_name(0)) && it.code.as_str().starts_with("OomKill"));
        (decision, of_0.map(|finding| finding.remedy.clone()).unwrap_or_default())
    }

    fn plan(&self) -> Option<Plan> {
        self.decide(None).0.plan
    }

    fn begun(&self) -> Journal {
        match self.decide(None).0.act {
            Next::Begin(journal) => *journal,
            other => panic!("{other:?}"),
        }
    }
}

fn steps(plan: &Plan) -> Vec<Step> {
    plan.steps.iter().map(|planned| planned.step.clone()).collect()
}

#[test]
fn the_role_goes_to_the_member_whose_limit_is_enough_and_nobody_is_restarted() {
    let (decision, remedy) = World::new().decide(None);
    let plan = decision.plan.expect("it is due");
    assert_eq!(
        steps(&plan),
        [
            Step::Switchover { from: pod_name(0), to: Some(pod_name(2)) },
            Step::Repoint { pod: pod_name(1), to: pod_name(2) },
            Step::Repoint { pod: pod_name(0), to: pod_name(2) },
        ]
    );
    let reason = &plan.steps[0].reason;
    assert!(
        reason.starts_with(
            "the kernel killed redis-0 2 times (the limit leaves too little above maxmemory): its limit of 1 GiB is less than \
             the 1200 MiB that maxmemory 800 MiB needs, and is not raised: "
        ),
        "{reason}"
    );
    assert!(reason.contains("; redis-2 has 1200 MiB; "), "{reason}");
    assert!(remedy.starts_with("the operator gives its role to redis-2, whose limit is enough; to end it"), "{remedy}");
    let Next::Begin(journal) = decision.act else { panic!("{:?}", decision.act) };
    assert!(journal.leaves_sick && !journal.hands_back());
}

#[rstest]
#[case::nobody_has_enough(|world: &mut World| world.limit(2, Bytes::mib(1199)))]
#[case::it_can_be_raised(|world: &mut World| world.policy.headroom.resize_pod = true)]
#[case::its_limit_is_enough(|world: &mut World| world.limit(0, NEED))]
#[case::it_is_taken_note_of(|world: &mut World| {
    world.snapshot.surroundings.acknowledged = Some((NOW - SignedDuration::from_mins(1)).to_string());
})]
#[case::a_pod_before_it_was_killed(|world: &mut World| world.snapshot.surroundings.kills[0].pod_uid = "before".into())]
#[case::not_for_the_limit(|world: &mut World| world.snapshot.surroundings.kills[0].cause = Cause::Unknown)]
#[case::a_replica_was_killed(|world: &mut World| {
    world.snapshot.surroundings.kills.clear();
    world.killed(1, Cause::Headroom);
})]
#[case::who_has_enough_was_killed_too(|world: &mut World| world.killed(2, Cause::Fork))]
#[case::nothing_bounds_it(|world: &mut World| world.sample(0).memory.maxmemory = Bytes::ZERO)]
#[case::it_loads(|world: &mut World| world.sample(0).persistence.loading = true)]
#[case::it_is_about_to_be_raised(|world: &mut World| {
    world.policy.headroom.resize_pod = true;
    let pod = &mut world.snapshot.targets[0].pod;
    pod.container.as_mut().unwrap().spec_limit = Some(NEED);
    pod.resize = ResizeProgress::InProgress;
})]
#[case::another_pod_alone_starts_as_the_primary(|world: &mut World| {
    let mut record = WorkloadRecord::new(fixtures::shard_id(), "redis".into(), NOW);
    record.starts_as_primary = vec![pod_name(0)];
    world.records = vec![record];
})]
fn the_role_stays(#[case] meddle: Meddle) {
    let mut world = World::new();
    meddle(&mut world);
    assert_eq!(world.plan(), None);
}

/// The kubelet tries again, and the next kill may come before.
/// What keeps a restart would keep the role with it.
#[test]
fn it_leaves_before_anybody_is_restarted() {
    let mut world = World::new();
    let (_, usual) = fixtures::enforced();
    for (target, usual) in world.snapshot.targets.iter_mut().zip(usual.targets) {
        let maxmemory = target.sample().unwrap().memory.maxmemory;
        (target.redis, target.history) = (usual.redis, usual.history);
        target.sample_mut().unwrap().memory.maxmemory = maxmemory;
    }
    let plan = world.plan().expect("it is due");
    assert!(
        plan.leaves_sick && plan.steps.iter().all(|planned| !matches!(planned.step, Step::Evict { .. })),
        "{plan:?}"
    );
    world.snapshot.surroundings.kills.clear();
    let plan = world.plan().expect("they are due");
    assert!(
        !plan.leaves_sick && plan.steps.iter().any(|planned| matches!(planned.step, Step::Evict { .. })),
        "{plan:?}"
    );
}

#[test]
fn a_node_without_room_is_not_waited_for() {
    let mut world = World::new();
    world.policy.headroom.resize_pod = true;
    let pod = &mut world.snapshot.targets[0].pod;
    pod.container.as_mut().unwrap().spec_limit = Some(NEED);
    pod.resize = ResizeProgress::Deferred("node has no room".into());
    let plan = world.plan().expect("it is due");
    assert_eq!(steps(&plan)[0], Step::Switchover { from: pod_name(0), to: Some(pod_name(2)) });
}

/// It is asked for again and again, and nothing waits for it.
#[test]
fn limits_that_a_quota_refuses_keep_nothing_from_its_beginning() {
    let mut world = World::new();
    world.policy.headroom.resize_pod = true;
    assert!(matches!(world.decide(None).0.act, Next::Upkeep(_)), "they are asked for first");
    for target in &world.snapshot.targets[..2] {
        let refused = RefusedLimit { uid: target.pod.uid.clone(), text: "exceeded quota: mem".into() };
        world.snapshot.surroundings.refused_limits.push(refused);
    }
    let (decision, _) = world.decide(None);
    let Next::Begin(journal) = decision.act else { panic!("{:?}", decision.act) };
    assert!(journal.leaves_sick);
    world.limit(2, Bytes::mib(1199));
    world
        .snapshot
        .surroundings
        .refused_limits
        .push(RefusedLimit { uid: world.snapshot.targets[2].pod.uid.clone(), text: "exceeded quota: mem".into() });
    let (decision, _) = world.decide(None);
    assert!(matches!(decision.act, Next::Upkeep(_)), "nothing else is due: {:?}", decision.act);
}

/// Seen in the simulator: it has room, and is killed between the plan and the hand-over.
#[test]
fn who_is_killed_before_it_takes_over_does_not() {
    let mut world = World::new();
    world.limit(1, NEED);
    let journal = world.begun();
    let to = journal.steps.iter().find_map(|planned| match &planned.step {
        Step::Switchover { to, .. } => to.clone(),
        _ => None,
    });
    let n = (1..3).find(|n| to.as_ref() == Some(&pod_name(*n))).expect("one of the two");
    world.killed(usize::from(n), Cause::Headroom);
    let (decision, _) = world.decide(Some(&journal));
    let Next::End(record) = decision.act else { panic!("{:?}", decision.act) };
    assert_eq!(record.outcome, Some(Outcome::Superseded));
}

/// Of the primary that is left nobody asks for one any more.
#[test]
fn room_for_a_full_sync_is_asked_of_who_takes_over() {
    let mut world = World::new();
    let full = |world: &mut World, n: usize, limit: Bytes| {
        let memory = &mut world.sample(n).memory;
        (memory.rss, memory.used) = (limit.saturating_sub(Bytes::mib(4)), limit.saturating_sub(Bytes::mib(14)));
    };
    full(&mut world, 0, Bytes::mib(1024));
    full(&mut world, 1, Bytes::mib(1024));
    let journal = world.begun();
    let next = world.decide(Some(&journal)).0.act;
    assert!(!matches!(next, Next::Gate(..) | Next::End(_)), "{next:?}");
    full(&mut world, 2, NEED);
    let reasons: Vec<BlockReason> = world.decide(None).0.blocked.iter().map(|blocked| blocked.reason).collect();
    assert_eq!(reasons, [BlockReason::FullSyncHeadroom]);
}

#[test]
fn a_closed_window_keeps_it_and_that_is_said() {
    let mut world = World::new();
    let closed = crate::domain::cron::Cron::parse("0 9 * * *").unwrap();
    let (duration, zone) = (std::time::Duration::from_secs(1800), jiff::tz::TimeZone::UTC);
    world.policy.restart.windows = vec![Window { schedule: closed, duration, zone }];
    let (decision, remedy) = world.decide(None);
    let reasons: Vec<BlockReason> = decision.blocked.iter().map(|blocked| blocked.reason).collect();
    assert_eq!(reasons, [BlockReason::WindowClosed]);
    let said = "its role is to go to redis-2, whose limit is enough, and waits: WindowClosed; to end it for good: ";
    assert!(remedy.starts_with(said), "{remedy}");
}

#[test]
fn under_a_sentinel_everybody_whom_it_may_choose_must_have_enough() {
    let mut world = World::new();
    world.snapshot.sentinels = fixtures::sentinels(&world.snapshot);
    for n in 0..3 {
        if let Ok(config) = &mut world.sample(n).config {
            config.serving = fixtures::usual_serving();
        }
    }
    assert_eq!(world.plan(), None);
    world.limit(1, NEED);
    let plan = world.plan().expect("it is due");
    assert_eq!(steps(&plan), [Step::Switchover { from: pod_name(0), to: None }]);
}

/// What was due when it began is judged again right before.
#[rstest]
#[case::the_limit_is_enough(|world: &mut World| world.limit(0, NEED))]
#[case::nobody_has_enough_any_more(|world: &mut World| world.limit(2, Bytes::mib(1024)))]
fn a_hand_over_that_need_not_be_is_not_begun(#[case] meddle: Meddle) {
    let mut world = World::new();
    let journal = world.begun();
    assert!(!matches!(world.decide(Some(&journal)).0.act, Next::End(_)), "it goes on as long as it is due");
    meddle(&mut world);
    let Next::End(record) = world.decide(Some(&journal)).0.act else { panic!("it ends") };
    assert_eq!(record.outcome, Some(Outcome::Superseded));
}

/// What a person asks for is carried out whether the kills are taken note of or not.
#[test]
fn a_switchover_that_a_person_asks_for_is_theirs() {
    let mut world = World::new();
    let wanted = Wanted::Switchover { set: "redis".into(), to: Some(pod_name(1)) };
    let ask = Ask { wanted, by: "alice".into(), at: NOW, reason: "kernel update".into() };
    world.snapshot.surroundings.request = Some(Request { id: "0123456789abcdef".into(), ask: Ok(ask) });
    let journal = world.begun();
    assert_eq!(journal.steps[0].step, Step::Switchover { from: pod_name(0), to: Some(pod_name(1)) });
    assert!(!journal.leaves_sick);
    world.snapshot.surroundings.acknowledged = Some(NOW.to_string());
    let next = world.decide(Some(&journal)).0.act;
    assert!(!matches!(next, Next::End(_)), "{next:?}");
}
