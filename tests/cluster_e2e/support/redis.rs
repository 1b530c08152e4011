//! A replicated Redis in a namespace, read with `redis-cli` inside its pods.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{client, eventually, require, space::Space, writer::Writer};

/// Enough for tests that look at the order of things and not at megabytes; with `WASTE` [`SMALL_WASTE`].
pub(crate) const SMALL_KEYS: u32 = 400_000;
/// `minimumWaste` that [`SMALL_KEYS`] reach.
pub(crate) const SMALL_WASTE: &str = "24Mi";

/// Writes keys of 1,000 bytes at the primary until it uses so many bytes, each thousand of them when the replicas have those
/// before; says how many keys. A set that takes no more ends it.
const FILL: &str = r#"
set -e
used() { redis-cli INFO memory | tr -d '\r' | sed -n 's/^used_memory://p'; }
script='for i = 1, 1000 do redis.call("SET", "fill:" .. ARGV[1] .. ":" .. i, string.rep("x", 1000)) end'
round=0
while [ "$(used)" -lt "$1" ]; do
  refused=$(redis-cli EVAL "$script" 0 "$round")
  [ -z "$refused" ] && [ "$round" -lt 1000 ] || { echo "round $round: $refused" >&2; exit 1; }
  [ "$(redis-cli WAIT "$2" 20000)" -ge "$2" ]
  round=$((round + 1))
done
echo "$((round * 1000))"
"#;

/// The set `name` of a namespace.
#[derive(Debug)]
pub(crate) struct Redis<'a> {
    pub(crate) space: &'a Space,
    pub(crate) name: String,
    pub(crate) replicas: u32,
}

/// What `INFO` says of one member.
#[derive(Clone, Debug)]
pub(crate) struct Info(BTreeMap<String, String>);

impl Info {
    /// What a server answered.
    pub(crate) fn parse(text: &str) -> Self {
        let fields = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A field; panics when the server has none of that name.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("INFO has no {name}"))
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.field("role") == "master"
    }

    pub(crate) fn ratio(&self) -> f64 {
        self.field("mem_fragmentation_ratio").parse().unwrap()
    }

    /// A field that is a number.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.field(name).parse().unwrap_or_else(|error| panic!("{name} is {:?}: {error}", self.field(name)))
    }
}

impl<'a> Redis<'a> {
    /// Deploys a set and waits until all of it is ready. The words are those of `tests/manifests/redis.yaml`.
    pub(crate) fn deploy(space: &'a Space, name: &str, replicas: u32, words: &[(&str, &str)]) -> Self {
        let count = replicas.to_string();
        let yaml = space.render("redis.yaml", &[&[("NAME", name), ("REPLICAS", count.as_str())], words].concat());
        space.apply(&yaml);
        let set = Self { space, name: name.to_owned(), replicas };
        space.must(&["rollout", "status", &format!("statefulset/{name}"), "--timeout=180s"]);
        set
    }

    /// The names of its pods.
    pub(crate) fn pods(&self) -> Vec<String> {
        (0..self.replicas).map(|n| format!("{}-{n}", self.name)).collect()
    }

    /// The first role labels: the operator keeps them, but makes no primary.
    pub(crate) fn label_roles(&self) {
        for pod in self.pods() {
            let role = if self.info(&pod).is_primary() { "primary" } else { "replica" };
            self.space.must(&["label", "pod", &pod, &format!("redismemory.io/role={role}"), "--overwrite"]);
        }
    }

    /// Makes most pages of its memory mostly empty.
    pub(crate) fn fragment(&self, keys: u32) {
        let mut command = client::script("tests/manifests/fragment");
        command.args([&self.space.name, &self.name]).arg(keys.to_string());
        client::run(command).or_panic("fragmenting");
    }

    /// Fills the set until its primary uses so much: how many keys that took.
    pub(crate) fn fill(&self, bytes: u64) -> u64 {
        let replicas = self.replicas - 1;
        self.script(&self.primary(), FILL, &[&bytes.to_string(), &replicas.to_string()]).trim().parse().unwrap()
    }

    /// What a shell script says in a pod; panics when it fails.
    pub(crate) fn script(&self, pod: &str, script: &str, words: &[&str]) -> String {
        let exec = ["exec", pod, "--container", "redis", "--", "sh", "-c", script, "sh"];
        self.space.must(&[&exec, words].concat())
    }

    /// A writer through the Service of the set.
    pub(crate) fn writer(&self, rate: u32) -> Writer<'a> {
        Writer::start(self.space, &self.name, rate, 0)
    }

    /// `redis-cli` in a pod.
    pub(crate) fn cli(&self, pod: &str, arguments: &[&str]) -> Result<String, String> {
        let exec = ["exec", pod, "--container", "redis", "--", "timeout", "5", "redis-cli"];
        self.space.kubectl(&[&exec, arguments].concat()).into_result().map(|text| text.trim_end().to_owned())
    }

    /// All of `INFO` of a pod.
    pub(crate) fn info(&self, pod: &str) -> Info {
        self.try_info(pod).unwrap_or_else(|error| panic!("INFO of {pod}: {error}"))
    }

    pub(crate) fn try_info(&self, pod: &str) -> Result<Info, String> {
        Ok(Info::parse(&self.cli(pod, &["INFO", "everything"])?))
    }

    /// The one primary.
    pub(crate) fn primary(&self) -> String {
        let primaries: Vec<String> = self.pods().into_iter().filter(|pod| self.info(pod).is_primary()).collect();
        let [primary] = primaries.as_slice() else { panic!("not one primary: {primaries:?}") };
        primary.clone()
    }

    /// The set's pods as the API server has them.
    pub(crate) fn pod_objects(&self) -> Vec<Value> {
        let list = self.space.get(&["pods", "--selector", &format!("app={}", self.name)]);
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// UID by pod.
    pub(crate) fn uids(&self) -> BTreeMap<String, String> {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.pod_objects().iter().map(|pod| (word(&pod["metadata"]["name"]), word(&pod["metadata"]["uid"]))).collect()
    }

    /// Which process serves in each pod.
    pub(crate) fn run_ids(&self) -> BTreeMap<String, String> {
        self.pods().into_iter().map(|pod| (pod.clone(), self.info(&pod).field("run_id").to_owned())).collect()
    }

    /// The memory limit in the pod's spec.
    pub(crate) fn spec_limit(&self, pod: &str) -> String {
        let object = self.space.get(&["pod", pod]);
        let limit = &object["spec"]["containers"][0]["resources"]["limits"]["memory"];
        limit.as_str().unwrap_or_else(|| panic!("{pod} has no limit: {object}")).to_owned()
    }

    /// Evicts that pod, and waits until the one that takes its place is ready.
    pub(crate) fn replace(&self, pod: &str) {
        let before = self.uids().remove(pod);
        self.space.evict(pod);
        eventually(&format!("a new {pod}"), 60, || {
            let uid = self.uids().remove(pod);
            require(uid.is_some() && uid != before, || "the old one".to_owned())
        });
        self.space.must(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]);
    }

    /// All `CONFIG GET *` of all pods.
    pub(crate) fn configs(&self) -> BTreeMap<String, String> {
        let config = |pod: &String| self.cli(pod, &["CONFIG", "GET", "*"]).unwrap();
        self.pods().iter().map(|pod| (pod.clone(), config(pod))).collect()
    }

    /// The memory limit that the kernel enforces in the pod's container, in bytes.
    pub(crate) fn cgroup_limit(&self, pod: &str) -> u64 {
        let read = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null";
        let script = format!("{read} | head -n 1");
        let text = self.space.must(&["exec", pod, "--container", "redis", "--", "sh", "-c", &script]);
        text.trim().parse().unwrap_or_else(|error| panic!("the cgroup limit of {pod} is {text:?}: {error}"))
    }

    /// The primary takes a write at once: nothing is paused, nothing waits for anything.
    pub(crate) fn assert_writable(&self) {
        let primary = self.primary();
        for pod in self.pods() {
            let info = self.info(&pod);
            assert_eq!(info.field("master_failover_state"), "no-failover", "{pod}");
        }
        let exec = ["exec", primary.as_str(), "--container", "redis", "--"];
        let set = ["timeout", "2", "redis-cli", "SET", "probe:written-at-once", "1"];
        assert_eq!(self.space.must(&[exec.as_slice(), &set].concat()).trim(), "OK", "a write to {primary}");
    }

    /// Every pod carries the label of its live role, and clients reach exactly the primary.
    pub(crate) fn assert_labels_follow_roles(&self) {
        eventually("role labels that say the live roles", 30, || {
            for pod in self.pod_objects() {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                let role = if self.try_info(name)?.is_primary() { "primary" } else { "replica" };
                let label = pod["metadata"]["labels"]["redismemory.io/role"].as_str().unwrap_or_default();
                require(label == role, || format!("{name} is {role} and labelled {label:?}"))?;
            }
            Ok(())
        });
    }

    /// No member is fragmented any more, and exactly one is the primary that the others follow.
    pub(crate) fn assert_cured(&self) {
        for pod in self.pods() {
            let info = self.info(&pod);
            assert!(info.ratio() < 2.5, "{pod}: {}", info.ratio());
            assert!(info.is_primary() || info.field("master_link_status") == "up", "{pod} is not connected");
        }
        let _one = self.primary();
        self.assert_labels_follow_roles();
        self.assert_writable();
    }

    /// How often a container of the set was started again.
    pub(crate) fn container_restarts(&self) -> u64 {
        let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default();
        self.pod_objects().iter().map(restarts).sum()
    }
}
