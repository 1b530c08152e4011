//! What Sentinels say, in many ways.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::{
    domain::{
        blocked::BlockReason,
        fixtures::{self, three_pods},
        names::RunId,
        sample::Role,
        tls::TlsProblem,
    },
    topology::{Disturbance, Kind, Remains, find},
};

/// Three pods with a Sentinel in each, which agree on redis-0.
fn watched() -> Snapshot {
    let mut snapshot = three_pods();
    snapshot.sentinels = fixtures::sentinels(&snapshot);
    snapshot
}

fn set(snapshot: &mut Snapshot, n: usize) -> &mut WatchedSet {
    &mut snapshot.sentinels[n].said.as_mut().expect("it answers").sets[0]
}

fn address(n: u8) -> NodeAddress {
    fixtures::address(n)
}

/// Faults, what passes, and why each pod must not be restarted now.
fn judged(snapshot: &Snapshot) -> (Vec<String>, Vec<String>, Vec<Option<String>>) {
    let shards = find(&fixtures::policy(), snapshot);
    let [shard] = shards.as_slice() else { panic!("one shard") };
    assert_eq!((shard.kind, shard.refusal()), (Kind::Sentinel, None));
    let forbidden = shard
        .members
        .iter()
        .map(|member| Some(shard.sentinels_forbid(&restart(&member.pod.name, false))?.text))
        .collect();
    let mut passing = shard.watch.going_on();
    passing.extend(shard.watch.not_settled());
    (shard.watch.faults(shard).into_iter().map(|fault| fault.text).collect(), passing, forbidden)
}

fn restart(pod: &crate::domain::names::PodName, calm: bool) -> Disturbance<'_> {
    Disturbance { restarted: Some(pod), calm }
}

/// Why nothing at all is done.
fn refusal(snapshot: &Snapshot) -> String {
    let refusal = find(&fixtures::policy(), snapshot)[0].refusal().expect("it is refused");
    assert_eq!(refusal.reason, BlockReason::SentinelSeen);
    refusal.text
}

#[test]
fn sentinels_that_agree_have_no_fault_and_forbid_nothing() {
    assert_eq!(judged(&watched()), (vec![], vec![], vec![None; 3]));
}

#[rstest]
#[case::another_primary(|s: &mut Snapshot| set(s, 1).primary = address(1), &[
    "redis-0 says that it is primary, and the Sentinels name redis-0 (the Sentinel in redis-0, redis-2) and redis-1 (the \
     Sentinel in redis-1)",
])]
#[case::a_primary_that_denies_it(|s: &mut Snapshot| {
    let follows = s.targets[1].sample().expect("a sample").replication.role.clone();
    s.targets[0].sample_mut().expect("a sample").replication.role = follows;
}, &["no member says that it is primary, and the Sentinels name redis-0 (the Sentinel in redis-0, redis-1, redis-2)"])]
#[case::a_stranger(|s: &mut Snapshot| set(s, 2).primary = address(77), &[
    "10.0.0.177:6379, which is no selected pod (the Sentinel in redis-2)",
])]
#[case::a_replica_that_is_not_listed(|s: &mut Snapshot| drop(set(s, 0).replicas.pop()), &[
    "the Sentinel in redis-0 does not list the replica redis-2",
])]
#[case::a_replica_that_is_down(|s: &mut Snapshot| set(s, 0).replicas[0].down = true, &[
    "the Sentinel in redis-0 takes the replica redis-1 for dead",
])]
#[case::a_dead_entry(|s: &mut Snapshot| {
    let dead = Known { address: address(77), ..set(s, 0).replicas[0].clone() };
    set(s, 0).replicas.push(dead);
}, &["the Sentinel in redis-0 lists the replica 10.0.0.177:6379, which is no selected pod: if it is gone for good, run \
      SENTINEL RESET mymaster on the Sentinel in redis-0; else let spec.selector select it"])]
#[case::a_peer_that_is_not_known(|s: &mut Snapshot| drop(set(s, 0).others.pop()), &[
    "the Sentinel in redis-0 does not know the one in redis-2",
])]
#[case::a_dead_peer(|s: &mut Snapshot| {
    let dead = Known { id: "gone".into(), address: address(78), down: true, fresh: true };
    set(s, 0).others.push(dead);
}, &["the Sentinel in redis-0 knows one at 10.0.0.178:6379 that is none of those that were asked"])]
#[case::tilt(|s: &mut Snapshot| s.sentinels[1].said.as_mut().expect("it answers").tilt = true, &[
    "the Sentinel in redis-1 is in TILT mode and acts on nothing",
])]
#[case::one_is_silent(|s: &mut Snapshot| s.sentinels[1].said = Err(ProbeFailure::TimedOut("no answer within 1 s".into())), &[
    "the Sentinel in redis-1 gives no answer (no answer within 1 s)",
])]
#[case::one_of_another_authority(|s: &mut Snapshot| {
    s.sentinels[1].said = Err(ProbeFailure::Tls(TlsProblem::UnknownAuthority, "of none of the authorities".into()));
}, &["the Sentinel in redis-1 gives no answer (of none of the authorities): put the certificate of the authority that signed \
      the server's certificate into the Secret of spec.redis.sentinel.tls.caSecret"])]
#[case::one_wants_tls(|s: &mut Snapshot| {
    s.sentinels[1].said = Err(ProbeFailure::Unreachable("so does a port that wants TLS; set spec.redis.tls".into()));
}, &["the Sentinel in redis-1 gives no answer (so does a port that wants TLS; set spec.redis.sentinel.tls)"])]
#[case::one_ends_in_the_middle_of_a_handshake(|s: &mut Snapshot| {
    s.sentinels[1].said = Err(ProbeFailure::Tls(TlsProblem::Failed, "the server closed the connection".into()));
}, &["the Sentinel in redis-1 gives no answer (the server closed the connection): compare tls-protocols"])]
#[case::a_wrong_password(|s: &mut Snapshot| {
    s.sentinels[1].said = Err(ProbeFailure::AuthenticationFailed("WRONGPASS".into()));
}, &["the Sentinel in redis-1 gives no answer (WRONGPASS)"])]
#[case::two_names(|s: &mut Snapshot| set(s, 1).name = "cart".into(), &[
    "Sentinels know the set by several names (cart, mymaster): set spec.redis.sentinel.masterName",
])]
#[case::a_quorum_of_all(|s: &mut Snapshot| set(s, 1).quorum = 4, &[
    "3 of 3 known Sentinels answer, and 4 must (quorum 4,",
])]
fn each_fault_is_said(#[case] change: fn(&mut Snapshot), #[case] want: &[&str]) {
    let mut snapshot = watched();
    change(&mut snapshot);
    let (faults, _, forbidden) = judged(&snapshot);
    assert_eq!(faults.len(), want.len(), "{faults:#?}");
    for (fault, want) in faults.iter().zip(want) {
        assert!(fault.contains(want), "{fault}");
    }
    let lasts = [
        "which is no selected pod: if",
        "none of those that were asked",
        "by several names",
        "quorum 4",
        "authorities",
        "WRONGPASS",
    ];
    let lasts = faults.iter().all(|fault| lasts.iter().any(|lasting| fault.contains(lasting)));
    assert_eq!(forbidden, vec![Some(faults.join("; ")); 3]);
    let shards = find(&fixtures::policy(), &snapshot);
    let fault = shards[0].sentinels_forbid(&restart(&fixtures::pod_name(1), false)).expect("it is forbidden");
    assert_eq!(fault.lasts, lasts, "{fault:?}");
}

/// Who is silent may speak again, and under another id.
#[test]
fn what_waits_for_a_silent_sentinel_passes() {
    let mut snapshot = watched();
    snapshot.sentinels[2].said = Err(ProbeFailure::Unreachable("connection refused".into()));
    for n in 0..2 {
        set(&mut snapshot, n).quorum = 3;
    }
    let shards = find(&fixtures::policy(), &snapshot);
    let fault = shards[0].sentinels_forbid(&restart(&fixtures::pod_name(1), false)).expect("it is forbidden");
    assert!(!fault.lasts && fault.text.contains("2 of 3 known Sentinels answer"), "{fault:?}");
    // Nothing else passes where somebody must do something: that alone is said then.
    let dead = Known { address: address(77), ..set(&mut snapshot, 0).replicas[0].clone() };
    set(&mut snapshot, 0).replicas.push(dead);
    let shards = find(&fixtures::policy(), &snapshot);
    let fault = shards[0].sentinels_forbid(&restart(&fixtures::pod_name(1), false)).expect("it is forbidden");
    assert!(fault.lasts && fault.text.starts_with("the Sentinel in redis-0 lists the replica"), "{fault:?}");
}

/// redis-1 was restarted at another address and, where it has one, with another Sentinel.
fn remembered() -> (Snapshot, Vec<RunId>) {
    let mut snapshot = watched();
    for n in [0, 1, 2] {
        let set = set(&mut snapshot, n);
        set.settled_for = Duration::from_secs(5);
        let old = Known { id: "ended".into(), address: address(77), down: true, fresh: false };
        set.others.push(Known { id: "sentinel-old".into(), ..old.clone() });
        set.replicas.push(old);
    }
    (snapshot, vec![RunId::new("ended")])
}

fn remains(snapshot: &Snapshot, ended: &[RunId], calm: bool) -> String {
    let shards = find(&fixtures::policy(), snapshot);
    match shards[0].sentinels_remember(ended, calm) {
        Remains::Nothing => "nothing".into(),
        Remains::Forget(forget) => format!("forget {} {}", forget.sentinel.pod, forget.set),
        Remains::Wait(why) => format!("wait: {why}"),
        Remains::Left(why) => format!("left: {why}"),
    }
}

#[test]
fn what_our_restart_left_is_forgotten_by_one_after_the_other() {
    let (mut snapshot, ended) = remembered();
    assert_eq!(remains(&snapshot, &ended, true), "forget redis-0 mymaster");
    // It has forgotten, and is to find everybody first.
    let whole = fixtures::sentinels(&snapshot);
    let mut empty = whole[0].clone();
    let said = &mut empty.said.as_mut().expect("it answers").sets[0];
    (said.replicas, said.others) = (Vec::new(), Vec::new());
    snapshot.sentinels[0] = empty;
    assert!(
        remains(&snapshot, &ended, true).starts_with("wait: the Sentinel in redis-0 does not list the replica redis-1")
    );
    snapshot.sentinels[0] = whole[0].clone();
    assert_eq!(remains(&snapshot, &ended, true), "forget redis-1 mymaster");
    snapshot.sentinels = whole;
    assert_eq!(remains(&snapshot, &ended, true), "nothing");
}

/// While one has forgotten the others must be able to fail over, and a failover is forgotten with the rest.
#[rstest]
#[case::not_ours(|_: &mut Snapshot, ended: &mut Vec<RunId>| ended.clear(), "nothing")]
#[case::another_is_gone_too(|s: &mut Snapshot, _: &mut Vec<RunId>| {
    let other = Known { id: "other".into(), address: address(78), down: true, fresh: false };
    set(s, 2).replicas.push(other);
}, "left: the Sentinel in redis-0, redis-1, redis-2 lists the replica 10.0.0.177:6379")]
#[case::a_quorum_of_one(|s: &mut Snapshot, _: &mut Vec<RunId>| set(s, 1).quorum = 1, "left: ")]
#[case::a_failover(|s: &mut Snapshot, _: &mut Vec<RunId>| set(s, 1).failing_over = true, "wait: a failover is in progress")]
#[case::a_primary_that_is_down(|s: &mut Snapshot, _: &mut Vec<RunId>| set(s, 2).primary_down = true, "wait: ")]
#[case::one_is_silent(|s: &mut Snapshot, _: &mut Vec<RunId>| {
    s.sentinels[1].said = Err(ProbeFailure::Unreachable("connection refused".into()));
}, "wait: the Sentinel in redis-1 gives no answer")]
#[case::one_has_not_asked_yet(|s: &mut Snapshot, _: &mut Vec<RunId>| set(s, 1).replicas[0].fresh = false, "wait: ")]
#[case::the_primary_still_names_it(|s: &mut Snapshot, _: &mut Vec<RunId>| {
    let lines = &mut s.targets[0].sample_mut().expect("a sample").replication.replicas;
    lines.push(crate::domain::sample::ReplicaLine { address: address(77), ..lines[0].clone() });
}, "wait: a member still names 10.0.0.177:6379")]
fn nobody_is_made_to_forget_when(#[case] change: fn(&mut Snapshot, &mut Vec<RunId>), #[case] want: &str) {
    let (mut snapshot, mut ended) = remembered();
    change(&mut snapshot, &mut ended);
    let remains = remains(&snapshot, &ended, true);
    assert!(remains.starts_with(want), "{remains}");
}

#[test]
fn a_failover_that_came_to_nothing_lately_is_waited_for_before_anybody_forgets() {
    let (snapshot, ended) = remembered();
    assert!(remains(&snapshot, &ended, false).starts_with("wait: the last failover was less than 360 s ago"));
}

#[test]
fn dead_sentinels_count_for_the_majority() {
    let mut snapshot = watched();
    for n in 0..3 {
        for dead in ["x", "y", "z"] {
            set(&mut snapshot, n).others.push(Known { id: dead.into(), address: address(78), down: true, fresh: true });
        }
    }
    let (faults, ..) = judged(&snapshot);
    assert!(faults.iter().any(|fault| fault.starts_with("3 of 6 known Sentinels answer, and 4 must")), "{faults:#?}");
}

#[test]
fn a_set_of_two_sentinels_bears_no_restart() {
    let mut snapshot = watched();
    snapshot.sentinels.pop();
    for n in 0..2 {
        set(&mut snapshot, n).others.pop();
    }
    // The first knew the second last.
    set(&mut snapshot, 0).others =
        vec![Known { id: "sentinel-1".into(), address: address(1), down: false, fresh: true }];
    set(&mut snapshot, 1).others =
        vec![Known { id: "sentinel-0".into(), address: address(0), down: false, fresh: true }];
    let (faults, unrest, forbidden) = judged(&snapshot);
    assert_eq!((faults, unrest), (vec![], vec![]));
    for (n, text) in forbidden.iter().enumerate().take(2) {
        let text = text.as_deref().expect("forbidden");
        assert!(
            text.starts_with(&format!("1 of 2 known Sentinels answer while redis-{n} is away, and 2 must")),
            "{text}"
        );
    }
    // No Sentinel is in the third.
    assert_eq!(forbidden[2], None);
}

#[rstest]
#[case::failing_over(|s: &mut Snapshot| set(s, 1).failing_over = true, &["a failover is in progress, by the Sentinel in redis-1"])]
#[case::down(|s: &mut Snapshot| set(s, 1).primary_down = true, &["the Sentinel in redis-1 takes the primary for dead"])]
#[case::one_was_started(|s: &mut Snapshot| set(s, 1).settled_for = Duration::ZERO, &[])]
#[case::all_switched(|s: &mut Snapshot| (0..3).for_each(|n| set(s, n).settled_for = Duration::from_secs(359)), &[
    "the last failover was less than 360 s ago (twice failover-timeout), or every Sentinel was started since",
])]
fn what_goes_on_is_said(#[case] change: fn(&mut Snapshot), #[case] want: &[&str]) {
    let mut snapshot = watched();
    change(&mut snapshot);
    let (faults, unrest, forbidden) = judged(&snapshot);
    assert_eq!((faults, unrest), (vec![], want.iter().map(ToString::to_string).collect::<Vec<_>>()));
    assert_eq!(forbidden[1], want.first().map(ToString::to_string));
}

/// As the redis-ha chart has it: a Service for each pod, whose ClusterIP the servers announce.
fn announce(snapshot: &mut Snapshot) {
    let ip = |n: u8| format!("10.96.0.{n}");
    for n in 0..3 {
        let pod = fixtures::pod_name(n);
        let selector = [("statefulset.kubernetes.io/pod-name", pod.as_str())];
        let mut service = fixtures::service(&format!("announce-{n}"), &selector, vec![pod.clone()]);
        service.addresses = [ip(n).parse::<std::net::IpAddr>().expect("an address")].into_iter().collect();
        snapshot.services.push(service);
    }
    let moved = |address: &mut NodeAddress| {
        let n = (0..3).find(|n| fixtures::address(*n) == *address);
        if let Some(n) = n {
            address.host = ip(n);
        }
    };
    for sentinel in &mut snapshot.sentinels {
        let set = &mut sentinel.said.as_mut().expect("it answers").sets[0];
        moved(&mut set.primary);
        set.replicas.iter_mut().for_each(|known| moved(&mut known.address));
    }
    for target in &mut snapshot.targets {
        let replication = &mut target.sample_mut().expect("a sample").replication;
        replication.replicas.iter_mut().for_each(|line| moved(&mut line.address));
        if let Role::Replica(link) = &mut replication.role {
            moved(&mut link.primary);
        }
    }
}

#[test]
fn announced_addresses_are_those_of_the_pods_behind_them() {
    let mut snapshot = watched();
    announce(&mut snapshot);
    let (faults, ..) = judged(&snapshot);
    assert_eq!(faults, Vec::<String>::new());
    let shards = find(&fixtures::policy(), &snapshot);
    assert_eq!(shards[0].outside, []);
    let primary = |n: u8| shards[0].resolve(&NodeAddress { host: format!("10.96.0.{n}"), port: 6379 });
    assert_eq!(primary(1).map(|target| target.pod.name.as_str()), Some("redis-1"));
    assert_eq!(primary(7), None);
    snapshot.services.retain(|service| service.name != "announce-1");
    let (faults, ..) = judged(&snapshot);
    assert!(faults.iter().any(|fault| fault.contains("10.96.0.1:6379, which is no selected pod")), "{faults:#?}");
}

#[test]
fn one_that_is_silent_may_watch_the_set() {
    let mut snapshot = watched();
    snapshot.sentinels.truncate(1);
    snapshot.sentinels[0].said = Err(ProbeFailure::Unreachable("connection refused".into()));
    let text = refusal(&snapshot);
    assert!(text.ends_with("; the Sentinel in redis-0 gives no answer (connection refused)"), "{text}");
}

#[test]
fn where_a_sentinel_is_connected_from_is_said_as_long_as_none_is_known() {
    let mut snapshot = three_pods();
    let sample = snapshot.targets[0].sample_mut().expect("a sample");
    (sample.sentinel_seen, sample.sentinel_hosts) = (Some(true), vec!["10.0.9.1".parse().expect("an address")]);
    let text = refusal(&snapshot);
    assert!(
        text.contains("which one (connected from 10.0.9.1) is not known: set spec.redis.sentinel.selector"),
        "{text}"
    );
}

#[test]
fn sentinels_of_another_set_say_nothing_here() {
    let mut snapshot = watched();
    for n in 0..3 {
        let set = set(&mut snapshot, n);
        set.primary = address(50);
        set.replicas.clear();
    }
    let shards = find(&fixtures::policy(), &snapshot);
    assert_eq!((shards[0].kind, shards[0].refusal()), (Kind::Replication, None));
}

/// A Sentinel that was told to fail over begins the next one at once, but must have asked everybody first.
#[test]
fn after_a_role_that_we_moved_only_what_is_not_heard_yet_is_waited_for() {
    let mut snapshot = watched();
    (0..3).for_each(|n| set(&mut snapshot, n).settled_for = Duration::from_secs(5));
    let pod = fixtures::pod_name(1);
    let forbidden = |snapshot: &Snapshot, what: &Disturbance<'_>| {
        find(&fixtures::policy(), snapshot)[0].sentinels_forbid(what).map(|fault| fault.text).unwrap_or_default()
    };
    assert!(forbidden(&snapshot, &restart(&pod, false)).contains("twice failover-timeout"));
    let moved = Disturbance { restarted: None, calm: false };
    assert!(forbidden(&snapshot, &moved).contains("twice failover-timeout"));
    assert_eq!(forbidden(&snapshot, &restart(&pod, true)), "");
    set(&mut snapshot, 2).replicas[0].fresh = false;
    assert!(forbidden(&snapshot, &restart(&pod, true)).contains("in redis-2 has heard nothing of"));
}

#[test]
fn a_quorum_above_the_majority_is_needed_for_a_failover() {
    let mut snapshot = watched();
    let needed = |snapshot: &Snapshot| {
        let shards = find(&fixtures::policy(), snapshot);
        shards[0].electors(&fixtures::pod_name(0)).expect("Sentinels").needed
    };
    assert_eq!(needed(&snapshot), 2);
    set(&mut snapshot, 1).quorum = 3;
    assert_eq!(needed(&snapshot), 3);
}
