//! What policies say of the memory beside the data, and the sets that are full enough for it to matter: attributes of a
//! schedule, from streams of their own. Once only: [`crate::memory`] has what follows for servers, [`crate::bounds`] what must
//! hold.

use jiff::SignedDuration;
use redis_memory_operator::{
    assess::headroom::demand::{Copied, Demand, Terms},
    domain::{bytes::Bytes, fixtures, policy::HeadroomRule, purpose::Purpose, ratio::Ratio},
};
use serde_json::{Value, json};

use crate::{
    faults::{Fault, MAXMEMORY_POINTS, Trigger},
    redis::Ms,
    rng::Rng,
    shape::{self, Drift, Oddity, PolicyShape, SetShape},
};

/// So many of a hundred worlds have full sets, and policies that say more of the headroom.
const FULL: u64 = 14;
/// `maxmemory` of the templates that have one.
pub const MAXMEMORY_MIB: u64 = 512;
/// A full set may be fragmented from this limit on: it holds what is resident then.
pub const FRAGMENTED_FROM_MIB: u64 = 1024;
/// What the operator had set before the schedule, where it had.
pub const SET_BEFORE: Bytes = Bytes::mib(440);
const DAY: Ms = 24 * 3_600_000;
const MINUTE: Ms = 60_000;
/// Long enough for method Measured.
const LONG_SAMPLED: Ms = 119 * MINUTE;

/// A set that is used as a cache, or at least is as full as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    /// What a key takes. All are equal.
    pub key: Bytes,
    /// `maxmemory` of its template; zero: no bound.
    pub maxmemory_mib: u64,
    pub limit_mib: u64,
    pub policy: &'static str,
    /// `replica-ignore-maxmemory`.
    pub ignores: bool,
    /// Keys that a full server evicts in a tenth of a second.
    pub batch: u64,
    /// While it evicts it answers so much later.
    pub late: Ms,
    /// Its clients' buffers, for ten seconds of each minute.
    pub clients_mib: u64,
    /// What a fork copies, in percent of what is used.
    pub copies: u64,
    /// Bytes of writes in a second before the schedule.
    pub wrote: u64,
}

impl Cache {
    fn any(rng: &mut Rng, clean: bool) -> Self {
        let unbounded = rng.percent(10);
        let filled = rng.range(55, if unbounded { 80 } else { 100 });
        Self {
            key: Bytes(Bytes::mib(MAXMEMORY_MIB).0 * filled / 100 / crate::world::KEYS),
            maxmemory_mib: if unbounded { 0 } else { MAXMEMORY_MIB },
            limit_mib: if clean && !unbounded { rng.pick(&[700, 800, 1024, 1536]) } else { rng.pick(&[1024, 1536]) },
            policy: rng.pick(&[
                "allkeys-lru",
                "allkeys-lru",
                "allkeys-lfu",
                "allkeys-random",
                "volatile-lru",
                "noeviction",
            ]),
            ignores: rng.percent(92),
            batch: rng.pick(&[5, 40, 200]),
            late: rng.pick(&[0, 0, 0, 80, 200]),
            clients_mib: rng.pick(&[0, 0, 16, 48]),
            copies: rng.pick(&[5, 20, 45]),
            wrote: rng.pick(&[1_000, 200_000, 3_000_000]),
        }
    }

    /// A cache of which nothing is odd, as full as that, in percent.
    pub fn plain(filled: u64) -> Self {
        Self {
            key: Bytes(Bytes::mib(MAXMEMORY_MIB).0 * filled / 100 / crate::world::KEYS),
            maxmemory_mib: MAXMEMORY_MIB,
            limit_mib: 700,
            policy: "allkeys-lru",
            ignores: true,
            batch: 200,
            late: 0,
            clients_mib: 0,
            copies: 5,
            wrote: 1_000,
        }
    }

    /// Whether a full server may evict any key; else it refuses writes, for none of these keys expires.
    pub fn evicts(&self) -> bool {
        self.policy.starts_with("allkeys-")
    }
}

/// When the windows of a policy open and close, in minutes after the full hour; the schedule begins four minutes and five
/// seconds after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// It is not open yet, and stays open for long.
    Opens(u64),
    /// It is open, and closes for a day.
    Closes(u64),
}

/// What a policy says of the memory beside the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    pub measured: bool,
    pub percent: u64,
    pub resizes: bool,
    /// `SetMaxmemory`.
    pub sets: bool,
    pub maximum_mib: Option<u64>,
    pub purpose: Option<Purpose>,
    /// `allowEviction`.
    pub evicts: bool,
    pub window: Option<Window>,
    /// Fragmentation from here on is cured.
    pub restart_percent: u64,
    /// The operator had set `maxmemory` so long before the schedule begins.
    pub set_before: Option<Ms>,
    /// For how long the first processes of the operator have sampled then.
    pub sampled_for: Ms,
}

impl Default for Headroom {
    /// As policies are that say nothing of it.
    fn default() -> Self {
        Self {
            measured: false,
            percent: 50,
            resizes: true,
            sets: false,
            maximum_mib: None,
            purpose: None,
            evicts: false,
            window: None,
            restart_percent: 250,
            set_before: None,
            sampled_for: 0,
        }
    }
}

impl Headroom {
    fn any(rng: &mut Rng, clean: bool) -> Self {
        let sets = rng.percent(80);
        let resizes = !sets || rng.percent(40);
        let purpose = [Some(Purpose::Cache), Some(Purpose::Store), None][[0, 0, 0, 0, 0, 0, 0, 1, 2, 2][rng.below(10)]];
        let measured = rng.percent(45);
        let window = match rng.below(100) {
            0..12 => Some(Window::Opens(rng.pick(&[5, 6]))),
            12..26 if clean => Some(Window::Closes(rng.pick(&[5, 6]))),
            _ => None,
        };
        Self {
            measured,
            percent: rng.pick(&[50, 50, 100, 150]),
            resizes,
            sets,
            maximum_mib: if resizes && sets { rng.pick(&[None, Some(900), Some(1024), Some(1200)]) } else { None },
            purpose,
            evicts: rng.percent(70) && sets && purpose == Some(Purpose::Cache),
            window,
            restart_percent: 150,
            set_before: if sets && rng.percent(30) {
                rng.pick(&[Some(DAY - 40_000), Some(DAY - 90_000), Some(120 * MINUTE)])
            } else {
                None
            },
            sampled_for: rng.pick(&[0, 59 * MINUTE, LONG_SAMPLED, LONG_SAMPLED]),
        }
    }

    /// Whatever is demanded of that set's limits, they are enough; or not yet measured.
    pub fn is_enough(&self, limit_mib: u64, maxmemory: Bytes, members: usize) -> bool {
        self.measured || maxmemory > Bytes::ZERO && self.demand(members).exactly(maxmemory) <= Bytes::mib(limit_mib)
    }

    /// By method Measured, which rests on samples of some hours.
    pub fn measured() -> Self {
        Self { measured: true, sampled_for: LONG_SAMPLED, sets: true, resizes: false, ..Self::default() }
    }

    /// A policy that consents to eviction, and raises no limit.
    pub fn consents() -> Self {
        Self { sets: true, resizes: false, purpose: Some(Purpose::Cache), evicts: true, ..Self::default() }
    }

    /// What of a policy's spec it is.
    pub fn write(&self, spec: &mut Value) {
        let remedies = [(self.resizes, "ResizePod"), (self.sets, "SetMaxmemory")];
        let mut remedies: Vec<&str> = remedies.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name).collect();
        if remedies.is_empty() {
            remedies.push("Report");
        }
        spec["headroom"] = json!({
            "method": if self.measured { "Measured" } else { "Fixed" }, "percent": self.percent, "remedies": remedies,
            "allowEviction": self.evicts,
        });
        if let Some(maximum) = self.maximum_mib {
            spec["headroom"]["maximumLimit"] = json!(format!("{maximum}Mi"));
        }
        if let Some(purpose) = self.purpose {
            spec["purpose"] = json!(purpose.as_str());
        }
        if self.restart_percent != Self::default().restart_percent {
            let fragmentation = &mut spec["fragmentation"];
            fragmentation["restartPercent"] = json!(self.restart_percent);
            // Each is above the one before.
            for (n, name) in (1..).zip(["criticalPercent", "seriousPercent", "moderatePercent"]) {
                fragmentation[name] = json!(self.restart_percent - 10 * n);
            }
        }
        let window = self.window.map(|window| match window {
            Window::Opens(minute) => (minute, "8h".to_owned()),
            Window::Closes(minute) => (0, format!("{minute}m")),
        });
        if let Some((minute, duration)) = window {
            spec["restart"]["windows"] = json!([{"schedule": format!("{minute} 3 * * *"), "duration": duration}]);
        }
    }

    /// Whether a window is open at that time, as a clock shows it.
    pub fn is_open(&self, at: i64) -> bool {
        let minute = |minute: u64| (minute * MINUTE) as i64 - BEGINS;
        match self.window {
            None => true,
            Some(Window::Opens(at_minute)) => at >= minute(at_minute),
            Some(Window::Closes(at_minute)) => at < minute(at_minute),
        }
    }

    fn rule(&self) -> HeadroomRule {
        HeadroomRule { percent: self.percent as u32, ..fixtures::policy().headroom }
    }

    /// What is demanded whatever was measured, of a set of so many members.
    fn demand(&self, members: usize) -> Demand {
        let rule = self.rule();
        if !self.measured {
            return Demand::assumed(&rule);
        }
        let rule = HeadroomRule { method: redis_memory_operator::domain::policy::HeadroomMethod::Measured, ..rule };
        match Demand::assumed(&rule) {
            Demand::Measured(terms) => {
                let buffer_limit = if members > 1 { terms.buffer_limit } else { Bytes::ZERO };
                let copied = Ratio(if members > 1 { 10 } else { 0 });
                Demand::Measured(Terms { copied, copied_by: Copied::Seen, buffer_limit, ..terms })
            }
            fixed @ Demand::Fixed { .. } => fixed,
        }
    }

    /// The limit that it demands for that `maxmemory`, in MiB; where that is measured, at least.
    pub fn need(&self, maxmemory: Bytes, members: usize) -> u64 {
        self.demand(members).limit(maxmemory).0 / Bytes::mib(1).0
    }

    /// The least limit that it can mean for that `maxmemory`.
    pub fn least_limit(&self, maxmemory: Bytes, members: usize) -> u64 {
        let need = self.need(maxmemory, members);
        match self.maximum_mib.filter(|most| *most < need) {
            None => need,
            Some(most) if self.sets => most,
            // What it demands it does not get; what a full sync takes may be given it.
            Some(_) => 0,
        }
    }
}

/// From the full hour to the beginning of a schedule (`fixtures::NOW`).
const BEGINS: i64 = 245_000;

/// What was set before a schedule was set so long before now.
pub fn ago(time: Ms) -> SignedDuration {
    SignedDuration::from_millis(time as i64)
}

/// Fills sets of some worlds, and has their policies say more of the headroom.
pub fn fill(rng: &mut Rng, sets: &mut [SetShape], policies: &mut [PolicyShape]) {
    if !rng.percent(FULL) {
        return;
    }
    let count = if rng.percent(50) { 1 } else { sets.len() };
    // Without fragmentation nothing is restarted, and all there is to see is this.
    let clean = rng.percent(65);
    for (n, set) in sets.iter_mut().enumerate() {
        if clean {
            set.odd.extend((0..set.members).map(|ordinal| (ordinal, Oddity::Clean)));
        }
        if n < count {
            set.cache = Some(Cache::any(rng, clean));
            set.tight = false;
            set.drift = set.drift.filter(|drift| *drift != Drift::Maxmemory);
        }
    }
    let headroom = Headroom::any(rng, clean);
    for policy in policies {
        policy.headroom = headroom;
        // A rival may be of another mind.
        policy.headroom.evicts &= !rng.percent(20);
    }
}

/// What people do to the memory of full sets meanwhile.
pub fn faults(rng: &mut Rng, sets: &[SetShape]) -> Vec<(Trigger, Fault)> {
    let full: Vec<usize> = (0..sets.len()).filter(|set| sets[*set].cache.is_some()).collect();
    if full.is_empty() {
        return Vec::new();
    }
    let count = [0, 0, 1, 1, 2][rng.below(5)];
    let any = |rng: &mut Rng| {
        let set = rng.pick(&full);
        let primary = rng.percent(70);
        let pod = shape::pod(set, if primary { 0 } else { rng.below(sets[set].members) });
        match rng.below(10) {
            // No value of ours is one of these.
            0..6 => Fault::Bounds { pod, kib: rng.pick(&[0, 600_001, 499_001, 420_001, 300_001]) },
            _ => Fault::Limits { set, mib: rng.pick(&[1_100, 1_300, 2_048]) },
        }
    };
    let when = |rng: &mut Rng| {
        if rng.percent(60) {
            Trigger::On(rng.pick(MAXMEMORY_POINTS), rng.range(1, 6) as u32)
        } else {
            Trigger::At(rng.range(10_000, 140_000))
        }
    };
    (0..count).map(|_| (when(rng), any(rng))).collect()
}
