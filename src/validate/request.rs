//! The annotation by which a person asks for something: JSON, read strictly.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::syntax::is_subdomain;
use crate::api::v1alpha1::RedisMemoryPolicy;
use crate::domain::request::{Ask, REQUEST_ANNOTATION, Request, Wanted};

/// The longest value that is read, in bytes.
const MAX_LENGTH: usize = 1024;
/// Who and why: as long as that, in bytes.
const MAX_TEXT: usize = 200;

/// What is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    switchover: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    by: String,
    at: Timestamp,
    reason: String,
}

/// What is asked for and not answered yet.
pub fn pending(resource: &RedisMemoryPolicy) -> Option<Request> {
    let asked = request(resource.annotations().get(REQUEST_ANNOTATION)?);
    let answered = resource.status.as_ref().and_then(|status| status.request.as_ref());
    answered.is_none_or(|answered| answered.id != asked.id).then_some(asked)
}

/// The request that the annotation states, or what is wrong with it.
pub fn request(text: &str) -> Request {
    let hash = Sha256::digest(text.as_bytes());
    let id = hash.iter().take(8).fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    });
    let ask = ask(text).map_err(|why| format!("the annotation {REQUEST_ANNOTATION} {why}"));
    Request { id, ask }
}

/// The value of the annotation that asks for this.
pub fn written(ask: &Ask) -> String {
    let (restart, switchover, to) = match &ask.wanted {
        Wanted::Restart { name } => (Some(name.clone()), None, None),
        Wanted::Switchover { set, to } => (None, Some(set.clone()), to.as_ref().map(ToString::to_string)),
    };
    let (by, at, reason) = (ask.by.clone(), ask.at, ask.reason.clone());
    serde_json::to_string(&Written { restart, switchover, to, by, at, reason }).unwrap_or_default()
}

fn ask(text: &str) -> Result<Ask, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("has {} bytes; at most {MAX_LENGTH} are read", text.len()));
    }
    let Written { restart, switchover, to, by, at, reason } =
        serde_json::from_str(text).map_err(|error| format!("is not the JSON of a request: {error}"))?;
    for (field, value) in [("by", &by), ("reason", &reason)] {
        if value.trim().is_empty() || value.len() > MAX_TEXT || value.chars().any(char::is_control) {
            return Err(format!("`{field}` must be a text of 1 to {MAX_TEXT} bytes on one line"));
        }
    }
    let named = |field: &str, name: String| {
        if is_subdomain(&name) { Ok(name) } else { Err(format!("`{field}` {name:?} is no name of a pod or a set")) }
    };
    let wanted = match (restart, switchover, to) {
        (Some(name), None, None) => Wanted::Restart { name: named("restart", name)? },
        (None, Some(set), to) => Wanted::Switchover {
            set: named("switchover", set)?,
            to: to.map(|to| named("to", to)).transpose()?.map(Into::into),
        },
        (Some(_), None, Some(_)) => return Err("has `to`, which only a `switchover` takes".to_owned()),
        (Some(_), Some(_), _) => return Err("has both `restart` and `switchover`: ask for one".to_owned()),
        (None, None, _) => return Err("has neither `restart` nor `switchover`".to_owned()),
    };
    Ok(Ask { wanted, by, at, reason })
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::restart(Wanted::Restart { name: "redis-1".into() })]
    #[case::switchover(Wanted::Switchover { set: "redis".into(), to: None })]
    #[case::switchover_to(Wanted::Switchover { set: "redis".into(), to: Some("redis-2".into()) })]
    fn what_is_written_is_read(#[case] wanted: Wanted) {
        let at = "2026-01-02T03:00:00Z".parse().unwrap();
        let ask = Ask { wanted, by: "alice@example.org".into(), at, reason: "kernel \"update\"".into() };
        let text = written(&ask);
        assert_eq!(request(&text).ask, Ok(ask));
        assert_eq!(request(&text).id, request(&text).id);
        assert_ne!(request(&text).id, request(&format!("{text} ")).id, "each value is a request of its own");
    }

    #[rstest]
    #[case::no_json("restart redis", "is not the JSON of a request")]
    #[case::unknown(
        r#"{"restart": "a", "by": "b", "at": "2026-01-02T03:00:00Z", "reason": "c", "force": true}"#,
        "force"
    )]
    #[case::nobody(r#"{"restart": "a", "at": "2026-01-02T03:00:00Z", "reason": "c"}"#, "by")]
    #[case::no_time(r#"{"restart": "a", "by": "b", "at": "today", "reason": "c"}"#, "is not the JSON of a request")]
    #[case::no_reason(
        r#"{"restart": "a", "by": "b", "at": "2026-01-02T03:00:00Z", "reason": " "}"#,
        "`reason` must be"
    )]
    #[case::lines(r#"{"restart": "a", "by": "b\nc", "at": "2026-01-02T03:00:00Z", "reason": "c"}"#, "`by` must be")]
    #[case::neither(r#"{"by": "b", "at": "2026-01-02T03:00:00Z", "reason": "c"}"#, "has neither")]
    #[case::both(
        r#"{"restart": "a", "switchover": "a", "by": "b", "at": "2026-01-02T03:00:00Z", "reason": "c"}"#,
        "both"
    )]
    #[case::to(r#"{"restart": "a", "to": "a-1", "by": "b", "at": "2026-01-02T03:00:00Z", "reason": "c"}"#, "`to`")]
    #[case::name(r#"{"restart": "a b", "by": "b", "at": "2026-01-02T03:00:00Z", "reason": "c"}"#, "is no name")]
    fn what_is_wrong_is_said(#[case] text: &str, #[case] says: &str) {
        let why = request(text).ask.unwrap_err();
        assert!(why.starts_with("the annotation redismemory.io/request ") && why.contains(says), "{why}");
    }

    #[test]
    fn a_long_value_is_not_read() {
        let why = request(&"x".repeat(5000)).ask.unwrap_err();
        assert!(why.contains("has 5000 bytes"), "{why}");
    }
}
