//! Members that the kernel killed.

use pretty_assertions::assert_eq;

use super::World;
use crate::{
    domain::{
        bytes::Bytes,
        fixtures::{pod_name, seconds_ago},
        oom::{Cause, PodKills},
    },
    plan::order,
};

/// Its restart would be in vain; theirs would not.
#[test]
fn the_others_are_not_kept_waiting() {
    let mut world = World::good();
    world.bound(Bytes::mib(900));
    world.killed(1, Cause::Headroom, None);
    let considered = world.consider();
    assert_eq!(considered.blocked, Vec::new());
    let plan = considered.plan.expect("they are due");
    assert_eq!(order::restarted_pods(&plan.steps), [pod_name(2), pod_name(0)]);
}

impl World {
    /// What that needs by the policy's 50 % is more than a limit, or less.
    pub(super) fn bound(&mut self, maxmemory: Bytes) {
        self.every_sample(|sample| {
            sample.memory.maxmemory = maxmemory;
            sample.config.as_mut().unwrap().maxmemory = maxmemory;
        });
    }

    pub(super) fn killed(&mut self, n: usize, cause: Cause, loading_limit: Option<Bytes>) {
        let pod = &self.snapshot.targets[n].pod;
        self.snapshot.surroundings.kills.push(PodKills {
            pod: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            first_at: seconds_ago(7200),
            last_at: seconds_ago(7200),
            times: 1,
            while_loading: u32::from(loading_limit.is_some()),
            cause,
            evidence: String::new(),
            loading_limit_bytes: loading_limit.map(|limit| i64::try_from(limit.0).unwrap()),
        });
    }
}
