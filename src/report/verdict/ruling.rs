//! What rules the verdict: of everything that was found, due or under way the most urgent.

use std::collections::BTreeMap;

use super::super::{
    Input,
    findings::JUDGED_FIRST,
    sets::{self, Writes},
};
use crate::{
    api::v1alpha1::{FindingStatus, RedisMemoryPolicyStatus},
    assess::{WILL_RAISE, WILL_SET, fragmentation, roles},
    domain::{
        finding::{FindingCode, Severity},
        journal::Journal,
        names::{PodName, in_short, pods as counted},
        pod::StatefulSet,
        ratio::Ratio,
        snapshot::Target,
        step::Step,
    },
};

/// Whether a person has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Data, writes or the server are lost or soon will be, and the operator does not end it by itself.
    ActNow,
    /// Something is to be done, by the operator or by a person, and it can wait for the day.
    Plan,
    /// Everything was judged, and nothing is worse than Info.
    Fine,
    /// Not judged: nobody can say.
    Unknown,
}

impl Level {
    /// The word as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ActNow => "ActNow",
            Self::Plan => "Plan",
            Self::Fine => "Fine",
            Self::Unknown => "Unknown",
        }
    }
}

/// A remediation is under way.
pub(super) const REMEDIATING: &str = "Remediating";
/// Pods that a StatefulSet wants are not there.
pub(super) const PODS_MISSING: &str = "PodsMissing";
/// Nothing runs, and nothing is to run.
pub(super) const SCALED_TO_ZERO: &str = "ScaledToZero";
/// A set takes no writes, and no finding says why.
pub(super) const WRITES_STOPPED: &str = "WritesStopped";
/// A pod is not judged for everything yet.
pub(super) const NOT_JUDGED: &str = "NotJudgedYet";
/// Everything is well.
pub(super) const HEALTHY: &str = "Healthy";

/// From this share of its limit on a pod has no room that could be waited with.
const NEAR_LIMIT: Ratio = Ratio(80);
/// From this share of `maxmemory` on a server that evicts nothing is as good as full.
const NEARLY_FULL: Ratio = Ratio(95);

/// Critical findings that can wait as long as the pod has room: what they say is a risk and no loss.
const CAN_WAIT: &[FindingCode] = &[
    FindingCode::MaxmemoryUnset,
    FindingCode::HeadroomInsufficient,
    FindingCode::FragmentationCritical,
    FindingCode::FragmentationRestartDue,
    FindingCode::UtilizationCritical,
    FindingCode::EvictionPolicyUnsafe,
    FindingCode::OomKilled,
];

/// Of findings that are equally urgent these come first, in this order: what they say is the reason of others.
const FIRST: &[FindingCode] = &[
    FindingCode::PrimaryEmpty,
    FindingCode::TwoPrimaries,
    FindingCode::NoPrimary,
    FindingCode::OomKillLoop,
    FindingCode::ServiceTakesSeveralSets,
    FindingCode::Unreachable,
    FindingCode::AuthenticationFailed,
    FindingCode::TlsFailed,
    FindingCode::RssNearLimit,
    FindingCode::OomKilled,
    FindingCode::UtilizationCritical,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// The operator is about to end it.
    InHand,
    /// It can wait for the day.
    Waits,
    /// It cannot.
    Acute,
}

/// What rules, and how urgent it is.
#[derive(Clone, Debug)]
pub(super) struct Ruling<'a> {
    /// The verdict.
    pub(super) level: Level,
    /// A finding's code, or one of the words above.
    pub(super) reason: String,
    /// Its findings, where it is one: of one code, over all pods.
    findings: Vec<&'a FindingStatus>,
    /// What is said of pods that are missing.
    missing: Vec<String>,
    /// Other codes that are Warning or worse.
    also: Vec<&'a str>,
}

impl<'a> Ruling<'a> {
    /// The findings that rule.
    pub(super) fn found(&self) -> &[&'a FindingStatus] {
        &self.findings
    }

    /// The code that rules, where a finding does.
    pub(super) fn code(&self) -> Option<FindingCode> {
        self.findings.first().and_then(|finding| FindingCode::named(&finding.code))
    }

    /// The pods that it is about.
    pub(super) fn pods(&self) -> Vec<PodName> {
        self.findings.iter().filter_map(|finding| finding.pod.as_deref().map(PodName::from)).collect()
    }

    /// What is the matter.
    pub(super) fn what(&self, input: &Input<'_>) -> String {
        let also = if self.also.is_empty() { String::new() } else { format!("; also {}", in_short(&self.also, 4)) };
        format!("{}{also}", self.matter(input))
    }

    fn matter(&self, input: &Input<'_>) -> String {
        if let [first, ..] = self.findings.as_slice() {
            let stale = if first.stale { " (found earlier, not judged again yet)" } else { "" };
            let pods = self.pods();
            return match pods.as_slice() {
                [] if self.code() == Some(FindingCode::NoTargets) => {
                    let before = if self.missing.is_empty() {
                        "no pod that it matched before is remembered".to_owned()
                    } else {
                        self.missing.join("; ")
                    };
                    format!("{}; {before}", first.evidence)
                }
                [] => format!("{}{stale}", first.evidence),
                [one] => format!("{one}: {}{stale}", first.evidence),
                // Not "each" where the others' numbers are the same just now: they waver.
                [one, ..] => format!("{}, for example {one}: {}{stale}", many(&pods), first.evidence),
            };
        }
        match self.reason.as_str() {
            REMEDIATING => input.journal.map_or_else(String::new, |journal| {
                format!("{} is being restarted pod by pod, {}", journal.workload_name, step_of(journal))
            }),
            PODS_MISSING => self.missing.join("; "),
            WRITES_STOPPED => stopped(input).unwrap_or_default().1,
            NOT_JUDGED => {
                let pods = unjudged(input);
                if let Some(silent) = input.snapshot.targets.iter().find(|target| target.sample().is_none()) {
                    return format!("{}: {}", silent.pod.name, silent.why_silent());
                }
                let lacking = pods.first().and_then(|pod| input.judged.lacking(pod.as_str()));
                format!("of {} not known yet: {}", many(&pods), lacking.map_or("its state", told_by))
            }
            SCALED_TO_ZERO => {
                let sets = input.snapshot.stateful_sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>();
                format!("no pod is there, and none is wanted: spec.replicas of StatefulSet {} is 0", sets.join(", "))
            }
            HEALTHY => {
                format!("{}, all judged, none with a finding worse than Info", counted(input.snapshot.targets.len()))
            }
            reason => input.blocked.first().map_or_else(|| reason.to_owned(), |first| first.text.clone()),
        }
    }

    /// The same in a few words.
    pub(super) fn brief(&self, input: &Input<'_>) -> String {
        let pods = self.pods();
        let about = match (pods.as_slice(), self.reason.as_str()) {
            ([one], _) => format!(" {one}"),
            ([_, _, ..], _) => format!(" {} pods", pods.len()),
            ([], REMEDIATING) => input.journal.map_or_else(String::new, |journal| format!(" {}", step_of(journal))),
            ([], WRITES_STOPPED) => stopped(input).map_or_else(String::new, |(_, why)| format!(" {why}")),
            ([], PODS_MISSING) => {
                let (there, wanted) = counts(input);
                format!(" {there} of {wanted} pods are there")
            }
            ([], NOT_JUDGED) => format!(" {}", many(&unjudged(input))),
            ([], HEALTHY) => format!(" {}", counted(input.snapshot.targets.len())),
            // Of a set as a whole its name comes first.
            ([], _) => {
                let evidence = self.findings.first().map(|finding| finding.evidence.as_str()).unwrap_or_default();
                let named = evidence.split_once(": ").map(|(name, _)| name);
                let name = named.filter(|name| input.sets.iter().any(|set| set.name == *name));
                name.map_or_else(String::new, |name| format!(" {name}"))
            }
        };
        let waits = match input.blocked.first() {
            _ if self.level == Level::ActNow && self.reason != WRITES_STOPPED => {
                if stopped(input).is_some_and(|(stopped, _)| stopped) {
                    "; writes stopped".to_owned()
                } else {
                    String::new()
                }
            }
            Some(first) if self.level == Level::Plan && first.reason.as_str() != self.reason => {
                format!("; {}", first.reason)
            }
            _ => String::new(),
        };
        format!("{}{about}{waits}", self.reason)
    }
}

/// What is not known of a pod as long as it is not judged for that code.
const fn told_by(code: FindingCode) -> &'static str {
    use FindingCode as C;
    match code {
        C::FragmentationSerious | C::FragmentationCritical | C::FragmentationRestartDue | C::MemoryEfficiencyLow => {
            "how fragmented it is, which takes readings over spec.fragmentation.sustained"
        }
        C::RoleLabelMissing => "who is primary of its set",
        C::PersistenceMissing => "whether its data is written to anything that stays",
        C::TemplateTooSmall => "what its template gives a new pod",
        C::HeadroomInsufficient => {
            "what its limit must be: method Measured needs an hour of samples, and it is not measured yet"
        }
        C::ContainerUnknown | C::LimitMissing => "which container is Redis",
        _ => "all that its server has to say",
    }
}

/// "3 pods (redis-0, redis-1, redis-2)", or the only one.
fn many(pods: &[PodName]) -> String {
    match pods {
        [one] => one.to_string(),
        _ => format!("{} pods ({})", pods.len(), sets::list(pods)),
    }
}

fn step_of(journal: &Journal) -> String {
    let total = journal.steps.len();
    match journal.planned() {
        Some(planned) => {
            format!("step {} of {total}: {} {}", journal.cursor + 1, planned.step.kind(), planned.step.pod())
        }
        None => format!("all {total} steps are taken"),
    }
}

/// What rules.
pub(super) fn of<'a>(input: &Input<'a>, previous: &RedisMemoryPolicyStatus) -> Ruling<'a> {
    let mut groups: BTreeMap<&str, Vec<&FindingStatus>> = BTreeMap::new();
    for finding in input.findings.iter().filter(|finding| Severity::named(&finding.severity) >= Severity::Warning) {
        groups.entry(&finding.code).or_default().push(finding);
    }
    let missing = missing(input, previous);
    let urgent = |findings: &[&FindingStatus]| findings.iter().map(|one| urgency(input, one, previous)).max();
    let worst =
        groups.iter().filter_map(|(code, findings)| Some((urgent(findings)?, *code))).max_by_key(|(how, code)| {
            let place = FIRST.iter().position(|first| first.as_str() == *code).unwrap_or(FIRST.len());
            let found = input.findings.iter().position(|finding| finding.code == *code).unwrap_or(usize::MAX);
            (*how, std::cmp::Reverse((place, found)))
        });
    let ruled = |level, code: &'a str| Ruling {
        level,
        reason: code.to_owned(),
        findings: most_urgent_first(input, groups.get(code).map(Vec::as_slice).unwrap_or_default(), previous),
        missing: missing.clone(),
        also: groups.keys().copied().filter(|other| *other != code).collect(),
    };
    let by_word = |level, word: &str| Ruling {
        level,
        reason: word.to_owned(),
        findings: Vec::new(),
        missing: missing.clone(),
        also: groups.keys().copied().collect(),
    };
    match worst {
        Some((Urgency::Acute, code)) => return ruled(Level::ActNow, code),
        _ if input.journal.is_none() && stopped(input).is_some_and(|(stopped, _)| stopped) => {
            return by_word(Level::ActNow, WRITES_STOPPED);
        }
        _ if input.journal.is_some() => return by_word(Level::Plan, REMEDIATING),
        _ if stopped(input).is_some() => return by_word(Level::Plan, WRITES_STOPPED),
        _ if !missing.is_empty() => return by_word(Level::Plan, PODS_MISSING),
        Some((Urgency::Waits, code)) if !nothing_answers(input) => return ruled(Level::Plan, code),
        Some((_, code)) if nothing_answers(input) => return ruled(Level::Unknown, code),
        None if sets::all_scaled_to_zero(previous, input.snapshot) => return by_word(Level::Fine, SCALED_TO_ZERO),
        _ if input.snapshot.targets.is_empty() => {
            let mut none = by_word(Level::Unknown, FindingCode::NoTargets.as_str());
            none.findings = input.findings.iter().filter(|finding| finding.code == none.reason).collect();
            return none;
        }
        _ => {}
    }
    match (worst, input.blocked.first()) {
        (Some((_, code)), _) => ruled(Level::Plan, code),
        (None, Some(first)) => by_word(Level::Plan, first.reason.as_str()),
        (None, None) if !unjudged(input).is_empty() => by_word(Level::Unknown, NOT_JUDGED),
        (None, None) => by_word(Level::Fine, HEALTHY),
    }
}

fn most_urgent_first<'a>(
    input: &Input<'_>,
    findings: &[&'a FindingStatus],
    previous: &RedisMemoryPolicyStatus,
) -> Vec<&'a FindingStatus> {
    let mut findings = findings.to_vec();
    findings.sort_by_key(|finding| std::cmp::Reverse(urgency(input, finding, previous)));
    findings
}

fn urgency(input: &Input<'_>, finding: &FindingStatus, previous: &RedisMemoryPolicyStatus) -> Urgency {
    if is_promised(&finding.remedy) || is_judged_first(finding) || is_cured(input, finding) {
        return Urgency::InHand;
    }
    let code = FindingCode::named(&finding.code);
    let critical = Severity::named(&finding.severity) == Severity::Critical;
    match code {
        Some(code) if critical && CAN_WAIT.contains(&code) => {
            if has_room(input, finding) {
                Urgency::Waits
            } else {
                Urgency::Acute
            }
        }
        _ if critical => Urgency::Acute,
        Some(FindingCode::NoTargets) => Urgency::Acute,
        Some(FindingCode::Unreachable | FindingCode::AuthenticationFailed | FindingCode::TlsFailed)
            if leaves_no_primary(input, finding, previous) =>
        {
            Urgency::Acute
        }
        _ => Urgency::Waits,
    }
}

/// The operator has said that it is about to do that; what it says is held against the decision.
pub(in crate::report) fn is_promised(remedy: &str) -> bool {
    [fragmentation::WILL_RESTART, WILL_RAISE, WILL_SET, roles::WILL_LABEL]
        .iter()
        .any(|promise| remedy.starts_with(promise))
}

/// The operator is about to do something about that pod, of what these findings say.
pub(super) fn is_in_hand<'a>(findings: impl IntoIterator<Item = &'a FindingStatus>, pod: &PodName) -> bool {
    let mut of_it = findings.into_iter().filter(|finding| finding.pod.as_deref() == Some(pod.as_str()));
    of_it.any(|finding| is_promised(&finding.remedy))
}

/// It was promised at another look: it is judged again, and then promised anew, or over.
pub(super) fn is_judged_first(finding: &FindingStatus) -> bool {
    finding.remedy == JUDGED_FIRST
}

/// The remediation under way, with nothing in its way, is about to cure that.
fn is_cured(input: &Input<'_>, finding: &FindingStatus) -> bool {
    let Some(journal) = input.journal.filter(|_| input.blocked.is_empty()) else { return false };
    let hands_over = matches!(journal.planned().map(|planned| &planned.step), Some(Step::Switchover { .. }));
    match finding.pod.as_deref() {
        Some(pod) => journal.members.iter().any(|member| member.identity.pod.as_str() == pod),
        None => hands_over && finding.code == FindingCode::NoPrimary.as_str(),
    }
}

/// Nothing of that pod is about to run out.
fn has_room(input: &Input<'_>, finding: &FindingStatus) -> bool {
    let Some(target) = finding.pod.as_deref().and_then(|pod| input.snapshot.target(&pod.into())) else { return true };
    let Some(sample) = target.sample() else { return true };
    let limit = target.pod.limit();
    let near = limit.and_then(|limit| Ratio::of(sample.memory.rss, limit)).is_some_and(|share| share >= NEAR_LIMIT);
    let full = Ratio::of(sample.memory.used, sample.memory.maxmemory).is_some_and(|share| share >= NEARLY_FULL);
    let evicts = sample.memory.maxmemory_policy.starts_with("allkeys-");
    !near && (!full || evicts)
}

/// Nobody of that pod's set is known to be primary, and that pod may be it. A set of which nobody has ever answered says
/// nothing.
fn leaves_no_primary(input: &Input<'_>, finding: &FindingStatus, previous: &RedisMemoryPolicyStatus) -> bool {
    let pod = finding.pod.as_deref().unwrap_or_default();
    let Some(set) = input.sets.iter().find(|set| set.pods.iter().any(|one| one.as_str() == pod)) else { return false };
    let had_one = |name: &PodName| {
        let controller = input.snapshot.target(name).and_then(|target| sets::controller(input.snapshot, target));
        let known = previous.summary.as_ref().map(|summary| summary.sets.as_slice()).unwrap_or_default();
        known.iter().any(|set| set.last_primary.is_some() && controller.as_ref() == Some(&set.name))
    };
    set.primaries.is_empty() && (set.silent.len() < set.pods.len() || set.pods.iter().any(had_one))
}

/// There are pods, and none of them answers.
fn nothing_answers(input: &Input<'_>) -> bool {
    let targets = &input.snapshot.targets;
    !targets.is_empty() && targets.iter().all(|target| target.sample().is_none())
}

/// The first set that takes no writes: whether it does not pass by itself, and why.
fn stopped(input: &Input<'_>) -> Option<(bool, String)> {
    let why = |set: &sets::SetSeen| match &set.writes {
        Writes::Stopped(why) => Some((true, format!("{}: {why}", set.name))),
        Writes::Pause(why) => Some((false, format!("{}: {why}", set.name))),
        Writes::GoOn | Writes::Split(_) | Writes::Unknown(_) => None,
    };
    input.sets.iter().filter_map(why).max_by_key(|(stopped, _)| *stopped)
}

/// Selected pods that do not run, by what Kubernetes says of them.
pub(super) fn not_running<'a>(input: &Input<'a>) -> impl Iterator<Item = &'a Target> {
    let troubled = |target: &&Target| target.sample().is_none() && target.pod.trouble.is_some();
    input.snapshot.targets.iter().filter(troubled)
}

/// Pods that are not judged for everything.
fn unjudged(input: &Input<'_>) -> Vec<PodName> {
    let names = input.snapshot.targets.iter().map(|target| &target.pod.name);
    names.filter(|name| !input.judged.fully(name.as_str())).cloned().collect()
}

/// What of each set is missing, but for that of the remediation under way, which restarts pods on purpose.
fn missing(input: &Input<'_>, previous: &RedisMemoryPolicyStatus) -> Vec<String> {
    let restarted = input.journal.and_then(|journal| input.sets.iter().find(|set| set.name == journal.workload_name));
    let owner = |pod: &PodName| Some(&input.snapshot.target(pod)?.pod.owner.as_ref()?.uid);
    let on_purpose = |set: &StatefulSet| {
        restarted.is_some_and(|restarted| restarted.pods.iter().any(|pod| owner(pod) == Some(&set.uid)))
    };
    let few = sets::short(input).filter(|(set, _)| !on_purpose(set)).map(|(set, there)| {
        let (name, wanted) = (&set.name, set.replicas);
        let wanted = counted(wanted);
        format!("of the {wanted} that StatefulSet {name} wants {there} are there and selected")
    });
    let gone = sets::summary(input, previous).into_iter().filter(|set| set.pods == 0);
    let none = gone.filter_map(|set| {
        let primary = set.last_primary.map_or_else(String::new, |primary| format!(", {primary} was its primary"));
        let since = set.gone_since.map_or_else(String::new, |since| format!(" (noticed {})", super::shown(since)));
        match sets::without(input.snapshot, &set.name).map(|set| set.replicas) {
            // Nobody wants any.
            Some(0) => None,
            Some(wanted) => Some(format!(
                "of the {} that StatefulSet {} wants none is there and selected{since}{primary}",
                counted(wanted),
                set.name
            )),
            None => Some(format!("{} had pods and has none any more{since}{primary}", set.name)),
        }
    });
    let restarted = input.journal.is_some();
    let waiting = not_running(input).filter(|_| !restarted);
    let waiting = waiting.map(|target| format!("{} is {}", target.pod.name, target.pod.not_ready()));
    few.chain(none).chain(waiting).collect()
}

/// Pods that are there, and that are wanted.
fn counts(input: &Input<'_>) -> (usize, usize) {
    let there = input.snapshot.targets.len();
    let short: usize = sets::short(input).map(|(set, there)| usize::try_from(set.replicas).unwrap_or(0) - there).sum();
    (there.saturating_sub(not_running(input).count()), there.saturating_add(short))
}
