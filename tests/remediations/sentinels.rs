//! Sets under Sentinel: replicas are restarted while the Sentinels agree and can do without the pod; a Sentinel is told to
//! give the role to another member, and the old primary is restarted as a replica.

use pretty_assertions::assert_eq;
use rstest::rstest;

use redis_memory_operator::{
    domain::{blocked::Blocked, sentinel::WatchedSet},
    plan::effect::{FailoverOrder, Peer},
};

use super::{walks::until_it_ends, *};

pub(super) fn watched() -> World {
    let mut world = World::new();
    world.snapshot.sentinels = fixtures::sentinels(&world.snapshot);
    for target in &mut world.snapshot.targets {
        let config = target.sample_mut().expect("a sample").config.as_mut().expect("readable");
        config.serving = fixtures::usual_serving();
    }
    world
}

/// Whom the Sentinels choose.
const CHOSEN: usize = 2;

impl World {
    pub(super) fn fail_over(&mut self, order: &FailoverOrder) {
        let from = self.index(&order.from.pod);
        assert_eq!(from, self.primary);
        assert!(order.begins && order.replicas.len() == 2 && order.sentinels.len() == 3, "{order:?}");
        assert_ne!(order.sentinels[0].pod, order.from.pod, "one that does not share the pod of the primary is told");
        self.done.push(("Failover", order.from.pod.to_string()));
        self.moved_by_sentinels(CHOSEN);
    }

    /// The Sentinels name another primary, and have the others follow.
    fn moved_by_sentinels(&mut self, to: usize) {
        self.hand_over(self.primary, to);
        let to = u8::try_from(to).expect("small");
        for target in &mut self.snapshot.targets {
            if let Role::Replica(link) = &mut target.sample_mut().expect("a sample").replication.role {
                link.primary = fixtures::address(to);
            }
        }
        self.snapshot.sentinels = fixtures::sentinels_naming(&self.snapshot, to);
        // Whoever keeps the label that a Service selects has turned it.
        let leads = vec![self.snapshot.targets[usize::from(to)].pod.uid.clone()];
        let of_a_role = self.snapshot.services.iter_mut().filter(|service| service.role.is_some());
        of_a_role.for_each(|service| service.ready_pods.clone_from(&leads));
    }

    pub(super) fn set_back(&mut self, peer: &Peer, settings: &[(String, String)]) {
        self.done.push(("SetBack", peer.pod.to_string()));
        let n = self.index(&peer.pod);
        let serving = &mut self.sample(n).config.as_mut().expect("readable").serving;
        for (name, value) in settings {
            match name.as_str() {
                "repl-ping-replica-period" => serving.replica_ping_period = value.parse().ok(),
                name => drop(serving.carried.insert(name.to_owned(), value.clone())),
            }
        }
    }
}

fn set(world: &mut World, n: usize) -> &mut WatchedSet {
    &mut world.snapshot.sentinels[n].said.as_mut().expect("it answers").sets[0]
}

fn evictions(world: &World) -> Vec<&str> {
    world.done.iter().filter(|(kind, _)| *kind == "Evict").map(|(_, pod)| pod.as_str()).collect()
}

/// The journal at the eviction of the second replica.
fn between(world: &mut World) -> Journal {
    let second = world.snapshot.targets[2].pod.name.clone();
    world.reach(|step| matches!(step, Step::Evict { pod } if *pod == second))
}

/// The journal when the exchange has begun.
pub(super) fn begun(world: &mut World) -> Journal {
    let journal = world.reach(|step| matches!(step, Step::Switchover { .. }));
    let Next::Act(journal, _) = advance::next(&world.ctx(), &journal, false) else { panic!("no exchange") };
    *journal
}

fn gate(next: Next) -> Vec<Blocked> {
    let Next::Gate(blocked, _) = next else { panic!("no gate: {next:?}") };
    blocked
}

fn done(world: &World) -> Vec<String> {
    world.done.iter().map(|(kind, pod)| format!("{kind} {pod}")).collect()
}

const WHOLE: [&str; 4] = ["Evict redis-1", "Evict redis-2", "Failover redis-0", "Evict redis-0"];

#[test]
fn the_replicas_then_a_sentinel_moves_the_role_then_the_old_primary() {
    for forget_after in [None, Some(StepKind::Switchover), Some(StepKind::Evict)] {
        let mut world = watched();
        let journal = world.begin();
        let record = world.walk(journal, forget_after);
        assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
        assert_eq!(done(&world), WHOLE);
        assert_eq!(
            record.primary.map(|primary| primary.pod),
            Some(fixtures::pod_name(2)),
            "whom they chose is recorded"
        );
    }
}

/// What the exchange needs is journaled before, with what was there.
#[test]
fn what_holds_for_the_exchange_is_set_back_whatever_happens() {
    let mut world = watched();
    let journal = world.reach(|step| matches!(step, Step::Switchover { .. }));
    let Next::Act(journal, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("no exchange") };
    let Effect::Failover(order) = *effect else { panic!("{effect:?}") };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(order.quiet, [pair("repl-ping-replica-period", "55")], "below repl-timeout");
    assert_eq!(order.refusing, [pair("min-replicas-to-write", "1000")]);
    assert_eq!(order.before, [pair("repl-ping-replica-period", "10"), pair("min-replicas-to-write", "0")]);
    // The process died; a Sentinel demoted the old primary, whose pod was replaced since and started with its file.
    world.moved_by_sentinels(1);
    world.replace(0);
    let serving = &mut world.sample(0).config.as_mut().expect("readable").serving;
    serving.carried.insert("min-replicas-to-write".into(), "1000".into());
    let record = world.walk(*journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    // Whoever replaced the pod has done that work.
    assert_eq!(done(&world), ["Evict redis-1", "Evict redis-2", "SetBack redis-0"]);
}

#[test]
fn a_lag_of_zero_that_would_turn_the_refusal_off_is_set_too() {
    let mut world = watched();
    let journal = world.reach(|step| matches!(step, Step::Switchover { .. }));
    let serving = &mut world.sample(0).config.as_mut().expect("readable").serving;
    serving.carried.insert("min-replicas-max-lag".into(), "0".into());
    for n in 1..3 {
        let serving = &mut world.sample(n).config.as_mut().expect("readable").serving;
        serving.carried.insert("min-replicas-max-lag".into(), "0".into());
    }
    let Next::Act(_, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("no exchange") };
    let Effect::Failover(order) = *effect else { panic!("{effect:?}") };
    let names: Vec<_> = order.refusing.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["min-replicas-max-lag", "min-replicas-to-write"]);
}

/// What clients rely on at the primary is given to every replica that may be chosen.
#[test]
fn whoever_is_chosen_has_what_clients_rely_on() {
    let mut world = watched();
    for n in 0..3 {
        let events = if n == 0 { "Ex" } else { "" };
        let serving = &mut world.sample(n).config.as_mut().expect("readable").serving;
        serving.carried.insert("notify-keyspace-events".into(), events.into());
    }
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let done = done(&world);
    let at = |wanted: &str| done.iter().position(|done| done == wanted).unwrap_or_else(|| panic!("{wanted}: {done:?}"));
    assert!(at("Carry redis-1") < at("Failover redis-0") && at("Carry redis-2") < at("Failover redis-0"));
    // Into the file too: the Sentinel that led it to the new primary had it write its settings there.
    assert!(at("SetBack redis-1") > at("Evict redis-0"), "{done:?}");
    assert!(!done.contains(&"SetBack redis-2".to_owned()), "it is primary: {done:?}");
}

#[test]
fn a_replica_that_may_be_chosen_and_is_less_than_the_primary_is_a_refusal() {
    let mut world = watched();
    world.sample(0).config.as_mut().expect("readable").appendonly = true;
    world.sample(1).config.as_mut().expect("readable").appendonly = true;
    let reasons = |world: &World| -> Vec<BlockReason> {
        begin::consider(&world.ctx()).blocked.iter().map(|blocked| blocked.reason).collect()
    };
    assert_eq!(reasons(&world), [BlockReason::CandidateUnfit]);
    // One that is never chosen may be less.
    world.sample(2).config.as_mut().expect("readable").serving.replica_priority = Some(0);
    assert_eq!(reasons(&world), []);
}

#[test]
fn an_exchange_that_fails_twice_ends_it_with_the_old_primary() {
    let mut world = watched();
    let mut journal = world.reach(|step| matches!(step, Step::Switchover { .. }));
    for attempt in 1..=2 {
        let Next::Act(next, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("no exchange") };
        let Effect::Failover(order) = *effect else { panic!("{effect:?}") };
        assert_eq!((order.begins, order.resumed, order.coordinated), (true, attempt > 1, attempt == 1));
        journal = *next;
        // As the controller keeps the answer.
        journal.current.failures += 1;
        journal.current.failure = Some("no other member became primary".into());
        journal.current.switchover.as_mut().expect("it was begun").settled = true;
        world.tick(30);
    }
    let Next::Record(journal) = advance::next(&world.ctx(), &journal, false) else {
        panic!("nothing is left to set back")
    };
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::SwitchoverFailed));
    assert!(
        record.message.contains("in 2 attempts; the last time: no other member became primary"),
        "{}",
        record.message
    );
}

// A server that stood still reads a command without an answer after the one that set it back.
#[test]
fn a_setting_that_arrives_late_is_set_back_before_the_next_pod_goes() {
    let mut world = watched();
    let journal = begun(&mut world);
    world.moved_by_sentinels(CHOSEN);
    let Next::Record(journal) = advance::next(&world.ctx(), &journal, false) else { panic!("it is not over") };
    assert!(matches!(journal.step(), Some(Step::Evict { .. })), "{:?}", journal.step());
    let serving = &mut world.sample(0).config.as_mut().expect("readable").serving;
    serving.carried.insert("min-replicas-to-write".into(), "1000".into());
    let record = world.walk(*journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(done(&world), ["Evict redis-1", "Evict redis-2", "SetBack redis-0", "Evict redis-0"]);
}

/// Two may say that they are primary for a moment: what was begun is ended, and nothing is frozen.
#[test]
fn what_was_begun_is_ended_by_whoever_takes_over() {
    let mut world = watched();
    let journal = world.reach(|step| matches!(step, Step::Switchover { .. }));
    let Next::Act(journal, _) = advance::next(&world.ctx(), &journal, false) else { panic!("no exchange") };
    let ends = |world: &World| match advance::next(&world.ctx(), &journal, false) {
        Next::Act(_, effect) => matches!(*effect, Effect::Failover(ref order) if order.resumed && !order.begins),
        _ => false,
    };
    assert!(ends(&world), "as it was");
    world.sample(1).replication.role = Role::Primary;
    assert!(ends(&world), "two say that they are primary");
    set(&mut world, 0).failing_over = true;
    assert!(ends(&world), "a failover goes on");
}

#[test]
fn hasty_sentinels_are_a_refusal_and_the_replicas_are_restarted() {
    let mut world = watched();
    let hasty = |world: &mut World| {
        (0..3).for_each(|n| set(world, n).down_after = Duration::from_millis(1_500));
    };
    hasty(&mut world);
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    assert_eq!(evictions(&world), ["redis-1", "redis-2"]);
    assert!(
        !world.done.iter().any(|(kind, _)| ["Failover", "Switchover", "Repoint", "SetBacklog"].contains(kind)),
        "{:?}",
        world.done
    );
    let considered = begin::consider(&world.ctx());
    let reasons: Vec<_> = considered.blocked.iter().map(|blocked| blocked.reason).collect();
    assert_eq!((considered.begin, reasons), (None, vec![BlockReason::SentinelSeen]));
    let text = &considered.blocked[0].text;
    assert!(text.contains("for dead after 1500 ms") && text.contains("above 3000"), "{text}");
    assert!(text.contains("(SENTINEL SET mymaster down-after-milliseconds 5000)"), "{text}");
}

/// As redis-ha has it: a Service for each pod, whose ClusterIP servers and Sentinels name instead of the pod's address.
fn announce(world: &mut World) {
    let (ip, snapshot) = (|n: u8| format!("10.96.0.{n}"), &mut world.snapshot);
    for n in 0..3 {
        let pod = fixtures::pod_name(n);
        let selector = [("statefulset.kubernetes.io/pod-name", pod.as_str())];
        let mut service = fixtures::service(&format!("announce-{n}"), &selector, vec![pod.clone()]);
        service.addresses = ip(n).parse::<std::net::IpAddr>().expect("an address").into();
        snapshot.services.push(service);
    }
    for target in &mut snapshot.targets {
        let replication = &mut target.sample_mut().expect("a sample").replication;
        for (n, line) in (1_u8..).zip(&mut replication.replicas) {
            line.address.host = ip(n);
        }
        if let Role::Replica(link) = &mut replication.role {
            link.primary.host = ip(0);
        }
    }
}

#[test]
fn replicas_that_are_known_by_the_addresses_of_their_services_are_restarted() {
    let mut world = watched();
    announce(&mut world);
    let journal = world.begin();
    assert_eq!(world.walk(journal, None).outcome, Some(Outcome::Succeeded));
    // Without its Service the address is nobody's.
    let mut world = watched();
    announce(&mut world);
    world.snapshot.services.retain(|service| service.name != "announce-1");
    let considered = begin::consider(&world.ctx());
    let reasons: Vec<_> = considered.blocked.iter().map(|blocked| blocked.reason).collect();
    assert_eq!(reasons, [BlockReason::MemberOutsideSelector, BlockReason::ReplicaNotSynced]);
}

#[rstest]
#[case::a_replica_that_is_back_is_not_listed(|w: &mut World| drop(set(w, 0).replicas.remove(0)), "does not list the replica redis-1")]
#[case::a_failover(|w: &mut World| set(w, 1).failing_over = true, "a failover is in progress")]
#[case::one_is_silent(|w: &mut World| {
    let said = &mut w.snapshot.sentinels[1].said;
    *said = Err(redis_memory_operator::domain::snapshot::ProbeFailure::TimedOut("no answer".into()));
}, "the Sentinel in redis-1 gives no answer")]
fn the_next_replica_waits_until_the_sentinels_can_do_without_it(#[case] change: fn(&mut World), #[case] text: &str) {
    let mut world = watched();
    let mut journal = between(&mut world);
    change(&mut world);
    // The first look writes down since when it waits.
    if let Next::Record(next) = advance::next(&world.ctx(), &journal, false) {
        journal = *next;
    }
    let blocked = gate(advance::next(&world.ctx(), &journal, false));
    assert_eq!(blocked[0].reason, BlockReason::SentinelsNotReady);
    assert!(blocked[0].text.contains(text), "{blocked:?}");
    world.snapshot.sentinels = fixtures::sentinels(&world.snapshot);
    let record = world.walk(journal, None);
    assert_eq!((record.outcome, done(&world)), (Some(Outcome::Succeeded), WHOLE.map(str::to_owned).to_vec()));
}

/// More Sentinels are wanted than there are without the pod: that does not come by itself.
#[test]
fn a_vote_that_will_always_be_missing_is_for_people() {
    let mut world = watched();
    let journal = between(&mut world);
    (0..3).for_each(|n| set(&mut world, n).quorum = 3);
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("it holds its slot") };
    assert_eq!(record.outcome, Some(Outcome::Paused));
    assert!(record.message.contains("while redis-2 is away, and 3 must"), "{}", record.message);
}

/// The Services by which charts lead clients: a label that a sidecar keeps, a selector that a discovery pod rewrites.
#[rstest]
#[case::by_a_selector_that_somebody_rewrites(|w: &mut World, leads: usize| {
    let pod = w.snapshot.targets[leads].pod.name.clone();
    let selector = [("statefulset.kubernetes.io/pod-name", pod.as_str())];
    w.snapshot.services.retain(|service| service.name != "front");
    w.snapshot.services.push(fixtures::service("front", &selector, vec![pod.clone()]));
})]
#[case::by_the_label_of_the_policy(|w: &mut World, leads: usize| {
    let uid = w.snapshot.targets[leads].pod.uid.clone();
    w.snapshot.services[0].ready_pods = vec![uid];
})]
fn the_old_primary_goes_when_no_service_leads_to_it_any_more(#[case] lead: fn(&mut World, usize)) {
    let mut world = watched();
    lead(&mut world, 0);
    let mut journal = world.reach(|step| matches!(step, Step::Evict { pod } if *pod == fixtures::pod_name(0)));
    assert_eq!(world.primary, CHOSEN);
    lead(&mut world, 0);
    for _ in 0..2 {
        // The first look writes down since when it waits.
        if let Next::Record(next) = advance::next(&world.ctx(), &journal, false) {
            journal = *next;
        }
    }
    let blocked = gate(advance::next(&world.ctx(), &journal, false));
    assert_eq!(blocked[0].reason, BlockReason::ClientsPinned, "{blocked:?}");
    assert!(blocked[0].text.contains("still leads its clients to redis-0, and redis-2 is primary"), "{blocked:?}");
    lead(&mut world, CHOSEN);
    let record = world.walk(journal, None);
    assert_eq!((record.outcome, done(&world)), (Some(Outcome::Succeeded), WHOLE.map(str::to_owned).to_vec()));
}

/// What never comes ends it within `stepTimeout`, and what is left is tried again.
#[test]
fn sentinels_that_never_agree_are_given_up() {
    let mut world = watched();
    let journal = between(&mut world);
    set(&mut world, 0).replicas.remove(0);
    let record = until_it_ends(&mut world, journal);
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("SentinelsNotReady"), "{}", record.message);
}

/// Their own reconfiguration is under way: two who lead one replica would fight.
#[test]
fn a_replacement_that_follows_a_replica_is_left_to_the_sentinels() {
    let mut world = watched();
    let journal = world.reach(|step| step.kind() == StepKind::AwaitReplica);
    let Role::Replica(link) = &mut world.sample(1).replication.role else { panic!("a replica") };
    (link.primary, link.link_up) = (fixtures::stable_address(2), false);
    world.sample(1).replication.replid = "another".into();
    let next = advance::next(&world.ctx(), &journal, false);
    assert!(matches!(&next, Next::Wait(why, _) if why.contains("redis-1 follows redis-2")), "{next:?}");
}

/// A plan that was made for a set whose roles were ours does not outlive the first word of a Sentinel.
#[rstest]
#[case::before_a_restart(|step: &Step| matches!(step, Step::Evict { .. }))]
#[case::before_the_role_moves(|step: &Step| matches!(step, Step::Switchover { .. }))]
fn sentinels_that_appear_end_a_plan_that_moves_the_role(#[case] at: fn(&Step) -> bool) {
    let mut world = World::new();
    let journal = world.reach(at);
    world.snapshot.sentinels = fixtures::sentinels(&world.snapshot);
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("SentinelSeen"), "{}", record.message);
}

/// What began would end at once, and begin again: for ever.
#[rstest]
#[case::nobody_may_take_over(|w: &mut World| {
    for n in 1..3 {
        w.sample(n).config.as_mut().expect("readable").serving.replica_priority = Some(0);
    }
}, BlockReason::CandidateUnfit)]
#[case::nobody_could(|w: &mut World| {
    w.snapshot.targets.truncate(1);
    w.sample(0).replication.replicas.clear();
    w.snapshot.stateful_sets[0].replicas = 1;
    w.snapshot.sentinels = fixtures::sentinels(&w.snapshot);
}, BlockReason::SentinelSeen)]
fn a_primary_that_nobody_takes_over_from_is_a_refusal(#[case] change: fn(&mut World), #[case] reason: BlockReason) {
    let mut world = watched();
    change(&mut world);
    let considered = begin::consider(&world.ctx());
    let reasons: Vec<_> = considered.blocked.iter().map(|blocked| blocked.reason).collect();
    assert!(considered.begin.is_none() && reasons.contains(&reason), "{:?}", considered.blocked);
}

/// A Sentinel cannot be told to leave it alone.
#[test]
fn a_replica_that_people_hold_is_not_left_to_the_choice_of_a_sentinel() {
    let mut world = watched();
    let journal = world.reach(|step| matches!(step, Step::Switchover { .. }));
    world.snapshot.targets[1].pod.hold = Some("exports run".into());
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Paused));
    assert!(record.message.contains("Held: pod redis-1 is held"), "{}", record.message);
}

/// A server that says yes and keeps what it has, or a person who wants that very value: three attempts, and it is said.
#[rstest]
#[case::it_stays("0", "could not be set back on redis-0", Some(Outcome::ConfigDrift), 3)]
#[case::it_was_that_before("1000", "", Some(Outcome::Succeeded), 0)]
fn what_cannot_be_set_back_is_not_tried_for_ever(
    #[case] before: &str,
    #[case] said: &str,
    #[case] outcome: Option<Outcome>,
    #[case] attempts: usize,
) {
    let mut world = watched();
    let mut journal = world.reach(|step| matches!(step, Step::Switchover { .. }));
    let carried = |world: &mut World, n: usize, value: &str| {
        let serving = &mut world.sample(n).config.as_mut().expect("readable").serving;
        serving.carried.insert("min-replicas-to-write".into(), value.into());
    };
    (0..3).for_each(|n| carried(&mut world, n, before));
    let Next::Act(begun, _) = advance::next(&world.ctx(), &journal, false) else { panic!("no exchange") };
    journal = *begun;
    carried(&mut world, 0, "1000");
    world.moved_by_sentinels(CHOSEN);
    let mut set_back = 0;
    for _ in 0..400 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Record(next) => journal = *next,
            Next::Act(next, effect) => {
                journal = *next;
                match *effect {
                    Effect::SetBack { .. } => set_back += 1,
                    effect => {
                        world.apply(&effect);
                        carried(&mut world, 0, "1000");
                    }
                }
                world.tick(1);
            }
            Next::Wait(..) => world.tick(5),
            Next::End(record) => {
                assert_eq!((record.outcome, set_back), (outcome, attempts), "{}", record.message);
                assert!(record.message.contains(said), "{}", record.message);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it never ends: {set_back} attempts");
}
