//! What this operator may do in a namespace, by the API server's own word, and how long each answer is believed.
//!
//! While nothing is to be done what was granted is asked about seldom, and so is what no policy needs. What a policy needs and
//! the operator lacks is asked about soon: people who grant it wait for that. Once it is granted somewhere it is asked about
//! everywhere, for the chart grants a right in all namespaces at once.

use std::{collections::HashMap, time::Duration};

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::{Api, api::PostParams};

use super::{READ_TIMEOUT, Reader, within};
use crate::domain::{
    pod::{Right, Rights},
    policy::NeededRights,
};

/// How long an answer is believed when something is to be done; while nothing is, for so long for each namespace that is
/// asked about, so that all of them together cost three requests a minute.
pub(super) const BELIEVED: Duration = Duration::from_secs(60);
/// What was said is forgotten after this time.
const KEPT: Duration = Duration::from_secs(3600);
/// How long a refusal of what a policy needs is believed, and …
const MISSED: Duration = Duration::from_secs(15);
/// … for so long for each refusal of that kind, so that all of them together cost six requests a minute.
const MISSED_EACH: Duration = Duration::from_secs(10);
/// A policy at rest looks once a minute: one that has not asked in this time needs nothing any more.
const NEEDED_FOR: Duration = Duration::from_secs(150);

/// The rights that are asked about, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Evict,
    Resize,
    Label,
}

impl Which {
    const ALL: [Self; 3] = [Self::Evict, Self::Resize, Self::Label];

    fn is_needed(self, needed: NeededRights) -> bool {
        match self {
            Self::Evict => needed.evict,
            Self::Resize => needed.resize,
            Self::Label => needed.label,
        }
    }

    fn asked_in(self, namespace: &str) -> ResourceAttributes {
        let (verb, subresource) = match self {
            Self::Evict => ("create", Some("eviction")),
            Self::Resize => ("patch", Some("resize")),
            Self::Label => ("patch", None),
        };
        ResourceAttributes {
            namespace: Some(namespace.to_owned()),
            verb: Some(verb.to_owned()),
            resource: Some("pods".to_owned()),
            subresource: subresource.map(str::to_owned),
            ..ResourceAttributes::default()
        }
    }
}

/// One of these for each right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Each<T> {
    evict: T,
    resize: T,
    label: T,
}

impl<T> Each<T> {
    const fn of(&self, which: Which) -> &T {
        match which {
            Which::Evict => &self.evict,
            Which::Resize => &self.resize,
            Which::Label => &self.label,
        }
    }

    const fn of_mut(&mut self, which: Which) -> &mut T {
        match which {
            Which::Evict => &mut self.evict,
            Which::Resize => &mut self.resize,
            Which::Label => &mut self.label,
        }
    }

    fn map<U>(self, made: impl Fn(T) -> U) -> Each<U> {
        Each { evict: made(self.evict), resize: made(self.resize), label: made(self.label) }
    }
}

/// What was answered about one right. Times are of the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Answer {
    right: Right,
    asked: Duration,
    /// When a policy last needed it.
    needed: Option<Duration>,
}

impl Answer {
    fn is_missed(&self, now: Duration) -> bool {
        let lately = self.needed.is_some_and(|needed| now.saturating_sub(needed) < NEEDED_FOR);
        lately && self.right == Right::Denied
    }
}

/// What is remembered of rights, by namespace.
#[derive(Debug, Default)]
pub(super) struct Asked(HashMap<String, Each<Option<Answer>>>);

impl Asked {
    /// What is still believed of each right, when something is to be done.
    fn believed(&self, namespace: &str, now: Duration) -> Each<Option<Right>> {
        let fresh = |answer: &Answer| now.saturating_sub(answer.asked) < BELIEVED;
        let answers = self.0.get(namespace).copied().unwrap_or_default();
        answers.map(|answer| answer.filter(fresh).map(|answer| answer.right))
    }

    /// The same while nothing is to be done, for a policy that needs those rights.
    fn believed_lately(&mut self, namespace: &str, needed: NeededRights, now: Duration) -> Each<Option<Right>> {
        if let Some(answers) = self.0.get_mut(namespace) {
            for which in Which::ALL.into_iter().filter(|which| which.is_needed(needed)) {
                if let Some(answer) = answers.of_mut(which) {
                    answer.needed = Some(now);
                }
            }
        }
        let missed = self.answers().filter(|answer| answer.is_missed(now)).count();
        let seldom = times(BELIEVED, self.0.len()).clamp(BELIEVED, KEPT);
        let soon = times(MISSED_EACH, missed).clamp(MISSED, KEPT);
        let answers = self.0.get(namespace).copied().unwrap_or_default();
        answers.map(|answer| {
            let answer = answer?;
            let believed = if answer.is_missed(now) { soon.min(seldom) } else { seldom };
            (now.saturating_sub(answer.asked) < believed).then_some(answer.right)
        })
    }

    fn answered(&mut self, namespace: &str, which: Which, right: Right, now: Duration) {
        // A question that failed is asked again.
        if right == Right::Unknown {
            return;
        }
        let is_kept = |answer: &Answer| now.saturating_sub(answer.asked) < KEPT;
        self.0.retain(|_, answers| Which::ALL.iter().any(|which| answers.of(*which).as_ref().is_some_and(is_kept)));
        let before = self.0.get(namespace).and_then(|answers| *answers.of(which));
        if right == Right::Granted && before.is_some_and(|before| before.right == Right::Denied) {
            for answers in self.0.values_mut() {
                answers.of_mut(which).take_if(|answer| answer.right == Right::Denied);
            }
        }
        let needed = before.and_then(|before| before.needed);
        *self.0.entry(namespace.to_owned()).or_default().of_mut(which) = Some(Answer { right, asked: now, needed });
    }

    fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.0.values().flat_map(|answers| Which::ALL.into_iter().filter_map(|which| answers.of(which).as_ref()))
    }
}

fn times(one: Duration, number: usize) -> Duration {
    one.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))
}

impl Reader {
    /// What we may do in the namespace, by the API server's own word; remembered for 60 s. A question that fails is
    /// `Unknown`, and asked again at the next call.
    pub async fn rights(&self, namespace: &str) -> Rights {
        let now = self.clock.uptime();
        let believed = self.with_memory(|memory| memory.rights.believed(namespace, now));
        self.ask_the_rest(namespace, believed, now).await
    }

    /// The same while nothing is to be done, for a policy that needs those rights: all namespaces together cost three requests
    /// a minute, and six more while policies lack what they need.
    pub async fn rights_lately(&self, namespace: &str, needed: NeededRights) -> Rights {
        let now = self.clock.uptime();
        let believed = self.with_memory(|memory| memory.rights.believed_lately(namespace, needed, now));
        self.ask_the_rest(namespace, believed, now).await
    }

    async fn ask_the_rest(&self, namespace: &str, believed: Each<Option<Right>>, now: Duration) -> Rights {
        let right = |which: Which| async move {
            if let Some(right) = *believed.of(which) {
                return right;
            }
            let right = self.may(which.asked_in(namespace)).await;
            self.with_memory(|memory| memory.rights.answered(namespace, which, right, now));
            right
        };
        let (evict, resize, label) = futures::join!(right(Which::Evict), right(Which::Resize), right(Which::Label));
        Rights { evict, resize, label }
    }

    /// Whether we may do that, by the API server's own word.
    pub(super) async fn may(&self, attributes: ResourceAttributes) -> Right {
        let ResourceAttributes { namespace, verb, resource, subresource, .. } = attributes.clone();
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        match within(READ_TIMEOUT, api.create(&PostParams::default(), &review)).await {
            Ok(SelfSubjectAccessReview { status: Some(status), .. }) if status.allowed => Right::Granted,
            // "The authorizer could not say" is no refusal.
            Ok(SelfSubjectAccessReview { status: Some(status), .. }) if status.evaluation_error.is_none() => {
                Right::Denied
            }
            Ok(_) => Right::Unknown,
            Err(cause) => {
                tracing::warn!(namespace, verb, resource, subresource, %cause, "cannot ask for our own rights");
                Right::Unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    const NOTHING: NeededRights = NeededRights { evict: false, resize: false, label: false };
    const RESIZE: NeededRights = NeededRights { resize: true, ..NOTHING };

    /// A look of policies at rest, each in a namespace of its own, with what it needs: how many questions it takes.
    fn look(asked: &mut Asked, needs: &[NeededRights], number: u64, granted: impl Fn(usize) -> bool) -> usize {
        let (mut questions, now) = (0, Duration::from_secs(1000 + number * 60));
        for (n, needed) in needs.iter().enumerate() {
            let namespace = format!("shop-{n}");
            let believed = asked.believed_lately(&namespace, *needed, now);
            for which in Which::ALL.into_iter().filter(|which| believed.of(*which).is_none()) {
                questions += 1;
                asked.answered(&namespace, which, if granted(n) { Right::Granted } else { Right::Denied }, now);
            }
        }
        questions
    }

    fn looks(asked: &mut Asked, needs: &[NeededRights], number: u64, granted: fn(usize) -> bool) -> Vec<usize> {
        (0..number).map(|number| look(asked, needs, number, granted)).collect()
    }

    fn granted(asked: &Asked, which: Which) -> usize {
        let answers = asked.0.values().filter_map(|answers| *answers.of(which));
        answers.filter(|answer| answer.right == Right::Granted).count()
    }

    #[test]
    fn what_a_policy_lacks_is_asked_about_at_each_look_however_many_namespaces_there_are() {
        let needs: Vec<NeededRights> = (0..30).map(|n| if n == 7 { RESIZE } else { NOTHING }).collect();
        let each = looks(&mut Asked::default(), &needs, 10, |n| n != 7);
        assert_eq!(each[0], 90);
        assert_eq!(each[1..], [1; 9], "the right to resize of one, and nothing of the others");
    }

    #[test]
    fn what_is_granted_in_all_namespaces_is_known_of_all_soon_after_one() {
        let (mut asked, needs) = (Asked::default(), [RESIZE; 30]);
        looks(&mut asked, &needs, 20, |_| false);
        let mut number = 20;
        while granted(&asked, Which::Resize) == 0 {
            assert!(number < 22, "none has asked in two looks");
            assert!(look(&mut asked, &needs, number, |_| true) <= 30);
            number += 1;
        }
        look(&mut asked, &needs, number, |_| true);
        assert_eq!(granted(&asked, Which::Resize), 30, "the others at their next look");
    }

    /// Three a minute, and six more while what is needed is missing: with the Lease and the watches less than one in two
    /// seconds.
    #[test]
    fn however_much_is_missing_the_questions_are_few() {
        let all = NeededRights { evict: true, resize: true, label: true };
        for namespaces in [1, 10, 50] {
            let each = looks(&mut Asked::default(), &vec![all; namespaces], 61, |_| false);
            let an_hour: usize = each[1..].iter().sum();
            assert!((3 * 60..=9 * 60).contains(&an_hour), "{an_hour} in an hour of {namespaces} namespaces");
        }
    }

    #[test]
    fn a_right_that_is_not_needed_and_one_that_is_granted_are_asked_about_seldom() {
        for (needed, all) in [(NOTHING, (|_| false) as fn(usize) -> bool), (RESIZE, |_| true)] {
            let each = looks(&mut Asked::default(), &[needed; 10], 31, all);
            assert_eq!(each.iter().sum::<usize>(), 30 * 4, "at first, and every ten minutes");
        }
    }

    #[test]
    fn before_something_is_done_nothing_is_older_than_a_minute() {
        let (mut asked, at) = (Asked::default(), Duration::from_secs);
        asked.answered("shop", Which::Evict, Right::Granted, at(100));
        asked.answered("shop", Which::Label, Right::Unknown, at(100));
        assert_eq!(asked.believed("shop", at(159)), Each { evict: Some(Right::Granted), ..Each::default() });
        assert_eq!(asked.believed("shop", at(160)), Each::default());
    }
}
