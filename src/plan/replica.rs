//! Whether a replica holds what its primary holds, and how far it is from there.

use std::net::IpAddr;

use crate::{
    domain::{
        bytes::Bytes,
        names::NodeAddress,
        pod::{Pod, same_name},
        sample::{ReplicaLine, Role, Sample},
        snapshot::Target,
    },
    plan::effect::MemberName,
    topology::Shard,
};

/// The primary's `slaveN` line of that member, by whichever of its addresses or names it is known there. One address
/// may be that of several servers, on ports of their own: the one at the replication port is meant.
pub fn line_of<'a>(shard: &Shard<'_>, primary: &'a Sample, replica: &Target) -> Option<&'a ReplicaLine> {
    let announced = |line: &ReplicaLine| shard.resolve(&line.address).is_some_and(|it| it.pod.uid == replica.pod.uid);
    let is_its = |line: &&ReplicaLine| replica.listens_at(&line.address) || announced(line);
    let lines = primary.replication.replicas.iter().filter(is_its);
    lines.min_by_key(|line| Some(line.address.port) != replica.replication_port())
}

/// Whether the replica is loaded, follows that primary over a live link, and is no further behind than `max_lag`.
/// The error says what is missing, for people.
pub fn synced(shard: &Shard<'_>, primary: &Target, replica: &Target, max_lag: Bytes) -> Result<(), String> {
    let name = &replica.pod.name;
    let Some(upstream) = primary.sample() else {
        return Err(format!("primary {} gave no sample", primary.pod.name));
    };
    let Some(sample) = replica.sample() else {
        return Err(format!("{name} gives no sample yet: {}", replica.why_silent()));
    };
    if sample.persistence.loading {
        return Err(format!("{name} is loading its data"));
    }
    let link = match &sample.replication.role {
        Role::Replica(link) => link,
        Role::Primary => return Err(format!("{name} is a primary, not a replica")),
        Role::Unknown => return Err(format!("{name} does not say its role")),
    };
    if !follows(shard, primary, &link.primary) && sample.replication.replid != upstream.replication.replid {
        return Err(format!("{name} follows {}, not {}", link.primary, primary.pod.name));
    }
    if link.sync_in_progress {
        return Err(format!("{name} is receiving a full sync"));
    }
    if !link.link_up {
        return Err(format!("{name}'s link to its primary is down{}", since_and_behind(upstream, sample)));
    }
    let Some(seen) = line_of(shard, upstream, replica) else {
        return Err(format!("{} does not list {name} among its replicas", primary.pod.name));
    };
    if !seen.online {
        return Err(format!("{} does not see {name} as online yet", primary.pod.name));
    }
    let behind = Bytes(upstream.replication.offset.saturating_sub(seen.offset));
    if behind > max_lag {
        return Err(format!("{name} is {behind} behind its primary; at most {max_lag} is allowed"));
    }
    Ok(())
}

/// Since when the link of that replica is down, how far it is behind, and what it needs when the link is up again: as far as both
/// servers say.
fn since_and_behind(upstream: &Sample, replica: &Sample) -> String {
    let since = replica.replication.link_down_for.and_then(|time| replica.at.checked_sub(time).ok());
    // In minutes, so that what two looks see is the same.
    let since = since.map_or_else(String::new, |at| format!(" since about {}", at.strftime("%Y-%m-%dT%H:%MZ")));
    let (primary, own) = (&upstream.replication, &replica.replication);
    if own.replid.is_empty() || primary.replid.is_empty() {
        return since;
    }
    let continued = primary.previous.as_ref().filter(|it| it.replid == own.replid && own.offset < it.end);
    if primary.replid != own.replid && continued.is_none() {
        return format!("{since}; it has another history than its primary: a full sync is expected");
    }
    let behind = Bytes(primary.offset.saturating_sub(own.offset));
    let (backlog, missing) = (primary.backlog_size, behind.quantised());
    let sync = if behind > backlog { "more" } else { "no more" };
    let full = if behind > backlog { "a full sync is expected" } else { "no full sync is expected" };
    format!("{since}; it is about {missing} behind, {sync} than the backlog of {backlog} holds: {full}")
}

/// Key counts of replica and primary at one moment may differ by this share of the primary's: keys that expired on
/// the primary linger on a replica for a while.
const KEYS_TOLERANCE_PERCENT: u64 = 1;

/// Whether the replica holds as many keys as its primary, within one percent: an empty replica in sync with nothing
/// must never become the primary. The error says both counts.
pub fn same_keys(primary: &Sample, replica: &Sample) -> Result<(), String> {
    let allowed = primary.keys.saturating_mul(KEYS_TOLERANCE_PERCENT).div_ceil(100).max(100);
    if primary.keys.abs_diff(replica.keys) <= allowed {
        return Ok(());
    }
    Err(format!("it holds {} keys, its primary {}", replica.keys, primary.keys))
}

/// Whether the configured primary of a replica is that target.
pub fn follows(shard: &Shard<'_>, primary: &Target, configured: &NodeAddress) -> bool {
    shard.resolve(configured).is_some_and(|found| found.pod.uid == primary.pod.uid)
}

/// Whether one of these members is configured to follow that primary: somebody gave it the role on purpose.
pub fn adopted<'a>(shard: &Shard<'_>, primary: &Target, members: impl IntoIterator<Item = &'a Target>) -> bool {
    members.into_iter().any(|member| {
        member.sample().is_some_and(|sample| match &sample.replication.role {
            Role::Replica(link) => follows(shard, primary, &link.primary),
            Role::Primary | Role::Unknown => false,
        })
    })
}

/// The name by which a replica should follow `to`, when it followed `old` by that pod's DNS name: the same form, with
/// the new pod's name in place of the old one's. `None` when it used an address or a Service name.
pub fn stable_name(configured: &NodeAddress, old: &Pod, to: &Pod) -> Option<MemberName> {
    let (old_name, new_name) = (old.dns_name.as_deref()?, to.dns_name.as_deref()?);
    let host = if let Some(rest) = configured.host.strip_prefix(old_name) {
        if !rest.is_empty() && !rest.starts_with('.') {
            return None;
        }
        format!("{new_name}{rest}")
    } else {
        // A shorter form: `redis-0.redis-headless` or `redis-0.redis-headless.shop`.
        let labels = configured.host.split('.').count();
        if labels < 2 || !same_name(&configured.host, old_name) {
            return None;
        }
        new_name.split('.').take(labels).collect::<Vec<_>>().join(".")
    };
    // With its cluster domain it is whole as it is.
    let full = if host.len() > new_name.len() { host.clone() } else { new_name.to_owned() };
    Some(MemberName { sent: NodeAddress { host, port: configured.port }, full })
}

/// The name of that pod, for a replica that follows one of its addresses; `None`: it follows no address, or the pod has no
/// name.
pub fn own_name(configured: &NodeAddress, to: &Pod) -> Option<MemberName> {
    configured.host.parse::<IpAddr>().ok()?;
    let full = to.dns_name.clone()?;
    Some(MemberName { sent: NodeAddress { host: full.clone(), port: configured.port }, full })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        domain::{fixtures, sample::PreviousHistory},
        topology,
    };
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    #[rstest]
    #[case::within_the_backlog(|_: &mut Sample, _: &mut Sample| {}, "; it is about 60 MiB behind, no more than the backlog of 64 MiB holds: no full sync is expected")]
    #[case::beyond_it(|upstream: &mut Sample, _: &mut Sample| upstream.replication.offset += 10 << 20, "; it is about 70 MiB behind, more than the backlog of 64 MiB holds: a full sync is expected")]
    #[case::of_another_history(|_: &mut Sample, own: &mut Sample| own.replication.replid = "f".repeat(40), "; it has another history than its primary: a full sync is expected")]
    #[case::before_a_promotion(|upstream: &mut Sample, own: &mut Sample| {
        let end = own.replication.offset + 1;
        let replid = std::mem::replace(&mut upstream.replication.replid, "f".repeat(40));
        upstream.replication.previous = Some(PreviousHistory { replid, end });
    }, "no full sync is expected")]
    #[case::unread(|_: &mut Sample, own: &mut Sample| own.replication.replid.clear(), " is down since about 2026-01-02T02:52Z")]
    fn a_link_that_is_down_is_told_with_what_it_needs(
        #[case] change: fn(&mut Sample, &mut Sample),
        #[case] told: &str,
    ) {
        let mut snapshot = fixtures::three_pods();
        let mut upstream = snapshot.targets[0].sample().expect("a sample").clone();
        upstream.replication.offset = 100 << 20;
        let own = snapshot.targets[1].sample_mut().expect("a sample");
        own.at = fixtures::NOW;
        own.replication.offset = 40 << 20;
        own.replication.link_down_for = Some(Duration::from_secs(12 * 60));
        let Role::Replica(link) = &mut own.replication.role else { panic!("a replica") };
        link.link_up = false;
        change(&mut upstream, own);
        *snapshot.targets[0].sample_mut().expect("a sample") = upstream;
        let shards = topology::find(&fixtures::policy(), &snapshot);
        let why = synced(&shards[0], &snapshot.targets[0], &snapshot.targets[1], Bytes::ZERO).expect_err("it is down");
        assert!(why.starts_with("redis-1's link to its primary is down since about 2026-01-02T02:52Z"), "{why}");
        assert!(why.ends_with(told), "{why}");
    }

    #[rstest]
    #[case("redis-0.redis", "redis-1.redis", "redis-1.redis.shop.svc")]
    #[case("redis-0.redis.shop", "redis-1.redis.shop", "redis-1.redis.shop.svc")]
    #[case("redis-0.redis.shop.svc", "redis-1.redis.shop.svc", "redis-1.redis.shop.svc")]
    #[case(
        "redis-0.redis.shop.svc.cluster.local",
        "redis-1.redis.shop.svc.cluster.local",
        "redis-1.redis.shop.svc.cluster.local"
    )]
    fn a_short_name_is_sent_as_it_was_and_looked_up_in_full(#[case] had: &str, #[case] sent: &str, #[case] full: &str) {
        let configured = NodeAddress { host: had.into(), port: fixtures::PORT };
        let name = stable_name(&configured, &fixtures::pod(0), &fixtures::pod(1)).expect("a name");
        assert_eq!((name.sent.host.as_str(), name.full.as_str(), name.sent.port), (sent, full, fixtures::PORT));
    }

    #[rstest]
    #[case("10.0.0.10")]
    #[case("redis-primary")]
    #[case("redis-2.redis.shop.svc")]
    fn what_is_not_the_pods_name_has_no_other_form(#[case] had: &str) {
        let configured = NodeAddress { host: had.into(), port: fixtures::PORT };
        assert_eq!(stable_name(&configured, &fixtures::pod(0), &fixtures::pod(1)), None);
    }
}
