//! Rights that the remedies of this policy need and that are missing. Said in Enforce only: in Observe none is used.

use crate::domain::{
    finding::{Finding, FindingCode},
    pod::Right,
    policy::{AuthorityRule, Mode, Policy},
    snapshot::{RedisRights, Snapshot},
};

pub(super) fn findings(policy: &Policy, snapshot: &Snapshot) -> Vec<Finding> {
    if policy.mode != Mode::Enforce {
        return Vec::new();
    }
    let rights = &snapshot.rights;
    let restarts = policy.fragmentation.restart_allowed;
    let needs = [
        (
            policy.headroom.resize_pod && snapshot.resize_supported,
            rights.resize,
            "patch pods/resize",
            "raise limits",
            "acting.resize",
        ),
        (restarts, rights.evict, "create pods/eviction", "restart pods", "acting.restart"),
        (
            policy.redis.authority == AuthorityRule::Operator,
            rights.label,
            "patch pods",
            "keep the role label",
            "acting.roleLabel",
        ),
    ];
    let kubernetes = needs.into_iter().filter(|(needed, right, ..)| *needed && *right == Right::Denied).map(
        |(_, _, verb, use_, value)| Finding {
            code: FindingCode::PermissionMissing,
            pod: None,
            evidence: format!("the operator may not {verb} in namespace {}", policy.namespace),
            remedy: format!("set the chart value {value} to let it {use_}, or take that remedy out of the policy"),
        },
    );
    let redis = match &snapshot.redis_rights {
        RedisRights::Known(missing) if restarts => missing.as_slice(),
        RedisRights::Known(_) | RedisRights::Unknown => &[],
    };
    let redis = redis.iter().filter(|(_, commands)| !commands.is_empty()).map(|(pod, commands)| Finding {
        code: FindingCode::PermissionMissing,
        pod: Some(pod.clone()),
        evidence: format!("the Redis user may not run {}", commands.join(", ")),
        remedy: "give the user of spec.redis.username these commands; until then no pod of this workload is restarted"
            .into(),
    });
    kubernetes.chain(redis).collect()
}
