//! Gates on the state of the members: what passes by itself, or by somebody's hand.

use super::{Scene, names};
use crate::{
    assess::{members, obstacle, roles},
    domain::{
        blocked::{BlockReason, Blocked},
        pod::ResizeProgress,
        policy::Mode,
        sample::{Config, FailoverState, Role, Sample},
        snapshot::Target,
    },
    plan::{labels, replica, resize, rogue_primary},
    topology::Lead,
};

pub(super) fn members_known(scene: &Scene<'_>) -> Option<Blocked> {
    let Some(target) = scene.shard.members.iter().find(|target| target.sample().is_none()) else {
        return unread(scene);
    };
    Some(Blocked::new(
        BlockReason::MemberUnknown,
        format!("{} gave no sample: {}", target.pod.name, target.why_silent()),
    ))
}

/// A member that answers and does not say what decisions rest on.
fn unread(scene: &Scene<'_>) -> Option<Blocked> {
    let mut samples = scene.shard.members.iter().filter_map(|target| Some((target, target.sample()?)));
    let (target, sample) = samples.find(|(_, sample)| !sample.unread.is_empty())?;
    Some(Blocked::new(
        BlockReason::MemberUnknown,
        format!(
            "INFO of {} has no {} that can be read (a server that has just started has not measured itself yet): it is \
             watched and not acted on",
            target.pod.name,
            sample.unread.join(", ")
        ),
    ))
}

pub(super) fn one_primary(scene: &Scene<'_>) -> Option<Blocked> {
    let Scene { shard, ctx, .. } = scene;
    let held = roles::held(shard);
    match &shard.lead {
        Lead::One(_) => rogue_primary::unsettled(ctx, shard),
        // It is only unselected: that is said by its own gate.
        Lead::Nobody if shard.primary_is_outside() => None,
        Lead::Nobody => Some(Blocked::new(
            BlockReason::NoPrimary,
            format!("no member is primary ({held}): {}", roles::without_primary(shard)),
        )),
        Lead::Several(several) => Some(Blocked::new(
            BlockReason::TwoPrimaries,
            format!(
                "{} are all primaries ({held}); nothing is done until exactly one is: {}",
                names(several.iter().copied()),
                roles::with_two_primaries(shard)
            ),
        )),
    }
}

pub(super) fn primary_holds_data(scene: &Scene<'_>) -> Option<Blocked> {
    rogue_primary::primary_empty(scene.shard)
}

pub(super) fn config_readable(scene: &Scene<'_>) -> Option<Blocked> {
    scene.shard.members.iter().find_map(|target| {
        let unreadable = target.sample()?.config.as_ref().err()?;
        Some(Blocked::new(
            BlockReason::ConfigUnreadable,
            format!("CONFIG GET on {} failed ({}); allow the user to run it", target.pod.name, unreadable.0),
        ))
    })
}

/// Compares one fact over all members; the text names the first two that differ.
fn differing<T: PartialEq + std::fmt::Display>(
    scene: &Scene<'_>,
    what: &str,
    fact: impl Fn(&Sample, &Config) -> T,
) -> Option<Blocked> {
    let mut facts = scene.shard.members.iter().filter_map(|target| {
        let sample = target.sample()?;
        Some((&target.pod.name, fact(sample, sample.config.as_ref().ok()?)))
    });
    let (first_pod, first) = facts.next()?;
    let (other_pod, other) = facts.find(|(_, value)| *value != first)?;
    Some(Blocked::new(
        BlockReason::MembersDiffer,
        format!("{what} differs: {first} on {first_pod}, {other} on {other_pod}; make the members equal"),
    ))
}

pub(super) fn members_equal(scene: &Scene<'_>) -> Option<Blocked> {
    differing(scene, "the server version", |sample, _| sample.server.version)
        .or_else(|| differing(scene, "maxmemory", |_, config| config.maxmemory.or_none()))
        .or_else(|| credentials_differ(scene))
}

/// A member that becomes a replica must be let in by the new primary: of no matter where no role moves.
fn credentials_differ(scene: &Scene<'_>) -> Option<Blocked> {
    let what = scene.hands_over.then(|| members::credentials(scene.shard)).flatten()?;
    Some(Blocked::new(
        BlockReason::MembersDiffer,
        format!("{what}: after the hand-over one of them could not follow the other; make the members equal"),
    ))
}

pub(super) fn members_ready(scene: &Scene<'_>) -> Option<Blocked> {
    let target = scene.shard.members.iter().find(|target| !target.pod.ready || target.pod.terminating)?;
    let state = if target.pod.terminating { "being deleted".to_owned() } else { target.pod.not_ready() };
    Some(Blocked::new(BlockReason::MemberNotReady, format!("{} is {state}", target.pod.name)))
}

pub(super) fn members_idle(scene: &Scene<'_>) -> Option<Blocked> {
    scene.shard.members.iter().find_map(|target| {
        let doing = busy_with(scene, target)?;
        Some(Blocked::new(BlockReason::MemberBusy, format!("{} is {doing}", target.pod.name)))
    })
}

/// A resize that the kubelet has begun and does not end: that does not pass by itself.
pub(super) fn resizes_end(scene: &Scene<'_>) -> Option<Blocked> {
    let Scene { shard, ctx, .. } = scene;
    shard.members.iter().filter(|target| target.pod.resize == ResizeProgress::InProgress).find_map(|target| {
        let since = obstacle::never_written(ctx.policy, Some(ctx.snapshot), target)?;
        let text = format!(
            "{} is being resized since {}, and the kubelet has not written the limit to its cgroup: see the pod's events and its \
             node; nothing is restarted beside it",
            target.pod.name,
            since.strftime("%Y-%m-%dT%H:%M:%SZ")
        );
        Some(Blocked::new(BlockReason::ResizeRefused, text))
    })
}

/// Each new pod would need its limit again, and would not get it.
pub(super) fn limits_given(scene: &Scene<'_>) -> Option<Blocked> {
    scene.restarted_now().find_map(|target| {
        let (due, said) = resize::refused(scene.ctx, target)?;
        let text = format!(
            "the API server refuses the limit of {}, which its replacement would need again: {said} ({due})",
            target.pod.name
        );
        Some(Blocked::new(BlockReason::ResizeRefused, text))
    })
}

/// What keeps the member from being touched now, in words.
fn busy_with(scene: &Scene<'_>, target: &Target) -> Option<&'static str> {
    let sample = target.sample()?;
    let syncing = match &sample.replication.role {
        Role::Replica(link) => link.sync_in_progress,
        Role::Primary | Role::Unknown => sample.replication.replicas.iter().any(|line| !line.online),
    };
    let stuck = obstacle::never_written(scene.ctx.policy, Some(scene.ctx.snapshot), target).is_some();
    let reasons = [
        (sample.persistence.loading, "loading its data"),
        (sample.persistence.child_running, "saving or rewriting (a child process runs)"),
        (sample.persistence.rewrite_scheduled, "about to rewrite its AOF"),
        (syncing, "in a full sync"),
        (sample.replication.failover_state != FailoverState::None, "failing over"),
        // What the kubelet has put off, or fails to do, goes on for ever and disturbs nothing: it is said elsewhere.
        (target.pod.resize == ResizeProgress::InProgress && !stuck, "being resized"),
    ];
    reasons.into_iter().find_map(|(holds, text)| holds.then_some(text))
}

pub(super) fn persistence_ok(scene: &Scene<'_>) -> Option<Blocked> {
    scene.shard.members.iter().find_map(|target| {
        let sample = target.sample().filter(|sample| sample.persistence_fails())?;
        let (what, then) = if sample.persistence.only_save_failed {
            ("save", ": when they are well, one BGSAVE says so")
        } else {
            ("save, rewrite or AOF write", "")
        };
        let text = format!("the last {what} of {} failed; see its log and its disk{then}", target.pod.name);
        Some(Blocked::new(BlockReason::PersistenceFailing, text))
    })
}

pub(super) fn replicas_synced(scene: &Scene<'_>) -> Option<Blocked> {
    let primary = scene.shard.primary()?;
    let lag = scene.ctx.policy.restart.max_replication_lag;
    // Whoever gives the role away, or is away as the primary that it is, has everybody follow it.
    let of_all = scene.hands_over || scene.in_place.is_some();
    for replica in &scene.shard.replicas {
        let feeder = scene.shard.feeder(replica).filter(|_| !of_all).unwrap_or(primary);
        if let Err(why) = replica::synced(scene.shard, feeder, replica, lag) {
            return Some(Blocked::new(BlockReason::ReplicaNotSynced, why));
        }
        if let Some(sample) = replica.sample()
            && let Role::Replica(link) = &sample.replication.role
            && !link.read_only
        {
            return Some(Blocked::new(
                BlockReason::ReplicaNotSynced,
                format!("{} accepts writes of its own (replica-read-only no)", replica.pod.name),
            ));
        }
    }
    None
}

pub(super) fn role_labels_right(scene: &Scene<'_>) -> Option<Blocked> {
    // In Observe nobody sets it: there it is a finding, and Enforce would set it before anything else.
    if scene.ctx.policy.mode == Mode::Observe || rogue_primary::unsettled(scene.ctx, scene.shard).is_some() {
        return None;
    }
    let label = &scene.ctx.policy.redis.role_label;
    let wrong = labels::wrong(scene.ctx.policy, scene.shard);
    let follow = scene.shard.follow;
    // Another controller's word for a replica is its own affair. Who is called primary is not.
    let (target, should) = wrong.into_iter().filter(|_| follow.is_by_label()).find(|(target, should)| {
        follow.is_ours() || *should == label.primary || target.pod.role_label.as_ref() == Some(&label.primary)
    })?;
    Some(Blocked::new(BlockReason::RoleLabelWrong, format!("{} must carry {}={should}", target.pod.name, label.key)))
}
