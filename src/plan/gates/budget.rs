//! Gates of how much at once: pods a day and an hour, remediations a workload and a cluster, a fault of everything.

use std::time::Duration;

use super::{Phase, Scene};
use crate::{
    domain::blocked::{BlockReason, Blocked},
    domain::surroundings::LostSet,
};

/// The budget of a workload counts what was restarted within this time.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// More unreachable servers than this share, in percent, are a fault of the network or of the operator's own node, not
/// of a server.
const FAULT_PERCENT: usize = 20;
/// Fewer unreachable servers than this are never a global fault.
const FAULT_LEAST: usize = 3;
/// Nor are those of fewer sets than this: a set can break by itself.
const FAULT_SETS: usize = 2;
/// Sets are named, up to this number.
const NAMED: usize = 4;

/// While much of what is watched does not answer, nothing that disturbs is done anywhere: what is seen may be wrong,
/// and what is well may be needed. One set that is broken by itself is no fault of everything. Servers that the operator
/// restarts itself, one a remediation, do not count.
pub(super) fn no_global_fault(scene: &Scene<'_>) -> Option<Blocked> {
    let around = &scene.ctx.snapshot.surroundings;
    let restarts_one = |set: &LostSet| {
        let ours = scene.shard.id.sets.contains(&set.set) && scene.phase != Phase::Preflight;
        ours || around.elsewhere.iter().any(|other| other.shard.sets.contains(&set.set))
    };
    let lost =
        around.reach.lost.iter().map(|set| (set, set.unreachable.saturating_sub(usize::from(restarts_one(set)))));
    let broken: Vec<(&LostSet, usize)> = lost.filter(|(_, unreachable)| *unreachable > 0).collect();
    let (all, lost) = (around.reach.endpoints, broken.iter().map(|(_, unreachable)| unreachable).sum::<usize>());
    (broken.len() >= FAULT_SETS && lost >= FAULT_LEAST && lost * 100 > all * FAULT_PERCENT).then(|| {
        let named: Vec<String> =
            broken.iter().take(NAMED).map(|(set, unreachable)| format!("{} ({unreachable})", set.name)).collect();
        let more = if broken.len() > NAMED { ", …" } else { "" };
        Blocked::new(
            BlockReason::GlobalFault,
            format!(
                "{lost} of {all} Redis servers that the operator watches do not answer, of {} sets: {}{more}; nothing is \
                 restarted anywhere while that is more than {FAULT_PERCENT} %: look at the network, the nodes and the \
                 operator's own",
                broken.len(),
                named.join(", ")
            ),
        )
    })
}

pub(super) fn restarts_per_day(scene: &Scene<'_>) -> Option<Blocked> {
    let most = scene.ctx.policy.restart.maximum_restarts_per_day?;
    let record = scene.shard.record(scene.ctx.records);
    let restarts = record.map(|record| record.restarts.as_slice()).unwrap_or_default();
    let lately = restarts.iter().filter(|restart| scene.ctx.since(restart.at) < DAY).count();
    let planned = scene.restarting.len();
    (planned > 0 && u32::try_from(lately + planned).unwrap_or(u32::MAX) > most).then(|| {
        Blocked::new(
            BlockReason::RestartBudget,
            format!(
                "the plan restarts {planned} pods and {lately} were restarted in the last 24 h; \
                 restart.maximumRestartsPerDay is {most}: wait, or raise it"
            ),
        )
    })
}

pub(super) fn claimed(scene: &Scene<'_>) -> Option<Blocked> {
    let other = scene.shard.claimed_by(scene.ctx.snapshot)?;
    Some(Blocked::new(
        BlockReason::ClaimedByOlderPolicy,
        format!("policy {other} is older and matches pods of {}; it acts for them", scene.shard.name),
    ))
}

pub(super) fn one_a_workload(scene: &Scene<'_>) -> Option<Blocked> {
    let elsewhere = &scene.ctx.snapshot.surroundings.elsewhere;
    let other = elsewhere.iter().find(|other| scene.shard.id.is(&other.shard))?;
    Some(Blocked::new(
        BlockReason::ClusterBudget,
        format!("policy {} is restarting {} already; wait until it has ended", other.policy, scene.shard.name),
    ))
}

pub(super) fn remediations_at_once(scene: &Scene<'_>) -> Option<Blocked> {
    let around = &scene.ctx.snapshot.surroundings;
    let most = around.maximum_remediations;
    let running = around.elsewhere.len();
    (u32::try_from(running).unwrap_or(u32::MAX) >= most).then(|| {
        let names: Vec<&str> = around.elsewhere.iter().take(4).map(|other| other.policy.as_str()).collect();
        let text = if most == 0 {
            "--maximum-remediations is 0: no remediation is begun in this cluster".to_owned()
        } else {
            format!(
                "{running} remediations are under way ({}); at most {most} at once in the cluster",
                names.join(", ")
            )
        };
        Blocked::new(BlockReason::ClusterBudget, text)
    })
}

/// The disruption budgets of the pods that are to be evicted, by what their status says: asked before anything is begun
/// or written out. The eviction itself asks them once more.
pub(super) fn disruption_allowed(scene: &Scene<'_>) -> Option<Blocked> {
    let budgets = scene.ctx.snapshot.budgets.as_ref()?;
    scene.restarted_now().find_map(|target| {
        let pod = &target.pod.name;
        let covering: Vec<_> = budgets.iter().filter(|budget| budget.pods.contains(&target.pod.uid)).collect();
        let text = match covering.as_slice() {
            [] => return None,
            [budget] if budget.never_allows() => format!(
                "PodDisruptionBudget {} ({}) never allows {pod} to be evicted: of {} pods it wants {} healthy. Let it \
                 allow one (maxUnavailable: 1); it is read again every minute",
                budget.name, budget.rule, budget.expected, budget.desired
            ),
            [budget] if budget.allows_now() => return None,
            [budget] if !budget.observed || budget.expected == 0 => {
                format!("PodDisruptionBudget {} ({}) has not been evaluated by its controller", budget.name, budget.rule)
            }
            [budget] => format!(
                "PodDisruptionBudget {} ({}) allows no eviction of {pod} just now: {} of {} pods are healthy, and it wants \
                 {}; this is waited for",
                budget.name, budget.rule, budget.healthy, budget.expected, budget.desired
            ),
            several => {
                let names: Vec<&str> = several.iter().map(|budget| budget.name.as_str()).collect();
                format!(
                    "{pod} is selected by the PodDisruptionBudgets {}: the API server never evicts a pod that several \
                     select; let one alone select it",
                    names.join(", ")
                )
            }
        };
        Some(Blocked::new(BlockReason::DisruptionBudget, text))
    })
}

/// Looked at again before each eviction: in the middle of a remediation it waits.
pub(super) fn restarts_per_hour(scene: &Scene<'_>) -> Option<Blocked> {
    let around = &scene.ctx.snapshot.surroundings;
    let most = around.maximum_restarts_per_hour?;
    let lately = around.restarts_last_hour;
    (scene.phase != Phase::Switchover && !scene.only_moves_the_role() && lately >= most).then(|| {
        Blocked::new(
            BlockReason::ClusterBudget,
            format!(
                "{lately} pods were restarted in the last hour, over all policies; --maximum-restarts-per-hour is {most}"
            ),
        )
    })
}

#[cfg(test)]
mod tests;
