//! Planted bugs, as a wrapper round the ports of a process: what the real code asks of the world, and is told, is bent on
//! its way. Nothing of the code itself is different.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{core::v1::Pod, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::runtime::reflector::ObjectRef;
use redis_memory_operator::{
    api::v1alpha1::{FindingStatus, StoredPolicy},
    assess::{AssessSettings, judged::Judged},
    clock::Time,
    controller::ports::{Freshness, Policies, PolicyVersion, Watched, World},
    domain::{
        bytes::Bytes,
        event::EventNote,
        names::{PodName, PodUid},
        pod::{Service, StatefulSet},
        policy::Policy,
        sample::Replication,
        snapshot::{Observation, RedisRights, Snapshot},
        surroundings::{Claim, Elsewhere, Reach},
        volume::Volumes,
    },
    execute::{
        ExecuteError,
        crash::{Boundary, Moment, Place},
        ports::{Cluster, Ports, Redis},
    },
    kube_io::{
        around::Around,
        cache::Seen,
        error::KubeError,
        event::EventTarget,
        fence::Fenced,
        write::{EvictError, PodTarget, WriteError},
    },
    plan::effect::{Peer, SentinelPeer},
};
use serde_json::Value;

use crate::{
    bent::{self, Bent, BentSentinel},
    connection::{self, Connection},
    operator::Process,
    planted::Bug,
    redis::Host,
    shape, view,
};

/// A process whose ports are sabotaged. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Sabotaged {
    pub process: Process,
    bug: Bug,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    /// The clock stands still.
    pub stopped_at: Option<Duration>,
    /// Both pods are well, whatever the world says: the last look is not made.
    pub blind: bool,
    /// As pods were last read.
    pods: BTreeMap<String, Pod>,
    /// A journal that is written when its effect was made.
    held: Option<(String, String, String, Value)>,
    /// Remediations that this process began.
    begun: BTreeSet<String>,
    /// What the old primary said last before it was demoted, and the address that it was told to follow.
    pub demoted: Option<(Replication, Host)>,
    pub leads: Option<Replication>,
    /// Slots that were ever taken.
    slots: BTreeMap<String, Elsewhere>,
    /// A label is about to be set outside of a switchover.
    upkeep: bool,
    /// `maxmemory` as it was set, by address.
    pub bounds: BTreeMap<u32, Bytes>,
}

impl Sabotaged {
    pub fn new(process: Process, bug: Bug) -> Self {
        Self { process, bug, state: Arc::default() }
    }

    pub fn is(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("one thread")
    }

    /// A connection to whatever listens at that address.
    pub fn anyone(&self, ip: u32) -> Option<Connection> {
        let (pod, meant) = {
            let world = self.process.world();
            let server = world.servers.by_ip.get(&ip)?;
            (server.pod, server.run)
        };
        let since = self.process.instant();
        Some(Connection { process: self.process.clone(), ip, pod, meant, run: None, since, policy: 0 })
    }

    /// What is observed.
    fn bend(&self, policy: &Policy, mut snapshot: Snapshot) -> Snapshot {
        let samples = snapshot.targets.iter_mut().filter_map(|target| match &mut target.redis {
            Observation::Seen(sample) => Some(sample),
            Observation::Failed(_) | Observation::Pending => None,
        });
        match self.bug {
            Bug::CountForeignServices => {
                let world = self.process.world();
                let (pods, covered) = (world.list(), world.covered(&policy.uid));
                let takes: Vec<PodName> = snapshot.targets.iter().map(|target| target.pod.name.clone()).collect();
                let others = (0..world.schedule.sets.len()).filter(|set| !covered.contains(set));
                let foreign = others.flat_map(|set| world.services(set, &pods));
                snapshot.services.extend(foreign.map(|service| Service { takes: takes.clone(), ..service }));
            }
            Bug::UnfitCandidate => {
                let configs = samples.filter_map(|sample| sample.config.as_mut().ok());
                configs.for_each(|config| config.serving.replica_priority = None);
            }
            Bug::LeaveSettings => {
                let configs = samples.filter_map(|sample| sample.config.as_mut().ok());
                configs.for_each(|it| drop(it.serving.carried.insert("min-replicas-to-write".into(), "0".into())));
            }
            Bug::OverlookHalf => samples.for_each(|sample| bent::halve(&mut sample.memory)),
            Bug::TakenForAlike => bent::alike(&mut snapshot),
            Bug::OverlookPeople => {
                let bounds = self.state().bounds.clone();
                for target in &mut snapshot.targets {
                    bent::overlook(&bounds, target);
                }
            }
            Bug::ReadLargeLimits | Bug::OverlookKilledReplicas | Bug::OverlookKills => {
                bent::misread(self.bug, &mut snapshot);
            }
            Bug::CountSilentSentinels => bent::count_silent(&mut snapshot),
            Bug::TakenToAgree => bent::take_to_agree(&mut snapshot),
            Bug::IgnoreChildren => samples.for_each(|sample| sample.persistence.child_running = false),
            _ => {}
        }
        snapshot
    }

    /// The journal that is held back arrives.
    async fn flush(&self) {
        let held = self.state().held.take();
        let Some((namespace, name, version, part)) = held else { return };
        let of = PolicyVersion { namespace: &namespace, name: &name, version: &version };
        let _ = self.process.apply_journal(of, part).await;
    }

    /// As if there were no journal, unless this process began it.
    fn forgetful(&self, stored: StoredPolicy) -> StoredPolicy {
        let Some(policy) = stored.policy().filter(|_| self.is(Bug::ForgetTheJournal)) else { return stored };
        let mut policy = policy.clone();
        if let Some(status) = policy.status.as_mut()
            && status.journal.as_ref().is_some_and(|journal| !self.state().begun.contains(&journal.id))
        {
            status.journal = None;
        }
        policy.into()
    }
}

impl Time for Sabotaged {
    fn now(&self) -> Timestamp {
        Time::now(&self.process)
    }

    fn uptime(&self) -> Duration {
        self.state().stopped_at.unwrap_or_else(|| self.process.uptime())
    }

    fn steps(&self) -> u64 {
        self.process.steps()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        self.process.sleep(time)
    }
}

impl Cluster for Sabotaged {
    fn may_change(&self) -> Result<(), Fenced> {
        self.process.may_change()
    }

    async fn live_pod(&self, namespace: &str, name: &PodName, uid: &PodUid) -> Result<Option<Pod>, KubeError> {
        if self.state().blind {
            let known = self.state().pods.get(uid.as_str()).cloned();
            return Ok(known);
        }
        let pod = self.process.live_pod(namespace, name, uid).await?;
        if let Some(pod) = &pod {
            self.state().pods.insert(uid.to_string(), pod.clone());
        }
        Ok(pod)
    }

    async fn endpoint_slices(&self, namespace: &str, service: &str) -> Result<Vec<EndpointSlice>, KubeError> {
        self.process.endpoint_slices(namespace, service).await
    }

    async fn evict(&self, namespace: &str, name: &PodName, uid: &PodUid) -> Result<(), EvictError> {
        self.state().stopped_at = None;
        let (n, number) = (shape::number(name), view::uid_number(uid));
        match self.bug {
            Bug::EvictThePrimary => {
                let led = {
                    let world = self.process.world();
                    let led = |other: &usize| {
                        let primary = world.kube.pod(*other).is_some_and(|pod| pod.role == Some("primary"));
                        primary && shape::set_of(*other) == shape::set_of(n)
                    };
                    world.kube.places.keys().copied().find(led).and_then(|n| Some((n, world.kube.pod(n)?.uid)))
                };
                let (n, number) = led.unwrap_or((n, number));
                self.process.send_eviction(n, Some(number), false).await
            }
            Bug::NoUid => self.process.send_eviction(n, None, false).await,
            Bug::PlainDelete => self.process.send_eviction(n, Some(number), true).await,
            Bug::RetryEvictionBlindly => {
                let mut sent = self.process.send_eviction(n, Some(number), false).await;
                for _ in 0..3 {
                    if !matches!(sent, Err(EvictError::Other(_))) {
                        break;
                    }
                    self.process.pause(4000).await;
                    sent = self.process.send_eviction(n, None, false).await;
                }
                sent
            }
            _ => self.process.evict(namespace, name, uid).await,
        }
    }

    async fn resize(
        &self,
        pod: PodTarget<'_>,
        container: &str,
        limit: Bytes,
        request: Option<Bytes>,
    ) -> Result<(), WriteError> {
        let limit = if self.is(Bug::ShrinkTheLimit) { Bytes::mib(512) } else { limit };
        self.process.resize(pod, container, limit, request).await
    }

    async fn set_label(&self, pod: PodTarget<'_>, key: &str, value: &str) -> Result<(), WriteError> {
        if self.is(Bug::LabelLeftBehind) && value == "replica" {
            return Ok(());
        }
        let set = self.process.set_label(pod, key, value).await;
        let upkeep = std::mem::take(&mut self.state().upkeep);
        if upkeep && self.is(Bug::Fight) { Err(WriteError::Conflict("another version".into())) } else { set }
    }
}

impl Redis for Sabotaged {
    type Server = Bent;
    type Sentinel = BentSentinel;

    async fn connect_sentinel(&self, policy: &Policy, peer: &SentinelPeer) -> Result<BentSentinel, ExecuteError> {
        let inner = self.process.connect_sentinel(policy, peer).await?;
        Ok(BentSentinel::new(inner, self.clone()))
    }

    async fn connect(&self, policy: &Policy, peer: &Peer) -> Result<Bent, ExecuteError> {
        self.state().stopped_at = None;
        let ip = connection::address(peer.address.ip());
        let candidate = matches!(&self.state().demoted, Some((_, Host::Ip(to))) if *to == ip);
        let whoever = self.is(Bug::NoRunIdCheck) || (self.is(Bug::GuardedAnyCandidate) && candidate);
        let failed = |source| ExecuteError::Redis { what: "connecting", pod: peer.pod.to_string(), source };
        let inner = match self.anyone(ip).filter(|_| self.state().blind) {
            Some(unasked) => unasked,
            None if whoever => self.process.open(policy, peer, true).await.map_err(failed)?,
            None => self.process.connect(policy, peer).await?,
        };
        Ok(Bent::new(inner, self.clone()))
    }

    async fn resolve(&self, name: &str, port: u16) -> Vec<IpAddr> {
        self.process.resolve(name, port).await
    }
}

impl Ports for Sabotaged {
    async fn reached(&self, boundary: Boundary) {
        self.process.reached(boundary).await;
        if boundary == Boundary::At(Place::AfterOverlap) && self.is(Bug::NoLastLook) {
            self.state().blind = true;
        }
        if boundary == Boundary::At(Place::LabelDue) {
            self.state().upkeep = true;
        }
        if matches!(boundary, Boundary::Step(_, Moment::AfterEffect)) {
            self.flush().await;
        }
    }
}

/// What the simulated caches are asked with: they know what they hold.
fn nothing() -> Watched {
    let pods = Seen { pods: Vec::new(), shared_with: BTreeSet::new(), synced: true, failing: None };
    Watched { pods, around: None }
}

impl Policies for Sabotaged {
    async fn policy(&self, namespace: &str, name: &str) -> Result<Option<StoredPolicy>, KubeError> {
        let stored = self.process.policy(namespace, name).await?;
        Ok(stored.map(|stored| self.forgetful(stored)))
    }

    async fn apply_status(&self, of: PolicyVersion<'_>, part: Value) -> Result<StoredPolicy, WriteError> {
        self.process.apply_status(of, part).await
    }

    async fn apply_journal(&self, of: PolicyVersion<'_>, mut part: Value) -> Result<StoredPolicy, WriteError> {
        if let (true, Some(status)) = (self.is(Bug::ForgetRecords), part.as_object_mut()) {
            status.remove("workloads");
        }
        bent::forget(self.bug, &mut part);
        if let (true, Some(steps)) =
            (self.is(Bug::CutPlan), part.pointer_mut("/journal/steps").and_then(Value::as_array_mut))
        {
            let end = steps.iter().position(|step| step["kind"] == "Switchover");
            steps.truncate(end.unwrap_or(steps.len()));
        }
        if let Some(id) = part.pointer("/journal/id").and_then(Value::as_str) {
            self.state().begun.insert(id.to_owned());
        }
        let intent = part.pointer("/journal/current/begunAt").is_some_and(|at| !at.is_null());
        if self.is(Bug::JournalAfterTheEffect) && intent && self.state().held.is_none() {
            let stored = self.process.policy(of.namespace, of.name).await;
            if let Some(mut policy) = stored.ok().flatten().and_then(|stored| stored.policy().cloned()) {
                let text = |text: &str| text.to_owned();
                let said = serde_json::from_value(part["journal"].clone()).expect("a journal");
                policy.status.get_or_insert_default().journal = Some(said);
                self.state().held = Some((text(of.namespace), text(of.name), text(of.version), part));
                return Ok(policy.into());
            }
        }
        self.state().held = None;
        self.process.write_journal(of, !self.is(Bug::NoVersion), part).await
    }

    async fn set_finalizer(&self, of: PolicyVersion<'_>, present: bool) -> Result<StoredPolicy, WriteError> {
        self.process.set_finalizer(of, present).await
    }

    async fn event(&self, about: &EventTarget, note: &EventNote) -> Result<(), WriteError> {
        self.process.event(about, note).await
    }
}

impl World for Sabotaged {
    type Ports = Self;

    fn rivals(&self, namespace: &str, of: &BTreeSet<String>) -> Vec<Arc<StoredPolicy>> {
        if self.is(Bug::IgnoreClaims) { Vec::new() } else { self.process.rivals(namespace, of) }
    }

    fn remediations(&self) -> BTreeMap<String, Elsewhere> {
        let now = if self.is(Bug::IgnoreClaims) { BTreeMap::new() } else { self.process.remediations() };
        if !self.is(Bug::SlotHeldForEver) {
            return now;
        }
        let mut state = self.state();
        state.slots.extend(now);
        state.slots.clone()
    }

    fn restarted_within(&self, time: SignedDuration, now: Timestamp) -> Vec<Arc<StoredPolicy>> {
        self.process.restarted_within(time, now)
    }

    fn watched(&self, policy: &Policy, selector: &LabelSelector, query: &str, now: Duration) -> Watched {
        self.process.watched(policy, selector, query, now)
    }

    async fn cached(
        &self,
        policy: &Arc<Policy>,
        watched: &Watched,
        claims: &[Claim],
        settings: AssessSettings,
    ) -> Result<Snapshot, KubeError> {
        Ok(self.bend(policy, self.process.cached(policy, watched, claims, settings).await?))
    }

    async fn live(
        &self,
        policy: &Arc<Policy>,
        selector: &str,
        claims: &[Claim],
        settings: AssessSettings,
    ) -> Result<Snapshot, KubeError> {
        if self.is(Bug::ActOnCaches) {
            let cached = self.process.cached(policy, &nothing(), claims, settings).await?;
            return Ok(Snapshot { redis_rights: RedisRights::Known(Vec::new()), ..cached });
        }
        Ok(self.bend(policy, self.process.live(policy, selector, claims, settings).await?))
    }

    async fn stateful_sets(&self, policy: &Policy, names: &[String], around: Option<&Around>) -> Vec<StatefulSet> {
        self.process.stateful_sets(policy, names, around).await
    }

    async fn volumes(&self, namespace: &str, snapshot: &Snapshot, of: &[PodName], age: Duration) -> Volumes {
        self.process.volumes(namespace, snapshot, of, age).await
    }

    fn settled(&self, policy: &Policy, snapshot: &Snapshot) -> Snapshot {
        self.process.settled(policy, snapshot)
    }

    fn reach(&self, how: Freshness) -> Reach {
        self.process.reach(how)
    }

    fn show(&self, policy: &Policy, snapshot: &Snapshot, findings: &[FindingStatus], judged: &Judged) {
        self.process.show(policy, snapshot, findings, judged);
    }

    fn stop_probing(&self, uid: &str) {
        self.process.stop_probing(uid);
    }

    fn stop_watching(&self, uid: &str) {
        self.process.stop_watching(uid);
    }

    fn since_written(&self, uid: &str, now: Duration) -> Option<Duration> {
        self.process.since_written(uid, now)
    }

    fn written(&self, uid: &str, now: Duration) {
        self.process.written(uid, now);
    }

    fn waits(&self, uid: &str, waits: bool) {
        self.process.waits(uid, waits);
    }

    fn wake_waiting(&self) {
        self.process.wake_waiting();
    }

    fn woken(&self, policy: &ObjectRef<StoredPolicy>) -> bool {
        self.process.woken(policy)
    }

    fn asked_to_wait(&self) -> Option<Duration> {
        self.process.asked_to_wait()
    }
}
