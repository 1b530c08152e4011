//! A schedule: how the world is built, and what goes wrong when. Everything follows from the seed.

use std::fmt;

use redis_memory_operator::domain::switchover::SwitchoverMethod;

use crate::{
    faults::{Fault, Lie, POINTS, Trigger, Whose},
    headroom, killed,
    kubernetes::Mood,
    load_loop,
    people::Field,
    planted::Bug,
    redis::Ms,
    rng::Rng,
    sentinels,
    shape::{self, PolicyShape, SetShape},
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
    /// Installs of the operator, of which there should be one: with two, each process is one of its own.
    pub installs: usize,
    pub sets: Vec<SetShape>,
    pub policies: Vec<PolicyShape>,
    /// How the role is handed over.
    pub method: SwitchoverMethod,
    /// The servers say whether their clients are paused.
    pub tells_pause: bool,
    /// A restart gives the memory back.
    pub restart_helps: bool,
    /// The wall clock of each operator process is off by this, in seconds.
    pub skews: Vec<i64>,
    pub endpoint_delay: Ms,
    /// No fault strikes or lasts after this, but for one that never heals; then everything must converge.
    pub calm: Ms,
    pub faults: Vec<(Trigger, Fault)>,
}

impl Schedule {
    /// The schedule of that seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let (mut sets, mut policies) = shape::namespace(&mut Rng::new(seed, 5));
        // Of a stream of its own: what other seeds mean stays.
        shape::under_sentinel(&mut Rng::new(seed, 6), &mut sets);
        headroom::fill(&mut Rng::new(seed, 9), &mut sets, &mut policies);
        killed::afflict(&mut Rng::new(seed, 11), &mut sets, &mut policies);
        let mut chooser = Rng::new(seed, 3);
        let guarded = chooser.percent(50);
        let mut schedule = Self {
            seed,
            method: if guarded { SwitchoverMethod::Guarded } else { SwitchoverMethod::Native },
            tells_pause: chooser.percent(50),
            operators: if rng.percent(50) { 2 } else { 1 },
            installs: 1,
            sets,
            policies,
            restart_helps: !rng.percent(6),
            skews: (0..8).map(|_| if rng.percent(20) { rng.range(0, 180) as i64 - 90 } else { 0 }).collect(),
            endpoint_delay: rng.pick(&[100, 600, 2500]),
            calm: if rng.percent(5) { LONG } else { CALM },
            faults: Vec::new(),
        };
        if schedule.operators == 2 && chooser.percent(8) {
            schedule.installs = 2;
        }
        let count = [0, 1, 1, 1, 2, 2, 3, 4, 6][rng.below(9)];
        for _ in 0..count {
            let fault = schedule.fault(&mut rng);
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
        if rng.percent(10) {
            let obstacle = schedule.obstacle(&mut rng);
            schedule.faults.push((Trigger::At(rng.range(1_000, 90_000)), obstacle));
        }
        let more = sentinels::faults(&mut Rng::new(seed, 8), &schedule.sets);
        schedule.faults.extend(more);
        let more = headroom::faults(&mut Rng::new(seed, 10), &schedule.sets);
        schedule.faults.extend(more);
        let more = killed::faults(&mut Rng::new(seed, 12), &schedule.sets);
        schedule.faults.extend(more);
        schedule.faults.extend(load_loop::faults(&mut Rng::new(seed, 13), &schedule.sets));
        schedule
    }

    /// The same with one more fault at one of the points near to that bug, where the process is then stopped for a while.
    /// For planted bugs that show only there: of the ordinary schedules too few strike just that point.
    pub fn near(mut self, bug: Bug) -> Self {
        let points = bug.near();
        let mut rng = Rng::new(self.seed, 4);
        let trigger = Trigger::On(rng.pick(points), rng.range(1, 3) as u32);
        let (pod, operator) = (self.pod(&mut rng), Whose::Acting);
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

    /// The same in a plain world of one set, without any fault.
    pub fn calm(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 5);
        let (sets, policies) = shape::demo(&mut rng);
        Self { faults: Vec::new(), restart_helps: true, installs: 1, sets, policies, ..Self::of(seed) }
    }

    /// The set that something stands in the way of for ever.
    pub fn obstructed(&self, set: usize) -> bool {
        self.faults.iter().any(|(_, fault)| fault.obstructs() == Some(set))
    }

    /// The same, and it takes pods of it.
    pub fn takes_pods(&self, set: usize) -> bool {
        self.faults.iter().any(|(_, fault)| fault.obstructs() == Some(set) && fault.takes_pods())
    }

    /// It has a set under Sentinel.
    pub fn is_watched(&self) -> bool {
        self.sets.iter().any(|set| set.watch.is_some())
    }

    /// It has a full set.
    pub fn is_full(&self) -> bool {
        self.sets.iter().any(|set| set.cache.is_some())
    }

    /// It has a set whose primary is killed for its limit.
    pub fn is_killed(&self) -> bool {
        self.sets.iter().any(|set| set.killed.is_some())
    }

    fn pod(&self, rng: &mut Rng) -> usize {
        let set = rng.below(self.sets.len());
        shape::pod(set, rng.below(self.sets[set].members))
    }

    fn fault(&self, rng: &mut Rng) -> Fault {
        let pod = self.pod(rng);
        let set = shape::set_of(pod);
        let policy = rng.below(self.policies.len());
        let long = self.calm > CALM;
        let lasts = if long { LONG } else { rng.pick(&[1_500, 4_000, 8_000, 14_000, 30_000, 45_000]) };
        let operator = if rng.percent(80) { Whose::Acting } else { Whose::Number(rng.below(2)) };
        match rng.range(0, 108) {
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
            47..50 => Fault::BudgetShut { set, lasts },
            50..51 => Fault::NoPods { set, lasts },
            51..52 => Fault::NoRoom { set, lasts },
            52..59 => Fault::Kill { pod, hard: rng.percent(50) },
            59..63 => Fault::Drain { pod, prestop: rng.pick(&[0, 0, 8_000, 25_000]) },
            63..66 => Fault::Restart { pod },
            66..73 => Fault::MoveRole { to: pod },
            73..75 => Fault::Relabel { pod },
            75..82 => Fault::Hang { pod, lasts },
            82..86 => Fault::Flap { pod, lasts },
            86..89 => Fault::Slow { pod, lasts },
            89..94 => {
                let lies = [Lie::Replica, Lie::Primary, Lie::CaughtUp, Lie::Fragmented, Lie::Keys, Lie::NoFailover];
                Fault::Lie { pod, lie: rng.pick(&lies), lasts }
            }
            94..96 => Fault::Edit { policy },
            96..97 => Fault::Suspend { policy, lasts },
            97..98 => Fault::Observe { policy, lasts },
            98..99 => Fault::Delete { policy },
            99..100 => Fault::Template { set },
            100..101 => Fault::ReuseAddress,
            101..104 => Fault::Fork { pod, lasts: rng.pick(&[20_000, 40_000, 60_000]) },
            104..107 => Fault::Grow { pod, mib: rng.pick(&[300, 600, 1_000]) },
            _ => Fault::Configure { pod },
        }
    }

    /// What never heals: everything else must go on.
    fn obstacle(&self, rng: &mut Rng) -> Fault {
        let (set, lasts) = (rng.below(self.sets.len()), Ms::MAX);
        let members = self.sets[set].members;
        match rng.below(7) {
            0 => Fault::BudgetShut { set, lasts },
            1 => Fault::NoPods { set, lasts },
            2 => Fault::NoRoom { set, lasts },
            3 => Fault::Scale { set, to: members + 1 },
            4 => Fault::Scale { set, to: members.saturating_sub(1).max(1) },
            5 => Fault::SetsBack { set, what: Field::Label },
            _ => Fault::SetsBack { set, what: Field::Limit },
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operators, installs) = (self.operators, self.installs);
        writeln!(f, "seed {}: {operators} operator(s), {installs} install(s), {}", self.seed, self.method.as_str())?;
        writeln!(
            f,
            "  endpoints {} ms late; restart helps: {}, clock skews {:?}",
            self.endpoint_delay, self.restart_helps, self.skews
        )?;
        for set in &self.sets {
            writeln!(f, "  {set:?}")?;
        }
        for policy in &self.policies {
            writeln!(f, "  {policy:?}")?;
        }
        for (trigger, fault) in &self.faults {
            writeln!(f, "  {trigger}: {fault}")?;
        }
        Ok(())
    }
}
