//! What is found in manifests, and what is not known of them.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::{finding::FindingCode, policy::HeadroomMethod};

fn rule(purpose: Option<Purpose>) -> Rule {
    Rule {
        headroom: HeadroomRule {
            method: HeadroomMethod::Fixed,
            percent: 50,
            minimum: Bytes::mib(64),
            resize_pod: false,
            set_maxmemory: false,
            maximum_limit: None,
            requests: false,
            allow_eviction: false,
        },
        purpose,
    }
}

fn report(text: &str) -> Report {
    report_for(text, None)
}

fn report_for(text: &str, purpose: Option<Purpose>) -> Report {
    lint(&[Input { name: "a.yaml".into(), text: text.into(), named: true }], &rule(purpose))
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.judged.iter().flat_map(|judged| &judged.findings).map(|finding| finding.code.as_str()).collect()
}

/// A StatefulSet of one pod with a volume and this container.
fn set(container: &str) -> String {
    format!(
        "kind: StatefulSet\nmetadata: {{name: redis}}\nspec:\n  replicas: 2\n  template:\n    metadata: {{labels: {{app: redis}}}}\n    \
         spec:\n      containers:\n      - {container}\n"
    )
}

fn with_arguments(arguments: &str) -> String {
    set(&format!("{{name: redis, image: \"redis:7\", args: [{arguments}], resources: {{limits: {{memory: 1536Mi}}}}}}"))
}

#[rstest]
#[case::right("redis-server, --maxmemory, 1gb", &[])]
#[case::to_the_byte("redis-server, --maxmemory, '1073741825'", &["HeadroomInsufficient"])]
#[case::unset("redis-server", &["MaxmemoryUnset"])]
#[case::zero("redis-server, --maxmemory, '0'", &["MaxmemoryUnset"])]
#[case::units_of_redis("redis-server, --maxmemory, 1G", &[])]
#[case::never_at_random("redis-server, --maxmemory, 1gb, --maxmemory-policy, allkeys-random", &["EvictionPolicyUnsafe"])]
#[case::not_written("redis-server, --maxmemory, 1gb, --save, '', --appendonly, 'no'", &["PersistenceMissing"])]
#[case::a_cache_by_its_policy("redis-server, --maxmemory, 1gb, --maxmemory-policy, allkeys-lru, --save, ''", &[])]
#[case::not_known("redis-server, --maxmemory, $(LIMIT)", &[])]
fn by_the_command_line(#[case] arguments: &str, #[case] expected: &[&str]) {
    let report = report(&with_arguments(arguments));
    assert_eq!(codes(&report), expected, "{:?}", report.judged);
    assert_eq!(report.problems, []);
}

#[rstest]
#[case(Purpose::Cache, "allkeys-lru", "--save, ''", &[])]
#[case(Purpose::Cache, "allkeys-lru", "--appendonly, 'yes'", &["PersistenceUnneeded"])]
#[case(Purpose::Cache, "noeviction", "--save, ''", &["EvictionPolicyUnsafe"])]
#[case(Purpose::Session, "volatile-ttl", "--appendonly, 'yes'", &[])]
#[case(Purpose::Store, "noeviction", "--appendonly, 'yes'", &[])]
#[case(Purpose::Store, "allkeys-lru", "--save, ''", &["EvictionPolicyUnsafe", "PersistenceMissing"])]
#[case(Purpose::Queue, "volatile-lru", "--save, ''", &["EvictionPolicyUnsafe", "PersistenceMissing"])]
fn by_the_purpose(#[case] purpose: Purpose, #[case] policy: &str, #[case] more: &str, #[case] expected: &[&str]) {
    let text = with_arguments(&format!("redis-server, --maxmemory, 1gb, --maxmemory-policy, {policy}, {more}"));
    assert_eq!(codes(&report_for(&text, Some(purpose))), expected);
}

#[rstest]
#[case::pod("kind: Pod\nmetadata: {name: a}\nspec: POD")]
#[case::deployment("kind: Deployment\nspec: {template: {spec: POD}}")]
#[case::stateful_set("kind: StatefulSet\nspec: {template: {spec: POD}}")]
#[case::daemon_set("kind: DaemonSet\nspec: {template: {spec: POD}}")]
#[case::replica_set("kind: ReplicaSet\nspec: {template: {spec: POD}}")]
#[case::job("kind: Job\nspec: {template: {spec: POD}}")]
#[case::cron_job("kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: POD}}}}")]
#[case::list("kind: List\nitems: [{kind: Deployment, spec: {template: {spec: POD}}}]")]
#[case::sidecar(
    "kind: Pod\nspec: {containers: [{name: web, image: web}], initContainers: [{name: redis, image: redis, restartPolicy: Always}]}"
)]
fn in_every_kind_of_workload(#[case] text: &str) {
    let text =
        text.replace("POD", "{containers: [{name: metrics, image: redis_exporter}, {name: redis, image: redis}]}");
    assert_eq!(codes(&report(&text)).get(..2), Some(&["MaxmemoryUnset", "LimitMissing"][..]));
}

#[rstest]
#[case::an_exporter("{name: metrics, image: oliver006/redis_exporter, ports: [{containerPort: 6379}]}")]
#[case::a_client("{name: job, image: \"redis:7\", command: [redis-cli, ping]}")]
#[case::a_sentinel("{name: sentinel, image: \"redis:7\", command: [redis-sentinel, /s.conf]}")]
#[case::anything_else("{name: web, image: nginx}")]
fn what_is_no_server_is_not_judged(#[case] container: &str) {
    let report = report(&set(container));
    assert_eq!((report.judged.len(), report.problems.len()), (0, 0));
}

const MOUNTED: &str = "
kind: StatefulSet
metadata: {name: redis, namespace: shop}
spec:
  template:
    spec:
      containers:
      - name: redis
        image: redis
        args: [/etc/redis/my.conf]
        resources: {limits: {memory: 512Mi}}
        volumeMounts: [{name: conf, mountPath: /etc/redis}]
      volumes:
      - {name: conf, configMap: {name: redis-conf, items: [{key: cache, path: my.conf}]}}
";

fn config_map(namespace: &str) -> String {
    format!("---\nkind: ConfigMap\nmetadata: {{name: redis-conf{namespace}}}\ndata: {{cache: \"maxmemory 400mb\"}}\n")
}

#[rstest]
#[case::of_the_namespace(&config_map(", namespace: shop"), Known::Is(Bytes::mib(400)))]
#[case::where_it_is_applied(&config_map(""), Known::Is(Bytes::mib(400)))]
#[case::of_another(&config_map(", namespace: other"), not_there())]
#[case::not_in_the_input("", not_there())]
fn the_configuration_of_a_config_map(#[case] map: &str, #[case] expected: Known<Bytes>) {
    let report = report(&format!("{MOUNTED}{map}"));
    assert_eq!(report.judged[0].maxmemory, expected);
    let judged = codes(&report).contains(&"HeadroomInsufficient");
    assert_eq!(judged, expected.get().is_some(), "what is not known is not judged");
}

fn not_there() -> Known<Bytes> {
    Known::Not("ConfigMap redis-conf with /etc/redis/my.conf is not in the input".into())
}

/// The policy selects by labels and namespace; of two the one that wants the most.
#[rstest]
#[case("shop", "app: redis", 30, Some(("p", 30)))]
#[case("shop", "app: other", 30, None)]
#[case("other", "app: redis", 30, None)]
fn a_policy_of_the_input_says_the_headroom(
    #[case] namespace: &str,
    #[case] labels: &str,
    #[case] percent: u32,
    #[case] expected: Option<(&str, u32)>,
) {
    let policy = format!(
        "---\napiVersion: redismemory.io/v1alpha1\nkind: RedisMemoryPolicy\nmetadata: {{name: p, namespace: {namespace}}}\n\
         spec: {{selector: {{matchLabels: {{{labels}}}}}, headroom: {{percent: {percent}}}, purpose: Store}}\n"
    );
    let set = with_arguments("redis-server").replace("{name: redis}\n", "{name: redis, namespace: shop}\n");
    let report = report(&format!("{set}{policy}"));
    let judged = &report.judged[0];
    let found = judged.policy.as_deref().map(|name| (name, judged.rule.headroom.percent));
    assert_eq!(found, expected);
    assert_eq!(judged.rule.purpose, expected.map(|_| Purpose::Store));
}

#[rstest]
#[case::no_yaml("a: [1\n", 2, "no YAML")]
#[case::twice("kind: Pod\nkind: Pod\n", 1, "duplicate")]
#[case::a_limit(
    "kind: Pod\nspec:\n  containers:\n  - name: redis\n    resources:\n      limits:\n        memory: 2GB\n",
    7,
    "2GB"
)]
#[case::a_policy(
    "apiVersion: redismemory.io/v1alpha1\nkind: RedisMemoryPolicy\nmetadata: {name: p}\nspec:\n  selector: {matchLabels: {a: b}}\n  \
     headroom:\n    percent: 5\n",
    7,
    "spec.headroom.percent"
)]
#[case::a_template("kind: Pod\nspec:\n  replicas: {{ .Values.replicas }}\n", 3, "helm template")]
#[case::a_quoted_template(
    "kind: Pod\nspec:\n  containers:\n  - name: redis\n    image: \"{{ .Values.image }}\"\n",
    4,
    "helm template"
)]
#[case::nothing("# nothing\n", 1, "nothing in it")]
#[case::no_object("a: 1\n", 1, "neither a Kubernetes object")]
fn what_cannot_be_judged_is_a_problem_at_its_line(#[case] text: &str, #[case] line: usize, #[case] said: &str) {
    let after = report(&format!("{text}---\n{}", with_arguments("redis-server")));
    let alone = report(text);
    assert_eq!(alone.problems.len(), 1, "{:?}", alone.problems);
    assert_eq!(alone.problems[0].place.line, line, "{:?}", alone.problems);
    assert!(alone.problems[0].text.contains(said), "{:?}", alone.problems);
    assert_eq!(codes(&after), ["MaxmemoryUnset"], "the rest is judged all the same");
}

/// Files in a folder that are something else are passed over; a broken one is not.
#[test]
fn what_nobody_named_may_be_anything() {
    let input = |text: &str| Input { name: "x.json".into(), text: text.into(), named: false };
    let report = lint(&[input("{\"name\": \"a-package\"}"), input("# nothing"), input("[1")], &rule(None));
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
}

#[test]
fn the_line_is_that_of_the_container_in_the_file() {
    let text = format!("# Source: a/templates/b.yaml\n---\nkind: Service\n---\n{}", with_arguments("redis-server"));
    let report = report(&text);
    let judged = &report.judged[0];
    assert!(text.lines().nth(judged.place.line - 1).unwrap().contains("name: redis, image"), "{:?}", judged.place);
}

#[rstest]
#[case::below(25, false)]
#[case::above(26, true)]
fn one_server_that_holds_too_much(#[case] gib: u64, #[case] found: bool) {
    let container = format!(
        "{{name: redis, image: redis, args: [redis-server, --maxmemory, {gib}gb], resources: {{limits: {{memory: 100Gi}}}}}}"
    );
    let report = report(&set(&container));
    assert_eq!(codes(&report).contains(&FindingCode::InstanceTooLarge.as_str()), found);
}
