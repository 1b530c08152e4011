//! Colours and form of the page. Every pair of colours that meets on it has the contrast that WCAG 2.2 asks for: 4.5 for
//! text (1.4.3), 3 for what a picture consists of (1.4.11); a test computes it from these constants.

/// The colours of one scheme, as `#rrggbb`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    /// What the page is made of, and the surfaces on it.
    pub(super) page: &'static str,
    pub(super) surface: &'static str,
    /// Text, by how loud it is.
    pub(super) text: &'static str,
    pub(super) muted: &'static str,
    pub(super) link: &'static str,
    /// Lines around things.
    pub(super) border: &'static str,
    /// Words of a verdict or severity.
    pub(super) bad: &'static str,
    pub(super) warn: &'static str,
    pub(super) fine: &'static str,
    /// Parts of a bar.
    pub(super) used: &'static str,
    pub(super) waste: &'static str,
}

/// On screens in the light, and on paper.
pub(super) const LIGHT: Palette = Palette {
    page: "#ffffff",
    surface: "#f3f5f8",
    text: "#171c21",
    muted: "#48525d",
    link: "#0b57a4",
    border: "#78828d",
    bad: "#a50e1f",
    warn: "#7a4a00",
    fine: "#1a6a2b",
    used: "#1c6bb0",
    waste: "#b8470b",
};

/// On screens in the dark.
pub(super) const DARK: Palette = Palette {
    page: "#13171b",
    surface: "#1d2329",
    text: "#e8ecf0",
    muted: "#b0bac4",
    link: "#82baf2",
    border: "#85909b",
    bad: "#ff9c96",
    warn: "#f2c14e",
    fine: "#7fd493",
    used: "#559fe0",
    waste: "#f0924f",
};

impl Palette {
    fn variables(&self) -> String {
        let Self { page, surface, text, muted, link, border, bad, warn, fine, used, waste } = self;
        format!(
            "--page:{page};--surface:{surface};--text:{text};--muted:{muted};--link:{link};--border:{border};\
             --bad:{bad};--warn:{warn};--fine:{fine};--used:{used};--waste:{waste}"
        )
    }
}

/// The style sheet. The rules for paper come last, and paper is light.
pub(super) fn css() -> String {
    let (light, dark) = (LIGHT.variables(), DARK.variables());
    format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{RULES}\
         @media print{{:root{{color-scheme:light;{light}}}\n{PAPER}}}\n"
    )
}

/// Form, for every medium.
const RULES: &str = "\
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:90rem;margin:0 auto;padding:1rem 1.5rem 4rem}
h1{font-size:1.75rem;margin:1rem 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.35rem;margin:2.5rem 0 .5rem;padding-top:1rem;border-top:1px solid var(--border);overflow-wrap:anywhere}
h3{font-size:1.1rem;margin:1.5rem 0 .5rem;overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:75ch;overflow-wrap:anywhere}
a{color:var(--link)}
a:focus-visible,.wide:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-100vw;background:var(--page);padding:.5rem}
.skip:focus{left:0}
.patterns{position:absolute}
.note{color:var(--muted);border-left:4px solid var(--border);padding-left:.75rem}
.verdict{font-size:1.05rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,14rem),1fr));gap:.5rem;margin:.75rem 0}
dl div{background:var(--surface);border-radius:.375rem;padding:.5rem .75rem;min-width:0}
dt{color:var(--muted);font-size:.875rem}
dd{margin:0;overflow-wrap:anywhere}
@media (max-width:40rem){main{padding:.5rem 1rem 2rem}dl{grid-template-columns:1fr 1fr}}
.parts{display:block;max-width:75ch}
.parts div{background:none;padding:.125rem 0;display:grid;grid-template-columns:5.5rem 1fr;gap:.5rem}
.parts dt{font-size:1rem}
.wide{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;width:100%;font-size:.875rem}
caption{text-align:left;color:var(--muted);padding-bottom:.375rem}
th,td{text-align:left;vertical-align:top;padding:.375rem .5rem;border-bottom:1px solid var(--border)}
thead th{background:var(--surface);vertical-align:bottom}
tbody th{font-weight:600;min-width:6.5rem}
th,td{overflow-wrap:break-word}
td{min-width:5.5rem}
.number{text-align:right;font-variant-numeric:tabular-nums}
td.number{white-space:nowrap;min-width:3.5rem}
td.picture{min-width:9rem}
.when{white-space:nowrap}
.badge{font-weight:700;border:1px solid;border-radius:.25rem;padding:0 .375rem;white-space:nowrap}
.bad{color:var(--bad)}
.warn{color:var(--warn)}
.fine{color:var(--fine)}
.info{color:var(--link)}
.open{color:var(--muted)}
.legend{margin-left:1rem;white-space:nowrap}
.legend svg{vertical-align:-1px}
figure{margin:.75rem 0}
figcaption{color:var(--muted);font-size:.875rem;max-width:90ch}
.history{display:inline-block;width:min(100%,23.5rem);margin-right:1.5rem;vertical-align:top}
.bar,.time,.lines{display:block}
.bar{overflow:visible}
.lines{width:100%;height:5rem;background:var(--surface)}
.time{max-width:60rem}
.surface{fill:var(--surface)}
.used{fill:var(--used)}
.waste{fill:var(--waste)}
.wasted{fill:url(#hatched);stroke:var(--waste)}
.free{fill:none;stroke:var(--border)}
.unknown{fill:none;stroke:var(--border);stroke-dasharray:4 3}
.event{fill:var(--used);stroke:var(--page)}
.axis{stroke:var(--border)}
polyline{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
.line-rss{stroke:var(--waste)}
.line-used{stroke:var(--used);stroke-dasharray:6 4}
";

/// Form on paper: across, nothing cut off, no table row over two sheets, the head of a table on each of them.
const PAPER: &str = "\
@page{size:A4 landscape;margin:12mm}
:root{font-size:8.5pt}
body{font-size:1rem}
main{max-width:none;padding:0}
h2{margin-top:1.5rem}
p,.parts{max-width:none}
dl{grid-template-columns:repeat(auto-fit,minmax(14rem,1fr))}
.skip{display:none}
.wide{overflow:visible}
th,td{padding:.2rem .35rem}
td,td.number{min-width:0}
td.picture{min-width:9rem}
thead{display:table-header-group;break-after:avoid}
thead tr{break-after:avoid}
tr,figure,.verdict,dl div{break-inside:avoid}
h1,h2,h3,caption{break-after:avoid}
a{color:inherit;text-decoration:none}
svg,.badge,thead th,dl div{print-color-adjust:exact;-webkit-print-color-adjust:exact}
";

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Relative luminance and contrast ratio by WCAG 2.2, "relative luminance" and "contrast ratio".
    fn luminance(colour: &str) -> f64 {
        let digits = colour.strip_prefix('#').filter(|digits| digits.len() == 6).expect("a colour is #rrggbb");
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal")) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn the_checker_computes_what_the_standard_says() {
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 0.001);
        assert!((contrast("#777777", "#ffffff") - 4.48).abs() < 0.01, "the well-known grey that just fails");
    }

    #[rstest]
    #[case::light(LIGHT)]
    #[case::dark(DARK)]
    fn everything_can_be_read(#[case] palette: Palette) {
        let Palette { page, surface, text, muted, link, border, bad, warn, fine, used, waste } = palette;
        for behind in [page, surface] {
            for front in [text, muted, link, bad, warn, fine] {
                assert!(contrast(front, behind) >= 4.5, "text {front} on {behind}: {:.2}", contrast(front, behind));
            }
            for front in [border, used, waste] {
                assert!(contrast(front, behind) >= 3.0, "{front} on {behind}: {:.2}", contrast(front, behind));
            }
        }
    }

    /// A colour that is written into a rule would be in neither scheme, and in no test.
    #[test]
    fn every_colour_is_of_a_palette() {
        for rules in [RULES, PAPER] {
            let stray: Vec<&str> = rules.lines().filter(|rule| rule.contains('#') && !rule.contains("url(#")).collect();
            assert!(stray.is_empty() && !rules.contains("rgb"), "{stray:?}");
            let named = rules.split("var(--").skip(1).filter_map(|rest| rest.split(')').next());
            for name in named {
                assert!(LIGHT.variables().contains(&format!("--{name}:")), "{name} is no colour of a palette");
            }
        }
    }

    #[test]
    fn paper_is_light_whatever_the_screen_is() {
        let css = css();
        let (dark, paper) = (css.find(DARK.page).unwrap(), css.rfind(LIGHT.page).unwrap());
        assert!(css[..paper].rfind("@media print").unwrap() > dark, "{css}");
        assert_eq!(css.matches('{').count(), css.matches('}').count());
    }
}
