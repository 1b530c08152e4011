//! A process of the operator: what it is made of besides its code, and how its requests travel. The code is the real one;
//! [`crate::ports`] and [`crate::sight`] are its world.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use redis_memory_operator::{
    api::v1alpha1::StoredPolicy,
    assess::AssessSettings,
    contention::{
        cluster_budget::{ClusterBudget, ClusterLimits},
        reverts::Reverts,
    },
    controller::{
        self,
        backoff::Backoff,
        reconciler::{Reconciler, Stop},
        turn,
    },
    domain::switchover::{SwitchoverChoice, SwitchoverMethod},
    execute::Executor,
    kube_io::fence::Fenced,
    metrics::Metrics,
    observe::lately::Lately,
    plan::PlanSettings,
};
use tokio::sync::watch;

use crate::{
    kubernetes::{Mood, Refusal},
    observer::Sender,
    planted::Bug,
    redis::Ms,
    sabotage::Sabotaged,
    shape::PolicyShape,
    view::{Memory, Pods},
    world::World,
};

/// A lease lasts so long, and its holder changes nothing in the last part of it.
pub const LEASE: Ms = 15_000;
pub const MARGIN: Ms = 5_000;
/// The sampler's interval.
pub const INTERVAL: Ms = 3_000;
/// At least so often it is looked whether something has woken a policy.
const ATTENTIVE: Ms = 500;
/// Policies of a world, at most: one a set, and a rival.
pub const POLICIES: usize = 4;

/// The flags of the binary in the simulation: as the defaults, but shorter.
fn settings(method: SwitchoverMethod) -> PlanSettings {
    PlanSettings {
        assess: AssessSettings { warm_up: Duration::from_secs(6), sample_interval: Duration::from_secs(3) },
        proof_settle: Duration::from_secs(5),
        proof_timeout: Duration::from_secs(60),
        // The default choice takes Guarded where the Redis users may do everything, as here.
        switchover: match method {
            SwitchoverMethod::Guarded => SwitchoverChoice::Auto,
            method => SwitchoverChoice::Only(method),
        },
    }
}

/// What a process' caches hold.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    pub pods: Pods,
    /// `None`: it is gone.
    pub policies: Vec<Option<Arc<StoredPolicy>>>,
}

/// What is kept of one policy besides what the operator's own memory keeps.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// It is its turn: the policy, or something that it rests on, was seen to change.
    pub due: bool,
    /// It was the latter.
    pub woken: bool,
    /// It waits for a slot.
    pub waits: bool,
    /// A look has begun, and was not skipped.
    pub looked: bool,
    pub written_at: Option<Ms>,
}

impl Kept {
    /// Something that the policy rests on has changed.
    pub fn wake(&mut self) {
        (self.due, self.woken) = (true, true);
    }
}

/// A process of the operator. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Process(Arc<Body>);

pub struct Body {
    pub world: Arc<Mutex<World>>,
    pub slot: usize,
    /// Its install: each has a Lease of its own.
    pub install: usize,
    pub identity: u32,
    pub skew: i64,
    /// Nobody asks the fence (a planted bug).
    pub fenceless: bool,
    /// It is always at once its turn again, whatever came of a look (a planted bug).
    hot: bool,
    /// A request of it travels: what it does can no longer be stopped.
    in_flight: AtomicU32,
    /// Until then it may begin to change something, by its monotonic clock; zero: it does not lead.
    term: AtomicU64,
    timers: Mutex<Vec<(Ms, Waker)>>,
    pub memory: Mutex<Memory>,
    pub cache: Mutex<Cache>,
    pub kept: Mutex<[Kept; POLICIES]>,
    reverts: Arc<Reverts>,
    pub lately: Lately,
}

impl Deref for Process {
    type Target = Body;

    fn deref(&self) -> &Body {
        &self.0
    }
}

/// Counts a request that travels, whatever becomes of who waits for it.
pub struct InFlight<'a>(&'a AtomicU32);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Process {
    pub fn new(world: &Arc<Mutex<World>>, slot: usize, identity: u32, bug: Option<Bug>) -> Self {
        let (skew, installs) = {
            let schedule = &world.lock().expect("one thread").schedule;
            (schedule.skews[identity as usize % schedule.skews.len()], schedule.installs)
        };
        Self(Arc::new(Body {
            world: Arc::clone(world),
            slot,
            install: slot % installs,
            identity,
            skew,
            fenceless: bug == Some(Bug::NoFence),
            hot: bug == Some(Bug::HotLoop),
            in_flight: AtomicU32::new(0),
            term: AtomicU64::new(0),
            timers: Mutex::default(),
            memory: Mutex::default(),
            cache: Mutex::default(),
            kept: Mutex::default(),
            reverts: Arc::default(),
            lately: Lately::default(),
        }))
    }

    /// One term of this process: waits until it leads, then looks at each policy whenever it is its turn, until it is
    /// dropped.
    pub async fn term(self, bug: Option<Bug>) {
        while self.leads_until().is_none() {
            self.pause(ATTENTIVE).await;
        }
        match bug {
            None => lead(&self, self.clone(), self.clone()).await,
            Some(bug) => {
                let sabotaged = Sabotaged::new(self.clone(), bug);
                lead(&self, sabotaged.clone(), sabotaged).await;
            }
        }
    }
}

/// The controller: each policy by itself, as the real one has them.
async fn lead<W>(process: &Process, world: W, ports: W::Ports)
where
    W: redis_memory_operator::controller::ports::World,
{
    let (method, policies) = {
        let world = process.world();
        (world.schedule.method, world.kube.policies.len())
    };
    let (_, annotation) = watch::channel(false);
    let install = format!("ops/operator-{}", process.install);
    let shared = Arc::new(Reconciler {
        world,
        executor: Executor { ports, endpoint_sync: Duration::from_secs(2) },
        settings: settings(method),
        limits: ClusterLimits { remediations: 1, restarts_per_hour: None },
        cluster_budget: ClusterBudget::default(),
        reverts: Arc::clone(&process.reverts),
        stop: Stop { flag: false, annotation, lease: install.clone() },
        metrics: Metrics::new("operator"),
        backoff: Backoff::default(),
        memory: controller::memory::Memory::default(),
        install,
    });
    futures::future::join_all((0..policies).map(|p| turns(process, &shared, p))).await;
}

/// One policy, as long as the term lasts.
async fn turns<W>(process: &Process, shared: &Arc<Reconciler<W>>, p: usize)
where
    W: redis_memory_operator::controller::ports::World,
{
    let mut due = 0;
    loop {
        let now = process.instant();
        let turn = std::mem::take(&mut process.kept.lock().expect("one thread")[p].due);
        let stored = process.cache.lock().expect("one thread").policies.get(p).cloned().flatten();
        if stored.is_none() {
            // As the sweep of the real process does, whenever the policy's turn would be.
            shared.remember_only(|uid| Body::number(uid) != p);
        }
        if now < due && !turn {
            process.pause((due - now).min(ATTENTIVE)).await;
            continue;
        }
        let Some(stored) = stored else {
            process.pause(ATTENTIVE).await;
            continue;
        };
        process.kept.lock().expect("one thread")[p].looked = false;
        let result = turn::timed(Arc::clone(&stored), Arc::clone(shared)).await;
        process.count(p, &stored, result.is_err());
        let again = match result {
            Ok(again) => again,
            Err(error) => {
                process.note(|| format!("policy {p}: {error}"));
                Some(turn::failed(&stored, &error, shared))
            }
        };
        let again = if process.hot { Some(Duration::from_millis(50)) } else { again };
        due = again.map_or(Ms::MAX, |again| process.instant() + (again.as_millis() as Ms).max(1));
    }
}

impl Body {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("one thread")
    }

    /// What it has sampled before the schedule began.
    pub fn remember_before(&self) {
        let world = self.world();
        let sampled = |policy: &PolicyShape| if policy.headroom.measured { policy.headroom.sampled_for } else { 0 };
        let time = world.schedule.policies.iter().map(sampled).max().unwrap_or(0);
        if time > 0 {
            *self.memory.lock().expect("one thread") = world.long_sampled(time);
        }
    }

    /// Virtual time.
    pub fn instant(&self) -> Ms {
        self.world().now
    }

    /// Until when it may begin to change something; `None`: it does not lead.
    pub fn leads_until(&self) -> Option<Ms> {
        Some(self.term.load(Ordering::Relaxed)).filter(|until| *until > 0)
    }

    pub fn set_term(&self, until: Option<Ms>) {
        self.term.store(until.unwrap_or(0), Ordering::Relaxed);
    }

    pub fn travels(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// When it wants to run again.
    pub fn wake(&self) -> Ms {
        self.timers.lock().expect("one thread").iter().map(|(at, _)| *at).min().unwrap_or(Ms::MAX)
    }

    /// It runs as soon as it may.
    pub fn rouse(&self) {
        self.timers.lock().expect("one thread").push((0, Waker::noop().clone()));
    }

    /// Whoever waits for time is asked again: they say anew for when.
    pub fn tick(&self) {
        for (_, waker) in std::mem::take(&mut *self.timers.lock().expect("one thread")) {
            waker.wake();
        }
    }

    /// Completes after that time: here the process can be killed or stopped.
    pub fn pause(&self, time: Ms) -> impl Future<Output = ()> + Send + '_ {
        let at = self.instant().saturating_add(time.max(1));
        std::future::poll_fn(move |context| {
            if self.instant() >= at {
                return Poll::Ready(());
            }
            self.timers.lock().expect("one thread").push((at, context.waker().clone()));
            Poll::Pending
        })
    }

    pub fn random(&self, low: Ms, high: Ms) -> Ms {
        self.world().rng.range(low, high)
    }

    /// A point at which faults may strike: the runner gets its chance before the process goes on.
    pub async fn point(&self, name: &str) {
        let struck = self.world().pass(name);
        if struck {
            self.pause(1).await;
        }
    }

    pub fn note(&self, text: impl FnOnce() -> String) {
        let slot = self.slot;
        self.world().note(|| format!("operator {slot}: {}", text()));
    }

    pub fn sender(&self) -> Sender {
        Sender { identity: self.identity, install: self.install }
    }

    /// The fence: asked right before every change.
    pub fn fence(&self) -> Result<(), Fenced> {
        let open = self.leads_until().is_some_and(|deadline| self.instant() < deadline);
        if open || self.fenceless { Ok(()) } else { Err(Fenced) }
    }

    pub fn fly(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    /// A read of the API server; `None`: it failed.
    pub async fn read<T>(&self, read: impl FnOnce(&World) -> T + Send) -> Option<T> {
        let (mood, travel) = self.travel();
        self.pause(travel).await;
        let failing = match mood {
            Mood::Errors(percent) => self.random(0, 100) < percent,
            Mood::Overload => true,
            Mood::Well | Mood::Conflicts | Mood::LostReplies | Mood::Slow(_) => false,
        };
        (!failing).then(|| read(&self.world()))
    }

    fn travel(&self) -> (Mood, Ms) {
        let mut world = self.world();
        let mood = if world.now < world.kube.mood_until { world.kube.mood } else { Mood::Well };
        let travel = if let Mood::Slow(travel) = mood { travel } else { world.rng.range(2, 12) };
        (mood, travel)
    }

    /// A write to the API server: fence, journey, effect, answer. `guarded`: it has its precondition.
    pub async fn write<T: Send>(
        &self,
        what: &str,
        guarded: bool,
        apply: impl FnOnce(&mut World) -> Result<T, Refusal> + Send,
    ) -> Result<Result<T, Refusal>, Fenced> {
        self.fence()?;
        let (mood, travel) = self.travel();
        let flight = self.fly();
        self.pause(travel).await;
        drop(flight);
        let outcome = {
            let refused = match mood {
                Mood::Errors(percent) if self.random(0, 100) < percent => Some(Refusal::Unconfirmed),
                Mood::Overload => Some(Refusal::Unconfirmed),
                Mood::Conflicts => Some(Refusal::Conflict),
                Mood::Well | Mood::Errors(_) | Mood::LostReplies | Mood::Slow(_) => None,
            };
            let mut world = self.world();
            let applied = match refused {
                Some(refusal) => Err(refusal),
                None => {
                    let (sender, now) = (self.sender(), world.now);
                    let World { observer, kube, .. } = &mut *world;
                    observer.arrived(kube, sender, what, guarded, now);
                    apply(&mut world)
                }
            };
            let answer = if mood == Mood::LostReplies && applied.is_ok() { Some(Refusal::Unconfirmed) } else { None };
            let said = applied.as_ref().err().copied().or(answer);
            let slot = self.slot;
            world.note(|| format!("operator {slot}: {what}: {}", said.map_or("ok".into(), |no| format!("{no:?}"))));
            applied.and_then(|done| answer.map_or(Ok(done), Err))
        };
        let back = self.random(1, 8);
        self.pause(back).await;
        Ok(outcome)
    }

    /// For the pace: a look at the policy is over.
    fn count(&self, p: usize, stored: &StoredPolicy, failed: bool) {
        use redis_memory_operator::domain::step::Step;
        if !std::mem::take(&mut self.kept.lock().expect("one thread")[p].looked) {
            return;
        }
        let journal = stored.policy().and_then(|policy| policy.status.as_ref()?.journal.as_ref());
        let proving = matches!(journal.and_then(|journal| journal.step()), Some(Step::Prove { .. }));
        let mut world = self.world();
        let now = world.now;
        world.observer.looked((self.install, p), proving, failed, now);
    }

    /// The policy's number, by its UID.
    pub fn number(uid: &str) -> usize {
        uid.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a policy of this world")
    }
}
