//! What a full server does, by policy and purpose.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::domain::purpose::Purpose::{self, *};

#[test]
fn eviction_policy_unsafe() {
    let allow = |allowed: &[&str]| {
        let allowed: Vec<String> = allowed.iter().map(|p| (*p).to_owned()).collect();
        case(move |c| c.policy.eviction_allowed = allowed)
    };
    assert_eq!(allow(&[]), []);
    assert_eq!(allow(&["noeviction", "allkeys-lru"]), []);
    let findings = allow(&["allkeys-lfu", "volatile-ttl"]);
    assert_eq!(codes(&findings), [EvictionPolicyUnsafe; 3]);
    assert_eq!(findings[0].evidence, "maxmemory-policy is allkeys-lru, allowed: allkeys-lfu, volatile-ttl");
}

#[test]
fn what_a_server_writes_as_its_policy_is_not_repeated_unfiltered() {
    let findings = case(|c| {
        c.policy.eviction_allowed = vec!["noeviction".into()];
        c.sample(0).memory.maxmemory_policy = "<script>\u{1b}[31m EVIL".into();
    });
    let finding = findings.iter().find(|f| f.pod == pod(0)).unwrap();
    assert!(finding.evidence.starts_with("maxmemory-policy is script31m,"), "{}", finding.evidence);
}

/// Keys, and those with a time to live.
type Keys = (u64, u64);

#[rstest]
#[case::as_before(None, "noeviction", (100, 0), None)]
#[case::at_random_fits_no_purpose(None, "allkeys-random", (100, 0), Some((Severity::Warning, "in use")))]
#[case::without_a_purpose_the_rest_is_allowed(None, "volatile-random", (100, 0), None)]
#[case::fits(Some(Cache), "allkeys-lru", (100, 0), None)]
#[case::full_is_normal(Some(Cache), "noeviction", (100, 100), Some((Severity::Critical, "writes fail")))]
#[case::at_random(Some(Cache), "allkeys-random", (100, 0), Some((Severity::Warning, "in use")))]
#[case::enough_with_ttl(Some(Session), "volatile-lru", (100, 10), None)]
#[case::too_few_with_ttl(Some(Session), "volatile-lru", (1000, 99), Some((Severity::Critical, "fewer than 10 %")))]
#[case::none_with_ttl(Some(Cache), "volatile-ttl", (1, 0), Some((Severity::Critical, "no key has")))]
#[case::no_keys(Some(Cache), "volatile-ttl", (0, 0), None)]
#[case::a_store_keeps_all(Some(Store), "noeviction", (100, 0), None)]
#[case::a_store_loses_keys(Some(Store), "allkeys-lru", (100, 0), Some((Severity::Critical, "keys go that must stay")))]
#[case::a_queue_loses_some(Some(Queue), "volatile-lru", (100, 1), Some((Severity::Warning, "before their time")))]
#[case::a_queue_loses_none(Some(Queue), "volatile-lru", (100, 0), None)]
#[case::not_known(Some(Store), "something-new", (100, 0), None)]
#[case::not_said(Some(Store), "", (100, 0), None)]
fn the_purpose_decides_which_policies_are_findings(
    #[case] purpose: Option<Purpose>,
    #[case] policy: &str,
    #[case] (keys, with_ttl): Keys,
    #[case] expected: Option<(Severity, &str)>,
) {
    let judged = |allowed: &[&str]| {
        let findings = case(|c| {
            c.policy.purpose = purpose;
            c.policy.eviction_allowed = allowed.iter().map(|it| (*it).to_owned()).collect();
            let sample = c.sample(1);
            sample.memory.maxmemory_policy = policy.into();
            (sample.keys, sample.keys_with_ttl) = (keys, with_ttl);
        });
        let of_one = findings.into_iter().filter(|f| f.code == EvictionPolicyUnsafe && f.pod == pod(1));
        of_one.collect::<Vec<_>>()
    };
    match (judged(&[]).as_slice(), expected) {
        ([], None) => {}
        ([finding], Some((severity, says))) => {
            assert_eq!(finding.severity, severity);
            assert!(finding.evidence.contains(says), "{}", finding.evidence);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(judged(&[policy]), [], "what people allow is none");
}

/// Hits, misses, evicted keys.
type Counted = (u64, u64, u64);

#[rstest]
#[case::all_are_asked_for_alike("allkeys-lfu", (190, 810, 800), Some("fewer than 20 % of the lookups"))]
#[case::just_below_half("allkeys-lfu", (499, 501, 100), Some("fewer than 50 % of the lookups"))]
#[case::none_is_found("allkeys-lfu", (0, 1000, 1000), Some("fewer than 10 % of the lookups"))]
#[case::a_hot_share("allkeys-lfu", (500, 500, 500), None)]
#[case::all_of_it("allkeys-lfu", (u64::MAX, u64::MAX, u64::MAX), None)]
#[case::it_has_evicted_little("allkeys-lfu", (190, 810, 99), None)]
#[case::it_is_hardly_asked("allkeys-lfu", (0, 99, 1000), None)]
#[case::it_is_never_asked("allkeys-lfu", (0, 0, 1000), None)]
#[case::another_policy("allkeys-lru", (190, 810, 800), None)]
#[case::not_all_keys("volatile-lfu", (190, 810, 800), None)]
fn by_frequency_without_hot_keys(#[case] policy: &str, #[case] counted: Counted, #[case] says: Option<&str>) {
    let judged = |change: Change| {
        let findings = case(|c| {
            let sample = c.sample(0);
            sample.memory.maxmemory_policy = policy.into();
            sample.keys = 100;
            let (hits, misses, evicted) = counted;
            sample.lookups = Some(Lookups { hits, misses, evicted });
            change(c);
        });
        findings.into_iter().find(|finding| finding.code == LfuWithoutHotKeys)
    };
    match (judged(|_| {}), says) {
        (Some(finding), Some(says)) => {
            assert_eq!(finding.severity, Severity::Info);
            assert!(finding.evidence.contains(says), "{}", finding.evidence);
        }
        (found, says) => assert_eq!((found, says), (None, None)),
    }
    let nothing: [Change; 5] = [
        |c| c.sample(0).lookups = None,
        |c| c.sample(0).keys = 0,
        |c| c.sample(0).unread = vec!["db0".into()],
        |c| c.policy.eviction_allowed = vec!["allkeys-lfu".into(), "allkeys-lru".into()],
        |c| c.sample(0).replication.role = c.sample(1).replication.role.clone(),
    ];
    for change in nothing {
        assert_eq!(judged(change), None);
    }
}

#[rstest]
#[case(None, "allkeys-lru", false)]
#[case(Some(Cache), "allkeys-lru", false)]
#[case(Some(Cache), "noeviction", true)]
#[case(Some(Store), "allkeys-lru", true)]
fn full_is_normal_where_any_key_may_go(#[case] purpose: Option<Purpose>, #[case] policy: &str, #[case] said: bool) {
    let findings = case(|c| {
        c.policy.purpose = purpose;
        let memory = &mut c.sample(0).memory;
        (memory.maxmemory_policy, memory.used) = (policy.into(), Bytes::mib(480));
    });
    assert_eq!(codes(&findings).contains(&UtilizationCritical), said, "{findings:#?}");
}

/// The primary, which used this much and grew by a mebibyte every 15 s for the last ten minutes: 240 an hour.
fn growing(used: u64, change: Change) -> Option<Finding> {
    let findings = case(|c| {
        for (before, reading) in (0..).zip(c.snapshot.targets[0].history.iter_mut().rev()) {
            reading.used = Bytes::mib(used - before);
        }
        c.limit(0, 4096);
        let memory = &mut c.sample(0).memory;
        (memory.used, memory.maxmemory) = (Bytes::mib(used), Bytes::mib(1000));
        memory.maxmemory_policy = "noeviction".into();
        change(c);
    });
    findings.into_iter().find(|finding| finding.code == EvictionStopsWrites)
}

#[rstest]
#[case(999, Severity::Critical, "it is full")]
#[case(880, Severity::Critical, "full in about 30 min at 240 MiB/h, as it grew for the last 10m")]
#[case(400, Severity::Critical, "full in about 2 h at 240 MiB/h")]
fn it_is_told_when_writes_will_be_refused(#[case] used: u64, #[case] severity: Severity, #[case] says: &str) {
    let finding = growing(used, |_| {}).expect("it is said");
    assert_eq!(finding.severity, severity, "{}", finding.evidence);
    assert!(finding.evidence.contains(says), "{}", finding.evidence);
}

/// The finding and what is said of writes rest on one judgement.
#[rstest]
#[case::noeviction("noeviction", 100, 50, 990, true, Some("are refused"))]
#[case::by_nothing_that_may_go(
    "volatile-lru",
    100,
    0,
    990,
    true,
    Some("no key has a time to live: it is full, and writes that need memory are refused")
)]
#[case::no_keys_at_all("volatile-lru", 0, 0, 990, true, Some("are refused"))]
#[case::the_last_keys("volatile-lru", 100, 5, 990, false, Some("are refused as soon as those are evicted"))]
#[case::many_may_go("volatile-lru", 100, 50, 1000, false, None)]
#[case::all_may_go("allkeys-lru", 100, 0, 1000, false, None)]
#[case::not_full("noeviction", 100, 50, 989, false, None)]
fn a_full_server_refuses_writes_in_one_judgement(
    #[case] policy: &str,
    #[case] keys: u64,
    #[case] with_ttl: u64,
    #[case] used: u64,
    #[case] refuses: bool,
    #[case] says: Option<&str>,
) {
    let change = |c: &mut Case| {
        c.limit(0, 4096);
        c.snapshot.targets[0].history.clear();
        let sample = c.sample(0);
        (sample.memory.used, sample.memory.maxmemory) = (Bytes::mib(used), Bytes::mib(1000));
        sample.memory.rss = Bytes::mib(used);
        sample.memory.maxmemory_policy = policy.into();
        (sample.keys, sample.keys_with_ttl) = (keys, with_ttl);
    };
    let mut changed = None;
    let findings = case(|c| {
        change(c);
        changed = Some(c.sample(0).clone());
    });
    assert_eq!(crate::assess::eviction::refuses_writes(&changed.unwrap()), refuses);
    let finding = findings.iter().find(|finding| finding.code == EvictionStopsWrites);
    match (finding, says) {
        (None, None) => {}
        (Some(finding), Some(says)) => assert!(finding.evidence.ends_with(says), "{}", finding.evidence),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::evicts(999, |c: &mut Case| c.sample(0).memory.maxmemory_policy = "allkeys-lru".into())]
#[case::enough_keys_expire(999, |c: &mut Case| {
    c.sample(0).memory.maxmemory_policy = "volatile-lru".into();
    (c.sample(0).keys, c.sample(0).keys_with_ttl) = (100, 50);
})]
#[case::buffers_are_not_counted(999, |c: &mut Case| {
    c.sample(0).memory.not_counted_for_evict = Bytes::mib(900);
    c.snapshot.targets[0].history.clear();
})]
#[case::no_bound(999, |c: &mut Case| c.sample(0).memory.maxmemory = Bytes::ZERO)]
#[case::bound_not_read(999, |c: &mut Case| c.sample(0).unread = vec!["maxmemory".into()])]
#[case::loading(999, |c: &mut Case| c.sample(0).persistence.loading = true)]
#[case::a_replica(999, |c: &mut Case| c.sample(0).replication.role = fixtures::replica_role())]
#[case::does_not_grow(880, |c: &mut Case| c.snapshot.targets[0].history.iter_mut().for_each(|r| r.used = Bytes::mib(880)))]
#[case::too_far_away(100, |c: &mut Case| c.sample(0).memory.maxmemory = Bytes::mib(2000))]
#[case::another_process(880, |c: &mut Case| c.sample(0).run_id = fixtures::run_id(9))]
fn no_refusal_is_foretold(#[case] used: u64, #[case] change: Change) {
    assert_eq!(growing(used, change), None);
}

#[test]
fn a_cache_that_saves_pays_for_nothing() {
    let saves = |purpose, change: Change| {
        let findings = case(|c| {
            c.policy.purpose = purpose;
            c.sample(0).config.as_mut().unwrap().save = "3600 1".into();
            change(c);
        });
        codes(&findings).contains(&PersistenceUnneeded)
    };
    assert!(saves(Some(Cache), |_| {}));
    assert!(!saves(None, |_| {}) && !saves(Some(Session), |_| {}));
    assert!(!saves(Some(Cache), |c| c.sample(0).config.as_mut().unwrap().save.clear()));
    let (mut policy, snapshot) = fixtures::standalone();
    policy.purpose = Some(Cache);
    let codes_of = |policy: &crate::domain::policy::Policy| {
        codes(&Assessment::of(policy, &snapshot, &AssessSettings::default()).findings(&[], None))
    };
    assert!(!codes_of(&policy).contains(&PersistenceUnneeded), "its restart in place needs what is on disk");
    policy.restart.allow_downtime = false;
    assert!(codes_of(&policy).contains(&PersistenceUnneeded));
}

#[rstest]
#[case(None, "allkeys-lru", false)]
#[case(None, "noeviction", true)]
#[case(Some(Cache), "noeviction", false)]
#[case(Some(Store), "allkeys-lru", true)]
fn what_is_meant_to_stay_is_kept(#[case] purpose: Option<Purpose>, #[case] policy: &str, #[case] missing: bool) {
    let findings = case(|c| {
        c.policy.purpose = purpose;
        for n in 0..3 {
            let sample = c.sample(n);
            sample.memory.maxmemory_policy = policy.into();
            sample.config.as_mut().unwrap().maxmemory_policy = policy.into();
        }
    });
    assert_eq!(codes(&findings).contains(&PersistenceMissing), missing, "{findings:#?}");
}
