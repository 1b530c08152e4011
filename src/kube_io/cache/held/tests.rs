//! What is held, event by event.

use kube::core::Expression;
use pretty_assertions::assert_eq;
use serde_json::json;

use super::*;

fn pod(name: &str, app: &str, phase: &str) -> Pod {
    let object = json!({"metadata": {"name": name, "labels": {"app": app}}, "status": {"phase": phase}});
    serde_json::from_value(object).expect("a pod")
}

fn follow(held: &mut Held, follower: &str, app: &str) -> bool {
    held.follow(follower, &format!("app={app}"), || Expression::Equal("app".into(), app.to_owned()).into())
}

fn listed(held: &mut Held, pods: &[Pod]) -> Vec<Follower> {
    held.begin();
    held.list_begins();
    for pod in pods {
        held.listed(pod);
    }
    let changed = held.list_ends();
    woken(held, &changed)
}

fn woken(held: &Held, changed: &Changed) -> Vec<Follower> {
    let mut woken = held.followers_of(changed);
    woken.sort();
    woken
}

fn names(held: &Held, follower: &str) -> Vec<String> {
    let mut names: Vec<String> = held.seen(follower).pods.iter().map(|pod| pod.name_any()).collect();
    names.sort();
    names
}

/// Two policies of one selector, one of another, and pods of both and of nobody.
fn held() -> Held {
    let mut held = Held::default();
    assert!(follow(&mut held, "a", "redis"));
    assert!(!follow(&mut held, "a2", "redis"), "what is watched already needs no list");
    assert!(follow(&mut held, "b", "valkey"));
    let pods =
        [pod("redis-0", "redis", "Running"), pod("valkey-0", "valkey", "Running"), pod("web-0", "web", "Running")];
    assert_eq!(listed(&mut held, &pods), ["a", "a2", "b"]);
    held
}

#[test]
fn each_sees_its_own_pods_and_nothing_is_kept_of_others() {
    let held = held();
    assert_eq!((names(&held, "a"), names(&held, "b")), (vec!["redis-0".into()], vec!["valkey-0".into()]));
    assert_eq!(held.pods.len(), 2, "web-0 is nobody's");
    assert!(held.seen("a").synced);
    assert_eq!(held.seen("a").shared_with, ["a", "a2"].map(str::to_owned).into());
    assert_eq!(held.seen("b").shared_with, ["b"].map(str::to_owned).into());
    assert_eq!(held.seen("nobody"), Seen::default());
}

#[test]
fn a_change_wakes_those_who_select_the_pod_now_or_did_before() {
    let mut held = held();
    let is = |held: &mut Held, pod: &Pod| {
        let changed = held.is(pod);
        woken(held, &changed)
    };
    assert_eq!(is(&mut held, &pod("redis-0", "redis", "Running")), Vec::<String>::new(), "it is as it was");
    assert_eq!(is(&mut held, &pod("redis-0", "redis", "Failed")), ["a", "a2"]);
    assert_eq!(is(&mut held, &pod("redis-0", "valkey", "Failed")), ["a", "a2", "b"], "relabelled");
    assert_eq!((names(&held, "a").len(), names(&held, "b").len()), (0, 2));
    assert_eq!(is(&mut held, &pod("web-0", "web", "Failed")), Vec::<String>::new());
    assert_eq!(is(&mut held, &pod("redis-0", "web", "Failed")), ["b"], "nobody's any more");
    assert_eq!(held.pods.len(), 1);
    let changed = held.gone(&pod("valkey-0", "valkey", "Running"));
    assert_eq!(woken(&held, &changed), ["b"]);
    assert_eq!(held.gone(&pod("web-0", "web", "Running")), Changed::new());
}

#[test]
fn a_new_selector_is_not_known_before_a_list_that_covers_it() {
    let mut held = held();
    assert!(!held.lacks());
    assert!(follow(&mut held, "c", "web"));
    assert!(held.lacks());
    held.is(&pod("web-1", "web", "Running"));
    assert!(!held.seen("c").synced, "web-0 is not known");
    assert!(held.seen("a").synced, "what others see stays");
    // A list of before that ends now says nothing of it.
    held.list_begins();
    held.listed(&pod("redis-0", "redis", "Running"));
    held.list_ends();
    assert!(!held.seen("c").synced);
    let woken = listed(&mut held, &[pod("web-0", "web", "Running")]);
    assert_eq!(woken, ["a", "a2", "c"], "redis-0 was not listed: it is gone");
    assert!(held.seen("c").synced && !held.lacks());
    assert_eq!((names(&held, "c"), names(&held, "a").len()), (vec!["web-0".into()], 0), "what was not listed is gone");
}

#[test]
fn who_leaves_takes_the_pods_along_that_only_it_selected() {
    let mut held = held();
    held.leave("a");
    assert_eq!(names(&held, "a2"), ["redis-0"], "another selects them too");
    held.leave("a2");
    assert_eq!((held.pods.len(), names(&held, "b")), (1, vec!["valkey-0".into()]));
    assert!(follow(&mut held, "a", "redis"), "for a policy that comes back they have to be listed");
    assert!(held.lacks() && !held.seen("a").synced);
    // A changed selector is the same.
    assert!(follow(&mut held, "b", "cart"));
    assert!(!held.seen("b").synced && held.pods.is_empty());
    held.leave("a");
    held.leave("b");
    assert!(!held.is_followed());
}
