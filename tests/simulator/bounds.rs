//! What must hold of `maxmemory` that we set (S17 to S20): no key goes without consent, with consent few at a time and only
//! where people said so, what people set is theirs, and what is measured moves it once a day.

use std::collections::{BTreeMap, BTreeSet};

use redis_memory_operator::domain::{
    bytes::Bytes,
    journal::{MemberIdentity, OwnMaxmemory, WorkloadRecord},
    shard::ShardId,
    step::Step,
};

use crate::{
    headroom::{self, Headroom, MAXMEMORY_MIB, SET_BEFORE},
    kubernetes::{Resource, Set},
    memory::Over,
    observer::Observer,
    redis::{Ms, Role, Server},
    replication::Servers,
    shape::{Oddity, SetShape, pod_name, set_name, set_of, set_uid},
    view,
    world::{SMALL_MAXMEMORY, World},
};

/// Between the last look at a server and the arrival of the command nobody sees what clients write (a few of their writes, or
/// a step of a server that grows).
const MEANWHILE: Bytes = Bytes::mib(20);
/// From that look to the command: who changes it then is not seen.
const CROSSED: Ms = 30;
/// A step takes no more than this away, in percent: 5, and 1 for what wavers.
const STEP_AT_MOST: u32 = 6;
/// A set counts as not above its value up to this percent of it.
const THERE: u32 = 101;
/// From the look that says that a window is open to the command: a process can be stopped for that long.
const LATE: i64 = 60_000;
/// A step that has a server answer late is taken back within this time.
const AT_ONCE: Ms = 10_000;
const DAY: i64 = 24 * 3_600_000;
/// Clocks of two processes of the operator differ by this at most.
const CLOCKS: i64 = 200_000;

/// What is known of one set's values.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Values that people gave it, by template or at run time; zero: none at all.
    people: BTreeSet<u64>,
    /// Values that are ours alone.
    ours: BTreeSet<u64>,
    /// Our newest value, and when it came.
    last: Option<(u64, i64)>,
    /// By process: what a person set there at run time.
    said: BTreeMap<u32, Said>,
    /// By process: what it had before we last set it, and when we did.
    before: BTreeMap<u32, (u64, Ms)>,
}

/// What a person set at run time.
#[derive(Clone, Copy, Debug)]
struct Said {
    value: u64,
    at: Ms,
    /// What it had.
    had: u64,
    /// More was used: keys go.
    evicts: bool,
}

/// A `CONFIG SET maxmemory` of ours, as it arrives.
struct Arrival<'a> {
    pod: usize,
    run: u32,
    leads: bool,
    has: Bytes,
    used: Bytes,
    value: Bytes,
    /// What all of several members have.
    all: Option<Bytes>,
    /// It has started within this schedule.
    replaces: bool,
    /// When the kernel last killed one of the set.
    killed_at: Option<Ms>,
    /// No member refuses writes instead of evicting.
    evict: bool,
    ignores: bool,
    headroom: &'a Headroom,
    /// By the clock of who sends it.
    wall: i64,
}

impl Arrival<'_> {
    fn lowers(&self) -> bool {
        self.value > Bytes::ZERO && (self.has == Bytes::ZERO || self.value < self.has)
    }

    fn raises(&self) -> bool {
        self.has > Bytes::ZERO && (self.value == Bytes::ZERO || self.value > self.has)
    }

    /// What is used, but for what could not be seen.
    fn used_then(&self) -> Bytes {
        self.used.saturating_sub(MEANWHILE)
    }

    /// It takes no key, and lets no write be refused.
    fn fits(&self) -> bool {
        let most = if self.evict { self.used_then().percent(110) } else { Bytes(self.used_then().0 / 3 * 4) };
        self.value >= most
    }

    fn consents(&self) -> bool {
        self.headroom.evicts
    }

    fn text(&self, what: &str) -> String {
        let Self { has, used, value, .. } = self;
        format!("maxmemory of {} is set to {value} after {has}, {used} are used: {what}", pod_name(self.pod))
    }
}

impl Bounds {
    /// What people gave a set of that shape, by template and before the schedule.
    pub fn of(shape: &SetShape) -> Self {
        let mut people: BTreeSet<u64> = match &shape.cache {
            Some(cache) => BTreeSet::from([Bytes::mib(cache.maxmemory_mib).0]),
            None => [MAXMEMORY_MIB, Set::new(shape).maxmemory_mib].map(|mib| Bytes::mib(mib).0).into(),
        };
        if shape.odd.iter().any(|(_, odd)| *odd == Oddity::SmallMaxmemory) {
            people.insert(SMALL_MAXMEMORY.0);
        }
        Self { people, ..Self::default() }
    }

    /// A person has set something there lately.
    fn was_told_lately(&self, run: u32, now: Ms) -> bool {
        self.said.get(&run).is_some_and(|said| (now as i64) < said.at as i64 + LATE)
    }

    /// We had set it before the schedule.
    pub fn had(&mut self, value: Bytes, ago: Ms) {
        self.ours.insert(value.0);
        self.last = Some((value.0, -(ago as i64)));
    }

    /// A person sets it at run time.
    fn says(&mut self, server: &Server, value: Bytes, at: Ms) {
        self.people.insert(value.0);
        let (had, evicts) = (server.maxmemory.0, server.used(at) > value);
        self.said.insert(server.run, Said { value: value.0, at, had, evicts });
    }

    /// What is wrong with it: each invariant that it breaks.
    fn judge(&self, it: &Arrival<'_>, now: Ms) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if it.lowers() {
            wrong.extend(self.lowered(it, now));
        }
        if it.raises() {
            wrong.extend(self.raised(it, now));
        }
        wrong
    }

    /// A value that the set has had from us comes back where less than it is used.
    fn comes_back(&self, it: &Arrival<'_>) -> bool {
        let known = self.people.contains(&it.value.0) || self.ours.first().is_some_and(|least| it.value.0 >= *least);
        known && it.used_then() <= it.value
    }

    /// A person set it lately on the process before, which still evicted down to it: its successor gets it back, and goes on.
    fn is_given_back(&self, it: &Arrival<'_>, now: Ms) -> bool {
        let said = |(run, said): (&u32, &Said)| {
            said.evicts && *run != it.run && said.value == it.value.0 && (now as i64) < said.at as i64 + LATE
        };
        it.replaces && self.said.iter().any(said)
    }

    fn lowered(&self, it: &Arrival<'_>, now: Ms) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let settled = self.last.filter(|(last, _)| it.all == Some(Bytes(*last)));
        // What the kernel has killed for since was too much.
        let killed = |at: i64| it.killed_at.is_some_and(|killed| killed as i64 >= at);
        if it.headroom.measured && settled.is_some_and(|(_, at)| now as i64 + CLOCKS < at + DAY && !killed(at)) {
            wrong.push(("S20", it.text("it had come to its end within the day")));
        }
        if !it.leads {
            if !it.ignores && it.used_then() > it.value.percent(THERE) {
                wrong.push(("S18", it.text("a replica evicts by itself")));
            }
            return wrong;
        }
        if it.fits() || self.comes_back(it) || self.is_given_back(it, now) {
            return wrong;
        }
        if !it.consents() {
            wrong.push(("S17", it.text("nobody consents")));
            return wrong;
        }
        if !it.evict {
            wrong.push(("S18", it.text("a member may not evict any key")));
        }
        if ![it.wall, it.wall - LATE].into_iter().any(|at| it.headroom.is_open(at)) {
            wrong.push(("S18", it.text("no window is open")));
        }
        if it.value < it.used_then().percent(100 - STEP_AT_MOST) {
            wrong.push(("S18", it.text("that is more than a small step")));
        }
        if it.has > Bytes::ZERO && it.used_then() > it.has.percent(THERE) {
            wrong.push(("S18", it.text("the step before has not come to its end")));
        }
        let against = |said: &Said| {
            let open = said.value == 0 || said.value > said.had;
            said.value == it.has.0 && open && self.ours.contains(&said.had) && now > said.at + CROSSED
        };
        if self.said.get(&it.run).is_some_and(against) {
            wrong.push(("S19", it.text("keys go against who set it back")));
        }
        wrong
    }

    fn raised(&self, it: &Arrival<'_>, now: Ms) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let theirs = !self.ours.contains(&it.has.0);
        // What a process had before it was restarted is given back to the next, from whomever it had it.
        let returns = it.replaces && !self.before.contains_key(&it.run);
        let given_back = self.people.contains(&it.value.0) || returns && self.ours.contains(&it.value.0);
        let said = self.said.get(&it.run).is_some_and(|said| said.value == it.has.0 && now > said.at + CROSSED);
        if said && !(returns && given_back) || theirs && !given_back {
            wrong.push(("S19", it.text("what people set is raised")));
        }
        if !self.people.contains(&0) && self.people.last().is_some_and(|most| it.value.0 > *most) {
            wrong.push(("S19", it.text("nobody ever had that much")));
        }
        let just = |(before, at): &(u64, Ms)| *before == it.value.0 && now < at + AT_ONCE;
        let taken_back = self.before.get(&it.run).is_some_and(just);
        let moved = self.last.filter(|(last, _)| *last != it.value.0);
        let early = moved.is_some_and(|(_, at)| now as i64 + CLOCKS < at + DAY);
        if it.headroom.measured && !theirs && early && !taken_back {
            wrong.push(("S20", it.text("it was moved within the day")));
        }
        wrong
    }

    /// It is set; whether that value is new.
    fn set(&mut self, it: &Arrival<'_>, now: Ms) -> bool {
        self.before.insert(it.run, (it.has.0, now));
        // What people had is taken back, or given back.
        let ours = !self.people.contains(&it.value.0);
        let new = ours && self.ours.insert(it.value.0);
        if ours && self.last.is_none_or(|(last, _)| last != it.value.0) {
            self.last = Some((it.value.0, now as i64));
        }
        new
    }
}

impl Servers {
    /// The `maxmemory` of a set of several members, where all have the same.
    fn all_have(&self, set: usize) -> Option<Bytes> {
        let mut all = self.of_set(set).map(|server| server.maxmemory);
        let (first, second) = (all.next()?, all.next()?);
        (first == second && all.all(|it| it == first)).then_some(first)
    }
}

impl Observer {
    /// A server evicts a batch of keys, among them perhaps that write.
    pub fn keys_go(&mut self, pod: usize, write: u32, allowed: bool, now: Ms) {
        self.evicted_write(set_of(pod), write, allowed);
        if !allowed {
            self.flag(now, "S17", format!("{} evicts by our doing, and nobody consents", pod_name(pod)));
        }
    }
}

impl World {
    /// `CONFIG SET maxmemory` of that policy arrives at a server.
    pub fn bounding(&mut self, ip: u32, policy: usize, value: &str, skew: i64) {
        let now = self.now;
        let (Some(server), Ok(value)) = (self.servers.by_ip.get(&ip), value.parse()) else { return };
        let set = set_of(server.pod);
        let evicts = self.schedule.sets[set].cache.is_none_or(|cache| cache.evicts());
        let headroom = self.kube.policies[policy].shape.headroom;
        let it = Arrival {
            pod: server.pod,
            run: server.run,
            leads: server.role == Role::Primary,
            has: server.maxmemory,
            used: server.used(now),
            value: Bytes(value),
            all: self.servers.all_have(set),
            replaces: !server.old,
            killed_at: self.kube.of_set(set).filter_map(|(n, _)| Some(self.kube.pod(n)?.killed?.at)).max(),
            evict: evicts,
            ignores: server.cache.is_none_or(|cache| cache.ignores),
            headroom: &headroom,
            wall: now as i64 + skew * 1_000,
        };
        let (pod, uid, lowers) = (server.pod, server.uid, it.lowers());
        if it.has == it.value {
            return;
        }
        for (invariant, text) in self.observer.bounds[set].judge(&it, now) {
            self.observer.flag(now, invariant, text);
        }
        // A value that is new goes on with something; the same again does not.
        if self.observer.bounds[set].set(&it, now) {
            self.observer.progressed(now);
        }
        // Each process starts without it.
        self.observer.set(uid, format!("maxmemory {value} in process {}", it.run), now);
        let allowed = it.consents() && it.evict || self.observer.bounds[set].is_given_back(&it, now);
        let (used, below) = (it.used, lowers && it.used_then() > it.value && (it.leads || !it.ignores));
        self.steps += u32::from(lowers && it.used > it.value && it.leads);
        self.note(|| format!("redis: maxmemory of {}: {used} are used", pod_name(pod)));
        if let Some(server) = self.servers.by_ip.get_mut(&ip).filter(|_| below) {
            server.over = Over::Ours { allowed };
        }
        self.raised += u32::from(!lowers);
    }

    /// The least limit that a policy over that pod can mean, in MiB.
    pub fn least_limit(&self, pod: usize) -> u64 {
        let (set, now) = (set_of(pod), self.now);
        // Of one that lets nobody in nobody knows what it may hold.
        let Some(server) = self.servers.of_pod(pod).filter(|server| !server.locked) else { return 0 };
        // Whoever decided did not know that yet.
        if self.observer.bounds[set].was_told_lately(server.run, now) {
            return 0;
        }
        let members = self.schedule.sets[set].members;
        let over = self.kube.policies.iter().filter(|policy| policy.shape.covers(set));
        // What a replacement starts with is set to what the pod before it had, as others have it.
        let is_new = |policy: &Resource| {
            let step = policy.journal().and_then(|journal| journal.step());
            matches!(step, Some(Step::Resize { pod: resized, .. }) if *resized == pod_name(pod))
        };
        let replaced = over.clone().any(is_new);
        let had = self.servers.of_set(set).filter(|it| replaced || it.pod == pod).map(|it| it.maxmemory);
        let maxmemory = had.min().unwrap_or(server.maxmemory);
        over.map(|policy| policy.shape.headroom.least_limit(maxmemory, members)).min().unwrap_or(0)
    }

    /// What the operator had set before the schedule, and remembers.
    pub fn remember_bounds(&mut self) {
        for set in 0..self.schedule.sets.len() {
            let Some(p) = self.kube.policies.iter().position(|policy| policy.shape.covers(set)) else { continue };
            let (headroom, template) =
                (self.kube.policies[p].shape.headroom, Bytes::mib(self.kube.sets[set].maxmemory_mib));
            let Some(before) = headroom.set_before.filter(|_| template > SET_BEFORE) else { continue };
            // It fits.
            if self.servers.of_set(set).any(|server| server.used(0).percent(110) > SET_BEFORE) {
                continue;
            }
            let ours = |server: &&mut Server| set_of(server.pod) == set && server.maxmemory == template;
            let members = self.servers.by_ip.values_mut().filter(ours).map(|server| {
                server.maxmemory = SET_BEFORE;
                let (pod, uid) = (pod_name(server.pod), view::uid_text(server.uid));
                MemberIdentity { pod, uid, run_id: view::run_text(server.run) }
            });
            let members = members.collect();
            let at = view::wall(0, 0).saturating_sub(headroom::ago(before)).expect("in range");
            let (value, had) = (SET_BEFORE.0 as i64, template.0 as i64);
            let own = OwnMaxmemory {
                values: vec![value],
                end: value,
                held: value,
                before_eviction: Vec::new(),
                before: had,
                at,
                members,
            };
            let record = WorkloadRecord {
                maxmemory: Some(Box::new(own)),
                ..WorkloadRecord::new(ShardId::whole(set_uid(set)), set_name(set).to_owned(), at)
            };
            self.kube.policies[p].object.status.get_or_insert_default().workloads.push(record);
            self.observer.bounds[set].had(SET_BEFORE, before);
        }
    }

    /// A person sets the limits of a set's pods.
    pub fn person_limits(&mut self, set: usize, mib: u64) {
        let pods: Vec<usize> = self.kube.of_set(set).map(|(n, _)| n).collect();
        for n in pods {
            self.kube.touch(n, |pod| (pod.limit_mib, pod.asked_mib) = (mib, None));
        }
    }

    /// A person sets `maxmemory` of a server at run time.
    pub fn person_bounds(&mut self, pod: usize, value: Bytes) {
        let now = self.now;
        let Some(server) = self.servers.of_pod_mut(pod).filter(|server| server.maxmemory != value) else { return };
        self.observer.bounds[set_of(pod)].says(server, value, now);
        (server.maxmemory, server.over, server.bounded_at) = (value, Over::Others, now);
    }
}
