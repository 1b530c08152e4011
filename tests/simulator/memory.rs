//! What a server of the simulated world holds, and what of it goes when it is full: a primary evicts a batch of keys every tenth
//! of a second, and its replicas take that over as they take writes over. (Redis evicts 53,000 keys in 70 ms; here it takes
//! longer, so that more can happen meanwhile.)

use std::time::Duration;

use redis_memory_operator::domain::{
    bytes::Bytes,
    fixtures,
    peaks::{Peaks, TELLING_FROM},
    ratio::Ratio,
    sample::Sample,
    snapshot::Observation,
};

use crate::{
    headroom::Cache,
    redis::{Failover, Ms, Role, Server},
    view::Memory,
    world::World,
};

/// What a process of a full set takes beside its keys.
const BASE: Bytes = Bytes::mib(1);
/// A batch of keys goes this often.
const EVICTS_EVERY: Ms = 100;
/// Its clients' buffers come this often.
const CLIENTS_EVERY: Ms = 60_000;
/// The classes of ratios, in percent.
const LOWEST: u32 = 115;
const HIGHEST: u32 = 270;
const STEP: u32 = 5;

/// An entry of a log that is no write: a batch of keys was evicted. Writes are even.
pub const fn is_eviction(entry: u32) -> bool {
    entry & 1 == 1
}

/// Who has a server hold more than its `maxmemory`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// Its clients, or somebody else.
    #[default]
    Others,
    /// We, and people allowed it or did not.
    Ours { allowed: bool },
}

impl Server {
    /// Keys that it holds.
    pub fn held(&self) -> u64 {
        let batch = self.cache.map_or(0, |cache| cache.batch);
        let writes = (self.log.len() - self.evicted) as u64;
        (self.keys + writes).saturating_sub(batch * self.evicted as u64 + self.strayed)
    }

    /// Takes over what another has.
    pub fn take(&mut self, keys: u64, log: Vec<u32>) {
        self.evicted = log.iter().filter(|entry| is_eviction(**entry)).count();
        (self.keys, self.log, self.strayed) = (keys, log, 0);
    }

    /// Takes the next entries over.
    pub fn append(&mut self, news: &[u32]) {
        self.evicted += news.iter().filter(|entry| is_eviction(**entry)).count();
        self.log.extend(news);
    }

    /// What the keys of a full set take.
    pub fn data(&self) -> Bytes {
        Bytes(self.cache.map_or(0, |cache| cache.key.0) * self.held())
    }

    /// `used_memory`.
    pub fn used(&self, now: Ms) -> Bytes {
        let own = Bytes::mib(self.own_mib);
        match &self.cache {
            None => fixtures::USED + own,
            Some(cache) => BASE + self.data() + own + cache.clients(now),
        }
    }

    /// `used_memory_rss`. What is evicted is given back but for a quarter, and for no more than is no fragmentation yet.
    pub fn resident(&self, now: Ms) -> Bytes {
        if self.cache.is_none() {
            return Bytes::mib(self.own_mib + if self.fragmented { 201 } else { 80 });
        }
        let (data, evicted) = (self.data(), self.peak.saturating_sub(self.data()));
        self.used(now).percent(if self.fragmented { 170 } else { 115 }) + Bytes((evicted.0 / 4).min(data.0 / 5))
    }

    /// It is fragmented, and wastes enough for a restart, also without what its clients take now and then: one whose keys
    /// are gone does not.
    pub fn is_to_be_cured(&self, now: Ms) -> bool {
        let between = now.next_multiple_of(CLIENTS_EVERY).saturating_sub(1);
        let waste = self.resident(between).saturating_sub(self.used(between));
        self.fragmented && waste >= fixtures::policy().fragmentation.minimum_waste
    }

    /// It holds more than it may.
    pub fn is_over(&self, now: Ms) -> bool {
        self.maxmemory > Bytes::ZERO && self.cache.is_some() && self.used(now) > self.maxmemory
    }

    /// It answers writes with OOM.
    pub fn is_full(&self, now: Ms) -> bool {
        self.cache.is_some_and(|cache| !cache.evicts()) && self.is_over(now)
    }

    /// It evicts now. A pause of the writes is one of eviction, too.
    pub fn is_evicting(&self, now: Ms) -> bool {
        let Some(cache) = self.cache.filter(Cache::evicts) else { return false };
        let bound = self.role == Role::Primary || !cache.ignores;
        let works = now >= self.loading_until.max(self.paused_until).max(self.closed_until) && !self.hung(now);
        bound && works && self.failover == Failover::None && self.is_over(now)
    }

    /// What it says of its memory.
    pub fn show_memory(&self, now: Ms, sample: &mut Sample) {
        let Some(cache) = &self.cache else { return };
        let (used, rss) = (self.used(now), self.resident(now));
        let waste = rss.saturating_sub(used);
        let memory = &mut sample.memory;
        (memory.used, memory.rss, memory.peak) = (used, rss, self.peak.max(used));
        memory.dataset = self.data();
        memory.ratio = Ratio::of(rss, used).unwrap_or_default();
        (memory.allocator_frag, memory.allocator_rss) = (waste.percent(90), waste.percent(7));
        memory.allocator_active = used + waste.percent(90);
        memory.rss_overhead = waste.percent(3);
        memory.clients_normal = Bytes(40 * 1024) + cache.clients(now);
        cache.policy.clone_into(&mut memory.maxmemory_policy);
        let forked = self.child.is_some() || self.written.saves + self.written.rewrites > 0;
        sample.persistence.copy_on_write = if forked { used.percent(cache.copies as u32) } else { Bytes::ZERO };
        sample.keys = self.held();
        if let Ok(config) = sample.config.as_mut() {
            cache.policy.clone_into(&mut config.maxmemory_policy);
            config.serving.ignores_maxmemory = Some(cache.ignores);
        }
    }
}

impl Cache {
    /// The buffers of its clients.
    pub const fn clients(&self, now: Ms) -> Bytes {
        Bytes::mib(if now % CLIENTS_EVERY < 10_000 { self.clients_mib } else { 0 })
    }
}

impl World {
    /// Full servers evict.
    pub fn evict(&mut self) {
        for set in 0..self.schedule.sets.len() {
            let Some(cache) = self.schedule.sets[set].cache else { continue };
            let ips: Vec<u32> = self.servers.of_set(set).map(|server| server.ip).collect();
            for ip in ips {
                self.evict_on(ip, &cache);
            }
        }
    }

    fn evict_on(&mut self, ip: u32, cache: &Cache) {
        let now = self.now;
        let Some(server) = self.servers.by_ip.get_mut(&ip) else { return };
        server.peak = server.peak.max(server.data());
        if !server.is_over(now) {
            server.over = Over::Others;
        }
        if !server.is_evicting(now) || now < server.evicts_at {
            return;
        }
        server.evicts_at = now + EVICTS_EVERY;
        let (leads, over, pod) = (server.role == Role::Primary, server.over, server.pod);
        // Of what this schedule writes some goes with the rest.
        let victim = if server.log.is_empty() || !self.rng.percent(25) {
            0
        } else {
            server.log[self.rng.below(server.log.len())]
        };
        if leads {
            self.writes += 2;
            server.append(&[self.writes | 1]);
        } else {
            server.strayed += cache.batch;
        }
        self.evicted += cache.batch;
        let allowed = match over {
            Over::Others => true,
            Over::Ours { allowed } => allowed,
        };
        self.observer.keys_go(pod, victim, allowed, now);
    }

    /// What a process of the operator remembers that has sampled full sets for so long before the schedule: it has seen a
    /// fork, and writes.
    pub fn long_sampled(&self, time: Ms) -> Memory {
        let mut memory = Memory::default();
        for server in self.servers.by_ip.values() {
            let Some(cache) = server.cache else { continue };
            let peaks = Peaks {
                covered: Duration::from_millis(time),
                copied: Some(Ratio(cache.copies as u32)),
                writes: Bytes(cache.wrote),
                writes_copied: Bytes(cache.wrote / 4),
                ..Peaks::default()
            };
            memory.peaks.insert(server.uid, peaks);
        }
        memory
    }
}

/// The most of a day, as the sampler keeps it; of the ratio the most instead of all but a twentieth.
pub fn note(peaks: &mut Peaks, sample: &Sample, before: Option<&Observation>) {
    let (memory, before) = (&sample.memory, before.and_then(Observation::sample));
    peaks.covered += before
        .map_or(Duration::ZERO, |before| Duration::try_from(sample.at.duration_since(before.at)).unwrap_or_default());
    peaks.uncounted = peaks.uncounted.max(memory.not_counted_for_evict);
    peaks.clients = peaks.clients.max(memory.clients_normal);
    if memory.used < TELLING_FROM {
        return;
    }
    let ratio = Ratio(memory.ratio.0.clamp(LOWEST, HIGHEST).next_multiple_of(STEP));
    peaks.ratio = peaks.ratio.max(Some(ratio));
    let copied = sample.persistence.copy_on_write;
    if before.is_some_and(|it| it.run_id == sample.run_id && it.persistence.copy_on_write != copied)
        && copied > Bytes::ZERO
    {
        peaks.copied = peaks.copied.max(Ratio::of(copied, memory.used));
    }
}
