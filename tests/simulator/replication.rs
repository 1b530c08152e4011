//! Who replicates whom in the simulated world: start scripts, links, full and partial resyncs, and the acknowledgements that
//! a primary sees.

use std::collections::BTreeMap;

use crate::{
    redis::{Cause, Failover, Host, Line, Link, Ms, Position, Role, Server},
    shape::set_of,
};

/// A primary pings its replicas once in this time (`repl-ping-replica-period`, seconds).
const PING: u64 = 10;
/// A save that save points began takes this long.
const SAVE: Ms = 20_000;

/// What happened by itself in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A server became primary.
    Promoted { ip: u32, cause: Cause },
    /// A server's data was replaced by another's.
    Replaced { ip: u32 },
    /// A FAILOVER went back.
    FailoverWentBack { ip: u32 },
    /// A child began to write a server's data out.
    Saves { ip: u32 },
}

/// All servers, by address.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    pub by_ip: BTreeMap<u32, Server>,
    next_history: u32,
    /// How long a full sync takes, and how often a replica reads, by set.
    links: Vec<Links>,
}

/// The network within a set.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    pub full_sync: Ms,
    pub lag: Ms,
    pub saves_every: Option<Ms>,
    /// Start scripts ask Sentinels.
    pub watched: bool,
}

impl Servers {
    pub fn of(links: Vec<Links>) -> Self {
        /// Sets begin with histories of their own, which are smaller.
        const FIRST: u32 = 100;
        Self { links, next_history: FIRST, ..Self::default() }
    }

    pub fn of_pod(&self, pod: usize) -> Option<&Server> {
        self.by_ip.values().find(|server| server.pod == pod)
    }

    pub fn of_pod_mut(&mut self, pod: usize) -> Option<&mut Server> {
        self.by_ip.values_mut().find(|server| server.pod == pod)
    }

    pub fn of_set(&self, set: usize) -> impl Iterator<Item = &Server> {
        self.by_ip.values().filter(move |server| set_of(server.pod) == set)
    }

    pub fn resolve(&self, host: Host) -> Option<u32> {
        match host {
            Host::Ip(ip) => self.by_ip.contains_key(&ip).then_some(ip),
            Host::Pod(pod) => self.of_pod(pod).map(|server| server.ip),
        }
    }

    pub fn history(&mut self) -> u32 {
        self.next_history += 1;
        self.next_history
    }

    /// A FAILOVER is under way somewhere: time must pass in small steps.
    pub fn switching(&self) -> bool {
        self.by_ip.values().any(|server| server.failover != Failover::None)
    }

    /// Lets time pass up to `now`.
    pub fn step(&mut self, now: Ms) -> Vec<Change> {
        let mut changes = Vec::new();
        let ips: Vec<u32> = self.by_ip.keys().copied().collect();
        for ip in &ips {
            self.tick(*ip, now, &mut changes);
            self.start_script(*ip, now);
            self.replicate(*ip, now, &mut changes);
        }
        for ip in &ips {
            self.forget_dead(*ip);
            self.fail_over(*ip, now, &mut changes);
        }
        changes
    }

    /// What a server does by itself from time to time: children end and begin, replicas are pinged.
    fn tick(&mut self, ip: u32, now: Ms, changes: &mut Vec<Change>) {
        let me = self.by_ip.get_mut(&ip).unwrap();
        let saves_every = self.links[set_of(me.pod)].saves_every;
        if saves_every.is_some_and(|every| now >= me.child_at + every) && me.child.is_none() && !me.hung(now) {
            me.child_at = now;
            me.write_out(now, SAVE);
            changes.push(Change::Saves { ip });
        }
        if me.child.is_some_and(|child| now >= child.until) {
            me.child = None;
            me.written.at = Some(now);
        }
        let due = me.role == Role::Primary && !me.lines.is_empty() && me.failover == Failover::None && !me.hung(now);
        if due && now >= me.pinged_at + 1_000 * me.setting("repl-ping-replica-period", PING) {
            me.pings += 1;
            me.pinged_at = now;
        }
    }

    /// Asks the others; follows the one that says primary. None, or several: asks again.
    fn start_script(&mut self, ip: u32, now: Ms) {
        let me = &self.by_ip[&ip];
        if !me.searching || now < me.retry_at || me.hung(now) || self.links[set_of(me.pod)].watched {
            return;
        }
        let primaries: Vec<usize> = self
            .by_ip
            .values()
            .filter(|it| it.ip != ip && set_of(it.pod) == set_of(me.pod) && it.role == Role::Primary && !it.hung(now))
            .map(|server| server.pod)
            .collect();
        let me = self.by_ip.get_mut(&ip).unwrap();
        me.retry_at = now + 500;
        if let [primary] = primaries.as_slice() {
            me.role = Role::Replica(Host::Pod(*primary));
            me.searching = false;
        }
    }

    fn replicate(&mut self, ip: u32, now: Ms, changes: &mut Vec<Change>) {
        let me = &self.by_ip[&ip];
        let Role::Replica(host) = me.role else { return };
        if me.searching || me.hung(now) || now < me.loading_until || me.failover != Failover::None {
            return;
        }
        let upstream = self.resolve(host).filter(|up| *up != ip && now >= me.flap_until);
        let Some(up) = upstream.and_then(|up| self.by_ip.get(&up)).facts(now) else {
            // A hung server keeps its connections; one that is gone does not.
            let gone = upstream.is_none_or(|up| !self.by_ip.contains_key(&up));
            let me = self.by_ip.get_mut(&ip).unwrap();
            if gone || me.link != Link::Up {
                me.link = Link::Down;
            }
            return;
        };
        let me = &self.by_ip[&ip];
        match me.link {
            Link::Down => self.connect(ip, &up, now),
            _ if me.peer != up.run => self.by_ip.get_mut(&ip).unwrap().link = Link::Down,
            Link::Syncing { until } if now >= until => {
                let (log, keys) = (self.by_ip[&up.ip].log.clone(), self.by_ip[&up.ip].keys);
                let me = self.by_ip.get_mut(&ip).unwrap();
                me.take(keys, log);
                me.pings = up.at.pings;
                me.replid = up.replid;
                me.before = None;
                me.link = Link::Up;
                me.acked_at = 0;
                changes.push(Change::Replaced { ip });
                self.acknowledge(ip, &up, now);
            }
            Link::Syncing { .. } => self.acknowledge(ip, &up, now),
            // Its own history changed: sub-replicas are told to come again.
            Link::Up if me.replid != up.replid => self.by_ip.get_mut(&ip).unwrap().link = Link::Down,
            Link::Up => self.read(ip, &up, now),
        }
    }

    /// Reads what the primary has sent, as often as the network lets it; a slow one reads a write at a time.
    fn read(&mut self, ip: u32, up: &Upstream, now: Ms) {
        let me = &self.by_ip[&ip];
        let lag = self.links[set_of(me.pod)].lag;
        if now >= me.read_at + lag {
            let have = me.log.len();
            let most = if now < me.slow_until { have + usize::from(now % 1000 < 100) } else { up.at.writes };
            let news: Vec<u32> = self.by_ip[&up.ip].log[have..most.clamp(have, up.at.writes)].to_vec();
            let me = self.by_ip.get_mut(&ip).unwrap();
            me.read_at = now;
            me.append(&news);
            if me.log.len() == up.at.writes {
                me.pings = up.at.pings;
            }
        }
        self.acknowledge(ip, up, now);
    }

    fn connect(&mut self, ip: u32, up: &Upstream, now: Ms) {
        let takes = self.links[set_of(self.by_ip[&ip].pod)].full_sync;
        let me = self.by_ip.get_mut(&ip).unwrap();
        if now < me.retry_at || !up.serves {
            return;
        }
        me.peer = up.run;
        me.retry_at = now + 1000;
        let shared = |history: u32, at: Position| history == me.replid && me.position().within(at);
        // What was sent meanwhile must still be in the backlog.
        let kept = up.at.offset() - me.position().offset().min(up.at.offset()) <= up.backlog;
        if !kept {
            me.link = Link::Syncing { until: now + takes };
        } else if shared(up.replid, up.at) {
            me.link = Link::Up;
        } else if up.before.is_some_and(|(history, at)| shared(history, at)) {
            me.before = Some((me.replid, me.position()));
            me.replid = up.replid;
            me.link = Link::Up;
        } else {
            me.link = Link::Syncing { until: now + takes };
        }
        me.acked_at = 0;
    }

    /// A replica acknowledges once a second.
    fn acknowledge(&mut self, ip: u32, up: &Upstream, now: Ms) {
        let me = self.by_ip.get_mut(&ip).unwrap();
        let online = me.link == Link::Up;
        let due = me.acked_at == 0 || now >= me.acked_at + 1000;
        if !due {
            return;
        }
        me.acked_at = now;
        let line = Line { ip, online, acked: me.position(), at: now };
        let lines = &mut self.by_ip.get_mut(&up.ip).unwrap().lines;
        lines.retain(|line| line.ip != ip);
        lines.push(line);
        lines.sort_by_key(|line| line.ip);
    }

    /// A server whose connection broke is no replica any more.
    fn forget_dead(&mut self, ip: u32) {
        let me = &self.by_ip[&ip];
        let run = me.run;
        let kept: Vec<Line> = me
            .lines
            .iter()
            .filter(|line| self.by_ip.get(&line.ip).is_some_and(|it| it.peer == run && it.link != Link::Down))
            .copied()
            .collect();
        self.by_ip.get_mut(&ip).unwrap().lines = kept;
    }

    /// `REPLICAOF host`.
    pub fn replicaof(&mut self, ip: u32, host: Host, now: Ms) -> Result<(), &'static str> {
        let me = self.by_ip.get_mut(&ip).ok_or("no connection")?;
        if me.failover != Failover::None {
            return Err("REPLICAOF not allowed while failing over");
        }
        if me.role == Role::Primary {
            me.role_since = now;
        }
        me.role = Role::Replica(host);
        me.searching = false;
        me.link = Link::Down;
        me.retry_at = now;
        Ok(())
    }

    /// Both lead to the same server.
    pub fn is_same(&self, one: Host, other: Host) -> bool {
        one == other || self.resolve(one).is_some_and(|ip| self.resolve(other) == Some(ip))
    }

    /// It follows that one already.
    pub fn follows(&self, ip: u32, host: Host) -> bool {
        matches!(self.by_ip[&ip].role, Role::Replica(now) if self.is_same(now, host)) && !self.by_ip[&ip].searching
    }

    /// `REPLICAOF NO ONE`.
    pub fn promote(&mut self, ip: u32, cause: Cause, now: Ms) {
        let history = self.history();
        if let Some(server) = self.by_ip.get_mut(&ip).filter(|server| server.role != Role::Primary) {
            server.searching = false;
            server.promote(cause, history, now);
        }
    }
}

/// What a replica needs to know of its primary.
struct Upstream {
    ip: u32,
    run: u32,
    replid: u32,
    before: Option<(u32, Position)>,
    at: Position,
    backlog: u64,
    serves: bool,
}

trait Facts {
    fn facts(self, now: Ms) -> Option<Upstream>;
}

impl Facts for Option<&Server> {
    /// `None` when it is not there or does not answer.
    fn facts(self, now: Ms) -> Option<Upstream> {
        let up = self.filter(|up| !up.hung(now) && now >= up.loading_until)?;
        let serves = up.failover == Failover::None && (up.role == Role::Primary || up.link == Link::Up);
        Some(Upstream {
            ip: up.ip,
            run: up.run,
            replid: up.replid,
            before: up.before,
            at: up.position(),
            backlog: up.backlog,
            serves,
        })
    }
}
