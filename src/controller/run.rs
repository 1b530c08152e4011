//! The composition root: one process, its lease, and what runs while it leads.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture};
use kube::{
    Client,
    runtime::{
        Controller, WatchStreamExt as _,
        controller::{Action, Config},
        reflector,
        watcher::Event,
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use zeroize::Zeroizing;

use super::{
    backoff::Backoff,
    gone,
    listing::{self, Failures},
    memory::Memory,
    outside::Outside,
    reconciler::{ReconcileError, Reconciler, Stop},
    registry::{Guarded, Registry},
    roster::Roster,
    scope::Scope,
    turn,
    wakes::Wakes,
};
use crate::{
    admin::{Access, Admin, AdminError, Entrance, Health, Review},
    clock::{Clock, Time},
    contention::{
        cluster_budget::{ClusterBudget, ClusterLimits},
        reverts::Reverts,
    },
    domain::{policy::SecretKey, snapshot::ProbeFailure},
    execute::{Executor, live::Live},
    kube_io::{
        client::{self, ClientOptions},
        error::KubeError,
        fence::Fence,
        lease::{self, Holder, LeaseError, LeaseParams},
        overload::Overload,
        read::Reader,
        review,
        secrets::Secrets,
        write::Writer,
    },
    metrics::Metrics,
    observe::{
        lately::Lately,
        nodes::OnNodes,
        sampler::{Pair, Sampler, SamplerHandle, SamplerSettings, SamplerTask, SecretSource},
        snapshot::{Observer, Proxies, Sentinels},
    },
    plan::{PlanSettings, effect},
};

/// Policies reconciled at once.
const CONCURRENCY: u16 = 8;
/// What is under way when the process is asked to stop has this long to finish.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How often the wall clock is read anew, besides at every look.
const WALL_EVERY: Duration = Duration::from_secs(1);

/// Flags of `run`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where /metrics is served.
    pub listen: SocketAddr,
    /// Where /livez and /readyz are served.
    pub health_listen: SocketAddr,
    /// Who may read /metrics, and how.
    pub access: Access,
    /// Whose policies are looked at.
    pub scope: Scope,
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
    /// A port of the admin server.
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
    /// Policies cannot be listed or watched.
    failures: Failures,
    /// Who was lately seen to decide the roles of a set.
    lately: Lately,
    /// What all policies have on each node.
    nodes: OnNodes,
    /// What is not fought over.
    reverts: Arc<Reverts>,
}

/// What watches and remembers. It outlives a term that ends because the API server is away: a process that cannot act can still
/// see, and knows all the more when it may act again. It ends when the Lease is seen to be another's.
struct Watching {
    sampler: SamplerHandle,
    /// Probing stops when this is dropped.
    _sampling: SamplerTask,
    registry: Arc<Registry>,
    wakes: Wakes,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Settings, clock: Clock) -> Result<(), RunError> {
    let metrics = Metrics::new(&settings.lease.name);
    metrics.steps_begin_at_zero(&effect::actions());
    let overload = Overload::new(clock);
    let options = ClientOptions {
        observer: Some(metrics.answer_observer()),
        overload: Some(overload.clone()),
        ..ClientOptions::default()
    };
    let client = client::client(&options).await?;
    let entrance = Entrance::open(&settings.access, reviews(client.clone()), clock)?;
    let (for_scrapes, for_health) = (Admin::bind(settings.listen).await?, Admin::bind(settings.health_listen).await?);
    let health = Health::default();
    let (stopped, stop) = watch::channel(false);
    listen_for_signals(stopped)?;

    let ended = watch::channel(false);
    let (released, lease_may_go) = ended;
    let leadership = lease::run(settings.lease.clone(), client.clone(), clock, until(lease_may_go))?;
    let (closed, close_admin) = watch::channel(false);
    let scrapes = tokio::spawn(for_scrapes.serve_metrics(metrics.clone(), entrance, until(close_admin.clone())));
    let probes = tokio::spawn(for_health.serve_health(health.clone(), until(close_admin)));
    tokio::spawn(note_lease_read(leadership.holder.clone(), health.clone()));
    tokio::spawn(keep_time(clock));
    let failures = Failures::new(clock, metrics.clone(), health.clone());
    let (scope, again) = (settings.scope.clone(), listing::ASK_AGAIN);
    tokio::spawn(listing::until_listed(client.clone(), scope, health.clone(), failures.clone(), again));
    let lease_stop = leadership.stop.clone();
    let (lately, nodes, reverts, stop) = (Lately::default(), OnNodes::default(), Arc::default(), stop.clone());
    let process = Process {
        settings,
        client,
        clock,
        metrics,
        health,
        overload,
        stop,
        lease_stop,
        failures,
        lately,
        nodes,
        reverts,
    };
    process.lead(leadership.fence, leadership.holder).await;

    // Nothing of ours is under way any more: the Lease may go to the next.
    let _ = released.send(true);
    let _ = leadership.task.await;
    let _ = closed.send(true);
    let _ = tokio::join!(scrapes, probes);
    Ok(())
}

/// Asks the API server who may read the metrics.
fn reviews(client: Client) -> Review {
    Arc::new(move |token| {
        let client = client.clone();
        Box::pin(async move { review::of(&client, token).await.map_err(|error| error.to_string()) })
    })
}

/// A process that has never read the Lease is not ready to take over.
async fn note_lease_read(mut holder: watch::Receiver<Holder>, health: Health) {
    if holder.wait_for(|holder| *holder != Holder::Unread).await.is_ok() {
        health.lease_read();
    }
}

/// Reads the wall clock anew, so that one that was corrected is known to windows, cooldowns and events.
async fn keep_time(clock: Clock) {
    loop {
        let _ = Time::steps(&clock);
        tokio::time::sleep(WALL_EVERY).await;
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
    async fn lead(&self, mut leadership: watch::Receiver<Option<Fence>>, holder: watch::Receiver<Holder>) {
        let mut watching: Option<Watching> = None;
        loop {
            let fence = leadership.borrow_and_update().clone();
            if let Some(fence) = fence {
                tracing::info!("leading");
                let kept = watching.get_or_insert_with(|| self.watch());
                self.metrics.set_leader(true);
                self.metrics.show_targets(true);
                self.term(fence, kept).await;
                self.metrics.set_leader(false);
                self.health.leads(false);
            }
            if *self.stop.borrow() {
                return;
            }
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { return },
                () = another_leads(holder.clone()), if watching.is_some() => {
                    tracing::info!("another process leads: nothing is watched by this one");
                    watching = None;
                    self.metrics.show_targets(false);
                }
                () = until(self.stop.clone()) => return,
            }
        }
    }

    /// Begins to watch.
    fn watch(&self) -> Watching {
        let secrets = Arc::new(FromKubernetes(Secrets::new(self.client.clone())));
        let metrics = self.metrics.clone();
        let count = Arc::new(move |took: Duration, failure: Option<&'static str>| match failure {
            None => metrics.probe_took(took),
            Some(reason) => metrics.probe_failed(reason),
        });
        let (sampler, sampling) = Sampler::spawn_counted(self.settings.sampler, self.clock, secrets, count);
        let (wakes, metrics) = (Wakes::default(), self.metrics.clone());
        let failed = Arc::new(move |kind| metrics.watch_failed(kind));
        let registry = Arc::new(Registry::new(self.client.clone(), wakes.clone(), failed));
        Watching { sampler, _sampling: sampling, registry, wakes }
    }

    /// One term: everything that only the leader does. Ends when the fence falls or the process is asked to stop.
    async fn term(&self, fence: Fence, watching: &Watching) {
        let Watching { sampler, wakes, .. } = watching;
        let config = Config::default().concurrency(CONCURRENCY);
        let (store, writer) = reflector::store();
        let policies = Roster::new(store.clone());
        let reconciler = Arc::new(self.reconciler(fence.clone(), watching, policies.clone()));
        let seen = self
            .settings
            .scope
            .events(&self.client, &self.failures)
            .inspect_ok(meets(&policies, &watching.registry, self.clock))
            .reflect(writer)
            .applied_objects();
        let controller = Controller::for_stream(seen, store.clone()).with_config(config);
        let tasks = [
            tokio::spawn(forward(sampler.clone(), policies.clone(), wakes.clone())),
            tokio::spawn(wake_all(self.lease_stop.clone(), policies, wakes.clone())),
            tokio::spawn(gone::sweep(Arc::clone(&reconciler))),
        ];
        let failures = self.failures.clone();
        let running = controller
            .reconcile_on(wakes.stream())
            .graceful_shutdown_on(until(self.stop.clone()))
            .run(looked, failed, reconciler)
            .for_each(|told| {
                failures.told(&told);
                std::future::ready(())
            });
        self.health.leads(true);
        tokio::select! {
            () = running => {}
            () = fence.lost() => tracing::warn!("the lease is lost: nothing more is changed by this process"),
            () = self.overstayed() => tracing::warn!("what was under way did not finish in time"),
        }
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }

    async fn overstayed(&self) {
        until(self.stop.clone()).await;
        tokio::time::sleep(STOP_PATIENCE).await;
    }

    fn reconciler(&self, fence: Fence, watching: &Watching, policies: Roster) -> Reconciler<Outside> {
        let sampler = watching.sampler.clone();
        let install = format!("{}/{}", self.settings.lease.namespace, self.settings.lease.name);
        let reader = Reader::new(self.client.clone(), self.clock);
        let writer = Writer::new(self.client.clone(), self.clock, self.settings.lease.identity.clone());
        let sentinels = Sentinels::default();
        let observer = Observer {
            reader: reader.clone(),
            sampler: sampler.clone(),
            clock: self.clock,
            lately: self.lately.clone(),
            nodes: self.nodes.clone(),
            sentinels: sentinels.clone(),
            proxies: Proxies::default(),
        };
        Reconciler {
            world: Outside {
                observer,
                registry: Arc::clone(&watching.registry),
                wakes: watching.wakes.clone(),
                policies,
                overload: self.overload.clone(),
                metrics: self.metrics.clone(),
            },
            executor: Executor {
                ports: Live { writer, reader, sampler, sentinels, fence, clock: self.clock },
                endpoint_sync: self.settings.endpoint_sync,
            },
            settings: self.settings.plan,
            limits: ClusterLimits {
                remediations: self.settings.maximum_remediations,
                restarts_per_hour: self.settings.maximum_restarts_per_hour,
            },
            cluster_budget: ClusterBudget::default(),
            reverts: Arc::clone(&self.reverts),
            stop: Stop { flag: self.settings.stop, annotation: self.lease_stop.clone(), lease: install.clone() },
            metrics: self.metrics.clone(),
            backoff: Backoff::default(),
            memory: Memory::default(),
            install,
        }
    }
}

/// Completes when the Lease is seen to be held by another process.
async fn another_leads(mut holder: watch::Receiver<Holder>) {
    if holder.wait_for(|holder| *holder == Holder::Another).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Turns the sampler's changes, which name a policy by UID, into what the controller understands.
async fn forward(sampler: SamplerHandle, policies: Roster, wakes: Wakes) {
    let mut changes = Box::pin(sampler.changes());
    while let Some((_, uid)) = changes.next().await {
        if let Some(policy) = policies.named(&uid) {
            wakes.wake(policy);
        }
    }
}

/// Each policy is known to the others, and its pods are watched, from when it is first seen.
fn meets(policies: &Roster, registry: &Arc<Registry>, clock: Clock) -> impl FnMut(&Event<Guarded>) + Send + 'static {
    let (policies, registry) = (policies.clone(), Arc::clone(registry));
    move |event| {
        policies.told(event);
        if let Event::Apply(policy) | Event::InitApply(policy) = event {
            registry.met(policy, clock.uptime());
        }
    }
}

/// Every policy is looked at when people stop the operator, or let it go on.
async fn wake_all(mut stop: watch::Receiver<bool>, policies: Roster, wakes: Wakes) {
    while stop.changed().await.is_ok() {
        for policy in policies.all().into_values() {
            wakes.wake(policy);
        }
    }
}

async fn looked(policy: Arc<Guarded>, reconciler: Arc<Reconciler<Outside>>) -> Result<Action, ReconcileError> {
    let again = turn::timed(policy, reconciler).await?;
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that the controller calls")]
fn failed(policy: Arc<Guarded>, error: &ReconcileError, reconciler: Arc<Reconciler<Outside>>) -> Action {
    Action::requeue(turn::failed(&policy, error, &reconciler))
}
