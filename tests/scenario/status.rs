//! The status that the operator would write of a situation.

use redis_memory_operator::{
    api::v1alpha1::RedisMemoryPolicyStatus,
    assess,
    domain::finding::Finding,
    plan::{Context, decide::Decision},
    report,
};

/// What the operator would write of it, after what it wrote before.
pub fn status(
    ctx: &Context<'_>,
    decision: &Decision,
    findings: &[Finding],
    previous: &RedisMemoryPolicyStatus,
) -> RedisMemoryPolicyStatus {
    let judged = assess::judged::Judged::of(&ctx.look);
    let shown = report::findings::shown(findings, &judged, ctx.snapshot, previous);
    let input = report::Input {
        policy: ctx.policy,
        generation: 1,
        snapshot: ctx.snapshot,
        sets: &report::sets::of(&ctx.look),
        findings: &shown,
        judged: &judged,
        kills: &ctx.look.kills,
        plan: decision.plan.as_ref(),
        blocked: &decision.blocked,
        journal: None,
        records: ctx.records,
        now: ctx.now,
    };
    report::status(&input, previous)
}
