//! Findings about how full Redis is, and what a fork costs it.

use std::time::Duration;

use super::{View, eviction::named};
use crate::domain::{
    bytes::Bytes,
    finding::{Finding, FindingCode, Severity},
    purpose::Purpose,
    ratio::Ratio,
    sample::Sample,
};

/// From here on UtilizationWarning.
const WARNING: Ratio = Ratio(75);
/// From here on UtilizationCritical.
const CRITICAL: Ratio = Ratio(85);
/// Above this a fork is slow: every client waits for this long.
const SLOW_FORK: Duration = Duration::from_millis(10);
/// A fork copies the page tables, so it takes longer the more there is (measured: 8 ms a GB): up to this much for each
/// GB of resident memory it is what the size of the server explains (ADR 0010).
const FORK_PER_GB: Duration = Duration::from_millis(20);

pub(super) fn findings(view: &View<'_>, sample: &Sample) -> Vec<Finding> {
    [utilization(view, sample), slow_fork(view, sample)].into_iter().flatten().collect()
}

/// Under `allkeys-*` the server evicts whatever is old: full is how it should be, unless the keys are said to be no cache.
fn utilization(view: &View<'_>, sample: &Sample) -> Option<Finding> {
    let memory = &sample.memory;
    let evicts_any = memory.maxmemory_policy.starts_with("allkeys-");
    if evicts_any && view.policy.purpose.is_none_or(|purpose| purpose == Purpose::Cache) {
        return None;
    }
    let share = Ratio::of(memory.used, memory.maxmemory)?;
    let code = match share {
        share if share >= CRITICAL => FindingCode::UtilizationCritical,
        share if share >= WARNING => FindingCode::UtilizationWarning,
        _ => return None,
    };
    let policy = named(&memory.maxmemory_policy);
    let then = if evicts_any {
        "when it is full, keys are evicted"
    } else if policy.starts_with("volatile-") {
        "when it is full, keys with a time to live go first, then writes fail"
    } else {
        "when it is full, writes fail"
    };
    Some(view.finding(
        code,
        format!("used about {} of maxmemory {} under {policy}", memory.used.quantised(), memory.maxmemory),
        format!("delete data, give keys a time to live, or raise the container limit and then maxmemory; {then}"),
    ))
}

fn slow_fork(view: &View<'_>, sample: &Sample) -> Option<Finding> {
    if sample.latest_fork <= SLOW_FORK {
        return None;
    }
    let evidence = format!(
        "the last fork blocked Redis for about {} ms, data about {}",
        two_digits(sample.latest_fork),
        sample.memory.used.quantised()
    );
    if sample.latest_fork <= expected_fork(sample.memory.rss) {
        let remedy = "expected for this size: hold less data per server where clients cannot wait for it; every save, \
                      rewrite and full sync forks";
        return Some(view.finding(FindingCode::ForkSlow, evidence, remedy).with_severity(Severity::Info));
    }
    let remedy = "more than its size explains: look at transparent huge pages (turn them off), at the host's CPU and at \
                  nested virtualisation; every save, rewrite and full sync forks";
    Some(view.finding(FindingCode::ForkSlow, evidence, remedy))
}

/// How long a fork may take for this much resident memory.
fn expected_fork(rss: Bytes) -> Duration {
    const GB: u128 = 1_000_000_000;
    let nanos = u128::from(rss.0) * FORK_PER_GB.as_nanos() / GB;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Whole milliseconds with two significant digits.
fn two_digits(time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut step = 1;
    while millis / step >= 100 {
        step *= 10;
    }
    (millis + step / 2) / step * step
}
