//! Rights that the remedies of this policy need and that are missing. Said in Enforce only: in Observe none is used.

use crate::domain::{
    finding::{Finding, FindingCode},
    pod::Right,
    policy::{Mode, Policy},
    snapshot::{RedisRights, Snapshot},
    switchover,
};

pub(super) fn findings(policy: &Policy, snapshot: &Snapshot) -> Vec<Finding> {
    if policy.mode != Mode::Enforce {
        return Vec::new();
    }
    let (rights, needed) = (&snapshot.rights, policy.needed_rights());
    let restarts = needed.evict;
    let needs = [
        (
            needed.resize && snapshot.resize_supported,
            rights.resize,
            "patch pods/resize",
            "set the chart value acting.resize, or take ResizePod out of spec.headroom.remedies; until then no limit is raised",
        ),
        (
            restarts,
            rights.evict,
            "create pods/eviction",
            "set the chart value acting.restart, or take Restart out of spec.fragmentation.remedies; until then no pod is restarted",
        ),
        (
            needed.label,
            rights.label,
            "patch pods",
            "set the chart value acting.roleLabel, or let another controller keep the label (roleAuthority: Label); until then no role label is kept",
        ),
    ];
    let denied = needs.into_iter().filter(|(needed, right, ..)| *needed && *right == Right::Denied);
    let kubernetes = denied.map(|(_, _, action, remedy)| {
        let evidence = format!("the operator may not {action} in namespace {}", policy.namespace);
        Finding::new(FindingCode::PermissionMissing, None, evidence, remedy)
    });
    let redis = match &snapshot.redis_rights {
        RedisRights::Known(missing) if restarts => missing.as_slice(),
        RedisRights::Known(_) | RedisRights::Unknown => &[],
    };
    let redis = redis.iter().filter_map(|(pod, commands)| {
        // Only a primary that is restarted as such is made to write its data out.
        let persists = |command: &&str| policy.restart.allow_downtime || !["bgsave", "bgrewriteaof"].contains(command);
        let missing: Vec<&str> = switchover::in_every_way(commands).into_iter().filter(persists).collect();
        (!missing.is_empty()).then(|| {
            Finding::new(
                FindingCode::PermissionMissing,
                Some(pod.clone()),
                format!("the Redis user may not run {}", missing.join(", ")),
                "give the user of spec.redis.username these commands, or, where one was renamed (rename-command), take that \
                 out: no ACL helps there; until then no pod of this workload is restarted",
            )
        })
    });
    kubernetes.chain(redis).collect()
}
