//! What a code means: the sections of docs/findings.md, docs/blocked-reasons.md and docs/verdicts.md, compiled in.

use crate::cli::layout::line;

/// What a code is, and the page that has a section for each.
const PAGES: [(&str, &str); 3] = [
    ("finding", include_str!("../../../docs/findings.md")),
    ("refusal", include_str!("../../../docs/blocked-reasons.md")),
    ("verdict", include_str!("../../../docs/verdicts.md")),
];

/// The sections about that code, in whatever case it is written; `None`: there is none, it may be a pod.
pub(super) fn of(code: &str) -> Option<String> {
    let mut out = String::new();
    for (what, page) in PAGES {
        let Some((name, text)) = section(page, code) else { continue };
        if !out.is_empty() {
            line(&mut out, "");
        }
        line(&mut out, &format!("{name} ({what})"));
        plain(text.trim()).lines().for_each(|row| line(&mut out, row));
    }
    (!out.is_empty()).then_some(out)
}

/// Heading and text of the section of that name.
fn section<'p>(page: &'p str, code: &str) -> Option<(&'p str, &'p str)> {
    page.split("\n### ").skip(1).find_map(|section| {
        let (name, text) = section.split_once('\n')?;
        name.eq_ignore_ascii_case(code).then(|| (name, text.split("\n## ").next().unwrap_or(text)))
    })
}

/// Without what only a browser needs: bold, and where links lead.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let text = text.replace("**", "");
    let mut rest = text.as_str();
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        match link.split_once("](").and_then(|(shown, target)| Some((shown, target.split_once(')')?.1))) {
            Some((shown, after)) if !shown.contains(['[', ']']) => {
                out.push_str(shown);
                rest = after;
            }
            _ => {
                out.push('[');
                rest = link;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{blocked::BlockReason, finding::FindingCode};

    #[test]
    fn every_finding_and_refusal_has_its_page() {
        let codes = FindingCode::ALL.iter().map(|code| code.as_str());
        for name in codes.chain(BlockReason::ALL.iter().map(|reason| reason.as_str())) {
            let page = of(name).unwrap_or_default();
            assert!(page.starts_with(name) && page.lines().count() > 2, "{name}: {page}");
            assert!(!page.contains("**") && !page.contains("]("), "{page}");
        }
    }

    #[test]
    fn a_code_that_is_both_shows_both() {
        let page = of("twoprimaries").expect("in any case");
        assert!(page.contains("TwoPrimaries (finding)") && page.contains("TwoPrimaries (refusal)"), "{page}");
        assert_eq!(of("redis-0"), None);
    }

    #[test]
    fn links_are_their_words() {
        assert_eq!(plain("see [this](page.md#x), **now**; a[0] and [b]"), "see this, now; a[0] and [b]");
    }
}
