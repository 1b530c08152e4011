//! Who sets back what this operator keeps right wins: no field is fought over (invariant S10). Pure but for a lock; time is
//! an argument.
//!
//! A value that was set three times within ten minutes and is not there again is left alone for an hour, and said with the
//! field manager that set it back. After the hour it is tried once, and once is enough to see. A refusal of the API server
//! that comes three times is the same. It lives as long as the process; a new one believes what the
//! status says of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::v1alpha1::{FindingStatus, RedisMemoryPolicyStatus},
    assess::reverted,
    domain::{
        finding::FindingCode,
        names::{PodName, PodUid, RunId},
        snapshot::Snapshot,
        surroundings::{Kept, LeftAlone, RefusedLimit, Undone},
    },
    plan::effect::Effect,
};

/// Attempts within [`WITHIN`]: after them the one that sets it back wins.
const TIMES: usize = 3;
const WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// Then it is left alone for this time.
const LEFT_ALONE: SignedDuration = SignedDuration::from_hours(1);
/// As many characters of a refusal are kept: enough for a quota of several resources.
const SAID: usize = 512;
/// What was last touched this long ago is forgotten.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(3);

/// What was set, and what became of it.
#[derive(Debug, Default)]
pub struct Reverts(Mutex<BTreeMap<(PodUid, Kept), Entry>>);

#[derive(Debug)]
struct Entry {
    pod: PodName,
    value: String,
    /// The process that has it, where it goes with the process: another one that starts without it has set nothing back.
    process: Option<RunId>,
    /// When it was set, the newest last.
    set: Vec<Timestamp>,
    /// When it was refused, the newest last.
    refused: Vec<Timestamp>,
    /// What the API server last said when it refused it.
    said: String,
    /// It is, or was, left alone until then.
    left: Option<(Timestamp, Undone, usize)>,
}

/// What an effect would keep right: pod, UID, what of it, and the value.
struct Subject {
    pod: PodName,
    uid: PodUid,
    kept: Kept,
    value: String,
    process: Option<RunId>,
}

fn subject(effect: &Effect) -> Option<Subject> {
    let (pod, uid, kept, value, process) = match effect {
        Effect::Label { pod, uid, value, .. } => (pod, uid, Kept::RoleLabel, value.clone(), None),
        Effect::Resize { pod, uid, limit, .. } => (pod, uid, Kept::Limit, limit.to_string(), None),
        Effect::SetMaxmemory { peer, value, .. } => {
            (&peer.pod, &peer.uid, Kept::Maxmemory, value.to_string(), Some(peer.run_id.clone()))
        }
        _ => return None,
    };
    Some(Subject { pod: pod.clone(), uid: uid.clone(), kept, value, process })
}

/// How many of these times lie within ten minutes of now.
fn lately(times: &[Timestamp], now: Timestamp) -> usize {
    times.iter().filter(|at| now.duration_since(**at) < WITHIN).count()
}

impl Reverts {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<(PodUid, Kept), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the effect may be made once more. What it sets is not there: if it was set before, somebody set it back.
    pub fn may(&self, effect: &Effect, snapshot: &Snapshot, now: Timestamp) -> bool {
        let Some(Subject { pod, uid, kept, value, process }) = subject(effect) else { return true };
        let mut entries = self.entries();
        let new = || Entry { process: process.clone(), ..Entry::new(&pod, &value) };
        let entry = entries.entry((uid.clone(), kept)).or_insert_with(new);
        if entry.value != value || (entry.process != process && entry.left.is_none()) {
            *entry = new();
        }
        let by = snapshot.targets.iter().find(|target| target.pod.uid == uid).and_then(|target| match kept {
            Kept::RoleLabel => target.pod.managers.role_label.clone(),
            Kept::Limit => target.pod.managers.limit.clone(),
            Kept::Maxmemory => None,
        });
        let (set, enough) = match &entry.left {
            Some((until, ..)) if *until > now => return false,
            Some(_) => (lately(&entry.set, now), 1),
            None => (lately(&entry.set, now), TIMES),
        };
        if set >= enough {
            entry.left = Some((now.checked_add(LEFT_ALONE).unwrap_or(now), Undone::By(by), set));
        }
        set < enough
    }

    /// The effect was made. Whether it is news: the same was not made there within ten minutes.
    pub fn made(&self, effect: &Effect, now: Timestamp) -> bool {
        let mut is_news = true;
        self.note(effect, |entry| {
            is_news = lately(&entry.set, now) == 0;
            entry.set.push(now);
            let surplus = entry.set.len().saturating_sub(TIMES);
            entry.set.drain(..surplus);
        });
        is_news
    }

    /// Roles are moved, and the role labels of these pods with them: that those are not as they were set is our own doing, and
    /// nobody has set them back.
    pub fn labels_move(&self, pods: [&PodUid; 2]) {
        let mut entries = self.entries();
        for uid in pods {
            if let Some(entry) = entries.get_mut(&(uid.clone(), Kept::RoleLabel)) {
                entry.set.clear();
            }
        }
    }

    /// The API server refused the effect with this text.
    pub fn refused(&self, effect: &Effect, text: &str, now: Timestamp) {
        self.note(effect, |entry| {
            entry.refused.push(now);
            let surplus = entry.refused.len().saturating_sub(TIMES);
            entry.refused.drain(..surplus);
            let tried_again = entry.left.as_ref().is_some_and(|(until, ..)| *until <= now);
            let times = lately(&entry.refused, now);
            if times >= TIMES || tried_again {
                let until = now.checked_add(LEFT_ALONE).unwrap_or(now);
                entry.left = Some((until, Undone::Refused(text.to_owned()), times));
            }
        });
    }

    /// The server answered late while it evicted down to what the effect sets, and has again what it had before: its clients
    /// waited, so it is not asked to evict again for a while.
    pub fn stopped(&self, effect: &Effect, why: &str, now: Timestamp) {
        self.note(effect, |entry| {
            let until = now.checked_add(LEFT_ALONE).unwrap_or(now);
            entry.left = Some((until, Undone::Stopped(why.chars().take(SAID).collect()), 1));
        });
    }

    /// The API server refused to raise a limit. It is tried again, for a quota may let go at any time.
    pub fn limit_refused(&self, effect: &Effect, text: &str, now: Timestamp) {
        self.note(effect, |entry| {
            entry.refused = vec![now];
            entry.said = text.chars().take(SAID).collect();
        });
    }

    /// Pods whose limit was last refused, within the hour, and why.
    pub fn refused_limits(&self, now: Timestamp) -> Vec<RefusedLimit> {
        let entries = self.entries();
        let of_limits = entries.iter().filter(|((_, kept), entry)| {
            let refused = entry.refused.last().filter(|at| now.duration_since(**at) < LEFT_ALONE);
            *kept == Kept::Limit && refused.is_some() && refused > entry.set.last()
        });
        of_limits.map(|((uid, _), entry)| RefusedLimit { uid: uid.clone(), text: entry.said.clone() }).collect()
    }

    fn note(&self, effect: &Effect, change: impl FnOnce(&mut Entry)) {
        let Some(Subject { pod, uid, kept, value, process }) = subject(effect) else { return };
        let mut entries = self.entries();
        let entry = entries.entry((uid, kept)).or_insert_with(|| Entry { process, ..Entry::new(&pod, &value) });
        change(entry);
    }

    /// What an earlier process left alone, by the status that it wrote, is left alone for what is left of the hour. What
    /// this process knows of itself stands.
    pub fn believe(&self, status: &RedisMemoryPolicyStatus, now: Timestamp) {
        let latest = now.checked_add(LEFT_ALONE).unwrap_or(now);
        let said = status.findings.iter().filter_map(said).filter(|left| left.until > now);
        let mut entries = self.entries();
        for LeftAlone { pod, uid, kept, value, times, undone, until } in said {
            let times = usize::try_from(times).unwrap_or(usize::MAX);
            let left = Some((until.min(latest), undone, times));
            entries.entry((uid, kept)).or_insert_with(|| Entry { left, ..Entry::new(&pod, &value) });
        }
    }

    /// What is left alone now.
    pub fn left_alone(&self, now: Timestamp) -> Vec<LeftAlone> {
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.last().is_none_or(|at| now.duration_since(at) < FORGOTTEN));
        let left = entries.iter().filter_map(|((uid, kept), entry)| {
            let (until, undone, times) = entry.left.as_ref().filter(|(until, ..)| *until > now)?;
            Some(LeftAlone {
                pod: entry.pod.clone(),
                uid: uid.clone(),
                kept: *kept,
                value: entry.value.clone(),
                times: u32::try_from(*times).unwrap_or(u32::MAX),
                undone: undone.clone(),
                until: *until,
            })
        });
        left.collect()
    }
}

fn said(finding: &FindingStatus) -> Option<LeftAlone> {
    let code = FindingCode::named(&finding.code)?;
    let pod = (PodName::new(finding.pod.clone()?), PodUid::new(finding.pod_uid.clone()?));
    reverted::read(code, pod, &finding.evidence, &finding.remedy)
}

impl Entry {
    fn new(pod: &PodName, value: &str) -> Self {
        Self {
            pod: pod.clone(),
            value: value.to_owned(),
            process: None,
            set: Vec::new(),
            refused: Vec::new(),
            said: String::new(),
            left: None,
        }
    }

    fn last(&self) -> Option<Timestamp> {
        let left = self.left.as_ref().map(|(until, ..)| *until);
        self.set.iter().chain(&self.refused).copied().max().max(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::judged::Judged,
        domain::{bytes::Bytes, fixtures},
        report,
    };

    // A restarted operator said LimitReverted resolved, and set the limit three times more.
    #[test]
    fn a_restarted_operator_believes_the_status_for_what_is_left_of_the_hour() {
        let (policy, snapshot) = (fixtures::policy(), fixtures::three_pods());
        let before = Reverts::default();
        for second in 0..3 {
            before.made(&limit(96), at(second));
        }
        assert!(!before.may(&limit(96), &snapshot, at(3)));
        let shown = |reverts: &Reverts, now, previous: &RedisMemoryPolicyStatus| {
            let mut snapshot = snapshot.clone();
            snapshot.surroundings.left_alone = reverts.left_alone(now);
            let settings = crate::assess::AssessSettings::default();
            let look = crate::assess::Assessment::of(&policy, &snapshot, &settings);
            report::findings::shown(&look.findings(&[], None), &Judged::of(&look), &snapshot, previous)
        };
        let of_limits = |all: &[FindingStatus]| -> Vec<FindingStatus> {
            all.iter().filter(|one| one.code == FindingCode::LimitReverted.as_str()).cloned().collect()
        };
        let findings = shown(&before, at(4), &RedisMemoryPolicyStatus::default());
        let status = RedisMemoryPolicyStatus { findings, ..RedisMemoryPolicyStatus::default() };
        let said = of_limits(&status.findings);
        assert_eq!(said.len(), 1);
        let restarted = Reverts::default();
        restarted.believe(&status, at(60));
        assert_eq!(restarted.left_alone(at(60)).len(), 1);
        assert_eq!(of_limits(&shown(&restarted, at(60), &status)), said, "word by word, so that nothing is written");
        assert!(!restarted.may(&limit(96), &snapshot, at(60)), "and it is not tried again");
        // After its hour it is tried once, and another value at any time.
        restarted.believe(&status, at(3604));
        assert!(restarted.left_alone(at(3604)).is_empty() && restarted.may(&limit(96), &snapshot, at(3604)));
        let another = Reverts::default();
        another.believe(&status, at(60));
        assert!(another.may(&limit(128), &snapshot, at(60)));
    }

    fn at(seconds: i64) -> Timestamp {
        fixtures::NOW.checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    fn limit(mib: u64) -> Effect {
        Effect::Resize {
            pod: fixtures::pod_name(1),
            uid: fixtures::pod_uid(1),
            resource_version: "1".into(),
            container: "redis".into(),
            limit: Bytes::mib(mib),
            request: None,
        }
    }

    fn world() -> Snapshot {
        let mut snapshot = fixtures::three_pods();
        snapshot.targets[1].pod.managers.limit = Some("vpa-updater".into());
        snapshot
    }

    /// How often it is set in a time, by whom it is set back at once.
    fn fight(reverts: &Reverts, from: i64, to: i64, every: usize) -> usize {
        let (snapshot, effect) = (world(), limit(768));
        let (mut times, mut made) = (0, None);
        for second in (from..to).step_by(every) {
            let uid = fixtures::pod_uid(1);
            let left = reverts.left_alone(at(second));
            if left.iter().any(|left| left.uid == uid) || !reverts.may(&effect, &snapshot, at(second)) {
                continue;
            }
            let is_news = reverts.made(&effect, at(second));
            assert_eq!(is_news, made.is_none_or(|last| second >= last + 600), "one event in ten minutes");
            (times, made) = (times + 1, Some(second));
        }
        times
    }

    #[test]
    fn who_sets_a_limit_back_three_times_wins_and_is_named() {
        let reverts = Reverts::default();
        assert_eq!(fight(&reverts, 0, 600, 10), 3);
        let [left] = reverts.left_alone(at(600)).try_into().unwrap();
        assert_eq!((left.times, left.undone), (3, Undone::By(Some("vpa-updater".into()))));
    }

    // A hand-over that is tried again and again labels its candidate each time, and the label is set back when it ends.
    #[test]
    fn a_label_that_a_hand_over_has_set_meanwhile_was_set_back_by_nobody() {
        let label = Effect::Label {
            pod: fixtures::pod_name(1),
            uid: fixtures::pod_uid(1),
            resource_version: "1".into(),
            key: "redismemory.io/role".into(),
            value: "replica".into(),
        };
        let reverts = Reverts::default();
        for second in 0..9 {
            assert!(reverts.may(&label, &world(), at(second)));
            reverts.made(&label, at(second));
            reverts.labels_move([&fixtures::pod_uid(0), &fixtures::pod_uid(1)]);
        }
        for second in 9..12 {
            assert!(reverts.may(&label, &world(), at(second)));
            reverts.made(&label, at(second));
        }
        assert!(!reverts.may(&label, &world(), at(12)), "somebody does it besides");
        reverts.labels_move([&fixtures::pod_uid(0), &fixtures::pod_uid(1)]);
        assert!(!reverts.may(&label, &world(), at(13)), "who has won has won");
    }

    #[test]
    fn then_it_is_tried_once_an_hour() {
        let reverts = Reverts::default();
        assert_eq!(fight(&reverts, 0, 600, 10), 3);
        assert_eq!(fight(&reverts, 600, 24 * 3600, 10), 23, "a day");
    }

    #[test]
    fn what_is_set_back_seldom_or_to_another_value_is_kept_right() {
        let reverts = Reverts::default();
        assert_eq!(fight(&reverts, 0, 3600, 400), 9);
        let reverts = Reverts::default();
        for n in 0..10 {
            let effect = limit(700 + n);
            assert!(reverts.may(&effect, &world(), at(1)), "the demand grows");
            reverts.made(&effect, at(1));
        }
        assert_eq!(reverts.left_alone(at(1)), []);
    }

    #[test]
    fn three_refusals_are_enough_as_well() {
        let reverts = Reverts::default();
        for second in 0..3 {
            assert!(reverts.may(&limit(768), &world(), at(second)));
            reverts.refused(&limit(768), "a webhook says no", at(second));
        }
        let [left] = reverts.left_alone(at(3)).try_into().unwrap();
        assert_eq!(left.undone, Undone::Refused("a webhook says no".into()));
        assert!(reverts.may(&limit(768), &world(), at(3700)), "once more after an hour");
        reverts.refused(&limit(768), "a webhook says no", at(3700));
        assert_eq!(reverts.left_alone(at(3701)).len(), 1);
    }

    #[test]
    fn a_process_that_starts_without_maxmemory_has_set_nothing_back() {
        let of_process = |n: u8| {
            let mut snapshot = fixtures::three_pods();
            snapshot.targets[1].sample_mut().unwrap().run_id = fixtures::run_id(n);
            let peer = crate::plan::effect::Peer::of(&snapshot.targets[1]).unwrap();
            let value = Bytes::mib(682);
            Effect::SetMaxmemory { peer, value, before: Bytes::ZERO, most_used: value }
        };
        let reverts = Reverts::default();
        for n in 0..9 {
            assert!(reverts.may(&of_process(n), &world(), at(n.into())), "the container restarts again and again");
            reverts.made(&of_process(n), at(n.into()));
        }
        for second in 10..12 {
            assert!(reverts.may(&of_process(8), &world(), at(second)));
            reverts.made(&of_process(8), at(second));
        }
        assert!(!reverts.may(&of_process(8), &world(), at(12)), "one process, three times");
        assert_eq!(reverts.left_alone(at(12)).first().map(|left| left.kept), Some(Kept::Maxmemory));
    }

    #[test]
    fn an_eviction_that_was_stopped_is_left_alone_for_an_hour() {
        let peer = crate::plan::effect::Peer::of(&world().targets[1]).unwrap();
        let step = |mib| Effect::SetMaxmemory {
            peer: peer.clone(),
            value: Bytes::mib(mib),
            before: Bytes::mib(512),
            most_used: Bytes::mib(505),
        };
        let reverts = Reverts::default();
        assert!(reverts.may(&step(480), &world(), at(0)));
        reverts.made(&step(480), at(0));
        assert!(reverts.may(&step(475), &world(), at(9)), "the next step");
        reverts.stopped(&step(475), "redis-1 answered after 205 ms", at(10));
        let left = reverts.left_alone(at(3609));
        assert_eq!(left.first().map(|left| left.value.as_str()), Some("475 MiB"));
        assert_eq!(left[0].undone, Undone::Stopped("redis-1 answered after 205 ms".into()));
        assert_eq!(reverts.left_alone(at(3610)), []);
        assert!(reverts.may(&step(475), &world(), at(3610)), "then it is tried again");
    }

    #[test]
    fn a_limit_that_was_refused_is_known_for_an_hour_or_until_it_is_set() {
        let reverts = Reverts::default();
        reverts.limit_refused(&limit(768), "exceeded quota: mem", at(0));
        let refused = RefusedLimit { uid: fixtures::pod_uid(1), text: "exceeded quota: mem".to_owned() };
        assert_eq!(reverts.refused_limits(at(3599)), [refused]);
        assert_eq!(reverts.refused_limits(at(3600)), []);
        assert!(reverts.may(&limit(768), &world(), at(1)), "it is tried on");
        reverts.limit_refused(&limit(768), "exceeded quota: mem", at(10));
        reverts.made(&limit(768), at(20));
        assert_eq!(reverts.refused_limits(at(21)), []);
    }
}
