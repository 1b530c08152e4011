//! What `check` found, as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{
    assess::{
        fragmentation::{Cause, Verdict},
        headroom::HeadroomVerdict,
    },
    domain::{
        bytes::Bytes,
        duration,
        finding::{Finding, Severity, advice},
        sample::{Engine, Role, Sample},
    },
};

/// Everything that `check` says. Bytes are numbers, ratios are whole percent; the names are stable.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    server: String,
    engine: &'static str,
    version: String,
    run_id: String,
    role: String,
    replicas: Vec<String>,
    uptime_seconds: u64,
    keys: u64,
    used_bytes: u64,
    rss_bytes: u64,
    waste_bytes: u64,
    fragmentation_percent: u32,
    maxmemory_bytes: u64,
    maxmemory_policy: String,
    allocator: String,
    causes: Causes,
    expected_gain_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    headroom: Option<Headroom>,
    persistence: Persistence,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentinel_seen: Option<bool>,
    notes: Vec<String>,
    findings: Vec<Shown>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Causes {
    dominant: &'static str,
    purgeable_bytes: u64,
    fragmented_bytes: u64,
    other_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Headroom {
    limit_bytes: u64,
    needed_bytes: u64,
    sufficient: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Persistence {
    append_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    save: Option<String>,
    status_ok: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    severity: String,
    code: &'static str,
    evidence: String,
    remedy: String,
    #[serde(skip)]
    rank: Severity,
}

impl Report {
    pub(super) fn new(
        server: &str,
        sample: &Sample,
        fragmentation: &Verdict,
        headroom: HeadroomVerdict,
        findings: &[Finding],
    ) -> Self {
        let memory = &sample.memory;
        let replicas = sample.replication.replicas.iter().map(|line| {
            let state = if line.online { "online" } else { "not online" };
            format!("{} ({state})", line.address)
        });
        Self {
            server: server.to_owned(),
            engine: engine(sample.server.engine),
            version: sample.server.version.to_string(),
            run_id: sample.run_id.to_string(),
            role: role(&sample.replication.role),
            replicas: replicas.collect(),
            uptime_seconds: sample.server.uptime.as_secs(),
            keys: sample.keys,
            used_bytes: memory.used.0,
            rss_bytes: memory.rss.0,
            waste_bytes: memory.waste().0,
            fragmentation_percent: memory.ratio.0,
            maxmemory_bytes: memory.maxmemory.0,
            maxmemory_policy: memory.maxmemory_policy.clone(),
            allocator: memory.allocator.clone(),
            causes: Causes {
                dominant: cause(fragmentation.cause),
                purgeable_bytes: fragmentation.purgeable.0,
                fragmented_bytes: fragmentation.fragmented.0,
                other_bytes: fragmentation.other.0,
            },
            expected_gain_bytes: fragmentation.expected_gain.0,
            headroom: shown_headroom(headroom),
            persistence: Persistence {
                append_only: sample.persistence.aof_enabled,
                save: sample.config.as_ref().ok().map(|config| config.save.clone()),
                status_ok: !sample.persistence_fails(),
            },
            sentinel_seen: sample.sentinel_seen,
            notes: notes(sample, fragmentation),
            findings: findings.iter().map(shown).collect(),
        }
    }

    /// The worst severity; `Info` when nothing was found.
    pub(super) fn worst(&self) -> Severity {
        self.findings.iter().map(|finding| finding.rank).max().unwrap_or(Severity::Info)
    }

    pub(super) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        for (name, value) in self.rows() {
            line(&mut out, &format!("{name:<20}{value}"));
        }
        for note in &self.notes {
            line(&mut out, &format!("{:<20}{note}", "note"));
        }
        line(&mut out, "");
        if self.findings.is_empty() {
            line(&mut out, "No findings.");
        }
        for Shown { severity, code, evidence, remedy, .. } in &self.findings {
            line(&mut out, &format!("{severity:<9} {code}: {evidence}"));
            line(&mut out, &format!("{:<9} -> {remedy}", ""));
        }
        out
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let bytes = |n| Bytes(n).to_string();
        let percent = self.fragmentation_percent;
        let maxmemory = match self.maxmemory_bytes {
            0 => "not set".to_owned(),
            n => format!("{}, {}", bytes(n), self.maxmemory_policy),
        };
        let Causes { dominant, purgeable_bytes, fragmented_bytes, other_bytes } = &self.causes;
        let causes = if *dominant == cause(Cause::TotalOnly) {
            format!("not told apart by {}", self.allocator)
        } else {
            format!(
                "purgeable {}, fragmented {}, other {} (mostly {dominant})",
                bytes(*purgeable_bytes),
                bytes(*fragmented_bytes),
                bytes(*other_bytes)
            )
        };
        let mut rows =
            vec![("server", format!("{}, {} {}", self.server, self.engine, self.version)), ("role", self.role.clone())];
        if !self.replicas.is_empty() {
            rows.push(("replicas", self.replicas.join(", ")));
        }
        rows.extend([
            ("uptime", duration::format(std::time::Duration::from_secs(self.uptime_seconds))),
            ("keys", self.keys.to_string()),
            ("used", bytes(self.used_bytes)),
            ("rss", bytes(self.rss_bytes)),
            ("fragmentation", format!("{}.{:02}, waste {}", percent / 100, percent % 100, bytes(self.waste_bytes))),
            ("waste by cause", causes),
            ("restart would gain", bytes(self.expected_gain_bytes)),
            ("maxmemory", maxmemory),
        ]);
        if let Some(Headroom { limit_bytes, needed_bytes, .. }) = &self.headroom {
            rows.push(("container limit", format!("{}, needed {}", bytes(*limit_bytes), bytes(*needed_bytes))));
        }
        rows.push(("persistence", self.persistence.to_string()));
        rows
    }
}

impl std::fmt::Display for Persistence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let append_only = if self.append_only { "append-only file" } else { "no append-only file" };
        let save = match self.save.as_deref() {
            None => "save points unknown".to_owned(),
            Some("") => "no save points".to_owned(),
            Some(points) => format!("save {points}"),
        };
        let status = if self.status_ok { "last status ok" } else { "last save or rewrite FAILED" };
        write!(f, "{append_only}, {save}, {status}")
    }
}

fn line(out: &mut String, text: &str) {
    let _writing_to_a_string_cannot_fail = writeln!(out, "{}", text.trim_end());
}

/// What a reader must know to weigh the numbers.
fn notes(sample: &Sample, fragmentation: &Verdict) -> Vec<String> {
    let mut notes = Vec::new();
    if sample.server.uptime < std::time::Duration::from_secs(300) {
        notes.push("started less than 5 minutes ago: the numbers still settle".to_owned());
    }
    if let Some(reason) = &fragmentation.unknown_because {
        notes.push(format!("fragmentation is not judged: {reason}"));
    }
    if let Err(problem) = &sample.config {
        notes.push(format!("settings are not known: {}", problem.0));
    }
    if sample.has_sentinel() {
        notes.push("a Sentinel watches this server".to_owned());
    }
    notes
}

fn shown(finding: &Finding) -> Shown {
    Shown {
        severity: finding.severity.to_string(),
        code: finding.code.as_str(),
        evidence: finding.evidence.clone(),
        remedy: advice(&finding.remedy, &finding.afterwards),
        rank: finding.severity,
    }
}

fn shown_headroom(verdict: HeadroomVerdict) -> Option<Headroom> {
    let (have, need, sufficient) = match verdict {
        HeadroomVerdict::Sufficient { have, need } => (have, need, true),
        HeadroomVerdict::Insufficient { have, need } | HeadroomVerdict::NotMeasured { have, need } => {
            (have, need, false)
        }
        HeadroomVerdict::NoLimit | HeadroomVerdict::Unbounded | HeadroomVerdict::Unknown => return None,
    };
    Some(Headroom { limit_bytes: have.0, needed_bytes: need.0, sufficient })
}

fn role(role: &Role) -> String {
    match role {
        Role::Primary => "primary".to_owned(),
        Role::Unknown => "unknown".to_owned(),
        Role::Replica(link) => {
            let state = if link.link_up { "link up" } else { "link DOWN" };
            format!("replica of {} ({state})", link.primary)
        }
    }
}

const fn engine(engine: Engine) -> &'static str {
    match engine {
        Engine::Redis => "Redis",
        Engine::Valkey => "Valkey",
        Engine::KeyDb => "KeyDB",
        Engine::Dragonfly => "Dragonfly",
    }
}

const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Purgeable => "purgeable",
        Cause::Fragmented => "fragmented",
        Cause::Other => "other",
        Cause::TotalOnly => "unknown",
    }
}
