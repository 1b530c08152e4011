//! Gates on the volume of a primary that is restarted in place: its replacement can get to it, and it has room for what
//! is written out before.

use super::{Phase, Scene};
use crate::{
    assess::persistence,
    domain::blocked::{BlockReason, Blocked},
    domain::{
        policy::Mode,
        snapshot::Target,
        volume::{ClaimVolume, Volumes},
    },
};

/// The primary that the step is about, and the claim that its data is in. Data that is in none is refused elsewhere.
fn claim<'a>(scene: &Scene<'a>) -> Option<(&'a Target, Option<&'a str>)> {
    let primary = scene.in_place_now()?;
    let config = primary.sample()?.config.as_ref().ok()?;
    persistence::durable(primary, config).ok()?;
    let mount = persistence::data_mount(primary, config)?;
    Some((primary, mount.claim.as_deref()))
}

fn known<'a>(scene: &Scene<'a>) -> Option<(&'a Target, &'a ClaimVolume)> {
    let (primary, name) = claim(scene)?;
    let Volumes::Known(all) = &scene.ctx.snapshot.volumes else { return None };
    Some((primary, all.iter().find(|one| Some(one.claim.as_str()) == name)?))
}

/// What is behind the claim must be known: a pod that is evicted from its only node does not come back.
pub(super) fn volume_known(scene: &Scene<'_>) -> Option<Blocked> {
    let (primary, name) = claim(scene)?;
    let pod = &primary.pod.name;
    let shown = name.unwrap_or("(unnamed)");
    let before = format!("{pod} would be restarted as the primary that it is, but what is behind its claim {shown}");
    let unknown = |text: &str| Some(Blocked::new(BlockReason::VolumeUnknown, format!("{before} {text}")));
    match &scene.ctx.snapshot.volumes {
        // In Observe the plan is a dry run: nothing is missing for it.
        Volumes::Denied if scene.ctx.policy.mode != Mode::Enforce => None,
        Volumes::Denied => Some(Blocked::new(
            BlockReason::PermissionMissing,
            format!(
                "{before} may not be read: whether the pod could come back is not known. The chart grants the right \
                 with acting.restartInPlace=true"
            ),
        )),
        Volumes::Unread => unknown("was not looked at"),
        Volumes::Unreadable(why) => unknown(&format!("could not be read: {why}; it is read again")),
        Volumes::Known(_) if known(scene).is_some() => None,
        Volumes::Known(_) => unknown("is not known: there is no such claim"),
    }
}

/// A pod whose volume is on a node that takes none stays away until somebody comes.
pub(super) fn volume_reachable(scene: &Scene<'_>) -> Option<Blocked> {
    let (primary, volume) = known(scene)?;
    if volume.open.is_some() {
        return None;
    }
    let closed: Vec<String> =
        volume.closed.iter().map(|node| format!("{} ({})", node.name, node.why.as_str())).collect();
    let (pod, claim) = (&primary.pod.name, &volume.claim);
    let text = match (closed.as_slice(), volume.tied) {
        ([], _) => format!(
            "{pod} could not come back: the volume of its claim {claim} can be used on no node of the cluster; look at \
             the claim and at the nodeAffinity of its PersistentVolume"
        ),
        (nodes, true) => format!(
            "{pod} could not come back: the volume of its claim {claim} can be used only where no pod is taken: {}; \
             uncordon such a node, or make it Ready",
            nodes.join(", ")
        ),
        (nodes, false) => format!(
            "{pod} could not come back with its claim {claim}: no node takes pods: {}; uncordon one, or make it Ready",
            nodes.join(", ")
        ),
    };
    Some(Blocked::new(BlockReason::VolumeUnreachable, text))
}

/// While an AOF is rewritten the volume holds the old and the new one. What has been written out needs no more.
pub(super) fn rewrite_room(scene: &Scene<'_>) -> Option<Blocked> {
    let (primary, volume) = known(scene).filter(|_| !matches!(scene.phase, Phase::Evict(_)))?;
    let sample = primary.sample()?;
    if !sample.config.as_ref().is_ok_and(|config| config.appendonly) {
        return None;
    }
    let (pod, claim) = (&primary.pod.name, &volume.claim);
    let missing = match (volume.capacity, sample.persistence.aof_size) {
        (Some(capacity), Some(size)) => {
            let need = size.percent(200);
            return (capacity < need).then(|| {
                Blocked::new(
                    BlockReason::NoRoomForRewrite,
                    format!(
                        "the AOF of {pod} takes {}, and its rewrite may take as much again: {} of the {capacity} of \
                         claim {claim}. Give it a bigger claim",
                        size.quantised(),
                        need.quantised()
                    ),
                )
            });
        }
        (None, _) => format!("the capacity of its claim {claim} is not said (status.capacity)"),
        (_, None) => "the server does not say how large its AOF is (aof_current_size)".to_owned(),
    };
    Some(Blocked::new(
        BlockReason::VolumeUnknown,
        format!("whether a rewrite of the AOF of {pod} has room is not known: {missing}"),
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        domain::{
            bytes::Bytes,
            fixtures,
            snapshot::Observation,
            volume::{Closed, ClosedNode},
        },
        plan::gates::tests::World,
    };

    fn world(change: impl FnOnce(&mut ClaimVolume)) -> World {
        let (policy, snapshot) = fixtures::standalone();
        let mut world = World { policy, snapshot, ..World::good() };
        let Volumes::Known(all) = &mut world.snapshot.volumes else { panic!("known") };
        change(&mut all[0]);
        world
    }

    fn refusal(world: &World) -> Option<(BlockReason, String)> {
        let blocked = world.consider().blocked;
        assert!(blocked.len() < 2, "{blocked:?}");
        blocked.into_iter().next().map(|one| (one.reason, one.text))
    }

    fn says(world: &World, reason: BlockReason, words: &[&str]) {
        let (found, text) = refusal(world).expect("refused");
        assert_eq!(found, reason, "{text}");
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[rstest]
    #[case(true, Closed::Cordoned, "node-1 (cordoned)")]
    #[case(true, Closed::NotReady, "node-1 (not Ready)")]
    #[case(false, Closed::Cordoned, "no node takes pods")]
    fn a_volume_where_no_pod_is_taken(#[case] tied: bool, #[case] why: Closed, #[case] word: &str) {
        let world = world(|one| {
            (one.tied, one.open) = (tied, None);
            one.closed = vec![ClosedNode { name: "node-1".into(), why }];
        });
        says(&world, BlockReason::VolumeUnreachable, &["redis-0", "data-redis-0", word, "uncordon"]);
    }

    #[test]
    fn a_volume_that_is_nowhere() {
        says(&world(|one| one.open = None), BlockReason::VolumeUnreachable, &["on no node"]);
    }

    #[rstest]
    #[case(Bytes::mib(139), true)]
    #[case(Bytes::mib(140), false)]
    fn a_rewrite_takes_as_much_again(#[case] capacity: Bytes, #[case] refused: bool) {
        let mut world = world(|one| one.capacity = Some(capacity));
        aof_size(&mut world, Some(Bytes::mib(70)));
        assert_eq!(refusal(&world).is_some(), refused);
        if refused {
            says(&world, BlockReason::NoRoomForRewrite, &["redis-0", "70", "140", "139", "bigger claim"]);
        }
    }

    fn aof_size(world: &mut World, size: Option<Bytes>) {
        let Observation::Seen(sample) = &mut world.snapshot.targets[0].redis else { panic!("a sample") };
        sample.persistence.aof_size = size;
    }

    #[test]
    fn what_is_not_known_of_the_room_is_refused_where_an_aof_is_rewritten() {
        says(&world(|one| one.capacity = None), BlockReason::VolumeUnknown, &["capacity"]);
        let mut silent = world(|_| {});
        aof_size(&mut silent, None);
        says(&silent, BlockReason::VolumeUnknown, &["aof_current_size"]);
        let mut dumping = world(|one| one.capacity = None);
        let Observation::Seen(sample) = &mut dumping.snapshot.targets[0].redis else { panic!("a sample") };
        let config = sample.config.as_mut().unwrap();
        (config.appendonly, config.save) = (false, "3600 1".into());
        assert_eq!(refusal(&dumping), None);
    }

    #[test]
    fn without_the_right_nothing_is_restarted_in_place() {
        let with = |volumes: Volumes| {
            let mut world = world(|_| {});
            world.snapshot.volumes = volumes;
            world
        };
        assert_eq!(refusal(&world(|_| {})), None);
        says(&with(Volumes::Denied), BlockReason::PermissionMissing, &["acting.restartInPlace=true"]);
        says(&with(Volumes::Unreadable("no answer".into())), BlockReason::VolumeUnknown, &["no answer"]);
        says(&with(Volumes::Unread), BlockReason::VolumeUnknown, &["not looked at"]);
        says(&with(Volumes::Known(Vec::new())), BlockReason::VolumeUnknown, &["no such claim"]);
    }
}
