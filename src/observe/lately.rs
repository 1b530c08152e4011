//! What was lately seen of a set and bears on who decides its roles: a Sentinel, an owner. It counts for an hour, so that
//! one that is away for a moment is not taken for one that has gone.
//!
//! A process that has just started knows nothing of the time before. But it judges nothing either before it has watched for
//! `sustained` (10 minutes by default), and each look of that time asks for Sentinels and owners: one that it never saw has
//! been away for all of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::domain::{
    names::ControllerUid,
    pod::Owner,
    sample::Sample,
    snapshot::{SeenBefore, Snapshot},
};

/// What was seen counts for this long.
const HOUR: Duration = Duration::from_secs(3600);
/// How often sets are looked for of which nothing counts any more.
const FORGOTTEN_EVERY: Duration = Duration::from_secs(60);

/// What was seen, by set. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Lately(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    sets: BTreeMap<ControllerUid, Seen>,
    /// Uptime at which what does not count any more was last forgotten.
    forgot_at: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    sentinel: Option<(Timestamp, Duration)>,
    owner: Option<(Owner, Timestamp, Duration)>,
}

impl Lately {
    /// Keeps what the snapshot shows, and says what was seen of its sets within the last hour. `uptime`: of the monotonic
    /// clock, by which the hour is measured.
    pub fn look(&self, snapshot: &Snapshot, uptime: Duration) -> Vec<SeenBefore> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.forget(uptime);
        let seen = &mut memory.sets;
        for target in &snapshot.targets {
            let Some(owner) = &target.pod.owner else { continue };
            if target.sample().is_some_and(Sample::has_sentinel) {
                seen.entry(owner.uid.clone()).or_default().sentinel = Some((snapshot.at, uptime));
            }
        }
        for set in &snapshot.stateful_sets {
            if let Some(owner) = &set.owner {
                seen.entry(set.uid.clone()).or_default().owner = Some((owner.clone(), snapshot.at, uptime));
            }
        }
        let owners = snapshot.targets.iter().filter_map(|target| target.pod.owner.as_ref());
        let of_these: BTreeSet<&ControllerUid> = owners.map(|owner| &owner.uid).collect();
        let before = of_these.into_iter().filter_map(|uid| {
            let seen = seen.get_mut(uid)?;
            seen.forget(uptime).then(|| SeenBefore {
                set: uid.clone(),
                sentinel_at: seen.sentinel.map(|(at, _)| at),
                owner: seen.owner.as_ref().map(|(owner, at, _)| (owner.clone(), *at)),
            })
        });
        before.collect()
    }
}

impl Memory {
    /// Forgets the sets of which nothing counts any more: not in each look, for there may be many.
    fn forget(&mut self, uptime: Duration) {
        if uptime.saturating_sub(self.forgot_at) >= FORGOTTEN_EVERY {
            self.forgot_at = uptime;
            self.sets.retain(|_, seen| seen.forget(uptime));
        }
    }
}

impl Seen {
    /// Forgets what does not count any more. Whether anything is left.
    fn forget(&mut self, uptime: Duration) -> bool {
        let recent = |then: Duration| uptime.saturating_sub(then) < HOUR;
        self.sentinel = self.sentinel.filter(|(_, then)| recent(*then));
        self.owner = self.owner.take().filter(|(_, _, then)| recent(*then));
        self.sentinel.is_some() || self.owner.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{fixtures, snapshot::Observation};

    fn sentinel(snapshot: &mut Snapshot, there: bool) {
        let Observation::Seen(sample) = &mut snapshot.targets[1].redis else { panic!("a sample") };
        sample.sentinel_seen = Some(there);
    }

    #[test]
    fn a_sentinel_counts_for_an_hour() {
        let lately = Lately::default();
        let mut snapshot = fixtures::three_pods();
        assert_eq!(lately.look(&snapshot, Duration::ZERO), [], "a new process knows nothing");
        sentinel(&mut snapshot, true);
        lately.look(&snapshot, Duration::from_secs(10));
        sentinel(&mut snapshot, false);
        let before = lately.look(&snapshot, Duration::from_secs(3609));
        assert_eq!(before[0].sentinel_at, Some(snapshot.at));
        assert_eq!(lately.look(&snapshot, Duration::from_secs(3610)), []);
    }

    #[test]
    fn so_does_an_owner_of_that_set() {
        let lately = Lately::default();
        let mut snapshot = fixtures::three_pods();
        let owner = Owner { kind: "RedisFailover".into(), name: "r".into(), uid: "o".into() };
        snapshot.stateful_sets[0].owner = Some(owner.clone());
        lately.look(&snapshot, Duration::ZERO);
        snapshot.stateful_sets[0].owner = None;
        assert_eq!(lately.look(&snapshot, Duration::from_secs(60))[0].owner, Some((owner, snapshot.at)));
        snapshot.targets.clear();
        assert_eq!(lately.look(&snapshot, Duration::from_secs(60)), [], "of another policy's set nothing is said");
    }
}
