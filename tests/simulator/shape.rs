//! What a world is built of: sets with their members and Services, and the policies over them.

use redis_memory_operator::domain::names::{ControllerUid, PodName};

use crate::{
    headroom::{Cache, Headroom},
    killed::Killed,
    redis::Ms,
    rng::Rng,
};

/// Pods are numbered through: those of a set follow each other, and a set has fewer than this.
pub const STRIDE: usize = 16;
/// So many of a hundred worlds have sets under Sentinel.
const UNDER_SENTINEL: u64 = 15;
/// Sets of a namespace, by name.
const NAMES: [&str; 3] = ["redis", "cache", "queue"];

/// The set of that pod.
pub const fn set_of(pod: usize) -> usize {
    pod / STRIDE
}

/// Its number within its set.
pub const fn ordinal(pod: usize) -> usize {
    pod % STRIDE
}

/// The pod of that ordinal.
pub const fn pod(set: usize, ordinal: usize) -> usize {
    set * STRIDE + ordinal
}

pub const fn set_name(set: usize) -> &'static str {
    NAMES[set]
}

/// The set of that name; a Service is named after its set, with a word more.
pub fn set_named(name: &str) -> Option<usize> {
    NAMES.iter().position(|it| name == *it || name.strip_prefix(*it).is_some_and(|rest| rest.starts_with('-')))
}

pub fn set_uid(set: usize) -> ControllerUid {
    ControllerUid::new(format!("set-{}", NAMES[set]))
}

pub fn pod_name(pod: usize) -> PodName {
    PodName::new(format!("{}-{}", NAMES[set_of(pod)], ordinal(pod)))
}

/// The pod of that name.
pub fn numbered(name: &str) -> Option<usize> {
    let (set, number) = name.rsplit_once('-')?;
    Some(pod(NAMES.iter().position(|it| *it == set)?, number.parse().ok()?))
}

pub fn number(name: &PodName) -> usize {
    numbered(name.as_str()).expect("a pod of this world")
}

/// What outlives a process of the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// Nothing: an emptyDir, and nothing is written to it.
    #[default]
    Nothing,
    /// Save points, on a claim: the dump of a clean shutdown keeps where in the replication it was.
    Dump,
    /// An AOF, on a claim.
    Aof,
}

/// How a new process gets its role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// A script asks the others who is primary, and waits for an answer.
    #[default]
    Searches,
    /// Pod 0 alone starts as a primary; the others start as its replicas.
    ByOrdinal,
    /// As the first; but where nobody is primary, who led when its container ended starts as one: a file in its pod says so.
    Remembers,
}

/// In what one member is not as the others are, by its own configuration: a restart does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// `replica-priority`.
    Priority(u64),
    /// It stores nothing.
    StoresNothing,
    /// Its `maxmemory` is smaller.
    SmallMaxmemory,
    /// Its memory limit is higher.
    Roomy,
    /// It is not fragmented.
    Clean,
    /// It does not take the policy's password.
    Locked,
}

/// A Service of the set besides the one to its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Every member, whatever its role.
    Headless,
    /// The replicas.
    Replicas,
    /// Holds its clients to one pod.
    Pinned(usize),
}

/// How clients connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connecting {
    /// Anew for each write.
    #[default]
    Anew,
    /// Once, and again when the connection breaks.
    Keeping,
}

/// A run-time setting that differs from what the template starts a server with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    Maxmemory,
    Backlog,
    Notify,
}

/// The Sentinels of a set, and how they are set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub count: usize,
    pub quorum: usize,
    /// They run in the members' pods, the first in that of pod 0; else in pods of their own.
    pub within: bool,
    /// They know members by the names of their pods; else by addresses, of which a pod that goes leaves one behind.
    pub by_name: bool,
    /// One in a new pod has the id of the one before.
    pub keeps_id: bool,
    /// `down-after-milliseconds`, `failover-timeout`.
    pub down_after: Ms,
    pub failover_timeout: Ms,
    /// They take `COORDINATED`.
    pub coordinated: bool,
}

impl Watch {
    /// With one of them away no failover would be possible.
    pub fn cannot_spare_one(&self) -> bool {
        self.within && self.count - 1 < (self.count / 2 + 1).max(self.quorum) || self.quorum > self.count
    }

    /// Who restarts a pod leaves an entry in their lists that nobody can have them forget: one alone could fail over then.
    pub const fn cannot_forget(&self) -> bool {
        !self.by_name && self.quorum < self.count / 2 + 1
    }

    /// A Sentinel that starts again with its pod is another one for those that know it by a name, and the one before counts
    /// for the majority until people have it forgotten.
    pub const fn leaves_an_id(&self) -> bool {
        self.within && self.by_name && !self.keeps_id
    }

    /// They take a primary for dead so soon that its role is not moved.
    pub const fn is_hasty(&self) -> bool {
        self.down_after <= 3_000
    }

    /// As most are.
    pub const fn usual() -> Self {
        Self {
            count: 3,
            quorum: 2,
            within: true,
            by_name: true,
            keeps_id: true,
            down_after: 5_000,
            failover_timeout: 10_000,
            coordinated: false,
        }
    }

    fn any(rng: &mut Rng, members: usize) -> Self {
        let within = members > 2 && rng.percent(60);
        let count = match rng.below(100) {
            0..4 => 1,
            4..8 => 2,
            8..88 => 3,
            _ => 5,
        };
        let count = if within { count.min(members) } else { count };
        let usual = count / 2 + 1;
        Self {
            count,
            quorum: if rng.percent(85) { usual } else { rng.range(1, count as u64 + 1) as usize },
            within,
            // One RESET after the other takes its time.
            by_name: rng.percent(70) || members > 3,
            keeps_id: rng.percent(80),
            down_after: rng.pick(&[5_000, 5_000, 10_000, 30_000, 1_500]),
            failover_timeout: rng.pick(&[10_000, 10_000, 30_000, 60_000]),
            coordinated: rng.percent(20),
        }
    }
}

/// A StatefulSet of Redis servers.
#[derive(Clone, Debug, Default)]
pub struct SetShape {
    pub members: usize,
    pub start: Start,
    pub storage: Storage,
    pub full_sync: Ms,
    pub write_every: Ms,
    pub connecting: Connecting,
    /// A replica reads what its primary sends once in this time.
    pub lag: Ms,
    /// A child writes the data out this often; it takes half a minute.
    pub saves_every: Option<Ms>,
    pub drift: Option<Drift>,
    /// The memory limit is below what the policy demands; the template's, too.
    pub tight: bool,
    /// The replication backlog is too small for the time of a restart.
    pub small_backlog: bool,
    pub odd: Vec<(usize, Oddity)>,
    pub beside: Vec<Beside>,
    /// Sentinels decide who is primary.
    pub watch: Option<Watch>,
    /// It is as full as a cache.
    pub cache: Option<Cache>,
    /// The kernel kills who leads it.
    pub killed: Option<Killed>,
}

impl SetShape {
    /// The pods of set `set` of this shape.
    pub fn pods(&self, set: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.members).map(move |ordinal| pod(set, ordinal))
    }

    pub fn is_odd(&self, ordinal: usize, oddity: impl Fn(&Oddity) -> bool) -> bool {
        self.odd.iter().any(|(n, it)| *n == ordinal && oddity(it))
    }

    pub fn priority(&self, ordinal: usize) -> Option<u64> {
        self.odd.iter().find_map(|(n, odd)| match odd {
            Oddity::Priority(priority) if *n == ordinal => Some(*priority),
            _ => None,
        })
    }

    pub fn storage(&self, ordinal: usize) -> Storage {
        if self.is_odd(ordinal, |odd| *odd == Oddity::StoresNothing) { Storage::Nothing } else { self.storage }
    }

    /// A set as most are: three equal members of a cache.
    fn plain(rng: &mut Rng) -> Self {
        Self {
            members: 3,
            full_sync: rng.pick(&[300, 1500, 6000]),
            write_every: rng.pick(&[120, 300, 700]),
            beside: vec![Beside::Headless],
            ..Self::default()
        }
    }

    /// Any set.
    fn any(rng: &mut Rng) -> Self {
        let mut set = Self::plain(rng);
        set.members = match rng.below(100) {
            0..10 => 1,
            10..18 => 2,
            18..76 => 3,
            76..89 => 4,
            89..96 => 5,
            96..99 => 7,
            _ => 12,
        };
        set.storage = rng.pick(&[Storage::Nothing, Storage::Nothing, Storage::Dump, Storage::Aof]);
        if rng.percent(15) || set.members == 1 {
            set.start = Start::ByOrdinal;
        }
        if rng.percent(30) {
            set.connecting = Connecting::Keeping;
        }
        if rng.percent(40) {
            set.lag = rng.pick(&[60, 250, 700]);
        }
        // Not all the time some member or other.
        if rng.percent(8) && set.members < 6 {
            set.saves_every = Some(rng.pick(&[150_000, 240_000]));
        }
        if rng.percent(20) {
            set.drift = Some(rng.pick(&[Drift::Maxmemory, Drift::Backlog, Drift::Notify]));
        }
        set.tight = rng.percent(15);
        set.small_backlog = set.storage == Storage::Dump && rng.percent(50);
        set.odd = oddities(rng, set.members);
        if rng.percent(30) {
            set.beside.push(Beside::Replicas);
        }
        if rng.percent(3) {
            set.beside.push(Beside::Pinned(rng.below(set.members)));
        }
        set
    }
}

fn oddities(rng: &mut Rng, members: usize) -> Vec<(usize, Oddity)> {
    let mut odd = Vec::new();
    if rng.percent(20) {
        odd.push((rng.below(members), Oddity::Clean));
    }
    if rng.percent(12) {
        let priority = rng.pick(&[0, 0, 10]);
        odd.push((rng.below(members), Oddity::Priority(priority)));
        if rng.percent(30) {
            odd.extend((0..members).map(|n| (n, Oddity::Priority(0))));
        }
    }
    if rng.percent(12) {
        let odds =
            [Oddity::StoresNothing, Oddity::StoresNothing, Oddity::Roomy, Oddity::SmallMaxmemory, Oddity::Locked];
        odd.push((rng.below(members), rng.pick(&odds)));
    }
    odd
}

/// A policy, as people wrote it.
#[derive(Clone, Debug)]
pub struct PolicyShape {
    /// The sets that it selects: one, or all.
    pub over: Over,
    /// A primary that nothing takes over from may be restarted.
    pub downtime: bool,
    /// `minimumSyncedReplicas`.
    pub synced: u32,
    pub headroom: Headroom,
}

/// Which sets a policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    One(usize),
    All,
}

impl PolicyShape {
    /// A plain one over that set.
    fn of(set: usize) -> Self {
        Self { over: Over::One(set), downtime: false, synced: 1, headroom: Headroom::default() }
    }

    pub fn covers(&self, set: usize) -> bool {
        self.over == Over::All || self.over == Over::One(set)
    }
}

/// One plain set, and a policy over it.
pub fn demo(rng: &mut Rng) -> (Vec<SetShape>, Vec<PolicyShape>) {
    (vec![SetShape::plain(rng)], vec![PolicyShape::of(0)])
}

/// The sets of a namespace and the policies over them.
pub fn namespace(rng: &mut Rng) -> (Vec<SetShape>, Vec<PolicyShape>) {
    let plain = rng.percent(45);
    let count = match rng.below(100) {
        0..82 => 1,
        82..97 => 2,
        _ => 3,
    };
    let sets: Vec<SetShape> =
        (0..count).map(|_| if plain { SetShape::plain(rng) } else { SetShape::any(rng) }).collect();
    let (downtime, synced) = (rng.percent(70), u32::from(rng.percent(40)));
    let policy = |over| PolicyShape { over, downtime, synced, headroom: Headroom::default() };
    let mut policies = if count > 1 && rng.percent(40) {
        vec![policy(Over::All)]
    } else {
        (0..count).map(|set| policy(Over::One(set))).collect()
    };
    // A rival for the first set.
    if rng.percent(12) {
        policies.push(policy(Over::One(0)));
    }
    (sets, policies)
}

/// Puts sets under Sentinel, in some worlds: every set, or the first.
pub fn under_sentinel(rng: &mut Rng, sets: &mut [SetShape]) {
    if !rng.percent(UNDER_SENTINEL) {
        return;
    }
    let count = if rng.percent(50) { 1 } else { sets.len() };
    for set in &mut sets[..count] {
        if set.members == 1 {
            set.members = 3;
            set.odd.clear();
        }
        set.start = Start::Searches;
        set.beside.retain(|beside| *beside == Beside::Headless);
        set.watch = Some(Watch::any(rng, set.members));
    }
}
