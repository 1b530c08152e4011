//! Three servers as the pods of a set, what is seen of them, and what is decided on it.

use std::{sync::Arc, time::Duration};

use pretty_assertions::assert_eq;
use redis_memory_operator::{
    assess::{AssessSettings, Assessment},
    clock::Clock,
    domain::{
        blocked::BlockReason,
        finding::FindingCode,
        fixtures::{self, NOW},
        journal::{CurrentStep, Journal, MemberIdentity},
        names::{PodUid, RunId},
        peaks::Peaks,
        policy::Policy,
        ratio::Ratio,
        sample::Role,
        snapshot::{Observation, RedisRights, Snapshot, Target},
        step::Step,
    },
    execute::{Done, ExecuteError, Executor, live::Live},
    kube_io::{fence::Fence, read::Reader, write::Writer},
    observe::{
        sampler::{Assignment, CredentialsFor, Sampler, SamplerSettings, SamplerTask},
        snapshot::Sentinels,
    },
    plan::{
        Context, PlanSettings, begin,
        decide::{self, Decision},
        effect::{Effect, Peer},
        next::Next,
    },
};

use crate::common::{DEADLINE, connect, eventually, look, secret::Secret, server::RedisServer};

pub(crate) const KEYS: u64 = 500;

/// Three servers as pods redis-0, redis-1 and redis-2, and an executor that reaches them.
pub(crate) struct Set {
    pub(crate) servers: [RedisServer; 3],
    pub(crate) uids: [PodUid; 3],
    pub(crate) executor: Executor<Live>,
    _task: SamplerTask,
}

impl Set {
    /// redis-0 is primary with keys, the others have synced. redis-0 starts with these options, and writes no file for
    /// its replicas (6.2 would), so that it comes back empty.
    pub(crate) async fn start(options: &[&str]) -> Self {
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
    pub(crate) async fn start_fixed() -> Self {
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
        let (sampler, task) = Sampler::spawn(SamplerSettings::default(), Clock::start(), Secret::new(None));
        let _another_test_was_first = rustls::crypto::ring::default_provider().install_default();
        // Nothing listens there: no effect of this test may ask Kubernetes for anything.
        let config = kube::Config::new("http://127.0.0.1:1".parse().expect("an address"));
        let client = kube::Client::try_from(config).expect("a client");
        let ports = Live {
            sentinels: Sentinels::default(),
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

    pub(crate) async fn carry_out(&self, effect: &Effect) -> Result<Done, ExecuteError> {
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
    pub(crate) fn replace_old_primary(&mut self) {
        self.servers[0].restart();
        self.uids[0] = PodUid::from("replacement");
        self.assign();
    }

    pub(crate) async fn until_keys(&self, n: usize, keys: u64) {
        eventually(&format!("redis-{n} has {keys} keys"), async || (self.keys(n) == keys).then_some(())).await;
    }

    /// That pod goes by itself, and its replacement starts as its arguments say, with what its volume holds.
    pub(crate) fn replace(&mut self, n: usize) {
        self.servers[n].terminate();
        self.servers[n].start_again();
        self.uids[n] = PodUid::new(format!("replacement-{n}"));
        self.assign();
    }

    /// FAILOVER from redis-0 to redis-1, and redis-2 follows.
    pub(crate) async fn hand_over(&self) {
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
    pub(crate) async fn observe(&self) -> Snapshot {
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
            snapshot.targets.push(Target {
                pod,
                redis: Observation::Seen(Box::new(sample)),
                history,
                peaks: Peaks::default(),
            });
        }
        snapshot
    }

    pub(crate) async fn run_id(&self, n: usize) -> RunId {
        connect(&self.servers[n]).await.run_id().clone()
    }

    pub(crate) async fn identity(&self, n: usize) -> MemberIdentity {
        let pod = fixtures::pod_name(u8::try_from(n).expect("small"));
        MemberIdentity { pod, uid: self.uids[n].clone(), run_id: self.run_id(n).await }
    }

    pub(crate) async fn peer(&self, n: usize) -> Peer {
        Peer {
            pod: fixtures::pod_name(u8::try_from(n).expect("small")),
            uid: self.uids[n].clone(),
            run_id: self.run_id(n).await,
            address: self.servers[n].address(),
            addresses: self.servers[n].address().ip().into(),
            replication_port: self.servers[n].address().port(),
        }
    }

    /// The journal of a remediation that recorded these pods and processes, in which redis-1 took the role over from
    /// redis-0, which was then evicted.
    pub(crate) async fn journal(&self) -> Journal {
        let (policy, snapshot) = fixtures::enforced();
        let settings = settings();
        let ctx = Context::of(&policy, &snapshot, &[], NOW, &settings);
        let mut journal = begin::consider(&ctx).begin.expect("nothing is in the way");
        for member in &mut journal.members {
            let pod = &member.identity.pod;
            let n = (0..3).find(|n| fixtures::pod_name(*n) == *pod).expect("one of the three");
            member.identity = self.identity(usize::from(n)).await;
        }
        journal.primary = self.identity(1).await;
        at(&mut journal, |step| *step == Step::AwaitReplica { pod: fixtures::pod_name(0) });
        journal
    }

    pub(crate) fn keys(&self, n: usize) -> u64 {
        self.servers[n].run(&["DBSIZE"]).parse().expect("a number")
    }
}

/// Puts the cursor on that step, begun.
pub(crate) fn at(journal: &mut Journal, wanted: impl Fn(&Step) -> bool) {
    let found = journal.steps.iter().position(|planned| wanted(&planned.step)).expect("the plan has it");
    journal.cursor = u32::try_from(found).expect("small");
    journal.current = CurrentStep { begun_at: Some(NOW), attempt: 0, ..CurrentStep::default() };
}

pub(crate) fn settings() -> PlanSettings {
    PlanSettings::default()
}

pub(crate) fn policy() -> Policy {
    fixtures::enforced().0
}

pub(crate) fn decide(snapshot: &Snapshot, journal: Option<&Journal>) -> Decision {
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
pub(crate) fn demotion(snapshot: &Snapshot, journal: &Journal) -> Effect {
    match decide(snapshot, Some(journal)).act {
        Next::Act(_, effect) if matches!(*effect, Effect::Demote { .. }) => *effect,
        other => panic!("no demotion: {other:?}"),
    }
}

/// Nothing at all would be done, by upkeep, a new remediation or the one under way, whichever step it is at; the reason
/// is this one.
pub(crate) fn assert_frozen(snapshot: &Snapshot, journal: &Journal, reason: BlockReason) {
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
