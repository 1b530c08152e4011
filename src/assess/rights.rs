//! Rights that the remedies of this policy need and that are missing. Said in Enforce only: in Observe none is used.

use crate::{
    domain::{
        acl,
        finding::{Finding, FindingCode},
        names::PodName,
        pod::Right,
        policy::{Mode, Policy},
        snapshot::{RedisRights, Snapshot},
        switchover,
    },
    topology::{Handover, Shard},
};

pub(super) fn findings(policy: &Policy, snapshot: &Snapshot, shards: &[Shard<'_>]) -> Vec<Finding> {
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
    kubernetes.chain(of_redis(policy, snapshot, shards)).collect()
}

/// What the Redis users may not run, of what the restart of their set sends.
fn of_redis<'a>(
    policy: &'a Policy,
    snapshot: &'a Snapshot,
    shards: &'a [Shard<'_>],
) -> impl Iterator<Item = Finding> + use<'a> {
    let redis = match &snapshot.redis_rights {
        RedisRights::Known(missing) if policy.needed_rights().evict => missing.as_slice(),
        RedisRights::Known(_) | RedisRights::Unknown => &[],
    };
    redis.iter().filter_map(move |(pod, commands)| {
        // Only a primary that is restarted as such is made to write its data out.
        let persists = |command: &&str| policy.restart.allow_downtime || !["bgsave", "bgrewriteaof"].contains(command);
        let stays = role_stays(shards, pod);
        let sent = commands.iter().filter(|command| !(stays && acl::is_only_to_move_a_role(command)));
        let sent: Vec<String> = sent.cloned().collect();
        let missing: Vec<&str> = switchover::in_every_way(&sent).into_iter().filter(persists).collect();
        (!missing.is_empty()).then(|| {
            Finding::new(
                FindingCode::PermissionMissing,
                Some(pod.clone()),
                format!("the Redis user may not run {}", missing.join(", ")),
                "give the user of spec.redis.username these commands, or, where one was renamed (rename-command), take that \
                 out: no ACL helps there; until then no pod of this workload is restarted",
            )
        })
    })
}

/// Its set keeps its primary: that one is restarted in place, and nothing is sent that only moves a role.
fn role_stays(shards: &[Shard<'_>], pod: &PodName) -> bool {
    let mut of = shards.iter().filter(|shard| shard.members.iter().any(|member| member.pod.name == *pod));
    of.next().is_some_and(|shard| shard.handover() == Handover::InPlace)
}
