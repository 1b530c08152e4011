//! What `lint` found, as text for people and as JSON for programs.

use serde::Serialize;

use super::super::layout::{line, paragraph};
use crate::{
    domain::{bytes::Bytes, finding::Severity, policy::HeadroomMethod, purpose::Purpose},
    lint::{Judged, Known, Report},
};

/// For people.
pub(super) fn text(report: &Report) -> String {
    let mut out = String::new();
    for judged in &report.judged {
        server(&mut out, judged);
        line(&mut out, "");
    }
    paragraph(&mut out, "", "", &summary(report));
    out
}

fn server(out: &mut String, judged: &Judged) {
    line(out, &format!("{}:{}", judged.place.file, judged.place.line));
    let product = judged.product.map(|product| format!(", {product}")).unwrap_or_default();
    line(out, &format!("  {}, {}{product}", judged.object, judged.container));
    if let Some(source) = &judged.source {
        line(out, &format!("  rendered from {source}"));
    }
    paragraph(out, "  ", "  ", &numbers(judged));
    if let Some(policy) = &judged.policy {
        line(out, &format!("  by RedisMemoryPolicy {policy}: {}", rule(judged)));
    }
    for finding in &judged.findings {
        let first = format!("  {:<9} {}: ", finding.severity.to_string(), finding.code);
        paragraph(out, &first, "            ", &finding.evidence);
        paragraph(out, "            -> ", "               ", &finding.remedy);
    }
    for note in judged.notes() {
        paragraph(out, "  note      ", "            ", &note);
    }
    if judged.findings.is_empty() && judged.notes().is_empty() {
        line(out, "  nothing found");
    }
}

fn rule(judged: &Judged) -> String {
    let headroom = &judged.rule.headroom;
    let purpose = judged.rule.purpose.map(|purpose| format!(", purpose {purpose}")).unwrap_or_default();
    let method = match headroom.method {
        HeadroomMethod::Fixed => format!("{} % above maxmemory", headroom.percent),
        HeadroomMethod::Measured => "method Measured by its bounds above maxmemory (nothing runs here)".to_owned(),
    };
    format!("{method}, at least {}{purpose}", headroom.minimum)
}

fn numbers(judged: &Judged) -> String {
    let amount = |amount: Option<Bytes>| amount.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string());
    let maxmemory = match &judged.maxmemory {
        Known::Is(Bytes::ZERO) => "not set".to_owned(),
        Known::Is(bytes) => match &judged.eviction {
            Known::Is(policy) => format!("{bytes} {policy}"),
            Known::Not(_) => bytes.to_string(),
        },
        Known::Not(_) => "not known".to_owned(),
    };
    let persists = match judged.persists {
        Known::Is(true) => ", persists",
        Known::Is(false) => ", persists nothing",
        Known::Not(_) => "",
    };
    let read = if judged.read.is_empty() { String::new() } else { format!(" (from {})", judged.read.join(", ")) };
    let (limit, request) = (amount(judged.limit), amount(judged.request));
    format!("limit {limit}, request {request}, maxmemory {maxmemory}{persists}{read}")
}

fn summary(report: &Report) -> String {
    let count = |severity| {
        let all = report.judged.iter().flat_map(|judged| &judged.findings);
        all.filter(|finding| finding.severity == severity).count()
    };
    let problems = match report.problems.len() {
        0 => String::new(),
        1 => "; 1 thing could not be judged".to_owned(),
        n => format!("; {n} things could not be judged"),
    };
    format!(
        "{} in {}: {} Critical, {} Warning, {} Info{problems}",
        counted(report.judged.len(), "Redis server"),
        counted(report.objects, "object"),
        count(Severity::Critical),
        count(Severity::Warning),
        count(Severity::Info),
    )
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The whole report. Bytes are numbers; what is not known is left out, and `notes` say why; the names are stable.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    objects: usize,
    servers: Vec<Server<'a>>,
    problems: Vec<Unjudged<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Server<'a> {
    file: &'a str,
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    object: &'a str,
    container: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    /// Absent: Fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    headroom_method: Option<&'static str>,
    /// Of method Fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    headroom_percent: Option<u32>,
    headroom_minimum_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxmemory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxmemory_policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    persists: Option<bool>,
    read: &'a [String],
    notes: Vec<String>,
    findings: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    severity: &'static str,
    code: &'static str,
    evidence: &'a str,
    remedy: &'a str,
}

#[derive(Serialize)]
struct Unjudged<'a> {
    file: &'a str,
    line: usize,
    text: &'a str,
}

/// For programs.
pub(super) fn json(report: &Report) -> Result<String, serde_json::Error> {
    let shown = Shown {
        objects: report.objects,
        servers: report.judged.iter().map(shown).collect(),
        problems: report
            .problems
            .iter()
            .map(|problem| Unjudged { file: &problem.place.file, line: problem.place.line, text: &problem.text })
            .collect(),
    };
    serde_json::to_string_pretty(&shown).map(|text| text + "\n")
}

fn shown(judged: &Judged) -> Server<'_> {
    let found = judged.findings.iter().map(|finding| Found {
        severity: finding.severity.as_str(),
        code: finding.code.as_str(),
        evidence: &finding.evidence,
        remedy: &finding.remedy,
    });
    let measured = judged.rule.headroom.method == HeadroomMethod::Measured;
    Server {
        file: &judged.place.file,
        line: judged.place.line,
        source: judged.source.as_deref(),
        object: &judged.object,
        container: &judged.container,
        product: judged.product,
        policy: judged.policy.as_deref(),
        headroom_method: measured.then_some("Measured"),
        headroom_percent: (!measured).then_some(judged.rule.headroom.percent),
        headroom_minimum_bytes: judged.rule.headroom.minimum.0,
        purpose: judged.rule.purpose.map(Purpose::as_str),
        limit_bytes: judged.limit.map(|bytes| bytes.0),
        request_bytes: judged.request.map(|bytes| bytes.0),
        maxmemory_bytes: judged.maxmemory.get().map(|bytes| bytes.0),
        maxmemory_policy: judged.eviction.get().map(String::as_str),
        persists: judged.persists.get().copied(),
        read: &judged.read,
        notes: judged.notes(),
        findings: found.collect(),
    }
}
