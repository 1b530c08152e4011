//! Each case that a look can find, and the one move that follows.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;

const PAUSE: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(60);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Nothing has been done, and nothing is in the way.
fn start() -> View {
    View {
        from: SeenRole::Primary,
        named: Named::Old,
        heard: true,
        enough: true,
        failing_over: false,
        other_primary: false,
        near: true,
        catches_up: true,
        equal: false,
        clients_paused: None,
        may_begin: true,
        resumed: false,
        coordinated: false,
        over: false,
        did: Did::default(),
        waited: Duration::ZERO,
        stuck: Duration::ZERO,
    }
}

fn quiet() -> View {
    View { did: Did { quieted: true, ..Did::default() }, ..start() }
}

/// Writes have been held back for this long.
fn paused(since: Duration) -> View {
    View { did: Did { paused: Some(since), ..quiet().did }, ..start() }
}

/// Writes have been refused for this long.
fn refused(since: Duration) -> View {
    View { did: Did { refused: Some(since), ..paused(since).did }, ..start() }
}

fn told(told: Sent) -> View {
    View { did: Did { told, ..refused(ms(50)).did }, failing_over: true, ..start() }
}

/// The Sentinels have switched.
fn switched() -> View {
    View { named: Named::New, other_primary: true, failing_over: false, ..told(Sent::Done) }
}

fn follows() -> View {
    View { from: SeenRole::Replica, did: Did { demoted: Sent::Done, ..switched().did }, ..switched() }
}

/// Another process has done any part of it.
fn found(view: View) -> View {
    View { resumed: true, may_begin: false, did: Did::default(), ..view }
}

fn moved(view: View, did: impl FnOnce(&mut Did)) -> View {
    let mut view = view;
    did(&mut view.did);
    view
}

#[rstest]
#[case::pings_first(start(), Move::Quiet)]
#[case::then_writes(quiet(), Move::Pause)]
#[case::not_yet_close(View { near: false, ..quiet() }, Move::Poll(POLL))]
#[case::never_close(View { near: false, catches_up: false, waited: LONG, ..quiet() }, Move::SetBack)]
#[case::held_by_somebody(View { clients_paused: Some(true), ..start() }, Move::Failed(Failure::PausedByOther))]
#[case::one_lags(paused(ms(5)), Move::Poll(CATCH_UP_POLL))]
#[case::all_have_everything(View { equal: true, ..paused(ms(5)) }, Move::Refuse)]
#[case::too_late_to_refuse(View { equal: true, ..paused(ms(2_000)) }, Move::Unpause)]
#[case::and_still_have(View { equal: true, ..refused(ms(5)) }, Move::Tell)]
#[case::written_in_between(refused(ms(5)), Move::Poll(CATCH_UP_POLL))]
#[case::and_it_does_not_come(refused(ms(500)), Move::Unpause)]
#[case::it_is_too_late_to_tell(View { equal: true, ..refused(ms(2_000)) }, Move::Unpause)]
#[case::they_fall_silent(View { named: Named::Undecided, heard: false, ..refused(ms(1_900)) }, Move::Poll(POLL))]
#[case::and_stay_so(View { named: Named::Undecided, heard: false, ..refused(ms(2_000)) }, Move::Unpause)]
#[case::it_goes_on(told(Sent::Done), Move::Poll(POLL))]
#[case::they_have_switched(switched(), Move::Demote)]
#[case::it_follows(follows(), Move::Unpause)]
#[case::clients_go_on(moved(follows(), |did| did.unpaused = true), Move::SetBack)]
#[case::nothing_is_left(moved(follows(), |did| (did.unpaused, did.set_back) = (true, true)), Move::Done)]
#[case::the_old_one_is_gone(View { from: SeenRole::Gone, ..switched() }, Move::Done)]
#[case::the_old_one_is_silent(View { from: SeenRole::Unknown, ..switched() }, Move::Poll(POLL))]
fn the_way(#[case] view: View, #[case] expected: Move) {
    assert_eq!(next(&view, PAUSE), expected);
}

#[rstest]
#[case::first(View { coordinated: true, ..start() }, Move::TellCoordinated)]
#[case::not_known_there(moved(View { coordinated: true, ..start() }, |did| did.coordinated = Sent::Refused), Move::Quiet)]
#[case::it_goes_on(
    moved(View { coordinated: true, failing_over: true, ..start() }, |did| did.coordinated = Sent::Done), Move::Poll(POLL))]
#[case::the_server_has_demoted_itself(
    moved(View { from: SeenRole::Replica, ..start() }, |did| did.coordinated = Sent::Done), Move::Poll(POLL))]
#[case::done(
    moved(View { from: SeenRole::Replica, named: Named::New, ..start() }, |did| did.coordinated = Sent::Done), Move::Done)]
#[case::it_came_to_nothing(
    moved(start(), |did| did.coordinated = Sent::Done), Move::Failed(Failure::NotFailedOver))]
fn the_servers_own_way(#[case] view: View, #[case] expected: Move) {
    assert_eq!(next(&view, PAUSE), expected);
}

// Of several replicas that read what the primary sends in turns no two may ever have everything at once.
#[rstest]
#[case::they_may_all_be_close_at_once(ms(4_900), true, Move::Poll(POLL))]
#[case::each_catches_up_at_its_own_time(AT_ONCE, true, Move::Pause)]
#[case::one_does_not(AT_ONCE, false, Move::Poll(POLL))]
#[case::and_never_will(APPROACH, false, Move::SetBack)]
fn replicas_that_catch_up_in_turns_will_do(#[case] waited: Duration, #[case] catches_up: bool, #[case] expected: Move) {
    let view = View { near: false, catches_up, waited, ..quiet() };
    assert_eq!(next(&view, PAUSE), expected);
}

// With a quorum above the majority those that name the old primary may be too few.
#[rstest]
#[case::nothing_is_begun(start(), Move::Poll(POLL))]
#[case::for_long(View { waited: APPROACH, ..start() }, Move::Failed(Failure::SentinelsSilent))]
#[case::nor_the_other_way(View { coordinated: true, ..start() }, Move::Poll(POLL))]
#[case::writes_are_not_refused(View { equal: true, ..paused(ms(5)) }, Move::Poll(CATCH_UP_POLL))]
#[case::and_go_on(View { equal: true, ..paused(ms(2_000)) }, Move::Unpause)]
#[case::none_is_told(View { equal: true, ..refused(ms(600)) }, Move::Poll(CATCH_UP_POLL))]
#[case::and_writes_are_let_in_again(View { equal: true, ..refused(ms(2_000)) }, Move::Unpause)]
#[case::it_is_said_why(
    moved(View { equal: true, ..refused(ms(2_000)) }, |did| (did.set_back, did.unpaused) = (true, true)),
    Move::Failed(Failure::SentinelsSilent))]
#[case::what_was_told_is_ended(View { failing_over: false, ..told(Sent::Done) }, Move::Unpause)]
#[case::what_was_begun_is_ended(found(start()), Move::Release)]
fn with_fewer_than_a_failover_takes_none_is_told(#[case] view: View, #[case] expected: Move) {
    assert_eq!(next(&View { enough: false, ..view }, PAUSE), expected);
}

/// Once writes are refused, they are let in again only when nobody can become primary any more by our doing.
#[rstest]
#[case::a_failover_goes_on(told(Sent::Done), Move::Poll(POLL))]
#[case::another_says_that_it_is_primary(View { failing_over: false, other_primary: true, ..told(Sent::Done) }, Move::Poll(POLL))]
#[case::nobody_is_heard(View { failing_over: false, heard: false, ..told(Sent::Done) }, Move::Poll(POLL))]
#[case::they_do_not_agree(View { failing_over: false, named: Named::Undecided, ..told(Sent::Done) }, Move::Poll(POLL))]
#[case::the_answer_was_lost(View { failing_over: false, ..told(Sent::Unanswered) }, Move::Poll(POLL))]
#[case::and_it_never_arrived(View { failing_over: false, waited: ARRIVES, ..told(Sent::Unanswered) }, Move::Unpause)]
#[case::it_was_given_up(View { failing_over: false, ..told(Sent::Done) }, Move::Unpause)]
#[case::then_writes_are_let_in(moved(View { failing_over: false, ..told(Sent::Done) }, |did| did.unpaused = true), Move::SetBack)]
#[case::and_it_ends(
    moved(View { failing_over: false, ..told(Sent::Done) }, |did| (did.set_back, did.unpaused) = (true, true)),
    Move::Failed(Failure::NotFailedOver))]
#[case::it_was_refused(View { failing_over: false, ..told(Sent::Refused) }, Move::Unpause)]
#[case::who_was_told_is_silent_for_longer_than_it_may_last(
    View { failing_over: false, heard: false, over: true, ..told(Sent::Done) }, Move::Unpause)]
#[case::it_lasts(View { stuck: LONG, ..told(Sent::Done) }, Move::Failed(Failure::Unclear))]
#[case::others_fail_over_meanwhile(View { failing_over: true, ..refused(ms(5)) }, Move::Poll(POLL))]
#[case::nobody_is_heard_for_longer_than_it_may_last(
    View { failing_over: false, named: Named::Undecided, heard: false, over: true, ..told(Sent::Done) }, Move::Unpause)]
#[case::but_another_is_primary(
    View { named: Named::Undecided, heard: false, over: true, other_primary: true, ..told(Sent::Done) }, Move::Poll(POLL))]
fn writes_are_not_let_in_while_another_may_become_primary(#[case] view: View, #[case] expected: Move) {
    assert_eq!(next(&view, PAUSE), expected);
}

#[rstest]
#[case::nothing_goes_on(found(start()), Move::Release)]
#[case::who_was_told_may_be_the_silent_one(View { heard: false, ..found(start()) }, Move::Poll(POLL))]
#[case::and_was_undone(moved(found(start()), |did| did.released = true), Move::Failed(Failure::CalledOff))]
#[case::a_failover_goes_on(found(told(Sent::Done)), Move::Poll(POLL))]
#[case::they_have_switched(found(switched()), Move::Demote)]
#[case::a_sentinel_has_demoted_it(found(follows()), Move::Unpause)]
#[case::and_its_settings(moved(found(follows()), |did| did.unpaused = true), Move::SetBack)]
#[case::a_new_attempt(View { may_begin: true, ..found(start()) }, Move::Release)]
#[case::begins_anew(moved(View { may_begin: true, ..found(start()) }, |did| did.released = true), Move::Quiet)]
fn the_operator_that_takes_over_ends_it(#[case] view: View, #[case] expected: Move) {
    assert_eq!(next(&view, PAUSE), expected);
}

#[test]
fn an_obstacle_ends_it_before_anything_is_changed() {
    let view = moved(start(), |did| did.obstacle = Some(Failure::SentinelRefused));
    assert_eq!(next(&view, PAUSE), Move::Failed(Failure::SentinelRefused));
    assert_eq!(next(&View { may_begin: false, ..start() }, PAUSE), Move::Failed(Failure::CalledOff));
}

/// Whatever ends it, the fence is never gone while a pause of ours lasts.
#[rstest]
#[case::too_late_to_tell(View { equal: true, ..refused(ms(2_000)) })]
#[case::it_came_to_nothing(View { failing_over: false, ..told(Sent::Done) })]
#[case::they_stay_silent(View { named: Named::Undecided, heard: false, ..refused(ms(2_000)) })]
#[case::called_off(View { may_begin: false, ..refused(ms(5)) })]
#[case::they_have_switched(follows())]
#[case::found_switched(found(follows()))]
fn the_pause_ends_before_the_fence_goes(#[case] view: View) {
    assert_eq!(next(&view, PAUSE), Move::Unpause);
    assert_eq!(next(&moved(view, |did| did.unpaused = true), PAUSE), Move::SetBack);
}

#[rstest]
#[case::the_usual(Duration::from_secs(30), LONG_PAUSE)]
#[case::the_measured_one(Duration::from_secs(5), Duration::from_secs(4))]
#[case::shorter_than_a_role_takes(BEFORE_DEAD, Duration::ZERO)]
fn no_pause_makes_a_sentinel_take_the_primary_for_dead(#[case] down_after: Duration, #[case] longest: Duration) {
    assert_eq!(longest_pause(down_after), longest);
}
