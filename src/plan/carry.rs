//! Settings that clients rely on, given to the candidate right before it takes over, and taken back when it does not.
//!
//! Spring Session and Redisson turn keyspace notifications on by `CONFIG SET` on the primary that they find when they
//! start: on a new primary they would be missing without a word.

use super::{
    Context,
    begin::identity,
    effect::{Effect, Peer},
};
use crate::{
    domain::{
        journal::{CarriedSetting, CarriedSettings, Journal, Outcome, WorkloadRecord},
        sample::{Config, Role},
        snapshot::Target,
    },
    plan::next::{LATER, Next},
};

/// Attempts to set them, or to take them back.
const ATTEMPTS: u32 = 3;

/// The settings in which the candidate differs. What is not known of one of them is left as it is.
fn missing(primary: &Config, candidate: &Config) -> Vec<CarriedSetting> {
    let (from, to) = (&primary.serving.carried, &candidate.serving.carried);
    let differing = from.iter().filter_map(|(name, value)| {
        let before = to.get(name).filter(|before| *before != value)?;
        Some(CarriedSetting { name: name.clone(), before: before.clone(), value: value.clone() })
    });
    differing.collect()
}

/// What is still to be given to the candidate before the role moves; `None`: nothing. An error: it will not take it.
pub(super) fn over(
    journal: Journal,
    primary: &Target,
    candidate: &Target,
) -> Result<Option<(Journal, Effect)>, String> {
    let configs = |target: &Target| target.sample().and_then(|sample| sample.config.clone().ok());
    let (Some(from), Some(to)) = (configs(primary), configs(candidate)) else { return Ok(None) };
    let missing = missing(&from, &to);
    let (Some(first), Some(peer), Some(who)) = (missing.first(), Peer::of(candidate), identity(candidate)) else {
        return Ok(None);
    };
    let mut journal = journal;
    let known = journal.carried.iter().position(|carried| carried.identity == who);
    if known.is_none() {
        let carried = CarriedSettings { identity: who.clone(), settings: Vec::new(), attempt: 0, back_attempt: 0 };
        journal.carried.push(carried);
    }
    let Some(carried) = journal.carried.iter_mut().find(|carried| carried.identity == who) else { return Ok(None) };
    if carried.attempt >= ATTEMPTS {
        return Err(format!(
            "{} of {} could not be set to {}, which clients have on {}; the role was not handed over",
            first.name, candidate.pod.name, first.value, primary.pod.name
        ));
    }
    carried.attempt = carried.attempt.saturating_add(1);
    for setting in &missing {
        match carried.settings.iter_mut().find(|known| known.name == setting.name) {
            Some(known) => known.value.clone_from(&setting.value),
            None => carried.settings.push(setting.clone()),
        }
    }
    let settings = missing.into_iter().map(|setting| (setting.name, setting.value)).collect();
    Ok(Some((journal, Effect::Carry { peer, settings, back: false })))
}

/// Takes back what was given to a candidate that did not become primary, before the remediation ends; the end comes when
/// nothing is left.
pub(super) fn take_back(ctx: &Context<'_>, journal: &Journal, record: Box<WorkloadRecord>) -> Next {
    for (n, carried) in journal.carried.iter().enumerate() {
        match left(ctx, journal, carried) {
            Left::Nothing => {}
            Left::Unanswered => {
                let why = format!("{} does not answer; settings of it are still to be set back", carried.identity.pod);
                return Next::Wait(why, LATER);
            }
            Left::GivenUp(why) => return Next::End(drifted(record, carried, why)),
            Left::Settings(peer, settings) => {
                let mut journal = journal.clone();
                if let Some(carried) = journal.carried.get_mut(n) {
                    carried.back_attempt = carried.back_attempt.saturating_add(1);
                }
                // A Sentinel has every member that it leads elsewhere write its settings to its file, these too.
                let effect = if journal.by_sentinel() {
                    Effect::SetBack { peer, settings }
                } else {
                    Effect::Carry { peer, settings, back: true }
                };
                return Next::Act(Box::new(journal), Box::new(effect));
            }
        }
    }
    Next::End(record)
}

/// What is left to be taken back from one candidate.
enum Left {
    Nothing,
    Unanswered,
    GivenUp(&'static str),
    Settings(Peer, Vec<(String, String)>),
}

fn left(ctx: &Context<'_>, journal: &Journal, carried: &CarriedSettings) -> Left {
    // Another pod started with its own settings.
    let target = ctx.snapshot.target(&carried.identity.pod).filter(|target| target.pod.uid == carried.identity.uid);
    let Some(target) = target else { return Left::Nothing };
    let Some(sample) = target.sample() else {
        let waited = ctx.since(journal.current.begun_at.unwrap_or(journal.started_at));
        let over = waited > ctx.policy.restart.step_timeout;
        return if over { Left::GivenUp("it does not answer") } else { Left::Unanswered };
    };
    // A process that took over after all, by another hand, has clients that rely on them.
    let (Ok(config), Some(peer)) = (&sample.config, Peer::of(target)) else { return Left::Nothing };
    if sample.run_id != carried.identity.run_id || sample.replication.role == Role::Primary {
        return Left::Nothing;
    }
    let ours = |setting: &&CarriedSetting| {
        config.serving.carried.get(&setting.name) == Some(&setting.value) && setting.before != setting.value
    };
    let settings: Vec<_> =
        carried.settings.iter().filter(ours).map(|setting| (setting.name.clone(), setting.before.clone())).collect();
    match settings.as_slice() {
        [] => Left::Nothing,
        _ if carried.back_attempt >= ATTEMPTS => Left::GivenUp("CONFIG SET failed"),
        _ => Left::Settings(peer, settings),
    }
}

/// What is remembered when a setting stays that should not.
fn drifted(mut record: Box<WorkloadRecord>, carried: &CarriedSettings, why: &str) -> Box<WorkloadRecord> {
    let names = carried.settings.iter().map(|setting| setting.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut message = format!("{names} of {} could not be set back ({why}); {}", carried.identity.pod, record.message);
    message.truncate(message.floor_char_boundary(512));
    record.outcome = Some(Outcome::ConfigDrift);
    record.message = message;
    record
}
