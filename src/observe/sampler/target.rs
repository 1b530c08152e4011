//! One target: what policies want of it, what was seen of it, and the task that looks.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
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
    Shared,
    assignment::{Assignment, CredentialsFor, Judge, TargetKey, Watcher},
    history::{History, reading_of},
    worker::Worker,
};
use crate::{
    clock::Clock,
    domain::{
        names::ControllerUid,
        sample::{Memory, Reading, Sample},
        snapshot::{Observation, ProbeFailure},
    },
};

/// Gates that may wait for one target at once; more are answered as if it had timed out.
const WAITING_GATES: usize = 16;

/// So many probes in a row must fail before it is said that a target cannot be seen. The second follows the first after
/// a second.
const SETTLED: u32 = 2;

/// What a gate waits for.
pub(super) type Seen = (Observation, Vec<Reading>);

/// Where and how a target is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) address: SocketAddr,
    pub(super) credentials: CredentialsFor,
}

/// How the probes of one target went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStats {
    /// The target.
    pub key: TargetKey,
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
}

/// Whether a server can be reached.
#[derive(Debug)]
pub(super) struct Look {
    /// Its set, by name and controller.
    pub(super) set: (String, ControllerUid),
    /// It answered the last probe.
    pub(super) answers: bool,
    /// It has given a sample once.
    pub(super) was_redis: bool,
}

/// A target and its task, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Target {
    key: TargetKey,
    state: Arc<TargetState>,
    access: watch::Sender<Option<Access>>,
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
    observation: Observation,
    /// What people are told: a single failed probe changes nothing yet.
    settled: Observation,
    /// Failed probes in a row.
    failures: u32,
    history: History,
    watchers: Vec<Watcher>,
    /// UID of the policy whose access is used.
    access_of: Option<String>,
    /// The set that it is of.
    set: Option<(String, ControllerUid)>,
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
            observation: Observation::Pending,
            settled: Observation::Pending,
            failures: 0,
            history: History::default(),
            watchers: Vec::new(),
            access_of: None,
            set: None,
            last_duration: None,
            last_sample: None,
            probes: 0,
            errors: BTreeMap::new(),
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
            if let Observation::Seen(sample) = observation {
                sample.at = sample.at.saturating_add(by).unwrap_or(sample.at);
            }
        }
    }
}

impl Target {
    /// Starts the task; it waits until the target is assigned.
    pub(super) fn start(key: TargetKey, shared: Arc<Shared>, runtime: &Handle) -> Self {
        let state = Arc::new(TargetState::new(shared.clock));
        let (access, access_seen) = watch::channel(None);
        let (gates, gates_seen) = mpsc::channel(WAITING_GATES);
        let worker = Worker::new(key.pod_uid.clone(), shared, Arc::clone(&state));
        let task = runtime.spawn(worker.run(access_seen, gates_seen));
        Self { key, state, access, gates, task }
    }

    /// Adds the policy as a watcher, or renews it; its digest stays, so that a change in between is not lost.
    pub(super) fn assign(&self, policy_uid: &str, namespace: &str, assignment: Assignment, judge: Judge) {
        let mut state = self.state.lock();
        state.set = Some(assignment.set);
        match state.watchers.iter_mut().find(|watcher| watcher.policy_uid == policy_uid) {
            Some(watcher) => {
                watcher.keep = assignment.keep;
                watcher.judge = judge;
            }
            None => state.watchers.push(Watcher {
                policy_uid: policy_uid.to_owned(),
                namespace: namespace.to_owned(),
                keep: assignment.keep,
                judge,
                digest: None,
            }),
        }
        if state.access_of.get_or_insert_with(|| policy_uid.to_owned()) == policy_uid {
            let access = Some(Access { address: assignment.address, credentials: assignment.credentials });
            self.access.send_if_modified(|present| {
                let differs = *present != access;
                *present = access;
                differs
            });
        }
    }

    /// Removes the policy; true when no policy watches any more.
    pub(super) fn release(&self, policy_uid: &str) -> bool {
        let mut state = self.state.lock();
        state.watchers.retain(|watcher| watcher.policy_uid != policy_uid);
        if state.access_of.as_deref() == Some(policy_uid) {
            state.access_of = None;
        }
        state.watchers.is_empty()
    }

    /// What is settled: see [`TargetState::settled`].
    pub(super) fn settled(&self) -> Seen {
        self.state.settled()
    }

    /// What the last probe says of the way to it; `None`: not probed yet. One that refuses is there all the same.
    pub(super) fn look(&self) -> Option<Look> {
        let state = self.state.lock();
        let answers = match &state.observation {
            Observation::Pending => return None,
            Observation::Failed(failure) => {
                !matches!(failure, ProbeFailure::Unreachable(_) | ProbeFailure::TimedOut(_))
            }
            Observation::Seen(_) => true,
        };
        Some(Look { set: state.set.clone()?, answers, was_redis: state.last_sample.is_some() })
    }

    pub(super) fn wanted_credentials(&self) -> Option<CredentialsFor> {
        self.access.borrow().as_ref().map(|access| access.credentials.clone())
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
        let memory = match &state.settled {
            Observation::Seen(sample) => Some(sample.memory.clone()),
            Observation::Pending | Observation::Failed(_) => None,
        };
        Gauged { sample_age: state.last_sample.map(|at| now.saturating_sub(at)), memory }
    }

    pub(super) fn stats(&self, now: Duration) -> ProbeStats {
        let state = self.state.lock();
        ProbeStats {
            key: self.key.clone(),
            last_duration: state.last_duration,
            sample_age: state.last_sample.map(|at| now.saturating_sub(at)),
            probes: state.probes,
            errors: state.errors.clone(),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TargetState {
    fn new(clock: Clock) -> Self {
        Self { clock, seen: Mutex::new(State::new(clock.moved())) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        state.follow(self.clock.moved());
        state
    }

    /// What the last probe gave.
    pub(super) fn latest(&self) -> Seen {
        let state = self.lock();
        (state.observation.clone(), state.history.to_vec())
    }

    /// The last sample, or the failure if it has lasted for [`SETTLED`] probes: a server that was slow once is no news.
    pub(super) fn settled(&self) -> Seen {
        let state = self.lock();
        (state.settled.clone(), state.history.to_vec())
    }

    /// Notes the outcome of a probe and wakes the policies whose judgement it changes.
    pub(super) fn record(&self, outcome: Result<Sample, ProbeFailure>, took: Duration, shared: &Shared) {
        (shared.count.0)(took, outcome.as_ref().err().map(ProbeFailure::reason));
        let (seen, judges) = {
            let mut state = self.lock();
            state.probes = state.probes.saturating_add(1);
            state.last_duration = Some(took);
            state.observation = match outcome {
                Ok(sample) => {
                    state.failures = 0;
                    let keep = state.watchers.iter().map(|watcher| watcher.keep).max().unwrap_or_default();
                    state.last_sample = Some(self.clock.uptime());
                    state.history.push(reading_of(&sample), keep);
                    Observation::Seen(Box::new(sample))
                }
                Err(failure) => {
                    state.failures = state.failures.saturating_add(1);
                    let count = state.errors.entry(failure.reason()).or_default();
                    *count = count.saturating_add(1);
                    Observation::Failed(failure)
                }
            };
            if state.failures == 0 || state.failures >= SETTLED {
                state.settled = state.observation.clone();
            }
            let judges: Vec<_> =
                state.watchers.iter().map(|watcher| (watcher.policy_uid.clone(), Arc::clone(&watcher.judge))).collect();
            ((state.settled.clone(), state.history.to_vec()), judges)
        };
        // Judging is another module's code: not under our lock.
        let (mut seen, mut left) = (seen, judges.len());
        for (policy_uid, judge) in judges {
            left = left.saturating_sub(1);
            // Mostly there is one policy, and nothing is copied for it.
            let (observation, history) =
                if left == 0 { std::mem::replace(&mut seen, (Observation::Pending, Vec::new())) } else { seen.clone() };
            let digest = judge(observation, history);
            let mut state = self.lock();
            if let Some(watcher) = state.watchers.iter_mut().find(|watcher| watcher.policy_uid == policy_uid)
                && watcher.digest.replace(digest) != Some(digest)
            {
                shared.changes.push(&watcher.namespace, &watcher.policy_uid);
            }
        }
    }
}
