//! Findings about who is primary, who is selected, and what the role labels say.

use super::{Assessment, empty, several};
use crate::{
    domain::{
        finding::{Finding, FindingCode},
        journal::WorkloadRecord,
        names::in_short,
        pod::{Right, StatefulSet},
        policy::{Mode, Policy},
        sample::{Role, Sample},
        snapshot::{Snapshot, Target},
    },
    topology::{Follow, Lead, Shard},
};

/// A label that the operator sets begins like this.
pub const WILL_LABEL: &str = "the operator sets it to ";
/// So much of a replication ID tells one history from another.
const HISTORY_SHOWN: usize = 8;
/// Names shown before the rest is only counted.
const SHOWN: usize = 4;

pub(super) fn findings(look: &Assessment<'_>, records: &[WorkloadRecord]) -> Vec<Finding> {
    let Assessment { policy, snapshot, .. } = look;
    let mut findings = Vec::new();
    for shard in &look.shards {
        findings.extend(two_primaries(shard));
        findings.extend(no_primary(shard));
        findings.extend(primary_empty(shard));
        findings.extend(outside(shard));
        findings.extend(sentinels(shard));
        // Where the primary is not settled no label is moved, so none is announced.
        if several::unsettled(shard, records).is_none() {
            findings.extend(role_labels(policy, shard, snapshot));
        }
    }
    findings.extend(template_labels(policy, snapshot));
    findings
}

fn about_the_set(code: FindingCode, evidence: String, remedy: impl Into<String>) -> Finding {
    Finding::new(code, None, evidence, remedy)
}

fn two_primaries(shard: &Shard<'_>) -> Option<Finding> {
    if !shard.has_too_many_primaries() {
        return None;
    }
    Some(about_the_set(
        FindingCode::TwoPrimaries,
        format!(
            "{}: {} each say that they are primary ({}); how that came is not known",
            shard.name,
            names(shard.lead.all()),
            held(shard)
        ),
        format!("{}; until then the operator restarts none of them", with_two_primaries(shard)),
    ))
}

/// Silent while a member is unknown: it may be the primary. Silent too when a replica is connected to a server that
/// is not selected: that is the primary, see [`outside`].
fn no_primary(shard: &Shard<'_>) -> Option<Finding> {
    let seen = !shard.replicas.is_empty() && shard.lead == Lead::Nobody;
    if !seen || !shard.unknown.is_empty() || !shard.live_outside().is_empty() {
        return None;
    }
    Some(about_the_set(
        FindingCode::NoPrimary,
        format!("{}: {} are replicas and no member is primary ({})", shard.name, names(&shard.replicas), held(shard)),
        without_primary(shard),
    ))
}

/// What each member holds, for who has to compare them: keys, offset, the history (replication ID) that it is of, and of a replica
/// whom it follows.
pub fn held(shard: &Shard<'_>) -> String {
    let of = |target: &&Target| {
        let sample = target.sample()?;
        let keys = if sample.keys_unread() { "an unknown number of".to_owned() } else { sample.keys.to_string() };
        let history: String = sample.replication.replid.chars().take(HISTORY_SHOWN).collect();
        let follows = followed(shard, sample);
        let offset = sample.replication.offset;
        Some(format!("{}: {keys} keys, offset {offset}, history {history}{follows}", target.pod.name))
    };
    let all: Vec<String> = shard.members.iter().filter_map(of).collect();
    let shown = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    if all.len() > SHOWN { format!("{shown} and {} more", all.len() - SHOWN) } else { shown }
}

/// ", follows redis-0", of a replica.
fn followed(shard: &Shard<'_>, sample: &Sample) -> String {
    let Role::Replica(link) = &sample.replication.role else { return String::new() };
    let whom = shard.resolve(&link.primary).map_or_else(|| link.primary.to_string(), |it| it.pod.name.to_string());
    let down = if link.link_up { "" } else { " (link down)" };
    format!(", follows {whom}{down}")
}

/// Who else decides the roles of that set.
fn decider(shard: &Shard<'_>) -> Option<String> {
    if shard.has_sentinel() {
        return Some("Sentinel".to_owned());
    }
    let owner = shard.foreign_owner()?;
    Some(format!("{} {}", owner.kind, owner.name))
}

/// What a person can do about a set without a primary: nothing that could make a second one.
pub fn without_primary(shard: &Shard<'_>) -> String {
    if let Some(decider) = decider(shard) {
        return format!("wait: {decider} decides who becomes primary; if nobody does, look at its log");
    }
    let (there, wanted) = (shard.members.len(), shard.wanted());
    if wanted > there {
        return format!(
            "wait for the pods that are missing ({there} of {wanted} are there): one of them may come back as the \
             primary; a replica that is promoted before would be a second one"
        );
    }
    "this operator never promotes after a loss: of the members of one history the one with the highest offset has \
     everything that the others have; promote it (REPLICAOF NO ONE) and point the others at it. Where histories differ, \
     save the data of each first"
        .to_owned()
}

/// How what a person can do about several primaries begins, where nobody else decides.
pub const STOP_THE_WRITERS: &str = "stop the writers";

/// What a person can do about several primaries: nothing that throws data away unseen.
pub fn with_two_primaries(shard: &Shard<'_>) -> String {
    if let Some(decider) = decider(shard) {
        return format!("wait: {decider} decides which of them stays; if both do, look at its log");
    }
    format!(
        "{STOP_THE_WRITERS}; keep the one that clients have written to, or the one with more keys where they wrote to both; \
         BGSAVE each that goes, and copy its dump away; then REPLICAOF on it, with the address of the one that stays: it \
         throws away by that what only it has"
    )
}

fn primary_empty(shard: &Shard<'_>) -> Option<Finding> {
    let (primary, holder) = empty::primary_empty(shard)?;
    let keys = holder.sample().map_or(0, |sample| sample.keys);
    Some(about_the_set(
        FindingCode::PrimaryEmpty,
        format!("{}: primary {} holds no key, {} still holds {keys}", shard.name, primary.pod.name, holder.pod.name),
        "the replica's next full sync wipes its data: make it independent first (REPLICAOF NO ONE), then decide which one is right; nothing is done here",
    ))
}

fn outside(shard: &Shard<'_>) -> Option<Finding> {
    let addresses = shard.live_outside();
    if addresses.is_empty() {
        return None;
    }
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    Some(about_the_set(
        FindingCode::MemberOutsideSelector,
        if shard.primary_is_outside() {
            format!("the primary of {} is {}, not selected by this policy", shard.name, list(&shown))
        } else {
            format!("{} replicates with {}, not selected by this policy", shard.name, list(&shown))
        },
        "extend spec.selector to every member of the workload; until then none of its pods is restarted",
    ))
}

fn sentinels(shard: &Shard<'_>) -> Option<Finding> {
    let faults = shard.sentinel_faults();
    (!faults.is_empty()).then(|| {
        let shown = faults.iter().take(SHOWN).map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("; ");
        let more = faults.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        about_the_set(
            FindingCode::SentinelDegraded,
            format!("{}: {shown}{more}", shard.name),
            "mend it before the primary fails: until then the Sentinels may not fail over, or not as all of them expect. \
             Where they are not reached as Redis is, write spec.redis.sentinel (selector, port, password, TLS)",
        )
    })
}

/// What every member's label should say, where one primary is known and the label is what clients follow.
fn role_labels(policy: &Policy, shard: &Shard<'_>, snapshot: &Snapshot) -> Vec<Finding> {
    // In a failover both roles and labels are on the move.
    let counts = shard.follow.is_by_label() && !shard.fails_over();
    if !counts || shard.primary().is_none() || empty::primary_empty(shard).is_some() {
        return Vec::new();
    }
    shard
        .members
        .iter()
        .filter_map(|target| role_label(policy, target, shard.set_of(target), snapshot.rights.label))
        .collect()
}

fn role_label(policy: &Policy, target: &Target, set: Option<&StatefulSet>, right: Right) -> Option<Finding> {
    let label = &policy.redis.role_label;
    let should = label.value_of(&target.sample()?.replication.role)?;
    let pod = &target.pod;
    if pod.terminating || pod.role_label.as_deref() == Some(should) {
        return None;
    }
    let evidence = match &pod.role_label {
        Some(value) => format!("label {} is {value}, should be {should}", label.key),
        None => format!("label {} is missing, should be {should}", label.key),
    };
    let templated = set.is_some_and(|set| set.template_role_label.is_some());
    let ours = Follow::by_policy(policy).is_ours();
    let remedy = match (policy.mode, right) {
        _ if !ours => {
            format!("the controller that keeps {} has to set it to {should}", label.key)
        }
        _ if templated => {
            "the pod template sets the label, so the operator leaves it alone: take it out of the template".into()
        }
        (Mode::Observe, _) => format!("in mode Enforce the operator would set it to {should}"),
        (Mode::Enforce, Right::Denied) => {
            "the operator lacks the right to label pods: set the chart value acting.roleLabel".into()
        }
        (Mode::Enforce, Right::Unknown) => {
            format!("the operator will set it to {should} once it knows that it may label pods")
        }
        (Mode::Enforce, Right::Granted) => {
            format!("{WILL_LABEL}{should}; Services that select it follow")
        }
    };
    Some(Finding::new(FindingCode::RoleLabelMissing, Some(pod.name.clone()), evidence, remedy))
}

/// A label in the template would claim a role before the new pod has one.
fn template_labels(policy: &Policy, snapshot: &Snapshot) -> Vec<Finding> {
    if !Follow::by_policy(policy).is_ours() {
        return Vec::new();
    }
    let labelled = |set: &crate::domain::pod::StatefulSet| {
        let value = set.template_role_label.as_ref()?;
        let key = &policy.redis.role_label.key;
        Some(about_the_set(
            FindingCode::RoleLabelMissing,
            format!("the pod template of StatefulSet {} sets {key} to {value}", set.name),
            "take the label out of the template: every new pod would claim that role before it has one; until then no label is moved",
        ))
    };
    snapshot.stateful_sets.iter().filter_map(labelled).collect()
}

/// Names of pods, for a text.
pub(super) fn names(targets: &[&Target]) -> String {
    list(&targets.iter().map(|t| t.pod.name.to_string()).collect::<Vec<_>>())
}

/// The first few of them, and how many more there are.
pub(super) fn list(items: &[String]) -> String {
    in_short(items, SHOWN)
}
