//! Sets under Sentinel that are known by the addresses of their pods (groundhog2k's chart): what each restart leaves in the
//! lists of the Sentinels is forgotten before the next pod is disturbed, and before the end.

use pretty_assertions::assert_eq;

use redis_memory_operator::domain::{
    names::NodeAddress,
    sentinel::{Known, WatchedSet},
};

use super::{sentinels::watched, *};

/// What Sentinels know by address, and have to find again.
#[derive(Default)]
pub(super) struct Addresses {
    /// Restarts leave entries.
    pub(super) change: bool,
    /// Sentinels that have forgotten everybody, and what they know when they have found them again.
    relearning: Vec<(usize, WatchedSet)>,
    /// `SENTINEL RESET` is accepted and nothing is forgotten.
    pub(super) stubborn: bool,
}

impl World {
    /// Pod and Sentinel had another address and another id: every Sentinel lists both for ever.
    pub(super) fn leave_behind(&mut self, n: usize, run_id: &RunId) {
        if !self.addresses.change {
            return;
        }
        let gone = NodeAddress { host: format!("10.9.{}.{n}", self.replaced), port: 6379 };
        for sentinel in &mut self.snapshot.sentinels {
            let set = &mut sentinel.said.as_mut().expect("it answers").sets[0];
            let old = Known { id: run_id.to_string(), address: gone.clone(), down: true, fresh: false };
            set.others.push(Known { id: format!("old-{}", self.replaced), ..old.clone() });
            set.replicas.push(old);
        }
    }

    pub(super) fn forget(&mut self, pod: &PodName) {
        self.done.push(("Forget", pod.to_string()));
        assert!(self.addresses.relearning.is_empty(), "one at a time");
        let n = self.index(pod);
        if self.addresses.stubborn {
            return;
        }
        let primary = u8::try_from(self.primary).expect("small");
        let mut whole =
            fixtures::sentinels_naming(&self.snapshot, primary).remove(n).said.expect("it answers").sets.remove(0);
        // Every time of it begins anew.
        whole.settled_for = Duration::ZERO;
        let set = &mut self.snapshot.sentinels[n].said.as_mut().expect("it answers").sets[0];
        *set = WatchedSet { replicas: Vec::new(), others: Vec::new(), ..whole.clone() };
        self.addresses.relearning.push((n, whole));
    }

    pub(super) fn is_relearning(&self) -> bool {
        !self.addresses.relearning.is_empty()
    }

    /// Some seconds pass.
    pub(super) fn relearn(&mut self) {
        for (n, whole) in std::mem::take(&mut self.addresses.relearning) {
            self.snapshot.sentinels[n].said.as_mut().expect("it answers").sets[0] = whole;
        }
    }
}

fn by_address() -> World {
    let mut world = watched();
    world.addresses.change = true;
    world
}

fn done(world: &World) -> Vec<String> {
    world.done.iter().map(|(kind, pod)| format!("{kind} {pod}")).collect()
}

const FORGET: [&str; 3] = ["Forget redis-0", "Forget redis-1", "Forget redis-2"];

#[test]
fn each_restart_is_forgotten_before_the_next_pod_is_disturbed_and_before_the_end() {
    for forget_after in [None, Some(StepKind::Switchover), Some(StepKind::Evict)] {
        let mut world = by_address();
        let journal = world.begin();
        let record = world.walk(journal, forget_after);
        assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
        let mut want = vec!["Evict redis-1"];
        want.extend(FORGET);
        want.push("Evict redis-2");
        want.extend(FORGET);
        want.extend(["Failover redis-0", "Evict redis-0"]);
        want.extend(FORGET);
        assert_eq!(done(&world), want);
    }
}

/// Without the right, or with a Sentinel that does not do it: some attempts, then nothing more is restarted, the slot is given
/// back, and people are told what to run.
#[test]
fn a_sentinel_that_does_not_forget_ends_it_and_says_what_to_run() {
    let mut world = by_address();
    world.addresses.stubborn = true;
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Paused));
    let text = &record.message;
    assert!(text.starts_with("SentinelsUnfit: the Sentinel in redis-0, redis-1, redis-2 lists the replica"), "{text}");
    assert!(text.contains("run SENTINEL RESET mymaster on the Sentinel in redis-0"), "{text}");
    let forgets = world.done.iter().filter(|(kind, _)| *kind == "Forget").count();
    assert_eq!((forgets, world.done.len()), (9, 10), "three for each Sentinel");
    assert!(text.contains("1 of 3 pods restarted"), "{text}");
}

/// It is known beforehand, and no pod is restarted for it.
#[test]
fn sentinels_that_may_not_forget_are_a_refusal_before_the_first_restart() {
    let mut world = by_address();
    let quorum = |world: &mut World, quorum| {
        for sentinel in &mut world.snapshot.sentinels {
            sentinel.said.as_mut().expect("it answers").sets[0].quorum = quorum;
        }
    };
    quorum(&mut world, 1);
    let blocked = begin::consider(&world.ctx()).blocked;
    assert_eq!(blocked.iter().map(|one| one.reason).collect::<Vec<_>>(), [BlockReason::SentinelsUnfit]);
    let text = &blocked[0].text;
    assert!(text.contains("raise the quorum to a majority (SENTINEL SET mymaster quorum 2)"), "{text}");
    quorum(&mut world, 2);
    assert_eq!(begin::consider(&world.ctx()).blocked, []);
}

/// Whoever ends it meanwhile has nothing left behind either.
#[test]
fn what_is_left_is_forgotten_when_people_end_it() {
    let mut world = by_address();
    let second = world.snapshot.targets[2].pod.name.clone();
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if *pod == second));
    world.policy.suspend = true;
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Paused));
    assert_eq!(done(&world)[1..], FORGET);
}

/// The operator is stopped: nothing is done at all.
#[test]
fn whoever_stops_the_operator_wants_nothing_forgotten() {
    let mut world = by_address();
    let second = world.snapshot.targets[2].pod.name.clone();
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if *pod == second));
    world.snapshot.surroundings.stopped = Some("the Lease".into());
    let record = world.walk(journal, None);
    assert_eq!((record.outcome, done(&world)), (Some(Outcome::Paused), vec!["Evict redis-1".to_owned()]));
}

/// Somebody else is gone, too: it is given up at once what only people can mend, and not waited for with a slot.
#[test]
fn an_entry_of_somebody_else_is_for_people_at_once() {
    let mut world = watched();
    let second = world.snapshot.targets[2].pod.name.clone();
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if *pod == second));
    world.addresses.change = true;
    world.leave_behind(2, &RunId::new("nobody-of-ours"));
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("it holds its slot") };
    assert_eq!(record.outcome, Some(Outcome::Paused));
    assert!(record.message.contains("SENTINEL RESET mymaster"), "{}", record.message);
    // Before one begins it is the same refusal.
    world.records = vec![*record];
    let reasons: Vec<_> = begin::consider(&world.ctx()).blocked.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, [BlockReason::SentinelsUnfit]);
}
