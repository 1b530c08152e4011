//! The Redis servers of the simulated world: roles, histories, asynchronous replication, and `FAILOVER` as
//! redis-server does it (`replication.c`: TIMEOUT bounds only `waiting-for-sync`; in `failover-in-progress` the old
//! primary is read-only until its target has promoted itself, refused, or ABORT comes).
//!
//! A write is one number in a server's log. The offset follows from the length of the log and the number of pings, the
//! history from `replid`.

use std::collections::BTreeMap;

use redis_memory_operator::domain::bytes::Bytes;

use crate::{headroom::Cache, memory::Over, shape::Storage};

/// Virtual milliseconds since the start of the schedule.
pub type Ms = u64;

/// `repl-backlog-size` of most servers.
pub const BACKLOG: u64 = 64 << 20;

/// Where a replica looks for its primary: by the stable name of a pod, or by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// How far a history has come: what `master_repl_offset` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub writes: usize,
    /// A primary pings its replicas every ten seconds, and the offset moves without a write.
    pub pings: u64,
}

impl Position {
    pub const fn offset(self) -> u64 {
        1_000_000 + 100 * self.writes as u64 + 14 * self.pings
    }

    /// Nothing of it is missing there.
    pub const fn within(self, other: Self) -> bool {
        self.writes <= other.writes && self.pings <= other.pings
    }
}

/// What a primary knows of a replica: a `slaveN` line.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub ip: u32,
    pub online: bool,
    pub acked: Position,
    pub at: Ms,
}

/// A child that writes the data out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    pub since: Ms,
    pub until: Ms,
}

/// What a process has written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub saves: u64,
    pub rewrites: u64,
    /// When the last of them ended.
    pub at: Option<Ms>,
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
    pub before: Option<(u32, Position)>,
    pub log: Vec<u32>,
    /// Entries of the log that are evictions.
    pub evicted: usize,
    /// Keys that it has evicted by itself, as a replica.
    pub strayed: u64,
    pub evicts_at: Ms,
    /// Who has it evict.
    pub over: Over,
    /// The most that its keys ever took, of a full set.
    pub peak: Bytes,
    /// Of a full set.
    pub cache: Option<Cache>,
    pub pings: u64,
    pub pinged_at: Ms,
    /// When it last read what its primary sends.
    pub read_at: Ms,
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
    pub maxmemory: Bytes,
    /// `repl-backlog-size`, bytes.
    pub backlog: u64,
    /// What it stores its data in, and `replica-priority`, by its configuration.
    pub storage: Storage,
    pub priority: Option<u64>,
    /// It does not take the operator's password.
    pub locked: bool,
    /// Keys beside those that this schedule writes.
    pub keys: u64,
    /// Somebody else had ended the process before it, and its start made it a primary beside another one.
    pub second: bool,
    /// Memory of its own, of clients, say; it grows to `grows_to_mib`.
    pub own_mib: u64,
    pub grows_to_mib: u64,
    /// When it last grew.
    pub grown_at: Ms,
    /// When people last set its `maxmemory`, and when an operator last asked what it uses.
    pub bounded_at: Ms,
    pub asked_at: Ms,
    /// Other settings that were set at run time.
    pub set: BTreeMap<String, String>,
    pub child: Option<Child>,
    /// When a child last began by itself.
    pub child_at: Ms,
    pub written: Written,
    pub acked_at: Ms,
    /// Connections that are older were closed.
    pub closed_at: Ms,
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
            evicted: 0,
            strayed: 0,
            evicts_at: 0,
            over: Over::Others,
            peak: Bytes::ZERO,
            cache: None,
            pings: 0,
            pinged_at: now,
            read_at: 0,
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
            maxmemory: Bytes::mib(512),
            backlog: BACKLOG,
            storage: Storage::Nothing,
            priority: None,
            locked: false,
            keys: 0,
            second: false,
            own_mib: 0,
            grows_to_mib: 0,
            grown_at: 0,
            bounded_at: 0,
            asked_at: 0,
            set: BTreeMap::new(),
            child: None,
            child_at: now,
            written: Written::default(),
            acked_at: now,
            closed_at: 0,
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
            && !self.refuses_writes()
            && !self.is_full(now)
    }

    /// A setting that is a number.
    pub fn setting(&self, name: &str, usual: u64) -> u64 {
        if self.set.is_empty() {
            return usual;
        }
        self.set.get(name).and_then(|value| value.parse().ok()).unwrap_or(usual)
    }

    /// More replicas are demanded than there are (`NOREPLICAS`).
    pub fn refuses_writes(&self) -> bool {
        let wanted = self.setting("min-replicas-to-write", 0);
        let lag = self.setting("min-replicas-max-lag", 10);
        lag > 0 && self.lines.iter().filter(|line| line.online).count() < wanted as usize
    }

    pub const fn position(&self) -> Position {
        Position { writes: self.log.len(), pings: self.pings }
    }

    /// Begins to write everything out, as its storage has it.
    pub fn write_out(&mut self, now: Ms, takes: Ms) {
        self.child = Some(Child { since: now, until: now + takes });
        match self.storage {
            Storage::Aof => self.written.rewrites += 1,
            Storage::Dump | Storage::Nothing => self.written.saves += 1,
        }
    }

    pub fn promote(&mut self, cause: Cause, history: u32, now: Ms) {
        self.role_since = now;
        self.before = Some((self.replid, self.position()));
        self.replid = history;
        self.role = Role::Primary;
        self.cause = cause;
        self.link = Link::Down;
    }
}
