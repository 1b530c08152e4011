//! What the Sentinels of a set say, judged: whether they agree, whether they could fail over, and whether they still could
//! without one of them.

mod gone;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use self::gone::{Forget, Remains};
use super::{Shard, graph, sentinel::listed};
use crate::domain::{
    names::{NodeAddress, PodName},
    sentinel::{Known, Said, Sentinel, WatchedSet},
    snapshot::{ProbeFailure, Snapshot, Target},
    tls::{TlsProblem, of_sentinels},
};

/// The Sentinels that watch a set, or that may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watch<'a> {
    /// What each says of this set.
    witnesses: Vec<Witness<'a>>,
    /// Those that did not answer.
    silent: Vec<(&'a Sentinel, &'a ProbeFailure)>,
}

/// What is to be done to a set under Sentinel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance<'p> {
    /// The pod that is restarted; `None`: a Sentinel is told to give the role to another member.
    pub restarted: Option<&'p PodName>,
    /// It is known that no failover came to nothing lately, whatever the Sentinels' own times say: they begin anew with a
    /// failover that we had one of them carry out, and when one was made to forget.
    pub calm: bool,
}

/// What is in the way at the Sentinels of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What, and what a person can do about it.
    pub text: String,
    /// It does not pass by itself.
    pub lasts: bool,
}

impl Fault {
    fn passing(text: String) -> Self {
        Self { text, lasts: false }
    }

    fn lasting(text: String) -> Self {
        Self { text, lasts: true }
    }

    /// The faults as one: those that last, where there are any, for nothing goes on before they are mended.
    fn of(faults: Vec<Self>) -> Option<Self> {
        let lasts = faults.iter().any(|fault| fault.lasts);
        let texts: Vec<String> = faults.into_iter().filter(|it| it.lasts == lasts).map(|it| it.text).collect();
        (!texts.is_empty()).then(|| Self { text: listed(texts), lasts })
    }
}

/// How the Sentinels of a set are told to give its role to another member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electors<'a> {
    /// The name by which they know the set.
    pub set: &'a str,
    /// Those that answer. The first is told: one that does not run in the pod of the primary, if there is one.
    pub sentinels: Vec<&'a Sentinel>,
    /// Sentinels that are known, dead ones included.
    pub known: usize,
    /// So many of them must answer for a failover to be possible: the quorum, and a majority of all that are known.
    pub needed: usize,
    /// After this time a failover is given up: `failover-timeout`.
    pub failover_timeout: Duration,
    /// The soonest that one of them takes the primary for dead: `down-after-milliseconds`.
    pub down_after: Duration,
    known_as: Vec<(&'a NodeAddress, &'a PodName)>,
}

impl Electors<'_> {
    /// Sentinels that are a majority of all that are known.
    pub const fn majority(&self) -> usize {
        self.known / 2 + 1
    }

    /// The addresses by which they know that member.
    pub fn addresses_of(&self, pod: &PodName) -> Vec<NodeAddress> {
        let its = self.known_as.iter().filter(|(_, known)| *known == pod);
        let mut addresses: Vec<NodeAddress> = its.map(|(address, _)| (*address).clone()).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }
}

/// What one Sentinel says of the set, with the members that it means. Addresses are looked up, never dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Witness<'a> {
    sentinel: &'a Sentinel,
    pod: &'a PodName,
    said: &'a Said,
    set: &'a WatchedSet,
    primary: Option<&'a Target>,
    replicas: Vec<(&'a Known, Option<&'a Target>)>,
}

impl<'a> Watch<'a> {
    /// The Sentinels of these members: those that name one of them; and those that do not answer, unless they run in a pod
    /// of another set.
    pub(super) fn of(members: &[&'a Target], snapshot: &'a Snapshot) -> Self {
        let mut watch = Self::default();
        for sentinel in &snapshot.sentinels {
            let uid = &sentinel.pod_uid;
            match &sentinel.said {
                Ok(said) => {
                    let all = said.sets.iter().map(|set| witness(sentinel, said, set, members, snapshot));
                    watch.witnesses.extend(all.filter(Witness::names_a_member));
                }
                Err(failure) => {
                    let is_here = members.iter().any(|member| member.pod.uid == *uid);
                    if is_here || snapshot.targets.iter().all(|target| target.pod.uid != *uid) {
                        watch.silent.push((sentinel, failure));
                    }
                }
            }
        }
        watch
    }

    /// A Sentinel says that it watches the set.
    pub(super) const fn is_told(&self) -> bool {
        !self.witnesses.is_empty()
    }

    /// A Sentinel says so, or one that does not answer may watch it.
    pub(super) const fn is_possible(&self) -> bool {
        self.is_told() || !self.silent.is_empty()
    }

    /// Why that must not be done now; `None`: it may, or no Sentinel watches.
    pub(super) fn forbids(&self, shard: &Shard<'_>, what: &Disturbance<'_>) -> Option<Fault> {
        let mut all = self.faults(shard);
        all.extend(self.unrest(what.calm));
        if let (true, Some(pod)) = (all.is_empty(), what.restarted) {
            all.extend(self.votes(Some(pod)));
        }
        Fault::of(all)
    }

    /// What goes on, or did lately, and passes.
    fn unrest(&self, calm: bool) -> Vec<Fault> {
        let mut unrest = self.going_on();
        if calm {
            unrest.extend(self.unheard());
        } else {
            unrest.extend(self.not_settled());
        }
        unrest.into_iter().map(Fault::passing).collect()
    }

    /// How they are told to give the role of that primary to another member; `None`: no Sentinel says that it watches.
    pub(super) fn electors(&self, primary: &PodName) -> Option<Electors<'a>> {
        let first = self.witnesses.first()?;
        let mut sentinels: Vec<&Sentinel> = self.witnesses.iter().map(|witness| witness.sentinel).collect();
        sentinels.sort_by_key(|sentinel| (sentinel.pod == *primary, &sentinel.pod));
        let replicas = self.witnesses.iter().flat_map(|witness| &witness.replicas);
        let replicas = replicas.filter_map(|(known, target)| Some((&known.address, &target.as_ref()?.pod.name)));
        let primaries = self.witnesses.iter().filter_map(|one| Some((&one.set.primary, &one.primary?.pod.name)));
        Some(Electors {
            set: &first.set.name,
            sentinels,
            known: self.known(),
            needed: self.needed(),
            failover_timeout: self.witnesses.iter().map(|witness| witness.set.failover_timeout).max()?,
            down_after: self.down_after()?,
            known_as: replicas.chain(primaries).collect(),
        })
    }

    /// `down-after-milliseconds` of the Sentinel that is first to take the primary for dead.
    pub(super) fn down_after(&self) -> Option<Duration> {
        self.witnesses.iter().map(|witness| witness.set.down_after).min()
    }

    /// Sentinels of the set that are known, dead ones included.
    fn known(&self) -> usize {
        self.witnesses.iter().map(|witness| witness.set.others.len() + 1).max().unwrap_or_default()
    }

    /// The quorum of the Sentinel that wants the most.
    fn quorum(&self) -> u32 {
        self.witnesses.iter().map(|witness| witness.set.quorum).max().unwrap_or_default()
    }

    /// Sentinels that must answer for a failover to be possible.
    fn needed(&self) -> usize {
        (self.known() / 2 + 1).max(usize::try_from(self.quorum()).unwrap_or(usize::MAX))
    }

    /// What keeps the Sentinels from failing over, or from agreeing.
    pub(super) fn faults(&self, shard: &Shard<'_>) -> Vec<Fault> {
        let mut faults = self.silence();
        if !self.is_told() {
            return faults;
        }
        faults.extend(self.one_name());
        faults.extend(self.disagreement(shard));
        faults.extend(gone::texts(&self.gone()).into_iter().map(Fault::lasting));
        faults.extend(self.votes(None));
        faults
    }

    /// Sentinels that say nothing.
    fn silence(&self) -> Vec<Fault> {
        let silent = self.silent.iter();
        silent
            .map(|(it, why)| {
                // Lasting until a person mends it. A Secret may not have been read in time, and a Sentinel that ends breaks a
                // handshake off.
                let (cure, lasts) = match why {
                    ProbeFailure::Tls(problem, _) => {
                        let passes = matches!(problem, TlsProblem::SecretUnusable | TlsProblem::Failed);
                        (format!(": {}", of_sentinels(problem.remedy())), !passes)
                    }
                    ProbeFailure::AuthenticationFailed(_) => (String::new(), true),
                    _ => (String::new(), false),
                };
                let why = of_sentinels(text(why));
                Fault { text: format!("the Sentinel in {} gives no answer ({why}){cure}", it.pod), lasts }
            })
            .collect()
    }

    /// In what they differ from what is there, and will not when they have heard of it.
    fn disagreement(&self, shard: &Shard<'_>) -> Vec<Fault> {
        let mut faults: Vec<String> = self.one_primary(shard).into_iter().collect();
        faults.extend(self.every_replica(shard));
        faults.extend(self.every_peer());
        let tilt = self.witnesses.iter().filter(|witness| witness.said.tilt);
        faults.extend(tilt.map(|one| format!("the Sentinel in {} is in TILT mode and acts on nothing", one.pod)));
        faults.into_iter().map(Fault::passing).collect()
    }

    /// Replicas of which a Sentinel has heard nothing for a while: after a failover, those that it has not asked yet.
    fn unheard(&self) -> Vec<String> {
        let there = |one: &Witness<'a>| one.replicas.clone().into_iter().filter(|(_, target)| target.is_some());
        let known = self.witnesses.iter().flat_map(|one| there(one).map(|(known, _)| (one.pod, known)));
        let unheard = known.filter(|(_, known)| !known.fresh);
        unheard
            .map(|(pod, known)| format!("the Sentinel in {pod} has heard nothing of {} for 10 s", known.address))
            .collect()
    }

    /// What goes on now, and passes.
    fn going_on(&self) -> Vec<String> {
        let mut unrest = Vec::new();
        for Witness { pod, set, .. } in &self.witnesses {
            if set.failing_over {
                unrest.push(format!("a failover is in progress, by the Sentinel in {pod}"));
            } else if set.primary_down {
                unrest.push(format!("the Sentinel in {pod} takes the primary for dead"));
            }
        }
        unrest
    }

    /// The last failover was lately: another would not be begun yet. After one that was told to a Sentinel and carried out a new
    /// one is begun at once (measured: tests/redis_sentinel).
    fn not_settled(&self) -> Option<String> {
        let all = || self.witnesses.iter().map(|witness| witness.set);
        // A Sentinel that was started a moment ago begins anew for itself; a failover does for all of them.
        let settled = all().map(|set| set.settled_for).max();
        let calm = all().map(|set| set.failover_timeout.saturating_mul(2)).max().unwrap_or(Duration::ZERO);
        settled.is_some_and(|settled| settled < calm).then(|| {
            format!(
                "the last failover was less than {} s ago (twice failover-timeout), or every Sentinel was started since",
                calm.as_secs()
            )
        })
    }

    /// Why no failover would be possible without the Sentinel in that pod; or now, without any: `None`. It passes when those
    /// that are silent speak again.
    pub(super) fn votes(&self, without: Option<&PodName>) -> Option<Fault> {
        if !self.is_told() {
            return None;
        }
        let (quorum, known, needed) = (self.quorum(), self.known(), self.needed());
        let left: BTreeSet<&str> =
            self.witnesses.iter().filter(|one| Some(one.pod) != without).map(|one| one.said.id.as_str()).collect();
        let when = without.map(|pod| format!(" while {pod} is away")).unwrap_or_default();
        let back = left.len() + self.silent.len();
        (left.len() < needed).then(|| Fault {
            text: format!(
                "{} of {known} known Sentinels answer{when}, and {needed} must (quorum {quorum}, and a majority of all that \
                 are known, dead ones included): no failover would be possible",
                left.len()
            ),
            lasts: back < needed,
        })
    }

    fn ids(&self) -> BTreeSet<&'a str> {
        self.witnesses.iter().map(|witness| witness.said.id.as_str()).collect()
    }

    fn one_name(&self) -> Option<Fault> {
        let names: BTreeSet<&str> = self.witnesses.iter().map(|witness| witness.set.name.as_str()).collect();
        (names.len() > 1).then(|| {
            let names: Vec<&str> = names.into_iter().collect();
            Fault::lasting(format!(
                "Sentinels know the set by several names ({}): set spec.redis.sentinel.masterName to the one that clients use",
                names.join(", ")
            ))
        })
    }

    fn one_primary(&self, shard: &Shard<'_>) -> Option<String> {
        let mut named: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for witness in &self.witnesses {
            let whom = witness.primary.map(|target| target.pod.name.to_string());
            let whom = whom.unwrap_or_else(|| stranger(&witness.set.primary));
            named.entry(whom).or_default().push(witness.pod.as_str());
        }
        let own: Vec<&str> = shard.lead.all().iter().map(|target| target.pod.name.as_str()).collect();
        let agreed = named.len() == 1 && named.keys().all(|whom| own == [whom.as_str()]);
        (!agreed).then(|| {
            let says = match own.as_slice() {
                [] => "no member says that it is primary".to_owned(),
                [one] => format!("{one} says that it is primary"),
                several => format!("{} each say that they are primary", several.join(", ")),
            };
            let named: Vec<_> =
                named.iter().map(|(whom, by)| format!("{whom} (the Sentinel in {})", by.join(", "))).collect();
            format!("{says}, and the Sentinels name {}", named.join(" and "))
        })
    }

    /// Each lists every member but the primary that it names, as alive.
    fn every_replica(&self, shard: &Shard<'_>) -> Vec<String> {
        let mut faults = Vec::new();
        for Witness { pod, primary, replicas, .. } in &self.witnesses {
            for (known, target) in replicas {
                if let Some(target) = target.filter(|_| known.down) {
                    faults.push(format!("the Sentinel in {pod} takes the replica {} for dead", target.pod.name));
                }
            }
            let listed = |member: &Target| replicas.iter().any(|(_, target)| is(*target, member));
            // That one that leads is no replica to a Sentinel that names another is said already, by whom it names.
            let leads = |member: &Target| shard.lead.all().iter().any(|one| is(Some(one), member));
            let missing =
                shard.members.iter().filter(|member| !is(*primary, member) && !leads(member) && !listed(member));
            faults.extend(missing.map(|it| format!("the Sentinel in {pod} does not list the replica {}", it.pod.name)));
        }
        faults
    }

    /// Each knows every other that answers, as alive.
    fn every_peer(&self) -> Vec<String> {
        let ids = self.ids();
        let mut faults = Vec::new();
        for Witness { pod, said, set, .. } in &self.witnesses {
            let knows = |id: &str| id == said.id || set.others.iter().any(|known| known.id == id);
            let unknown: BTreeSet<&str> =
                self.witnesses.iter().filter(|one| !knows(&one.said.id)).map(|one| one.pod.as_str()).collect();
            faults.extend(unknown.iter().map(|it| format!("the Sentinel in {pod} does not know the one in {it}")));
            let dead = set.others.iter().filter(|known| known.down && ids.contains(known.id.as_str()));
            faults.extend(dead.map(|it| format!("the Sentinel in {pod} takes the one at {} for dead", it.address)));
        }
        faults
    }
}

impl Witness<'_> {
    fn names_a_member(&self) -> bool {
        self.primary.is_some() || self.replicas.iter().any(|(_, target)| target.is_some())
    }
}

fn witness<'a>(
    sentinel: &'a Sentinel,
    said: &'a Said,
    set: &'a WatchedSet,
    members: &[&'a Target],
    snapshot: &Snapshot,
) -> Witness<'a> {
    let member = |address: &NodeAddress| {
        let announced = snapshot.announced(address);
        let by_service = || members.iter().copied().find(|member| Some(&member.pod.name) == announced);
        graph::at(address, members.iter().copied()).or_else(by_service)
    };
    let replicas = set.replicas.iter().map(|known| (known, member(&known.address))).collect();
    Witness { sentinel, pod: &sentinel.pod, said, set, primary: member(&set.primary), replicas }
}

fn is(target: Option<&Target>, member: &Target) -> bool {
    target.is_some_and(|target| std::ptr::eq(target, member))
}

fn stranger(address: &NodeAddress) -> String {
    format!("{address}, which is no selected pod")
}

fn text(failure: &ProbeFailure) -> &str {
    if failure.text().is_empty() { failure.reason() } else { failure.text() }
}

#[cfg(test)]
mod tests;
