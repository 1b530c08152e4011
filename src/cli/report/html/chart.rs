//! Pictures of numbers, as SVG: each with a title and a text that say the same. Nothing is told by colour alone: waste is
//! hatched, what is free is empty, what is not known is dashed. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::cli::report::{
    escape::html,
    value::{Event, PodPart, Point},
    words,
};

/// Height of a bar and of a line, in CSS pixels.
const HEIGHT: u32 = 16;
/// Width and height of the plane in which lines are drawn; it is stretched to its place.
const PLANE: (u64, u64) = (1000, 100);

/// What waste is filled with: once for the whole page.
pub(super) const PATTERNS: &str = "<svg class=\"patterns\" aria-hidden=\"true\" focusable=\"false\" width=\"0\" height=\"0\"><defs>\
<pattern id=\"hatched\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect class=\"surface\" width=\"6\" height=\"6\"/><rect class=\"waste\" width=\"4\" height=\"6\"/></pattern></defs></svg>\n";

/// What the parts of a bar are.
pub(super) const LEGEND: &str = "<span class=\"legend\">\
<svg aria-hidden=\"true\" width=\"20\" height=\"12\"><rect class=\"used\" width=\"20\" height=\"12\"/></svg> used \
<svg aria-hidden=\"true\" width=\"20\" height=\"12\"><rect class=\"wasted\" width=\"20\" height=\"12\"/></svg> waste \
<svg aria-hidden=\"true\" width=\"20\" height=\"12\"><rect class=\"free\" x=\"0.5\" y=\"0.5\" width=\"19\" height=\"11\"/></svg> \
free to the limit</span>";

/// Names that are given once on a page.
#[derive(Debug, Default)]
pub(super) struct Ids(usize);

impl Ids {
    pub(super) fn next(&mut self, what: &str) -> String {
        self.0 += 1;
        format!("{what}-of-page-{}", self.0)
    }
}

/// An SVG element with its title and text for those who do not see it.
fn svg(attributes: &str, title: &str, text: &str, drawn: &str, ids: &mut Ids) -> String {
    let (title_id, text_id) = (ids.next("title"), ids.next("text"));
    format!(
        "<svg role=\"img\" aria-labelledby=\"{title_id} {text_id}\" {attributes}><title id=\"{title_id}\">{}</title>\
         <desc id=\"{text_id}\">{}</desc>{drawn}</svg>",
        html(title),
        html(text)
    )
}

/// `part` of `whole` in percent of the width, in hundredths.
fn share(part: u64, whole: u64) -> String {
    let hundredths = if whole == 0 { 0 } else { u128::from(part) * 10_000 / u128::from(whole) };
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// What of a pod's memory is used, waste and free below its limit. The whole width is `scale`.
pub(super) fn bar(pod: &PodPart, scale: u64, ids: &mut Ids) -> String {
    let title = format!("Memory of {}", pod.pod);
    let attributes = format!("class=\"bar\" width=\"100%\" height=\"{HEIGHT}\"");
    let mut drawn = String::new();
    let mut rect = |class: &str, from: u64, wide: u64| {
        let (from, wide) = (share(from, scale), share(wide, scale));
        let _writing_to_a_string_cannot_fail =
            write!(drawn, "<rect class=\"{class}\" x=\"{from}\" width=\"{wide}\" y=\"1\" height=\"{}\"/>", HEIGHT - 2);
    };
    let (Some(used), Some(rss), Some(waste)) = (pod.used_bytes, pod.rss_bytes, pod.waste_bytes) else {
        let limit = pod.limit_bytes.unwrap_or(scale);
        let text = format!("What is used is unknown; limit {}", words::limit(pod));
        rect("unknown", 0, limit);
        return svg(&attributes, &title, &text, &drawn, ids);
    };
    // Of a swapped server less is resident than it uses.
    let held = used.min(rss);
    if let Some(limit) = pod.limit_bytes {
        rect("free", 0, limit);
    }
    rect("used", 0, held);
    rect("wasted", held, waste);
    let text = format!(
        "used {}, waste {}, resident {}, limit {}, free {}",
        words::bytes(pod.used_bytes),
        words::bytes(pod.waste_bytes),
        words::bytes(pod.rss_bytes),
        words::limit(pod),
        words::free(pod)
    );
    svg(&attributes, &title, &text, &drawn, ids)
}

/// Resident and used memory over time, from zero to the most that was resident.
pub(super) fn history(pod: &PodPart, ids: &mut Ids) -> String {
    let (Some(first), Some(last)) = (pod.history.first(), pod.history.last()) else { return String::new() };
    let most = pod.history.iter().map(|point| point.rss_bytes.max(point.used_bytes)).max().unwrap_or(0);
    let line = |class: &str, amount: fn(&Point) -> u64| {
        let points: Vec<String> =
            pod.history.iter().map(|point| place(point.at, amount(point), first, last, most)).collect();
        format!("<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "))
    };
    let drawn = line("line-rss", |point| point.rss_bytes) + &line("line-used", |point| point.used_bytes);
    let (from, to) = (words::time(first.at), words::time(last.at));
    let amount = |bytes| words::bytes(Some(bytes));
    let text = format!(
        "From {from} to {to}: resident {} at first and {} at last, used {} and {}; the height is {}",
        amount(first.rss_bytes),
        amount(last.rss_bytes),
        amount(first.used_bytes),
        amount(last.used_bytes),
        amount(most)
    );
    let title = format!("Resident and used memory of {} over time", pod.pod);
    let (width, height) = PLANE;
    let attributes = format!("class=\"lines\" viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\"");
    let picture = svg(&attributes, &title, &text, &drawn, ids);
    let caption = format!("{}: resident (line) and used (dashed). {text}", pod.pod);
    format!("<figure class=\"history\">{picture}<figcaption>{}</figcaption></figure>\n", html(&caption))
}

/// Where a reading lies in the plane.
fn place(at: Timestamp, amount: u64, first: &Point, last: &Point, most: u64) -> String {
    let (width, height) = PLANE;
    let x = along(at, first.at, last.at, width);
    let up = u128::from(amount) * u128::from(height) / u128::from(most.max(1));
    format!("{x},{}", u128::from(height).saturating_sub(up))
}

/// How far that time lies between both, in parts of `whole`.
fn along(at: Timestamp, from: Timestamp, to: Timestamp, whole: u64) -> u64 {
    let since = |time: Timestamp| u128::try_from(time.duration_since(from).as_millis()).unwrap_or(0);
    let far = since(at).min(since(to)) * u128::from(whole) / since(to).max(1);
    u64::try_from(far).unwrap_or(whole)
}

/// When the events were: a dot for each, from the first to the last. Of one moment there is nothing to draw.
pub(super) fn time_line(about: &str, events: &[Event], ids: &mut Ids) -> String {
    let (Some(from), Some(to)) = (events.iter().map(|it| it.at).min(), events.iter().map(|it| it.at).max()) else {
        return String::new();
    };
    if from == to {
        return String::new();
    }
    let mut drawn = format!("<line class=\"axis\" x1=\"1%\" x2=\"99%\" y1=\"{0}\" y2=\"{0}\"/>", HEIGHT / 2);
    for event in events {
        let x = share(100 + along(event.at, from, to, 9800), 10_000);
        let _writing_to_a_string_cannot_fail =
            write!(drawn, "<circle class=\"event\" cx=\"{x}\" cy=\"{}\" r=\"5\"/>", HEIGHT / 2);
    }
    let text = format!("{} events from {} to {}", events.len(), words::time(from), words::time(to));
    let attributes = format!("class=\"time\" width=\"100%\" height=\"{HEIGHT}\"");
    let picture = svg(&attributes, &format!("When something happened to {about}"), &text, &drawn, ids);
    format!("<figure>{picture}<figcaption>{}</figcaption></figure>\n", html(&text))
}
