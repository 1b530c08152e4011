//! What wakes the reconciler: a digest of what a sample means. Equal digests mean that nothing need be looked at.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use super::{AssessSettings, fragmentation, target::Alone};
use crate::domain::{
    names::PodUid,
    peaks::Peaks,
    pod::Pod,
    policy::Policy,
    sample::{Reading, Replication, Role},
    snapshot::{Observation, Target},
};

/// The digest of an observation of one of these pods and its history, under that policy. What is judged without a sample
/// needs no pod.
pub fn of(
    policy: Arc<Policy>,
    pods: &[Pod],
    settings: AssessSettings,
) -> impl Fn(Observation, Vec<Reading>) -> u64 + Send + Sync + 'static {
    let pods: HashMap<PodUid, Pod> = pods.iter().map(|pod| (pod.uid.clone(), pod.clone())).collect();
    move |observation, history| {
        let mut hasher = DefaultHasher::new();
        match &observation {
            Observation::Pending => 0_u8.hash(&mut hasher),
            Observation::Failed(failure) => (failure.reason(), failure.text()).hash(&mut hasher),
            Observation::Seen(sample) => {
                links(&sample.replication, &mut hasher);
                sample.run_id.hash(&mut hasher);
                if let Some(pod) = pods.get(&sample.pod_uid) {
                    let at = sample.at;
                    // What changes within a day is judged when the policy is next looked at.
                    let target = Target { pod: pod.clone(), redis: observation, history, peaks: Peaks::default() };
                    let judged = Alone::of(&policy, &target, at, &settings);
                    for finding in &judged.findings {
                        finding.code.hash(&mut hasher);
                    }
                    // That it can be judged at last, and is well, is news too: a condition waits for it.
                    (judged.fragmentation.band == fragmentation::Band::Unknown).hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }
}

/// The role, and the links that hold: what labels and gates rest on.
fn links(replication: &Replication, hasher: &mut DefaultHasher) {
    match &replication.role {
        Role::Primary => replication.replicas.iter().filter(|line| line.online).count().hash(hasher),
        Role::Replica(link) => (link.link_up, link.sync_in_progress).hash(hasher),
        Role::Unknown => u8::MAX.hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{bytes::Bytes, fixtures, ratio::Ratio};

    #[test]
    fn a_server_that_can_be_judged_at_last_and_is_well_is_news() {
        let mut target = fixtures::three_pods().targets.remove(0);
        let Observation::Seen(sample) = &mut target.redis else { panic!("a sample") };
        (sample.memory.rss, sample.memory.ratio) = (Bytes(sample.memory.used.0 + 1), Ratio(100));
        for reading in &mut target.history {
            (reading.rss, reading.ratio) = (Bytes(reading.used.0 + 1), Ratio(100));
        }
        let digest = of(Arc::new(fixtures::policy()), &[target.pod.clone()], AssessSettings::default());
        let (early, late) = (digest(target.redis.clone(), Vec::new()), digest(target.redis.clone(), target.history));
        assert_ne!(early, late);
    }
}
