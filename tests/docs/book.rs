//! The book: every page is in its table of contents, and whoever reads of an alert is led to what to do.

use std::{collections::BTreeSet, path::Path};

use crate::{links, pages, read, root};

/// The pages below docs, but for the table of contents and the template of decisions.
fn below_docs() -> BTreeSet<String> {
    let docs = root().join("docs");
    let pages = pages().into_iter().filter_map(|path| Some(path.strip_prefix(&docs).ok()?.to_str()?.to_owned()));
    pages.filter(|page| !["SUMMARY.md", "adr/0000-template.md"].contains(&page.as_str())).collect()
}

#[test]
fn every_page_is_in_the_book_once() {
    let summary = read("docs/SUMMARY.md");
    let listed = links(&summary);
    let once: BTreeSet<String> = listed.iter().map(|page| (*page).to_owned()).collect();
    assert_eq!(once.len(), listed.len(), "a page is listed twice");
    assert_eq!(once, below_docs());
    assert!(once.len() > 50, "the pages were not found");
}

/// scripts/book turns links that lead out of docs into addresses by counting `../`: pages lie at most one folder deep.
#[test]
fn pages_lie_at_most_one_folder_deep() {
    let deep: Vec<String> = below_docs().into_iter().filter(|page| Path::new(page).components().count() > 2).collect();
    assert_eq!(deep, Vec::<String>::new());
}

/// A decision is known by the number of its file: in its heading, in the table of contents, and nowhere twice.
#[test]
fn decisions_are_called_what_their_files_are() {
    let summary = read("docs/SUMMARY.md");
    let pages: Vec<String> = below_docs().into_iter().filter(|page| page.starts_with("adr/")).collect();
    assert!(pages.len() > 20, "{pages:?}");
    let mut numbers = BTreeSet::new();
    for page in pages {
        let number = page.trim_start_matches("adr/").split('-').next().unwrap_or_default().to_owned();
        let text = read(format!("docs/{page}"));
        let heading = text.lines().next().unwrap_or_default().trim_start_matches("# ");
        assert!(heading.starts_with(&format!("{number}: ")), "{page} is headed {heading}");
        assert!(
            summary.contains(&format!("- [{heading}]({page})\n")),
            "docs/SUMMARY.md does not have {page} as {heading}"
        );
        assert!(text.contains("\nDate: 20"), "{page}: when was it decided?");
        assert!(numbers.insert(number), "{page}: that number is another decision's");
    }
}

/// At three in the morning the name of an alert is what somebody has.
#[test]
fn where_an_alert_is_named_its_page_is_linked() {
    let alerts: Vec<String> =
        below_docs().into_iter().filter(|page| page.starts_with("runbooks/RedisMemory")).collect();
    assert!(alerts.len() > 15, "{alerts:?}");
    let mut named = 0;
    for page in below_docs().into_iter().map(|page| format!("docs/{page}")).chain(["README.md".to_owned()]) {
        let text = read(&page);
        for alert in &alerts {
            let file = alert.trim_start_matches("runbooks/");
            let name = file.trim_end_matches(".md");
            let says = text.split(|c: char| !c.is_alphanumeric()).any(|word| word == name);
            if says && page != format!("docs/{alert}") {
                assert!(text.contains(&format!("{file})")), "{page}: {name} without a link to its page");
                named += 1;
            }
        }
    }
    assert!(named >= alerts.len(), "{named}");
}
