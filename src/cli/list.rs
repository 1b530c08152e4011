//! What the verbs that list have in common: of which namespaces, how it is shown, and why nothing can be.

use std::{io, process::ExitCode};

use kube::ResourceExt as _;
use serde::Serialize;

use super::{
    check::COULD_NOT_LOOK,
    cluster::{self, CannotAsk, Cluster},
    layout, output, yaml,
};
use crate::api::v1alpha1::RedisMemoryPolicy;

/// What is said where there is no policy to list.
pub(super) const NONE: &str = "no RedisMemoryPolicy here (another namespace: -n, all of them: -A)\n";

/// The flags of a list.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Every namespace.
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    pub(super) all_namespaces: bool,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Shown::Text)]
    pub(super) output: Shown,
    /// Tables without the line of column names.
    #[arg(long)]
    no_headers: bool,
}

/// How a list is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Shown {
    /// For people.
    Text,
    /// For people, with more columns and lines as long as they are.
    Wide,
    /// Only the names, as kubectl takes them.
    Name,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// Why nothing could be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotShow {
    #[error(transparent)]
    Cluster(#[from] CannotAsk),
    #[error(
        "no remediation of a set {set} has ended; {}",
        if there.is_empty() { "none of any set has".to_owned() } else { format!("there are those of: {}", there.join(", ")) }
    )]
    NoSuchSet { set: String, there: Vec<String> },
    #[error("cannot write: {0}")]
    Write(String),
}

impl Shown {
    /// Whether people read it.
    pub(super) fn is_for_people(self) -> bool {
        matches!(self, Self::Text | Self::Wide)
    }

    /// Prints it; what programs read is never coloured.
    pub(super) fn print(self, text: &str) -> io::Result<()> {
        output::print(self.is_for_people(), text)
    }
}

impl ListArgs {
    /// Looks and prints what comes of it. `what`: what could not be done, for the message.
    pub(super) fn show(&self, what: &str, look: impl Future<Output = Result<String, CannotShow>>) -> ExitCode {
        match cluster::ask(look)
            .and_then(|text| self.output.print(&text).map_err(|error| CannotShow::Write(error.to_string())))
        {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => output::failure(&format!("cannot {what}: {error}"), COULD_NOT_LOOK),
        }
    }

    /// The policies that are meant. Those that cannot be read are named on standard error.
    pub(super) async fn policies(&self, cluster: &Cluster) -> Result<Vec<RedisMemoryPolicy>, CannotAsk> {
        let (policies, unreadable) = cluster.listed(self.all_namespaces).await?;
        for unreadable in unreadable {
            output::complain(&format!("RedisMemoryPolicy {} cannot be read: {}", unreadable.name, unreadable.text));
        }
        Ok(policies)
    }

    /// What was found, as these flags say: a table (of more columns where `rows` is told so), names, or the thing itself.
    pub(super) fn shown<T: Serialize>(
        &self,
        found: &T,
        names: impl Iterator<Item = String>,
        rows: impl FnOnce(bool) -> Vec<Vec<String>>,
    ) -> Result<String, String> {
        match self.output {
            Shown::Text | Shown::Wide => Ok(self.table(&rows(self.output == Shown::Wide))),
            Shown::Name => Ok(one_a_line(names)),
            Shown::Json => json(found),
            Shown::Yaml => yaml(found),
        }
    }

    /// A table; the first of the rows names its columns.
    fn table(&self, rows: &[Vec<String>]) -> String {
        let mut out = String::new();
        let rows = rows.get(usize::from(self.no_headers)..).unwrap_or_default();
        if self.output == Shown::Wide {
            layout::wide_table(&mut out, rows);
        } else {
            layout::table(&mut out, rows);
        }
        out
    }
}

fn one_a_line(names: impl Iterator<Item = String>) -> String {
    let mut out = String::new();
    for name in names {
        layout::line(&mut out, &name);
    }
    out
}

/// The name by which kubectl takes a policy.
pub(super) fn policy(policy: &RedisMemoryPolicy) -> String {
    policy_named(&policy.name_any())
}

/// The same of the policy that has this name.
pub(super) fn policy_named(name: &str) -> String {
    format!("redismemorypolicy.redismemory.io/{name}")
}

/// As JSON, ending in a newline.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| error.to_string())
}

/// As YAML.
pub(super) fn yaml<T: Serialize>(value: &T) -> Result<String, String> {
    yaml::to_string(value).map_err(|error| error.to_string())
}
