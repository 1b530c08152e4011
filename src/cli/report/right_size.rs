//! What smaller limits would save: the limit that holds less what is required, by the operator's own judgement of headroom.
//! Pure. Nobody lowers a limit but a person: the operator's only grow.

use std::time::Duration;

use super::value::RightSizing;
use crate::{
    assess::{
        Member, RSS_NEAR_LIMIT,
        headroom::{self, HeadroomVerdict},
    },
    domain::{bytes::Bytes, duration, sample::Sample},
};

/// A process that has run for less has not shown what a day needs: its busiest hour, the save of the night, its largest
/// fork. Chosen, not measured: a day is the shortest time after which load repeats itself.
pub(super) const MEASURED_FOR: Duration = Duration::from_secs(24 * 3600);

/// The limits of a set's members hold what the most demanding of them needs: any of them may become primary.
pub(super) fn of(members: &[&Member<'_>]) -> RightSizing {
    let rooms: Result<Vec<Room>, String> = members.iter().map(|member| room(member)).collect();
    let (rooms, need) = match rooms {
        Ok(rooms) => match rooms.iter().map(|room| room.need).max() {
            Some(need) => (rooms, need),
            None => return unknown("no pod was looked at"),
        },
        Err(why) => return unknown(&why),
    };
    let saves: Bytes = rooms.iter().map(|room| room.have.saturating_sub(need)).sum();
    let small = rooms.iter().filter(|room| room.have < need).count();
    let why = match (saves, small) {
        (Bytes::ZERO, 0) => format!("nothing to save: {need} is needed and given"),
        (_, 0) => format!("a limit of {need} would be enough for each of {}", rooms.len()),
        (_, small) => format!("{small} of {} limits are below the {need} that is needed", rooms.len()),
    };
    RightSizing { limit_bytes: Some(need.0), saves_bytes: Some(saves.0), why }
}

fn unknown(why: &str) -> RightSizing {
    RightSizing { limit_bytes: None, saves_bytes: None, why: format!("not known yet: {why}") }
}

/// The limit of one member, and what it needs.
struct Room {
    have: Bytes,
    need: Bytes,
}

fn room(member: &Member<'_>) -> Result<Room, String> {
    let target = member.target;
    let pod = &target.pod.name;
    let Some(sample) = target.sample() else { return Err(format!("{pod} told nothing: {}", target.why_silent())) };
    let (have, need) = match member.headroom {
        HeadroomVerdict::Sufficient { have, need } | HeadroomVerdict::Insufficient { have, need } => (have, need),
        HeadroomVerdict::NotMeasured { .. } => {
            return Err(format!("what {pod} takes is not measured for long enough yet"));
        }
        HeadroomVerdict::NoLimit => return Err(format!("{pod} has no limit")),
        HeadroomVerdict::Unbounded => return Err(format!("maxmemory of {pod} is 0, and no limit is enough for that")),
        HeadroomVerdict::Unknown => return Err(format!("what {pod} needs could not be judged")),
    };
    if !sample.memory.is_measured() {
        return Err(format!("{pod} has not measured itself"));
    }
    let ran = sample.server.uptime;
    if ran < MEASURED_FOR {
        let (ran, least) = (duration::format(ran), duration::format(MEASURED_FOR));
        return Err(format!("{pod} has run for {ran}, and less than {least} shows too little"));
    }
    Ok(Room { have, need: need.max(held(sample)) })
}

/// Below this a limit would be near what the process holds now, however much of that is waste: it must be below the share
/// from which RssNearLimit is found, bear a fork beside it, and a new pod must be able to load the data.
fn held(sample: &Sample) -> Bytes {
    let rss = sample.memory.rss;
    let near = u128::from(rss.0) * 100 / u128::from(RSS_NEAR_LIMIT.0.max(1)) + 1;
    let clear = Bytes(u64::try_from(near).unwrap_or(u64::MAX));
    let forked = rss + headroom::fork_need(sample);
    clear.max(forked).max(headroom::template_floor(&sample.memory)).round_up_mib()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        assess::{AssessSettings, Assessment},
        domain::{
            finding::FindingCode,
            fixtures,
            policy::Policy,
            snapshot::{Observation, ProbeFailure, Snapshot},
        },
    };

    fn judged(policy: &Policy, snapshot: &Snapshot) -> RightSizing {
        let look = Assessment::of(policy, snapshot, &AssessSettings::default());
        let members: Vec<&Member<'_>> = snapshot.targets.iter().filter_map(|target| look.member(target)).collect();
        of(&members)
    }

    fn amounts(limit: u64, saved: u64) -> (Option<u64>, Option<u64>) {
        (Some(Bytes::mib(limit).0), Some(Bytes::mib(saved).0))
    }

    #[test]
    fn three_limits_of_a_gibibyte_over_half_a_gibibyte_of_maxmemory() {
        let found = judged(&fixtures::policy(), &fixtures::three_pods());
        assert_eq!((found.limit_bytes, found.saves_bytes), amounts(768, 3 * 256), "{}", found.why);
        assert_eq!(found.why, "a limit of 768 MiB would be enough for each of 3");
    }

    #[test]
    fn the_most_demanding_member_decides_for_all() {
        let mut snapshot = fixtures::three_pods();
        snapshot.targets[1].sample_mut().unwrap().memory.maxmemory = Bytes::mib(600);
        let found = judged(&fixtures::policy(), &snapshot);
        assert_eq!((found.limit_bytes, found.saves_bytes), amounts(900, 3 * 124));
    }

    #[test]
    fn what_is_resident_is_never_cut_into() {
        let mut snapshot = fixtures::three_pods();
        snapshot.targets[2].sample_mut().unwrap().memory.rss = Bytes::mib(760);
        let found = judged(&fixtures::policy(), &snapshot);
        assert_eq!((found.limit_bytes, found.saves_bytes), amounts(951, 3 * 73));
    }

    #[test]
    fn a_limit_that_is_too_small_saves_nothing_and_is_named() {
        let mut snapshot = fixtures::three_pods();
        for target in &mut snapshot.targets {
            target.sample_mut().unwrap().memory.maxmemory = Bytes::mib(800);
        }
        let found = judged(&fixtures::policy(), &snapshot);
        assert_eq!(
            (found.saves_bytes, found.why.as_str()),
            (Some(0), "3 of 3 limits are below the 1200 MiB that is needed")
        );
    }

    type Change = fn(&mut Snapshot);

    #[rstest::rstest]
    #[case::young(|s: &mut Snapshot| s.targets[1].sample_mut().unwrap().server.uptime = Duration::from_secs(24 * 3600 - 1), "redis-1 has run for 23h59m59s, and less than 24h shows too little")]
    #[case::unbounded(|s: &mut Snapshot| s.targets[0].sample_mut().unwrap().memory.maxmemory = Bytes::ZERO, "maxmemory of redis-0 is 0")]
    #[case::unmeasured(|s: &mut Snapshot| s.targets[0].sample_mut().unwrap().memory.rss = Bytes::ZERO, "redis-0 has not measured itself")]
    #[case::unlimited(|s: &mut Snapshot| if let Ok(c) = &mut s.targets[2].pod.container { (c.live_limit, c.spec_limit) = (None, None) }, "redis-2 has no limit")]
    #[case::silent(|s: &mut Snapshot| s.targets[1].redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into())), "redis-1 told nothing: no answer")]
    #[case::nobody(|s: &mut Snapshot| s.targets.clear(), "no pod was looked at")]
    fn what_is_not_known_is_said_and_never_zero(#[case] change: Change, #[case] why: &str) {
        let mut snapshot = fixtures::three_pods();
        change(&mut snapshot);
        let found = judged(&fixtures::policy(), &snapshot);
        assert_eq!((found.limit_bytes, found.saves_bytes), (None, None));
        assert!(found.why.starts_with("not known yet: ") && found.why.contains(why), "{}", found.why);
    }

    proptest! {
        /// Who follows the advice gets no finding for it.
        #[test]
        fn the_limit_that_is_named_brings_no_finding(
            maxmemory in 1..1_u64 << 40, used in 1..1_u64 << 40, rss in 1..1_u64 << 40, copied in 0..1_u64 << 36,
        ) {
            let (policy, mut snapshot) = (fixtures::policy(), fixtures::three_pods());
            for target in &mut snapshot.targets {
                let sample = target.sample_mut().unwrap();
                (sample.memory.maxmemory, sample.memory.used, sample.memory.rss) = (Bytes(maxmemory), Bytes(used), Bytes(rss));
                sample.persistence.copy_on_write = Bytes(copied);
            }
            let limit = Bytes(judged(&policy, &snapshot).limit_bytes.unwrap());
            for target in &mut snapshot.targets {
                let container = target.pod.container.as_mut().unwrap();
                (container.live_limit, container.spec_limit) = (Some(limit), Some(limit));
            }
            prop_assert_eq!(judged(&policy, &snapshot).saves_bytes, Some(0));
            let look = Assessment::of(&policy, &snapshot, &AssessSettings::default());
            let of_limits = [FindingCode::HeadroomInsufficient, FindingCode::RssNearLimit];
            let found: Vec<_> = look.findings(&[], None).into_iter().filter(|f| of_limits.contains(&f.code)).collect();
            prop_assert!(found.is_empty(), "{limit}: {found:?}");
        }
    }
}
