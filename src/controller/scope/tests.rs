//! Several watches told as one, against the store and the roster that are told of it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use kube::{ResourceExt as _, runtime::reflector};
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    admin::{Health, Readiness},
    clock::Clock,
    controller::{listing::until_listed, roster::Roster},
    kube_io::testing::{Answer, Log, fake, refusal},
    metrics::Metrics,
};

#[rstest]
#[case::every_one("", Ok(vec![None]))]
#[case::one("shop", Ok(vec![Some("shop")]))]
#[case::several_in_order_and_once("shop, cart,shop", Ok(vec![Some("cart"), Some("shop")]))]
#[case::no_name("shop,Cart", Err(ScopeError::Name("Cart".into())))]
#[case::a_comma_too_many("shop,", Err(ScopeError::Name(String::new())))]
#[case::a_pattern("shop-*", Err(ScopeError::Name("shop-*".into())))]
fn namespaces_are_named(#[case] text: &str, #[case] want: Result<Vec<Option<&str>>, ScopeError>) {
    let scope = text.parse::<Scope>();
    assert_eq!(scope.as_ref().map(Scope::places).map_err(Clone::clone), want);
}

#[test]
fn not_more_namespaces_than_can_be_watched_one_by_one() {
    let names = |count: usize| (0..count).map(|n| format!("ns-{n}")).collect::<Vec<_>>().join(",");
    assert!(names(MOST).parse::<Scope>().is_ok());
    assert_eq!(names(MOST + 1).parse::<Scope>(), Err(ScopeError::TooMany(MOST + 1)));
}

fn policy(place: usize, name: u8, uid: u8) -> Guarded {
    serde_json::from_value(json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": format!("p-{name}"), "namespace": format!("ns-{place}"), "uid": format!("u-{place}-{name}-{uid}")},
        "spec": {"selector": {"matchLabels": {"app": "redis"}}},
    }))
    .unwrap()
}

/// The store and the roster, told in the order in which the controller tells them.
struct Told {
    writer: reflector::store::Writer<Guarded>,
    store: reflector::Store<Guarded>,
    roster: Roster,
    merged: Merged,
}

impl Told {
    fn new(places: usize) -> Self {
        let (store, writer) = reflector::store();
        Self { writer, roster: Roster::new(store.clone()), store, merged: Merged::new(places) }
    }

    fn tell(&mut self, place: usize, event: Event<Guarded>) {
        let events = self.merged.told(place, event);
        self.pass_on(events);
    }

    fn refuse(&mut self, place: usize) {
        let events = self.merged.refused(place);
        self.pass_on(events);
    }

    fn pass_on(&mut self, events: Vec<Event<Guarded>>) {
        for event in events {
            self.roster.told(&event);
            self.writer.apply_watcher_event(&event);
        }
    }

    /// Name and UID of each policy, by the store; the roster must say the same.
    fn seen(&self) -> BTreeMap<String, String> {
        let name = |namespace: Option<String>, name: &str| format!("{}/{name}", namespace.unwrap_or_default());
        let stored: BTreeMap<_, _> =
            self.store.state().iter().map(|it| (name(it.namespace(), &it.name_any()), it.uid().unwrap())).collect();
        let listed: BTreeMap<_, _> =
            self.roster.all().into_iter().map(|(uid, it)| (name(it.namespace.clone(), &it.name), uid)).collect();
        assert_eq!(stored, listed);
        stored
    }
}

/// A decision counts the remediations of all policies: while one namespace is unread, nothing is known for sure.
#[test]
fn nothing_is_listed_before_every_namespace_is() {
    let mut told = Told::new(2);
    let mut of_the_first = |event| {
        told.tell(0, event);
        assert!(!told.roster.is_complete() && told.store.is_empty());
    };
    of_the_first(Event::Init);
    of_the_first(Event::InitApply(policy(0, 1, 0)));
    of_the_first(Event::InitDone);
    of_the_first(Event::Apply(policy(0, 2, 0)));
    told.tell(1, Event::Init);
    told.tell(1, Event::InitDone);
    assert!(told.roster.is_complete());
    assert_eq!(told.seen().len(), 2);
}

/// One that may not be read holds up nobody, as long as another is listed; what it has comes once it may be read.
#[test]
fn a_namespace_that_may_not_be_read_is_not_waited_for() {
    let mut told = Told::new(2);
    told.refuse(1);
    assert!(!told.roster.is_complete(), "nothing was listed yet");
    told.tell(0, Event::Init);
    told.tell(0, Event::InitApply(policy(0, 1, 0)));
    told.tell(0, Event::InitDone);
    assert!(told.roster.is_complete());
    assert_eq!(told.seen().len(), 1);
    told.tell(1, Event::Init);
    told.refuse(1);
    told.tell(1, Event::Init);
    told.tell(1, Event::InitApply(policy(1, 1, 0)));
    told.tell(1, Event::InitDone);
    assert_eq!(told.seen().into_keys().collect::<Vec<_>>(), ["ns-0/p-1", "ns-1/p-1"]);
    let mut all_refused = Told::new(2);
    all_refused.refuse(0);
    all_refused.refuse(1);
    assert!(!all_refused.roster.is_complete(), "an install that sees nothing decides nothing");
}

/// A namespace that may not be read at first: no event is lost or passed on as a failure, the failure is counted, and no
/// request is about the whole cluster.
#[tokio::test]
async fn each_namespace_is_watched_by_itself() {
    let (client, log) = two_namespaces(1);
    let metrics = Metrics::new("operator");
    let failures = Failures::new(Clock::start(), metrics.clone(), Health::default());
    let mut events = "shop,cart".parse::<Scope>().unwrap().events(&client, &failures);
    let mut told = Told::new(0);
    while !told.roster.is_complete() {
        let event = events.next().await.unwrap().expect("failures are said, and go no further");
        told.pass_on(vec![event]);
    }
    assert_eq!(told.seen().into_keys().collect::<Vec<_>>(), ["cart/redis", "shop/redis"]);
    assert!(log.all().iter().all(|request| request.uri.contains("/namespaces/")));
    let page = metrics.render().unwrap();
    assert!(page.lines().any(|line| line.contains("RedisMemoryPolicy") && line.ends_with(" 1")), "{page}");
}

/// One that was deleted, or has no Role yet: the other is served meanwhile, and it is said where people look.
#[tokio::test]
async fn a_namespace_that_refuses_is_said_and_served_when_it_no_longer_does() {
    let (client, _) = two_namespaces(REFUSALS as usize);
    let (metrics, health) = (Metrics::new("operator"), Health::default());
    let failures = Failures::new(Clock::start(), metrics.clone(), health.clone());
    let unreadable = || {
        let page = metrics.render().unwrap();
        page.lines()
            .find_map(|line| line.strip_prefix("redis_memory_policy_unreadable_namespaces "))
            .unwrap()
            .to_owned()
    };
    let mut events = "shop,cart".parse::<Scope>().unwrap().events(&client, &failures);
    let mut told = Told::new(0);
    while !told.roster.is_complete() {
        told.pass_on(vec![events.next().await.unwrap().unwrap()]);
    }
    assert_eq!(
        (told.seen().into_keys().collect::<Vec<_>>(), unreadable()),
        (vec!["shop/redis".to_owned()], "1".to_owned())
    );
    while told.seen().len() < 2 {
        told.pass_on(vec![events.next().await.unwrap().unwrap()]);
    }
    assert_eq!(unreadable(), "0");
}

/// The process is ready when what may be read has been listed; where nothing may be, it is not.
#[rstest]
#[case::one_of_two("shop,cart", true)]
#[case::the_only_one("cart", false)]
#[tokio::test]
async fn health_waits_for_what_may_be_read(#[case] names: &str, #[case] ready: bool) {
    const ENOUGH: usize = 12;
    let (client, log) = two_namespaces(usize::MAX);
    let (health, again) = (Health::default(), Duration::from_millis(2));
    health.lease_read();
    let failures = Failures::new(Clock::start(), Metrics::new("operator"), health.clone());
    let asking = tokio::spawn(until_listed(client, names.parse().unwrap(), health.clone(), failures, again));
    let asked = || log.all().iter().filter(|request| request.uri.contains("/cart/")).count();
    while health.get() != Readiness::Standby && asked() < ENOUGH {
        tokio::task::yield_now().await;
    }
    assert_eq!(health.get() == Readiness::Standby, ready);
    assert!(asked() >= REFUSALS as usize, "it is not passed over at once");
    asking.abort();
}

/// Namespaces shop and cart, each with a policy; cart refuses the first `refusals` lists, and nothing else may be asked.
fn two_namespaces(refusals: usize) -> (kube::Client, Log) {
    let refusals = AtomicUsize::new(refusals);
    fake(move |request| {
        let of = |namespace: &str| {
            request.uri.starts_with(&format!("/apis/redismemory.io/v1alpha1/namespaces/{namespace}/"))
        };
        let stored = |namespace: &str| {
            json!({
                "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
                "metadata": {"name": "redis", "namespace": namespace, "uid": format!("u-{namespace}")},
                "spec": {"selector": {"matchLabels": {"app": "redis"}}},
            })
        };
        let list = |namespace: &str| {
            json!({"apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicyList",
                   "metadata": {"resourceVersion": "1"}, "items": [stored(namespace)]})
        };
        match request {
            _ if request.uri.contains("watch=true") => Answer::Silence,
            _ if of("shop") => Answer::Http(200, list("shop")),
            _ if of("cart")
                && refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() =>
            {
                refusal(403, "Forbidden", "not yours", &json!([]))
            }
            _ if of("cart") => Answer::Http(200, list("cart")),
            _ => refusal(403, "Forbidden", "the whole cluster", &json!([])),
        }
    })
}

#[derive(Clone, Debug)]
enum Happens {
    Is(u8),
    Gone(u8),
    /// The watch breaks, these go and come meanwhile, and it is listed anew; or it breaks in the middle of the list.
    Relisted(Vec<u8>, bool),
}

fn happens() -> impl Strategy<Value = (usize, Happens)> {
    let one = prop_oneof![
        4 => (0_u8..4).prop_map(Happens::Is),
        3 => (0_u8..4).prop_map(Happens::Gone),
        2 => (proptest::collection::vec(0_u8..4, 0..4), any::<bool>()).prop_map(|(names, whole)| Happens::Relisted(names, whole)),
    ];
    (0_usize..3, one)
}

proptest! {
    /// Whatever each watch tells in whatever order: what is known in the end is what is there.
    #[test]
    fn what_is_known_is_what_is_there(story in proptest::collection::vec(happens(), 0..60)) {
        let mut told = Told::new(3);
        let mut there: Vec<BTreeMap<u8, u8>> = vec![BTreeMap::new(); 3];
        let mut uid = 0;
        let relist = |told: &mut Told, place: usize, there: &BTreeMap<u8, u8>, whole: bool| {
            told.tell(place, Event::Init);
            for (name, uid) in there {
                told.tell(place, Event::InitApply(policy(place, *name, *uid)));
            }
            if whole {
                told.tell(place, Event::InitDone);
            }
        };
        for (place, one) in story {
            uid += 1;
            // What happens while a list is being read comes with the next list.
            let reading = !told.merged.places[place].listed || !told.merged.places[place].listing.is_empty();
            match one {
                Happens::Is(name) => {
                    let uid = *there[place].entry(name).or_insert(uid);
                    if !reading {
                        told.tell(place, Event::Apply(policy(place, name, uid)));
                    }
                }
                Happens::Gone(name) => {
                    if let Some(uid) = there[place].remove(&name) && !reading {
                        told.tell(place, Event::Delete(policy(place, name, uid)));
                    }
                }
                Happens::Relisted(names, whole) => {
                    there[place] = names.into_iter().map(|name| (name, uid)).collect();
                    relist(&mut told, place, &there[place], whole);
                }
            }
        }
        for (place, there) in there.iter().enumerate() {
            relist(&mut told, place, there, true);
        }
        let wanted: BTreeMap<String, String> = there.iter().enumerate().flat_map(|(place, there)| {
            there.iter().map(move |(name, uid)| (format!("ns-{place}/p-{name}"), format!("u-{place}-{name}-{uid}")))
        }).collect();
        prop_assert_eq!(told.seen(), wanted);
    }
}
