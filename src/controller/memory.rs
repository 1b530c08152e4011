//! What is remembered of each policy while this process leads: what was last written and said, and since when something
//! is waited for. All times are of the monotonic clock, but for those that people are told.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::announced::Announced;
use crate::{
    api::v1alpha1::RedisMemoryPolicyStatus,
    assess::oom,
    domain::{
        bytes::Bytes,
        journal::{Journal, JournalOwner},
        names::PodUid,
        snapshot::{Snapshot, Target},
        surroundings::UnwrittenLimit,
    },
    report::{self, transitions::Transition},
};

/// Between two status writes of a policy …
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// … and while writes undo each other: twice as long each time, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Writes of a policy's status that may follow each other while nothing goes on, and then one in this time: what is found comes
/// and goes where a measured value wavers about a threshold, with each sample if need be, and each change is news. The simulator
/// bears six a minute (L7).
const NEWS: Allowance = Allowance { burst: 4, every: Duration::from_secs(30) };
/// What waits for that is looked at no sooner than this: it has waited already, and each look asks the API server.
const NEWS_AGAIN: Duration = Duration::from_secs(10);
/// Events of a policy that may follow each other without a pause, and then one in this time. Each is kept by the API server for
/// an hour.
const EVENTS: Allowance = Allowance { burst: 40, every: Duration::from_secs(6) };

/// The writes of one look: announcement, journal, heartbeat, records and status.
const OWN_VERSIONS: usize = 8;

/// How much may be done at once, and how often once that is used up.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    burst: u32,
    every: Duration,
}

/// What is used up of an allowance, and up to when that was forgiven.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    times: u32,
    forgiven_at: Duration,
}

impl Spent {
    /// What is left of the pause before it may be done again; `None`: it may now.
    fn pause(&mut self, of: Allowance, now: Duration) -> Option<Duration> {
        while self.times > 0 && now.saturating_sub(self.forgiven_at) >= of.every {
            self.times -= 1;
            self.forgiven_at = self.forgiven_at.saturating_add(of.every);
        }
        if self.times == 0 {
            self.forgiven_at = now;
        }
        (self.times >= of.burst).then(|| self.forgiven_at.saturating_add(of.every).saturating_sub(now))
    }

    const fn spend(&mut self) {
        self.times = self.times.saturating_add(1);
    }
}

/// What of a policy goes on: another spec, another step of a remediation, or another kill of a server that loads. What is said of that
/// waits for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stage {
    generation: Option<i64>,
    step: Option<(String, u32)>,
    rescues: Vec<(PodUid, u32)>,
}

impl Stage {
    /// The stage of a policy with that status, and that remediation under way.
    pub(super) fn of(status: &RedisMemoryPolicyStatus, journal: Option<&Journal>) -> Self {
        Self {
            generation: status.observed_generation,
            step: journal.map(|journal| (journal.id.clone(), journal.cursor)),
            rescues: oom::rescues(&status.oom_kills),
        }
    }
}

/// What is remembered, by the policy's UID.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// The status as the API server returned it from our last write.
    written: Option<RedisMemoryPolicyStatus>,
    written_at: Option<Duration>,
    pause: Duration,
    /// What was last written was of this stage, and so many times since it began.
    stage: Stage,
    news: Spent,
    events: Spent,
    announced: Announced,
    deleting_since: Option<Duration>,
    failing_since: Option<Duration>,
    /// How often the wall clock had been set at the last look.
    clock_steps: Option<u64>,
    /// The heartbeat of another install, and since when it stands still.
    other: Option<(JournalOwner, Duration)>,
    heartbeat_at: Option<Duration>,
    /// The versions that our last writes made, until they are seen.
    own_versions: VecDeque<String>,
    next_look: Duration,
    /// Limits that are asked for and not written, by pod: what was asked for, and since when that is seen.
    unwritten: HashMap<PodUid, (Bytes, Timestamp)>,
}

impl Memory {
    fn with<T>(&self, uid: &str, change: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(uid.to_owned()).or_default())
    }

    /// For how long the policy has been seen to be deleted.
    pub fn deleting_for(&self, uid: &str, now: Duration) -> Duration {
        self.with(uid, |it| now.saturating_sub(*it.deleting_since.get_or_insert(now)))
    }

    /// For how long its watch has been failing.
    pub fn failing_for(&self, uid: &str, failing: bool, now: Duration) -> Duration {
        self.with(uid, |it| {
            if !failing {
                it.failing_since = None;
                return Duration::ZERO;
            }
            now.saturating_sub(*it.failing_since.get_or_insert(now))
        })
    }

    /// The limits of its pods that are asked for and not written yet, each since it was first seen so. Another limit that is asked
    /// for begins anew.
    pub fn unwritten(&self, uid: &str, snapshot: &Snapshot, now: Timestamp) -> Vec<UnwrittenLimit> {
        let asked = |target: &Target| {
            let limit = target.pod.container.as_ref().ok()?.unwritten_limit()?;
            Some((target.pod.uid.clone(), limit))
        };
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        self.with(uid, |it| {
            let known = std::mem::take(&mut it.unwritten);
            let since =
                |pod: &PodUid, limit| known.get(pod).filter(|(before, _)| *before == limit).map(|known| known.1);
            let seen = snapshot.targets.iter().filter_map(asked);
            it.unwritten = seen.map(|(pod, limit)| (pod.clone(), (limit, since(&pod, limit).unwrap_or(now)))).collect();
            let mut all: Vec<_> = it
                .unwritten
                .iter()
                .map(|(uid, (_, since))| UnwrittenLimit { uid: uid.clone(), since: *since })
                .collect();
            all.sort_by(|a, b| a.uid.cmp(&b.uid));
            all
        })
    }

    /// The status that was last written, as the API server returned it.
    pub fn written(&self, uid: &str) -> Option<RedisMemoryPolicyStatus> {
        self.with(uid, |it| it.written.clone())
    }

    /// The status was written over `before`. What was ours and was changed by somebody else makes the next write wait, and so
    /// does what was written again and again in one stage.
    pub fn wrote(&self, uid: &str, before: &RedisMemoryPolicyStatus, after: RedisMemoryPolicyStatus, now: Duration) {
        self.with(uid, |it| {
            let undone = it.written.as_ref().is_some_and(|ours| !report::says_the_same(ours, before));
            let longer = it.pause.saturating_mul(2).min(LONGEST_PAUSE);
            it.pause = if undone { longer.max(SHORTEST_PAUSE) } else { SHORTEST_PAUSE };
            let stage = Stage::of(&after, after.journal.as_ref());
            if it.stage == stage {
                // Forgiven up to now first: what was forgiven long ago is no credit.
                it.news.pause(NEWS, now);
                it.news.spend();
            } else {
                (it.stage, it.news) = (stage, Spent::default());
            }
            (it.written, it.written_at) = (Some(after), Some(now));
        });
    }

    /// What is left of the pause between two status writes, if one is on.
    pub fn pause(&self, uid: &str, now: Duration) -> Option<Duration> {
        self.with(uid, |it| {
            let until = it.written_at?.saturating_add(it.pause);
            Some(until.saturating_sub(now)).filter(|left| !left.is_zero())
        })
    }

    /// What is left of the pause before news of that stage are written, if one is on.
    pub(super) fn pause_of_news(&self, uid: &str, stage: &Stage, now: Duration) -> Option<Duration> {
        let used_up = self.with(uid, |it| if it.stage == *stage { it.news.pause(NEWS, now) } else { None });
        self.pause(uid, now).max(used_up.map(|left| left.max(NEWS_AGAIN)))
    }

    /// What of these transitions is worth an event now.
    pub(super) fn to_tell(&self, uid: &str, news: Vec<Transition>, now: Duration) -> Vec<Transition> {
        self.with(uid, |it| it.announced.tell(news, now))
    }

    /// Whether one more event may be written.
    pub fn may_say(&self, uid: &str, now: Duration) -> bool {
        self.with(uid, |it| {
            let may = it.events.pause(EVENTS, now).is_none();
            if may {
                it.events.spend();
            }
            may
        })
    }

    /// Whether the wall clock was set since the last look: windows and cooldowns are judged anew before anything is done.
    pub fn clock_was_set(&self, uid: &str, steps: u64) -> bool {
        self.with(uid, |it| it.clock_steps.replace(steps).is_some_and(|before| before != steps))
    }

    /// How long another install's heartbeat has stood still, and whether this is the first that is seen of it.
    pub fn silence(&self, uid: &str, owner: &JournalOwner, now: Duration) -> (Duration, bool) {
        self.with(uid, |it| match &it.other {
            Some((seen, since)) if seen == owner => (now.saturating_sub(*since), false),
            before => {
                let new = before.as_ref().is_none_or(|(seen, _)| seen.install != owner.install);
                it.other = Some((owner.clone(), now));
                (Duration::ZERO, new)
            }
        })
    }

    /// The journal was written.
    pub fn beat(&self, uid: &str, now: Duration) {
        self.with(uid, |it| it.heartbeat_at = Some(now));
    }

    /// A write of ours, of the journal or of the rest of the status, made this version.
    pub fn made(&self, uid: &str, version: Option<String>) {
        self.with(uid, |it| {
            it.own_versions.extend(version);
            let old = it.own_versions.len().saturating_sub(OWN_VERSIONS);
            it.own_versions.drain(..old);
        });
    }

    /// Time since the journal was last written.
    pub fn since_heartbeat(&self, uid: &str, now: Duration) -> Option<Duration> {
        self.with(uid, |it| Some(now.saturating_sub(it.heartbeat_at?)))
    }

    /// The next look is wanted after this time.
    pub fn look_again(&self, uid: &str, again: Duration, now: Duration) {
        self.with(uid, |it| it.next_look = now.saturating_add(again));
    }

    /// What is left until the next look is wanted, if the policy is as a write of ours made it. Said once of each.
    pub fn only_ours(&self, uid: &str, version: Option<&str>, now: Duration) -> Option<Duration> {
        self.with(uid, |it| {
            let seen = it.own_versions.iter().position(|ours| Some(ours.as_str()) == version)?;
            it.own_versions.drain(..=seen);
            Some(it.next_look.saturating_sub(now)).filter(|left| !left.is_zero())
        })
    }

    /// Forgets the policies that do not exist any more.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| exists(uid));
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::{
        domain::{
            fixtures,
            oom::{Cause, PodKills},
        },
        plan::{Context, PlanSettings, begin},
    };

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn status(generation: i64) -> RedisMemoryPolicyStatus {
        RedisMemoryPolicyStatus { observed_generation: Some(generation), ..RedisMemoryPolicyStatus::default() }
    }

    // Two installs wrote one policy's status thirty times in twenty seconds.
    #[test]
    fn writes_that_undo_each_other_come_less_and_less_often() {
        let memory = Memory::default();
        assert_eq!(memory.pause("a", at(0)), None);
        let (mut now, mut writes) = (at(0), 0);
        while now < at(600) {
            now = now.saturating_add(memory.pause("a", now).unwrap_or_default());
            memory.wrote("a", &status(9), status(1), now);
            writes += 1;
        }
        assert!((5..=12).contains(&writes), "{writes} writes in ten minutes");
        now = now.saturating_add(at(400));
        memory.wrote("a", &status(1), status(2), now);
        assert_eq!(memory.pause("a", now), Some(at(1)), "nobody undid it: at least a second all the same");
    }

    // Found by seeds 104554 and 202992 of the simulator: what was used wavered about thresholds, and with each sample findings
    // came, or went.
    #[test]
    fn news_that_come_and_go_while_nothing_goes_on_are_written_less_often() {
        let (memory, stage) = (Memory::default(), Stage::of(&status(1), None));
        let mut writes: Vec<u64> = Vec::new();
        for second in (0..3600).step_by(3) {
            if memory.pause_of_news("a", &stage, at(second)).is_none() {
                memory.wrote("a", &status(1), status(1), at(second));
                writes.push(second);
            }
        }
        assert_eq!(writes[..5], [0, 3, 6, 9, 12], "what is new is said at once");
        let most = writes.iter().map(|from| writes.iter().filter(|at| (*from..=from + 60).contains(*at)).count()).max();
        assert!(most <= Some(7), "{most:?} in a minute, the first of which is of another stage");
        assert!(writes.len() <= 3600 / 30 + 6, "{} in an hour", writes.len());
        assert_eq!(memory.pause_of_news("b", &stage, at(3600)), None, "each policy has its own");
        assert_eq!(memory.pause_of_news("a", &stage, at(3800)), None, "it may again after some rest");
    }

    #[test]
    fn what_goes_on_is_said_at_once_however_often_something_was_said() {
        let memory = Memory::default();
        let waits = |stage: &Stage, second| memory.pause_of_news("a", stage, at(second)).is_some();
        let evaluated = |generation| Stage::of(&status(generation), None);
        for second in 0..10 {
            memory.wrote("a", &status(1), status(1), at(second));
        }
        assert!(waits(&evaluated(1), 12));
        assert!(!waits(&evaluated(2), 12), "another spec");
        let (rule, snapshot) = fixtures::enforced();
        let settings = PlanSettings::default();
        let ctx = Context::of(&rule, &snapshot, &[], fixtures::NOW, &settings);
        let mut journal = begin::consider(&ctx).begin.expect("a remediation begins");
        assert!(!waits(&Stage::of(&status(1), Some(&journal)), 12), "a remediation");
        let under_way = |journal: &Journal| RedisMemoryPolicyStatus { journal: Some(journal.clone()), ..status(1) };
        for second in 12..20 {
            memory.wrote("a", &under_way(&journal), under_way(&journal), at(second));
        }
        assert!(waits(&Stage::of(&status(1), Some(&journal)), 22));
        journal.cursor += 1;
        assert!(!waits(&Stage::of(&status(1), Some(&journal)), 22), "its next step");
    }

    // Found by a cluster test on a slow machine: the second kill came after four news, and its limit was raised 25 s later, after
    // three more kills.
    #[test]
    fn a_kill_of_a_server_that_loads_is_stored_at_once_and_a_loop_that_does_not_end_is_no_news_for_ever() {
        let memory = Memory::default();
        let killed = |times: u32, cause, while_loading| {
            let kills = PodKills {
                pod: fixtures::pod_name(0),
                pod_uid: fixtures::pod_uid(0),
                first_at: fixtures::NOW,
                last_at: fixtures::NOW,
                times,
                while_loading,
                cause,
                evidence: String::new(),
                loading_limit_bytes: None,
            };
            RedisMemoryPolicyStatus { oom_kills: vec![kills], ..status(1) }
        };
        for second in 0..5 {
            memory.wrote("a", &status(1), status(1), at(second));
        }
        let waits = |status: &RedisMemoryPolicyStatus, second| {
            memory.pause_of_news("a", &Stage::of(status, None), at(second)).is_some()
        };
        assert!(waits(&killed(1, Cause::Fork, 0), 6), "nothing is done about that one now");
        let at_once = (1..10_u32).filter(|times| {
            let (killed, second) = (killed(*times, Cause::Loading, *times), 6 + 2 * u64::from(*times));
            let now = !waits(&killed, second);
            if now {
                // With what else is new of that look and the next ones.
                (0..5).for_each(|_| memory.wrote("a", &killed, killed.clone(), at(second)));
            }
            now
        });
        assert_eq!(at_once.collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn events_are_bounded_whatever_is_new() {
        let memory = Memory::default();
        let said = (0..600).filter(|second| memory.may_say("a", at(*second))).count();
        assert!((130..=145).contains(&said), "{said} of 600 in ten minutes");
        assert!(memory.may_say("b", at(0)), "each policy has its own");
    }

    #[test]
    fn deletion_is_waited_for_from_its_first_sight() {
        let memory = Memory::default();
        assert_eq!(memory.deleting_for("a", at(100)), at(0));
        assert_eq!(memory.deleting_for("a", at(121)), at(21));
    }

    #[test]
    fn a_clock_that_was_set_holds_one_look() {
        let memory = Memory::default();
        let held: Vec<bool> = [3, 3, 4, 4].iter().map(|steps| memory.clock_was_set("a", *steps)).collect();
        assert_eq!(held, [false, false, true, false]);
    }

    #[test]
    fn a_heartbeat_stands_still_by_our_own_clock() {
        let memory = Memory::default();
        let owner = |second| JournalOwner {
            install: "ops/a".into(),
            policy_uid: "u".into(),
            renewed_at: Timestamp::from_second(second).unwrap(),
        };
        assert_eq!(memory.silence("a", &owner(5), at(100)), (at(0), true));
        assert_eq!(memory.silence("a", &owner(5), at(150)), (at(50), false));
        assert_eq!(
            memory.silence("a", &owner(4), at(155)),
            (at(0), false),
            "any change is life, also to an earlier time"
        );
    }

    #[test]
    fn a_limit_that_is_not_written_is_waited_for_from_its_first_sight() {
        let (memory, mut snapshot) = (Memory::default(), fixtures::three_pods());
        let wall = |second| fixtures::NOW + at(second);
        let ask = |snapshot: &mut Snapshot, limit| {
            snapshot.targets[1].pod.container.as_mut().unwrap().spec_limit = Some(Bytes::mib(limit));
        };
        assert_eq!(memory.unwritten("a", &snapshot, wall(0)), []);
        ask(&mut snapshot, 1536);
        let seen = |since| [UnwrittenLimit { uid: fixtures::pod_uid(1), since: wall(since) }];
        assert_eq!(memory.unwritten("a", &snapshot, wall(10)), seen(10));
        assert_eq!(memory.unwritten("a", &snapshot, wall(700)), seen(10));
        ask(&mut snapshot, 2048);
        assert_eq!(memory.unwritten("a", &snapshot, wall(710)), seen(710), "another limit");
        snapshot.targets[1].pod.container.as_mut().unwrap().live_limit = Some(Bytes::mib(2048));
        assert_eq!(memory.unwritten("a", &snapshot, wall(720)), [], "it is written");
    }

    // Each write of a status was answered by one more look, which asked the API server and every Redis.
    #[test]
    fn what_we_wrote_ourselves_wakes_nobody() {
        let memory = Memory::default();
        let written = |versions: &[&str]| versions.iter().for_each(|it| memory.made("a", Some((*it).to_owned())));
        written(&["7"]);
        memory.look_again("a", at(10), at(100));
        assert_eq!(memory.only_ours("a", Some("8"), at(101)), None, "somebody wrote since");
        assert_eq!(memory.only_ours("a", Some("7"), at(101)), Some(at(9)));
        assert_eq!(memory.only_ours("a", Some("7"), at(102)), None, "once");
        written(&["9", "10", "11"]);
        assert_eq!(memory.only_ours("a", Some("10"), at(102)), Some(at(8)), "the last of them has not been seen yet");
        assert_eq!(memory.only_ours("a", Some("9"), at(103)), None, "what is older is not seen any more");
        assert_eq!(memory.only_ours("a", Some("11"), at(103)), Some(at(7)));
        written(&["12"]);
        assert_eq!(memory.only_ours("a", Some("12"), at(110)), None, "it is time");
    }
}
