//! What is not known is neither good nor bad: an operator that starts anew, a pod that does not answer, one that is gone.

use proptest::prelude::*;

use super::*;

mod measured;

use crate::{
    assess::{AssessSettings, Assessment, nodes},
    domain::{
        bytes::Bytes,
        fixtures::{self, NOW},
        node::{Node, Others},
        oom::Kill,
        policy::{AuthorityRule, Mode, Policy},
        ratio::Ratio,
        sample::{ConfigUnreadable, Role, Sample},
        snapshot::{Observation, ProbeFailure, RedisRights},
    },
    report::{self, transitions},
};

/// The status that follows from one look, after that earlier status.
fn look(policy: &Policy, snapshot: &Snapshot, previous: &RedisMemoryPolicyStatus) -> RedisMemoryPolicyStatus {
    let settings = AssessSettings::default();
    let look = Assessment::of(policy, snapshot, &settings);
    let judged = Judged::of(&look);
    let findings = shown(&look.findings(&[], None), &judged, snapshot, previous);
    let input = report::Input {
        policy,
        sets: &report::sets::of(&look),
        generation: 1,
        snapshot,
        findings: &findings,
        judged: &judged,
        kills: &[],
        plan: None,
        blocked: &[],
        journal: None,
        records: &[],
        now: NOW,
    };
    report::status(&input, previous)
}

fn first(policy: &Policy, snapshot: &Snapshot) -> RedisMemoryPolicyStatus {
    look(policy, snapshot, &RedisMemoryPolicyStatus::default())
}

fn condition<'a>(status: &'a RedisMemoryPolicyStatus, kind: &str) -> (&'a str, &'a str) {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind).expect("the condition");
    (&found.status, &found.reason)
}

fn events(before: &RedisMemoryPolicyStatus, after: &RedisMemoryPolicyStatus, snapshot: &Snapshot) -> Vec<String> {
    let all = transitions::between(before, after, |pod| is_there(snapshot, pod), |code| nodes::unseen(code, snapshot));
    all.into_iter().map(|event| event.note.reason).collect()
}

fn restarted_operator(snapshot: &mut Snapshot) {
    for target in &mut snapshot.targets {
        target.redis = Observation::Pending;
        target.history.clear();
    }
}

#[test]
fn a_restarted_operator_resolves_nothing() {
    let policy = fixtures::policy();
    let mut snapshot = fixtures::three_pods();
    let before = first(&policy, &snapshot);
    assert_eq!(condition(&before, "FragmentationWithinBounds"), ("False", "FragmentationRestartDue"));
    assert_eq!(condition(&before, "HeadroomSufficient").0, "True");

    restarted_operator(&mut snapshot);
    let blind = look(&policy, &snapshot, &before);
    assert_eq!(events(&before, &blind, &snapshot), Vec::<String>::new());
    assert_eq!(condition(&blind, "FragmentationWithinBounds"), ("False", "FragmentationRestartDue"));
    assert_eq!(condition(&blind, "HeadroomSufficient"), ("Unknown", "NotEnoughReadings"), "what was well is not known");
    assert!(blind.findings.iter().all(|finding| finding.stale), "{:#?}", blind.findings);
    assert_eq!(blind.summary.as_ref().map(|summary| summary.compliant), Some(0));

    // A sample alone judges no fragmentation: it needs readings.
    let mut answered = fixtures::three_pods();
    answered.targets.iter_mut().for_each(|target| target.history.clear());
    let young = look(&policy, &answered, &blind);
    assert_eq!(events(&blind, &young, &answered), Vec::<String>::new());
    assert_eq!(condition(&young, "FragmentationWithinBounds").0, "False");
    assert_eq!(condition(&young, "HeadroomSufficient").0, "True");

    let again = look(&policy, &fixtures::three_pods(), &young);
    assert_eq!(events(&young, &again, &snapshot), Vec::<String>::new(), "it is no news either");
    assert!(again.findings.iter().all(|finding| !finding.stale));
}

fn cured(snapshot: &mut Snapshot, n: usize) {
    let target = &mut snapshot.targets[n];
    for reading in &mut target.history {
        (reading.ratio, reading.rss) = (Ratio(110), Bytes::mib(76));
    }
    if let Observation::Seen(sample) = &mut target.redis {
        (sample.memory.ratio, sample.memory.rss) = (Ratio(110), Bytes::mib(76));
    }
}

#[test]
fn resolved_means_judged_and_not_found() {
    let policy = fixtures::policy();
    let before = first(&policy, &fixtures::three_pods());
    let mut snapshot = fixtures::three_pods();
    cured(&mut snapshot, 1);
    let after = look(&policy, &snapshot, &before);
    assert_eq!(events(&before, &after, &snapshot), ["FragmentationRestartDueResolved"]);
    assert_eq!(condition(&after, "FragmentationWithinBounds").0, "False", "two are left");
}

/// Right after a remediation the last restarted pod has too few readings: its restart is not promised again.
#[test]
fn the_verdict_promises_nothing_by_what_was_found_in_the_pod_before() {
    let policy = fixtures::policy();
    let before = first(&policy, &fixtures::three_pods());
    let mut snapshot = fixtures::three_pods();
    (0..3).for_each(|n| cured(&mut snapshot, n));
    snapshot.targets[0].pod.uid = "another".into();
    snapshot.targets[0].history.clear();
    let verdict = look(&policy, &snapshot, &before).verdict.expect("every status has one");
    assert_eq!((verdict.level.as_str(), verdict.reason.as_str()), ("Plan", "FragmentationRestartDue"));
    let (_, next) = verdict.sentence.split_once("Operator: ").expect("what is done next");
    assert_eq!(next, "judges it again, by readings of now, before it does anything about it. You: nothing");
}

/// The finding was about a pod that is gone: it is over when the pod that took its place is judged, not before.
#[test]
fn a_replacement_resolves_nothing_before_it_is_judged() {
    let policy = fixtures::policy();
    let before = first(&policy, &fixtures::three_pods());
    let mut snapshot = fixtures::three_pods();
    cured(&mut snapshot, 1);
    snapshot.targets[1].pod.uid = "another".into();
    snapshot.targets[1].history.clear();
    let young = look(&policy, &snapshot, &before);
    assert_eq!(events(&before, &young, &snapshot), Vec::<String>::new());
    let of_1 = young.findings.iter().find(|finding| finding.pod.as_deref() == Some("redis-1")).expect("carried");
    // It was one of a group, which keeps the UID of its first pod.
    assert!(of_1.stale && of_1.pod_uid.is_none(), "never that of the new pod: {of_1:?}");
    assert_eq!(of_1.remedy, JUDGED_FIRST, "what was promised of the pod before is not promised of this one");

    // Between the two nothing has that name.
    snapshot.targets.remove(1);
    let gone = look(&policy, &snapshot, &before);
    assert!(!events(&before, &gone, &snapshot).iter().any(|reason| reason.contains("Resolved")));
    assert!(gone.findings.iter().any(|finding| finding.pod.as_deref() == Some("redis-1") && finding.stale));

    // Scaled down it does not come back: nothing is left to say, and nothing was resolved.
    snapshot.stateful_sets[0].replicas = 1;
    let fewer = look(&policy, &snapshot, &before);
    assert!(!fewer.findings.iter().any(|finding| finding.pod.as_deref() == Some("redis-1")));
    assert!(!events(&before, &fewer, &snapshot).iter().any(|reason| reason.contains("Resolved")));
}

#[test]
fn a_policy_that_cannot_be_evaluated_keeps_what_was_found() {
    let before = first(&fixtures::policy(), &fixtures::three_pods());
    let stalled = report::stalled("InvalidSpec", "no", 2, &before, NOW);
    assert_eq!(condition(&stalled, "FragmentationWithinBounds"), ("False", "FragmentationRestartDue"));
    assert_eq!(condition(&stalled, "HeadroomSufficient"), ("Unknown", "InvalidSpec"));
    assert_eq!(events(&before, &stalled, &fixtures::three_pods()), Vec::<String>::new());
}

#[test]
fn no_pods_where_there_were_some_is_a_warning_and_resolves_nothing() {
    let policy = fixtures::policy();
    let empty = Snapshot { targets: Vec::new(), stateful_sets: Vec::new(), ..fixtures::three_pods() };
    let severity = |status: &RedisMemoryPolicyStatus| {
        status.findings.iter().find(|finding| finding.code == "NoTargets").map(|finding| finding.severity.clone())
    };
    assert_eq!(severity(&first(&policy, &empty)).as_deref(), Some("Info"));
    let before = first(&policy, &fixtures::three_pods());
    let none = look(&policy, &empty, &before);
    assert_eq!(severity(&none).as_deref(), Some("Warning"));
    assert_eq!(events(&before, &none, &empty), ["NoTargets"]);
    assert_eq!(condition(&none, "HeadroomSufficient").0, "Unknown");
    assert_eq!(severity(&look(&policy, &empty, &none)).as_deref(), Some("Warning"), "and stays one");
}

/// The right to read nodes was taken away: what was found with it goes, and nobody says that it is over.
#[test]
fn what_may_not_be_seen_any_more_is_not_resolved() {
    let (policy, mut snapshot) = (fixtures::policy(), fixtures::three_pods());
    snapshot.targets.iter_mut().for_each(|target| target.pod.node = Some("a".into()));
    let node = |mib| Node { name: "a".into(), allocatable: Some(Bytes::mib(mib)), others: Others::default() };
    snapshot.nodes = vec![node(2048)];
    let before = first(&policy, &snapshot);
    let has_it = |status: &RedisMemoryPolicyStatus| status.findings.iter().any(|it| it.code == "NodeOvercommitted");
    assert!(has_it(&before), "{:#?}", before.findings);
    let mut larger = snapshot.clone();
    larger.nodes = vec![node(8192)];
    assert_eq!(events(&before, &look(&policy, &larger, &before), &larger), ["NodeOvercommittedResolved"]);
    snapshot.nodes.clear();
    let after = look(&policy, &snapshot, &before);
    assert!(!has_it(&after), "{:#?}", after.findings);
    assert_eq!(events(&before, &after, &snapshot), ["NodeOvercommittedUnseen"]);
}

/// One way of being unwell.
fn break_it(what: u8, policy: &mut Policy, snapshot: &mut Snapshot) {
    fn sample(snapshot: &mut Snapshot, n: usize) -> Option<&mut Sample> {
        match &mut snapshot.targets[n].redis {
            Observation::Seen(sample) => Some(sample),
            Observation::Failed(_) | Observation::Pending => None,
        }
    }
    let Some(one) = sample(snapshot, 1) else { return };
    match what {
        0 => one.memory.maxmemory = Bytes::ZERO,
        1 => one.memory.rss = Bytes::mib(900),
        2 => one.replication.role = Role::Primary,
        3 => policy.eviction_allowed = vec!["noeviction".into()],
        4 => policy.redis.authority = AuthorityRule::Operator,
        5 => snapshot.targets[1].pod.role_label = None,
        6 => (0..3).for_each(|n| cured(snapshot, n)),
        7 => cured(snapshot, 0),
        8 => snapshot.targets[1].pod.container = Err(crate::domain::pod::ContainerProblem("none".into())),
        9 => {
            if let Ok(container) = &mut snapshot.targets[2].pod.container {
                (container.live_limit, container.spec_limit) = (Some(Bytes::mib(600)), Some(Bytes::mib(600)));
            }
        }
        10 => snapshot.redis_rights = RedisRights::Known(vec![(fixtures::pod_name(1), vec!["config|set".into()])]),
        11 => policy.mode = Mode::Enforce,
        12 => snapshot.stateful_sets[0].template_limits = vec![("redis".into(), Some(Bytes::mib(200)))],
        13 => {
            if let Some(primary) = sample(snapshot, 0) {
                primary.replication.role = fixtures::replica_role();
            }
        }
        14 => one.memory.dataset = Bytes::mib(5),
        _ => snapshot.rights.label = crate::domain::pod::Right::Denied,
    }
}

/// One way of knowing less.
fn know_less(what: u8, n: usize, snapshot: &mut Snapshot) {
    let target = &mut snapshot.targets[n];
    match (what, &mut target.redis) {
        (0, _) => target.redis = Observation::Pending,
        (1, _) => target.redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into())),
        (2, _) => target.history.clear(),
        (3, _) => drop(target.history.drain(..target.history.len() / 2)),
        (4, _) => target.history.truncate(target.history.len() / 2),
        (5, Observation::Seen(sample)) => sample.config = Err(ConfigUnreadable("NOPERM".into())),
        (6, _) => snapshot.stateful_sets.clear(),
        (7, _) => snapshot.redis_rights = RedisRights::Unknown,
        (8, _) => snapshot.rights = crate::domain::pod::Rights::default(),
        _ => {}
    }
}

const JUDGED: [&str; 3] = ["HeadroomSufficient", "FragmentationWithinBounds", "ConfigurationSafe"];

proptest! {
    /// Less evidence never improves a condition or a count, and resolves nothing.
    #[test]
    fn less_evidence_improves_nothing(
        breaks in prop::collection::vec(0_u8..16, 0..5),
        less in prop::collection::vec((0_u8..9, 0_usize..3), 1..6),
    ) {
        let (mut policy, mut snapshot) = (fixtures::policy(), fixtures::three_pods());
        for what in &breaks {
            break_it(*what, &mut policy, &mut snapshot);
        }
        let before = first(&policy, &snapshot);
        let mut poorer = snapshot.clone();
        for (what, n) in &less {
            know_less(*what, *n, &mut poorer);
        }

        let after = look(&policy, &poorer, &before);
        let resolved = events(&before, &after, &poorer).into_iter().filter(|reason| reason.ends_with("Resolved"));
        prop_assert_eq!(resolved.collect::<Vec<_>>(), Vec::<String>::new());
        let anew = first(&policy, &poorer);
        for kind in JUDGED {
            let (was, is) = (condition(&before, kind).0, condition(&after, kind).0);
            prop_assert!(was != "False" || is == "False", "{}: {} became {}", kind, was, is);
            prop_assert!(was == "True" || is != "True", "{}: {} became {}", kind, was, is);
            // Who never saw the rest does not call it good either; what users may do is not asked in each look.
            let untold = less.iter().any(|(what, _)| *what == 7);
            prop_assert!(untold || was == "True" || condition(&anew, kind).0 != "True", "{}: {} and anew True", kind, was);
        }
        let compliant = |status: &RedisMemoryPolicyStatus| status.summary.as_ref().map_or(0, |summary| summary.compliant);
        prop_assert!(compliant(&after) <= compliant(&before));
        let untold = less.iter().any(|(what, _)| *what == 7);
        prop_assert!(untold || compliant(&anew) <= compliant(&before));
    }
}

// What was read back of three pods had the UID of one: an operator that restarts would have set the other two again.
#[test]
fn what_is_read_back_is_stored_for_each_pod() {
    let of = |code: FindingCode| {
        let finding = |n: u8| Finding::new(code, Some(fixtures::pod_name(n)), "e", "r");
        let found: Vec<Finding> = (0..3).map(finding).collect();
        let look = fixtures::three_pods();
        let policy = fixtures::policy();
        let judged = Judged::of(&Assessment::of(&policy, &look, &AssessSettings::default()));
        grouped(&shown(&found, &judged, &look, &RedisMemoryPolicyStatus::default())).len()
    };
    assert_eq!(of(FindingCode::RssNearLimit), 1);
    for code in [FindingCode::LimitReverted, FindingCode::LabelReverted, FindingCode::MaxmemoryReverted] {
        assert_eq!(of(code), 3, "{code}");
    }
}

/// A kill is told of since it came, also where it is seen late, or an earlier version wrote when it was seen.
#[test]
fn a_kill_is_since_it_came() {
    let (policy, mut snapshot) = fixtures::enforced();
    let at = fixtures::seconds_ago(7200);
    snapshot.targets[1].pod.container.as_mut().unwrap().killed = Some(Kill { started_at: None, at });
    let since = |status: &RedisMemoryPolicyStatus| {
        let killed = status.findings.iter().find(|finding| finding.code == FindingCode::OomKilled.as_str());
        killed.expect("it was killed").since
    };
    let seen = first(&policy, &snapshot);
    assert_eq!(since(&seen), Some(at));
    let verdict = seen.verdict.as_ref().expect("a verdict");
    assert_eq!((verdict.reason.as_str(), verdict.since), ("OomKilled", at));
    let mut earlier = seen;
    earlier.findings.iter_mut().for_each(|finding| finding.since = Some(NOW));
    assert_eq!(since(&look(&policy, &snapshot, &earlier)), Some(at));
}
