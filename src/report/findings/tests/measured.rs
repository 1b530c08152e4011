//! By method Measured the measurements go with the operator and with the pods: what was found by them is not over by that.

use std::time::Duration;

use super::*;
use crate::domain::{peaks::Peaks, policy::HeadroomMethod};

/// Three members of which a fork copied `copied` percent within a day, each with that limit over a `maxmemory` of 512 MiB.
fn world(copied: u32, limit: u64) -> (Policy, Snapshot) {
    let (mut policy, mut snapshot) = (fixtures::policy(), fixtures::three_pods());
    policy.headroom.method = HeadroomMethod::Measured;
    for target in &mut snapshot.targets {
        let covered = Duration::from_secs(24 * 3600);
        target.peaks = Peaks { covered, copied: Some(Ratio(copied)), ..Peaks::default() };
        target.pod.container.as_mut().unwrap().live_limit = Some(Bytes::mib(limit));
    }
    (policy, snapshot)
}

fn headroom(status: &RedisMemoryPolicyStatus) -> (&str, &str) {
    condition(status, "HeadroomSufficient")
}

#[test]
fn a_finding_is_not_over_because_its_measurements_are_forgotten() {
    // 588.8 × 1.9 + 128 + 16 + 1 + 29.92 = 1293.6; / 0.95 = 1361.7. The bounds are 958.9.
    let (policy, mut snapshot) = world(60, 1024);
    let before = first(&policy, &snapshot);
    assert_eq!(headroom(&before), ("False", "HeadroomInsufficient"));
    let found = before.findings.iter().find(|finding| finding.code == "HeadroomInsufficient").expect("a finding");
    assert!(
        found.evidence.starts_with("limit 1 GiB, needed 1362 MiB for maxmemory 512 MiB: data 589 MiB"),
        "{found:?}"
    );

    snapshot.targets.iter_mut().for_each(|target| target.peaks = Peaks::default());
    let forgotten = look(&policy, &snapshot, &before);
    assert_eq!(headroom(&forgotten), ("False", "HeadroomInsufficient"), "the bounds would be enough");
    assert!(forgotten.findings.iter().any(|finding| finding.code == "HeadroomInsufficient" && finding.stale));
    assert_eq!(headroom(&first(&policy, &snapshot)), ("True", "Sufficient"), "of who was never found wanting they are");

    let (_, mut measured) = world(20, 1024);
    measured.targets[2].peaks = Peaks::default();
    assert_eq!(headroom(&look(&policy, &measured, &forgotten)).0, "False", "one member may still need it");
    measured.targets[2].peaks = measured.targets[1].peaks;
    assert_eq!(headroom(&look(&policy, &measured, &forgotten)), ("True", "Sufficient"), "it was judged anew");
}

#[test]
fn what_is_not_measured_yet_is_neither_well_nor_not() {
    let (policy, mut snapshot) = world(20, 900);
    snapshot.targets.iter_mut().for_each(|target| target.peaks = Peaks::default());
    let status = first(&policy, &snapshot);
    assert_eq!(headroom(&status), ("Unknown", "NotEnoughReadings"));
    let (_, small) = world(20, 900);
    assert_eq!(headroom(&first(&policy, &small)), ("False", "HeadroomInsufficient"), "30 % for the fork are 990 MiB");
    let (_, enough) = world(10, 900);
    assert_eq!(headroom(&first(&policy, &enough)), ("True", "Sufficient"), "15 % are 897 MiB");
}
