//! What the verbs that list have in common: of which namespaces, and how it is shown.

use kube::ResourceExt as _;
use serde::Serialize;

use super::{layout, yaml};
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

impl ListArgs {
    /// A table; the first of the rows names its columns.
    pub(super) fn table(&self, rows: &[Vec<String>]) -> String {
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

/// One name a line.
pub(super) fn names(names: impl Iterator<Item = String>) -> String {
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
