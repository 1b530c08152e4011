//! What a Sentinel knows of one server: whether it answers, and what it said last.

use super::Sentinel;
use crate::{
    redis::{Host, Link, Ms, Role, Server},
    world::World,
};

/// How often a server is asked for INFO, and how often while something goes on.
const INFO: Ms = 10_000;
const INFO_NOW: Ms = 1_000;
/// A link that does not answer is opened anew, if it is older than this.
const RECONNECT: Ms = 15_000;
/// What is not as it should be has this long to hear of a new configuration.
const HEARSAY: Ms = 8_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The process at the other end, and since when.
    run: u32,
    linked_at: Ms,
    /// A greeting waits for the end of a pause, and everything behind it.
    blocked: bool,
    /// A PING has had no answer since then.
    waiting: Option<Ms>,
    answered_at: Ms,
    published_at: Ms,
    pub info: Option<Info>,
    pub info_at: Ms,
    /// What it last said of its role, and since when.
    pub leads: bool,
    pub role_since: Ms,
    follows_since: Ms,
    link_down_since: Option<Ms>,
    /// It is taken for dead; and when that last began.
    pub down: bool,
    pub down_since: Option<Ms>,
    /// It was a greeting behind a pause that made it silent.
    pub held: bool,
}

/// What a server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    pub run: u32,
    pub offset: u64,
    pub priority: u64,
    pub follows: Option<Host>,
    pub link_up: bool,
}

/// What a Sentinel does on what it has seen.
#[derive(Clone, Copy, Debug)]
pub enum Doing {
    /// That replica says that it is primary.
    Claims(Host),
    /// That replica is to follow the primary.
    Lead(Host),
}

impl Instance {
    pub const fn new(leads: bool, now: Ms) -> Self {
        Self {
            run: 0,
            linked_at: now,
            blocked: false,
            waiting: None,
            answered_at: now,
            published_at: now,
            info: None,
            info_at: 0,
            leads,
            role_since: now,
            follows_since: now,
            link_down_since: None,
            down: false,
            down_since: None,
            held: false,
        }
    }

    /// PING and greeting; whether it answers.
    fn ping(&mut self, server: Option<&Server>, down_after: Ms, now: Ms) -> bool {
        let run = server.map_or(0, |server| server.run);
        if run != self.run {
            (self.run, self.linked_at, self.blocked) = (run, now, false);
        }
        let there = server.filter(|it| !it.hung(now));
        let paused = there.is_some_and(|it| it.paused_until > now);
        self.blocked &= paused;
        let overdue = self.waiting.is_some_and(|since| now > since + down_after / 2);
        if self.blocked && overdue && now > self.linked_at + RECONNECT {
            (self.linked_at, self.blocked) = (now, false);
        }
        let answers = there.is_some() && !self.blocked;
        if answers {
            (self.waiting, self.answered_at) = (None, now);
        } else {
            self.waiting.get_or_insert(now);
        }
        self.held = self.blocked;
        if now >= self.published_at + super::GREETS {
            self.published_at = now;
            self.blocked |= paused;
        }
        answers
    }

    /// What it says of itself.
    fn hear(&mut self, server: &Server, now: Ms) {
        let follows = match server.role {
            Role::Primary => None,
            Role::Replica(host) => Some(host),
        };
        let info = Info {
            run: server.run,
            offset: server.position().offset(),
            priority: server.priority.unwrap_or(100),
            follows,
            link_up: server.link == Link::Up,
        };
        let leads = server.leads();
        if leads != self.leads {
            (self.leads, self.role_since) = (leads, now);
        }
        if self.info.is_none_or(|before| before.follows != info.follows) {
            self.follows_since = now;
        }
        self.link_down_since = if info.link_up || leads { None } else { Some(self.link_down_since.unwrap_or(now)) };
        (self.info, self.info_at) = (Some(info), now);
    }

    /// Takes it for dead, or for alive.
    pub fn judge(&mut self, down_after: Ms, is_primary: bool, now: Ms) {
        let silent = self.waiting.is_some_and(|since| now > since + down_after);
        let wrong = is_primary && !self.leads && now > self.role_since + down_after + 2 * INFO;
        let down = silent || wrong;
        if down && !self.down {
            self.down_since = Some(now);
        }
        self.down = down;
    }

    /// A failover may choose it; then by what of it.
    pub fn is_choice(
        &self,
        host: Host,
        down_after: Ms,
        (down_since, now): (Option<Ms>, Ms),
    ) -> Option<(u64, u64, u32, Host)> {
        let info = self.info?;
        let valid = if down_since.is_some() { 5_000 } else { 3 * INFO };
        let longest = 10 * down_after + down_since.map_or(0, |since| now - since);
        let well = !self.down && now <= self.answered_at + 5_000 && now <= self.info_at + valid;
        let linked = self.link_down_since.is_none_or(|since| now - since <= longest);
        // The lowest priority, the highest offset, the lowest run id.
        (well && linked && info.priority > 0).then_some((info.priority, u64::MAX - info.offset, info.run, host))
    }

    /// What it said is young.
    pub fn is_fresh(&self, now: Ms) -> bool {
        self.info.is_some() && now < self.info_at + INFO
    }

    pub fn well_for(&self, time: Ms, now: Ms) -> bool {
        !self.down && self.down_since.is_none_or(|since| now > since + time)
    }
}

impl Sentinel {
    /// Asks every server what is due; what is to be done on it.
    pub fn feel(&mut self, world: &World) -> Vec<Doing> {
        let now = world.now;
        let watch = world.schedule.sets[self.set].watch.as_ref().expect("a set under Sentinel");
        let server = self.reach(world, self.primary);
        let answers = self.master.ping(server, watch.down_after, now);
        if let (true, Some(server)) = (answers && due(&self.master, INFO, now), server) {
            self.master.hear(server, now);
            for line in &server.lines {
                let Some(pod) = world.servers.by_ip.get(&line.ip).map(|it| it.pod) else { continue };
                let host = if watch.by_name { Host::Pod(pod) } else { Host::Ip(line.ip) };
                if host != self.primary {
                    self.replicas.entry(host).or_insert(Instance::new(false, now));
                }
            }
        }
        let busy = self.attempt.is_some() || self.master.down || self.o_down;
        let sane = self.master.leads && !self.master.down && !self.o_down && now < self.master.info_at + 2 * INFO;
        let mut replicas = std::mem::take(&mut self.replicas);
        let mut doings = Vec::new();
        for (host, replica) in &mut replicas {
            let server = self.reach(world, *host);
            let every = if busy || replica.link_down_since.is_some() { INFO_NOW } else { INFO };
            let answers = replica.ping(server, watch.down_after, now);
            let Some(server) = server.filter(|_| answers && due(replica, every, now)) else { continue };
            replica.hear(server, now);
            if replica.leads {
                doings.push(Doing::Claims(*host));
                if sane && replica.well_for(HEARSAY, now) && now > replica.role_since + HEARSAY {
                    doings.push(Doing::Lead(*host));
                }
            } else {
                let follows = replica.info.and_then(|info| info.follows);
                let right = follows.is_some_and(|it| world.servers.is_same(it, self.primary));
                let long = now > replica.follows_since + watch.failover_timeout;
                if !right && sane && long && replica.well_for(watch.failover_timeout, now) {
                    doings.push(Doing::Lead(*host));
                }
            }
        }
        self.replicas = replicas;
        doings
    }
}

fn due(instance: &Instance, every: Ms, now: Ms) -> bool {
    instance.info.is_none() || now >= instance.info_at + every
}
