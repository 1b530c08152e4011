//! `maxmemory` below what is used, where the policy consents (`headroom.allowEviction` of a Cache): the primary evicts in
//! small steps while a window is open, its replicas follow when it has come down.

use super::{Change, is_busy, own};
use crate::{
    domain::{
        bytes::Bytes,
        journal::OwnMaxmemory,
        sample::Sample,
        snapshot::Target,
        window::{self, State},
    },
    plan::{
        Context,
        begin::{identity, stored},
        gates::next_window,
    },
    topology::Shard,
};

/// Why it is set though what is used does not fit.
const BECAUSE: &str = "by eviction, 5 % at a time, as headroom.allowEviction allows";
/// A step takes this share of what is used away, in percent: a server of before Redis 6.2 evicts a whole step before it
/// answers the next command.
const STEP_PERCENT: u32 = 5;
/// What was remembered as the next step still is one while it takes no more than this share away, in percent.
const STEP_AT_MOST_PERCENT: u32 = 6;

/// What the consent to evict makes of a change that what is used does not fit; `Err`: what it waits for, for people.
pub(super) fn step<'a>(
    ctx: &Context<'_>,
    shard: &Shard<'a>,
    seen: &[(&'a Target, &'a Sample)],
    to: &Change<'a>,
) -> Result<Change<'a>, String> {
    if let Some(why) = in_the_way(ctx, shard, seen) {
        return Err(why);
    }
    let Some((lead, memory)) = shard.primary().and_then(|lead| Some((lead, &lead.sample()?.memory))) else {
        return Err("the set has no primary".to_owned());
    };
    // People may have gone further with it: that is not raised.
    if memory.maxmemory > Bytes::ZERO && memory.maxmemory <= to.value {
        let most_used = to.value.percent(100 + STEP_PERCENT);
        return followers(lead, to).map(|lowered| change(to.value, most_used, lowered, to.value));
    }
    if let Some(set) = own(ctx, shard).and_then(|own| set_back(own, lead, memory.maxmemory)) {
        return Err(format!(
            "somebody has set maxmemory of {0}, which was {set}, to {1}: no key goes against that; to let it go on, set it to \
             {set} again",
            lead.pod.name, memory.maxmemory
        ));
    }
    if let Some(stopped) = ctx.snapshot.surroundings.stopped_eviction(&lead.pod.uid) {
        let until = stopped.until.strftime("%Y-%m-%dT%H:%M:%SZ");
        return Err(format!("{} answered late while it evicted: no further key goes before {until}", lead.pod.name));
    }
    if memory.maxmemory > Bytes::ZERO && !memory.has_evicted_to(memory.maxmemory) {
        return Err(format!(
            "{} evicts: {} are used, and its maxmemory is {}",
            lead.pod.name,
            memory.used.quantised(),
            memory.maxmemory
        ));
    }
    let value = next(own(ctx, shard), memory.used, memory.maxmemory).max(to.value);
    Ok(change(value, memory.used.percent(101), vec![lead], to.value))
}

/// What that process had by our doing, where it has none, or one of others that is higher.
fn set_back(own: &OwnMaxmemory, lead: &Target, has: Bytes) -> Option<Bytes> {
    let set = u64::try_from(own.held).ok().filter(|held| *held > 0).map(Bytes)?;
    let open = (has == Bytes::ZERO || has > set) && !own.values.contains(&stored(has));
    (open && own.members.contains(&identity(lead)?)).then_some(set)
}

fn change(value: Bytes, most_used: Bytes, lowered: Vec<&Target>, evicts_to: Bytes) -> Change<'_> {
    Change { value, most_used, lowered, raised: Vec::new(), because: BECAUSE.to_owned(), evicts_to: Some(evicts_to) }
}

fn in_the_way<'a>(ctx: &Context<'_>, shard: &Shard<'a>, seen: &[(&'a Target, &'a Sample)]) -> Option<String> {
    if let Some((target, sample)) = seen.iter().find(|(_, it)| !it.memory.maxmemory_policy.starts_with("allkeys-")) {
        return Some(format!(
            "headroom.allowEviction is about maxmemory-policy allkeys-*, and {} has {}",
            target.pod.name, sample.memory.maxmemory_policy
        ));
    }
    if !shard.unknown.is_empty() || seen.len() < shard.members.len() {
        return Some("nothing is evicted while a member does not answer".to_owned());
    }
    if let Some((busy, _)) = seen.iter().find(|(target, sample)| is_busy(target, sample)) {
        return Some(format!("nothing is evicted while {} loads, synchronises or ends", busy.pod.name));
    }
    let closed = window::state(&ctx.policy.restart.windows, ctx.now) == State::Closed;
    closed.then(|| format!("keys are evicted while a window is open; {}", next_window(ctx)))
}

/// Those that get the value after the primary: each only if it evicts nothing by itself.
fn followers<'a>(lead: &Target, to: &Change<'a>) -> Result<Vec<&'a Target>, String> {
    let others = to.lowered.iter().copied().filter(|target| target.pod.uid != lead.pod.uid);
    let (follow, evict): (Vec<_>, Vec<_>) = others.partition(|target| {
        let config = target.sample().and_then(|sample| sample.config.as_ref().ok());
        config.is_some_and(|config| config.serving.ignores_maxmemory == Some(true))
    });
    match (follow.is_empty(), evict.first()) {
        (true, Some(target)) => Err(format!(
            "{} would evict by itself what the primary keeps: its replica-ignore-maxmemory is not yes",
            target.pod.name
        )),
        _ => Ok(follow),
    }
}

/// The value that the next step sets: what is remembered as the next one, while it still is a small step.
fn next(own: Option<&OwnMaxmemory>, used: Bytes, has: Bytes) -> Bytes {
    let small = used.percent(100 - STEP_AT_MOST_PERCENT)..used;
    let remembered = own.and_then(|own| u64::try_from(*own.values.first()?).ok()).map(Bytes);
    let open = |value: &Bytes| small.contains(value) && (has == Bytes::ZERO || *value < has);
    remembered.filter(open).unwrap_or_else(|| used.percent(100 - STEP_PERCENT))
}
