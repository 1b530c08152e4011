//! Leading clients: a connection through a Service stays where it is when the Service turns elsewhere. As a rule the old
//! primary is restarted within seconds of a switchover, and that sends its clients on. When its eviction has to wait, those
//! that are still there have every write refused for as long as that lasts; so they are sent away by hand.

use std::time::Duration;

use super::{
    Context,
    begin::identity,
    effect::{Effect, Peer},
    replica,
};
use crate::{
    assess::services,
    domain::{
        journal::{Journal, LedClients},
        sample::Role,
        snapshot::{RedisRights, Target},
        step::Step,
    },
    plan::next::Next,
};

/// How long the eviction of the old primary may take to follow, before its clients are sent away without it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts, each after the same patience: an operator may have died in the middle, or there are too many for one time.
const ATTEMPTS: u32 = 3;
/// Attempts when the remediation ends here: then the eviction does not follow at all.
const LAST_ATTEMPTS: u32 = 2;
/// Endpoints follow the labels within this time; the end of a remediation that nothing else sends clients on in waits for it.
const FOLLOWING: Duration = Duration::from_secs(10);
/// A server's uptime has whole seconds.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// How soon it is looked again whether they have.
const SOON: Duration = Duration::from_secs(1);

/// What to do instead of waiting, or before the end: nothing, as a rule.
pub(super) fn lead(ctx: &Context<'_>, journal: &Journal, next: Next) -> Next {
    let ending = match &next {
        Next::Wait(..) | Next::Gate(..) => false,
        // It was refused before: a budget says no.
        Next::Act(_, effect) if journal.current.attempt > 0 && matches!(**effect, Effect::Evict { .. }) => false,
        // Who stops the whole operator wants nothing done at all.
        Next::End(_) if ctx.snapshot.surroundings.stopped.is_none() => true,
        _ => return next,
    };
    let Some(LeftBehind { old, new, followed }) = left_behind(ctx, journal) else { return next };
    if !followed {
        return if ending { following(ctx, journal, next) } else { next };
    }
    let (Some(process), Some(peer), Some(uptime)) = (identity(old), Peer::of(old), uptime(old)) else { return next };
    let with = |led: LedClients| Box::new(Journal { led: Some(led), ..journal.clone() });
    let Some(led) = journal.led.as_ref().filter(|led| led.identity == process) else {
        let uptime_seconds = i64::try_from(uptime.as_secs()).ok();
        return Next::Record(with(LedClients { identity: process, since: ctx.now, uptime_seconds, attempt: 0 }));
    };
    let standing = standing(ctx, led, uptime);
    let due = PATIENCE.saturating_mul(led.attempt.saturating_add(1));
    let most = if ending { LAST_ATTEMPTS } else { ATTEMPTS };
    if led.attempt >= most {
        return next;
    }
    if !ending && standing < due {
        return sooner(next, due.saturating_sub(standing));
    }
    let intended = LedClients { attempt: led.attempt.saturating_add(1), ..led.clone() };
    // Rather one who came since is sent away too than one left who came before.
    let standing = standing.saturating_sub(CLOCK_STEP);
    let effect = Effect::CloseClients { peer, primary: new.pod.name.clone(), standing };
    Next::Act(with(intended), Box::new(effect))
}

fn uptime(target: &Target) -> Option<Duration> {
    target.sample().map(|sample| sample.server.uptime)
}

/// For how long the Services have led to the new primary alone: by the old one's own clock, which the ages of its clients are
/// given by. The process of the operator that wrote the beginning may have run on a node with another clock.
fn standing(ctx: &Context<'_>, led: &LedClients, uptime: Duration) -> Duration {
    let then = led.uptime_seconds.and_then(|then| u64::try_from(then).ok());
    then.map_or_else(|| ctx.since(led.since), |then| uptime.saturating_sub(Duration::from_secs(then)))
}

/// Until the Services lead to the new primary alone, a client that is sent away may come back.
fn following(ctx: &Context<'_>, journal: &Journal, next: Next) -> Next {
    match journal.current.waiting_since {
        None => {
            let mut journal = journal.clone();
            journal.current.waiting_since = Some(ctx.now);
            Next::Record(Box::new(journal))
        }
        Some(since) if ctx.since(since) < FOLLOWING => {
            Next::Wait("its Services do not lead to the new primary alone yet".to_owned(), SOON)
        }
        Some(_) => next,
    }
}

/// Clients may still stand on the old primary.
struct LeftBehind<'a> {
    old: &'a Target,
    new: &'a Target,
    /// Every Service of the set leads to the new one, and to no other.
    followed: bool,
}

fn left_behind<'a>(ctx: &Context<'a>, journal: &Journal) -> Option<LeftBehind<'a>> {
    let done = journal.done();
    let (at, from, to) = done.iter().enumerate().rev().find_map(|(at, planned)| match &planned.step {
        Step::Switchover { from, to: Some(to) } => Some((at, from, to)),
        _ => None,
    })?;
    let restarted = |step: &Step| matches!(step, Step::Evict { pod } if pod == from);
    if done.iter().skip(at).any(|planned| restarted(&planned.step)) {
        return None;
    }
    let (old, new) = (ctx.snapshot.target(from)?, ctx.snapshot.target(to)?);
    let shard = ctx.shard(&journal.shard)?;
    let Role::Replica(link) = &old.sample()?.replication.role else { return None };
    // A new primary that is silent just now is one that the old one follows.
    let leads = new
        .sample()
        .map_or_else(|| replica::follows(shard, new, &link.primary), |sample| sample.replication.role == Role::Primary);
    if !leads || old.pod.terminating || forbidden(ctx, old) {
        return None;
    }
    let mut found = services::to_primary(shard, &ctx.policy.redis.role_label).peekable();
    found.peek()?;
    let followed =
        found.all(|service| service.ready_pods.contains(&new.pod.uid) && !service.ready_pods.contains(&old.pod.uid));
    Some(LeftBehind { old, new, followed })
}

/// The Redis user is known not to have the right: nothing is lost but the courtesy.
fn forbidden(ctx: &Context<'_>, old: &Target) -> bool {
    let RedisRights::Known(missing) = &ctx.snapshot.redis_rights else { return false };
    missing
        .iter()
        .any(|(pod, commands)| *pod == old.pod.name && commands.iter().any(|command| command == "client|kill"))
}

/// The same wait, but no longer than that.
fn sooner(next: Next, within: Duration) -> Next {
    match next {
        Next::Wait(why, after) => Next::Wait(why, after.min(within)),
        Next::Gate(blocked, after) => Next::Gate(blocked, after.min(within)),
        other => other,
    }
}

#[cfg(test)]
mod tests;
