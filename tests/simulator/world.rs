//! The simulated world: Kubernetes, the Redis servers, clients that remember what was acknowledged, and the faults
//! that strike it. Time is a number, and passes here.

use std::collections::{BTreeMap, BTreeSet};

use redis_memory_operator::domain::{
    bytes::Bytes,
    journal::{Journal, Outcome, WorkloadRecord},
    names::PodName,
    request::AnsweredRequest,
    step::Step,
};

use crate::{
    clients::Clients,
    faults::{Fault, Lie, Trigger, Whose},
    headroom::MAXMEMORY_MIB,
    kubelet::Volume,
    kubernetes::{Kubernetes, Lease, Mood, Place, Pod, Resource, Set},
    load_loop::LoadLoop,
    observer::Observer,
    orders::Order,
    people::People,
    redis::{Cause, Host, Link, Ms, Role, Server},
    replication::{Change, Links, Servers},
    rng::Rng,
    schedule::Schedule,
    sentinels::{Agreement, Sentinels},
    shape::{Drift, Oddity, SetShape, Watch, ordinal, pod_name, set_of, set_uid},
    strikes::Undo,
};

/// Keys that every set holds from the beginning.
pub const KEYS: u64 = 10_000;

/// `maxmemory` of a member that has a smaller one.
pub const SMALL_MAXMEMORY: Bytes = Bytes::mib(384);

/// What strikes a process of the operator; the runner carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    Crash { back_after: Ms },
    Stop { lasts: Ms },
}

/// The world.
pub struct World {
    pub now: Ms,
    pub kube: Kubernetes,
    pub servers: Servers,
    pub observer: Observer,
    pub rng: Rng,
    pub schedule: Schedule,
    /// A fault has struck.
    pub struck: bool,
    /// Not struck yet.
    pub pending: Vec<(Trigger, Fault)>,
    pub passed: Vec<(&'static str, u32)>,
    /// What the runner must do to operators.
    pub blows: Vec<(Whose, Blow)>,
    pub lease_blocked: Vec<(Whose, Ms)>,
    pub cache_frozen: Vec<(Whose, Ms)>,
    pub lies: Vec<(usize, Lie, Ms)>,
    pub undo: Vec<(Ms, usize, Undo)>,
    /// Commands that lie in the socket of a server that is hung: when, to which process, what.
    pub late: Vec<(Ms, u32, Order)>,
    pub clients: Vec<Clients>,
    pub writes: u32,
    pub edits: u32,
    /// Keys that were evicted, steps by which we had them go, and values of ours that rose.
    pub evicted: u64,
    pub steps: u32,
    pub raised: u32,
    /// Roles that left a primary which was killed, because of that.
    pub left: u32,
    /// The remediations that were begun by hand, and the answers to what was asked for.
    pub by_hand: BTreeSet<String>,
    pub answers: u32,
    /// What the volume of each pod holds.
    pub volumes: BTreeMap<usize, Volume>,
    pub next_run: u32,
    /// Servers whose data have outgrown their limits, by pod.
    pub load_loops: BTreeMap<usize, LoadLoop>,
    /// An operator leads and runs.
    pub someone_works: bool,
    pub people: People,
    pub sentinels: Sentinels,
    /// What each process was told by the Sentinels of each set.
    pub agreed: BTreeMap<(u32, usize), Agreement>,
    /// The configuration file of each pod, by its UID: settings that were written to it.
    pub files: BTreeMap<usize, (u32, BTreeMap<String, String>)>,
    trace: Option<Vec<String>>,
}

impl World {
    pub fn new(schedule: &Schedule, policies: Vec<Resource>, traced: bool) -> Self {
        let sets = &schedule.sets;
        let links = sets.iter().map(|set| Links {
            full_sync: set.full_sync,
            lag: set.lag,
            saves_every: set.saves_every,
            watched: set.watch.is_some(),
        });
        let mut servers = Servers::of(links.collect());
        let (mut places, mut volumes) = (BTreeMap::new(), BTreeMap::new());
        for (set, shape) in sets.iter().enumerate() {
            for n in shape.pods(set) {
                let (server, pod) = member(n, shape);
                volumes.insert(n, Volume::of(KEYS));
                servers.by_ip.insert(server.ip, server);
                places.insert(n, Place::of(pod));
            }
        }
        let kube = Kubernetes {
            places,
            sets: sets.iter().map(Set::new).collect(),
            policies,
            leases: [Lease::default(); 2],
            mood: Mood::Well,
            mood_until: 0,
            reuse_address: false,
            freed: Vec::new(),
            serial: 10,
            next_uid: 100,
            next_ip: 100,
            endpoint_delay: schedule.endpoint_delay,
            proxy_delay: 700,
        };
        let mut world = Self {
            now: 0,
            kube,
            servers,
            observer: Observer::of(sets),
            rng: Rng::new(schedule.seed, 2),
            struck: false,
            pending: schedule.faults.clone(),
            clients: sets.iter().map(Clients::new).collect(),
            people: People::of(sets.len()),
            schedule: schedule.clone(),
            passed: Vec::new(),
            blows: Vec::new(),
            lease_blocked: Vec::new(),
            cache_frozen: Vec::new(),
            lies: Vec::new(),
            undo: Vec::new(),
            late: Vec::new(),
            writes: 0,
            edits: 0,
            evicted: 0,
            steps: 0,
            raised: 0,
            left: 0,
            by_hand: BTreeSet::new(),
            answers: 0,
            volumes,
            next_run: 1000,
            load_loops: BTreeMap::new(),
            someone_works: false,
            sentinels: Sentinels::none(),
            agreed: BTreeMap::new(),
            files: BTreeMap::new(),
            trace: traced.then(Vec::new),
        };
        world.sentinels = Sentinels::of(&world);
        world.remember_bounds();
        world
    }

    /// Notes a line for the trace of a failed schedule; the text is made only when it is wanted.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = self.trace.as_mut() {
            trace.push(format!("{:>8.3} {}", now as f64 / 1000.0, text()));
        }
    }

    pub fn trace(&self) -> String {
        self.trace.as_deref().unwrap_or_default().join("\n")
    }

    /// The next time at which something must be looked at.
    fn stride(&self) -> Ms {
        if self.servers.switching() { 20 } else { 200 }
    }

    /// Lets time pass.
    pub fn advance(&mut self, to: Ms) {
        while self.now < to {
            let dt = self.stride().min(to - self.now);
            self.now += dt;
            self.strike_due();
            self.set_back();
            self.pods();
            self.obey_late();
            self.watched(dt);
            let changes = self.servers.step(self.now);
            for change in changes {
                self.changed(change);
            }
            self.evict();
            self.kube.follow(self.now);
            for set in 0..self.clients.len() {
                self.write(set);
                self.tidy(set);
                // Who is primary cannot be known from one that denies it, nor whether nobody is from one that claims it.
                let lied = |pod| self.lies(pod, Lie::Replica) || self.lies(pod, Lie::Primary);
                let denied = !self.lies.is_empty() && self.kube.of_set(set).any(|(n, _)| lied(n));
                self.observer.leaderless(set, &self.servers, self.someone_works && !denied, dt, self.now);
                self.stranded(set, dt);
                self.stays(set, dt);
            }
            self.observer.look(&self.kube, &self.servers, self.someone_works, dt, self.now);
        }
    }

    fn changed(&mut self, change: Change) {
        self.note(|| format!("redis: {change:?}"));
        if matches!(change, Change::Saves { .. }) {
            self.observer.progressed(self.now);
        }
        let Change::Promoted { ip, cause } = change else { return };
        let pod = self.servers.by_ip[&ip].pod;
        self.promoted(ip, cause);
        if cause == Cause::Foreign {
            // Whoever moved the role tells the other replicas, too.
            let others: Vec<u32> = self.servers.of_set(set_of(pod)).map(|it| it.ip).filter(|it| *it != ip).collect();
            for other in others {
                let _ = self.servers.replicaof(other, Host::Pod(pod), self.now);
            }
        }
    }

    /// The observer is told who became primary.
    pub fn promoted(&mut self, ip: u32, cause: Cause) {
        let server = &self.servers.by_ip[&ip];
        let (pod, now) = (server.pod, self.now);
        let remediation = self.remediation(set_of(pod)).map(|journal| journal.id.clone());
        self.observer.promoted(server, &self.servers, cause, remediation.as_ref(), now);
        if cause == Cause::Ours {
            self.observer.stays(&self.kube, pod, now);
            self.leaves_for(pod);
        }
    }

    /// The remediation of that set that is under way by the journals.
    pub fn remediation(&self, set: usize) -> Option<&Journal> {
        let uid = set_uid(set);
        let there = self.kube.policies.iter().filter(|it| !it.gone);
        there.filter_map(Resource::journal).find(|journal| journal.shard.sets.contains(&uid))
    }

    /// The answer to a request is about to be written, or stays as it is.
    pub fn answer_arrives(&mut self, p: usize, new: Option<&AnsweredRequest>) {
        let old = self.kube.policies[p].status().and_then(|status| status.request.as_ref());
        self.answers += u32::from(old != new);
    }

    /// A journal is about to be written, and what is remembered of the sets.
    pub fn journal_arrives(&mut self, p: usize, new: Option<&Journal>, records: &[WorkloadRecord]) {
        /// From a look to the journal that rests on it.
        const JUST: Ms = 10_000;
        let by_hand = new.filter(|journal| journal.request.is_some());
        self.by_hand.extend(by_hand.map(|journal| journal.id.clone()));
        if let (Some(ended), None) = (self.kube.policies[p].journal().cloned(), new) {
            let set = ended.shard.clone();
            let record = records.iter().find(|record| record.shard == set);
            let by_threshold = ended.request.is_none();
            if by_threshold && record.is_some_and(|record| record.outcome == Some(Outcome::Succeeded)) {
                self.succeeded(&ended);
            }
        }
        let old = self.kube.policies[p].journal();
        let (had, same) = (old.is_some(), old.map(|it| it.cursor) == new.map(|it| it.cursor));
        let now = self.now;
        if !same {
            self.observer.progressed(now);
        }
        let restarts = |journal: &&Journal| journal.steps.iter().any(|it| matches!(it.step, Step::Evict { .. }));
        let Some(journal) = new.filter(|journal| !had && restarts(journal)) else { return };
        let Some(set) = (0..self.schedule.sets.len()).find(|set| journal.shard.sets.contains(&set_uid(*set))) else {
            return;
        };
        let lied = |n: usize| self.lied(n);
        // Who was to be cured may have been killed, or have restarted, since it was looked at.
        let just = |it: &Server| !it.old && now < it.started + JUST;
        let due = self.servers.of_set(set).any(|it| it.fragmented || lied(it.pod) || just(it));
        if !due && self.kube.down(set).is_empty() {
            self.observer.flag(now, "S5", "a remediation begins although nothing is fragmented".to_owned());
        }
    }

    /// Success means that everything is done.
    fn succeeded(&mut self, ended: &Journal) {
        /// A plan of so many members may leave some for the next.
        const LARGE: usize = 7;
        let ours = |set: &usize| ended.shard.sets.contains(&set_uid(*set));
        let Some(set) = (0..self.schedule.sets.len()).find(ours) else { return };
        let misread = |fault: &Fault| match fault {
            Fault::Grow { pod, .. } | Fault::Lie { pod, .. } => set_of(*pod) == set,
            Fault::Scale { set: it, .. } => *it == set,
            _ => false,
        };
        let unclear = self.schedule.faults.iter().any(|(_, fault)| misread(fault));
        let unclear = unclear || self.schedule.sets[set].killed.is_some();
        if unclear || !self.schedule.restart_helps || self.schedule.sets[set].members > LARGE {
            return;
        }
        // Where Sentinels are hasty the primary that it began with is left as it is.
        let hasty = self.schedule.sets[set].watch.as_ref().is_some_and(Watch::is_hasty);
        // In the middle of a chain nobody is restarted.
        let planned =
            |name: &PodName| ended.steps.iter().any(|at| matches!(&at.step, Step::Evict { pod } if pod == name));
        let spared = |name: PodName| hasty && name == ended.primary.pod || ended.chained && !planned(&name);
        let left = self.servers.of_set(set).filter(|it| it.fragmented && !spared(pod_name(it.pod)));
        let left: Vec<_> = left.map(|it| pod_name(it.pod)).collect();
        if !left.is_empty() {
            let now = self.now;
            self.observer.flag(now, "L8", format!("a remediation has succeeded, and {left:?} are as they were"));
        }
    }

    /// A policy's status is written.
    pub fn wrote(&mut self, install: usize, p: usize) {
        let now = self.now;
        let unanswered = now < self.kube.mood_until && self.kube.mood == Mood::LostReplies;
        self.observer.wrote((install, p), !unanswered, now);
    }

    /// An event is written, with that reason and subject.
    pub fn said(&mut self, what: String) {
        let now = self.now;
        self.observer.said(what, now);
    }

    /// A switchover takes the role away from that pod, by the journals.
    pub fn had_the_role(&self, pod: usize) -> bool {
        let name = pod_name(pod);
        let from = |policy: &Resource| match policy.journal().and_then(Journal::step) {
            Some(Step::Switchover { from, .. }) => *from == name,
            _ => false,
        };
        self.kube.policies.iter().any(from)
    }

    /// Whether a probe of that pod is answered with that lie now.
    pub fn lies(&self, pod: usize, lie: Lie) -> bool {
        self.lies.iter().any(|(it, told, until)| *it == pod && *told == lie && self.now < *until)
    }

    /// No operator's caches stand still.
    pub fn caches_follow(&self) -> bool {
        self.cache_frozen.iter().all(|(_, until)| self.now >= *until)
    }

    /// Whether that pod ever claimed to be fragmented.
    pub fn lied(&self, pod: usize) -> bool {
        self.lies.iter().any(|(it, told, _)| *it == pod && *told == Lie::Fragmented)
    }

    /// The shape of the set of that pod.
    pub fn shape(&self, pod: usize) -> &SetShape {
        &self.schedule.sets[set_of(pod)]
    }
}

/// A member as it has long been: pod 0 is primary.
fn member(n: usize, shape: &SetShape) -> (Server, Pod) {
    let (uid, ip, first) = (n as u32 + 1, n as u32 + 10, n - ordinal(n));
    let mut server = Server::fresh(uid, ip, n, uid, 0);
    server.maxmemory = Bytes::mib(shape.cache.map_or(MAXMEMORY_MIB, |cache| cache.maxmemory_mib));
    configure(&mut server, shape);
    server.old = true;
    server.searching = false;
    server.keys = KEYS;
    server.child_at = ordinal(n) as Ms * 11_000;
    server.fragmented = !shape.is_odd(ordinal(n), |odd| *odd == Oddity::Clean);
    server.replid = 1 + set_of(n) as u32;
    server.role = if n == first { Role::Primary } else { Role::Replica(Host::Pod(first)) };
    server.link = Link::Down;
    // What somebody has set at run time, beside the template.
    match shape.drift {
        Some(Drift::Backlog) => server.backlog *= 2,
        Some(Drift::Notify) => {
            server.set.insert("notify-keyspace-events".into(), "Kx".into());
        }
        Some(Drift::Maxmemory) | None => {}
    }
    let set = Set::new(shape);
    let pod = Pod {
        old: true,
        ready: true,
        role: if shape.watch.is_some() { None } else { Some(if n == first { "primary" } else { "replica" }) },
        limit_mib: set.limit_mib + if shape.is_odd(ordinal(n), |odd| *odd == Oddity::Roomy) { 512 } else { 0 },
        slice: n == first && shape.watch.is_none(),
        proxied: n == first && shape.watch.is_none(),
        ..Pod::new(uid, 1, ip, &set, 0)
    };
    (server, pod)
}

/// A server as its own configuration has it.
pub fn configure(server: &mut Server, shape: &SetShape) {
    let n = ordinal(server.pod);
    server.storage = shape.storage(n);
    server.priority = shape.priority(n);
    server.locked = shape.is_odd(n, |odd| *odd == Oddity::Locked);
    server.cache = shape.cache;
    if shape.small_backlog {
        server.backlog = 16 << 10;
    }
    if shape.is_odd(n, |odd| *odd == Oddity::SmallMaxmemory) {
        server.maxmemory = SMALL_MAXMEMORY;
    }
}
