//! `check`: one look at one Redis, without a cluster.

mod access;
mod report;
mod snapshot;

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use self::{
    access::{Access, AccessError, Login},
    report::Report,
};
use super::output;
use crate::{
    api::v1alpha1::{RedisMemoryPolicy, RedisMemoryPolicySpec},
    assess::{AssessSettings, target::Alone},
    clock::Clock,
    domain::{
        bytes::Bytes,
        duration,
        finding::{FindingCode, Severity},
        names::PodUid,
        peaks::Peaks,
        policy::Policy,
        quantity,
        sample::Sample,
        snapshot::{Observation, ProbeFailure, Target},
    },
    observe::sampler::reading_of,
    redis_io::{Connection, probe},
    validate::{self, validate},
};

/// The port of Redis.
const DEFAULT_PORT: u16 = 6379;
/// As many members as a workload may have.
const MOST_SERVERS: usize = 32;
/// Exit code: the server could not be looked at.
pub(super) const COULD_NOT_LOOK: u8 = 3;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 nothing above Info, 1 a Warning, 2 a Critical finding, 3 could not look.")]
pub(super) struct Args {
    /// The Redis: a name or an IP address, and a port (default 6379). Several: the members of one set.
    #[arg(value_name = "HOST:PORT", required = true, num_args = 1..=MOST_SERVERS)]
    servers: Vec<String>,
    #[command(flatten)]
    access: Access,
    /// The memory limit of its container, for example 2Gi, or `none`: the headroom is judged against it.
    #[arg(long, value_name = "QUANTITY", value_parser = parse_limit)]
    limit: Option<Limit>,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// The look at each server takes no longer.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    deadline: Duration,
}

/// How the report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// A snapshot, for `plan --file`.
    Yaml,
}

/// What `--limit` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// The container has no memory limit.
    None,
    /// This one.
    Of(Bytes),
}

impl Limit {
    const fn bytes(self) -> Option<Bytes> {
        match self {
            Self::None => None,
            Self::Of(bytes) => Some(bytes),
        }
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("HOST:PORT {0} has no valid port")]
    Address(String),
    #[error("cannot resolve {host}: {source}")]
    Resolve { host: String, source: std::io::Error },
    #[error("cannot resolve {0}: it has no address")]
    NoAddress(String),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("TimedOut: no complete answer within {0}")]
    TimedOut(String),
    #[error("{}: {}", .0.reason(), .0.text())]
    Probe(ProbeFailure),
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    #[error("the default policy is not valid: {0}")]
    Policy(String),
    #[error("--output yaml needs --limit, which the headroom is judged against: its quantity, or none")]
    NoLimit,
    #[error("the report cannot be written: {0}")]
    Write(String),
}

/// What came of the look at one server.
struct Checked<'a> {
    server: &'a str,
    outcome: Result<(SocketAddr, Sample), CheckError>,
}

/// Looks, prints, and says by the exit code how bad it is.
pub(super) fn main(args: &Args) -> ExitCode {
    match look_and_print(args) {
        Ok(Some(Severity::Info)) => ExitCode::SUCCESS,
        Ok(Some(Severity::Warning)) => ExitCode::from(1),
        Ok(Some(Severity::Critical)) => ExitCode::from(2),
        Ok(None) => ExitCode::from(COULD_NOT_LOOK),
        Err(error) => output::failure(&error.to_string(), COULD_NOT_LOOK),
    }
}

/// The worst severity; `None`: a server could not be looked at, which has been said.
fn look_and_print(args: &Args) -> Result<Option<Severity>, CheckError> {
    if args.output == Format::Yaml && args.limit.is_none() {
        return Err(CheckError::NoLimit);
    }
    let clock = Clock::start();
    let looks = looks(args, &clock)?;
    for Checked { server, outcome } in &looks {
        if let Err(error) = outcome {
            output::complain(&format!("cannot look at {server}: {error}"));
        }
    }
    let mut worst = looks.iter().all(|look| look.outcome.is_ok()).then_some(Severity::Info);
    let mut texts = Vec::new();
    for (server, address, sample) in looks.iter().filter_map(Checked::seen) {
        let report = judge(args, server, address, sample, &clock)?;
        worst = worst.map(|worst| worst.max(report.worst()));
        match args.output {
            Format::Table => texts.push(report.table()),
            Format::Json => texts.push(report.json().map_err(|error| CheckError::Write(error.to_string()))?),
            Format::Yaml => {}
        }
    }
    if args.output == Format::Yaml && looks.iter().any(|look| look.outcome.is_ok()) {
        texts.push(snapshot::file(&looks, args.limit.and_then(Limit::bytes), &clock)?);
    }
    let for_people = args.output == Format::Table;
    output::print(for_people, &texts.join("\n")).map_err(|error| CheckError::Write(error.to_string()))?;
    Ok(worst)
}

impl<'a> Checked<'a> {
    fn seen(&self) -> Option<(&'a str, SocketAddr, &Sample)> {
        self.outcome.as_ref().ok().map(|(address, sample)| (self.server, *address, sample))
    }
}

fn looks<'a>(args: &'a Args, clock: &Clock) -> Result<Vec<Checked<'a>>, CheckError> {
    let login = args.access.login()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CheckError::Runtime)?;
    let look_at = async |server: &'a String| {
        let look = tokio::time::timeout(args.deadline, look(args, server, &login, clock)).await;
        let late = || CheckError::TimedOut(duration::format(args.deadline));
        Checked { server, outcome: look.unwrap_or_else(|_| Err(late())) }
    };
    Ok(runtime.block_on(futures::future::join_all(args.servers.iter().map(look_at))))
}

/// One sample from the first of the server's addresses that accepts a connection.
async fn look(args: &Args, server: &str, login: &Login, clock: &Clock) -> Result<(SocketAddr, Sample), CheckError> {
    let credentials = login.credentials(split(server)?.0)?;
    let mut outcome = Err(CheckError::NoAddress(server.to_owned()));
    for address in resolve(server).await? {
        let opened = Connection::open(address, credentials.as_ref(), args.deadline).await;
        let mut connection = match opened.map_err(ProbeFailure::from) {
            Ok(connection) => connection,
            Err(failure @ ProbeFailure::Unreachable(_)) => {
                outcome = Err(CheckError::Probe(failure));
                continue;
            }
            Err(failure) => return Err(CheckError::Probe(failure)),
        };
        let sample = probe(&mut connection, &PodUid::default(), clock, args.deadline).await;
        return sample.map(|sample| (address, sample)).map_err(CheckError::Probe);
    }
    outcome
}

async fn resolve(server: &str) -> Result<Vec<SocketAddr>, CheckError> {
    let (host, port) = split(server)?;
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|source| CheckError::Resolve { host: host.to_owned(), source })?;
    Ok(found.collect())
}

/// Host and port: `redis`, `redis:6380`, `10.0.0.1:6379`, `::1`, `[::1]:6379`.
fn split(server: &str) -> Result<(&str, u16), CheckError> {
    let unbracketed = server.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(server);
    if unbracketed.parse::<IpAddr>().is_ok() {
        return Ok((unbracketed, DEFAULT_PORT));
    }
    let Some((host, port)) = server.rsplit_once(':') else { return Ok((server, DEFAULT_PORT)) };
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match port.parse() {
        Ok(port) if port > 0 && !host.is_empty() => Ok((host, port)),
        _ => Err(CheckError::Address(server.to_owned())),
    }
}

/// Judges the sample as the operator would with a default policy, but at once: one sample is all there is.
fn judge(args: &Args, server: &str, address: SocketAddr, sample: &Sample, clock: &Clock) -> Result<Report, CheckError> {
    let policy = policy()?;
    let target = Target {
        pod: snapshot::stand_in(server, address, args.limit.and_then(Limit::bytes)),
        history: vec![reading_of(sample)],
        peaks: Peaks::default(),
        redis: Observation::Seen(Box::new(sample.clone())),
    };
    let settings = AssessSettings { warm_up: Duration::ZERO, ..AssessSettings::default() };
    let now = clock.now();
    let Alone { fragmentation, headroom, mut findings } = Alone::of(&policy, &target, now, &settings);
    if args.limit.is_none() {
        // Not said is not the same as not there.
        findings.retain(|finding| finding.code != FindingCode::LimitMissing);
    }
    Ok(Report::new(server, sample, &fragmentation, headroom, &findings))
}

/// The default policy, judging at once, with remedies that a person carries out.
fn policy() -> Result<Policy, CheckError> {
    let mut policy =
        validate(&default_policy()?).map_err(|problems| CheckError::Policy(validate::in_words(&problems)))?;
    policy.fragmentation.sustained = Duration::ZERO;
    (policy.headroom.resize_pod, policy.headroom.set_maxmemory) = (false, false);
    Ok(policy)
}

/// The policy that judges where none is written.
fn default_policy() -> Result<RedisMemoryPolicy, CheckError> {
    let spec: Result<RedisMemoryPolicySpec, _> =
        serde_json::from_value(serde_json::json!({"selector": {"matchLabels": {"app": "redis"}}}));
    let mut policy = RedisMemoryPolicy::new("check", spec.map_err(|error| CheckError::Policy(error.to_string()))?);
    policy.metadata.namespace = Some("default".to_owned());
    Ok(policy)
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit::None);
    }
    quantity::parse(text).map(Limit::Of).map_err(|error| error.to_string())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = duration::parse(text).map_err(|error| error.to_string())?;
    if parsed.is_zero() { Err("is zero; write for example 5s".to_owned()) } else { Ok(parsed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("redis", ("redis", 6379))]
    #[case("redis:6380", ("redis", 6380))]
    #[case("10.0.0.1", ("10.0.0.1", 6379))]
    #[case("10.0.0.1:7000", ("10.0.0.1", 7000))]
    #[case("::1", ("::1", 6379))]
    #[case("[::1]", ("::1", 6379))]
    #[case("[fd00::1]:7000", ("fd00::1", 7000))]
    fn reads_host_and_port(#[case] text: &str, #[case] parts: (&str, u16)) {
        assert_eq!(split(text).unwrap(), parts);
    }

    #[rstest]
    #[case("redis:")]
    #[case("redis:0")]
    #[case("redis:70000")]
    #[case(":6379")]
    fn refuses_what_has_no_port(#[case] text: &str) {
        assert!(split(text).is_err());
    }

    #[test]
    fn the_default_policy_is_valid_and_judges_at_once() {
        let policy = policy().unwrap();
        assert_eq!(policy.fragmentation.sustained, Duration::ZERO);
    }
}
