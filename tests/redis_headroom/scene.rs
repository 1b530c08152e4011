//! Servers in cgroups of their own, the day before the load as the sampler sees it, and what is demanded by it.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use redis_memory_operator::{
    assess::headroom::Demand,
    clock::Clock,
    domain::{
        bytes::Bytes,
        fixtures::{self, NOW},
        policy::HeadroomMethod,
        sample::{Role, Sample},
        snapshot::Target,
    },
    observe::sampler::{History, reading_of},
    redis_io::Connection,
};

use crate::{
    common::{DEADLINE, look, server::RedisServer},
    group::Group,
    plan::{Load, Plan},
    traffic::{Overwriter, Stalled, fill, stream},
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks.
pub(crate) const POLL: Duration = Duration::from_millis(20);
/// For how long the sampler keeps readings; what is measured here does not rest on it.
const KEEP: Duration = Duration::from_secs(720);
/// Between two samples of the quiet hour, as the operator takes them, and how many.
const QUIET: Duration = Duration::from_secs(15);
const QUIET_SAMPLES: usize = 240;
/// A rate of writes is taken over a minute at least.
const MINUTE: Duration = Duration::from_secs(61);
/// What is written at once while replicas are to follow: less than any limit of their buffers.
const AT_ONCE: u64 = 16 << 20;
/// Data of `maxmemory`, in percent: what is left is for the buffers of those who write.
const FILLED_PERCENT: u32 = 97;
/// Clients that do not read, and what kernels hold for them at most (`tcp_wmem`, `tcp_rmem`).
const CLIENTS: usize = 2;
const IN_KERNEL: Bytes = Bytes::mib(12);
/// What one request of theirs is answered with.
const REPLY: u64 = 1 << 20;
/// So many keys are written between two naps of a child: 50 MB of this data a second, as from a common disk.
const NAPS: &str = "-35";

/// The kernel killed a process of the scene.
#[derive(Debug)]
pub(crate) struct Killed;

/// A server, and what is seen of it.
pub(crate) struct Member {
    pub(crate) server: RedisServer,
    pub(crate) group: Group,
    connection: Option<Connection>,
    history: History,
    last: Option<Sample>,
}

impl Member {
    fn start(program: &Path, plan: &Plan) -> Result<Self, String> {
        let group = Group::make()?;
        let (maxmemory, limit) = (plan.maxmemory.0.to_string(), plan.replica_limit.0.to_string());
        // Unread writes are told by the file that they are appended to where nothing replicates.
        let appends = if plan.load == Load::Save && !plan.fork_seen { "yes" } else { "no" };
        #[rustfmt::skip]
        let options = [
            "--maxmemory", &maxmemory, "--maxmemory-policy", plan.eviction, "--appendonly", appends,
            "--auto-aof-rewrite-percentage", "0", "--rdbcompression", "no", "--rdb-key-save-delay", NAPS,
            "--client-output-buffer-limit", "replica", &limit, "0", "0", "--repl-backlog-size", "1mb",
        ];
        let server = RedisServer::start_by(&group.command(program), &options);
        Ok(Self { server, group, connection: None, history: History::default(), last: None })
    }

    async fn look(&mut self) -> Option<Sample> {
        if self.connection.is_none() {
            self.connection = Connection::open(self.server.address(), None, DEADLINE).await.ok();
        }
        let sample = look(self.connection.as_mut()?).await.ok();
        if sample.is_none() {
            self.connection = None;
        }
        sample
    }
}

/// A set of one or two, the primary first.
pub(crate) struct Scene {
    pub(crate) plan: Plan,
    pub(crate) members: Vec<Member>,
    /// Keys that may be overwritten.
    keys: u64,
    /// The time of the day before.
    now: Timestamp,
}

impl Scene {
    /// Starts it full of data, or says why there can be no cgroups.
    pub(crate) async fn start(program: &Path, plan: Plan) -> Result<Self, String> {
        let members: Result<Vec<_>, _> = (0..plan.members()).map(|_| Member::start(program, &plan)).collect();
        let mut scene = Self { plan, members: members?, keys: 0, now: NOW };
        scene.fill();
        if plan.members() > 1 {
            scene.follow();
        }
        scene.calm().await.expect("nothing limits it yet");
        Ok(scene)
    }

    /// Until it is full of data, of which some may have been evicted.
    pub(crate) fn fill(&mut self) {
        let primary = &self.members[0].server;
        let enough = self.plan.maxmemory.percent(FILLED_PERCENT).0;
        let used = || {
            let info = primary.run(&["INFO", "memory"]);
            let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
            used.and_then(|used| used.trim().parse::<u64>().ok()).expect("used_memory is said")
        };
        self.keys = self.keys.max(fill(primary.address(), || used() >= enough).expect("it takes keys"));
    }

    /// The day before: an hour with little to do, a minute of writes, in which there may be a fork, and clients that do not
    /// read if there are any later. An hour passes in seconds: time is what the samples say.
    pub(crate) async fn day_before(&mut self) {
        for _ in 0..QUIET_SAMPLES {
            self.note().await;
            self.pass(QUIET);
        }
        self.note().await;
        let (clock, begin, rate) = (Clock::start(), self.now, self.plan.rate_before());
        let mut left = rate * MINUTE.as_secs();
        if self.plan.fork_seen {
            let writer = self.overwriter(rate);
            self.fork().await.expect("nothing limits it yet");
            left = left.saturating_sub(writer.written());
            drop(writer);
            self.calm().await.expect("nothing limits it yet");
            self.pass(clock.uptime());
            self.note().await;
        }
        // The rest of the minute in less time, but no more at once than a replica can follow.
        while left > 0 {
            let part = left.min(AT_ONCE);
            stream(self.members[0].server.address(), part).expect("it takes writes");
            self.calm().await.expect("nothing limits it yet");
            left -= part;
        }
        self.now = begin;
        self.pass(clock.uptime().max(MINUTE));
        self.note().await;
        if self.plan.load == Load::StalledClients {
            let _stalled = self.stall().await.expect("nothing limits it yet");
            self.pass(POLL);
            self.note().await;
        }
        self.calm().await.expect("nothing limits it yet");
        self.pass(MINUTE);
        self.note().await;
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.checked_add(time).expect("no end of time");
    }

    /// A sample of each, as the sampler takes it.
    async fn note(&mut self) {
        let at = self.now;
        let samples = self.see(self.members.len()).await.expect("nothing limits it yet");
        for (member, mut sample) in self.members.iter_mut().zip(samples) {
            sample.at = at;
            member.history.note(&sample, KEEP);
            member.last = Some(sample);
        }
    }

    /// What the operator demands by this method, after what it has seen.
    pub(crate) fn demand(&self, method: HeadroomMethod) -> Demand {
        let mut policy = fixtures::policy();
        policy.headroom.method = method;
        let targets: Vec<Target> = self
            .members
            .iter()
            .enumerate()
            .map(|(n, member)| {
                let pod = fixtures::pod(u8::try_from(n).expect("two"));
                let mut target = fixtures::bare_target(pod, member.last.clone().expect("it was sampled"));
                target.peaks = member.history.peaks();
                target
            })
            .collect();
        let demand = Demand::of(&policy, &targets.iter().collect::<Vec<_>>());
        assert!(demand.is_settled(), "an hour was seen: {:?}", targets[0].peaks);
        demand
    }

    /// Whether the kernel killed anything. What ends without is a fault of the test.
    pub(crate) fn is_killed(&mut self) -> bool {
        // In this order: a kill is counted before the process is gone.
        let ended = self.members.iter_mut().any(|member| member.server.has_ended());
        let killed = self.members.iter().any(|member| member.group.kills() > 0);
        assert!(killed || !ended, "a server ended, and not by the kernel: {:?}", self.plan);
        killed
    }

    /// Looks at so many members until it is so.
    pub(crate) async fn until(
        &mut self,
        members: usize,
        what: &str,
        mut is_so: impl FnMut(&[Sample]) -> bool,
    ) -> Result<(), Killed> {
        let clock = Clock::start();
        while clock.uptime() < PATIENCE {
            let mut samples = Vec::new();
            for member in &mut self.members[..members] {
                samples.extend(member.look().await);
            }
            if self.is_killed() {
                return Err(Killed);
            }
            if samples.len() == members && is_so(&samples) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        panic!("waited {} s in vain: {what}, {:?}", PATIENCE.as_secs(), self.plan);
    }

    async fn see(&mut self, members: usize) -> Result<Vec<Sample>, Killed> {
        let mut seen = Vec::new();
        self.until(members, "they answer", |samples| {
            seen = samples.to_vec();
            true
        })
        .await?;
        Ok(seen)
    }

    /// Until nothing is going on and the replica, if there is one, has everything.
    pub(crate) async fn calm(&mut self) -> Result<(), Killed> {
        self.until(self.members.len(), "it is calm", |samples| {
            let offset = samples[0].replication.offset;
            let follows = samples.iter().skip(1).all(|it| is_synced(it) && it.replication.offset == offset);
            follows && samples.iter().all(|sample| reading_of(sample).quiet)
        })
        .await
    }

    /// Random overwrites of all keys, at that rate.
    pub(crate) fn overwriter(&self, rate: u64) -> Overwriter {
        Overwriter::start(self.members[0].server.address(), self.keys, rate, self.plan.seed)
    }

    /// A fork of the kind that the load has, and its end.
    async fn fork(&mut self) -> Result<(), Killed> {
        match self.plan.load {
            Load::Save | Load::StalledReplica => self.save().await,
            Load::StalledClients => {
                self.begin_sync().await?;
                self.synced().await
            }
        }
    }

    /// Saves, and waits for the end of it.
    pub(crate) async fn save(&mut self) -> Result<(), Killed> {
        let before = self.see(1).await?[0].persistence.saves;
        let said = self.members[0].server.run(&["BGSAVE"]);
        if self.is_killed() {
            return Err(Killed);
        }
        assert!(said.contains("Background saving started"), "{said}");
        self.until(1, "the save has ended", |samples| {
            let persistence = &samples[0].persistence;
            persistence.saves > before && !persistence.child_running
        })
        .await?;
        assert!(self.see(1).await?[0].persistence.status_ok, "the save failed, and nothing was killed");
        Ok(())
    }

    fn follow(&self) {
        let primary = self.members[0].server.address();
        self.members[1].server.run(&["REPLICAOF", &primary.ip().to_string(), &primary.port().to_string()]);
    }

    /// The replica forgets what it was, so that it syncs fully.
    pub(crate) async fn begin_sync(&mut self) -> Result<(), Killed> {
        self.members[1].server.run(&["REPLICAOF", "NO", "ONE"]);
        self.until(1, "the replica is gone", |samples| samples[0].replication.replicas.is_empty()).await?;
        self.follow();
        self.until(1, "the replica is back", |samples| !samples[0].replication.replicas.is_empty()).await
    }

    /// Until it has synced.
    pub(crate) async fn synced(&mut self) -> Result<(), Killed> {
        self.until(2, "it is in sync", |samples| {
            is_synced(&samples[1]) && samples[0].replication.replicas.iter().any(|line| line.online)
        })
        .await
    }

    /// Clients that hold what they asked for.
    pub(crate) async fn stall(&mut self) -> Result<Stalled, Killed> {
        let address = self.members[0].server.address();
        let unread = self.plan.unread;
        let Ok(mut stalled) = Stalled::connect(address, CLIENTS).await else {
            assert!(self.is_killed(), "it takes connections");
            return Err(Killed);
        };
        for _ in 0..unread.0 / REPLY {
            if let Err(error) = stalled.ask() {
                assert!(self.is_killed(), "{error}");
                return Err(Killed);
            }
        }
        let held = unread.saturating_sub(IN_KERNEL);
        self.until(1, "its buffers are full", |samples| samples[0].memory.clients_normal >= held).await?;
        Ok(stalled)
    }
}

fn is_synced(sample: &Sample) -> bool {
    matches!(&sample.replication.role, Role::Replica(link) if link.link_up && !link.sync_in_progress)
}
