//! The chart's README and the descriptions of its schema: both are made from the comments of values.yaml.
//!
//! With RMO_GENERATE_INTO (`make generate`) they are written there instead of being compared.

use std::{fmt::Write as _, fs};

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};

use crate::helm::{generate_into, root};

const CHART: &str = "charts/redis-memory-operator";
/// Between these two lines of the README stands what is generated.
const BEGIN: &str = "<!-- Generated from values.yaml by `make generate`. Do not edit. -->\n";
const END: &str = "<!-- End of what is generated. -->\n";

/// What values.yaml says, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Section(String),
    /// Path and comment.
    Value(String, String),
}

/// Reads comments and keys. A comment is about the key below it; one that an empty line ends is about the file.
fn said(text: &str) -> Vec<Said> {
    let (mut said, mut comment, mut path): (Vec<Said>, Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let bare = line.trim_start();
        if let Some(title) = line.strip_prefix("## ") {
            said.push(Said::Section(title.to_owned()));
        } else if let Some(words) = bare.strip_prefix('#') {
            comment.push(words.trim());
        } else if bare.is_empty() {
            comment.clear();
        } else if let Some((key, _)) = bare.split_once(':') {
            path.truncate((line.len() - bare.len()) / 2);
            path.push(key);
            said.push(Said::Value(path.join("."), comment.join(" ")));
            comment.clear();
        }
    }
    said
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(CHART).join(file)).unwrap()
}

fn at<'a>(values: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(values, |value, key| &value[key])
}

/// A group is a map of values that are documented each by itself.
fn is_group(all: &[Said], path: &str) -> bool {
    let inside = format!("{path}.");
    all.iter()
        .any(|one| matches!(one, Said::Value(other, comment) if other.starts_with(&inside) && !comment.is_empty()))
}

/// Whether its fields are Kubernetes' own: the values below it are its default.
fn is_inside_of_a_value(all: &[Said], path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(parent, _)| !is_group(all, parent))
}

fn tables(text: &str) -> String {
    let values: Value = serde_yaml::from_str(text).unwrap();
    let all = said(text);
    let mut page = String::new();
    for one in &all {
        match one {
            Said::Section(title) => {
                let _ = write!(page, "\n### {title}\n\n| value | default | meaning |\n|---|---|---|\n");
            }
            Said::Value(path, _) if is_inside_of_a_value(&all, path) => {}
            Said::Value(path, comment) => {
                let default = if is_group(&all, path) { String::new() } else { format!("`{}`", at(&values, path)) };
                let _ = writeln!(page, "| `{path}` | {default} | {} |", comment.replace('|', "\\|"));
            }
        }
    }
    page.push('\n');
    page
}

fn readme() -> String {
    let page = read("README.md");
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    format!("{head}{BEGIN}{}{END}{tail}", tables(&read("values.yaml")))
}

fn schema() -> String {
    let mut schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let all = said(&read("values.yaml"));
    for one in &all {
        if let Said::Value(path, comment) = one
            && !is_inside_of_a_value(&all, path)
        {
            let node = path.split('.').fold(&mut schema, |node, key| &mut node["properties"][key]);
            node["description"] = json!(comment);
        }
    }
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

#[rstest]
#[case::readme("README.md", readme())]
#[case::schema("values.schema.json", schema())]
fn generated_parts_are_current(#[case] file: &str, #[case] made: String) {
    match generate_into() {
        Some(into) => fs::write(into.join(CHART).join(file), made).unwrap(),
        None => assert_eq!(read(file), made, "run `make generate` and commit the result"),
    }
}

#[test]
fn every_value_has_a_comment_and_a_section() {
    let all = said(&read("values.yaml"));
    assert!(matches!(all.first(), Some(Said::Section(_))), "the first value stands in a section");
    let silent: Vec<_> = all
        .iter()
        .filter_map(|one| match one {
            Said::Value(path, comment) if comment.is_empty() && !is_inside_of_a_value(&all, path) => Some(path),
            _ => None,
        })
        .collect();
    assert_eq!(Vec::<&String>::new(), silent);
    assert!(all.len() > 60, "the values were not found");
}

#[test]
fn comments_are_read_as_people_read_them() {
    let text = "# About the file.\n\n## One\n# Of a,\n# and more.\na:\n  # Of b.\n  b: 1\n# Of c.\nc:\n  d: {e: 1}\n";
    let value = |path: &str, comment: &str| Said::Value(path.to_owned(), comment.to_owned());
    let found = said(text);
    let wanted = [
        Said::Section("One".to_owned()),
        value("a", "Of a, and more."),
        value("a.b", "Of b."),
        value("c", "Of c."),
        value("c.d", ""),
    ];
    assert_eq!(found, wanted);
    let page = tables(text);
    for row in ["| `a` |  | Of a, and more. |", "| `a.b` | `1` | Of b. |", r#"| `c` | `{"d":{"e":1}}` | Of c. |"#] {
        assert!(page.contains(row), "{page}");
    }
    assert!(!page.contains("c.d") && !page.contains("About the file"), "{page}");
}

/// What is typed and described, at each place of the schema: of maps, lists and their items too.
fn gaps(path: &str, node: &Value, found: &mut Vec<String>) {
    for part in ["type", "description"] {
        if node.get(part).is_none() {
            found.push(format!("{path}: no {part}"));
        }
    }
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        gaps(&format!("{path}.{name}"), child, found);
    }
    if node.get("items").is_some() {
        gaps(&format!("{path}[]"), &node["items"], found);
    }
}

#[test]
fn every_place_of_the_schema_is_typed_and_described() {
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let mut found = Vec::new();
    gaps("", &schema, &mut found);
    assert_eq!(Vec::<String>::new(), found);
    gaps("x", &json!({"type": "array", "description": "d", "items": {"type": "string"}}), &mut found);
    assert_eq!(found, ["x[]: no description"], "a gap is seen");
}
