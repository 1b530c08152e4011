//! What a set's servers were seen to need: the terms of method Measured. Of a set the largest of each term counts: roles
//! swap, so what the primary's clients and forks take and what a replica's full sync takes may be asked of any member.

use std::time::Duration;

use super::demand::{
    Copied, Demand, Evidence, LEAST_CLIENTS, LEAST_COPIED, LEAST_RATIO, REPLICA_BUFFER, Terms, UNKNOWN_COPIED,
    UNKNOWN_SCRIPTS, UNLIMITED,
};
use crate::domain::{
    bytes::{Bytes, MIB},
    peaks::{Peaks, TELLING_FROM},
    policy::{HeadroomMethod, Policy},
    ratio::Ratio,
    sample::{Config, Engine, Role, Sample, Version},
    snapshot::Target,
};

/// A pod that was sampled for less is not measured yet.
pub const NEEDED: Duration = Duration::from_secs(3600);
/// From this many bytes of writes a second on a fork copies most pages. A child that writes 50 MB a second lives for used / 50 MB
/// seconds; writes of 100 bytes to random pages touch 1 − e^(−41 · rate / 50 MB/s) of them meanwhile, whatever the size: 58 %
/// at 1 MiB a second, 92 % at 3.
const WRITE_HEAVY: Bytes = Bytes(MIB);
/// A fork that was measured counts for writes of up to twice the rate.
const COUNTS_FOR: u64 = 2;
/// The default of `repl-timeout`, in seconds: a replica that has not answered for that time is cut off.
const REPLICA_TIMEOUT: u64 = 60;
/// The next fork may copy more than any that was seen, and there may be more writes: this share of it, in percent, is provided for.
const ABOVE_SEEN_PERCENT: u32 = 150;
/// Steps in which κ is rounded up, in percent.
const COPIED_STEP: u32 = 5;
/// Amounts are rounded up to a multiple of at least this.
const LEAST_STEP: u64 = 4 * MIB;
/// From this version on Redis counts Lua's machines as used memory.
const SCRIPTS_COUNTED_FROM: Version = Version { major: 7, minor: 4, patch: 0 };

impl Demand {
    /// What these members of one set demand.
    pub fn of(policy: &Policy, members: &[&Target]) -> Self {
        match policy.headroom.method {
            HeadroomMethod::Fixed => Self::assumed(&policy.headroom),
            HeadroomMethod::Measured => Self::Measured(terms(policy, members)),
        }
    }
}

fn terms(policy: &Policy, members: &[&Target]) -> Terms {
    let samples: Vec<&Sample> = members.iter().filter_map(|target| target.sample()).collect();
    let evidence = evidence(members);
    let ratios = members.iter().filter(|target| is_measured(target)).filter_map(|target| target.peaks.ratio);
    let ratio = ratios.max().unwrap_or(LEAST_RATIO).min(policy.fragmentation.restart).max(LEAST_RATIO);
    let replicates = members.len() > 1 || samples.iter().any(|sample| replicates(sample));
    let (copied, copied_by) = copied(members, &samples, replicates, evidence);
    let largest = |of: fn(&Target) -> Bytes| members.iter().map(|target| of(target)).max().unwrap_or_default();
    let all = u64::try_from(members.len()).unwrap_or(u64::MAX);
    Terms {
        minimum: policy.headroom.minimum,
        ratio,
        uncounted: coarse(largest(|target| {
            target.peaks.uncounted.max(now(target, |sample| sample.memory.not_counted_for_evict))
        })),
        buffer_limit: if replicates {
            samples.iter().map(|sample| buffer_limit(sample, all)).max().unwrap_or(REPLICA_BUFFER)
        } else {
            Bytes::ZERO
        },
        unsent: if replicates { unsent(&samples, all, measured(members, |peaks| peaks.writes)) } else { Bytes::ZERO },
        clients: coarse(largest(|target| target.peaks.clients.max(now(target, |sample| sample.memory.clients_normal))))
            .max(LEAST_CLIENTS),
        scripts: samples.iter().map(|sample| scripts(sample)).max().unwrap_or_default().round_up_mib(),
        copied,
        copied_by,
        twice: replicates
            && samples.iter().any(|it| it.config.as_ref().is_ok_and(|config| config.diskless_load == "swapdb")),
        sync_buffer: coarse(largest(|target| {
            target.peaks.sync_buffer.max(now(target, |sample| sample.memory.sync_buffer.unwrap_or_default()))
        })),
        evidence,
    }
}

fn is_measured(target: &Target) -> bool {
    target.peaks.covered >= NEEDED
}

fn evidence(members: &[&Target]) -> Evidence {
    if !members.iter().any(|target| is_measured(target)) {
        Evidence::NotYet
    } else if members.iter().all(|target| is_measured(target) && target.sample().is_some()) {
        Evidence::Measured
    } else {
        Evidence::InPart
    }
}

/// What the last answer says, at most what the server uses: all of these amounts are in that.
fn now(target: &Target, amount: fn(&Sample) -> Bytes) -> Bytes {
    target.sample().map(|sample| amount(sample).min(sample.memory.used)).unwrap_or_default()
}

fn replicates(sample: &Sample) -> bool {
    // Who does not say what it is may be a replica.
    sample.replication.role != Role::Primary || !sample.replication.replicas.is_empty() || sample.replicas_unread()
}

/// What it may hold for replicas before it cuts them off, of a set with that number of members.
fn buffer_limit(sample: &Sample, members: u64) -> Bytes {
    let Ok(config) = &sample.config else { return REPLICA_BUFFER };
    let each = match config.replica_output_limit {
        Bytes::ZERO => UNLIMITED,
        limit => limit.max(config.repl_backlog_size),
    };
    Bytes(each.0.saturating_mul(buffers(sample, members)))
}

/// How many buffers it holds for replicas, of a set with that number of members: from 7.0 on all share one.
fn buffers(sample: &Sample, members: u64) -> u64 {
    let shared = sample.server.engine == Engine::Valkey || sample.server.version.major >= 7;
    if shared { 1 } else { members.saturating_sub(1).max(1) }
}

/// What is held back for replicas that do not answer until they are cut off, at half as many writes again as were seen: all
/// that is written within `repl-timeout`, whatever `maxmemory` is.
fn unsent(samples: &[&Sample], members: u64, writes: Bytes) -> Bytes {
    let seconds = samples.iter().map(|sample| {
        let timeout = sample.config.as_ref().ok().and_then(|config| config.serving.replica_timeout);
        timeout.unwrap_or(REPLICA_TIMEOUT).saturating_mul(buffers(sample, members))
    });
    let seconds = seconds.max().unwrap_or_default();
    coarse(Bytes(writes.0.saturating_mul(seconds)).percent(ABOVE_SEEN_PERCENT))
}

/// The most that any member was seen to take, of those that were sampled for long enough.
fn measured(members: &[&Target], of: fn(&Peaks) -> Bytes) -> Bytes {
    members.iter().filter(|target| is_measured(target)).map(|target| of(&target.peaks)).max().unwrap_or_default()
}

fn scripts(sample: &Sample) -> Bytes {
    if sample.server.engine == Engine::Redis && sample.server.version >= SCRIPTS_COUNTED_FROM {
        return Bytes::ZERO;
    }
    sample.memory.scripts.map_or(UNKNOWN_SCRIPTS, |scripts| scripts.min(sample.memory.rss))
}

/// κ, and where it is from. All members take the same writes, so that a fork of one that was measured speaks for all.
fn copied(members: &[&Target], samples: &[&Sample], replicates: bool, evidence: Evidence) -> (Ratio, Copied) {
    let seen = members.iter().filter_map(|target| target.peaks.copied).max();
    if seen.is_none() && !replicates && !samples.is_empty() && !samples.iter().any(|sample| may_fork(sample)) {
        return (Ratio(0), Copied::Never);
    }
    let (writes, forked) = (measured(members, |it| it.writes), measured(members, |it| it.writes_copied));
    let unmeasured = writes.0 > forked.0.saturating_mul(COUNTS_FOR);
    if unmeasured && writes >= WRITE_HEAVY {
        return (Ratio(100), Copied::WriteHeavy);
    }
    let by_writes = if unmeasured { copied_under(writes) } else { Ratio::default() };
    match seen.map(provided) {
        Some(seen) if evidence != Evidence::NotYet && seen >= by_writes => (seen, Copied::Seen),
        Some(_) if evidence != Evidence::NotYet => (by_writes, Copied::ByWrites),
        seen => {
            // What a process says of its forks is of an unknown size of the data: it counts where it is more.
            let told = samples.iter().filter(|sample| sample.memory.used >= TELLING_FROM);
            let told = told.filter_map(|it| Ratio::of(it.persistence.copy_on_write, it.memory.used)).max();
            let known = seen.max(told.map(provided)).unwrap_or_default().max(UNKNOWN_COPIED);
            if by_writes > known { (by_writes, Copied::ByWrites) } else { (known, Copied::Unknown) }
        }
    }
}

/// What a fork copies under more writes than any was measured under: as much of the data as they are of
/// [`WRITE_HEAVY`], which is 1.2 to 1.7 times the share of pages that is given there.
fn copied_under(writes: Bytes) -> Ratio {
    stepped(writes.0.saturating_mul(100).div_ceil(WRITE_HEAVY.0))
}

/// What is provided for the next fork, after one that copied so much.
fn provided(seen: Ratio) -> Ratio {
    stepped(u64::from(seen.0) * u64::from(ABOVE_SEEN_PERCENT) / 100).max(LEAST_COPIED)
}

/// That many percent, rounded up so that what wavers moves nothing; not more than all.
fn stepped(percent: u64) -> Ratio {
    Ratio(u32::try_from(percent.min(100).next_multiple_of(u64::from(COPIED_STEP))).unwrap_or(100))
}

/// Something makes it fork, or has made it: a save, a rewrite, a module.
fn may_fork(sample: &Sample) -> bool {
    let persistence = &sample.persistence;
    let forked = !sample.latest_fork.is_zero()
        || sample.is_unread("latest_fork_usec")
        || persistence.child_running
        || persistence.rewrite_scheduled
        || persistence.copy_on_write > Bytes::ZERO;
    forked || persistence.aof_enabled || sample.config.as_ref().map_or(true, Config::persists)
}

/// Rounded up to an eighth of the next power of two, at least to 4 MiB.
fn coarse(amount: Bytes) -> Bytes {
    let step = amount.0.checked_next_power_of_two().map_or(1 << 61, |power| power / 8).max(LEAST_STEP);
    Bytes(amount.0.checked_next_multiple_of(step).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
