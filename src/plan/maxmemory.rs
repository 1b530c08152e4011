//! `maxmemory` set to what the limit bears, where the limit may not or cannot be raised. It is upkeep: no window, no cooldown,
//! no budget. No key goes by it: it is set to at least 1.1 × what is used, and where a full server refuses writes only where
//! what is used is at most 75 % of it. Only the consent of a Cache lets it shrink by eviction ([`shrink`]).
//!
//! What was set is remembered before it is set: a process that starts without it gets it again, it follows the limit
//! upward, and what people set is told from it and never raised. After kills it is lower for some days ([`killed`]).

use std::{fmt::Write as _, time::Duration};

use super::{
    Context,
    begin::{identity, stored},
    effect::{Effect, Peer},
    resize, rogue_primary,
};
use crate::{
    assess::{
        WILL_SET,
        headroom::{self, Demand},
    },
    domain::{
        bytes::Bytes,
        journal::{Journal, MemberIdentity, OwnMaxmemory, WorkloadRecord},
        policy::Mode,
        sample::{Engine, Role, Sample},
        snapshot::Target,
        surroundings::Kept,
    },
    topology::Shard,
};

/// Where a full server refuses writes, no more than this of a value may be used when it is first set, in percent.
const FILLED_AT_MOST_PERCENT: u32 = 75;
/// By method Measured what was set is moved no more often.
const MOVES_AT_MOST_ONCE_IN: Duration = Duration::from_secs(24 * 3600);

/// What is to be set on the members of one set.
struct Change<'a> {
    /// The same on each.
    value: Bytes,
    /// No more than this may be used.
    most_used: Bytes,
    /// Who has more, or no bound: the primary first.
    lowered: Vec<&'a Target>,
    /// Who has less, by us: the replicas first.
    raised: Vec<&'a Target>,
    /// The limit that bears it, and why it stays.
    because: String,
    /// Keys go by it, by consent, and this is what it comes to in the end.
    evicts_to: Option<Bytes>,
}

impl Change<'_> {
    /// The value that it comes to.
    fn end(&self) -> Bytes {
        self.evicts_to.unwrap_or(self.value)
    }

    /// Whether that member is set, now or when the primary has come down.
    fn is_of(&self, target: &Target) -> bool {
        self.evicts_to.is_some()
            || self.lowered.iter().chain(&self.raised).any(|member| member.pod.uid == target.pod.uid)
    }
}

/// What follows for one set.
enum Verdict<'a> {
    /// Nothing is to be set.
    Nothing,
    /// This.
    Set(Change<'a>),
    /// Something would have to be set, and is not.
    Refused(String),
}

/// The records as they must be before anything is set, where they are not.
pub(super) fn remember(ctx: &Context<'_>, journal: Option<&Journal>) -> Option<Vec<WorkloadRecord>> {
    let ours = ctx.look.shards.iter().filter(|shard| is_ours(ctx, shard, journal));
    let changes = ours.filter_map(|shard| {
        let before = own(ctx, shard);
        let mut next = before.map(|own| OwnMaxmemory {
            members: remembered::still(ctx, shard, own),
            held: remembered::held(shard, own),
            ..own.clone()
        });
        if let Verdict::Set(change) = judge(ctx, shard) {
            next = Some(remembered::named(ctx, shard, next, &change));
        }
        let next = next.filter(|own| !own.members.is_empty());
        (next.as_ref() != before).then(|| (shard, next.map(Box::new)))
    });
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        return None;
    }
    let mut records = ctx.records.to_vec();
    for (shard, next) in changes {
        match records.iter_mut().find(|record| shard.id.is(&record.shard)) {
            Some(record) => record.maxmemory = next,
            None => records.push(WorkloadRecord {
                maxmemory: next,
                ..WorkloadRecord::new(shard.id.clone(), shard.name.clone(), ctx.now)
            }),
        }
    }
    Some(records)
}

/// What is set next, each with its reason: of what is remembered, one rank of members at a time.
pub(super) fn due(ctx: &Context<'_>, journal: Option<&Journal>) -> Vec<(Effect, String)> {
    let shards = ctx.look.shards.iter().filter(|shard| is_ours(ctx, shard, journal));
    shards.flat_map(|shard| effects(ctx, shard)).collect()
}

/// What is remembered once that value is set on that process: it has held it, even if somebody sets it back before the next look.
/// `None`: nothing else than before.
pub fn made(records: &[WorkloadRecord], peer: &Peer, value: Bytes) -> Option<Vec<WorkloadRecord>> {
    let is_it = |who: &MemberIdentity| who.pod == peer.pod && who.uid == peer.uid && who.run_id == peer.run_id;
    let value = stored(value);
    let mut records = records.to_vec();
    let mut all = records.iter_mut().filter_map(|record| record.maxmemory.as_deref_mut());
    let own = all.find(|own| own.values.first() == Some(&value) && own.members.iter().any(is_it))?;
    if own.held == value {
        return None;
    }
    own.held = value;
    Some(records)
}

/// What is said of that target's `maxmemory` in place of that remedy: that it is set, and to what, or why not, with the numbers.
/// `None`: the remedy is right.
pub(super) fn said(ctx: &Context<'_>, target: &Target, remedy: &str) -> Option<(String, Option<Bytes>)> {
    if !ctx.policy.headroom.set_maxmemory {
        return None;
    }
    let shard = ctx.look.shard_of(target)?;
    match judge(ctx, shard) {
        Verdict::Refused(why) => Some((format!("{why}; {remedy}"), None)),
        Verdict::Set(change) if change.is_of(target) && is_ours(ctx, shard, None) => {
            let value = change.end();
            Some((format!("{WILL_SET}{value}: {}{}", change.because, keys_kept(shard, &change)), Some(value)))
        }
        Verdict::Set(change) if change.is_of(target) && ctx.policy.mode == Mode::Observe => {
            let (value, because, keys) = (change.end(), &change.because, keys_kept(shard, &change));
            Some((format!("in mode Enforce the operator would set maxmemory to {value}: {because}{keys}"), None))
        }
        Verdict::Nothing | Verdict::Set(_) => None,
    }
}

/// What becomes of the keys, where that is not what the change itself says.
fn keys_kept(shard: &Shard<'_>, change: &Change<'_>) -> String {
    if change.evicts_to.is_some() {
        return String::new();
    }
    format!("; about {} are used, so that no key goes", most_in_use(shard).quantised())
}

/// What the fullest member uses, of those too that say nothing of their own `maxmemory`: the set holds that much.
fn most_in_use(shard: &Shard<'_>) -> Bytes {
    let used = shard.members.iter().filter_map(|target| target.sample()).map(|sample| sample.memory.used);
    used.max().unwrap_or_default()
}

fn effects(ctx: &Context<'_>, shard: &Shard<'_>) -> Vec<(Effect, String)> {
    let (Verdict::Set(change), Some(own)) = (judge(ctx, shard), own(ctx, shard)) else { return Vec::new() };
    let leads = |target: &&&Target| shard.lead.all().iter().any(|lead| lead.pod.uid == target.pod.uid);
    let members = if change.lowered.is_empty() { &change.raised } else { &change.lowered };
    let leading = members.iter().filter(leads).count();
    // Lowered, the primary comes first; raised, the replicas: no member evicts what another keeps.
    let first = if change.lowered.is_empty() { leading < members.len() } else { leading == 0 };
    let of_rank = members.iter().filter(|target| leads(target) != first);
    let effect = |target: &&Target| {
        let (who, sample) = (identity(target)?, target.sample()?);
        // Only what is remembered is set.
        if own.values.first() != Some(&stored(change.value)) || !own.members.contains(&who) {
            return None;
        }
        let (before, used) = (sample.memory.maxmemory, sample.memory.used);
        let keys = if change.evicts_to.is_some() { "what is above it goes" } else { "no key goes by it" };
        let reason = format!(
            "maxmemory is {}, was {}: {}; about {} are used, and {keys}",
            change.value,
            before.or_none(),
            change.because,
            used.quantised()
        );
        let most_used = if before > Bytes::ZERO && change.value > before { Bytes(u64::MAX) } else { change.most_used };
        Some((Effect::SetMaxmemory { peer: Peer::of(target)?, value: change.value, before, most_used }, reason))
    };
    of_rank.filter_map(effect).collect()
}

/// Whether that set's values are this policy's to set, now.
fn is_ours(ctx: &Context<'_>, shard: &Shard<'_>, journal: Option<&Journal>) -> bool {
    ctx.policy.mode == Mode::Enforce
        && ctx.policy.headroom.set_maxmemory
        && ctx.snapshot.surroundings.stopped.is_none()
        && shard.claimed_by(ctx.snapshot).is_none()
        && !shard.id.is_nameless()
        && !journal.is_some_and(|journal| shard.id.is(&journal.shard))
        && !rogue_primary::is_frozen(ctx, shard)
}

/// What is remembered of it.
fn own<'a>(ctx: &Context<'a>, shard: &Shard<'_>) -> Option<&'a OwnMaxmemory> {
    shard.record(ctx.records)?.maxmemory.as_deref()
}

fn judge<'a>(ctx: &Context<'a>, shard: &Shard<'a>) -> Verdict<'a> {
    let seen: Vec<(&Target, &Sample)> = shard
        .members
        .iter()
        .filter_map(|target| Some((*target, target.sample()?)))
        .filter(|(_, it)| known(it))
        .collect();
    let limits = limits(&shard.members);
    let Some(limit) = limits.iter().flatten().copied().min() else { return Verdict::Nothing };
    let own = own(ctx, shard);
    let relief = killed::relief(ctx, shard);
    let demand = shard.members.first().map_or_else(|| Demand::of(ctx.policy, &[]), |target| ctx.look.demand(target));
    let bearable = demand.bearable(limit);
    let end = less(relief.as_ref(), own, &seen, bearable);
    let evicts = |value: &Bytes| ctx.policy.headroom.allow_eviction && *value > end && !has_arrived(own, &seen);
    let killed_since = |own: &OwnMaxmemory| relief.as_ref().is_some_and(|relief| relief.killed_at >= own.at);
    let (stays, most) = match stays(ctx, own, &demand) {
        // A kill lowers it at any time, and never raises it.
        Some(value) if own.is_some_and(killed_since) => (None, value),
        stays => (stays.filter(|value| !evicts(value)), Bytes(u64::MAX)),
    };
    let bears = stays.unwrap_or_else(|| end.min(most));
    let over = |sample: &Sample| sample.memory.maxmemory == Bytes::ZERO || sample.memory.maxmemory > bears;
    let wrong = |target: &Target, sample: &Sample| {
        let too_much = relief.as_ref().filter(|_| over(sample)).map(|relief| Some(relief.why.clone()));
        why_wrong(ctx, target, sample).or(too_much)
    };
    let needed: Vec<Option<String>> = seen.iter().filter_map(|(target, sample)| wrong(target, sample)).collect();
    // Who starts without a value that is set on the others gets it too, whatever its own limit bears.
    let comes_back = own.is_some() && seen.iter().any(|(_, sample)| over(sample));
    if needed.is_empty() && !comes_back && !follows(own, &seen, bears) {
        return Verdict::Nothing;
    }
    // A limit that can still be raised is raised first.
    if needed.iter().any(Option::is_none) {
        return Verdict::Nothing;
    }
    let is_wrong = !needed.is_empty();
    let because = needed.into_iter().flatten().next().unwrap_or_default();
    let value = most_of(own, bears);
    if limits.contains(&None) || value == Bytes::ZERO {
        return Verdict::Refused(format!(
            "no maxmemory fits: {}",
            if value == Bytes::ZERO {
                format!("the limit of {limit} bears none")
            } else {
                "a container has no limit".into()
            }
        ));
    }
    let lowered: Vec<&Target> = seen.iter().filter(|(_, sample)| over(sample)).map(|(target, _)| *target).collect();
    let raised: Vec<&Target> = seen
        .iter()
        .filter(|(_, sample)| has_ours(own, sample) && sample.memory.maxmemory < value)
        .map(|it| it.0)
        .collect();
    if let (Some(stays), Some(own), true) = (stays, own, is_wrong && lowered.is_empty() && raised.is_empty()) {
        let at = own.at.strftime("%Y-%m-%dT%H:%M:%SZ");
        return Verdict::Refused(format!(
            "the operator set maxmemory to {stays} at {at}; method Measured moves it once a day, by an hour of samples"
        ));
    }
    let bears = if stays.is_some() { "bore that when it was set" } else { "bears that" };
    let most_used = most_used(own, shard, value);
    let change = Change { value, most_used, lowered, raised, because: String::new(), evicts_to: None };
    fits(ctx, shard, &seen, change, (format!("the limit of {limit} {bears}"), limit, because))
}

/// What the smallest limit bears, less what kills have shown to be too much.
fn less(
    relief: Option<&killed::Relief>,
    own: Option<&OwnMaxmemory>,
    seen: &[(&Target, &Sample)],
    bears: Bytes,
) -> Bytes {
    let Some(relief) = relief else { return bears };
    let now = seen.iter().map(|(_, sample)| sample.memory.maxmemory).filter(|value| *value > Bytes::ZERO).min();
    let people = if own.is_some() { most_of(own, bears) } else { now.map_or(bears, |now| now.min(bears)) };
    relief.of(people)
}

/// Whether it may be set now: what is used fits, and nobody is in the middle of something.
fn fits<'a>(
    ctx: &Context<'_>,
    shard: &Shard<'a>,
    seen: &[(&'a Target, &'a Sample)],
    mut change: Change<'a>,
    (bears, limit, why): (String, Bytes, String),
) -> Verdict<'a> {
    let used = most_in_use(shard);
    change.because = bears;
    if !why.is_empty() {
        let _ = write!(change.because, ", and is not raised: {why}");
    }
    let (value, most) = (change.value, change.most_used);
    if !change.lowered.is_empty() && used > most {
        let refused = format!(
            "the operator does not set maxmemory to {value}, which the limit of {limit} bears: about {} are used, and it is \
             set where at most {most} are, so that no key goes and no write is refused",
            used.quantised()
        );
        if !ctx.policy.headroom.allow_eviction {
            return Verdict::Refused(refused);
        }
        match shrink::step(ctx, shard, seen, &change) {
            Ok(step) => change = Change { because: format!("{}; {}", step.because, change.because), ..step },
            Err(waits) => return Verdict::Refused(format!("{refused}; {waits}")),
        }
    }
    let value = change.value;
    let busy = |target: &&Target| target.sample().is_none_or(|sample| is_busy(target, sample));
    let lead = shard.lead.all();
    // Without its primary no set is changed, and none is raised before all its members answer.
    let waits = lead.is_empty()
        || lead.iter().any(busy)
        || (change.lowered.is_empty() && (!shard.unknown.is_empty() || change.raised.iter().any(busy)));
    if waits {
        return Verdict::Nothing;
    }
    let around = &ctx.snapshot.surroundings;
    let left_alone = |target: &Target| around.leaves_alone(&target.pod.uid, Kept::Maxmemory, &value.to_string());
    change.lowered.retain(|target| !busy(target) && !left_alone(target));
    change.raised.retain(|target| !left_alone(target));
    if change.lowered.is_empty() && change.raised.is_empty() { Verdict::Nothing } else { Verdict::Set(change) }
}

/// Why that member's `maxmemory` is wrong by its own limit: `Some(None)`: its limit is raised, or will be; the text: why
/// not. `None`: it is right.
#[allow(clippy::option_option, reason = "wrong or not, and then stuck or not")]
fn why_wrong(ctx: &Context<'_>, target: &Target, sample: &Sample) -> Option<Option<String>> {
    let (demand, maxmemory) = (ctx.look.demand(target), sample.memory.maxmemory);
    if maxmemory == Bytes::ZERO {
        return Some(Some(String::new()));
    }
    let container = target.pod.container.as_ref().ok()?;
    let limit = limit_of(target)?;
    // What more measurement may still find enough is not wrong yet.
    if limit >= demand.surely(maxmemory) {
        return None;
    }
    Some(resize::stuck(ctx, target, container, demand.limit(maxmemory)))
}

/// What people may see as the limit: the lower one of what holds and what is asked for.
fn limit_of(target: &Target) -> Option<Bytes> {
    let container = target.pod.container.as_ref().ok()?;
    let holds = container.limit()?;
    Some(container.spec_limit.map_or(holds, |asked| asked.min(holds)))
}

/// Those of all members whose container is known; `None`: one without a limit.
fn limits(members: &[&Target]) -> Vec<Option<Bytes>> {
    let known = members.iter().filter(|target| target.pod.container.is_ok());
    known.map(|target| limit_of(target)).collect()
}

/// A server that can be judged, and told.
fn known(sample: &Sample) -> bool {
    matches!(sample.server.engine, Engine::Redis | Engine::Valkey)
        && sample.config.is_ok()
        && !sample.run_id.is_empty()
        && !sample.is_unread("maxmemory")
}

/// It loads, syncs or feeds a replica that does, or goes: nothing is set on it meanwhile.
fn is_busy(target: &Target, sample: &Sample) -> bool {
    let syncs = match &sample.replication.role {
        Role::Replica(link) => link.sync_in_progress,
        Role::Primary => sample.replication.replicas.iter().any(|line| !line.online),
        Role::Unknown => true,
    };
    syncs || target.pod.terminating || sample.persistence.loading || !sample.memory.is_measured()
}

fn has_ours(own: Option<&OwnMaxmemory>, sample: &Sample) -> bool {
    own.is_some_and(|own| own.values.contains(&stored(sample.memory.maxmemory)))
}

/// What was set, where it stays for now: what wavers moves it once a day, and not before it is measured.
fn stays(ctx: &Context<'_>, own: Option<&OwnMaxmemory>, demand: &Demand) -> Option<Bytes> {
    let own = own.filter(|_| demand.wavers())?;
    let value = own.values.first().and_then(|value| u64::try_from(*value).ok())?;
    (ctx.since(own.at) < MOVES_AT_MOST_ONCE_IN || !demand.is_measured()).then_some(Bytes(value))
}

/// Every member has what it was to come to. What an eviction leaves resident raises the ratio, and with it what method Measured
/// demands: that alone is no reason to evict more the same day.
fn has_arrived(own: Option<&OwnMaxmemory>, seen: &[(&Target, &Sample)]) -> bool {
    let Some(own) = own else { return false };
    // Earlier versions did not write it: then the last value is a step, or the end, where several members have it.
    let end = if own.end > 0 { Some(own.end) } else { own.values.first().copied().filter(|_| seen.len() > 1) };
    end.is_some_and(|end| seen.iter().all(|(_, sample)| stored(sample.memory.maxmemory) == end))
}

/// What the limits bear, and never more than people had set.
fn most_of(own: Option<&OwnMaxmemory>, bears: Bytes) -> Bytes {
    let people = own.and_then(|own| u64::try_from(own.before).ok()).filter(|before| *before > 0);
    people.map_or(bears, |people| bears.min(Bytes(people)))
}

/// A value of ours is below what the limits bear by now.
fn follows(own: Option<&OwnMaxmemory>, seen: &[(&Target, &Sample)], bears: Bytes) -> bool {
    let most = most_of(own, bears);
    seen.iter().any(|(_, sample)| has_ours(own, sample) && sample.memory.maxmemory < most)
}

/// What may be used when `value` is set: less than it where it comes back, else as much as leaves room.
fn most_used(own: Option<&OwnMaxmemory>, shard: &Shard<'_>, value: Bytes) -> Bytes {
    let held = own.and_then(|own| u64::try_from(own.held).ok()).filter(|held| *held > 0);
    if held.is_some_and(|held| value >= Bytes(held)) {
        return value.saturating_sub(Bytes(1));
    }
    let mut samples = shard.members.iter().filter_map(|target| target.sample());
    let evicts = samples.all(|sample| sample.memory.maxmemory_policy.starts_with("allkeys-"));
    let part = |by: u128, of: u128| Bytes(u64::try_from(u128::from(value.0) * by / of).unwrap_or(u64::MAX));
    let above = part(100, headroom::ABOVE_USED_PERCENT.into());
    if evicts { above } else { above.min(part(FILLED_AT_MOST_PERCENT.into(), 100)) }
}

mod killed;
mod remembered;
mod shrink;
#[cfg(test)]
mod tests;
