//! What others last said about a policy's sets, and when: who is asked seldom is believed for a while.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::domain::policy::Policy;

/// Answers of a policy that nobody asked for within this time are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// What was last said, by policy, each with when it was asked (uptime). Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Answers<T>(Arc<Mutex<BTreeMap<String, (Duration, T)>>>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Answers<T> {
    /// That of what was said less than `age` ago.
    pub(super) fn since<R>(
        &self,
        policy: &Policy,
        now: Duration,
        age: Duration,
        that: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        let memory = self.memory();
        let (_, said) = memory.get(&policy.uid).filter(|(at, _)| now.saturating_sub(*at) < age)?;
        Some(that(said))
    }

    /// That of what was said last, however long ago.
    pub(super) fn last<R>(&self, policy: &Policy, that: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        that(&self.memory().get(&policy.uid)?.1)
    }

    pub(super) fn remember(&self, policy: &Policy, now: Duration, said: T) {
        let mut memory = self.memory();
        memory.retain(|_, (at, _)| now.saturating_sub(*at) < FORGOTTEN);
        memory.insert(policy.uid.clone(), (now, said));
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<String, (Duration, T)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
