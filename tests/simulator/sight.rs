//! What a process of the operator sees of the simulated world: its caches, and looks that are live.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::runtime::reflector::ObjectRef;
use redis_memory_operator::{
    api::v1alpha1::{FindingStatus, StoredPolicy},
    assess::{AssessSettings, judged::Judged},
    clock::Time as _,
    contention::cluster_budget,
    controller::ports::{Freshness, Watched, World},
    domain::{
        names::PodName,
        pod::StatefulSet,
        policy::Policy,
        snapshot::{Observation, ProbeFailure, Snapshot},
        surroundings::{Claim, Elsewhere, LostSet, Reach},
        volume::Volumes,
    },
    kube_io::{
        around::Around,
        cache::Seen,
        error::{Cause, KubeError},
    },
};

use crate::{
    operator::{Body, Process},
    ports,
    redis::Ms,
    shape::{set_name, set_of, set_uid},
    view::Pods,
};

/// As `observe::snapshot::sentinels` has it: how old their answers may be where nothing is to be done, and how long it takes
/// when one stands still.
const SENTINELS_BELIEVED: Ms = 30_000;
const ASKED_TWICE: Ms = 2_000;

impl Process {
    /// Every policy, as its cache has it.
    fn policies(&self) -> Vec<Arc<StoredPolicy>> {
        self.cache.lock().expect("one thread").policies.iter().flatten().cloned().collect()
    }

    /// Probes every pod of these sets that runs; all at the same time, each answers when it does.
    async fn probe(&self, pods: &Pods, sets: &[usize]) {
        let took = pods.iter().filter(|(n, _)| sets.contains(&set_of(**n))).map(|(n, pod)| self.sample(*n, pod)).max();
        self.pause(took.unwrap_or(0)).await;
    }

    /// One probe; returns how long it took.
    pub fn sample(&self, n: usize, pod: &crate::kubernetes::Pod) -> Ms {
        let mut world = self.world();
        let seen = world.probe(self.identity, n, pod, self.skew);
        let hung = world.servers.by_ip.get(&pod.ip).is_some_and(|server| server.hung(world.now));
        let took = if hung { 1000 } else { world.rng.range(1, 25) };
        self.memory.lock().expect("one thread").remember(pod.uid, seen);
        took
    }

    /// Asks the Sentinels of these sets, unless they said something lately.
    async fn ask_sentinels(&self, sets: &[usize], age: Ms) {
        let now = self.instant();
        let due = |set: &&usize| {
            let memory = self.memory.lock().expect("one thread");
            let known = memory.sentinels.get(*set).is_some_and(|(at, _)| now < at + age);
            self.world().is_watched(**set) && !known
        };
        let due: Vec<usize> = sets.iter().filter(due).copied().collect();
        if due.is_empty() {
            return;
        }
        let (took, said) = {
            let mut world = self.world();
            let said: Vec<_> = due.iter().map(|set| (*set, world.ask_sentinels(*set))).collect();
            for set in &due {
                world.asks_sentinels(self.identity, *set);
            }
            let hangs =
                said.iter().flat_map(|(_, said)| said).any(|it| matches!(it.said, Err(ProbeFailure::TimedOut(_))));
            (if hangs { ASKED_TWICE } else { world.rng.range(1, 25) }, said)
        };
        self.pause(took).await;
        let mut memory = self.memory.lock().expect("one thread");
        memory.sentinels.extend(said.into_iter().map(|(set, said)| (set, (now, said))));
    }

    fn snapshot(&self, policy: &Policy, pods: &Pods, claims: &[Claim], live: bool) -> Snapshot {
        let memory = self.memory.lock().expect("one thread");
        let mut snapshot = self.world().snapshot(policy, pods, &memory, live, self.skew);
        snapshot.seen_before = self.lately.look(&snapshot, self.uptime());
        let claimed =
            |claim: &Claim| claim.controllers.iter().map(|uid| (uid.clone(), claim.policy.clone())).collect::<Vec<_>>();
        snapshot.claimed_by_other = claims.iter().flat_map(claimed).collect();
        snapshot
    }
}

impl World for Process {
    type Ports = Self;

    fn rivals(&self, _: &str, _: &BTreeSet<String>) -> Vec<Arc<StoredPolicy>> {
        self.policies()
    }

    fn remediations(&self) -> BTreeMap<String, Elsewhere> {
        let policies = self.policies();
        policies.iter().filter_map(|stored| cluster_budget::remediation(stored.policy()?)).collect()
    }

    fn restarted_within(&self, _: SignedDuration, _: Timestamp) -> Vec<Arc<StoredPolicy>> {
        self.policies()
    }

    fn watched(&self, policy: &Policy, _: &LabelSelector, _: &str, now: Duration) -> Watched {
        let mut kept = self.kept.lock().expect("one thread");
        let kept = &mut kept[Body::number(&policy.uid)];
        kept.looked = true;
        kept.written_at.get_or_insert(ports::ms(now));
        let cache = self.cache.lock().expect("one thread");
        let sets = self.world().covered(&policy.uid);
        let pods = cache.pods.iter().filter(|(n, _)| sets.contains(&set_of(**n)));
        let pods = pods.map(|(n, pod)| Arc::new(ports::object(*n, pod))).collect();
        let pods = Seen { pods, shared_with: BTreeSet::new(), synced: true, failing: None };
        Watched { pods, around: None }
    }

    async fn cached(
        &self,
        policy: &Arc<Policy>,
        _: &Watched,
        claims: &[Claim],
        _: AssessSettings,
    ) -> Result<Snapshot, KubeError> {
        let pods = self.cache.lock().expect("one thread").pods.clone();
        let sets = self.world().covered(&policy.uid);
        self.ask_sentinels(&sets, SENTINELS_BELIEVED).await;
        Ok(self.snapshot(policy, &pods, claims, false))
    }

    async fn live(
        &self,
        policy: &Arc<Policy>,
        _: &str,
        claims: &[Claim],
        _: AssessSettings,
    ) -> Result<Snapshot, KubeError> {
        let unread = || KubeError::ListPods(Cause::TimedOut(Duration::from_secs(10)));
        let pods = self.read(crate::world::World::list).await.ok_or_else(unread)?;
        let sets = self.world().covered(&policy.uid);
        self.ask_sentinels(&sets, 0).await;
        self.probe(&pods, &sets).await;
        let snapshot = self.snapshot(policy, &pods, claims, true);
        self.point("observed").await;
        Ok(snapshot)
    }

    /// No set of the simulated world loses all of its pods for good.
    async fn stateful_sets(&self, _: &Policy, _: &[String], _: Option<&Around>) -> Vec<StatefulSet> {
        Vec::new()
    }

    /// Claims hold enough, and every node takes pods.
    async fn volumes(&self, _: &str, snapshot: &Snapshot, _: &[PodName], _: Duration) -> Volumes {
        snapshot.volumes.clone()
    }

    fn settled(&self, _: &Policy, snapshot: &Snapshot) -> Snapshot {
        snapshot.clone()
    }

    fn reach(&self, _: Freshness) -> Reach {
        let (cache, memory) = (self.cache.lock().expect("one thread"), self.memory.lock().expect("one thread"));
        let seen = cache.pods.iter().filter_map(|(n, pod)| Some((set_of(*n), memory.latest.get(&pod.uid)?)));
        let mut reach = Reach::default();
        for (set, seen) in seen {
            reach.endpoints += 1;
            let lost =
                |failure: &ProbeFailure| matches!(failure, ProbeFailure::Unreachable(_) | ProbeFailure::TimedOut(_));
            if !matches!(seen, Observation::Failed(failure) if lost(failure)) {
                continue;
            }
            reach.unreachable += 1;
            match reach.lost.iter_mut().find(|it| it.set == set_uid(set)) {
                Some(lost) => lost.unreachable += 1,
                None => reach.lost.push(LostSet {
                    name: format!("shop/{}", set_name(set)),
                    set: set_uid(set),
                    unreachable: 1,
                }),
            }
        }
        reach
    }

    fn show(&self, _: &Policy, _: &Snapshot, _: &[FindingStatus], _: &Judged) {}

    fn stop_probing(&self, _: &str) {}

    fn stop_watching(&self, _: &str) {}

    fn since_written(&self, uid: &str, now: Duration) -> Option<Duration> {
        let at = self.kept.lock().expect("one thread")[Body::number(uid)].written_at?;
        Some(now.saturating_sub(Duration::from_millis(at)))
    }

    fn written(&self, uid: &str, now: Duration) {
        self.kept.lock().expect("one thread")[Body::number(uid)].written_at = Some(ports::ms(now));
    }

    fn waits(&self, uid: &str, waits: bool) {
        self.kept.lock().expect("one thread")[Body::number(uid)].waits = waits;
    }

    fn wake_waiting(&self) {
        for kept in self.kept.lock().expect("one thread").iter_mut().filter(|kept| kept.waits) {
            kept.wake();
        }
    }

    fn woken(&self, policy: &ObjectRef<StoredPolicy>) -> bool {
        std::mem::take(&mut self.kept.lock().expect("one thread")[Body::number(&policy.name)].woken)
    }

    fn asked_to_wait(&self) -> Option<Duration> {
        None
    }
}
