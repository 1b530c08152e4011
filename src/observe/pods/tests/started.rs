//! How long a start takes, by what Kubernetes shows.

use pretty_assertions::assert_eq;

use super::*;

/// The probes of charts, and when their pods were ready after their start, in seconds: what the kubelet was seen to do is
/// within half a period.
#[rstest]
#[case::none(json!({}), 0.0)]
#[case::bitnami(json!({"readinessProbe": {"initialDelaySeconds": 20, "periodSeconds": 5}}), 22.5)]
#[case::bitnami_replica(json!({
    "startupProbe": {"initialDelaySeconds": 2, "periodSeconds": 2},
    "readinessProbe": {"initialDelaySeconds": 20, "periodSeconds": 5},
}), 22.5)]
#[case::valkey_helm(json!({"startupProbe": {"periodSeconds": 2}}), 1.0)]
#[case::cloudpirates(json!({"readinessProbe": {"initialDelaySeconds": 5, "periodSeconds": 10}}), 10.0)]
#[case::after_the_startup_probe_at_once(json!({
    "startupProbe": {"initialDelaySeconds": 2, "periodSeconds": 3}, "readinessProbe": {"periodSeconds": 10},
}), 3.5)]
#[case::defaults(json!({"readinessProbe": {}}), 5.0)]
#[case::several_times(json!({"readinessProbe": {"periodSeconds": 4, "successThreshold": 3}}), 10.0)]
fn a_pod_is_ready_when_its_probes_are_to_be_expected_to_say_so(#[case] probes: serde_json::Value, #[case] want: f64) {
    let found = pod(
        &changed(|object| {
            for (name, probe) in probes.as_object().expect("probes") {
                object["spec"]["containers"][0][name] = probe.clone();
            }
        }),
        &named("redis"),
    );
    assert_eq!(found.container.expect("it is known").ready_after, Duration::from_secs_f64(want));
}

/// What a first start took, from the creation of the pod on.
#[rstest]
#[case::first("2026-01-02T03:04:01Z", 0, 4)]
#[case::at_once("2026-01-02T03:04:05Z", 0, 1)]
#[case::another_start("2026-01-02T03:04:01Z", 2, 0)]
#[case::another_clock("2026-01-02T03:04:09Z", 0, 0)]
fn how_long_a_start_took_is_known_of_the_first(#[case] created: &str, #[case] restarts: i32, #[case] want: u64) {
    let found = pod(
        &changed(|object| {
            object["metadata"]["creationTimestamp"] = json!(created);
            object["status"]["containerStatuses"][0]["restartCount"] = json!(restarts);
        }),
        &named("redis"),
    );
    assert_eq!(found.container.expect("it is known").start_took, Duration::from_secs(want));
}
