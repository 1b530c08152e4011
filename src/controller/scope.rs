//! Which namespaces this install is about: all, or those that are named. Of several, the watches are told as one.

use std::{
    collections::{BTreeSet, HashSet},
    str::FromStr,
};

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        reflector::ObjectRef,
        watcher::{self, Event},
    },
};

use super::{
    listing::{Failures, REFUSALS},
    registry::{Guarded, PolicyRef},
};
use crate::kube_io::error::is_forbidden;

/// Policies of a page of the list: small, for what a page takes is not given back.
const PAGE: u32 = 100;
/// Namespaces that may be named: each has a watch of its own. More are better served by rights on the whole cluster.
const MOST: usize = 64;

/// The namespaces whose policies are looked at; none named: every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<String>);

/// No list of namespaces.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A word that is no name.
    #[error("{0:?} is no name of a namespace; write for example shop,cart")]
    Name(String),
    /// Too many.
    #[error(
        "names {0} namespaces; at most {MOST} can be watched one by one, and more by the install for the whole cluster"
    )]
    TooMany(usize),
}

impl FromStr for Scope {
    type Err = ScopeError;

    /// Names with commas between them; nothing at all: every namespace.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let read = |word: &str| {
            let word = word.trim();
            if is_name(word) { Ok(word.to_owned()) } else { Err(ScopeError::Name(word.to_owned())) }
        };
        let names = text.split(',').map(read).collect::<Result<BTreeSet<_>, _>>()?;
        if names.len() > MOST { Err(ScopeError::TooMany(names.len())) } else { Ok(Self(names)) }
    }
}

/// RFC 1123 label, as Kubernetes checks the name of a namespace.
fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

impl Scope {
    /// Each namespace that is asked about by itself; `None`: all of them at once.
    pub(super) fn places(&self) -> Vec<Option<&str>> {
        if self.0.is_empty() { vec![None] } else { self.0.iter().map(|name| Some(name.as_str())).collect() }
    }

    /// The policies, as events of one watch. Of several namespaces one that cannot be watched holds none of the others up
    /// once all have been listed, or have refused again and again: its failures are said here, and go no further.
    pub(super) fn events(
        &self,
        client: &Client,
        failures: &Failures,
    ) -> BoxStream<'static, watcher::Result<Event<Guarded>>> {
        let config = || watcher::Config::default().page_size(PAGE);
        let mut watches = Vec::new();
        for (place, namespace) in self.places().into_iter().enumerate() {
            let Some(namespace) = namespace else {
                return watcher::watcher(Api::all(client.clone()), config()).boxed();
            };
            let (failures, name) = (failures.clone(), namespace.to_owned());
            let watch = watcher::watcher(Api::namespaced(client.clone(), namespace), config()).default_backoff();
            let mut refusals = 0_u32;
            let heard = watch.filter_map(move |event| {
                let heard = match event {
                    // Each attempt at a list begins with it.
                    Ok(Event::Init) => Some(Some(Event::Init)),
                    Ok(event) => {
                        refusals = 0;
                        failures.readable(&name);
                        Some(Some(event))
                    }
                    Err(error) => {
                        failures.failed(Some(&name), &error);
                        refusals = if is_forbidden(&error) { refusals.saturating_add(1) } else { 0 };
                        (refusals == REFUSALS).then(|| {
                            failures.passed_over(&name);
                            None
                        })
                    }
                };
                std::future::ready(heard.map(|event| (place, event)))
            });
            watches.push(heard.boxed());
        }
        let mut merged = Merged::new(watches.len());
        let all = futures::stream::select_all(watches);
        let events = all.flat_map(move |(place, event)| {
            let told = match event {
                Some(event) => merged.told(place, event),
                None => merged.refused(place),
            };
            futures::stream::iter(told.into_iter().map(Ok))
        });
        events.boxed()
    }
}

/// Events of several watches become those of one: it is listed when each of them is or may not be, and what is missing in a later
/// list of one of them is deleted.
#[derive(Debug)]
struct Merged {
    places: Vec<Place>,
    begun: bool,
    listed: bool,
    /// Deleted before all were listed: a store takes no deletion in the middle of a list.
    gone: HashSet<PolicyRef>,
}

/// What one watch has told.
#[derive(Clone, Debug, Default)]
struct Place {
    /// It was listed once.
    listed: bool,
    /// It may not be listed: it is not waited for. What it has once it may be comes as changes.
    refused: bool,
    known: HashSet<PolicyRef>,
    /// Those of the list that is being read.
    listing: HashSet<PolicyRef>,
}

impl Merged {
    fn new(places: usize) -> Self {
        Self { places: vec![Place::default(); places], begun: false, listed: false, gone: HashSet::new() }
    }

    fn told(&mut self, place: usize, event: Event<Guarded>) -> Vec<Event<Guarded>> {
        let mut events = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            events.push(Event::Init);
        }
        let Some(one) = self.places.get_mut(place) else { return events };
        match event {
            Event::Init => one.listing.clear(),
            Event::InitApply(policy) => {
                one.listing.replace(ObjectRef::from_obj(&policy));
                events.push(self.is(place, policy));
            }
            Event::Apply(policy) => events.push(self.is(place, policy)),
            Event::Delete(policy) => {
                let name = ObjectRef::from_obj(&policy);
                one.known.remove(&name);
                events.extend(self.is_gone(name));
            }
            Event::InitDone => {
                one.listed = true;
                let listing = std::mem::take(&mut one.listing);
                let missing: Vec<_> = one.known.difference(&listing).cloned().collect();
                one.known = listing;
                events.extend(missing.into_iter().filter_map(|name| self.is_gone(name)));
                events.extend(self.complete());
            }
        }
        events
    }

    /// That watch may not list.
    fn refused(&mut self, place: usize) -> Vec<Event<Guarded>> {
        if let Some(one) = self.places.get_mut(place) {
            one.refused = true;
        }
        self.complete()
    }

    /// What ends the first list, once nobody is waited for any more. Where all are refused nothing is known.
    fn complete(&mut self) -> Vec<Event<Guarded>> {
        let settled = self.places.iter().all(|place| place.listed || place.refused);
        if self.listed || !settled || !self.places.iter().any(|place| place.listed) {
            return Vec::new();
        }
        self.listed = true;
        let gone = std::mem::take(&mut self.gone);
        std::iter::once(Event::InitDone).chain(gone.iter().map(deletion)).collect()
    }

    fn is(&mut self, place: usize, policy: Guarded) -> Event<Guarded> {
        let name = ObjectRef::from_obj(&policy);
        self.gone.remove(&name);
        if let Some(place) = self.places.get_mut(place) {
            place.known.replace(name);
        }
        if self.listed { Event::Apply(policy) } else { Event::InitApply(policy) }
    }

    fn is_gone(&mut self, name: PolicyRef) -> Option<Event<Guarded>> {
        if self.listed {
            return Some(deletion(&name));
        }
        self.gone.replace(name);
        None
    }
}

/// Of what is gone nothing is read but its name and UID.
fn deletion(policy: &PolicyRef) -> Event<Guarded> {
    Event::Delete(Guarded::gone(ObjectMeta {
        name: Some(policy.name.clone()),
        namespace: policy.namespace.clone(),
        uid: policy.extra.uid.clone(),
        ..ObjectMeta::default()
    }))
}

#[cfg(test)]
mod tests;
