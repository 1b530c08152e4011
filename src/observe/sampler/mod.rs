//! The sampler: looks at every target at its own pace, apart from reconciling.
//!
//! Each target has a task that keeps one connection and sends one probe per interval, at a phase of its own. What it
//! saw last and a short history stay in memory. The reconciler is woken only when a policy's judgement changes.

mod assignment;
mod certificates;
mod changes;
mod history;
mod last_day;
mod secrets;
mod shared_reads;
mod target;
mod timing;
mod worker;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, future::join_all};
use tokio::{runtime::Handle, sync::Semaphore};

pub use assignment::{Assignment, CredentialsFor, Digester, TargetKey};
pub use certificates::Pair;
pub use history::{History, reading_of};
pub use secrets::SecretSource;
pub use target::{Gauged, ProbeStats};

use self::{
    assignment::{Access, Watcher},
    changes::Changes,
    secrets::SecretCache,
    target::{ProbedTarget, Reachability},
};
use crate::{
    clock::Clock,
    domain::{
        names::PodUid,
        peaks::Peaks,
        sample::Reading,
        snapshot::{Observation, ProbeFailure},
        surroundings::{LostSet, Reach},
    },
    redis_io::Credentials,
};

/// For how long what is said of all targets together is believed, while nothing is to be done.
const REACH_BELIEVED: Duration = Duration::from_secs(1);

/// How the sampler works. Flags of the binary; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct SamplerSettings {
    /// Time between two probes of a target.
    pub interval: Duration,
    /// One probe, connecting included, takes no longer.
    pub probe_deadline: Duration,
    /// Probes under way at once on kept connections, and as many again that connect; a gate's probes come on top.
    pub concurrency: usize,
}

impl Default for SamplerSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(15), probe_deadline: Duration::from_secs(1), concurrency: 64 }
    }
}

/// Told of every probe: how long it took, and why it gave no sample ([`ProbeFailure::reason`]) if it gave none.
pub type Count = Arc<dyn Fn(Duration, Option<&'static str>) + Send + Sync>;

struct Counter(Count);

impl std::fmt::Debug for Counter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counter")
    }
}

/// Starts the sampler.
#[derive(Debug)]
pub struct Sampler;

impl Sampler {
    /// Starts with no targets; must be called within a tokio runtime. The handle is cheap to clone. All probing stops
    /// when the [`SamplerTask`] is dropped: hold it as long as this process leads.
    pub fn spawn(
        settings: SamplerSettings,
        clock: Clock,
        secrets: Arc<dyn SecretSource>,
    ) -> (SamplerHandle, SamplerTask) {
        Self::spawn_counted(settings, clock, secrets, Arc::new(|_, _| {}))
    }

    /// The same, and `count` is told of every probe.
    pub fn spawn_counted(
        settings: SamplerSettings,
        clock: Clock,
        secrets: Arc<dyn SecretSource>,
        count: Count,
    ) -> (SamplerHandle, SamplerTask) {
        let shared = Arc::new(ProbeContext {
            settings,
            clock,
            secrets: SecretCache::new(secrets),
            probes: Semaphore::new(settings.concurrency.max(1)),
            connects: Semaphore::new(settings.concurrency.max(1)),
            changes: Changes::default(),
            count: Counter(count),
        });
        let inner =
            Arc::new(Inner { shared, runtime: Handle::current(), state: Mutex::default(), reach: Mutex::default() });
        (SamplerHandle { inner: Arc::clone(&inner) }, SamplerTask { inner })
    }
}

/// What every target task shares.
#[derive(Debug)]
struct ProbeContext {
    settings: SamplerSettings,
    clock: Clock,
    secrets: SecretCache,
    /// Turns for probes on kept connections.
    probes: Semaphore,
    /// Turns for probes that must connect first.
    connects: Semaphore,
    changes: Changes,
    count: Counter,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<ProbeContext>,
    runtime: Handle,
    state: Mutex<State>,
    /// What was last said of all targets together, and when.
    reach: Mutex<Option<(Duration, Reach)>>,
}

#[derive(Debug, Default)]
struct State {
    /// Of each pod one for each access to it: mostly one.
    targets: HashMap<PodUid, Vec<ProbedTarget>>,
    /// The pods of each policy, by policy UID.
    policies: BTreeMap<String, HashSet<PodUid>>,
    stopped: bool,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watcher's policy sees the pod in that way from now on. Where its way has changed, what it has seen so far goes
    /// along: a Secret that was renamed, or an owner that could not be proven for a moment, costs no history.
    fn watch(&self, state: &mut State, pod: &PodUid, access: Access, mut watcher: Watcher) {
        let targets = state.targets.entry(pod.clone()).or_default();
        let present = targets.iter().find(|target| target.is_watched_by(&watcher.policy_uid));
        let same = targets.iter().find(|target| target.is_by(&access));
        let mut begun = None;
        match (same, present) {
            (Some(same), present) => {
                if let Some(left) = present.filter(|present| !std::ptr::eq(*present, same)) {
                    watcher.digest = left.release(&watcher.policy_uid);
                }
                same.watch(watcher);
            }
            (None, Some(present)) if present.turn_to(&access, &watcher.policy_uid) => present.watch(watcher),
            (None, before) => {
                watcher.digest = before.and_then(|left| left.release(&watcher.policy_uid));
                let shared = Arc::clone(&self.shared);
                begun = Some(ProbedTarget::start(pod, access, watcher, before, shared, &self.runtime));
            }
        }
        targets.extend(begun);
        targets.retain(ProbedTarget::is_watched);
    }
}

/// Assigns targets and reads what was seen.
#[derive(Clone, Debug)]
pub struct SamplerHandle {
    inner: Arc<Inner>,
}

impl SamplerHandle {
    /// Replaces the targets of a policy. Targets that no policy has any more are let go, their connections closed.
    ///
    /// Policies that reach a pod in the same way, by address, Secrets and user, share one target, which keeps the longest
    /// history that any of them wants. One that reaches it in another way has a target and a connection of its own: nothing
    /// that it sees or does rests on the credentials of another. `digester` digests what the policy would conclude from a
    /// target; [`Self::changes`] fires when the digest changes. It is called outside all locks and must be quick.
    #[allow(clippy::needless_pass_by_value, reason = "the sampler keeps the digester; a reference would mislead")]
    pub fn assign(&self, policy_uid: &str, namespace: &str, assignments: Vec<Assignment>, digester: Digester) {
        let mut state = self.inner.state();
        if state.stopped {
            return;
        }
        let pods: HashSet<PodUid> = assignments.iter().map(|a| a.pod_uid.clone()).collect();
        let before = state.policies.insert(policy_uid.to_owned(), pods.clone()).unwrap_or_default();
        for pod in before.difference(&pods) {
            state.release(pod, policy_uid);
        }
        for Assignment { pod_uid, set, address, credentials, keep } in assignments {
            let watcher = Watcher {
                policy_uid: policy_uid.to_owned(),
                namespace: namespace.to_owned(),
                set,
                keep,
                digester: Arc::clone(&digester),
                digest: None,
            };
            self.inner.watch(&mut state, &pod_uid, Access { address, credentials }, watcher);
        }
    }

    /// Lets go of all targets of a policy, and of the Secrets that were read for it alone.
    pub fn forget(&self, policy_uid: &str) {
        self.retain(|uid| uid != policy_uid);
    }

    /// The same of all policies that are not among these UIDs.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        let mut state = self.inner.state();
        let gone: Vec<String> = state.policies.keys().filter(|uid| !exists(uid)).cloned().collect();
        for uid in &gone {
            for pod in state.policies.remove(uid).unwrap_or_default() {
                state.release(&pod, uid);
            }
        }
        if !gone.is_empty() {
            let needed: Vec<_> = state.targets.values().flatten().map(ProbedTarget::wanted_credentials).collect();
            self.inner.shared.secrets.retain(&needed);
        }
    }

    /// What a scrape shows of a target; nothing is copied but numbers.
    pub fn gauged(&self, key: &TargetKey) -> Gauged {
        let now = self.inner.shared.clock.uptime();
        self.inner.state().target(key).map_or_else(Gauged::default, |target| target.gauged(now))
    }

    /// What people are told: the last sample, or why there is none, once two probes in a row have failed; and the
    /// history, oldest first. A target that is not assigned is `Pending`. Nothing is done on the strength of it: what is
    /// acted on comes from [`Self::probe_now`], where a single failure counts.
    pub fn latest(&self, key: &TargetKey) -> (Observation, Vec<Reading>) {
        self.inner.state().target(key).map_or((Observation::Pending, Vec::new()), ProbedTarget::settled)
    }

    /// The most that the memory of a target took within the last day; of one that is not assigned nothing is known.
    pub fn peaks(&self, key: &TargetKey) -> Peaks {
        self.inner.state().target(key).map_or_else(Peaks::default, ProbedTarget::peaks)
    }

    /// Probes these targets now, at once and out of turn, and returns what was seen: the basis of a gate. The readings
    /// enter the history. Returns within twice the probe deadline; a target that did not manage it is `TimedOut`.
    pub async fn probe_now(&self, keys: &[TargetKey]) -> Vec<(TargetKey, Observation, Vec<Reading>)> {
        let probes: Vec<_> = {
            let state = self.inner.state();
            keys.iter().map(|key| (key.clone(), state.target(key).map(ProbedTarget::probe_now))).collect()
        };
        let limit = self.inner.shared.settings.probe_deadline.saturating_mul(2);
        join_all(probes.into_iter().map(|(key, probe)| async move {
            let Some(probe) = probe else {
                return (key, Observation::Pending, Vec::new());
            };
            let late = || Observation::Failed(ProbeFailure::TimedOut("no fresh probe in time".to_owned()));
            let done = tokio::time::timeout(limit, probe).await.ok().flatten();
            let (observation, history) = done.unwrap_or_else(|| (late(), self.latest(&key).1));
            (key, observation, history)
        }))
        .await
    }

    /// What a connection of that policy to the pod must authenticate with; `None`: nothing.
    pub async fn credentials(&self, key: &TargetKey) -> Result<Option<Credentials>, ProbeFailure> {
        let wanted = self.inner.state().target(key).map(ProbedTarget::wanted_credentials);
        match wanted {
            Some(wanted) => self.resolve(&wanted).await,
            None => Err(ProbeFailure::Unreachable("this pod is not watched for this policy".to_owned())),
        }
    }

    /// What a connection with these credentials is opened with; `None`: nothing.
    pub async fn resolve(&self, wanted: &CredentialsFor) -> Result<Option<Credentials>, ProbeFailure> {
        self.inner.shared.secrets.resolve(wanted, shared_reads::MAX_AGE, &self.inner.shared.clock).await
    }

    /// Policies (namespace, UID) whose judgement of some target changed. Several changes of a policy before it is
    /// polled are one item. To be taken once: two streams would share the items.
    pub fn changes(&self) -> impl Stream<Item = (String, String)> + Send + 'static {
        let shared = Arc::clone(&self.inner.shared);
        futures::stream::unfold(shared, |shared| async move {
            let change = shared.changes.next().await;
            Some((change, shared))
        })
    }

    /// The same as a moment ago: every look asks, and each answer goes through all targets.
    pub fn reach_lately(&self) -> Reach {
        let now = self.inner.shared.clock.uptime();
        let mut last = self.inner.reach.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, reach)) if now.saturating_sub(*at) < REACH_BELIEVED => reach.clone(),
            _ => {
                let reach = self.reach();
                *last = Some((now, reach.clone()));
                reach
            }
        }
    }

    /// How many of all pods answered their last probe, of sets that are known to be Redis: to any policy, because what one
    /// of them has wrong is no fault of the network. One that was not probed yet counts as neither.
    pub fn reach(&self) -> Reach {
        let state = self.inner.state();
        let targets: Vec<Reachability> = state.targets.values().filter_map(|of_pod| reachability(of_pod)).collect();
        let known: HashSet<&str> =
            targets.iter().filter(|target| target.was_redis).map(|target| target.set.0.as_str()).collect();
        let mut reach = Reach::default();
        let mut lost: BTreeMap<&str, LostSet> = BTreeMap::new();
        for Reachability { set: (name, workload), answers, .. } in &targets {
            if !known.contains(name.as_str()) {
                continue;
            }
            reach.endpoints += 1;
            if *answers {
                continue;
            }
            reach.unreachable += 1;
            let none = || LostSet { name: name.clone(), set: workload.clone(), unreachable: 0 };
            lost.entry(name).or_insert_with(none).unreachable += 1;
        }
        reach.lost = lost.into_values().collect();
        reach
    }

    /// How the probes of each target went.
    pub fn probe_stats(&self) -> Vec<ProbeStats> {
        let now = self.inner.shared.clock.uptime();
        self.inner.state().targets.values().flatten().map(|target| target.stats(now)).collect()
    }
}

/// What is known of the way to a pod, by whichever access knows most.
fn reachability(of_pod: &[ProbedTarget]) -> Option<Reachability> {
    of_pod.iter().filter_map(ProbedTarget::reachability).reduce(|one, other| Reachability {
        answers: one.answers || other.answers,
        was_redis: one.was_redis || other.was_redis,
        ..one
    })
}

impl State {
    /// By what that policy sees the pod.
    fn target(&self, key: &TargetKey) -> Option<&ProbedTarget> {
        self.targets.get(&key.pod_uid)?.iter().find(|target| target.is_watched_by(&key.policy_uid))
    }

    fn release(&mut self, pod: &PodUid, policy_uid: &str) {
        let Some(targets) = self.targets.get_mut(pod) else { return };
        for target in &*targets {
            target.release(policy_uid);
        }
        targets.retain(ProbedTarget::is_watched);
        if targets.is_empty() {
            self.targets.remove(pod);
        }
    }
}

/// As long as it lives, targets are probed. As a future it never ends.
#[derive(Debug)]
#[must_use = "probing stops when this is dropped"]
pub struct SamplerTask {
    inner: Arc<Inner>,
}

impl Future for SamplerTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for SamplerTask {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.stopped = true;
        state.targets.clear();
        state.policies.clear();
    }
}
