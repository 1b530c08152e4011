//! Every value of a document has the line that it stands on, however it is written.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::Value;

use super::*;

/// `spec.containers.0.name`.
fn path(text: &str) -> Vec<Step<'_>> {
    text.split('.')
        .filter(|word| !word.is_empty())
        .map(|word| word.parse().map_or(Step::Field(word), Step::Item))
        .collect()
}

const BLOCK: &str = r#"# A comment
kind: StatefulSet   # and more
metadata:
  name: redis
  annotations:
    text: |
      spec:
        containers: none

      - here
    folded: >-
      a
      b: c
spec: &anchor
  replicas: 3
  "quoted key": x
  template:
    spec:
      containers:
      - name: redis
        args:
        - redis-server
        -   --maxmemory
        - "512mb"
        env: [{name: A, value: "x: y, {z}"},
              {name: B, value: 'it''s'}]
      -
        name: exporter
        image: >
          folded
      - {name: sidecar, ports: [1, 2]}
  plain: a scalar that
    goes on: here
  last:
    - - inner
      - second
other: !tag
  deep: 1
"#;

#[rstest]
#[case("kind", 1)]
#[case("metadata.name", 3)]
#[case("metadata.annotations.folded", 10)]
#[case("spec", 13)]
#[case("spec.quoted key", 15)]
#[case("spec.template.spec.containers", 18)]
#[case("spec.template.spec.containers.0", 19)]
#[case("spec.template.spec.containers.0.args.1", 22)]
#[case("spec.template.spec.containers.0.args.2", 23)]
#[case("spec.template.spec.containers.0.env", 24)]
#[case("spec.template.spec.containers.0.env.1.value", 25)]
#[case("spec.template.spec.containers.1", 26)]
#[case("spec.template.spec.containers.1.image", 28)]
#[case("spec.template.spec.containers.2", 30)]
#[case("spec.template.spec.containers.2.ports.1", 30)]
#[case("spec.plain", 31)]
#[case("spec.last.0.1", 35)]
#[case("other.deep", 37)]
#[case::of_what_is_around_it("spec.template.spec.volumes.3", 17)]
fn the_line_of(#[case] at: &str, #[case] line: usize) {
    let text = BLOCK.lines().nth(line).unwrap();
    assert_eq!(Lines::of(BLOCK).line(&path(at)), line, "{text}");
}

/// Every place in the value, as steps.
fn places(value: &Value, path: &[String], out: &mut Vec<Vec<String>>) {
    out.push(path.to_vec());
    let mut with = |step: String, part: &Value| {
        let mut path = path.to_vec();
        path.push(step);
        places(part, &path, out);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, part)| with(name.clone(), part)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, part)| with(at.to_string(), part)),
        _ => {}
    }
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec![
        "",
        "x",
        "two words",
        "a: b",
        "- a",
        "{x}",
        "multi\nline: 1\n- text\n",
        "# no comment",
        "it's",
        "say \"x\"",
        "|",
        "a #b",
        "end:",
        "\u{e4}\u{f6}: \u{fc}",
    ]);
    let leaf = prop_oneof![text.prop_map(Value::from), any::<i32>().prop_map(Value::from), Just(Value::Null)];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("f[a-z]{2,6}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Names are made unique, so that the line with the name is the field's.
    #[test]
    fn every_field_has_its_own_line(value in values(), json in any::<bool>()) {
        let mut counter = 0;
        let value = renamed(value, &mut counter);
        let text = if json { serde_json::to_string_pretty(&value).unwrap() } else { serde_yaml::to_string(&value).unwrap() };
        let lines = Lines::of(&text);
        let mut all = Vec::new();
        places(&value, &[], &mut all);
        for place in all {
            let Some(name) = place.last().filter(|name| name.starts_with('f')) else { continue };
            let line = lines.line(&place.iter().map(|step| step.parse().map_or(Step::Field(step), Step::Item)).collect::<Vec<_>>());
            let there = text.lines().nth(line).unwrap_or_default();
            prop_assert!(there.contains(name.as_str()), "{place:?} on line {line}: {there}\n{text}");
        }
    }

    #[test]
    fn whatever_it_is_nothing_panics_or_hangs(text in "[-:{}\\[\\],'\"|>&!#a \\n\\t\u{e4}]{0,60}") {
        let _lines = Lines::of(&text);
    }
}

fn renamed(value: Value, counter: &mut usize) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, part)| {
                    *counter += 1;
                    (format!("{name}{counter}x"), renamed(part, counter))
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(|part| renamed(part, counter)).collect(),
        other => other,
    }
}

#[test]
fn a_tower_of_brackets_is_no_stack_overflow() {
    let _lines = Lines::of(&"[".repeat(100_000));
    let _lines = Lines::of(&"- ".repeat(100_000));
}
