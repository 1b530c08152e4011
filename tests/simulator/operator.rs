//! A process of the operator: `controller::reconcile` and `controller::perform` as they are, with the real `decide`,
//! on virtual time. Each `await` is a place where the process can be killed or stopped.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use redis_memory_operator::{
    assess::AssessSettings,
    domain::{
        journal::{Journal, WorkloadRecord},
        policy::Mode,
        step::Step,
        switchover::{SwitchoverChoice, SwitchoverMethod},
    },
    plan::{
        Context, PlanSettings,
        advance::Next,
        decide::{self, Act, Decision},
        effect::Effect,
        pace,
    },
};

use crate::{
    kubernetes::{Mood, PODS, Pod, Refusal, Resource},
    observer::Sender,
    planted::Bug,
    redis::Ms,
    view::{Memory, Pods},
    world::World,
};

/// The world, shared by everything that runs in it.
pub type Shared = Rc<RefCell<World>>;

/// As in `controller::perform`.
const REST: Ms = 60_000;
const AT_ONCE: Ms = 50;
const AFTER_EVICTION: Ms = 500;
pub const LATER: Ms = 10_000;
/// As in `controller::reconcile`: a deletion is let through after this long.
const DELETION_PATIENCE: Ms = 20_000;
/// A lease lasts so long, and its holder changes nothing in the last part of it.
pub const LEASE: Ms = 15_000;
pub const MARGIN: Ms = 5_000;
/// The sampler's interval.
pub const INTERVAL: Ms = 3_000;

/// The flags of the binary in the simulation: as the defaults, but shorter.
pub fn settings(method: SwitchoverMethod) -> PlanSettings {
    PlanSettings {
        assess: AssessSettings { warm_up: Duration::from_secs(6), sample_interval: Duration::from_secs(3) },
        proof_settle: Duration::from_secs(5),
        proof_timeout: Duration::from_secs(60),
        // The default choice takes Guarded where the Redis users may do everything, as here.
        switchover: match method {
            SwitchoverMethod::Guarded => SwitchoverChoice::Auto,
            SwitchoverMethod::Native => SwitchoverChoice::Only(method),
        },
    }
}

/// What a process' caches hold.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    pub pods: Pods,
    pub policies: Vec<Resource>,
}

/// What a process and the runner share.
pub struct Process {
    pub world: Shared,
    pub slot: usize,
    pub identity: u32,
    pub skew: i64,
    pub bug: Option<Bug>,
    /// When it wants to run again.
    pub wake: Rc<Cell<Ms>>,
    /// A request of it travels: what it does can no longer be stopped.
    pub in_flight: Rc<Cell<bool>>,
    /// Until then it may begin to change something; by its monotonic clock.
    pub term: Rc<Cell<Option<Ms>>>,
    pub memory: Rc<RefCell<Memory>>,
    pub cache: Rc<RefCell<Cache>>,
    /// Something that it watches has changed.
    pub woken: Rc<Cell<bool>>,
    /// `controller::pace`: looks in a row that failed, and until when nothing is looked at, by policy.
    pub failures: [Cell<(u32, Ms)>; 2],
    /// When it first saw in this term that a policy is being deleted.
    pub deleting_since: [Cell<Option<Ms>>; 2],
    pub remediation: RefCell<Option<String>>,
}

struct Until {
    world: Shared,
    at: Ms,
    wake: Rc<Cell<Ms>>,
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<()> {
        if self.world.borrow().now >= self.at {
            return Poll::Ready(());
        }
        self.wake.set(self.at);
        Poll::Pending
    }
}

impl Process {
    pub async fn pause(&self, time: Ms) {
        let at = self.now() + time.max(1);
        Until { world: Rc::clone(&self.world), at, wake: Rc::clone(&self.wake) }.await;
    }

    pub fn now(&self) -> Ms {
        self.world.borrow().now
    }

    pub fn random(&self, low: Ms, high: Ms) -> Ms {
        self.world.borrow_mut().rng.range(low, high)
    }

    /// A point at which faults may strike: the runner gets its chance before the process goes on.
    pub async fn point(&self, name: &'static str) {
        if self.world.borrow_mut().pass(name) {
            self.pause(1).await;
        }
    }

    pub fn note(&self, text: impl FnOnce() -> String) {
        let slot = self.slot;
        self.world.borrow_mut().note(|| format!("operator {slot}: {}", text()));
    }

    pub fn sender(&self) -> Sender {
        Sender { identity: self.identity, remediation: self.remediation.borrow().clone() }
    }

    /// The fence: asked right before every change.
    pub fn fence(&self) -> Result<(), Refusal> {
        let open = self.term.get().is_some_and(|deadline| self.now() < deadline) || self.bug == Some(Bug::NoFence);
        if open { Ok(()) } else { Err(Refusal::Fenced) }
    }

    /// A read of the API server.
    pub async fn read<T>(&self, read: impl FnOnce(&World) -> T) -> Result<T, Refusal> {
        let (mood, travel) = self.travel();
        self.pause(travel).await;
        let failing = match mood {
            Mood::Errors(percent) => self.random(0, 100) < percent,
            Mood::Overload => true,
            Mood::Well | Mood::Conflicts | Mood::LostReplies | Mood::Slow(_) => false,
        };
        if failing { Err(Refusal::Unread) } else { Ok(read(&self.world.borrow())) }
    }

    fn travel(&self) -> (Mood, Ms) {
        let mut world = self.world.borrow_mut();
        let mood = if world.now < world.kube.mood_until { world.kube.mood } else { Mood::Well };
        let travel = if let Mood::Slow(travel) = mood { travel } else { world.rng.range(2, 12) };
        (mood, travel)
    }

    /// A write to the API server: fence, journey, effect, answer. `guarded`: it has its precondition.
    pub async fn write<T>(
        &self,
        what: &str,
        guarded: bool,
        apply: impl FnOnce(&mut World) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.fence()?;
        let (mood, travel) = self.travel();
        self.in_flight.set(true);
        self.pause(travel).await;
        self.in_flight.set(false);
        let outcome = {
            let refused = match mood {
                Mood::Errors(percent) if self.random(0, 100) < percent => Some(Refusal::Unconfirmed),
                Mood::Overload => Some(Refusal::Unconfirmed),
                Mood::Conflicts => Some(Refusal::Conflict),
                Mood::Well | Mood::Errors(_) | Mood::LostReplies | Mood::Slow(_) => None,
            };
            let mut world = self.world.borrow_mut();
            let applied = match refused {
                Some(refusal) => Err(refusal),
                None => {
                    let (sender, now) = (self.sender(), world.now);
                    let World { observer, kube, .. } = &mut *world;
                    observer.arrived(kube, &sender, what, guarded, now);
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
        outcome
    }

    /// The process, for as long as it lives.
    pub async fn run(self: Rc<Self>) {
        let policies = self.world.borrow().kube.policies.len();
        let mut due = vec![0; policies];
        loop {
            if self.term.get().is_none_or(|deadline| self.now() >= deadline) {
                due = vec![0; policies];
                self.failures.iter().for_each(|it| it.set((0, 0)));
                self.deleting_since.iter().for_each(|it| it.set(None));
                self.pause(500).await;
                continue;
            }
            if self.woken.replace(false) {
                due = vec![0; policies];
            }
            for (p, due) in due.iter_mut().enumerate() {
                // Whatever woke us: after a failure nothing is looked at for a while.
                if self.now() < (*due).max(self.failures[p].get().1) {
                    continue;
                }
                let looked = self.reconcile(p).await;
                self.count(p, looked.is_err());
                let again = match looked {
                    Ok(again) => again,
                    Err(_) => self.failed(p),
                };
                let again = if self.bug == Some(Bug::HotLoop) {
                    self.failures[p].set((0, 0));
                    AT_ONCE
                } else {
                    again
                };
                *due = self.now() + again;
            }
            let next = due.iter().min().copied().unwrap_or_default();
            self.pause(next.saturating_sub(self.now()).clamp(1, 500)).await;
        }
    }

    /// For the pace.
    fn count(&self, p: usize, failed: bool) {
        let cache = self.cache.borrow();
        let resource = cache.policies.get(p).filter(|it| !it.gone && (it.deleting.is_none() || it.finalizer));
        let Some(resource) = resource else { return };
        let step = resource.journal.as_ref().and_then(Journal::step);
        let mut world = self.world.borrow_mut();
        let now = world.now;
        world.observer.reconciling(p, matches!(step, Some(Step::Prove { .. })), failed, now);
    }

    /// A look failed, again.
    fn failed(&self, p: usize) -> Ms {
        let failures = self.failures[p].get().0 + 1;
        let pause = pace::after_failures(failures).as_millis() as Ms;
        self.failures[p].set((failures, self.now() + pause));
        pause
    }

    async fn reconcile(&self, p: usize) -> Result<Ms, Refusal> {
        let Some(resource) = self.cache.borrow().policies.get(p).cloned() else { return Ok(1000) };
        if resource.gone || (resource.deleting.is_some() && !resource.finalizer) {
            return Ok(REST);
        }
        *self.remediation.borrow_mut() = resource.journal.as_ref().map(|journal| journal.id.clone());
        if resource.deleting.is_some() && self.deleting_since[p].get().is_none() {
            self.deleting_since[p].set(Some(self.now()));
        }
        if self.deleting_since[p].get().is_some_and(|since| self.now() > since + DELETION_PATIENCE) {
            self.finalizer(p, &resource, false).await?;
            return Ok(REST);
        }
        let claimed = self.claimed(p);
        if resource.journal.is_none() && resource.deleting.is_none() {
            let pods = self.cache.borrow().pods.clone();
            let trusting = self.bug == Some(Bug::ActOnCaches);
            let decision = self.decide(p, &resource, &pods, claimed.clone(), trusting);
            if decision.act != Act::LookLive {
                return self.perform(p, resource, decision).await;
            }
        }
        self.live(p, &resource, claimed).await
    }

    /// The oldest policy that enforces acts; the policies are listed by age.
    fn claimed(&self, p: usize) -> Option<String> {
        if self.bug == Some(Bug::IgnoreClaims) {
            return None;
        }
        let cache = self.cache.borrow();
        let busy = cache.policies[p].journal.is_some();
        let mut older = cache.policies.iter().take(if busy { 0 } else { p });
        let claims = |it: &&Resource| !it.gone && it.deleting.is_none() && it.spec.mode == Mode::Enforce;
        let under_way = |it: &&Resource| !it.gone && it.journal.is_some();
        let mut others = cache.policies.iter().enumerate().filter(|(n, _)| *n != p).map(|(_, it)| it);
        let owner = others.find(under_way).or_else(|| older.find(claims));
        owner.map(|it| it.spec.name.clone())
    }

    async fn live(&self, p: usize, seen: &Resource, claimed: Option<String>) -> Result<Ms, Refusal> {
        let mut resource = self.read(|world| world.kube.policies[p].clone()).await?;
        if resource.gone {
            return Ok(REST);
        }
        if resource.spec.generation != seen.spec.generation {
            return Err(Refusal::Conflict);
        }
        if self.bug == Some(Bug::ForgetTheJournal) && !self.begun_here(&resource) {
            resource.journal = None;
        }
        *self.remediation.borrow_mut() = resource.journal.as_ref().map(|journal| journal.id.clone());
        let pods = if self.bug == Some(Bug::ActOnCaches) {
            self.cache.borrow().pods.clone()
        } else {
            let pods = self.read(World::list).await?;
            self.probe(&pods).await;
            pods
        };
        self.point("observed").await;
        let decision = self.decide(p, &resource, &pods, claimed, true);
        self.point("decided").await;
        self.perform(p, resource, decision).await
    }

    fn begun_here(&self, resource: &Resource) -> bool {
        resource.journal.as_ref().is_none_or(|journal| journal.plan_hash.ends_with(&format!("-{}", self.identity)))
    }

    /// Probes every pod that runs; all at the same time, each answers when it does.
    async fn probe(&self, pods: &Pods) {
        let mut slowest = 0;
        for (n, pod) in pods.iter().enumerate() {
            let Some(pod) = pod else { continue };
            let took = self.sample(n, pod);
            slowest = slowest.max(took);
        }
        self.pause(slowest).await;
    }

    /// One probe; returns how long it took.
    pub fn sample(&self, n: usize, pod: &Pod) -> Ms {
        let mut world = self.world.borrow_mut();
        let seen = world.probe(self.identity, n, pod, self.skew);
        let hung = world.servers.by_ip.get(&pod.ip).is_some_and(|server| server.hung(world.now));
        let took = if hung { 1000 } else { world.rng.range(1, 25) };
        let mut memory = self.memory.borrow_mut();
        memory.remember(pod.uid, seen, self.bug == Some(Bug::UnknownIsFine));
        took
    }

    fn decide(&self, p: usize, resource: &Resource, pods: &Pods, claimed: Option<String>, live: bool) -> Decision {
        let settings = settings(self.world.borrow().schedule.method);
        let mut snapshot = {
            let world = self.world.borrow();
            world.snapshot(pods, &self.memory.borrow(), claimed, live, self.skew)
        };
        snapshot.surroundings.accepted.clone_from(&resource.accepted);
        let ctx = Context::of(&resource.spec, &snapshot, &resource.records, snapshot.at, &settings);
        let mut decision = decide::decide(&ctx, resource.journal.as_ref(), resource.deleting.is_some(), live);
        crate::executor::plant_in_decision(self, &snapshot, resource, &mut decision);
        if live {
            self.note(|| describe(p, resource, &decision));
        }
        decision
    }

    async fn perform(&self, p: usize, resource: Resource, decision: Decision) -> Result<Ms, Refusal> {
        let idle = resource.journal.is_none() && !matches!(decision.act, Act::Begin(_));
        let mut rv = resource.rv;
        if idle && resource.finalizer {
            rv = self.finalizer(p, &resource, false).await?;
            if resource.deleting.is_some() {
                return Ok(REST);
            }
        }
        let mut resource = Resource { rv, ..resource };
        let plan = decision.plan.as_ref().map(|plan| plan.hash.clone()).unwrap_or_default();
        let mut blocked: Vec<&str> = decision.blocked.iter().map(|it| it.reason.as_str()).collect();
        let mut failed = false;
        let again = match decision.act {
            Act::Rest | Act::LookLive => REST,
            Act::Wait(_, after) | Act::Go(Next::Wait(_, after) | Next::Gate(_, after)) => after.as_millis() as Ms,
            Act::Remember(records) => {
                resource.records = records;
                let journal = resource.journal.clone();
                self.journal(p, &mut resource, journal).await?;
                AT_ONCE
            }
            Act::Upkeep(effects) => self.upkeep(effects, &mut failed).await?,
            Act::Begin(journal) => self.begin(p, &mut resource, *journal).await?,
            Act::Go(Next::Record(journal)) => {
                self.journal(p, &mut resource, Some(*journal)).await?;
                AT_ONCE
            }
            Act::Go(Next::Act(journal, effect)) => {
                let done = self.step(p, &mut resource, *journal, &effect).await?;
                failed = done.failed;
                blocked.extend(done.blocked);
                done.again
            }
            Act::Go(Next::End(record)) => self.end(p, &mut resource, *record).await?,
        };
        let again = if failed { self.failed(p) } else { again };
        let shown = format!("{plan} {blocked:?}");
        if shown != resource.shown {
            let rv = resource.rv;
            let write = move |world: &mut World| world.kube.patch_policy(p, Some(rv), |it| it.shown = shown);
            self.write("status", true, write).await?;
        }
        // A look that only waits does not forget failures, unless they are a minute old.
        if !failed && (again < 1000 || self.now() >= self.failures[p].get().1 + 60_000) {
            self.failures[p].set((0, 0));
        }
        Ok(again)
    }

    async fn upkeep(&self, effects: Vec<(Effect, String)>, failed: &mut bool) -> Result<Ms, Refusal> {
        for (effect, _) in effects {
            match self.carry_out(&effect).await {
                Ok(()) => {}
                Err(Refusal::Fenced) => return Err(Refusal::Fenced),
                Err(_) => *failed = true,
            }
            self.point("upkeep:sent").await;
        }
        Ok(AT_ONCE)
    }

    async fn begin(&self, p: usize, resource: &mut Resource, mut journal: Journal) -> Result<Ms, Refusal> {
        if self.bug == Some(Bug::ForgetTheJournal) {
            journal.plan_hash = format!("{}-{}", journal.plan_hash, self.identity);
        }
        crate::executor::plant_in_plan(self, &mut journal);
        let restarts = journal.steps.iter().any(|planned| matches!(planned.step, Step::Evict { .. }));
        resource.rv = self.finalizer(p, resource, true).await?;
        // Only now: who was stopped since the decision is held back by the fence.
        {
            let mut world = self.world.borrow_mut();
            let now = world.now;
            let due = (0..PODS).any(|n| world.lied(n) || world.servers.of_pod(n).is_some_and(|it| it.fragmented));
            // Who was to be cured may have been killed since.
            if restarts && !due && world.kube.down().is_empty() {
                world.observer.flag(now, "S5", "a remediation begins although nothing is fragmented".to_owned());
            }
        }
        self.point("begin:journal").await;
        self.journal(p, resource, Some(journal)).await?;
        Ok(AT_ONCE)
    }

    async fn finalizer(&self, p: usize, resource: &Resource, present: bool) -> Result<u64, Refusal> {
        if resource.finalizer == present {
            return Ok(resource.rv);
        }
        let rv = resource.rv;
        let write = move |world: &mut World| world.kube.patch_policy(p, Some(rv), |it| it.finalizer = present);
        self.write(if present { "finalizer" } else { "finalizer off" }, true, write).await
    }

    /// Writes the journal whole, with the records.
    async fn journal(&self, p: usize, resource: &mut Resource, journal: Option<Journal>) -> Result<(), Refusal> {
        let rv = (self.bug != Some(Bug::NoVersion)).then_some(resource.rv);
        let (records, written) = (resource.records.clone(), journal.clone());
        let write = move |world: &mut World| {
            let now = world.now;
            let same =
                world.kube.policies[p].journal.as_ref().map(|it| it.cursor) == written.as_ref().map(|it| it.cursor);
            if !same {
                world.observer.progressed(now);
            }
            world.kube.patch_policy(p, rv, |it| {
                it.journal = written;
                it.records = records;
            })
        };
        resource.rv = self.write("journal", rv.is_some(), write).await?;
        resource.journal = journal;
        self.point("journal:written").await;
        Ok(())
    }

    async fn step(
        &self,
        p: usize,
        resource: &mut Resource,
        journal: Journal,
        effect: &Effect,
    ) -> Result<Stepped, Refusal> {
        let stands = resource.journal.as_ref() == Some(&journal);
        *self.remediation.borrow_mut() = Some(journal.id.clone());
        let later = (self.bug == Some(Bug::JournalAfterTheEffect)).then(|| journal.clone());
        if !stands && later.is_none() {
            self.journal(p, resource, Some(journal)).await?;
        }
        self.point("effect:start").await;
        let outcome = self.carry_out(effect).await;
        if let Some(journal) = later {
            self.journal(p, resource, Some(journal)).await?;
        }
        Ok(match outcome {
            Ok(()) if matches!(effect, Effect::Evict { .. }) => Stepped::again(AFTER_EVICTION),
            Ok(()) => Stepped::again(AT_ONCE),
            Err(Refusal::Fenced) => return Err(Refusal::Fenced),
            Err(Refusal::BudgetSaysNo) => Stepped { blocked: Some("DisruptionBudget"), ..Stepped::again(LATER) },
            Err(Refusal::Conflict | Refusal::Gone | Refusal::UidChanged | Refusal::NowPrimary) => {
                Stepped { failed: true, ..Stepped::again(AT_ONCE) }
            }
            Err(Refusal::Switchover(failure)) => {
                let begins = matches!(effect, Effect::Switchover(order) if order.begins);
                self.remember(p, resource, begins, failure.restores()).await?;
                Stepped::again(LATER)
            }
            Err(Refusal::Unconfirmed | Refusal::Unread) => {
                Stepped { blocked: Some("StepFailed"), failed: true, ..Stepped::again(LATER) }
            }
        })
    }

    /// As `controller::perform::remember`: an attempt without an answer was cut short.
    async fn remember(&self, p: usize, resource: &mut Resource, attempt: bool, settled: bool) -> Result<(), Refusal> {
        let Some(mut journal) = resource.journal.clone() else { return Ok(()) };
        journal.current.failures += u32::from(attempt);
        journal.current.failed("refused");
        if let (true, Some(record)) = (settled, journal.current.switchover.as_mut()) {
            record.settled = true;
        }
        match self.journal(p, resource, Some(journal)).await {
            Err(Refusal::Fenced) => Err(Refusal::Fenced),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn end(&self, p: usize, resource: &mut Resource, record: WorkloadRecord) -> Result<Ms, Refusal> {
        self.point("end:record").await;
        resource.records.retain(|it| it.shard != record.shard);
        resource.records.push(record);
        self.journal(p, resource, None).await?;
        let held = Resource { finalizer: true, ..resource.clone() };
        self.finalizer(p, &held, false).await?;
        Ok(AT_ONCE)
    }
}

/// What came of a step's effect.
struct Stepped {
    again: Ms,
    blocked: Option<&'static str>,
    failed: bool,
}

impl Stepped {
    const fn again(again: Ms) -> Self {
        Self { again, blocked: None, failed: false }
    }
}

fn describe(p: usize, resource: &Resource, decision: &Decision) -> String {
    let step = resource.journal.as_ref().map_or("no journal".to_owned(), |journal| {
        let step = journal.step().map_or("all done".to_owned(), |step| match step {
            Step::Switchover { from, to } => format!("Switchover {from} to {to}"),
            step => format!("{:?} {}", step.kind(), step.pod()),
        });
        let begun = if journal.current.begun_at.is_some() { ", begun" } else { "" };
        format!("step {} {step}{begun}, attempt {}", journal.cursor, journal.current.attempt)
    });
    let act = match &decision.act {
        Act::Wait(why, after) => format!("wait {} s: {why}", after.as_secs_f64()),
        Act::Go(Next::Act(_, effect)) => format!("{effect:?}").chars().take(90).collect(),
        Act::Go(Next::Record(journal)) => format!("record cursor {}", journal.cursor),
        Act::Go(Next::End(record)) => format!("end {:?}: {}", record.outcome, record.message),
        Act::Begin(journal) => format!("begin {} with {} steps", journal.id, journal.steps.len()),
        Act::Upkeep(effects) => effects.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; "),
        other => format!("{other:?}"),
    };
    format!("policy {p} [{step}] -> {act}")
}
