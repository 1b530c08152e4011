//! What was typed and printed, with what differs from run to run written as it might be.

use super::steps::in_one_line;

/// A transcript.
#[derive(Debug, Default)]
pub(crate) struct Record {
    typed: Vec<(String, String)>,
}

/// Names of days, which begin a time in the output of Helm.
const DAYS: [&str; 7] = ["Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat ", "Sun "];

impl Record {
    /// A command, and what it has printed.
    pub(crate) fn add(&mut self, command: &str, said: &str) {
        self.typed.push((command.to_owned(), said.to_owned()));
    }

    /// Whether a person who copies what was printed, and writes names where they are asked for, comes to that command.
    pub(crate) fn has_printed(&self, command: &str) -> bool {
        self.typed.iter().any(|(_, said)| {
            let said = in_one_line(said).replace("NAMESPACE", "shop").replace(" NAME ", " sessions ");
            said.contains(command)
        })
    }

    /// All of it, as a page shows it.
    pub(crate) fn text(&self) -> String {
        let parts = self.typed.iter().map(|(command, said)| {
            let said: Vec<String> = said.trim_end().lines().map(usual).collect();
            format!("$ {command}\n{}\n", said.join("\n"))
        });
        parts.collect::<Vec<_>>().join("\n")
    }
}

/// A line with times and UIDs that are always the same. Nothing that is measured is changed.
fn usual(line: &str) -> String {
    if let Some((name, rest)) = line.split_once(':')
        && DAYS.iter().any(|day| rest.trim_start().starts_with(day))
    {
        return format!("{name}:{}Fri Jan  2 03:04:05 2026", " ".repeat(rest.len() - rest.trim_start().len()));
    }
    let mut out = String::new();
    let mut rest = line.trim_end();
    while let Some(first) = rest.chars().next() {
        let fixed = [("0000-00-00T00:00:00Z", "2026-01-02T03:04:05Z"), ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", UID)];
        let found = fixed.into_iter().find(|(shape, _)| has_shape(rest, shape));
        let skipped = if let Some((shape, shown)) = found {
            out.push_str(shown);
            shape.len()
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = rest.split_at(skipped).1;
    }
    out
}

const UID: &str = "00000000-0000-4000-8000-000000000000";

/// Whether the text begins like that: `0` is a digit, `x` a hexadecimal one, the rest itself.
fn has_shape(text: &str, shape: &str) -> bool {
    let mut characters = text.chars();
    shape.chars().all(|wanted| {
        characters.next().is_some_and(|it| match wanted {
            '0' => it.is_ascii_digit(),
            'x' => it.is_ascii_hexdigit(),
            other => it == other,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_printed_is_not_taken_for_printed() {
        let mut record = Record::default();
        record.add("helm install x", "next:\n  kubectl patch rmp NAME --namespace NAMESPACE \\\n    --patch x\n");
        assert!(record.has_printed("kubectl patch rmp sessions --namespace shop --patch x"));
        assert!(!record.has_printed("kubectl patch rmp sessions --namespace shop --patch y"));
        assert_eq!(in_one_line("a \\\n   b"), "a b");
        assert!(record.text().starts_with("$ helm install x\nnext:\n"));
    }

    #[test]
    fn times_and_uids_are_always_the_same_and_numbers_stay() {
        let line = "since 2031-10-31T23:59:01Z: pod 9f1c2d3e-0a1b-4c5d-8e9f-0123456789ab has 12 MiB";
        assert_eq!(usual(line), format!("since 2026-01-02T03:04:05Z: pod {UID} has 12 MiB"));
        assert_eq!(usual("LAST DEPLOYED: Mon Nov 30 04:44:43 2026"), "LAST DEPLOYED: Fri Jan  2 03:04:05 2026");
    }
}
