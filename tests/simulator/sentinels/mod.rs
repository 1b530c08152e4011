//! The Sentinels of the simulated world, as sentinel.c has them: what each knows of its set, what passes between them, and
//! what they tell servers. docs/adr/0019 and the tests of tests/redis_sentinel have what was measured of the real ones.

mod answers;
mod election;
mod instance;
mod link;
mod rules;
mod starts;
mod struck;

pub use link::SentinelLink;
pub use rules::Agreement;
pub use struck::faults;

use std::collections::BTreeMap;

use crate::{
    redis::{Cause, Host, Ms, Role, Server},
    replication::Servers,
    rng::Rng,
    shape::{self, Watch, set_name},
    world::World,
};
use election::Attempt;
use instance::Instance;

/// How often a Sentinel looks at what it knows.
const TIMER: Ms = 100;
/// How often it greets the others.
const GREETS: Ms = 2_000;
/// A timer that comes this late makes it act on nothing for [`TILT`].
const LATE: Ms = 2_000;
const TILT: Ms = 30_000;

/// Every Sentinel, those of a set one after the other.
#[derive(Debug)]
pub struct Sentinels {
    pub all: Vec<Sentinel>,
    /// What lies in the socket of a server that was hung when it was told.
    letters: Vec<Letter>,
    /// What lies in the socket of a Sentinel that stands still.
    told: Vec<Told>,
    rng: Rng,
    next: u32,
}

/// One Sentinel.
#[derive(Clone, Debug)]
pub struct Sentinel {
    pub set: usize,
    pub n: usize,
    /// Where it listens, and the UID of its pod.
    pub ip: u32,
    pub uid: u32,
    /// The process, and the id by which the others know it.
    pub process: u32,
    pub id: u32,
    /// There is a process.
    pub up: bool,
    pub down_until: Ms,
    pub frozen_until: Ms,
    pub tilt_until: Ms,
    /// Pods that it does not reach, and until when.
    pub cut: Vec<(usize, Ms)>,
    timer_at: Ms,
    greeted_at: Ms,
    /// It has been there for long.
    old: bool,
    epoch: u64,
    config_epoch: u64,
    /// Who is behind the present configuration.
    cause: Cause,
    /// In which epoch it voted last, and for whom.
    vote: (u64, u32),
    /// When a failover was last tried, by it or by one that it voted for.
    tried_at: Option<Ms>,
    o_down: bool,
    pub primary: Host,
    master: Instance,
    replicas: BTreeMap<Host, Instance>,
    /// By id: number, and when it was last heard.
    peers: BTreeMap<u32, (usize, Ms)>,
    attempt: Option<Attempt>,
}

/// What a server is told by a Sentinel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Lead,
    Follow(Host),
}

/// That, to a process.
#[derive(Clone, Copy, Debug)]
struct Letter {
    run: u32,
    word: Word,
    cause: Cause,
    /// Which Sentinel wrote it.
    by: usize,
}

/// `SENTINEL FAILOVER` that is read late.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: usize,
    process: u32,
    coordinated: bool,
    cause: Cause,
}

/// What a Sentinel publishes.
struct Greeting {
    set: usize,
    n: usize,
    id: u32,
    epoch: u64,
    config_epoch: u64,
    primary: Host,
    cause: Cause,
}

impl Sentinels {
    pub fn none() -> Self {
        Self { all: Vec::new(), letters: Vec::new(), told: Vec::new(), rng: Rng::new(0, 7), next: 1 }
    }

    /// As they have long been: pod 0 of each set is primary, and everybody knows everybody.
    pub fn of(world: &World) -> Self {
        let mut this = Self { rng: Rng::new(world.schedule.seed, 7), ..Self::none() };
        for (set, shape) in world.schedule.sets.iter().enumerate() {
            let Some(watch) = &shape.watch else { continue };
            let first = this.next;
            for n in 0..watch.count {
                this.next += 1;
                this.all.push(Sentinel::old(world, watch, set, n, first));
            }
        }
        this
    }

    /// Those of a set, by their positions.
    pub fn of_set(&self, set: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.all.len()).filter(move |at| self.all[*at].set == set)
    }

    /// Those of a set that answer now.
    pub fn awake(&self, set: usize, now: Ms) -> impl Iterator<Item = &Sentinel> {
        self.all.iter().filter(move |it| it.set == set && it.awake(now))
    }

    /// The Sentinels of that set name that server, but for the one that still moves the role.
    pub fn all_name(&self, set: usize, host: Host, servers: &Servers, now: Ms) -> bool {
        let mut awake = self.awake(set, now).filter(|it| it.attempt.is_none()).peekable();
        awake.peek().is_some() && awake.all(|it| servers.is_same(it.primary, host))
    }

    /// A Sentinel of that set carries a failover out.
    pub fn failing_over(&self, set: usize) -> bool {
        self.all.iter().any(|it| it.set == set && it.attempt.is_some())
    }

    fn step(&mut self, world: &mut World) {
        let now = world.now;
        self.deliver(world);
        for at in 0..self.all.len() {
            self.live(at, world);
        }
        for at in 0..self.all.len() {
            let me = &mut self.all[at];
            if !me.awake(now) || now < me.timer_at + TIMER {
                continue;
            }
            if now > me.timer_at + LATE && me.timer_at > 0 {
                me.tilt_until = now + TILT;
                world.note(|| format!("sentinel {at}: tilt"));
            }
            me.timer_at = now;
            let doings = me.feel(world);
            self.hear_peers(at, now);
            let tilt = self.all[at].tilts(now);
            for doing in doings.into_iter().filter(|_| !tilt) {
                self.react(at, doing, world);
            }
            if !tilt {
                self.judge(at, world);
            }
        }
        self.greet(world);
    }

    /// They are asked every second.
    fn hear_peers(&mut self, at: usize, now: Ms) {
        let set = self.all[at].set;
        let awake: Vec<u32> = self.awake(set, now).map(|it| it.id).collect();
        for (id, (_, heard_at)) in &mut self.all[at].peers {
            if awake.contains(id) {
                *heard_at = now;
            }
        }
    }

    /// A Sentinel greets the others, of what it takes for the truth.
    fn greet(&mut self, world: &mut World) {
        let now = world.now;
        for at in 0..self.all.len() {
            let me = &mut self.all[at];
            if !me.awake(now) || now < me.greeted_at + GREETS {
                continue;
            }
            me.greeted_at = now;
            let greeting = me.greeting();
            for other in 0..self.all.len() {
                if self.all[other].hears(&greeting, now) {
                    world.note(|| format!("sentinel {other}: switches to {:?}", greeting.primary));
                }
            }
        }
    }

    /// A process ends with its pod, and another comes with the next one.
    fn live(&mut self, at: usize, world: &mut World) {
        let now = world.now;
        let me = &self.all[at];
        let watch = world.schedule.sets[me.set].watch.clone().expect("a set under Sentinel");
        let (uid, ip, runs) = if watch.within {
            let place = world.kube.places.get(&shape::pod(me.set, me.n));
            let pod = place.and_then(|place| place.pod.as_ref());
            let runs = place.is_some_and(|it| it.container_at.is_none()) || pod.is_some_and(|it| it.uid == me.uid);
            pod.map_or((0, 0, false), |pod| (pod.uid, pod.ip, runs && !pod.pending))
        } else {
            (me.uid, me.ip, true)
        };
        let runs = runs && now >= me.down_until;
        if !runs {
            self.all[at].up = false;
            self.all[at].attempt = None;
            return;
        }
        if me.up && me.uid == uid {
            return;
        }
        self.next += 1;
        // A container that starts again in its pod has its file, and an apart one a claim.
        let anew = me.uid != uid;
        let id = if anew && !watch.keeps_id { self.next } else { me.id };
        let process = self.next;
        let me = &mut self.all[at];
        (me.up, me.uid, me.ip, me.process, me.id) = (true, uid, ip, process, id);
        if anew {
            let primary = self.asked(at, now).unwrap_or(watch.host(world, shape::pod(self.all[at].set, 0)));
            let me = &mut self.all[at];
            (me.epoch, me.config_epoch, me.vote, me.tried_at) = (0, 0, (0, 0), None);
            me.replicas.clear();
            me.peers.clear();
            me.watches(primary, now);
            me.replicas.clear();
        } else {
            me.begins(now);
        }
        world.note(|| format!("sentinel {at}: starts as {id}"));
    }

    /// Whom another one names.
    fn asked(&self, at: usize, now: Ms) -> Option<Host> {
        let me = &self.all[at];
        self.awake(me.set, now).find(|it| it.n != me.n).map(|it| it.primary)
    }
}

impl Sentinel {
    fn old(world: &World, watch: &Watch, set: usize, n: usize, first: u32) -> Self {
        let pods: Vec<usize> = world.schedule.sets[set].pods(set).collect();
        let inside = watch.within.then(|| world.kube.pod(pods[n])).flatten();
        let number = 5_000 + (set * shape::STRIDE + n) as u32;
        let (uid, ip) = inside.map_or((number, number), |pod| (pod.uid, pod.ip));
        let id = first + n as u32;
        let others = (0..watch.count).filter(|other| *other != n).map(|other| (first + other as u32, (other, 0)));
        let replicas = pods.iter().skip(1).map(|pod| (watch.host(world, *pod), Instance::new(false, 0)));
        Self {
            set,
            n,
            ip,
            uid,
            process: id,
            id,
            up: true,
            down_until: 0,
            frozen_until: 0,
            tilt_until: 0,
            cut: Vec::new(),
            timer_at: 0,
            greeted_at: n as Ms * 500,
            old: true,
            epoch: 1,
            config_epoch: 1,
            cause: Cause::Initial,
            vote: (1, 0),
            tried_at: None,
            o_down: false,
            primary: watch.host(world, pods[0]),
            master: Instance::new(true, 0),
            replicas: replicas.collect(),
            peers: others.collect(),
            attempt: None,
        }
    }

    /// It answers, and acts.
    pub fn awake(&self, now: Ms) -> bool {
        self.up && now >= self.frozen_until
    }

    pub fn tilts(&self, now: Ms) -> bool {
        now < self.tilt_until
    }

    /// Known Sentinels of the set, itself and dead ones included.
    pub fn known(&self) -> usize {
        self.peers.len() + 1
    }

    /// It is or starts again: its links are new, and it carries nothing out.
    fn begins(&mut self, now: Ms) {
        self.attempt = None;
        self.o_down = false;
        self.old = false;
        self.timer_at = now;
        self.master = Instance::new(true, now);
        for replica in self.replicas.values_mut() {
            *replica = Instance::new(false, now);
        }
        for (_, heard_at) in self.peers.values_mut() {
            *heard_at = now;
        }
    }

    /// Another one is primary: who was it before is one of the replicas.
    fn watches(&mut self, primary: Host, now: Ms) {
        self.replicas.insert(self.primary, Instance::new(false, now));
        self.replicas.remove(&primary);
        self.primary = primary;
        self.tried_at = None;
        self.begins(now);
    }

    /// `SENTINEL RESET`.
    pub fn reset(&mut self, now: Ms) {
        self.replicas.clear();
        self.peers.clear();
        self.tried_at = None;
        self.begins(now);
    }

    /// A person has it watch that one, whatever was before.
    pub fn monitor(&mut self, primary: Host, epoch: u64, now: Ms) {
        self.primary = primary;
        (self.epoch, self.config_epoch, self.cause) = (epoch, epoch, Cause::Foreign);
        self.reset(now);
    }

    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Lists replicas or other Sentinels that are none (any more).
    pub fn is_stale(&self, world: &World, ids: &[u32]) -> bool {
        if self.stuck(world) {
            return true;
        }
        // Nobody has it forget a replica while it watches one that is none.
        let leads = self.reach(world, self.primary).is_some_and(Server::leads);
        let gone = |host: &Host| world.servers.resolve(*host).is_none() && world.kube.down(self.set).is_empty();
        let stale = self.replicas.keys().any(gone) || self.peers.keys().any(|id| !ids.contains(id));
        stale && leads && self.attempt.is_none()
    }

    fn greeting(&self) -> Greeting {
        let (primary, config_epoch, cause) = match &self.attempt {
            Some(attempt) => attempt.publishes().unwrap_or((self.primary, self.config_epoch, self.cause)),
            None => (self.primary, self.config_epoch, self.cause),
        };
        Greeting { set: self.set, n: self.n, id: self.id, epoch: self.epoch, config_epoch, primary, cause }
    }

    /// Reads a greeting; whether it watches another primary from then on.
    fn hears(&mut self, of: &Greeting, now: Ms) -> bool {
        if of.set != self.set || of.id == self.id || !self.awake(now) {
            return false;
        }
        self.peers.insert(of.id, (of.n, now));
        self.epoch = self.epoch.max(of.epoch);
        if of.config_epoch <= self.config_epoch {
            return false;
        }
        (self.config_epoch, self.cause) = (of.config_epoch, of.cause);
        if of.primary == self.primary {
            return false;
        }
        self.watches(of.primary, now);
        true
    }

    /// The server at that address, if it is there and not cut off.
    fn reach<'a>(&self, world: &'a World, host: Host) -> Option<&'a Server> {
        let ip = world.servers.resolve(host)?;
        let server = &world.servers.by_ip[&ip];
        let cut = self.cut.iter().any(|(pod, until)| *pod == server.pod && world.now < *until);
        (!cut && server.set_is(self.set)).then_some(server)
    }

    /// It has a connection to that server.
    pub fn is_connected(&self, world: &World, server: &Server) -> bool {
        let here = |host: &Host| world.servers.resolve(*host) == Some(server.ip);
        self.up
            && (here(&self.primary) || self.replicas.keys().any(here))
            && self.reach(world, Host::Ip(server.ip)).is_some()
    }
}

impl Watch {
    /// How Sentinels know that pod.
    pub fn host(&self, world: &World, pod: usize) -> Host {
        match world.kube.pod(pod) {
            Some(there) if !self.by_name => Host::Ip(there.ip),
            _ => Host::Pod(pod),
        }
    }
}

impl World {
    /// Lets the Sentinels go on.
    pub fn watched(&mut self, dt: Ms) {
        if self.sentinels.all.is_empty() {
            return;
        }
        self.with_sentinels(Sentinels::step);
        self.start_scripts();
        self.refuses(dt);
    }

    fn with_sentinels<T>(&mut self, act: impl FnOnce(&mut Sentinels, &mut Self) -> T) -> T {
        let mut sentinels = std::mem::replace(&mut self.sentinels, Sentinels::none());
        let result = act(&mut sentinels, self);
        self.sentinels = sentinels;
        result
    }

    /// `SENTINEL FAILOVER`, read by that Sentinel now.
    pub fn fail_over(&mut self, at: usize, coordinated: bool, cause: Cause) -> Result<(), &'static str> {
        let said = self.with_sentinels(|sentinels, world| sentinels.forced(at, coordinated, cause, world));
        let name = set_name(self.sentinels.all[at].set);
        self.note(|| format!("sentinel {at}: SENTINEL FAILOVER {name} (coordinated {coordinated}): {said:?}"));
        said
    }

    /// The same, which lies in the socket of one that stands still.
    pub fn fail_over_late(&mut self, at: usize, coordinated: bool, cause: Cause) {
        let process = self.sentinels.all[at].process;
        self.sentinels.told.push(Told { at, process, coordinated, cause });
    }

    /// Whether that set is under Sentinel.
    pub fn is_watched(&self, set: usize) -> bool {
        self.schedule.sets[set].watch.is_some()
    }

    /// A server that changed its role because a Sentinel told it to: it closes ordinary connections and writes its settings
    /// to its file.
    fn turned(&mut self, ip: u32) {
        let now = self.now;
        let Some(server) = self.servers.by_ip.get_mut(&ip) else { return };
        server.closed_at = now;
        let (pod, run) = (server.pod, server.run);
        self.rewrite(ip);
        self.clients[shape::set_of(pod)].leave(run);
    }

    /// `CONFIG REWRITE`: the pod has the file as long as it is there.
    pub fn rewrite(&mut self, ip: u32) {
        let Some(server) = self.servers.by_ip.get(&ip) else { return };
        let mut settings = server.set.clone();
        settings.insert("maxmemory".to_owned(), server.maxmemory.0.to_string());
        self.files.insert(server.pod, (server.uid, settings));
    }
}

impl Server {
    const fn set_is(&self, set: usize) -> bool {
        shape::set_of(self.pod) == set
    }

    fn leads(&self) -> bool {
        self.role == Role::Primary
    }
}
