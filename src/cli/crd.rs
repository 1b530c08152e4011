//! `crd`: the CustomResourceDefinition, generated from the Rust types.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde_json::Value;

use super::yaml;
use crate::api::v1alpha1;

/// Arguments of `crd`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the Helm template of the chart instead of the plain manifest.
    #[arg(long)]
    chart: bool,
}

/// Prints the CustomResourceDefinition as YAML.
pub fn main(args: &Args) -> ExitCode {
    let printed =
        manifest(args.chart).map_err(io::Error::other).and_then(|text| io::stdout().write_all(text.as_bytes()));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing more can be done when even this cannot be written.
            let _ = writeln!(io::stderr(), "cannot print the CustomResourceDefinition: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the manifest could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The types do not turn into JSON.
    #[error("the definition does not turn into JSON")]
    Json(#[from] serde_json::Error),
    /// The JSON does not turn into YAML.
    #[error("the definition does not turn into YAML")]
    Yaml(#[from] serde_yaml::Error),
}

/// The CustomResourceDefinition as YAML; for the chart as a Helm template.
pub fn manifest(chart: bool) -> Result<String, ManifestError> {
    const HEAD: &str = "# Generated from the Rust types by `make generate`. Do not edit.\n";
    let mut definition = serde_json::to_value(v1alpha1::crd())?;
    whole_numbers(&mut definition);
    let plain = yaml::to_string(&definition)?;
    Ok(if chart { format!("{HEAD}{}", templated(&plain)) } else { format!("{HEAD}{plain}") })
}

/// Bounds are floats in the Kubernetes types; `minimum: 10` reads better than `10.0`.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Number(number) => {
            // Every bound of ours is a small whole number, so the text without `.0` is exact.
            let text = number.to_string();
            if let Some(whole) = text.strip_suffix(".0").and_then(|t| t.parse::<i64>().ok()) {
                *number = whole.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Wraps the manifest in the chart's switches, and leaves a definition alone that another release has kept: Helm would
/// refuse the whole install for it. Braces of the text itself are kept from the template engine.
fn templated(plain: &str) -> String {
    const METADATA: &str = r#"metadata:
  {{- $annotations := .Values.crds.annotations | default dict }}
  {{- if .Values.crds.keep }}
  {{- $annotations = merge (dict "helm.sh/resource-policy" "keep") $annotations }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with merge dict (.Values.crds.labels | default dict) (.Values.commonLabels | default dict) }}
  labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
"#;
    let escaped = plain.replace("{{", "{{ \"{{\" }}");
    let annotated = escaped.replacen("metadata:\n", METADATA, 1);
    let wanted = r#"and .Values.crds.install (include "rmo.ownsDefinition" .)"#;
    format!("{{{{- if {wanted} }}}}\n{annotated}{{{{- end }}}}\n")
}
