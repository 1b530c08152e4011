//! The people of the simulated world: they mend what nobody else mends, and some set back what the operator sets.

use redis_memory_operator::{assess::several::ACCEPT_ANNOTATION, domain::bytes::Bytes};

use crate::{
    faults::{Fault, Trigger},
    redis::{Cause, Failover, Host, Ms, Role, Server},
    shape::{ordinal, pod_name, set_of},
    world::World,
};

/// What somebody keeps setting back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The role label is taken off.
    Label,
    /// The memory limit is as the template has it.
    Limit,
}

/// How soon it is set back.
const SETS_BACK: Ms = 5_000;
/// Nobody comes for what lasts a moment.
const WRONG_FOR: Ms = 10_000;
/// Where Sentinels mend it in time.
pub const WATCHED_FOR: Ms = 150_000;
/// And not again at once.
const AGAIN: Ms = 20_000;

/// See the module. By set.
#[derive(Clone, Debug)]
pub struct People {
    pub healed: bool,
    /// When somebody may come next.
    next: Vec<Ms>,
    /// Nobody or more than one has been primary since then.
    wrong_since: Vec<Option<Ms>>,
    /// Since when Sentinels list what is not there, and when somebody may come next.
    pub stale: Vec<(Option<Ms>, Ms)>,
    /// Since when they name another than who is primary.
    pub disagree: Vec<Option<Ms>>,
    /// For how long a primary has refused writes by our doing, with every Sentinel there, and without one.
    pub refused: Vec<(Ms, Ms)>,
    /// What is set back for ever, and when next.
    sets_back: Vec<(usize, Field, Ms)>,
}

impl People {
    pub fn of(sets: usize) -> Self {
        Self {
            healed: false,
            next: vec![0; sets],
            wrong_since: vec![None; sets],
            stale: vec![(None, 0); sets],
            disagree: vec![None; sets],
            refused: vec![(0, 0); sets],
            sets_back: Vec::new(),
        }
    }

    pub fn set_back(&mut self, set: usize, what: Field) {
        self.sets_back.push((set, what, 0));
    }
}

impl World {
    /// Everything that is wrong passes, but for what never does.
    pub fn heal(&mut self) {
        let now = self.now;
        if !self.people.healed {
            self.people.healed = true;
            self.note(|| "everything heals".to_owned());
            self.observer.progressed(now);
            self.pending.clear();
            // A person makes the members and the template equal.
            for set in self.kube.sets.iter_mut().filter(|set| set.maxmemory_mib == 500) {
                set.maxmemory_mib = 512;
            }
            for server in self.servers.by_ip.values_mut() {
                if server.maxmemory == Bytes::mib(500) {
                    server.maxmemory = Bytes::mib(512);
                }
                (server.own_mib, server.grows_to_mib) = (0, 0);
            }
            // The roll-outs are finished.
            let revisions: Vec<u32> = self.kube.sets.iter().map(|set| set.revision).collect();
            for (n, place) in &mut self.kube.places {
                if let Some(pod) = place.pod.as_mut() {
                    pod.revision = revisions[crate::shape::set_of(*n)];
                }
            }
        }
        for set in 0..self.kube.sets.len() {
            self.mend(set);
        }
    }

    /// A person mends roles that nobody else mends.
    fn mend(&mut self, set: usize) {
        let now = self.now;
        if now < self.people.next[set] {
            return;
        }
        let primaries: Vec<u32> =
            self.servers.of_set(set).filter(|it| it.role == Role::Primary).map(|it| it.ip).collect();
        // A FAILOVER of somebody else whose target is gone hangs for ever: a person sees that, and ends it.
        let hangs = |it: &Server| {
            it.failover_cause == Cause::Foreign
                && matches!(it.failover, Failover::InProgress { to, .. } if !self.servers.by_ip.contains_key(&to))
        };
        let hanging: Vec<u32> = self.servers.of_set(set).filter(|it| hangs(it)).map(|it| it.ip).collect();
        let failing_over =
            self.servers.of_set(set).any(|it| it.failover != Failover::None && !hanging.contains(&it.ip));
        self.accept(set, &primaries);
        // A primary that has lost everything while another member still has it is none.
        let emptied = |ip: &u32| {
            self.servers.by_ip[ip].keys == 0
                && self.servers.of_set(set).any(|it| it.keys > 0 && it.role != Role::Primary)
        };
        let led = matches!(primaries.as_slice(), [only] if !emptied(only));
        self.follow_by_name(set, &primaries);
        if let (true, [only]) = (self.is_watched(set), primaries.as_slice()) {
            // Sentinels have made another one primary: it refuses to follow that one before (`REPLICAOF`).
            let leader = self.servers.by_ip[only].pod;
            for ip in &hanging {
                let _ = self.servers.abort(*ip, Cause::Foreign, now);
                let _ = self.servers.replicaof(*ip, Host::Pod(leader), now);
            }
        }
        if led || failing_over || self.kube.down(set).len() > 1 {
            self.people.wrong_since[set] = None;
            return;
        }
        // Who waits for the operator to end what it has begun.
        let waits = self.is_watched(set) || self.observer.left_without(set);
        let patience = if waits { WATCHED_FOR } else { WRONG_FOR };
        if now < *self.people.wrong_since[set].get_or_insert(now) + patience {
            return;
        }
        (self.people.next[set], self.people.wrong_since[set]) = (now + AGAIN, None);
        for ip in hanging {
            let _ = self.servers.abort(ip, Cause::Foreign, now);
        }
        let Some(best) = self.servers.of_set(set).max_by_key(|it| (it.keys, it.log.len())) else { return };
        let (ip, pod, log) = (best.ip, best.pod, best.log.clone());
        self.note(|| format!("a person makes {} the primary, of {primaries:?}", pod_name(pod)));
        self.observer.excuse(set, &log);
        if !primaries.contains(&ip) {
            self.servers.promote(ip, Cause::Foreign, now);
        }
        self.observer.became_primary(pod, Cause::Foreign, now);
        self.monitor(pod);
        let others: Vec<u32> = self.servers.of_set(set).map(|it| it.ip).filter(|it| *it != ip).collect();
        for other in others {
            let _ = self.servers.replicaof(other, Host::Pod(pod), now);
        }
    }

    /// Who hands a role over by FAILOVER mends what that leaves: a replica that follows the address of a pod that is gone.
    fn follow_by_name(&mut self, set: usize, primaries: &[u32]) {
        let [only] = primaries else { return };
        let theirs = |(_, fault): &(Trigger, Fault)| matches!(fault, Fault::MoveRole { to } if set_of(*to) == set);
        // Nor do Sentinels find one that nobody lists.
        if !self.is_watched(set) && !self.schedule.faults.iter().any(theirs) {
            return;
        }
        let (leader, now) = (self.servers.by_ip[only].pod, self.now);
        let lost =
            |it: &Server| matches!(it.role, Role::Replica(Host::Ip(ip)) if !self.servers.by_ip.contains_key(&ip));
        let lost: Vec<u32> = self.servers.of_set(set).filter(|it| lost(it)).map(|it| it.ip).collect();
        for ip in lost {
            let _ = self.servers.replicaof(ip, Host::Pod(leader), now);
        }
    }

    /// A person reads that a label follows nobody, and says who is right.
    fn accept(&mut self, set: usize, primaries: &[u32]) {
        let [only] = primaries else { return };
        let pod = self.servers.by_ip[only].pod;
        let uid = crate::shape::set_uid(set);
        for policy in self.kube.policies.iter_mut().filter(|policy| policy.shape.covers(set)) {
            let records = policy.status().map(|status| status.workloads.as_slice()).unwrap_or_default();
            let mark = records
                .iter()
                .filter(|record| record.shard.sets.contains(&uid))
                .find_map(|it| it.several_primaries.as_ref());
            let Some(mark) = mark else { continue };
            let said = format!("{}.{}", pod_name(pod), mark.seen_at.as_second());
            // One after the other: the annotation has room for one answer.
            let answered = policy.object.metadata.annotations.as_ref().and_then(|all| all.get(ACCEPT_ANNOTATION));
            let marks = records.iter().filter_map(|it| it.several_primaries.as_ref());
            let mut open = marks.map(|mark| format!(".{}", mark.seen_at.as_second()));
            if answered.is_some_and(|answered| open.any(|mark| answered.ends_with(&mark))) {
                continue;
            }
            let annotations = policy.object.metadata.annotations.get_or_insert_default();
            annotations.insert(ACCEPT_ANNOTATION.to_owned(), said);
            self.kube.serial += 1;
            policy.object.metadata.resource_version = Some(self.kube.serial.to_string());
        }
    }

    /// Whoever sets something back does it again and again.
    pub fn set_back(&mut self) {
        let now = self.now;
        for at in 0..self.people.sets_back.len() {
            let (set, what, next) = self.people.sets_back[at];
            if now < next {
                continue;
            }
            self.people.sets_back[at].2 = now + SETS_BACK;
            let template = self.kube.sets[set].limit_mib;
            // Of the labels, those of the last member: who is primary is not disputed.
            let last = self.kube.of_set(set).filter(|(n, _)| ordinal(*n) > 0).map(|(n, _)| n).max();
            let disputed: Vec<usize> = self
                .kube
                .of_set(set)
                .filter_map(|(n, place)| Some((n, place.pod.as_ref()?)))
                .filter(|(n, pod)| match what {
                    Field::Label => Some(*n) == last && pod.role.is_some(),
                    Field::Limit => pod.limit_mib != template,
                })
                .map(|(n, _)| n)
                .collect();
            for n in disputed {
                self.note(|| format!("somebody sets the {what:?} of {} back", pod_name(n)));
                self.observer.pace.changed(now);
                self.kube.touch(n, |pod| match what {
                    Field::Label => pod.role = None,
                    Field::Limit => pod.limit_mib = template,
                });
            }
        }
    }
}
