//! What `lint` found, as SARIF 2.1.0 (OASIS standard of 27 March 2020): what code scanning reads.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    domain::finding::{Finding, FindingCode, Severity},
    lint::{Judged, Place, Report, STDIN},
};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The log of one run.
pub(super) fn json(report: &Report) -> Result<String, serde_json::Error> {
    let all = report.judged.iter().flat_map(|judged| judged.findings.iter().map(move |finding| (judged, finding)));
    // In the order of the catalogue: results name their rule by its place.
    let codes: BTreeSet<FindingCode> = all.clone().map(|(_, finding)| finding.code).collect();
    let codes: Vec<FindingCode> = codes.into_iter().collect();
    let results: Vec<Value> = all.map(|(judged, finding)| result(judged, finding, &codes)).collect();
    let notifications: Vec<Value> = report
        .problems
        .iter()
        .map(|problem| {
            json!({
                "level": "error",
                "message": {"text": problem.text},
                "locations": [{"physicalLocation": physical(&problem.place)}],
            })
        })
        .collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "redis-memory-operator",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().copied().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": report.problems.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&log).map(|text| text + "\n")
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn rule(code: FindingCode) -> Value {
    json!({
        "id": code.as_str(),
        "shortDescription": {"text": words(code.as_str())},
        "defaultConfiguration": {"level": level(code.severity())},
        "help": {"text": format!("docs/findings.md#{}", code.as_str().to_lowercase())},
    })
}

/// `HeadroomInsufficient` → `Headroom insufficient`.
fn words(code: &str) -> String {
    let mut out = String::new();
    for (at, c) in code.char_indices() {
        if at > 0 && c.is_ascii_uppercase() {
            out.push(' ');
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

fn result(judged: &Judged, finding: &Finding, codes: &[FindingCode]) -> Value {
    json!({
        "ruleId": finding.code.as_str(),
        "ruleIndex": codes.iter().position(|code| *code == finding.code).unwrap_or(0),
        "level": level(finding.severity),
        "message": {"text": format!("{}, {}: {}. {}", judged.object, judged.container, finding.evidence, finding.remedy)},
        "locations": [{
            "physicalLocation": physical(&judged.place),
            "logicalLocations": [{"fullyQualifiedName": format!("{}/{}", judged.object, judged.container)}],
        }],
        // Lines move; the same finding of the same container is the same alert.
        "partialFingerprints": {"server/v1": fingerprint(judged, finding)},
    })
}

fn physical(place: &Place) -> Value {
    json!({
        "artifactLocation": {"uri": uri(&place.file)},
        "region": {"startLine": place.line},
    })
}

/// A path as a relative reference of RFC 3986; an absolute one as a file URI.
fn uri(file: &str) -> String {
    if file == STDIN {
        return "stdin".to_owned();
    }
    let path = file.strip_prefix("./").unwrap_or(file);
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _writing_to_a_string_cannot_fail = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn fingerprint(judged: &Judged, finding: &Finding) -> String {
    let text = [&judged.place.file, &judged.object, &judged.container].map(String::as_str).join("\n");
    let digest = Sha256::digest(format!("{text}\n{}", finding.code));
    digest.iter().take(16).fold(String::new(), |mut out, byte| {
        let _writing_to_a_string_cannot_fail = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("a b/c.yaml", "a%20b/c.yaml")]
    #[case("./charts/x.yaml", "charts/x.yaml")]
    #[case("/srv/x.yaml", "file:///srv/x.yaml")]
    #[case("k8s/\u{e4}#1.yaml", "k8s/%C3%A4%231.yaml")]
    fn a_file_is_a_uri(#[case] file: &str, #[case] expected: &str) {
        assert_eq!(uri(file), expected);
    }
}
