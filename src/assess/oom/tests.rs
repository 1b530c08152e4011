//! Which kills are remembered, why they came, and what is done about them.

use std::time::Duration;

use jiff::Timestamp;
use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::{
    assess::AssessSettings,
    domain::{
        fixtures::{self, NOW, seconds_ago},
        names::RunId,
        sample::Pressure,
        snapshot::{Observation, ProbeFailure},
    },
};

const LIMIT: Bytes = Bytes::mib(100);

/// Three pods, of which redis-1 was killed at that time, when it had run for `ran` seconds; it does not answer now.
fn killed(at: Timestamp, ran: i64) -> Snapshot {
    let mut snapshot = fixtures::three_pods();
    let target = &mut snapshot.targets[1];
    let container = target.pod.container.as_mut().unwrap();
    (container.spec_limit, container.live_limit) = (Some(LIMIT), Some(LIMIT));
    container.killed = Some(Kill { started_at: Some(at - SignedDuration::from_secs(ran)), at });
    target.redis = Observation::Failed(ProbeFailure::Unreachable("refused".into()));
    target.history.clear();
    snapshot
}

/// What the killed process was last seen with.
fn last_seen(snapshot: &mut Snapshot, used: Bytes, pressure: Pressure) {
    let kill = snapshot.targets[1].pod.container.as_ref().unwrap().killed.unwrap();
    let mut reading = fixtures::history(&RunId::from("before"), crate::domain::ratio::Ratio(110), used, used).remove(0);
    (reading.at, reading.pressure) = (kill.at - SignedDuration::from_secs(7), pressure);
    reading.uptime = kill
        .started_at
        .map_or(Duration::ZERO, |start| Duration::try_from(reading.at.duration_since(start)).unwrap_or_default());
    snapshot.targets[1].history.push(reading);
}

/// What is remembered after that look.
fn remembered(snapshot: &mut Snapshot) -> PodKills {
    let all = kills(snapshot);
    snapshot.surroundings.kills.clone_from(&all);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    one.clone()
}

fn pressure(maxmemory: Bytes) -> Pressure {
    Pressure { maxmemory, ..Pressure::default() }
}

#[rstest]
#[case::loading(Bytes::mib(30), Pressure { loading: true, ..pressure(Bytes::mib(60)) }, Cause::Loading)]
#[case::nothing_bounds_it(Bytes::mib(30), pressure(Bytes::ZERO), Cause::NoMaxmemory)]
#[case::nothing_bounds_it_and_it_saves(Bytes::mib(30), Pressure { child: true, ..Pressure::default() }, Cause::NoMaxmemory)]
#[case::saving(Bytes::mib(60), Pressure { child: true, ..pressure(Bytes::mib(60)) }, Cause::Fork)]
#[case::replicas(Bytes::mib(60), Pressure { uncounted: Bytes::mib(20), ..pressure(Bytes::mib(60)) }, Cause::ReplicaBuffers)]
#[case::clients(Bytes::mib(60), Pressure { clients: Bytes::mib(20), ..pressure(Bytes::mib(60)) }, Cause::ClientBuffers)]
#[case::data(Bytes::mib(96), Pressure { child: true, ..pressure(Bytes::mib(120)) }, Cause::LimitBelowData)]
#[case::all_together(Bytes::mib(60), Pressure { clients: Bytes::mib(19), ..pressure(Bytes::mib(60)) }, Cause::Headroom)]
#[case::no_headroom_at_all(Bytes::mib(60), pressure(Bytes::mib(100)), Cause::Headroom)]
fn a_kill_is_explained_by_the_last_reading(#[case] used: Bytes, #[case] pressure: Pressure, #[case] cause: Cause) {
    let mut snapshot = killed(seconds_ago(10), 3600);
    last_seen(&mut snapshot, used, pressure);
    assert_eq!(remembered(&mut snapshot).cause, cause);
}

/// The second one came before anybody looked: the container stands at it, and tells of the one before.
#[test]
fn two_kills_between_two_looks_are_two() {
    let mut snapshot = killed(seconds_ago(10), 1);
    let container = snapshot.targets[1].pod.container.as_mut().unwrap();
    container.killed_before = Some(Kill { started_at: Some(seconds_ago(3600)), at: seconds_ago(12) });
    for _ in 0..2 {
        let kills = remembered(&mut snapshot);
        assert_eq!((kills.times, kills.first_at, kills.last_at), (2, seconds_ago(12), seconds_ago(10)));
    }
    snapshot.targets[1].pod.container.as_mut().unwrap().killed_before = None;
    assert_eq!(remembered(&mut snapshot).times, 2, "what is told no longer is remembered");
}

#[test]
fn without_a_reading_only_a_kill_soon_after_the_start_is_explained() {
    assert_eq!(remembered(&mut killed(seconds_ago(10), 20)).cause, Cause::Loading);
    assert_eq!(remembered(&mut killed(seconds_ago(10), 3600)).cause, Cause::Unknown);
}

#[test]
fn a_reading_of_the_process_before_explains_nothing() {
    let mut snapshot = killed(seconds_ago(10), 20);
    last_seen(&mut snapshot, Bytes::mib(60), pressure(Bytes::ZERO));
    snapshot.targets[1].history[0].at = seconds_ago(300);
    assert_eq!(remembered(&mut snapshot).cause, Cause::Loading);
}

// Found by the simulator: the kubelet starts it again at once, and the loop of kills was taken for kills by what the process before had
// used, so that no limit was raised.
#[test]
fn a_reading_of_the_process_that_ended_right_before_the_start_explains_nothing() {
    let mut snapshot = killed(seconds_ago(10), 2);
    last_seen(&mut snapshot, Bytes::mib(60), pressure(Bytes::mib(60)));
    let reading = &mut snapshot.targets[1].history[0];
    (reading.at, reading.uptime) = (seconds_ago(14), Duration::from_secs(3600));
    assert_eq!(remembered(&mut snapshot).cause, Cause::Loading);
}

// Found by reading: by clocks alone the process would have begun 30 s before its container.
#[test]
fn a_node_whose_clock_is_ahead_does_not_hide_the_last_reading() {
    let ahead = SignedDuration::from_secs(30);
    let mut snapshot = killed(NOW + ahead, 40);
    last_seen(&mut snapshot, Bytes::mib(60), pressure(Bytes::ZERO));
    let reading = &mut snapshot.targets[1].history[0];
    (reading.at, reading.uptime) = (seconds_ago(5), Duration::from_secs(35));
    assert_eq!(remembered(&mut snapshot).cause, Cause::NoMaxmemory);
}

/// That process of redis-1 answered last.
fn answered(snapshot: &mut Snapshot, run_id: &str, at: Timestamp, uptime: u64) {
    let target = &mut snapshot.targets[1];
    target.redis = fixtures::three_pods().targets[1].redis.clone();
    let sample = target.sample_mut().unwrap();
    (sample.run_id, sample.at, sample.server.uptime) = (run_id.into(), at, Duration::from_secs(uptime));
}

// Found by reading: a pod tells its kill at once, and until two probes have failed the last answer is of the process that was
// killed. It was taken for the one that came after, and the kill for one while it loaded.
#[test]
fn the_last_answer_of_the_killed_process_explains_its_kill_while_there_is_no_newer_one() {
    let mut snapshot = killed(seconds_ago(2), 30);
    last_seen(&mut snapshot, Bytes::mib(60), pressure(Bytes::ZERO));
    answered(&mut snapshot, "before", seconds_ago(9), 23);
    assert_eq!(remembered(&mut snapshot).cause, Cause::NoMaxmemory);
}

/// The clock of its node may be some seconds ahead of ours.
#[test]
fn an_answer_of_the_process_that_came_after_explains_nothing() {
    let mut snapshot = killed(seconds_ago(2), 20);
    last_seen(&mut snapshot, Bytes::mib(60), pressure(Bytes::ZERO));
    let reading = &mut snapshot.targets[1].history[0];
    (reading.at, reading.run_id) = (seconds_ago(3), "after".into());
    answered(&mut snapshot, "after", seconds_ago(3), 0);
    assert_eq!(remembered(&mut snapshot).cause, Cause::Loading);
}

#[test]
fn a_kill_is_counted_once_and_stays_when_its_pod_is_gone() {
    let mut snapshot = killed(seconds_ago(600), 20);
    let first = remembered(&mut snapshot);
    assert_eq!((first.times, first.while_loading), (1, 1));
    assert_eq!(remembered(&mut snapshot), first, "the same kill, seen again");
    snapshot.targets[1].pod.container.as_mut().unwrap().killed =
        Some(Kill { started_at: Some(seconds_ago(300)), at: seconds_ago(290) });
    let second = remembered(&mut snapshot);
    assert_eq!((second.times, second.while_loading, second.first_at), (2, 2, first.first_at));
    snapshot.targets.remove(1);
    assert_eq!(remembered(&mut snapshot), second);
    snapshot.surroundings.acknowledged = Some(seconds_ago(291).to_string());
    assert_eq!(kills(&snapshot).len(), 1, "what came after it was taken note of stays");
    snapshot.surroundings.acknowledged = Some(second.last_at.to_string());
    assert_eq!(kills(&snapshot), []);
}

#[test]
fn what_is_taken_note_of_does_not_come_back_from_the_pod() {
    let mut snapshot = killed(seconds_ago(600), 20);
    snapshot.surroundings.acknowledged = Some(seconds_ago(600).to_string());
    assert_eq!(kills(&snapshot), []);
    snapshot.surroundings.acknowledged = Some("yesterday".into());
    assert_eq!(kills(&snapshot).len(), 1);
    let policy = fixtures::policy();
    let look = Assessment::of(&policy, &snapshot, &AssessSettings::default());
    let [finding] = findings(&look).try_into().unwrap();
    let said = "redismemory.io/acknowledged is no time (RFC 3339): yesterday; kubectl annotate rmp sessions -n shop --overwrite";
    assert!(finding.afterwards.contains(said), "{finding:?}");
}

/// The limit that is wanted after each kill while it loads, and what is said of it.
#[test]
fn a_load_loop_is_ended_by_a_higher_limit_three_times() {
    let (policy, _) = fixtures::enforced();
    let mut snapshot = killed(seconds_ago(3600), 20);
    let mut seen = Vec::new();
    for n in 1..=5 {
        let at = seconds_ago(3600 - n * 60);
        snapshot.targets[1].pod.container.as_mut().unwrap().killed =
            Some(Kill { started_at: Some(at - SignedDuration::from_secs(20)), at });
        let kills = remembered(&mut snapshot);
        let target = &mut snapshot.targets[1];
        let rescue = rescue(&policy, target, &kills).unwrap();
        if let Rescue::Raise(limit) = rescue {
            target.pod.container.as_mut().unwrap().spec_limit = Some(limit);
            let again = super::rescue(&policy, target, &kills);
            assert_eq!(again, Some(Rescue::Raised(limit)), "the same kill raises nothing more");
        }
        seen.push(rescue);
    }
    let [first, second, third] = [Bytes::mib(125), Bytes::mib(157), Bytes::mib(197)];
    let exhausted = Rescue::Exhausted(third);
    assert_eq!(seen, [Rescue::Raise(first), Rescue::Raise(second), Rescue::Raise(third), exhausted, exhausted]);
}

#[test]
fn the_maximum_limit_bounds_the_rescue_and_who_has_loaded_needs_none() {
    let (mut policy, _) = fixtures::enforced();
    policy.headroom.maximum_limit = Some(Bytes::mib(110));
    let mut snapshot = killed(seconds_ago(10), 20);
    let kills = remembered(&mut snapshot);
    assert_eq!(rescue(&policy, &snapshot.targets[1], &kills), Some(Rescue::Raise(Bytes::mib(110))));
    snapshot.targets[1].pod.container.as_mut().unwrap().spec_limit = Some(Bytes::mib(110));
    assert_eq!(rescue(&policy, &snapshot.targets[1], &kills), Some(Rescue::AtMaximum(Bytes::mib(110))));
    let mut target = snapshot.targets[1].clone();
    target.redis = fixtures::three_pods().targets[1].redis.clone();
    assert_eq!(rescue(&policy, &target, &kills), None, "it has loaded");
    snapshot.targets[1].pod.uid = "another".into();
    assert_eq!(rescue(&policy, &snapshot.targets[1], &kills), None, "another pod has taken its place");
}

#[test]
fn three_kills_within_an_hour_are_a_loop_and_as_many_in_a_week_are_none() {
    let policy = fixtures::policy();
    let code = |first_at: Timestamp| {
        let mut snapshot = fixtures::three_pods();
        snapshot.surroundings.kills = vec![PodKills {
            pod: fixtures::pod_name(1),
            pod_uid: fixtures::pod_uid(1),
            first_at,
            last_at: NOW,
            times: 3,
            while_loading: 0,
            cause: Cause::Headroom,
            evidence: String::new(),
            loading_limit_bytes: None,
        }];
        let look = Assessment::of(&policy, &snapshot, &AssessSettings::default());
        findings(&look).remove(0).code
    };
    assert_eq!(code(seconds_ago(3500)), FindingCode::OomKillLoop);
    assert_eq!(code(seconds_ago(7 * 24 * 3600)), FindingCode::OomKilled);
}

// Found on a cluster: once the operator had set maxmemory, people were still told to set it as a finding says that was gone.
#[test]
fn who_has_a_maxmemory_by_now_is_not_told_to_set_one() {
    let policy = fixtures::policy();
    let remedy = |maxmemory: Bytes| {
        let mut snapshot = killed(seconds_ago(10), 3600);
        last_seen(&mut snapshot, Bytes::mib(60), pressure(Bytes::ZERO));
        answered(&mut snapshot, "after", seconds_ago(1), 8);
        snapshot.targets[1].sample_mut().unwrap().memory.maxmemory = maxmemory;
        let look = Assessment::of(&policy, &snapshot, &AssessSettings::default());
        findings(&look).remove(0).remedy
    };
    let unset = "set maxmemory as MaxmemoryUnset says, in the template too";
    assert!(remedy(Bytes::ZERO).starts_with(unset), "{}", remedy(Bytes::ZERO));
    let set = "maxmemory is 64 MiB now: see that the template gives it one too, or the next start is without";
    assert!(remedy(Bytes::mib(64)).starts_with(set), "{}", remedy(Bytes::mib(64)));
}

#[test]
fn no_more_pods_are_remembered_than_the_status_holds() {
    let mut snapshot = killed(seconds_ago(10), 20);
    let one = remembered(&mut snapshot);
    let of =
        |n: i64| PodKills { pod: format!("old-{n}").as_str().into(), last_at: seconds_ago(1000 + n), ..one.clone() };
    snapshot.surroundings.kills = (0..30).map(of).collect();
    let all = kills(&snapshot);
    assert_eq!(all.len(), MOST_PODS);
    assert_eq!((all[0].pod.as_str(), all[19].pod.as_str()), ("redis-1", "old-18"));
}
