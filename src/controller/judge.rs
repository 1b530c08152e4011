//! What wakes the reconciler: a digest of what a sample means. Equal digests mean that nothing need be looked at.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use crate::{
    assess::{self, AssessSettings},
    domain::{
        pod::Pod,
        policy::Policy,
        sample::{Reading, Role},
        snapshot::{Observation, Target},
    },
    observe::sampler::Judge,
};

/// The judge for one pod of a policy.
pub(super) fn of(policy: Arc<Policy>, pod: Pod, settings: AssessSettings) -> Judge {
    Arc::new(move |observation: &Observation, history: &[Reading]| digest(&policy, &pod, settings, observation, history))
}

fn digest(
    policy: &Policy,
    pod: &Pod,
    settings: AssessSettings,
    observation: &Observation,
    history: &[Reading],
) -> u64 {
    let mut hasher = DefaultHasher::new();
    match observation {
        Observation::Pending => 0_u8.hash(&mut hasher),
        Observation::Failed(failure) => failure.reason().hash(&mut hasher),
        Observation::Seen(sample) => {
            sample.run_id.hash(&mut hasher);
            match &sample.replication.role {
                Role::Primary => sample.replication.replicas.iter().filter(|line| line.online).count().hash(&mut hasher),
                Role::Replica(link) => (link.link_up, link.sync_in_progress).hash(&mut hasher),
            }
            let target =
                Target { pod: pod.clone(), redis: observation.clone(), history: history.to_vec() };
            for finding in assess::target::assess_target(policy, &target, sample.at, &settings) {
                finding.code.hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}
