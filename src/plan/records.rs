//! What is remembered of a member: made right before its own eviction, not when the remediation began, because days may
//! lie between; and how its replacement started, which is all that shows what a start file or a script says.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Context,
    begin::{self, settings},
};
use crate::{
    domain::{
        journal::{
            Journal, MemberRecord, PastRemediation, RestartRecord, Settings, StartRecord, StartValue, WorkloadRecord,
        },
        sample::Config,
        snapshot::Target,
    },
    topology::Shard,
};

/// While an eviction is refused again and again, sizes are written anew when they moved by this percentage.
const NOTABLE_PERCENT: u64 = 10;
/// Pods whose starts the record keeps, at most.
const MAX_STARTS: usize = 64;
/// Restarts are remembered this long at least: the budget of a day counts them.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// The record keeps at most this many; a budget of a day is never larger.
const MAX_RESTARTS: usize = 64;

/// The journal with the record of that member as it is now, if it is the pod that is recorded and something of it changed.
pub(super) fn renewed(mut journal: Journal, target: &Target) -> Journal {
    let Some(mut now) = begin::member(target) else { return journal };
    // A backlog that was raised for the time of the remediation is not what it had.
    if let Some(raised) = journal.raised.iter().find(|raised| raised.identity == now.identity) {
        now.settings.repl_backlog_size = raised.before_bytes;
    }
    if let Some(record) = journal.members.iter_mut().find(|record| record.identity == now.identity)
        && is_another(record, &now)
    {
        *record = MemberRecord {
            used_bytes: now.used_bytes,
            rss_bytes: now.rss_bytes,
            expected_gain_bytes: now.expected_gain_bytes,
            limit_bytes: now.limit_bytes,
            settings: now.settings,
            dir: now.dir,
            ..record.clone()
        };
    }
    journal
}

fn is_another(before: &MemberRecord, now: &MemberRecord) -> bool {
    let moved = |before: i64, now: i64| before.abs_diff(now) > before.unsigned_abs() / 100 * NOTABLE_PERCENT;
    before.settings != now.settings
        || before.dir != now.dir
        || before.limit_bytes != now.limit_bytes
        || moved(before.used_bytes, now.used_bytes)
        || moved(before.rss_bytes, now.rss_bytes)
}

/// The settings that must be applied so that `now` becomes `before`, in `CONFIG SET` form.
pub(super) fn differing(before: &Settings, now: &Settings) -> Vec<StartValue> {
    let yes_no = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let all = [
        ("maxmemory", before.maxmemory.to_string(), now.maxmemory.to_string()),
        ("maxmemory-policy", before.maxmemory_policy.clone(), now.maxmemory_policy.clone()),
        ("appendonly", yes_no(before.appendonly), yes_no(now.appendonly)),
        ("save", before.save.clone(), now.save.clone()),
        ("repl-backlog-size", before.repl_backlog_size.to_string(), now.repl_backlog_size.to_string()),
    ];
    let values = all.into_iter().filter(|(_, before, now)| before != now);
    let first = values.map(|(name, before, start)| StartValue { name: name.to_owned(), before, start });
    // What one of them does not say is not known to differ.
    let others = before.others.iter().filter_map(|before| {
        let now = now.others.iter().find(|now| now.name == before.name && now.value != before.value)?;
        Some(StartValue { name: now.name.clone(), before: before.value.clone(), start: now.value.clone() })
    });
    first.chain(others).collect()
}

/// The journal with how that replacement started. Only the first look shows it: later ones show what was set since.
pub(super) fn started(ctx: &Context<'_>, mut journal: Journal, target: &Target, config: &Config) -> Journal {
    let revision = target.pod.revision.clone().unwrap_or_default();
    if let Some(record) = journal.members.iter_mut().find(|record| record.identity.pod == target.pod.name)
        && record.started.is_none()
    {
        let mut settings = differing(&record.settings, &settings(config));
        if let Some(before) = record.dir.clone().filter(|before| *before != config.dir) {
            settings.push(StartValue { name: "dir".to_owned(), before, start: config.dir.clone() });
        }
        record.started = Some(StartRecord { pod: target.pod.name.clone(), revision, at: ctx.now, settings });
    }
    journal
}

/// How replacements started, by what was remembered and by what the remediation has seen: of each pod its last return,
/// where it was not what the pod before had.
pub(super) fn starts(before: Option<&WorkloadRecord>, journal: &Journal) -> Vec<StartRecord> {
    let mut starts: Vec<StartRecord> = journal.members.iter().filter_map(|member| member.started.clone()).collect();
    let earlier = before.into_iter().flat_map(|record| &record.starts);
    let older: Vec<_> = earlier.filter(|old| starts.iter().all(|new| new.pod != old.pod)).cloned().collect();
    starts.extend(older);
    starts.retain(|start| !start.settings.is_empty());
    starts.truncate(MAX_STARTS);
    starts
}

/// Restarts of the last day, for the budgets, and the last one of each pod, for its cooldown: those of this remediation among
/// them, the newest first.
pub(super) fn restarts(ctx: &Context<'_>, before: Option<&WorkloadRecord>, journal: &Journal) -> Vec<RestartRecord> {
    let evicted = journal.members.iter().filter(|member| journal.evicted(&member.identity.pod));
    let now = evicted.map(|MemberRecord { identity, caught_up_at, .. }| RestartRecord {
        pod: identity.pod.clone(),
        at: caught_up_at.unwrap_or(ctx.now),
    });
    let earlier = before.into_iter().flat_map(|record| record.restarts.iter().cloned());
    let mut restarts: Vec<RestartRecord> = earlier.chain(now).collect();
    restarts.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.pod.cmp(&b.pod)));
    let mut seen = BTreeSet::new();
    restarts.retain(|restart| seen.insert(restart.pod.clone()) || ctx.since(restart.at) < REMEMBERED);
    restarts.truncate(MAX_RESTARTS);
    restarts
}

/// The remediations before this one, the newest first.
pub(super) fn earlier(before: Option<&WorkloadRecord>, journal: &Journal) -> Vec<PastRemediation> {
    let mut earlier = before.map(WorkloadRecord::history).unwrap_or_default();
    earlier.retain(|past| past.remediation != journal.id);
    earlier.truncate(PastRemediation::MOST);
    earlier
}

/// How replacements of that shard's members started, by what is remembered.
pub(super) fn remembered(ctx: &Context<'_>, shard: &Shard<'_>) -> Vec<StartRecord> {
    shard.record(ctx.records).map(|record| record.starts.clone()).unwrap_or_default()
}
