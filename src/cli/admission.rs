//! `admission`: a ValidatingAdmissionPolicy that refuses Redis workloads whose limit is too small for their maxmemory.

use std::process::ExitCode;

use super::{check::COULD_NOT_LOOK, lint::RuleArgs, output};
use crate::domain::quantity;

/// The policy and its binding; what stands between at-signs is put in.
const POLICY: &str = include_str!("admission/policy.yaml");
/// Its name where none is given.
const NAME: &str = "redis-memory-headroom";

/// Arguments of `admission`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Begin with --action warn: kubectl then shows the message and lets the workload in.
  redis-memory-operator admission --action warn | kubectl apply -f -
The chart installs the same with --set admission.enabled=true.")]
pub(super) struct Args {
    #[command(flatten)]
    rule: RuleArgs,
    /// What happens to a workload whose limit is too small.
    #[arg(long, value_enum, default_value_t = Action::Deny)]
    action: Action,
    /// The name of the policy and its binding.
    #[arg(long, default_value = NAME, value_parser = name)]
    name: String,
    /// Print the Helm template of the chart instead of the plain manifests.
    #[arg(long, hide = true, conflicts_with_all = ["percent", "minimum", "action", "name"])]
    chart: bool,
}

/// What happens to a workload whose limit is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Action {
    /// It is refused.
    Deny,
    /// It is let in, with a warning to the person and a note in the audit log.
    Warn,
}

impl Action {
    const fn actions(self) -> &'static str {
        match self {
            Self::Deny => "[Deny]",
            Self::Warn => "[Warn, Audit]",
        }
    }
}

/// Prints the policy and its binding.
pub(super) fn main(args: &Args) -> ExitCode {
    let text = if args.chart { chart() } else { manifests(args) };
    match output::answer(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&format!("cannot write: {error}"), COULD_NOT_LOOK),
    }
}

fn manifests(args: &Args) -> String {
    let rule = args.rule.headroom();
    filled(&args.name, "", &rule.percent.to_string(), &quantity::format(rule.minimum), args.action.actions())
}

fn filled(name: &str, labels: &str, percent: &str, minimum: &str, actions: &str) -> String {
    POLICY
        .replace("@NAME@", name)
        .replace("@LABELS@", labels)
        .replace("@PERCENT@", percent)
        .replace("@MINIMUM@", minimum)
        .replace("@ACTIONS@", actions)
}

/// The same in the chart's switches and values.
fn chart() -> String {
    const HEAD: &str = "{{- /* Generated from src/cli/admission/policy.yaml by `make generate`. Do not edit. */}}\n";
    const ACTIONS: &str = r#"{{ eq $admission.action "Warn" | ternary "[Warn, Audit]" "[Deny]" }}"#;
    const LABELS: &str = "  labels:\n    {{- include \"rmo.labels\" . | nindent 4 }}\n";
    // Bound to every namespace, or to those of the install.
    const WHERE: &str = r"
  {{- with .Values.watchNamespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
  {{- end }}";
    let actions = format!("{ACTIONS}{WHERE}");
    let policy = filled("{{ $name }}", LABELS, "{{ int $admission.percent }}", "{{ $admission.minimum }}", &actions);
    format!(
        "{HEAD}{{{{- $admission := .Values.admission | default dict }}}}\n{{{{- if $admission.enabled }}}}\n\
         {{{{- $name := printf \"%s-headroom\" (include \"rmo.fullname\" .) }}}}\n{policy}{{{{- end }}}}\n"
    )
}

/// A name of an object of the cluster.
fn name(text: &str) -> Result<String, String> {
    let label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let fits = text.len() <= 253 && text.split('.').all(label);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("is no name of an object; write for example redis-memory-headroom".to_owned())
    }
}
