//! One look, judged once: what everything that decides and everything that reports rests on.

use std::collections::HashMap;

use super::{
    Around, AssessSettings, View, drift,
    fragmentation::{self, Verdict},
    growth::{self, Growth},
    headroom::{self, Demand, HeadroomVerdict},
    members, nodes, oom, own_maxmemory, persistence, reverted, rights, roles, services, several, sort, start_roles,
    target,
};
use crate::{
    domain::{
        finding::{Finding, FindingCode},
        journal::{Journal, WorkloadRecord},
        names::{PodName, PodUid},
        oom::PodKills,
        pod::StatefulSet,
        policy::Policy,
        snapshot::{Snapshot, Target},
    },
    topology::{self, Shard},
};

/// A selector that is longer is cut.
const SELECTOR_SHOWN: usize = 160;

/// One snapshot under one policy: its shards, and every member judged once.
#[derive(Clone, Debug)]
pub struct Assessment<'a> {
    /// The validated policy.
    pub policy: &'a Policy,
    /// What was observed.
    pub snapshot: &'a Snapshot,
    /// The data sets, by name.
    pub shards: Vec<Shard<'a>>,
    /// Kills by the kernel that nobody has taken note of, the last ones first.
    pub kills: Vec<PodKills>,
    members: HashMap<&'a PodUid, Member<'a>>,
    by_name: HashMap<&'a PodName, &'a Target>,
}

/// How one selected pod was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The pod and its Redis.
    pub target: &'a Target,
    /// How fragmented its memory is.
    pub fragmentation: Verdict,
    /// What its limit must be for a `maxmemory`: the same for all members of a set.
    pub demand: Demand,
    /// Whether its limit is enough.
    pub headroom: HeadroomVerdict,
    /// How its data grows; `None`: it does not, or not steadily.
    pub growth: Option<Growth>,
    /// Position of its shard.
    shard: Option<usize>,
}

impl<'a> Assessment<'a> {
    /// Judges a snapshot, at the time of the snapshot.
    pub fn of(policy: &'a Policy, snapshot: &'a Snapshot, settings: &AssessSettings) -> Self {
        let shards = topology::find(policy, snapshot);
        let judged = snapshot.targets.iter().map(|target| {
            let fragmentation = fragmentation::judge(policy, target, snapshot.at, settings);
            let demand = Demand::of(policy, &[target]);
            let headroom = headroom::judge(&demand, target);
            let growth = growth::judge(policy, target, snapshot.at, settings);
            (&target.pod.uid, Member { target, fragmentation, demand, headroom, growth, shard: None })
        });
        let mut members: HashMap<_, _> = judged.collect();
        for (n, shard) in shards.iter().enumerate() {
            let demand = Demand::of(policy, &shard.members);
            for target in &shard.members {
                if let Some(member) = members.get_mut(&target.pod.uid) {
                    (member.shard, member.demand) = (Some(n), demand);
                    member.headroom = headroom::judge(&demand, target);
                }
            }
        }
        let by_name = snapshot.targets.iter().map(|target| (&target.pod.name, target)).collect();
        Self { policy, snapshot, shards, kills: oom::kills(snapshot), members, by_name }
    }

    /// The same with what is remembered: what an eviction of ours left resident makes no restart due.
    #[must_use]
    pub fn with(mut self, records: &[WorkloadRecord], settings: &AssessSettings) -> Self {
        let due = self.members.values().filter(|member| member.fragmentation.restart_due.is_some());
        let evicted = due.filter_map(|member| {
            let was = own_maxmemory::before_eviction(&self, records, member.target)?;
            let verdict =
                fragmentation::judge_as_before_eviction(self.policy, member.target, was, self.snapshot.at, settings);
            verdict.restart_due.is_none().then_some(&member.target.pod.uid)
        });
        for uid in evicted.collect::<Vec<_>>() {
            if let Some(member) = self.members.get_mut(uid) {
                member.fragmentation.withdraw_for_eviction();
            }
        }
        self
    }

    /// The target of that name.
    pub fn target(&self, pod: &PodName) -> Option<&'a Target> {
        self.by_name.get(pod).copied()
    }

    /// How that target was judged; `None`: it is not of this look.
    pub fn member(&self, target: &Target) -> Option<&Member<'a>> {
        self.members.get(&target.pod.uid)
    }

    /// The shard that this target is a member of.
    pub fn shard_of(&self, target: &Target) -> Option<&Shard<'a>> {
        self.shards.get(self.member(target)?.shard?)
    }

    /// What its limit must be for a `maxmemory`.
    pub fn demand(&self, target: &Target) -> Demand {
        self.member(target).map_or_else(|| Demand::of(self.policy, &[target]), |member| member.demand)
    }

    /// The kills of that very pod by the kernel that nobody has taken note of.
    pub fn kills_of(&self, target: &Target) -> Option<&PodKills> {
        self.kills.iter().find(|kills| kills.pod == target.pod.name && kills.pod_uid == target.pod.uid)
    }

    /// The StatefulSet that owns that target, if it is one and could be read.
    pub fn set_of(&self, target: &Target) -> Option<&'a StatefulSet> {
        self.shard_of(target)?.set_of(target)
    }

    /// That target, with what it is judged by.
    pub(super) fn view<'b>(&'b self, target: &'b Target) -> Option<View<'b>> {
        let &Member { ref fragmentation, demand, headroom, growth, .. } = self.member(target)?;
        let members = self.shard_of(target).map_or(&[][..], |shard| &shard.members);
        let around = Some(Around { snapshot: self.snapshot, set: self.set_of(target), members });
        Some(View { policy: self.policy, target, around, fragmentation, demand, headroom, growth })
    }

    /// Every finding, worst first, then by code in the order of the catalogue, then by pod. Equal input gives equal
    /// output. `records`: what is remembered; `journal`: the remediation under way.
    pub fn findings(&self, records: &[WorkloadRecord], journal: Option<&Journal>) -> Vec<Finding> {
        let Self { policy, snapshot, .. } = self;
        let mut findings = Vec::new();
        if snapshot.targets.is_empty() {
            findings.push(Finding::new(
                FindingCode::NoTargets,
                None,
                format!("the selector {} matches no pod in namespace {}", short(&policy.selector), policy.namespace),
                "check spec.selector against the labels of the Redis pods",
            ));
        }
        for target in &snapshot.targets {
            findings.extend(self.view(target).iter().flat_map(target::findings));
        }
        findings.extend(nodes::findings(snapshot));
        findings.extend(oom::findings(self));
        findings.extend(roles::findings(self, records));
        findings.extend(self.shards.iter().filter_map(|shard| members::finding(self, shard)));
        findings.extend(drift::findings(self, records));
        findings.extend(own_maxmemory::findings(self, records));
        findings.extend(self.shards.iter().filter_map(|shard| persistence::finding(policy, shard)));
        findings.extend(services::findings(policy, &self.shards));
        findings.extend(rights::findings(policy, snapshot, &self.shards));
        findings.extend(reverted::findings(snapshot));
        findings.extend(drift::of_records(policy, records));
        findings.extend(drift::of_starts(self, records, journal));
        findings.extend(self.shards.iter().filter_map(|shard| start_roles::finding(policy, shard, records)));
        findings.extend(self.shards.iter().filter_map(|shard| several::finding(policy, shard, records)));
        sort(&mut findings);
        findings
    }
}

/// So much of a selector as fits beside other words.
fn short(selector: &str) -> String {
    if selector.chars().count() <= SELECTOR_SHOWN {
        return selector.to_owned();
    }
    format!("{} …", selector.chars().take(SELECTOR_SHOWN).collect::<String>())
}
