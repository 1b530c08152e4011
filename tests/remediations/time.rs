//! People's time, walked through: windows that close, approval, a stop, and what is remembered of a day.

use super::*;

fn window(schedule: &str, minutes: u64) -> Window {
    Window {
        schedule: Cron::parse(schedule).unwrap(),
        duration: Duration::from_secs(minutes * 60),
        zone: jiff::tz::TimeZone::UTC,
    }
}

#[test]
fn an_old_primary_that_comes_back_as_one_is_demoted_and_the_rest_goes_on() {
    let mut world = World::new();
    world.comes_back_as_primary = true;
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
    let mut expected = full_order();
    expected.push(("Demote", "redis-0".to_owned()));
    assert_eq!(world.done, expected);
}

/// The window of the fixture's night is cut short after each effect in turn: what was begun is finished, nothing
/// further is begun, and the next night does the rest, each pod once.
#[test]
fn what_the_window_leaves_over_is_done_in_the_next() {
    for cut_after in 0..full_order().len() {
        let mut world = World::new();
        world.policy.restart.windows = vec![window("0 3 * * *", 120)];
        let record = world.walk_changed(cut_after, |world| {
            // From now on the window is closed.
            world.policy.restart.windows = vec![window("0 4 * * *", 120)];
        });
        let outcome = record.outcome;
        world.records = vec![record];
        let whole = cut_after == 0 || cut_after == full_order().len();
        assert_eq!(outcome, Some(if whole { Outcome::Succeeded } else { Outcome::Paused }), "{cut_after}");
        if whole {
            continue;
        }
        // After the switchover the replicas still follow; no effect beyond that one was begun.
        let finished = if cut_after == 3 { 4 } else { cut_after };
        assert_eq!(world.done, full_order()[..finished], "{}", world.records[0].message);
        let text = &world.records[0].message;
        assert!(
            text.contains("pods restarted") && text.contains("the next window opens at 2026-01-02T04:00"),
            "{text}"
        );

        // The next window makes a plan of what is left.
        world.now = "2026-01-02T04:00:00Z".parse().unwrap();
        for _ in 0..60 {
            world.tick(15);
        }
        let journal = world.begin();
        let record = world.walk(journal, None);
        assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
        for n in 0..3 {
            let evictions = world.done.iter().filter(|(kind, pod)| *kind == "Evict" && pod == &format!("redis-{n}"));
            assert_eq!(evictions.count(), 1, "redis-{n} after {cut_after}: {:?}", world.done);
        }
    }
}

#[test]
fn a_step_that_would_not_fit_is_not_begun() {
    let mut world = World::new();
    world.policy.restart.windows = vec![window("0 3 * * *", 120)];
    let journal = world.begin();
    world.now = "2026-01-02T04:59:50Z".parse().unwrap();
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Paused));
    let text = "WindowClosed: restarting redis-1 takes about 54 s, and the window closes in 10 s; the next window opens \
                at 2026-01-03T03:00+00:00; 0 of 3 pods restarted, redis-1, redis-2, redis-0 left";
    assert_eq!(record.message, text);
}

#[test]
fn a_stop_of_the_operator_ends_it_at_the_boundary() {
    let mut world = World::new();
    let journal = world.begin();
    world.snapshot.surroundings.stopped = Some("the flag --stop".to_owned());
    let Next::End(record) = advance::next(&world.ctx(), &journal, false) else { panic!("not ended") };
    assert_eq!(record.outcome, Some(Outcome::Paused));
    assert!(record.message.contains("the flag --stop"), "{}", record.message);
    // Not between an eviction and its settings: what is half done is finished.
    world.snapshot.surroundings.stopped = None;
    let Next::Act(mut journal, effect) = advance::next(&world.ctx(), &journal, false) else { panic!("nothing done") };
    world.apply(&effect);
    world.snapshot.surroundings.stopped = Some("the flag --stop".to_owned());
    let mut kinds = Vec::new();
    for _ in 0..20 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Record(next) => {
                kinds.push(journal.step().unwrap().kind());
                journal = next;
            }
            Next::End(record) => {
                assert_eq!(record.outcome, Some(Outcome::Paused));
                assert_eq!(kinds, [StepKind::Evict, StepKind::AwaitReplica, StepKind::RestoreSettings]);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it did not end");
}

#[test]
fn restarts_of_a_day_are_remembered_each() {
    let mut world = World::new();
    world.policy.restart.cooldown = Duration::ZERO;
    let at = |hours: i64| world.now.saturating_sub(SignedDuration::from_hours(hours)).unwrap();
    let restart = |pod: &str, hours| RestartRecord { pod: pod.into(), at: at(hours) };
    let restarts = vec![restart("redis-1", 5), restart("redis-1", 30), restart("gone", 40), restart("gone", 41)];
    let journal = world.begin();
    world.records = vec![WorkloadRecord {
        outcome: Some(Outcome::Succeeded),
        remediation: "r".into(),
        generation: 1,
        message: String::new(),
        retry_at: None,
        restarts,
        ..WorkloadRecord::new(fixtures::shard_id(), "redis".into(), at(5))
    }];
    let record = world.walk(journal, None);
    let kept: Vec<&str> = record.restarts.iter().map(|restart| restart.pod.as_str()).collect();
    assert_eq!(kept, ["redis-0", "redis-2", "redis-1", "redis-1", "gone"], "newest first");
}
