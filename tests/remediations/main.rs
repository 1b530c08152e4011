//! A remediation walked through in a small simulated world: effects are applied to a snapshot, and the planner looks
//! again, as the controller does. What must hold is asserted at each look.

#![cfg(test)]
#![allow(missing_docs, clippy::missing_docs_in_private_items, unreachable_pub, reason = "nothing is exported")]

mod any_numbers;
mod backlog;
mod carry;
mod chains;
mod forgetting;
mod found;
mod hold;
mod in_place;
mod killed;
mod meddling;
mod obstacles;
mod proxies;
mod records;
mod request;
mod sentinels;
mod start_roles;
mod time;
mod waiting;
mod walks;
mod write_gap;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use redis_memory_operator::plan::{Context, PlanSettings, advance, begin, decide, effect::Effect};
use redis_memory_operator::{
    domain::{
        acl::PlainCommand,
        blocked::BlockReason,
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
    plan::next::Next,
};

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
    addresses: forgetting::Addresses,
}

impl World {
    fn new() -> Self {
        let (policy, snapshot) = fixtures::enforced();
        let settings = PlanSettings::default();
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
            addresses: forgetting::Addresses::default(),
        }
    }

    fn ctx(&self) -> Context<'_> {
        Context::of(&self.policy, &self.snapshot, &self.records, self.now, &self.settings)
    }

    fn begin(&self) -> Journal {
        begin::consider(&self.ctx()).begin.expect("nothing is in the way")
    }

    fn index(&self, pod: &PodName) -> usize {
        self.snapshot.targets.iter().position(|target| target.pod.name == *pod).expect("the pod exists")
    }

    fn sample(&mut self, n: usize) -> &mut Sample {
        self.snapshot.targets[n].sample_mut().expect("the fixture has a sample")
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
                self.leave_behind(n, &peer.run_id);
            }
            Effect::Switchover(order) => {
                let (from, to) = (self.index(&order.from.pod), self.index(&order.to.pod));
                assert_eq!(from, self.primary);
                let clean = self.snapshot.targets[to].pod.uid.as_str().starts_with("replacement");
                let around = &self.snapshot.surroundings;
                assert!(
                    clean || around.request.is_some() || !around.kills.is_empty(),
                    "to a clean replica, unless somebody asks or the primary is killed"
                );
                self.done.push(("Switchover", order.to.pod.to_string()));
                self.hand_over(from, to);
            }
            Effect::Repoint { peer, by_name, to } => {
                let n = self.index(&peer.pod);
                self.done.push(("Repoint", peer.pod.to_string()));
                let name = by_name.clone().expect("the replica followed a stable name").sent;
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
            Effect::Label { .. } | Effect::SetMaxmemory { .. } => panic!("it is upkeep"),
            Effect::CloseClients { .. } => panic!("clients are led outside of the steps"),
            Effect::EvictPrimary { peer } => self.evict_primary(peer),
            Effect::Send { peer, command } => self.persist(peer, *command),
            Effect::SetBacklog { peer, size, back } => self.set_backlog(peer, *size, *back),
            Effect::Carry { peer, settings, back } => self.carry(peer, settings, *back),
            Effect::Failover(order) => self.fail_over(order),
            Effect::SetBack { peer, settings } => self.set_back(peer, settings),
            Effect::Forget { sentinel, .. } => self.forget(&sentinel.pod),
        }
    }

    fn hand_over(&mut self, from: usize, to: usize) {
        self.primary = to;
        let of_the_set =
            |target: &&Target| target.pod.owner.as_ref().is_some_and(|owner| owner.uid == fixtures::set_uid());
        let all = u8::try_from(self.snapshot.targets.iter().filter(of_the_set).count()).expect("small");
        let lines = (0..all).filter(|n| usize::from(*n) != to).map(fixtures::replica_line).collect();
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
}

/// Whether a server is told to write its data out.
fn writes_out(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { command: PlainCommand::BgSave | PlainCommand::BgRewriteAof, .. })
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
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
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
            Step::Switchover { to: Some(to), .. } => (StepKind::Switchover, to.to_string()),
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
        assert_eq!(record.outcome, Some(Outcome::Succeeded), "{kind:?}: {}", record.message);
        assert_eq!(world.done, full_order(), "{kind:?}");
    }
}

#[test]
fn a_restart_that_does_not_help_ends_before_the_switchover() {
    let mut world = World::new();
    world.restart_helps = false;
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Ineffective));
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
        Step::Switchover { to, .. } => to.as_ref().map(ToString::to_string),
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
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
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
    assert_eq!(record.outcome, Some(Outcome::Superseded));
}

#[test]
fn a_role_that_moved_supersedes_the_plan() {
    let mut world = World::new();
    let journal = world.begin();
    world.hand_over(0, 1);
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Superseded));
    assert_eq!(world.done, Vec::new());
}

#[test]
fn suspend_and_deletion_stop_at_the_boundary() {
    let mut world = World::new();
    let journal = world.begin();
    let Next::End(record) = advance::next(&world.ctx(), &journal, true) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Stopped));
    world.policy.suspend = true;
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Paused));
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
    assert_eq!(world.end_in_hours(journal).outcome, Some(Outcome::TimedOut));
}

/// A quota may refuse it for ever. What waits is not kept from anything by it.
#[test]
fn a_limit_of_another_workload_is_raised_while_the_remediation_waits() {
    let mut world = World::new();
    let mut other = fixtures::target(0);
    other.pod.name = PodName::from("cache-0");
    other.pod.uid = PodUid::from("cache");
    let owner = other.pod.owner.as_mut().expect("an owner");
    (owner.name, owner.uid) = ("cache".into(), "cache-set".into());
    let container = other.pod.container.as_mut().expect("a container");
    (container.spec_limit, container.live_limit) = (Some(fixtures::MAXMEMORY), Some(fixtures::MAXMEMORY));
    let Observation::Seen(sample) = &mut other.redis else { panic!("a sample") };
    sample.run_id = RunId::new("cache");
    sample.replication.replicas.clear();
    let journal = world.begin();
    world.snapshot.targets.push(other);
    let raised = |act: &Next| matches!(act, Next::Upkeep(due) if matches!(due.as_slice(), [(Effect::Resize { pod, .. }, _)] if pod.as_str() == "cache-0"));

    let Next::Act(journal, effect) = decide::decide(&world.ctx(), Some(&journal), false, true).act else {
        panic!("the first eviction comes first")
    };
    world.apply(&effect);
    world.snapshot.targets[1].pod.ready = false;
    let Next::Record(journal) = decide::decide(&world.ctx(), Some(&journal), false, true).act else {
        panic!("the eviction is done")
    };
    let waiting = decide::decide(&world.ctx(), Some(&journal), false, true);
    assert!(raised(&waiting.act), "{:?}", waiting.act);
    // The step's deadline still counts.
    world.now = world.now.saturating_add(SignedDuration::from_hours(24)).expect("in range");
    let late = decide::decide(&world.ctx(), Some(&journal), false, true).act;
    assert!(matches!(&late, Next::End(record) if record.outcome == Some(Outcome::TimedOut)), "{late:?}");
}
