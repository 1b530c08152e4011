//! Sets whose limits are too low for what their servers take now and then, and may not be raised: the kernel kills whoever
//! goes over its limit, again and again, until the role has gone to a member with more room, people raise the limits, or
//! everything heals. Attributes of a schedule, from streams of their own. Once only: [`crate::kubelet`] has the kills,
//! [`crate::sick`] what must hold.

use crate::{
    faults::{Fault, POINTS, Trigger, Whose},
    headroom::{Headroom, Window},
    redis::{Ms, Role},
    rng::Rng,
    schedule::Schedule,
    shape::{self, Drift, Oddity, PolicyShape, SetShape, Start, Storage},
    world::World,
};

/// So many of a hundred worlds have a set whose primary is killed, where none is full.
const KILLED: u64 = 7;
/// Nobody takes more before this.
const FIRST: Ms = 12_000;
/// What the policy's maximum is, where that is in the way: more than any low limit, and less than is needed.
const MAXIMUM_MIB: u64 = 700;
/// What takes more than the limits of those who have room.
const ABOVE_ALL_MIB: u64 = 1_200;
/// What is left of a low limit at first: what a server without fragmentation takes by itself, and a little.
const SPARE_MIB: u64 = 100;
/// The limits that people raise to at last.
const RAISED_MIB: u64 = 1_300;

/// What becomes of a higher limit that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Raise {
    /// The pod gets it.
    #[default]
    Given,
    /// The API server refuses it: a quota.
    OverQuota,
    /// The node has no room for it now.
    NoRoom,
}

/// A set whose members' limits are too low, but for those that are roomy ([`Oddity::Roomy`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed {
    /// The limit, of the template too.
    pub limit_mib: u64,
    /// What a server takes beside its data at such times.
    pub takes_mib: u64,
    /// So long after its start a process begins to take more.
    pub after: Ms,
    /// So long what it takes stays just below the low limit, before it takes all.
    pub holds: Ms,
    /// Replicas do as the primary does.
    pub everyone: bool,
    pub raise: Raise,
}

impl Killed {
    /// The primary alone is killed, 45 s and more after it has started.
    const fn plain() -> Self {
        Self { limit_mib: 600, takes_mib: 560, after: 45_000, holds: 0, everyone: false, raise: Raise::Given }
    }

    fn any(rng: &mut Rng) -> Self {
        Self {
            limit_mib: rng.pick(&[520, 560, 600, 630]),
            // Sometimes nobody has room enough for what comes.
            takes_mib: if rng.percent(88) { 560 } else { ABOVE_ALL_MIB },
            // The first kills each process soon after the one before.
            after: rng.pick(&[1_000, 10_000, 25_000, 45_000]),
            holds: rng.pick(&[0, 0, 20_000, 60_000]),
            everyone: rng.percent(30),
            raise: Raise::Given,
        }
    }
}

/// Has the primaries of some worlds killed: of one set, whose policies may not raise its limits.
pub fn afflict(rng: &mut Rng, sets: &mut [SetShape], policies: &mut [PolicyShape]) {
    if !rng.percent(KILLED) || sets.iter().any(|set| set.cache.is_some()) {
        return;
    }
    let Some(at) = sets.iter().position(|set| set.members > 1) else { return };
    let mut killed = Killed::any(rng);
    let headroom = tied(rng, &mut killed.raise);
    for policy in policies {
        policy.headroom = headroom;
    }
    let set = &mut sets[at];
    has(set, killed);
    if rng.percent(75) {
        set.odd.extend((0..set.members).map(|n| (n, Oddity::Clean)));
    }
    if set.storage == Storage::Nothing && rng.percent(60) {
        set.storage = rng.pick(&[Storage::Dump, Storage::Aof]);
    }
    let roomy = match rng.below(10) {
        0 => 0,
        1..8 => 1,
        _ => 2,
    };
    for _ in 0..roomy {
        let n = rng.range(1, set.members as u64) as usize;
        set.odd.push((n, Oddity::Roomy));
    }
    if roomy > 0 && rng.percent(10) {
        set.odd.extend((1..set.members).map(|n| (n, Oddity::Roomy)));
    }
}

/// That set is one of these: all have the same `maxmemory`, and who led leads again.
fn has(set: &mut SetShape, killed: Killed) {
    (set.killed, set.tight) = (Some(killed), false);
    set.drift = set.drift.filter(|drift| *drift != Drift::Maxmemory);
    set.odd.retain(|(_, odd)| !matches!(odd, Oddity::SmallMaxmemory | Oddity::Roomy));
    if set.watch.is_none() && set.start == Start::Searches {
        set.start = Start::Remembers;
    }
}

/// What a policy says that raises no limit, or not soon; seldom it does.
fn tied(rng: &mut Rng, raise: &mut Raise) -> Headroom {
    let plain = Headroom { percent: rng.pick(&[50, 50, 100]), ..Headroom::default() };
    let tied = match rng.below(100) {
        0..40 => Headroom { resizes: false, ..plain },
        40..58 => Headroom { maximum_mib: Some(MAXIMUM_MIB), ..plain },
        58..76 => {
            *raise = Raise::OverQuota;
            plain
        }
        76..94 => {
            *raise = Raise::NoRoom;
            plain
        }
        _ => plain,
    };
    let window = match rng.below(100) {
        0..6 => Some(Window::Opens(rng.pick(&[5, 6]))),
        6..12 => Some(Window::Closes(rng.pick(&[5, 6]))),
        _ => None,
    };
    Headroom { sets: rng.percent(12), window, ..tied }
}

/// What befalls such a set besides: kills at any time, also amid a hand-over and with the operator, and people who raise the
/// limits.
pub fn faults(rng: &mut Rng, sets: &[SetShape]) -> Vec<(Trigger, Fault)> {
    let Some(set) = sets.iter().position(|set| set.killed.is_some()) else { return Vec::new() };
    let amid = |point: &&str| point.starts_with("switchover:") || point.starts_with("repoint:");
    let points: Vec<&'static str> = POINTS.iter().copied().filter(amid).chain(["begin:journal", "observed"]).collect();
    let mut faults = Vec::new();
    for _ in 0..[0, 1, 1, 2, 3][rng.below(5)] {
        let primary = rng.percent(45);
        let pod = shape::pod(set, if primary { 0 } else { rng.below(sets[set].members) });
        let fault = match rng.below(10) {
            0..6 => Fault::OutOfMemory { pod },
            6..8 => Fault::Limits { set, mib: RAISED_MIB },
            8 => Fault::Grow { pod, mib: ABOVE_ALL_MIB },
            _ => Fault::MoveRole { to: pod },
        };
        let trigger = if rng.percent(70) {
            Trigger::On(rng.pick(&points), rng.range(1, 3) as u32)
        } else {
            Trigger::At(rng.range(8_000, 140_000))
        };
        faults.push((trigger, fault));
        // With the operator.
        if rng.percent(30) {
            let (operator, lasts) = (Whose::Acting, rng.pick(&[1_500, 4_000, 10_000]));
            let crash = Fault::Crash { operator, back_after: lasts };
            faults.push((trigger, if rng.percent(60) { crash } else { Fault::Stop { operator, lasts } }));
        }
    }
    faults
}

/// A plain world of one set that nothing restarts, whose primary is killed for a limit that the policy does not raise; that
/// member alone has more room.
pub fn calm(seed: u64, roomy: Option<usize>) -> Schedule {
    let mut schedule = Schedule::calm(seed);
    schedule.policies[0].headroom = Headroom { resizes: false, ..Headroom::default() };
    let set = &mut schedule.sets[0];
    has(set, Killed::plain());
    set.storage = Storage::Aof;
    set.odd = (0..set.members).map(|n| (n, Oddity::Clean)).chain(roomy.map(|n| (n, Oddity::Roomy))).collect();
    schedule
}

impl World {
    /// What becomes of a higher limit that is asked for of that pod.
    pub fn raise(&self, n: usize) -> Raise {
        self.shape(n).killed.map(|killed| killed.raise).unwrap_or_default()
    }

    /// A server of such a set takes more memory, until everything heals.
    pub fn strain(&mut self, n: usize) {
        let Some(killed) = self.shape(n).killed.filter(|_| !self.people.healed) else { return };
        let now = self.now;
        let Some(server) = self.servers.of_pod_mut(n) else { return };
        let strained = killed.everyone || server.role == Role::Primary;
        let since = server.started.max(FIRST) + killed.after;
        if !strained || now < since {
            return;
        }
        let takes = if now < since + killed.holds { killed.limit_mib - SPARE_MIB } else { killed.takes_mib };
        server.grows_to_mib = server.grows_to_mib.max(takes);
    }
}
