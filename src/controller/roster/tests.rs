//! The roster against a plain reading of the whole store, after every event.

use kube::runtime::reflector;
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::fixtures::{self, NOW},
    plan,
};

/// One of a few policies: `UID@namespace/name`, with a journal or with restarts that number of minutes ago.
#[derive(Clone, Debug)]
struct Made {
    uid: u8,
    name: u8,
    journal: bool,
    restarted: Option<i64>,
}

fn journal() -> Value {
    let (rule, snapshot) = fixtures::enforced();
    let settings = plan::PlanSettings::default();
    let ctx = plan::Context::of(&rule, &snapshot, &[], NOW, &settings);
    json!(plan::begin::consider(&ctx).begin.expect("a remediation begins"))
}

impl Made {
    fn policy(&self) -> Guarded {
        let Self { uid, name, journal: has, restarted } = self;
        let ago = |minutes: &i64| NOW.saturating_sub(SignedDuration::from_mins(*minutes)).unwrap().to_string();
        let restarts: Vec<Value> = restarted.iter().map(|it| json!({"pod": "redis-0", "at": ago(it)})).collect();
        let record = json!({
            "uid": "set", "name": "redis", "outcome": "Succeeded", "remediation": "r-1", "endedAt": NOW.to_string(),
            "generation": 1, "message": "done", "restarts": restarts,
        });
        let mut status = json!({"workloads": [record]});
        if *has {
            status["journal"] = journal();
        }
        serde_json::from_value(json!({
            "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
            "metadata": {"name": format!("p-{name}"), "namespace": format!("ns-{}", name % 2), "uid": format!("u-{uid}")},
            "spec": {"selector": {"matchLabels": {"app": "redis"}}}, "status": status,
        }))
        .unwrap()
    }
}

#[derive(Clone, Debug)]
enum Told {
    Is(Made),
    Gone(Made),
    Relisted(Vec<Made>),
}

fn made() -> impl Strategy<Value = Made> {
    let restarted = proptest::option::of(0_i64..120);
    // The UID belongs to the name, but for one that was made anew.
    (0_u8..4, 0_u8..2, any::<bool>(), restarted).prop_map(|(name, life, journal, restarted)| Made {
        uid: name + 10 * life,
        name,
        journal,
        restarted,
    })
}

fn told() -> impl Strategy<Value = Told> {
    let listed = proptest::collection::vec(made(), 0..4).prop_map(|mut all| {
        all.sort_by_key(|made| made.name);
        all.dedup_by_key(|made| made.name);
        all
    });
    prop_oneof![made().prop_map(Told::Is), made().prop_map(Told::Gone), listed.prop_map(Told::Relisted)]
}

fn uids(policies: &[Arc<Guarded>]) -> BTreeSet<String> {
    policies.iter().filter_map(|policy| policy.uid()).collect()
}

proptest! {
    #[test]
    fn it_says_what_going_through_all_would(history in proptest::collection::vec(told(), 1..12)) {
        let (store, mut writer) = reflector::store();
        let roster = Roster::new(store.clone());
        for told in history {
            let events = match told {
                Told::Is(made) => vec![Event::Apply(made.policy())],
                Told::Gone(made) => {
                    // Only what is there can go.
                    let there = store.get(&ObjectRef::from_obj(&made.policy())).is_some_and(|it| it.uid() == made.policy().uid());
                    if there { vec![Event::Delete(made.policy())] } else { Vec::new() }
                }
                Told::Relisted(all) => {
                    let listed = all.iter().map(|made| Event::InitApply(made.policy()));
                    std::iter::once(Event::Init).chain(listed).chain([Event::InitDone]).collect()
                }
            };
            for event in &events {
                roster.told(event);
                writer.apply_watcher_event(event);
            }
            let all = store.state();
            let read = || all.iter().filter_map(|policy| policy.policy());
            prop_assert_eq!(roster.all().into_keys().collect::<BTreeSet<_>>(), uids(&all));
            prop_assert_eq!(roster.remediations(), read().filter_map(cluster_budget::remediation).collect());
            for namespace in ["ns-0", "ns-1"] {
                let at_work: BTreeSet<String> = read()
                    .filter(|one| one.namespace().as_deref() == Some(namespace))
                    .filter(|one| one.status.as_ref().is_some_and(|status| status.journal.is_some()))
                    .filter_map(kube::ResourceExt::uid)
                    .collect();
                prop_assert_eq!(uids(&roster.rivals(namespace, &BTreeSet::new())), at_work);
            }
            let hour = SignedDuration::from_hours(1);
            let in_time = |restart: &cluster_budget::Restart| NOW.duration_since(restart.at) < hour;
            let within = |from: Vec<cluster_budget::Restart>| from.into_iter().filter(in_time).collect::<BTreeSet<_>>();
            let of_few = roster.restarted_within(hour, NOW);
            let of_few = cluster_budget::restarts(of_few.iter().filter_map(|policy| policy.policy()), NOW);
            prop_assert_eq!(within(of_few), within(cluster_budget::restarts(read(), NOW)));
        }
    }
}

#[test]
fn who_shares_pods_is_found_wherever_it_is() {
    let (store, mut writer) = reflector::store();
    let roster = Roster::new(store);
    assert!(!roster.is_complete());
    let one = |name| Made { uid: name, name, journal: false, restarted: None }.policy();
    for event in vec![Event::Init, Event::InitApply(one(0)), Event::InitApply(one(1)), Event::InitDone] {
        roster.told(&event);
        writer.apply_watcher_event(&event);
    }
    assert!(roster.is_complete());
    assert_eq!(uids(&roster.rivals("ns-0", &["u-1".to_owned(), "gone".to_owned()].into())), ["u-1".to_owned()].into());
    assert_eq!(roster.named("u-0").map(|it| it.name).as_deref(), Some("p-0"));
}
