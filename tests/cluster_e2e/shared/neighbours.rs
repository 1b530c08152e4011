//! Sets beside each other: in one namespace, with one policy over both. Neither is the other's business.

use crate::prelude::*;

#[test]
#[ignore = "needs a cluster: make test"]
fn two_sets_in_one_namespace_under_one_policy_are_both_cured_and_lose_nothing() {
    let _operator = operator::usual();
    let space = Space::new("neighbours");
    let sets = ["cart", "sessions"].map(|name| Redis::deploy(&space, name, 3, &[]));
    let writers = sets.each_ref().map(|set| {
        set.label_roles();
        set.writer(200)
    });
    for set in &sets {
        set.fragment(SMALL_KEYS);
    }
    let watches = sets.each_ref().map(|set| PodWatch::of(set));
    let both = "matchExpressions: [{key: app, operator: In, values: [cart, sessions]}]";
    let words = [("MODE", "Enforce"), ("WASTE", SMALL_WASTE), ("SELECTOR", both)];
    let policy = Policy::apply_named(&space, "both", "both", &words);
    for set in &sets {
        policy.await_cured(&set.name, 300);
    }
    for (set, watch) in sets.iter().zip(&watches) {
        let member = |n: u32| format!("{}-{n}", set.name);
        watch.assert_main_job(&member(0), &[member(1), member(2)]);
        set.assert_cured();
    }
    for writer in writers {
        println!("{}", writer.assert_nothing_lost());
    }
}
