//! Commands for a Sentinel: what it says, and its repair.

use super::{
    super::Input,
    command::{explain, over_tls},
};
use crate::domain::{
    blocked::Blocked,
    names::NodeAddress,
    sentinel::{Sentinel, WatchedSet},
};

/// Asks the Sentinel that a refusal names last: the one that differs.
pub(super) fn ask(input: &Input<'_>, blocked: &Blocked) -> Option<String> {
    let named = |sentinel: &&Sentinel| blocked.text.contains(&format!("Sentinel in {})", sentinel.pod));
    let odd = input.snapshot.sentinels.iter().rfind(named)?;
    let ask = sentinel_cli(input, odd, "SENTINEL MASTERS");
    let explained = explain(blocked.reason.as_str());
    let container = odd.container.as_ref().map_or_else(String::new, |name| format!(" -c {name}"));
    let logs = format!("kubectl logs {} -n {}{container}", odd.pod, input.policy.namespace);
    let login = if input.policy.redis.password.is_some() { " auth-pass PASSWORD (that of the servers)" } else { "" };
    let Some((set, right)) = outvoted(input, odd) else {
        return Some(format!("{ask} (whom it names now; the repair: {explained})"));
    };
    Some(format!(
        "{ask} (whom it names now); why it does is not known here: {logs} says. If it goes on naming another than {right}, tell it \
         anew by the same kubectl exec, on it alone, which the others do not notice: SENTINEL REMOVE {0}, then SENTINEL MONITOR {0} {1} {2} {3}, then \
         SENTINEL SET {0} down-after-milliseconds {4} failover-timeout {5}{login}; {explained}",
        set.name,
        right.host,
        right.port,
        set.quorum,
        set.down_after.as_millis(),
        set.failover_timeout.as_millis()
    ))
}

/// The set of which that Sentinel names another primary than all the others, and whom they name.
fn outvoted<'a>(input: &'a Input<'_>, odd: &'a Sentinel) -> Option<(&'a WatchedSet, &'a NodeAddress)> {
    let own = odd.said.as_ref().ok()?.sets.iter();
    let others = || {
        input.snapshot.sentinels.iter().filter(|it| it.pod_uid != odd.pod_uid).filter_map(|it| it.said.as_ref().ok())
    };
    own.into_iter().find_map(|set| {
        let mut named =
            others().flat_map(|said| &said.sets).filter(|other| other.name == set.name).map(|it| &it.primary);
        let right = named.next().filter(|right| **right != set.primary)?;
        named.all(|other| other == right).then_some((set, right))
    })
}

/// Has the Sentinel forget who is gone that a text says it of, as `topology` words it.
pub(super) fn forget(input: &Input<'_>, text: &str) -> Option<String> {
    let (set, rest) = text.split_once("run SENTINEL RESET ")?.1.split_once(" on the Sentinel in ")?;
    let pod = rest.split([';', ',', ' ']).next()?;
    let sentinel = input.snapshot.sentinels.iter().find(|sentinel| sentinel.pod.as_str() == pod)?;
    let exact = sentinel_cli(input, sentinel, &format!("SENTINEL RESET {set}"));
    Some(format!("{exact} (restarts nothing: it forgets all but its primary, and finds again who is there)"))
}

/// A command for that Sentinel.
fn sentinel_cli(input: &Input<'_>, sentinel: &Sentinel, command: &str) -> String {
    let namespace = &input.policy.namespace;
    let Sentinel { pod, port, container, .. } = sentinel;
    let container = container.as_ref().map_or_else(String::new, |name| format!(" -c {name}"));
    let redis = &input.policy.redis;
    let (password, tls) = match &redis.sentinel {
        Some(access) => (&access.password, &access.tls),
        None => (&redis.password, &redis.tls),
    };
    let login = if password.is_some() { " --askpass" } else { "" };
    let tls = tls.as_ref().map_or_else(String::new, |rule| over_tls(input, None, rule));
    format!("kubectl exec -it {pod} -n {namespace}{container} -- redis-cli -p {port}{tls}{login} {command}")
}
