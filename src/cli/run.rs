//! `run`: the operator in a cluster.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    admin::{Access, Scrapers},
    assess::AssessSettings,
    clock::Clock,
    controller::{
        run::{self, Settings},
        scope::Scope,
    },
    domain::{
        duration,
        switchover::{SwitchoverChoice, SwitchoverMethod},
    },
    kube_io::lease::LeaseParams,
    observe::sampler::SamplerSettings,
    plan::PlanSettings,
};

/// Arguments of `run`. The timing flags exist for tests: they are facts of the process, not of a policy. A flag that
/// is given twice has its last value, so that a chart's more arguments can change what the chart sets.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub(super) struct Args {
    /// Where /metrics is served. [::] is every address, IPv4 and IPv6.
    #[arg(long, env = "RMO_LISTEN", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Directory with tls.crt and tls.key, as a Secret of type kubernetes.io/tls is mounted: /metrics is served by TLS. The files
    /// are read again when they change.
    #[arg(long, env = "RMO_METRICS_TLS", value_name = "DIRECTORY")]
    metrics_tls: Option<PathBuf>,
    /// Who may read /metrics. token: whose token the API server lets get the path /metrics; certificate: who has one of an
    /// authority in ca.crt beside the other files. Both need --metrics-tls.
    #[arg(long, env = "RMO_METRICS_CLIENTS", default_value = "anyone")]
    metrics_clients: MetricsClients,
    /// Where /livez and /readyz are served: a port of their own, so that no crowd of scrapers takes the kubelet's place.
    #[arg(long, env = "RMO_HEALTH_LISTEN", default_value = "[::]:8081")]
    health_listen: SocketAddr,
    /// Only the policies of these namespaces, with commas between them: no right on the whole cluster is needed. Default:
    /// every namespace.
    #[arg(
        long,
        env = "RMO_WATCH_NAMESPACES",
        default_value = "",
        hide_default_value = true,
        value_name = "NAMESPACES"
    )]
    watch_namespaces: Scope,
    /// Namespace of the Lease: the operator's own.
    #[arg(long, env = "RMO_LEASE_NAMESPACE", default_value = "default")]
    lease_namespace: String,
    /// Name of the Lease.
    #[arg(long, env = "RMO_LEASE_NAME", default_value = "redis-memory-operator")]
    lease_name: String,
    /// The Deployment of the operator, in the same namespace: the Lease goes with it.
    #[arg(long, env = "RMO_LEASE_OWNER")]
    lease_owner: Option<String>,
    /// Who this process is: unique among processes that run at the same time, so the pod's name. No default, because
    /// two processes of one identity would both lead.
    #[arg(long, env = "RMO_IDENTITY")]
    identity: String,
    /// How long a Lease that is not renewed stays valid.
    #[arg(long, env = "RMO_LEASE_DURATION", default_value = "15s", value_parser = between::<1_000, 600_000>)]
    lease_duration: Duration,
    /// How often the Lease is renewed.
    #[arg(long, env = "RMO_LEASE_RENEW", default_value = "5s", value_parser = between::<100, 300_000>)]
    lease_renew: Duration,
    /// Time between two samples of a Redis.
    #[arg(long, env = "RMO_SAMPLE_INTERVAL", default_value = "15s", value_parser = between::<500, 300_000>)]
    sample_interval: Duration,
    /// A Redis that started more recently is not judged for fragmentation.
    #[arg(long, env = "RMO_WARM_UP", default_value = "5m", value_parser = between::<0, 86_400_000>)]
    warm_up: Duration,
    /// A proof begins this long after a restarted Redis has caught up.
    #[arg(long, env = "RMO_PROOF_SETTLE", default_value = "60s", value_parser = between::<0, 3_600_000>)]
    proof_settle: Duration,
    /// A proof that does not hold by then has failed.
    #[arg(long, env = "RMO_PROOF_TIMEOUT", default_value = "5m", value_parser = between::<1_000, 86_400_000>)]
    proof_timeout: Duration,
    /// How long kube-proxy may take to act on a changed endpoint.
    #[arg(long, env = "RMO_ENDPOINT_SYNC", default_value = "2s", value_parser = between::<0, 60_000>)]
    endpoint_sync: Duration,
    /// How the primary role is handed over. auto: guarded where the Redis user may run CLIENT PAUSE, else native.
    #[arg(long, env = "RMO_SWITCHOVER", default_value = "auto")]
    switchover: Switchover,
    /// Remediations that may be under way at once, over all policies. 0: none is begun.
    #[arg(long, env = "RMO_MAXIMUM_REMEDIATIONS", default_value_t = 1)]
    maximum_remediations: u32,
    /// Pods that may be restarted within an hour, over all policies. Default: no bound.
    #[arg(long, env = "RMO_MAXIMUM_RESTARTS_PER_HOUR", value_parser = clap::value_parser!(u32).range(1..))]
    maximum_restarts_per_hour: Option<u32>,
    /// Disturb nothing, whatever policies say: remediations stop at their next safe boundary, limits stay as they are,
    /// role labels are kept. The annotation redismemory.io/stop="true" on the Lease does the same without a restart.
    #[arg(long, env = "RMO_STOP")]
    stop: bool,
    /// Format of the log.
    #[arg(long, env = "RMO_LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
    /// Level of the log, for example `info` or `redis_memory_operator=debug`.
    #[arg(long, env = "RMO_LOG_LEVEL", default_value = "info", value_parser = parse_level)]
    log_level: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

/// The flag `--metrics-clients`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum MetricsClients {
    Anyone,
    Token,
    Certificate,
}

impl From<MetricsClients> for Scrapers {
    fn from(flag: MetricsClients) -> Self {
        match flag {
            MetricsClients::Anyone => Self::Anyone,
            MetricsClients::Token => Self::Token,
            MetricsClients::Certificate => Self::Certificate,
        }
    }
}

/// The flag `--switchover`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Switchover {
    Auto,
    Guarded,
    Native,
}

impl From<Switchover> for SwitchoverChoice {
    fn from(flag: Switchover) -> Self {
        match flag {
            Switchover::Auto => Self::Auto,
            Switchover::Guarded => Self::Only(SwitchoverMethod::Guarded),
            Switchover::Native => Self::Only(SwitchoverMethod::Native),
        }
    }
}

/// A duration from `LEAST` to `MOST` milliseconds: outside of them the flag is a mistake, and the operator would probe
/// without a pause, or never act.
fn between<const LEAST: u64, const MOST: u64>(text: &str) -> Result<Duration, String> {
    let (least, most) = (Duration::from_millis(LEAST), Duration::from_millis(MOST));
    let given = duration::parse(text).map_err(|error| error.to_string())?;
    if (least..=most).contains(&given) {
        Ok(given)
    } else {
        Err(format!("is outside of {} to {}", duration::format(least), duration::format(most)))
    }
}

/// A filter that the log understands, checked before anything runs.
fn parse_level(text: &str) -> Result<String, String> {
    let known = EnvFilter::try_new(text).map_err(|error| error.to_string());
    // A word that names no level is taken for a module, and would silence everything else.
    let word = !text.contains(['=', ',']) && text.parse::<LevelFilter>().is_err();
    match known {
        Ok(_) if !word => Ok(text.to_owned()),
        Ok(_) => Err("is no level: write error, warn, info, debug or trace, or a filter such as \
                      info,redis_memory_operator=debug"
            .to_owned()),
        Err(error) => Err(error),
    }
}

impl Args {
    fn settings(&self) -> Settings {
        let lease = LeaseParams {
            owner: self.lease_owner.clone(),
            ..LeaseParams::new(&self.lease_namespace, &self.lease_name, &self.identity)
        }
        .timing(self.lease_duration, self.lease_renew);
        Settings {
            listen: self.listen,
            health_listen: self.health_listen,
            access: Access { tls: self.metrics_tls.clone(), scrapers: self.metrics_clients.into() },
            scope: self.watch_namespaces.clone(),
            lease,
            sampler: SamplerSettings { interval: self.sample_interval, ..SamplerSettings::default() },
            plan: PlanSettings {
                assess: AssessSettings { warm_up: self.warm_up, sample_interval: self.sample_interval },
                proof_settle: self.proof_settle,
                proof_timeout: self.proof_timeout,
                switchover: self.switchover.into(),
            },
            endpoint_sync: self.endpoint_sync,
            maximum_remediations: self.maximum_remediations,
            maximum_restarts_per_hour: self.maximum_restarts_per_hour,
            stop: self.stop,
        }
    }
}

/// Of each worker. A look is a deep call, and what is not optimised takes 2 MiB of it; what is never touched costs nothing.
const STACK: usize = 8 << 20;

pub(super) fn main(args: &Args) -> ExitCode {
    let filter = EnvFilter::try_new(&args.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    match args.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return ExitCode::FAILURE;
        }
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "redis-memory-operator starts");
    match runtime.block_on(run::run(args.settings(), Clock::start())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot go on");
            ExitCode::FAILURE
        }
    }
}
