//! Each case that a look can find, and the one move that follows.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::plan::switchover::{
    OVERLAP_DEADLINE,
    fixtures::{TIMING, UNMOVED},
};

const LONG: Duration = Duration::from_secs(60);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn seen(role: SeenRole, offset: u64) -> Seen {
    Seen { role, offset, linked: role == SeenRole::Replica, same_history: true }
}

fn silent() -> Seen {
    Seen { role: SeenRole::Unknown, offset: 0, linked: false, same_history: false }
}

fn gone() -> Seen {
    Seen { role: SeenRole::Gone, ..silent() }
}

/// Nothing has been done, and nothing is in the way.
fn start() -> View {
    View {
        from: seen(SeenRole::Primary, 1000),
        to: seen(SeenRole::Replica, 1000),
        failover: FailoverState::None,
        follows_candidate: false,
        clients_paused: None,
        far_behind: false,
        to_going: false,
        usurped: false,
        unfit: Duration::ZERO,
        may_begin: true,
        labels: UNMOVED,
        resumed: false,
        did: Did::default(),
        waited: Duration::ZERO,
        stuck: Duration::ZERO,
    }
}

/// Both pods get connections: writes may be held back.
fn ready() -> View {
    View { labels: overlapping(), ..start() }
}

fn overlapping() -> LabelView {
    LabelView { to_labelled: true, since_overlap: Some(ms(2_000)), ..UNMOVED }
}

/// How long writes have been held back.
fn paused(since: Duration) -> View {
    View { did: Did { paused: Some(since), ..Did::default() }, ..ready() }
}

/// The old primary is a replica of the candidate, by this process.
fn demoted() -> View {
    let did = Did { paused: Some(ms(5)), demoted: Sent::Done, demoted_in_time: true, ..Did::default() };
    View { from: seen(SeenRole::Replica, 1000), follows_candidate: true, did, ..ready() }
}

/// The same, as another process finds it.
fn found_demoted() -> View {
    View { did: Did::default(), resumed: true, ..demoted() }
}

fn promoted() -> View {
    let did = Did { promoted: Sent::Done, ..demoted().did };
    View { to: seen(SeenRole::Primary, 1000), did, ..demoted() }
}

#[test]
fn the_undisturbed_order() {
    let mut view = start();
    let mut order = Vec::new();
    for _ in 0..30 {
        let next = next(&view, &TIMING);
        match next {
            Move::LabelCandidate => view.labels.to_labelled = true,
            Move::AwaitOverlap(after) => {
                let seen = if view.labels.since_overlap.is_some() { after } else { ms(0) };
                view.labels.since_overlap = Some(seen);
            }
            Move::Exchange(Exchange::Pause) => {
                view.did.paused = Some(ms(0));
                (view.from.offset, view.to.offset) = (1500, 1400);
            }
            Move::Poll(_) => {
                view.did.paused = Some(ms(2));
                view.to.offset = 1500;
            }
            Move::Exchange(Exchange::Demote) => {
                (view.did.demoted, view.did.demoted_in_time) = (Sent::Done, true);
                (view.from.role, view.follows_candidate) = (SeenRole::Replica, true);
            }
            Move::Exchange(Exchange::Promote) => {
                view.did.promoted = Sent::Done;
                view.to.role = SeenRole::Primary;
            }
            Move::Exchange(Exchange::Unpause) => view.did.unpaused = true,
            Move::UnlabelOld => view.labels.from_labelled = false,
            Move::Exchange(Exchange::Repoint) => view.did.repointed = true,
            _ => {}
        }
        if order.last() != Some(&next) {
            order.push(next);
        }
        if next == Move::Done {
            break;
        }
    }
    let expected = [
        Move::LabelCandidate,
        Move::AwaitOverlap(ms(200)),
        Move::AwaitOverlap(ms(2_000)),
        Move::Exchange(Exchange::Pause),
        Move::Poll(CATCH_UP_POLL),
        Move::Exchange(Exchange::Demote),
        Move::Exchange(Exchange::Promote),
        Move::Exchange(Exchange::Unpause),
        Move::UnlabelOld,
        Move::Exchange(Exchange::Repoint),
        Move::Done,
    ];
    assert_eq!(order, expected);
}

#[rstest]
#[case::not_linked(|v: &mut View| v.to.linked = false, Move::Poll(POLL))]
#[case::another_history(|v: &mut View| v.to.same_history = false, Move::Poll(POLL))]
#[case::far_behind(|v: &mut View| v.far_behind = true, Move::Poll(POLL))]
#[case::far_behind_for_long(|v: &mut View| (v.far_behind, v.waited) = (true, LONG), Move::TakeBack(Failure::NotCaughtUp))]
#[case::somebody_else_paused(|v: &mut View| v.clients_paused = Some(true), Move::TakeBack(Failure::PausedByOther))]
#[case::nobody_paused(|v: &mut View| v.clients_paused = Some(false), Move::Exchange(Exchange::Pause))]
#[case::candidate_silent(|v: &mut View| v.to = silent(), Move::Poll(POLL))]
#[case::candidate_silent_for_long(|v: &mut View| (v.to, v.waited) = (silent(), LONG), Move::TakeBack(Failure::NotCaughtUp))]
#[case::candidate_gone(|v: &mut View| v.to = gone(), Move::TakeBack(Failure::NotCaughtUp))]
#[case::services_never_follow(|v: &mut View| {
    v.labels = LabelView { since_labelled: OVERLAP_DEADLINE, since_overlap: None, ..v.labels };
}, Move::TakeBack(Failure::NoOverlap))]
#[case::after_a_crash_a_pause_may_be_left(|v: &mut View| v.resumed = true, Move::Exchange(Exchange::Release))]
#[case::after_a_crash_the_candidate_is_gone(|v: &mut View| (v.resumed, v.to) = (true, gone()), Move::Exchange(Exchange::Release))]
#[case::after_a_crash_nothing_new_is_begun(|v: &mut View| (v.resumed, v.may_begin) = (true, false), Move::Exchange(Exchange::Release))]
#[case::nothing_new_is_begun(|v: &mut View| v.may_begin = false, Move::TakeBack(Failure::CalledOff))]
#[case::a_member_is_silent(|v: &mut View| v.did.obstacle = Some(Failure::MemberSilent), Move::TakeBack(Failure::MemberSilent))]
#[case::a_pod_is_being_deleted(|v: &mut View| v.did.obstacle = Some(Failure::PodNotFit), Move::TakeBack(Failure::PodNotFit))]
#[case::unfit_for_long(|v: &mut View| v.unfit = UNFIT, Move::TakeBack(Failure::NotCaughtUp))]
#[case::an_unfit_candidate_gets_no_label(|v: &mut View| (v.labels.to_labelled, v.unfit) = (false, ms(1)), Move::Poll(POLL))]
#[case::the_endpoints_are_gone_again(|v: &mut View| v.labels.since_overlap = None, Move::AwaitOverlap(ms(200)))]
#[case::a_failover_runs(|v: &mut View| v.failover = FailoverState::WaitingForSync, Move::Exchange(Exchange::LeaveToServer))]
#[case::two_primaries(|v: &mut View| v.to.role = SeenRole::Primary, Move::Failed(Failure::BothPrimary))]
fn before_the_pause(#[case] change: fn(&mut View), #[case] expected: Move) {
    let mut view = ready();
    change(&mut view);
    assert_eq!(next(&view, &TIMING), expected);
}

#[rstest]
#[case::equal(1000, 1000, Move::Exchange(Exchange::Demote))]
#[case::behind(1000, 999, Move::Poll(CATCH_UP_POLL))]
#[case::ahead_is_not_equal(1000, 1001, Move::Poll(CATCH_UP_POLL))]
fn demotes_only_with_equal_offsets(#[case] from: u64, #[case] to: u64, #[case] expected: Move) {
    let mut view = paused(ms(3));
    (view.from.offset, view.to.offset) = (from, to);
    assert_eq!(next(&view, &TIMING), expected);
}

#[rstest]
#[case::link_down(|v: &mut View| v.to.linked = false, Move::Poll(CATCH_UP_POLL))]
#[case::another_history(|v: &mut View| v.to.same_history = false, Move::Poll(CATCH_UP_POLL))]
#[case::candidate_silent(|v: &mut View| v.to = silent(), Move::Exchange(Exchange::Unpause))]
#[case::candidate_gone(|v: &mut View| v.to = gone(), Move::Exchange(Exchange::Unpause))]
fn under_the_pause(#[case] change: fn(&mut View), #[case] expected: Move) {
    let mut view = paused(ms(3));
    change(&mut view);
    assert_eq!(next(&view, &TIMING), expected);
}

#[test]
fn a_pause_that_may_lapse_before_demote_arrives_is_ended_and_the_label_taken_back() {
    let mut view = paused(TIMING.pause.saturating_sub(PAUSE_MARGIN));
    assert_eq!(next(&view, &TIMING), Move::Exchange(Exchange::Unpause), "although the offsets are equal");
    view.did.unpaused = true;
    assert_eq!(next(&view, &TIMING), Move::TakeBack(Failure::NotCaughtUp));
    view.labels.to_labelled = false;
    assert_eq!(next(&view, &TIMING), Move::Failed(Failure::NotCaughtUp));
}

#[rstest]
#[case::refused(Sent::Refused, ms(0), Move::Exchange(Exchange::Unpause))]
#[case::on_its_way(Sent::Unanswered, ms(0), Move::Poll(POLL))]
#[case::never_arrived(Sent::Unanswered, ms(3_000), Move::Exchange(Exchange::RollBack(Failure::NotCaughtUp)))]
#[case::it_said_yes(Sent::Done, ms(10), Move::Poll(POLL))]
#[case::it_said_yes_and_is_primary_all_the_same(
    Sent::Done,
    ms(3_000),
    Move::Exchange(Exchange::RollBack(Failure::NotCaughtUp))
)]
fn a_demote_that_changed_nothing(#[case] demoted: Sent, #[case] waited: Duration, #[case] expected: Move) {
    let mut view = paused(ms(10));
    (view.did.demoted, view.waited) = (demoted, waited);
    assert_eq!(next(&view, &TIMING), expected);
    view.did.rolled_back = Some(Failure::NotCaughtUp);
    assert_eq!(next(&view, &TIMING), Move::Exchange(Exchange::Unpause), "it is told once, and its writers go on");
}

#[rstest]
#[case::everything_is_there(|_: &mut View| {}, Move::Exchange(Exchange::Promote))]
#[case::it_has_more(|v: &mut View| v.to.offset = 1001, Move::Exchange(Exchange::Promote))]
#[case::link_need_not_stand(|v: &mut View| v.to.linked = false, Move::Exchange(Exchange::Promote))]
#[case::behind_but_the_rest_may_come(|v: &mut View| v.to.offset = 999, Move::Poll(CATCH_UP_POLL))]
#[case::behind(|v: &mut View| (v.to.offset, v.waited) = (999, ms(200)), Move::Exchange(Exchange::RollBack(Failure::Behind)))]
#[case::its_pod_is_being_deleted(|v: &mut View| v.to_going = true, Move::Exchange(Exchange::RollBack(Failure::CandidateLost)))]
#[case::the_old_one_has_followed_another(|v: &mut View| (v.from.same_history, v.waited) = (false, ms(200)), Move::Poll(POLL))]
#[case::refused(|v: &mut View| v.did.promoted = Sent::Refused, Move::Exchange(Exchange::RollBack(Failure::Refused)))]
#[case::answer_lost(|v: &mut View| v.did.promoted = Sent::Unanswered, Move::Poll(POLL))]
#[case::answer_lost_for_long(|v: &mut View| (v.did.promoted, v.waited) = (Sent::Unanswered, ms(300)), Move::Exchange(Exchange::Promote))]
#[case::never_answered(|v: &mut View| {
    (v.did.promoted, v.waited, v.stuck) = (Sent::Unanswered, ms(300), LONG);
}, Move::Failed(Failure::Unclear))]
fn between_demote_and_promote(#[case] change: fn(&mut View), #[case] expected: Move) {
    for mut view in [demoted(), found_demoted()] {
        change(&mut view);
        assert_eq!(next(&view, &TIMING), expected, "resumed: {}", view.resumed);
    }
}

/// A promotion begins a new history. Who did not promote it cannot know who did, whatever it says of its role.
#[test]
fn a_replica_of_another_history_may_be_a_primary_that_another_process_made() {
    let other = |view: View| View { to: Seen { same_history: false, ..view.to }, waited: ms(200), ..view };
    assert_eq!(next(&other(demoted()), &TIMING), Move::Exchange(Exchange::RollBack(Failure::Behind)));
    assert_eq!(next(&other(found_demoted()), &TIMING), Move::Poll(POLL));
    let long = View { stuck: LONG, ..other(found_demoted()) };
    assert_eq!(next(&long, &TIMING), Move::Failed(Failure::Unclear));
}

/// It was not told yet. A liar is none, so that it is told; who was promoted by somebody else has a history of its own.
#[test]
fn a_candidate_that_says_too_soon_that_it_is_primary_is_told() {
    let early = View { to: seen(SeenRole::Primary, 1000), ..demoted() };
    assert_eq!(next(&early, &TIMING), Move::Exchange(Exchange::Promote));
    let foreign = View { to: Seen { same_history: false, ..early.to }, ..early };
    assert_eq!(next(&foreign, &TIMING), Move::Exchange(Exchange::Unpause));
}

/// Who knows that nobody promoted it gives the role back; who does not, looks for traces of a promotion.
#[rstest]
#[case::by_us(demoted(), Move::Exchange(Exchange::RollBack(Failure::CandidateLost)))]
#[case::found(found_demoted(), Move::Exchange(Exchange::RollBack(Failure::CandidateLost)))]
#[case::found_and_the_old_one_has_followed_a_new_one({
    let mut view = found_demoted();
    view.from.same_history = false;
    view
}, Move::Poll(POLL))]
#[case::found_and_the_label_was_moved({
    let mut view = found_demoted();
    view.labels.from_labelled = false;
    view
}, Move::Poll(POLL))]
#[case::we_promoted_it({
    let mut view = demoted();
    view.did.promoted = Sent::Done;
    view
}, Move::Poll(POLL))]
#[case::it_follows_somebody_else({
    let mut view = found_demoted();
    view.follows_candidate = false;
    view
}, Move::Poll(POLL))]
fn the_candidate_is_lost_after_demote(#[case] view: View, #[case] expected: Move) {
    let view = View { to: gone(), ..view };
    assert_eq!(next(&view, &TIMING), expected);
    let view = View { stuck: LONG, ..view };
    let expected = if expected == Move::Poll(POLL) { Move::Failed(Failure::Unclear) } else { expected };
    assert_eq!(next(&view, &TIMING), expected, "nobody is promoted in the end");
}

#[test]
fn a_silent_candidate_is_given_up_only_by_who_sent_it_nothing() {
    let silent = |view: View, waited| View { to: silent(), waited, ..view };
    assert_eq!(next(&silent(demoted(), ms(0)), &TIMING), Move::Poll(POLL));
    assert_eq!(next(&silent(demoted(), SILENCE), &TIMING), Move::Exchange(Exchange::RollBack(Failure::CandidateLost)));
    assert_eq!(next(&silent(found_demoted(), LONG), &TIMING), Move::Poll(POLL), "a promotion may be on its way");
    let mut sent = silent(demoted(), LONG);
    sent.did.promoted = Sent::Unanswered;
    assert_eq!(next(&sent, &TIMING), Move::Poll(POLL), "a promotion may be on its way");
}

#[test]
fn after_the_way_back_writers_go_on_and_the_label_returns() {
    let mut view = View { from: seen(SeenRole::Primary, 1000), follows_candidate: false, ..demoted() };
    view.did.rolled_back = Some(Failure::Behind);
    assert_eq!(next(&view, &TIMING), Move::Exchange(Exchange::Unpause));
    view.did.unpaused = true;
    assert_eq!(next(&view, &TIMING), Move::TakeBack(Failure::Behind));
}

#[rstest]
#[case::both_answer(SeenRole::Replica)]
#[case::candidate_silent(SeenRole::Unknown)]
#[case::candidate_gone(SeenRole::Gone)]
fn a_way_back_that_is_not_seen_is_taken_again_and_never_turned_round(#[case] to: SeenRole) {
    let mut view = View { to: seen(to, 1000), ..demoted() };
    view.did.rolled_back = Some(Failure::CandidateLost);
    assert_eq!(next(&view, &TIMING), Move::Poll(POLL));
    view.waited = RESEND;
    assert_eq!(next(&view, &TIMING), Move::Exchange(Exchange::RollBack(Failure::CandidateLost)));
    view.stuck = LONG;
    assert_eq!(next(&view, &TIMING), Move::Failed(Failure::Unclear));
}

// Found by the simulator: the old primary restarted as a primary while this process was stopped.
#[rstest]
#[case::it_is_back_as_a_primary(|view: &mut View| view.usurped = true)]
#[case::and_has_given_the_candidate_what_it_holds(|view: &mut View| view.to.same_history = false)]
fn beside_an_old_primary_that_is_back_as_another_process_nobody_is_promoted(#[case] change: fn(&mut View)) {
    let mut view = View { from: gone(), ..demoted() };
    assert_eq!(next(&view, &TIMING), Move::Exchange(Exchange::Promote), "it can fail");
    change(&mut view);
    assert_eq!(next(&view, &TIMING), Move::Poll(POLL));
    assert_eq!(next(&View { stuck: LONG, ..view }, &TIMING), Move::Failed(Failure::Unclear));
}

// Found by the simulator: people gave the role to the process that came in the candidate's place.
#[test]
fn beside_a_process_in_the_candidates_place_that_is_primary_the_role_does_not_go_back() {
    let lost = View { to: gone(), ..demoted() };
    assert_eq!(next(&lost, &TIMING), Move::Exchange(Exchange::RollBack(Failure::CandidateLost)), "it can fail");
    assert_eq!(next(&View { usurped: true, ..lost }, &TIMING), Move::Poll(POLL));
}

#[rstest]
#[case::silent(silent())]
#[case::gone(gone())]
fn an_old_primary_lost_after_demote_is_succeeded_only_when_nothing_can_be_missing(#[case] from: Seen) {
    assert_eq!(next(&View { from, ..demoted() }, &TIMING), Move::Exchange(Exchange::Promote));
    let mut late = View { from, ..demoted() };
    late.did.demoted_in_time = false;
    assert_eq!(next(&late, &TIMING), Move::Poll(POLL));
    assert_eq!(next(&View { stuck: LONG, ..late }, &TIMING), Move::Failed(Failure::Unclear));
    let found = View { from, stuck: LONG, ..found_demoted() };
    assert_eq!(next(&found, &TIMING), Move::Failed(Failure::Unclear), "an unplanned loss is nobody's to mend");
}

#[rstest]
#[case::by_us(promoted(), &[Move::Exchange(Exchange::Unpause), Move::UnlabelOld, Move::Exchange(Exchange::Repoint)])]
#[case::found(View { did: Did::default(), resumed: true, ..promoted() }, &[Move::UnlabelOld, Move::Exchange(Exchange::Repoint)])]
#[case::old_primary_gone(View { from: gone(), ..promoted() }, &[Move::UnlabelOld, Move::Exchange(Exchange::Repoint)])]
#[case::old_primary_silent(View { from: silent(), ..promoted() }, &[Move::UnlabelOld, Move::Exchange(Exchange::Repoint)])]
fn after_promote(#[case] view: View, #[case] expected: &[Move]) {
    let mut view = view;
    let mut order = Vec::new();
    loop {
        let next = next(&view, &TIMING);
        match next {
            Move::Exchange(Exchange::Unpause) => view.did.unpaused = true,
            Move::UnlabelOld => view.labels.from_labelled = false,
            Move::Exchange(Exchange::Repoint) => view.did.repointed = true,
            Move::Done => break,
            other => panic!("{other:?}"),
        }
        order.push(next);
    }
    assert_eq!(order, expected);
}

#[test]
fn beside_a_silent_old_primary_only_our_own_promotion_counts() {
    let found = View { from: silent(), did: Did::default(), resumed: true, ..promoted() };
    assert_eq!(next(&found, &TIMING), Move::Poll(POLL));
    assert_eq!(next(&View { stuck: LONG, ..found }, &TIMING), Move::Failed(Failure::Unclear));
}

#[test]
fn labels_of_another_controller_are_left_alone() {
    let foreign = LabelView { kept: false, ..UNMOVED };
    assert_eq!(next(&View { labels: foreign, ..start() }, &TIMING), Move::Exchange(Exchange::Pause));
    let done = View { labels: foreign, did: Did { unpaused: true, repointed: true, ..promoted().did }, ..promoted() };
    assert_eq!(next(&done, &TIMING), Move::Done);
    let failed = View { labels: foreign, far_behind: true, waited: LONG, ..start() };
    assert_eq!(next(&failed, &TIMING), Move::Failed(Failure::NotCaughtUp));
}

/// Every combination of what can be seen and done: the moves that could make two writers, or lose a write, are decided
/// only where they cannot.
#[test]
fn no_combination_makes_two_writers() {
    use SeenRole::{Gone, Primary, Replica, Unknown};
    let roles = [Primary, Replica, Unknown, Gone];
    let sents = [Sent::No, Sent::Unanswered, Sent::Done, Sent::Refused];
    let times = [ms(0), ms(2_500), LONG];
    let mut looked = 0;
    for (from, to) in roles.iter().flat_map(|from| roles.iter().map(move |to| (*from, *to))) {
        for (demoted, promoted) in sents.iter().flat_map(|one| sents.iter().map(move |two| (*one, *two))) {
            for (time, flags) in times.iter().flat_map(|time| (0..128_u8).map(move |flags| (*time, flags))) {
                let flag = |n: u8| flags & (1 << n) != 0;
                let mut view = ready();
                view.from = Seen { same_history: flag(0), ..seen(from, 1000) };
                view.to = Seen { same_history: flag(6), ..seen(to, if flag(1) { 999 } else { 1000 }) };
                view.follows_candidate = flag(2);
                view.labels.from_labelled = flag(3);
                let in_time = demoted == Sent::Done && flag(4);
                let paused = (demoted != Sent::No || flag(5)).then_some(time);
                view.did = Did { paused, demoted, demoted_in_time: in_time, promoted, ..Did::default() };
                (view.waited, view.stuck) = (time, time);
                let next = next(&view, &TIMING);
                match next {
                    Move::Exchange(Exchange::Promote) => {
                        assert_ne!(from, Primary, "{view:?}");
                        assert!(from == Replica || in_time, "{view:?}");
                        assert!(to != Primary || (demoted == Sent::Done && flag(6)), "{view:?}");
                        let first = promoted == Sent::No;
                        assert!(!first || from != Replica || view.to.offset >= view.from.offset, "{view:?}");
                    }
                    Move::Exchange(Exchange::RollBack(_)) => {
                        assert!(from == Replica || (from == Primary && promoted == Sent::No), "{view:?}");
                        assert_ne!(to, Primary, "{view:?}");
                        assert!(to != Replica || demoted != Sent::No || flag(6), "{view:?}");
                        assert!(from == Primary || flag(0), "{view:?}");
                        assert!(to != Unknown || promoted == Sent::No, "{view:?}");
                        assert!(promoted != Sent::Done || to == Replica, "{view:?}");
                    }
                    Move::Exchange(Exchange::Demote) => {
                        assert_eq!((from, to), (Primary, Replica));
                        assert_eq!(view.from.offset, view.to.offset);
                        assert!(paused.is_some_and(|since| since + PAUSE_MARGIN < TIMING.pause), "{view:?}");
                    }
                    _ => {}
                }
                looked += 1;
            }
        }
    }
    assert_eq!(looked, 16 * 16 * 3 * 128);
}
