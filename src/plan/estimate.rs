//! How long what is not interrupted takes: what is compared with the time that a window leaves. Rather too long than too
//! short: what is not begun costs a night, what runs on after the window costs trust.

use std::time::Duration;

use super::Context;
use crate::{
    domain::{
        bytes::Bytes,
        duration,
        names::PodName,
        proxy::Proxy,
        sample::Sample,
        snapshot::Target,
        step::{self, PlannedStep, Step},
        write_gap::WriteGap,
    },
    topology::{Handover, Shard},
};

/// Assumed for each of writing, sending and loading a data set: what one core does with small keys and values on
/// modest hardware (benchmarks of RDB saving and loading lie between 50 and 200 MiB/s).
const BYTES_PER_SECOND: u64 = 50 << 20;
/// From an accepted eviction to a replacement whose Redis answers: shutdown without a save, scheduling, start. Pods on
/// a node that has the image take 5 to 20 s.
pub(super) const REPLACEMENT: Duration = Duration::from_secs(30);
/// Labels, endpoints that follow, FAILOVER and the labels after it: 3 to 8 s measured.
pub const SWITCHOVER: Duration = Duration::from_secs(15);
/// A replica that follows another primary and resynchronises partially: 1 to 2 s measured.
pub(super) const REPOINT: Duration = Duration::from_secs(5);
/// The sum is multiplied by this, in percent: looks between steps, busy disks, a full sync that must be repeated.
const MARGIN_PERCENT: u32 = 150;

/// What is not interrupted once the first of these steps has begun: how long it takes, and what it is, in words. `None`: a
/// step that begins nothing.
pub fn unit(shard: &Shard<'_>, steps: &[PlannedStep]) -> Option<(Duration, String)> {
    let (first, then) = steps.split_first()?;
    match &first.step {
        Step::Evict { pod } | Step::Persist { pod } => Some((restart_of(shard, pod), format!("restarting {pod}"))),
        Step::Switchover { from, .. } => {
            let repoints = u32::try_from(shard.replicas.len().saturating_sub(1)).unwrap_or(u32::MAX);
            let once = SWITCHOVER.saturating_add(REPOINT.saturating_mul(repoints));
            // A role against its start is half of a restart: the way back belongs to it.
            Some(match step::hand_back(then) {
                Some(_) => {
                    let need = once.saturating_mul(2).saturating_add(restart_of(shard, from));
                    (need, format!("handing the role of {from} over, restarting it and handing the role back"))
                }
                None => (once, format!("handing the role of {from} over")),
            })
        }
        _ => None,
    }
}

/// Writes, when the label that this operator keeps moves. The longest that a writer through a Service saw was 65 ms
/// (docs/performance.md); the rest is for kube-proxy on a large cluster, and for FAILOVER.
const OWN_LABEL: Duration = Duration::from_millis(300);
/// The same where another controller's label must follow, as long as that was never measured: such controllers look every
/// second to every ten seconds.
const THEIR_LABEL: Duration = Duration::from_secs(5);
/// The same where a Sentinel moves the role: the first of them names the new primary after 1.1 to 1.3 s, all do after 2.1 to
/// 2.4 s (measured: docs/adr/0019).
const BY_SENTINEL: Duration = Duration::from_secs(2);
/// When all of them do, which a proxy that believes several waits for (measured there, too).
const BY_ALL_SENTINELS: Duration = Duration::from_millis(2400);
/// HAProxy of the redis-ha chart asks the servers every second and the Sentinels every 1 to 3 s: half of the longest.
const PROXY_CHECK: Duration = Duration::from_millis(1500);
/// From the end of a process to its successor's pod: the kubelet looks at its containers once a second, takes the volumes
/// away and reports, and the StatefulSet's controller acts on that at once.
const GONE: Duration = Duration::from_secs(2);
/// From a pod to its server, where it is not known how long that took the last time: pods on a node that has the image take
/// 5 to 20 s. Unlike [`REPLACEMENT`], which is rather too long, it is the middle.
const START: Duration = Duration::from_secs(12);
/// The same, where the last time was longer: then the image was fetched, which is there now.
const LONGEST_START: Duration = Duration::from_secs(20);

/// How long writes stop when the role of this shard is handed over, and where the number is from; `None`: no role of it is.
pub fn hand_over_gap(ctx: &Context<'_>, shard: &Shard<'_>) -> Option<WriteGap> {
    let key = &ctx.policy.redis.role_label.key;
    if shard.follow.is_ours() {
        let from = format!("the operator moves the label {key} itself: measured in its tests");
        return Some(WriteGap::estimated(OWN_LABEL, from));
    }
    if shard.handover() == Handover::BySentinel {
        if let Some(Proxy { service, .. }) = shard.proxies(ctx.snapshot).next() {
            let agreed = measured(ctx, shard).unwrap_or_default().max(BY_ALL_SENTINELS);
            let from = format!(
                "a Sentinel moves the role, and the proxy behind Service {service} follows: {} s until the Sentinels agree, \
                 {} s until it asks again",
                agreed.as_secs_f64(),
                PROXY_CHECK.as_secs_f64()
            );
            return Some(WriteGap::estimated(agreed.saturating_add(PROXY_CHECK), from));
        }
        return Some(match measured(ctx, shard) {
            Some(time) => WriteGap::estimated(time, "measured when a Sentinel last moved the role"),
            None => WriteGap::estimated(BY_SENTINEL, "a Sentinel moves the role: measured in the operator's tests"),
        });
    }
    shard.follow.is_theirs().then(|| match measured(ctx, shard) {
        Some(time) => WriteGap::estimated(time, format!("measured when the label {key} last followed")),
        None => WriteGap::estimated(
            THEIR_LABEL,
            format!("assumed: another controller keeps the label {key}, and when it last followed was not seen yet"),
        ),
    })
}

/// How long writes stop by these steps.
pub fn write_gap(ctx: &Context<'_>, shard: &Shard<'_>, steps: &[PlannedStep]) -> Option<WriteGap> {
    steps.iter().find_map(|planned| match &planned.step {
        Step::Switchover { .. } => hand_over_gap(ctx, shard),
        Step::Persist { pod } => in_place_gap(ctx, shard, shard.member(pod)?),
        _ => None,
    })
}

/// Shutdown with its save, no longer than the grace period; a new pod, which starts as the one that it replaces did; loading;
/// the probes.
fn in_place_gap(ctx: &Context<'_>, shard: &Shard<'_>, primary: &Target) -> Option<WriteGap> {
    if let Some(time) = measured(ctx, shard) {
        return Some(WriteGap::estimated(time, "measured when it was last restarted in place"));
    }
    let sample = primary.sample()?;
    let stop = shutdown(sample).min(primary.pod.grace_period);
    let container = primary.pod.container.as_ref().ok();
    let took = container.map(|container| container.start_took).filter(|took| !took.is_zero());
    let start = GONE.saturating_add(took.unwrap_or(START).min(LONGEST_START));
    let load = assumed(sample.memory.used);
    let ready = container.map(|container| container.ready_after).unwrap_or_default();
    let time = [stop, start, load, ready].into_iter().fold(Duration::ZERO, Duration::saturating_add);
    let how = if took.is_some() { "as the last time" } else { "assumed" };
    let [stop, start, load, ready] = [stop, start, load, ready].map(|part| part.as_secs_f64());
    Some(WriteGap::estimated(
        time,
        format!("{stop} s to stop, {start} s to start ({how}), {load} s to load, {ready} s until its probes say yes"),
    ))
}

fn measured(ctx: &Context<'_>, shard: &Shard<'_>) -> Option<Duration> {
    shard.record(ctx.records)?.write_gap.as_ref()?.measured()
}

/// Whether writes would stop for longer at a hand-over than the policy consents to, in words.
pub fn gap_too_long(ctx: &Context<'_>, shard: &Shard<'_>) -> Option<String> {
    let (gap, most) = (hand_over_gap(ctx, shard)?, ctx.policy.restart.maximum_write_gap);
    (gap.estimate() > most).then(|| {
        format!(
            "writes to {} would stop for about {} while its primary hands the role over ({}), and \
             spec.restart.maximumWriteGap is {}: raise it to consent",
            shard.name,
            duration::format(gap.estimate()),
            gap.from,
            duration::format(most)
        )
    })
}

fn restart_of(shard: &Shard<'_>, pod: &PodName) -> Duration {
    let target = shard.members.iter().find(|target| target.pod.name == *pod);
    target.map(|target| restart(shard, target)).unwrap_or_default()
}

/// One pod, from its eviction to a replica that has caught up. The proof is not counted: it disturbs nobody.
pub fn restart(shard: &Shard<'_>, target: &Target) -> Duration {
    padded(raw(shard, target))
}

/// Shutdown with a save if it has save points, replacement, full sync: written by the one that it follows, sent, loaded.
fn raw(shard: &Shard<'_>, target: &Target) -> Duration {
    let Some(sample) = target.sample() else { return REPLACEMENT };
    let moving = assumed(sample.memory.used);
    let measured = shard.feeder(target).and_then(Target::sample).map(|feeder| feeder.persistence.last_save_took);
    let written = moving.max(measured.unwrap_or_default());
    let steps = [shutdown(sample), REPLACEMENT, written, moving, moving];
    steps.into_iter().fold(Duration::ZERO, Duration::saturating_add)
}

/// A shutdown with a save, if it has save points.
fn shutdown(sample: &Sample) -> Duration {
    let saves = sample.config.as_ref().is_ok_and(|config| !config.save.is_empty());
    if saves { assumed(sample.memory.used).max(sample.persistence.last_save_took) } else { Duration::ZERO }
}

/// Time to move that number of bytes at the assumed rate, in whole seconds, rounded up.
pub(super) fn assumed(bytes: Bytes) -> Duration {
    Duration::from_secs(bytes.0.div_ceil(BYTES_PER_SECOND))
}

pub(super) fn padded(time: Duration) -> Duration {
    time.saturating_mul(MARGIN_PERCENT) / 100
}

/// "11 min", "40 s": for people, rounded up.
pub fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::{
        domain::{
            fixtures,
            snapshot::{Observation, Snapshot},
        },
        topology,
    };

    fn of(snapshot: &Snapshot, steps: &[Step]) -> Duration {
        let steps: Vec<_> =
            steps.iter().map(|step| PlannedStep { step: step.clone(), reason: String::new() }).collect();
        unit(&topology::find(&fixtures::policy(), snapshot)[0], &steps).unwrap().0
    }

    fn evict() -> Step {
        Step::Evict { pod: fixtures::pod_name(1) }
    }

    fn used(snapshot: &mut Snapshot, bytes: Bytes) {
        for target in &mut snapshot.targets {
            let Observation::Seen(sample) = &mut target.redis else { panic!("a sample") };
            sample.memory.used = bytes;
        }
    }

    #[test]
    fn the_sum_is_what_the_constants_say() {
        let mut snapshot = fixtures::three_pods();
        used(&mut snapshot, Bytes::mib(100));
        // 30 + 3 x 2 s, and half as much again.
        assert_eq!(of(&snapshot, &[evict()]), Duration::from_secs(54));
        // The switchover, and the other replica that follows.
        let hand_over =
            |from, to| Step::Switchover { from: fixtures::pod_name(from), to: Some(fixtures::pod_name(to)) };
        let evict_old = Step::Evict { pod: fixtures::pod_name(0) };
        assert_eq!(of(&snapshot, &[hand_over(0, 1), evict_old.clone()]), Duration::from_secs(20));
        // A role that comes back: the restart and the way back belong to it.
        assert_eq!(of(&snapshot, &[hand_over(0, 1), evict_old, hand_over(1, 0)]), Duration::from_secs(20 + 54 + 20));
    }

    #[test]
    fn more_data_and_slow_saves_take_longer() {
        let mut snapshot = fixtures::three_pods();
        assert!(of(&snapshot, &[evict()]) < Duration::from_secs(300));
        used(&mut snapshot, Bytes::mib(100 << 10));
        let large = of(&snapshot, &[evict()]);
        assert!(large > Duration::from_secs(2 * 3600), "100 GiB take hours, not {large:?}");
        let Observation::Seen(sample) = &mut snapshot.targets[0].redis else { panic!("a sample") };
        sample.persistence.last_save_took = Duration::from_secs(8 * 3600);
        assert!(of(&snapshot, &[evict()]) > large + Duration::from_secs(8 * 3600), "the primary's own save counts");
    }

    #[test]
    fn times_are_shown_rounded_up() {
        let texts = [0, 119, 120, 121, 660].map(|seconds| shown(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0 s", "119 s", "2 min", "3 min", "11 min"]);
    }
}
