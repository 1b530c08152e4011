//! A Redis server that the input makes, before it is judged.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Place, Problem, Report,
    documents::{self, Object},
    lines::Step,
    stated, value, workloads,
};
use crate::domain::{bytes::Bytes, pod::Mount, quantity, recognition::Deployment, start::Settings};

/// The labels of pods.
pub(super) type Labels = BTreeMap<String, String>;

/// A Redis server that the input makes.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) place: Place,
    pub(super) source: Option<String>,
    pub(super) object: String,
    pub(super) container: String,
    pub(super) product: Option<&'static Deployment>,
    pub(super) namespace: Option<String>,
    /// The labels of its pods; `None`: not known.
    pub(super) labels: Option<Labels>,
    pub(super) limit: Option<Bytes>,
    pub(super) request: Option<Bytes>,
    /// What it starts with.
    pub(super) settings: Settings,
    /// Why something may be set that is not seen.
    pub(super) open_because: String,
    /// What the settings were read from.
    pub(super) read: Vec<String>,
    /// Its volumes; `None`: not known, or others hold the data too.
    pub(super) alone_on: Option<Vec<Mount>>,
    /// Where it writes, if nothing sets another `dir`; `None`: not known.
    pub(super) dir: Option<&'static str>,
}

/// Every Redis server of the input.
pub(super) fn servers(objects: &[Object<'_>], report: &mut Report) -> Vec<Server> {
    let mut servers = Vec::new();
    let parts = workloads::Parts::of(objects);
    for object in objects {
        let before = (servers.len(), report.problems.len());
        if object.kind().is_empty() {
            servers.extend(stated::values(object, &parts, report));
            if object.named() && before == (servers.len(), report.problems.len()) {
                report.problems.push(unknown(object));
            }
        } else if let Some(found) = stated::resource(object, &parts, report) {
            servers.extend(found);
        } else {
            servers.extend(workloads::servers(object, &parts, report));
        }
    }
    servers
}

fn unknown(object: &Object<'_>) -> Problem {
    let what = if documents::is_stdin(object.file()) { "input" } else { "file" };
    object.problem(
        &[],
        format!(
            "neither a Kubernetes object (it has no kind) nor values of a chart that is known; for another chart's {what}: \
             helm template RELEASE CHART --values … | redis-memory-operator lint -"
        ),
    )
}

/// The memory amounts of a `resources`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amounts {
    pub(super) limit: Option<Bytes>,
    pub(super) request: Option<Bytes>,
}

impl Amounts {
    /// Of the `resources` at that path of an object. What cannot be read is a problem, and then nothing is known of it:
    /// `Err`.
    pub(super) fn of(
        resources: &Value,
        object: &Object<'_>,
        path: &[Step<'_>],
        report: &mut Report,
    ) -> Result<Self, ()> {
        let limit = amount(resources, "limits", object, path, report)?;
        // The API server's default: what is limited is asked for.
        let request = amount(resources, "requests", object, path, report)?.or(limit);
        Ok(Self { limit, request })
    }
}

fn amount(
    resources: &Value,
    which: &'static str,
    object: &Object<'_>,
    path: &[Step<'_>],
    report: &mut Report,
) -> Result<Option<Bytes>, ()> {
    let Some(written) = value::at(resources, which).and_then(|amounts| value::at(amounts, "memory")) else {
        return Ok(None);
    };
    let text = value::plain(written).unwrap_or_else(|| written.to_string());
    quantity::parse(&text).map(Some).map_err(|error| {
        let path: Vec<Step<'_>> = path.iter().copied().chain([Step::Field(which), Step::Field("memory")]).collect();
        let said = if text.contains("{{") {
            documents::TEMPLATE.to_owned()
        } else {
            format!("{}: {which}.memory `{text}` {error}", object.title())
        };
        report.problems.push(Problem { template: text.contains("{{"), ..object.problem(&path, said) });
    })
}
