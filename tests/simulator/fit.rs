//! Who becomes primary by us: its pod stays (S14), it is at least what the primary was (S16), and may hold what it holds (S17).

use redis_memory_operator::domain::bytes::Bytes;

use crate::{
    kubernetes::Kubernetes,
    observer::{FRESH, Observer},
    redis::{Ms, Server},
    shape::{Storage, pod_name, set_of},
};

/// From the last look to the arrival of the first command.
const LAST_LOOK: Ms = 100;

impl Observer {
    /// A server was promoted by us: its pod stays.
    pub fn stays(&mut self, kube: &Kubernetes, pod: usize, now: Ms) {
        let held_at = self.held_at(set_of(pod));
        if let Some(deleted) = kube.pod(pod).and_then(|pod| pod.deleted_at).filter(|at| at + LAST_LOOK < held_at) {
            let text = format!("{} was promoted although its pod was being deleted since {deleted}", pod_name(pod));
            self.flag(now, "S14", text);
        }
    }

    /// Whoever becomes primary by us is at least what the primary was.
    pub fn fit(&mut self, server: &Server, before: Option<&Server>, now: Ms) {
        let name = pod_name(server.pod);
        if server.priority == Some(0) {
            self.flag(now, "S16", format!("{name} became primary with replica-priority 0"));
        }
        if let Some(before) = before.filter(|it| rank(it.storage) > rank(server.storage)) {
            let (from, old, to) = (pod_name(before.pod), before.storage, server.storage);
            self.flag(
                now,
                "S16",
                format!("{name}, which stores in {to:?}, took over from {from}, which does in {old:?}"),
            );
        }
    }

    /// Who becomes primary by us may hold what it holds.
    pub fn bears(&mut self, server: &Server, before: Option<&Server>, now: Ms) {
        let evicts = |it: &Server| {
            let bound = it.cache.is_some_and(|cache| cache.evicts()) && it.maxmemory > Bytes::ZERO;
            bound && it.used(now) > it.maxmemory.percent(105)
        };
        // What its clients took since it was looked at nobody could know; nor what people set after the last look.
        let asked_at = self.held_at(set_of(server.pod)).saturating_sub(LAST_LOOK).max(server.asked_at);
        let known = server.grown_at + FRESH < now && server.bounded_at <= asked_at;
        if known && evicts(server) && !before.is_some_and(evicts) {
            let (name, used, bound) = (pod_name(server.pod), server.used(now), server.maxmemory);
            self.flag(now, "S17", format!("{name} became primary with {used} used, and evicts down to {bound}"));
        }
    }
}

/// What is stored of the data, the more the higher.
pub const fn rank(storage: Storage) -> u8 {
    match storage {
        Storage::Nothing => 0,
        Storage::Dump => 1,
        Storage::Aof => 2,
    }
}
