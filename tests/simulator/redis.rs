//! The Redis servers of the simulated world: roles, histories, asynchronous replication, and `FAILOVER` as
//! redis-server does it (`replication.c`: TIMEOUT bounds only `waiting-for-sync`; in `failover-in-progress` the old
//! primary is read-only until its target has promoted itself, refused, or ABORT comes).
//!
//! A write is one number in a server's log. The offset follows from the length of the log, the history from `replid`.

use std::collections::BTreeMap;

/// Virtual milliseconds since the start of the schedule.
pub type Ms = u64;

/// Where a replica looks for its primary: by the stable name of a pod, or by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The pod of that ordinal, whatever its address is.
    Pod(usize),
    /// That address, whoever has it.
    Ip(u32),
}

/// A server's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica(Host),
}

/// A replica's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Down,
    Syncing { until: Ms },
    Up,
}

/// `master_failover_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    None,
    Waiting { to: u32, since: Ms, timeout: Option<Ms> },
    InProgress { to: u32, since: Ms },
}

/// Why a server became what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was so in the beginning.
    Initial,
    /// Somebody else did it.
    Foreign,
    /// The operator did it.
    Ours,
}

/// What a primary knows of a replica: a `slaveN` line.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub ip: u32,
    pub online: bool,
    pub acked: usize,
    pub at: Ms,
}

/// A command that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// `CLIENT PAUSE ms WRITE`; `None`: without bound.
    Pause(Option<Ms>),
    /// `CLIENT UNPAUSE`.
    Unpause,
    /// `REPLICAOF host`.
    Follow(Host),
    /// `REPLICAOF NO ONE`.
    Lead,
    /// `FAILOVER TO … TIMEOUT ms`; `None`: without bound.
    Failover(u32, Option<Ms>),
    /// `FAILOVER ABORT`.
    Abort,
    /// `CONFIG SET`.
    Set(String, String),
    /// `BGSAVE`, or `BGREWRITEAOF`.
    WriteOut,
}

/// One process.
#[derive(Clone, Debug)]
pub struct Server {
    pub run: u32,
    pub ip: u32,
    pub pod: usize,
    pub uid: u32,
    pub started: Ms,
    /// It ran long before the schedule began.
    pub old: bool,
    pub loading_until: Ms,
    pub role: Role,
    pub cause: Cause,
    /// The start script still looks for the primary.
    pub searching: bool,
    pub link: Link,
    /// The process at the other end of the link.
    pub peer: u32,
    pub retry_at: Ms,
    pub replid: u32,
    /// The history before this one, and up to where it is shared.
    pub before: Option<(u32, usize)>,
    pub log: Vec<u32>,
    pub lines: Vec<Line>,
    pub failover: Failover,
    pub failover_cause: Cause,
    /// It takes no writes before: its pod goes.
    pub closed_until: Ms,
    /// `CLIENT PAUSE … WRITE`.
    pub paused_until: Ms,
    pub hung_since: Ms,
    pub hung_until: Ms,
    /// Since when it has the role that it has.
    pub role_since: Ms,
    pub flap_until: Ms,
    pub slow_until: Ms,
    pub fragmented: bool,
    pub maxmemory_mib: u64,
    /// `repl-backlog-size`, bytes.
    pub backlog: u64,
    /// Other settings that were set at run time.
    pub set: BTreeMap<String, String>,
    /// A child writes the data out until then.
    pub writing_until: Ms,
    pub acked_at: Ms,
}

impl Server {
    /// A fresh, empty process whose start script asks the others who is primary.
    pub fn fresh(run: u32, ip: u32, pod: usize, uid: u32, now: Ms) -> Self {
        Self {
            run,
            ip,
            pod,
            uid,
            started: now,
            old: false,
            loading_until: now,
            role: Role::Replica(Host::Pod(pod)),
            cause: Cause::Initial,
            searching: true,
            link: Link::Down,
            peer: 0,
            retry_at: now,
            replid: 1_000_000 + run,
            before: None,
            log: Vec::new(),
            lines: Vec::new(),
            failover: Failover::None,
            failover_cause: Cause::Initial,
            closed_until: 0,
            paused_until: 0,
            hung_since: 0,
            hung_until: 0,
            role_since: now,
            flap_until: 0,
            slow_until: 0,
            fragmented: false,
            maxmemory_mib: 512,
            backlog: 1 << 20,
            set: BTreeMap::new(),
            writing_until: 0,
            acked_at: now,
        }
    }

    /// It answers nobody.
    pub fn hung(&self, now: Ms) -> bool {
        now < self.hung_until
    }

    /// A write sent to it now would be acknowledged.
    pub fn accepts_writes(&self, now: Ms) -> bool {
        self.role == Role::Primary
            && self.failover == Failover::None
            && now >= self.closed_until.max(self.paused_until)
            && now >= self.loading_until
            && !self.hung(now)
    }

    /// `master_repl_offset`.
    pub fn offset(&self) -> u64 {
        1_000_000 + 100 * self.log.len() as u64
    }

    fn promote(&mut self, cause: Cause, history: u32, now: Ms) {
        self.role_since = now;
        self.before = Some((self.replid, self.log.len()));
        self.replid = history;
        self.role = Role::Primary;
        self.cause = cause;
        self.link = Link::Down;
    }
}

/// What happened by itself in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A server became primary.
    Promoted { ip: u32, cause: Cause },
    /// A server's data was replaced by another's.
    Replaced { ip: u32 },
    /// A FAILOVER went back.
    FailoverWentBack { ip: u32 },
}

/// All servers, by address.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    pub by_ip: BTreeMap<u32, Server>,
    next_history: u32,
    /// How long a full sync takes.
    pub full_sync: Ms,
}

impl Servers {
    pub fn of_pod(&self, pod: usize) -> Option<&Server> {
        self.by_ip.values().find(|server| server.pod == pod)
    }

    pub fn of_pod_mut(&mut self, pod: usize) -> Option<&mut Server> {
        self.by_ip.values_mut().find(|server| server.pod == pod)
    }

    fn resolve(&self, host: Host) -> Option<u32> {
        match host {
            Host::Ip(ip) => self.by_ip.contains_key(&ip).then_some(ip),
            Host::Pod(pod) => self.of_pod(pod).map(|server| server.ip),
        }
    }

    fn history(&mut self) -> u32 {
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
            self.start_script(*ip, now);
            self.replicate(*ip, now, &mut changes);
        }
        for ip in &ips {
            self.forget_dead(*ip);
            self.fail_over(*ip, now, &mut changes);
        }
        changes
    }

    /// Asks the others; follows the one that says primary. None, or several: asks again.
    fn start_script(&mut self, ip: u32, now: Ms) {
        let me = &self.by_ip[&ip];
        if !me.searching || now < me.retry_at || me.hung(now) {
            return;
        }
        let primaries: Vec<usize> = self
            .by_ip
            .values()
            .filter(|server| server.ip != ip && server.role == Role::Primary && !server.hung(now))
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
                let log = self.by_ip[&up.ip].log.clone();
                let me = self.by_ip.get_mut(&ip).unwrap();
                me.log = log;
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
            Link::Up => {
                let have = me.log.len();
                let most = if now < me.slow_until { have + usize::from(now % 1000 < 100) } else { up.len };
                let news: Vec<u32> = self.by_ip[&up.ip].log[have..most.clamp(have, up.len)].to_vec();
                self.by_ip.get_mut(&ip).unwrap().log.extend(news);
                self.acknowledge(ip, &up, now);
            }
        }
    }

    fn connect(&mut self, ip: u32, up: &Upstream, now: Ms) {
        let me = self.by_ip.get_mut(&ip).unwrap();
        if now < me.retry_at || !up.serves {
            return;
        }
        me.peer = up.run;
        me.retry_at = now + 1000;
        let shared = |history: u32, len: usize| history == me.replid && me.log.len() <= len;
        if shared(up.replid, up.len) {
            me.link = Link::Up;
        } else if up.before.is_some_and(|(history, len)| shared(history, len)) {
            me.before = Some((me.replid, me.log.len()));
            me.replid = up.replid;
            me.link = Link::Up;
        } else {
            me.link = Link::Syncing { until: now + self.full_sync };
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
        let line = Line { ip, online, acked: me.log.len(), at: now };
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

    fn fail_over(&mut self, ip: u32, now: Ms, changes: &mut Vec<Change>) {
        let me = &self.by_ip[&ip];
        if me.hung(now) {
            return;
        }
        match me.failover {
            Failover::None => {}
            Failover::Waiting { to, since, timeout } => {
                let ready = me.lines.iter().any(|line| line.ip == to && line.online && line.acked == me.log.len());
                let me = self.by_ip.get_mut(&ip).unwrap();
                if ready {
                    me.role_since = now;
                    me.role = Role::Replica(Host::Ip(to));
                    me.failover = Failover::InProgress { to, since: now };
                } else if timeout.is_some_and(|timeout| now >= since + timeout) {
                    me.failover = Failover::None;
                    changes.push(Change::FailoverWentBack { ip });
                }
            }
            Failover::InProgress { to, .. } => {
                let (replid, cause) = (me.replid, me.failover_cause);
                let Some(target) = self.by_ip.get(&to).filter(|it| !it.hung(now) && now >= it.loading_until) else {
                    return;
                };
                let takes = target.replid == replid && matches!(target.role, Role::Replica(_)) && !target.searching;
                if !takes && target.role != Role::Primary {
                    let me = self.by_ip.get_mut(&ip).unwrap();
                    me.role = Role::Primary;
                    me.role_since = now;
                    me.failover = Failover::None;
                    changes.push(Change::FailoverWentBack { ip });
                    return;
                }
                if now < me.flap_until.max(target.flap_until) {
                    return;
                }
                if takes {
                    // Its answer arrives in a later step, or when the link is there again.
                    debug_assert_eq!(target.log.len(), me.log.len(), "the target had acknowledged everything");
                    let history = self.history();
                    self.by_ip.get_mut(&to).unwrap().promote(cause, history, now);
                    changes.push(Change::Promoted { ip: to, cause });
                    return;
                }
                let me = self.by_ip.get_mut(&ip).unwrap();
                me.failover = Failover::None;
                me.link = Link::Down;
                me.retry_at = now;
                me.lines.clear();
            }
        }
    }

    /// `FAILOVER TO address TIMEOUT ms`.
    pub fn failover(
        &mut self,
        ip: u32,
        to: u32,
        timeout: Option<Ms>,
        cause: Cause,
        now: Ms,
    ) -> Result<(), &'static str> {
        let me = self.by_ip.get_mut(&ip).ok_or("no connection")?;
        if me.role != Role::Primary {
            return Err("FAILOVER is not valid when server is a replica");
        }
        if me.failover != Failover::None {
            return Err("FAILOVER already in progress");
        }
        if !me.lines.iter().any(|line| line.ip == to && line.online) {
            return Err("FAILOVER target is not a replica, or not online");
        }
        me.failover = Failover::Waiting { to, since: now, timeout };
        me.failover_cause = cause;
        Ok(())
    }

    /// `FAILOVER ABORT`: in `failover-in-progress` the old primary takes its role back, whatever the target did.
    pub fn abort(&mut self, ip: u32, cause: Cause, now: Ms) -> Result<(), &'static str> {
        let me = self.by_ip.get_mut(&ip).ok_or("no connection")?;
        match me.failover {
            Failover::None => return Err("No failover in progress"),
            Failover::Waiting { .. } => {}
            Failover::InProgress { .. } => {
                me.role = Role::Primary;
                me.role_since = now;
                me.cause = cause;
            }
        }
        me.failover = Failover::None;
        Ok(())
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
    before: Option<(u32, usize)>,
    len: usize,
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
        Some(Upstream { ip: up.ip, run: up.run, replid: up.replid, before: up.before, len: up.log.len(), serves })
    }
}
