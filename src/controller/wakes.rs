//! Who is to be looked at because something has changed. A set, not a queue: it never holds more than there are
//! policies, also while nobody leads and takes from it.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::Stream;
use tokio::sync::Notify;

use super::registry::PolicyRef;

/// The policies to be looked at. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Wakes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<PolicyRef>,
    /// The same, to be found at once.
    queued: HashSet<PolicyRef>,
    /// Woken and not looked at since.
    woken: HashSet<PolicyRef>,
}

impl Wakes {
    /// Something that this policy rests on has changed.
    pub fn wake(&self, policy: PolicyRef) {
        let mut state = self.state();
        if state.queued.insert(policy.clone()) {
            state.waiting.push_back(policy.clone());
        }
        state.woken.insert(policy);
        drop(state);
        self.0.notify.notify_one();
    }

    /// Whether this policy was woken since it was last looked at. It is looked at now.
    pub fn taken(&self, policy: &PolicyRef) -> bool {
        self.state().woken.remove(policy)
    }

    /// The policies, one by one as they are woken. One reader at a time.
    pub fn stream(&self) -> impl Stream<Item = PolicyRef> + Send + 'static {
        futures::stream::unfold(self.clone(), |wakes| async move { Some((wakes.next().await, wakes)) })
    }

    async fn next(&self) -> PolicyRef {
        loop {
            match self.first() {
                Some(policy) => return policy,
                // A wake between the look and the wait leaves a permit behind.
                None => self.0.notify.notified().await,
            }
        }
    }

    fn first(&self) -> Option<PolicyRef> {
        let mut state = self.state();
        let first = state.waiting.pop_front()?;
        state.queued.remove(&first);
        Some(first)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use kube::runtime::reflector::ObjectRef;

    use super::*;

    #[tokio::test]
    async fn many_wakes_of_a_policy_are_one_look() {
        let wakes = Wakes::default();
        let policy: PolicyRef = ObjectRef::new("sessions").within("shop");
        wakes.wake(policy.clone());
        wakes.wake(policy.clone());
        let mut stream = Box::pin(wakes.stream());
        assert_eq!(stream.next().await, Some(policy.clone()));
        assert!(wakes.state().waiting.is_empty());
        assert!(wakes.taken(&policy), "it was woken");
        assert!(!wakes.taken(&policy), "once");
    }
}
