//! Crash points: named places where a test build aborts the process, as a SIGKILL would, once for each name.
//!
//! In a normal build every call is an empty function. With the feature `crash-points` the process aborts at each place
//! that `REDIS_MEMORY_CRASH_POINT` names (several are separated by commas), unless the file of that name in
//! `REDIS_MEMORY_CRASH_DIR` says that it has fired before. No destructor runs and nothing is flushed.
//!
//! The lists here are closed, and so is that of the kinds of steps ([`StepKind`]): a new kind has its points with its row.
//! Tests iterate over [`all`] and hold no list of their own.

pub use crate::domain::step::Situation;
use crate::domain::step::StepKind;

/// A crash point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its name, as `REDIS_MEMORY_CRASH_POINT` takes it.
    pub name: String,
    /// When it is reached.
    pub situation: Situation,
}

/// A closed list of named places, each with the situation in which it is reached.
macro_rules! places {
    ($($(#[$meaning:meta])* $place:ident = $name:literal in $situation:ident,)*) => {
        /// A place that belongs to no single effect, or lies inside one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Place { $($(#[$meaning])* $place,)* }

        impl Place {
            /// Every place.
            pub const ALL: &'static [Self] = &[$(Self::$place),*];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$place => $name,)* }
            }

            /// When it is reached.
            pub const fn situation(self) -> Situation {
                match self { $(Self::$place => Situation::$situation,)* }
            }
        }
    };
}

places! {
    /// The plan is shown in the status; nothing says yet that it is under way.
    BeginShown = "begin:shown" in Any,
    /// The finalizer is set; the journal is not written.
    BeginFinalizer = "begin:finalizer" in Any,
    /// The journal is written; nothing has been done.
    BeginJournal = "begin:journal" in Any,
    /// Every step is taken; the journal still stands.
    EndDue = "end:due" in Any,
    /// The record is written, the journal cleared; the finalizer is still there.
    EndRecorded = "end:recorded" in Any,
    /// The finalizer is gone; the status does not say so yet.
    EndReleased = "end:released" in Any,
    /// Upkeep is about to move a label.
    LabelDue = "upkeep-label:before-effect" in Any,
    /// Upkeep has moved a label.
    LabelMoved = "upkeep-label:after-effect" in Any,
    /// Upkeep is about to resize a pod.
    ResizeDue = "upkeep-resize:before-effect" in Any,
    /// Upkeep has resized a pod.
    ResizeMade = "upkeep-resize:after-effect" in Any,
    /// Upkeep is about to set `maxmemory` of a server.
    MaxmemoryDue = "upkeep-maxmemory:before-effect" in Maxmemory,
    /// Upkeep has set `maxmemory` of a server; nothing was said of it yet.
    MaxmemorySet = "upkeep-maxmemory:after-effect" in Maxmemory,
    /// A raised backlog is about to be set back.
    SetBackDue = "set-back:before-effect" in Backlog,
    /// A raised backlog was set back; the journal does not say so yet.
    SetBackMade = "set-back:after-effect" in Backlog,
    /// A second primary is about to be told to follow.
    DemoteDue = "demote:before-effect" in Returning,
    /// A second primary was told to follow; the journal does not say so yet.
    DemoteMade = "demote:after-effect" in Returning,
    /// Clients that still stand on the old primary are about to be sent away.
    CloseDue = "close-clients:before-effect" in Held,
    /// They were sent away; nothing says so yet.
    CloseMade = "close-clients:after-effect" in Held,
    /// The candidate of a switchover has the primary's label too.
    CandidateLabelled = "switchover:candidate-labelled" in Any,
    /// Services have both pods, and have had them long enough; FAILOVER is sent next.
    AfterOverlap = "switchover:after-overlap" in Any,
    /// FAILOVER was accepted.
    AfterFailoverSent = "switchover:after-failover-sent" in Native,
    /// Guarded: writes are paused on the old primary.
    Paused = "switchover:paused" in Guarded,
    /// Guarded: the candidate has everything that the old primary has; the latter is demoted next.
    CaughtUp = "switchover:caught-up" in Guarded,
    /// Guarded: the old primary follows the candidate; nobody is primary.
    Demoted = "switchover:demoted" in Guarded,
    /// Guarded: the candidate is primary; the pause still stands.
    Promoted = "switchover:promoted" in Guarded,
    /// Guarded: the pause is lifted.
    Unpaused = "switchover:unpaused" in Guarded,
    /// Guarded: the other replicas were told of the new primary.
    OthersRepointed = "switchover:repointed" in Guarded,
    /// Guarded: the old primary has its role back.
    RolledBack = "switchover:rolled-back" in RolledBack,
    /// Sentinel: pings are quiet on the old primary.
    Quieted = "switchover:quieted" in Sentinel,
    /// Sentinel: writes are held back, and every replica has everything.
    HeldBack = "switchover:held-back" in Sentinel,
    /// Sentinel: the old primary refuses writes.
    RefusesWrites = "switchover:refuses-writes" in Sentinel,
    /// Sentinel: one was told to fail over.
    SentinelTold = "switchover:sentinel-told" in Sentinel,
    /// Sentinel: a majority names the new primary, which the old one is told to follow next.
    Named = "switchover:named" in Sentinel,
    /// Sentinel: the old primary follows the new one; its settings are still those of the exchange.
    Follows = "switchover:follows" in Sentinel,
    /// Sentinel: the settings are what they were; the journal does not say so yet.
    SettingsBack = "switchover:settings-back" in Sentinel,
    /// The roles are exchanged; both pods are still labelled.
    Exchanged = "switchover:exchanged" in Any,
    /// The old primary has the replica's label.
    OldUnlabelled = "switchover:old-unlabelled" in Any,
    /// Roles and labels are exchanged; the caller does not know yet.
    SwitchoverDone = "switchover:done" in Any,
}

/// A closed list of moments in the life of a step.
macro_rules! moments {
    ($($(#[$meaning:meta])* $moment:ident = $name:literal $of:ident,)*) => {
        /// A moment in the life of a step.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Moment { $($(#[$meaning])* $moment,)* }

        impl Moment {
            /// Every moment.
            pub const ALL: &'static [Self] = &[$(Self::$moment),*];

            const fn as_str(self) -> &'static str {
                match self { $(Self::$moment => $name,)* }
            }

            /// Only steps that have an effect have this moment.
            const fn of_effect(self) -> bool {
                match self { $(Self::$moment => moments!(@ $of),)* }
            }
        }
    };
    (@ effects) => { true };
    (@ steps) => { false };
}

moments! {
    /// The step before is done; the journal does not say yet that this one is next.
    BeforeArrival = "before-arrival" steps,
    /// The journal's cursor is on the step.
    AfterArrival = "after-arrival" steps,
    /// The effect is decided; the journal does not name it.
    BeforeIntent = "before-intent" effects,
    /// The journal names the effect; it has not been made.
    BeforeEffect = "before-effect" effects,
    /// The effect was made; the journal does not say so yet.
    AfterEffect = "after-effect" effects,
}

/// Every crash point there is.
pub fn all() -> Vec<Point> {
    let of_kind = |kind: &StepKind| {
        let kind = *kind;
        let situation = move |moment: &Moment| if moment.of_effect() { kind.acts() } else { Some(kind.arrives()) };
        Moment::ALL
            .iter()
            .filter_map(move |moment| Some(Point { name: step_point(kind, *moment), situation: situation(moment)? }))
    };
    let places = Place::ALL.iter().map(|place| Point { name: place.as_str().to_owned(), situation: place.situation() });
    StepKind::ALL.iter().flat_map(of_kind).chain(places).collect()
}

/// The names of the crash points that are reached in one of these situations.
pub fn reached_in(situations: &[Situation]) -> Vec<String> {
    all().into_iter().filter(|point| situations.contains(&point.situation)).map(|point| point.name).collect()
}

fn step_point(kind: StepKind, moment: Moment) -> String {
    format!("{}:{}", kind.name(), moment.as_str())
}

/// A boundary between two effects: where a test may end the process, or stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// A moment in the life of a step of that kind.
    Step(StepKind, Moment),
    /// A place that belongs to no step.
    At(Place),
}

impl From<Place> for Boundary {
    fn from(place: Place) -> Self {
        Self::At(place)
    }
}

impl Boundary {
    /// Its name, as in [`all`].
    pub fn name(self) -> String {
        match self {
            Self::Step(kind, moment) => step_point(kind, moment),
            Self::At(place) => place.as_str().to_owned(),
        }
    }

    /// The crash point there.
    pub fn crash(self) {
        if ENABLED {
            reached(&self.name());
        }
    }
}

/// Whether this build has crash points.
pub const ENABLED: bool = cfg!(feature = "crash-points");

#[cfg(not(feature = "crash-points"))]
const fn reached(_name: &str) {}

#[cfg(feature = "crash-points")]
#[allow(clippy::disallowed_methods, clippy::print_stderr, reason = "test builds only; never in a released image")]
fn reached(name: &str) {
    let wanted = std::env::var("REDIS_MEMORY_CRASH_POINT").unwrap_or_default();
    if !wanted.split(',').any(|wanted| wanted == name) {
        return;
    }
    let dir = std::env::var("REDIS_MEMORY_CRASH_DIR").unwrap_or_else(|_| "/crash".to_owned());
    let marker = std::path::Path::new(&dir).join(name.replace(':', "-"));
    if marker.exists() {
        return;
    }
    if let Err(error) = std::fs::write(&marker, "fired\n") {
        eprintln!("crash point {name} cannot write {}: {error}", marker.display());
        return;
    }
    eprintln!("crash point {name} fired");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_step_has_its_points_and_no_name_is_used_twice() {
        let all: Vec<String> = all().into_iter().map(|point| point.name).collect();
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        let files: BTreeSet<String> = all.iter().map(|name| name.replace(':', "-")).collect();
        assert_eq!(files.len(), all.len(), "each has a file of its own");
        for kind in StepKind::ALL {
            let points = all.iter().filter(|point| point.starts_with(&format!("{}:", kind.name()))).count();
            assert!(points >= if kind.acts().is_some() { 5 } else { 2 }, "{kind:?}: {points}");
        }
    }

    #[test]
    fn the_situations_share_all_points_out() {
        let shared: Vec<String> = Situation::ALL.iter().flat_map(|situation| reached_in(&[*situation])).collect();
        assert_eq!(shared.len(), all().len());
        for situation in Situation::ALL {
            assert!(!reached_in(&[*situation]).is_empty(), "{situation:?} has no point");
        }
    }
}
