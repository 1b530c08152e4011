//! What the invariants ask of a set under Sentinel besides: what its Sentinels said when something is done to it, and that
//! nothing of an exchange is left on a server.

use std::collections::BTreeSet;

use crate::{
    redis::{Ms, Role, Server},
    shape::{Watch, pod_name},
    world::World,
};

/// What they said counts for this long (S3, S5).
const FRESH: Ms = 15_000;
/// A primary that we had refuse writes takes them again within this time of an operator's being at work (L4).
const REFUSES: Ms = 45_000;
/// What an exchange sets (`plan::temporary`), and nobody else in this world.
const OURS: [(&str, &str); 2] = [("min-replicas-to-write", "1000"), ("repl-ping-replica-period", "55")];

/// What a process was told by the Sentinels of a set.
#[derive(Clone, Debug, Default)]
pub struct Agreement {
    at: Ms,
    failing_over: bool,
    /// One names somebody who is not primary.
    wrong: Option<usize>,
    /// Who answered, and how many must for a failover.
    answered: BTreeSet<usize>,
    needed: usize,
}

impl World {
    /// A process asks the Sentinels of that set.
    pub fn asks_sentinels(&mut self, identity: u32, set: usize) {
        let Some(watch) = &self.schedule.sets[set].watch else { return };
        let now = self.now;
        let leads = |host| self.servers.resolve(host).is_some_and(|ip| self.servers.by_ip[&ip].role == Role::Primary);
        let awake = || self.sentinels.awake(set, now);
        let known = awake().map(super::Sentinel::known).max().unwrap_or_default();
        let agreement = Agreement {
            at: now,
            failing_over: awake().any(|it| it.attempt.is_some()),
            wrong: awake().find(|it| !leads(it.primary)).map(|it| it.n),
            answered: awake().map(|it| it.n).collect(),
            needed: (known / 2 + 1).max(watch.quorum),
        };
        self.agreed.insert((identity, set), agreement);
    }

    /// Something is done to a set: an eviction of that pod, or with `None` an exchange.
    pub fn disturbs(&mut self, identity: u32, set: usize, evicted: Option<usize>) {
        let Some(watch) = &self.schedule.sets[set].watch else { return };
        let what = evicted.map_or("a role is moved".to_owned(), |pod| format!("{} was evicted", pod_name(pod)));
        let now = self.now;
        let agreement = self.agreed.get(&(identity, set)).cloned().unwrap_or_default();
        if now > agreement.at + FRESH {
            let text = format!("{what} although the Sentinels were last asked at {}", agreement.at);
            self.observer.flag(now, "S5", text);
        }
        let away = evicted.filter(|_| watch.within).map(crate::shape::ordinal);
        let left = agreement.answered.iter().filter(|n| Some(**n) != away).count();
        let faults = [
            (agreement.failing_over, "a failover was in progress".to_owned()),
            (agreement.wrong.is_some(), format!("Sentinel {:?} named another than who was primary", agreement.wrong)),
            (left < agreement.needed, format!("{left} Sentinels were left, and {} must be", agreement.needed)),
        ];
        for (_, fault) in faults.into_iter().filter(|(is, _)| *is) {
            self.observer.flag(now, "S3", format!("{what} although {fault}"));
        }
    }

    /// In every step: a primary that refuses writes by our doing, and nothing goes on. While a Sentinel is silent it may be
    /// the one that was told, for as long as it may carry the failover out.
    pub(super) fn refuses(&mut self, dt: Ms) {
        let now = self.now;
        for set in 0..self.schedule.sets.len() {
            let Some(Watch { count, failover_timeout, .. }) = self.schedule.sets[set].watch else { continue };
            let primaries = || self.servers.of_set(set).filter(|it| it.role == Role::Primary);
            if primaries().count() < 2 && !self.sentinels.failing_over(set) {
                self.observer.doubled.remove(&set);
            }
            if !primaries().any(|it| has(it, OURS[0])) {
                self.people.refused[set] = (0, 0);
                continue;
            }
            let well = self.servers.of_set(set).all(|it| !it.hung(now) && now >= it.flap_until);
            let awake = self.sentinels.awake(set, now).filter(|it| it.known() == count);
            let heard = awake.count() == count;
            let goes_on = self.sentinels.failing_over(set) || primaries().count() > 1;
            let dt = if self.someone_works && well && !goes_on { dt } else { 0 };
            let (all, some) = &mut self.people.refused[set];
            *all += if heard { dt } else { 0 };
            *some += dt;
            if *all > REFUSES || *some > REFUSES + failover_timeout + 60_000 {
                let text = "a primary refuses writes by our doing, and an operator at work leaves it so";
                self.observer.flag(now, "L4", text.to_owned());
            }
        }
    }

    /// What is left of an exchange on a server, or in its file, in the end.
    pub fn left_of_an_exchange(&self, set: usize) -> Option<String> {
        if !self.is_watched(set) {
            return None;
        }
        self.servers.of_set(set).find_map(|server| {
            let file = self.files.get(&server.pod).filter(|(uid, _)| *uid == server.uid);
            let left = OURS.into_iter().find(|(name, value)| {
                has(server, (name, value))
                    || file.is_some_and(|(_, file)| file.get(*name).is_some_and(|it| it == value))
            });
            left.map(|(name, value)| format!("{name} {value} is left on {}", pod_name(server.pod)))
        })
    }
}

fn has(server: &Server, (name, value): (&str, &str)) -> bool {
    server.set.get(name).is_some_and(|it| it == value)
}
