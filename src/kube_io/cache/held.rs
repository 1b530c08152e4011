//! What is held of a namespace's pods: those that a policy selects, and which policies that are. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, core::Selector};

use super::{WatchFailure, differs};
use crate::kube_io::selectors::{Query, Selectors};

/// Who follows: a policy's UID.
pub type Follower = String;

/// The pods that are selected by anybody, and who follows them.
#[derive(Debug, Default)]
pub(super) struct Held {
    followers: HashMap<Follower, Query>,
    views: BTreeMap<Query, View>,
    /// `None`: the views have changed since.
    selectors: Option<Selectors>,
    pods: HashMap<String, Selected>,
    /// What the list that is being read has shown so far.
    listing: HashMap<String, Selected>,
    /// The views that the list under way, or the watch that follows it, covers.
    covered: BTreeSet<Query>,
    pub(super) failing: Option<WatchFailure>,
}

/// What one selector selects.
#[derive(Debug)]
struct View {
    selector: Selector,
    followers: BTreeSet<Follower>,
    names: BTreeSet<String>,
    /// Every pod that it selects has been seen once.
    synced: bool,
}

#[derive(Clone, Debug)]
struct Selected {
    pod: Arc<Pod>,
    by: BTreeSet<Query>,
}

/// Selectors whose pods have changed.
pub(super) type Changed = BTreeSet<Query>;

/// What a follower sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The pods that its selector matches, in no order.
    pub pods: Vec<Arc<Pod>>,
    /// The followers whose selectors match one of these pods, itself among them.
    pub shared_with: BTreeSet<Follower>,
    /// Every selected pod has been seen once.
    pub synced: bool,
    /// What is wrong with the watch, until it works again. What is cached stays, and ages.
    pub failing: Option<WatchFailure>,
}

impl Held {
    /// That follower selects by this from now on. Whether there is anything new to be watched.
    pub(super) fn follow(&mut self, follower: &str, query: &str, selector: impl FnOnce() -> Selector) -> bool {
        if self.followers.get(follower).is_some_and(|before| **before == *query) {
            return false;
        }
        self.leave(follower);
        let query = Query::from(query);
        self.followers.insert(follower.to_owned(), Arc::clone(&query));
        if let Some(view) = self.views.get_mut(&query) {
            view.followers.insert(follower.to_owned());
            return false;
        }
        let followers = BTreeSet::from([follower.to_owned()]);
        self.views.insert(query, View { selector: selector(), followers, names: BTreeSet::new(), synced: false });
        self.selectors = None;
        true
    }

    /// That follower is gone, and with it the pods that nobody else selects.
    pub(super) fn leave(&mut self, follower: &str) {
        let Some(query) = self.followers.remove(follower) else { return };
        let Some(view) = self.views.get_mut(&query) else { return };
        view.followers.remove(follower);
        if !view.followers.is_empty() {
            return;
        }
        let names = std::mem::take(&mut view.names);
        self.views.remove(&query);
        self.covered.remove(&query);
        self.selectors = None;
        for name in names {
            if let Some(pod) = self.pods.get_mut(&name) {
                pod.by.remove(&query);
                if pod.by.is_empty() {
                    self.pods.remove(&name);
                }
            }
        }
    }

    pub(super) fn is_followed(&self) -> bool {
        !self.views.is_empty()
    }

    pub(super) fn all_followers(&self) -> Vec<Follower> {
        self.followers.keys().cloned().collect()
    }

    /// The followers of those selectors.
    pub(super) fn followers_of(&self, changed: &Changed) -> Vec<Follower> {
        let views = changed.iter().filter_map(|query| self.views.get(query));
        views.flat_map(|view| view.followers.iter().cloned()).collect()
    }

    /// A list begins that covers everybody who follows now: by which query.
    pub(super) fn begin(&mut self) -> String {
        self.covered = self.views.keys().cloned().collect();
        self.listing.clear();
        self.selectors().cover()
    }

    /// Whether somebody follows whom the list under way does not cover.
    pub(super) fn lacks(&self) -> bool {
        self.views.keys().any(|query| !self.covered.contains(query))
    }

    /// The list begins anew.
    pub(super) fn list_begins(&mut self) {
        self.listing.clear();
    }

    pub(super) fn listed(&mut self, pod: &Pod) {
        let by = self.selectors().matching(pod.labels());
        if !by.is_empty() {
            self.listing.insert(pod.name_any(), Selected { pod: Arc::new(pod.clone()), by });
        }
    }

    /// The list is complete: what it did not show is gone.
    pub(super) fn list_ends(&mut self) -> Changed {
        let now = std::mem::take(&mut self.listing);
        let mut before = std::mem::take(&mut self.pods);
        let mut changed = Changed::new();
        for (name, new) in &now {
            match before.remove(name) {
                Some(old) if old.by == new.by && !differs(&old.pod, &new.pod) => {}
                Some(old) => changed.extend(old.by.union(&new.by).cloned()),
                None => changed.extend(new.by.iter().cloned()),
            }
        }
        changed.extend(before.into_values().flat_map(|gone| gone.by));
        self.pods = now;
        for (query, view) in &mut self.views {
            view.names.clear();
            if self.covered.contains(query) && !view.synced {
                view.synced = true;
                changed.insert(Arc::clone(query));
            }
        }
        for (name, Selected { by, .. }) in &self.pods {
            for query in by {
                if let Some(view) = self.views.get_mut(query) {
                    view.names.insert(name.clone());
                }
            }
        }
        changed
    }

    /// The pod is like this now. Changed are those who select it now or selected it before, unless nothing that is read
    /// has changed.
    pub(super) fn is(&mut self, pod: &Pod) -> Changed {
        let (name, by) = (pod.name_any(), self.selectors().matching(pod.labels()));
        let old = self.pods.remove(&name);
        let before = old.as_ref().map(|old| old.by.clone()).unwrap_or_default();
        for query in before.difference(&by) {
            self.view(query, |names| names.remove(&name));
        }
        for query in by.difference(&before) {
            self.view(query, |names| names.insert(name.clone()));
        }
        let changed = before != by || old.is_some_and(|old| differs(&old.pod, pod));
        let concerned = if changed { before.union(&by).cloned().collect() } else { Changed::new() };
        if !by.is_empty() {
            self.pods.insert(name, Selected { pod: Arc::new(pod.clone()), by });
        }
        concerned
    }

    /// The pod is gone.
    pub(super) fn gone(&mut self, pod: &Pod) -> Changed {
        let name = pod.name_any();
        let Some(Selected { by, .. }) = self.pods.remove(&name) else { return Changed::new() };
        for query in &by {
            self.view(query, |names| names.remove(&name));
        }
        by
    }

    /// What that follower sees.
    pub(super) fn seen(&self, follower: &str) -> Seen {
        let view = self.followers.get(follower).and_then(|query| self.views.get(query));
        let selected = || view.iter().flat_map(|view| &view.names).filter_map(|name| self.pods.get(name));
        let queries: BTreeSet<&Query> = selected().flat_map(|selected| &selected.by).collect();
        let sharing = queries.into_iter().filter_map(|query| self.views.get(query));
        Seen {
            pods: selected().map(|selected| Arc::clone(&selected.pod)).collect(),
            shared_with: sharing.flat_map(|view| view.followers.iter().cloned()).collect(),
            synced: view.is_some_and(|view| view.synced),
            failing: self.failing.clone(),
        }
    }

    fn view(&mut self, query: &Query, change: impl FnOnce(&mut BTreeSet<String>) -> bool) {
        if let Some(view) = self.views.get_mut(query) {
            change(&mut view.names);
        }
    }

    fn selectors(&mut self) -> &Selectors {
        let views = &self.views;
        let all = || views.iter().map(|(query, view)| (Arc::clone(query), view.selector.clone())).collect();
        self.selectors.get_or_insert_with(|| Selectors::of(all()))
    }
}

#[cfg(test)]
mod tests;
