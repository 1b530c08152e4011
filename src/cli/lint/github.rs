//! What `lint` found, as commands of a GitHub workflow: annotations beside the lines.

use std::fmt::Write as _;

use crate::{
    domain::finding::Severity,
    lint::{Place, Report},
};

/// One line for each finding and each thing that could not be judged.
pub(super) fn annotations(report: &Report) -> String {
    let mut out = String::new();
    for judged in &report.judged {
        for finding in &judged.findings {
            let level = match finding.severity {
                Severity::Critical => "error",
                Severity::Warning => "warning",
                Severity::Info => "notice",
            };
            let text = format!("{}, {}: {}. {}", judged.object, judged.container, finding.evidence, finding.remedy);
            annotation(&mut out, level, &judged.place, finding.code.as_str(), &text);
        }
    }
    for problem in &report.problems {
        annotation(&mut out, "error", &problem.place, "not judged", &problem.text);
    }
    out
}

fn annotation(out: &mut String, level: &str, place: &Place, title: &str, text: &str) {
    let (file, title) = (property(&place.file), property(title));
    let _writing_to_a_string_cannot_fail =
        writeln!(out, "::{level} file={file},line={},title={title}::{}", place.line, data(text));
}

/// What would end the text of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What would end a property of a command besides.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_command() {
        let mut out = String::new();
        let place = Place { file: "a,b:c.yaml".into(), line: 3 };
        annotation(&mut out, "error", &place, "T", "50 %\n::stop::");
        assert_eq!(out, "::error file=a%2Cb%3Ac.yaml,line=3,title=T::50 %25%0A::stop::\n");
    }
}
