//! What the operator is shown of the world: pods as the API server has them, samples as the servers answer them, lies
//! included, put together into the domain's snapshot.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use jiff::{SignedDuration, Timestamp};
use redis_memory_operator::{
    domain::{
        addresses::PodAddresses,
        bytes::Bytes,
        fixtures,
        names::{NodeAddress, PodUid, RunId},
        oom,
        peaks::Peaks,
        pod::{Mount, Owner, Pod as DomainPod, ResizeProgress, Service, StatefulSet, VolumeKind},
        policy::{HeadroomMethod, Policy},
        ratio::Ratio,
        sample::{self, FailoverState, PreviousHistory, Reading, ReplicaLine, ReplicaLink, Sample},
        sentinel::Sentinel,
        snapshot::{Observation, ProbeFailure, RedisRights, Snapshot, Target},
        volume::{ClaimVolume, Volumes},
    },
    observe::sampler::reading_of,
};

use crate::{
    faults::Lie,
    kubernetes::Pod,
    memory::note,
    redis::{Failover, Host, Link, Ms, Role, Server},
    shape::{Beside, Storage, ordinal, pod_name, set_name, set_of, set_uid},
    world::World,
};

/// Pods as they were listed, by number.
pub type Pods = BTreeMap<usize, Pod>;

/// What one process of the operator remembers of the probes: the last answer and the readings, by pod UID.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub latest: BTreeMap<u32, Observation>,
    pub history: BTreeMap<u32, Vec<Reading>>,
    /// The most that was seen of each pod.
    pub peaks: BTreeMap<u32, Peaks>,
    /// What the Sentinels of each set said, and when.
    pub sentinels: BTreeMap<usize, (Ms, Vec<Sentinel>)>,
}

impl Memory {
    /// Keeps what a probe said.
    pub fn remember(&mut self, uid: u32, seen: Observation) {
        if let Observation::Seen(sample) = &seen {
            let history = self.history.entry(uid).or_default();
            note(self.peaks.entry(uid).or_default(), sample, self.latest.get(&uid));
            history.retain(|reading| sample.at.duration_since(reading.at) < KEEP);
            history.push(reading_of(sample));
        }
        self.latest.insert(uid, seen);
    }
}

/// Readings are kept for this long: for what is demanded of a judgement and of a rate of writes, and a margin.
const KEEP: SignedDuration = SignedDuration::from_secs(70);

/// What the kubelet says of a limit that its node has no room for.
const NO_ROOM: &str =
    "Node didn't have enough resource: memory, requested: 2147483648, used: 3221225472, capacity: 4294967296";

/// Virtual time as a wall clock shows it that is off by `skew` seconds.
pub fn wall(now: Ms, skew: i64) -> Timestamp {
    fixtures::NOW.saturating_add(SignedDuration::from_millis(now as i64 + skew * 1000)).expect("in range")
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

pub fn address(host: Host) -> NodeAddress {
    match host {
        Host::Pod(n) => {
            let host = format!("{}.{}.shop.svc.cluster.local", pod_name(n), set_name(set_of(n)));
            NodeAddress { host, port: fixtures::PORT }
        }
        Host::Ip(ip) => NodeAddress { host: ip_text(ip), port: fixtures::PORT },
    }
}

impl World {
    /// The pods as the API server has them now.
    pub fn list(&self) -> Pods {
        self.kube.places.iter().filter_map(|(n, place)| Some((*n, place.pod.clone()?))).collect()
    }

    /// What a server answers now, lies included.
    pub fn sample(&self, server: &Server, skew: i64) -> Sample {
        let mut sample = sample(server, server.uid, self.now, skew);
        if self.is_watched(set_of(server.pod)) {
            self.dress(server, &mut sample);
        }
        if self.lies.is_empty() {
            return sample;
        }
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
        if server.locked {
            return Observation::Failed(ProbeFailure::AuthenticationFailed("WRONGPASS".into()));
        }
        let mut sample = self.sample(server, skew);
        sample.pod_uid = uid_text(pod.uid);
        if now >= server.loading_until {
            self.observer.answered(identity, n, now);
        }
        Observation::Seen(Box::new(sample))
    }

    /// The sets that a policy selects, by its number.
    pub fn covered(&self, policy: &str) -> Vec<usize> {
        let shape = &self.kube.policies[crate::operator::Body::number(policy)].shape;
        (0..self.kube.sets.len()).filter(|set| shape.covers(*set)).collect()
    }

    /// Puts a snapshot for that policy together.
    pub fn snapshot(&self, policy: &Policy, pods: &Pods, memory: &Memory, live: bool, skew: i64) -> Snapshot {
        let (sets, measured) = (self.covered(&policy.uid), policy.headroom.method == HeadroomMethod::Measured);
        let selected = || pods.iter().filter(|(n, _)| sets.contains(&set_of(**n)));
        let mut targets: Vec<Target> = selected()
            .map(|(n, pod)| {
                let redis = memory.latest.get(&pod.uid).cloned().unwrap_or(Observation::Pending);
                let history = memory.history.get(&pod.uid).cloned().unwrap_or_default();
                let peaks = memory.peaks.get(&pod.uid).copied().filter(|_| measured).unwrap_or_default();
                Target { pod: self.domain_pod(*n, pod), redis, history, peaks }
            })
            .collect();
        targets.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
        Snapshot {
            at: wall(self.now, skew),
            targets,
            stateful_sets: sets.iter().map(|set| self.stateful_set(*set)).collect(),
            services: sets.iter().flat_map(|set| self.services(*set, pods)).collect(),
            redis_rights: if live { RedisRights::Known(Vec::new()) } else { RedisRights::Unknown },
            volumes: Volumes::Known(selected().map(|(n, _)| claim_volume(*n)).collect()),
            sentinels: sets
                .iter()
                .filter_map(|set| memory.sentinels.get(set))
                .flat_map(|(_, said)| said.clone())
                .collect(),
            ..empty()
        }
    }

    fn stateful_set(&self, n: usize) -> StatefulSet {
        let set = &self.kube.sets[n];
        StatefulSet {
            uid: set_uid(n),
            name: set_name(n).into(),
            replicas: set.replicas as u32,
            current_revision: format!("{}-{}", set_name(n), set.revision),
            update_revision: format!("{}-{}", set_name(n), set.revision),
            template_limits: vec![("redis".into(), Some(Bytes::mib(set.limit_mib)))],
            ..fixtures::stateful_set()
        }
    }

    /// The Services that lead to pods of that set.
    pub fn services(&self, set: usize, pods: &Pods) -> Vec<Service> {
        let members = || pods.iter().filter(|(n, _)| set_of(**n) == set);
        let takes = || members().map(|(n, _)| pod_name(*n)).collect::<Vec<_>>();
        let ready = |wanted: &dyn Fn(&Pod) -> bool| {
            members().filter(|(_, pod)| wanted(pod)).map(|(_, pod)| uid_text(pod.uid)).collect()
        };
        let (name, key) = (set_name(set), "redismemory.io/role");
        let named = |more: &str| format!("{name}-{more}");
        let primary = fixtures::service(&named("primary"), &[("app", name), (key, "primary")], takes());
        let mut services = vec![Service { ready_pods: ready(&|pod| pod.slice), ..primary }];
        // Clients ask Sentinels.
        services.retain(|_| !self.is_watched(set));
        for beside in &self.schedule.sets[set].beside {
            services.push(match *beside {
                Beside::Headless => fixtures::service(name, &[("app", name)], takes()),
                Beside::Replicas => {
                    let replicas = fixtures::service(&named("replicas"), &[("app", name), (key, "replica")], takes());
                    Service { ready_pods: ready(&|pod| pod.role == Some("replica") && pod.ready), ..replicas }
                }
                Beside::Pinned(n) => {
                    let pod = pod_name(crate::shape::pod(set, n));
                    let selector = [("app", name), ("statefulset.kubernetes.io/pod-name", pod.as_str())];
                    fixtures::service(&named("pinned"), &selector, vec![pod.clone()])
                }
            });
        }
        services.retain(|service| !service.takes.is_empty());
        services
    }

    fn domain_pod(&self, n: usize, pod: &Pod) -> DomainPod {
        let set = set_name(set_of(n));
        let mut domain = fixtures::pod(0);
        domain.name = pod_name(n);
        domain.dns_name = Some(format!("{}.{set}.shop.svc", domain.name));
        domain.owner = Some(Owner { kind: "StatefulSet".into(), name: set.into(), uid: set_uid(set_of(n)) });
        domain.uid = uid_text(pod.uid);
        domain.resource_version = pod.rv.to_string();
        domain.addresses = PodAddresses::of([ip_text(pod.ip).as_str()]);
        domain.ready = pod.ready;
        domain.terminating = pod.terminating.is_some();
        domain.running = self.kube.places.get(&n).is_some_and(|place| place.container_at.is_none());
        if pod.asked_mib.is_some() {
            domain.resize = ResizeProgress::Deferred(NO_ROOM.to_owned());
        }
        domain.role_label = pod.role.map(str::to_owned);
        domain.revision = Some(format!("{set}-{}", pod.revision));
        if let Ok(container) = domain.container.as_mut() {
            container.spec_limit = Some(Bytes::mib(pod.asked_mib.unwrap_or(pod.limit_mib)));
            container.live_limit = Some(Bytes::mib(pod.limit_mib));
            container.restarts = pod.restarts;
            // Kubernetes counts in whole seconds.
            container.killed = pod.killed.map(|kill| oom::Kill {
                started_at: kill.since.map_or(container.started_at, |since| Some(wall(since / 1000 * 1000, 0))),
                at: wall(kill.at / 1000 * 1000, 0),
            });
            if !pod.old {
                container.started_at = Some(wall(pod.started, 0));
            }
            if self.shape(n).storage(ordinal(n)) != Storage::Nothing {
                let claim = Some(format!("data-{}", domain.name));
                let (path, volume) = ("/data".to_owned(), VolumeKind::Claim);
                container.mounts = vec![Mount { path, volume, claim, read_only: false }];
            }
        }
        domain
    }
}

fn claim_volume(n: usize) -> ClaimVolume {
    ClaimVolume { claim: format!("data-{}", pod_name(n)), ..fixtures::claim_volume(0) }
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
    // In whole seconds, as servers give it.
    let before = if server.old { fixtures::UPTIME } else { Duration::ZERO };
    sample.server.uptime = before + Duration::from_secs(now.saturating_sub(server.started) / 1000);
    sample.keys = server.keys + server.log.len() as u64;
    persistence(server, now, &mut sample.persistence);
    sample.memory.maxmemory = server.maxmemory;
    if let Ok(config) = sample.config.as_mut() {
        config.maxmemory = server.maxmemory;
        config.repl_backlog_size = Bytes(server.backlog);
        config.serving.carried.extend(server.set.clone());
        config.serving.replica_priority = server.priority;
        config.appendonly = server.storage == Storage::Aof;
        config.save = if server.storage == Storage::Dump { "3600 1".into() } else { String::new() };
    }
    if !server.fragmented {
        sample.memory.rss = Bytes::mib(80);
        sample.memory.ratio = Ratio(115);
        sample.memory.allocator_frag = Bytes::mib(4);
        sample.memory.allocator_active = Bytes::mib(75);
    }
    if server.own_mib > 0 && server.cache.is_none() {
        let memory = &mut sample.memory;
        memory.used = Bytes(memory.used.0 + Bytes::mib(server.own_mib).0);
        memory.rss = server.resident(now);
        memory.ratio = Ratio((memory.rss.0 * 100 / memory.used.0) as u32);
    }
    server.show_memory(now, &mut sample);
    let replication = &mut sample.replication;
    replication.replid = format!("history-{}", server.replid);
    replication.offset = server.position().offset();
    replication.previous = server
        .before
        .map(|(replid, shared)| PreviousHistory { replid: format!("history-{replid}"), end: shared.offset() + 1 });
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
            offset: line.acked.offset(),
            lag: Duration::from_secs((now - line.at) / 1000),
        })
        .collect();
    sample
}

fn persistence(server: &Server, now: Ms, said: &mut sample::Persistence) {
    said.loading = now < server.loading_until;
    said.child_running = server.child.is_some_and(|child| now < child.until);
    said.aof_enabled = server.storage == Storage::Aof;
    (said.saves, said.rewrites) = (server.written.saves, server.written.rewrites);
    said.since_last_save = server.written.at.map(|at| Duration::from_millis(now.saturating_sub(at)));
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
