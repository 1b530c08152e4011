//! Kills by the kernel for want of memory: which there were, why, and what ends a loop of them.

use jiff::{SignedDuration, Timestamp};

use super::{Assessment, limits};
use crate::domain::{
    bytes::Bytes,
    finding::{Finding, FindingCode},
    names::PodUid,
    oom::{ACKNOWLEDGED_ANNOTATION, Cause, Kill, PodKills},
    policy::Policy,
    sample::{Reading, Sample},
    snapshot::{Snapshot, Target},
};

/// Most pods whose kills are remembered, those of the last kills.
const MOST_PODS: usize = 20;
/// This much above the limit at the first kill is given for each kill while loading (in percent of the limit before).
const RAISE_PERCENT: u64 = 125;
/// … and for no more than this many.
const MOST_RAISES: u32 = 3;
/// A process that was killed this soon after its start, without having answered once, was loading: what else is in memory
/// grows with its clients.
const SOON: SignedDuration = SignedDuration::from_secs(60);
/// How far the clock of a node may be from ours.
const SKEW: SignedDuration = SignedDuration::from_secs(5);
/// Kills that are a loop when they come within [`LOOP_WITHIN`].
const LOOP_KILLS: u32 = 3;
/// As the kubelet waits for up to five minutes before a start, three kills can take ten minutes and the time to grow.
const LOOP_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// The kills that nobody has taken note of, the last ones first: those that are remembered, and those that are seen now.
pub(super) fn kills(snapshot: &Snapshot) -> Vec<PodKills> {
    let noted = noted(snapshot).and_then(Result::ok);
    let open = |at: Timestamp| noted.is_none_or(|noted| at > noted);
    let mut all: Vec<PodKills> =
        snapshot.surroundings.kills.iter().filter(|kills| open(kills.last_at)).cloned().collect();
    for target in &snapshot.targets {
        let Ok(container) = &target.pod.container else { continue };
        for kill in [container.killed_before, container.killed].into_iter().flatten() {
            let earlier = all.iter().position(|kills| kills.pod == target.pod.name);
            let earlier = earlier.map(|position| all.swap_remove(position));
            let known = earlier.as_ref().is_some_and(|earlier| kill.at <= earlier.last_at);
            match earlier {
                Some(earlier) if known => all.push(earlier),
                earlier if open(kill.at) => all.push(one_more(target, kill, earlier.as_ref())),
                earlier => all.extend(earlier),
            }
        }
    }
    all.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.pod.cmp(&b.pod)));
    all.truncate(MOST_PODS);
    all
}

/// Up to when a person has taken note, or what they have written instead of a time.
fn noted(snapshot: &Snapshot) -> Option<Result<Timestamp, &str>> {
    let text = snapshot.surroundings.acknowledged.as_deref()?;
    Some(text.parse().map_err(|_| text))
}

/// What is remembered once that kill has been seen.
fn one_more(target: &Target, kill: Kill, earlier: Option<&PodKills>) -> PodKills {
    let limit = target.pod.limit();
    let reading = last_reading(target, kill);
    let now = target.sample().map(|sample| sample.memory.maxmemory);
    let cause = match cause(kill, reading, limit) {
        // The template, which most processes start by, gives none.
        Cause::Unknown if now == Some(Bytes::ZERO) => Cause::NoMaxmemory,
        cause => cause,
    };
    let same_pod = earlier.filter(|earlier| earlier.pod_uid == target.pod.uid);
    let before = same_pod.filter(|_| cause == Cause::Loading);
    let loading_limit_bytes = (cause == Cause::Loading)
        .then(|| {
            before
                .and_then(|before| before.loading_limit_bytes)
                .or_else(|| limit.map(|limit| i64::try_from(limit.0).unwrap_or(i64::MAX)))
        })
        .flatten();
    PodKills {
        pod: target.pod.name.clone(),
        pod_uid: target.pod.uid.clone(),
        first_at: earlier.map_or(kill.at, |earlier| earlier.first_at),
        last_at: kill.at,
        times: earlier.map_or(1, |earlier| earlier.times.saturating_add(1)).min(PodKills::MOST),
        while_loading: match cause {
            Cause::Loading => before.map_or(1, |before| before.while_loading.saturating_add(1)).min(PodKills::MOST),
            _ => 0,
        },
        cause,
        evidence: evidence(kill, reading, limit),
        loading_limit_bytes,
    }
}

/// The last reading of the process that was killed.
fn last_reading(target: &Target, kill: Kill) -> Option<&Reading> {
    // Until probes have failed the last answer is of the process that was killed.
    let present = target.sample().filter(|sample| began_after(sample, kill)).map(|sample| &sample.run_id);
    let of_it = |reading: &&Reading| {
        // What ended right before it started had run for longer.
        let older = |ran: SignedDuration| SignedDuration::try_from(reading.uptime).is_ok_and(|up| up > ran + SKEW);
        Some(&reading.run_id) != present
            && reading.at <= kill.at.saturating_add(SKEW).unwrap_or(kill.at)
            && kill.started_at.is_none_or(|start| reading.at >= start.saturating_sub(SKEW).unwrap_or(start))
            && !kill.ran().is_some_and(older)
    };
    target.history.iter().rev().find(of_it)
}

/// Whether that process is one that began after the kill.
fn began_after(sample: &Sample, kill: Kill) -> bool {
    let began = sample.at.saturating_sub(sample.server.uptime).unwrap_or(sample.at);
    began >= kill.at.saturating_sub(SKEW).unwrap_or(kill.at)
}

fn cause(kill: Kill, reading: Option<&Reading>, limit: Option<Bytes>) -> Cause {
    let Some(reading) = reading else {
        return if kill.ran().is_some_and(|ran| ran <= SOON) { Cause::Loading } else { Cause::Unknown };
    };
    let pressure = reading.pressure;
    if pressure.loading {
        return Cause::Loading;
    }
    if pressure.maxmemory == Bytes::ZERO {
        return Cause::NoMaxmemory;
    }
    // Within a twentieth: the last reading is some seconds older than the kill.
    if limit.is_some_and(|limit| reading.used.0 >= limit.0 - limit.0 / 20) {
        return Cause::LimitBelowData;
    }
    if pressure.child {
        return Cause::Fork;
    }
    let spare = limit.unwrap_or_default().saturating_sub(pressure.maxmemory);
    let takes_half = |buffers: Bytes| spare > Bytes::ZERO && buffers.0 >= spare.0.div_ceil(2);
    if takes_half(pressure.uncounted) {
        Cause::ReplicaBuffers
    } else if takes_half(pressure.clients) {
        Cause::ClientBuffers
    } else {
        Cause::Headroom
    }
}

fn evidence(kill: Kill, reading: Option<&Reading>, limit: Option<Bytes>) -> String {
    let limit = limit.map_or_else(|| "no limit known".to_owned(), |limit| format!("limit {limit}"));
    match (reading, kill.ran()) {
        (Some(reading), _) => format!(
            "last seen with used about {}, resident about {}, maxmemory {}; {limit}",
            reading.used.quantised(),
            reading.rss.quantised(),
            reading.pressure.maxmemory.or_none()
        ),
        (None, Some(ran)) => {
            let ran = ran.as_secs().max(0);
            format!("it ran for {ran} s, and there is no reading from that time; {limit}")
        }
        (None, None) => format!("there is no reading from before it; {limit}"),
    }
}

/// What is done about a pod that the kernel kills while it loads: only a higher limit ends that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescue {
    /// Its limit is to be raised to this.
    Raise(Bytes),
    /// It was raised to this, and the server loads again, or will.
    Raised(Bytes),
    /// The policy's maximum limit, which is this, does not allow more.
    AtMaximum(Bytes),
    /// It was raised as often as it may be.
    Exhausted(Bytes),
}

/// What is done about those kills of that pod; `None`: it was not killed while loading, or has loaded since.
pub fn rescue(policy: &Policy, target: &Target, kills: &PodKills) -> Option<Rescue> {
    if kills.pod_uid != target.pod.uid || kills.while_loading == 0 {
        return None;
    }
    if target.sample().is_some_and(|sample| !sample.persistence.loading) {
        return None;
    }
    let have = target.pod.container.as_ref().ok()?.spec_limit?;
    let raises = kills.while_loading.min(MOST_RAISES);
    let wanted = (0..raises).fold(kills.loading_limit()?, |limit, _| raised(limit));
    let allowed = policy.headroom.maximum_limit.map_or(wanted, |maximum| wanted.min(maximum));
    Some(if have < allowed {
        Rescue::Raise(allowed)
    } else if have < wanted {
        Rescue::AtMaximum(allowed)
    } else if kills.while_loading > MOST_RAISES {
        Rescue::Exhausted(have)
    } else {
        Rescue::Raised(have)
    })
}

/// How far the rescue of each pod that is killed while it loads has come: what a next look goes on from, so that it has to be stored.
/// After the last raise and the kill that shows it to be too little a loop changes it no more.
pub fn rescues(kills: &[PodKills]) -> Vec<(PodUid, u32)> {
    let loading = kills.iter().filter(|kills| kills.while_loading > 0);
    loading.map(|kills| (kills.pod_uid.clone(), kills.while_loading.min(MOST_RAISES + 1))).collect()
}

/// One raise, in whole mebibytes, by hand too: from 90 % resident it leaves 72 %.
pub fn raised(limit: Bytes) -> Bytes {
    Bytes(limit.0.saturating_mul(RAISE_PERCENT) / 100).round_up_mib()
}

/// A finding for each pod; some of them may be gone.
pub(super) fn findings(look: &Assessment<'_>) -> Vec<Finding> {
    look.kills.iter().map(|kills| finding(look, kills)).collect()
}

fn finding(look: &Assessment<'_>, kills: &PodKills) -> Finding {
    let soon = kills.times >= LOOP_KILLS && kills.last_at.duration_since(kills.first_at) <= LOOP_WITHIN;
    let code = if kills.while_loading > 1 || soon { FindingCode::OomKillLoop } else { FindingCode::OomKilled };
    let at = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ");
    let often = match kills.times {
        1 => format!("killed by the kernel at {}", at(kills.last_at)),
        times => format!("killed by the kernel {times} times from {} to {}", at(kills.first_at), at(kills.last_at)),
    };
    let remedy = in_a_loop(look, kills).or_else(|| bounded_since(look, kills));
    let limit = look.target(&kills.pod).and_then(|target| target.pod.limit());
    let remedy = remedy.unwrap_or_else(|| advice(kills.cause, limit));
    let noting = acknowledging(look.policy, &look.kills).unwrap_or_default();
    let note = match noted(look.snapshot) {
        Some(Err(text)) => {
            format!("the annotation {ACKNOWLEDGED_ANNOTATION} is no time (RFC 3339): {}; {noting}", plain(text))
        }
        _ => format!("once you have taken note: {noting}"),
    };
    let evidence = format!("{often}: {}; {}", kills.cause, kills.evidence);
    Finding::new(code, Some(kills.pod.clone()), evidence, remedy).with_afterwards(note).with_since(kills.first_at)
}

/// The command by which a person takes note of these kills: what comes after the last of them stays. `None`: there is none.
pub fn acknowledging(policy: &Policy, kills: &[PodKills]) -> Option<String> {
    let last = kills.iter().map(|kills| kills.last_at).max()?;
    let (name, namespace) = (&policy.name, &policy.namespace);
    Some(format!("kubectl annotate rmp {name} -n {namespace} --overwrite {ACKNOWLEDGED_ANNOTATION}={last}"))
}

/// What is done, or what a person can do, about a pod that is killed while it loads.
fn in_a_loop(look: &Assessment<'_>, kills: &PodKills) -> Option<String> {
    let target = look.target(&kills.pod)?;
    Some(match rescue(look.policy, target, kills)? {
        Rescue::Raise(limit) => limits::remedy(&look.view(target)?, target.pod.container.as_ref().ok()?, limit),
        Rescue::Raised(limit) => format!("the limit is {limit} now; it is to load with that"),
        Rescue::AtMaximum(limit) => format!(
            "spec.headroom.maximumLimit allows no more than {limit}: raise it to {}, or store less data",
            raised(limit)
        ),
        Rescue::Exhausted(limit) => format!(
            "{MOST_RAISES} raises did not end it, and the operator raises the limit no further than {limit}: find out how \
             large the data are, and raise the limit in the template above that"
        ),
    })
}

/// What is left to do where it was killed for want of a `maxmemory` and has one now, from us or from a person.
fn bounded_since(look: &Assessment<'_>, kills: &PodKills) -> Option<String> {
    let sample = look.target(&kills.pod)?.sample().filter(|sample| !sample.is_unread("maxmemory"))?;
    let maxmemory = sample.memory.maxmemory;
    (kills.cause == Cause::NoMaxmemory && maxmemory > Bytes::ZERO).then(|| {
        format!("maxmemory is {maxmemory} now: see that the template gives it one too, or the next start is without")
    })
}

/// A person's text, as far as it fits beside ours.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn advice(cause: Cause, limit: Option<Bytes>) -> String {
    let raise =
        limit.map_or_else(|| "raise the limit".to_owned(), |it| format!("raise the limit of {it} to {}", raised(it)));
    match cause {
        Cause::Loading => format!("it has loaded since: {raise}, in the template too, before it starts anew"),
        Cause::NoMaxmemory => "set maxmemory as MaxmemoryUnset says, in the template too".to_owned(),
        Cause::Fork => format!("{raise}: saving, rewriting and full syncs need room for what is written meanwhile"),
        Cause::ClientBuffers => {
            format!("{raise}, or bound the buffers (maxmemory-clients, client-output-buffer-limit)")
        }
        Cause::ReplicaBuffers => format!("{raise}, or bound the buffers (client-output-buffer-limit replica)"),
        Cause::LimitBelowData => format!("{raise}, then maxmemory; or lower maxmemory and store less data"),
        Cause::Headroom => format!("{raise}, or to what HeadroomInsufficient demands; or lower maxmemory"),
        Cause::Unknown => {
            format!("see what the server and its clients did then; {raise}: room above maxmemory prevents most")
        }
    }
}

#[cfg(test)]
mod tests;
