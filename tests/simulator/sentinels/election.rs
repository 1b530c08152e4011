//! Failovers of Sentinels: who is taken for dead, who carries one out, whom it chooses, and how it goes on.

use std::collections::BTreeMap;

use super::{Letter, Sentinels, Word, instance::Doing};
use crate::{
    redis::{Cause, Host, Ms},
    world::World,
};

/// Whoever is not elected by then gives up.
const ELECTION: Ms = 10_000;
/// A failover is taken for given up this long after `failover-timeout`, as in `plan::advance::failover`.
const OVER: Ms = 30_000;
/// A replica that was told to follow and does not say so is told again after this.
const RECONF: Ms = 10_000;

/// A process that somebody else ended this long before was not back when it began.
const BACK: Ms = 10_000;

/// A failover that a Sentinel carries out.
#[derive(Clone, Debug)]
pub struct Attempt {
    epoch: u64,
    since: Ms,
    changed_at: Ms,
    stage: Stage,
    /// Somebody wants it: nobody is asked.
    forced: bool,
    coordinated: bool,
    cause: Cause,
    /// The process whose role it takes.
    from: Option<u32>,
    chosen: Option<Host>,
    /// When each other replica was told to follow.
    told: BTreeMap<Host, Ms>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Election,
    Choice,
    Send,
    Promotion,
    Reconfigures,
    Switch,
}

impl Attempt {
    /// What is greeted with once the chosen one is primary.
    pub fn publishes(&self) -> Option<(Host, u64, Cause)> {
        let promoted = matches!(self.stage, Stage::Reconfigures | Stage::Switch);
        self.chosen.filter(|_| promoted).map(|host| (host, self.epoch, self.cause))
    }
}

impl Sentinels {
    /// `SENTINEL FAILOVER`.
    pub fn forced(
        &mut self,
        at: usize,
        coordinated: bool,
        cause: Cause,
        world: &mut World,
    ) -> Result<(), &'static str> {
        let me = &self.all[at];
        let watch = world.schedule.sets[me.set].watch.as_ref().expect("a set under Sentinel");
        if coordinated && !watch.coordinated {
            return Err("ERR Unknown option or wrong number of arguments");
        }
        if me.attempt.is_some() {
            return Err("INPROG Failover already in progress");
        }
        if self.choose(at, world).is_none() {
            return Err("NOGOODSLAVE No suitable replica to promote");
        }
        self.begin(at, (true, coordinated), cause, world);
        Ok(())
    }

    fn begin(&mut self, at: usize, (forced, coordinated): (bool, bool), cause: Cause, world: &World) {
        let (late, now) = (self.rng.range(0, 1_000), world.now);
        let from = self.all[at].reach(world, self.all[at].primary).map(|server| server.run);
        let me = &mut self.all[at];
        me.epoch += 1;
        me.tried_at = Some(now + late);
        me.attempt = Some(Attempt {
            epoch: me.epoch,
            since: now,
            changed_at: now,
            stage: Stage::Election,
            forced,
            coordinated,
            cause,
            from,
            chosen: None,
            told: BTreeMap::new(),
        });
    }

    fn choose(&self, at: usize, world: &World) -> Option<Host> {
        let me = &self.all[at];
        let down_after = world.schedule.sets[me.set].watch.as_ref()?.down_after;
        let since = me.master.down_since.filter(|_| me.master.down);
        let choices = me.replicas.iter().filter(|(host, _)| me.reach(world, **host).is_some());
        choices
            .filter_map(|(host, it)| it.is_choice(*host, down_after, (since, world.now)))
            .min()
            .map(|(.., host)| host)
    }

    /// Who is dead, and whether a failover begins or goes on.
    pub(super) fn judge(&mut self, at: usize, world: &mut World) {
        let now = world.now;
        let me = &mut self.all[at];
        let watch = world.schedule.sets[me.set].watch.clone().expect("a set under Sentinel");
        me.master.judge(watch.down_after, true, now);
        for replica in me.replicas.values_mut() {
            replica.judge(watch.down_after, false, now);
        }
        let (set, primary, down) = (me.set, me.primary, me.master.down);
        let agree = |it: &&super::Sentinel| it.primary == primary && it.master.down && !it.tilts(now);
        let count = if down { self.awake(set, now).filter(agree).count() } else { 0 };
        let me = &mut self.all[at];
        me.o_down = down && count >= watch.quorum;
        let again = me.tried_at.is_none_or(|tried| now >= tried + 2 * watch.failover_timeout);
        if me.o_down && me.attempt.is_none() && again {
            // It was our pause that made it silent.
            let cause = if me.master.held { Cause::Ours } else { Cause::Foreign };
            self.begin(at, (false, false), cause, world);
            world.note(|| format!("sentinel {at}: {primary:?} is dead, and a failover begins"));
        }
        if self.all[at].attempt.is_some() {
            self.go_on(at, world);
        }
    }

    /// The votes for that one in its epoch.
    fn votes(&mut self, at: usize, epoch: u64, now: Ms) -> usize {
        let (id, set) = (self.all[at].id, self.all[at].set);
        let peers: Vec<u32> = self.all[at].peers.keys().copied().collect();
        let mut votes = 0;
        for voter in self.all.iter_mut().filter(|it| it.set == set && it.awake(now)) {
            if voter.id != id && !peers.contains(&voter.id) {
                continue;
            }
            voter.epoch = voter.epoch.max(epoch);
            if voter.vote.0 < epoch && voter.epoch <= epoch {
                voter.vote = (epoch, id);
                if voter.id != id {
                    voter.tried_at = Some(now + self.rng.range(0, 1_000));
                }
            }
            votes += usize::from(voter.vote == (epoch, id));
        }
        votes
    }

    /// One stage further, if it is time.
    fn go_on(&mut self, at: usize, world: &mut World) {
        let now = world.now;
        let me = &self.all[at];
        let watch = world.schedule.sets[me.set].watch.clone().expect("a set under Sentinel");
        let Some(attempt) = me.attempt.clone() else { return };
        let late = now > attempt.changed_at + watch.failover_timeout;
        match attempt.stage {
            Stage::Election => {
                let needed = (me.known() / 2 + 1).max(watch.quorum);
                if attempt.forced || self.votes(at, attempt.epoch, now) >= needed {
                    self.stage(at, Stage::Choice, now);
                } else if now > attempt.since + ELECTION.min(watch.failover_timeout) {
                    self.abort(at, "not elected", world);
                }
            }
            Stage::Choice => match self.choose(at, world) {
                Some(host) => {
                    self.stage(at, Stage::Send, now);
                    if let Some(attempt) = &mut self.all[at].attempt {
                        attempt.chosen = Some(host);
                    }
                }
                None => self.abort(at, "no good replica", world),
            },
            Stage::Send => self.send(at, &attempt, late, world),
            Stage::Promotion if late => self.abort(at, "the chosen one does not become primary", world),
            Stage::Promotion => {}
            Stage::Reconfigures => self.reconfigure(at, &attempt, late, world),
            Stage::Switch => {
                let Some(host) = attempt.chosen else { return };
                let me = &mut self.all[at];
                me.cause = attempt.cause;
                me.watches(host, now);
                world.note(|| format!("sentinel {at}: watches {host:?}"));
            }
        }
    }

    fn stage(&mut self, at: usize, stage: Stage, now: Ms) {
        if let Some(attempt) = &mut self.all[at].attempt {
            (attempt.stage, attempt.changed_at) = (stage, now);
        }
    }

    fn abort(&mut self, at: usize, why: &str, world: &mut World) {
        self.all[at].attempt = None;
        world.note(|| format!("sentinel {at}: gives the failover up: {why}"));
    }

    fn send(&mut self, at: usize, attempt: &Attempt, late: bool, world: &mut World) {
        let me = &self.all[at];
        let Some(server) = attempt.chosen.and_then(|host| me.reach(world, host)) else {
            if late {
                self.abort(at, "the chosen one is not there", world);
            }
            return;
        };
        let (run, ip, now) = (server.run, server.ip, world.now);
        let timeout = world.schedule.sets[me.set].watch.as_ref().map(|watch| watch.failover_timeout);
        if attempt.coordinated {
            let from = me.reach(world, me.primary).filter(|it| !it.hung(now)).map(|it| it.ip);
            let sent = from.map(|from| world.servers.failover(from, ip, timeout, attempt.cause, now));
            if sent != Some(Ok(())) {
                return self.abort(at, "the primary does not take FAILOVER", world);
            }
        } else {
            // It stood still for so long that nobody waits for it any more.
            let over = now > attempt.since + OVER + timeout.unwrap_or_default();
            // Somebody else took away whom it was to take the role from, and who refused writes: what the next one says is lost
            // to that.
            let gone = attempt.from.is_some_and(|run| world.observer.ended.contains_key(&run));
            // Or who it was that was chosen: whoever starts in its place meanwhile has not what that one had, and nobody can
            // take the failover back.
            let theirs = |(pod, at): &(usize, Ms)| *pod == server.pod && at + BACK >= attempt.since;
            let anew = server.started > attempt.since && world.observer.ended.values().any(theirs);
            let cause = if over || gone || anew { Cause::Foreign } else { attempt.cause };
            // So is the configuration that comes of it, and what it makes of the primary before.
            if let Some(mine) = &mut self.all[at].attempt {
                mine.cause = cause;
            }
            self.post(Letter { run, word: Word::Lead, cause, by: at }, world);
        }
        self.stage(at, Stage::Promotion, now);
    }

    /// The other replicas follow, one after the other.
    fn reconfigure(&mut self, at: usize, attempt: &Attempt, late: bool, world: &mut World) {
        let now = world.now;
        let Some(leader) = attempt.chosen else { return };
        let me = &self.all[at];
        // It does not end without the new primary.
        if me.replicas.get(&leader).is_none_or(|it| it.down) {
            return;
        }
        let mut waits = Vec::new();
        let mut under_way = false;
        for (host, replica) in me.replicas.iter().filter(|(host, it)| **host != leader && !it.down) {
            let told = attempt.told.get(host).copied();
            let info = replica.info.filter(|_| told.is_some_and(|told| replica.info_at > told));
            let follows = |of: Host| world.servers.is_same(of, leader);
            let done = info.is_some_and(|info| info.link_up && info.follows.is_some_and(follows));
            if !done {
                under_way |= told.is_some_and(|told| now < told + RECONF);
                waits.push((*host, told));
            }
        }
        if waits.is_empty() || late {
            self.stage(at, Stage::Switch, now);
        }
        let next = waits.iter().filter(|(_, told)| told.is_none_or(|told| now >= told + RECONF));
        let most = if late { usize::MAX } else { usize::from(!under_way) };
        for (host, _) in next.take(most) {
            if let Some(attempt) = &mut self.all[at].attempt {
                attempt.told.insert(*host, now);
            }
            self.tell(at, *host, Word::Follow(leader), attempt.cause, world);
        }
    }

    /// What a replica said is answered.
    pub(super) fn react(&mut self, at: usize, doing: Doing, world: &mut World) {
        let me = &mut self.all[at];
        match doing {
            Doing::Claims(host) => {
                let Some(attempt) = me.attempt.as_mut() else { return };
                if attempt.chosen == Some(host) && attempt.stage == Stage::Promotion {
                    (attempt.stage, attempt.changed_at) = (Stage::Reconfigures, world.now);
                    me.config_epoch = attempt.epoch;
                    // Everybody is to hear of it at once.
                    me.greeted_at = 0;
                    world.note(|| format!("sentinel {at}: {host:?} is primary"));
                }
            }
            Doing::Lead(host) => {
                let chosen = me.attempt.as_ref().and_then(|attempt| attempt.chosen);
                if chosen != Some(host) {
                    let (primary, cause) = (me.primary, me.cause);
                    self.tell(at, host, Word::Follow(primary), cause, world);
                }
            }
        }
    }

    fn tell(&mut self, at: usize, host: Host, what: Word, cause: Cause, world: &mut World) {
        let Some(run) = self.all[at].reach(world, host).map(|server| server.run) else { return };
        self.post(Letter { run, word: what, cause, by: at }, world);
    }

    /// It is read at once, or when its reader goes on.
    fn post(&mut self, letter: Letter, world: &mut World) {
        let there = world.servers.by_ip.values().find(|server| server.run == letter.run);
        match there.map(|server| (server.ip, server.hung(world.now))) {
            Some((ip, false)) => world.reads(ip, letter),
            Some((_, true)) => self.letters.push(letter),
            None => {}
        }
    }

    /// What was told those that stood still.
    pub(super) fn deliver(&mut self, world: &mut World) {
        let now = world.now;
        for mut letter in std::mem::take(&mut self.letters) {
            // The failover was given up: whoever it makes primary now is theirs.
            if letter.word == Word::Lead && self.all[letter.by].attempt.is_none() {
                letter.cause = Cause::Foreign;
            }
            self.post(letter, world);
        }
        for told in std::mem::take(&mut self.told) {
            let me = &self.all[told.at];
            if !me.up || me.process != told.process {
                continue;
            }
            if me.awake(now) {
                let said = self.forced(told.at, told.coordinated, told.cause, world);
                world.note(|| format!("sentinel {}: reads SENTINEL FAILOVER late: {said:?}", told.at));
            } else {
                self.told.push(told);
            }
        }
    }
}

impl Sentinels {
    /// A failover that we told one of the set's.
    pub(super) fn ours_goes_on(&self, set: usize) -> bool {
        let attempts = self.all.iter().filter(|it| it.set == set).filter_map(|it| it.attempt.as_ref());
        attempts.filter(|it| it.forced).any(|it| it.cause == Cause::Ours)
    }
}

impl super::Sentinel {
    /// Its failover cannot end: the new primary is gone.
    pub(super) fn stuck(&self, world: &World) -> bool {
        let chosen = self.attempt.as_ref().filter(|it| it.publishes().is_some()).and_then(|it| it.chosen);
        chosen.is_some_and(|host| world.servers.resolve(host).is_none())
    }
}

impl World {
    /// A server does what a Sentinel told it.
    fn reads(&mut self, ip: u32, letter: Letter) {
        let now = self.now;
        let Some(server) = self.servers.by_ip.get(&ip) else { return };
        let (led, set, pod) = (server.leads(), crate::shape::set_of(server.pod), server.pod);
        // What one loses that has started as a primary beside another is theirs, whoever is behind that other.
        let theirs = letter.cause != Cause::Ours || self.observer.beside.contains(&letter.run);
        self.note(|| {
            format!("redis: process {} ({}) reads {:?}", letter.run, crate::shape::pod_name(pod), letter.word)
        });
        match letter.word {
            Word::Lead if led && letter.cause == Cause::Foreign => {
                self.observer.became_primary(pod, letter.cause, now);
                self.lost_to(set, ip);
            }
            Word::Lead if led => {}
            Word::Lead => {
                self.servers.promote(ip, letter.cause, now);
                self.promoted(ip, letter.cause);
                if letter.cause == Cause::Foreign {
                    self.lost_to(set, ip);
                }
            }
            Word::Follow(host) => {
                let same = !led && self.servers.follows(ip, host);
                if same || self.servers.replicaof(ip, host, now).is_err() {
                    return;
                }
                if led {
                    self.observer.taken_back.insert(pod);
                }
                let leader = self.servers.resolve(host).filter(|_| led && theirs);
                if let Some(leader) = leader {
                    self.lost_to(set, leader);
                }
            }
        }
        self.turned(ip);
    }

    /// Others had that server lead: what it lacks they lose.
    pub fn lost_to(&mut self, set: usize, leader: u32) {
        let log = self.servers.by_ip[&leader].log.clone();
        self.observer.excuse(set, &log);
    }
}
