//! One run: the world, the processes of the operator with their leases and samplers, and what must be true in the end.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context as TaskContext, Waker},
};

use kube::ResourceExt as _;
use redis_memory_operator::domain::{bytes::Bytes, sample, snapshot::Observation};

use crate::{
    faults::Whose,
    kubernetes::{Lease, Mood, Resource},
    observer::Violation,
    operator::{INTERVAL, Kept, LEASE, MARGIN, Process},
    planted::Bug,
    redis::Ms,
    schedule::Schedule,
    shape::set_of,
    world::{Blow, World},
};

/// How often a lease is renewed, or looked at by who waits for it.
const RENEW: Ms = 2_000;
/// Everything must have converged so long after the world has healed (L1).
const PATIENCE: Ms = 600_000;
/// Nothing may change for so long before it counts as converged: longer than a judgement and a look at rest need …
const QUIET: Ms = 100_000;
/// … and than what is waited for at Sentinels, which is over after twice `failover-timeout`, when it is looked at next.
const LOOKED_AT: Ms = 40_000;

/// What came of a schedule.
#[derive(Debug)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub evictions: u32,
    pub switchovers: u32,
    pub in_place: u32,
    pub backlogs: u32,
    pub looks: u32,
    pub cured: bool,
    pub by_hand: usize,
    pub answers: u32,
    pub keys_evicted: u64,
    pub steps: u32,
    pub raised: u32,
    /// Roles that left a primary which was killed.
    pub left: u32,
    /// `maxmemory` of every server in the end.
    pub bounds: Vec<Bytes>,
    pub ended: String,
    pub trace: String,
}

/// Where a process of the operator lives: a pod of its Deployment.
struct Slot {
    process: Option<Process>,
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    back_at: Ms,
    stopped_until: Ms,
    next_lease: Ms,
    next_sample: Ms,
    lease_seen: (u64, Ms),
    blow: Option<Blow>,
    digest: u64,
}

struct Runner {
    world: Arc<Mutex<World>>,
    slots: Vec<Slot>,
    identities: u32,
    bug: Option<Bug>,
    quiet_since: Ms,
    /// For so long nothing may change.
    quiet: Ms,
}

/// Runs a schedule.
pub fn run(schedule: &Schedule, bug: Option<Bug>, traced: bool) -> Outcome {
    let policies = schedule.policies.iter().enumerate().map(|(n, shape)| Resource::new(n, shape)).collect();
    let world = Arc::new(Mutex::new(World::new(schedule, policies, traced)));
    let watches = schedule.sets.iter().filter_map(|set| set.watch.as_ref());
    let quiet = watches.map(|watch| 2 * watch.failover_timeout + LOOKED_AT).fold(QUIET, Ms::max);
    let mut runner = Runner { world, slots: Vec::new(), identities: 0, bug, quiet_since: schedule.calm, quiet };
    for n in 0..schedule.operators {
        runner.slots.push(Slot {
            process: None,
            future: None,
            back_at: n as Ms * 700,
            stopped_until: 0,
            next_lease: 0,
            next_sample: 0,
            lease_seen: (0, 0),
            blow: None,
            digest: 0,
        });
    }
    runner.go(schedule)
}

impl Runner {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("one thread")
    }

    fn go(mut self, schedule: &Schedule) -> Outcome {
        // What is set back again and again is tried for a while.
        let obstructed = (0..schedule.sets.len()).any(|set| schedule.obstructed(set));
        let patience = if obstructed { 2 * PATIENCE } else { PATIENCE };
        let converged = loop {
            self.step();
            let now = self.world().now;
            if !self.world().observer.violations.is_empty() {
                break true;
            }
            if now > schedule.calm && self.converged() {
                break true;
            }
            if now > schedule.calm + patience {
                break false;
            }
        };
        for slot in &mut self.slots {
            slot.future = None;
        }
        let mut world = self.world();
        let now = world.now;
        let ended = world.describe();
        if !converged && !world.settled_but_for_what_is_in_vain() {
            let text = format!("not converged {} s after everything healed: {ended}", patience / 1000);
            world.observer.flag(now, "L1", text);
        } else if world.observer.violations.is_empty() {
            let World { observer, servers, .. } = &mut *world;
            observer.finish(servers, now);
            world.check_cure();
        }
        Outcome {
            violations: world.observer.violations.clone(),
            evictions: world.observer.evictions,
            switchovers: world.observer.switchovers,
            in_place: world.observer.in_place,
            backlogs: world.observer.backlogs,
            looks: world.observer.pace.count,
            cured: world.servers.by_ip.values().all(|server| !server.fragmented),
            by_hand: world.by_hand.len(),
            answers: world.answers,
            keys_evicted: world.evicted,
            steps: world.steps,
            raised: world.raised,
            left: world.left,
            bounds: world.servers.by_ip.values().map(|server| server.maxmemory).collect(),
            ended,
            trace: world.trace(),
        }
    }

    /// To the next thing that happens.
    fn step(&mut self) {
        let now = self.world().now;
        let mut next = now + 500;
        for slot in &self.slots {
            let Some(process) = &slot.process else {
                next = next.min(slot.back_at.max(now + 1));
                continue;
            };
            let running = now >= slot.stopped_until || process.travels();
            let wanted =
                if running { process.wake().min(slot.next_lease).min(slot.next_sample) } else { slot.stopped_until };
            next = next.min(wanted.max(now + 1));
        }
        self.world().advance(next);
        self.aim();
        for n in 0..self.slots.len() {
            self.live(n, next);
        }
    }

    /// A blow that struck at a time, not at a point, is meant for whoever holds the lease.
    fn aim(&mut self) {
        let mut world = self.world();
        let holder = |process: &Process| world.kube.leases[process.install].holder == Some(process.identity);
        let holds = |slot: &Slot| slot.process.as_ref().is_some_and(holder);
        let slot = self.slots.iter().position(holds).unwrap_or(0);
        for (whose, _) in &mut world.blows {
            if *whose == Whose::Acting {
                *whose = Whose::Number(slot);
            }
        }
    }

    fn live(&mut self, n: usize, now: Ms) {
        let slot = &self.slots[n];
        let Some(process) = slot.process.clone() else {
            if now >= slot.back_at {
                self.start(n, now);
            }
            return;
        };
        let stopped = now < slot.stopped_until;
        if !stopped {
            // What was under way in a term that is over is never gone on with in the next.
            self.end_of_term(n, &process, now);
            if now >= self.slots[n].next_lease {
                self.lease(n, &process, now);
            }
            if now >= self.slots[n].next_sample {
                self.sample(n, &process, now);
            }
        }
        if (!stopped || process.travels()) && now >= process.wake() {
            let slot = &mut self.slots[n];
            if let Some(future) = slot.future.as_mut() {
                process.tick();
                let _ = future.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
            }
        }
        self.end_of_term(n, &process, now);
        self.blows(n, now);
        let works = |slot: &Slot| {
            now >= slot.stopped_until
                && slot.process.as_ref().is_some_and(|it| it.leads_until().is_some_and(|deadline| now < deadline))
        };
        let works = self.slots.iter().any(works);
        let mut world = self.world();
        world.someone_works = works && now >= world.kube.mood_until;
    }

    /// A process whose term has ended drops everything that it was doing.
    fn end_of_term(&mut self, n: usize, process: &Process, now: Ms) {
        let over = process.leads_until().is_some_and(|deadline| now >= deadline) && !process.fenceless;
        if over && !process.travels() && now >= self.slots[n].stopped_until {
            process.note(|| "its term is over".to_owned());
            self.world().observer.left(process.identity);
            process.set_term(None);
            process.rouse();
            self.slots[n].future = Some(Box::pin(process.clone().term(self.bug)));
        }
    }

    fn start(&mut self, n: usize, now: Ms) {
        self.identities += 1;
        let process = Process::new(&self.world, n, self.identities, self.bug);
        if self.identities as usize <= self.slots.len() {
            process.remember_before();
        }
        let slot = &mut self.slots[n];
        process.rouse();
        slot.future = Some(Box::pin(process.clone().term(self.bug)));
        slot.process = Some(process);
        slot.next_lease = now;
        slot.next_sample = now;
        slot.lease_seen = (u64::MAX, now);
    }

    /// Renews the lease, or takes it when its holder was silent for a whole lease by this process' own clock.
    fn lease(&mut self, n: usize, process: &Process, now: Ms) {
        let slot = &mut self.slots[n];
        slot.next_lease = now + RENEW;
        let mut world = self.world.lock().expect("one thread");
        let mood = if now < world.kube.mood_until { world.kube.mood } else { Mood::Well };
        let holds = world.kube.leases[process.install].holder == Some(process.identity);
        let ours = |whose: &Whose| *whose == Whose::Number(n) || (*whose == Whose::Acting && holds);
        let blocked = world.lease_blocked.iter().any(|(whose, until)| now < *until && ours(whose));
        let failing = match mood {
            Mood::Errors(percent) => world.rng.percent(percent),
            Mood::Overload => true,
            Mood::Well | Mood::Conflicts | Mood::LostReplies | Mood::Slow(_) => false,
        };
        if blocked || failing {
            return;
        }
        let lease = world.kube.leases[process.install];
        if slot.lease_seen.0 != lease.version {
            slot.lease_seen = (lease.version, now);
        }
        let renews = holds && process.leads_until().is_some_and(|deadline| now < deadline);
        let free = lease.holder.is_none() || (!renews && now >= slot.lease_seen.1 + LEASE);
        if renews || free {
            world.kube.leases[process.install] = Lease { holder: Some(process.identity), version: lease.version + 1 };
            slot.lease_seen = (lease.version + 1, now);
            process.set_term(Some(now + LEASE - MARGIN));
            if !renews {
                // A term begins with lists of its own: no cache of before counts.
                refresh(process, &world);
                world.note(|| format!("operator {n}: leads as process {}", process.identity));
            }
        }
    }

    /// Caches and samples are brought up to date; a change of what they say wakes the reconciler.
    fn sample(&mut self, n: usize, process: &Process, now: Ms) {
        self.slots[n].next_sample = now + INTERVAL;
        let holds = self.world().kube.leases[process.install].holder == Some(process.identity);
        {
            let world = self.world();
            let ours = |whose: &Whose| *whose == Whose::Number(n) || (*whose == Whose::Acting && holds);
            let frozen = world.cache_frozen.iter().any(|(whose, until)| now < *until && ours(whose));
            if !frozen || process.cache.lock().expect("one thread").policies.is_empty() {
                refresh(process, &world);
            }
        }
        if !holds || process.leads_until().is_none() {
            return;
        }
        let pods = process.cache.lock().expect("one thread").pods.clone();
        for (n, pod) in &pods {
            process.sample(*n, pod);
        }
        let digest = digest(process);
        if self.slots[n].digest != digest {
            self.slots[n].digest = digest;
            process.kept.lock().expect("one thread").iter_mut().for_each(Kept::wake);
        }
    }

    /// Carries out what strikes processes; what travels already arrives first.
    fn blows(&mut self, at: usize, now: Ms) {
        let blows = std::mem::take(&mut self.world().blows);
        for (whose, blow) in blows {
            let n = match whose {
                Whose::Acting => at,
                Whose::Number(n) => n,
            };
            if let Some(slot) = self.slots.get_mut(n) {
                slot.blow = Some(blow);
            }
        }
        for slot in &mut self.slots {
            let Some(process) = slot.process.clone() else { continue };
            if process.travels() {
                continue;
            }
            match slot.blow.take() {
                Some(Blow::Crash { back_after }) => {
                    process.note(|| "is killed".to_owned());
                    self.world.lock().expect("one thread").observer.left(process.identity);
                    slot.future = None;
                    slot.process = None;
                    slot.back_at = now + back_after;
                }
                Some(Blow::Stop { lasts }) => slot.stopped_until = now + lasts,
                None => {}
            }
        }
    }

    fn converged(&mut self) -> bool {
        let (calm, now) = {
            let world = self.world();
            (world.settled(), world.now)
        };
        if !calm {
            self.quiet_since = now;
        }
        now > self.quiet_since + self.quiet
    }
}

/// The caches of a process are brought up to date; a policy that has changed is looked at.
fn refresh(process: &Process, world: &World) {
    let (mut cache, mut kept) = (process.cache.lock().expect("one thread"), process.kept.lock().expect("one thread"));
    cache.pods = world.list();
    cache.policies.resize(world.kube.policies.len(), None);
    for (p, (known, now)) in cache.policies.iter_mut().zip(&world.kube.policies).enumerate() {
        let version = now.object.resource_version();
        if now.gone {
            *known = None;
        } else if known.as_ref().is_none_or(|known| known.resource_version() != version) {
            *known = Some(Arc::new(now.stored()));
            kept[p].due = true;
        }
    }
}

/// What the pod watch shows, and what the sampler's judge looks at: roles, links, processes, and whether there is enough
/// to be judged by.
fn digest(process: &Process) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let full: Vec<bool> = process.world().schedule.sets.iter().map(|set| set.cache.is_some()).collect();
    let (cache, memory) = (process.cache.lock().expect("one thread"), process.memory.lock().expect("one thread"));
    let mut hasher = DefaultHasher::new();
    for (n, pod) in &cache.pods {
        (pod.uid, pod.ready, pod.terminating.is_some(), pod.role, pod.limit_mib).hash(&mut hasher);
        (pod.asked_mib, pod.killed).hash(&mut hasher);
        let Some(Observation::Seen(sample)) = memory.latest.get(&pod.uid) else { continue };
        let replication = &sample.replication;
        match &replication.role {
            sample::Role::Primary => replication.replicas.iter().filter(|line| line.online).count().hash(&mut hasher),
            sample::Role::Replica(link) => (true, link.link_up, link.sync_in_progress).hash(&mut hasher),
            sample::Role::Unknown => u8::MAX.hash(&mut hasher),
        }
        sample.run_id.hash(&mut hasher);
        // What is written to a full set changes its ratio all the time; a verdict follows from large steps of it.
        if full[set_of(*n)] {
            (sample.memory.ratio.0 / 50, sample.memory.maxmemory).hash(&mut hasher);
        } else {
            sample.memory.ratio.hash(&mut hasher);
        }
        (memory.history.get(&pod.uid).map_or(0, Vec::len) > 9).hash(&mut hasher);
    }
    hasher.finish()
}
