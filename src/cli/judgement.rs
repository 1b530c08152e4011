//! What follows from a snapshot, by the very functions that the controller calls: findings, what is due, what is in
//! its way, and what would be done next. Shared by `plan` and `explain`; there is no second logic.

use std::sync::Arc;

use crate::{
    assess::Assessment,
    domain::{
        finding::Finding,
        journal::{Journal, Outcome, WorkloadRecord},
        policy::{Mode, Policy},
        snapshot::{RedisRights, Snapshot},
    },
    plan::{
        Context, PlanSettings,
        decide::{self, Decision},
        next::Next,
        promise,
    },
};

/// What follows from a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Judgement<'a> {
    /// The snapshot, judged once.
    pub(super) look: Arc<Assessment<'a>>,
    /// Everything that was found, the worst first.
    pub(super) findings: Vec<Finding>,
    /// What is due, what is in its way, what would be done now.
    pub(super) decision: Decision,
    /// What a reader is to take from it, in sentences.
    pub(super) next: Vec<String>,
}

/// Whether something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Something, and nothing is in its way.
    Free,
    /// Something, and something is in its way.
    Blocked,
}

impl<'a> Judgement<'a> {
    /// Judges and decides, at the time of the snapshot.
    pub(super) fn of(
        policy: &'a Policy,
        snapshot: &'a Snapshot,
        records: &[WorkloadRecord],
        journal: Option<&Journal>,
        settings: &PlanSettings,
    ) -> Self {
        let look = Arc::new(Assessment::of(policy, snapshot, &settings.assess).with(records, &settings.assess));
        let ctx = Context::on(Arc::clone(&look), records, snapshot.at, settings);
        let decision = decide::decide(&ctx, journal, false, true);
        let findings = promise::findings(&ctx, journal, &decision);
        let next = next(&ctx, &decision, journal);
        Self { look, findings, decision, next }
    }

    /// Whether something is due, and free to be done.
    pub(super) fn due(&self) -> Due {
        if !self.decision.blocked.is_empty() {
            Due::Blocked
        } else if self.decision.plan.is_some() || self.decision.act != Next::Rest {
            Due::Free
        } else {
            Due::Nothing
        }
    }
}

/// What would be done now, and why not more.
fn next(ctx: &Context<'_>, decision: &Decision, journal: Option<&Journal>) -> Vec<String> {
    let mut said = shown(&decision.act);
    if journal.is_some() || matches!(decision.act, Next::Begin(_)) {
        return said;
    }
    said.push(match (&decision.plan, decision.blocked.as_slice()) {
        (None, _) => "no restart is due".to_owned(),
        (Some(_), [_, ..]) => "the plan is not begun as long as something is in its way".to_owned(),
        (Some(_), []) if !ctx.policy.fragmentation.restart_allowed => {
            "the plan is not carried out: spec.fragmentation.remedies does not contain Restart".to_owned()
        }
        (Some(_), []) if ctx.policy.mode == Mode::Observe => {
            "the plan is not carried out: spec.mode is Observe; in mode Enforce nothing would be in its way".to_owned()
        }
        (Some(_), []) if ctx.snapshot.redis_rights == RedisRights::Unknown => {
            "the plan would be begun, if the Redis users may do what it needs: the snapshot does not say".to_owned()
        }
        (Some(_), []) => "the plan would be begun after this".to_owned(),
    });
    said
}

/// What would be done now, in words; empty: nothing.
fn shown(next: &Next) -> Vec<String> {
    let text = match next {
        Next::Rest | Next::LookLive => return Vec::new(),
        Next::Upkeep(effects) => return effects.iter().map(|(effect, why)| format!("{effect}: {why}")).collect(),
        Next::Begin(_) => "the remediation would begin now".to_owned(),
        Next::Answer(answer) => format!("what was asked for would be refused: {}", answer.message),
        Next::Remember(_) => "who is primary would be recorded first".to_owned(),
        Next::Wait(why, _) => format!("the remediation under way waits: {why}"),
        Next::Gate(blocked, _) => {
            let why = blocked.iter().map(|b| format!("{}: {}", b.reason, b.text)).collect::<Vec<_>>().join("; ");
            format!("the remediation under way waits at a gate: {why}")
        }
        Next::Record(_) => "the step under way is done; the next one is recorded in the journal".to_owned(),
        Next::Act(_, effect) => format!("the remediation under way would {effect}"),
        Next::End(record) => {
            let outcome = record.outcome.map_or("Ended", Outcome::as_str);
            format!("the remediation would end: {outcome}: {}", record.message)
        }
    };
    vec![text]
}
