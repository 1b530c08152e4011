//! Which events were told lately: at most one of a kind and pod in ten minutes, and no resolution of what was announced a
//! moment ago. Pure.

use std::{collections::HashMap, time::Duration};

use crate::report::transitions::Transition;

/// An event of one kind about one pod is told once in this time.
const ONCE_IN: Duration = Duration::from_secs(600);
/// What was announced less than this ago and is over already is not worth a word.
const MOMENT: Duration = Duration::from_secs(60);

/// When what was told, by its kind and the pod.
#[derive(Debug, Default)]
pub(super) struct Announced(HashMap<(String, String), Duration>);

impl Announced {
    /// What of these is to be told now; it counts as told.
    pub(super) fn tell(&mut self, news: Vec<Transition>, now: Duration) -> Vec<Transition> {
        self.0.retain(|_, at| now.saturating_sub(*at) < ONCE_IN);
        news.into_iter().filter(|transition| self.may(transition, now)).collect()
    }

    fn may(&mut self, transition: &Transition, now: Duration) -> bool {
        let of = |kind: &str| (kind.to_owned(), about(transition));
        let kind = kind(transition);
        let over = ["Resolved", "Unseen"].into_iter().find_map(|end| kind.strip_suffix(end));
        let announced = over.and_then(|kind| self.0.get(&of(kind)));
        if announced.is_some_and(|at| now.saturating_sub(*at) < MOMENT) || self.0.contains_key(&of(&kind)) {
            return false;
        }
        self.0.insert(of(&kind), now);
        true
    }
}

/// What the event is about: its pod, or the pods or the set that its note begins with.
fn about(transition: &Transition) -> String {
    let named = || transition.note.note.split(": ").next().unwrap_or_default().to_owned();
    transition.pod.clone().unwrap_or_else(named)
}

/// Its reason; of a refusal the refusal's too: another one is another kind.
fn kind(transition: &Transition) -> String {
    let note = &transition.note;
    match note.note.split_once(": ") {
        Some((refusal, _)) if note.reason == "RemediationBlocked" => format!("{} {refusal}", note.reason),
        _ => note.reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::event::EventType, report::transitions::event};

    fn one(reason: &str, pod: Option<&str>, note: &str) -> Vec<Transition> {
        vec![event(EventType::Warning, reason, "Assess", note.to_owned(), pod.map(str::to_owned))]
    }

    fn told(announced: &mut Announced, news: Vec<Transition>, second: u64) -> bool {
        !announced.tell(news, Duration::from_secs(second)).is_empty()
    }

    #[test]
    fn one_of_a_kind_and_pod_in_ten_minutes() {
        let mut announced = Announced::default();
        let near = |pod| one("RssNearLimit", Some(pod), "redis-0: RSS about 900 MiB");
        assert!(told(&mut announced, near("redis-0"), 0));
        assert!(!told(&mut announced, near("redis-0"), 599));
        assert!(told(&mut announced, near("redis-1"), 599), "another pod");
        assert!(told(&mut announced, one("ForkSlow", Some("redis-0"), "x"), 599), "another kind");
        assert!(told(&mut announced, near("redis-0"), 600));
    }

    #[test]
    fn what_is_over_at_once_is_not_resolved_aloud() {
        let mut announced = Announced::default();
        let over = || one("UnreachableResolved", Some("redis-0"), "redis-0: over");
        assert!(told(&mut announced, one("Unreachable", Some("redis-0"), "x"), 0));
        assert!(!told(&mut announced, over(), 59));
        assert!(told(&mut announced, over(), 60));
        assert!(
            told(&mut announced, one("ForkSlowResolved", Some("redis-0"), "x"), 61),
            "announced by an earlier process"
        );
    }

    #[test]
    fn another_refusal_is_another_kind() {
        let mut announced = Announced::default();
        let blocked = |note| one("RemediationBlocked", None, note);
        assert!(told(&mut announced, blocked("Cooldown: redis-0 started at 1"), 0));
        assert!(!told(&mut announced, blocked("Cooldown: redis-0 started at 2"), 1));
        assert!(told(&mut announced, blocked("WindowClosed: no window is open"), 2));
    }
}
