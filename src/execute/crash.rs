//! Crash points: named places where a test build aborts the process, as a SIGKILL would, once for each name.
//!
//! In a normal build every call is an empty function. With the feature `crash-points` the process aborts at the place
//! that `REDIS_MEMORY_CRASH_POINT` names, unless the file of that name in `REDIS_MEMORY_CRASH_DIR` says that it has
//! fired before. No destructor runs and nothing is flushed.

use crate::domain::step::StepKind;

/// A moment in the life of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The journal names the effect; it has not been made.
    BeforeEffect,
    /// The effect was made; the journal does not say so yet.
    AfterEffect,
}

impl Moment {
    const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeEffect => "before-effect",
            Self::AfterEffect => "after-effect",
        }
    }
}

/// The crash point's name of a step kind. A new kind without one does not compile.
pub const fn name(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Evict => "evict",
        StepKind::Resize => "resize",
        StepKind::AwaitReplica => "await-replica",
        StepKind::RestoreSettings => "restore-settings",
        StepKind::Persist => "persist",
        StepKind::AwaitPrimary => "await-primary",
        StepKind::RaiseBacklog => "raise-backlog",
        StepKind::Prove => "prove",
        StepKind::Switchover => "switchover",
        StepKind::Repoint => "repoint",
    }
}

/// The crash point of a step's effect.
pub fn of_step(kind: StepKind, moment: Moment) {
    at(&format!("{}:{}", name(kind), moment.as_str()));
}

/// A crash point by its full name.
#[cfg(not(feature = "crash-points"))]
pub fn at(_name: &str) {}

/// A crash point by its full name.
#[cfg(feature = "crash-points")]
#[allow(clippy::disallowed_methods, clippy::print_stderr, reason = "test builds only; never in a released image")]
pub fn at(name: &str) {
    let wanted = std::env::var("REDIS_MEMORY_CRASH_POINT").unwrap_or_default();
    if wanted != name {
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
