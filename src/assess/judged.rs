//! What of a snapshot could be judged. That a code is not among the findings says "not so" only where it was judged;
//! everywhere else it says nothing, neither good nor bad.

use std::collections::BTreeMap;

use super::{
    AssessSettings, empty, fragmentation, roles,
    topology::{self, Workload},
};
use crate::domain::{
    bytes::Bytes,
    finding::{FindingCode, Severity},
    pod::Right,
    policy::{Mode, Policy},
    sample::{Role, Sample},
    snapshot::{RedisRights, Snapshot, Target},
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
    /// The StatefulSet could be read, where the pod has one.
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
    /// What the primary of the pod's set writes to disk.
    Persistence,
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
        | Code::MembersDiffer
        | Code::MemberOutsideSelector => &[],
        Code::Unreachable | Code::AuthenticationFailed | Code::TlsFailed => &[Need::Answer],
        Code::PermissionMissing => &[Need::Answer, Need::RedisRights],
        Code::MaxmemoryUnset => &[Need::Maxmemory],
        Code::LimitMissing => &[Need::Answer, Need::Container],
        Code::HeadroomInsufficient | Code::ResizeWouldRestart | Code::RequestBelowMaxmemory => {
            &[Need::Maxmemory, Need::Container]
        }
        Code::TemplateTooSmall => &[Need::Maxmemory, Need::Used, Need::Container, Need::Template],
        Code::RssNearLimit => &[Need::Rss, Need::Container],
        Code::FragmentationModerate
        | Code::FragmentationSerious
        | Code::FragmentationCritical
        | Code::FragmentationRestartDue => &[Need::Readings],
        Code::MemoryEfficiencyLow => &[Need::Readings, Need::Dataset],
        Code::UtilizationWarning | Code::UtilizationCritical => &[Need::Used, Need::Maxmemory, Need::EvictionPolicy],
        Code::EvictionPolicyUnsafe => &[Need::EvictionPolicy],
        Code::ForkSlow => &[Need::Fork],
        Code::RoleLabelMissing => &[Need::Answer, Need::Role],
        Code::PersistenceMissing => &[Need::Persistence],
        // What is not named above rests on all that a pod can tell.
        _ => &[Need::Answer, Need::Container, Need::Settings, Need::Template],
    }
}

/// What could be judged of one snapshot.
#[derive(Clone, Debug)]
pub struct Judged {
    /// By pod name: what there was to judge it by.
    pods: BTreeMap<String, Vec<Need>>,
    /// Findings about the policy or a workload that could be judged.
    whole: Vec<FindingCode>,
}

impl Judged {
    /// What of that snapshot could be judged.
    pub fn of(policy: &Policy, snapshot: &Snapshot, settings: &AssessSettings) -> Self {
        let workloads = topology::workloads(snapshot);
        let of_target = |target: &Target| {
            let workload = workloads.iter().find(|w| w.members.iter().any(|member| member.pod.uid == target.pod.uid));
            (target.pod.name.to_string(), there_is(policy, snapshot, target, workload, settings))
        };
        let pods: BTreeMap<String, Vec<Need>> = snapshot.targets.iter().map(of_target).collect();
        let whole = FindingCode::ALL.iter().copied().filter(|code| whole(*code, snapshot, &workloads, &pods)).collect();
        Self { pods, whole }
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
        let weighty = FindingCode::ALL.iter().filter(|code| code.severity() >= Severity::Warning);
        self.pods.contains_key(pod) && weighty.into_iter().all(|code| self.of_pod(*code, pod, false))
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
        let counts = |need: &&Need| earlier || **need != Need::RedisRights;
        self.pods.get(pod).is_some_and(|there| needs(code).iter().filter(counts).all(|need| there.contains(need)))
    }
}

/// What there is to judge that target by.
fn there_is(
    policy: &Policy,
    snapshot: &Snapshot,
    target: &Target,
    workload: Option<&Workload<'_>>,
    settings: &AssessSettings,
) -> Vec<Need> {
    let mut there = Vec::new();
    let mut add = |need, holds: bool| {
        if holds {
            there.push(need);
        }
    };
    add(Need::Container, target.pod.container.is_ok());
    add(Need::Template, template_known(snapshot, target));
    let asks_rights = policy.mode == Mode::Enforce && policy.fragmentation.restart_allowed;
    add(Need::RedisRights, !asks_rights || matches!(snapshot.redis_rights, RedisRights::Known(_)));
    let Some(sample) = target.sample() else { return there };
    add(Need::Answer, true);
    // A Sentinel holds no data: there is nothing to find.
    let data = |known: bool| known || sample.server.is_sentinel;
    add(Need::Settings, data(sample.config.is_ok()));
    add(Need::Used, data(sample.memory.used > Bytes::ZERO));
    add(Need::Rss, data(sample.memory.rss > Bytes::ZERO));
    add(Need::Dataset, data(dataset_known(sample)));
    add(Need::Maxmemory, data(!sample.is_unread("maxmemory")));
    add(Need::EvictionPolicy, data(!sample.memory.maxmemory_policy.is_empty()));
    add(Need::Fork, data(!sample.is_unread("latest_fork_usec")));
    let verdict = fragmentation::judge(policy, target, snapshot.at, settings);
    add(Need::Readings, data(verdict.band != fragmentation::Band::Unknown));
    let has_role = sample.replication.role != Role::Unknown;
    add(Need::Role, data(has_role && workload.is_none_or(|workload| role_known(policy, workload))));
    add(Need::Persistence, data(workload.is_none_or(persistence_known)));
    there
}

fn template_known(snapshot: &Snapshot, target: &Target) -> bool {
    let set = target.pod.owner.as_ref().filter(|owner| owner.kind == "StatefulSet");
    set.is_none_or(|owner| snapshot.stateful_set(&owner.uid).is_some())
}

fn dataset_known(sample: &Sample) -> bool {
    let memory = &sample.memory;
    memory.used > Bytes::ZERO && (memory.used < fragmentation::EFFICIENCY_FROM || memory.dataset > Bytes::ZERO)
}

/// Either no label is to say who is primary, or it is known who is.
fn role_known(policy: &Policy, workload: &Workload<'_>) -> bool {
    // Who does not answer may be a primary too.
    let told = workload.primary().is_some() && workload.unknown.is_empty() && empty::primary_empty(workload).is_none();
    !roles::labels_count(policy, workload) || (told && !roles::failing_over(workload))
}

/// The primary's settings are known, and where nothing else holds the data its volumes are.
fn persistence_known(workload: &Workload<'_>) -> bool {
    let Some(primary) = workload.primary().filter(|_| workload.unknown.is_empty()) else { return false };
    let settings = primary.sample().is_some_and(|sample| sample.config.is_ok());
    settings && (primary.pod.container.is_ok() || !workload.replicates_nothing())
}

/// Whether that code could be judged for the policy or its workloads as a whole.
fn whole(
    code: FindingCode,
    snapshot: &Snapshot,
    workloads: &[Workload<'_>],
    pods: &BTreeMap<String, Vec<Need>>,
) -> bool {
    use FindingCode as Code;
    let all = |need: Need| !pods.is_empty() && pods.values().all(|there| there.contains(&need));
    let samples = || snapshot.targets.iter().filter_map(Target::sample);
    let keys_told = samples().all(|sample| !sample.persistence.loading && !sample.keys_unread());
    let everybody = workloads.iter().all(|workload| workload.unknown.is_empty())
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
            | Code::ForkSlow
            | Code::EvictionPolicyUnsafe
            | Code::PersistenceMissing
            | Code::ContainerUnknown
            | Code::Unreachable
            | Code::AuthenticationFailed
            | Code::TlsFailed
    )
}
