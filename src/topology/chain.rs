//! Chains: replicas that follow another replica. Who sends whom what is written there, and who is left alone as long as it is
//! so: a restart of the one in the middle would take its followers' data from them, and a role that moves would leave them
//! behind a server that nobody repoints.

use super::{Shard, graph};
use crate::domain::snapshot::Target;

impl<'a> Shard<'a> {
    /// Who sends that replica what is written: the replica that it follows in a set with a chain, else the primary. Under
    /// Sentinel it is the primary: its Sentinels lead every replica to it.
    pub fn feeder(&self, replica: &Target) -> Option<&'a Target> {
        let followed = || if self.has_ends() { self.followed(replica) } else { None };
        followed().or_else(|| self.primary())
    }

    /// A replica follows another one, and nobody but us changes that: those at its ends can be restarted.
    pub fn has_ends(&self) -> bool {
        self.chained && self.is_plain()
    }

    /// It feeds somebody, or is the primary, in a set with a chain.
    pub fn is_amid_a_chain(&self, member: &Target) -> bool {
        let is_primary = || self.lead.all().iter().any(|primary| primary.pod.uid == member.pod.uid);
        self.has_ends() && (is_primary() || self.is_followed(member))
    }

    /// Replicas that feed somebody, by pod name.
    pub fn middles(&self) -> Vec<&'a Target> {
        self.replicas.iter().copied().filter(|replica| self.is_followed(replica)).collect()
    }

    /// Replicas that follow another replica, and whom, where that keeps some from being restarted and people alone change it.
    pub fn behind_replicas(&self) -> Vec<(&'a Target, &'a Target)> {
        let leads = |target: &Target| self.lead.all().iter().any(|primary| primary.pod.uid == target.pod.uid);
        let above = |replica: &Target| self.feeder(replica).filter(|feeder| self.has_ends() && !leads(feeder));
        self.replicas.iter().filter_map(|replica| Some((*replica, above(replica)?))).collect()
    }

    /// Somebody follows it, or it says so.
    fn is_followed(&self, member: &Target) -> bool {
        graph::lines(member).next().is_some() || self.replicas.iter().any(|other| self.says(other, member))
    }

    /// That replica is configured to follow that member.
    fn says(&self, replica: &Target, member: &Target) -> bool {
        let followed = graph::link(replica).and_then(|link| self.resolve(&link.primary));
        replica.pod.uid != member.pod.uid && followed.is_some_and(|followed| followed.pod.uid == member.pod.uid)
    }

    /// The member that it follows: by what it says, or, where that is a Service's name, by who lists it.
    fn followed(&self, replica: &Target) -> Option<&'a Target> {
        let link = graph::link(replica)?;
        let lists = |other: &&Target| {
            let mut listed = graph::lines(other).filter_map(|address| self.resolve(address));
            link.link_up && listed.any(|it| it.pod.uid == replica.pod.uid)
        };
        self.resolve(&link.primary).or_else(|| self.lead.all().iter().chain(&self.replicas).copied().find(lists))
    }
}
