//! Whether a restarted replica can go on where it was, and how large the replication backlog must be for that.
//!
//! A replica asks for a partial resync only if it still knows the replication id and offset of its data, and only a
//! dump keeps these: with an AOF, or without persistence, it always takes a full sync (measured: 7.0.15, 8.2.3, Valkey
//! 9.1.2). There a larger backlog would help nothing.

use std::time::Duration;

use super::{
    Context,
    effect::{Effect, Peer},
};
use crate::{
    assess::{headroom, persistence},
    domain::{
        bytes::Bytes,
        journal::{Journal, Outcome, RaisedBacklog, WorkloadRecord},
        snapshot::Target,
    },
    plan::next::{LATER, Next},
    topology::Shard,
};

/// From the eviction to the new process, without loading.
const POD_REPLACEMENT: Duration = Duration::from_secs(60);
/// A dump is loaded at least so fast, in bytes a second.
const LOADING_RATE: u64 = 50 << 20;
/// The backlog holds this many times what is expected to be written meanwhile.
const SAFETY: u64 = 2;
/// The share of the free room that a raised backlog may take, in percent: it counts as used memory.
const ROOM_SHARE_PERCENT: u32 = 25;
/// Seconds over which the write rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(300);
/// Attempts to set a backlog, or to set it back.
pub const ATTEMPTS: u32 = 3;
/// The name that `CONFIG SET` takes.
pub const SETTING: &str = "repl-backlog-size";

/// How a restarted replica gets its data back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resync {
    /// All of it again; the text says why.
    Full(String),
    /// What it missed, from the backlog as it is.
    Partial,
    /// What it missed, if the backlog is raised to this.
    PartialWith(Bytes),
}

/// What is to be expected when that member restarts as a replica of that primary.
pub fn expected(ctx: &Context<'_>, primary: &Target, restarted: &Target) -> Resync {
    match wanted(ctx, primary, restarted) {
        Ok(resync) => resync,
        Err(why) => Resync::Full(why),
    }
}

fn wanted(ctx: &Context<'_>, primary: &Target, restarted: &Target) -> Result<Resync, String> {
    let (Some(sample), Some(upstream)) = (restarted.sample(), primary.sample()) else {
        return Err("a sample is missing".to_owned());
    };
    let (Ok(config), Ok(serving)) = (&sample.config, &upstream.config) else {
        return Err("settings cannot be read".to_owned());
    };
    if config.appendonly {
        return Err("an AOF does not keep where in the replication it was".to_owned());
    }
    if config.save.is_empty() {
        return Err("it saves nothing when it is shut down".to_owned());
    }
    persistence::durable(restarted, config)?;
    let rate = write_rate(primary, ctx).ok_or_else(|| "how much is written is not known yet".to_owned())?;
    let outage = POD_REPLACEMENT + Duration::from_secs(sample.memory.used.0 / LOADING_RATE);
    let need = Bytes(rate.saturating_mul(outage.as_secs()).saturating_mul(SAFETY));
    if need <= serving.repl_backlog_size {
        return Ok(Resync::Partial);
    }
    // A Sentinel that fails over has both servers write their settings to their files.
    let shard = ctx.look.shard_of(primary);
    if !shard.is_some_and(Shard::is_plain) {
        return Err(format!("a backlog of {} would be needed, and under Sentinel none is raised", need.quantised()));
    }
    if shard.is_some_and(|shard| shard.is_amid_a_chain(primary) && shard.primary() != Some(primary)) {
        let (need, pod) = (need.quantised(), &primary.pod.name);
        return Err(format!("a backlog of {need} would be needed, and {pod}, which it follows, is left alone"));
    }
    // A power of two, so that the noise of a rate does not make another plan.
    let size = Bytes(need.0.checked_next_power_of_two().unwrap_or(u64::MAX));
    let more = size.saturating_sub(serving.repl_backlog_size);
    match room(primary) {
        Some(room) if more <= room => Ok(Resync::PartialWith(size)),
        Some(room) => Err(format!(
            "a backlog of {} would be needed, and there is room for {} more",
            size.quantised(),
            room.quantised()
        )),
        None => Err("the container has no limit to judge by".to_owned()),
    }
}

/// Bytes a second of replication stream, over the last minutes of one process; `None`: less than a minute is known.
fn write_rate(primary: &Target, ctx: &Context<'_>) -> Option<u64> {
    let run_id = &primary.sample()?.run_id;
    let recent = |at| ctx.since(at) <= RATE_WINDOW;
    let mut readings = primary.history.iter().filter(|reading| reading.run_id == *run_id && recent(reading.at));
    let first = readings.next()?;
    let last = readings.next_back()?;
    let seconds = Duration::try_from(last.at.duration_since(first.at)).ok()?.as_secs();
    (seconds >= 60).then(|| last.offset.saturating_sub(first.offset).div_ceil(seconds))
}

/// What the backlog may grow by: a share of what is left below the limit after a fork, and below `maxmemory`.
fn room(primary: &Target) -> Option<Bytes> {
    let memory = &primary.sample()?.memory;
    let limit = primary.pod.limit()?;
    let below_limit = limit.saturating_sub(memory.rss).saturating_sub(headroom::fork_need(primary.sample()?));
    let room = match memory.maxmemory {
        Bytes::ZERO => below_limit,
        maxmemory => below_limit.min(maxmemory.saturating_sub(memory.used)),
    };
    Some(room.percent(ROOM_SHARE_PERCENT))
}

/// Sets raised backlogs back before the remediation ends; the end comes when none is left.
pub fn set_back(ctx: &Context<'_>, journal: &Journal, mut record: Box<WorkloadRecord>) -> Next {
    let Some(raised) = journal.raised.first() else { return Next::End(record) };
    let without = || {
        let mut journal = journal.clone();
        journal.raised.retain(|other| other.identity != raised.identity);
        Next::Record(Box::new(journal))
    };
    let Some(target) = ctx.snapshot.target(&raised.identity.pod).filter(|t| t.pod.uid == raised.identity.uid) else {
        // Another pod: it started with its own settings.
        return without();
    };
    let begun = journal.current.begun_at.unwrap_or(journal.started_at);
    let given_up = |why: &str| {
        record.outcome = Some(Outcome::ConfigDrift);
        let size = Bytes(u64::try_from(raised.before_bytes).unwrap_or(0));
        let mut message =
            format!("{SETTING} of {} could not be set back to {size} ({why}); {}", raised.identity.pod, record.message);
        message.truncate(message.floor_char_boundary(512));
        record.message = message;
        Next::End(record)
    };
    let Some(sample) = target.sample() else {
        if ctx.since(begun) > ctx.policy.restart.step_timeout {
            return given_up("it does not answer");
        }
        return Next::Wait(
            format!("{} does not answer; its {SETTING} is still to be set back", target.pod.name),
            LATER,
        );
    };
    let live = sample.config.as_ref().ok().map(|config| config.repl_backlog_size);
    let before = Bytes(u64::try_from(raised.before_bytes).unwrap_or(0));
    if sample.run_id != raised.identity.run_id || live == Some(before) {
        return without();
    }
    let Some(peer) = Peer::of(target) else { return without() };
    if raised.attempt >= ATTEMPTS {
        return given_up("CONFIG SET failed");
    }
    let mut journal = journal.clone();
    let tried = |other: &mut RaisedBacklog| other.attempt = other.attempt.saturating_add(1);
    journal.raised.iter_mut().take(1).for_each(tried);
    Next::Act(Box::new(journal), Box::new(Effect::SetBacklog { peer, size: before, back: true }))
}
