//! What people hold: an object with the annotation [`HOLD_ANNOTATION`] is disturbed by nothing, and its limits and labels
//! are kept all the same.

use super::{Context, candidate};
use crate::{
    domain::{
        names::PodName,
        pod::HOLD_ANNOTATION,
        snapshot::Target,
        step::{PlannedStep, Step},
    },
    topology::Shard,
};

/// What holds that member, for people: the object, the value of its annotation, and what lifts it.
pub fn of(ctx: &Context<'_>, shard: &Shard<'_>, member: &Target) -> Option<String> {
    let namespace = &ctx.policy.namespace;
    let said = |(kind, short, name, value): (&str, &str, &str, &str)| {
        let value = if value.is_empty() { "no reason is given".to_owned() } else { format!("{value:?}") };
        format!(
            "{kind} {name} is held by its annotation {HOLD_ANNOTATION} ({value}): nothing disturbs it until that is taken away: \
             kubectl annotate {short} {name} -n {namespace} {HOLD_ANNOTATION}-"
        )
    };
    let policy = ctx.snapshot.surroundings.hold.as_deref();
    let set = shard.set_of(member).and_then(|set| Some((set.name.as_str(), set.hold.as_deref()?)));
    let pod = member.pod.hold.as_deref();
    policy
        .map(|value| ("policy", "rmp", ctx.policy.name.as_str(), value))
        .or_else(|| set.map(|(name, value)| ("StatefulSet", "sts", name, value)))
        .or_else(|| pod.map(|value| ("pod", "pod", member.pod.name.as_str(), value)))
        .map(said)
}

/// The first member that these steps would disturb and that is held: it is evicted, or gives or takes a role.
pub fn in_the_way(ctx: &Context<'_>, shard: &Shard<'_>, steps: &[PlannedStep]) -> Option<String> {
    let held = |pod: &PodName| {
        let member = shard.members.iter().find(|member| member.pod.name == *pod)?;
        of(ctx, shard, member)
    };
    let disturbing = steps.iter().filter(|planned| planned.step.kind().disturbs());
    disturbing.map(|planned| &planned.step).find_map(|step| match step {
        Step::Switchover { from, to: Some(to) } => held(from).or_else(|| held(to)),
        // A Sentinel cannot be told to leave one alone.
        Step::Switchover { from, to: None } => held(from)
            .or_else(|| candidate::for_sentinels(shard).into_iter().find_map(|replica| of(ctx, shard, replica))),
        step => held(step.pod()),
    })
}
