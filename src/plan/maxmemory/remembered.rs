//! What is remembered of a `maxmemory` that this operator sets: before it is set, and until its start is mended.

use super::{Change, has_ours, is_busy, why_wrong};
use crate::{
    domain::{
        journal::{BeforeEviction, MemberIdentity, OwnMaxmemory},
        snapshot::Target,
    },
    plan::{
        Context,
        begin::{identity, stored},
    },
    topology::Shard,
};

/// Earlier values by which a member is known to have it from us.
const MAX_VALUES: usize = 8;
/// Processes that are remembered.
const MAX_MEMBERS: usize = 64;

/// The newest value, once a member has it.
pub(super) fn held(shard: &Shard<'_>, own: &OwnMaxmemory) -> i64 {
    let has = |value: i64| {
        let mut seen = shard.members.iter().filter_map(|target| target.sample());
        seen.any(|sample| !sample.is_unread("maxmemory") && stored(sample.memory.maxmemory) == value)
    };
    own.values.first().copied().filter(|value| has(*value)).unwrap_or(own.held)
}

/// What is remembered once that is to be set.
pub(super) fn named(
    ctx: &Context<'_>,
    shard: &Shard<'_>,
    own: Option<OwnMaxmemory>,
    change: &Change<'_>,
) -> OwnMaxmemory {
    let value = stored(change.value);
    let had = |target: &&Target| target.sample().map(|sample| stored(sample.memory.maxmemory)).filter(|had| *had > 0);
    let mut own = own.unwrap_or_else(|| OwnMaxmemory {
        values: Vec::new(),
        end: 0,
        held: 0,
        before_eviction: Vec::new(),
        before: change.lowered.iter().filter_map(had).min().unwrap_or_default(),
        at: ctx.now,
        members: Vec::new(),
    });
    // Who has just that, and not from us, has it from people: it is not raised with ours.
    let changed = |target: &Target| change.lowered.iter().chain(&change.raised).any(|it| it.pod.uid == target.pod.uid);
    let is_ours = |target: &&Target| identity(target).is_some_and(|who| own.members.contains(&who));
    let others = shard.members.iter().filter(|target| !changed(target) && !is_ours(target));
    let peoples = others.filter_map(had).any(|had| had == value);
    // Who is to evict and never did holds nothing of ours.
    if change.evicts_to.is_some() && own.held != value && !change.lowered.iter().all(is_ours) {
        own.held = 0;
    }
    // Once for each step: what is used may grow with each look.
    let noted = |target: &&Target| own.before_eviction.iter().any(|it| identity(target).as_ref() == Some(&it.identity));
    let is_new = own.values.first() != Some(&value) || !change.lowered.iter().all(noted);
    if change.evicts_to.is_some() && is_new {
        own.before_eviction = before_eviction(shard, own.before_eviction);
    }
    if own.values.first() != Some(&value) {
        own.values.retain(|earlier| *earlier != value);
        own.values.insert(0, value);
        own.values.truncate(MAX_VALUES);
        (own.at, own.end) = (ctx.now, stored(change.end()));
    }
    if peoples && (own.before == 0 || own.before > value) {
        own.before = value;
    }
    // What was a step is the end where the limit bears it by now.
    if change.end() == change.value {
        own.end = value;
    }
    for who in change.lowered.iter().chain(&change.raised).filter_map(|target| identity(target)) {
        own.members.retain(|known| known.pod != who.pod);
        own.members.push(who);
    }
    let surplus = own.members.len().saturating_sub(MAX_MEMBERS);
    own.members.drain(..surplus);
    own
}

/// The members as they are before the next keys go, where they did not use more before that.
fn before_eviction(shard: &Shard<'_>, mut known: Vec<BeforeEviction>) -> Vec<BeforeEviction> {
    for target in &shard.members {
        let (Some(identity), Some(sample)) = (identity(target), target.sample()) else { continue };
        let (used_bytes, rss_bytes) = (stored(sample.memory.used), stored(sample.memory.rss));
        let now = BeforeEviction { identity, used_bytes, rss_bytes };
        match known.iter_mut().find(|before| before.identity.pod == now.identity.pod) {
            Some(before) if before.identity == now.identity && before.used_bytes >= used_bytes => {}
            Some(before) => *before = now,
            None => known.push(now),
        }
    }
    let surplus = known.len().saturating_sub(MAX_MEMBERS);
    known.drain(..surplus);
    known
}

/// Of the processes that it was set on those that are not known to have been replaced by one that starts with what it should
/// have: then the start is mended. One that a remediation has given it again counts as one of them.
pub(super) fn still(ctx: &Context<'_>, shard: &Shard<'_>, own: &OwnMaxmemory) -> Vec<MemberIdentity> {
    let given_back = |target: &Target| {
        let starts = shard.record(ctx.records).map(|record| record.starts.as_slice()).unwrap_or_default();
        let of_pod = starts.iter().filter(|start| start.pod == target.pod.name);
        of_pod.flat_map(|start| &start.settings).any(|setting| setting.name == "maxmemory")
    };
    let kept = own.members.iter().filter_map(|who| {
        let Some(target) = shard.member(&who.pod) else { return Some(who.clone()) };
        let (Some(now), Some(sample)) = (identity(target), target.sample()) else { return Some(who.clone()) };
        // What is not right yet is not judged yet.
        if now == *who || is_busy(target, sample) || why_wrong(ctx, target, sample).is_some() {
            return Some(who.clone());
        }
        (has_ours(Some(own), sample) && given_back(target)).then_some(now)
    });
    kept.collect()
}
