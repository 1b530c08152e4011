//! Forgetting: where pods are known by their addresses a restart leaves an entry of somebody who is gone in the list of every
//! Sentinel, for ever, and such Sentinels count for the majority. What our restarts leave is forgotten, by one Sentinel
//! after the other, before the next pod is disturbed and before the end
//! ([docs/adr/0020](../../docs/adr/0020-what-our-restarts-leave-is-forgotten.md)).

use std::time::Duration;

use super::{
    Context,
    effect::{Effect, SentinelPeer},
    next::{LATER, Next},
};
use crate::{
    domain::{
        journal::{Journal, WorkloadRecord},
        names::RunId,
        step::{Begins, Step},
    },
    topology::{Forget, Remains, Shard},
};

/// How long the end of a remediation waits for that.
const PATIENCE: Duration = Duration::from_secs(120);
/// Attempts for each Sentinel and restart.
const ATTEMPTS: usize = 3;

/// A Sentinel was to be made to forget by this remediation.
pub(super) const fn has_forgotten(journal: &Journal) -> bool {
    journal.forgotten > 0
}

/// What to do before the next pod is disturbed; `None`: nothing is left in the lists, or it is not ours to have forgotten,
/// which the gates say.
pub(super) fn due(ctx: &Context<'_>, journal: &Journal, shard: &Shard<'_>) -> Option<Next> {
    let at_gates = journal.step().is_some_and(|step| step.kind().begins() == Begins::AtGates);
    if !at_gates || journal.current.begun_at.is_some() {
        return None;
    }
    match remains(ctx, journal, shard) {
        Remains::Forget(forget) => act(journal, &forget),
        Remains::Wait(why) => Some(Next::Wait(waiting(&why), LATER)),
        Remains::Nothing | Remains::Left(_) => None,
    }
}

/// The same before the remediation ends, however it ends. Who stops the whole operator wants nothing done at all.
pub(super) fn before_end(ctx: &Context<'_>, journal: &Journal, mut record: Box<WorkloadRecord>) -> Next {
    let shard = ctx.shard(&journal.shard).filter(|_| ctx.snapshot.surroundings.stopped.is_none());
    let Some(shard) = shard else { return Next::End(record) };
    let why = match remains(ctx, journal, shard) {
        Remains::Nothing => return Next::End(record),
        Remains::Forget(forget) => match act(journal, &forget) {
            Some(next) => return next,
            None => return Next::End(record),
        },
        Remains::Wait(why) => match journal.current.waiting_since {
            None => {
                let mut journal = journal.clone();
                journal.current.waiting_since = Some(ctx.now);
                return Next::Record(Box::new(journal));
            }
            Some(since) if ctx.since(since) < PATIENCE => return Next::Wait(waiting(&why), LATER),
            Some(_) => why,
        },
        Remains::Left(why) => why,
    };
    // What holds the next restart up may be just that.
    if !record.message.contains(&why) {
        record.message = format!("{}; {why}", record.message);
        record.message.truncate(record.message.floor_char_boundary(512));
    }
    Next::End(record)
}

fn waiting(why: &str) -> String {
    format!("the Sentinels are to forget the pods that were restarted, and cannot yet: {why}")
}

/// What the Sentinels still list of what this remediation has ended.
fn remains<'s>(ctx: &Context<'_>, journal: &Journal, shard: &'s Shard<'_>) -> Remains<'s> {
    let evicted = journal.members.iter().filter(|record| journal.evicted(&record.identity.pod));
    let ended: Vec<RunId> = evicted.map(|record| record.identity.run_id.clone()).collect();
    if ended.is_empty() {
        return Remains::Nothing;
    }
    let moved = journal.done().iter().any(|planned| matches!(planned.step, Step::Switchover { to: None, .. }));
    let remains = shard.sentinels_remember(&ended, moved || has_forgotten(journal));
    let most = ATTEMPTS.saturating_mul(ended.len()).saturating_mul(ctx.snapshot.sentinels.len());
    match remains {
        Remains::Forget(Forget { sentinel, set, .. })
            if usize::try_from(journal.forgotten).is_ok_and(|n| n >= most) =>
        {
            let why = journal.current.failure.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            Remains::Left(format!(
                "the Sentinel in {} did not forget the pods that were restarted{why}: run SENTINEL RESET {set} on one Sentinel \
                 after the other",
                sentinel.pod
            ))
        }
        remains => remains,
    }
}

/// `None`: it has no address by now.
fn act(journal: &Journal, forget: &Forget<'_>) -> Option<Next> {
    let sentinel = SentinelPeer::of(forget.sentinel)?;
    let journal = Journal { forgotten: journal.forgotten.saturating_add(1), ..journal.clone() };
    let effect = Effect::Forget { sentinel, set: forget.set.to_owned(), primary: forget.primary.clone() };
    Some(Next::Act(Box::new(journal), Box::new(effect)))
}
