//! What of a snapshot could be judged. That a code is not among the findings says "not so" only where it was judged;
//! everywhere else it says nothing, neither good nor bad.

use std::collections::BTreeMap;

use super::{
    Assessment, empty, fragmentation,
    headroom::{Demand, HeadroomVerdict},
};
use crate::{
    domain::{
        bytes::Bytes,
        finding::{FindingCode, Severity},
        node::Node,
        pod::Right,
        policy::Mode,
        sample::{Role, Sample},
        snapshot::{Snapshot, Target},
    },
    topology::Shard,
};

/// What a judgement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Redis answered.
    Answer,
    /// The Redis container is known.
    Container,
    /// The settings could be read.
    Settings,
    /// The StatefulSet or Deployment could be read, where the pod has one.
    Template,
    /// Enough fresh readings of one process.
    Readings,
    /// `used_memory`.
    Used,
    /// `used_memory_rss`.
    Rss,
    /// `used_memory_dataset`, or so little memory that the efficiency is not judged.
    Dataset,
    /// `maxmemory`.
    Maxmemory,
    /// `maxmemory_policy`.
    EvictionPolicy,
    /// `latest_fork_usec`.
    Fork,
    /// Who is primary of the pod's set, where a label is to say it.
    Role,
    /// Whether it is a primary.
    OwnRole,
    /// How many keys there are, and how many of them have a time to live.
    Keys,
    /// What the primary of the pod's set writes to disk.
    Persistence,
    /// Whether the limit is enough, by what was measured so far where the policy's method measures.
    Headroom,
    /// What the servers need, as far as it is going to be measured: a finding from before is not over by less evidence.
    Measured,
    /// What the pod's node gives, and what all policies have on it, where nodes may be read at all.
    Node,
    /// What the Redis user may do. Asked only before something is done: an earlier answer holds until it is asked again.
    RedisRights,
}

/// What a finding of that code about a pod rests on.
#[allow(clippy::match_wildcard_for_single_variants, reason = "the strict answer, also for codes to come")]
const fn needs(code: FindingCode) -> &'static [Need] {
    use FindingCode as Code;
    match code {
        // Of these some are of the pod's own, and some of no pod.
        Code::ContainerUnknown
        | Code::NoTargets
        | Code::NoPrimary
        | Code::TwoPrimaries
        | Code::PrimaryEmpty
        | Code::SentinelDegraded
        | Code::MembersDiffer
        | Code::ServiceTakesSeveralSets
        | Code::MemberOutsideSelector
        // Of what Kubernetes says, and of what is remembered.
        | Code::OomKilled
        | Code::OomKillLoop => &[],
        Code::Unreachable | Code::AuthenticationFailed | Code::TlsFailed => &[Need::Answer],
        Code::PermissionMissing => &[Need::Answer, Need::RedisRights],
        Code::MaxmemoryUnset => &[Need::Maxmemory],
        Code::LimitMissing => &[Need::Answer, Need::Container],
        Code::HeadroomInsufficient | Code::ResizeWouldRestart => {
            &[Need::Maxmemory, Need::Container, Need::Headroom, Need::Measured]
        }
        Code::RequestBelowMaxmemory => &[Need::Maxmemory, Need::Container],
        Code::TemplateTooSmall => &[Need::Maxmemory, Need::Used, Need::Container, Need::Template, Need::Measured],
        Code::RssNearLimit => &[Need::Rss, Need::Container],
        Code::FragmentationModerate
        | Code::FragmentationSerious
        | Code::FragmentationCritical
        | Code::FragmentationRestartDue => &[Need::Readings],
        Code::MemoryEfficiencyLow => &[Need::Readings, Need::Dataset],
        Code::UtilizationWarning | Code::UtilizationCritical => &[Need::Used, Need::Maxmemory, Need::EvictionPolicy],
        Code::EvictionPolicyUnsafe => &[Need::EvictionPolicy],
        Code::LfuWithoutHotKeys => &[Need::EvictionPolicy, Need::OwnRole, Need::Keys],
        Code::EvictionStopsWrites => {
            &[Need::Used, Need::Maxmemory, Need::EvictionPolicy, Need::OwnRole, Need::Keys, Need::Readings]
        }
        Code::ForkSlow => &[Need::Fork],
        Code::RoleLabelMissing => &[Need::Answer, Need::Role],
        Code::PersistenceMissing | Code::PersistenceUnneeded => &[Need::Persistence],
        Code::NodeOvercommitted => &[Need::Node],
        // What is not named above rests on all that a pod can tell.
        _ => &[Need::Answer, Need::Container, Need::Settings, Need::Template],
    }
}

/// What could be judged of one snapshot.
#[derive(Clone, Debug)]
pub struct Judged {
    /// By pod name: what there was to judge it by.
    pods: BTreeMap<String, Vec<Need>>,
    /// By pod name: what its limit was judged by.
    demands: BTreeMap<String, Demand>,
    /// Findings about the policy or a workload that could be judged.
    whole: Vec<FindingCode>,
}

impl Judged {
    /// What of that look could be judged.
    pub fn of(look: &Assessment<'_>) -> Self {
        let of_target = |target: &Target| (target.pod.name.to_string(), there_is(look, target));
        let pods: BTreeMap<String, Vec<Need>> = look.snapshot.targets.iter().map(of_target).collect();
        let demand = |target: &Target| (target.pod.name.to_string(), look.demand(target));
        let demands = look.snapshot.targets.iter().map(demand).collect();
        let whole = FindingCode::ALL.iter().copied().filter(|code| whole(*code, look, &pods)).collect();
        Self { pods, demands, whole }
    }

    /// What the limit of that pod was judged by; `None`: it is not of that look.
    pub fn demand(&self, pod: &str) -> Option<&Demand> {
        self.demands.get(pod)
    }

    /// There is no pod to judge.
    pub fn is_nothing(&self) -> bool {
        self.pods.is_empty()
    }

    /// Whether an earlier finding of that code is judged anew: about that pod, or about the policy as a whole.
    pub fn again(&self, code: FindingCode, pod: Option<&str>) -> bool {
        match pod {
            Some(pod) => self.of_pod(code, pod, true),
            None => self.whole.contains(&code),
        }
    }

    /// Whether that pod is judged for everything that is a Warning or worse.
    pub fn fully(&self, pod: &str) -> bool {
        self.pods.contains_key(pod) && self.lacking(pod).is_none()
    }

    /// The first code that is a Warning or worse and that the pod is not judged for; `None`: it is judged for all.
    pub fn lacking(&self, pod: &str) -> Option<FindingCode> {
        let mut weighty = FindingCode::ALL.iter().copied().filter(|code| code.severity() >= Severity::Warning);
        weighty.find(|code| !self.of_pod(*code, pod, false))
    }

    /// The first pod that is not judged for that code; the outer `None`: all are, and so is the policy as a whole.
    /// The inner `None`: it is not judged for the policy as a whole, or there is no pod.
    pub fn missing(&self, code: FindingCode) -> Option<Option<&str>> {
        let pod = self.pods.keys().find(|pod| !self.of_pod(code, pod, false));
        match pod {
            Some(pod) => Some(Some(pod)),
            None => (self.pods.is_empty() || !self.whole.contains(&code)).then_some(None),
        }
    }

    fn of_pod(&self, code: FindingCode, pod: &str, earlier: bool) -> bool {
        let counts = |need: &&Need| earlier || !matches!(need, Need::RedisRights | Need::Measured | Need::Node);
        self.pods.get(pod).is_some_and(|there| needs(code).iter().filter(counts).all(|need| there.contains(need)))
    }
}

/// What there is to judge that target by.
fn there_is(look: &Assessment<'_>, target: &Target) -> Vec<Need> {
    let Assessment { policy, snapshot, .. } = look;
    let shard = look.shard_of(target);
    let mut there = Vec::new();
    let mut add = |need, holds: bool| {
        if holds {
            there.push(need);
        }
    };
    add(Need::Container, target.pod.container.is_ok());
    add(Need::Template, template_known(look, target));
    add(Need::Node, node_known(snapshot, target));
    let asks_rights = policy.mode == Mode::Enforce && policy.fragmentation.restart_allowed;
    add(Need::RedisRights, !asks_rights || snapshot.rights_known_of([&target.pod.name]));
    let Some(sample) = target.sample() else { return there };
    let judged = look.member(target).map(|member| (member.headroom, member.demand));
    let not_yet = |headroom| matches!(headroom, HeadroomVerdict::NotMeasured { .. });
    add(Need::Headroom, judged.is_some_and(|(headroom, _)| !not_yet(headroom)));
    add(Need::Measured, judged.is_some_and(|(_, demand)| demand.is_settled()));
    add(Need::Answer, true);
    add(Need::Settings, sample.config.is_ok());
    add(Need::Used, sample.memory.used > Bytes::ZERO);
    add(Need::Rss, sample.memory.rss > Bytes::ZERO);
    add(Need::Dataset, dataset_known(sample));
    add(Need::Maxmemory, !sample.is_unread("maxmemory"));
    add(Need::EvictionPolicy, !sample.memory.maxmemory_policy.is_empty());
    add(Need::Fork, !sample.is_unread("latest_fork_usec"));
    let band = look.member(target).map(|member| member.fragmentation.band);
    add(Need::Readings, band.is_some_and(|band| band != fragmentation::Band::Unknown));
    let has_role = sample.replication.role != Role::Unknown;
    add(Need::OwnRole, has_role);
    add(Need::Keys, !sample.keys_unread());
    add(Need::Role, has_role && shard.is_none_or(|shard| role_known(shard)));
    add(Need::Persistence, shard.is_none_or(persistence_known));
    there
}

fn template_known(look: &Assessment<'_>, target: &Target) -> bool {
    let Some(owner) = &target.pod.owner else { return true };
    match owner.kind.as_str() {
        "StatefulSet" => look.set_of(target).is_some(),
        "ReplicaSet" => look.snapshot.deployment(&owner.uid).is_some(),
        _ => true,
    }
}

/// Of a pod that is on no node yet nothing is known; where no node may be read there is nothing to know.
fn node_known(snapshot: &Snapshot, target: &Target) -> bool {
    let known = |node: &Node| node.allocatable.is_some() && !node.others.incomplete;
    match &target.pod.node {
        Some(name) => snapshot.node(name).is_none_or(known),
        None => snapshot.nodes.is_empty(),
    }
}

fn dataset_known(sample: &Sample) -> bool {
    let memory = &sample.memory;
    memory.used > Bytes::ZERO && (memory.used < fragmentation::EFFICIENCY_FROM || memory.dataset > Bytes::ZERO)
}

/// Either no label is to say who is primary, or it is known who is.
fn role_known(shard: &Shard<'_>) -> bool {
    // Who does not answer may be a primary too.
    let told = shard.primary().is_some() && shard.unknown.is_empty() && empty::primary_empty(shard).is_none();
    !shard.follow.is_by_label() || (told && !shard.fails_over())
}

/// The primary's settings are known, and where nothing else holds the data its volumes are.
fn persistence_known(shard: &Shard<'_>) -> bool {
    let Some(primary) = shard.primary().filter(|_| shard.unknown.is_empty()) else { return false };
    let settings = primary.sample().is_some_and(|sample| sample.config.is_ok());
    settings && (primary.pod.container.is_ok() || !shard.replicates_nothing())
}

/// Whether that code could be judged for the policy or its workloads as a whole.
fn whole(code: FindingCode, look: &Assessment<'_>, pods: &BTreeMap<String, Vec<Need>>) -> bool {
    use FindingCode as Code;
    let Assessment { snapshot, shards, .. } = look;
    let all = |need: Need| !pods.is_empty() && pods.values().all(|there| there.contains(&need));
    let samples = || snapshot.targets.iter().filter_map(Target::sample);
    let keys_told = samples().all(|sample| !sample.persistence.loading && !sample.keys_unread());
    let everybody = shards.iter().all(|shard| shard.unknown.is_empty())
        && all(Need::Answer)
        && samples().all(|sample| !sample.replicas_unread());
    match code {
        Code::NoTargets | Code::ConfigDrift => true,
        Code::PermissionMissing => {
            let rights = &snapshot.rights;
            ![rights.evict, rights.resize, rights.label].contains(&Right::Unknown)
        }
        Code::RoleLabelMissing => all(Need::Template),
        Code::MembersDiffer => everybody && all(Need::Settings) && all(Need::Container),
        Code::PrimaryEmpty => everybody && keys_told,
        // Codes about one pod only: nothing is to be found about the whole.
        _ if is_about_a_pod(code) => true,
        _ => everybody,
    }
}

/// Codes that are said of pods only.
const fn is_about_a_pod(code: FindingCode) -> bool {
    use FindingCode as Code;
    matches!(
        code,
        Code::MaxmemoryUnset
            | Code::HeadroomInsufficient
            | Code::LimitMissing
            | Code::RequestBelowMaxmemory
            | Code::TemplateTooSmall
            | Code::ResizeWouldRestart
            | Code::FragmentationModerate
            | Code::FragmentationSerious
            | Code::FragmentationCritical
            | Code::FragmentationRestartDue
            | Code::MemoryEfficiencyLow
            | Code::UtilizationWarning
            | Code::UtilizationCritical
            | Code::RssNearLimit
            | Code::NodeOvercommitted
            | Code::OomKilled
            | Code::OomKillLoop
            | Code::ForkSlow
            | Code::EvictionPolicyUnsafe
            | Code::LfuWithoutHotKeys
            | Code::EvictionStopsWrites
            | Code::PersistenceUnneeded
            | Code::PersistenceMissing
            | Code::ContainerUnknown
            | Code::Unreachable
            | Code::AuthenticationFailed
            | Code::TlsFailed
    )
}
