//! The StatefulSet controller and the kubelet of the simulated world: pods that come and go, containers that start with what
//! their volumes hold, readiness, and the kernel that kills what outgrows its limit.

use redis_memory_operator::domain::bytes::Bytes;

use crate::{
    headroom::FRAGMENTED_FROM_MIB,
    kubernetes::{Kill, Place, Pod, Set},
    redis::{Cause, Host, Ms, Position, Role, Server},
    shape::{Start, Storage, ordinal, pod, pod_name, set_of},
    world::{World, configure},
};

/// A server that grows takes a bit more this often.
const GROWS_EVERY: Ms = 200;

/// What a pod's volume holds.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    keys: u64,
    log: Vec<u32>,
    /// Where in which history it was: only a dump keeps it.
    at: Option<(u32, Position)>,
}

impl Volume {
    /// These keys, and nothing of this schedule.
    pub const fn of(keys: u64) -> Self {
        Self { keys, log: Vec::new(), at: None }
    }
}

impl World {
    pub fn pods(&mut self) {
        for set in 0..self.kube.sets.len() {
            let numbers: Vec<usize> = self.kube.of_set(set).map(|(n, _)| n).collect();
            for n in numbers {
                self.kubelet(n);
            }
        }
    }

    fn kubelet(&mut self, n: usize) {
        if self.kube.pod(n).is_some_and(|pod| pod.terminating.is_some_and(|at| self.now >= at)) {
            self.remove(n, true);
        }
        let set = &self.kube.sets[set_of(n)];
        let (no_pods_until, no_room_until, wanted) = (set.no_pods_until, set.no_room_until, ordinal(n) < set.replicas);
        let place = &self.kube.places[&n];
        if place.pod.is_none() && !wanted {
            self.kube.places.remove(&n);
            return;
        }
        if place.pod.is_none() && self.now >= place.next_at.max(no_pods_until) {
            self.create(n);
        }
        let pending = self.kube.pod(n).is_some_and(|pod| pod.pending);
        if pending && self.now >= no_room_until {
            self.kube.touch(n, |pod| pod.pending = false);
        }
        // In a pod that is being deleted no container is started any more.
        let stays = self.kube.pod(n).is_some_and(|pod| pod.terminating.is_none());
        if stays && !pending && self.kube.places[&n].container_at.is_some_and(|at| self.now >= at) {
            self.start(n);
        }
        self.loads(n);
        self.strain(n);
        self.outgrown(n);
        self.readiness(n);
    }

    /// `clean`: the process had the time to shut down.
    pub fn remove(&mut self, n: usize, clean: bool) {
        let Some(place) = self.kube.places.get_mut(&n) else { return };
        let Some(pod) = place.pod.take() else { return };
        place.container_at = None;
        place.next_at = self.now + self.rng.range(200, 1500);
        self.note(|| format!("kubernetes: {} (uid {}) is gone", pod_name(n), pod.uid));
        // Nor is it ours what a pod takes to which somebody else gave the role while it went.
        let given = |server: &Server| {
            server.role == Role::Primary
                && pod.deleted_at.is_some_and(|at| server.role_since > at)
                && self.observer.theirs(set_of(n))
        };
        if pod.taken || self.servers.by_ip.get(&pod.ip).is_some_and(given) {
            self.lost_to_others(n, pod.ip);
        }
        if let Some(server) = self.servers.by_ip.remove(&pod.ip) {
            self.keep(&server, clean);
        }
        self.kube.freed.push(pod.ip);
        self.kube.bump();
    }

    /// What of a process outlives it.
    pub fn keep(&mut self, server: &Server, clean: bool) {
        let at = match server.storage {
            Storage::Nothing => {
                self.volumes.remove(&server.pod);
                return;
            }
            // The last dump stands.
            Storage::Dump if !clean => return,
            Storage::Dump => Some((server.replid, server.position())),
            Storage::Aof => None,
        };
        self.volumes.insert(server.pod, Volume { keys: server.keys, log: server.log.clone(), at });
    }

    fn create(&mut self, n: usize) {
        let ip = if self.kube.reuse_address && !self.kube.freed.is_empty() {
            self.kube.reuse_address = false;
            self.kube.freed.remove(0)
        } else {
            self.kube.next_ip += 1;
            self.kube.next_ip
        };
        self.kube.next_uid += 1;
        let (uid, rv) = (self.kube.next_uid, self.kube.bump());
        self.note(|| format!("kubernetes: {} is created as uid {uid} at {ip}", pod_name(n)));
        let set = &self.kube.sets[set_of(n)];
        let pending = self.now < set.no_room_until;
        let pod = Pod { pending, ..Pod::new(uid, rv, ip, set, self.now) };
        let container_at = Some(self.now + self.rng.range(300, 2000));
        if let Some(place) = self.kube.places.get_mut(&n) {
            (place.pod, place.container_at) = (Some(pod), container_at);
        }
    }

    fn start(&mut self, n: usize) {
        let Some(place) = self.kube.places.get_mut(&n) else { return };
        place.container_at = None;
        let Some(pod) = &place.pod else { return };
        let (ip, uid, set, led) = (pod.ip, pod.uid, set_of(n), pod.led);
        self.next_run += 1;
        let mut server = Server::fresh(self.next_run, ip, n, uid, self.now);
        server.loading_until = self.now + self.rng.range(100, 900);
        server.retry_at = server.loading_until;
        // Where the limit would not hold it, it is not.
        let roomy = self.schedule.sets[set].cache.is_none_or(|cache| cache.limit_mib >= FRAGMENTED_FROM_MIB);
        server.fragmented = !self.schedule.restart_helps && roomy;
        server.maxmemory = Bytes::mib(self.kube.sets[set].maxmemory_mib);
        configure(&mut server, &self.schedule.sets[set]);
        if let Some(volume) = self.volumes.get(&n).filter(|_| server.storage != Storage::Nothing) {
            server.take(volume.keys, volume.log.clone());
            if let Some((replid, at)) = volume.at {
                (server.replid, server.pings) = (replid, at.pings);
            }
        }
        if let Some((_, settings)) = self.files.get(&n).filter(|(of, _)| *of == uid) {
            server.set = settings.clone();
            let bound = server.set.remove("maxmemory").and_then(|value| value.parse().ok());
            server.maxmemory = bound.map_or(server.maxmemory, Bytes);
        }
        self.finds_its_role(&mut server, led);
        self.note(|| format!("redis: process {} starts in {}", server.run, pod_name(n)));
        self.servers.by_ip.insert(ip, server);
        self.begins_to_load(n);
        let now = self.now;
        self.kube.touch(n, |pod| {
            pod.started = now;
            pod.old = false;
        });
    }

    /// The role with which a process starts, where nobody has to be asked for it.
    fn finds_its_role(&mut self, server: &mut Server, led: bool) {
        let set = set_of(server.pod);
        let first = pod(set, 0);
        let nobody_leads = !self.servers.of_set(set).any(|it| it.role == Role::Primary);
        let leads = match self.schedule.sets[set].start {
            Start::ByOrdinal => server.pod == first,
            Start::Remembers if led && nobody_leads => true,
            Start::Searches | Start::Remembers => return,
        };
        server.searching = false;
        if !leads {
            server.role = Role::Replica(Host::Pod(first));
            return;
        }
        server.second = !nobody_leads && self.kube.pod(server.pod).is_some_and(|pod| pod.restarts > 0);
        server.role = Role::Primary;
        server.replid = 1_000_000 + server.run;
        self.observer.became_primary(server.pod, Cause::Initial, self.now);
        // Its replicas take what it has, by nobody's doing but its start: we evict a primary only where it keeps its data
        // (S3).
        if nobody_leads {
            self.observer.excuse(set, &server.log);
        }
    }

    /// That server goes, by nobody's doing that is ours: what nobody else has is excused. Where starts go by ordinal, and
    /// pod 0 is left as the only primary, the others take what it has: the pod that comes back follows it, and they follow that pod.
    fn lost_to_others(&mut self, n: usize, ip: u32) {
        let set = set_of(n);
        self.observer.ends(&self.servers, ip, self.now);
        let mut primaries = self.servers.of_set(set).filter(|it| it.ip != ip && it.role == Role::Primary);
        let (one, other) = (primaries.next(), primaries.next());
        // Under Sentinel all follow the one that is left, whoever follows the other yet.
        let led = self.servers.by_ip.get(&ip).is_some_and(|it| it.role == Role::Primary);
        let theirs = led && self.is_watched(set) && !self.observer.ours(set);
        if let (Some(left), None, true) = (one, other, theirs) {
            self.observer.excuse(set, &left.log);
        }
        let first = one.filter(|it| led && other.is_none() && it.pod == crate::shape::pod(set, 0));
        if let Some(first) = first.filter(|_| self.schedule.sets[set].start == Start::ByOrdinal) {
            self.observer.excuse(set, &first.log);
        }
    }

    /// The kernel kills a server whose memory is more than its limit; the kubelet starts the container again.
    fn outgrown(&mut self, n: usize) {
        let Some(pod) = self.kube.pod(n) else { return };
        let (limit, ip) = (pod.limit_mib, pod.ip);
        let (now, killed) = (self.now, self.shape(n).killed.is_some());
        let grows = |server: &&mut Server| server.grows_to_mib > 0 || server.cache.is_some();
        let Some(server) = self.servers.by_ip.get_mut(&ip).filter(grows) else { return };
        // Of a killed set however small the steps are in which time passes.
        if !killed || now >= server.grown_at + GROWS_EVERY {
            let own = (server.own_mib + 8).min(server.grows_to_mib);
            if own != server.own_mib {
                (server.own_mib, server.grown_at) = (own, now);
            }
        }
        if server.resident(now) > Bytes::mib(limit) {
            self.note(|| format!("limit {limit} Mi of {} is too low", pod_name(n)));
            self.kill_process(n);
        }
    }

    /// The kernel kills the process of a pod for want of memory.
    pub fn kill_process(&mut self, n: usize) {
        self.note(|| format!("kernel: kills {}", pod_name(n)));
        self.restart(n, false);
    }

    /// The container of a pod ends, by nobody's doing that is ours, and starts again. Not `clean`: the kernel killed it.
    pub fn restart(&mut self, n: usize, clean: bool) {
        let Some((ip, uid)) = self.kube.pod(n).map(|pod| (pod.ip, pod.uid)) else { return };
        let Some(server) = self.servers.by_ip.get(&ip).filter(|server| server.uid == uid).cloned() else { return };
        self.lost_to_others(n, ip);
        self.observer.progressed(self.now);
        self.servers.by_ip.remove(&ip);
        self.keep(&server, clean);
        let now = self.now;
        self.kube.touch(n, |pod| {
            let since = (!pod.old).then_some(pod.started);
            pod.killed = (!clean).then_some(Kill { since, at: now });
            pod.restarts += 1;
            pod.led = server.role == Role::Primary;
        });
        if let Some(place) = self.kube.places.get_mut(&n) {
            place.container_at = Some(self.now + 500);
        }
    }

    fn readiness(&mut self, n: usize) {
        let now = self.now;
        let Some(pod) = self.kube.pod(n).filter(|pod| pod.terminating.is_none()) else { return };
        let server = self.servers.by_ip.get(&pod.ip).filter(|server| server.uid == pod.uid);
        let ready = match server {
            None => false,
            // A probe fails three times before the kubelet says so.
            Some(server) if server.hung(now) => pod.ready && now < server.hung_since + 8000,
            Some(server) => now >= server.loading_until,
        };
        if ready != pod.ready {
            self.kube.touch(n, |pod| pod.ready = ready);
        }
    }

    /// Somebody scales a set.
    pub fn scale(&mut self, set: usize, replicas: usize) {
        let before = self.kube.sets[set].replicas;
        self.kube.sets[set].replicas = replicas;
        for n in (before..replicas).map(|ordinal| pod(set, ordinal)) {
            let place = Place::empty(self.now + 500);
            self.kube.places.entry(n).or_insert(place);
        }
        for n in (replicas..before).map(|ordinal| pod(set, ordinal)) {
            self.kill(n, 1500);
        }
    }
}

impl Pod {
    /// A pod of that set as its controller creates it.
    pub const fn new(uid: u32, rv: u64, ip: u32, set: &Set, now: Ms) -> Self {
        Self {
            uid,
            rv,
            ip,
            started: now,
            old: false,
            ready: false,
            terminating: None,
            deleted_at: None,
            taken: false,
            pending: false,
            role: None,
            limit_mib: set.limit_mib,
            asked_mib: None,
            restarts: 0,
            killed: None,
            led: false,
            revision: set.revision,
            slice: false,
            proxied: false,
            slice_since: now,
            wanted_since: now,
        }
    }
}
