//! What is lost should a server die: what it saves, and who else has its data.

use super::{
    super::{
        Input,
        sets::{self, SetSeen},
    },
    ruling::{self, Level, Ruling},
};
use crate::{
    assess::persistence::durable,
    domain::{
        finding::FindingCode as Code,
        names::PodName,
        sample::{Config, Role, Sample},
        snapshot::Target,
    },
};

/// Findings that may come to the death of a server, or whose cure restarts one.
const AT_STAKE: &[Code] = &[
    Code::OomKilled,
    Code::OomKillLoop,
    Code::MaxmemoryUnset,
    Code::HeadroomInsufficient,
    Code::LimitMissing,
    Code::RssNearLimit,
    Code::TemplateTooSmall,
    Code::NodeOvercommitted,
    Code::FragmentationSerious,
    Code::FragmentationCritical,
    Code::FragmentationRestartDue,
    Code::MemoryEfficiencyLow,
    Code::SentinelDegraded,
    Code::Unreachable,
];

/// What becomes of the data of a set when its primary dies, the worst last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It loads what it saved, but for what this says.
    Reloads(&'static str),
    /// It loads what it saved as long as its pod stays.
    ReloadsInItsPod,
    /// What it saves is not known.
    NotKnown,
    /// It comes back empty, and these, who have its data, follow it.
    Wiped(Vec<PodName>),
    /// Nobody else has it.
    Lost,
}

/// What is lost should it come to that, to follow what the numbers say; empty: that is not the question, or not known.
pub(super) fn sentence(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    if ruling.code() == Some(Code::EvictionStopsWrites) {
        return "; what is stored is not lost by it, and is read as ever".to_owned();
    }
    let asked = match ruling.code() {
        Some(code) => AT_STAKE.contains(&code),
        None => ruling.reason != ruling::REMEDIATING,
    };
    if !asked || !matches!(ruling.level, Level::ActNow | Level::Plan) {
        return String::new();
    }
    let pods = in_danger(input, ruling);
    let sets = || input.sets.iter().filter(|set| pods.is_empty() || set.pods.iter().any(|pod| pods.contains(pod)));
    if let Some(replicas) = only_replicas(&pods, sets()) {
        return replicas;
    }
    let fates: Vec<(Fate, &Target, &SetSeen)> = sets().filter_map(|set| fate(input, set)).collect();
    // Of those that are alike the first.
    let Some((worst, first, set)) = fates.iter().min_by(|a, b| b.0.cmp(&a.0)) else { return String::new() };
    let alike = fates.iter().filter(|(fate, ..)| std::mem::discriminant(fate) == std::mem::discriminant(worst));
    let who: Vec<PodName> = alike.map(|(_, primary, _)| primary.pod.name.clone()).collect();
    format!("; {}{}", told(worst, &who, first), behind(input, set))
}

/// The pods that it is about: of a kill for want of a `maxmemory` each that has none.
fn in_danger(input: &Input<'_>, ruling: &Ruling<'_>) -> Vec<PodName> {
    let mut pods = ruling.pods();
    if matches!(ruling.code(), Some(Code::OomKilled | Code::OomKillLoop)) {
        let unset = input.findings.iter().filter(|finding| finding.code == Code::MaxmemoryUnset.as_str());
        pods.extend(unset.filter_map(|finding| finding.pod.as_deref().map(PodName::from)));
    }
    pods
}

/// What is about replicas alone costs no data.
fn only_replicas<'a>(pods: &[PodName], mut sets: impl Iterator<Item = &'a SetSeen>) -> Option<String> {
    let set = sets.next().filter(|set| pods.iter().all(|pod| set.pods.contains(pod)))?;
    let [primary] = set.primaries.as_slice() else { return None };
    let replicas = !pods.is_empty() && !pods.contains(primary);
    replicas.then(|| format!("; should {} die, no data is lost: {primary} has it", sets::list(pods)))
}

fn fate<'a>(input: &Input<'a>, set: &'a SetSeen) -> Option<(Fate, &'a Target, &'a SetSeen)> {
    let [primary] = set.primaries.as_slice() else { return None };
    let primary = input.snapshot.target(primary)?;
    let fate = match primary.sample()?.config.as_ref().map(|config| (config, Config::persists(config))) {
        Err(_) => Fate::NotKnown,
        Ok((config, true)) if durable(primary, config).is_err() => Fate::ReloadsInItsPod,
        Ok((Config { appendonly: true, .. }, true)) => Fate::Reloads("its last writes"),
        Ok((_, true)) => Fate::Reloads("what it took since its last save"),
        Ok((_, false)) => match copies(input, set) {
            copies if copies.is_empty() => Fate::Lost,
            copies => Fate::Wiped(copies),
        },
    };
    Some((fate, primary, set))
}

/// The replicas of a set whose link is up: they have what it has.
fn copies(input: &Input<'_>, set: &SetSeen) -> Vec<PodName> {
    let up =
        |sample: &Sample| matches!(&sample.replication.role, Role::Replica(it) if it.link_up && !it.sync_in_progress);
    let of = |pod: &&PodName| input.snapshot.target(pod).and_then(Target::sample).is_some_and(up);
    set.pods.iter().filter(of).cloned().collect()
}

fn told(fate: &Fate, who: &[PodName], first: &Target) -> String {
    let (one, all) = match who {
        [_] => (sets::list(who), first.sample().map(|it| format!(" (about {})", it.memory.used.quantised()))),
        _ => (format!("one of {}", sets::list(who)), None),
    };
    let all = all.unwrap_or_default();
    match fate {
        Fate::NotKnown => format!("whether {one} saves its data is not known"),
        Fate::Reloads(but) => format!("should {one} die, it loads its file again, and only {but} may be lost"),
        Fate::ReloadsInItsPod => {
            format!("should {one} die, it loads its file again; with its pod that is gone, for it is on no claim")
        }
        Fate::Wiped(replicas) => {
            let replicas = if who.len() > 1 { String::new() } else { format!(" ({})", sets::list(replicas)) };
            format!(
                "should {one} die, ALL its data{all} is lost: it saves nothing, comes back EMPTY, and its replicas{replicas} copy \
                 that, unless one of them is primary by then"
            )
        }
        Fate::Lost => {
            format!(
                "should {one} die, ALL its data{all} is lost: it saves nothing, and no replica that is selected has it"
            )
        }
    }
}

/// Replicas of that set that have not all of it, and those that have.
fn behind(input: &Input<'_>, set: &SetSeen) -> String {
    let up = copies(input, set);
    let replica = |pod: &&PodName| {
        let role = input.snapshot.target(pod).and_then(Target::sample).map(|sample| &sample.replication.role);
        matches!(role, Some(Role::Replica(_)))
    };
    let behind: Vec<PodName> = set.pods.iter().filter(|pod| !up.contains(pod)).filter(replica).cloned().collect();
    match (behind.is_empty(), up.is_empty()) {
        (true, _) => String::new(),
        (false, true) => format!("; no copy is up to date ({} not)", sets::list(&behind)),
        (false, false) => format!("; up to date: {}, not: {}", sets::list(&up), sets::list(&behind)),
    }
}
