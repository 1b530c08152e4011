//! How often the operator looks and writes, and how long it holds its slot: L5, L6 and L7.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    kubernetes::{Kubernetes, STEP_TIMEOUT},
    redis::Ms,
};

/// Without progress for this long the pace counts (L5, L7).
const STEADY: Ms = 90_000;
/// At most this many decisions a minute then, and one more for each change of a pod by people, which wakes one (L5). As
/// many looks that failed, and one more for each that came to a decision: it may begin the pauses anew (`controller::backoff`).
const LOOKS: usize = 10;
/// A look for each sample of a minute, and a few that something else woke.
const PROOF_LOOKS: usize = 24;
/// At most this many writes of a status a minute then (L7) …
const WRITES: usize = 6;
/// … or, where the answer to each is lost, as many as there are looks that fail in the first minute
/// (`controller::backoff`): whoever does not know that a write has arrived makes it again …
const WRITES_UNANSWERED: usize = 8;
/// … and this many events of all policies, beside what is said for the first time: of each member once.
const EVENTS: usize = 12;
/// A pod is set to the same again this often in ten minutes: three times, by each of a few processes (L7).
const SETTINGS: usize = 12;
/// A step waits for an obstacle for `stepTimeout`, and its effect is refused for as long; then the slot is given back (L6).
const SLOT: Ms = 2_000 * STEP_TIMEOUT + 60_000;

const MINUTE: Ms = 60_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// When something last went on.
    pub progress: Ms,
    /// Looks at a policy of an install that came to a decision, and looks that failed.
    looks: BTreeMap<(usize, usize, bool), VecDeque<Ms>>,
    /// Writes of the status that were answered, and those that were not, by install and policy.
    written: BTreeMap<(usize, usize, bool), VecDeque<Ms>>,
    events: VecDeque<Ms>,
    /// Reasons and subjects of events that were written.
    told: BTreeSet<String>,
    /// By the UID of the pod, and what it is set to.
    set: BTreeMap<(u32, String), VecDeque<Ms>>,
    /// By policy: the remediation, its step, and for how long an operator at work has been at it.
    slots: BTreeMap<usize, (String, u32, Ms)>,
    /// When people changed pods.
    changes: VecDeque<Ms>,
    /// Counted for the report.
    pub count: u32,
}

/// How many there were within that time, with the one of now.
fn within(times: &mut VecDeque<Ms>, time: Ms, now: Ms) -> usize {
    times.push_back(now);
    left_of(times, time, now)
}

/// How many there were within that time.
fn left_of(times: &mut VecDeque<Ms>, time: Ms, now: Ms) -> usize {
    while times.front().is_some_and(|first| now > first + time) {
        times.pop_front();
    }
    times.len()
}

impl Pace {
    /// A process of the operator has ended, or its term has: whoever comes to lead must look.
    pub fn left(&mut self) {
        self.looks.clear();
    }

    /// People change a pod. How often they set back what the operator sets is bounded by how often it does (L7).
    pub fn changed(&mut self, now: Ms) {
        self.changes.push_back(now);
    }

    /// A policy is looked at. While a proof waits for samples, which come every 3 s here and every 15 s in earnest, a look
    /// for each is no hot loop. A look that failed (an API server that answers every third read with an error) has a pace
    /// of its own. The text says what is wrong.
    pub fn looked(&mut self, by: (usize, usize), proving: bool, failed: bool, now: Ms) -> Option<String> {
        self.count += 1;
        let looks = within(self.looks.entry((by.0, by.1, failed)).or_default(), MINUTE, now);
        let through = self.looks.get_mut(&(by.0, by.1, false)).filter(|_| failed);
        let begun_anew = through.map_or(0, |times| left_of(times, MINUTE, now));
        let most = if proving { PROOF_LOOKS } else { LOOKS } + left_of(&mut self.changes, MINUTE, now) + begun_anew;
        (now > self.progress + STEADY && looks > most)
            .then(|| format!("{looks} reconciles of policy {} within a minute, nothing happens", by.1))
    }

    /// An install writes a policy's status. Of two each says what it has measured and the other has not, later each time.
    pub fn wrote(&mut self, (install, policy): (usize, usize), answered: bool, now: Ms) -> Option<String> {
        let times = within(self.written.entry((install, policy, answered)).or_default(), MINUTE, now);
        let most = if answered { WRITES } else { WRITES_UNANSWERED };
        (now > self.progress + STEADY && times > most)
            .then(|| format!("the status of policy {policy} is written {times} times within a minute, nothing happens"))
    }

    /// An event is written. A set of twelve may be found fragmented at once; what is said again and again is a loop.
    pub fn said(&mut self, what: String, now: Ms) -> Option<String> {
        if self.told.insert(what) {
            return None;
        }
        let times = within(&mut self.events, MINUTE, now);
        (now > self.progress + STEADY && times > EVENTS)
            .then(|| format!("{times} events within a minute, nothing happens"))
    }

    /// A label or a limit of a pod is set.
    pub fn set(&mut self, uid: u32, to: String, now: Ms) -> Option<String> {
        let text = format!("pod {uid} was set to {to}");
        let times = within(self.set.entry((uid, to)).or_default(), 10 * MINUTE, now);
        (times > SETTINGS).then(|| format!("{text} {times} times within ten minutes"))
    }

    /// In every step: whose slot is held without going on.
    pub fn slots(&mut self, kube: &Kubernetes, works: bool, dt: Ms) -> Option<String> {
        for (p, policy) in kube.policies.iter().enumerate() {
            let Some(journal) =
                policy.journal().filter(|_| !policy.gone && !policy.shown().starts_with("PrimaryEmpty"))
            else {
                self.slots.remove(&p);
                continue;
            };
            let slot = self.slots.entry(p).or_insert_with(|| (journal.id.clone(), journal.cursor, 0));
            if slot.0 != journal.id || slot.1 != journal.cursor {
                *slot = (journal.id.clone(), journal.cursor, 0);
            } else if works {
                slot.2 += dt;
            }
            if slot.2 > SLOT {
                let held = slot.2 / 1000;
                return Some(format!("policy {p} holds its slot at step {:?} for {held} s", journal.step()));
            }
        }
        None
    }
}
