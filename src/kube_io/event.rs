//! Events of `events.k8s.io/v1`, one per transition.

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::Resource as _;

use super::text::plain;
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    domain::{
        event::{EventNote, EventType},
        names::{PodName, PodUid},
    },
};

/// `reportingController` of our events.
const CONTROLLER: &str = "redismemory.io/redis-memory-operator";
/// The API server's limits, in bytes: note (1 kB), reason and action, reporting instance.
const NOTE_CAP: usize = 1024;
const WORD_CAP: usize = 128;
/// What the API server keeps of `generateName` before it adds its five characters.
const NAME_CAP: usize = 58;

/// What an event is about, and which other object plays a part.
#[derive(Clone, Debug, PartialEq)]
pub struct EventTarget {
    regarding: ObjectReference,
    related: Option<ObjectReference>,
}

impl EventTarget {
    /// About the policy.
    pub fn policy(policy: &RedisMemoryPolicy) -> Self {
        let mut regarding = policy.object_ref(&());
        // The version at which an event was written says nothing, and would keep equal references apart.
        regarding.resource_version = None;
        Self { regarding, related: None }
    }

    /// About any object; it must have a namespace.
    pub const fn object(regarding: ObjectReference) -> Self {
        Self { regarding, related: None }
    }

    /// With a pod of the same namespace that it concerns.
    #[must_use]
    pub fn with_pod(mut self, name: &PodName, uid: &PodUid) -> Self {
        self.related = Some(ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: self.regarding.namespace.clone(),
            name: Some(name.as_str().to_owned()),
            uid: Some(uid.as_str().to_owned()).filter(|uid| !uid.is_empty()),
            ..ObjectReference::default()
        });
        self
    }

    /// The namespace that the event is written to: events live beside what they are about.
    pub(super) fn namespace(&self) -> &str {
        self.regarding.namespace.as_deref().unwrap_or("default")
    }
}

/// The event as it is sent. The API server completes the name.
pub(super) fn build(about: &EventTarget, note: &EventNote, now: Timestamp, instance: &str) -> Event {
    let name = about.regarding.name.as_deref().unwrap_or("event");
    let kept: String = name.chars().take(NAME_CAP - 1).collect();
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", kept.trim_end_matches(['.', '-']))),
            namespace: Some(about.namespace().to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some(
            match note.type_ {
                EventType::Normal => "Normal",
                EventType::Warning => "Warning",
            }
            .to_owned(),
        ),
        reason: Some(plain(&note.reason, WORD_CAP)),
        action: Some(plain(&note.action, WORD_CAP)),
        note: Some(plain(&note.note, NOTE_CAP)),
        regarding: Some(about.regarding.clone()),
        related: about.related.clone(),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(plain(instance, WORD_CAP)),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    fn about() -> EventTarget {
        EventTarget::object(ObjectReference {
            kind: Some("RedisMemoryPolicy".into()),
            namespace: Some("shop".into()),
            name: Some("sessions".into()),
            ..ObjectReference::default()
        })
    }

    fn note(text: &str) -> EventNote {
        EventNote {
            type_: EventType::Warning,
            reason: "RemediationBlocked".into(),
            action: "Evict".into(),
            note: text.into(),
        }
    }

    #[test]
    fn stays_within_the_limits_of_the_api_server() {
        let long = format!("line one\nline two {}", "ö".repeat(2000));
        let event = build(&about(), &note(&long), Timestamp::UNIX_EPOCH, &"i".repeat(500));
        let text = event.note.expect("a note");
        assert!(text.len() <= NOTE_CAP && text.starts_with("line one line two "));
        assert!(event.reporting_instance.expect("an instance").len() <= WORD_CAP);
    }

    #[rstest]
    #[case("sessions", "sessions-")]
    #[case(&format!("{}.{}", "a".repeat(56), "b".repeat(100)), &format!("{}-", "a".repeat(56)))]
    fn a_name_stays_a_name_when_it_is_cut(#[case] name: &str, #[case] want: &str) {
        let object = ObjectReference { name: Some(name.into()), ..ObjectReference::default() };
        let event = build(&EventTarget::object(object), &note("n"), Timestamp::UNIX_EPOCH, "me");
        assert_eq!(event.metadata.generate_name.as_deref(), Some(want));
    }

    #[test]
    fn lives_beside_what_it_is_about_and_names_the_pod() {
        let about = about().with_pod(&"redis-0".into(), &"u-1".into());
        let event = build(&about, &note("no"), Timestamp::UNIX_EPOCH, "me");
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
        let related = event.related.expect("a pod");
        assert_eq!((related.name.as_deref(), related.namespace.as_deref()), (Some("redis-0"), Some("shop")));
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }
}
