//! Whether a remediation is due, what it would do, what is in its way, and the journal that begins it.

use super::{
    Context,
    gates::{self, Phase, Scene},
    order, request,
};
use crate::{
    assess::fragmentation,
    domain::{
        blocked::{BlockReason, Blocked},
        bytes::Bytes,
        journal::{CurrentStep, Journal, MemberIdentity, MemberRecord, OtherSetting, Outcome, Settings},
        policy::Mode,
        sample::Config,
        snapshot::{RedisRights, Target},
        step::Plan,
    },
    topology::Shard,
};

/// What would be done with one shard, and what is in its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Considered {
    /// The plan that is due; `None`: nothing is.
    pub plan: Option<Plan>,
    /// What is in its way.
    pub blocked: Vec<Blocked>,
    /// The journal to begin with: only in Enforce, when nothing is in the way.
    pub begin: Option<Journal>,
}

/// The shard that is remediated next: the first by name that could begin, else the first that is due. At most one of a
/// policy is remediated at a time.
pub fn consider(ctx: &Context<'_>) -> Considered {
    next(ctx, &every(ctx)).cloned().unwrap_or_default()
}

/// Of what is due the one that could begin, else the first. What a person asks for comes first, and who was given up last
/// comes last: an obstacle that shows again and again must not keep the other sets from their turn.
pub(super) fn next<'d>(ctx: &Context<'_>, due: &'d [Considered]) -> Option<&'d Considered> {
    let given_up = |considered: &&Considered| {
        let record = ctx.record(&considered.plan.as_ref()?.shard)?;
        matches!(record.outcome?, Outcome::GaveUp | Outcome::TimedOut).then_some(record.ended_at)
    };
    let asked = |considered: &Considered| considered.begin.as_ref().is_some_and(|journal| journal.request.is_some());
    let could = due.iter().filter(|considered| considered.blocked.is_empty());
    could.min_by_key(|one| (!asked(one), given_up(one))).or_else(|| due.first())
}

/// Every shard in which something is due.
pub(super) fn every(ctx: &Context<'_>) -> Vec<Considered> {
    ctx.look.shards.iter().filter_map(|shard| consider_one(ctx, shard)).collect()
}

fn consider_one(ctx: &Context<'_>, shard: &Shard<'_>) -> Option<Considered> {
    let plan = order::plan(ctx, shard)?;
    let blocked = gates::check(&scene(ctx, shard, &plan));
    // What can never run is not shown as a plan.
    let plan = if blocked.iter().any(|blocked| blocked.rules) { order::without_steps(shard) } else { plan };
    let may_begin = blocked.is_empty() && acts(ctx) && ctx.snapshot.redis_rights != RedisRights::Unknown;
    let begin = if may_begin { journal(ctx, shard, &plan) } else { None };
    Some(Considered { plan: Some(plan), blocked, begin })
}

/// The refusals that a remediation of that workload would meet now, before it begins.
pub(super) fn refusals(ctx: &Context<'_>, shard: &Shard<'_>) -> Vec<BlockReason> {
    let Some(plan) = order::plan(ctx, shard) else { return Vec::new() };
    gates::check(&scene(ctx, shard, &plan)).into_iter().map(|blocked| blocked.reason).collect()
}

/// What would be in the way of restarting every member of that set now, for people who ask before anything is due. That
/// its memory is not fragmented enough to be cured is no obstacle then.
pub fn in_the_way_of_all(ctx: &Context<'_>, shard: &Shard<'_>) -> Vec<Blocked> {
    let plan = order::whole(ctx, shard);
    let mut blocked = gates::check(&scene(ctx, shard, &plan));
    blocked.retain(|blocked| blocked.reason != BlockReason::CauseNotCurable);
    blocked
}

/// Restarts are among the remedies, and the policy enforces.
fn acts(ctx: &Context<'_>) -> bool {
    ctx.policy.mode == Mode::Enforce && ctx.policy.fragmentation.restart_allowed
}

fn scene<'a>(ctx: &'a Context<'a>, shard: &'a Shard<'a>, plan: &'a Plan) -> Scene<'a> {
    Scene { sick: plan.leaves_sick, ..Scene::new(ctx, shard, &plan.hash, &plan.steps, Phase::Preflight) }
}

/// The first entry of the journal; `None` when a member lacks a sample (the gates have said so).
fn journal(ctx: &Context<'_>, shard: &Shard<'_>, plan: &Plan) -> Option<Journal> {
    let primary = shard.primary()?;
    let members = shard.members.iter().map(|target| member(target)).collect::<Option<Vec<_>>>()?;
    Some(Journal {
        id: format!("{}-{}", plan.hash, ctx.now.as_second()),
        plan_hash: plan.hash.clone(),
        generation: ctx.policy.generation,
        shard: shard.id.clone(),
        workload_name: shard.name.clone(),
        started_at: ctx.now,
        steps: plan.steps.clone(),
        cursor: 0,
        current: CurrentStep::default(),
        primary: identity(primary)?,
        members,
        raised: Vec::new(),
        carried: Vec::new(),
        temporary: None,
        proxies: Vec::new(),
        forgotten: 0,
        chained: shard.chained,
        left: plan.left.clone(),
        request: request::id_of(ctx, shard),
        leaves_sick: plan.leaves_sick,
        write_gap: plan.write_gap.clone(),
        led: None,
        owner: None,
    })
}

/// Who a target is now.
pub(super) fn identity(target: &Target) -> Option<MemberIdentity> {
    Some(MemberIdentity {
        pod: target.pod.name.clone(),
        uid: target.pod.uid.clone(),
        run_id: target.sample()?.run_id.clone(),
    })
}

pub(super) fn member(target: &Target) -> Option<MemberRecord> {
    let sample = target.sample()?;
    Some(MemberRecord {
        identity: identity(target)?,
        used_bytes: stored(sample.memory.used),
        rss_bytes: stored(sample.memory.rss),
        expected_gain_bytes: stored(fragmentation::expected_gain(&sample.memory)),
        limit_bytes: target.pod.limit().map(stored),
        settings: settings(sample.config.as_ref().ok()?),
        dir: sample.config.as_ref().ok().map(|config| config.dir.clone()),
        started: None,
        persisted_at: None,
        persisted_times: 0,
        repointed_again: 0,
        keys: None,
        lasting_keys: None,
        returned_as: None,
        caught_up_at: None,
        rss_after_bytes: None,
        used_after_bytes: None,
    })
}

/// The settings that an eviction may undo.
pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        maxmemory: stored(config.maxmemory),
        maxmemory_policy: config.maxmemory_policy.clone(),
        appendonly: config.appendonly,
        save: config.save.clone(),
        repl_backlog_size: stored(config.repl_backlog_size),
        others: others(config),
    }
}

fn others(config: &Config) -> Vec<OtherSetting> {
    config.serving.at_run_time().into_iter().map(|(name, value)| OtherSetting { name, value }).collect()
}

/// Bytes as the journal stores them.
pub(super) fn stored(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0).unwrap_or(i64::MAX)
}
