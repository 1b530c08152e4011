//! Writers come through a proxy of other people, whose checks find out by themselves who is primary: after an exchange the old
//! primary is restarted when the proxy leads to the new one.

use pretty_assertions::assert_eq;
use rstest::rstest;

use redis_memory_operator::domain::{
    blocked::Blocked,
    proxy::{Proxy, Through},
    snapshot::ProbeFailure,
};

use super::{sentinels::watched, walks::until_it_ends, *};

const SERVICE: &str = "redis-haproxy";
const PODS: [&str; 2] = ["redis-haproxy-a", "redis-haproxy-b"];

/// Whom a pod of the proxy leads to.
#[derive(Clone, Copy)]
enum Met {
    Member(usize),
    Nobody,
    Unsaid,
}
use Met::{Member, Nobody, Unsaid};

fn lead(world: &mut World, met: [Met; 2]) {
    let through = PODS.into_iter().zip(met).map(|(pod, met)| {
        let met = match met {
            Member(n) => Ok(world.sample(n).run_id.clone()),
            Nobody => Err(ProbeFailure::Unreachable("the connection was closed".into())),
            Unsaid => Err(ProbeFailure::AuthenticationFailed("it wants another password".into())),
        };
        Through { pod: pod.into(), met }
    });
    let (through, fronts) = (Some(through.collect()), (0..3).map(fixtures::pod_name).collect());
    world.snapshot.proxies = vec![Proxy { service: SERVICE.into(), fronts, through }];
}

/// The set, with that proxy in front of it, right after the exchange: redis-2 is primary, and the proxy does not know it yet.
fn exchanged(met: [Met; 2]) -> (World, Journal) {
    let mut world = watched();
    lead(&mut world, met);
    let journal = world.reach(|step| matches!(step, Step::Evict { pod } if *pod == fixtures::pod_name(0)));
    assert_eq!(world.primary, 2);
    (world, journal)
}

/// What is in the way once it is written down since when; `None`: nothing, the old primary is restarted.
fn waits(world: &World, journal: &mut Journal) -> Option<Blocked> {
    for _ in 0..3 {
        match advance::next(&world.ctx(), journal, false) {
            Next::Record(next) => *journal = *next,
            Next::Gate(blocked, _) => return blocked.into_iter().next(),
            Next::Act(_, effect) => {
                assert!(matches!(&*effect, Effect::Evict { peer } if peer.pod == fixtures::pod_name(0)), "{effect:?}");
                return None;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it writes and writes: {journal:?}")
}

#[rstest]
#[case::none_has_noticed([Member(0), Member(0)], "still leads its clients to redis-0 (redis-haproxy-a), and redis-2 is primary")]
#[case::one_has_noticed([Member(2), Member(0)], "still leads its clients to redis-0 (redis-haproxy-b)")]
#[case::to_another_replica([Member(1), Member(2)], "still leads its clients to redis-1 (redis-haproxy-a)")]
#[case::to_nobody([Nobody, Nobody], "leads its clients to nobody (redis-haproxy-a: Unreachable)")]
fn the_old_primary_goes_when_the_proxy_leads_to_the_new_one(#[case] after: [Met; 2], #[case] said: &str) {
    let (mut world, mut journal) = exchanged([Member(0), Member(0)]);
    assert_eq!(journal.proxies, [SERVICE], "written before the exchange: who takes over knows it");
    lead(&mut world, after);
    for _ in 0..3 {
        let blocked = waits(&world, &mut journal).expect("it waits");
        assert_eq!(blocked.reason, BlockReason::ClientsPinned);
        assert!(blocked.text.contains(said), "{}", blocked.text);
        world.tick(60);
    }
    lead(&mut world, [Member(2), Member(2)]);
    assert_eq!(waits(&world, &mut journal), None);
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
}

/// It is no obstacle that lasts for ever: it ends as an obstacle of a state does, and the slot is given back.
#[test]
fn a_proxy_that_never_notices_ends_it() {
    let (mut world, journal) = exchanged([Member(0), Member(0)]);
    lead(&mut world, [Member(0), Member(0)]);
    let record = until_it_ends(&mut world, journal);
    assert_eq!(record.outcome, Some(Outcome::GaveUp));
    assert!(record.message.contains("ClientsPinned: the proxy behind Service"), "{}", record.message);
}

/// Another password, another port, TLS of its own: its checks have their time, and no more.
#[rstest]
#[case::neither_tells([Unsaid, Unsaid], [Unsaid, Unsaid])]
#[case::one_does_not_tell([Member(0), Unsaid], [Member(2), Unsaid])]
#[case::nobody_was_there_before([Nobody, Nobody], [Nobody, Nobody])]
fn one_that_does_not_tell_has_the_time_of_its_checks(#[case] before: [Met; 2], #[case] after: [Met; 2]) {
    let (mut world, mut journal) = exchanged(before);
    lead(&mut world, after);
    for _ in 0..2 {
        let blocked = waits(&world, &mut journal).expect("it waits");
        assert_eq!(blocked.reason, BlockReason::ClientsPinned);
        let said = "does not tell whom it leads its clients to (redis-haproxy-";
        assert!(blocked.text.contains(said) && blocked.text.contains("have 10 s"), "{}", blocked.text);
        world.tick(4);
    }
    world.tick(2);
    assert_eq!(waits(&world, &mut journal), None, "after 10 s");
}

/// One for readers, or one whose way writers did not come before: nothing of it is known.
#[test]
fn one_that_did_not_lead_to_the_primary_before_is_not_waited_for() {
    let (mut world, mut journal) = exchanged([Member(1), Member(2)]);
    assert_eq!(journal.proxies, [""; 0]);
    lead(&mut world, [Member(0), Member(1)]);
    assert_eq!(waits(&world, &mut journal), None);
}

/// It has no pods, so nobody comes through it.
#[test]
fn one_without_pods_is_nobodys_way() {
    let mut world = watched();
    lead(&mut world, [Nobody, Nobody]);
    world.snapshot.proxies[0].through = Some(Vec::new());
    let journal = world.begin();
    let record = world.walk(journal, None);
    assert_eq!(record.outcome, Some(Outcome::Succeeded), "{}", record.message);
}

#[rstest]
#[case::that_tells([Member(0), Member(0)], "before this the proxy behind Service redis-haproxy must lead clients to the new primary")]
#[case::that_does_not(
    [Member(0), Unsaid],
    "does not tell the operator whom it leads clients to (redis-haproxy-b: AuthenticationFailed): before this its own checks \
     have 10 s to notice the new primary"
)]
fn the_plan_says_how_the_proxy_is_waited_for(#[case] met: [Met; 2], #[case] said: &str) {
    let mut world = watched();
    lead(&mut world, met);
    let steps = begin::consider(&world.ctx()).plan.expect("due").steps;
    let old = |step: &Step| matches!(step, Step::Evict { pod } if *pod == fixtures::pod_name(0));
    let reasons: Vec<&String> = steps.iter().filter(|it| old(&it.step)).map(|it| &it.reason).collect();
    assert!(reasons.len() == 1 && reasons[0].contains(said) && reasons[0].len() <= 512, "{reasons:?}");
    let elsewhere = steps.iter().filter(|it| !old(&it.step)).any(|it| it.reason.contains("proxy"));
    assert!(!elsewhere, "{steps:?}");
}
