//! What the operator is shown of the world: pods as the API server has them, samples as the servers answer them, lies
//! included, put together into the domain's snapshot.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use jiff::{SignedDuration, Timestamp};
use redis_memory_operator::domain::{
    addresses::PodAddresses,
    bytes::Bytes,
    fixtures,
    names::{NodeAddress, PodName, PodUid, RunId},
    pod::{Pod as DomainPod, StatefulSet},
    ratio::Ratio,
    sample::{self, FailoverState, PreviousHistory, Reading, ReplicaLine, ReplicaLink, Sample},
    snapshot::{Observation, ProbeFailure, RedisRights, Snapshot, Target},
};

use crate::{
    faults::Lie,
    kubernetes::{PODS, Pod},
    redis::{Failover, Host, Link, Ms, Role, Server},
    world::World,
};

/// Pods as they were listed.
pub type Pods = Vec<Option<Pod>>;

/// What one process of the operator remembers of the probes: the last answer and the readings, by pod UID.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub latest: BTreeMap<u32, Observation>,
    pub history: BTreeMap<u32, Vec<Reading>>,
}

impl Memory {
    /// Keeps what a probe said.
    pub fn remember(&mut self, uid: u32, seen: Observation) {
        if let Observation::Seen(sample) = &seen {
            let history = self.history.entry(uid).or_default();
            history.retain(|reading| sample.at.duration_since(reading.at) < KEEP);
            history.push(reading(sample));
        }
        self.latest.insert(uid, seen);
    }
}

/// What of a sample is kept, as `observe::sampler` does it.
fn reading(sample: &Sample) -> Reading {
    let syncing = match &sample.replication.role {
        sample::Role::Primary | sample::Role::Unknown => false,
        sample::Role::Replica(link) => link.sync_in_progress,
    };
    let feeding = sample.replication.replicas.iter().any(|replica| !replica.online);
    let steady = !(syncing || feeding || sample.persistence.loading);
    Reading {
        at: sample.at,
        run_id: sample.run_id.clone(),
        ratio: sample.memory.ratio,
        used: sample.memory.used,
        rss: sample.memory.rss,
        quiet: steady && !sample.persistence.child_running && !sample.persistence.rewrite_scheduled,
        steady,
        uptime: sample.server.uptime,
        offset: sample.replication.offset,
    }
}

/// Readings are kept for so long: for what is demanded of a judgement, and a margin.
const KEEP: SignedDuration = SignedDuration::from_secs(60);

/// Virtual time as a wall clock shows it that is off by `skew` seconds.
pub fn wall(now: Ms, skew: i64) -> Timestamp {
    fixtures::NOW.saturating_add(SignedDuration::from_millis(now as i64 + skew * 1000)).expect("in range")
}

pub fn ordinal(name: &PodName) -> usize {
    name.as_str().rsplit('-').next().and_then(|n| n.parse().ok()).expect("a pod of the set")
}

pub fn ip_text(ip: u32) -> String {
    format!("10.0.{}.{}", ip / 256, ip % 256)
}

pub fn ip_number(text: &str) -> u32 {
    let parts: Vec<u32> = text.split('.').map(|part| part.parse().expect("an address")).collect();
    parts[2] * 256 + parts[3]
}

pub fn uid_text(uid: u32) -> PodUid {
    PodUid::new(format!("uid-{uid}"))
}

pub fn uid_number(uid: &PodUid) -> u32 {
    uid.as_str().trim_start_matches("uid-").parse().expect("a UID")
}

pub fn run_text(run: u32) -> RunId {
    RunId::new(format!("run-{run}"))
}

pub fn run_number(run: &RunId) -> u32 {
    run.as_str().trim_start_matches("run-").parse().expect("a run id")
}

fn address(host: Host) -> NodeAddress {
    match host {
        Host::Pod(n) => fixtures::stable_address(n as u8),
        Host::Ip(ip) => NodeAddress { host: ip_text(ip), port: fixtures::PORT },
    }
}

impl World {
    /// The pods as the API server has them now.
    pub fn list(&self) -> Pods {
        self.kube.places.iter().map(|place| place.pod.clone()).collect()
    }

    /// What a server answers now, lies included.
    pub fn sample(&self, server: &Server, skew: i64) -> Sample {
        let mut sample = sample(server, server.uid, self.now, skew);
        for lie in [Lie::Replica, Lie::Primary, Lie::CaughtUp, Lie::Fragmented, Lie::Keys, Lie::NoFailover] {
            if self.lies(server.pod, lie) {
                tell(lie, &mut sample);
            }
        }
        sample
    }

    /// Probes a pod: whoever listens at its address answers, or nobody.
    pub fn probe(&mut self, identity: u32, n: usize, pod: &Pod, skew: i64) -> Observation {
        let now = self.now;
        let Some(server) = self.servers.by_ip.get(&pod.ip) else {
            return Observation::Failed(ProbeFailure::Unreachable("connection refused".into()));
        };
        if server.hung(now) {
            return Observation::Failed(ProbeFailure::TimedOut("no answer within 1 s".into()));
        }
        let mut sample = self.sample(server, skew);
        sample.pod_uid = uid_text(pod.uid);
        if now >= server.loading_until {
            self.observer.answered(identity, n, now);
        }
        Observation::Seen(Box::new(sample))
    }

    /// Puts a snapshot together.
    pub fn snapshot(&self, pods: &Pods, memory: &Memory, live: bool, skew: i64) -> Snapshot {
        let targets = (0..PODS).filter_map(|n| {
            let pod = pods[n].as_ref()?;
            let redis = memory.latest.get(&pod.uid).cloned().unwrap_or(Observation::Pending);
            let history = memory.history.get(&pod.uid).cloned().unwrap_or_default();
            Some(Target { pod: self.domain_pod(n, pod), redis, history })
        });
        let ready_pods = pods.iter().flatten().filter(|pod| pod.slice).map(|pod| uid_text(pod.uid)).collect();
        let takes = (0..PODS).filter(|n| pods[*n].is_some()).map(|n| fixtures::pod_name(n as u8)).collect();
        Snapshot {
            at: wall(self.now, skew),
            targets: targets.collect(),
            stateful_sets: vec![self.stateful_set()],
            services: vec![fixtures::primary_service(takes, ready_pods)],
            redis_rights: if live { RedisRights::Known(Vec::new()) } else { RedisRights::Unknown },
            ..empty()
        }
    }

    fn stateful_set(&self) -> StatefulSet {
        StatefulSet {
            current_revision: format!("redis-{}", self.kube.template_revision),
            update_revision: format!("redis-{}", self.kube.template_revision),
            template_limits: vec![("redis".into(), Some(Bytes::mib(self.kube.template_limit_mib)))],
            ..fixtures::stateful_set()
        }
    }

    fn domain_pod(&self, n: usize, pod: &Pod) -> DomainPod {
        let mut domain = fixtures::pod(n as u8);
        domain.uid = uid_text(pod.uid);
        domain.resource_version = pod.rv.to_string();
        domain.addresses = PodAddresses::of([ip_text(pod.ip).as_str()]);
        domain.ready = pod.ready;
        domain.terminating = pod.terminating.is_some();
        domain.running = self.kube.places[n].container_at.is_none();
        domain.role_label = pod.role.map(str::to_owned);
        domain.revision = Some(format!("redis-{}", pod.revision));
        if let Ok(container) = domain.container.as_mut() {
            container.spec_limit = Some(Bytes::mib(pod.limit_mib));
            container.live_limit = Some(Bytes::mib(pod.limit_mib));
            if !pod.old {
                container.started_at = Some(wall(pod.started, 0));
            }
        }
        domain
    }
}

fn empty() -> Snapshot {
    /// Made once: the fixture has histories of ten minutes.
    static EMPTY: LazyLock<Snapshot> = LazyLock::new(|| Snapshot { targets: Vec::new(), ..fixtures::three_pods() });
    EMPTY.clone()
}

/// What every server answers but for what the world says of it.
static PLAIN: LazyLock<Sample> = LazyLock::new(|| fixtures::sample(sample::Role::Primary));

fn sample(server: &Server, uid: u32, now: Ms, skew: i64) -> Sample {
    let role = match server.role {
        Role::Primary => sample::Role::Primary,
        Role::Replica(host) => sample::Role::Replica(ReplicaLink {
            primary: address(host),
            link_up: server.link == Link::Up,
            sync_in_progress: matches!(server.link, Link::Syncing { .. }),
            read_only: true,
        }),
    };
    let mut sample = PLAIN.clone();
    sample.replication.role = role;
    sample.at = wall(now, skew);
    sample.pod_uid = uid_text(uid);
    sample.run_id = run_text(server.run);
    sample.server.uptime =
        if server.old { fixtures::UPTIME } else { Duration::from_millis(now.saturating_sub(server.started)) };
    sample.keys = 10_000 + server.log.len() as u64;
    sample.persistence.loading = now < server.loading_until;
    sample.persistence.child_running = now < server.writing_until;
    sample.memory.maxmemory = Bytes::mib(server.maxmemory_mib);
    if let Ok(config) = sample.config.as_mut() {
        config.maxmemory = Bytes::mib(server.maxmemory_mib);
        config.repl_backlog_size = Bytes(server.backlog);
        config.serving.carried.extend(server.set.clone());
    }
    if !server.fragmented {
        sample.memory.rss = Bytes::mib(80);
        sample.memory.ratio = Ratio(115);
        sample.memory.allocator_frag = Bytes::mib(4);
        sample.memory.allocator_active = Bytes::mib(75);
    }
    let replication = &mut sample.replication;
    replication.replid = format!("history-{}", server.replid);
    replication.offset = server.offset();
    replication.previous = server.before.map(|(replid, shared)| PreviousHistory {
        replid: format!("history-{replid}"),
        end: 1_000_001 + 100 * shared as u64,
    });
    replication.failover_state = match server.failover {
        Failover::None => FailoverState::None,
        Failover::Waiting { .. } => FailoverState::WaitingForSync,
        Failover::InProgress { .. } => FailoverState::InProgress,
    };
    replication.replicas = server
        .lines
        .iter()
        .map(|line| ReplicaLine {
            address: NodeAddress { host: ip_text(line.ip), port: fixtures::PORT },
            online: line.online,
            offset: 1_000_000 + 100 * line.acked as u64,
            lag: Duration::from_secs((now - line.at) / 1000),
        })
        .collect();
    sample
}

fn tell(lie: Lie, sample: &mut Sample) {
    match lie {
        Lie::Replica => {
            sample.replication.role = fixtures::replica_role();
            sample.replication.replicas.clear();
        }
        Lie::Primary => sample.replication.role = sample::Role::Primary,
        Lie::CaughtUp => {
            let offset = sample.replication.offset;
            for line in &mut sample.replication.replicas {
                line.online = true;
                line.offset = offset;
            }
        }
        Lie::Fragmented => {
            sample.memory.rss = fixtures::RSS;
            sample.memory.ratio = Ratio(900);
            sample.memory.allocator_frag = Bytes::mib(119);
        }
        Lie::Keys => sample.keys *= 100,
        Lie::NoFailover => sample.replication.failover_state = FailoverState::None,
    }
}
