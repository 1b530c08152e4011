//! What people are told: the status, its conditions and findings, and the events between two of them; and when it is news.
//! Pure: previous and new status → write or not.

pub mod conditions;
pub mod findings;
mod members;
pub mod refusals;
pub mod sets;
pub mod transitions;
pub mod verdict;

use std::time::Duration;

use jiff::Timestamp;

use self::{conditions::Known, sets::SetSeen};
use crate::{
    api::v1alpha1::{FindingStatus, PlanMember, PlanStatus, RedisMemoryPolicyStatus, Summary},
    assess::judged::Judged,
    domain::blocked::Blocked,
    domain::{
        bytes::Bytes,
        journal::{Journal, WorkloadRecord},
        oom::PodKills,
        policy::Policy,
        quantity,
        ratio::Ratio,
        sample::Sample,
        snapshot::Snapshot,
        step::Plan,
    },
};

/// The status shows this many findings, the worst first.
const MAX_FINDINGS: usize = 20;
/// A change of nothing but numbers is written at most this often.
const NUMBERS_EVERY: Duration = Duration::from_secs(600);

/// What a report is made from.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The validated policy.
    pub policy: &'a Policy,
    /// Generation of the evaluated spec.
    pub generation: i64,
    /// What was observed.
    pub snapshot: &'a Snapshot,
    /// The sets that were seen.
    pub sets: &'a [SetSeen],
    /// What is found, and what was found earlier and could not be judged again ([`findings::shown`]).
    pub findings: &'a [FindingStatus],
    /// What could be judged.
    pub judged: &'a Judged,
    /// Kills by the kernel that nobody has taken note of.
    pub kills: &'a [PodKills],
    /// What is due or under way.
    pub plan: Option<&'a Plan>,
    /// What is in the way.
    pub blocked: &'a [Blocked],
    /// The remediation under way.
    pub journal: Option<&'a Journal>,
    /// What is remembered.
    pub records: &'a [WorkloadRecord],
    /// Now.
    pub now: Timestamp,
}

/// The part of the status that the main field manager writes: everything but journal and workloads.
pub fn status(input: &Input<'_>, previous: &RedisMemoryPolicyStatus) -> RedisMemoryPolicyStatus {
    let sampled = input.snapshot.targets.iter().filter(|target| target.sample().is_some()).count();
    let verdict = verdict::of(input, previous);
    let known = Known {
        findings: input.findings,
        judged: input.judged,
        blocked: input.blocked,
        due: input.plan,
        journal: input.journal,
        records: input.records,
        verdict: &verdict,
    };
    let mut findings = findings::grouped(input.findings);
    // What rules comes first; the rest stays in its order.
    findings.sort_by_key(|finding| finding.code != verdict.reason);
    findings.truncate(MAX_FINDINGS);
    let conditions = conditions::evaluated(&known, &previous.conditions, input.generation, input.now);
    RedisMemoryPolicyStatus {
        verdict: Some(verdict),
        observed_generation: Some(input.generation),
        conditions,
        summary: Some(summary(input, sampled, previous)),
        findings,
        oom_kills: input.kills.to_vec(),
        refusals: refusals::status(input, previous),
        plan: input.plan.map(|plan| plan_status(plan, members::of(input, plan), previous)),
        ..RedisMemoryPolicyStatus::default()
    }
}

/// The status of a policy that cannot be evaluated.
pub fn stalled(
    reason: &str,
    message: &str,
    generation: i64,
    previous: &RedisMemoryPolicyStatus,
    now: Timestamp,
) -> RedisMemoryPolicyStatus {
    let findings = findings::grouped(&findings::all(previous));
    RedisMemoryPolicyStatus {
        verdict: Some(verdict::stalled(reason, message, &findings, previous, now)),
        observed_generation: Some(generation),
        conditions: conditions::stalled(reason, message, &findings, &previous.conditions, generation, now),
        findings,
        oom_kills: previous.oom_kills.clone(),
        ..RedisMemoryPolicyStatus::default()
    }
}

/// Says in a status that the spec as it is written is not used, and why: what was made of the spec before still holds.
pub fn spec_not_used(
    status: &mut RedisMemoryPolicyStatus,
    previous: &RedisMemoryPolicyStatus,
    (reason, text): (&str, &str),
    generation: i64,
    now: Timestamp,
) {
    for (kind, holds) in [("Ready", false), ("Stalled", true)] {
        let earlier = previous.conditions.iter().find(|it| it.type_ == kind).cloned();
        if let (Some(earlier), Some(new)) = (earlier, status.conditions.iter_mut().find(|it| it.type_ == kind)) {
            *new = earlier;
        }
        conditions::replace(&mut status.conditions, kind, (holds, reason, text), generation, now);
    }
}

/// A plan of the same hash keeps the reasons that were shown first, so that what is done reads as what was announced.
fn plan_status(plan: &Plan, members: Vec<PlanMember>, previous: &RedisMemoryPolicyStatus) -> PlanStatus {
    let shown = previous.plan.as_ref().filter(|shown| shown.hash == plan.hash);
    let same = |one: &PlanMember, other: &PlanMember| {
        (&one.pod, &one.role, one.restarted) == (&other.pod, &other.role, other.restarted)
            && Words(&one.why) == Words(&other.why)
    };
    let shown_members = shown.map(|shown| shown.members.clone()).filter(|shown| {
        shown.len() == members.len() && shown.iter().zip(&members).all(|(shown, member)| same(shown, member))
    });
    PlanStatus {
        workload: plan.workload_name.clone(),
        hash: plan.hash.clone(),
        steps: shown.map_or_else(|| plan.steps.clone(), |shown| shown.steps.clone()),
        write_gap: shown.map_or_else(|| plan.write_gap.clone(), |shown| shown.write_gap.clone()),
        members: shown_members.unwrap_or(members),
    }
}

fn summary(input: &Input<'_>, sampled: usize, status: &RedisMemoryPolicyStatus) -> Summary {
    let previous = status.summary.as_ref();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let targets = &input.snapshot.targets;
    let well = |pod: &str| conditions::compliant(input.findings, input.judged, pod) == Some(true);
    let compliant = targets.iter().filter(|target| well(target.pod.name.as_str()));
    let seen = || targets.iter().filter_map(|target| target.sample());
    let worst = worst_ratio(seen());
    let waste: Bytes = seen().map(|sample| sample.memory.waste()).sum();
    Summary {
        targets: count(targets.len()),
        reachable: count(sampled),
        compliant: count(compliant.count()),
        worst_fragmentation: worst.map(|ratio| steady_ratio(ratio, previous)),
        waste: (sampled > 0).then(|| steady_waste(waste, previous)),
        sets: sets::summary(input, status),
        last_action: last_action(input),
    }
}

/// The worst ratio that means something: an almost empty server has a ratio of ten.
pub fn worst_ratio<'a>(samples: impl Iterator<Item = &'a Sample>) -> Option<Ratio> {
    samples.filter(|sample| sample.memory.rss >= Bytes::mib(64)).map(|sample| sample.memory.ratio).max()
}

/// A ratio that is no further than this from the shown one is shown as before (percent: two of its steps).
const RATIO_HYSTERESIS: u32 = 20;
/// Waste that is no further than this from the shown one is shown as before: what allocators breathe at rest.
const WASTE_HYSTERESIS: Bytes = Bytes::mib(16);

/// The ratio as it is shown: what was shown before, as long as it still says the same.
fn steady_ratio(ratio: Ratio, previous: Option<&Summary>) -> String {
    let shown = previous.and_then(|summary| summary.worst_fragmentation.as_ref());
    let percent = |text: &str| text.replace('.', "").parse::<u32>().ok().map(|tenths| tenths.saturating_mul(10));
    let near = |text: &&String| percent(text).is_some_and(|before| before.abs_diff(ratio.0) <= RATIO_HYSTERESIS);
    shown.filter(near).cloned().unwrap_or_else(|| tenths(ratio.quantised()))
}

/// The waste as it is shown: what was shown before, as long as it still says the same.
fn steady_waste(waste: Bytes, previous: Option<&Summary>) -> String {
    let shown = previous.and_then(|summary| summary.waste.as_deref());
    steady_bytes(waste, shown, WASTE_HYSTERESIS.max(Bytes(waste.quantum())))
}

/// Bytes as they are shown: what was shown before, where they are no further from it than this.
fn steady_bytes(bytes: Bytes, shown: Option<&str>, allowed: Bytes) -> String {
    // "69.4 MiB" is the quantity 69.4Mi, "512 B" is 512.
    let read = |text: &str| quantity::parse(&text.replace([' ', 'B'], "")).ok();
    let near = |text: &&str| read(text).is_some_and(|before| Bytes(before.0.abs_diff(bytes.0)) <= allowed);
    shown.filter(near).map_or_else(|| bytes.quantised().to_string(), str::to_owned)
}

/// "2.5": a quantised ratio has no hundredths.
fn tenths(ratio: Ratio) -> String {
    format!("{}.{}", ratio.0 / 100, ratio.0 % 100 / 10)
}

fn last_action(input: &Input<'_>) -> Option<String> {
    if let Some(planned) = input.journal.and_then(Journal::planned) {
        return Some(format!("{} {}", planned.step.kind(), planned.step.pod()));
    }
    let ended = input.records.iter().filter_map(|record| Some((record, record.outcome?)));
    let (last, outcome) = ended.max_by_key(|(record, _)| record.ended_at)?;
    Some(format!("{} {}", outcome.as_str(), last.name).chars().take(128).collect())
}

/// What people read of a status: without the fields of the journal, which are written apart from it.
pub fn for_people(status: RedisMemoryPolicyStatus) -> RedisMemoryPolicyStatus {
    RedisMemoryPolicyStatus { workloads: Vec::new(), request: None, journal: None, frozen_spec: None, ..status }
}

/// Whether the new status is worth a write. Nothing is written at rest; a change of numbers alone waits.
pub fn worth_writing(
    previous: &RedisMemoryPolicyStatus,
    new: &RedisMemoryPolicyStatus,
    since_last_write: Option<Duration>,
) -> bool {
    // Who wrote it last is no news: two installs that judge the same must not write in turn.
    let same = RedisMemoryPolicyStatus { operator: new.operator.clone(), ..for_people(previous.clone()) } == *new;
    // At rest it is, and no text is taken apart.
    !same && (essence(previous) != essence(new) || since_last_write.is_some_and(|since| since >= NUMBERS_EVERY))
}

/// Whether both say the same to people, numbers aside.
pub fn says_the_same(one: &RedisMemoryPolicyStatus, other: &RedisMemoryPolicyStatus) -> bool {
    essence(one) == essence(other)
}

/// What of a status is more than a number: everything, with the digits of its texts taken out.
fn essence(status: &RedisMemoryPolicyStatus) -> impl PartialEq + '_ {
    let conditions: Vec<_> = status
        .conditions
        .iter()
        .map(|condition| {
            // Which step is under way is a number that matters; what a remediation gave up on has numbers that waver.
            let under_way = condition.type_ == "Remediating" && condition.status == "True";
            let step = under_way.then_some(condition.message.as_str());
            let words = Words(&condition.message);
            (&condition.type_, &condition.status, &condition.reason, condition.observed_generation, step, words)
        })
        .collect();
    let findings: Vec<_> = status
        .findings
        .iter()
        .map(|finding| {
            let words = (Words(&finding.evidence), Words(&finding.remedy));
            (&finding.code, &finding.severity, &finding.pod, &finding.pods, finding.stale, words)
        })
        .collect();
    let counts =
        status.summary.as_ref().map(|s| (s.targets, s.reachable, s.compliant, &s.sets, s.last_action.as_deref()));
    let verdict = status.verdict.as_ref().map(|v| (&v.level, &v.reason, Words(&v.brief), Words(&v.sentence)));
    let refusals: Vec<_> = status.refusals.iter().map(|refusal| (&refusal.reason, Words(&refusal.text))).collect();
    let plan = status.plan.as_ref().map(|plan| {
        let members =
            plan.members.iter().map(|member| (&member.pod, &member.role, member.restarted, Words(&member.why)));
        (&plan.hash, members.collect::<Vec<_>>())
    });
    let kills: Vec<_> = status.oom_kills.iter().map(|kills| (&kills.pod, kills.last_at)).collect();
    (verdict, status.observed_generation, conditions, findings, counts, refusals, (kills, plan))
}

/// A text that is the same as another when only their numbers differ. Units go with them, for 999 KiB and 1 MiB, or 110 min and
/// 2 h, waver too.
struct Words<'a>(&'a str);

impl PartialEq for Words<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.without_numbers().eq(other.without_numbers())
    }
}

impl<'a> Words<'a> {
    fn without_numbers(&self) -> impl Iterator<Item = &'a str> {
        let unit = |word: &&str| {
            let word = word.trim_end_matches([',', ';', ':', ')', '.']);
            let bytes = word.strip_suffix("/h").unwrap_or(word);
            !matches!(bytes, "B" | "KiB" | "MiB" | "GiB" | "TiB" | "s" | "min" | "h")
        };
        let number =
            |word: &str| word.trim_start_matches(['(', '-', '<', '>', '=']).starts_with(|c: char| c.is_ascii_digit());
        self.0.split_whitespace().filter(unit).map(move |word| if number(word) { "" } else { word })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ratio: &str, waste: &str) -> Summary {
        Summary { worst_fragmentation: Some(ratio.into()), waste: Some(waste.into()), ..Summary::default() }
    }

    #[test]
    fn a_number_that_wavers_stays_as_it_was_shown() {
        let before = shown("2.4", "470 MiB");
        assert_eq!(steady_ratio(Ratio(255), Some(&before)), "2.4");
        assert_eq!(steady_ratio(Ratio(226), Some(&before)), "2.4");
        assert_eq!(steady_ratio(Ratio(262), Some(&before)), "2.6");
        assert_eq!(steady_waste(Bytes::mib(484), Some(&before)), "470 MiB");
        assert_eq!(steady_waste(Bytes::mib(495), Some(&before)), "500 MiB");
        assert_eq!(steady_waste(Bytes::mib(476), None), "480 MiB");
        let small = shown("1.1", "6.40 MiB");
        assert_eq!(steady_waste(Bytes::mib(20), Some(&small)), "6.40 MiB");
        assert_eq!(steady_waste(Bytes::mib(30), Some(&small)), "30 MiB");
    }

    #[test]
    fn another_text_under_the_same_code_is_news() {
        let status = |evidence: &str| RedisMemoryPolicyStatus {
            findings: vec![FindingStatus {
                code: "AuthenticationFailed".into(),
                severity: "Warning".into(),
                pod: Some("redis-0".into()),
                pod_uid: None,
                pods: Vec::new(),
                since: None,
                stale: false,
                evidence: evidence.into(),
                remedy: String::new(),
                remedy_afterwards: String::new(),
            }],
            ..RedisMemoryPolicyStatus::default()
        };
        let written = |a: &str, b: &str| worth_writing(&status(a), &status(b), Some(Duration::ZERO));
        assert!(written("Secret redis-auth does not exist", "Secret redis-auth has no key password"));
        assert!(!written("fragmentation 2.40, waste 999 KiB", "fragmentation 2.50, waste 1.20 MiB"));
        assert!(!written("full in about 110 min at 999 KiB/h, and", "full in about 2 h at 1.1 MiB/h, and"));
        assert!(written("full in about 10 min at 9 MiB/h", "full in less than 10 min at 9 MiB/h"), "now it is soon");
    }

    // Found by the simulator: a remediation gave up on two primaries, whose offsets stood in the text, and the status was
    // written at every look.
    #[test]
    fn the_step_that_is_under_way_is_news_and_numbers_of_what_was_given_up_on_are_not() {
        let written = |holds: bool, before: &str, after: &str| {
            let status = |message: &str| {
                let mut status = RedisMemoryPolicyStatus::default();
                conditions::replace(
                    &mut status.conditions,
                    "Remediating",
                    (holds, "X", message),
                    1,
                    Timestamp::UNIX_EPOCH,
                );
                status
            };
            worth_writing(&status(before), &status(after), Some(Duration::ZERO))
        };
        assert!(written(true, "step 2 of 14: evict redis-1", "step 3 of 14: evict redis-1"));
        assert!(!written(false, "gave up: redis-0 has offset 1097200", "gave up: redis-0 has offset 1098000"));
    }

    #[test]
    fn numbers_alone_are_written_every_ten_minutes_at_most() {
        let status = |waste: &str| RedisMemoryPolicyStatus {
            observed_generation: Some(1),
            summary: Some(shown("2.4", waste)),
            ..RedisMemoryPolicyStatus::default()
        };
        let (before, after) = (status("470 MiB"), status("500 MiB"));
        assert!(!worth_writing(&before, &before, Some(Duration::from_secs(3600))), "nothing changed");
        assert!(!worth_writing(&before, &after, Some(Duration::from_secs(599))));
        assert!(worth_writing(&before, &after, Some(Duration::from_secs(600))));
        assert!(!worth_writing(&before, &after, None), "a process that has just started waits too");
        let mut more = after;
        more.observed_generation = Some(2);
        assert!(worth_writing(&before, &more, Some(Duration::ZERO)), "a new generation is news");
    }
}
