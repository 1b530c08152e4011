//! The operator is killed in the middle of a remediation. Whoever comes after finishes it, as if nothing had happened.
//!
//! The image is built with crash points: the process aborts at a named place, once, and says so before.

use crate::long::is_long;
use crate::prelude::*;

/// Methods of switchover, and crash points: what only a kubelet, and the real proxy, can show. tests/api_faults has all.
const POINTS: [(&str, &str); 3] =
    [("auto", "evict:after-effect"), ("guarded", "switchover:demoted"), ("native", "switchover:after-failover-sent")];

/// What `RMO_LONG=1` adds.
const MORE_POINTS: [(&str, &str); 4] = [
    ("auto", "switchover:after-overlap"),
    ("guarded", "switchover:paused"),
    ("guarded", "switchover:promoted"),
    ("auto", "switchover:done"),
];

/// Runs the main job with that method of switchover and a crash at that point, and asserts the undisturbed end.
fn assert_survives(method: &str, point: &str) {
    println!("{point}, {method}");
    let with_crash_point = Options {
        set: vec![
            format!(r#"switchover="{method}""#),
            format!(
                r#"extraEnv=[{{"name":"REDIS_MEMORY_CRASH_POINT","value":"{point}"}},{{"name":"REDIS_MEMORY_CRASH_DIR","value":"/crash"}}]"#
            ),
            r#"extraVolumes=[{"name":"crash","emptyDir":{}}]"#.to_owned(),
            r#"extraVolumeMounts=[{"name":"crash","mountPath":"/crash"}]"#.to_owned(),
        ],
        crash_image: true,
    };
    let _operator = operator::special(&with_crash_point);
    let space = Space::new("crash");
    let set = Redis::deploy(&space, "redis", 3, &[]);
    set.label_roles();
    let writer = set.writer(400);
    set.fragment(SMALL_KEYS);
    let watch = PodWatch::of(&set);
    let policy = Policy::apply(&space, "redis", &[("MODE", "Enforce"), ("WASTE", SMALL_WASTE)]);
    policy.await_success(300);

    let status = operator::pod()["status"]["containerStatuses"][0].clone();
    assert_eq!(status["restartCount"], 1, "the operator died exactly once: {status}");
    let log = operator::previous_log().unwrap();
    let fired = format!("crash point {point} fired");
    assert!(log.contains(&fired), "the crash point did not fire:\n{log}");
    // By a signal; which one of abort's attempts ends a container's process 1 is the kernel's choice.
    let code = status["lastState"]["terminated"]["exitCode"].as_u64();
    assert!(code > Some(128), "it did not end by itself: {status}");

    watch.assert_main_job("redis-0", &["redis-1".to_owned(), "redis-2".to_owned()]);
    assert_eq!(set.container_restarts(), 0);
    assert_ne!(set.primary(), "redis-0", "the role was handed over");
    set.assert_labels_follow_roles();
    set.assert_writable();
    for pod in set.pods() {
        let info = set.info(&pod);
        assert!(info.ratio() < 2.5, "{pod}: {}", info.ratio());
        assert!(info.is_primary() || info.field("master_link_status") == "up", "{pod} is not connected");
    }
    eventually("the Service has exactly the primary", 30, || {
        let slices = space.get(&["endpointslices", "--selector", "kubernetes.io/service-name=redis"]);
        let ends: Vec<_> = slices["items"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
            .map(|end| end["targetRef"]["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        require(ends == [set.primary()], || format!("{ends:?}"))
    });
    let verdict = writer.assert_nothing_lost();
    println!("{point}: {} acknowledged, longest gap {} ms", verdict["acknowledged"], verdict["window"]["gap_ms_max"]);
}

#[test]
#[ignore = "needs a cluster: make test"]
fn killed_at_a_crash_point_its_successor_finishes_as_if_nothing_had_happened() {
    let more = if is_long() { &MORE_POINTS[..] } else { &[] };
    for (method, point) in POINTS.iter().chain(more) {
        assert_survives(method, point);
    }
}
