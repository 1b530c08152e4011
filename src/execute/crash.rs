//! Crash points: named places where a test build aborts the process, as a SIGKILL would, once for each name.
//!
//! In a normal build every call is an empty function. With the feature `crash-points` the process aborts at each place
//! that `REDIS_MEMORY_CRASH_POINT` names (several are separated by commas), unless the file of that name in
//! `REDIS_MEMORY_CRASH_DIR` says that it has fired before. No destructor runs and nothing is flushed.
//!
//! The lists here are closed: a new kind of step does not compile before it has its line, and has its points then.
//! Tests iterate over [`all`] and hold no list of their own.

use crate::domain::step::StepKind;

/// A closed list of kinds of steps: its names, and whether a kind has an effect (`acts`) or only looks (`waits`).
macro_rules! step_kinds {
    ($($kind:ident $name:literal $does:ident;)*) => {
        /// Every kind of step.
        pub const KINDS: &[StepKind] = &[$(StepKind::$kind),*];

        /// The crash points' name of a step kind. A new kind without one does not compile.
        pub const fn name(kind: StepKind) -> &'static str {
            match kind { $(StepKind::$kind => $name,)* }
        }

        const fn acts(kind: StepKind) -> bool {
            match kind { $(StepKind::$kind => step_kinds!(@ $does),)* }
        }
    };
    (@ acts) => { true };
    (@ waits) => { false };
}

step_kinds! {
    Evict "evict" acts;
    Resize "resize" acts;
    AwaitReplica "await-replica" waits;
    RestoreSettings "restore-settings" acts;
    Persist "persist" acts;
    AwaitPrimary "await-primary" waits;
    RaiseBacklog "raise-backlog" acts;
    Prove "prove" waits;
    Switchover "switchover" acts;
    Repoint "repoint" acts;
}

/// A closed list of named places.
macro_rules! places {
    ($($(#[$meaning:meta])* $place:ident = $name:literal,)*) => {
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
        }
    };
}

places! {
    /// The plan is shown in the status; nothing says yet that it is under way.
    BeginShown = "begin:shown",
    /// The finalizer is set; the journal is not written.
    BeginFinalizer = "begin:finalizer",
    /// The journal is written; nothing has been done.
    BeginJournal = "begin:journal",
    /// Every step is taken; the journal still stands.
    EndDue = "end:due",
    /// The record is written, the journal cleared; the finalizer is still there.
    EndRecorded = "end:recorded",
    /// The finalizer is gone; the status does not say so yet.
    EndReleased = "end:released",
    /// Upkeep is about to move a label.
    LabelDue = "upkeep-label:before-effect",
    /// Upkeep has moved a label.
    LabelMoved = "upkeep-label:after-effect",
    /// Upkeep is about to resize a pod.
    ResizeDue = "upkeep-resize:before-effect",
    /// Upkeep has resized a pod.
    ResizeMade = "upkeep-resize:after-effect",
    /// The candidate of a switchover has the primary's label too.
    CandidateLabelled = "switchover:candidate-labelled",
    /// Services have both pods, and have had them long enough; FAILOVER is sent next.
    AfterOverlap = "switchover:after-overlap",
    /// FAILOVER was accepted.
    AfterFailoverSent = "switchover:after-failover-sent",
    /// Guarded: writes are paused on the old primary.
    Paused = "switchover:paused",
    /// Guarded: the candidate has everything that the old primary has; the latter is demoted next.
    CaughtUp = "switchover:caught-up",
    /// Guarded: the old primary follows the candidate; nobody is primary.
    Demoted = "switchover:demoted",
    /// Guarded: the candidate is primary; the pause still stands.
    Promoted = "switchover:promoted",
    /// Guarded: the pause is lifted.
    Unpaused = "switchover:unpaused",
    /// Guarded: the other replicas were told of the new primary.
    OthersRepointed = "switchover:repointed",
    /// Guarded: the old primary has its role back.
    RolledBack = "switchover:rolled-back",
    /// The roles are exchanged; both pods are still labelled.
    Exchanged = "switchover:exchanged",
    /// The old primary has the replica's label.
    OldUnlabelled = "switchover:old-unlabelled",
    /// Roles and labels are exchanged; the caller does not know yet.
    SwitchoverDone = "switchover:done",
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

/// The full names of every crash point there is.
pub fn all() -> Vec<String> {
    let of_kind = |kind: &StepKind| {
        let kind = *kind;
        let moments = Moment::ALL.iter().filter(move |moment| acts(kind) || !moment.of_effect());
        moments.map(move |moment| step_point(kind, *moment))
    };
    let places = Place::ALL.iter().map(|place| place.as_str().to_owned());
    KINDS.iter().flat_map(of_kind).chain(places).collect()
}

fn step_point(kind: StepKind, moment: Moment) -> String {
    format!("{}:{}", name(kind), moment.as_str())
}

/// The crash point of a step at that moment.
pub fn of_step(kind: StepKind, moment: Moment) {
    if ENABLED {
        reached(&step_point(kind, moment));
    }
}

/// The crash point at that place.
pub fn at(place: Place) {
    reached(place.as_str());
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
        let all = all();
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        let files: BTreeSet<String> = all.iter().map(|name| name.replace(':', "-")).collect();
        assert_eq!(files.len(), all.len(), "each has a file of its own");
        for kind in KINDS {
            let points = all.iter().filter(|point| point.starts_with(&format!("{}:", name(*kind)))).count();
            assert!(points >= if acts(*kind) { 5 } else { 2 }, "{kind:?}: {points}");
        }
    }
}
