//! The sets that were seen, as people ask for them: who is primary, how many pods are there, whether writes go on. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;

use super::Input;
use crate::{
    api::v1alpha1::{RedisMemoryPolicyStatus, SetSummary},
    assess::{Assessment, eviction, growth::Growth},
    domain::{
        names::{ControllerUid, PodName, in_short},
        pod::StatefulSet,
        sample::{FailoverState, Role},
        shard::ShardId,
        snapshot::{Snapshot, Target},
    },
};

/// A replica that acknowledged longer ago than this does not count for `min-replicas-to-write` (`min-replicas-max-lag`,
/// by default 10 s).
const REPLICA_LAG: Duration = Duration::from_secs(10);
/// A controller that has had no pod for this long is forgotten: somebody took it away on purpose.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The status shows this many controllers.
const MAX_SETS: usize = 100;

/// One data set as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSeen {
    /// Names it in what is stored.
    pub id: ShardId,
    /// Name of its controller.
    pub name: String,
    /// Its selected pods.
    pub pods: Vec<PodName>,
    /// Who says that it is primary.
    pub primaries: Vec<PodName>,
    /// Members that do not say what they are.
    pub silent: Vec<PodName>,
    /// Whether it takes writes.
    pub writes: Writes,
    /// How its data grows; `None`: it does not, or not steadily.
    pub growth: Option<Growth>,
    /// Replicas that follow another replica, and whom, where that keeps the others from being restarted.
    pub chained: Vec<(PodName, PodName)>,
}

/// Whether a set takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writes {
    /// It does, by all that its primary says.
    GoOn,
    /// It does not for a moment, for this reason.
    Pause(String),
    /// It does not, for this reason, which does not pass by itself.
    Stopped(String),
    /// Several members take them, who are these.
    Split(String),
    /// Not known, for this reason.
    Unknown(String),
}

/// Every set of that look, by name.
pub fn of(look: &Assessment<'_>) -> Vec<SetSeen> {
    let names = |targets: &[&Target]| targets.iter().map(|target| target.pod.name.clone()).collect::<Vec<_>>();
    let name = |target: &Target| target.pod.name.clone();
    let sets = look.shards.iter().map(|shard| {
        let silent = names(&shard.unknown);
        let writes = match shard.lead.all() {
            [] if !silent.is_empty() => Writes::Unknown(silence(&silent)),
            [] if !shard.live_outside().is_empty() => Writes::Unknown("its primary is not selected".to_owned()),
            [] => Writes::Stopped("no member is primary".to_owned()),
            several if shard.has_too_many_primaries() => Writes::Split(format!(
                "{} each take them, and what one takes the other never has (how much that is is not known: keys are counted, not \
                 compared)",
                list(&names(several))
            )),
            primaries => primaries.iter().map(|primary| writes(primary)).max_by_key(badness).unwrap_or(Writes::GoOn),
        };
        SetSeen {
            id: shard.id.clone(),
            name: shard.name.clone(),
            pods: names(&shard.members),
            primaries: names(shard.lead.all()),
            silent,
            writes,
            growth: shard.lead.all().iter().find_map(|primary| look.member(primary)?.growth),
            chained: shard.behind_replicas().into_iter().map(|(it, above)| (name(it), name(above))).collect(),
        }
    });
    sets.collect()
}

/// The controllers whose pods are selected, and those that had some under this spec and have none any more.
pub(super) fn summary(input: &Input<'_>, previous: &RedisMemoryPolicyStatus) -> Vec<SetSummary> {
    let before = previous.summary.as_ref().map(|summary| summary.sets.as_slice()).unwrap_or_default();
    let primaries: Vec<&PodName> = input.sets.iter().flat_map(|set| &set.primaries).collect();
    let mut there: BTreeMap<String, SetSummary> = BTreeMap::new();
    for target in &input.snapshot.targets {
        let Some(name) = controller(input.snapshot, target) else { continue };
        let earlier = before.iter().find(|set| set.name == name);
        let set = there.entry(name.clone()).or_insert_with(|| SetSummary {
            last_primary: earlier.and_then(|set| set.last_primary.clone()),
            name,
            ..SetSummary::default()
        });
        set.pods = set.pods.saturating_add(1);
        if primaries.contains(&&target.pod.name) && !primaries.iter().any(|pod| is(set.last_primary.as_deref(), pod)) {
            set.last_primary = Some(target.pod.name.to_string());
        }
    }
    let now = Timestamp::from_second(input.now.as_second()).unwrap_or(input.now);
    let same_spec = previous.observed_generation == Some(input.generation);
    let gone = before.iter().filter(|set| same_spec && !there.contains_key(&set.name)).map(|set| SetSummary {
        pods: 0,
        gone_since: Some(set.gone_since.unwrap_or(now)),
        ..set.clone()
    });
    let lately = |set: &SetSummary| {
        // As long as its StatefulSet is there it may get pods again.
        if without(input.snapshot, &set.name).is_some() {
            return true;
        }
        let gone_for = set.gone_since.map(|since| Duration::try_from(now.duration_since(since)).unwrap_or_default());
        gone_for.is_none_or(|gone_for| gone_for < FORGOTTEN_AFTER)
    };
    let gone: Vec<SetSummary> = gone.filter(lately).collect();
    there.into_values().chain(gone).take(MAX_SETS).collect()
}

/// The StatefulSets that want more pods than are there and selected, with how many are. Of each by itself: several sets may
/// share one, and one may have several.
pub(super) fn short<'a>(input: &Input<'a>) -> impl Iterator<Item = (&'a StatefulSet, usize)> {
    let mut there: HashMap<&ControllerUid, usize> = HashMap::new();
    for owner in input.snapshot.targets.iter().filter_map(|target| target.pod.owner.as_ref()) {
        *there.entry(&owner.uid).or_default() += 1;
    }
    let short = input.snapshot.stateful_sets.iter().filter_map(move |set| Some((set, *there.get(&set.uid)?)));
    short.filter(|(set, there)| *there < usize::try_from(set.replicas).unwrap_or(usize::MAX))
}

/// Controllers that had pods, by that status, and of which none is selected now.
pub fn without_pods(status: &RedisMemoryPolicyStatus, snapshot: &Snapshot) -> Vec<String> {
    let sets = status.summary.as_ref().map(|summary| summary.sets.as_slice()).unwrap_or_default();
    let mut names: Vec<String> = sets.iter().map(|set| set.name.clone()).collect();
    // After a change of the spec only the records tell.
    if names.is_empty() {
        names.extend(status.workloads.iter().map(|record| record.name.clone()));
    }
    let there: Vec<String> = snapshot.targets.iter().filter_map(|target| controller(snapshot, target)).collect();
    names.retain(|name| !there.contains(name));
    names.sort_unstable();
    names.dedup();
    names
}

/// The StatefulSet of that name, where none of its pods is selected.
pub(super) fn without<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a StatefulSet> {
    let has_pods = |set: &StatefulSet| {
        snapshot.targets.iter().any(|target| target.pod.owner.as_ref().is_some_and(|owner| owner.uid == set.uid))
    };
    snapshot.stateful_sets.iter().find(|set| set.name == name && !has_pods(set))
}

/// Nothing is selected, and every controller that had pods is a StatefulSet that wants none: people, or an autoscaler, have
/// scaled it to zero.
pub(super) fn all_scaled_to_zero(previous: &RedisMemoryPolicyStatus, snapshot: &Snapshot) -> bool {
    let names = without_pods(previous, snapshot);
    let on_purpose = |name: &String| without(snapshot, name).is_some_and(|set| set.replicas == 0);
    snapshot.targets.is_empty() && !names.is_empty() && names.iter().all(on_purpose)
}

fn is(shown: Option<&str>, pod: &PodName) -> bool {
    shown == Some(pod.as_str())
}

/// What is remembered of a pod's controller by; `None`: nothing that keeps its name.
pub(super) fn controller(snapshot: &Snapshot, target: &Target) -> Option<String> {
    let owner = target.pod.owner.as_ref()?;
    match snapshot.deployment(&owner.uid) {
        Some(deployment) => Some(deployment.name.clone()),
        // Each roll-out of a Deployment makes another one.
        None if owner.kind == "ReplicaSet" => None,
        None => Some(owner.name.clone()),
    }
}

/// "redis-0, redis-1 and 3 more": names for a text.
pub fn list(names: &[PodName]) -> String {
    in_short(names, 3)
}

const fn badness(writes: &Writes) -> u8 {
    match writes {
        Writes::GoOn => 0,
        Writes::Unknown(_) => 1,
        Writes::Pause(_) => 2,
        Writes::Split(_) => 3,
        Writes::Stopped(_) => 4,
    }
}

/// That these do not say what they are.
pub(super) fn silence(pods: &[PodName]) -> String {
    match pods {
        [one] => format!("{one} does not say what it is"),
        several => format!("{} do not say what they are", list(several)),
    }
}

/// Whether that primary takes writes, by what it says.
fn writes(primary: &Target) -> Writes {
    let pod = &primary.pod.name;
    let Some(sample) = primary.sample() else { return Writes::Unknown(format!("{pod} does not answer")) };
    if sample.persistence.loading {
        return Writes::Pause(format!("{pod} is loading its data"));
    }
    if sample.replication.failover_state != FailoverState::None {
        return Writes::Pause(format!("{pod} is handing its role over"));
    }
    if eviction::refuses_writes(sample) {
        return Writes::Stopped(format!("{pod} is full and evicts nothing"));
    }
    let wanted = sample.config.as_ref().map_or(0, |config| config.min_replicas_to_write);
    let there = sample.replication.replicas.iter().filter(|line| line.online && line.lag <= REPLICA_LAG).count();
    if usize::try_from(wanted).unwrap_or(usize::MAX) > there {
        return Writes::Stopped(format!(
            "{there} replicas of {pod} are connected and min-replicas-to-write is {wanted}"
        ));
    }
    if sample.persistence_fails() {
        return Writes::Unknown(format!(
            "the last save of {pod} failed, and by stop-writes-on-bgsave-error it may refuse writes"
        ));
    }
    if sample.replication.role != Role::Primary {
        return Writes::Unknown(format!("{pod} does not say that it is primary"));
    }
    Writes::GoOn
}
