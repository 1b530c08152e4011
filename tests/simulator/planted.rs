//! Bugs that are planted on purpose, to show that the observer finds them. Each takes one protection away, or does
//! one thing in the wrong order.

/// A planted bug. Those that are not in [`Bug::ALL`] are not shown to be found yet.
#[allow(dead_code, reason = "not every bug is in the list yet")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The plan begins with the primary, and nothing looks at its role before the eviction.
    EvictThePrimaryFirst,
    /// The candidate gets `REPLICAOF NO ONE` before the old primary stops.
    PromoteBeforeDemote,
    /// Nobody asks the fence.
    NoFence,
    /// Commands go to whatever listens at the address.
    NoRunIdCheck,
    /// An eviction whose answer was lost is sent again by name, without looking.
    RetryEvictionBlindly,
    /// The effect comes first, the journal is written when it is done. Not in the list: it is survived, see below.
    JournalAfterTheEffect,
    /// The role is not read again right before the eviction.
    NoLiveRole,
    /// Decisions are made from caches, as if they were live.
    ActOnCaches,
    /// The eviction has no UID.
    NoUid,
    /// A plain delete instead of an eviction.
    PlainDelete,
    /// FAILOVER without TIMEOUT.
    NoTimeout,
    /// ABORT is sent without reading the target's role.
    AbortBlindly,
    /// The journal is written without a version.
    NoVersion,
    /// After everything, also after a failure, it looks again at once.
    HotLoop,
    /// The limit of a pod is set to what maxmemory is.
    ShrinkTheLimit,
    /// What a probe could not read is taken as it was last seen.
    UnknownIsFine,
    /// The claims of other policies are not looked at.
    IgnoreClaims,
    /// A journal that is found at the start is left alone.
    ForgetTheJournal,
}

impl Bug {
    /// Every bug, and the invariants of which one at least must be found broken.
    ///
    /// `JournalAfterTheEffect` alone breaks none in 5,000 schedules: whoever takes over finds another UID or role than
    /// the journal says, and makes a new plan from what is true.
    pub const ALL: &'static [(Self, &'static [&'static str])] = &[
        (Self::EvictThePrimaryFirst, &["S3", "S2"]),
        (Self::PromoteBeforeDemote, &["S1", "S2"]),
        (Self::NoFence, &["S6"]),
        (Self::NoRunIdCheck, &["S6", "S7", "S5"]),
        (Self::RetryEvictionBlindly, &["S6", "S7"]),
        (Self::NoLiveRole, &["S3", "S7", "S5"]),
        (Self::ActOnCaches, &["S3", "S5", "S7", "L1"]),
        (Self::NoUid, &["S6"]),
        (Self::PlainDelete, &["S3"]),
        (Self::NoTimeout, &["S8"]),
        (Self::AbortBlindly, &["S1"]),
        (Self::NoVersion, &["S6", "S7", "S9"]),
    ];
}
