//! How long a remediation takes: what is compared with the time that a window leaves. Rather too long than too short:
//! a remediation that is not begun costs a night, one that runs on after the window costs trust.

use std::time::Duration;

use super::Context;
use crate::{
    assess::topology::Workload,
    domain::{bytes::Bytes, names::PodName, sample::Role, snapshot::Target},
};

/// Assumed for each of writing, sending and loading a data set: what one core does with small keys and values on
/// modest hardware (benchmarks of RDB saving and loading lie between 50 and 200 MiB/s).
const BYTES_PER_SECOND: u64 = 50 << 20;
/// From an accepted eviction to a replacement whose Redis answers: shutdown without a save, scheduling, start. Pods on
/// a node that has the image take 5 to 20 s.
const REPLACEMENT: Duration = Duration::from_secs(30);
/// Labels, endpoints that follow, FAILOVER and the labels after it: 3 to 8 s measured.
pub const SWITCHOVER: Duration = Duration::from_secs(15);
/// A replica that follows another primary and resynchronises partially: 1 to 2 s measured.
const REPOINT: Duration = Duration::from_secs(5);
/// Readings that a proof takes, one each sample interval.
const PROOF_READINGS: u32 = 4;
/// The sum is multiplied by this, in percent: looks between steps, busy disks, a full sync that must be repeated.
const MARGIN_PERCENT: u32 = 150;

/// The whole remediation: each pod by itself, the replicas' proofs together, and each time that the role is handed over.
pub fn remediation(ctx: &Context<'_>, workload: &Workload<'_>, restarting: &[PodName], switchovers: usize) -> Duration {
    let pods = || workload.members.iter().filter(|target| restarting.contains(&target.pod.name));
    let restarts: Duration = pods().map(|target| raw(workload, target)).sum();
    let primaries = pods().filter(|target| is_primary(target)).count();
    let proofs = u32::from(primaries > 0) + u32::from(pods().count() > primaries);
    let repoints = u32::try_from(workload.replicas.len()).unwrap_or(u32::MAX);
    let switchovers = u32::try_from(switchovers).unwrap_or(u32::MAX);
    let handing_over = SWITCHOVER.saturating_add(REPOINT.saturating_mul(repoints)).saturating_mul(switchovers);
    padded(restarts.saturating_add(proof(ctx).saturating_mul(proofs)).saturating_add(handing_over))
}

/// One pod, from its eviction to a replica that has caught up. The proof is not counted: it disturbs nobody.
pub fn restart(workload: &Workload<'_>, target: &Target) -> Duration {
    padded(raw(workload, target))
}

/// Shutdown with a save if it has save points, replacement, full sync: written by the primary, sent, loaded.
fn raw(workload: &Workload<'_>, target: &Target) -> Duration {
    let Some(sample) = target.sample() else { return REPLACEMENT };
    let moving = assumed(sample.memory.used);
    let saves = sample.config.as_ref().is_ok_and(|config| !config.save.is_empty());
    let shutdown = if saves { moving.max(sample.persistence.last_save_took) } else { Duration::ZERO };
    let measured = workload.primary().and_then(Target::sample).map(|primary| primary.persistence.last_save_took);
    let written = moving.max(measured.unwrap_or_default());
    let steps = [shutdown, REPLACEMENT, written, moving, moving];
    steps.into_iter().fold(Duration::ZERO, Duration::saturating_add)
}

/// Time to move so many bytes at the assumed rate, in whole seconds, rounded up.
fn assumed(bytes: Bytes) -> Duration {
    Duration::from_secs(bytes.0.div_ceil(BYTES_PER_SECOND))
}

fn proof(ctx: &Context<'_>) -> Duration {
    let readings = ctx.settings.assess.sample_interval.saturating_mul(PROOF_READINGS);
    ctx.settings.proof_settle.saturating_add(readings)
}

fn padded(time: Duration) -> Duration {
    time.saturating_mul(MARGIN_PERCENT) / 100
}

fn is_primary(target: &Target) -> bool {
    target.sample().is_some_and(|sample| matches!(sample.replication.role, Role::Primary))
}

/// "11 min", "40 s": for people, rounded up.
pub fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::{
        assess::topology,
        domain::{
            fixtures,
            policy::Policy,
            snapshot::{Observation, Snapshot},
        },
        plan::PlanSettings,
    };

    fn whole(policy: &Policy, snapshot: &Snapshot, pods: &[u8]) -> Duration {
        let settings = PlanSettings::default();
        let ctx = Context { policy, snapshot, records: &[], now: fixtures::NOW, settings: &settings };
        let workloads = topology::workloads(snapshot);
        let pods: Vec<PodName> = pods.iter().map(|n| fixtures::pod_name(*n)).collect();
        remediation(&ctx, &workloads[0], &pods, usize::from(pods.contains(&fixtures::pod_name(0))))
    }

    fn used(snapshot: &mut Snapshot, bytes: Bytes) {
        for target in &mut snapshot.targets {
            let Observation::Seen(sample) = &mut target.redis else { panic!("a sample") };
            sample.memory.used = bytes;
        }
    }

    #[test]
    fn the_sum_is_what_the_constants_say() {
        let (policy, mut snapshot) = fixtures::enforced();
        used(&mut snapshot, Bytes::mib(100));
        for target in &mut snapshot.targets {
            let Observation::Seen(sample) = &mut target.redis else { panic!("a sample") };
            sample.config.as_mut().unwrap().save.clear();
            sample.persistence.last_save_took = Duration::ZERO;
        }
        // 30 + 3 x 2 s a pod; proofs of 60 + 4 x 15 s; switchover 15 s and two replicas repointed; half as much again.
        assert_eq!(whole(&policy, &snapshot, &[1]), Duration::from_secs((36 + 120) * 3 / 2));
        assert_eq!(whole(&policy, &snapshot, &[0, 1, 2]), Duration::from_millis((3 * 36 + 2 * 120 + 15 + 10) * 1500));
        let workloads = topology::workloads(&snapshot);
        assert_eq!(restart(&workloads[0], &snapshot.targets[1]), Duration::from_secs(54));
    }

    #[test]
    fn more_data_and_slow_saves_take_longer() {
        let (policy, mut snapshot) = fixtures::enforced();
        let small = whole(&policy, &snapshot, &[1]);
        used(&mut snapshot, Bytes::mib(100 << 10));
        let large = whole(&policy, &snapshot, &[1]);
        assert!(large > Duration::from_secs(2 * 3600), "100 GiB take hours, not {large:?}");
        let Observation::Seen(sample) = &mut snapshot.targets[0].redis else { panic!("a sample") };
        sample.persistence.last_save_took = Duration::from_secs(8 * 3600);
        assert!(
            whole(&policy, &snapshot, &[1]) > large + Duration::from_secs(8 * 3600),
            "the primary's own save counts"
        );
        assert!(small < Duration::from_secs(300));
    }

    #[test]
    fn times_are_shown_rounded_up() {
        let texts = [0, 119, 120, 121, 660].map(|seconds| shown(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0 s", "119 s", "2 min", "3 min", "11 min"]);
    }
}
