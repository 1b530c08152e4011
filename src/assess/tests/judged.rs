//! Fragmentation, efficiency, utilization, eviction and forks.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;

#[rstest]
#[case(129, None)]
#[case(130, Some(FragmentationModerate))]
#[case(150, Some(FragmentationSerious))]
#[case(200, Some(FragmentationCritical))]
#[case(250, Some(FragmentationRestartDue))]
fn fragmentation_bands(#[case] percent: u32, #[case] code: Option<Code>) {
    let findings = case(|c| c.ratio(1, percent));
    assert_eq!(codes(&findings), Vec::from_iter(code));
}

#[test]
fn the_evidence_of_fragmentation_is_quantised() {
    let findings = case(|c| c.ratio(1, 291));
    assert_eq!(
        findings[0].evidence,
        "ratio 2.9, 2.50 or more for 10m: RSS about 200 MiB, used about 69 MiB, waste about 130 MiB, mostly half-empty \
         slabs (about 120 MiB); a restart should give back about 110 MiB; the container limit is reached at ratio 14.8"
    );
    let noise = case(|c| {
        c.ratio(1, 293);
        for reading in &mut c.snapshot.targets[1].history {
            reading.rss = reading.rss + Bytes(700_000);
            reading.used = reading.used + Bytes(100_000);
        }
    });
    assert_eq!(noise, findings);
}

#[rstest]
#[case(|_: &mut Case| {}, "the operator restarts it")]
#[case(|c: &mut Case| c.policy.mode = Mode::Observe, "in mode Enforce the operator would restart")]
#[case(|c: &mut Case| c.policy.suspend = true, "spec.suspend is set")]
#[case(|c: &mut Case| c.policy.fragmentation.restart_allowed = false, "set spec.fragmentation.remedies to [Restart]")]
#[case(|c: &mut Case| c.snapshot.rights.evict = Right::Denied, "lacks the right to evict")]
#[case(|c: &mut Case| c.snapshot.claimed_by_other = vec![(fixtures::set_uid(), "older".into())], "policy older, which is older")]
#[case(|c: &mut Case| c.sample(0).memory.allocator_rss = Bytes::mib(150), "MEMORY PURGE")]
#[case(|c: &mut Case| c.sample(0).memory.rss_overhead = Bytes::mib(150), "restart need not help")]
fn the_remedy_of_fragmentation_says_what_follows(#[case] change: Change, #[case] says: &str) {
    let findings = case(|c| {
        c.fragmented();
        change(c);
    });
    let finding = findings.iter().find(|f| f.code == FragmentationRestartDue && f.pod == pod(0)).unwrap();
    assert!(finding.remedy.contains(says), "{:?} does not say {says:?}", finding.remedy);
}

#[test]
fn fragmentation_that_is_not_due_says_why() {
    let falling = case(|c| {
        c.ratio(1, 400);
        c.snapshot.targets[1].history.last_mut().unwrap().ratio = Ratio(300);
    });
    assert!(only(&falling, FragmentationCritical).remedy.contains("is falling"));
    let small = case(|c| {
        c.ratio(1, 250);
        for reading in &mut c.snapshot.targets[1].history {
            reading.rss = Bytes::mib(187);
        }
    });
    assert!(only(&small, FragmentationCritical).remedy.contains("less than minimumWaste 100 MiB"));
    let serious = case(|c| c.ratio(1, 160));
    assert!(only(&serious, FragmentationSerious).remedy.contains("from ratio 2.50 on a restart is due"));
}

#[test]
fn memory_efficiency_low() {
    let with_dataset = |mib: u64| {
        case(move |c| {
            for reading in &mut c.snapshot.targets[0].history {
                (reading.used, reading.rss) = (Bytes::mib(300), Bytes::mib(340));
            }
            let memory = &mut c.sample(0).memory;
            (memory.used, memory.rss, memory.dataset) = (Bytes::mib(300), Bytes::mib(340), Bytes::mib(mib));
        })
    };
    assert_eq!(with_dataset(170), []);
    let findings = with_dataset(166);
    assert_eq!(codes(&findings), [MemoryEfficiencyLow]);
    assert!(findings[0].remedy.contains("a restart alone would not mend it"));
}

#[rstest]
#[case("volatile-lru", 74, None)]
#[case("volatile-lru", 75, Some(UtilizationWarning))]
#[case("noeviction", 84, Some(UtilizationWarning))]
#[case("noeviction", 85, Some(UtilizationCritical))]
#[case("allkeys-lru", 99, None)]
#[case("allkeys-random", 99, None)]
fn utilization(#[case] policy: &str, #[case] percent: u64, #[case] code: Option<Code>) {
    let findings = case(|c| {
        c.limit(0, 4096);
        let memory = &mut c.sample(0).memory;
        memory.maxmemory_policy = policy.into();
        memory.maxmemory = Bytes::mib(1000);
        memory.used = Bytes::mib(10 * percent);
    });
    let found: Vec<Code> =
        codes(&findings).into_iter().filter(|code| [UtilizationWarning, UtilizationCritical].contains(code)).collect();
    assert_eq!(found, Vec::from_iter(code));
}

#[test]
fn fork_slow() {
    assert_eq!(case(|c| c.sample(0).latest_fork = Duration::from_millis(10)), []);
    let findings = case(|c| c.sample(0).latest_fork = Duration::from_micros(10_001));
    assert_eq!(codes(&findings), [ForkSlow]);
    let noisy = case(|c| c.sample(0).latest_fork = Duration::from_millis(1234));
    assert!(noisy[0].evidence.contains("about 1200 ms"), "{}", noisy[0].evidence);
    let hundred = case(|c| c.sample(0).latest_fork = Duration::from_millis(104));
    assert!(hundred[0].evidence.contains("about 100 ms"), "{}", hundred[0].evidence);
}

#[rstest]
#[case(1_000, 20, Severity::Info)]
#[case(1_000, 21, Severity::Warning)]
#[case(25_000, 500, Severity::Info)]
#[case(25_000, 501, Severity::Warning)]
fn a_fork_in_proportion_to_the_size_is_worth_knowing(
    #[case] megabytes: u64,
    #[case] millis: u64,
    #[case] severity: Severity,
) {
    let findings = case(|c| {
        let sample = c.sample(0);
        sample.memory.rss = Bytes(megabytes * 1_000_000);
        sample.latest_fork = Duration::from_millis(millis);
    });
    let fork = findings.iter().find(|finding| finding.code == ForkSlow);
    assert_eq!(fork.map(|finding| finding.severity), Some(severity));
}

#[test]
fn what_could_not_be_read_is_not_judged() {
    let unread = |field: &'static str| move |c: &mut Case| c.sample(0).unread = vec![field.into()];
    let hidden = case(|c| {
        c.sample(0).memory.maxmemory = Bytes::ZERO;
        unread("maxmemory")(c);
    });
    assert!(!codes(&hidden).contains(&MaxmemoryUnset), "{hidden:#?}");
    let nameless = case(|c| {
        c.fragmented();
        c.sample(0).run_id = "".into();
        c.snapshot.targets[0].history.iter_mut().for_each(|reading| reading.run_id = "".into());
    });
    assert!(!nameless.iter().any(|finding| finding.code == FragmentationRestartDue && finding.pod == pod(0)));
}

#[test]
fn a_container_that_is_not_known_is_no_missing_persistence() {
    let alone = |known: bool| {
        let (policy, mut snapshot) = fixtures::standalone();
        let Observation::Seen(sample) = &mut snapshot.targets[0].redis else { panic!("a sample") };
        let config = sample.config.as_mut().unwrap();
        (config.maxmemory_policy, config.dir, config.appendonly) = ("noeviction".into(), "/elsewhere".into(), true);
        if !known {
            snapshot.targets[0].pod.container = Err(ContainerProblem("two containers".into()));
        }
        Assessment::of(&policy, &snapshot, &AssessSettings::default()).findings(&[], None)
    };
    assert!(codes(&alone(true)).contains(&PersistenceMissing));
    assert!(!codes(&alone(false)).contains(&PersistenceMissing));
}
