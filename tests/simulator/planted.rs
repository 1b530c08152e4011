//! Bugs that are planted on purpose, to show that the observer finds them. Each takes one protection away, or does
//! one thing in the wrong order. [`crate::sabotage`] has them.

use redis_memory_operator::domain::switchover::SwitchoverMethod;

use crate::{
    faults::{Fault, Trigger, Trouble, Whose},
    headroom::{Cache, Headroom},
    killed,
    kubernetes::Mood,
    people::Field,
    redis::Ms,
    schedule::Schedule,
    shape::{Connecting, Oddity, Over, PolicyShape, Watch},
};

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Whichever pod is to be evicted: the one with the primary's label is.
    EvictThePrimary,
    /// The candidate gets `REPLICAOF NO ONE` before the old primary stops.
    PromoteBeforeDemote,
    /// Nobody asks the fence.
    NoFence,
    /// Commands go to whatever listens at the address.
    NoRunIdCheck,
    /// An eviction whose answer was lost is sent again by name, without looking.
    RetryEvictionBlindly,
    /// The effect comes first, the journal is written when it is done.
    JournalAfterTheEffect,
    /// The role is not read again right before the eviction.
    NoLiveRole,
    /// The role that was read counts however old it is when the eviction is sent.
    OldRole,
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
    /// No other policy is seen: neither its claims nor its journal.
    IgnoreClaims,
    /// A journal that is found at the start is left alone.
    ForgetTheJournal,
    /// Guarded: the candidate is promoted before the old primary is demoted.
    GuardedPromotesFirst,
    /// Nothing is looked at once more right before writes are held back.
    NoLastLook,
    /// Guarded: `CLIENT PAUSE` without a bound.
    GuardedEndlessPause,
    /// Guarded: whatever process has the candidate's address is promoted.
    GuardedAnyCandidate,
    /// A pod that is to lose the primary's label keeps it, and nobody is told.
    LabelLeftBehind,
    /// Services that lead to other sets count as this one's.
    CountForeignServices,
    /// Nobody looks whether the candidate may become primary, and is what the primary is.
    UnfitCandidate,
    /// Guarded: the candidate is taken for caught up.
    NoCatchUp,
    /// A child that writes the data out is no reason to wait.
    IgnoreChildren,
    /// A slot that was taken once is never seen to be given back.
    SlotHeldForEver,
    /// What is remembered of a set is not written down.
    ForgetRecords,
    /// A plan ends before the role is handed over.
    CutPlan,
    /// Nobody counts how often a label was set in vain.
    Fight,
    /// Clients that stand on an old primary are left there.
    LeaveClients,
    /// Half of what is used is not seen.
    OverlookHalf,
    /// Every member is taken to have the primary's `maxmemory`.
    TakenForAlike,
    /// A step takes a fifth.
    StepTooFar,
    /// What people set back is not seen.
    OverlookPeople,
    /// What people had before us is not remembered.
    ForgetPeople,
    /// When a value was set is not remembered.
    ForgetTheDay,
    /// Whatever limit a replica has is read as a large one.
    ReadLargeLimits,
    /// That a replica was killed is not seen.
    OverlookKilledReplicas,
    /// No kill is seen.
    OverlookKills,
    /// Sentinel: every replica is taken for caught up when one is told to fail over.
    TellTooSoon,
    /// Sentinel: the old primary is told to follow before the Sentinels have switched.
    DemoteTooSoon,
    /// Sentinel: writes are not refused when the pause has lapsed.
    NoRefusal,
    /// Sentinel: what was set for the time of the exchange is never set back.
    LeaveSettings,
    /// Sentinel: no failover is seen to go on.
    NoFailoverSeen,
    /// Sentinel: of one that does not answer while the role moves nothing goes on.
    SilenceIsRest,
    /// Sentinel: one that does not answer counts as one that does.
    CountSilentSentinels,
    /// Sentinel: all of them are taken to name whoever says that it is primary.
    TakenToAgree,
}

impl Bug {
    /// Every bug, and the invariants of which one at least must be found broken.
    pub const ALL: &'static [(Self, &'static [&'static str])] = &[
        (Self::EvictThePrimary, &["S3", "S2"]),
        (Self::PromoteBeforeDemote, &["S1", "S2"]),
        (Self::NoFence, &["S6"]),
        (Self::NoRunIdCheck, &["S6", "S7", "S5"]),
        (Self::RetryEvictionBlindly, &["S6", "S7"]),
        (Self::NoLiveRole, &["S3"]),
        (Self::OldRole, &["S3"]),
        (Self::ActOnCaches, &["S1", "S3", "S5", "S7", "L1", "L5"]),
        (Self::NoUid, &["S6"]),
        (Self::PlainDelete, &["S3"]),
        (Self::NoTimeout, &["S8"]),
        (Self::AbortBlindly, &["S1", "L1"]),
        (Self::NoVersion, &["S6", "S7", "S9"]),
        (Self::HotLoop, &["L5"]),
        (Self::ShrinkTheLimit, &["S4"]),
        (Self::IgnoreClaims, &["S9"]),
        (Self::ForgetTheJournal, &["S7", "S9", "L1", "L4", "L6"]),
        (Self::JournalAfterTheEffect, &["S7", "L4"]),
        (Self::NoLastLook, &["S5", "S14"]),
        (Self::GuardedPromotesFirst, &["S1", "S2"]),
        (Self::GuardedEndlessPause, &["S8"]),
        (Self::GuardedAnyCandidate, &["S6", "S2"]),
        (Self::LabelLeftBehind, &["L1"]),
        (Self::CountForeignServices, &["L1"]),
        (Self::UnfitCandidate, &["S16"]),
        (Self::NoCatchUp, &["S2"]),
        (Self::IgnoreChildren, &["S15"]),
        (Self::SlotHeldForEver, &["L1"]),
        (Self::ForgetRecords, &["L1"]),
        (Self::CutPlan, &["L8"]),
        (Self::Fight, &["L7"]),
        (Self::LeaveClients, &["L9"]),
        (Self::OverlookHalf, &["S17"]),
        (Self::TakenForAlike, &["S17"]),
        (Self::StepTooFar, &["S18"]),
        (Self::OverlookPeople, &["S19"]),
        (Self::ForgetPeople, &["S19"]),
        (Self::ForgetTheDay, &["S20"]),
        (Self::ReadLargeLimits, &["S21"]),
        (Self::OverlookKilledReplicas, &["S21"]),
        (Self::OverlookKills, &["L10"]),
        (Self::TellTooSoon, &["S2"]),
        (Self::DemoteTooSoon, &["L4", "S2"]),
        (Self::NoRefusal, &["S1", "S2", "S8"]),
        (Self::LeaveSettings, &["L1", "L4"]),
        (Self::NoFailoverSeen, &["S1", "S2"]),
        (Self::SilenceIsRest, &["S1", "S2"]),
        (Self::CountSilentSentinels, &["S3"]),
        (Self::TakenToAgree, &["S3"]),
    ];

    /// Where one more fault strikes in every schedule, so that the bug shows soon; empty: nowhere.
    pub const fn near(self) -> &'static [&'static str] {
        match self {
            Self::NoLiveRole | Self::RetryEvictionBlindly | Self::PlainDelete => &["evict:before-effect"],
            Self::OldRole => &["role:read"],
            Self::NoRunIdCheck => &["switchover:before-effect", "switchover:candidate-labelled"],
            Self::ActOnCaches => &["begin:journal", "evict:after-effect"],
            Self::ForgetTheJournal | Self::IgnoreClaims => &["evict:after-effect"],
            Self::GuardedPromotesFirst => &["switchover:promoted"],
            Self::GuardedAnyCandidate | Self::JournalAfterTheEffect => &["switchover:demoted"],
            Self::NoLastLook => &["switchover:after-overlap"],
            Self::DemoteTooSoon | Self::NoRefusal | Self::SilenceIsRest => &["switchover:sentinel-told"],
            _ => &[],
        }
    }

    /// What strikes there, and for how long the process is stopped then; `None`: anything that moves roles or ends it.
    pub const fn strikes(self, pod: usize) -> Option<(Fault, Option<Ms>)> {
        let operator = Whose::Acting;
        Some(match self {
            Self::RetryEvictionBlindly => (Fault::Api { mood: Mood::LostReplies, lasts: 4_000 }, None),
            Self::PlainDelete => (Fault::Kill { pod, hard: false }, None),
            Self::NoRunIdCheck => (Fault::Restart { pod }, Some(1_500)),
            Self::ActOnCaches => (Fault::StaleCache { operator, lasts: 30_000 }, None),
            Self::ForgetTheJournal | Self::IgnoreClaims | Self::JournalAfterTheEffect => {
                (Fault::Crash { operator, back_after: 2_000 }, None)
            }
            Self::DemoteTooSoon => (sentinels(0, 3, Trouble::Freezes { lasts: Ms::MAX }), None),
            // The one that was told: the first of another pod than the primary's.
            Self::SilenceIsRest => (sentinels(1, 1, Trouble::Freezes { lasts: 4_000 }), None),
            Self::NoRefusal => (Fault::Crash { operator, back_after: 25_000 }, None),
            // A pod that is drained takes 1.5 s to go: it must still be there when the process goes on.
            Self::NoLastLook => (Fault::Drain { pod, prestop: 0 }, Some(500)),
            _ => return None,
        })
    }

    /// A schedule in which it can show.
    pub fn prepare(self, schedule: &mut Schedule) {
        match self {
            Self::GuardedPromotesFirst
            | Self::GuardedEndlessPause
            | Self::GuardedAnyCandidate
            | Self::JournalAfterTheEffect => {
                schedule.method = SwitchoverMethod::Guarded;
            }
            Self::PromoteBeforeDemote | Self::NoTimeout | Self::AbortBlindly => {
                schedule.method = SwitchoverMethod::Native;
            }
            Self::ShrinkTheLimit => schedule.sets[0].tight = true,
            Self::IgnoreClaims => schedule.policies.push(schedule.policies[0].clone()),
            Self::CountForeignServices
            | Self::UnfitCandidate
            | Self::NoCatchUp
            | Self::IgnoreChildren
            | Self::SlotHeldForEver
            | Self::ForgetRecords
            | Self::CutPlan
            | Self::Fight
            | Self::LeaveClients => self.plain(schedule),
            Self::OverlookHalf | Self::StepTooFar | Self::OverlookPeople | Self::ForgetPeople | Self::ForgetTheDay => {
                self.full(schedule);
            }
            Self::TakenForAlike => Self::with_a_smaller_bound(schedule),
            Self::ReadLargeLimits | Self::OverlookKills => {
                let roomy = (self == Self::OverlookKills).then_some(2);
                *schedule = killed::calm(schedule.seed, roomy);
            }
            Self::OverlookKilledReplicas => {
                *schedule = killed::calm(schedule.seed, Some(2));
                schedule.faults.push((Trigger::At(10_000), Fault::OutOfMemory { pod: 2 }));
            }
            Self::TellTooSoon
            | Self::DemoteTooSoon
            | Self::NoRefusal
            | Self::LeaveSettings
            | Self::NoFailoverSeen
            | Self::SilenceIsRest
            | Self::CountSilentSentinels
            | Self::TakenToAgree => self.watched(schedule),
            _ => {}
        }
    }

    /// A plain world under Sentinel.
    fn watched(self, schedule: &mut Schedule) {
        let near: Vec<_> = schedule.faults.pop().into_iter().filter(|_| !self.near().is_empty()).collect();
        *schedule = Schedule { faults: near, ..Schedule::calm(schedule.seed) };
        schedule.sets[0].watch = Some(Watch::usual());
        if self == Self::TellTooSoon {
            schedule.sets[0].lag = 700;
        }
        if self == Self::CountSilentSentinels {
            let ends = sentinels(0, 1, Trouble::Ends { lasts: 120_000 });
            schedule.faults.push((Trigger::At(15_000), ends));
        }
    }

    /// A plain world of one full set, under a policy that sets `maxmemory` and raises no limit.
    fn full(self, schedule: &mut Schedule) {
        *schedule = Schedule::calm(schedule.seed);
        let moves = matches!(self, Self::ForgetPeople | Self::ForgetTheDay);
        let consents = Headroom { evicts: self != Self::OverlookHalf, ..Headroom::consents() };
        schedule.policies[0].headroom = match self {
            Self::ForgetTheDay => Headroom::measured(),
            Self::ForgetPeople => Headroom { evicts: false, ..consents },
            _ => consents,
        };
        let set = &mut schedule.sets[0];
        set.odd = (0..set.members).map(|n| (n, Oddity::Clean)).collect();
        set.cache = Some(Cache::plain(if moves { 60 } else { 99 }));
        if self == Self::OverlookPeople {
            let back = Fault::Bounds { pod: 0, kib: 600_001 };
            schedule.faults.push((Trigger::On("upkeep-maxmemory:after-effect", 1), back));
        }
        if moves {
            schedule.faults.push((Trigger::At(60_000), Fault::Limits { set: 0, mib: 2_048 }));
        }
    }

    /// A plain world of one full set, whose replicas start with less `maxmemory` than they use.
    fn with_a_smaller_bound(schedule: &mut Schedule) {
        *schedule = Schedule::calm(schedule.seed);
        schedule.policies[0].headroom.restart_percent = 150;
        let set = &mut schedule.sets[0];
        set.cache = Some(Cache { limit_mib: 2_048, ..Cache::plain(90) });
        set.odd = (1..set.members).map(|n| (n, Oddity::SmallMaxmemory)).collect();
    }

    /// A plain world with what the bug needs, and nothing that could be to blame instead.
    fn plain(self, schedule: &mut Schedule) {
        *schedule = Schedule::calm(schedule.seed);
        let at = Trigger::At(15_000);
        match self {
            Self::CountForeignServices | Self::SlotHeldForEver => {
                schedule.sets.push(schedule.sets[0].clone());
                schedule.policies.push(PolicyShape { over: Over::One(1), ..schedule.policies[0].clone() });
            }
            Self::UnfitCandidate => schedule.sets[0].odd.push((1, Oddity::Priority(0))),
            Self::NoCatchUp => (schedule.method, schedule.sets[0].lag) = (SwitchoverMethod::Guarded, 700),
            Self::IgnoreChildren => schedule.faults.push((at, Fault::Fork { pod: 2, lasts: 60_000 })),
            Self::ForgetRecords => schedule.faults.push((at, Fault::BudgetShut { set: 0, lasts: Ms::MAX })),
            Self::Fight => schedule.faults.push((at, Fault::SetsBack { set: 0, what: Field::Label })),
            // The eviction of the old primary, which would send its clients on, has to wait.
            Self::LeaveClients => {
                schedule.sets[0].connecting = Connecting::Keeping;
                let shut = Fault::BudgetShut { set: 0, lasts: Ms::MAX };
                schedule.faults.push((Trigger::On("switchover:done", 1), shut));
            }
            _ => {}
        }
    }
}

const fn sentinels(first: usize, count: usize, what: Trouble) -> Fault {
    Fault::Sentinels { set: 0, of: (first, count), what }
}
