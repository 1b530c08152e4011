//! What goes wrong with Sentinels.

use super::TILT;
use crate::{
    faults::{Fault, Trigger, WATCHED_POINTS, Whose},
    redis::{Cause, Ms},
    rng::Rng,
    shape::{self, SetShape, Watch},
    world::World,
};

impl World {
    /// A fault strikes Sentinels of a set.
    pub fn strike_sentinels(&mut self, fault: Fault) {
        let now = self.now;
        let some = |set: usize, (first, count): (usize, usize), world: &Self| -> Vec<usize> {
            world.sentinels.of_set(set).skip(first).take(count).collect()
        };
        match fault {
            Fault::SentinelsEnd { set, of, lasts } => {
                for at in some(set, of, self) {
                    self.sentinels.all[at].down_until = self.until(lasts);
                }
            }
            Fault::SentinelsFreeze { set, of, lasts } => {
                for at in some(set, of, self) {
                    let until = self.until(lasts);
                    let it = &mut self.sentinels.all[at];
                    it.frozen_until = until;
                }
            }
            Fault::SentinelsCut { set, of, pod, lasts } => {
                for at in some(set, of, self) {
                    let until = self.until(lasts);
                    self.sentinels.all[at].cut.push((pod, until));
                }
            }
            Fault::SentinelFailover { set, n } => {
                for at in some(set, (n, 1), self) {
                    if self.sentinels.all[at].awake(now) {
                        let _ = self.fail_over(at, false, Cause::Foreign);
                    }
                }
            }
            Fault::SentinelReset { set, n } => {
                for at in some(set, (n, 1), self) {
                    self.sentinels.all[at].reset(now);
                }
            }
            Fault::SentinelTilt { set, n } => {
                for at in some(set, (n, 1), self) {
                    self.sentinels.all[at].tilt_until = (now + TILT).min(self.schedule.calm.max(now));
                }
            }
            _ => {}
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
    match rng.below(100) {
        0..12 => Fault::SentinelsEnd { set, of, lasts },
        12..26 => Fault::SentinelsFreeze { set, of, lasts },
        26..38 => Fault::SentinelsCut { set, of: (n, rng.range(1, 4) as usize), pod, lasts },
        38..48 => Fault::SentinelFailover { set, n },
        48..53 => Fault::SentinelReset { set, n },
        53..58 => Fault::SentinelTilt { set, n },
        58..80 => Fault::Crash { operator: Whose::Acting, back_after: rng.pick(&[200, 2_000, 10_000, 25_000]) },
        80..88 => Fault::Hang { pod, lasts },
        88..92 => Fault::Restart { pod },
        92..96 => Fault::Kill { pod, hard: rng.percent(50) },
        _ => Fault::Slow { pod, lasts },
    }
}
