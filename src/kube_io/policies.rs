//! Policies for people: lists, and a watch that tells what each of them is now.

use std::collections::BTreeSet;

use futures::{Stream, StreamExt as _};
use kube::{
    Api, Client, ResourceExt as _,
    api::ListParams,
    core::error_boundary::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};

use super::{
    error::{Cause, KubeError, within},
    read::READ_TIMEOUT,
};
use crate::api::v1alpha1::RedisMemoryPolicy;

/// Policies of a page of the list.
const PAGE: u32 = 500;
/// Pages of a list.
const MAX_PAGES: usize = 20;

type Guarded = DeserializeGuard<RedisMemoryPolicy>;

/// The policies of one namespace, or of all.
#[derive(Clone)]
pub struct Policies {
    api: Api<Guarded>,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies").finish_non_exhaustive()
    }
}

/// A policy that is stored and cannot be read: of a newer version, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Namespace and name.
    pub name: String,
    /// Why.
    pub text: String,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The policy is like this now.
    Is(Box<RedisMemoryPolicy>),
    /// It cannot be read.
    Unreadable(Unreadable),
    /// No such policy exists any more: namespace and name.
    Gone(String, String),
    /// Every policy has been told of once.
    Complete,
    /// The watch failed and is tried again.
    Failing(String),
}

impl Policies {
    /// Of this namespace; `None`: of all.
    pub fn new(client: Client, namespace: Option<&str>) -> Self {
        let api = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        Self { api }
    }

    /// Every policy, by namespace and name; what cannot be read apart, so that it stops nothing.
    pub async fn list(&self) -> Result<(Vec<RedisMemoryPolicy>, Vec<Unreadable>), KubeError> {
        let mut params = ListParams::default().limit(PAGE);
        let (mut policies, mut unreadable) = (Vec::new(), Vec::new());
        for _ in 0..MAX_PAGES {
            let page = within(READ_TIMEOUT, self.api.list(&params)).await.map_err(KubeError::ListPolicies)?;
            for found in page.items {
                match read(found) {
                    Ok(policy) => policies.push(policy),
                    Err(problem) => unreadable.push(problem),
                }
            }
            let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
                policies.sort_by_key(|policy| (policy.namespace(), policy.name_any()));
                return Ok((policies, unreadable));
            };
            params = params.continue_token(&token);
        }
        let message = format!("more than {} policies exist", policies.len());
        Err(KubeError::ListPolicies(Cause::Refused { code: 413, message }))
    }

    /// Whether there is any policy. An answer says besides that their definition is there, and that we may read them.
    pub async fn exist(&self) -> Result<bool, KubeError> {
        let one = ListParams::default().limit(1);
        within(READ_TIMEOUT, self.api.list_metadata(&one))
            .await
            .map(|page| !page.items.is_empty())
            .map_err(KubeError::ListPolicies)
    }

    /// Watches the policy of that name, or every one. Never ends by itself.
    pub fn watch(&self, name: Option<&str>) -> impl Stream<Item = Change> + Send + 'static {
        let config = watcher::Config::default().page_size(PAGE);
        let config = match name {
            Some(name) => config.fields(&format!("metadata.name={name}")),
            None => config,
        };
        let events = watcher(self.api.clone(), config).default_backoff();
        let mut known = Known::default();
        events.flat_map(move |event| futures::stream::iter(known.changes(event)))
    }
}

fn read(found: Guarded) -> Result<RedisMemoryPolicy, Unreadable> {
    found.0.map_err(|invalid| {
        let namespace = invalid.metadata.namespace.unwrap_or_default();
        let name = format!("{namespace}/{}", invalid.metadata.name.unwrap_or_default());
        Unreadable { name, text: invalid.error }
    })
}

/// Which policies exist, so that those that went while the watch was down are told of.
#[derive(Debug, Default)]
struct Known {
    existing: BTreeSet<(String, String)>,
    /// Those of the list that is being read.
    listed: BTreeSet<(String, String)>,
}

impl Known {
    fn changes(&mut self, event: Result<Event<Guarded>, watcher::Error>) -> Vec<Change> {
        match event {
            Err(error) => vec![Change::Failing(failure(error))],
            Ok(Event::Init) => {
                self.listed.clear();
                Vec::new()
            }
            Ok(Event::Apply(found)) => {
                self.existing.insert(key(&found));
                vec![told(found)]
            }
            Ok(Event::InitApply(found)) => {
                self.listed.insert(key(&found));
                vec![told(found)]
            }
            Ok(Event::Delete(found)) => {
                let (namespace, name) = key(&found);
                self.existing.remove(&(namespace.clone(), name.clone()));
                vec![Change::Gone(namespace, name)]
            }
            Ok(Event::InitDone) => {
                let before = std::mem::replace(&mut self.existing, std::mem::take(&mut self.listed));
                let gone = before.difference(&self.existing).cloned();
                gone.map(|(namespace, name)| Change::Gone(namespace, name)).chain([Change::Complete]).collect()
            }
        }
    }
}

fn key(found: &Guarded) -> (String, String) {
    (found.namespace().unwrap_or_default(), found.name_any())
}

fn told(found: Guarded) -> Change {
    match read(found) {
        Ok(policy) => Change::Is(Box::new(policy)),
        Err(problem) => Change::Unreadable(problem),
    }
}

fn failure(error: watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Cause::from(error).to_string(),
        other => super::text::plain(&other.to_string(), super::error::TEXT_CAP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str) -> Guarded {
        let spec = serde_json::from_value(serde_json::json!({"selector": {"matchLabels": {"app": "redis"}}}));
        let mut policy = RedisMemoryPolicy::new(name, spec.expect("a spec"));
        policy.metadata.namespace = Some("shop".into());
        DeserializeGuard(Ok(policy))
    }

    #[test]
    fn what_went_while_the_watch_was_down_is_told() {
        let mut known = Known::default();
        let mut all = Vec::new();
        let listed = |names: &[&str]| -> Vec<Event<Guarded>> {
            let applied = names.iter().map(|name| Event::InitApply(policy(name)));
            std::iter::once(Event::Init).chain(applied).chain([Event::InitDone]).collect()
        };
        for event in listed(&["a", "b"]).into_iter().chain(listed(&["b"])) {
            all.extend(known.changes(Ok(event)));
        }
        let gone: Vec<_> = all.iter().filter(|change| matches!(change, Change::Gone(..))).collect();
        assert_eq!(gone, [&Change::Gone("shop".into(), "a".into())]);
        assert_eq!(all.last(), Some(&Change::Complete));
    }
}
