//! What the writer says, as one line of JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{check::Findings, gaps::Gaps, ledger::Ledger};

/// Everything that is counted while writing.
#[derive(Debug)]
pub(crate) struct Tally {
    /// The acknowledged writes.
    pub(crate) ledger: Ledger,
    /// Since the start.
    pub(crate) whole: Gaps,
    /// Since the last mark.
    pub(crate) window: Gaps,
    /// Connections after the first one.
    pub(crate) reconnects: u64,
    /// Writes that were sent and not answered: they may or may not be there.
    pub(crate) unknown: u64,
    /// Errors by kind: READONLY and other first words of error replies, connect, reply.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing yet but what an earlier writer left.
    pub(crate) fn new(ledger: Ledger, now: u64) -> Self {
        Self {
            ledger,
            whole: Gaps::open(now),
            window: Gaps::open(now),
            reconnects: 0,
            unknown: 0,
            errors: BTreeMap::new(),
        }
    }

    /// Write `n` was acknowledged.
    pub(crate) fn acknowledged(&mut self, n: u64, now: u64) {
        self.ledger.acknowledge(n);
        self.whole.acknowledged(now);
        self.window.acknowledged(now);
    }

    /// Something failed.
    pub(crate) fn failed(&mut self, kind: &str) {
        *self.errors.entry(kind.to_owned()).or_default() += 1;
        self.whole.failed(kind);
        self.window.failed(kind);
    }

    /// Closes the window and opens the next one; what the closed one saw.
    pub(crate) fn mark(&mut self, now: u64) -> Value {
        let closed = self.window.to_json(now);
        self.window = self.window.next();
        closed
    }

    /// The numbers so far.
    pub(crate) fn to_json(&self, now: u64) -> Value {
        let mut all = self.whole.to_json(now);
        let more = json!({
            "acknowledged": self.ledger.count(),
            "window": self.window.to_json(now),
            "reconnects": self.reconnects,
            "unknown_fate": self.unknown,
            "readonly_errors": self.errors.get("READONLY").copied().unwrap_or(0),
            "errors": self.errors,
        });
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        all
    }
}

/// The last word: the numbers, and what reading back found, or why that failed.
pub(crate) fn verdict(mut numbers: Value, found: Result<Findings, String>) -> Value {
    let more = match found {
        Ok(found) => json!({
            "checked": found.checked,
            "lost": found.lost,
            "first_lost": found.lost_numbers.first(),
            "lost_numbers": found.lost_numbers,
        }),
        Err(error) => json!({ "error": format!("could not read back: {error}") }),
    };
    if let (Some(numbers), Value::Object(more)) = (numbers.as_object_mut(), more) {
        numbers.extend(more);
    }
    numbers
}

/// The exit code of a client that was given this answer: 2 when writes were lost, 3 when it is not known.
pub(crate) fn exit_code(line: &str) -> u8 {
    match serde_json::from_str::<Value>(line) {
        Ok(answer) if answer.get("error").is_some() => 3,
        Ok(answer) if answer.get("lost").is_some_and(|lost| *lost != json!(0)) => 2,
        Ok(_) => 0,
        Err(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(r#"{"acknowledged":3}"#, 0)]
    #[case(r#"{"acknowledged":3,"lost":0}"#, 0)]
    #[case(r#"{"acknowledged":3,"lost":1}"#, 2)]
    #[case(r#"{"error":"could not read back: …","lost":0}"#, 3)]
    #[case("", 3)]
    fn the_exit_code_tells_the_verdict(#[case] line: &str, #[case] code: u8) {
        assert_eq!(exit_code(line), code);
    }

    #[test]
    fn a_write_of_unknown_fate_is_not_acknowledged() {
        let mut tally = Tally::new(Ledger::default(), 0);
        tally.acknowledged(1, 1000);
        tally.failed("reply");
        tally.acknowledged(3, 2000);
        let seen = tally.to_json(2000);
        assert_eq!(seen["acknowledged"], 2);
        assert_eq!(tally.ledger.numbers().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(seen["errors"], json!({"reply": 1}));
    }

    #[test]
    fn a_mark_opens_a_new_window_and_leaves_the_whole_alone() {
        let mut tally = Tally::new(Ledger::default(), 0);
        tally.acknowledged(1, 300_000);
        assert_eq!(tally.mark(300_000)["gap_ms_max"], 300);
        tally.acknowledged(2, 301_000);
        let seen = tally.to_json(301_000);
        assert_eq!((&seen["gap_ms_max"], &seen["window"]["gap_ms_max"]), (&json!(300), &json!(1)));
        assert_eq!((&seen["acknowledged"], &seen["window"]["acknowledged"]), (&json!(2), &json!(1)));
    }

    #[test]
    fn the_verdict_keeps_the_numbers() {
        let found = Findings { checked: 5, lost: 2, lost_numbers: vec![3, 4] };
        let verdict = verdict(json!({"acknowledged": 5}), Ok(found));
        assert_eq!(verdict["acknowledged"], 5);
        assert_eq!((&verdict["lost"], &verdict["first_lost"]), (&json!(2), &json!(3)));
    }
}
