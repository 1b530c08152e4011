//! The pure core of the election: may a candidate claim the Lease, judged on its own monotonic clock?

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

/// `"true"` on the Lease: nothing is disturbed any more, in the whole cluster.
pub(super) const STOP_ANNOTATION: &str = "redismemory.io/stop";

/// The Lease as it was read or written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    /// Precondition of the next write.
    pub(super) resource_version: String,
    /// What it says.
    pub(super) spec: LeaseSpec,
    /// People have asked for a stop of the operator, by [`STOP_ANNOTATION`].
    pub(super) stop: bool,
    /// With whom the Lease goes.
    pub(super) owners: Vec<OwnerReference>,
}

impl Record {
    pub(super) fn of(lease: Lease) -> Self {
        let stop = lease.metadata.annotations.as_ref().and_then(|all| all.get(STOP_ANNOTATION));
        Self {
            stop: stop.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")),
            resource_version: lease.metadata.resource_version.unwrap_or_default(),
            spec: lease.spec.unwrap_or_default(),
            owners: lease.metadata.owner_references.unwrap_or_default(),
        }
    }

    pub(super) fn holder(&self) -> Option<&str> {
        self.spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// How long the holder's word is good; `ours` when the record does not say.
    fn duration(&self, ours: Duration) -> Duration {
        let seconds = self.spec.lease_duration_seconds.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        seconds.map_or(ours, Duration::from_secs)
    }
}

/// Whether a candidate may claim the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// Nobody's, ours, or not renewed for its whole duration.
    Free,
    /// Held by another.
    Held,
}

/// Of a record that has not changed since `since`, at `now`; both on our own monotonic clock. One that is not there
/// (`None`) may have been deleted under its holder, who learns of it at the next renewal.
pub(super) fn availability(
    record: Option<&Record>,
    me: &str,
    ours: Duration,
    since: Duration,
    now: Duration,
) -> Availability {
    let Some(record) = record else {
        return if now.saturating_sub(since) >= ours { Availability::Free } else { Availability::Held };
    };
    match record.holder() {
        None => Availability::Free,
        Some(holder) if holder == me => Availability::Free,
        Some(_) if now.saturating_sub(since) >= record.duration(ours) => Availability::Free,
        Some(_) => Availability::Held,
    }
}

/// The field holds whole seconds; rounded up, because a successor must not start too early.
pub(super) fn whole_seconds(duration: Duration) -> i32 {
    let up = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    i32::try_from(up.max(1)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const OURS: Duration = Duration::from_secs(15);

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn held_by(holder: &str, seconds: Option<i32>) -> Record {
        Record {
            resource_version: "1".into(),
            spec: LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: seconds,
                ..LeaseSpec::default()
            },
            ..Record::default()
        }
    }

    // Unchanged since 100 s.
    #[rstest]
    #[case::nobody_ever(Record::default(), 100, Availability::Free)]
    #[case::released(held_by("", Some(15)), 100, Availability::Free)]
    #[case::ours(held_by("me", Some(15)), 100, Availability::Free)]
    #[case::held(held_by("other", Some(15)), 114, Availability::Held)]
    #[case::expired(held_by("other", Some(15)), 115, Availability::Free)]
    #[case::the_holders_word_counts(held_by("other", Some(60)), 159, Availability::Held)]
    #[case::ours_counts_without_it(held_by("other", None), 114, Availability::Held)]
    #[case::nonsense_is_no_word(held_by("other", Some(-3)), 114, Availability::Held)]
    #[case::expired_without_a_word(held_by("other", Some(0)), 115, Availability::Free)]
    #[case::a_clock_that_went_back(held_by("other", Some(15)), 3, Availability::Held)]
    fn judges_a_record(#[case] record: Record, #[case] now: u64, #[case] want: Availability) {
        assert_eq!(availability(Some(&record), "me", OURS, secs(100), secs(now)), want);
    }

    #[rstest]
    #[case::deleted_a_moment_ago(114, Availability::Held)]
    #[case::gone_for_a_duration(115, Availability::Free)]
    #[case::a_clock_that_went_back(3, Availability::Held)]
    fn judges_a_record_that_is_not_there(#[case] now: u64, #[case] want: Availability) {
        assert_eq!(availability(None, "me", OURS, secs(100), secs(now)), want);
    }

    #[rstest]
    #[case(Duration::from_millis(1), 1)]
    #[case(secs(15), 15)]
    #[case(Duration::from_millis(15_001), 16)]
    #[case(Duration::MAX, i32::MAX)]
    fn durations_are_rounded_up(#[case] duration: Duration, #[case] want: i32) {
        assert_eq!(whole_seconds(duration), want);
    }
}
