//! Which terms follow from what was seen, and which of a set's members counts.

use pretty_assertions::assert_eq;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::domain::{
    fixtures::{self, policy},
    peaks::Peaks,
    sample::ConfigUnreadable,
    snapshot::{Observation, ProbeFailure},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn measuring() -> Policy {
    let mut policy = policy();
    policy.headroom.method = HeadroomMethod::Measured;
    policy
}

/// The fixtures' three members, each sampled for a day, in which a fork copied a tenth of the data.
fn set() -> Vec<Target> {
    let mut targets = fixtures::three_pods().targets;
    for target in &mut targets {
        target.peaks = Peaks { covered: DAY, ratio: Some(Ratio(120)), copied: Some(Ratio(20)), ..Peaks::default() };
    }
    targets
}

fn terms_of(targets: &[Target]) -> Terms {
    match Demand::of(&measuring(), &targets.iter().collect::<Vec<_>>()) {
        Demand::Measured(terms) => terms,
        other @ Demand::Fixed { .. } => panic!("{other:?}"),
    }
}

fn sample(targets: &mut [Target], n: usize) -> &mut Sample {
    targets[n].sample_mut().unwrap()
}

fn config(targets: &mut [Target], n: usize) -> &mut Config {
    sample(targets, n).config.as_mut().unwrap()
}

type Change = fn(&mut [Target]);

fn after(change: Change) -> Terms {
    let mut targets = set();
    change(&mut targets);
    terms_of(&targets)
}

#[test]
fn fixed_measures_nothing() {
    let targets = set();
    let fixed = Demand::of(&policy(), &targets.iter().collect::<Vec<_>>());
    assert_eq!(fixed, Demand::assumed(&policy().headroom));
    assert_eq!(fixed, Demand::Fixed { percent: 50, minimum: Bytes::mib(64) });
}

#[test]
fn of_a_measured_set() {
    let expected = Terms {
        minimum: Bytes::mib(64),
        ratio: Ratio(120),
        uncounted: Bytes::ZERO,
        buffer_limit: Bytes::mib(256),
        unsent: Bytes::ZERO,
        clients: LEAST_CLIENTS,
        scripts: Bytes::mib(1),
        copied: Ratio(30),
        copied_by: Copied::Seen,
        twice: false,
        sync_buffer: Bytes::ZERO,
        evidence: Evidence::Measured,
    };
    assert_eq!(after(|_| {}), expected);
}

#[test]
fn of_each_term_the_largest_member_counts_primary_or_replica() {
    let terms = after(|targets| {
        targets[0].peaks.clients = Bytes::mib(100);
        targets[1].peaks.uncounted = Bytes::mib(33);
        targets[2].peaks.sync_buffer = Bytes::mib(5);
        targets[1].peaks.ratio = Some(Ratio(140));
        targets[2].peaks.copied = Some(Ratio(50));
        config(targets, 2).diskless_load = "swapdb".into();
    });
    assert_eq!(
        (terms.clients, terms.uncounted, terms.sync_buffer, terms.ratio, terms.copied, terms.twice),
        (Bytes::mib(112), Bytes::mib(40), Bytes::mib(8), Ratio(140), Ratio(75), true)
    );
}

/// What the last answer says counts at once, and no more of it than is used.
#[test]
fn the_last_answer_counts_too() {
    let terms = after(|targets| {
        let memory = &mut sample(targets, 0).memory;
        (memory.used, memory.clients_normal) = (Bytes::mib(200), Bytes::mib(30));
        memory.not_counted_for_evict = Bytes(u64::MAX);
    });
    assert_eq!((terms.clients, terms.uncounted), (Bytes::mib(32), Bytes::mib(224)));
}

#[rstest]
#[case::nothing(0, "NotYet")]
#[case::an_hour_but_a_second(3599, "NotYet")]
#[case::an_hour(3600, "Measured")]
fn an_hour_of_samples_is_needed(#[case] seconds: u64, #[case] expected: &str) {
    let mut targets = set();
    for target in &mut targets {
        target.peaks.covered = Duration::from_secs(seconds);
    }
    let terms = terms_of(&targets);
    assert_eq!(format!("{:?}", terms.evidence), expected);
    let measured = expected == "Measured";
    assert_eq!(terms.ratio, if measured { Ratio(120) } else { LEAST_RATIO });
    assert_eq!(terms.copied_by, if measured { Copied::Seen } else { Copied::Unknown });
    assert_eq!(terms.copied, Ratio(30), "more than the bound was seen, and is not taken for less");
}

#[test]
fn the_bounds_hold_where_nothing_is_known() {
    let mut targets = set();
    for target in &mut targets {
        target.peaks = Peaks::default();
    }
    let terms = terms_of(&targets);
    assert_eq!((terms.ratio, terms.copied, terms.clients), (LEAST_RATIO, UNKNOWN_COPIED, LEAST_CLIENTS));
    assert_eq!((terms.evidence, terms.scripts), (Evidence::NotYet, Bytes::mib(1)));
    // A measurement that is missing is no zero.
    sample(&mut targets, 0).memory.scripts = None;
    assert_eq!(terms_of(&targets).scripts, UNKNOWN_SCRIPTS);
    let told = |cow: Bytes| {
        let mut targets = targets.clone();
        let sample = sample(&mut targets, 1);
        (sample.memory.used, sample.persistence.copy_on_write) = (Bytes::mib(1000), cow);
        terms_of(&targets).copied
    };
    assert_eq!(
        told(Bytes::mib(500)),
        Ratio(75),
        "what the process says of its forks, where that is more than the bound"
    );
    assert_eq!(told(Bytes::mib(1)), UNKNOWN_COPIED, "a fork of long ago, of less data, is no measurement");
}

/// A pod that was just replaced: the set is known by the others, and the finding of before is not over by it.
#[test]
fn one_member_that_is_new_or_silent_leaves_the_set_measured_in_part() {
    let new = after(|targets| targets[2].peaks = Peaks::default());
    let silent = after(|targets| targets[2].redis = Observation::Failed(ProbeFailure::TimedOut(String::new())));
    let whole = after(|_| {});
    for terms in [new, silent] {
        assert_eq!(terms.evidence, Evidence::InPart);
        assert_eq!(Terms { evidence: Evidence::Measured, ..terms }, whole);
    }
    let shows_more = after(|targets| {
        targets[2].peaks = Peaks { covered: Duration::from_secs(60), clients: Bytes::mib(500), ..Peaks::default() };
    });
    assert_eq!(shows_more.clients, Bytes::mib(512), "what a new pod shows is counted at once");
}

#[rstest]
#[case::few(MIB / 4, 0, Copied::Seen, 30)]
#[case::more_and_none_measured(MIB / 2, 0, Copied::ByWrites, 50)]
#[case::more_and_measured_under_half(MIB / 2, MIB / 4, Copied::Seen, 30)]
#[case::nearly_many(MIB - 1, 0, Copied::ByWrites, 100)]
#[case::many_and_none_measured(MIB, 0, Copied::WriteHeavy, 100)]
#[case::many_and_measured_under_half(3 * MIB, 3 * MIB / 2, Copied::Seen, 30)]
#[case::many_and_measured_under_less(3 * MIB, MIB, Copied::WriteHeavy, 100)]
fn what_no_fork_was_measured_under_counts_by_its_writes(
    #[case] writes: u64,
    #[case] forked: u64,
    #[case] expected: Copied,
    #[case] percent: u32,
) {
    let mut targets = set();
    targets[0].peaks.writes = Bytes(writes);
    targets[1].peaks.writes_copied = Bytes(forked);
    let terms = terms_of(&targets);
    assert_eq!((terms.copied_by, terms.copied), (expected, Ratio(percent)));
}

/// Between the bound for few writes and all of the data there was nothing: forks under 512 KiB of writes a second copied 57 %
/// and 66 % of the memory (Redis 7.0.15, Valkey 9.1.2), and 25 % were provided.
#[rstest]
#[case::idle(0, Copied::Unknown, 25)]
#[case::few(MIB / 4, Copied::Unknown, 25)]
#[case::more(640 * 1024, Copied::ByWrites, 65)]
#[case::many(MIB, Copied::WriteHeavy, 100)]
fn where_no_fork_was_seen_its_writes_count(#[case] writes: u64, #[case] expected: Copied, #[case] percent: u32) {
    let mut targets = set();
    for target in &mut targets {
        target.peaks.copied = None;
    }
    targets[0].peaks.writes = Bytes(writes);
    let terms = terms_of(&targets);
    assert_eq!((terms.copied_by, terms.copied), (expected, Ratio(percent)));
    for target in &mut targets {
        target.peaks.covered = Duration::from_secs(60);
    }
    assert_eq!(terms_of(&targets).copied, UNKNOWN_COPIED, "a minute is no measurement");
}

/// One server alone that keeps nothing.
fn cache() -> Vec<Target> {
    let mut targets = set();
    targets.truncate(1);
    targets[0].peaks.copied = None;
    let sample = sample(&mut targets, 0);
    sample.replication.replicas.clear();
    sample.latest_fork = Duration::ZERO;
    targets
}

#[rstest]
#[case::saves(|t: &mut [Target]| config(t, 0).save = "3600 1".into())]
#[case::appends(|t: &mut [Target]| config(t, 0).appendonly = true)]
#[case::settings_unknown(|t: &mut [Target]| sample(t, 0).config = Err(ConfigUnreadable("renamed".into())))]
#[case::has_forked(|t: &mut [Target]| sample(t, 0).latest_fork = Duration::from_millis(1))]
#[case::does_not_say(|t: &mut [Target]| sample(t, 0).unread = vec!["latest_fork_usec".into()])]
#[case::forks_now(|t: &mut [Target]| sample(t, 0).persistence.child_running = true)]
#[case::copied_once(|t: &mut [Target]| sample(t, 0).persistence.copy_on_write = Bytes(1))]
#[case::was_seen(|t: &mut [Target]| t[0].peaks.copied = Some(Ratio(0)))]
#[case::feeds_a_replica(|t: &mut [Target]| sample(t, 0).replication.replicas = vec![fixtures::replica_line(1)])]
#[case::silent(|t: &mut [Target]| t[0].redis = Observation::Pending)]
fn a_fork_is_ruled_out_only_where_everything_says_so(#[case] change: Change) {
    let mut targets = cache();
    let never = terms_of(&targets);
    assert_eq!((never.copied, never.copied_by, never.buffer_limit), (Ratio(0), Copied::Never, Bytes::ZERO));
    change(&mut targets);
    let may = terms_of(&targets);
    assert!(may.copied >= LEAST_COPIED, "{may:?}");
}

#[test]
fn buffers_are_shared_from_7_0_on() {
    let of = |version: (u16, u16), limit: Bytes| {
        let mut targets = set();
        for n in 0..3 {
            sample(&mut targets, n).server.version = Version { major: version.0, minor: version.1, patch: 0 };
            config(&mut targets, n).replica_output_limit = limit;
        }
        terms_of(&targets).buffer_limit
    };
    assert_eq!(of((7, 0), Bytes::mib(256)), Bytes::mib(256));
    assert_eq!(of((6, 2), Bytes::mib(256)), Bytes::mib(512), "two replicas");
    assert_eq!(of((7, 0), Bytes::mib(1)), Bytes::mib(64), "no less than the backlog");
    assert_eq!(of((7, 0), Bytes::ZERO), Bytes(u64::MAX), "unlimited: a quarter of maxmemory is counted");
}

/// What is written until a replica that does not answer is cut off, half as much again, in each buffer that there is.
#[rstest]
#[case::none(0, 7, None, 0)]
#[case::shared(MIB, 7, None, 96)]
#[case::one_for_each_replica(MIB, 6, None, 192)]
#[case::by_its_own_timeout(MIB, 7, Some(20), 32)]
fn what_is_written_until_a_silent_replica_is_cut_off(
    #[case] writes: u64,
    #[case] major: u16,
    #[case] timeout: Option<u64>,
    #[case] mebibytes: u64,
) {
    let mut targets = set();
    for n in 0..3 {
        sample(&mut targets, n).server.version = Version { major, minor: 2, patch: 0 };
        config(&mut targets, n).serving.replica_timeout = timeout;
    }
    targets[0].peaks.writes = Bytes(writes);
    assert_eq!(terms_of(&targets).unsent, Bytes::mib(mebibytes));
    targets[0].peaks.covered = Duration::from_secs(60);
    assert_eq!(terms_of(&targets).unsent, Bytes::ZERO, "a minute is no measurement");
    targets.truncate(1);
    sample(&mut targets, 0).replication.replicas.clear();
    targets[0].peaks.covered = DAY;
    assert_eq!(terms_of(&targets).unsent, Bytes::ZERO, "nobody follows it");
}

#[test]
fn lua_is_counted_where_the_server_does_not() {
    let of = |engine: Engine, major: u16, minor: u16| {
        let mut targets = set();
        for n in 0..3 {
            let sample = sample(&mut targets, n);
            sample.server.engine = engine;
            sample.server.version = Version { major, minor, patch: 0 };
            sample.memory.scripts = Some(Bytes::mib(20));
        }
        terms_of(&targets).scripts
    };
    assert_eq!(of(Engine::Redis, 7, 2), Bytes::mib(20));
    assert_eq!(of(Engine::Redis, 7, 4), Bytes::ZERO);
    assert_eq!(of(Engine::Valkey, 9, 1), Bytes::mib(20));
}

#[test]
fn a_ratio_that_is_cured_is_not_provided_for() {
    let terms = after(|targets| targets[0].peaks.ratio = Some(Ratio(270)));
    assert_eq!(terms.ratio, measuring().fragmentation.restart);
    let below = after(|targets| targets.iter_mut().for_each(|target| target.peaks.ratio = Some(Ratio(90))));
    assert_eq!(below.ratio, LEAST_RATIO, "swapped memory comes back");
}

proptest! {
    /// What wavers by a little moves nothing, but at the steps; and nothing that is seen makes the demand smaller.
    #[test]
    fn more_that_is_seen_never_demands_less(
        clients: u64, more: u64, uncounted: u64, copied in 0_u32..=200, share in 0_u32..=100, maxmemory: u64,
        ratio: u32, writes: u64,
    ) {
        let mut targets = set();
        targets[0].peaks.clients = Bytes(clients);
        let before = Demand::Measured(terms_of(&targets));
        targets[0].peaks.clients = Bytes(clients.saturating_add(more));
        targets[1].peaks.uncounted = Bytes(uncounted);
        targets[1].peaks.copied = Some(Ratio(20_u32.saturating_add(copied)));
        targets[2].peaks.ratio = Some(Ratio(ratio.max(120)));
        targets[2].peaks.writes = Bytes(writes);
        let after = Demand::Measured(terms_of(&targets));
        prop_assert!(after.exactly(Bytes(maxmemory)) >= before.exactly(Bytes(maxmemory)));
        prop_assert!(provided(Ratio(share)).0 >= share.min(100));
    }

    #[test]
    fn amounts_are_rounded_up_by_at_most_a_quarter_or_4_mib(amount in 0_u64..=1 << 60) {
        let rounded = coarse(Bytes(amount)).0;
        prop_assert!(rounded >= amount && rounded - amount <= (amount / 4).max(4 * MIB));
        prop_assert_eq!(coarse(Bytes(rounded)), Bytes(rounded), "it stays");
    }

    #[test]
    fn any_amount_is_rounded(amount: u64) {
        prop_assert!(coarse(Bytes(amount)) >= Bytes(amount));
    }
}
