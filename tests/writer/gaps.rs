//! How long no write was acknowledged. Times are microseconds since the Unix epoch and come in as arguments.

use serde_json::{Value, json};

/// Gaps from here on are listed one by one, in microseconds.
const LISTED_FROM: u64 = 100_000;
/// At most so many gaps are listed; the longest one is known in any case.
const LISTED_MOST: usize = 500;

/// One time without an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    start: u64,
    length: u64,
    errors: Vec<String>,
}

/// The gaps of one window, which ends when the next one is opened.
#[derive(Debug)]
pub(crate) struct Gaps {
    /// The last acknowledgement, or the start of the window before the first one.
    since: u64,
    longest: u64,
    acknowledged: u64,
    listed: Vec<Gap>,
    /// The kinds of errors since the last acknowledgement.
    errors: Vec<String>,
}

impl Gaps {
    /// A window that opens now. The time until its first acknowledgement counts as a gap.
    pub(crate) fn open(now: u64) -> Self {
        Self { since: now, longest: 0, acknowledged: 0, listed: Vec::new(), errors: Vec::new() }
    }

    /// A window that goes on where this one ends, in the middle of a gap too.
    pub(crate) fn next(&self) -> Self {
        let mut next = Self::open(self.since);
        next.errors.clone_from(&self.errors);
        next
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledged(&mut self, now: u64) {
        let gap = self.open_gap(now);
        self.longest = self.longest.max(gap.length);
        if gap.length >= LISTED_FROM && self.listed.len() < LISTED_MOST {
            self.listed.push(gap);
        }
        self.acknowledged += 1;
        self.errors.clear();
        self.since = now.max(self.since);
    }

    /// A write or a connection failed: which kind of error the present gap has seen.
    pub(crate) fn failed(&mut self, kind: &str) {
        if !self.errors.iter().any(|seen| seen == kind) {
            self.errors.push(kind.to_owned());
        }
    }

    /// The window so far. A gap that is still open counts with its length until now.
    pub(crate) fn to_json(&self, now: u64) -> Value {
        let open = self.open_gap(now);
        let longest = self.longest.max(open.length);
        let listed: Vec<Value> = self
            .listed
            .iter()
            .chain(Some(&open).filter(|gap| gap.length >= LISTED_FROM))
            .map(|gap| json!({"start_ms": gap.start / 1000, "ms": millis(gap.length), "errors": gap.errors}))
            .collect();
        json!({"acknowledged": self.acknowledged, "gap_ms_max": millis(longest), "gaps_over_100ms": listed})
    }

    fn open_gap(&self, now: u64) -> Gap {
        Gap { start: self.since, length: now.saturating_sub(self.since), errors: self.errors.clone() }
    }
}

/// Rounded up: a gap is never shown shorter than it was.
fn millis(micros: u64) -> u64 {
    micros.div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    #[test]
    fn the_longest_gap_is_between_two_acknowledgements() {
        let mut gaps = Gaps::open(0);
        for at in [5 * MS, 10 * MS, 260 * MS, 261 * MS] {
            gaps.acknowledged(at);
        }
        let seen = gaps.to_json(262 * MS);
        assert_eq!(seen["gap_ms_max"], 250);
        assert_eq!(seen["acknowledged"], 4);
        assert_eq!(seen["gaps_over_100ms"], json!([{"start_ms": 10, "ms": 250, "errors": []}]));
    }

    #[test]
    fn an_open_gap_counts() {
        let mut gaps = Gaps::open(0);
        gaps.acknowledged(MS);
        gaps.failed("READONLY");
        gaps.failed("READONLY");
        gaps.failed("connect");
        let seen = gaps.to_json(901 * MS);
        assert_eq!(seen["gap_ms_max"], 900);
        assert_eq!(seen["gaps_over_100ms"][0]["errors"], json!(["READONLY", "connect"]));
    }

    #[test]
    fn a_window_that_opens_inside_a_gap_sees_the_whole_gap() {
        let mut gaps = Gaps::open(0);
        gaps.acknowledged(MS);
        gaps.failed("connect");
        let mut next = gaps.next();
        next.acknowledged(401 * MS);
        let seen = next.to_json(401 * MS);
        assert_eq!((&seen["gap_ms_max"], &seen["acknowledged"]), (&json!(400), &json!(1)));
        assert_eq!(seen["gaps_over_100ms"][0]["errors"], json!(["connect"]));
    }

    #[test]
    fn a_new_window_forgets_old_gaps() {
        let mut gaps = Gaps::open(0);
        gaps.acknowledged(500 * MS);
        assert_eq!(gaps.next().to_json(501 * MS)["gap_ms_max"], 1);
    }

    #[test]
    fn a_gap_is_never_shown_shorter() {
        let mut gaps = Gaps::open(0);
        gaps.acknowledged(1_200_001);
        assert_eq!(gaps.to_json(1_200_001)["gap_ms_max"], 1201);
    }
}
