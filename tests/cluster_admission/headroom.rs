//! The admission policy about headroom on a real API server: a workload whose Redis has too small a limit is refused, with
//! the numbers; one that is there already may be changed as long as it does not get worse; no pod is ever refused.

use std::process::Command;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::support::{client, eventually, require, space::Space};

/// The policy, as `admission` prints it, holds in this namespace alone. Both go when the test ends.
struct Guarded {
    space: Space,
}

impl Guarded {
    fn new() -> Self {
        Self { space: Space::new("headroom") }
    }

    fn install(&self) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
        program.args(["admission", "--name", &self.space.name]);
        for document in serde_yaml::Deserializer::from_str(&client::run(program).or_panic("admission")) {
            let mut object = Value::deserialize(document).unwrap();
            if object["kind"] == "ValidatingAdmissionPolicyBinding" {
                // Other tests' sets are none of its business.
                let own = json!({"matchLabels": {"kubernetes.io/metadata.name": self.space.name}});
                object["spec"]["matchResources"] = json!({"namespaceSelector": own});
            }
            self.apply(&object);
        }
    }

    fn apply(&self, object: &Value) {
        self.space.apply(&object.to_string());
    }

    /// What would become of it; nothing is stored.
    fn would(&self, object: &Value) -> Result<String, String> {
        let dry = ["--namespace", &self.space.name, "apply", "--dry-run=server", "--filename", "-"];
        client::kubectl_with(&dry, &object.to_string()).into_result()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            client::kubectl(&["delete", kind, &self.space.name, "--ignore-not-found"]);
        }
    }
}

fn container(name: &str, arguments: &[&str], limit: Option<&str>) -> Value {
    let resources = limit.map_or_else(|| json!({}), |limit| json!({"limits": {"memory": limit}}));
    json!({"name": name, "image": "redis", "args": arguments, "resources": resources})
}

fn pod(containers: &[Value]) -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers, "restartPolicy": "Always"}})
}

/// A workload of that kind that makes no pods.
fn workload(kind: &str, name: &str, containers: &[Value]) -> Value {
    let selector = json!({"matchLabels": {"a": "b"}});
    let mut spec = json!({"selector": selector, "template": pod(containers)});
    match kind {
        "StatefulSet" => {
            spec["serviceName"] = json!("none");
            spec["replicas"] = json!(0);
        }
        "Deployment" | "ReplicaSet" => spec["replicas"] = json!(0),
        "DaemonSet" => spec["template"]["spec"]["nodeSelector"] = json!({"no": "such-node"}),
        "CronJob" => {
            let mut template = pod(containers);
            template["spec"]["restartPolicy"] = json!("Never");
            let job = json!({"spec": {"template": template}});
            spec = json!({"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": job});
        }
        other => panic!("{other}"),
    }
    let version = if kind == "CronJob" { "batch/v1" } else { "apps/v1" };
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn set(name: &str, maxmemory: &str, limit: &str) -> Value {
    workload("StatefulSet", name, &[container("redis", &["--maxmemory", maxmemory], Some(limit))])
}

#[test]
#[ignore = "needs the test cluster (make test-cluster)"]
fn a_limit_that_does_not_exceed_maxmemory_is_refused_and_what_is_there_may_not_get_worse() {
    let guarded = Guarded::new();
    // Needed are 768Mi: it lacks 256Mi.
    guarded.apply(&set("old", "512mb", "512Mi"));
    guarded.install();
    // The API server takes a moment to act on a new policy.
    eventually("the first refusal", 60, || {
        require(guarded.would(&set("new", "512mb", "512Mi")).is_err(), || "it was let in".to_owned())
    });

    for kind in ["StatefulSet", "Deployment", "DaemonSet", "CronJob"] {
        let bad = workload(kind, "new", &[container("redis", &["--maxmemory", "512mb"], Some("700Mi"))]);
        let said = guarded.would(&bad).expect_err(&format!("a bad {kind} was let in"));
        let numbers =
            "container redis: the memory limit is 700Mi, and maxmemory 512mb needs 768Mi: 50 % above it, at least 64Mi";
        assert!(said.contains(numbers), "{kind}: {said}");
        let good = workload(kind, "new", &[container("redis", &["--maxmemory", "512mb"], Some("768Mi"))]);
        guarded.would(&good).unwrap_or_else(|error| panic!("a good {kind}: {error}"));
    }
    the_words_of_a_command_line(&guarded);
    what_is_there_already(&guarded);
    nothing_else(&guarded);
}

/// The same reading as `lint`: the last one holds, and the units are Redis' own.
fn the_words_of_a_command_line(guarded: &Guarded) {
    let of = |arguments: &[&str], limit| {
        guarded.would(&workload("StatefulSet", "new", &[container("redis", arguments, limit)]))
    };
    let refused: [(&[&str], &str); 7] = [
        (&["--maxmemory 512mb"], "512Mi"),
        (&["redis-server", "--maxmemory", "100mb", "--maxmemory", "1gb"], "1Gi"),
        (&["sh", "-c", "exec redis-server /etc/redis.conf --maxmemory '1gb' --save ''"], "1Gi"),
        (&["--MAXMEMORY", "1GB"], "1Gi"),
        // 1G is 1,000,000,000, and needs 1,500,000,000.
        (&["--maxmemory", "1G"], "1499999999"),
        (&["--maxmemory", "1000000000"], "1499999999"),
        // Half of it is less than 64Mi.
        (&["--maxmemory", "100mb"], "163Mi"),
    ];
    for (arguments, limit) in refused {
        let said = of(arguments, Some(limit)).expect_err(&format!("{arguments:?} with {limit} was let in"));
        assert!(said.contains("the memory limit is"), "{said}");
    }
    let let_in: [(&[&str], Option<&str>); 8] = [
        (&["--maxmemory", "1gb", "--maxmemory", "100mb"], Some("164Mi")),
        (&["--maxmemory", "1G"], Some("1500000000")),
        (&["--maxmemory", "1g"], Some("1500M")),
        (&["--maxmemory", "$(MAXMEMORY)"], Some("1Mi")),
        (&["--maxmemory", "0"], Some("1Mi")),
        (&["--maxmemory", "1gb"], None),
        (&["--maxmemory-policy", "allkeys-lru"], Some("1Mi")),
        (&["--maxmemory", "1.5gb"], Some("1Mi")),
    ];
    for (arguments, limit) in let_in {
        of(arguments, limit).unwrap_or_else(|error| panic!("{arguments:?} with {limit:?}: {error}"));
    }
}

fn what_is_there_already(guarded: &Guarded) {
    let mut changed = set("old", "512mb", "512Mi");
    changed["metadata"]["labels"] = json!({"team": "shop"});
    changed["spec"]["replicas"] = json!(1);
    guarded.would(&changed).expect("changed and scaled by a whole update");
    guarded.space.must(&["scale", "statefulset", "old", "--replicas=1", "--dry-run=server"]);
    guarded.would(&set("old", "512mb", "600Mi")).expect("improved, though not enough");
    guarded.would(&set("old", "512mb", "1Gi")).expect("mended");
    guarded.would(&set("old", "512mb", "511Mi")).expect_err("a smaller limit");
    guarded.would(&set("old", "513mb", "512Mi")).expect_err("a larger maxmemory");
    let second = [
        container("redis", &["--maxmemory", "512mb"], Some("512Mi")),
        container("another", &["--maxmemory", "512mb"], Some("512Mi")),
    ];
    let said = guarded.would(&workload("StatefulSet", "old", &second)).expect_err("one more that is too small");
    assert!(said.contains("container another") && !said.contains("container redis"), "{said}");
    // And it is measured by what is there, not by what was: better once stays better.
    guarded.apply(&set("old", "512mb", "600Mi"));
    guarded.would(&set("old", "512mb", "512Mi")).expect_err("back to what it was");
}

/// A pod that runs is never refused its successor: pods, and what controllers make, are not looked at.
fn nothing_else(guarded: &Guarded) {
    let bad = [container("redis", &["--maxmemory", "512mb"], Some("512Mi"))];
    guarded.would(&workload("ReplicaSet", "new", &bad)).expect("a ReplicaSet");
    let mut pod = pod(&bad);
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("new");
    eventually("the pod", 60, || guarded.would(&pod));
}
