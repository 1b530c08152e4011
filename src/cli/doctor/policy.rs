//! The policy that fits a set, as a document: what holds at once is YAML, what needs consent is a comment with its cost.
//! Pure.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use serde_json::{Value, json};

use super::found::{Maker, Member, RedisSet};
use crate::{
    api::v1alpha1::{Redis, RedisMemoryPolicy, RedisMemoryPolicySpec},
    cli::yaml,
    domain::{
        pod::Owner,
        recognition::{self, Shape},
    },
    observe::pods,
};

/// What the operator may do with a set, whatever is consented to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Its limits are raised, its pods restarted.
    Restarts,
    /// Its limits are raised.
    Resizes,
    /// It is only watched.
    Watches,
}

/// What Kubernetes shows of it.
pub(super) fn reach(set: &RedisSet, shape: Shape) -> Reach {
    let kinds = || set.makers.iter().map(|maker| maker.kind.as_str());
    let owned = |maker: &Maker| maker.kind == "StatefulSet" && maker.owner.is_some();
    if set.members.iter().any(|member| pod_owner(member).is_some_and(|owner| recognition::is_foreign(&owner))) {
        Reach::Watches
    } else if set.makers.is_empty()
        || kinds().any(|kind| kind != "StatefulSet")
        || set.makers.iter().any(owned)
        || matches!(shape, Shape::Cluster | Shape::Other)
    {
        Reach::Resizes
    } else {
        Reach::Restarts
    }
}

fn pod_owner(member: &Member) -> Option<Owner> {
    pods::owner(&member.pod.metadata)
}

/// The policy of a set.
pub(super) fn resource(name: &str, namespace: &str, selector: &LabelSelector, redis: &Redis) -> RedisMemoryPolicy {
    let spec =
        RedisMemoryPolicySpec { selector: selector.clone(), redis: redis.clone(), ..RedisMemoryPolicySpec::default() };
    let mut resource = RedisMemoryPolicy::new(name, spec);
    resource.metadata.namespace = Some(namespace.to_owned());
    resource
}

/// The document, with what differs from the defaults.
pub(super) fn document(resource: &RedisMemoryPolicy, set: &RedisSet, shape: Shape, missing: &[String]) -> String {
    let spec = &resource.spec;
    let meta = &resource.metadata;
    let head = json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": meta.name, "namespace": meta.namespace},
    });
    let mut out = block(&head, "");
    let _writing_to_a_string_cannot_fail = write!(out, "spec:\n{}", block(&json!({"selector": spec.selector}), "  "));
    let reach = reach(set, shape);
    for consent in enforce(reach, shape) {
        let _writing_to_a_string_cannot_fail = writeln!(out, "  # {consent}");
    }
    out.push_str("  mode: Observe\n");
    for add in missing {
        let _writing_to_a_string_cannot_fail = writeln!(out, "  # {add}");
    }
    let redis = differing(&spec.redis);
    if redis.as_object().is_some_and(|redis| !redis.is_empty()) {
        out.push_str(&block(&json!({ "redis": redis }), "  "));
    }
    if reach == Reach::Restarts {
        out.push_str(&restart(set, shape));
    }
    out
}

/// What Enforce costs.
const fn enforce(reach: Reach, shape: Shape) -> &'static [&'static str] {
    match (reach, shape) {
        (Reach::Restarts, Shape::RoleLabel) => &[
            "Enforce raises memory limits in place, without a restart (chart value acting.resize), and restarts",
            "pods that hold 2.5 times what their data needs (acting.restart): replicas one by one, the primary",
            "last, after its role has been handed over (acting.roleLabel where this operator keeps the label).",
        ],
        (Reach::Restarts, Shape::Standalone) => &[
            "Enforce raises the memory limit in place, without a restart (chart value acting.resize). It restarts",
            "the pod only with the consent below.",
        ],
        (Reach::Restarts, Shape::Sentinel) => &[
            "Enforce raises memory limits in place, without a restart (chart value acting.resize), and restarts",
            "pods that hold 2.5 times what their data needs (acting.restart): replicas one by one, while the Sentinels",
            "agree and can do without the pod; the primary last, after a Sentinel was told to fail over: clients that",
            "ask Sentinels cannot write for about 2 s then, those behind an HAProxy for about 4 s.",
        ],
        (Reach::Restarts, _) => &[
            "Enforce raises memory limits in place, without a restart (chart value acting.resize), and restarts",
            "replicas that hold 2.5 times what their data needs, one by one (acting.restart). It restarts the",
            "primary only with the consent below.",
        ],
        (Reach::Resizes, _) => &[
            "Enforce raises memory limits in place, without a restart (chart value acting.resize). Nothing of this",
            "set is restarted.",
        ],
        (Reach::Watches, _) => {
            &["Enforce changes nothing in this set: its controller would replace a pod that was resized."]
        }
    }
}

/// The consents to restarts.
fn restart(set: &RedisSet, shape: Shape) -> String {
    let mut lines = vec![
        "# restart:".to_owned(),
        "#   # Restarts only then. Cost: what is due waits for it.".to_owned(),
        "#   windows: [{schedule: \"0 3 * * SUN\", duration: 2h, timeZone: Etc/UTC}]".to_owned(),
    ];
    if matches!(shape, Shape::Standalone | Shape::FixedPrimary | Shape::PinnedPod | Shape::Untold) {
        lines.extend([
            "#   # The primary is restarted in place. Cost: no reads and writes of it from its shutdown until it has"
                .to_owned(),
            "#   # loaded its data again. Only where its data is verified to be on disk (chart value acting.restartInPlace)."
                .to_owned(),
            "#   allowDowntime: true".to_owned(),
        ]);
    }
    if set.members.len() == 2 {
        lines.extend([
            "#   # Cost: while the only replica restarts, the primary is the only copy of the data.".to_owned(),
            "#   minimumSyncedReplicas: 0".to_owned(),
        ]);
    }
    lines.iter().fold(String::new(), |out, line| out + "  " + line + "\n")
}

/// What differs from the defaults.
fn differing(redis: &Redis) -> Value {
    let usual = json!(Redis::default());
    let mut shown = json!(redis);
    if let (Some(shown), Some(usual)) = (shown.as_object_mut(), usual.as_object()) {
        shown.retain(|field, value| usual.get(field) != Some(value));
    }
    shown
}

/// The value as YAML, each line behind the indent.
fn block(value: &impl Serialize, indent: &str) -> String {
    // Maps of strings, numbers and lists can always be written.
    let text = yaml::to_string(value).unwrap_or_default();
    text.lines().fold(String::new(), |out, line| out + indent + line + "\n")
}
