//! The operator is killed at every crash point there is, and started again: the same end as if it never was.

use redis_memory_operator::execute::crash;

use crate::{
    end::assert_undisturbed,
    fake_kubelet::Pauses,
    long,
    operator::{Operator, Options},
    world::{self, World, eventually},
};

/// Every day the points are shared out among so many runs: neighbours in the list are in different runs, so a step is
/// never disturbed at each of its moments in one.
const RUNS: usize = 6;

/// Runs the main job with a crash at each of these points, in whatever order they come.
async fn assert_survives(name: &str, points: &[String]) {
    assert_survives_in(World::new(name).await, points).await;
}

async fn assert_survives_in(world: World, points: &[String]) -> Pauses {
    let options = Options { crash_points: points.join(","), ..Options::default() };
    let mut operator = Operator::start(&world, options).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    // The last points lie behind what the status shows as the end.
    eventually("the end of the remediation, in spite of crashes", async || {
        if let Some(status) = operator.try_ended() {
            assert!(status.code().is_none(), "it ended by itself: {status}");
            operator.start_again();
        }
        let all_fired = operator.starts as usize == points.len() + 1;
        world.outcome().await.filter(|_| all_fired)
    })
    .await;
    assert_undisturbed(&world, writer).await;
    assert_eq!((operator.starts as usize, operator.fired()), (points.len() + 1, points.len()), "each point fired once");
    world.node.pauses()
}

/// The share of one of the runs of every day; each point alone when the long list is wanted.
async fn assert_share(run: usize) {
    let points: Vec<String> = crash::all().into_iter().skip(run).step_by(RUNS).collect();
    if long() {
        for point in points {
            assert_survives(&format!("alone-{run}"), std::slice::from_ref(&point)).await;
            println!("survived {point}");
        }
    } else {
        assert_survives(&format!("share-{run}"), &points).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn without_a_crash() {
    assert_survives("undisturbed", &[]).await;
}

/// A server that says itself why it pauses writes, and for how long: no reason outlives its bound, not even when the
/// operator dies in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn no_pause_is_left_behind_by_the_word_of_the_server() {
    let Some(valkey) = world::other_server("valkey-8.1") else {
        println!("left out: valkey-8.1 cannot be had here");
        return;
    };
    let world = World::with_server("valkey", valkey).await;
    let points = [crash::Place::AfterFailoverSent, crash::Place::Exchanged].map(|place| place.as_str().to_owned());
    let paused = assert_survives_in(world, &points).await;
    assert!(paused.reason_known, "{paused:?}");
}

macro_rules! shares {
    ($($name:ident $run:literal,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "needs a cluster: make test"]
        async fn $name() {
            assert_share($run).await;
        }
    )*};
}

shares! {
    crash_points_0 0,
    crash_points_1 1,
    crash_points_2 2,
    crash_points_3 3,
    crash_points_4 4,
    crash_points_5 5,
}
