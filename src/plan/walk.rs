//! A remediation walked through in a small simulated world: effects are applied to a snapshot, and the planner looks
//! again, as the controller does. What must hold is asserted at each look.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    Context, PlanSettings,
    advance::{self, Next},
    begin,
    blocked::BlockReason,
    effect::Effect,
};
use crate::{
    assess::AssessSettings,
    domain::{
        bytes::Bytes,
        cron::Cron,
        fixtures::{self, NOW},
        journal::{Journal, Outcome, RestartRecord, WorkloadRecord},
        names::{PodName, PodUid, RunId},
        policy::{Approval, Policy},
        ratio::Ratio,
        sample::{ReplicaLink, Role, Sample},
        snapshot::{Observation, Snapshot, Target},
        step::{Step, StepKind},
        window::Window,
    },
};

mod backlog;
mod in_place;

/// The simulated world.
struct World {
    policy: Policy,
    snapshot: Snapshot,
    now: Timestamp,
    records: Vec<WorkloadRecord>,
    settings: PlanSettings,
    /// Kinds and pods of the effects, in order.
    done: Vec<(&'static str, String)>,
    /// Ordinal of the primary.
    primary: usize,
    /// A restart gives the memory back.
    restart_helps: bool,
    /// `maxmemory` of a replacement, when it is not what the member had.
    template_maxmemory: Option<Bytes>,
    /// The old primary starts as a primary again, by its start arguments.
    comes_back_as_primary: bool,
    replaced: u32,
}

impl World {
    fn new() -> Self {
        let (policy, snapshot) = fixtures::enforced();
        let settings = PlanSettings {
            assess: AssessSettings::default(),
            proof_settle: Duration::from_secs(60),
            proof_timeout: Duration::from_secs(300),
            switchover: crate::domain::switchover::SwitchoverChoice::Auto,
        };
        Self {
            policy,
            snapshot,
            now: NOW,
            records: Vec::new(),
            settings,
            done: Vec::new(),
            primary: 0,
            restart_helps: true,
            template_maxmemory: None,
            comes_back_as_primary: false,
            replaced: 0,
        }
    }

    fn ctx(&self) -> Context<'_> {
        Context {
            policy: &self.policy,
            snapshot: &self.snapshot,
            records: &self.records,
            now: self.now,
            settings: &self.settings,
        }
    }

    fn begin(&self) -> Journal {
        begin::consider(&self.ctx()).begin.expect("nothing is in the way")
    }

    fn index(&self, pod: &PodName) -> usize {
        self.snapshot.targets.iter().position(|target| target.pod.name == *pod).expect("the pod exists")
    }

    fn sample(&mut self, n: usize) -> &mut Sample {
        match &mut self.snapshot.targets[n].redis {
            Observation::Seen(sample) => sample,
            Observation::Failed(_) | Observation::Pending => panic!("no sample"),
        }
    }

    /// Time passes: every member is sampled again.
    fn tick(&mut self, seconds: i64) {
        self.now = self.now.saturating_add(SignedDuration::from_secs(seconds)).expect("in range");
        let now = self.now;
        for target in &mut self.snapshot.targets {
            let Observation::Seen(sample) = &mut target.redis else { continue };
            sample.at = now;
            let mut reading =
                fixtures::history(&sample.run_id, sample.memory.ratio, sample.memory.used, sample.memory.rss)
                    .pop()
                    .expect("a reading");
            reading.at = now;
            target.history.push(reading);
        }
    }

    /// The pod is replaced by a clean one that has synced already.
    fn replace(&mut self, n: usize) {
        self.replaced += 1;
        let uid = PodUid::new(format!("replacement-{}", self.replaced));
        let run_id = RunId::new(format!("run-{}", self.replaced));
        let helps = self.restart_helps;
        let back_as_primary = self.comes_back_as_primary && n == 0;
        let (primary, maxmemory) = (self.primary, self.template_maxmemory);
        let target: &mut Target = &mut self.snapshot.targets[n];
        target.pod.uid = uid.clone();
        target.history.clear();
        let Observation::Seen(sample) = &mut target.redis else { panic!("no sample") };
        sample.pod_uid = uid;
        sample.run_id = run_id;
        sample.replication.role = Role::Replica(ReplicaLink {
            primary: fixtures::stable_address(u8::try_from(primary).expect("small")),
            link_up: true,
            sync_in_progress: false,
            read_only: true,
        });
        if let (Some(maxmemory), Ok(config)) = (maxmemory, sample.config.as_mut()) {
            config.maxmemory = maxmemory;
        }
        if back_as_primary {
            sample.replication.role = Role::Primary;
            sample.replication.replicas.clear();
        }
        if helps {
            sample.memory.rss = Bytes::mib(80);
            sample.memory.ratio = Ratio(115);
        }
    }

    fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Evict { peer } => {
                let n = self.index(&peer.pod);
                assert_eq!(self.snapshot.targets[n].pod.uid, peer.uid, "the pod that is meant");
                assert_ne!(n, self.primary, "the primary is never evicted");
                self.done.push(("Evict", peer.pod.to_string()));
                self.replace(n);
            }
            Effect::Switchover(order) => {
                let (from, to) = (self.index(&order.from.pod), self.index(&order.to.pod));
                assert_eq!(from, self.primary);
                assert!(self.snapshot.targets[to].pod.uid.as_str().starts_with("replacement"), "to a clean replica");
                self.done.push(("Switchover", order.to.pod.to_string()));
                self.hand_over(from, to);
            }
            Effect::Repoint { peer, by_name, to } => {
                let n = self.index(&peer.pod);
                self.done.push(("Repoint", peer.pod.to_string()));
                let name = by_name.clone().expect("the replica followed a stable name");
                assert!(name.host.starts_with(to.pod.as_str()), "{name}");
                if let Role::Replica(link) = &mut self.sample(n).replication.role {
                    link.primary = name;
                }
            }
            Effect::Restore { peer, settings } => {
                self.done.push(("Restore", peer.pod.to_string()));
                let n = self.index(&peer.pod);
                let config = self.sample(n).config.as_mut().expect("readable");
                for (name, value) in settings {
                    let value = Bytes(value.parse().expect("a number"));
                    match name.as_str() {
                        "maxmemory" => config.maxmemory = value,
                        "repl-backlog-size" => config.repl_backlog_size = value,
                        other => panic!("{other} does not differ"),
                    }
                }
            }
            Effect::Resize { pod, limit, .. } => {
                self.done.push(("Resize", pod.to_string()));
                let n = self.index(pod);
                self.snapshot.targets[n].pod.container.as_mut().expect("known").spec_limit = Some(*limit);
            }
            Effect::Demote { peer, to, .. } => {
                assert_eq!(to.pod, self.snapshot.targets[self.primary].pod.name);
                self.done.push(("Demote", peer.pod.to_string()));
                let n = self.index(&peer.pod);
                let primary = fixtures::stable_address(u8::try_from(self.primary).expect("small"));
                self.sample(n).replication.role =
                    Role::Replica(ReplicaLink { primary, link_up: true, sync_in_progress: false, read_only: true });
            }
            Effect::Label { .. } => panic!("labels are upkeep"),
            Effect::EvictPrimary { peer } => self.evict_primary(peer),
            Effect::Persist { peer, rewrite } => self.persist(peer, *rewrite),
            Effect::SetBacklog { peer, size, back } => self.set_backlog(peer, *size, *back),
        }
    }

    fn hand_over(&mut self, from: usize, to: usize) {
        self.primary = to;
        let lines = (0..3_u8).filter(|n| usize::from(*n) != to).map(fixtures::replica_line).collect();
        let sample = self.sample(to);
        sample.replication.role = Role::Primary;
        sample.replication.replicas = lines;
        let link = ReplicaLink {
            primary: fixtures::address(u8::try_from(to).expect("small")),
            link_up: true,
            sync_in_progress: false,
            read_only: true,
        };
        let sample = self.sample(from);
        sample.replication.role = Role::Replica(link);
        sample.replication.replicas.clear();
        self.snapshot.targets[from].pod.role_label = Some("replica".into());
        self.snapshot.targets[to].pod.role_label = Some("primary".into());
    }

    /// Looks until the remediation ends. `crash`: every journal is written and forgotten again by the process, as if
    /// it were killed right after the effect; the next look starts from the last one.
    fn walk(&mut self, mut journal: Journal, forget_after: Option<StepKind>) -> WorkloadRecord {
        let mut forgotten = false;
        for _ in 0..400 {
            match advance::next(&self.ctx(), &journal, false) {
                Next::Wait(..) => self.tick(5),
                Next::Gate(blocked, _) => panic!("blocked: {blocked:?}"),
                Next::Record(next) => {
                    let step = journal.step().map(Step::kind);
                    if !forgotten && step.is_some() && step == forget_after {
                        forgotten = true;
                        continue;
                    }
                    journal = *next;
                }
                Next::Act(next, effect) => {
                    journal = *next;
                    self.apply(&effect);
                    self.tick(1);
                }
                Next::End(record) => return *record,
            }
        }
        panic!("it did not end; at {:?}", journal.step());
    }
}

fn full_order() -> Vec<(&'static str, String)> {
    [
        ("Evict", "redis-1"),
        ("Evict", "redis-2"),
        ("Switchover", "redis-1"),
        ("Repoint", "redis-2"),
        ("Evict", "redis-0"),
    ]
    .map(|(kind, pod)| (kind, pod.to_owned()))
    .to_vec()
}

#[test]
fn replicas_then_the_role_then_the_old_primary() {
    let mut world = World::new();
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Outcome::Succeeded, "{}", record.message);
    assert_eq!(world.done, full_order());
    assert_eq!(record.restarts.len(), 3);
}

#[test]
fn what_is_done_is_what_the_plan_says() {
    let mut world = World::new();
    let plan = begin::consider(&world.ctx()).plan.expect("due");
    let journal = world.begin();
    assert_eq!(journal.steps, plan.steps);
    world.walk(journal, None);
    let planned: Vec<(StepKind, String)> = plan
        .steps
        .iter()
        .filter(|planned| matches!(planned.step.kind(), StepKind::Evict | StepKind::Switchover | StepKind::Repoint))
        .map(|planned| match &planned.step {
            Step::Switchover { to, .. } => (StepKind::Switchover, to.to_string()),
            step => (step.kind(), step.pod().to_string()),
        })
        .collect();
    let done: Vec<String> = world.done.iter().map(|(kind, pod)| format!("{kind} {pod}")).collect();
    let planned: Vec<String> = planned.iter().map(|(kind, pod)| format!("{kind:?} {pod}")).collect();
    assert_eq!(done, planned);
}

#[test]
fn a_journal_entry_that_was_lost_repeats_nothing() {
    for kind in [StepKind::Evict, StepKind::Switchover, StepKind::Repoint, StepKind::AwaitReplica, StepKind::Prove] {
        let mut world = World::new();
        let journal = world.begin();
        let record = world.walk(journal, Some(kind));
        assert_eq!(record.outcome, Outcome::Succeeded, "{kind:?}: {}", record.message);
        assert_eq!(world.done, full_order(), "{kind:?}");
    }
}

#[test]
fn a_restart_that_does_not_help_ends_before_the_switchover() {
    let mut world = World::new();
    world.restart_helps = false;
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Outcome::Ineffective);
    assert!(!world.done.iter().any(|(kind, _)| *kind == "Switchover"), "{:?}", world.done);
}

#[test]
fn a_clean_replica_is_left_alone_and_becomes_primary() {
    let mut world = World::new();
    let sample = world.sample(2);
    sample.memory.rss = Bytes::mib(80);
    sample.memory.ratio = Ratio(115);
    world.snapshot.targets[2].history.clear();
    let journal = world.begin();
    let switch = journal.steps.iter().find_map(|planned| match &planned.step {
        Step::Switchover { to, .. } => Some(to.to_string()),
        _ => None,
    });
    assert_eq!(switch.as_deref(), Some("redis-2"));
    let evicted = journal.steps.iter().filter(|planned| planned.step.kind() == StepKind::Evict).count();
    assert_eq!(evicted, 2);
}

#[test]
fn settings_made_at_run_time_come_back() {
    let mut world = World::new();
    // What the template says: every member was changed at run time, and each replacement starts with this.
    world.template_maxmemory = Some(Bytes::mib(600));
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Outcome::Succeeded, "{}", record.message);
    let restored: Vec<&str> =
        world.done.iter().filter(|(kind, _)| *kind == "Restore").map(|(_, pod)| pod.as_str()).collect();
    assert_eq!(restored, ["redis-1", "redis-2", "redis-0"]);
    for n in 0..3 {
        assert_eq!(world.sample(n).config.as_ref().unwrap().maxmemory, fixtures::MAXMEMORY);
    }
}

#[test]
fn a_member_that_somebody_else_replaced_supersedes_the_plan() {
    let mut world = World::new();
    let journal = world.begin();
    world.replace(2);
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Outcome::Superseded);
}

#[test]
fn a_role_that_moved_supersedes_the_plan() {
    let mut world = World::new();
    let journal = world.begin();
    world.hand_over(0, 1);
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Outcome::Superseded);
    assert_eq!(world.done, Vec::new());
}

#[test]
fn suspend_and_deletion_stop_at_the_boundary() {
    let mut world = World::new();
    let journal = world.begin();
    let Next::End(record) = advance::next(&world.ctx(), &journal, true) else { panic!("not ended") };
    assert_eq!(record.outcome, Outcome::Stopped);
    world.policy.suspend = true;
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Outcome::Stopped);
}

#[test]
fn a_step_that_takes_too_long_times_out() {
    let mut world = World::new();
    let mut journal = world.begin();
    if let Next::Act(next, effect) = advance::next(&world.ctx(), &journal, false) {
        journal = *next;
        world.apply(&effect);
    }
    world.snapshot.targets[1].pod.ready = false;
    for _ in 0..10 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Record(next) => journal = *next,
            Next::Wait(..) => {
                world.now = world.now.saturating_add(SignedDuration::from_secs(3600)).expect("in range");
            }
            Next::End(record) => {
                assert_eq!(record.outcome, Outcome::TimedOut);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it never timed out");
}

fn window(schedule: &str, minutes: u64) -> Window {
    Window {
        schedule: Cron::parse(schedule).unwrap(),
        duration: Duration::from_secs(minutes * 60),
        zone: jiff::tz::TimeZone::UTC,
    }
}

#[test]
fn an_old_primary_that_comes_back_as_one_is_demoted_and_the_rest_goes_on() {
    let mut world = World::new();
    world.comes_back_as_primary = true;
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Outcome::Succeeded, "{}", record.message);
    let mut expected = full_order();
    expected.push(("Demote", "redis-0".to_owned()));
    assert_eq!(world.done, expected);
}

/// The window of the fixture's night is cut short after each effect in turn: what was begun is finished, nothing
/// further is begun, and the next night does the rest, each pod once.
#[test]
fn what_the_window_leaves_over_is_done_in_the_next() {
    for cut_after in 0..full_order().len() {
        let mut world = World::new();
        world.policy.restart.windows = vec![window("0 3 * * *", 120)];
        let mut journal = Some(world.begin());
        let mut ended = Vec::new();
        for _ in 0..800 {
            let Some(under_way) = journal.clone() else { break };
            match advance::next(&world.ctx(), &under_way, false) {
                Next::Wait(..) => world.tick(5),
                Next::Gate(blocked, _) => panic!("blocked: {blocked:?}"),
                Next::Record(next) => journal = Some(*next),
                Next::Act(next, effect) => {
                    journal = Some(*next);
                    world.apply(&effect);
                    world.tick(1);
                    if world.done.len() == cut_after {
                        // From now on the window is closed.
                        world.policy.restart.windows = vec![window("0 4 * * *", 120)];
                    }
                }
                Next::End(record) => {
                    ended.push(record.outcome);
                    world.records = vec![*record];
                    journal = None;
                }
            }
        }
        let outcome = *ended.first().expect("it ends");
        let whole = cut_after == 0 || cut_after == full_order().len();
        assert_eq!(outcome, if whole { Outcome::Succeeded } else { Outcome::WindowClosed }, "{cut_after}");
        if whole {
            continue;
        }
        // After the switchover the replicas still follow; no effect beyond that one was begun.
        let finished = if cut_after == 3 { 4 } else { cut_after };
        assert_eq!(world.done, full_order()[..finished], "{}", world.records[0].message);
        let text = &world.records[0].message;
        assert!(
            text.contains("pods restarted") && text.contains("the next window opens at 2026-01-02T04:00"),
            "{text}"
        );

        // The next window makes a plan of what is left.
        world.now = "2026-01-02T04:00:00Z".parse().unwrap();
        for _ in 0..60 {
            world.tick(15);
        }
        let journal = world.begin();
        let record = world.walk(journal, None);
        assert_eq!(record.outcome, Outcome::Succeeded, "{}", record.message);
        for n in 0..3 {
            let evictions = world.done.iter().filter(|(kind, pod)| *kind == "Evict" && pod == &format!("redis-{n}"));
            assert_eq!(evictions.count(), 1, "redis-{n} after {cut_after}: {:?}", world.done);
        }
    }
}

#[test]
fn a_step_that_would_not_fit_is_not_begun() {
    let mut world = World::new();
    world.policy.restart.windows = vec![window("0 3 * * *", 120)];
    let journal = world.begin();
    world.now = "2026-01-02T04:59:50Z".parse().unwrap();
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Outcome::WindowClosed);
    let text = "restarting redis-1 takes about 54 s, and the window closes in 10 s: 0 of 3 pods restarted, redis-1, \
                redis-2, redis-0 left; the next window opens at 2026-01-03T03:00+00:00";
    assert_eq!(record.message, text);
}

#[test]
fn supervised_stops_before_the_primary_until_the_plan_is_approved() {
    let mut world = World::new();
    world.policy.restart.approval = Approval::Supervised;
    let mut journal = world.begin();
    let hash = journal.plan_hash.clone();
    let mut asked = 0;
    for _ in 0..400 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Wait(..) => world.tick(5),
            Next::Gate(blocked, _) => {
                assert_eq!(blocked.len(), 1, "{blocked:?}");
                assert_eq!(blocked[0].reason, BlockReason::ApprovalNeeded);
                assert!(blocked[0].text.ends_with(&format!("redismemory.io/approve={hash}")), "{}", blocked[0].text);
                assert_eq!(world.done, full_order()[..2], "both replicas, and nothing else");
                asked += 1;
                if asked == 3 {
                    world.snapshot.surroundings.approved = Some(hash.clone());
                }
                world.tick(3600);
            }
            Next::Record(next) => journal = *next,
            Next::Act(next, effect) => {
                journal = *next;
                world.apply(&effect);
                world.tick(1);
            }
            Next::End(record) => {
                assert_eq!((record.outcome, asked), (Outcome::Succeeded, 3), "{}", record.message);
                assert_eq!(world.done, full_order());
                return;
            }
        }
    }
    panic!("it did not end");
}

#[test]
fn a_stop_of_the_operator_ends_it_at_the_boundary() {
    let mut world = World::new();
    let journal = world.begin();
    world.snapshot.surroundings.stopped = Some("the flag --stop".to_owned());
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Outcome::Stopped);
    assert!(record.message.contains("the flag --stop"), "{}", record.message);
    // Not between an eviction and its settings: what is half done is finished.
    world.snapshot.surroundings.stopped = None;
    let Next::Act(mut journal, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("nothing done") };
    world.apply(&effect);
    world.snapshot.surroundings.stopped = Some("the flag --stop".to_owned());
    let mut kinds = Vec::new();
    for _ in 0..20 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Record(next) => {
                kinds.push(journal.step().unwrap().kind());
                journal = next;
            }
            Next::End(record) => {
                assert_eq!(record.outcome, Outcome::Stopped);
                assert_eq!(kinds, [StepKind::Evict, StepKind::AwaitReplica, StepKind::RestoreSettings]);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it did not end");
}

#[test]
fn restarts_of_a_day_are_remembered_each() {
    let mut world = World::new();
    world.policy.restart.cooldown = Duration::ZERO;
    let at = |hours: i64| world.now.saturating_sub(SignedDuration::from_hours(hours)).unwrap();
    let restart = |pod: &str, hours| RestartRecord { pod: pod.into(), at: at(hours) };
    let restarts = vec![restart("redis-1", 5), restart("redis-1", 30), restart("gone", 40), restart("gone", 41)];
    let journal = world.begin();
    world.records = vec![WorkloadRecord {
        uid: fixtures::workload_uid(),
        name: "redis".into(),
        outcome: Outcome::Succeeded,
        remediation: "r".into(),
        ended_at: at(5),
        generation: 1,
        message: String::new(),
        restarts,
    }];
    let record = world.walk(journal, None);
    let kept: Vec<&str> = record.restarts.iter().map(|restart| restart.pod.as_str()).collect();
    assert_eq!(kept, ["redis-0", "redis-2", "redis-1", "redis-1", "gone"], "newest first");
}

/// The journal at the step that hands the role over, with the replicas restarted.
fn at_the_switchover(world: &mut World) -> Journal {
    let mut journal = world.begin();
    for _ in 0..400 {
        if journal.step().map(Step::kind) == Some(StepKind::Switchover) {
            return journal;
        }
        match advance::next(&world.ctx(), &journal, false) {
            Next::Wait(..) => world.tick(5),
            Next::Record(next) => journal = *next,
            Next::Act(next, effect) => {
                journal = *next;
                world.apply(&effect);
                world.tick(1);
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it never came to the switchover");
}

fn ends_superseded(world: &World, journal: &Journal) -> String {
    match advance::next(&world.ctx(), journal, false) {
        Next::End(record) if record.outcome == Outcome::Superseded => record.message,
        other => panic!("{other:?}"),
    }
}

// Found by the simulator: the remediation stayed, its labels too, and clients were sent to two replicas.
#[test]
fn a_role_that_went_to_a_third_member_in_the_middle_of_a_switchover_supersedes_the_plan() {
    let mut world = World::new();
    let mut journal = at_the_switchover(&mut world);
    journal.current.begun_at = Some(world.now);
    world.hand_over(0, 2);
    assert!(ends_superseded(&world, &journal).contains("redis-2 became primary"));
}

// Found by the simulator: the role was taken from whoever had just got it back, a second time in one remediation.
#[test]
fn a_role_that_somebody_moves_back_is_not_handed_over_twice() {
    let mut world = World::new();
    let mut journal = at_the_switchover(&mut world);
    journal.current.begun_at = Some(world.now);
    journal.current.attempt = 1;
    world.snapshot.targets[0].pod.role_label = Some("replica".into());
    world.snapshot.targets[1].pod.role_label = Some("primary".into());
    assert!(ends_superseded(&world, &journal).contains("made redis-0 the primary again"));
}

// Found by the simulator: the pod kept its UID, so its fresh and clean process was evicted on old evidence.
#[test]
fn a_container_that_restarted_before_its_eviction_is_left_alone() {
    let mut world = World::new();
    let journal = world.begin();
    world.sample(1).run_id = RunId::new("another");
    assert!(ends_superseded(&world, &journal).contains("the Redis of redis-1 has restarted"));
}

// Found by the simulator: the switchover waited for labels that nobody set while it waited.
#[test]
fn labels_are_kept_right_until_a_switchover_begins() {
    let mut world = World::new();
    let mut journal = at_the_switchover(&mut world);
    world.snapshot.targets[1].pod.role_label = Some("primary".into());
    let labelled = |world: &World, journal: &Journal| {
        let due = super::labels::due(&world.ctx(), Some(journal));
        due.iter().any(|(effect, _)| matches!(effect, Effect::Label { pod, .. } if pod.as_str() == "redis-1"))
    };
    assert!(labelled(&world, &journal));
    journal.current.begun_at = Some(world.now);
    assert!(!labelled(&world, &journal), "in the switchover its two pods are left to it");
}

// Found by the simulator: a pod that never came back was looked for every second, for ever.
#[test]
fn a_pod_that_does_not_exist_is_looked_for_now_and_then() {
    let mut world = World::new();
    let journal = world.begin();
    world.snapshot.targets.remove(1);
    match advance::next(&world.ctx(), &journal, false) {
        Next::Wait(_, pause) => assert!(pause >= Duration::from_secs(6), "{pause:?}"),
        other => panic!("{other:?}"),
    }
}
