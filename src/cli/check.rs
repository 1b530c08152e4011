//! `check`: one look at one Redis, without a cluster.

mod report;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use zeroize::Zeroizing;

use self::report::Report;
use super::output;
use crate::{
    api::v1alpha1::{RedisMemoryPolicy, RedisMemoryPolicySpec},
    assess::{self, AssessSettings},
    clock::Clock,
    domain::{
        bytes::Bytes,
        duration,
        finding::{FindingCode, Severity},
        names::{PodName, PodUid},
        pod::{Container, Pod, ResizeProgress},
        policy::Policy,
        quantity,
        sample::Sample,
        snapshot::{Observation, ProbeFailure, Target},
    },
    observe::sampler::reading_of,
    redis_io::{Connection, Credentials, probe},
    validate::validate,
};

/// The environment variable with the password.
const PASSWORD: &str = "RMO_REDIS_PASSWORD";
/// The port of Redis.
const DEFAULT_PORT: u16 = 6379;
/// Exit code: the server could not be looked at.
pub(super) const COULD_NOT_LOOK: u8 = 3;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 nothing above Info, 1 a Warning, 2 a Critical finding, 3 could not look.")]
pub(super) struct Args {
    /// The Redis: a name or an IP address, and a port (default 6379).
    #[arg(value_name = "HOST:PORT")]
    server: String,
    /// ACL user. Default: the default user.
    #[arg(long)]
    username: Option<String>,
    /// File with the password. Without it the password is taken from the environment variable `RMO_REDIS_PASSWORD`;
    /// never from the command line, which others can see.
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
    /// The memory limit of its container, for example 2Gi: the headroom is judged against it.
    #[arg(long, value_name = "QUANTITY", value_parser = parse_quantity)]
    limit: Option<Bytes>,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// The whole look takes no longer.
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
    #[error("cannot read the password file {path}: {source}")]
    PasswordFile { path: PathBuf, source: std::io::Error },
    #[error("{PASSWORD} is not valid UTF-8")]
    PasswordText,
    #[error("--username needs a password: set {PASSWORD} or --password-file")]
    NoPassword,
    #[error("TimedOut: no complete answer within {0}")]
    TimedOut(String),
    #[error("{}: {}", .0.reason(), .0.text())]
    Probe(ProbeFailure),
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    #[error("the default policy is not valid: {0}")]
    Policy(String),
    #[error("the report cannot be written: {0}")]
    Write(String),
}

/// Looks, prints, and says by the exit code how bad it is.
pub(super) fn main(args: &Args) -> ExitCode {
    match look_and_print(args) {
        Ok(Severity::Info) => ExitCode::SUCCESS,
        Ok(Severity::Warning) => ExitCode::from(1),
        Ok(Severity::Critical) => ExitCode::from(2),
        Err(error) => output::failure(&format!("cannot look at {}: {error}", args.server), COULD_NOT_LOOK),
    }
}

fn look_and_print(args: &Args) -> Result<Severity, CheckError> {
    let credentials = credentials(args)?;
    let clock = Clock::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CheckError::Runtime)?;
    let look = async {
        let late = |_| CheckError::TimedOut(duration::format(args.deadline));
        tokio::time::timeout(args.deadline, look(args, credentials.as_ref(), &clock)).await.map_err(late)?
    };
    let (address, sample) = runtime.block_on(look)?;
    let report = judge(args, address, &sample, &clock)?;
    let text = match args.output {
        Format::Table => report.table(),
        Format::Json => report.json().map_err(|error| CheckError::Write(error.to_string()))?,
    };
    output::answer(&text).map_err(|error| CheckError::Write(error.to_string()))?;
    Ok(report.worst())
}

/// One sample from the first of the server's addresses that accepts a connection.
async fn look(
    args: &Args,
    credentials: Option<&Credentials>,
    clock: &Clock,
) -> Result<(SocketAddr, Sample), CheckError> {
    let mut outcome = Err(CheckError::NoAddress(args.server.clone()));
    for address in resolve(&args.server).await? {
        let opened = Connection::open(address, credentials, args.deadline).await;
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

fn credentials(args: &Args) -> Result<Option<Credentials>, CheckError> {
    let password = match &args.password_file {
        Some(path) => Some(password_in(path)?),
        None => password_from_environment()?,
    };
    match (password, &args.username) {
        (Some(password), username) => Ok(Some(Credentials::new(username.clone(), String::clone(&password)))),
        (None, Some(_)) => Err(CheckError::NoPassword),
        (None, None) => Ok(None),
    }
}

/// The file's first line: editors end files with a newline that is no part of the password.
fn password_in(path: &Path) -> Result<Zeroizing<String>, CheckError> {
    let text = fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| CheckError::PasswordFile { path: path.to_owned(), source })?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

#[allow(clippy::disallowed_methods, reason = "clap would take it from the command line as well, which others can see")]
fn password_from_environment() -> Result<Option<Zeroizing<String>>, CheckError> {
    match std::env::var(PASSWORD) {
        Ok(password) if password.is_empty() => Ok(None),
        Ok(password) => Ok(Some(Zeroizing::new(password))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(CheckError::PasswordText),
    }
}

/// Judges the sample as the operator would with a default policy, but at once: one sample is all there is.
fn judge(args: &Args, address: SocketAddr, sample: &Sample, clock: &Clock) -> Result<Report, CheckError> {
    let policy = policy()?;
    let target = Target {
        pod: stand_in(address, args.limit),
        history: vec![reading_of(sample)],
        redis: Observation::Seen(Box::new(sample.clone())),
    };
    let settings = AssessSettings { warm_up: Duration::ZERO, ..AssessSettings::default() };
    let now = clock.now();
    let mut findings = assess::target::assess_target(&policy, &target, now, &settings);
    if args.limit.is_none() {
        // Not said is not the same as not there.
        findings.retain(|finding| finding.code != FindingCode::LimitMissing);
    }
    let fragmentation = assess::fragmentation::judge(&policy, &target, now, &settings);
    let headroom = assess::headroom::judge(&policy, &target);
    Ok(Report::new(&args.server, sample, &fragmentation, headroom, &findings))
}

/// The default policy, judging at once, with remedies that a person carries out.
fn policy() -> Result<Policy, CheckError> {
    let spec: Result<RedisMemoryPolicySpec, _> =
        serde_json::from_value(serde_json::json!({"selector": {"matchLabels": {"app": "redis"}}}));
    let spec = spec.map_err(|error| CheckError::Policy(error.to_string()))?;
    let mut policy = validate(&RedisMemoryPolicy::new("check", spec)).map_err(|problems| {
        CheckError::Policy(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    policy.fragmentation.sustained = Duration::ZERO;
    policy.headroom.resize_pod = false;
    Ok(policy)
}

/// A pod that stands in for the one that is not known.
fn stand_in(address: SocketAddr, limit: Option<Bytes>) -> Pod {
    Pod {
        name: PodName::new(address.to_string()),
        uid: PodUid::default(),
        resource_version: String::new(),
        ip: Some(address.ip().to_string()),
        host_network: false,
        dns_name: None,
        ready: true,
        terminating: false,
        running: true,
        role_label: None,
        owner: None,
        revision: None,
        grace_period: Duration::ZERO,
        container: Ok(Container {
            name: "redis".to_owned(),
            port: address.port(),
            spec_limit: limit,
            spec_request: limit,
            live_limit: limit,
            resize_restarts: false,
            started_at: None,
            restarts: 0,
        }),
        guaranteed: false,
        pod_level_resources: false,
        resize: ResizeProgress::None,
    }
}

fn parse_quantity(text: &str) -> Result<Bytes, String> {
    quantity::parse(text).map_err(|error| error.to_string())
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

    #[test]
    fn only_the_first_line_of_the_file_is_the_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "s3cr3t\nnot this\n").unwrap();
        assert_eq!(password_in(file.path()).unwrap().as_str(), "s3cr3t");
        assert!(password_in(Path::new("/nonexistent/password")).unwrap_err().to_string().contains("/nonexistent"));
    }
}
