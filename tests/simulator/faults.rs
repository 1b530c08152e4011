//! What goes wrong: faults, when they strike, and what the liars say.

use std::fmt;

use crate::{kubernetes::Mood, people::Field, redis::Ms};

/// Something that goes wrong, or that somebody else does. Times are milliseconds; what lasts for ever has the longest there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of the operator that acts (or of that one); another process starts after a while.
    Crash { operator: Whose, back_after: Ms },
    /// SIGSTOP of an operator for a time.
    Stop { operator: Whose, lasts: Ms },
    /// The operator's lease requests fail for a time.
    LeaseBlocked { operator: Whose, lasts: Ms },
    /// An operator's caches stand still for a time.
    StaleCache { operator: Whose, lasts: Ms },
    /// The API server is in a mood.
    Api { mood: Mood, lasts: Ms },
    /// The disruption budget of a set allows nothing.
    BudgetShut { set: usize, lasts: Ms },
    /// No new pod of a set is created: a quota.
    NoPods { set: usize, lasts: Ms },
    /// No node has room for a new pod of a set.
    NoRoom { set: usize, lasts: Ms },
    /// Somebody scales a set.
    Scale { set: usize, to: usize },
    /// Somebody keeps setting back what the operator sets, for ever.
    SetsBack { set: usize, what: Field },
    /// Somebody deletes a pod; the grace period is zero when `hard`.
    Kill { pod: usize, hard: bool },
    /// A node drain: an eviction by somebody else, before which the server goes on for as long as its preStop hook takes.
    Drain { pod: usize, prestop: Ms },
    /// The container restarts in place, its Redis comes back empty.
    Restart { pod: usize },
    /// Somebody hands the role over, with `FAILOVER`, to that pod.
    MoveRole { to: usize },
    /// Somebody sets a wrong role label.
    Relabel { pod: usize },
    /// A Redis answers nobody.
    Hang { pod: usize, lasts: Ms },
    /// A link breaks.
    Flap { pod: usize, lasts: Ms },
    /// A replica falls behind.
    Slow { pod: usize, lasts: Ms },
    /// A child of a Redis runs for a while.
    Fork { pod: usize, lasts: Ms },
    /// A Redis needs more and more memory, up to that, until everything heals or the kernel kills it.
    Grow { pod: usize, mib: u64 },
    /// The kernel kills a Redis for want of memory.
    OutOfMemory { pod: usize },
    /// The kernel kills a replica for want of memory each time that it loads, until its limit is this much of its set's.
    Outgrows { pod: usize, percent: u64 },
    /// Somebody sets `maxmemory` of a Redis at run time; zero: no bound.
    Bounds { pod: usize, kib: u64 },
    /// Somebody sets the memory limits of a set's pods.
    Limits { set: usize, mib: u64 },
    /// Somebody sets a setting at run time.
    Configure { pod: usize },
    /// A probe of that pod is answered with lies.
    Lie { pod: usize, lie: Lie, lasts: Ms },
    /// Somebody edits the spec in a way that changes little.
    Edit { policy: usize },
    /// Somebody suspends a policy for a time.
    Suspend { policy: usize, lasts: Ms },
    /// Somebody asks by hand for another primary of a set.
    Asks { policy: usize, set: usize },
    /// Somebody sets a policy to Observe for a time.
    Observe { policy: usize, lasts: Ms },
    /// Somebody deletes a policy.
    Delete { policy: usize },
    /// The template of a set changes: new pods get another revision.
    Template { set: usize },
    /// The next new pod gets an address that another pod had.
    ReuseAddress,
    /// Something befalls Sentinels of a set: from the n-th on so many.
    Sentinels { set: usize, of: (usize, usize), what: Trouble },
}

/// What befalls a Sentinel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its process ends, and comes again.
    Ends { lasts: Ms },
    /// It stands still.
    Freezes { lasts: Ms },
    /// It does not reach the Redis of that pod.
    Cut { pod: usize, lasts: Ms },
    /// Somebody has it fail over.
    FailsOver,
    /// Somebody has it forget what it lists.
    Reset,
    /// Its clock jumps.
    Tilts,
}

impl Fault {
    /// It never heals, and takes pods of its set.
    pub const fn takes_pods(self) -> bool {
        !matches!(self, Self::BudgetShut { .. } | Self::SetsBack { .. })
    }

    /// The set of which it never heals.
    pub const fn obstructs(self) -> Option<usize> {
        match self {
            Self::BudgetShut { set, lasts: Ms::MAX }
            | Self::NoPods { set, lasts: Ms::MAX }
            | Self::NoRoom { set, lasts: Ms::MAX }
            | Self::Scale { set, .. }
            | Self::SetsBack { set, .. } => Some(set),
            _ => None,
        }
    }
}

/// Which operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The one that reached the point, or that holds the lease.
    Acting,
    /// That one.
    Number(usize),
}

/// What a lying server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It is a replica with a link that is up, whatever it is.
    Replica,
    /// It is primary.
    Primary,
    /// Every replica has everything.
    CaughtUp,
    /// It is badly fragmented.
    Fragmented,
    /// It holds a hundred times as many keys.
    Keys,
    /// No FAILOVER is under way.
    NoFailover,
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// At that time.
    At(Ms),
    /// When an operator passes that point for the n-th time.
    On(&'static str, u32),
}

/// The points between two actions of the operator at which it can be struck: boundaries of the real code
/// (`execute::crash`), and calls of a port.
pub const POINTS: &[&str] = &[
    // A live look is complete; the role of a server was read.
    "observed",
    "role:read",
    // The API server's answer to a write has come.
    "journal:written",
    "status:written",
    "begin:shown",
    "begin:finalizer",
    "begin:journal",
    "evict:after-arrival",
    "evict:before-intent",
    "evict:before-effect",
    "evict:after-effect",
    "await-replica:after-arrival",
    "restore-settings:before-effect",
    "restore-settings:after-effect",
    "prove:after-arrival",
    "switchover:before-intent",
    "switchover:before-effect",
    "switchover:candidate-labelled",
    "switchover:after-overlap",
    "switchover:after-failover-sent",
    "switchover:paused",
    "switchover:caught-up",
    "switchover:demoted",
    "switchover:promoted",
    "switchover:rolled-back",
    "switchover:unpaused",
    "switchover:repointed",
    "switchover:exchanged",
    "switchover:old-unlabelled",
    "switchover:done",
    "switchover:after-effect",
    "repoint:before-effect",
    "repoint:after-effect",
    "upkeep-label:before-effect",
    "upkeep-label:after-effect",
    "end:due",
    "end:recorded",
];

/// Those that are reached only where `maxmemory` or a limit is set.
pub const MAXMEMORY_POINTS: &[&str] = &[
    "upkeep-maxmemory:before-effect",
    "upkeep-maxmemory:after-effect",
    "upkeep-resize:after-effect",
    "journal:written",
    "observed",
];

/// Those that are reached only where a Sentinel moves the role.
pub const WATCHED_POINTS: &[&str] = &[
    "switchover:quieted",
    "switchover:held-back",
    "switchover:refuses-writes",
    "switchover:sentinel-told",
    "switchover:named",
    "switchover:follows",
    "switchover:settings-back",
    "switchover:done",
    "switchover:after-effect",
    "switchover:before-effect",
    "set-back:before-effect",
    "evict:after-arrival",
    "evict:before-effect",
    "observed",
];

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => write!(f, "at {:>7.3} s", *at as f64 / 1000.0),
            Self::On(point, nth) => write!(f, "at {point} #{nth}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
