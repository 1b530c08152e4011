//! Windows by the clock of the fixture, 2026-01-02T03:04:05Z (a Friday), approval in its three forms, and the stop.

use std::time::Duration;

use jiff::tz::TimeZone;
use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::{
    domain::{cron::Cron, fixtures, window::Window},
    plan::{
        Context, PlanSettings,
        begin::Considered,
        gates::{self, tests::World},
    },
};

fn window(schedule: &str, minutes: u64) -> Window {
    Window {
        schedule: Cron::parse(schedule).unwrap(),
        duration: Duration::from_secs(minutes * 60),
        zone: TimeZone::UTC,
    }
}

fn with_window(schedule: &str, minutes: u64) -> Considered {
    let mut world = World::good();
    world.policy.restart.windows = vec![window(schedule, minutes)];
    world.consider()
}

fn refusals(considered: &Considered) -> Vec<(BlockReason, &str)> {
    considered.blocked.iter().map(|blocked| (blocked.reason, blocked.text.as_str())).collect()
}

#[test]
fn an_open_window_with_time_enough_is_no_obstacle() {
    let considered = with_window("0 3 * * *", 120);
    assert_eq!(refusals(&considered), []);
    assert!(considered.begin.is_some());
}

#[test]
fn outside_of_the_windows_nothing_is_begun() {
    let considered = with_window("0 4 * * SUN", 120);
    let text = "no window is open; the next window opens at 2026-01-04T04:00+00:00";
    assert_eq!(refusals(&considered), [(BlockReason::WindowClosed, text)]);
    assert_eq!(considered.begin, None);
    assert!(considered.plan.is_some(), "the plan is shown all the same");
}

#[test]
fn what_would_not_fit_is_not_begun_and_both_numbers_are_said() {
    let mut world = World::good();
    world.policy.restart.windows = vec![window("0 3 * * *", 5)];
    // Half of the time is its full sync, which the primary writes first.
    world.sample(0).persistence.last_save_took = Duration::from_secs(60);
    let considered = world.consider();
    let text = "restarting redis-1 takes about 3 min, and the window closes at 2026-01-02T03:05+00:00, in 55 s; \
                the next window opens at 2026-01-03T03:00+00:00";
    assert_eq!(refusals(&considered), [(BlockReason::WindowTooShort, text)]);
    assert_eq!(considered.begin, None);
}

/// The whole takes ten minutes, and six are left.
#[test]
fn a_window_in_which_the_first_pod_fits_lets_it_begin() {
    let considered = with_window("0 3 * * *", 10);
    assert_eq!(refusals(&considered), []);
    assert!(considered.begin.is_some());
}

#[test]
fn a_second_window_right_behind_the_first_gives_the_time() {
    let mut world = World::good();
    world.policy.restart.windows = vec![window("0 3 * * *", 10), window("10 3 * * *", 10)];
    assert_eq!(refusals(&world.consider()), []);
}

#[test]
fn windows_are_said_in_observe_too() {
    let mut world = World::good();
    world.policy.mode = Mode::Observe;
    world.policy.restart.windows = vec![window("0 4 * * SUN", 120)];
    assert_eq!(refusals(&world.consider()).len(), 1);
}

#[test]
fn a_stopped_operator_begins_nothing() {
    let mut world = World::good();
    world.snapshot.surroundings.stopped = Some("the flag --stop".into());
    let considered = world.consider();
    let text = "the whole operator is stopped by the flag --stop: only role labels are kept";
    assert_eq!(refusals(&considered), [(BlockReason::ClusterStopped, text)]);
    assert_eq!(considered.begin, None);
}

/// What the gate says in a phase, with that annotation.
fn asked(approval: Approval, phase: &Phase, given: Option<&str>, mode: Mode) -> Option<Blocked> {
    let World { mut policy, mut snapshot, records } = World::good();
    policy.restart.approval = approval;
    policy.mode = mode;
    snapshot.surroundings.approved = given.map(str::to_owned);
    let settings = PlanSettings::default();
    let ctx = Context::of(&policy, &snapshot, &records, fixtures::NOW, &settings);
    let scene = gates::Scene::new(&ctx, &ctx.look.shards[0], "abc123", &[], phase.clone());
    approved(&scene)
}

#[rstest]
#[case(Approval::Automatic, Phase::Preflight, false)]
#[case(Approval::Automatic, Phase::Switchover, false)]
#[case(Approval::Manual, Phase::Preflight, true)]
#[case(Approval::Manual, Phase::Evict(fixtures::pod_name(1)), false)]
#[case(Approval::Manual, Phase::Switchover, false)]
#[case(Approval::Supervised, Phase::Preflight, false)]
#[case(Approval::Supervised, Phase::Evict(fixtures::pod_name(1)), false)]
#[case(Approval::Supervised, Phase::Switchover, true)]
// The primary itself, where nothing can take over from it.
#[case(Approval::Supervised, Phase::Evict(fixtures::pod_name(0)), true)]
fn who_is_asked_when(#[case] approval: Approval, #[case] phase: Phase, #[case] asks: bool) {
    let refusal = asked(approval, &phase, None, Mode::Enforce);
    assert_eq!(refusal.is_some(), asks, "{refusal:?}");
    assert_eq!(asked(approval, &phase, Some("another"), Mode::Enforce).is_some(), asks, "another plan's approval");
    assert_eq!(asked(approval, &phase, Some("abc123"), Mode::Enforce), None, "this plan's approval");
    assert_eq!(asked(approval, &phase, None, Mode::Observe), None, "a dry run asks nobody");
}

#[test]
fn the_refusal_is_a_command_to_copy() {
    let refusal = asked(Approval::Manual, &Phase::Preflight, None, Mode::Enforce).unwrap();
    assert_eq!(refusal.reason, BlockReason::ApprovalNeeded);
    assert_eq!(
        refusal.text,
        "nothing is begun until a person approves the plan: \
         kubectl annotate --overwrite rmp sessions -n shop redismemory.io/approve=abc123"
    );
}

#[test]
fn an_approval_ends_with_its_plan() {
    let mut world = World::good();
    world.policy.restart.approval = Approval::Manual;
    let hash = world.consider().plan.unwrap().hash;
    world.snapshot.surroundings.approved = Some(hash.clone());
    assert!(world.consider().begin.is_some());
    // The same steps for the same names, on a pod that is another one: a new plan.
    world.snapshot.targets[2].pod.uid = "another".into();
    let Some(sample) = (match &mut world.snapshot.targets[2].redis {
        crate::domain::snapshot::Observation::Seen(sample) => Some(sample),
        _ => None,
    }) else {
        panic!("a sample")
    };
    sample.pod_uid = "another".into();
    let later = world.consider();
    assert_ne!(later.plan.unwrap().hash, hash);
    assert_eq!(later.begin, None);
    assert_eq!(later.blocked[0].reason, BlockReason::ApprovalNeeded);
}
