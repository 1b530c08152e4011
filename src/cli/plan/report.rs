//! What `plan` says: for people as text, for programs as JSON or YAML.

use serde::Serialize;

use crate::{
    api::v1alpha1::FindingStatus,
    cli::{
        found,
        judgement::Judgement,
        layout::{line, paragraph, table},
        snapshot_file::SnapshotFile,
        steps,
    },
    domain::blocked::Blocked,
    domain::{
        finding::{Finding, advice},
        policy::{Mode, Policy},
        step::PlannedStep,
        write_gap::WriteGap,
    },
};

/// Everything that `plan` says. The names are stable.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    policy: String,
    namespace: String,
    mode: &'static str,
    observed_at: String,
    pods: usize,
    answered: usize,
    notes: Vec<String>,
    findings: Vec<Found>,
    /// The same for people.
    #[serde(skip)]
    listed: Vec<FindingStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Planned>,
    blocked: Vec<InTheWay>,
    next: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Found {
    severity: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    evidence: String,
    remedy: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    workload: String,
    hash: String,
    steps: Vec<PlannedStep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_gap: Option<WriteGap>,
}

#[derive(Debug, Serialize)]
struct InTheWay {
    reason: &'static str,
    text: String,
}

impl From<&Finding> for Found {
    fn from(finding: &Finding) -> Self {
        Self {
            severity: finding.severity.to_string(),
            code: finding.code.as_str(),
            pod: finding.pod.as_ref().map(ToString::to_string),
            evidence: finding.evidence.clone(),
            remedy: advice(&finding.remedy, &finding.afterwards),
        }
    }
}

impl From<&Blocked> for InTheWay {
    fn from(blocked: &Blocked) -> Self {
        Self { reason: blocked.reason.as_str(), text: blocked.text.clone() }
    }
}

impl Report {
    pub(super) fn new(policy: &Policy, file: &SnapshotFile, judgement: &Judgement, notes: Vec<String>) -> Self {
        let Judgement { findings, decision, next, .. } = judgement;
        let targets = &file.snapshot.targets;
        Self {
            policy: policy.name.clone(),
            namespace: policy.namespace.clone(),
            mode: if policy.mode == Mode::Enforce { "Enforce" } else { "Observe" },
            observed_at: file.snapshot.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            pods: targets.len(),
            answered: targets.iter().filter(|target| target.sample().is_some()).count(),
            notes: file.shows.iter().cloned().chain(notes).collect(),
            findings: findings.iter().map(Found::from).collect(),
            listed: found::of(findings),
            plan: decision.plan.as_ref().map(|plan| Planned {
                workload: plan.workload_name.clone(),
                hash: plan.hash.clone(),
                steps: plan.steps.clone(),
                write_gap: plan.write_gap.clone(),
            }),
            blocked: decision.blocked.iter().map(InTheWay::from).collect(),
            next: next.clone(),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let Self { policy, namespace, mode, observed_at, pods, answered, .. } = self;
        let head =
            format!("policy {namespace}/{policy}, {mode}; observed {observed_at}: {answered} of {pods} answered");
        paragraph(&mut out, "", "  ", &head);
        for note in &self.notes {
            paragraph(&mut out, "note: ", "      ", note);
        }
        self.findings_text(&mut out);
        self.plan_text(&mut out);
        if !self.blocked.is_empty() {
            heading(&mut out, "IN THE WAY");
            let rows: Vec<_> = self.blocked.iter().map(|b| vec![b.reason.to_owned(), b.text.clone()]).collect();
            table(&mut out, &rows);
        }
        heading(&mut out, "NEXT");
        for next in &self.next {
            paragraph(&mut out, "", "  ", next);
        }
        out
    }

    fn findings_text(&self, out: &mut String) {
        heading(out, "FINDINGS");
        found::list(out, &self.listed);
    }

    fn plan_text(&self, out: &mut String) {
        heading(out, "PLAN");
        let Some(Planned { workload, hash, steps, write_gap }) = &self.plan else {
            line(out, "none: no restart is due");
            return;
        };
        if steps.is_empty() {
            line(out, &format!("{hash}: due on {workload}, and no step can be taken: see what is in the way"));
        } else {
            line(out, &format!("{hash}: {} steps on {workload}", steps.len()));
        }
        if let Some(gap) = write_gap {
            steps::gap(out, gap);
        }
        for (n, planned) in steps.iter().enumerate() {
            let number = n + 1;
            let (kind, pod) = (planned.step.kind(), planned.step.pod());
            paragraph(out, &format!("{number:>3}  "), "     ", &format!("{kind} {pod}: {}", planned.reason));
        }
    }
}

fn heading(out: &mut String, text: &str) {
    line(out, "");
    line(out, text);
}
