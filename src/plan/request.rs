//! What a person asks for by hand: another cause of a plan beside the threshold. Gates, order, proof, budgets and approval
//! are the same, but for the cooldown: that is for what begins by itself.
//!
//! It waits for people and time (an approval, a window, a place in a budget) for a day; anything else that is in its way is its
//! answer, at once: the person who asks is there, and asks again.

use std::time::Duration;

use super::{Context, begin::Considered, order};
use crate::{
    assess::start_roles,
    domain::{
        blocked::Waits,
        names::PodName,
        policy::Mode,
        request::{AnsweredRequest, Ask, Request, Wanted},
        snapshot::Target,
        step::PlannedStep,
    },
    topology::{Handover, Shard},
};

/// A request that has waited for longer is refused: nobody expects it any more.
const EXPIRES: Duration = Duration::from_secs(24 * 3600);
/// A clock of another machine may be ahead by as much.
const CLOCK_AHEAD: Duration = Duration::from_secs(3600);

/// The request about this shard, if there is one that is not answered.
pub fn of<'a>(ctx: &Context<'a>, shard: &Shard<'_>) -> Option<&'a Ask> {
    let ask = pending(ctx)?.ask.as_ref().ok()?;
    let first = |shard: &Shard<'_>| shard.members.first().map(|member| member.pod.name.clone());
    concerns(ctx, ask).ok().filter(|found| found.id == shard.id && first(found) == first(shard)).map(|_| ask)
}

/// The id of the request about this shard.
pub(super) fn id_of(ctx: &Context<'_>, shard: &Shard<'_>) -> Option<String> {
    of(ctx, shard).and_then(|_| pending(ctx)).map(|request| request.id.clone())
}

fn pending<'a>(ctx: &Context<'a>) -> Option<&'a Request> {
    ctx.snapshot.surroundings.request.as_ref()
}

/// The shard that is meant: the one with a pod of that name, else the one of a StatefulSet of that name.
fn concerns<'c>(ctx: &'c Context<'_>, ask: &Ask) -> Result<&'c Shard<'c>, String> {
    let (Wanted::Restart { name } | Wanted::Switchover { set: name, .. }) = &ask.wanted;
    let shards = &ctx.look.shards;
    if matches!(ask.wanted, Wanted::Restart { .. })
        && let Some(shard) = shards.iter().find(|shard| shard.member(&PodName::new(name.as_str())).is_some())
    {
        return Ok(shard);
    }
    let named = |shard: &&Shard<'_>| shard.name == *name || shard.stateful_sets.iter().any(|set| set.name == *name);
    let found: Vec<&Shard<'_>> = shards.iter().filter(named).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let there: Vec<&str> = shards.iter().map(|shard| shard.name.as_str()).collect();
            Err(format!("this policy selects no set and no pod {name}; its sets: {}", there.join(", ")))
        }
        several => Err(format!("{name} has pods of {} data sets: name a pod", several.len())),
    }
}

/// Whether that member is to be restarted because somebody asks for it.
pub(super) fn restarts(ask: &Ask, shard: &Shard<'_>, member: &Target) -> bool {
    let Wanted::Restart { name } = &ask.wanted else { return false };
    let one = shard.members.iter().any(|member| member.pod.name.as_str() == name);
    !one || member.pod.name.as_str() == name
}

/// The steps of a switchover that is asked for; empty: it cannot be, see [`impossible`].
pub(super) fn switchover(ctx: &Context<'_>, shard: &Shard<'_>, ask: &Ask) -> Vec<PlannedStep> {
    moving(ctx, shard, ask).unwrap_or_default()
}

fn moving(ctx: &Context<'_>, shard: &Shard<'_>, ask: &Ask) -> Result<Vec<PlannedStep>, String> {
    let from = shard.primary().ok_or("not exactly one member is primary")?;
    match (&ask.wanted, shard.handover()) {
        (Wanted::Switchover { to: Some(to), .. }, Handover::BySentinel) => {
            Err(format!("a Sentinel chooses who takes over: it cannot be told to choose {to}; ask without --to"))
        }
        (_, Handover::BySentinel) => Ok(vec![order::by_sentinel(from, &ask.cause())]),
        _ => Ok(order::move_role(ctx, shard, from, successor(ctx, shard, ask)?, &ask.cause())),
    }
}

/// Who takes over.
fn successor<'a>(ctx: &Context<'_>, shard: &Shard<'a>, ask: &Ask) -> Result<&'a Target, String> {
    let Wanted::Switchover { to, .. } = &ask.wanted else { return Err(String::new()) };
    let primary = shard.primary().ok_or("not exactly one member is primary")?;
    let why = match shard.handover() {
        Handover::Switchover | Handover::BySentinel => None,
        Handover::InPlace => Some("nothing would lead its clients to another primary"),
        Handover::Never if shard.has_ends() => {
            Some("a replica follows another replica: let every replica follow the primary")
        }
        Handover::Never => Some("it is left to those who decide who is primary there"),
    };
    if let Some(why) = why {
        return Err(format!("no role is moved in {}: {why}", shard.name));
    }
    let alone = start_roles::alone_by_record(shard, ctx.records);
    let next = match to {
        Some(to) if *to == primary.pod.name => return Err(format!("{to} is primary already")),
        Some(to) => shard.replicas.iter().copied().find(|replica| replica.pod.name == *to),
        None => order::next_primary(ctx, shard, primary, &[], alone.as_ref(), &|_| true),
    };
    let next = next.ok_or_else(|| match to {
        Some(to) => format!("{to} is no replica of {}", shard.name),
        None => format!("{} has no replica that could take over", shard.name),
    })?;
    match alone.filter(|start| start.target.pod.uid != next.pod.uid) {
        Some(start) => Err(format!(
            "{} alone starts as a primary ({}), so a restart of any member would undo it: let every pod's start find the \
             live primary",
            start.target.pod.name, start.how
        )),
        None => Ok(next),
    }
}

/// Why no plan does what is asked for in this shard, where no other gate says it.
pub(super) fn impossible(ctx: &Context<'_>, shard: &Shard<'_>, ask: &Ask) -> Option<String> {
    matches!(ask.wanted, Wanted::Switchover { .. }).then(|| moving(ctx, shard, ask).err()).flatten()
}

/// The answer to the request without a remediation; `None`: there is none, it waits, or its remediation begins.
pub(super) fn refused(ctx: &Context<'_>, due: &[Considered]) -> Option<AnsweredRequest> {
    let request = pending(ctx)?;
    let why = match &request.ask {
        Ok(ask) => why_not(ctx, ask, due)?,
        Err(malformed) => malformed.clone(),
    };
    Some(AnsweredRequest::new(&request.id, AnsweredRequest::REFUSED, &why, ctx.now))
}

fn why_not(ctx: &Context<'_>, ask: &Ask, due: &[Considered]) -> Option<String> {
    if ctx.since(ask.at) > EXPIRES {
        return Some(format!("{}: it has waited for a day, and is not carried out any more", ask.cause()));
    }
    if ask.at.duration_since(ctx.now).try_into().is_ok_and(|ahead: Duration| ahead > CLOCK_AHEAD) {
        return Some(format!("{}: that time has not come yet", ask.cause()));
    }
    if ctx.policy.mode == Mode::Observe {
        return Some("spec.mode is Observe: nothing is changed for this policy".to_owned());
    }
    if !ctx.policy.fragmentation.restart_allowed {
        return Some("spec.fragmentation.remedies does not contain Restart: the policy allows no restarts".to_owned());
    }
    let shard = match concerns(ctx, ask) {
        Ok(shard) => shard,
        Err(why) => return Some(why),
    };
    let considered = due.iter().find(|one| one.plan.as_ref().is_some_and(|plan| plan.shard == shard.id))?;
    let lasting = considered.blocked.iter().find(|blocked| blocked.reason.waits() != Waits::ForPeopleOrTime)?;
    Some(format!("{}: {}", lasting.reason, lasting.text))
}
