//! What goes wrong with Sentinels.

use super::TILT;
use crate::{
    faults::{Fault, Trigger, Trouble, WATCHED_POINTS, Whose},
    redis::{Cause, Ms},
    rng::Rng,
    shape::{self, SetShape, Watch},
    world::World,
};

impl World {
    /// Something befalls that Sentinel.
    pub fn strike_sentinel(&mut self, at: usize, what: Trouble) {
        let now = self.now;
        let until = |lasts: Ms| self.until(lasts);
        let tilt = until(TILT).max(now);
        let sentinel = &self.sentinels.all[at];
        match what {
            Trouble::Ends { lasts } => self.sentinels.all[at].down_until = until(lasts),
            Trouble::Freezes { lasts } => self.sentinels.all[at].frozen_until = until(lasts),
            Trouble::Cut { pod, lasts } => {
                let cut = (pod, until(lasts));
                self.sentinels.all[at].cut.push(cut);
            }
            Trouble::FailsOver if sentinel.awake(now) => {
                let set = sentinel.set;
                let beside = self.sentinels.ours_goes_on(set);
                if self.fail_over(at, false, Cause::Foreign).is_ok() && beside {
                    self.observer.doubled.insert(set);
                }
            }
            Trouble::FailsOver => {}
            Trouble::Reset => self.sentinels.all[at].reset(now),
            Trouble::Tilts => self.sentinels.all[at].tilt_until = tilt,
        }
    }
}

/// Up to three faults in a world with sets under Sentinel, most of them while the role moves.
pub fn faults(rng: &mut Rng, sets: &[SetShape]) -> Vec<(Trigger, Fault)> {
    let watched: Vec<(usize, &SetShape, &Watch)> =
        sets.iter().enumerate().filter_map(|(n, set)| Some((n, set, set.watch.as_ref()?))).collect();
    let mut faults = Vec::new();
    if watched.is_empty() {
        return faults;
    }
    for _ in 0..[0, 1, 1, 1, 2, 2, 3][rng.below(7)] {
        let (set, shape, watch) = watched[rng.below(watched.len())];
        let fault = fault(rng, (set, shape), watch);
        let trigger = if rng.percent(70) {
            Trigger::On(rng.pick(WATCHED_POINTS), if rng.percent(80) { 1 } else { 2 })
        } else {
            Trigger::At(rng.range(20_000, 140_000))
        };
        faults.push((trigger, fault));
        if matches!(trigger, Trigger::On(..)) && !matches!(fault, Fault::Crash { .. }) && rng.percent(25) {
            let lasts: Ms = rng.pick(&[1_500, 4_000, 8_000, 20_000]);
            faults.push((trigger, Fault::Stop { operator: Whose::Acting, lasts }));
        }
    }
    faults
}

fn fault(rng: &mut Rng, (set, shape): (usize, &SetShape), watch: &Watch) -> Fault {
    let n = rng.below(watch.count);
    let of = (n, if rng.percent(60) { 1 } else { 2 });
    let pod = shape::pod(set, rng.below(shape.members));
    let lasts = rng.pick(&[1_500, 4_000, 8_000, 14_000, 30_000, 45_000]);
    let one = (n, 1);
    let (of, what) = match rng.below(100) {
        0..12 => (of, Trouble::Ends { lasts }),
        12..26 => (of, Trouble::Freezes { lasts }),
        26..38 => ((n, rng.range(1, 4) as usize), Trouble::Cut { pod, lasts }),
        38..48 => (one, Trouble::FailsOver),
        48..53 => (one, Trouble::Reset),
        53..58 => (one, Trouble::Tilts),
        besides => return beside(rng, besides, pod, lasts),
    };
    Fault::Sentinels { set, of, what }
}

/// What may befall the operator, or a member, right then.
fn beside(rng: &mut Rng, which: usize, pod: usize, lasts: Ms) -> Fault {
    match which {
        0..80 => Fault::Crash { operator: Whose::Acting, back_after: rng.pick(&[200, 2_000, 10_000, 25_000]) },
        80..88 => Fault::Hang { pod, lasts },
        88..92 => Fault::Restart { pod },
        92..96 => Fault::Kill { pod, hard: rng.percent(50) },
        _ => Fault::Slow { pod, lasts },
    }
}
