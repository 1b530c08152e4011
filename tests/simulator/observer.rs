//! The one observer: it sees every write to the API server, every Redis command, and the true state of the world, and
//! says which invariant of the project was broken.
//!
//! How each invariant is checked, and which are not applicable here, is in docs/testing.md.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    acked::Acked,
    bounds::Bounds,
    kubernetes::{Kubernetes, Pod},
    leaderless::Leaderless,
    pace::Pace,
    redis::{Cause, Failover, Ms, Role, Server},
    replication::Servers,
    shape::{SetShape, Start, Storage, pod_name, set_of},
    sick::Sick,
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
/// Where writes are refused a pause may last this long (S8).
const MOST_REFUSED: Ms = 10_000;
/// What is half done is ended within this time of an operator's being at work (S8, L4).
pub const HALF_DONE: Ms = 45_000;
/// A member that does not answer for this long blocks (S5).
pub const FRESH: Ms = 15_000;
/// A child that has run for this long was there to be seen (S15).
const LONG_CHILD: Ms = 15_000;
/// A primary that is restarted in place wrote its data out no longer ago than this (S3).
const WRITTEN_LATELY: Ms = 630_000;

/// What is known of one set.
#[derive(Clone, Debug, Default)]
struct Record {
    shape: SetShape,
    acked: Acked,
    last_primary: Option<Cause>,
    /// When somebody else last made a server primary.
    foreign_at: Option<Ms>,
    /// Who was primary last, by its pod.
    leader: usize,
    handed_over: BTreeMap<String, Vec<usize>>,
    hanging: Ms,
    /// When writes were last held back by us.
    held_at: Ms,
    leaderless: Leaderless,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    pub violations: Vec<Violation>,
    pub pace: Pace,
    /// By set.
    pub bounds: Vec<Bounds>,
    pub sick: Vec<Sick>,
    sets: Vec<Record>,
    evicted: BTreeMap<(String, usize), Vec<u32>>,
    answered: BTreeMap<(u32, usize), Ms>,
    /// Primaries that Sentinels have made replicas again: another attempt is right.
    pub taken_back: BTreeSet<usize>,
    /// Processes that started as primaries while another was one, as the Sentinels that they asked had it.
    pub beside: BTreeSet<u32>,
    /// Processes that somebody else ended: the pod, and when.
    pub ended: BTreeMap<u32, (usize, Ms)>,
    /// The process whose command is carried out.
    acting: u32,
    /// Sets of which somebody has another Sentinel fail over beside the one that we told.
    pub doubled: BTreeSet<usize>,
    /// Counted for the report.
    pub evictions: u32,
    pub switchovers: u32,
    /// Primaries that were evicted as such, and backlogs that were set.
    pub in_place: u32,
    pub backlogs: u32,
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    pub identity: u32,
    /// Its install, by its number.
    pub install: usize,
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
    pub fn of(shapes: &[SetShape]) -> Self {
        let sets = shapes.iter().enumerate().map(|(set, shape)| Record {
            shape: shape.clone(),
            leader: crate::shape::pod(set, 0),
            ..Record::default()
        });
        let bounds = shapes.iter().map(Bounds::of).collect();
        let sick = vec![Sick::default(); shapes.len()];
        Self { sets: sets.collect(), bounds, sick, ..Self::default() }
    }

    /// Whoever is primary of that set became so by our doing.
    pub fn ours(&self, set: usize) -> bool {
        self.sets[set].last_primary == Some(Cause::Ours)
    }

    /// When writes of that set were last held back by us.
    pub fn held_at(&self, set: usize) -> Ms {
        self.sets[set].held_at
    }

    /// Somebody else gave the role to who has it.
    pub fn theirs(&self, set: usize) -> bool {
        self.sets[set].last_primary == Some(Cause::Foreign)
    }

    pub fn flag(&mut self, at: Ms, invariant: &'static str, text: String) {
        if !self.violations.iter().any(|seen| seen.invariant == invariant) {
            self.violations.push(Violation { at, invariant, text });
        }
    }

    /// Something that counts as progress happened: the pace is measured from here.
    pub const fn progressed(&mut self, now: Ms) {
        self.pace.progress = now;
    }

    pub fn acknowledged(&mut self, set: usize, write: u32) {
        self.sets[set].acked.push(write);
    }

    /// A loss in that set that is somebody else's doing: whatever that log does not hold is excused.
    pub fn excuse(&mut self, set: usize, kept: &[u32]) {
        self.sets[set].acked.excuse(&[kept], None);
    }

    /// Somebody else ends that process: what no other server of its set holds is excused.
    pub fn ends(&mut self, servers: &Servers, ip: u32, now: Ms) {
        let Some(gone) = servers.by_ip.get(&ip) else { return };
        self.ended.insert(gone.run, (gone.pod, now));
        let logs: Vec<&[u32]> =
            servers.of_set(set_of(gone.pod)).filter(|it| it.ip != ip).map(|it| it.log.as_slice()).collect();
        self.sets[set_of(gone.pod)].acked.excuse(&logs, Some(&gone.log));
    }

    /// We have a primary follow that server, and lose what it lacks.
    pub fn gives_way(&mut self, old: &Server, new: &Server, now: Ms) {
        let lost = self.sets[set_of(old.pod)].acked.lost(&old.log, &new.log);
        if lost > 0 {
            let (old, new) = (pod_name(old.pod), pod_name(new.pod));
            self.flag(
                now,
                "S2",
                format!("{old} was made to follow {new}, which lacks {lost} acknowledged writes of it"),
            );
        }
    }

    /// A server evicts that write.
    pub fn evicted_write(&mut self, set: usize, write: u32, allowed: bool) {
        self.sets[set].acked.evicted(write, allowed);
    }

    fn missing(&self, set: usize, logs: &[&[u32]]) -> usize {
        self.sets[set].acked.missing(logs)
    }

    /// A pod of that set became primary.
    pub fn became_primary(&mut self, pod: usize, cause: Cause, now: Ms) {
        /// From a look at the roles to the arrival of the command that rests on it: no look can see what a person does
        /// meanwhile.
        const CROSSED: Ms = 20;
        let record = &mut self.sets[set_of(pod)];
        if cause == Cause::Foreign {
            record.foreign_at = Some(now);
        }
        let crossed = record.foreign_at.is_some_and(|at| now < at + CROSSED);
        let last = if crossed { Cause::Foreign } else { cause };
        (record.last_primary, record.leader) = (Some(last), pod);
        record.leaderless.is_led();
    }

    /// The Guarded method made a primary a replica.
    pub fn demoted(&mut self, set: usize, run: u32) {
        self.sets[set].leaderless.demoted(run, self.acting);
    }

    /// Nobody is primary of that set because we demoted one.
    pub fn left_without(&self, set: usize) -> bool {
        self.sets[set].leaderless.is_ours()
    }

    /// That process of the operator has ended, or its term has.
    pub fn left(&mut self, identity: u32) {
        self.sets.iter_mut().for_each(|set| set.leaderless.left(identity));
        self.pace.left();
    }

    /// The Guarded method gave a demoted primary its role back.
    pub fn took_back(&mut self, server: &Server, now: Ms) {
        self.became_primary(server.pod, Cause::Ours, now);
        let missing = self.missing(set_of(server.pod), &[&server.log]);
        if missing > 0 {
            let text = format!("{} became primary again without {missing} acknowledged writes", pod_name(server.pod));
            self.flag(now, "S2", text);
        }
    }

    /// Writes are held back; or only those who greet, where they are refused: for less than the Sentinels' `down-after`.
    pub fn pausing(&mut self, pod: usize, bound: Option<Ms>, refuses: Option<Ms>, now: Ms) {
        let most = refuses.map_or(MOST_PAUSE, |down_after| MOST_REFUSED.min(down_after).max(MOST_PAUSE));
        if bound.is_none_or(|bound| bound > most) {
            self.flag(now, "S8", format!("CLIENT PAUSE on {} has the bound {bound:?}", pod_name(pod)));
        }
    }

    /// A server was promoted.
    pub fn promoted(
        &mut self,
        server: &Server,
        servers: &Servers,
        cause: Cause,
        remediation: Option<&String>,
        now: Ms,
    ) {
        let set = set_of(server.pod);
        let before = self.sets[set].leader;
        self.became_primary(server.pod, cause, now);
        self.progressed(now);
        if cause != Cause::Ours {
            // Somebody else moved the role: what comes then answers that (a retry at most, SWITCHOVER_ATTEMPTS).
            self.sets[set].handed_over.clear();
            return;
        }
        self.switchovers += 1;
        let name = pod_name(server.pod);
        let missing = self.missing(set, &[&server.log]);
        if missing > 0 {
            self.flag(now, "S2", format!("{name} became primary without {missing} acknowledged writes"));
        }
        self.fit(server, servers.of_pod(before), now);
        self.bears(server, servers.of_pod(before), now);
        let Some(id) = remediation else { return };
        // Back once, and one compensation of each.
        let most = if self.sets[set].shape.start == Start::ByOrdinal { 3 } else { 2 };
        let done = self.sets[set].handed_over.entry(id.clone()).or_default();
        let again = !self.taken_back.remove(&server.pod) && done.last() == Some(&server.pod);
        done.push(server.pod);
        if done.len() > most || again {
            let text = format!("remediation {id} handed the role over to {done:?}");
            self.flag(now, "S7", text);
        }
    }

    /// In every step.
    pub fn look(&mut self, kube: &Kubernetes, servers: &Servers, works: bool, dt: Ms, now: Ms) {
        for set in 0..self.sets.len() {
            let writers = servers.of_set(set).filter(|server| server.accepts_writes(now)).count();
            if writers > 1 && self.ours(set) && !self.doubled.contains(&set) {
                let writers = servers.of_set(set).filter(|it| it.accepts_writes(now));
                let names: Vec<String> = writers.map(|it| pod_name(it.pod).to_string()).collect();
                self.flag(now, "S1", format!("{} accept writes at the same time, by our doing", names.join(", ")));
            }
            let orphaned = servers.of_set(set).any(|server| match server.failover {
                Failover::InProgress { to, .. } => {
                    server.failover_cause == Cause::Ours && !server.hung(now) && !servers.by_ip.contains_key(&to)
                }
                Failover::None | Failover::Waiting { .. } => false,
            });
            let record = &mut self.sets[set];
            record.hanging = if orphaned { record.hanging + if works { dt } else { 0 } } else { 0 };
            if record.hanging > HALF_DONE {
                let text = "a FAILOVER whose target is gone is not ended, with an operator at work";
                self.flag(now, "S8", text.to_owned());
            }
        }
        let there = kube.policies.iter().filter(|it| !it.gone);
        let mut shards: Vec<_> = there.filter_map(|it| Some(&it.journal()?.shard)).collect();
        shards.sort();
        if shards.windows(2).any(|two| two[0] == two[1]) {
            self.flag(now, "S9", "two policies have a remediation of the same workload under way".to_owned());
        }
        if let Some(text) = self.pace.slots(kube, works, dt) {
            self.flag(now, "L6", text);
        }
    }

    /// In every step: nobody is primary of that set, by our doing, and nothing else is in the way.
    pub fn leaderless(&mut self, set: usize, servers: &Servers, works: bool, dt: Ms, now: Ms) {
        let at_work = works.then_some(dt);
        if self.sets[set].leaderless.look(set, servers, &self.ended, at_work, now) {
            self.flag(now, "L4", "nobody is primary by our doing, and an operator at work leaves it so".to_owned());
        }
    }

    /// A member answered a process of the operator.
    pub fn answered(&mut self, identity: u32, pod: usize, now: Ms) {
        self.answered.insert((identity, pod), now);
    }

    /// Every member of the set has answered.
    fn evidence(&mut self, kube: &Kubernetes, sender: Sender, (set, what): (usize, &str), now: Ms) {
        for (n, place) in kube.of_set(set) {
            let seen = self.answered.get(&(sender.identity, n)).copied();
            // Whoever has just joined the set was not there when it was decided.
            let joins = |pod: &Pod| seen.is_none() && now < pod.started + FRESH;
            let there = place.pod.as_ref().is_some_and(|pod| !joins(pod));
            let absent = place.pod.is_none() && seen.is_some();
            if (there || absent) && seen.is_none_or(|seen| now > seen + FRESH) {
                self.flag(now, "S5", format!("{what} although {} did not answer since {seen:?}", pod_name(n)));
            }
        }
    }

    /// A write or command arrives.
    pub fn arrived(&mut self, kube: &Kubernetes, sender: Sender, what: &str, guarded: bool, now: Ms) {
        self.acting = sender.identity;
        let holder = kube.leases[sender.install].holder;
        if holder != Some(sender.identity) {
            let text = format!("{what} of process {} while {holder:?} holds the lease", sender.identity);
            self.flag(now, "S6", text);
        }
        if !guarded {
            self.flag(now, "S6", format!("{what} came without its precondition"));
        }
    }

    /// A command reaches a process: was that one meant?
    pub fn reached(&mut self, server: &Server, meant: u32, what: &str, now: Ms) {
        if server.run != meant && now > server.started + 1000 {
            let text = format!("{what} reached process {} of {}, meant was {meant}", server.run, pod_name(server.pod));
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
        let (set, name) = (set_of(pod), pod_name(pod));
        self.evictions += 1;
        self.progressed(now);
        let down: Vec<usize> = kube.down(set).into_iter().filter(|n| *n != pod).collect();
        if !down.is_empty() {
            self.flag(now, "S3", format!("{name} was evicted while {down:?} were down"));
        }
        self.evidence(kube, sender, (set, &format!("{name} was evicted")), now);
        let busy = |it: &&Server| it.child.is_some_and(|child| now > child.since + LONG_CHILD);
        if let Some(server) = servers.of_set(set).find(busy) {
            self.flag(
                now,
                "S15",
                format!("{name} was evicted although {} was writing its data out", pod_name(server.pod)),
            );
        }
        let uid = kube.pod(pod).map(|pod| pod.uid).unwrap_or_default();
        if let Some(id) = remediation {
            let before = self.evicted.entry((id.clone(), pod)).or_default();
            before.push(uid);
            if before.len() > 1 {
                let text = format!("remediation {id} evicted {name} as {before:?}");
                self.flag(now, "S7", text);
            }
        }
        // What the kernel ended is no start that somebody chose, but for that of a pod which we restarted.
        let by_us = self.evicted.iter().any(|((_, it), uids)| *it == pod && uids.iter().any(|it| *it != uid));
        if kube.pod(pod).is_some_and(|pod| !pod.old && (by_us || pod.killed.is_none())) {
            self.flag(now, "S7", format!("{name} was evicted within the cooldown of its last start"));
        }
        let Some(server) = servers.of_pod(pod) else { return };
        if server.role == Role::Primary && sent_at > server.role_since + 1000 {
            self.evicting_primary(kube, servers, server, now);
        }
        // Who has restarted while the request was under way is seen by nobody.
        if !server.fragmented && !lied && sent_at >= server.started {
            self.flag(now, "S5", format!("{name} was evicted although its process is not fragmented"));
        }
    }

    /// Only where nothing can take over, with consent, and right after it wrote its data out.
    fn evicting_primary(&mut self, kube: &Kubernetes, servers: &Servers, server: &Server, now: Ms) {
        let (set, name) = (set_of(server.pod), pod_name(server.pod));
        // By its shape, or scaled down to one.
        let alone = kube.sets[set].replicas == 1 && kube.over(set).any(|policy| policy.shape.downtime);
        let written = server.written.at.is_some_and(|at| now < at + WRITTEN_LATELY);
        if alone && server.storage != Storage::Nothing && written {
            self.in_place += 1;
            return;
        }
        self.flag(now, "S3", format!("{name} was evicted while it was primary"));
        let others: Vec<&[u32]> =
            servers.of_set(set).filter(|it| it.ip != server.ip).map(|it| it.log.as_slice()).collect();
        let missing = self.missing(set, &others);
        if missing > 0 {
            self.flag(now, "S2", format!("with {name} {missing} acknowledged writes go that nobody else has"));
        }
    }

    /// The first command of a switchover arrives: every member must have answered.
    pub fn switching(&mut self, kube: &Kubernetes, sender: Sender, from: usize, what: &str, now: Ms) {
        self.sets[set_of(from)].held_at = now;
        self.evidence(kube, sender, (set_of(from), &format!("{} got {what}", pod_name(from))), now);
    }

    /// A Sentinel is told to fail over.
    pub fn tells_sentinel(&mut self, kube: &Kubernetes, sender: Sender, set: usize, now: Ms) {
        self.arrived(kube, sender, "SENTINEL FAILOVER", true, now);
        self.evidence(kube, sender, (set, "a Sentinel got SENTINEL FAILOVER"), now);
    }

    /// FAILOVER of ours was accepted.
    pub fn failing_over(&mut self, from: usize, timeout: Option<Ms>, now: Ms) {
        if timeout.is_none_or(|timeout| timeout > MOST_PAUSE) {
            self.flag(now, "S8", format!("FAILOVER on {} has timeout {timeout:?}", pod_name(from)));
        }
    }

    /// A limit is set.
    pub fn resizing(&mut self, pod: usize, before_mib: u64, limit_mib: u64, required_mib: u64, now: Ms) {
        if limit_mib < required_mib || limit_mib < before_mib {
            let name = pod_name(pod);
            let text = format!("{name}: limit {limit_mib} Mi after {before_mib} Mi, required {required_mib} Mi");
            self.flag(now, "S4", text);
        }
    }

    /// A policy is looked at.
    pub fn looked(&mut self, by: (usize, usize), proving: bool, failed: bool, now: Ms) {
        if let Some(text) = self.pace.looked(by, proving, failed, now) {
            self.flag(now, "L5", text);
        }
    }

    /// A policy's status is written.
    pub fn wrote(&mut self, by: (usize, usize), answered: bool, now: Ms) {
        if let Some(text) = self.pace.wrote(by, answered, now) {
            self.flag(now, "L7", text);
        }
    }

    /// An event is written, with that reason and subject.
    pub fn said(&mut self, what: String, now: Ms) {
        if let Some(text) = self.pace.said(what, now) {
            self.flag(now, "L7", text);
        }
    }

    /// A label or a limit of a pod is set.
    pub fn set(&mut self, uid: u32, to: String, now: Ms) {
        if let Some(text) = self.pace.set(uid, to, now) {
            self.flag(now, "L7", text);
        }
    }

    /// In the end: every acknowledged write is on the primary. Of two that others made, each has its own.
    pub fn finish(&mut self, servers: &Servers, now: Ms) {
        let primaries = |set: usize| servers.of_set(set).filter(|it| it.role == Role::Primary).count();
        for server in servers.by_ip.values().filter(|server| server.role == Role::Primary) {
            if self.theirs(set_of(server.pod)) && primaries(set_of(server.pod)) > 1 {
                continue;
            }
            let missing = self.missing(set_of(server.pod), &[&server.log]);
            if missing > 0 {
                let name = pod_name(server.pod);
                self.flag(now, "S2", format!("{missing} acknowledged writes are not on primary {name}"));
            }
        }
    }
}
