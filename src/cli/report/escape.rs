//! Texts from a cluster in Markdown and HTML: a person who may name a pod or write a message writes no markup of ours. Pure.

use crate::cli::layout::clean;

/// For content and for attributes in double quotes. Well-formed as XML too.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// What means something inside of a line, in CommonMark or on GitHub: emphasis, code, links, HTML, entities, columns,
/// strikethrough, mentions, formulas. A backslash makes each of them itself.
const INLINE: &[char] = &['\\', '`', '*', '_', '[', ']', '<', '>', '&', '|', '~', '@', '$', '!', '#'];

/// In a line of Markdown, in a cell of a table or at the beginning of a list item.
pub(super) fn markdown(text: &str) -> String {
    let text = clean(text);
    let mut out = String::with_capacity(text.len());
    let words: Vec<&str> = text.split_whitespace().collect();
    for (n, word) in words.iter().enumerate() {
        if n > 0 {
            out.push(' ');
        }
        let number = word.trim_end_matches(['.', ')']).bytes().all(|b| b.is_ascii_digit());
        for (at, c) in word.char_indices() {
            // Only at its beginning is a line a list, a rule or an underlined heading.
            let begins = n == 0 && (at == 0 && ['-', '+', '='].contains(&c) || number && ['.', ')'].contains(&c));
            // An address that stands alone becomes a link.
            let address = c == ':' && word.get(at..).is_some_and(|rest| rest.starts_with("://"));
            let host = c == '.' && word.get(..at).is_some_and(|before| before.to_ascii_lowercase().ends_with("www"));
            if begins || address || host || INLINE.contains(&c) {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("redis-0", "redis-0")]
    #[case("ratio 2.9, 2.50 or more for 10m", "ratio 2.9, 2.50 or more for 10m")]
    #[case("a|b", r"a\|b")]
    #[case("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>")]
    #[case("[x](javascript:alert(1))", r"\[x\](javascript:alert(1))")]
    #[case("https://evil.example", r"https\://evil.example")]
    #[case("see WWW.evil.example", r"see WWW\.evil.example")]
    #[case("# no heading\n- no list", r"\# no heading - no list")]
    #[case("- no list", r"\- no list")]
    #[case("1. no list", r"1\. no list")]
    #[case("=== no heading", r"\=== no heading")]
    #[case("`*_~@all$", r"\`\*\_\~\@all\$")]
    #[case("&lt;b&gt;", r"\&lt;b\&gt;")]
    #[case("a\u{202e}b\u{7}", "a b")]
    fn markdown_is_what_was_written(#[case] text: &str, #[case] escaped: &str) {
        assert_eq!(markdown(text), escaped);
    }

    #[test]
    fn html_is_what_was_written() {
        assert_eq!(html("<b a=\"1\" c='2'>&amp;\u{1b}\u{202e}"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;  ");
    }
}
