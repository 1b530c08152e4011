//! Kills by the kernel of servers that had loaded: what the limit should bear was too much, so `maxmemory` is lowered, and
//! rises again a step a day while nobody is killed.

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::{
        bytes::Bytes,
        oom::{Cause, PodKills},
    },
    plan::Context,
    topology::Shard,
};

/// Each kill takes this share of the value away, in percent.
const EACH_PERCENT: u32 = 10;
/// … and no more than this many do: what goes on then has another reason.
const MOST: u32 = 3;
/// After this time without a kill a step is given back.
const GIVEN_BACK_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// How much lower `maxmemory` has to be after kills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relief {
    /// What is left of the value, in percent.
    percent: u32,
    /// When the last kill was.
    pub(super) killed_at: Timestamp,
    /// Why, for people.
    pub(super) why: String,
}

impl Relief {
    /// What is left of that value, in whole mebibytes.
    pub(super) fn of(&self, value: Bytes) -> Bytes {
        value.percent(self.percent).round_down_mib()
    }
}

/// What the kills of that set's pods ask for; of members that differ the most. `None`: nothing.
pub(super) fn relief(ctx: &Context<'_>, shard: &Shard<'_>) -> Option<Relief> {
    let of_it = |kills: &&PodKills| shard.member(&kills.pod).is_some_and(|target| target.pod.uid == kills.pod_uid);
    let asked = ctx.look.kills.iter().filter(of_it).map(|kills| (steps(kills, ctx.now), kills));
    let (steps, kills) = asked.max_by_key(|(steps, _)| *steps).filter(|(steps, _)| *steps > 0)?;
    Some(Relief {
        percent: 100 - EACH_PERCENT * steps,
        killed_at: kills.last_at,
        why: format!(
            "the kernel killed {} ({}): maxmemory is {} % lower, and rises by {EACH_PERCENT} % after each day without a kill",
            kills.pod,
            kills.cause,
            EACH_PERCENT * steps
        ),
    })
}

fn steps(kills: &PodKills, now: Timestamp) -> u32 {
    let bounded_by_maxmemory = match kills.cause {
        Cause::Headroom | Cause::Fork | Cause::ClientBuffers | Cause::ReplicaBuffers => true,
        Cause::Loading | Cause::NoMaxmemory | Cause::LimitBelowData | Cause::Unknown => false,
    };
    let quiet = now.duration_since(kills.last_at).as_secs().max(0) / GIVEN_BACK_EVERY.as_secs();
    let given_back = u32::try_from(quiet).unwrap_or(u32::MAX);
    if bounded_by_maxmemory { kills.times.min(MOST).saturating_sub(given_back) } else { 0 }
}
