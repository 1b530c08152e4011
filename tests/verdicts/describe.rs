//! A status as `kubectl get` and `kubectl describe` show it, for docs/verdicts.md.

use std::fmt::Write as _;

use redis_memory_operator::api::v1alpha1::RedisMemoryPolicyStatus;
use serde_json::Value;

/// What both commands print of that status.
pub fn describe(status: &RedisMemoryPolicyStatus, mode: &str) -> String {
    let verdict = status.verdict.as_ref().unwrap();
    let brief = verdict.brief.chars().count().max(5);
    let mut out = "$ kubectl get rmp -n shop\n".to_owned();
    writeln!(out, "NAME       VERDICT   {:<brief$}   MODE      AGE", "BRIEF").unwrap();
    writeln!(out, "sessions   {:<7}   {:<brief$}   {mode:<7}   41d", verdict.level, verdict.brief).unwrap();
    out.push_str("$ kubectl describe rmp sessions -n shop\n…\nStatus:\n");
    fields(&mut out, &serde_json::to_value(status).unwrap(), 2);
    out
}

/// The fields of an object in the order of their names.
fn fields(out: &mut String, object: &Value, indent: usize) {
    for (name, value) in object.as_object().unwrap() {
        let label = label(name);
        match value {
            Value::Object(_) => {
                writeln!(out, "{:indent$}{label}:", "").unwrap();
                fields(out, value, indent + 2);
            }
            Value::Array(items) => {
                writeln!(out, "{:indent$}{label}:", "").unwrap();
                for item in items {
                    match item {
                        Value::Object(_) => fields(out, item, indent + 2),
                        plain => writeln!(out, "{:deeper$}{}", "", text(plain), deeper = indent + 2).unwrap(),
                    }
                }
            }
            plain => writeln!(out, "{:indent$}{label}:  {}", "", text(plain)).unwrap(),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// "lastPrimary" as "Last Primary".
fn label(name: &str) -> String {
    let mut label = String::new();
    for (n, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && n > 0 {
            label.push(' ');
        }
        label.push(if n == 0 { letter.to_ascii_uppercase() } else { letter });
    }
    label
}
