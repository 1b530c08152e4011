//! Numbers as a report shows them: the same words in Markdown and in HTML. What is not known reads "unknown".

use jiff::Timestamp;

use super::value::{Counts, PodPart, RightSizing, SetPart, Sum};
use crate::domain::{bytes::Bytes, ratio::Ratio};

/// What stands for everything that is not known.
pub(super) const UNKNOWN: &str = "unknown";

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn bytes(amount: Option<u64>) -> String {
    amount.map_or_else(|| UNKNOWN.to_owned(), |bytes| Bytes(bytes).to_string())
}

/// "402 MiB", of some only "402 MiB (2 of 3)".
pub(super) fn sum(sum: Sum) -> String {
    match sum.bytes {
        Some(_) if sum.known < sum.of => format!("{} ({} of {})", bytes(sum.bytes), sum.known, sum.of),
        known => bytes(known),
    }
}

pub(super) fn ratio(percent: Option<u32>) -> String {
    percent.map_or_else(|| UNKNOWN.to_owned(), |percent| Ratio(percent).to_string())
}

/// Of a set whose pods are all almost empty no ratio means anything.
pub(super) fn worst_ratio(set: &SetPart) -> String {
    match set.worst_ratio_percent {
        None if set.memory.rss.bytes.is_some() => "almost empty".to_owned(),
        percent => ratio(percent),
    }
}

pub(super) fn limit(pod: &PodPart) -> String {
    match (pod.limit_bytes, pod.limited) {
        (None, Some(false)) => "none".to_owned(),
        (amount, _) => bytes(amount),
    }
}

/// What is left below the limit; of a container without one nothing bounds it.
pub(super) fn free(pod: &PodPart) -> String {
    match (pod.free_bytes, pod.limited) {
        (None, Some(false)) => "no limit".to_owned(),
        (amount, _) => bytes(amount),
    }
}

pub(super) fn maxmemory(pod: &PodPart) -> String {
    match pod.maxmemory_bytes {
        Some(0) => "0: no bound".to_owned(),
        amount => bytes(amount),
    }
}

/// "1 Critical, 2 Warning"; "none".
pub(super) fn counts(counts: Option<Counts>) -> String {
    let Some(counts) = counts else { return UNKNOWN.to_owned() };
    let each = [(counts.critical, "Critical"), (counts.warning, "Warning"), (counts.info, "Info")];
    let told: Vec<String> = each.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

pub(super) fn saves(found: &RightSizing) -> String {
    found.saves_bytes.map_or_else(|| "not known yet".to_owned(), |saved| Bytes(saved).to_string())
}

/// "3 pods", "1 pod".
pub(super) fn many(n: usize, one: &str, several: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn what_is_not_known_is_never_a_number() {
        assert_eq!([bytes(None), ratio(None), sum(Sum::default())].join(" "), "unknown unknown unknown");
        assert_eq!(sum(Sum::of([None, None])), "unknown");
        assert_eq!(sum(Sum::of([Some(0), Some(1 << 20)])), "1 MiB");
        assert_eq!(sum(Sum::of([Some(1 << 20), None])), "1 MiB (1 of 2)");
        assert_eq!(Sum::of([Some(u64::MAX), Some(1)]).bytes, Some(u64::MAX));
    }

    #[test]
    fn findings_are_counted_by_severity() {
        assert_eq!(counts(Some(Counts::default())), "none");
        assert_eq!(counts(Some(Counts { critical: 1, warning: 0, info: 2 })), "1 Critical, 2 Info");
    }
}
