//! Whether a replica may take over: it is at least what the primary is. One list: what keeps data, what lets clients in,
//! and what the server declares of itself. What clients rely on besides is carried over ([`super::carry`]).

use crate::{
    domain::{
        sample::{Config, Memory, Sample},
        snapshot::{Snapshot, Target},
    },
    topology::Shard,
};

/// What a server is where it says nothing (redis.conf).
const USUAL_PRIORITY: u64 = 100;

/// `replica-priority`, by which the lowest is preferred.
pub(super) fn priority(target: &Target) -> u64 {
    config(target).and_then(|config| config.serving.replica_priority).unwrap_or(USUAL_PRIORITY)
}

/// The replicas that a Sentinel may choose: any whose priority is not zero.
pub(super) fn for_sentinels<'a>(shard: &Shard<'a>) -> Vec<&'a Target> {
    shard.replicas.iter().copied().filter(|replica| priority(replica) > 0).collect()
}

/// Why none of the replicas is to become primary, or this one is not, in one sentence for people; `None`: it may.
pub(super) fn unfit(snapshot: &Snapshot, shard: &Shard<'_>, primary: &Target, candidate: &Target) -> Option<String> {
    let (from, to) = (&primary.pod.name, &candidate.pod.name);
    if priority(candidate) == 0 {
        let never: Vec<&str> = shard
            .replicas
            .iter()
            .filter(|replica| priority(replica) == 0)
            .map(|replica| replica.pod.name.as_str())
            .collect();
        let names = never.join(", ");
        return Some(format!(
            "with replica-priority 0 these may never become primary: {names}; no other replica can take over from \
             {from}: give one of them another priority"
        ));
    }
    let weaker = weaker(snapshot, primary, candidate);
    if weaker.is_empty() {
        return None;
    }
    Some(format!("{to} would become primary and is less than {from}: {}; make them equal", weaker.join("; ")))
}

/// Whether it may take over, but for the sentence.
pub(super) fn is_fit(snapshot: &Snapshot, primary: &Target, candidate: &Target) -> bool {
    priority(candidate) > 0 && weaker(snapshot, primary, candidate).is_empty()
}

/// In what the candidate is less than the primary, each with both values. A value that is not known of one of them is
/// left out.
fn weaker(snapshot: &Snapshot, primary: &Target, candidate: &Target) -> Vec<String> {
    let (Some(from), Some(to)) = (config(primary), config(candidate)) else { return Vec::new() };
    let values = [
        ("maxmemory-policy", policy(from, to)),
        ("appendonly", differs_if(from.appendonly && !to.appendonly, "yes", "no")),
        ("appendfsync", fsync(from, to)),
        ("save", save_points(from, to)),
        ("replica-ignore-maxmemory", refuses_writes(primary.sample(), to)),
        ("used memory", fuller(primary.sample(), candidate.sample())),
        ("maxclients", fewer(from.serving.max_clients, to.serving.max_clients)),
        ("databases", fewer(from.serving.databases, to.serving.databases)),
        ("port", elsewhere(from.serving.port, to.serving.port)),
        ("tls-port", elsewhere(from.serving.tls_port, to.serving.tls_port)),
        (
            "tls-auth-clients",
            stricter(from.serving.tls_auth_clients.as_deref(), to.serving.tls_auth_clients.as_deref()),
        ),
    ];
    let mut texts: Vec<String> = values
        .into_iter()
        .filter_map(|(name, values)| {
            let (from, to) = values?;
            Some(format!(
                "{name} is {} on {} and {} on {}",
                shown(&to),
                candidate.pod.name,
                shown(&from),
                primary.pod.name
            ))
        })
        .collect();
    if let (Some(from), Some(to)) = (&from.serving.client_auth, &to.serving.client_auth)
        && from != to
    {
        // The fingerprints are not for people.
        let unset = |print: &str| if print.is_empty() { "unset" } else { "set" };
        let other = if unset(from) == unset(to) { " to another password" } else { "" };
        texts.push(format!(
            "requirepass is {}{other} on {} and {} on {}",
            unset(to),
            candidate.pod.name,
            unset(from),
            primary.pod.name
        ));
    }
    if let (Some(from), Some(to)) = (snapshot.users_of(&primary.pod.name), snapshot.users_of(&candidate.pod.name))
        && from != to
    {
        texts.push(format!(
            "the users of ACL LIST, their passwords or rights are not the same on {} and {}",
            candidate.pod.name, primary.pod.name
        ));
    }
    texts
}

/// The value of the primary and that of the candidate.
type Values = Option<(String, String)>;

fn config(target: &Target) -> Option<&Config> {
    target.sample()?.config.as_ref().ok()
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "\"\"" } else { value }
}

fn differs_if(weaker: bool, from: &str, to: &str) -> Values {
    weaker.then(|| (from.to_owned(), to.to_owned()))
}

/// A policy of another kind: what the primary keeps the candidate would evict, or what it evicts to go on the candidate
/// would refuse to write.
fn policy(from: &Config, to: &Config) -> Values {
    let kind = |policy: &str| policy.split('-').next().unwrap_or_default().to_owned();
    let (from, to) = (&from.maxmemory_policy, &to.maxmemory_policy);
    differs_if(kind(from) != kind(to), from, to)
}

/// `always` loses nothing, `everysec` a second, `no` what the system has not written.
fn fsync(from: &Config, to: &Config) -> Values {
    let rank = |value: &str| match value {
        "always" => Some(2),
        "everysec" => Some(1),
        "no" => Some(0),
        _ => None,
    };
    let (before, after) = (from.serving.append_fsync.as_deref()?, to.serving.append_fsync.as_deref()?);
    differs_if(from.appendonly && to.appendonly && rank(after)? < rank(before)?, before, after)
}

/// Each save point of the primary must be met by one of the candidate that comes as early. An AOF holds more than any.
fn save_points(from: &Config, to: &Config) -> Values {
    let (wanted, there) = (points(&from.save), points(&to.save));
    let met = |point: &(u64, u64)| there.iter().any(|other| other.0 <= point.0 && other.1 <= point.1);
    differs_if(!to.appendonly && !wanted.iter().all(met), &from.save, &to.save)
}

/// `3600 1 300 100`: seconds and changes.
fn points(save: &str) -> Vec<(u64, u64)> {
    let numbers: Vec<u64> = save.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    numbers.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect()
}

/// With `no` a replica at its `maxmemory` answers the writes of its primary with OOM, and its offset counts them all the
/// same (measured on 7.0.15: 1,326 of 1,939 there, offsets equal). A cache may lack what another evicted.
fn refuses_writes(primary: Option<&Sample>, to: &Config) -> Values {
    let bounded = to.maxmemory.0 > 0;
    let before =
        primary.and_then(|sample| sample.config.as_ref().ok()).and_then(|config| config.serving.ignores_maxmemory);
    let before = if before == Some(false) { "no" } else { "yes" };
    let cache = to.maxmemory_policy.starts_with("allkeys-");
    differs_if(to.serving.ignores_maxmemory == Some(false) && bounded && !cache, before, "no")
}

/// What a replica may use above its `maxmemory`, in percent of it, and still take over: the sums waver.
const FULL_PERCENT: u32 = 105;

/// Whether it uses more than its `maxmemory` and the primary does not. A replica that ignores its own may use more (buffers of its
/// own clients count). As the primary it would evict at once, or refuse writes.
pub fn is_fuller(primary: &Memory, candidate: &Memory) -> bool {
    let is_over = |memory: &Memory| memory.maxmemory.0 > 0 && memory.used > memory.maxmemory.percent(FULL_PERCENT);
    is_over(candidate) && !is_over(primary)
}

fn fuller(from: Option<&Sample>, to: Option<&Sample>) -> Values {
    let shown = |memory: &Memory| format!("{} of maxmemory {}", memory.used.quantised(), memory.maxmemory);
    let (from, to) = (&from?.memory, &to?.memory);
    differs_if(is_fuller(from, to), &shown(from), &shown(to))
}

fn fewer(from: Option<u64>, to: Option<u64>) -> Values {
    let (from, to) = (from?, to?);
    differs_if(to < from, &from.to_string(), &to.to_string())
}

/// Where the primary listens the candidate must listen.
fn elsewhere(from: Option<u64>, to: Option<u64>) -> Values {
    let (from, to) = (from?, to?);
    differs_if(from != 0 && from != to, &from.to_string(), &to.to_string())
}

/// Clients without a certificate are let in by the primary and not by the candidate.
fn stricter(from: Option<&str>, to: Option<&str>) -> Values {
    let (from, to) = (from?, to?);
    differs_if(to == "yes" && from != "yes", from, to)
}

#[cfg(test)]
mod tests;
