//! Texts that others wrote, made fit for a status, an event or a log line.

/// `text` on one line and at most `cap` bytes long: control characters become spaces, what is cut ends in `…`.
/// Cuts between characters, never inside one.
pub fn plain(text: &str, cap: usize) -> String {
    const ELLIPSIS: &str = "…";
    let clean: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() <= cap {
        return clean;
    }
    let room = cap.saturating_sub(ELLIPSIS.len());
    let mut short: String =
        clean.char_indices().take_while(|(start, c)| start + c.len_utf8() <= room).map(|(_, c)| c).collect();
    if cap >= ELLIPSIS.len() {
        short.push_str(ELLIPSIS);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("as it is", 20, "as it is")]
    #[case("two\nlines\u{1b}[31m", 20, "two lines [31m")]
    #[case("123456789", 8, "12345…")]
    #[case("ööööö", 8, "öö…")]
    #[case("cut", 1, "")]
    fn keeps_to_one_line_and_the_cap(#[case] text: &str, #[case] cap: usize, #[case] want: &str) {
        assert_eq!(plain(text, cap), want);
        assert!(plain(text, cap).len() <= cap);
    }
}
