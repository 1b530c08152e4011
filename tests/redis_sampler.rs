//! The sampler on real redis-server processes.
#![cfg(test)]

mod common;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use common::{PATIENCE, eventually, secret::Secret, server::RedisServer};
use futures::{FutureExt as _, StreamExt as _};
use pretty_assertions::assert_eq;
use redis_memory_operator::{
    clock::Clock,
    domain::{
        policy::SecretKey,
        sample::{Role, Sample},
        snapshot::{Observation, ProbeFailure},
        surroundings::{LostSet, Reach},
    },
    observe::sampler::{
        Assignment, CredentialsFor, Digester, Sampler, SamplerHandle, SamplerSettings, SamplerTask, TargetKey,
    },
};

const INTERVAL: Duration = Duration::from_millis(100);
const KEEP: Duration = Duration::from_secs(600);

struct Bench {
    sampler: SamplerHandle,
    task: SamplerTask,
    password: Arc<Secret>,
}

fn bench(interval: Duration) -> Bench {
    let password = Secret::new(None);
    let settings = SamplerSettings { interval, probe_deadline: Duration::from_secs(1), concurrency: 8 };
    let (sampler, task) = Sampler::spawn(settings, Clock::start(), Arc::<Secret>::clone(&password));
    Bench { sampler, task, password }
}

fn key(pod_uid: &str) -> TargetKey {
    key_of("policy", pod_uid)
}

fn key_of(policy_uid: &str, pod_uid: &str) -> TargetKey {
    TargetKey { policy_uid: policy_uid.into(), pod_uid: pod_uid.into() }
}

fn target(pod_uid: &str, address: SocketAddr) -> Assignment {
    Assignment {
        pod_uid: pod_uid.into(),
        set: (format!("shop/set-of-{pod_uid}"), pod_uid.into()),
        address,
        credentials: CredentialsFor::None,
        keep: KEEP,
    }
}

fn with_password(pod_uid: &str, address: SocketAddr) -> Assignment {
    let secret = SecretKey { name: "auth".into(), key: "password".into() };
    let credentials = CredentialsFor::Secret { namespace: "shop".into(), secret, username: None };
    Assignment { credentials, ..target(pod_uid, address) }
}

/// Digests the role and nothing else.
fn by_role() -> Digester {
    Arc::new(|observation, _| match observation {
        Observation::Seen(sample) => u64::from(sample.replication.role == Role::Primary),
        Observation::Failed(_) | Observation::Pending => 2,
    })
}

async fn seen(sampler: &SamplerHandle, pod_uid: &str) -> Sample {
    eventually("a sample", async || match sampler.latest(&key(pod_uid)).0 {
        Observation::Seen(sample) => Some(*sample),
        Observation::Failed(_) | Observation::Pending => None,
    })
    .await
}

async fn failed(sampler: &SamplerHandle, pod_uid: &str, reason: &str) {
    eventually(reason, async || match sampler.latest(&key(pod_uid)).0 {
        Observation::Failed(failure) => (failure.reason() == reason).then_some(()),
        Observation::Seen(_) | Observation::Pending => None,
    })
    .await;
}

/// Whether the sampler holds a connection to the server.
fn connected(server: &RedisServer) -> usize {
    server.run(&["CLIENT", "LIST"]).matches("name=redis-memory-operator").count()
}

#[tokio::test]
async fn what_does_not_answer_is_counted_over_all_policies() {
    let (mut well, locked) = (RedisServer::start(&[]), RedisServer::start(&["--requirepass", "secret"]));
    let Bench { sampler, task: _task, .. } = bench(INTERVAL);
    assert_eq!(sampler.reach(), Reach::default());
    sampler.assign("p", "shop", vec![target("a", well.address())], by_role());
    sampler.assign(
        "q",
        "shop",
        vec![target("b", locked.address()), target("c", ([127, 0, 0, 1], 1).into())],
        by_role(),
    );
    let reaches = async |lost: Vec<LostSet>| {
        let wanted = Reach { endpoints: 1, unreachable: lost.len(), lost };
        eventually("the count", async || (sampler.reach() == wanted).then_some(())).await;
    };
    // One that has never answered as Redis says nothing about the network, and one that refuses the password is there.
    reaches(Vec::new()).await;
    well.crash();
    let set = LostSet { name: "shop/set-of-a".into(), set: "a".into(), unreachable: 1 };
    reaches(vec![set.clone()]).await;
    // A new pod of the same set is no stranger.
    let new = Assignment { set: (set.name.clone(), set.set.clone()), ..target("d", ([127, 0, 0, 1], 1).into()) };
    sampler.assign("q", "shop", vec![new], by_role());
    let lost = vec![LostSet { unreachable: 2, ..set }];
    let wanted = Reach { endpoints: 2, unreachable: 2, lost };
    eventually("both", async || (sampler.reach() == wanted).then_some(())).await;
}

#[tokio::test]
async fn what_a_fork_copies_is_measured_and_kept_for_the_day() {
    let server = RedisServer::start(&[]);
    // More than 100 MB: of less a fork's share says nothing.
    for n in 0..110 {
        server.run(&["SETRANGE", &format!("key:{n}"), "1048575", "x"]);
    }
    let Bench { sampler, task: _task, .. } = bench(INTERVAL);
    assert!(sampler.peaks(&key("a")).is_empty());
    sampler.assign("policy", "shop", vec![target("a", server.address())], by_role());
    seen(&sampler, "a").await;
    server.run(&["BGSAVE"]);
    let peaks = eventually("a fork", async || {
        let peaks = sampler.peaks(&key("a"));
        peaks.copied.is_some().then_some(peaks)
    })
    .await;
    assert!(peaks.ratio.is_some() && peaks.clients.0 > 0 && peaks.covered > Duration::ZERO, "{peaks:?}");
    sampler.assign("policy", "shop", vec![], by_role());
    assert!(sampler.peaks(&key("a")).is_empty());
}

#[tokio::test]
async fn a_target_keeps_one_connection_and_a_history() {
    let server = RedisServer::start(&[]);
    let Bench { sampler, task, .. } = bench(INTERVAL);
    assert_eq!(sampler.latest(&key("a")), (Observation::Pending, vec![]));
    sampler.assign("policy", "shop", vec![target("a", server.address())], by_role());
    let readings = eventually("ten readings", async || {
        let readings = sampler.latest(&key("a")).1;
        (readings.len() >= 10).then_some(readings)
    })
    .await;
    assert!(readings.is_sorted_by_key(|reading| reading.at));
    assert!(readings.iter().all(|reading| reading.quiet && reading.run_id == readings[0].run_id));
    assert_eq!(connected(&server), 1);
    let stats = sampler.probe_stats().remove(0);
    assert!(stats.probes >= 10 && stats.last_duration.is_some() && stats.sample_age < Some(PATIENCE), "{stats:?}");

    // Let go: the connection closes. Assigned to nobody: nothing is known.
    sampler.assign("policy", "shop", vec![], by_role());
    eventually("the connection is closed", async || (connected(&server) == 0).then_some(())).await;
    assert_eq!(sampler.latest(&key("a")), (Observation::Pending, vec![]));

    sampler.assign("policy", "shop", vec![target("a", server.address())], by_role());
    seen(&sampler, "a").await;
    drop(task);
    eventually("the connection is closed", async || (connected(&server) == 0).then_some(())).await;
    sampler.assign("policy", "shop", vec![target("a", server.address())], by_role());
    assert_eq!(sampler.latest(&key("a")).0, Observation::Pending, "nothing is probed without the task");
}

#[tokio::test]
async fn a_target_of_two_policies_is_probed_once_until_both_let_go() {
    let server = RedisServer::start(&[]);
    let Bench { sampler, task: _task, .. } = bench(INTERVAL);
    let readings = |policy: &str| sampler.latest(&key_of(policy, "a")).1.len();
    sampler.assign("one", "shop", vec![target("a", server.address())], by_role());
    sampler.assign("two", "shop", vec![target("a", server.address())], by_role());
    eventually("both see it", async || (readings("one") > 0 && readings("two") > 0).then_some(())).await;
    assert_eq!(connected(&server), 1);
    sampler.forget("one");
    let count = readings("two");
    eventually("it goes on", async || (readings("two") > count + 2).then_some(())).await;
    assert_eq!(readings("one"), 0, "who let go sees nothing");
    sampler.forget("two");
    eventually("the connection is closed", async || (connected(&server) == 0).then_some(())).await;
}

/// Of which users the sampler holds connections to the server.
fn users(server: &RedisServer) -> Vec<String> {
    let list = server.run(&["CLIENT", "LIST"]);
    let ours = list.lines().filter(|line| line.contains("name=redis-memory-operator"));
    let mut users: Vec<String> = ours
        .filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix("user=")).map(str::to_owned))
        .collect();
    users.sort();
    users
}

/// The password is the same for all; the users are not.
fn as_user(user: &str, address: SocketAddr) -> Vec<Assignment> {
    let secret = SecretKey { name: "auth".into(), key: user.into() };
    let credentials = CredentialsFor::Secret { namespace: "shop".into(), secret, username: Some(user.into()) };
    vec![Assignment { credentials, ..target("a", address) }]
}

#[tokio::test]
async fn each_policy_asks_a_pod_with_its_own_user_and_is_refused_for_itself() {
    let server = RedisServer::start(&[]);
    for (user, password) in [("owner", ">right"), ("looker", ">right"), ("stranger", ">other")] {
        server.run(&["ACL", "SETUSER", user, "on", password, "+@all", "~*", "&*"]);
    }
    let Bench { sampler, task: _task, password } = bench(INTERVAL);
    password.set(Some("right"));
    // Whoever comes first decides for nobody else.
    for user in ["stranger", "owner", "looker"] {
        sampler.assign(user, "shop", as_user(user, server.address()), by_role());
    }
    let latest = |policy: &str| sampler.latest(&key_of(policy, "a")).0;
    let is_seen = |policy: &str| matches!(latest(policy), Observation::Seen(_));
    eventually("two see it", async || (is_seen("owner") && is_seen("looker")).then_some(())).await;
    eventually("the stranger is refused", async || match latest("stranger") {
        Observation::Failed(failure) => (failure.reason() == "AuthenticationFailed").then_some(()),
        Observation::Seen(_) | Observation::Pending => None,
    })
    .await;
    assert_eq!(users(&server), ["looker", "owner"]);
    assert_eq!(sampler.reach(), Reach { endpoints: 1, ..Reach::default() }, "one pod, which answers");
    for user in ["owner", "looker", "stranger"] {
        let login = sampler.credentials(&key_of(user, "a")).await.expect("it is known").expect("there is one");
        assert_eq!(login.username(), Some(user), "an effect logs in as its own policy does");
    }
    let gate: Vec<_> = ["owner", "stranger"].map(|policy| key_of(policy, "a")).into();
    let [(_, owner, _), (_, stranger, _)] = &sampler.probe_now(&gate).await[..] else { panic!("two answers") };
    assert!(matches!((owner, stranger), (Observation::Seen(_), Observation::Failed(_))), "{owner:?} {stranger:?}");

    sampler.forget("looker");
    eventually("its connection is closed", async || (users(&server) == ["owner"]).then_some(())).await;
    assert_eq!(latest("looker"), Observation::Pending);
    sampler.credentials(&key_of("looker", "a")).await.expect_err("it is not known any more");
    assert!(is_seen("owner"));
}

#[tokio::test]
async fn a_policy_that_takes_another_user_keeps_what_it_has_seen_and_changes_nothing_for_others() {
    let server = RedisServer::start(&[]);
    for user in ["old", "new"] {
        server.run(&["ACL", "SETUSER", user, "on", ">right", "+@all", "~*", "&*"]);
    }
    let Bench { sampler, task: _task, password } = bench(INTERVAL);
    password.set(Some("right"));
    let readings = |policy: &str| sampler.latest(&key_of(policy, "a")).1;
    let (one, two) = (as_user("old", server.address()), as_user("new", server.address()));
    for policy in ["p", "q"] {
        sampler.assign(policy, "shop", one.clone(), by_role());
    }
    let first = eventually("some readings", async || readings("p").get(3).map(|_| readings("p")[0].at)).await;
    assert_eq!(users(&server), ["old"]);
    // Out of a shared target, and alone in its own.
    sampler.assign("p", "shop", two.clone(), by_role());
    eventually("each has its own", async || (users(&server) == ["new", "old"]).then_some(())).await;
    assert_eq!((readings("p")[0].at, readings("q")[0].at), (first, first));
    sampler.assign("q", "shop", two, by_role());
    eventually("they share one again", async || (users(&server) == ["new"]).then_some(())).await;
    sampler.forget("q");
    sampler.assign("p", "shop", one, by_role());
    eventually("it turns back", async || (users(&server) == ["old"]).then_some(())).await;
    assert_eq!(readings("p")[0].at, first);
}

#[tokio::test]
async fn a_restarted_process_is_another_run_in_the_same_history() {
    let mut server = RedisServer::start(&[]);
    let Bench { sampler, task: _task, .. } = bench(INTERVAL);
    sampler.assign("policy", "shop", vec![target("a", server.address())], by_role());
    let before = seen(&sampler, "a").await;
    server.restart();
    let readings = eventually("a reading of the new process", async || {
        let readings = sampler.latest(&key("a")).1;
        (readings.last()?.run_id != before.run_id).then_some(readings)
    })
    .await;
    assert_eq!(readings[0].run_id, before.run_id);
}

#[tokio::test]
async fn a_server_that_closes_idle_connections_fails_no_probe() {
    let server = RedisServer::start(&[]);
    let Bench { sampler, task: _task, .. } = bench(INTERVAL);
    sampler.assign("policy", "shop", vec![target("a", server.address())], by_role());
    seen(&sampler, "a").await;
    for _ in 0..5 {
        let probes = sampler.probe_stats()[0].probes;
        server.run(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("the next probe", async || (sampler.probe_stats()[0].probes > probes + 1).then_some(())).await;
    }
    let errors = sampler.probe_stats().remove(0).errors;
    assert_eq!(errors.get("Unreachable"), None, "{errors:?}");
}

#[tokio::test]
async fn a_gate_gets_a_fresh_probe_out_of_turn() {
    let server = RedisServer::start(&[]);
    let frozen = RedisServer::start(&[]);
    let Bench { sampler, task: _task, .. } = bench(Duration::from_secs(3600));
    let both = vec![target("a", server.address()), target("b", frozen.address())];
    sampler.assign("policy", "shop", both, by_role());
    let first = seen(&sampler, "a").await;
    seen(&sampler, "b").await;
    frozen.freeze();
    server.run(&["SET", "k", "v"]);
    let clock = Clock::start();
    let answers = sampler.probe_now(&[key("a"), key("b"), key("unknown")]).await;
    assert!(clock.uptime() < Duration::from_millis(2500), "{:?}", clock.uptime());
    let [(_, a, history), (_, b, _), (_, unknown, _)] = &answers[..] else { panic!("three answers") };
    let Observation::Seen(sample) = a else { panic!("{a:?}") };
    assert!(sample.at > first.at && sample.keys == 1);
    assert_eq!(history.last().map(|reading| reading.at), Some(sample.at));
    assert!(matches!(b, Observation::Failed(ProbeFailure::TimedOut(_))), "{b:?}");
    assert_eq!(*unknown, Observation::Pending);
}

#[tokio::test]
async fn only_a_changed_judgement_wakes() {
    let (primary, replica) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let Bench { sampler, task: _task, .. } = bench(INTERVAL);
    let mut changes = Box::pin(sampler.changes());
    sampler.assign("policy", "shop", vec![target("a", replica.address())], by_role());
    let wake = async |changes: &mut std::pin::Pin<Box<_>>, patience| {
        let next = futures::StreamExt::next(changes);
        tokio::time::timeout(patience, next).await.ok().flatten()
    };
    let policy = Some(("shop".to_owned(), "policy".to_owned()));
    assert_eq!(wake(&mut changes, PATIENCE).await, policy, "the first judgement is new");
    seen(&sampler, "a").await;
    // The first probe may have failed (not measured yet) and been judged too.
    while wake(&mut changes, INTERVAL * 3).await.is_some() {}

    let probes = sampler.probe_stats()[0].probes;
    assert_eq!(wake(&mut changes, INTERVAL * 5).await, None, "equal judgements wake nobody");
    assert!(sampler.probe_stats()[0].probes > probes, "though there were probes");
    // Assigned again, as each reconcile does: still nothing new.
    sampler.assign("policy", "shop", vec![target("a", replica.address())], by_role());
    assert_eq!(wake(&mut changes, INTERVAL * 5).await, None);

    replica.follow(&primary).await;
    assert_eq!(wake(&mut changes, PATIENCE).await, policy, "the role changed");
    replica.freeze();
    assert_eq!(wake(&mut changes, PATIENCE).await, policy, "it answers no more");
    assert!(changes.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_wrong_password_is_read_again_and_a_changed_one_is_tried() {
    let server = RedisServer::start(&["--requirepass", "right"]);
    let Bench { sampler, task: _task, password } = bench(INTERVAL);
    sampler.assign("policy", "shop", vec![with_password("a", server.address())], by_role());
    failed(&sampler, "a", "SecretUnavailable").await;
    assert_eq!(sampler.credentials(&key("a")).await.expect_err("there is none").reason(), "SecretUnavailable");

    password.set(Some("wrong"));
    failed(&sampler, "a", "AuthenticationFailed").await;
    let reads = password.reads();
    password.set(Some("right"));
    seen(&sampler, "a").await;
    let again = password.reads() - reads;
    assert!((1..=4).contains(&again), "{again} reads: it is read again, with patience");
    sampler.credentials(&key("a")).await.expect("it is known").expect("there is one");
    assert!(sampler.credentials(&key("unknown")).await.is_err());
}

#[tokio::test]
async fn nothing_is_sent_to_a_target_whose_password_is_withheld() {
    let server = RedisServer::start(&[]);
    let Bench { sampler, task: _task, .. } = bench(INTERVAL);
    let withheld = CredentialsFor::Withheld(ProbeFailure::OwnerUnproven("it has no controller".into()));
    let assignment = Assignment { credentials: withheld, ..target("a", server.address()) };
    sampler.assign("policy", "shop", vec![assignment], by_role());
    failed(&sampler, "a", "OwnerUnproven").await;
    assert_eq!(
        server.run(&["INFO", "stats"]).lines().filter(|l| l.starts_with("total_connections_received:1")).count(),
        1
    );
}
