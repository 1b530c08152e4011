//! The verdict of situations that no scenario shows: a remediation under way, what it keeps from one look to the next,
//! and a policy that cannot be evaluated.

use std::time::Duration;

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    assess::{AssessSettings, Assessment, judged::Judged},
    domain::{
        blocked::{BlockReason, Blocked},
        bytes::Bytes,
        fixtures::{self, NOW},
        journal::Journal,
        policy::Policy,
        ratio::Ratio,
        sample::Role,
        snapshot::{Observation, ProbeFailure, Snapshot},
    },
    report::{self, findings, sets},
};

mod commands;
mod loss;
mod unequal;

/// A healthy shop.
fn healthy() -> (Policy, Snapshot) {
    let mut snapshot = fixtures::three_pods();
    for target in &mut snapshot.targets {
        target.history.iter_mut().for_each(|reading| reading.ratio = Ratio(110));
        let sample = target.sample_mut().expect("the fixture has a sample");
        (sample.memory.ratio, sample.memory.rss) = (Ratio(110), Bytes::mib(76));
    }
    (fixtures::policy(), snapshot)
}

fn look_with(
    (policy, snapshot): &(Policy, Snapshot),
    previous: &RedisMemoryPolicyStatus,
    blocked: &[Blocked],
    journal: Option<&Journal>,
) -> RedisMemoryPolicyStatus {
    let look = Assessment::of(policy, snapshot, &AssessSettings::default());
    let judged = Judged::of(&look);
    let found = findings::shown(&look.findings(&[], journal), &judged, snapshot, previous);
    let input = Input {
        policy,
        generation: 1,
        snapshot,
        sets: &sets::of(&look),
        findings: &found,
        judged: &judged,
        kills: &look.kills,
        plan: None,
        blocked,
        journal,
        records: &[],
        now: snapshot.at,
    };
    report::status(&input, previous)
}

fn look(scene: &(Policy, Snapshot), previous: &RedisMemoryPolicyStatus) -> RedisMemoryPolicyStatus {
    look_with(scene, previous, &[], None)
}

fn first(scene: &(Policy, Snapshot)) -> RedisMemoryPolicyStatus {
    look(scene, &RedisMemoryPolicyStatus::default())
}

fn said(status: &RedisMemoryPolicyStatus) -> &VerdictStatus {
    status.verdict.as_ref().expect("every status has one")
}

fn word(status: &RedisMemoryPolicyStatus) -> (&str, &str) {
    (&said(status).level, &said(status).reason)
}

/// A remediation of the fixture's set that is about to evict redis-1.
fn journal() -> Journal {
    let identity = |n: u8| json!({"pod": fixtures::pod_name(n), "uid": fixtures::pod_uid(n), "runId": format!("r{n}")});
    let member = |n: u8| {
        let mut member = identity(n);
        let rest = json!({"usedBytes": 1, "rssBytes": 2, "expectedGainBytes": 1, "settings": {"maxmemory": 1,
            "maxmemoryPolicy": "noeviction", "appendonly": false, "save": "", "replBacklogSize": 1}});
        member.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        member
    };
    serde_json::from_value(json!({
        "id": "h-1", "planHash": "h", "generation": 1, "workload": "u", "workloadName": "redis", "startedAt": NOW,
        "steps": [{"kind": "Evict", "pod": "redis-1", "reason": "r"}], "cursor": 0, "current": {},
        "primary": identity(0), "members": [member(0), member(1), member(2)],
    }))
    .expect("a journal")
}

fn silence(snapshot: &mut Snapshot, pods: &[usize]) {
    for n in pods {
        snapshot.targets[*n].redis = Observation::Failed(ProbeFailure::TimedOut("no answer within 1s".into()));
        snapshot.targets[*n].history.clear();
    }
}

#[test]
fn what_rules_is_since_when_it_was_first_found() {
    let mut scene = healthy();
    scene.1.targets[1].sample_mut().expect("a sample").memory.maxmemory = Bytes::ZERO;
    let before = first(&scene);
    assert_eq!((word(&before), said(&before).since), (("Plan", "MaxmemoryUnset"), NOW));
    scene.1.at = NOW + Duration::from_secs(3600);
    let after = look(&scene, &before);
    assert_eq!(said(&after), said(&before), "an hour later");
    let well = look(&(scene.0, Snapshot { at: scene.1.at, ..healthy().1 }), &after);
    assert_eq!(said(&well).since, scene.1.at, "another thing rules since then");
}

#[test]
fn room_that_wavers_is_no_news() {
    let mut scene = healthy();
    let before = first(&scene);
    assert_eq!(said(&before).free.as_deref(), Some("950 MiB"));
    scene.1.targets.iter_mut().for_each(|t| t.sample_mut().expect("a sample").memory.rss = Bytes::mib(81));
    let wavered = look(&scene, &before);
    assert_eq!(said(&wavered), said(&before));
    scene.1.targets.iter_mut().for_each(|t| t.sample_mut().expect("a sample").memory.rss = Bytes::mib(120));
    let grown = look(&scene, &before);
    assert_eq!(said(&grown).free.as_deref(), Some("900 MiB"));
    assert!(!report::worth_writing(&before, &grown, Some(Duration::from_secs(599))), "a number alone waits");
}

#[test]
fn pods_that_have_the_same_room_are_not_named_in_turn() {
    let mut scene = healthy();
    let rss = |scene: &mut (Policy, Snapshot), n: usize, mib: u64| {
        scene.1.targets[n].sample_mut().expect("a sample").memory.rss = Bytes::mib(mib);
    };
    rss(&mut scene, 1, 77);
    let before = first(&scene);
    assert_eq!(said(&before).free_pod.as_deref(), Some("redis-1"));
    rss(&mut scene, 2, 79);
    assert_eq!(look(&scene, &before), before, "redis-2 has 2 MiB less: that is noise");
    rss(&mut scene, 2, 120);
    assert_eq!(said(&look(&scene, &before)).free_pod.as_deref(), Some("redis-2"), "that is not");
    scene.1.targets.remove(1);
    rss(&mut scene, 1, 79);
    assert_eq!(said(&look(&scene, &before)).free_pod.as_deref(), Some("redis-2"), "the other pod is gone");
}

#[test]
fn the_time_to_the_limit_is_told_where_nothing_stops_the_growth_before() {
    let mut scene = healthy();
    for target in &mut scene.1.targets {
        (0..).zip(&mut target.history).for_each(|(n, reading)| reading.used = Bytes::mib(30 + n));
        target.sample_mut().expect("a sample").memory.maxmemory = Bytes::ZERO;
    }
    let sentence = said(&first(&scene)).sentence.clone();
    assert!(sentence.contains("below its limit of 1 GiB, which it reaches in about 3 h at 240 MiB/h;"), "{sentence}");
    for target in &mut scene.1.targets {
        target.sample_mut().expect("a sample").memory.maxmemory = Bytes::mib(500);
    }
    let sentence = said(&first(&scene)).sentence.clone();
    assert!(sentence.contains("below its limit of 1 GiB; writes go on"), "maxmemory ends it: {sentence}");
}

#[test]
fn a_primary_that_does_not_answer_wakes_somebody_and_a_replica_does_not() {
    let mut scene = healthy();
    silence(&mut scene.1, &[0]);
    let status = first(&scene);
    assert_eq!(word(&status), ("ActNow", "Unreachable"));
    assert!(
        said(&status).sentence.contains("whether writes go on is not known: redis-0"),
        "{}",
        said(&status).sentence
    );
    assert!(said(&status).sentence.contains("kubectl logs redis-0 -n shop -c redis"), "{}", said(&status).sentence);
    let mut scene = healthy();
    silence(&mut scene.1, &[2]);
    assert_eq!(word(&first(&scene)), ("Plan", "Unreachable"));
}

#[test]
fn a_set_that_answered_and_is_silent_wakes_somebody_and_one_that_never_did_is_unknown() {
    let mut scene = healthy();
    let before = first(&scene);
    silence(&mut scene.1, &[0, 1, 2]);
    assert_eq!(word(&first(&scene)), ("Unknown", "Unreachable"));
    let gone = look(&scene, &before);
    assert_eq!(word(&gone), ("ActNow", "Unreachable"));
    assert_eq!(word(&look(&scene, &gone)), ("ActNow", "Unreachable"), "also at the next look");
}

#[test]
fn a_pod_that_is_gone_is_not_fine() {
    let mut scene = healthy();
    let before = first(&scene);
    assert_eq!(word(&before), ("Fine", "Healthy"));
    scene.1.targets.pop();
    let status = look(&scene, &before);
    assert_eq!(
        (word(&status), said(&status).brief.as_str()),
        (("Plan", "PodsMissing"), "PodsMissing 2 of 3 pods are there")
    );
    scene.1.targets.clear();
    let gone = look(&scene, &before);
    assert_eq!(word(&gone), ("ActNow", "NoTargets"));
    let sentence = &said(&gone).sentence;
    assert!(
        sentence.contains("the selector app=redis matches no pod in namespace shop; of the 3 pods that"),
        "{sentence}"
    );
    assert!(
        sentence.contains("(noticed 2026-01-02T03:04:05Z), redis-0 was its primary. Risk: cannot wait (Warning tells how bad it can get, not how soon); "),
        "{sentence}"
    );
    assert!(sentence.contains("kubectl edit rmp sessions -n shop (write those into spec.selector"), "{sentence}");
    assert_eq!(word(&look(&scene, &gone)), ("ActNow", "NoTargets"), "also at the next look");
    assert_eq!(word(&first(&scene)), ("Unknown", "NoTargets"), "there never was one");
}

/// What people scaled to zero is not broken; what is wanted and not there is.
#[rstest]
#[case::on_purpose(Some(0), ("Fine", "ScaledToZero"))]
#[case::wanted(Some(3), ("ActNow", "NoTargets"))]
#[case::deleted(None, ("ActNow", "NoTargets"))]
fn a_set_without_pods_is_judged_by_what_is_wanted(#[case] wanted: Option<u32>, #[case] expected: (&str, &str)) {
    let mut scene = healthy();
    // What was found is not carried on where nothing runs.
    scene.1.targets[1].sample_mut().expect("a sample").memory.rss = Bytes::mib(1000);
    let before = first(&scene);
    assert_eq!(word(&before), ("ActNow", "RssNearLimit"));
    scene.1.targets.clear();
    match wanted {
        Some(replicas) => scene.1.stateful_sets[0].replicas = replicas,
        None => scene.1.stateful_sets.clear(),
    }
    let gone = look(&scene, &before);
    let found: Vec<_> = gone.findings.iter().map(|finding| finding.code.as_str()).collect();
    if wanted == Some(0) {
        assert_eq!(found, ["NoTargets"]);
        assert!(
            said(&gone).sentence.contains(
                "none is wanted: spec.replicas of StatefulSet redis is 0. Risk: none, nothing runs. Primary: nobody, there is no \
                 pod. Operator: has nothing to do and goes on watching. You: nothing"
            ),
            "{}",
            said(&gone).sentence
        );
        assert_eq!(word(&gone), expected);
    }
    scene.1.at = NOW + Duration::from_secs(30 * 3600);
    let later = look(&scene, &gone);
    if wanted == Some(0) {
        assert_eq!(word(&later), expected, "also after more than a day");
        let edited = RedisMemoryPolicyStatus { observed_generation: Some(0), ..later };
        assert_eq!(word(&look(&scene, &edited)), expected, "and after a change of the spec");
    } else {
        assert_eq!(word(&gone).0, expected.0);
        assert!(found.contains(&expected.1), "{found:?}");
    }
}

#[test]
fn a_set_that_is_scaled_to_zero_beside_another_is_not_missing() {
    let mut scene = healthy();
    let mut cache = scene.1.stateful_sets[0].clone();
    (cache.name, cache.uid, cache.replicas) = ("cache".into(), "cache-uid".into(), 1);
    let other = scene.1.targets[2].pod.owner.as_mut().expect("an owner");
    (other.name, other.uid) = ("cache".into(), "cache-uid".into());
    scene.1.stateful_sets[0].replicas = 2;
    scene.1.stateful_sets.push(cache);
    let before = first(&scene);
    scene.1.targets.pop();
    let missing = look(&scene, &before);
    assert_eq!(word(&missing), ("Plan", "PodsMissing"));
    let sentence = &said(&missing).sentence;
    assert!(sentence.contains("of the 1 pod that StatefulSet cache wants none is there and selected"), "{sentence}");
    scene.1.stateful_sets[1].replicas = 0;
    scene.1.targets[0].sample_mut().expect("a sample").replication.replicas.truncate(1);
    assert_eq!(word(&look(&scene, &missing)), ("Fine", "Healthy"));
}

#[test]
fn pods_of_a_stateful_set_are_counted_once_whatever_sets_they_are_members_of() {
    let mut scene = healthy();
    for target in &mut scene.1.targets {
        let sample = target.sample_mut().expect("a sample");
        sample.server.cluster_enabled = true;
        sample.replication.role = Role::Primary;
    }
    let status = first(&scene);
    assert!(!said(&status).sentence.contains("are there and selected"), "{}", said(&status).sentence);
    scene.1.targets.remove(2);
    let status = first(&scene);
    assert_eq!(word(&status), ("Plan", "PodsMissing"));
    assert!(said(&status).sentence.contains(": of the 3 pods that StatefulSet redis wants 2 are there and selected;"));
    assert!(said(&status).brief.starts_with("PodsMissing 2 of 3 pods are there"), "{}", said(&status).brief);
}

#[test]
fn writes_that_go_to_two_primaries_are_not_unknown() {
    let mut scene = healthy();
    scene.1.targets[1].sample_mut().expect("a sample").replication.role = Role::Primary;
    let sentence = said(&first(&scene)).sentence.clone();
    assert!(sentence.contains("writes go apart: redis-0, redis-1 each take them"), "{sentence}");
}

#[test]
fn a_set_that_is_gone_beside_another_is_not_fine_for_a_day() {
    let mut scene = healthy();
    let other = scene.1.targets[2].pod.owner.as_mut().expect("an owner");
    (other.name, other.uid) = ("cache".into(), "cache-uid".into());
    let before = first(&scene);
    scene.1.targets.pop();
    scene.1.stateful_sets[0].replicas = 2;
    let after = look(&scene, &before);
    assert_eq!(word(&after), ("Plan", "PodsMissing"));
    assert!(said(&after).sentence.contains("cache had pods and has none any more"), "{}", said(&after).sentence);
    scene.1.at = NOW + Duration::from_secs(23 * 3600);
    let later = look(&scene, &after);
    assert_eq!(said(&later), said(&after), "it stays");
    scene.1.at = NOW + Duration::from_secs(25 * 3600);
    assert_ne!(word(&look(&scene, &later)), ("Plan", "PodsMissing"));
}

#[rstest]
#[case::goes_on(&[], "carries out step 1 of ")]
#[case::waits(&[Blocked::new(BlockReason::MemberNotReady, "redis-1 is not Ready")], "it waits: MemberNotReady (noticed 2026-01-02T03:04:05Z): redis-1 is not Ready; it goes on by itself once every member is Ready")]
fn a_remediation_is_said_with_its_step(#[case] blocked: &[Blocked], #[case] operator: &str) {
    let scene = (fixtures::policy(), fixtures::three_pods());
    let journal = journal();
    let status = look_with(&scene, &RedisMemoryPolicyStatus::default(), blocked, Some(&journal));
    assert_eq!(word(&status), ("Plan", "Remediating"));
    assert!(said(&status).sentence.contains(operator), "{}", said(&status).sentence);
}

/// The numbers are read from the words of the API server.
#[test]
fn what_makes_room_in_a_quota_is_a_command() {
    let text = "redis-1: resizing: forbidden: pods \"redis-1\" is forbidden: exceeded quota: mem, requested: \
                limits.memory=256Mi, used: limits.memory=3Gi, limited: limits.memory=3Gi; tried again at the next look";
    let blocked = [Blocked::new(BlockReason::ResizeRefused, text)];
    let scene = (fixtures::policy(), fixtures::three_pods());
    let status = look_with(&scene, &RedisMemoryPolicyStatus::default(), &blocked, None);
    let command =
        r#"kubectl patch resourcequota mem -n shop --type merge -p '{"spec":{"hard":{"limits.memory":"3328Mi"}}}'"#;
    assert!(said(&status).sentence.contains(command), "{}", said(&status).sentence);
}

/// With its namespace and its port, which `topology` does not name.
#[test]
fn what_a_sentinel_is_to_forget_is_a_command() {
    let text = "the Sentinel in redis-1 lists the replica 10.0.0.177:6379, which is no selected pod: if it is gone for good, \
                run SENTINEL RESET mymaster on the Sentinel in redis-1; else let spec.selector select it";
    let blocked = [Blocked::new(BlockReason::SentinelsUnfit, text)];
    let mut scene = (fixtures::policy(), fixtures::three_pods());
    scene.1.sentinels = fixtures::sentinels(&scene.1);
    let status = look_with(&scene, &RedisMemoryPolicyStatus::default(), &blocked, None);
    let command =
        "kubectl exec -it redis-1 -n shop -c sentinel -- redis-cli -p 26379 SENTINEL RESET mymaster (restarts nothing";
    assert!(said(&status).sentence.contains(command), "{}", said(&status).sentence);
}

#[test]
fn a_server_near_its_limit_is_no_matter_of_the_remediation_that_waits() {
    let mut scene = healthy();
    scene.1.targets[0].sample_mut().expect("a sample").memory.rss = Bytes::mib(1000);
    let journal = journal();
    let blocked = [Blocked::new(BlockReason::MemberNotReady, "redis-1 is not Ready")];
    let none = RedisMemoryPolicyStatus::default();
    assert_eq!(word(&look_with(&scene, &none, &[], Some(&journal))), ("Plan", "Remediating"));
    let waits = look_with(&scene, &none, &blocked, Some(&journal));
    assert_eq!(word(&waits), ("ActNow", "RssNearLimit"));
}

#[test]
fn a_policy_that_cannot_be_evaluated_keeps_what_was_urgent() {
    let mut scene = healthy();
    let calm = report::stalled("InvalidSpec", "spec.selector is empty", 2, &first(&scene), NOW);
    assert_eq!(word(&calm), ("Unknown", "InvalidSpec"));
    scene.1.targets[0].sample_mut().expect("a sample").memory.rss = Bytes::mib(1000);
    let urgent = report::stalled("InvalidSpec", "spec.selector is empty", 2, &first(&scene), NOW);
    assert_eq!(word(&urgent), ("ActNow", "InvalidSpec"));
    assert!(said(&urgent).sentence.contains("RssNearLimit redis-0"), "{}", said(&urgent).sentence);
}
