//! The parts of a verdict's sentence, each for a line of its own: the status has them in one text, for columns and messages.

/// How the parts after the first begin, in their order (`src/report/verdict.rs`).
const NAMES: [&str; 4] = ["Risk", "Primary", "Operator", YOU];
/// What the reader is asked to do.
pub(super) const YOU: &str = "You";

/// What is the matter, and what stands behind each name that is there. Put together again they are the sentence.
pub(super) fn of(sentence: &str) -> (&str, Vec<(&'static str, &str)>) {
    let begins = |name: &str| format!(". {name}: ");
    let mut places: Vec<(&'static str, usize, usize)> = Vec::new();
    for name in NAMES {
        let from = places.last().map_or(0, |(_, _, end)| *end);
        let begin = begins(name);
        let found = sentence.get(from..).and_then(|rest| rest.find(&begin));
        places.extend(found.map(|at| (name, from + at, from + at + begin.len())));
    }
    let what = places.first().map_or(sentence, |(_, at, _)| sentence.get(..*at).unwrap_or(sentence));
    let ends = places.iter().skip(1).map(|(_, at, _)| *at).chain([sentence.len()]);
    let parts = places.iter().zip(ends).map(|((name, _, from), to)| (*name, sentence.get(*from..to).unwrap_or("")));
    (what, parts.collect())
}

/// A text, broken before each of its steps "(1) ", "(2) " and so on. Put together again they are the text.
pub(super) fn steps(text: &str) -> Vec<&str> {
    let (mut pieces, mut rest, mut from) = (Vec::new(), text, 0);
    for n in 1_usize.. {
        let mark = format!("({n}) ");
        let found = rest.match_indices(&mark).map(|(at, _)| at).find(|at| *at >= from && begins_a_word(rest, *at));
        let Some(at) = found else { break };
        let (before, after) = rest.split_at(at);
        pieces.push(before);
        (rest, from) = (after, mark.len());
    }
    pieces.push(rest);
    // One step is none.
    if pieces.len() < 3 { vec![text] } else { pieces.into_iter().filter(|piece| !piece.is_empty()).collect() }
}

fn begins_a_word(text: &str, at: usize) -> bool {
    text.get(..at).is_some_and(|before| before.is_empty() || before.ends_with(' '))
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_part_stands_by_itself() {
        let sentence = "OomKilled since then: redis-2. Killed. Risk: can wait. Or not. Primary: redis-0. \
                        Operator: looks on. You: nothing. Risk: x";
        let expected = vec![
            ("Risk", "can wait. Or not"),
            ("Primary", "redis-0"),
            ("Operator", "looks on"),
            ("You", "nothing. Risk: x"),
        ];
        assert_eq!(of(sentence), ("OomKilled since then: redis-2. Killed", expected));
    }

    #[test]
    fn what_is_missing_is_left_out() {
        assert_eq!(of("cut off. Risk: can wai"), ("cut off", vec![("Risk", "can wai")]));
        assert_eq!(of("no parts at all. You"), ("no parts at all. You", vec![]));
        assert_eq!(
            of("a. You: b. Risk: c"),
            ("a. You: b", vec![("Risk", "c")]),
            "each is looked for behind the one before"
        );
    }

    #[test]
    fn steps_stand_by_themselves() {
        let text = "now: (1) look (see (2)). (2) Stop (3 of them). (3) Go on";
        assert_eq!(steps(text), ["now: ", "(1) look (see (2)). ", "(2) Stop (3 of them). ", "(3) Go on"]);
        assert_eq!(steps("(1) a (2) b"), ["(1) a ", "(2) b"]);
        for whole in ["", "nothing", "only (1) one", "(2) b (1) a"] {
            assert_eq!(steps(whole), [whole]);
        }
    }

    proptest! {
        #[test]
        fn no_step_is_lost(pieces in proptest::collection::vec(
            prop_oneof!["[a-z ]{0,3}", "(1) ", "(2) ", "(3) "], 0..9)) {
            let text = pieces.concat();
            prop_assert_eq!(steps(&text).concat(), text);
        }

        #[test]
        fn nothing_is_lost(pieces in proptest::collection::vec(
            prop_oneof!["[a-zé.: ]{0,6}", ". Risk: ", ". Primary: ", ". Operator: ", ". You: "], 0..9)) {
            let sentence = pieces.concat();
            let (what, parts) = of(&sentence);
            let again = parts.iter().fold(what.to_owned(), |text, (name, part)| format!("{text}. {name}: {part}"));
            prop_assert_eq!(again, sentence);
        }
    }
}
