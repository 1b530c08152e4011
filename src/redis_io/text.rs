//! Text that came from a server, made safe to show. A hostile server must not forge log lines, colour terminals
//! or fill a status.

/// Longest text from a server that is shown, in bytes.
pub const MAX_SHOWN: usize = 256;

/// The text without control characters, on one line, at most [`MAX_SHOWN`] bytes.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_SHOWN));
    for c in text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }) {
        if out.len() + c.len_utf8() > MAX_SHOWN {
            break;
        }
        out.push(c);
    }
    out.trim().to_owned()
}

/// A word such as `allkeys-lru` or `jemalloc-5.3.0`; anything else that a server says in its place is `unreadable`.
pub(super) fn word(text: &str) -> String {
    let plain =
        text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*'));
    if plain { text.to_owned() } else { "unreadable".to_owned() }
}

/// Control characters, and the marks that reorder or hide what follows them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("NOPERM no\r\nrights", "NOPERM no  rights")]
    #[case("\u{1b}[31mred", "[31mred")]
    #[case("a\u{202e}b", "a b")]
    #[case("plain", "plain")]
    fn strips_what_could_forge(#[case] raw: &str, #[case] clean: &str) {
        assert_eq!(shown(raw), clean);
    }

    #[rstest]
    #[case("allkeys-lru", "allkeys-lru")]
    #[case("", "")]
    #[case("jemalloc-5.3.0", "jemalloc-5.3.0")]
    #[case("all is well", "unreadable")]
    #[case("a\u{1b}[31m", "unreadable")]
    fn a_word_is_a_word(#[case] said: &str, #[case] taken: &str) {
        assert_eq!(word(said), taken);
    }

    proptest! {
        #[test]
        fn is_always_short_and_clean(raw in any::<String>()) {
            let text = shown(&raw.repeat(3));
            prop_assert!(text.len() <= MAX_SHOWN);
            prop_assert!(!text.chars().any(is_unsafe));
        }
    }
}
