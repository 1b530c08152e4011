//! What is read from the cluster as seldom as possible, by one reader for all who ask, and not kept longer than needed.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Mutex as AsyncMutex;

use crate::{clock::Clock, domain::snapshot::ProbeFailure};

/// What was read longer ago is read again before anything is done with it.
pub(super) const MAX_AGE: Duration = Duration::from_secs(60);
/// Where much is read, each of it is read the less often: all together one in this time …
const ONE_IN: Duration = Duration::from_secs(15);
/// … but each within this time.
const LONGEST_AGE: Duration = Duration::from_secs(3600);
/// A reading takes no longer than this.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// A failure to read is believed for this long.
const FAILURE_AGE: Duration = Duration::from_secs(5);

/// The last reading of each key.
pub(super) struct SharedReads<K, V>(Mutex<Slots<K, V>>);

struct Slots<K, V> {
    readings: HashMap<K, Slot<V>>,
    /// Process uptime at which what nobody asks for was last wiped.
    wiped_at: Duration,
}

/// One key's reading. Locked while it is read, so that all who wait share the one read.
type Slot<V> = Arc<AsyncMutex<Option<Reading<V>>>>;

struct Reading<V> {
    value: Result<V, ProbeFailure>,
    /// Process uptime at the end of the reading.
    at: Duration,
}

impl<K, V> Default for SharedReads<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Slots { readings: HashMap::new(), wiped_at: Duration::ZERO }))
    }
}

impl<K: Clone + Eq + Hash, V: Clone> SharedReads<K, V> {
    /// The value, read at most `max_age` ago; else what `read` gives, which is handed the value of before. `late` is the
    /// text of a reading that takes too long.
    pub(super) async fn get<F>(
        &self,
        key: K,
        max_age: Duration,
        clock: &Clock,
        late: impl FnOnce() -> String,
        read: impl FnOnce(Option<V>) -> F,
    ) -> Result<V, ProbeFailure>
    where
        F: Future<Output = Result<V, ProbeFailure>>,
    {
        let slot = self.slot(key, clock.uptime());
        let mut last = slot.lock().await;
        let now = clock.uptime();
        if let Some(fresh) = last.as_ref().filter(|reading| reading.is_fresh(max_age, now)) {
            return fresh.value.clone();
        }
        let before = last.as_ref().and_then(|reading| reading.value.clone().ok());
        let read = tokio::time::timeout(READ_DEADLINE, read(before)).await;
        let value = read.unwrap_or_else(|_| Err(ProbeFailure::SecretUnavailable(late())));
        *last = Some(Reading { value: value.clone(), at: clock.uptime() });
        value
    }

    /// Wipes what is not needed any more.
    pub(super) fn retain(&self, needed: impl Fn(&K) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).readings.retain(|key, _| needed(key));
    }

    /// How old a reading may be while nothing is to be done with it: a connection that stands needs no password.
    pub(super) fn usual_age(&self) -> Duration {
        usual_age(self.0.lock().unwrap_or_else(PoisonError::into_inner).readings.len())
    }

    /// The slot of a key. Slots that nobody asked for in a while are wiped: their policy is gone, or names another Secret
    /// now.
    fn slot(&self, key: K, now: Duration) -> Slot<V> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(slots.wiped_at) >= MAX_AGE {
            slots.wiped_at = now;
            let asked_for = usual_age(slots.readings.len()).saturating_mul(2);
            slots.readings.retain(|other, slot| {
                *other == key
                    || slot.try_lock().map_or(true, |last| {
                        last.as_ref().is_some_and(|reading| now.saturating_sub(reading.at) < asked_for)
                    })
            });
        }
        Arc::clone(slots.readings.entry(key).or_default())
    }
}

/// The usual age of that number of readings.
fn usual_age(number: usize) -> Duration {
    ONE_IN.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX)).clamp(MAX_AGE, LONGEST_AGE)
}

impl<V> Reading<V> {
    fn is_fresh(&self, max_age: Duration, now: Duration) -> bool {
        let limit = if self.value.is_ok() { max_age } else { max_age.min(FAILURE_AGE) };
        now.saturating_sub(self.at) < limit
    }
}
