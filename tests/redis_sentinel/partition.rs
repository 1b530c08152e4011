//! A partition between real Sentinels, before an exchange and in the middle of one: it is refused, or finished, and no write
//! that any server has acknowledged is lost, so that at no time two of them took writes.

use std::{future::ready, path::Path};

use redis_memory_operator::plan::{effect::FailoverOrder, switchover::Failure};

use crate::{
    common::{eventually, load::Shape, long::is_long, rng::Rng, switching::hook_at},
    exchanges::{Scene, gave_up},
    facts::SYSTEM,
    ours::{carry_out, die_at, hooked, order, resumed, winner},
    reading::judged,
    roads::{Roads, all_see_all},
};

async fn start(seed: u64) -> (Scene, Roads) {
    let (set, roads) = Roads::lay(Path::new(SYSTEM)).await;
    (Scene::of(set, seed, Shape::of(&mut Rng::new(seed, 5))).await, roads)
}

/// The order, with the Sentinels reached by their roads.
async fn order_by(roads: &Roads, scene: &Scene) -> FailoverOrder {
    let mut order = order(&scene.set, 0).await;
    for (sentinel, address) in order.sentinels.iter_mut().zip(&roads.addresses) {
        sentinel.address = *address;
    }
    order
}

/// One Sentinel sees every server, but not its peers, nor do they see it. All three answer the operator, and still nothing
/// is restarted, nor any role moved.
#[tokio::test(flavor = "multi_thread")]
async fn sentinels_that_do_not_see_each_other_are_a_refusal() {
    let (scene, roads) = start(11).await;
    all_see_all(&scene.set).await;
    roads.part(false);
    let forbidden = eventually("it is seen from both sides", async || {
        let (faults, forbidden) = judged(&scene.set).await;
        let by =
            |n: usize| faults.iter().any(|it| it.contains(&format!("the Sentinel in sentinel-{n} takes the one at")));
        (by(0) && by(1) && by(2)).then_some(forbidden)
    })
    .await
    .expect("nothing is restarted now");
    assert!(forbidden.contains("for dead"), "{forbidden}");
    roads.heal();
    all_see_all(&scene.set).await;
    scene.ends_at(0).await;
}

/// The Sentinel that is to be told loses its peers when writes are refused already. A failover that somebody asks for needs
/// no votes: it goes through, and the others hear of it from the servers.
#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_is_told_may_lose_its_peers_in_the_middle() {
    let (scene, roads) = start(12).await;
    let order = order_by(&roads, &scene).await;
    let part = roads.parter(false);
    let hook = hook_at("switchover:refuses-writes", move || {
        part();
        Box::pin(ready(()))
    });
    let done = hooked(&order, hook).await.expect("it is carried out");
    let new = winner(&scene.set, &done).await;
    assert_ne!(new, 0);
    roads.heal();
    let set = scene.ends_at(new).await;
    set.settled(new).await;
}

/// The operator and one Sentinel are cut off from the majority before that one was told: nobody is told, writes go on where
/// they were, and the majority never begins anything, for it sees the primary.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_minority_alone_nobody_is_told() {
    let (scene, roads) = start(13).await;
    let order = order_by(&roads, &scene).await;
    let part = roads.parter(true);
    let hook = hook_at("switchover:refuses-writes", move || {
        part();
        Box::pin(ready(()))
    });
    let ended = hooked(&order, hook).await;
    assert!(gave_up(&ended, Failure::SentinelsSilent), "{ended:?}");
    roads.heal();
    let set = scene.ends_at(0).await;
    set.settled(0).await;
}

/// The same when it was told: that one fails over, and whether the majority has followed is not known until it is heard of
/// again. Writes are refused on the old primary as long as that. (14 s; every day Sentinels that stand still take its place.)
#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_is_ended_when_the_majority_is_heard_again() {
    if !is_long() {
        println!("left out: it takes 14 s (RMO_LONG=1)");
        return;
    }
    let (scene, roads) = start(14).await;
    let order = order_by(&roads, &scene).await;
    die_at("switchover:sentinel-told", &order).await;
    roads.part(true);
    let order = resumed(&order);
    let end = carry_out(&order);
    let heal = async {
        eventually("every Sentinel names another primary", async || {
            let named = scene.set.named().await;
            let new = (*named.first()?)?;
            (new != 0 && named.iter().all(|named| *named == Some(new))).then_some(())
        })
        .await;
        let fenced = scene.set.servers[0].run(&["CONFIG", "GET", "min-replicas-to-write"]);
        assert!(fenced.ends_with("1000"), "{fenced}: a primary that two of three do not name takes no writes");
        roads.heal();
    };
    let (done, ()) = tokio::join!(end, heal);
    let new = winner(&scene.set, &done.expect("it is carried out")).await;
    let set = scene.ends_at(new).await;
    set.settled(new).await;
}
