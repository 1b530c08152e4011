//! A schedule: how the world is built, and what goes wrong when. Everything follows from the seed.

use std::fmt;

use redis_memory_operator::domain::switchover::SwitchoverMethod;

use crate::{
    faults::{Fault, Lie, POINTS, Trigger, Whose},
    kubernetes::{Mood, PODS},
    planted::Bug,
    redis::Ms,
    rng::Rng,
};

/// No fault strikes or lasts after this in most schedules; then everything heals, and must converge.
const CALM: Ms = 150_000;
/// In some one fault lasts long enough for the pace of a steady state to be seen (L5).
const LONG: Ms = 420_000;

/// How one run goes.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub operators: usize,
    pub policies: usize,
    /// How the role is handed over.
    pub method: SwitchoverMethod,
    /// The servers say whether their clients are paused.
    pub tells_pause: bool,
    /// A restart gives the memory back.
    pub restart_helps: bool,
    /// The wall clock of each operator process is off by so many seconds.
    pub skews: Vec<i64>,
    pub full_sync: Ms,
    pub endpoint_delay: Ms,
    pub write_every: Ms,
    /// The template's `maxmemory` is not what the members have at run time.
    pub settings_drift: bool,
    /// The pods' memory limit is below what the policy demands; the template's, too.
    pub tight: bool,
    pub clean_member: Option<usize>,
    /// Pod 0 alone starts as a primary, with what its volume holds; the others start as its replicas.
    pub fixed_start: bool,
    /// No fault strikes or lasts after this; then everything heals, and must converge.
    pub calm: Ms,
    pub faults: Vec<(Trigger, Fault)>,
}

impl Schedule {
    /// The schedule of that seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let operators = if rng.percent(50) { 2 } else { 1 };
        let policies = if rng.percent(12) { 2 } else { 1 };
        let mut chooser = Rng::new(seed, 3);
        let guarded = chooser.percent(50);
        let mut schedule = Self {
            seed,
            method: if guarded { SwitchoverMethod::Guarded } else { SwitchoverMethod::Native },
            tells_pause: chooser.percent(50),
            operators,
            policies,
            restart_helps: !rng.percent(6),
            skews: (0..8).map(|_| if rng.percent(20) { rng.range(0, 180) as i64 - 90 } else { 0 }).collect(),
            full_sync: rng.pick(&[300, 1500, 6000]),
            endpoint_delay: rng.pick(&[100, 600, 2500]),
            write_every: rng.pick(&[120, 300, 700]),
            settings_drift: rng.percent(20),
            tight: chooser.percent(15),
            clean_member: rng.percent(20).then(|| rng.below(PODS)),
            fixed_start: false,
            calm: if rng.percent(5) { LONG } else { CALM },
            faults: Vec::new(),
        };
        let count = [0, 1, 1, 1, 2, 2, 3, 4, 6][rng.below(9)];
        for _ in 0..count {
            let fault = fault(&mut rng, policies, schedule.calm > CALM);
            let trigger = if rng.percent(60) {
                let most = if rng.percent(60) { 2 } else { 5 };
                Trigger::On(rng.pick(POINTS), rng.range(1, most + 1) as u32)
            } else {
                Trigger::At(rng.range(20_000, 120_000))
            };
            schedule.faults.push((trigger, fault));
            // Between a look and what is done on it: the one who looked is stopped while the world goes on.
            if matches!(trigger, Trigger::On(..)) && !matches!(fault, Fault::Crash { .. }) && rng.percent(30) {
                let lasts = rng.pick(&[1_500, 4_000, 8_000]);
                schedule.faults.push((trigger, Fault::Stop { operator: Whose::Acting, lasts }));
            }
        }
        schedule
    }

    /// The same with one more fault at one of the points near to that bug, where the process is then stopped for a while.
    /// For planted bugs that show only there: of the ordinary schedules too few strike just that point.
    pub fn near(mut self, bug: Bug) -> Self {
        let points = bug.near();
        let mut rng = Rng::new(self.seed, 4);
        let trigger = Trigger::On(rng.pick(points), rng.range(1, 3) as u32);
        let (pod, operator) = (rng.below(PODS), Whose::Acting);
        let lasts = rng.pick(&[1_500, 4_000, 8_000]);
        let any = match rng.below(4) {
            0 => Fault::Crash { operator, back_after: lasts },
            1 => Fault::MoveRole { to: pod },
            // Right before an eviction another process of the pod would break S7 first.
            2 if !points.contains(&"role:read") && !points.contains(&"evict:before-effect") => Fault::Restart { pod },
            _ => Fault::Slow { pod, lasts },
        };
        let (fault, stopped) = bug.strikes(pod).unwrap_or((any, Some(lasts)));
        self.faults.push((trigger, fault));
        if let Some(lasts) = stopped {
            self.faults.push((trigger, Fault::Stop { operator, lasts }));
        }
        self
    }

    /// The same in a world in which pod 0 alone starts as a primary. Without what takes a server away or its role: a
    /// restart by somebody else is what such a set cannot bear while its role is elsewhere.
    pub fn fixed_start(seed: u64) -> Self {
        let mut schedule = Self { fixed_start: true, ..Self::of(seed) };
        let taken = |fault: &Fault| {
            matches!(
                fault,
                Fault::Kill { .. }
                    | Fault::Drain { .. }
                    | Fault::Restart { .. }
                    | Fault::MoveRole { .. }
                    | Fault::Delete { .. }
            )
        };
        schedule.faults.retain(|(_, fault)| !taken(fault));
        schedule
    }

    /// The same without any fault.
    pub fn calm(seed: u64) -> Self {
        Self { faults: Vec::new(), restart_helps: true, policies: 1, ..Self::of(seed) }
    }
}

fn fault(rng: &mut Rng, policies: usize, long: bool) -> Fault {
    let pod = rng.below(PODS);
    let policy = rng.below(policies);
    let lasts = if long { LONG } else { rng.pick(&[1_500, 4_000, 8_000, 14_000, 30_000, 45_000]) };
    let operator = if rng.percent(80) { Whose::Acting } else { Whose::Number(rng.below(2)) };
    match rng.range(0, 100) {
        0..18 => Fault::Crash { operator, back_after: rng.pick(&[200, 2_000, 10_000]) },
        18..28 => Fault::Stop { operator, lasts },
        28..33 => Fault::LeaseBlocked { operator, lasts },
        33..37 => Fault::StaleCache { operator, lasts },
        37..47 => {
            let moods = [
                Mood::Errors(30),
                Mood::Errors(100),
                Mood::Overload,
                Mood::Conflicts,
                Mood::LostReplies,
                Mood::Slow(2500),
            ];
            let mood = rng.pick(&moods);
            Fault::Api { mood, lasts }
        }
        47..50 => Fault::BudgetShut { lasts },
        50..52 => Fault::NoPods { lasts },
        52..59 => Fault::Kill { pod, hard: rng.percent(50) },
        59..62 => Fault::Drain { pod },
        62..65 => Fault::Restart { pod },
        65..72 => Fault::MoveRole { to: pod },
        72..74 => Fault::Relabel { pod },
        74..81 => Fault::Hang { pod, lasts },
        81..85 => Fault::Flap { pod, lasts },
        85..88 => Fault::Slow { pod, lasts },
        88..93 => {
            let lies = [Lie::Replica, Lie::Primary, Lie::CaughtUp, Lie::Fragmented, Lie::Keys, Lie::NoFailover];
            Fault::Lie { pod, lie: rng.pick(&lies), lasts }
        }
        93..95 => Fault::Edit { policy },
        95..96 => Fault::Suspend { policy, lasts },
        96..97 => Fault::Observe { policy, lasts },
        97..98 => Fault::Delete { policy },
        98..99 => Fault::Template,
        _ => Fault::ReuseAddress,
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.method.as_str();
        writeln!(f, "seed {}: {} operator(s), {} polic(ies), {method}", self.seed, self.operators, self.policies)?;
        writeln!(
            f,
            "  full sync {} ms, endpoints {} ms late, a write every {} ms; restart helps: {}, template differs: {}, \
             clean member: {:?}, clock skews {:?}",
            self.full_sync,
            self.endpoint_delay,
            self.write_every,
            self.restart_helps,
            self.settings_drift,
            self.clean_member,
            self.skews
        )?;
        for (trigger, fault) in &self.faults {
            writeln!(f, "  {trigger}: {fault}")?;
        }
        Ok(())
    }
}
