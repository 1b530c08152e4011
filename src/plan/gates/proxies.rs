//! A gate on proxies of other people in front of a set: where writers come through one, it has noticed that the role is
//! another's before the old primary is restarted. Whom it leads to is asked through it; where it does not tell, its own
//! checks are given their time.

use std::time::Duration;

use super::{Phase, Scene};
use crate::{
    domain::{
        blocked::{BlockReason, Blocked},
        names::RunId,
        proxy::Proxy,
    },
    plan::Context,
    topology::Shard,
};

/// How long a proxy may take to notice by its own checks that the role is another's, where it does not tell whom it leads to.
/// HAProxy of the redis-ha chart asks each server every second and each Sentinel at the latest every 3 s, and waits 2 s for
/// an answer (its `haproxy.checkInterval`, `check inter` and `timeout check`): 5 s. Of another one only HAProxy's own
/// defaults can be assumed (`inter 2s`, `fall 3`): 6 s. The rest is margin.
const OWN_CHECKS: Duration = Duration::from_secs(10);

/// A proxy that led to the old primary before its role was given away leads to the new one, and to nobody else.
pub(super) fn have_followed(scene: &Scene<'_>) -> Option<Blocked> {
    let Phase::Evict(pod) = &scene.phase else { return None };
    let old = scene.shard.member(pod).filter(|_| scene.moved_by_sentinel(pod))?;
    let new = scene.shard.primary()?;
    let process = &new.sample()?.run_id;
    let waited = scene.since.map(|since| scene.ctx.since(since)).unwrap_or_default();
    let behind = |proxy: &Proxy| {
        let is_way = scene.ways.contains(&proxy.service);
        let not_yet = if is_way { misled(scene, proxy, process) } else { None };
        not_yet.or_else(|| still_checking(proxy, waited))
    };
    let (service, why) =
        scene.shard.proxies(scene.ctx.snapshot).find_map(|proxy| Some((&proxy.service, behind(proxy)?)))?;
    Some(Blocked::new(
        BlockReason::ClientsPinned,
        format!(
            "the proxy behind Service {service} {why}, and {} is primary: {} is restarted when the proxy has noticed",
            new.pod.name, old.pod.name
        ),
    ))
}

/// It told before whom it leads to, and does not lead to the new primary alone.
fn misled(scene: &Scene<'_>, proxy: &Proxy, process: &RunId) -> Option<String> {
    if let Some((through, met)) = proxy.led_to().find(|(_, met)| *met != process) {
        let mut members = scene.shard.members.iter();
        let member = members.find(|member| member.sample().is_some_and(|sample| sample.run_id == *met));
        let met = member.map_or("a server that is no member", |member| member.pod.name.as_str());
        return Some(format!("still leads its clients to {met} ({through})"));
    }
    let (through, why) = proxy.led_to().next().is_none().then(|| proxy.silent().next())??;
    Some(format!("leads its clients to nobody ({through}: {})", why.reason()))
}

/// A pod of it does not tell, and has not had the time for its own checks.
fn still_checking(proxy: &Proxy, waited: Duration) -> Option<String> {
    let (through, why) = proxy.silent().next().filter(|_| waited < OWN_CHECKS)?;
    Some(format!(
        "does not tell whom it leads its clients to ({through}: {}), so its own checks have {} s",
        why.reason(),
        OWN_CHECKS.as_secs()
    ))
}

/// What is waited for between an exchange and the restart of the old primary, for the reason of that step; empty: no proxy is
/// in front of the set.
pub(in crate::plan) fn words(ctx: &Context<'_>, shard: &Shard<'_>) -> String {
    let silent = |proxy: &Proxy| proxy.silent().next().map(|(pod, why)| (pod.clone(), why.reason()));
    let Some(first) = shard.proxies(ctx.snapshot).next() else { return String::new() };
    let mutes = shard.proxies(ctx.snapshot).find_map(|proxy| Some((proxy, silent(proxy)?)));
    match mutes {
        Some((proxy, (pod, why))) => format!(
            "; the proxy behind Service {} does not tell the operator whom it leads clients to ({pod}: {why}): before this its \
             own checks have {} s to notice the new primary",
            proxy.service,
            OWN_CHECKS.as_secs()
        ),
        None => {
            format!("; before this the proxy behind Service {} must lead clients to the new primary", first.service)
        }
    }
}
