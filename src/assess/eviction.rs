//! Findings about what a full server does: evict what must stay, or refuse writes.

use std::time::Duration;

use super::{View, bound::Room};
use crate::domain::{
    bytes::Bytes,
    duration,
    finding::{Finding, FindingCode, Severity},
    purpose::{Purpose, danger, fitting_policies},
    ratio::Ratio,
    sample::{Role, Sample},
};

/// From here on a server that refuses writes when it is full counts as full: it refuses a write, something is deleted or
/// expires, and it takes the next one.
const FULL: Ratio = Ratio(99);
/// To so much of what it is a full server's `maxmemory` is raised by hand, in percent.
pub const MORE_PERCENT: u32 = 125;
/// A server that is full within this time is Critical, one that has longer a Warning.
const SOON: Duration = Duration::from_secs(8 * 3600);
/// Fewer keys with a time to live than this, in percent: under `volatile-*` they are evicted in no time, and then writes are
/// refused as under `noeviction`.
const FEW_PERCENT: u128 = 10;
/// Of a server that evicts what is asked for least, less than this of the lookups find their key, in percent, only where no
/// share of the keys that fits is asked for most. Measured with 60,000 keys (7.0.15): of keys that are all asked for alike as
/// many lookups find theirs as are kept (19 % of 19 %); where 80 % of the lookups are for 20 % of the keys, 68 % do, and by
/// Zipf's law 81 %.
const HOT_PERCENT: u128 = 50;
const NONE_WITH_TTL: &str = "no key has a time to live";

pub(super) fn findings(view: &View<'_>, sample: &Sample) -> Vec<Finding> {
    [policy(view, sample), no_hot_keys(view, sample), stops_writes(view, sample)].into_iter().flatten().collect()
}

/// What the server says its policy is; its text is not ours, so only what such a name can hold is shown.
pub(super) fn named(policy: &str) -> String {
    policy.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-').take(64).collect()
}

/// What people wrote into `eviction.allowed` holds; where they wrote nothing, the purpose decides, and without one only what
/// fits none is a finding.
fn policy(view: &View<'_>, sample: &Sample) -> Option<Finding> {
    let (allowed, found) = (&view.policy.eviction_allowed, &sample.memory.maxmemory_policy);
    // Without the name there is nothing to judge.
    if found.is_empty() || allowed.contains(found) {
        return None;
    }
    if allowed.is_empty() {
        return against(view, sample, view.policy.purpose);
    }
    Some(view.finding(
        FindingCode::EvictionPolicyUnsafe,
        format!("maxmemory-policy is {}, allowed: {}", named(found), allowed.join(", ")),
        "set maxmemory-policy to an allowed value, or add this one to spec.eviction.allowed",
    ))
}

/// The policy does what data of that purpose does not bear; of none: what no data bears.
fn against(view: &View<'_>, sample: &Sample, purpose: Option<Purpose>) -> Option<Finding> {
    let policy = sample.memory.maxmemory_policy.as_str();
    let ends = few_with_ttl(sample);
    let as_it_ends = ends.as_ref().and_then(|_| danger(purpose, "noeviction"));
    // Where no key has a time to live none goes before it.
    let evicts = ends.is_none() || sample.keys_with_ttl > 0;
    let danger = as_it_ends.or_else(|| danger(purpose, policy).filter(|_| evicts))?;
    let because = ends.filter(|_| as_it_ends.is_some()).map(|few| format!(" ({few})")).unwrap_or_default();
    let of = purpose.map(|purpose| format!(", and spec.purpose is {purpose}")).unwrap_or_default();
    let finding = view.finding(
        FindingCode::EvictionPolicyUnsafe,
        format!("maxmemory-policy is {}{because}{of}: when it is full, {}", named(policy), danger.then()),
        format!("set maxmemory-policy {}, or add this one to spec.eviction.allowed", fitting_policies(purpose)),
    );
    Some(finding.with_severity(danger.severity()))
}

/// `allkeys-lfu` counts how often each key is asked for, and where none is asked for far more often than others that gains
/// nothing. One-sided (ADR 0028): many lookups that find their key say nothing, for all keys may fit.
fn no_hot_keys(view: &View<'_>, sample: &Sample) -> Option<Finding> {
    const LFU: &str = "allkeys-lfu";
    let lookups = sample.lookups.filter(|_| sample.memory.maxmemory_policy == LFU)?;
    let (keys, hits) = (u128::from(sample.keys), u128::from(lookups.hits));
    let all = hits + u128::from(lookups.misses);
    // What it holds is what this policy has chosen, and each of these keys could have been asked for. A replica evicts nothing.
    let chosen = keys > 0 && u128::from(lookups.evicted) >= keys && all >= keys;
    let judged = chosen && !sample.keys_unread() && sample.replication.role == Role::Primary;
    if !judged || hits * 100 >= all * HOT_PERCENT || view.policy.eviction_allowed.iter().any(|allowed| allowed == LFU) {
        return None;
    }
    let tenths = hits * 10 / all + 1;
    Some(view.finding(
        FindingCode::LfuWithoutHotKeys,
        format!(
            "maxmemory-policy is {LFU}; since the start, or the last CONFIG RESETSTAT, it has evicted as many keys as it holds, \
             and fewer than {tenths}0 % of the lookups found their key: no keys that fit are asked for most"
        ),
        format!(
            "allkeys-lru serves such data as well and adapts sooner; more maxmemory finds more; or, where many lookups are for \
             keys that never were there, add {LFU} to spec.eviction.allowed"
        ),
    ))
}

/// Under `volatile-*` and with so few keys that may be evicted a full server refuses writes soon: "no key has a time to
/// live".
fn few_with_ttl(sample: &Sample) -> Option<String> {
    if !sample.memory.maxmemory_policy.starts_with("volatile-") || sample.keys_unread() {
        return None;
    }
    let (keys, with_ttl) = (u128::from(sample.keys), u128::from(sample.keys_with_ttl));
    let few = keys > 0 && with_ttl * 100 < keys * FEW_PERCENT;
    few.then(|| match with_ttl {
        0 => NONE_WITH_TTL.to_owned(),
        _ => format!("fewer than {FEW_PERCENT} % of the keys have a time to live"),
    })
}

/// Why a full server refuses writes under its policy, at once or soon; `None`: it evicts, or that is not known.
fn refuses_because(sample: &Sample) -> Option<String> {
    let policy = sample.memory.maxmemory_policy.as_str();
    if policy == "noeviction" {
        return Some("noeviction".to_owned());
    }
    // What is no key takes the memory.
    let empty = policy.starts_with("volatile-") && !sample.keys_unread() && sample.keys == 0;
    let few = few_with_ttl(sample).or_else(|| empty.then(|| NONE_WITH_TTL.to_owned()))?;
    Some(format!("{}, and {few}", named(policy)))
}

/// What the server counts has reached its `maxmemory`, as far as that can be told.
fn is_full(sample: &Sample) -> bool {
    let memory = &sample.memory;
    !sample.persistence.loading
        && !sample.is_unread("maxmemory")
        && memory.is_measured()
        && Ratio::of(memory.counted(), memory.maxmemory).is_some_and(|share| share >= FULL)
}

/// Whether that server is full and refuses writes now, for it may evict nothing. One that evicts its last keys takes writes yet.
pub fn refuses_writes(sample: &Sample) -> bool {
    let evicts_yet = sample.memory.maxmemory_policy != "noeviction" && sample.keys_with_ttl > 0;
    is_full(sample) && refuses_because(sample).is_some() && !evicts_yet
}

/// A primary that refuses writes, or will: clients see errors, and nothing of the data is lost. A replica takes no writes.
fn stops_writes(view: &View<'_>, sample: &Sample) -> Option<Finding> {
    let memory = &sample.memory;
    if sample.replication.role != Role::Primary || sample.persistence.loading || sample.is_unread("maxmemory") {
        return None;
    }
    let because = refuses_because(sample)?;
    let state = format!("used about {} of maxmemory {} under {because}", memory.used.quantised(), memory.maxmemory);
    let remedy = more_room(view, memory.maxmemory);
    let for_good =
        "for good: delete data, give keys a time to live, or set a maxmemory-policy that evicts where keys may go";
    if is_full(sample) {
        let when = if refuses_writes(sample) { "" } else { " as soon as those are evicted" };
        let evidence = format!("{state}: it is full, and writes that need memory are refused{when}");
        return Some(view.finding(FindingCode::EvictionStopsWrites, evidence, remedy).with_afterwards(for_good));
    }
    let growth = view.growth?;
    if memory.maxmemory == Bytes::ZERO {
        return None;
    }
    let room = memory.maxmemory.saturating_sub(memory.counted());
    let left = growth.fills(room)?;
    let evidence = format!(
        "{state}: full in {}, as it grew for the last {}, and then writes are refused",
        growth.told(room)?,
        duration::format(Duration::from_secs(growth.shown_for.as_secs() / 60 * 60)),
    );
    let severity = if left <= SOON { Severity::Critical } else { Severity::Warning };
    let finding = view.finding(FindingCode::EvictionStopsWrites, evidence, remedy);
    Some(finding.with_afterwards(for_good).with_severity(severity))
}

/// How much more a full server may hold: what the least limit of its set bears, or after a higher one.
fn more_room(view: &View<'_>, maxmemory: Bytes) -> String {
    let members = view.around.map_or(&[][..], |around| around.members);
    let room = if members.is_empty() { Room::of([view.target]) } else { Room::of(members.iter().copied()) };
    let (to, bears) = (
        maxmemory.percent(MORE_PERCENT).round_down_mib(),
        room.map(|room| (room.limit, view.demand.bearable(room.limit))),
    );
    match bears {
        Some((limit, bears)) if bears >= to => {
            format!("raise maxmemory to {to}; the limit of {limit} is enough for up to {bears}")
        }
        Some((limit, _)) => {
            format!("raise the limit of {limit} to {}, and then maxmemory to {to}", view.demand.limit(to))
        }
        None => format!("set a container limit of {}, and then maxmemory to {to}", view.demand.limit(to)),
    }
}
