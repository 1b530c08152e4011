//! The page as a strict parser and a screen reader see it.

use std::collections::BTreeSet;

use pretty_assertions::assert_eq;
use proptest::prelude::*;
use roxmltree::{Document, Node, ParsingOptions};

use super::render;
use crate::cli::{
    layout::clean,
    report::tests::{HOSTILE, fleet, hostile, shop},
};

/// The page as XML: HTML that is this strict means the same to every browser.
fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}\n{page}"))
}

fn named<'a>(page: &'a Document<'_>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> + 'a {
    page.descendants().filter(move |node| node.has_tag_name(name))
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter_map(|it| it.is_text().then(|| it.text()).flatten()).collect()
}

fn ids(page: &Document<'_>) -> Vec<String> {
    page.descendants().filter_map(|node| node.attribute("id")).map(str::to_owned).collect()
}

/// What must hold of every page.
fn well_made(page: &Document<'_>) {
    let all = ids(page);
    let once: BTreeSet<&String> = all.iter().collect();
    assert_eq!(all.len(), once.len(), "each id once");
    for node in page.descendants().filter(Node::is_element) {
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            let leads_away = ["src", "srcset", "data", "action", "style"].contains(&name) || name.starts_with("on");
            assert!(!leads_away && !value.contains("://"), "{name}={value:?}");
            match name {
                "href" => assert!(value.strip_prefix('#').is_some_and(|id| once.contains(&id.to_owned())), "{value}"),
                "aria-labelledby" => {
                    assert!(value.split(' ').all(|id| once.contains(&id.to_owned())), "{value}");
                }
                _ => {}
            }
        }
        let known = "html head meta title style body a svg defs pattern rect main h1 h2 h3 p span dl div dt dd table \
                     caption thead tbody tr th td desc figure figcaption polyline line circle br";
        assert!(known.split_whitespace().any(|known| node.has_tag_name(known)), "{:?}", node.tag_name());
    }
    assert_eq!(named(page, "h1").count(), 1);
    let levels = page.descendants().filter_map(|node| node.tag_name().name().strip_prefix('h')?.parse::<u8>().ok());
    levels.fold(0, |before, level| {
        assert!(level <= before + 1, "h{level} after h{before}: a level is left out");
        level
    });
}

#[test]
fn the_page_is_whole_and_stands_alone() {
    let text = render(&shop());
    let page = parsed(&text);
    well_made(&page);
    assert_eq!(page.root_element().attribute("lang"), Some("en"));
    let policy =
        named(&page, "meta").find_map(|meta| meta.attribute("content").filter(|it| it.contains("default-src")));
    assert_eq!(policy, Some("default-src 'none'; style-src 'unsafe-inline'"));
    assert!(!text.contains("@import") && text.matches("url(").count() == 1, "only the hatching of the page itself");
}

#[test]
fn tables_have_heads_captions_and_can_be_reached_by_keyboard() {
    let text = render(&shop());
    let page = parsed(&text);
    assert_eq!(named(&page, "table").count(), 5, "sets, pods, findings, refusals, events");
    for table in named(&page, "table") {
        let region = table.parent().unwrap();
        assert_eq!((region.attribute("tabindex"), region.attribute("role")), (Some("0"), Some("region")));
        let caption = table.children().find(|child| child.has_tag_name("caption")).unwrap();
        assert_eq!(region.attribute("aria-labelledby"), caption.attribute("id"));
        let columns = table.descendants().filter(|it| it.attribute("scope") == Some("col")).count();
        for row in table.descendants().filter(|it| it.has_tag_name("tbody")).flat_map(|body| body.children()) {
            if row.has_tag_name("tr") {
                assert_eq!(row.children().filter(Node::is_element).count(), columns, "{}", self::text(row));
                assert_eq!(row.first_element_child().unwrap().attribute("scope"), Some("row"));
            }
        }
    }
    assert!(named(&page, "th").all(|head| head.attribute("scope").is_some()));
}

#[test]
fn every_picture_says_in_words_what_it_shows() {
    let text = render(&shop());
    let page = parsed(&text);
    let pictures: Vec<Node<'_, '_>> = named(&page, "svg").filter(|svg| svg.attribute("role") == Some("img")).collect();
    // Three bars, three histories, one time line.
    assert_eq!(pictures.len(), 7);
    for picture in &pictures {
        let words: Vec<String> = picture
            .children()
            .filter(|it| it.has_tag_name("title") || it.has_tag_name("desc"))
            .map(self::text)
            .collect();
        assert!(words.len() == 2 && words.iter().all(|words| !words.is_empty()), "{words:?}");
    }
    let hidden = named(&page, "svg").filter(|svg| svg.attribute("role").is_none());
    assert!(hidden.into_iter().all(|svg| svg.attribute("aria-hidden") == Some("true")));
    let bar = self::text(pictures[0]);
    assert_eq!(bar, "Memory of redis-0used 69 MiB, waste 132 MiB, resident 201 MiB, limit 1 GiB, free 823 MiB");
}

#[test]
fn a_bar_is_as_long_as_its_numbers() {
    let text = render(&shop());
    let page = parsed(&text);
    let bar = named(&page, "svg").find(|svg| svg.attribute("class") == Some("bar")).unwrap();
    let parts: Vec<_> = bar
        .children()
        .filter(|it| it.has_tag_name("rect"))
        .map(|it| (it.attribute("class").unwrap(), it.attribute("x").unwrap(), it.attribute("width").unwrap()))
        .collect();
    // 69, 132 and 1024 MiB of 1024.
    assert_eq!(parts, [("free", "0.00%", "100.00%"), ("used", "0.00%", "6.73%"), ("wasted", "6.73%", "12.89%")]);
}

#[test]
fn a_line_is_drawn_only_where_there_are_readings() {
    let mut report = shop();
    assert_eq!(render(&report).matches("<polyline").count(), 6, "used and resident of three pods");
    for pod in report.policies.iter_mut().flat_map(|policy| &mut policy.sets).flat_map(|set| &mut set.pods) {
        pod.history.clear();
    }
    assert_eq!(render(&report).matches("<polyline").count(), 0);
    for policy in &mut report.policies {
        policy.lately.truncate(1);
    }
    assert_eq!(render(&report).matches("<circle").count(), 0, "one moment is no line of time");
}

#[test]
fn two_hundred_sets_are_a_page_of_the_same_form() {
    let text = render(&fleet());
    let page = parsed(&text);
    well_made(&page);
    let linked: BTreeSet<&str> = named(&page, "a").filter_map(|a| a.attribute("href")).collect();
    assert!(linked.len() >= 210, "each set and each policy: {}", linked.len());
    assert!(text.len() < 2 << 20, "{} bytes", text.len());
}

#[test]
fn nobody_writes_html_but_we() {
    for hostile_text in HOSTILE {
        let rendered = render(&hostile(hostile_text));
        let page = parsed(&rendered);
        well_made(&page);
        let title = named(&page, "title").next().map(text).unwrap();
        assert_eq!(title, format!("Redis memory: {}", clean(hostile_text)));
        let shown = text(page.root_element());
        assert!(shown.matches(&clean(hostile_text)).count() > 20, "it is shown as it was written");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_is_written_the_page_is_whole(name in any::<String>()) {
        let rendered = render(&hostile(&name));
        well_made(&parsed(&rendered));
    }
}
