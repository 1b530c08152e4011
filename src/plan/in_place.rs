//! A primary that nothing can take over from: when it is restarted as the primary that it is, and what it must hold
//! when it is back.

use super::{Context, order, records};
use crate::{
    assess::persistence,
    domain::{
        bytes::Bytes,
        journal::{Journal, MemberRecord},
        names::PodName,
        sample::{Config, Persistence, Sample},
        snapshot::Target,
        step::Step,
    },
    topology::Shard,
};

/// Percent of the keys without a time to live that must be there again. What is missing are writes
/// between the last look and the shutdown.
const LASTING_PERCENT: u32 = 90;
/// Percent of all keys: those with a time to live may have expired meanwhile.
const ALL_PERCENT: u32 = 50;

/// Whether the policy consents, and nothing that is known speaks against the data's return.
pub fn allowed(ctx: &Context<'_>, shard: &Shard<'_>, primary: &Target) -> bool {
    let (set, starts) = (shard.set_of(primary), records::remembered(ctx, shard));
    ctx.policy.restart.allow_downtime
        && persistence::survives_restart(primary, set).is_ok()
        && persistence::starts_with_data(primary, &starts).is_ok()
}

/// The primaries that are yet to be restarted as such: by the remediation under way, else by the plans that are due.
pub fn ahead(ctx: &Context<'_>, journal: Option<&Journal>) -> Vec<PodName> {
    let persisted = |step: &Step| if let Step::Persist { pod } = step { Some(pod.clone()) } else { None };
    if let Some(journal) = journal {
        let pods = journal.steps.iter().filter_map(|planned| persisted(&planned.step));
        return pods.filter(|pod| !journal.evicted(pod)).collect();
    }
    let plans = ctx.look.shards.iter().filter_map(|shard| order::plan(ctx, shard));
    plans.flat_map(|plan| plan.steps).filter_map(|planned| persisted(&planned.step)).collect()
}

/// How often the process has begun to write everything out, by the way that counts for its restart: it loads its AOF
/// if it has one.
pub fn begun_writing(config: &Config, persistence: &Persistence) -> u64 {
    if config.appendonly { persistence.rewrites } else { persistence.saves }
}

/// What is missing of the keys that it had right before its eviction; `None`: about what it had is there.
pub fn lost_keys(record: &MemberRecord, back: &Sample) -> Option<String> {
    let stored = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(0);
    let (had, lasting) = (stored(record.keys), stored(record.lasting_keys));
    let share = |keys: u64, percent: u32| Bytes(keys).percent(percent).0;
    let least = share(lasting, LASTING_PERCENT).max(share(had, ALL_PERCENT)).max(u64::from(had > 0));
    (back.keys < least).then(|| format!("it came back with {} keys, it had {had}", back.keys))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::fixtures, plan::begin};
    use rstest::rstest;

    #[rstest]
    #[case::all_there(1000, 1000, 1000, false)]
    #[case::a_few_writes_less(1000, 1000, 950, false)]
    #[case::empty(1000, 1000, 0, true)]
    #[case::one_key_and_empty(1, 0, 0, true)]
    #[case::never_had_any(0, 0, 0, false)]
    #[case::lasting_keys_are_gone(1000, 1000, 800, true)]
    #[case::some_expired(1000, 0, 600, false)]
    #[case::most_are_gone(1000, 0, 400, true)]
    fn about_the_keys_that_it_had(#[case] had: i64, #[case] lasting: i64, #[case] back: u64, #[case] lost: bool) {
        let mut sample = fixtures::sample(fixtures::primary_role());
        sample.keys = back;
        let mut record = begin::member(&fixtures::target(0)).unwrap();
        (record.keys, record.lasting_keys) = (Some(had), Some(lasting));
        assert_eq!(lost_keys(&record, &sample).is_some(), lost);
    }
}
