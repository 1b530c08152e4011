//! Settings of a primary that hold only while a Sentinel gives its role to another member: which, and setting them back.
//!
//! A Sentinel that demotes or promotes a server has it write its settings to its file, these too. So they are set back
//! there, also on another process of the same pod, which may have started with them
//! ([docs/adr/0019](../../docs/adr/0019-the-exchange-under-sentinel.md)).

use super::{
    Context,
    effect::{Effect, Peer},
    next::{LATER, Next},
};
use crate::domain::{
    journal::{CarriedSetting, Journal, Outcome, TemporarySettings, WorkloadRecord},
    sample::Config,
    snapshot::Target,
    step::{Begins, Step},
};

/// Attempts to set them back.
const ATTEMPTS: u32 = 3;

const PING: &str = "repl-ping-replica-period";
const LAG: &str = "min-replicas-max-lag";
const REPLICAS: &str = "min-replicas-to-write";
/// More replicas than any set has: writes are refused (`NOREPLICAS`).
const MORE_THAN_THERE_ARE: &str = "1000";
/// With 0 `min-replicas-to-write` means nothing; this is what servers come with.
const USUAL_LAG: &str = "10";
/// Pings come at least this much before replicas lose patience (`repl-timeout`), should nobody ever set them back.
const BEFORE_TIMEOUT: u64 = 5;

/// What is set for the time of an exchange, in order; `None`: what the primary has now is not known, so that it could not be
/// set back.
pub(super) fn wanted(config: &Config) -> Option<Vec<CarriedSetting>> {
    let (period, timeout) = (config.serving.replica_ping_period?, config.serving.replica_timeout?);
    let carried = &config.serving.carried;
    let setting = |name: &str, before: &str, value: &str| CarriedSetting {
        name: name.to_owned(),
        before: before.to_owned(),
        value: value.to_owned(),
    };
    let long = timeout.saturating_sub(BEFORE_TIMEOUT);
    let ping = (long > period).then(|| setting(PING, &period.to_string(), &long.to_string()));
    let lag = carried.get(LAG)?;
    let lag = (lag == "0").then(|| setting(LAG, lag, USUAL_LAG));
    let replicas = setting(REPLICAS, carried.get(REPLICAS)?, MORE_THAN_THERE_ARE);
    Some(ping.into_iter().chain(lag).chain([replicas]).collect())
}

/// Whether it keeps pings away: one between the promotion and the REPLICAOF costs every replica a full sync. The others refuse
/// writes.
pub(super) fn is_quiet(setting: &CarriedSetting) -> bool {
    setting.name == PING
}

/// Name and value of each, as they are set; or, back, as they were.
pub(super) fn values<'a>(settings: impl IntoIterator<Item = &'a CarriedSetting>, back: bool) -> Vec<(String, String)> {
    let value = |it: &CarriedSetting| if back { it.before.clone() } else { it.value.clone() };
    settings.into_iter().map(|setting| (setting.name.clone(), value(setting))).collect()
}

/// Of what was set the pod has nothing now; `None`: it does not say. It stays in the journal to the end: a command that was
/// not answered may lie in the socket of a server that stood still, and is read after the one that set it back.
fn are_back(ctx: &Context<'_>, temporary: &TemporarySettings) -> Option<bool> {
    let config = ctx.snapshot.target(&temporary.identity.pod)?.sample()?.config.as_ref().ok()?;
    Some(left(temporary, config).is_empty())
}

/// Whether what was set is seen to be set back.
pub(super) fn is_back(ctx: &Context<'_>, temporary: &TemporarySettings) -> bool {
    are_back(ctx, temporary) == Some(true)
}

/// What is to be done before the next pod is disturbed: of what an exchange that is over had set something is there again.
pub(super) fn came_back(ctx: &Context<'_>, journal: &Journal) -> Option<Next> {
    let at_gates = journal.step().is_some_and(|step| step.kind().begins() == Begins::AtGates);
    let temporary = journal.temporary.as_ref().filter(|_| at_gates && journal.current.begun_at.is_none())?;
    if are_back(ctx, temporary) == Some(false) { due(ctx, journal) } else { None }
}

/// Of what was set those that the pod still has.
fn left(temporary: &TemporarySettings, config: &Config) -> Vec<CarriedSetting> {
    let now = |name: &str| match name {
        PING => config.serving.replica_ping_period.map(|period| period.to_string()),
        other => config.serving.carried.get(other).cloned(),
    };
    let is_ours = |setting: &&CarriedSetting| {
        now(&setting.name).as_deref() == Some(&setting.value) && setting.before != setting.value
    };
    temporary.settings.iter().filter(is_ours).cloned().collect()
}

/// What is to be done before the pod of these settings is left alone; `None`: there are none, or they are given up.
pub(super) fn due(ctx: &Context<'_>, journal: &Journal) -> Option<Next> {
    let temporary = journal.temporary.as_ref()?;
    let without = || {
        let journal = Journal { temporary: None, ..journal.clone() };
        Some(Next::Record(Box::new(journal)))
    };
    // The set wants fewer pods by now, or the pod is being replaced.
    let Some(target) = ctx.snapshot.target(&temporary.identity.pod) else { return without() };
    // It was seen to be set back before anybody else was disturbed, and says nothing just now.
    let moved = journal.done().iter().any(|planned| matches!(planned.step, Step::Switchover { to: None, .. }));
    if moved && are_back(ctx, temporary).is_none() {
        return without();
    }
    let Some(sample) = target.sample() else { return waits(ctx, journal, target) };
    let (Ok(config), Some(peer)) = (&sample.config, Peer::of(target)) else { return waits(ctx, journal, target) };
    let left = left(temporary, config);
    if left.is_empty() {
        return without();
    }
    if temporary.back_attempt >= ATTEMPTS {
        return None;
    }
    let mut journal = journal.clone();
    if let Some(temporary) = &mut journal.temporary {
        temporary.back_attempt = temporary.back_attempt.saturating_add(1);
    }
    let effect = Effect::SetBack { peer, settings: values(&left, true) };
    Some(Next::Act(Box::new(journal), Box::new(effect)))
}

fn waits(ctx: &Context<'_>, journal: &Journal, target: &Target) -> Option<Next> {
    let waited = ctx.since(journal.current.begun_at.unwrap_or(journal.started_at));
    let pod = &target.pod.name;
    let why = format!("{pod} gives no sample; settings that held for an exchange of its role are still to be set back");
    (waited <= ctx.policy.restart.step_timeout).then_some(Next::Wait(why, LATER))
}

/// Sets them back before the remediation ends; the end comes when nothing is left.
pub(super) fn set_back(ctx: &Context<'_>, journal: &Journal, mut record: Box<WorkloadRecord>) -> Next {
    let Some(temporary) = &journal.temporary else { return Next::End(record) };
    if let Some(next) = due(ctx, journal) {
        return next;
    }
    let shown: Vec<String> = temporary.settings.iter().map(|it| format!("{} {}", it.name, it.before)).collect();
    let mut message = format!(
        "{} could not be set back on {}, which refuses writes as primary until it is; {}",
        shown.join(", "),
        temporary.identity.pod,
        record.message
    );
    message.truncate(message.floor_char_boundary(512));
    record.outcome = Some(Outcome::ConfigDrift);
    record.message = message;
    Next::End(record)
}
