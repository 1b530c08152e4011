//! One target: what policies want of it, what was seen of it, and the task that looks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    ProbeContext,
    assignment::{Access, CredentialsFor, Watcher},
    history::History,
    worker::Worker,
};
use crate::{
    clock::Clock,
    domain::{
        names::{ControllerUid, PodUid},
        peaks::Peaks,
        sample::{Memory, Reading, Sample},
        snapshot::{Observation, ProbeFailure},
    },
};

/// Gates that may wait for one target at once; more are answered as if it had timed out.
const WAITING_GATES: usize = 16;

/// Probes in a row that must fail before it is said that a target cannot be seen. The second follows the first after
/// a second.
const SETTLED: u32 = 2;

/// What a gate waits for.
pub(super) type Seen = (Observation, Vec<Reading>);

/// How the probes of one target went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStats {
    /// UID of the pod.
    pub pod_uid: PodUid,
    /// How long the last probe took, whatever came of it.
    pub last_duration: Option<Duration>,
    /// Age of the newest sample; `None`: there never was one.
    pub sample_age: Option<Duration>,
    /// Probes so far.
    pub probes: u64,
    /// Failures so far by [`ProbeFailure::reason`].
    pub errors: BTreeMap<&'static str, u64>,
}

/// What a scrape shows of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauged {
    /// Age of the newest sample, whatever came after it; `None`: there never was one.
    pub sample_age: Option<Duration>,
    /// What it says of the memory, as long as the target is seen.
    pub memory: Option<Memory>,
    /// How long its last fork blocked it, likewise; zero: it never forked.
    pub latest_fork: Option<Duration>,
}

/// Whether a server can be reached.
#[derive(Debug)]
pub(super) struct Reachability {
    /// Its set, by name and controller.
    pub(super) set: (String, ControllerUid),
    /// It answered the last probe.
    pub(super) answers: bool,
    /// It has given a sample once.
    pub(super) was_redis: bool,
}

/// A target and its task, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct ProbedTarget {
    pod_uid: PodUid,
    state: Arc<TargetState>,
    access: watch::Sender<Access>,
    gates: mpsc::Sender<oneshot::Sender<Seen>>,
    task: JoinHandle<()>,
}

/// What the task and the handle share.
#[derive(Debug)]
pub(super) struct TargetState {
    clock: Clock,
    seen: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the last probe gave: what a gate is told.
    observation: Arc<Observation>,
    /// What people are told: a single failed probe changes nothing yet. Mostly the same.
    settled: Arc<Observation>,
    /// Failed probes in a row.
    failures: u32,
    history: History,
    watchers: Vec<Watcher>,
    last_duration: Option<Duration>,
    /// Uptime of the process when the newest sample was recorded.
    last_sample: Option<Duration>,
    /// By how much the wall clock was set when the times in here were last moved along.
    moved: SignedDuration,
    probes: u64,
    errors: BTreeMap<&'static str, u64>,
}

impl State {
    fn new(moved: SignedDuration) -> Self {
        Self {
            moved,
            observation: Arc::new(Observation::Pending),
            settled: Arc::new(Observation::Pending),
            failures: 0,
            history: History::default(),
            watchers: Vec::new(),
            last_duration: None,
            last_sample: None,
            probes: 0,
            errors: BTreeMap::new(),
        }
    }

    /// The same, for a target of its own: what was seen, without who watches, and counted anew.
    fn known(&self) -> Self {
        Self {
            observation: Arc::clone(&self.observation),
            settled: Arc::clone(&self.settled),
            failures: self.failures,
            history: self.history.clone(),
            last_sample: self.last_sample,
            ..Self::new(self.moved)
        }
    }

    /// The wall clock was set: what was seen is as old as it was.
    fn follow(&mut self, moved: SignedDuration) {
        let by = moved.saturating_sub(self.moved);
        if by.is_zero() {
            return;
        }
        self.moved = moved;
        self.history.shift(by);
        for observation in [&mut self.observation, &mut self.settled] {
            if let Observation::Seen(sample) = Arc::make_mut(observation) {
                sample.at = sample.at.saturating_add(by).unwrap_or(sample.at);
            }
        }
    }
}

impl ProbedTarget {
    /// Starts the task. `before`: what its first policy has seen of the pod by another access, and knows still.
    pub(super) fn start(
        pod_uid: &PodUid,
        access: Access,
        watcher: Watcher,
        before: Option<&Self>,
        shared: Arc<ProbeContext>,
        runtime: &Handle,
    ) -> Self {
        let mut seen = before.map_or_else(|| State::new(shared.clock.moved()), |before| before.state.lock().known());
        seen.watchers.push(watcher);
        let state = Arc::new(TargetState { clock: shared.clock, seen: Mutex::new(seen) });
        let (access, access_seen) = watch::channel(access);
        let (gates, gates_seen) = mpsc::channel(WAITING_GATES);
        let worker = Worker::new(pod_uid.clone(), shared, Arc::clone(&state));
        let task = runtime.spawn(worker.run(access_seen, gates_seen));
        Self { pod_uid: pod_uid.clone(), state, access, gates, task }
    }

    /// Whether that policy sees the pod by this target.
    pub(super) fn is_watched_by(&self, policy_uid: &str) -> bool {
        self.state.lock().watchers.iter().any(|watcher| watcher.policy_uid == policy_uid)
    }

    /// Whether the pod is asked in just that way.
    pub(super) fn is_by(&self, access: &Access) -> bool {
        *self.access.borrow() == *access
    }

    /// Adds a policy, or renews it: its digest stays, so that a change in between is not lost.
    pub(super) fn watch(&self, watcher: Watcher) {
        let mut state = self.state.lock();
        let known = state.watchers.iter_mut().find(|known| known.policy_uid == watcher.policy_uid);
        match known {
            Some(known) => *known = Watcher { digest: known.digest.or(watcher.digest), ..watcher },
            None => state.watchers.push(watcher),
        }
    }

    /// Asks in another way from now on, and keeps what was seen: true if it has no other policy, which would not want it.
    pub(super) fn turn_to(&self, access: &Access, policy_uid: &str) -> bool {
        let alone = self.state.lock().watchers.iter().all(|watcher| watcher.policy_uid == policy_uid);
        if alone {
            self.access.send_replace(access.clone());
        }
        alone
    }

    /// Removes the policy, and gives back the digest that it was last told of.
    pub(super) fn release(&self, policy_uid: &str) -> Option<u64> {
        let mut state = self.state.lock();
        let at = state.watchers.iter().position(|watcher| watcher.policy_uid == policy_uid)?;
        state.watchers.swap_remove(at).digest
    }

    /// Whether any policy watches.
    pub(super) fn is_watched(&self) -> bool {
        !self.state.lock().watchers.is_empty()
    }

    /// What is settled: see [`TargetState::settled`].
    pub(super) fn settled(&self) -> Seen {
        self.state.settled()
    }

    /// The most that its memory took within the last day.
    pub(super) fn peaks(&self) -> Peaks {
        self.state.lock().history.peaks()
    }

    /// What the last probe says of the way to it; `None`: not probed yet. One that refuses is there all the same.
    pub(super) fn reachability(&self) -> Option<Reachability> {
        let state = self.state.lock();
        let answers = match &*state.observation {
            Observation::Pending => return None,
            Observation::Failed(failure) => {
                !matches!(failure, ProbeFailure::Unreachable(_) | ProbeFailure::TimedOut(_))
            }
            Observation::Seen(_) => true,
        };
        Some(Reachability { set: state.watchers.first()?.set.clone(), answers, was_redis: state.last_sample.is_some() })
    }

    pub(super) fn wanted_credentials(&self) -> CredentialsFor {
        self.access.borrow().credentials.clone()
    }

    /// Asks for a probe out of turn. `None`: too many ask already, or the target was let go.
    pub(super) fn probe_now(&self) -> impl Future<Output = Option<Seen>> + Send + 'static {
        let (reply, seen) = oneshot::channel();
        let asked = self.gates.try_send(reply).is_ok();
        async move { if asked { seen.await.ok() } else { None } }
    }

    /// What a scrape shows.
    pub(super) fn gauged(&self, now: Duration) -> Gauged {
        let state = self.state.lock();
        let sample = match &*state.settled {
            Observation::Seen(sample) => Some(sample),
            Observation::Pending | Observation::Failed(_) => None,
        };
        Gauged {
            sample_age: state.last_sample.map(|at| now.saturating_sub(at)),
            memory: sample.map(|sample| sample.memory.clone()),
            latest_fork: sample.map(|sample| sample.latest_fork),
        }
    }

    pub(super) fn stats(&self, now: Duration) -> ProbeStats {
        let state = self.state.lock();
        ProbeStats {
            pod_uid: self.pod_uid.clone(),
            last_duration: state.last_duration,
            sample_age: state.last_sample.map(|at| now.saturating_sub(at)),
            probes: state.probes,
            errors: state.errors.clone(),
        }
    }
}

impl Drop for ProbedTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TargetState {
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        state.follow(self.clock.moved());
        state
    }

    /// What the last probe gave.
    pub(super) fn latest(&self) -> Seen {
        let state = self.lock();
        (Observation::clone(&state.observation), state.history.to_vec())
    }

    /// The last sample, or the failure if it has lasted for [`SETTLED`] probes: a server that was slow once is no news.
    pub(super) fn settled(&self) -> Seen {
        let state = self.lock();
        (Observation::clone(&state.settled), state.history.to_vec())
    }

    /// Notes the outcome of a probe and wakes the policies whose judgement it changes.
    pub(super) fn record(&self, outcome: Result<Sample, ProbeFailure>, took: Duration, shared: &ProbeContext) {
        (shared.count.0)(took, outcome.as_ref().err().map(ProbeFailure::reason));
        let (seen, digesters) = {
            let mut state = self.lock();
            state.probes = state.probes.saturating_add(1);
            state.last_duration = Some(took);
            state.observation = Arc::new(match outcome {
                Ok(sample) => {
                    state.failures = 0;
                    let keep = state.watchers.iter().map(|watcher| watcher.keep).max().unwrap_or_default();
                    state.last_sample = Some(self.clock.uptime());
                    state.history.note(&sample, keep);
                    Observation::Seen(Box::new(sample))
                }
                Err(failure) => {
                    state.failures = state.failures.saturating_add(1);
                    let count = state.errors.entry(failure.reason()).or_default();
                    *count = count.saturating_add(1);
                    Observation::Failed(failure)
                }
            });
            if state.failures == 0 || state.failures >= SETTLED {
                state.settled = Arc::clone(&state.observation);
            }
            let digesters: Vec<_> = state
                .watchers
                .iter()
                .map(|watcher| (watcher.policy_uid.clone(), Arc::clone(&watcher.digester)))
                .collect();
            ((Arc::clone(&state.settled), state.history.to_vec()), digesters)
        };
        // Judging is another module's code: not under our lock.
        let ((observation, mut history), mut left) = (seen, digesters.len());
        for (policy_uid, digester) in digesters {
            left = left.saturating_sub(1);
            // Mostly there is one policy, and the history is not copied again for it.
            let history = if left == 0 { std::mem::take(&mut history) } else { history.clone() };
            let digest = digester(Observation::clone(&observation), history);
            let mut state = self.lock();
            if let Some(watcher) = state.watchers.iter_mut().find(|watcher| watcher.policy_uid == policy_uid)
                && watcher.digest.replace(digest) != Some(digest)
            {
                shared.changes.push(&watcher.namespace, &watcher.policy_uid);
            }
        }
    }
}
