//! The one observer: it sees every write to the API server, every Redis command, and the true state of the world, and
//! says which invariant of the project was broken.
//!
//! How each invariant is checked, and which are not applicable here, is in docs/testing.md.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    kubernetes::Kubernetes,
    redis::{Cause, Failover, Ms, Role, Server, Servers},
};

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub at: Ms,
    pub invariant: &'static str,
    pub text: String,
}

/// Writes are held back for at most this long (S8).
const MOST_PAUSE: Ms = 3_000;
/// What is half done is ended within this time of an operator's being at work (S8, L4).
const HALF_DONE: Ms = 45_000;
/// A member that does not answer for this long blocks (S5).
const FRESH: Ms = 15_000;
/// Without progress for this long the pace counts (L5).
const STEADY: Ms = 90_000;
/// At most so many decisions a minute then (L5).
const PACE: usize = 10;
/// A look for each sample of a minute, and a few that something else woke.
const PROOF_PACE: usize = 24;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    pub violations: Vec<Violation>,
    /// Every acknowledged write, ascending, and whether its loss is somebody else's doing.
    acked: Vec<(u32, bool)>,
    last_primary: Option<Cause>,
    evicted: BTreeMap<(String, usize), Vec<u32>>,
    handed_over: BTreeMap<String, Vec<usize>>,
    answered: BTreeMap<(u32, usize), Ms>,
    /// Looks at a policy that came to a decision, and looks that failed.
    reconciles: BTreeMap<(usize, bool), VecDeque<Ms>>,
    progress: Ms,
    hanging: Ms,
    /// The last change of a role was a demotion of ours, and nobody was promoted since.
    demoted: Option<Demoted>,
    /// When writes were last held back by us.
    held_at: Ms,
    /// Nobody has been primary for so long.
    without: Ms,
    /// A pod of this world alone starts as a primary: the role goes back to it in the same remediation.
    pub gives_back: bool,
    /// Counted for the report.
    pub evictions: u32,
    pub switchovers: u32,
    pub looks: u32,
}

/// The process that we demoted.
#[derive(Clone, Copy, Debug)]
struct Demoted {
    run: u32,
    /// Whoever demoted it is gone, with the knowledge that nothing was lost until then.
    alone: bool,
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    pub identity: u32,
}

/// What is evicted.
#[derive(Clone, Copy, Debug)]
pub struct Evicted {
    pub pod: usize,
    /// It ever said that it was fragmented and was not.
    pub lied: bool,
    /// When the request was sent.
    pub sent_at: Ms,
}

impl Observer {
    pub fn of(gives_back: bool) -> Self {
        Self { gives_back, ..Self::default() }
    }

    /// Whoever is primary became so by our doing.
    pub fn ours(&self) -> bool {
        self.last_primary == Some(Cause::Ours)
    }

    pub fn flag(&mut self, at: Ms, invariant: &'static str, text: String) {
        if !self.violations.iter().any(|seen| seen.invariant == invariant) {
            self.violations.push(Violation { at, invariant, text });
        }
    }

    /// Something that counts as progress happened: the pace is measured from here.
    pub const fn progressed(&mut self, now: Ms) {
        self.progress = now;
    }

    pub fn acknowledged(&mut self, write: u32) {
        self.acked.push((write, false));
    }

    /// A loss that is somebody else's doing: whatever no remaining server holds, or with `kept` whatever that log does
    /// not hold, is excused.
    pub fn excuse(&mut self, servers: &Servers, without: Option<u32>, kept: Option<&[u32]>) {
        let logs: Vec<&[u32]> = match kept {
            Some(log) => vec![log],
            None => servers.by_ip.values().filter(|it| Some(it.ip) != without).map(|it| it.log.as_slice()).collect(),
        };
        for (write, excused) in &mut self.acked {
            *excused |= !logs.iter().any(|log| log.binary_search(write).is_ok());
        }
    }

    fn missing(&self, logs: &[&[u32]]) -> usize {
        let there = |write: &u32| logs.iter().any(|log| log.binary_search(write).is_ok());
        self.acked.iter().filter(|(write, excused)| !excused && !there(write)).count()
    }

    pub const fn became_primary(&mut self, cause: Cause) {
        self.last_primary = Some(cause);
        self.demoted = None;
    }

    /// The Guarded method made a primary a replica.
    pub const fn demoted(&mut self, run: u32) {
        self.demoted = Some(Demoted { run, alone: false });
    }

    /// A process of the operator has ended, or its term has.
    pub fn left(&mut self) {
        if let Some(demoted) = &mut self.demoted {
            demoted.alone = true;
        }
        self.reconciles.clear();
    }

    /// The Guarded method gave a demoted primary its role back.
    pub fn took_back(&mut self, server: &Server, now: Ms) {
        self.became_primary(Cause::Ours);
        let missing = self.missing(&[&server.log]);
        if missing > 0 {
            let text = format!("redis-{} became primary again without {missing} acknowledged writes", server.pod);
            self.flag(now, "S2", text);
        }
    }

    /// The Guarded method holds writes back.
    pub fn pausing(&mut self, pod: usize, bound: Option<Ms>, now: Ms) {
        if bound.is_none_or(|bound| bound > MOST_PAUSE) {
            self.flag(now, "S8", format!("CLIENT PAUSE on redis-{pod} has the bound {bound:?}"));
        }
    }

    /// A server was promoted by a FAILOVER.
    pub fn promoted(&mut self, server: &Server, cause: Cause, remediation: Option<&String>, now: Ms) {
        self.became_primary(cause);
        self.progressed(now);
        if cause != Cause::Ours {
            // Somebody else moved the role: what comes then answers that (a retry at most, SWITCHOVER_ATTEMPTS).
            self.handed_over.clear();
            return;
        }
        self.switchovers += 1;
        let missing = self.missing(&[&server.log]);
        if missing > 0 {
            self.flag(now, "S2", format!("redis-{} became primary without {missing} acknowledged writes", server.pod));
        }
        let Some(id) = remediation else { return };
        let done = self.handed_over.entry(id.clone()).or_default();
        done.push(server.pod);
        // Back once, and one compensation of each.
        let most = if self.gives_back { 3 } else { 2 };
        if done.len() > most || done.windows(2).any(|two| two[0] == two[1]) {
            let text = format!("remediation {id} handed the role over to {done:?}");
            self.flag(now, "S7", text);
        }
    }

    /// A server was promoted by us: its pod stays.
    pub fn stays(&mut self, kube: &Kubernetes, pod: usize, now: Ms) {
        /// From the last look at the pods to the arrival of the first command.
        const LAST_LOOK: Ms = 100;
        if let Some(deleted) = kube.pod(pod).and_then(|pod| pod.deleted_at).filter(|at| at + LAST_LOOK < self.held_at) {
            let text = format!("redis-{pod} was promoted although its pod was being deleted since {deleted}");
            self.flag(now, "S14", text);
        }
    }

    /// In every step.
    pub fn look(&mut self, kube: &Kubernetes, servers: &Servers, someone_works: bool, dt: Ms, now: Ms) {
        let writers: Vec<usize> =
            servers.by_ip.values().filter(|server| server.accepts_writes(now)).map(|server| server.pod).collect();
        if writers.len() > 1 && self.last_primary == Some(Cause::Ours) {
            self.flag(now, "S1", format!("pods {writers:?} accept writes at the same time, by our doing"));
        }
        let journals = kube.policies.iter().filter(|policy| !policy.gone && policy.journal().is_some()).count();
        if journals > 1 {
            self.flag(now, "S9", "two policies have a remediation of the same workload under way".to_owned());
        }
        let orphaned = servers.by_ip.values().any(|server| match server.failover {
            Failover::InProgress { to, .. } => {
                server.failover_cause == Cause::Ours && !server.hung(now) && !servers.by_ip.contains_key(&to)
            }
            Failover::None | Failover::Waiting { .. } => false,
        });
        self.hanging = if orphaned { self.hanging + if someone_works { dt } else { 0 } } else { 0 };
        if self.hanging > HALF_DONE {
            self.flag(now, "S8", "a FAILOVER whose target is gone is not ended, with an operator at work".to_owned());
        }
    }

    /// In every step: nobody is primary, by our doing, and nothing else is in the way.
    pub fn leaderless(&mut self, servers: &Servers, someone_works: bool, dt: Ms, now: Ms) {
        let Some(demoted) = self.demoted else { return };
        // Lost by somebody else before anybody could go on: from then on it is the loss of a primary, and nobody knows
        // any more what the others lack. A person decides.
        if demoted.alone && !servers.by_ip.values().any(|it| it.run == demoted.run) {
            self.demoted = None;
            return;
        }
        let led = servers.by_ip.values().any(|it| it.role == Role::Primary || it.failover != Failover::None);
        let well = servers.by_ip.values().all(|it| !it.hung(now) && now >= it.flap_until.max(it.loading_until));
        self.without = if led { 0 } else { self.without + if someone_works && well { dt } else { 0 } };
        if self.without > HALF_DONE {
            self.flag(now, "L4", "nobody is primary by our doing, and an operator at work leaves it so".to_owned());
        }
    }

    /// A member answered a process of the operator.
    pub fn answered(&mut self, identity: u32, pod: usize, now: Ms) {
        self.answered.insert((identity, pod), now);
    }

    fn evidence(&mut self, kube: &Kubernetes, sender: Sender, what: &str, now: Ms) {
        for n in 0..kube.places.len() {
            let seen = self.answered.get(&(sender.identity, n)).copied();
            if kube.pod(n).is_some() && seen.is_none_or(|seen| now > seen + FRESH) {
                self.flag(now, "S5", format!("{what} although redis-{n} did not answer since {seen:?}"));
            }
        }
    }

    /// A write or command arrives.
    pub fn arrived(&mut self, kube: &Kubernetes, sender: Sender, what: &str, guarded: bool, now: Ms) {
        if kube.lease.holder != Some(sender.identity) {
            let text = format!("{what} of process {} while {:?} holds the lease", sender.identity, kube.lease.holder);
            self.flag(now, "S6", text);
        }
        if !guarded {
            self.flag(now, "S6", format!("{what} came without its precondition"));
        }
    }

    /// A command reaches a process: was that one meant?
    pub fn reached(&mut self, server: &Server, meant: u32, what: &str, now: Ms) {
        if server.run != meant && now > server.started + 1000 {
            let text = format!("{what} reached process {} of redis-{}, meant was {meant}", server.run, server.pod);
            self.flag(now, "S6", text);
        }
    }

    /// An eviction of ours was accepted, and begins now.
    pub fn evicting(
        &mut self,
        kube: &Kubernetes,
        servers: &Servers,
        sender: Sender,
        remediation: Option<&String>,
        what: Evicted,
        now: Ms,
    ) {
        let Evicted { pod, lied, sent_at } = what;
        self.evictions += 1;
        self.progressed(now);
        let down: Vec<usize> = kube.down().into_iter().filter(|n| *n != pod).collect();
        if !down.is_empty() {
            self.flag(now, "S3", format!("redis-{pod} was evicted while {down:?} were down"));
        }
        self.evidence(kube, sender, &format!("redis-{pod} was evicted"), now);
        let uid = kube.pod(pod).map(|pod| pod.uid).unwrap_or_default();
        if let Some(id) = remediation {
            let before = self.evicted.entry((id.clone(), pod)).or_default();
            before.push(uid);
            if before.len() > 1 {
                let text = format!("remediation {id} evicted redis-{pod} as {before:?}");
                self.flag(now, "S7", text);
            }
        }
        if kube.pod(pod).is_some_and(|pod| !pod.old) {
            self.flag(now, "S7", format!("redis-{pod} was evicted within the cooldown of its last start"));
        }
        let Some(server) = servers.of_pod(pod) else { return };
        if server.role == Role::Primary && sent_at > server.role_since + 1000 {
            self.flag(now, "S3", format!("redis-{pod} was evicted while it was primary"));
        }
        if server.role == Role::Primary {
            let others: Vec<&[u32]> =
                servers.by_ip.values().filter(|it| it.ip != server.ip).map(|it| it.log.as_slice()).collect();
            let missing = self.missing(&others);
            if missing > 0 && sent_at > server.role_since + 1000 {
                self.flag(now, "S2", format!("with redis-{pod} {missing} acknowledged writes go that nobody else has"));
            }
        }
        if !server.fragmented && !lied {
            self.flag(now, "S5", format!("redis-{pod} was evicted although its process is not fragmented"));
        }
    }

    /// The first command of a switchover arrives: every member must have answered.
    pub fn switching(&mut self, kube: &Kubernetes, sender: Sender, from: usize, what: &str, now: Ms) {
        self.held_at = now;
        self.evidence(kube, sender, &format!("redis-{from} got {what}"), now);
    }

    /// FAILOVER of ours was accepted.
    pub fn failing_over(&mut self, from: usize, timeout: Option<Ms>, now: Ms) {
        if timeout.is_none_or(|timeout| timeout > MOST_PAUSE) {
            self.flag(now, "S8", format!("FAILOVER on redis-{from} has timeout {timeout:?}"));
        }
    }

    /// A limit is set.
    pub fn resizing(&mut self, pod: usize, before_mib: u64, limit_mib: u64, required_mib: u64, now: Ms) {
        if limit_mib < required_mib || limit_mib < before_mib {
            let text = format!("redis-{pod}: limit {limit_mib} Mi after {before_mib} Mi, required {required_mib} Mi");
            self.flag(now, "S4", text);
        }
    }

    /// A policy is reconciled. While a proof waits for samples, which come every 3 s here and every 15 s in earnest, a look
    /// for each is no hot loop. Whoever comes to lead must look: each term is counted alone.
    /// A look that failed (an API server that answers every third read with an error) has a pace of its own.
    pub fn reconciling(&mut self, policy: usize, proving: bool, failed: bool, now: Ms) {
        self.looks += 1;
        let times = self.reconciles.entry((policy, failed)).or_default();
        times.push_back(now);
        while times.front().is_some_and(|first| now > first + 60_000) {
            times.pop_front();
        }
        if now > self.progress + STEADY && times.len() > if proving { PACE.max(PROOF_PACE) } else { PACE } {
            let text = format!("{} reconciles of policy {policy} within a minute, nothing happens", times.len());
            self.flag(now, "L5", text);
        }
    }

    /// In the end: every acknowledged write is on the primary.
    pub fn finish(&mut self, servers: &Servers, now: Ms) {
        for server in servers.by_ip.values().filter(|server| server.role == Role::Primary) {
            let missing = self.missing(&[&server.log]);
            if missing > 0 {
                self.flag(now, "S2", format!("{missing} acknowledged writes are not on primary redis-{}", server.pod));
            }
        }
    }
}
