//! How selected pods form data sets: who replicates whom, who leads, who keeps the roles and how clients follow, and what
//! follows from that for handing a role over.
//!
//! Pure, and the only room that tells kinds of data sets apart: each has a file, and everything above asks [`Shard`].
//! [docs/adr/0015](../../docs/adr/0015-topology-is-a-room.md) has the shape for the kinds that are only watched yet.

mod chain;
mod cluster;
mod graph;
mod replication;
mod sentinel;
mod standalone;
mod watch;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;

use crate::domain::{
    blocked::Blocked,
    journal::{Journal, WorkloadRecord},
    names::{ControllerUid, NodeAddress, PodName},
    pod::{self, Owner, Service, StatefulSet},
    policy::{AuthorityRule, Policy},
    proxy::Proxy,
    sample::{FailoverState, Role, Sample},
    shard::ShardId,
    snapshot::{Snapshot, Target},
};
use graph::Graph;
use watch::Watch;
pub use watch::{Disturbance, Electors, Fault, Forget, Remains};

/// The members that replicate one data set, as far as they are selected.
///
/// Members are joined by the edges of the live replication graph, and, unless Redis Cluster is on, by their
/// controller: an old primary that came back as a second primary has no edge to the others, yet it belongs to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard<'a> {
    /// Names it in what is stored.
    pub id: ShardId,
    /// Name of the primary's controller, else of the first member's, else of the first member.
    pub name: String,
    /// What kind of data set it is.
    pub kind: Kind,
    /// How clients follow the primary, and who keeps what they go by.
    pub follow: Follow,
    /// Who says that it is primary.
    pub lead: Lead<'a>,
    /// Every member, by pod name.
    pub members: Vec<&'a Target>,
    /// Members that say that they are replicas.
    pub replicas: Vec<&'a Target>,
    /// Members without a sample, or that do not say it: their role is not known.
    pub unknown: Vec<&'a Target>,
    /// The controllers of its members that are StatefulSets and could be read.
    pub stateful_sets: Vec<&'a StatefulSet>,
    /// Services that take some of its members, whatever their role label.
    pub services: Vec<&'a Service>,
    /// Addresses of the replication graph that are no selected pod, sorted.
    pub outside: Vec<NodeAddress>,
    /// A replica has replicas of its own.
    pub chained: bool,
    /// When a Sentinel was last seen with a member, if that was within the last hour: it counts, also while it is away.
    sentinel_before: Option<Timestamp>,
    /// What its Sentinels say.
    watch: Watch<'a>,
}

/// Who says that it is primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead<'a> {
    /// Nobody.
    Nobody,
    /// Exactly one.
    One(&'a Target),
    /// More than one.
    Several(Vec<&'a Target>),
}

/// What kind of data set it is. What the servers show wins over what the policy says: a label moved by us means nothing
/// to a client that asks a Sentinel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One member.
    Standalone,
    /// A primary and its replicas, or several servers under one controller.
    Replication,
    /// A Sentinel is connected to a member, or was within the last hour, says that it watches one, or does not answer and may.
    Sentinel,
    /// `cluster_enabled`: nodes.conf and redirects.
    Cluster,
}

/// How clients follow the primary, and who keeps what they go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The role label, which this operator keeps.
    OurLabel,
    /// The role label, which another controller keeps.
    TheirLabel,
    /// They do not: start arguments fix the primary, or clients are pinned to a pod.
    Nothing,
    /// The servers, or their Sentinels, tell them.
    Protocol,
}

/// How the primary is relieved of its role, so that it can be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// By a switchover of ours.
    Switchover,
    /// By its Sentinels, one of which is told to.
    BySentinel,
    /// Not at all: it is restarted as the primary that it is.
    InPlace,
    /// Not by this version.
    Never,
}

/// What a primary that should not be one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rogue<'a> {
    /// There is none.
    Clear,
    /// `old` is ours to demote: it follows `new` from then on.
    Demote {
        /// The pod that we evicted while it was a replica, and that came back as a primary.
        old: &'a Target,
        /// The recorded primary.
        new: &'a Target,
    },
    /// Two are primaries and neither is ours to demote, for this reason.
    Frozen(String),
}

/// What differs from kind to kind. One file each.
trait Rules {
    /// Why a set of this kind is not remediated as it is; `None`: it is.
    fn refusal(&self, shard: &Shard<'_>) -> Option<Blocked>;

    /// How its primary is relieved of its role.
    fn handover(&self, shard: &Shard<'_>) -> Handover;

    /// Several primaries of it are a fault: one is meant.
    fn one_is_meant(&self, shard: &Shard<'_>) -> bool;

    /// Whether somebody else settles it when several are primaries: nothing is to be remembered of it.
    fn settles_itself(&self) -> bool;

    /// What a second primary is, in the remediation of that journal.
    fn rogue<'a>(&self, shard: &Shard<'a>, journal: &Journal) -> Rogue<'a>;
}

impl Kind {
    fn of(members: &[&Target], sentinel_before: Option<Timestamp>, watch: &Watch<'_>) -> Self {
        let mut samples = members.iter().filter_map(|target| target.sample());
        if samples.clone().any(|sample| sample.server.cluster_enabled) {
            Self::Cluster
        } else if sentinel_before.is_some() || watch.is_possible() || samples.any(Sample::has_sentinel) {
            Self::Sentinel
        } else if members.len() == 1 {
            Self::Standalone
        } else {
            Self::Replication
        }
    }

    fn rules(self) -> &'static dyn Rules {
        match self {
            Self::Standalone => &standalone::Standalone,
            Self::Replication => &replication::Replication,
            Self::Sentinel => &sentinel::Sentinel,
            Self::Cluster => &cluster::Cluster,
        }
    }
}

impl Follow {
    /// How clients of a set follow by the policy's word, whatever its servers show.
    pub const fn by_policy(policy: &Policy) -> Self {
        match policy.redis.authority {
            AuthorityRule::Auto => Self::Nothing,
            AuthorityRule::Label => Self::TheirLabel,
            AuthorityRule::Operator => Self::OurLabel,
        }
    }

    /// This operator keeps the role label.
    pub fn is_ours(self) -> bool {
        self == Self::OurLabel
    }

    /// Another controller keeps the role label.
    pub fn is_theirs(self) -> bool {
        self == Self::TheirLabel
    }

    /// Clients go by the role label, ours or another controller's.
    pub fn is_by_label(self) -> bool {
        self.is_ours() || self.is_theirs()
    }
}

/// The shards of the snapshot, by name.
pub fn find<'a>(policy: &Policy, snapshot: &'a Snapshot) -> Vec<Shard<'a>> {
    let graph = Graph::of(snapshot);
    let around = Around::of(snapshot);
    let mut shards: Vec<_> =
        graph.groups().into_iter().map(|members| shard(members, policy, &around, &graph)).collect();
    let first_name = |shard: &Shard<'a>| shard.members.first().map(|member| &member.pod.name);
    shards.sort_by(|a, b| (&a.name, &a.id, first_name(a)).cmp(&(&b.name, &b.id, first_name(b))));
    shards
}

/// What lies around the pods, found by name.
struct Around<'a> {
    snapshot: &'a Snapshot,
    stateful_sets: HashMap<&'a ControllerUid, &'a StatefulSet>,
    /// Positions of Services, by a pod that they take.
    services: HashMap<&'a PodName, Vec<usize>>,
}

impl<'a> Around<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut services: HashMap<_, Vec<usize>> = HashMap::new();
        for (n, service) in snapshot.services.iter().enumerate() {
            for pod in &service.takes {
                services.entry(pod).or_default().push(n);
            }
        }
        let stateful_sets = snapshot.stateful_sets.iter().map(|set| (&set.uid, set)).collect();
        Self { snapshot, stateful_sets, services }
    }

    fn services_of(&self, members: &[&Target]) -> Vec<&'a Service> {
        let taking = members.iter().filter_map(|member| self.services.get(&member.pod.name)).flatten();
        let positions: BTreeSet<usize> = taking.copied().collect();
        positions.into_iter().filter_map(|n| self.snapshot.services.get(n)).collect()
    }
}

fn shard<'a>(mut members: Vec<&'a Target>, policy: &Policy, around: &Around<'a>, graph: &Graph<'a>) -> Shard<'a> {
    members.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
    let with = |wanted: fn(&Role) -> bool| -> Vec<&'a Target> {
        members.iter().copied().filter(|t| t.sample().is_some_and(|sample| wanted(&sample.replication.role))).collect()
    };
    let lead = Lead::of(with(|role| matches!(role, Role::Primary)));
    let replicas = with(|role| matches!(role, Role::Replica(_)));
    let owner = lead.all().iter().chain(&members).find_map(|t| t.pod.owner.as_ref());
    let name = match (owner, members.first()) {
        (Some(owner), _) => owner.name.clone(),
        (None, Some(first)) => first.pod.name.to_string(),
        (None, None) => String::new(),
    };
    let mut owners: Vec<_> = members.iter().filter_map(|member| member.pod.owner.as_ref()).collect();
    owners.sort_by(|a, b| (&a.name, &a.uid).cmp(&(&b.name, &b.uid)));
    owners.dedup_by(|a, b| a.uid == b.uid);
    let sets: Vec<ControllerUid> = owners.into_iter().map(|owner| owner.uid.clone()).collect();
    let sentinel_before = sets.iter().filter_map(|set| around.snapshot.seen_before(set)?.sentinel_at).max();
    let watch = Watch::of(&members, around.snapshot);
    let kind = Kind::of(&members, sentinel_before, &watch);
    Shard {
        name,
        kind,
        follow: match kind {
            Kind::Standalone | Kind::Replication => Follow::by_policy(policy),
            Kind::Sentinel | Kind::Cluster => Follow::Protocol,
        },
        stateful_sets: sets.iter().filter_map(|set| around.stateful_sets.get(set).copied()).collect(),
        id: ShardId { sets, shard: None },
        services: around.services_of(&members),
        outside: graph.outside(&members, kind == Kind::Sentinel),
        unknown: members
            .iter()
            .copied()
            .filter(|t| t.sample().is_none_or(|s| s.replication.role == Role::Unknown))
            .collect(),
        chained: replicas.iter().any(|t| graph::lines(t).next().is_some() || graph.follows_a_replica(t)),
        members,
        lead,
        replicas,
        sentinel_before,
        watch,
    }
}

impl<'a> Lead<'a> {
    fn of(primaries: Vec<&'a Target>) -> Self {
        match primaries.as_slice() {
            [] => Self::Nobody,
            [one] => Self::One(one),
            _ => Self::Several(primaries),
        }
    }

    /// Everybody who says so, by pod name.
    pub fn all(&self) -> &[&'a Target] {
        match self {
            Self::Nobody => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }

    /// More than one says so.
    pub const fn is_several(&self) -> bool {
        matches!(self, Self::Several(_))
    }
}

/// A replica line whose last acknowledgement is older than this may be of a pod that is gone: the server drops it
/// after `repl-timeout`, 60 s by default. A live replica acknowledges every second.
const SILENT_REPLICA: Duration = Duration::from_secs(10);

impl<'a> Shard<'a> {
    /// Nobody: what is left of a set when the only pod that it had is away.
    pub fn nobody(id: ShardId, name: String, policy: &Policy) -> Self {
        Self {
            id,
            name,
            kind: Kind::Standalone,
            follow: Follow::by_policy(policy),
            lead: Lead::Nobody,
            members: Vec::new(),
            replicas: Vec::new(),
            unknown: Vec::new(),
            stateful_sets: Vec::new(),
            services: Vec::new(),
            outside: Vec::new(),
            chained: false,
            sentinel_before: None,
            watch: Watch::default(),
        }
    }

    /// What is remembered of it.
    pub fn record<'r>(&self, records: &'r [WorkloadRecord]) -> Option<&'r WorkloadRecord> {
        records.iter().find(|record| self.id.is(&record.shard))
    }

    /// The older policy that acts for it.
    pub fn claimed_by<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s str> {
        let claims = snapshot.claimed_by_other.iter();
        claims.clone().find(|(set, _)| self.id.sets.contains(set)).map(|(_, policy)| policy.as_str())
    }

    /// The primary, when exactly one member says that it is one.
    pub const fn primary(&self) -> Option<&'a Target> {
        match self.lead {
            Lead::One(primary) => Some(primary),
            Lead::Nobody | Lead::Several(_) => None,
        }
    }

    /// The member of that name.
    pub fn member(&self, pod: &PodName) -> Option<&'a Target> {
        self.members.iter().copied().find(|member| member.pod.name == *pod)
    }

    /// Proxies of other people in front of it.
    pub fn proxies<'s>(&self, snapshot: &'s Snapshot) -> impl Iterator<Item = &'s Proxy> + use<'s, '_, 'a> {
        snapshot.proxies.iter().filter(|proxy| self.members.iter().any(|member| proxy.is_before(&member.pod.name)))
    }

    /// The StatefulSet that owns that member, if it is one and could be read.
    pub fn set_of(&self, member: &Target) -> Option<&'a StatefulSet> {
        let owner = member.pod.owner.as_ref()?;
        self.stateful_sets.iter().copied().find(|set| set.uid == owner.uid)
    }

    /// The pods that its StatefulSets want.
    pub fn wanted(&self) -> usize {
        let all = self.stateful_sets.iter().map(|set| usize::try_from(set.replicas).unwrap_or(usize::MAX));
        all.fold(0, usize::saturating_add)
    }

    /// Another controller owns a StatefulSet of it: it may decide who is primary.
    pub fn foreign_owner(&self) -> Option<&'a Owner> {
        self.stateful_sets.iter().find_map(|set| set.owner.as_ref())
    }

    /// The member that listens at this address: at one of the pod's addresses, or at its stable DNS name, on one of its
    /// ports.
    ///
    /// Under Sentinel also the one that a Service announces by this address, which takes that pod alone. `None` for a Service
    /// name, any other announced address, and a pod that is not selected.
    pub fn resolve(&self, address: &NodeAddress) -> Option<&'a Target> {
        let announced =
            || pod::announced(self.services.iter().copied(), address).filter(|_| self.kind == Kind::Sentinel);
        graph::at(address, self.members.iter().copied()).or_else(|| self.member(announced()?))
    }

    /// Nothing replicates anything here: each primary stands alone.
    pub fn replicates_nothing(&self) -> bool {
        let lists = |target: &&Target| graph::lines(target).next().is_some();
        self.replicas.is_empty() && self.outside.is_empty() && !self.lead.all().iter().any(lists)
    }

    /// Of [`Shard::outside`] the addresses that a member is connected with now. What is left out may be a pod that is
    /// just being replaced.
    pub fn live_outside(&self) -> Vec<NodeAddress> {
        let mut live: Vec<NodeAddress> = Vec::new();
        for sample in self.samples() {
            let replicas = sample.replication.replicas.iter().filter(|l| l.online && l.lag <= SILENT_REPLICA);
            let primary = match &sample.replication.role {
                Role::Replica(link) if link.link_up => Some(&link.primary),
                Role::Replica(_) | Role::Primary | Role::Unknown => None,
            };
            let named = replicas.map(|l| &l.address).chain(primary);
            live.extend(named.filter(|a| self.outside.contains(a)).cloned());
        }
        live.sort();
        live.dedup();
        live
    }

    /// Nobody here is primary, and the members are connected with one that the policy does not select.
    pub fn primary_is_outside(&self) -> bool {
        self.lead == Lead::Nobody && !self.live_outside().is_empty()
    }

    /// A member says that it fails over.
    pub fn fails_over(&self) -> bool {
        self.samples().any(|sample| sample.replication.failover_state != FailoverState::None)
    }

    /// Start arguments and our own switchovers alone decide who is primary: neither the servers themselves nor a Sentinel
    /// give the roles.
    pub fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Standalone | Kind::Replication)
    }

    /// Why a set of this kind is not remediated as it is; `None`: it is.
    pub fn refusal(&self) -> Option<Blocked> {
        self.kind.rules().refusal(self)
    }

    /// How its primary is relieved of its role, so that it can be restarted.
    pub fn handover(&self) -> Handover {
        self.kind.rules().handover(self)
    }

    /// Several are primaries where one is meant. Several servers under one controller that replicate nothing may each be
    /// meant to stand alone, unless the policy says that a label names the one primary.
    pub fn has_too_many_primaries(&self) -> bool {
        self.lead.is_several() && self.kind.rules().one_is_meant(self)
    }

    /// Whether somebody else settles it when several are primaries: nothing is to be remembered of it.
    pub fn settles_itself(&self) -> bool {
        self.kind.rules().settles_itself()
    }

    /// What a second primary is, in the remediation of that journal.
    pub fn rogue(&self, journal: &Journal) -> Rogue<'a> {
        if !self.lead.is_several() {
            return Rogue::Clear;
        }
        self.kind.rules().rogue(self, journal)
    }

    fn samples(&self) -> impl Iterator<Item = &'a Sample> + '_ {
        self.members.iter().filter_map(|target| target.sample())
    }
}

#[cfg(test)]
mod tests;
