//! What wakes the reconciler: a digest of what a sample means. Equal digests mean that nothing need be looked at.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use crate::{
    assess::{self, AssessSettings},
    domain::{
        names::PodUid,
        pod::Pod,
        policy::Policy,
        sample::{Reading, Replication, Role},
        snapshot::{Observation, Target},
    },
    observe::sampler::Judge,
};

/// The judge for the pods of a policy. What is judged without a sample needs no pod.
pub fn of(policy: Arc<Policy>, pods: &[Pod], settings: AssessSettings) -> Judge {
    let pods: HashMap<PodUid, Pod> = pods.iter().map(|pod| (pod.uid.clone(), pod.clone())).collect();
    Arc::new(move |observation: Observation, history: Vec<Reading>| {
        let mut hasher = DefaultHasher::new();
        match &observation {
            Observation::Pending => 0_u8.hash(&mut hasher),
            Observation::Failed(failure) => (failure.reason(), failure.text()).hash(&mut hasher),
            Observation::Seen(sample) => {
                links(&sample.replication, &mut hasher);
                sample.run_id.hash(&mut hasher);
                if let Some(pod) = pods.get(&sample.pod_uid) {
                    let at = sample.at;
                    let target = Target { pod: pod.clone(), redis: observation, history };
                    for finding in assess::target::assess_target(&policy, &target, at, &settings) {
                        finding.code.hash(&mut hasher);
                    }
                }
            }
        }
        hasher.finish()
    })
}

/// The role, and the links that hold: what labels and gates rest on.
fn links(replication: &Replication, hasher: &mut DefaultHasher) {
    match &replication.role {
        Role::Primary => replication.replicas.iter().filter(|line| line.online).count().hash(hasher),
        Role::Replica(link) => (link.link_up, link.sync_in_progress).hash(hasher),
        Role::Unknown => u8::MAX.hash(hasher),
    }
}
