//! `lint`: manifests, rendered charts and values before they are deployed, without a cluster.

mod github;
mod inputs;
mod report;
mod sarif;

use std::{path::PathBuf, process::ExitCode};

use super::{check::COULD_NOT_LOOK, output};
use crate::{
    domain::{
        bytes::{Bytes, GIB},
        finding::Severity,
        policy::{HeadroomMethod, HeadroomRule},
        purpose::Purpose,
        quantity,
    },
    lint::{Report, Rule, lint},
};

/// Arguments of `lint`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 nothing above Info, 1 a Warning, 2 a Critical finding, 3 something could not be judged \
                        (no YAML, a template that is not rendered): the rest is shown all the same.

A chart:      helm template RELEASE CHART --values … | redis-memory-operator lint -
A kustomize:  kubectl kustomize FOLDER | redis-memory-operator lint -"
)]
pub(super) struct Args {
    /// Files, folders (every .yaml, .yml and .json in them), or - for standard input: manifests, resources of operators,
    /// values of charts. A RedisMemoryPolicy among them says the headroom of the pods that it selects.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    method: MethodArgs,
    /// What the data is for, where no policy says otherwise: which eviction policies and which persistence are findings.
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Option<Purpose>,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// The rule where no policy says another.
#[derive(Debug, clap::Args)]
pub(super) struct RuleArgs {
    /// The limit exceeds maxmemory by this many percent, where no policy says otherwise.
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(10..=400))]
    percent: u32,
    /// The limit exceeds maxmemory by at least this.
    #[arg(long, value_name = "QUANTITY", default_value = "64Mi", value_parser = amount)]
    minimum: Bytes,
}

/// How the headroom is found where no policy says so, for who has manifests only.
#[derive(Debug, clap::Args)]
pub(super) struct MethodArgs {
    /// How the headroom is found, where no policy says otherwise: fixed by --percent and --minimum, measured by the bounds of
    /// that method and --minimum, because nothing runs that could be measured.
    #[arg(long, value_enum, default_value_t = Method::Fixed)]
    method: Method,
}

/// `spec.headroom.method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// A percentage of maxmemory.
    Fixed,
    /// What servers are seen to need; of manifests the bounds.
    Measured,
}

impl MethodArgs {
    /// That rule, by this method.
    pub(super) const fn headroom(&self, rule: &RuleArgs) -> HeadroomRule {
        let method = match self.method {
            Method::Fixed => HeadroomMethod::Fixed,
            Method::Measured => HeadroomMethod::Measured,
        };
        HeadroomRule { method, ..rule.headroom() }
    }
}

impl RuleArgs {
    /// As the operator judges by a policy that says the same.
    pub(super) const fn headroom(&self) -> HeadroomRule {
        HeadroomRule {
            method: HeadroomMethod::Fixed,
            percent: self.percent,
            minimum: self.minimum,
            resize_pod: false,
            set_maxmemory: false,
            maximum_limit: None,
            requests: false,
            allow_eviction: false,
        }
    }
}

/// How the report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of a GitHub workflow.
    Github,
}

/// Looks, prints, and says by the exit code how bad it is.
pub(super) fn main(args: &Args) -> ExitCode {
    let rule = Rule { headroom: args.method.headroom(&args.rule), purpose: args.purpose };
    let (inputs, unread) = inputs::read(&args.paths);
    let mut report = lint(&inputs, &rule);
    report.problems.extend(unread);
    inputs::join_templates(&mut report.problems);
    let text = match args.output {
        Format::Text => Ok(report::text(&report)),
        Format::Json => report::json(&report),
        Format::Sarif => sarif::json(&report),
        Format::Github => Ok(github::annotations(&report)),
    };
    let print = |text: &str| output::print(args.output == Format::Text, text);
    let printed = text
        .map_err(|error| error.to_string())
        .and_then(|text| print(&text).map_err(|error| format!("the report cannot be written: {error}")));
    for problem in &report.problems {
        output::complain(&format!("{}:{}: {}", problem.place.file, problem.place.line, problem.text));
    }
    match printed {
        Ok(()) => exit_code(&report),
        Err(error) => output::failure(&error, COULD_NOT_LOOK),
    }
}

fn exit_code(report: &Report) -> ExitCode {
    match report.worst() {
        _ if !report.problems.is_empty() => ExitCode::from(COULD_NOT_LOOK),
        Severity::Info => ExitCode::SUCCESS,
        Severity::Warning => ExitCode::from(1),
        Severity::Critical => ExitCode::from(2),
    }
}

/// An amount of memory within the bounds of a policy's.
pub(super) fn amount(text: &str) -> Result<Bytes, String> {
    let bytes = quantity::parse(text).map_err(|error| error.to_string())?;
    let most = Bytes(GIB << 20);
    if bytes > Bytes::ZERO && bytes <= most {
        Ok(bytes)
    } else {
        Err(format!("is {bytes}; write more than nothing and at most {most}"))
    }
}

/// Cache, Session, Store or Queue, in any case.
pub(super) fn purpose(text: &str) -> Result<Purpose, String> {
    let all = Purpose::ALL.map(|purpose| purpose.as_str().to_lowercase()).join(", ");
    Purpose::named(text).ok_or_else(|| format!("is none; write one of: {all}"))
}
