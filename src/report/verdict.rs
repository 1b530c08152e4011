//! The verdict: whether a person has to act, in one word and one sentence, from everything that was judged and decided.
//! Pure. What rules it: `ruling`; what is at stake: `risk`, `loss`; what is done by whom: `next`, `command`, `memory`, `pods`.

mod command;
mod loss;
mod memory;
mod next;
mod pods;
mod risk;
mod ruling;
mod sentinels;

use jiff::Timestamp;

pub use self::ruling::Level;
pub(super) use self::ruling::is_promised;
use super::Input;
use crate::{
    api::v1alpha1::{FindingStatus, RedisMemoryPolicyStatus, VerdictStatus},
    domain::finding::FindingCode,
};

/// Longest brief: `kubectl get rmp` stays within 100 columns.
const BRIEF_CAP: usize = 56;
/// Longest sentence.
const SENTENCE_CAP: usize = 4096;
/// Longest part of a sentence that comes from another text.
const PART_CAP: usize = 400;

/// The verdict of an evaluated policy.
pub(super) fn of(input: &Input<'_>, previous: &RedisMemoryPolicyStatus) -> VerdictStatus {
    let ruling = ruling::of(input, previous);
    let tightest = risk::Tightest::of(input, previous.verdict.as_ref());
    let since = since(&ruling.reason, ruling.found(), previous, input.now);
    let sentence = format!(
        "{}{}: {}. Risk: {}. Primary: {}. Operator: {}. You: {}",
        ruling.reason,
        when(&ruling, since),
        part(&ruling.what(input)),
        risk::sentence(input, &ruling, tightest.as_ref()),
        risk::primary(input, &ruling),
        part(&next::operator(input, &ruling, previous)),
        next::you(input, &ruling),
    );
    VerdictStatus {
        level: ruling.level.as_str().to_owned(),
        since,
        brief: cap(&ruling.brief(input), BRIEF_CAP),
        sentence: shortened(&sentence, SENTENCE_CAP),
        reason: ruling.reason,
        free_pod: tightest.as_ref().map(|it| it.pod().to_owned()),
        free: tightest.map(|it| it.free),
    }
}

/// The verdict of a policy that cannot be evaluated: what was found before, all of it stale, still counts.
pub(super) fn stalled(
    reason: &str,
    message: &str,
    findings: &[FindingStatus],
    previous: &RedisMemoryPolicyStatus,
    now: Timestamp,
) -> VerdictStatus {
    let earlier = previous.verdict.as_ref().filter(|verdict| verdict.level == Level::ActNow.as_str());
    let level = if earlier.is_some() && !findings.is_empty() { Level::ActNow } else { Level::Unknown };
    let since = since(reason, &[], previous, now);
    let before = earlier.map_or_else(String::new, |verdict| format!("; before that {}", verdict.brief));
    VerdictStatus {
        level: level.as_str().to_owned(),
        since,
        brief: cap(&format!("{reason}: not evaluated{before}"), BRIEF_CAP),
        sentence: cap(
            &format!(
                "{reason} since {}: the policy is not evaluated: {}{before}. Risk: not known. Primary: not known. Operator: \
                 changes nothing until the spec can be used. You: mend the spec (kubectl edit rmp)",
                shown(since),
                part(message)
            ),
            SENTENCE_CAP,
        ),
        reason: cap(reason, 64),
        free: None,
        free_pod: None,
    }
}

/// Since when that rules: of findings when the first of them was found, else since the verdict says so.
fn since(reason: &str, found: &[&FindingStatus], previous: &RedisMemoryPolicyStatus, now: Timestamp) -> Timestamp {
    let said = previous.verdict.as_ref().filter(|verdict| verdict.reason == reason).map(|verdict| verdict.since);
    let first = found.iter().filter_map(|finding| finding.since).chain(said).min();
    first.unwrap_or_else(|| Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// " since …", where that is when it began, else that it was noticed then: it may have been so before.
fn when(ruling: &ruling::Ruling<'_>, since: Timestamp) -> String {
    let began = match ruling.code() {
        Some(code) => matches!(code, FindingCode::OomKilled | FindingCode::OomKillLoop),
        None => {
            ruling.level == Level::Fine || [ruling::REMEDIATING, ruling::NOT_JUDGED].contains(&ruling.reason.as_str())
        }
    };
    format!("{} {}", if began { " since" } else { ", noticed" }, shown(since))
}

/// A time as it is shown.
pub(super) fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn part(text: &str) -> String {
    shortened(text.trim_end_matches('.'), PART_CAP)
}

/// Nobody takes a part of a command for all of it.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { format!("{} …", cap(text, most.saturating_sub(2))) }
}

fn cap(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests;
