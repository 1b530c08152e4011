//! Who is gone and still listed: a Sentinel forgets nobody by itself. Where pods are known by their addresses each restart
//! leaves such an entry in every list; those of our own restarts we have forgotten, by one Sentinel after the other
//! ([docs/adr/0020](../../../docs/adr/0020-what-our-restarts-leave-is-forgotten.md)).

use std::collections::BTreeMap;

use super::{Fault, Watch, Witness, listed, stranger};
use crate::{
    domain::{
        names::{NodeAddress, PodName, RunId},
        sentinel::{Known, Sentinel},
    },
    topology::Shard,
};

/// What of ended processes is still in the lists of the Sentinels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remains<'a> {
    /// Nothing.
    Nothing,
    /// Something, and this Sentinel may forget it now: all the others know everybody, and could fail over meanwhile.
    Forget(Forget<'a>),
    /// Something, and this has to pass before.
    Wait(String),
    /// Something, and it is for people to have it forgotten, for this reason.
    Left(String),
}

/// A Sentinel that may forget (`SENTINEL RESET`), and what must still be so then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget<'a> {
    /// The Sentinel.
    pub sentinel: &'a Sentinel,
    /// The name by which it knows the set.
    pub set: &'a str,
    /// Whom it names as primary.
    pub primary: &'a NodeAddress,
}

/// Somebody who is listed and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone<'w, 'a> {
    known: &'a Known,
    is_replica: bool,
    by: Vec<&'w Witness<'a>>,
}

impl<'a> Watch<'a> {
    /// Whoever is listed and is neither a member nor a Sentinel that was asked. Of one that is silent just now nobody can say
    /// by which id it is known.
    pub(super) fn gone(&self) -> Vec<Gone<'_, 'a>> {
        let ids = self.ids();
        let mut gone: BTreeMap<(bool, &str, &NodeAddress), Gone<'_, 'a>> = BTreeMap::new();
        for witness in &self.witnesses {
            let replicas = witness.replicas.iter().filter(|(_, target)| target.is_none());
            let replicas = replicas.map(|(known, _)| (true, *known));
            let others = witness.set.others.iter().filter(|known| !ids.contains(known.id.as_str()));
            let others = others.filter(|_| self.silent.is_empty()).map(|known| (false, known));
            for (is_replica, known) in replicas.chain(others) {
                let at = (!is_replica, known.id.as_str(), &known.address);
                gone.entry(at).or_insert(Gone { known, is_replica, by: Vec::new() }).by.push(witness);
            }
        }
        gone.into_values().collect()
    }

    /// What is left of these processes, which we have ended. `calm`: as in [`super::Disturbance`].
    pub(in crate::topology) fn remains(&self, shard: &Shard<'_>, ended: &[RunId], calm: bool) -> Remains<'_> {
        let gone = self.gone();
        let is_ended = |it: &&Gone<'_, '_>| it.is_replica && ended.iter().any(|id| id.as_str() == it.known.id);
        let hosts: Vec<&str> = gone.iter().filter(is_ended).map(|it| it.known.address.host.as_str()).collect();
        // The Sentinel of a pod that was restarted had the address of its server.
        let is_ours = |it: &Gone<'_, '_>| is_ended(&it) || !it.is_replica && hosts.contains(&&*it.known.address.host);
        let (ours, others): (Vec<_>, Vec<_>) = gone.iter().partition(|it| is_ours(it));
        let Some(next) = ours.iter().flat_map(|it| &it.by).min_by_key(|one| one.pod) else { return Remains::Nothing };
        if !others.is_empty() || self.would_fail_over_alone() {
            return Remains::Left(listed(texts(&gone)));
        }
        let mut passing = self.silence();
        passing.extend(self.one_name());
        passing.extend(self.disagreement(shard));
        passing.extend(self.votes(None));
        passing.extend(self.unrest(calm));
        // What the primary still names would be found again.
        let named = shard.outside.iter().map(|it| Fault::passing(format!("a member still names {it}")));
        passing.extend(named);
        match Fault::of(passing) {
            Some(Fault { text, lasts: false }) => Remains::Wait(text),
            Some(_) => Remains::Left(listed(texts(&gone))),
            None => {
                Remains::Forget(Forget { sentinel: next.sentinel, set: &next.set.name, primary: &next.set.primary })
            }
        }
    }

    /// A Sentinel that has just forgotten the others is a majority of all that it knows. Only the quorum keeps it from failing
    /// over alone then, in a partition.
    fn would_fail_over_alone(&self) -> bool {
        let majority = self.ids().len() / 2 + 1;
        self.witnesses.iter().any(|one| usize::try_from(one.set.quorum).is_ok_and(|quorum| quorum < majority))
    }

    /// Why a restart of that member would leave an entry in the lists that nobody has forgotten; `None`: it would not.
    pub(in crate::topology) fn would_remain(&self, pod: &PodName) -> Option<String> {
        let lists = |one: &&Witness<'a>| {
            let known = one.replicas.iter().filter_map(|(known, target)| Some((&known.address, (*target)?)));
            let primary = one.primary.map(|target| (&one.set.primary, target));
            let mut named = known.chain(primary);
            named.any(|(address, target)| target.pod.name == *pod && target.pod.addresses.is_host(&address.host))
        };
        let one = self.witnesses.iter().find(lists).filter(|_| self.would_fail_over_alone())?;
        Some(format!(
            "the Sentinels know {pod} by the address of its pod, and would list that for ever when it is restarted. With a \
             quorum of {} none of them is made to forget it (SENTINEL RESET), for it could fail over alone then: raise the \
             quorum to a majority (SENTINEL SET {} quorum {}), or have servers and Sentinels announce names",
            one.set.quorum,
            one.set.name,
            self.ids().len() / 2 + 1
        ))
    }
}

/// Who is gone, who lists it, and what is to be done about it, for people. A Sentinel that is gone with the server of its pod
/// is forgotten with it.
pub(super) fn texts(gone: &[Gone<'_, '_>]) -> Vec<String> {
    let hosts: Vec<&str> = gone.iter().filter(|it| it.is_replica).map(|it| it.known.address.host.as_str()).collect();
    let alone = gone.iter().filter(|it| it.is_replica || !hosts.contains(&&*it.known.address.host));
    alone.map(text).collect()
}

fn text(gone: &Gone<'_, '_>) -> String {
    let pods: Vec<&str> = gone.by.iter().map(|one| one.pod.as_str()).collect();
    let who = format!("the Sentinel in {}", pods.join(", "));
    let forget = gone.by.first().map(|one| command(one)).unwrap_or_default();
    let then = if pods.len() > 1 { ", then in the next pod when it lists everybody again" } else { "" };
    if gone.is_replica {
        let it = stranger(&gone.known.address);
        format!(
            "{who} lists the replica {it}: if it is gone for good, {forget}{then}; else let spec.selector select it"
        )
    } else {
        format!(
            "{who} knows one at {} that is none of those that were asked, and counts for the majority: if it is gone for good, \
             {forget}{then}; else extend spec.redis.sentinel.selector",
            gone.known.address
        )
    }
}

/// Makes that Sentinel forget everybody who does not answer.
fn command(witness: &Witness<'_>) -> String {
    format!("run SENTINEL RESET {} on the Sentinel in {}", witness.set.name, witness.pod)
}
