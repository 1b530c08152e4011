//! Members that claim to be primary, on real redis-server processes: the old primary that comes back as one, two
//! primaries of any other origin, a primary that lost its data. What is seen is real; decisions are the planner's, and
//! the one effect that may follow is carried out by the executor.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of a test are test code")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{DEADLINE, connect, eventually, look, server::RedisServer, switching};
use futures::future::BoxFuture;
use pretty_assertions::assert_eq;
use redis_memory_operator::{
    assess::{AssessSettings, Assessment},
    clock::Clock,
    domain::{
        blocked::BlockReason,
        bytes::Bytes,
        finding::FindingCode,
        fixtures::{self, NOW},
        journal::{CurrentStep, Journal, MemberIdentity, Outcome, WorkloadRecord},
        names::{PodUid, RunId},
        policy::{AuthorityRule, Policy, SecretKey},
        ratio::Ratio,
        sample::Role,
        snapshot::{Observation, ProbeFailure, RedisRights, Snapshot, Target},
        step::Step,
    },
    execute::{Done, ExecuteError, Executor, live::Live},
    kube_io::{fence::Fence, read::Reader, write::Writer},
    observe::sampler::{Assignment, CredentialsFor, Sampler, SamplerSettings, SamplerTask, SecretSource},
    plan::{
        Context, PlanSettings, begin,
        decide::{self, Decision},
        effect::{Effect, Peer},
        next::Next,
    },
    redis_io::RedisError,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use zeroize::Zeroizing;

const KEYS: u64 = 500;

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn get<'a>(&'a self, _: &'a str, _: &'a SecretKey) -> BoxFuture<'a, Result<Zeroizing<String>, ProbeFailure>> {
        Box::pin(async { Err(ProbeFailure::SecretUnavailable("there is none".to_owned())) })
    }
}

/// Three servers as pods redis-0, redis-1 and redis-2, and an executor that reaches them.
struct Set {
    servers: [RedisServer; 3],
    uids: [PodUid; 3],
    executor: Executor<Live>,
    _task: SamplerTask,
}

impl Set {
    /// redis-0 is primary with keys, the others have synced. redis-0 starts with these options, and writes no file for
    /// its replicas (6.2 would), so that it comes back empty.
    async fn start(options: &[&str]) -> Self {
        let options = [&["--repl-diskless-sync", "yes"], options].concat();
        let servers = [RedisServer::start(&options), RedisServer::start(&[]), RedisServer::start(&[])];
        assert_eq!(servers[0].run(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]), "OK");
        let script = format!("for i=1,{KEYS} do redis.call('set', 'k'..i, i) end");
        servers[0].run(&["EVAL", &script, "0"]);
        servers[1].follow(&servers[0]).await;
        servers[2].follow(&servers[0]).await;
        Self::around(servers)
    }

    /// redis-0 starts as a primary and the others as its replicas, by their arguments; each keeps an append-only file.
    async fn start_fixed() -> Self {
        let first = RedisServer::start(&["--appendonly", "yes"]);
        let primary = format!("127.0.0.1 {}", first.address().port());
        let replica = || RedisServer::start(&["--appendonly", "yes", "--replicaof", &primary]);
        let servers = [first, replica(), replica()];
        let script = format!("for i=1,{KEYS} do redis.call('set', 'k'..i, i) end");
        servers[0].run(&["EVAL", &script, "0"]);
        let set = Self::around(servers);
        set.until_keys(1, KEYS).await;
        set.until_keys(2, KEYS).await;
        set
    }

    fn around(servers: [RedisServer; 3]) -> Self {
        let uids = [0, 1, 2].map(fixtures::pod_uid);
        let (sampler, task) = Sampler::spawn(SamplerSettings::default(), Clock::start(), Arc::new(NoSecrets));
        let _another_test_was_first = rustls::crypto::ring::default_provider().install_default();
        // Nothing listens there: no effect of this test may ask Kubernetes for anything.
        let config = kube::Config::new("http://127.0.0.1:1".parse().expect("an address"));
        let client = kube::Client::try_from(config).expect("a client");
        let ports = Live {
            writer: Writer::new(client.clone(), Clock::start(), "test"),
            reader: Reader::new(client, Clock::start()),
            sampler,
            fence: Fence::always(),
            clock: Clock::start(),
        };
        let executor = Executor { ports, endpoint_sync: Duration::from_secs(2) };
        let set = Self { servers, uids, executor, _task: task };
        set.assign();
        set
    }

    async fn carry_out(&self, effect: &Effect) -> Result<Done, ExecuteError> {
        self.executor.carry_out(&policy(), effect, None).await
    }

    fn assign(&self) {
        let assignments = self.servers.iter().zip(&self.uids).map(|(server, uid)| Assignment {
            set: ("shop/redis".into(), "set".into()),
            pod_uid: uid.clone(),
            address: server.address(),
            credentials: CredentialsFor::None,
            keep: Duration::from_secs(60),
        });
        self.executor.ports.sampler.assign(&policy().uid, "shop", assignments.collect(), Arc::new(|_, _| 0));
    }

    /// redis-0 goes the way of an evicted pod: its process ends, and a new one of another pod listens where it did.
    fn replace_old_primary(&mut self) {
        self.servers[0].restart();
        self.uids[0] = PodUid::from("replacement");
        self.assign();
    }

    async fn until_keys(&self, n: usize, keys: u64) {
        eventually(&format!("redis-{n} has {keys} keys"), async || (self.keys(n) == keys).then_some(())).await;
    }

    /// That pod goes by itself, and its replacement starts as its arguments say, with what its volume holds.
    fn replace(&mut self, n: usize) {
        self.servers[n].terminate();
        self.servers[n].start_again();
        self.uids[n] = PodUid::new(format!("replacement-{n}"));
        self.assign();
    }

    /// FAILOVER from redis-0 to redis-1, and redis-2 follows.
    async fn hand_over(&self) {
        let mut old = connect(&self.servers[0]).await;
        let lines = old.replication(DEADLINE).await.expect("it answers").replicas;
        let line = lines.iter().find(|line| line.address.port == self.servers[1].address().port()).expect("a line");
        old.failover_to(&line.address, Duration::from_secs(3)).await.expect("FAILOVER is accepted");
        eventually("the roles are exchanged", async || {
            (self.servers[1].is_primary().await && !self.servers[0].is_primary().await).then_some(())
        })
        .await;
        self.servers[2].follow(&self.servers[1]).await;
    }

    /// What is seen now. Memory is the fixture's, so that restarts are due; roles, links and keys are real.
    async fn observe(&self) -> Snapshot {
        let (_, mut snapshot) = fixtures::enforced();
        snapshot.redis_rights = RedisRights::Known(Vec::new());
        snapshot.targets.clear();
        for ((n, server), uid) in (0_u8..).zip(&self.servers).zip(&self.uids) {
            let mut pod = fixtures::pod(n);
            pod.uid = uid.clone();
            pod.addresses = self.servers[usize::from(n)].address().ip().into();
            pod.role_label = None;
            pod.container.as_mut().expect("known").port = server.address().port();
            let mut sample = look(&mut connect(server).await).await.expect("it answers");
            sample.pod_uid = uid.clone();
            sample.at = fixtures::seconds_ago(2);
            sample.memory = fixtures::sample(Role::Primary).memory;
            let history = fixtures::history(&sample.run_id, Ratio(291), fixtures::USED, fixtures::RSS);
            snapshot.targets.push(Target { pod, redis: Observation::Seen(Box::new(sample)), history });
        }
        snapshot
    }

    async fn run_id(&self, n: usize) -> RunId {
        connect(&self.servers[n]).await.run_id().clone()
    }

    async fn peer(&self, n: usize) -> Peer {
        Peer {
            pod: fixtures::pod_name(u8::try_from(n).expect("small")),
            uid: self.uids[n].clone(),
            run_id: self.run_id(n).await,
            address: self.servers[n].address(),
            addresses: self.servers[n].address().ip().into(),
            replication_port: self.servers[n].address().port(),
        }
    }

    /// The journal of a remediation in which redis-1 took the role over from redis-0, which was then evicted.
    async fn journal(&self) -> Journal {
        let (policy, snapshot) = fixtures::enforced();
        let settings = settings();
        let ctx = Context::of(&policy, &snapshot, &[], NOW, &settings);
        let mut journal = begin::consider(&ctx).begin.expect("nothing is in the way");
        journal.primary =
            MemberIdentity { pod: fixtures::pod_name(1), uid: self.uids[1].clone(), run_id: self.run_id(1).await };
        at(&mut journal, |step| *step == Step::AwaitReplica { pod: fixtures::pod_name(0) });
        journal
    }

    fn keys(&self, n: usize) -> u64 {
        self.servers[n].run(&["DBSIZE"]).parse().expect("a number")
    }
}

/// Puts the cursor on that step, begun.
fn at(journal: &mut Journal, wanted: impl Fn(&Step) -> bool) {
    let found = journal.steps.iter().position(|planned| wanted(&planned.step)).expect("the plan has it");
    journal.cursor = u32::try_from(found).expect("small");
    journal.current = CurrentStep { begun_at: Some(NOW), attempt: 0, ..CurrentStep::default() };
}

fn settings() -> PlanSettings {
    PlanSettings::default()
}

fn policy() -> Policy {
    fixtures::enforced().0
}

fn decide(snapshot: &Snapshot, journal: Option<&Journal>) -> Decision {
    let (policy, settings) = (policy(), settings());
    let ctx = Context::of(&policy, snapshot, &[], NOW, &settings);
    // Two primaries are remembered before anything else, and then since when a gate is waited at.
    let first = decide::decide(&ctx, journal, false, true);
    let records = if let Next::Remember(records) = first.act { records } else { Vec::new() };
    let ctx = Context { records: &records, ..ctx };
    let decision = decide::decide(&ctx, journal, false, true);
    match &decision.act {
        Next::Record(waits) if waits.current.waiting_since.is_some() => decide::decide(&ctx, Some(waits), false, true),
        _ => decision,
    }
}

/// The demotion that is decided on, or a panic with what is instead.
fn demotion(snapshot: &Snapshot, journal: &Journal) -> Effect {
    match decide(snapshot, Some(journal)).act {
        Next::Act(_, effect) if matches!(*effect, Effect::Demote { .. }) => *effect,
        other => panic!("no demotion: {other:?}"),
    }
}

/// Nothing at all would be done, by upkeep, a new remediation or the one under way, whichever step it is at; the reason
/// is this one.
fn assert_frozen(snapshot: &Snapshot, journal: &Journal, reason: BlockReason) {
    let fresh = decide(snapshot, None);
    assert_eq!(fresh.act, Next::Rest, "no label, no limit, no remediation");
    assert!(fresh.blocked.iter().any(|blocked| blocked.reason == reason), "{:?}", fresh.blocked);
    for cursor in 0..journal.steps.len() {
        for begun_at in [None, Some(NOW)] {
            let mut journal = journal.clone();
            journal.cursor = u32::try_from(cursor).expect("small");
            journal.current = CurrentStep { begun_at, attempt: 0, ..CurrentStep::default() };
            match decide(snapshot, Some(&journal)) {
                Decision { act: Next::Gate(..), blocked, .. } => assert_eq!(blocked[0].reason, reason),
                // A plan that the world has left behind is given up at a boundary: that changes nothing.
                Decision { act: Next::End(_), .. } => {}
                other => panic!("at step {cursor}: {:?}", other.act),
            }
        }
    }
    let code = if reason == BlockReason::PrimaryEmpty { FindingCode::PrimaryEmpty } else { FindingCode::TwoPrimaries };
    let findings = Assessment::of(&policy(), snapshot, &AssessSettings::default()).findings(&[], None);
    assert!(findings.iter().any(|finding| finding.code == code), "{findings:?}");
}

/// redis-1 has the role, redis-0 is back as a primary without keys.
async fn returned() -> (Set, Journal) {
    let mut set = Set::start(&[]).await;
    set.hand_over().await;
    let journal = set.journal().await;
    set.replace_old_primary();
    assert!(set.servers[0].is_primary().await && set.servers[1].is_primary().await, "the premise");
    assert_eq!((set.keys(0), set.keys(1)), (0, KEYS), "the premise");
    (set, journal)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_we_evicted_is_demoted_and_syncs() {
    let (set, journal) = returned().await;
    let kept = set.run_id(1).await;
    let effect = demotion(&set.observe().await, &journal);
    let done = set.carry_out(&effect).await.expect("it is carried out");
    assert!(matches!(done, Done::Demoted(_)), "{done:?}");
    eventually("redis-0 is a replica with the data", async || {
        (!set.servers[0].is_primary().await && set.keys(0) == KEYS).then_some(())
    })
    .await;
    assert_eq!((set.run_id(1).await, set.keys(1), set.keys(2)), (kept, KEYS, KEYS), "the primary was not touched");
    // Done once, there is nothing left to demote.
    let next = decide(&set.observe().await, Some(&journal)).act;
    let demotes = matches!(&next, Next::Act(_, effect) if matches!(**effect, Effect::Demote { .. }));
    assert!(!demotes, "{next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_the_decision_calls_the_demotion_off() {
    let (mut set, journal) = returned().await;
    let effect = demotion(&set.observe().await, &journal);
    let off = async |set: &Set, effect: &Effect| match set.carry_out(effect).await {
        Err(ExecuteError::NotAsJudged { why, .. }) => why,
        other => panic!("not called off: {other:?}"),
    };

    // The new primary is a replica by now: two servers that follow each other would have no data.
    assert_eq!(set.servers[1].run(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    assert_eq!(off(&set, &effect).await, "redis-1 is not simply the primary");
    assert_eq!(set.servers[1].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    // Somebody was faster.
    assert_eq!(set.servers[0].run(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    assert_eq!(off(&set, &effect).await, "redis-0 is not simply a primary");
    assert_eq!(set.servers[0].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    // The new primary lost its keys.
    assert_eq!(set.servers[1].run(&["FLUSHALL"]), "OK");
    assert_eq!(off(&set, &effect).await, "redis-1 holds no key");
    // Another process answers where the new primary was.
    set.servers[1].restart();
    let Err(ExecuteError::Redis { source: RedisError::RunIdChanged { .. }, .. }) = set.carry_out(&effect).await else {
        panic!("another process was taken for the primary")
    };
    assert!(set.servers[0].is_primary().await, "nothing was done to redis-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_repointed_only_to_what_is_primary_right_then() {
    let set = Set::start(&[]).await;
    let repoint = Effect::Repoint { peer: set.peer(2).await, by_name: None, to: set.peer(1).await };
    let followed = || set.servers[2].run(&["CONFIG", "GET", "replicaof"]);
    let before = followed();

    // The role has not come to redis-1, or has moved on: redis-2 would hang on a replica.
    let refused = set.carry_out(&repoint).await;
    assert!(
        matches!(&refused, Err(ExecuteError::NotAsJudged { why, .. }) if why == "redis-1 is not simply the primary"),
        "{refused:?}"
    );
    assert_eq!(followed(), before, "nothing was sent");
    // A primary that nobody decided to demote stays one.
    assert_eq!(set.servers[1].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(set.servers[2].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    let refused = set.carry_out(&repoint).await;
    assert!(
        matches!(&refused, Err(ExecuteError::NotAsJudged { why, .. }) if why == "redis-2 is a primary"),
        "{refused:?}"
    );
    assert!(set.servers[2].is_primary().await);

    set.servers[2].follow(&set.servers[0]).await;
    assert_eq!(set.carry_out(&repoint).await.expect("it is carried out"), Done::Repointed(None));
    eventually("redis-2 follows redis-1", async || (followed() != before).then_some(())).await;
}

/// What the gates rest on may have changed between their look and the eviction.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_is_evicted_only_while_it_is_one_and_its_data_is_safe() {
    let set = Set::start(&[]).await;
    let primary = &set.servers[0];
    let kept = async |n: usize| match set.carry_out(&Effect::EvictPrimary { peer: set.peer(n).await }).await {
        Err(ExecuteError::NotAsExpected { why, .. }) => Some(why),
        // Nobody is there to be asked.
        Err(ExecuteError::Evict(_)) => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(kept(0).await, None, "what is in order is evicted");
    assert_eq!(kept(1).await, Some("it is no primary any more"));

    assert_eq!(primary.run(&["CONFIG", "SET", "rdb-key-save-delay", "4000"]), "OK");
    assert_eq!(primary.run(&["BGSAVE"]), "Background saving started");
    assert_eq!(kept(0).await, Some("it is writing its data out"));
    assert_eq!(primary.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]), "OK");
    eventually("the save has ended", async || kept(0).await.is_none().then_some(())).await;

    // A save cannot take the place of a directory.
    let directory = primary.run(&["CONFIG", "GET", "dir"]);
    let file = std::path::Path::new(directory.lines().last().expect("a value")).join("dump.rdb");
    std::fs::remove_file(&file).expect("it was saved");
    std::fs::create_dir(&file).expect("a directory");
    assert_eq!(primary.run(&["BGSAVE"]), "Background saving started");
    eventually("the save has failed", async || {
        (kept(0).await == Some("its last save, rewrite or AOF write failed")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_fence_nothing_is_demoted() {
    let (mut set, journal) = returned().await;
    let effect = demotion(&set.observe().await, &journal);
    set.executor.ports.fence = Fence::never(Clock::start());
    assert!(matches!(set.carry_out(&effect).await, Err(ExecuteError::Fenced(_))));
    assert!(set.servers[0].is_primary().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_primaries_of_any_other_origin_freeze_everything() {
    // Somebody promotes a replica beside the primary, and both take writes.
    let set = Set::start(&[]).await;
    let journal = set.journal().await;
    assert_eq!(set.servers[1].run(&["REPLICAOF", "NO", "ONE"]), "OK");
    assert_eq!(set.servers[1].run(&["SET", "mine", "1"]), "OK");
    let mut before_the_switchover = journal.clone();
    before_the_switchover.primary =
        MemberIdentity { pod: fixtures::pod_name(0), uid: set.uids[0].clone(), run_id: set.run_id(0).await };
    assert_frozen(&set.observe().await, &before_the_switchover, BlockReason::TwoPrimaries);
    assert_eq!((set.keys(0), set.keys(1)), (KEYS, KEYS + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_crashed_by_itself_freezes_everything() {
    // After our switchover, but the pod is the very one that was primary: a crash, or a person, brought it back.
    let mut set = Set::start(&[]).await;
    set.hand_over().await;
    let journal = set.journal().await;
    set.servers[0].restart();
    assert!(set.servers[0].is_primary().await && set.servers[1].is_primary().await, "the premise");
    assert_frozen(&set.observe().await, &journal, BlockReason::TwoPrimaries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_primary_that_restarted_freezes_everything() {
    // It loads what its last full sync left on its disk: what came after is lost, and nobody can tell how much.
    let (mut set, journal) = returned().await;
    set.servers[1].restart();
    assert!(set.servers[1].is_primary().await, "the premise");
    assert_frozen(&set.observe().await, &journal, BlockReason::TwoPrimaries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_comes_back_empty_freezes_everything() {
    // It lets replicas wait for a minute before they sync: so long they still hold the data.
    let mut set = Set::start(&["--repl-diskless-sync-delay", "60"]).await;
    let (policy, settings) = (policy(), settings());
    let before = set.observe().await;
    let ctx = Context::of(&policy, &before, &[], NOW, &settings);
    let whole = begin::consider(&ctx);
    assert!(!whole.blocked.iter().any(|blocked| blocked.reason == BlockReason::PrimaryEmpty), "the premise");
    let mut journal = set.journal().await;
    set.servers[0].restart();
    journal.primary =
        MemberIdentity { pod: fixtures::pod_name(0), uid: set.uids[0].clone(), run_id: set.run_id(0).await };
    assert_eq!((set.keys(0), set.keys(1), set.keys(2)), (0, KEYS, KEYS), "the premise");
    assert_frozen(&set.observe().await, &journal, BlockReason::PrimaryEmpty);
    assert_eq!((set.keys(1), set.keys(2)), (KEYS, KEYS), "what is left is left alone");
}

/// A client that says one thing and then keeps its connection.
async fn client(server: &RedisServer, says: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.expect("it accepts");
    stream.write_all(format!("{says}\r\n").as_bytes()).await.expect("it listens");
    let mut first = [0];
    stream.read_exact(&mut first).await.expect("it answers");
    stream
}

/// Whether the server has closed it.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.is_ok()
}

/// Everybody who is connected has been so for a second at least.
async fn a_second_old(server: &RedisServer, clients: usize) {
    eventually("they have been connected for a second", async || {
        let list = server.run(&["CLIENT", "LIST"]);
        (list.lines().filter(|line| !line.contains(" age=0 ")).count() >= clients).then_some(())
    })
    .await;
}

async fn close_clients(set: &Set, n: usize) -> Result<Done, ExecuteError> {
    let effect = Effect::CloseClients {
        peer: set.peer(n).await,
        primary: fixtures::pod_name(1),
        // As long as kube-proxy needs, and no longer: who has come since then stays.
        standing: set.executor.endpoint_sync,
    };
    set.carry_out(&effect).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_clients_of_an_old_primary_are_led_away_and_nobody_else() {
    let set = Set::start(&[]).await;
    let old = &set.servers[0];
    let mut sticky = Vec::new();
    for _ in 0..600 {
        sticky.push(client(old, "PING").await);
    }
    let subscriber = client(old, "SUBSCRIBE news").await;
    let mut ours = connect(old).await;
    set.hand_over().await;
    a_second_old(old, 602).await;
    let meant_this_pod = client(old, "PING").await;
    let begun = set.executor.ports.clock.uptime();
    let done = close_clients(&set, 0).await.expect("it is carried out");
    let took = set.executor.ports.clock.uptime().saturating_sub(begun);
    assert_eq!(done, Done::ClientsClosed { closed: 600 });
    assert!(took >= Duration::from_secs(1), "at most 500 a second: {took:?}");
    for stream in sticky {
        assert!(is_closed(stream).await);
    }
    assert_eq!(old.run(&["PUBLISH", "news", "x"]), "1", "the subscriber is still there");
    drop((subscriber, meant_this_pod));
    let follows = ours.replication(DEADLINE).await.expect("our own connection is still there");
    assert!(matches!(follows.role, Role::Replica(link) if link.link_up), "nor was replication disturbed");
    let list = old.run(&["CLIENT", "LIST", "TYPE", "normal"]);
    assert!(list.lines().count() >= 2, "who came since meant this pod: {list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_primary_stay_and_so_do_all_where_the_right_is_missing() {
    let set = Set::start(&[]).await;
    let _stays = client(&set.servers[0], "PING").await;
    a_second_old(&set.servers[0], 1).await;
    let error = close_clients(&set, 0).await.expect_err("it is the primary");
    assert!(matches!(&error, ExecuteError::LeadsAgain { pod } if pod == "redis-0"), "{error}");
    set.hand_over().await;
    let limited = ["ACL", "SETUSER", "default", "-client", "+client|list", "+client|setname"];
    assert_eq!(set.servers[0].run(&limited), "OK");
    let done = close_clients(&set, 0).await.expect("a missing right is no refusal");
    assert_eq!(done, Done::ClientsClosed { closed: 0 });
}

/// What redis-1 acknowledged after the split is gone with the restart of its pod, and redis-0 is the only primary.
#[tokio::test(flavor = "multi_thread")]
async fn clients_are_not_led_to_the_stale_one_of_two_primaries() {
    let mut set = Set::start_fixed().await;
    set.hand_over().await;
    set.replace(0);
    assert!(set.servers[0].is_primary().await && set.servers[1].is_primary().await, "the premise");
    let mut before = set.observe().await;
    before.targets[1].pod.role_label = Some("primary".into());
    let (policy, settings) = (policy(), settings());
    let ctx = Context::of(&policy, &before, &[], NOW, &settings);
    let Next::Remember(records) = decide::decide(&ctx, None, false, true).act else { panic!("no mark is left") };
    let mark = records[0].several_primaries.as_ref().expect("made");
    assert_eq!(mark.recorded.as_ref().map(|it| it.identity.pod.as_str()), Some("redis-1"));

    set.servers[1].run(&["EVAL", "for i=1,100 do redis.call('set', 'later'..i, i) end", "0"]);
    assert_eq!(set.keys(1), KEYS + 100);
    set.replace(1);
    set.until_keys(1, KEYS).await;
    let left = set.observe().await;
    let ctx = |records| Context::of(&policy, &left, records, NOW, &settings);
    let forgetful = decide::decide(&ctx(&[]), None, false, true).act;
    assert!(matches!(forgetful, Next::Upkeep(_)), "without the mark clients are led to what lacks their writes");
    let decision = decide::decide(&ctx(&records), None, false, true);
    assert_eq!(decision.act, Next::Rest);
    assert!(decision.blocked.iter().any(|blocked| blocked.reason == BlockReason::TwoPrimaries), "{decision:?}");
}

/// What is seen now of a set that is clean and whose label follows the primary, as a sidecar keeps it.
async fn clean(set: &Set, now: jiff::Timestamp) -> Snapshot {
    let mut snapshot = set.observe().await;
    snapshot.at = now;
    let mut ready = Vec::new();
    for target in &mut snapshot.targets {
        let Observation::Seen(sample) = &mut target.redis else { continue };
        sample.at = now;
        (sample.memory.rss, sample.memory.ratio) = (Bytes::mib(80), Ratio(115));
        // Here they share one address; in pods they do not, and listen at one port.
        if let Ok(config) = &mut sample.config {
            config.serving.port = Some(6379);
        }
        let leads = sample.replication.role == Role::Primary;
        target.pod.role_label = Some(if leads { "primary" } else { "replica" }.to_owned());
        ready.extend(leads.then(|| target.pod.uid.clone()));
    }
    snapshot.services[0].ready_pods = ready;
    snapshot
}

// After such a hand-over a restart of redis-1 left nobody primary, for ever: it and redis-0 followed each other.
#[tokio::test(flavor = "multi_thread")]
async fn the_role_goes_back_to_the_one_that_starts_with_it() {
    let mut set = Set::start_fixed().await;
    set.hand_over().await;
    let journal = set.journal().await;
    set.replace(0);
    assert!(set.servers[0].is_primary().await, "the premise: its arguments say so");
    let effect = demotion(&set.observe().await, &journal);
    set.carry_out(&effect).await.expect("it is carried out");
    let name = "redis".to_owned();
    let records = [WorkloadRecord {
        outcome: Some(Outcome::Succeeded),
        primary: Some(journal.primary.clone()),
        starts_as_primary: vec![fixtures::pod_name(0)],
        ..WorkloadRecord::new(fixtures::shard_id(), name, NOW)
    }];
    let (mut policy, settings) = (policy(), settings());
    policy.redis.authority = AuthorityRule::Label;
    let clock = set.executor.ports.clock;
    let begun = clock.uptime();
    let (mut journal, mut ended, mut waits) = (None, None, String::new());
    while ended.is_none() && clock.uptime() < begun + Duration::from_secs(60) {
        let now = NOW.saturating_add(clock.uptime().saturating_sub(begun)).expect("in range");
        let snapshot = clean(&set, now).await;
        let ctx = Context::of(&policy, &snapshot, &records, now, &settings);
        let Decision { act, blocked, .. } = decide::decide(&ctx, journal.as_ref(), false, true);
        match act {
            Next::Begin(begins) => {
                assert!(begins.steps[0].reason.starts_with("RoleAgainstStart"), "{:?}", begins.steps);
                journal = Some(*begins);
            }
            Next::Record(next) => journal = Some(*next),
            Next::Act(next, effect) => {
                match &*effect {
                    // Its last look at the candidate's pod is the real API server's test.
                    Effect::Switchover(order) => drop(switching::carry_out(order).await.expect("it is carried out")),
                    effect => drop(set.carry_out(effect).await.expect("it is carried out")),
                }
                journal = Some(*next);
            }
            Next::End(record) => ended = Some(*record),
            // A full sync, or the file that is rewritten after it.
            act @ (Next::Rest | Next::Wait(..) | Next::Gate(..)) => {
                waits = format!("{act:?} {blocked:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other:?}"),
        }
    }
    let Some(ended) = ended else { panic!("it did not end: {waits}") };
    assert_eq!(
        (ended.outcome, ended.message.as_str()),
        (Some(Outcome::Succeeded), "the primary role is back at redis-0")
    );

    set.servers[0].run(&["SET", "later", "1"]);
    set.until_keys(1, KEYS + 1).await;
    set.until_keys(2, KEYS + 1).await;
    for n in [1, 0] {
        set.replace(n);
        set.until_keys(n, KEYS + 1).await;
    }
    set.until_keys(1, KEYS + 1).await;
    assert!(
        set.servers[0].is_primary().await && !set.servers[1].is_primary().await && !set.servers[2].is_primary().await
    );
}
