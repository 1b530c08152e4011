//! Who asks Sentinels whom to follow: start scripts and clients; and the people that tidy up after them.

use crate::{
    people::WATCHED_FOR,
    redis::{Cause, Host, Ms, Role},
    shape::{self, pod_name, set_of},
    world::World,
};

/// A start script asks this often.
const ASKS: Ms = 500;
/// One that no Sentinel answers takes pod 0 for the primary after this.
const ALONE: Ms = 30_000;
/// One whose own pod is named waits longer than `down-after-milliseconds` by this: nobody wants an empty primary.
const PATIENT: Ms = 20_000;
/// What Sentinels list in vain is seen this soon, and then one of them is told to forget it.
const STALE: Ms = 8_000;

impl World {
    /// Start scripts of members under Sentinel.
    pub(super) fn start_scripts(&mut self) {
        let now = self.now;
        let due = |set: usize| self.schedule.sets[set].watch.is_some();
        let asking = self.servers.by_ip.values().filter(|it| it.searching && now >= it.retry_at && !it.hung(now));
        let asking: Vec<u32> = asking.filter(|it| due(set_of(it.pod))).map(|it| it.ip).collect();
        for ip in asking {
            self.start_script(ip);
        }
    }

    fn start_script(&mut self, ip: u32) {
        let now = self.now;
        let server = &self.servers.by_ip[&ip];
        let (set, pod, since) = (set_of(server.pod), server.pod, server.started);
        let watch = self.schedule.sets[set].watch.clone().expect("a set under Sentinel");
        let named = self.sentinels.awake(set, now).next().map(|it| it.primary);
        let first = shape::pod(set, 0);
        let alone = named.is_none() && now > since + ALONE;
        let named = named.or_else(|| alone.then(|| watch.host(self, first)));
        let leader = named.and_then(|host| self.servers.resolve(host)).map(|ip| &self.servers.by_ip[&ip]);
        let own = leader.is_some_and(|it| it.pod == pod);
        let leads = leader.is_some_and(|it| it.role == Role::Primary && !it.hung(now)) || alone;
        let server = self.servers.by_ip.get_mut(&ip).expect("it starts");
        server.retry_at = now + ASKS;
        let patient = now > since + watch.down_after + PATIENT;
        match named {
            Some(_) if own && (patient || alone) => self.starts_as_primary(ip),
            Some(host) if !own && leads => {
                server.role = Role::Replica(host);
                server.searching = false;
            }
            _ => {}
        }
    }

    /// Its own pod is named: what it holds is what there is.
    fn starts_as_primary(&mut self, ip: u32) {
        let now = self.now;
        let set = set_of(self.servers.by_ip[&ip].pod);
        let beside = self.servers.of_set(set).any(|it| it.role == Role::Primary);
        self.servers.promote(ip, Cause::Initial, now);
        let server = &self.servers.by_ip[&ip];
        if beside {
            self.observer.beside.insert(server.run);
        }
        let (pod, log) = (server.pod, server.log.clone());
        self.note(|| format!("redis: {} starts as the primary that its Sentinels name", pod_name(pod)));
        self.observer.became_primary(pod, Cause::Foreign, now);
        self.observer.excuse(set_of(pod), &log);
    }

    /// Where a client of that set is sent: it asks some Sentinel.
    pub fn sent_by_sentinel(&mut self, set: usize) -> Option<u32> {
        let named: Vec<Host> = self.sentinels.awake(set, self.now).map(|it| it.primary).collect();
        let host = if named.is_empty() { return None } else { self.rng.pick(&named) };
        self.servers.resolve(host)
    }

    /// People see what Sentinels list in vain, and have one after the other forget it.
    pub fn tidy(&mut self, set: usize) {
        let now = self.now;
        if !self.is_watched(set) {
            return;
        }
        self.agree(set);
        let ids: Vec<u32> = self.sentinels.of_set(set).map(|at| self.sentinels.all[at].id).collect();
        let stale = self.sentinels.of_set(set).find(|at| {
            let it = &self.sentinels.all[*at];
            it.awake(now) && it.is_stale(self, &ids)
        });
        let (since, next) = &mut self.people.stale[set];
        let Some(at) = stale else {
            *since = None;
            return;
        };
        if now >= *since.get_or_insert(now) + STALE && now >= *next {
            *next = now + STALE;
            self.note(|| format!("a person: SENTINEL RESET on sentinel {at}"));
            self.sentinels.all[at].reset(now);
            self.observer.progressed(now);
        }
    }

    /// In the end people see that Sentinels name another than who is primary, which they do not mend by themselves.
    fn agree(&mut self, set: usize) {
        let now = self.now;
        let mut primaries = self.servers.of_set(set).filter(|it| it.role == Role::Primary);
        let (one, other) = (primaries.next().map(|it| it.ip), primaries.next());
        let wrong = |ip: u32| self.sentinels.awake(set, now).any(|it| self.servers.resolve(it.primary) != Some(ip));
        let wrong = one.filter(|ip| other.is_none() && self.people.healed && wrong(*ip));
        drop(primaries);
        let Some(ip) = wrong else {
            self.people.disagree[set] = None;
            return;
        };
        if now >= *self.people.disagree[set].get_or_insert(now) + WATCHED_FOR {
            let pod = self.servers.by_ip[&ip].pod;
            self.note(|| format!("a person: SENTINEL MONITOR {} everywhere", pod_name(pod)));
            self.people.disagree[set] = None;
            self.monitor(pod);
        }
    }

    /// A person has made that pod the primary, and tells every Sentinel.
    pub fn monitor(&mut self, pod: usize) {
        let (set, now) = (set_of(pod), self.now);
        let Some(watch) = self.schedule.sets[set].watch.clone() else { return };
        self.observer.progressed(now);
        let host = watch.host(self, pod);
        let all = self.sentinels.of_set(set).map(|at| self.sentinels.all[at].epoch());
        let epoch = all.max().unwrap_or_default() + 1;
        for sentinel in self.sentinels.all.iter_mut().filter(|it| it.set == set) {
            sentinel.monitor(host, epoch, now);
        }
    }
}
