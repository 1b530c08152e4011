//! What is at stake: the room below the limit, whether writes go on, and who is primary.

use super::{
    super::{
        Input,
        sets::{self, SetSeen, Writes},
        steady_bytes,
    },
    loss, next,
    ruling::{self, Level, Ruling},
};
use crate::{
    api::v1alpha1::VerdictStatus,
    domain::{
        blocked::BlockReason,
        bytes::Bytes,
        finding::{FindingCode, Severity},
        sample::{Config, Role},
        snapshot::Target,
    },
};

/// Sets that are named before the rest is only counted.
const SHOWN: usize = 3;
/// Room that is no further than this from the shown one is shown as before: what allocators breathe at rest, of a small
/// server, and as a share of the limit (one part in this many) of a large one.
const HYSTERESIS: (Bytes, u64) = (Bytes::mib(4), 100);

/// The pod with the least room between its resident memory and its limit, and that room, both as they are shown.
pub(super) struct Tightest<'a> {
    target: &'a Target,
    limit: Bytes,
    pub(super) free: String,
}

impl<'a> Tightest<'a> {
    /// What was shown before, as long as it still says the same. `None`: no pod has both.
    pub(super) fn of(input: &Input<'a>, previous: Option<&VerdictStatus>) -> Option<Self> {
        let rooms = || {
            input.snapshot.targets.iter().filter_map(|target| {
                let limit = target.pod.limit()?;
                let rss = target.sample()?.memory.rss;
                (rss > Bytes::ZERO).then(|| (target, limit.saturating_sub(rss), limit))
            })
        };
        let (target, room, limit) = rooms().min_by_key(|(target, room, _)| (*room, &target.pod.name))?;
        let allowed = HYSTERESIS.0.max(Bytes(limit.0 / HYSTERESIS.1)).max(Bytes(room.quantum().saturating_mul(2)));
        let shown = previous.and_then(|verdict| verdict.free_pod.as_deref());
        let as_tight =
            rooms().find(|(it, its, _)| Some(it.pod.name.as_str()) == shown && its.saturating_sub(room) <= allowed);
        let (target, room, limit) = as_tight.unwrap_or((target, room, limit));
        Some(Self { target, limit, free: steady_bytes(room, previous.and_then(|it| it.free.as_deref()), allowed) })
    }

    pub(super) fn pod(&self) -> &str {
        self.target.pod.name.as_str()
    }

    /// When its data will have taken that room, as the data of its set grows; `None`: it does not, or its maxmemory stops
    /// it before.
    fn time_left(&self, input: &Input<'_>) -> Option<String> {
        let set = input.sets.iter().find(|set| set.pods.contains(&self.target.pod.name))?;
        let memory = &self.target.sample()?.memory;
        let room = self.limit.saturating_sub(memory.rss);
        let stops = memory.maxmemory > Bytes::ZERO && memory.maxmemory.saturating_sub(memory.used) <= room;
        set.growth.filter(|_| !stops)?.told(room)
    }
}

/// What is at stake, in numbers.
pub(super) fn sentence(input: &Input<'_>, ruling: &Ruling<'_>, tightest: Option<&Tightest<'_>>) -> String {
    if ruling.reason == ruling::SCALED_TO_ZERO {
        return "none, nothing runs".to_owned();
    }
    let memory = match tightest {
        Some(it) => format!(
            "{} has the least room, about {} below its limit of {}{}",
            it.pod(),
            it.free,
            it.limit,
            it.time_left(input).map_or_else(String::new, |time| format!(", which it reaches in {time}"))
        ),
        None => unlimited(input).unwrap_or_else(|| "how much memory is left is not known".to_owned()),
    };
    let urgency = urgency(input, ruling);
    if ruling.code() == Some(FindingCode::NoTargets) {
        let whose =
            if ruling.level == Level::ActNow { "the pods that it matched run and take writes" } else { "writes go on" };
        let lost = if ruling.level == Level::ActNow { ", nor whether what they held is saved" } else { "" };
        return format!("{urgency}nothing is guarded by this policy, and whether {whose} cannot be said{lost}");
    }
    let memory = format!("{memory}{}{}", grows(input, ruling), after_a_kill(input, ruling));
    let failover = input.blocked.iter().any(|blocked| blocked.reason == BlockReason::SentinelsNotReady);
    let failover = if failover { "; a failover may not succeed now" } else { "" };
    format!("{urgency}{memory}; {}{failover}{}", writes(input, ruling), loss::sentence(input, ruling))
}

/// How soon it has to end; and, where the severity of its findings seems to say otherwise, what that is.
fn urgency(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    let severity = ruling.found().iter().map(|finding| Severity::named(&finding.severity)).max();
    match (ruling.level, next::until_full(input, ruling)) {
        (Level::ActNow, None) => match severity {
            Some(Severity::Warning) => "cannot wait (Warning tells how bad it can get, not how soon); ".to_owned(),
            _ => "cannot wait; ".to_owned(),
        },
        (Level::ActNow | Level::Plan, Some(time)) => format!("there is time until {time}; "),
        (Level::Plan, None) => match severity {
            Some(Severity::Critical) => {
                "can wait until working hours (Critical tells how bad it can get, not how soon); ".to_owned()
            }
            _ => "can wait until working hours; ".to_owned(),
        },
        (Level::Fine | Level::Unknown, _) => String::new(),
    }
}

/// That nobody can say when the room is gone, where that is the question.
fn grows(input: &Input<'_>, ruling: &Ruling<'_>) -> &'static str {
    let asked =
        matches!(ruling.code(), Some(FindingCode::OomKilled | FindingCode::MaxmemoryUnset | FindingCode::RssNearLimit));
    let steady = input.sets.iter().any(|set| set.growth.is_some());
    if asked && !steady { " (no steady growth is seen, so that when it is used up is not known)" } else { "" }
}

/// What became of the pod that the kernel killed last, and of what it held.
fn after_a_kill(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    if !matches!(ruling.code(), Some(FindingCode::OomKilled | FindingCode::OomKillLoop)) {
        return String::new();
    }
    let Some(target) = ruling.pods().first().and_then(|pod| input.snapshot.target(pod)) else { return String::new() };
    let pod = &target.pod.name;
    let Some(sample) = target.sample() else { return format!("; {pod} does not answer") };
    let what = match &sample.replication.role {
        Role::Replica(link) if link.link_up => {
            "runs again and follows its primary: it has what that one has".to_owned()
        }
        Role::Replica(_) => "runs again as a replica whose link is down".to_owned(),
        Role::Primary if sample.config.as_ref().is_ok_and(Config::persists) => {
            "runs again as the primary: what it had not saved when it was killed is lost".to_owned()
        }
        Role::Primary => "runs again as the primary and saves nothing: what no replica had is lost".to_owned(),
        Role::Unknown => "runs again, and its role is not known".to_owned(),
    };
    format!("; {pod} {what}")
}

fn unlimited(input: &Input<'_>) -> Option<String> {
    let without = |target: &&Target| {
        target.sample().is_some() && target.pod.container.as_ref().is_ok_and(|container| container.limit().is_none())
    };
    let target = input.snapshot.targets.iter().find(without)?;
    Some(format!("{} has no limit: it can take the memory of its whole node", target.pod.name))
}

/// Whether writes go on.
fn writes(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    let sets = ordered(input, ruling);
    let of = |set: &SetSeen| if sets.len() > 1 { format!(" to {}", set.name) } else { String::new() };
    let told = sets.iter().filter_map(|set| match &set.writes {
        Writes::GoOn => None,
        Writes::Pause(why) => Some(format!("writes{} pause: {why}", of(set))),
        Writes::Stopped(why) => Some(format!("writes{} have STOPPED: {why}", of(set))),
        Writes::Split(why) => Some(format!("writes{} go apart: {why}", of(set))),
        Writes::Unknown(why) => Some(format!("whether writes{} go on is not known: {why}", of(set))),
    });
    let told: Vec<String> = told.collect();
    match (told.as_slice(), sets.is_empty()) {
        ([], true) => "whether writes go on is not known".to_owned(),
        ([], false) => "writes go on".to_owned(),
        (told, _) => counted(told),
    }
}

/// Who is primary of each set.
pub(super) fn primary(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    let sets = ordered(input, ruling);
    if let Some(shards) = shards(&sets) {
        return shards;
    }
    let several = sets.iter().any(|set| Some(&set.name) != sets.first().map(|first| &first.name));
    let told = sets.iter().map(|set| {
        let who = match (set.primaries.as_slice(), set.silent.as_slice()) {
            ([], []) => "nobody".to_owned(),
            ([], silent) => format!("not known, {}", sets::silence(silent)),
            (primaries, _) => sets::list(primaries),
        };
        if several { format!("{who} (of {})", set.name) } else { who }
    });
    let told: Vec<String> = told.collect();
    match told.as_slice() {
        [] if ruling.reason == ruling::SCALED_TO_ZERO => "nobody, there is no pod".to_owned(),
        [] => "not known, no pod is selected".to_owned(),
        told => counted(told),
    }
}

/// The shards of a Redis Cluster: one set each, by one name.
fn shards(sets: &[&SetSeen]) -> Option<String> {
    let first = sets.first().filter(|_| sets.len() > 1)?;
    let one_name = sets.iter().all(|set| set.name == first.name && set.primaries.len() == 1);
    let primaries: Vec<_> = sets.iter().flat_map(|set| set.primaries.iter().cloned()).collect();
    one_name.then(|| format!("{}, each of a shard of its own", sets::list(&primaries)))
}

/// The sets, those that the ruling is about first.
fn ordered<'a>(input: &Input<'a>, ruling: &Ruling<'_>) -> Vec<&'a SetSeen> {
    let pods = ruling.pods();
    let (mut first, rest): (Vec<_>, Vec<_>) =
        input.sets.iter().partition(|set| set.pods.iter().any(|pod| pods.contains(pod)) || set.writes != Writes::GoOn);
    first.extend(rest);
    first
}

fn counted(told: &[String]) -> String {
    let shown = told.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    match told.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more sets"),
    }
}
