//! The set of policies to wake. A set, not a queue: it never holds more than there are policies.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Changes {
    waiting: Mutex<BTreeSet<(String, String)>>,
    notify: Notify,
}

impl Changes {
    /// The policy's judgement changed.
    pub(super) fn push(&self, namespace: &str, policy_uid: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert((namespace.to_owned(), policy_uid.to_owned()));
        drop(waiting);
        self.notify.notify_one();
    }

    /// Waits for the next policy to wake.
    pub(super) async fn next(&self) -> (String, String) {
        loop {
            let first = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match first {
                Some(change) => return change,
                // A push between the look and the wait leaves a permit behind.
                None => self.notify.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_of_one_policy_are_one_item() {
        let changes = Changes::default();
        changes.push("shop", "b");
        changes.push("shop", "a");
        changes.push("shop", "b");
        assert_eq!(changes.next().await.1, "a");
        assert_eq!(changes.next().await.1, "b");
        assert!(changes.waiting.lock().unwrap().is_empty());
    }
}
