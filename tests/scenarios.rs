//! Scenarios: a policy and what is observed, in a few lines of YAML, against everything that is said and would be
//! done. The files are in `tests/scenarios/`, one a situation, each beside its reviewed snapshot.
//!
//! A file is a scenario in short form (see `scenario/mod.rs`) or a snapshot file, as `check --output yaml` writes it:
//! what a user sends becomes a scenario by being put here. The short ones are turned into snapshot files, and are
//! written and read as such before they are judged.
//!
//! To add one: write the YAML, run `INSTA_UPDATE=always cargo test --test scenarios`, and read what was written.
#![cfg(test)]
#![allow(
    clippy::disallowed_methods,
    clippy::or_fun_call,
    unreachable_pub,
    reason = "the helpers of a test are test code"
)]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use redis_memory_operator::{
    api::v1alpha1::{RedisMemoryPolicyStatus, VerdictStatus},
    assess::{WILL_RAISE, fragmentation::WILL_RESTART, roles::WILL_LABEL},
    cli::snapshot_file::{Judged, SnapshotFile, WrittenPolicy},
    domain::{
        blocked::BlockReason,
        bytes::Bytes,
        finding::{Finding, FindingCode},
        step::Step,
    },
    plan::{Context, decide, effect::Effect, next::Next, promise},
    report,
};
use rstest::rstest;

#[path = "verdicts/describe.rs"]
mod describe;
mod scenario;
#[path = "scenario/status.rs"]
mod status;
use describe::describe;
use scenario::Scenario;
use status::status;

/// The snapshot file of a scenario, written and read.
fn file(path: &Path) -> SnapshotFile {
    let text = fs::read_to_string(path).unwrap();
    let text = if text.contains("kind: RedisMemorySnapshot") { text } else { written(&Scenario::read(path)) };
    SnapshotFile::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn written(scenario: &Scenario) -> String {
    let policy = WrittenPolicy::from(&scenario.resource());
    let mut file = SnapshotFile::new(policy, scenario.snapshot(), Judged::OverTime);
    file.shows = Some(scenario.shows.clone());
    let text = file.write().unwrap();
    assert_eq!(SnapshotFile::read(&text).unwrap(), file, "what is written is read back");
    text
}

/// What is said of a scenario, and what would be done.
struct Said {
    lines: Vec<String>,
    codes: Vec<FindingCode>,
    reasons: Vec<BlockReason>,
    /// What the findings say that is done or can be done, with the pod.
    remedies: Vec<(String, String)>,
    /// The pods that the plan restarts.
    planned: Vec<String>,
    act: String,
}

impl Said {
    /// The remedies of the findings of that code, with the pod.
    fn remedies_of(&self, code: FindingCode) -> impl Iterator<Item = &(String, String)> {
        self.codes.iter().zip(&self.remedies).filter(move |(of, _)| **of == code).map(|(_, remedy)| remedy)
    }
}

fn say(file: &SnapshotFile) -> Said {
    let policy = file.policy().unwrap_or_else(|problems| panic!("the policy is invalid: {problems}"));
    let (snapshot, settings) = (&file.snapshot, file.settings());
    let ctx = Context::of(&policy, snapshot, &file.workloads, snapshot.at, &settings);
    let decision = decide::decide(&ctx, None, false, true);
    let findings = promise::findings(&ctx, None, &decision);

    let verdict = status(&ctx, &decision, &findings, &RedisMemoryPolicyStatus::default()).verdict.unwrap();
    let mut lines = vec![format!("# {}", file.shows.as_deref().unwrap_or_default()), String::new()];
    lines.push(format!("verdict: {}: {}", verdict.level, verdict.brief));
    lines.push(format!("  {}", verdict.sentence));
    lines.extend([String::new(), "findings:".into()]);
    for finding in &findings {
        let pod = finding.pod.as_ref().map_or("-", |pod| pod.as_str());
        lines.push(format!("  {} {} {pod}", finding.severity, finding.code));
        lines.push(format!("    {}", finding.evidence));
        lines.push(format!("    -> {}", finding.remedy));
    }
    // The texts of plans and refusals are tested where they are made; here it is enough which ones there are.
    let steps = decision.plan.iter().flat_map(|plan| &plan.steps);
    lines.push(format!("plan: {}", joined(steps.map(|s| format!("{:?} {}", s.step.kind(), s.step.pod())))));
    lines.push(format!("blocked: {}", joined(decision.blocked.iter().map(|b| b.reason.to_string()))));
    lines.push(format!("act: {}", act(&decision.act)));
    let remedy = |f: &Finding| (f.pod.as_ref().map(ToString::to_string).unwrap_or_default(), f.remedy.clone());
    let steps = decision.plan.iter().flat_map(|plan| &plan.steps);
    let evictions = steps.filter(|planned| matches!(planned.step, Step::Evict { .. }));
    Said {
        remedies: findings.iter().map(remedy).collect(),
        planned: evictions.map(|planned| planned.step.pod().to_string()).collect(),
        act: act(&decision.act),
        lines,
        codes: findings.iter().map(|f| f.code).collect(),
        reasons: decision.blocked.iter().map(|b| b.reason).collect(),
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    let text = items.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".into() } else { text }
}

fn act(act: &Next) -> String {
    match act {
        Next::Upkeep(effects) => joined(effects.iter().map(|(effect, _)| match effect {
            Effect::Resize { pod, limit, .. } => format!("resize {pod} to {limit}"),
            Effect::SetMaxmemory { peer, value, .. } => format!("set maxmemory of {} to {value}", peer.pod),
            Effect::Label { pod, value, .. } => format!("label {pod} {value}"),
            other => format!("{other:?}"),
        })),
        Next::Begin(_) => "begin".into(),
        Next::Answer(answer) => format!("answer {}: {}", answer.outcome, answer.message),
        Next::Remember(_) => "remember".into(),
        Next::Rest => "-".into(),
        other => format!("{other:?}"),
    }
}

/// What docs/verdicts.md begins with.
const VERDICTS: &str = include_str!("verdicts/head.txt");

/// The status of that situation, after that one.
fn told(file: &SnapshotFile, previous: &RedisMemoryPolicyStatus) -> RedisMemoryPolicyStatus {
    let (policy, settings) = (file.policy().unwrap(), file.settings());
    let ctx = Context::of(&policy, &file.snapshot, &file.workloads, file.snapshot.at, &settings);
    let decision = decide::decide(&ctx, None, false, true);
    status(&ctx, &decision, &promise::findings(&ctx, None, &decision), previous)
}

/// docs/verdicts.md: twelve situations as a reader meets them. `INSTA_UPDATE=always` writes it.
#[test]
fn the_page_of_verdicts_is_current() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("tests/verdicts");
    let none = RedisMemoryPolicyStatus::default();
    let found = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = found.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    assert_eq!(files.len(), 12);
    let mut page = VERDICTS.to_owned();
    for (n, path) in files.iter().enumerate() {
        let file = file(path);
        // Where something was before, the operator remembers it.
        let before = folder.join("before").join(path.file_name().unwrap());
        let before = if before.exists() { told(&self::file(&before), &none) } else { none.clone() };
        let status = told(&file, &before);
        let sentence = &status.verdict.as_ref().unwrap().sentence;
        assert!(sentence.chars().count() < 4096, "cut: {sentence}");
        let shown = describe(&status, &format!("{:?}", file.policy().unwrap().mode));
        let intro = file.shows.as_deref().unwrap();
        write!(page, "\n### {}\n\n{intro}\n\n```\n{shown}```\n", n + 1).unwrap();
    }
    let path = root.join("docs/verdicts.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/verdicts.md is not what the operator says: run with INSTA_UPDATE=always, and read it");
}

/// At rest nothing is written: the second look at the same says the same.
#[rstest]
fn the_verdict_answers_five_questions_and_stays(#[files("tests/scenarios/*.yaml")] path: PathBuf) {
    let file = file(&path);
    let policy = file.policy().unwrap();
    let settings = file.settings();
    let ctx = Context::of(&policy, &file.snapshot, &file.workloads, file.snapshot.at, &settings);
    let decision = decide::decide(&ctx, None, false, true);
    let findings = promise::findings(&ctx, None, &decision);
    let before = status(&ctx, &decision, &findings, &RedisMemoryPolicyStatus::default());
    let later = ctx.now + std::time::Duration::from_secs(3600);
    let ctx = Context { now: later, ..ctx };
    // But for the time by which something is full, where what is read has not grown in that hour.
    let stays = |verdict: Option<VerdictStatus>| {
        let verdict = verdict.unwrap();
        let sentence = verdict.sentence.split(". Risk: there is time until 2").next().unwrap().to_owned();
        VerdictStatus { sentence, ..verdict }
    };
    assert_eq!(stays(status(&ctx, &decision, &findings, &before).verdict), stays(before.verdict.clone()));
    let VerdictStatus { brief, sentence, .. } = before.verdict.unwrap();
    // NAME of 15, VERDICT, MODE and AGE, with three spaces between: 100 columns.
    assert!(brief.chars().count() <= 56, "{brief}");
    assert!(!sentence.ends_with(" …"), "cut: {sentence}");
    let since = if sentence.contains(", noticed 2026-") { ", noticed " } else { " since " };
    let parts = [since, ". Risk: ", ". Primary: ", ". Operator: ", ". You: "];
    let places: Vec<_> = parts.iter().map(|part| sentence.find(part).unwrap_or_else(|| panic!("{sentence}"))).collect();
    assert!(places.is_sorted(), "{sentence}");
}

/// Whoever reads a command carries it out: what it costs, and what comes first, stands before it.
#[rstest]
fn a_template_is_changed_after_what_that_costs_is_said(#[files("tests/scenarios/*.yaml")] path: PathBuf) {
    let file = file(&path);
    let status = told(&file, &RedisMemoryPolicyStatus::default());
    let mut texts = vec![status.verdict.unwrap().sentence];
    texts.extend(status.findings.into_iter().flat_map(|finding| [finding.remedy, finding.remedy_afterwards]));
    for text in texts {
        let changes = ["kubectl set resources", "kubectl rollout restart", "kubectl edit statefulset", "helm upgrade "];
        for at in changes.iter().filter_map(|command| text.find(command)) {
            let before = &text[..at];
            let warned = ["this rolls ", "its operator then restarts", "restarts only the operator"];
            assert!(warned.iter().any(|words| before.contains(words)), "{text}");
        }
    }
}

/// What servers breathe at rest is written to nobody: which of two equals is worse is no news either.
#[rstest]
fn numbers_that_waver_are_no_news(#[files("tests/scenarios/*.yaml")] path: PathBuf) {
    let file = file(&path);
    let policy = file.policy().unwrap();
    let settings = file.settings();
    let mut before = RedisMemoryPolicyStatus::default();
    // None, the first, second or third member of each three, and all of them are up.
    for round in [0b000_usize, 0b001, 0b010, 0b100, 0b111] {
        let mut snapshot = file.snapshot.clone();
        for (n, target) in snapshot.targets.iter_mut().enumerate() {
            let Some(sample) = target.sample_mut() else { continue };
            let memory = &mut sample.memory;
            let up = (round >> (n % 3)) & 1 == 1;
            let by = |bytes: Bytes, share: u64| if up { bytes.0 + bytes.0 / share } else { bytes.0 };
            (memory.rss, memory.used) = (Bytes(by(memory.rss, 100)), Bytes(by(memory.used, 400)));
            sample.replication.offset += u64::try_from(round).unwrap();
        }
        let ctx = Context::of(&policy, &snapshot, &file.workloads, snapshot.at, &settings);
        let decision = decide::decide(&ctx, None, false, true);
        let findings = promise::findings(&ctx, None, &decision);
        let now = status(&ctx, &decision, &findings, &before);
        if round == 0 {
            before = now;
            continue;
        }
        let news = report::worth_writing(&before, &now, Some(std::time::Duration::from_secs(60)));
        assert!(!news, "round {round}: {before:#?}\n{now:#?}");
    }
}

#[rstest]
fn says(#[files("tests/scenarios/*.yaml")] path: PathBuf) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let said = say(&file(&path));
    insta::with_settings!({
        snapshot_path => "scenarios",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, said.lines.join("\n"));
    });
}

/// Every scenario, read once.
static ALL: LazyLock<Vec<Said>> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).map(|path| say(&file(&path))).collect()
});

#[test]
fn every_finding_occurs_in_a_scenario() {
    let found: BTreeSet<FindingCode> = ALL.iter().flat_map(|said| said.codes.clone()).collect();
    // Of manifests, not of a snapshot: src/lint/tests.rs.
    let of_lint = [FindingCode::InstanceTooLarge];
    let missing: Vec<_> =
        FindingCode::ALL.iter().filter(|code| !found.contains(code) && !of_lint.contains(code)).collect();
    assert!(missing.is_empty(), "no scenario shows {missing:?}");
}

/// What this version refuses, each with its own reason.
#[test]
fn every_refusal_occurs_in_a_scenario() {
    use BlockReason::*;
    let found: BTreeSet<BlockReason> = ALL.iter().flat_map(|said| said.reasons.clone()).collect();
    let refusals = [
        ClusterMode,
        SentinelSeen,
        ServerUnsupported,
        DowntimeNotAllowed,
        TooFewReplicas,
        PersistenceNotProven,
        ReplicaFollowsNoMember,
        PrimaryEmpty,
        ChainedReplicas,
        NoPrimary,
        TwoPrimaries,
        PrimaryEmpty,
        WindowClosed,
        WindowTooShort,
        ApprovalNeeded,
        RestartBudget,
        MemberOutsideSelector,
        DeploymentPod,
        NoStatefulSet,
        SetIncomplete,
        ForeignOwner,
        RoleLabelInTemplate,
        CauseNotCurable,
        MemberUnknown,
        TemplateTooSmall,
        PermissionMissing,
        EvictionWouldRollOut,
        Cooldown,
    ];
    let missing: Vec<_> = refusals.iter().filter(|reason| !found.contains(reason)).collect();
    assert!(missing.is_empty(), "no scenario shows {missing:?}");
}

/// Nothing is restarted while something is in the way, whatever the scenario.
#[test]
fn nothing_begins_beside_a_refusal() {
    for said in ALL.iter() {
        let begins = said.lines.iter().any(|line| line == "act: begin");
        assert!(!begins || said.reasons.is_empty(), "{:#?}", said.lines);
    }
}

/// What a finding says that the operator does, the decision does too.
#[test]
fn no_finding_promises_what_the_decision_refuses() {
    let mut promises = 0;
    for said in ALL.iter() {
        for (pod, remedy) in &said.remedies {
            let kept = if remedy.starts_with(WILL_RESTART) {
                said.reasons.is_empty() && said.planned.contains(pod)
            } else if remedy.starts_with(WILL_RAISE) {
                said.act.contains(&format!("resize {pod} "))
            } else if remedy.starts_with(WILL_LABEL) {
                said.act.contains(&format!("label {pod} "))
            } else {
                continue;
            };
            promises += 1;
            assert!(kept, "{pod}: {remedy}\n{:#?}", said.lines);
        }
    }
    assert!(promises > 5, "{promises}");
}

/// What is due by one finding is not denied by another about the same pod.
#[test]
fn no_finding_denies_a_restart_that_another_calls_due() {
    let mut due = 0;
    for said in ALL.iter() {
        for (pod, _) in said.remedies_of(FindingCode::FragmentationRestartDue) {
            due += 1;
            let mut others = said.remedies.iter().filter(|(other, _)| other == pod);
            let no = ["not due", "none is due", "no restart is due"];
            let denied = others.find(|(_, remedy)| no.iter().any(|no| remedy.contains(no)));
            assert!(denied.is_none(), "{denied:?}\n{:#?}", said.lines);
        }
    }
    assert!(due > 100, "{due}");
}

/// A plan shows no step that can never run.
#[test]
fn nothing_is_planned_where_a_refusal_makes_all_else_moot() {
    use BlockReason::*;
    for said in ALL.iter() {
        let moot = [ClusterMode, SentinelSeen, ForeignOwner].iter().any(|reason| said.reasons.contains(reason));
        assert!(!moot || (said.reasons.len() == 1 && said.planned.is_empty()), "{:#?}", said.lines);
    }
}
