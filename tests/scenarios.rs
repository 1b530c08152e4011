//! Scenarios: a policy and what is observed, in a few lines of YAML, against everything that is said and would be
//! done. The files are in `tests/scenarios/`, one a situation, each beside its reviewed snapshot.
//!
//! To add one: write the YAML, run `INSTA_UPDATE=always cargo test --test scenarios`, and read what was written.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::or_fun_call,
    unreachable_pub,
    reason = "the helpers of a test are test code"
)]

use std::{collections::BTreeSet, fs, path::PathBuf};

use redis_memory_operator::{
    assess::{self, AssessSettings},
    domain::finding::FindingCode,
    plan::{
        Context, PlanSettings,
        blocked::BlockReason,
        decide::{self, Act},
        effect::Effect,
    },
    validate::validate,
};
use rstest::rstest;

mod scenario;
use scenario::Scenario;

const SETTINGS: PlanSettings = PlanSettings {
    assess: AssessSettings {
        warm_up: std::time::Duration::from_secs(300),
        sample_interval: std::time::Duration::from_secs(15),
    },
    proof_settle: std::time::Duration::from_secs(60),
    proof_timeout: std::time::Duration::from_secs(300),
};

/// What is said of a scenario, and what would be done.
struct Said {
    lines: Vec<String>,
    codes: Vec<FindingCode>,
    reasons: Vec<BlockReason>,
}

fn say(scenario: &Scenario) -> Said {
    let policy =
        validate(&scenario.resource()).unwrap_or_else(|problems| panic!("the policy is invalid: {problems:?}"));
    let snapshot = scenario.snapshot();
    let findings = assess::assess(&policy, &snapshot, &SETTINGS.assess);
    let ctx = Context { policy: &policy, snapshot: &snapshot, records: &[], now: snapshot.at, settings: &SETTINGS };
    let decision = decide::decide(&ctx, None, false, true);

    let mut lines = vec![format!("# {}", scenario.shows), String::new(), "findings:".into()];
    for finding in &findings {
        let pod = finding.pod.as_ref().map_or("-", |pod| pod.as_str());
        lines.push(format!("  {} {} {pod}", finding.severity(), finding.code));
        lines.push(format!("    {}", finding.evidence));
        lines.push(format!("    -> {}", finding.remedy));
    }
    // The texts of plans and refusals are tested where they are made; here it is enough which ones there are.
    let steps = decision.plan.iter().flat_map(|plan| &plan.steps);
    lines.push(format!("plan: {}", joined(steps.map(|s| format!("{:?} {}", s.step.kind(), s.step.pod())))));
    lines.push(format!("blocked: {}", joined(decision.blocked.iter().map(|b| b.reason.to_string()))));
    lines.push(format!("act: {}", act(&decision.act)));
    Said {
        lines,
        codes: findings.iter().map(|f| f.code).collect(),
        reasons: decision.blocked.iter().map(|b| b.reason).collect(),
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    let text = items.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".into() } else { text }
}

fn act(act: &Act) -> String {
    match act {
        Act::Upkeep(effects) => joined(effects.iter().map(|(effect, _)| match effect {
            Effect::Resize { pod, limit, .. } => format!("resize {pod} to {limit}"),
            Effect::Label { pod, value, .. } => format!("label {pod} {value}"),
            other => format!("{other:?}"),
        })),
        Act::Begin(_) => "begin".into(),
        Act::Rest => "-".into(),
        other => format!("{other:?}"),
    }
}

#[rstest]
fn says(#[files("tests/scenarios/*.yaml")] path: PathBuf) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let said = say(&Scenario::read(&path));
    insta::with_settings!({
        snapshot_path => "scenarios",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, said.lines.join("\n"));
    });
}

fn all() -> Vec<Said> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).map(|path| say(&Scenario::read(&path))).collect()
}

#[test]
fn every_finding_occurs_in_a_scenario() {
    let found: BTreeSet<FindingCode> = all().into_iter().flat_map(|said| said.codes).collect();
    let missing: Vec<_> = FindingCode::ALL.iter().filter(|code| !found.contains(code)).collect();
    assert!(missing.is_empty(), "no scenario shows {missing:?}");
}

/// What this version refuses, each with its own reason.
#[test]
fn every_refusal_occurs_in_a_scenario() {
    use BlockReason::*;
    let found: BTreeSet<BlockReason> = all().into_iter().flat_map(|said| said.reasons).collect();
    let refusals = [
        ClusterMode,
        SentinelSeen,
        LabelAuthority,
        ServerUnsupported,
        DowntimeNotAllowed,
        TooFewReplicas,
        PersistenceNotProven,
        ReplicaFollowsNoMember,
        PrimaryEmpty,
        ChainedReplicas,
        NoPrimary,
        TwoPrimaries,
        MemberOutsideSelector,
        NotOneStatefulSet,
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
    for said in all() {
        let begins = said.lines.iter().any(|line| line == "act: begin");
        assert!(!begins || said.reasons.is_empty(), "{:#?}", said.lines);
    }
}
