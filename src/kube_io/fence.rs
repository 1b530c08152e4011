//! The fence: may this process still change anything? Every write asks right before it is sent.
//!
//! A fence belongs to one term of leadership. When the term ends, whatever still holds the fence can write no more,
//! also when the same process becomes leader again later: what was decided in the old term is stale by then.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;

/// The lease may no longer be ours: nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not sent: this process does not hold the lease (any more)")]
pub struct Fenced;

/// A term of leadership as its holder sees it. All times are those of the process' monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Until then writes may be begun: start of the last successful renewal + lease duration − margin.
    pub deadline: Duration,
    /// What a write that was begun in time may take before another process can hold the lease.
    pub margin: Duration,
}

impl Term {
    /// The term that a renewal gives which was *sent* at `sent`: nobody else counts from an earlier time.
    pub const fn renewed(sent: Duration, lease: Duration, margin: Duration) -> Self {
        Self { deadline: sent.saturating_add(lease).saturating_sub(margin), margin }
    }

    /// Whether a write may begin at `now`, and how long it may take at most.
    pub fn allowance(&self, now: Duration) -> Result<Duration, Fenced> {
        if now >= self.deadline {
            return Err(Fenced);
        }
        Ok(self.deadline.saturating_add(self.margin).saturating_sub(now))
    }
}

/// Extends a running term; false when it has ended, by its deadline or by its sender.
///
/// A term that somebody has seen end must stay ended, or its user waits for the next one while the holder renews this
/// one. So clock and term are read together under one lock, here and in [`Fence::lost`]: the second caller decides
/// on the same or a later time.
pub(super) fn extend(term: &watch::Sender<Option<Term>>, clock: &Clock, renewed: Term) -> bool {
    term.send_if_modified(|term| extend_at(term, clock.uptime(), renewed))
}

/// [`extend`] at a given time.
fn extend_at(term: &mut Option<Term>, now: Duration, renewed: Term) -> bool {
    let runs = term.is_some_and(|term| term.allowance(now).is_ok());
    if runs {
        *term = Some(renewed);
    }
    runs
}

/// May this process still change anything? Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fence(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Open,
    Leased { clock: Clock, term: watch::Receiver<Option<Term>> },
}

impl Fence {
    /// A fence that lets everything pass: for tests, and for processes that hold no lease by design.
    pub const fn always() -> Self {
        Self(Kind::Open)
    }

    /// A fence that lets nothing pass.
    pub fn never(clock: Clock) -> Self {
        let (_, term) = watch::channel(None);
        Self::of(clock, term)
    }

    /// The fence of a term that the sender renews, and ends by sending `None` or by going away.
    pub const fn of(clock: Clock, term: watch::Receiver<Option<Term>>) -> Self {
        Self(Kind::Leased { clock, term })
    }

    /// Passes only while the lease is certainly ours.
    pub fn check(&self) -> Result<(), Fenced> {
        self.allowance().map(|_| ())
    }

    /// As [`Fence::check`]; says how long a request that begins now may take before somebody else can lead.
    pub fn allowance(&self) -> Result<Duration, Fenced> {
        match &self.0 {
            Kind::Open => Ok(Duration::MAX),
            Kind::Leased { clock, term } => {
                // The clock is read under the lock that `extend` takes: see there.
                let term = term.borrow();
                term.as_ref().ok_or(Fenced)?.allowance(clock.uptime())
            }
        }
    }

    /// [`Fence::check`] as a question.
    pub fn is_leader(&self) -> bool {
        self.check().is_ok()
    }

    /// Completes when the term has ended: released, lost to another, or not renewed in time.
    pub async fn lost(&self) {
        let Kind::Leased { clock, term } = &self.0 else { return std::future::pending().await };
        let mut term = term.clone();
        loop {
            let left = {
                let term = term.borrow_and_update();
                term.as_ref().map_or(Duration::ZERO, |term| term.deadline.saturating_sub(clock.uptime()))
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                changed = term.changed() => if changed.is_err() { tokio::time::sleep(left).await },
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    // Lease 15 s, margin 5 s, renewal sent at 100 s.
    #[rstest]
    #[case(100, Ok(secs(15)))]
    #[case(109, Ok(secs(6)))]
    #[case(110, Err(Fenced))]
    #[case(1000, Err(Fenced))]
    fn a_term_ends_a_margin_before_the_lease(#[case] now: u64, #[case] want: Result<Duration, Fenced>) {
        let term = Term::renewed(secs(100), secs(15), secs(5));
        assert_eq!(term.allowance(secs(now)), want);
    }

    #[test]
    fn a_margin_longer_than_the_lease_lets_nothing_pass() {
        let term = Term::renewed(secs(0), secs(3), secs(5));
        assert_eq!(term.allowance(secs(0)), Err(Fenced));
    }

    // A virtual machine that stood still for 30 s, at any moment of a term: lease 15 s, margin 5 s, renewed every 5 s.
    #[rstest]
    #[case::right_after_a_renewal(0)]
    #[case::right_before_the_next(5)]
    #[case::right_before_the_deadline(9)]
    fn after_a_stall_nothing_passes_and_the_term_is_not_taken_up_again(#[case] into_the_term: u64) {
        let mut term = Some(Term::renewed(secs(100), secs(15), secs(5)));
        let woken = secs(100 + into_the_term + 30);
        assert_eq!(term.unwrap().allowance(woken), Err(Fenced));
        // The renewal that was under way is answered now, or a new one succeeds: too late for this term.
        for sent in [secs(100 + into_the_term), woken] {
            assert!(!extend_at(&mut term, woken, Term::renewed(sent, secs(15), secs(5))));
            assert_eq!(term.unwrap().allowance(woken), Err(Fenced));
        }
    }

    // Whatever is sent has ended, or is given up, before anybody else can hold the lease: a successor waits a whole lease
    // from its own later look at the renewal that was sent at `sent`.
    proptest::proptest! {
        #[test]
        fn nothing_that_may_begin_outlives_the_lease(
            sent in 0_u64..1_000_000, lease in 1_u64..100_000, margin in 0_u64..100_000, later in 0_u64..200_000,
        ) {
            let millis = Duration::from_millis;
            let term = Term::renewed(millis(sent), millis(lease), millis(margin));
            let now = millis(sent + later);
            match term.allowance(now) {
                Ok(limit) => {
                    proptest::prop_assert!(now + limit <= millis(sent + lease), "{limit:?}");
                    proptest::prop_assert!(later + margin < lease);
                }
                Err(Fenced) => proptest::prop_assert!(later + margin >= lease),
            }
        }

        #[test]
        fn a_term_lives_on_only_by_renewals_that_come_in_time(gaps in proptest::collection::vec(0_u64..15, 1..20)) {
            // Each gap: seconds from a renewal to the answer of the next, sent when it is answered.
            let (mut now, mut term) = (0, Some(Term::renewed(secs(0), secs(15), secs(5))));
            let mut alive = true;
            for gap in gaps {
                now += gap;
                alive = alive && gap < 10;
                let extended = extend_at(&mut term, secs(now), Term::renewed(secs(now), secs(15), secs(5)));
                proptest::prop_assert_eq!(extended, alive);
            }
        }
    }

    #[test]
    fn an_ended_term_stays_ended() {
        let clock = Clock::start();
        let (sender, receiver) = watch::channel(Some(Term { deadline: secs(3600), margin: secs(5) }));
        let fence = Fence::of(clock, receiver);
        assert!(fence.is_leader());
        sender.send_replace(None);
        assert_eq!(fence.check(), Err(Fenced));
        assert_eq!(Fence::never(clock).check(), Err(Fenced));
        assert_eq!(Fence::always().check(), Ok(()));
    }

    #[test]
    fn only_a_running_term_is_extended() {
        let clock = Clock::start();
        let longer = Term { deadline: secs(7200), margin: secs(5) };
        let (running, _seen) = watch::channel(Some(Term { deadline: secs(3600), margin: secs(5) }));
        assert!(extend(&running, &clock, longer));
        assert_eq!(*running.borrow(), Some(longer));
        let over = Term { deadline: clock.uptime(), margin: secs(5) };
        for ended in [None, Some(over)] {
            let (term, _seen) = watch::channel(ended);
            assert!(!extend(&term, &clock, longer), "{ended:?}");
            assert_eq!(*term.borrow(), ended);
        }
    }

    #[tokio::test]
    async fn a_lease_task_that_died_ends_the_term_at_its_deadline() {
        let clock = Clock::start();
        let deadline = clock.uptime() + Duration::from_millis(30);
        let (sender, receiver) = watch::channel(Some(Term { deadline, margin: secs(1) }));
        let fence = Fence::of(clock, receiver);
        drop(sender);
        fence.lost().await;
        assert!(clock.uptime() >= deadline, "the term lasts until its deadline");
        assert_eq!(fence.check(), Err(Fenced));
    }

    #[tokio::test]
    async fn a_revoked_term_is_lost_at_once() {
        let clock = Clock::start();
        let (sender, receiver) = watch::channel(Some(Term { deadline: secs(3600), margin: secs(1) }));
        let fence = Fence::of(clock, receiver);
        let waiter = tokio::spawn({
            let fence = fence.clone();
            async move { fence.lost().await }
        });
        sender.send_replace(None);
        tokio::time::timeout(secs(5), waiter).await.expect("in time").expect("no panic");
    }
}
