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
        advance::Next,
        decide::{self, Act, Decision},
        effect::Effect,
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
        let look = Arc::new(Assessment::of(policy, snapshot, &settings.assess));
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
        } else if self.decision.plan.is_some() || self.decision.act != Act::Rest {
            Due::Free
        } else {
            Due::Nothing
        }
    }
}

/// What would be done now, and why not more.
fn next(ctx: &Context<'_>, decision: &Decision, journal: Option<&Journal>) -> Vec<String> {
    let mut said = match &decision.act {
        Act::Upkeep(effects) => effects.iter().map(|(effect, why)| format!("{}: {why}", shown(effect))).collect(),
        Act::Begin(_) => vec!["the remediation would begin now".to_owned()],
        Act::Go(next) => vec![going(next)],
        Act::Wait(why, _) => vec![format!("the remediation under way waits: {why}")],
        Act::Remember(_) => vec!["who is primary would be recorded first".to_owned()],
        Act::Rest | Act::LookLive => Vec::new(),
    };
    if journal.is_some() || matches!(decision.act, Act::Begin(_)) {
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

fn going(next: &Next) -> String {
    match next {
        Next::Wait(why, _) => format!("the remediation under way waits: {why}"),
        Next::Gate(blocked, _) => {
            let why = blocked.iter().map(|b| format!("{}: {}", b.reason, b.text)).collect::<Vec<_>>().join("; ");
            format!("the remediation under way waits at a gate: {why}")
        }
        Next::Record(_) => "the step under way is done; the next one is recorded in the journal".to_owned(),
        Next::Act(_, effect) => format!("the remediation under way would {}", shown(effect)),
        Next::End(record) => {
            let outcome = record.outcome.map_or("Ended", Outcome::as_str);
            format!("the remediation would end: {outcome}: {}", record.message)
        }
    }
}

/// An effect in words.
fn shown(effect: &Effect) -> String {
    match effect {
        Effect::Evict { peer } => format!("evict {}", peer.pod),
        Effect::EvictPrimary { peer } => format!("evict {}, a primary that nothing takes over from", peer.pod),
        Effect::Persist { peer, rewrite: true } => format!("have {} rewrite its append-only file", peer.pod),
        Effect::Persist { peer, rewrite: false } => format!("have {} save its data", peer.pod),
        Effect::SetBacklog { peer, size, .. } => format!("set the replication backlog of {} to {size}", peer.pod),
        Effect::Resize { pod, limit, .. } => format!("raise the memory limit of {pod} to {limit}"),
        Effect::Label { pod, key, value, .. } => format!("label {pod} {key}={value}"),
        Effect::Restore { peer, settings } => {
            let names: Vec<&str> = settings.iter().map(|(name, _)| name.as_str()).collect();
            format!("restore {} on {}", names.join(", "), peer.pod)
        }
        Effect::Carry { peer, settings, back } => {
            let names: Vec<&str> = settings.iter().map(|(name, _)| name.as_str()).collect();
            let why = if *back { "as it was before" } else { "as on the primary" };
            format!("set {} on {} {why}", names.join(", "), peer.pod)
        }
        Effect::Demote { peer, to, .. } => format!("make {}, a second primary, follow {}", peer.pod, to.pod),
        Effect::Repoint { peer, to, .. } => format!("make {} follow {}", peer.pod, to.pod),
        Effect::CloseClients { peer, .. } => format!("close ordinary connections that still stand on {}", peer.pod),
        Effect::Switchover(order) => format!("hand the primary role from {} to {}", order.from.pod, order.to.pod),
    }
}
