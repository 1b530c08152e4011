//! A set in which a replica follows another replica: the replicas that nobody follows are restarted, the others are left
//! alone, and no role is moved.

use crate::{
    domain::{names::PodName, snapshot::Target},
    topology::Shard,
};

/// What lifts it.
const REMEDY: &str = "let every replica follow the primary";

/// Why that member is not disturbed while a replica follows another one, for people; `None`: it may be.
pub fn of(shard: &Shard<'_>, member: &Target) -> Option<String> {
    shard.is_amid_a_chain(member).then(|| refusal(shard))
}

/// Why the middle of such a set is left alone, for people.
pub(super) fn refusal(shard: &Shard<'_>) -> String {
    let middles: Vec<&str> = shard.middles().iter().map(|middle| middle.pod.name.as_str()).collect();
    let primary = shard.primary().map(|primary| format!(" and the primary {}", primary.pod.name)).unwrap_or_default();
    match middles.as_slice() {
        [] => format!("a replica follows another replica; {REMEDY}"),
        several => {
            let names = several.join(", ");
            format!(
                "a replica follows another replica: {names}{primary} are left alone, and no role is moved; {REMEDY}"
            )
        }
    }
}

/// The first of these that is left alone.
pub(super) fn in_the_way(shard: &Shard<'_>, pods: &[PodName]) -> Option<String> {
    pods.iter().find_map(|pod| of(shard, shard.member(pod)?))
}
