//! The composition root: one process, its lease, and what runs while it leads.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use zeroize::Zeroizing;

use super::{
    ledger::{Ledger, Limits},
    pace::Pace,
    reconcile,
    registry::{Guarded, PolicyRef, Registry},
    shared::{ReconcileError, Shared, Stop},
};
use crate::{
    admin::{Admin, AdminError, Health, Readiness},
    clock::Clock,
    domain::{policy::SecretKey, snapshot::ProbeFailure},
    execute::Executor,
    kube_io::{
        client::{self, ClientOptions},
        error::KubeError,
        fence::Fence,
        lease::{self, LeaseError, LeaseParams},
        overload::Overload,
        read::Reader,
        secrets::Secrets,
        write::Writer,
    },
    metrics::{Metrics, ReconcileResult},
    observe::{
        sampler::{Pair, Sampler, SamplerHandle, SamplerSettings, SecretSource},
        snapshot::Observer,
    },
    plan::PlanSettings,
};

/// Policies reconciled at once.
const CONCURRENCY: u16 = 8;
/// What is under way when the process is asked to stop has this long to finish.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Flags of `run`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where /metrics, /livez and /readyz are served.
    pub listen: SocketAddr,
    /// The Lease.
    pub lease: LeaseParams,
    /// The sampler.
    pub sampler: SamplerSettings,
    /// Times that decisions rest on.
    pub plan: PlanSettings,
    /// kube-proxy's sync time.
    pub endpoint_sync: Duration,
    /// Remediations at once in the cluster.
    pub maximum_remediations: u32,
    /// Pods restarted within an hour in the cluster.
    pub maximum_restarts_per_hour: Option<u32>,
    /// People want nothing disturbed.
    pub stop: bool,
}

/// Why the operator could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The Kubernetes client.
    #[error(transparent)]
    Client(#[from] KubeError),
    /// The admin server.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The lease settings.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Signals of the operating system.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
}

/// Passwords from Kubernetes, for the sampler.
pub(crate) struct FromKubernetes(pub(crate) Secrets);

impl SecretSource for FromKubernetes {
    fn get<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a SecretKey,
    ) -> BoxFuture<'a, Result<Zeroizing<String>, ProbeFailure>> {
        Box::pin(self.0.get(namespace, key))
    }

    fn get_pair<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Pair, ProbeFailure>> {
        Box::pin(self.0.get_pair(namespace, name))
    }
}

/// What lives as long as the process.
struct Process {
    settings: Settings,
    client: Client,
    clock: Clock,
    metrics: Metrics,
    health: Health,
    overload: Overload,
    /// The process is asked to end.
    stop: watch::Receiver<bool>,
    /// People have stopped the operator by the Lease's annotation.
    lease_stop: watch::Receiver<bool>,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Settings, clock: Clock) -> Result<(), RunError> {
    let metrics = Metrics::new(clock, &settings.lease.name);
    let overload = Overload::new(clock);
    let options = ClientOptions {
        observer: Some(metrics.answer_observer()),
        overload: Some(overload.clone()),
        ..ClientOptions::default()
    };
    let client = client::client(&options).await?;
    let admin = Admin::bind(settings.listen).await?;
    let health = Health::default();
    let (stopped, stop) = watch::channel(false);
    listen_for_signals(stopped)?;

    let ended = watch::channel(false);
    let (released, lease_may_go) = ended;
    let leadership = lease::run(settings.lease.clone(), client.clone(), clock, until(lease_may_go))?;
    let (closed, close_admin) = watch::channel(false);
    let serving = tokio::spawn(admin.serve(metrics.clone(), health.clone(), until(close_admin)));
    let lease_stop = leadership.stop.clone();
    let process = Process { settings, client, clock, metrics, health, overload, stop: stop.clone(), lease_stop };
    process.lead(leadership.fence).await;

    // Nothing of ours is under way any more: the Lease may go to the next.
    let _ = released.send(true);
    let _ = leadership.task.await;
    let _ = closed.send(true);
    match serving.await {
        Ok(result) => Ok(result?),
        Err(_) => Ok(()),
    }
}

fn listen_for_signals(stopped: watch::Sender<bool>) -> Result<(), RunError> {
    let mut term = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        let _ = stopped.send(true);
        // The sender must outlive the receivers' waiting.
        std::future::pending::<()>().await;
    });
    Ok(())
}

async fn until(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
}

impl Process {
    /// Leads whenever the lease is held, until asked to stop.
    async fn lead(&self, mut leadership: watch::Receiver<Option<Fence>>) {
        self.health.set(Readiness::Standby);
        loop {
            let fence = leadership.borrow_and_update().clone();
            if let Some(fence) = fence {
                tracing::info!("leading");
                self.metrics.set_leader(true);
                self.term(fence).await;
                self.metrics.set_leader(false);
                self.health.set(Readiness::Standby);
            }
            if *self.stop.borrow() {
                return;
            }
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { return },
                () = until(self.stop.clone()) => return,
            }
        }
    }

    /// One term: everything that only the leader does. Ends when the fence falls or the process is asked to stop.
    async fn term(&self, fence: Fence) {
        let secrets = Arc::new(FromKubernetes(Secrets::new(self.client.clone())));
        // The task stops all probing when it is dropped at the end of the term.
        let metrics = self.metrics.clone();
        let count = Arc::new(move |took: Duration, failure: Option<&'static str>| match failure {
            None => metrics.probe_took(took),
            Some(reason) => metrics.probe_failed(reason),
        });
        let (sampler, _sampling) = Sampler::spawn_counted(self.settings.sampler, self.clock, secrets, count);
        let (wake, woken) = mpsc::unbounded_channel();
        let api: Api<Guarded> = Api::all(self.client.clone());
        let config = Config::default().concurrency(CONCURRENCY);
        let controller = Controller::new(api, watcher::Config::default()).with_config(config);
        let policies = controller.store();
        let forwarding = tokio::spawn(forward(sampler.clone(), policies.clone(), wake.clone()));
        let stopping = tokio::spawn(wake_all(self.lease_stop.clone(), policies.clone(), wake.clone()));
        let shared = Arc::new(self.shared(fence.clone(), sampler, policies, wake));
        let stream = futures::stream::unfold(woken, |mut woken| async move { Some((woken.recv().await?, woken)) });
        let running = controller
            .reconcile_on(stream)
            .graceful_shutdown_on(until(self.stop.clone()))
            .run(timed, failed, shared)
            .for_each(|_| async {});
        self.health.set(Readiness::Leading);
        tokio::select! {
            () = running => {}
            () = fence.lost() => tracing::warn!("the lease is lost: nothing more is changed by this process"),
            () = self.overstayed() => tracing::warn!("what was under way did not finish in time"),
        }
        forwarding.abort();
        stopping.abort();
    }

    async fn overstayed(&self) {
        until(self.stop.clone()).await;
        tokio::time::sleep(STOP_PATIENCE).await;
    }

    fn shared(
        &self,
        fence: Fence,
        sampler: SamplerHandle,
        policies: Store<Guarded>,
        wake: mpsc::UnboundedSender<PolicyRef>,
    ) -> Shared {
        let reader = Reader::new(self.client.clone(), self.clock);
        let writer = Writer::new(self.client.clone(), self.clock, self.settings.lease.identity.clone());
        Shared {
            observer: Observer { reader: reader.clone(), sampler: sampler.clone(), clock: self.clock },
            executor: Executor {
                writer,
                reader,
                sampler,
                fence,
                clock: self.clock,
                endpoint_sync: self.settings.endpoint_sync,
            },
            registry: Registry::new(self.client.clone(), wake),
            policies,
            settings: self.settings.plan,
            limits: Limits {
                remediations: self.settings.maximum_remediations,
                restarts_per_hour: self.settings.maximum_restarts_per_hour,
            },
            ledger: Ledger::default(),
            stop: Stop {
                flag: self.settings.stop,
                annotation: self.lease_stop.clone(),
                lease: format!("{}/{}", self.settings.lease.namespace, self.settings.lease.name),
            },
            clock: self.clock,
            metrics: self.metrics.clone(),
            pace: Pace::default(),
            overload: self.overload.clone(),
        }
    }
}

/// Turns the sampler's changes, which name a policy by UID, into what the controller understands.
async fn forward(sampler: SamplerHandle, policies: Store<Guarded>, wake: mpsc::UnboundedSender<PolicyRef>) {
    let mut changes = Box::pin(sampler.changes());
    while let Some((_, uid)) = changes.next().await {
        let Some(policy) = policies.find(|policy| policy.uid().as_deref() == Some(uid.as_str())) else { continue };
        if wake.send(ObjectRef::from_obj(&*policy)).is_err() {
            return;
        }
    }
}

/// Every policy is looked at when people stop the operator, or let it go on.
async fn wake_all(mut stop: watch::Receiver<bool>, policies: Store<Guarded>, wake: mpsc::UnboundedSender<PolicyRef>) {
    while stop.changed().await.is_ok() {
        for policy in policies.state() {
            if wake.send(ObjectRef::from_obj(&*policy)).is_err() {
                return;
            }
        }
    }
}

/// Reconciles and measures.
async fn timed(policy: Arc<Guarded>, shared: Arc<Shared>) -> Result<Action, ReconcileError> {
    // The API server asked us to come back later, or the last look failed. Probing, metrics and the lease go on.
    let paused = shared.pace.left(&policy.uid().unwrap_or_default(), shared.clock.uptime());
    if let Some(left) = shared.overload.left().max(paused) {
        return Ok(Action::requeue(left));
    }
    let begun = shared.clock.uptime();
    let result = Box::pin(reconcile::reconcile(policy, Arc::clone(&shared))).await;
    let outcome = if result.is_ok() { ReconcileResult::RequeueAfter } else { ReconcileResult::Error };
    shared.metrics.reconciled(outcome, shared.clock.uptime().saturating_sub(begun));
    result
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that the controller calls")]
fn failed(policy: Arc<Guarded>, error: &ReconcileError, shared: Arc<Shared>) -> Action {
    let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
    if error.is_conflict() {
        tracing::debug!(%namespace, policy = %name, %error, "decided again");
    } else {
        tracing::warn!(%namespace, policy = %name, reason = error.reason(), %error, "reconcile failed");
    }
    let pause = shared.pace.failed(&policy.uid().unwrap_or_default(), shared.clock.uptime());
    Action::requeue(pause.max(shared.overload.left().unwrap_or_default()))
}
