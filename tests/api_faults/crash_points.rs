//! The operator is killed at every crash point there is, and started again: the same end as if it never was.

use redis_memory_operator::execute::crash::{self, Place, Situation};

use crate::{
    common::long::is_long,
    end::{End, assert_ends_as, assert_settles_as, assert_undisturbed},
    operator::{Operator, Options},
    shape::Shape,
    world::{self, SET, World, eventually},
};

/// Every day the points of the main job are shared out among so many runs: neighbours in the list are in different runs,
/// so a step is never disturbed at each of its moments in one.
const RUNS: usize = 6;

/// How an operator is started that hands over by that method and dies once at each of these points.
fn dying(method: &str, points: &[String]) -> Options {
    let extra = vec!["--switchover".to_owned(), method.to_owned()];
    Options { crash_points: points.join(","), extra, ..Options::default() }
}

fn names(places: &[Place]) -> Vec<String> {
    places.iter().map(|place| place.as_str().to_owned()).collect()
}

/// Starts the operator again after each death, up to the end of the remediation and of the list. `died` is told of each
/// death before.
async fn see_through(world: &World, operator: &mut Operator, points: usize, mut died: impl AsyncFnMut(u32)) {
    // The last points lie behind what the status shows as the end.
    eventually("the end of the remediation, in spite of crashes", async || {
        if let Some(status) = operator.try_ended() {
            assert!(status.code().is_none(), "it ended by itself: {status}");
            died(operator.starts).await;
            operator.start_again();
        }
        let all_fired = operator.starts as usize == points + 1;
        world.outcome().await.filter(|_| all_fired)
    })
    .await;
}

/// Runs the main job with a crash at each of these points, in whatever order they come.
async fn assert_survives(world: World, method: &str, points: &[String]) -> World {
    let mut operator = Operator::start(&world, dying(method, points)).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    see_through(&world, &mut operator, points.len(), async |_| {}).await;
    assert_undisturbed(&world, writer).await;
    assert_eq!((operator.starts as usize, operator.fired()), (points.len() + 1, points.len()), "each point fired once");
    world
}

/// All of these in one run every day; each alone when the long list is wanted.
async fn assert_survives_all(name: &str, shape: Shape, method: &str, points: &[String]) {
    let runs = if is_long() { 1 } else { points.len() };
    for points in points.chunks(runs) {
        let world = World::with(name, shape, "redis-server".into()).await;
        assert_survives(world, method, points).await;
        println!("survived {}", points.join(" "));
    }
}

/// The share of one of the runs of every day.
async fn assert_share(run: usize) {
    let main_job = crash::reached_in(&[Situation::Any, Situation::Guarded]);
    let points: Vec<String> = main_job.into_iter().skip(run).step_by(RUNS).collect();
    assert_survives_all(&format!("share-{run}"), Shape::Replicated, "guarded", &points).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn without_a_crash() {
    let world = World::new("undisturbed").await;
    assert_survives(world, "auto", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn native() {
    assert_survives_all("native", Shape::Replicated, "native", &crash::reached_in(&[Situation::Native])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn under_sentinel() {
    let points =
        crash::reached_in(&[Situation::Sentinel]).into_iter().filter(|point| !is_last(point)).collect::<Vec<_>>();
    assert_survives_all("sentinel", Shape::Watched, "auto", &points).await;
}

/// Who takes over after the old primary follows sets its settings back in another way: so the last has another run. In it
/// the pods have new addresses with every start, which the Sentinels are made to forget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn what_is_left_under_sentinel() {
    let mut points = crash::reached_in(&[Situation::Forgotten]);
    points.extend(crash::reached_in(&[Situation::Sentinel]).into_iter().filter(|point| is_last(point)));
    for points in points.chunks(if is_long() { 1 } else { points.len() }) {
        let world = World::with("sentinel-last", Shape::Moving, "redis-server".into()).await;
        let world = assert_survives(world, "auto", points).await;
        // The last of them has just forgotten, and finds the others again.
        eventually("Sentinels that list the set and nobody else", async || {
            world.node.sentinels_are_calm().await.then_some(())
        })
        .await;
        println!("survived {}", points.join(" "));
    }
}

fn is_last(point: &str) -> bool {
    point == Place::SettingsBack.as_str()
}

/// No limit may be raised, so `maxmemory` is set to what it bears, on each member. Whoever takes over finishes it, and
/// knows what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn maxmemory() {
    let points = crash::reached_in(&[Situation::Maxmemory]);
    for points in points.chunks(if is_long() { 1 } else { points.len() }) {
        let world = World::with("maxmemory", Shape::Bounded, "redis-server".into()).await;
        let mut operator = Operator::start(&world, dying("auto", points)).await;
        let writer = world.writer().await;
        world.apply_policy().await;
        eventually("maxmemory on every member, in spite of crashes", async || {
            if operator.try_ended().is_some() {
                operator.start_again();
            }
            let all_fired = operator.fired() == points.len() && operator.starts as usize == points.len() + 1;
            let own = world.policy().await?.pointer("/status/workloads/0/maxmemory").cloned()?;
            (all_fired && own["before"] == 80 << 20 && own["held"] == 36 << 20).then_some(())
        })
        .await;
        assert_settles_as(&world, writer, String::new(), End::untouched(world.shape)).await;
        println!("survived {}", points.join(" "));
    }
}

/// What is done to the only copy of the data: all of it, not only what is done to nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn standalone() {
    let mut points = crash::reached_in(&[Situation::Standalone]);
    let also = |name: &String| name.starts_with("evict:") || name.starts_with("restore-settings:");
    points.extend(crash::reached_in(&[Situation::Any]).into_iter().filter(also));
    assert_survives_all("standalone", Shape::Standalone, "auto", &points).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn after_the_replicas_of_a_static_set() {
    let points = crash::reached_in(&[Situation::AfterReplicas]);
    assert_survives_all("static", Shape::Static, "auto", &points).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn backlog() {
    assert_survives_all("backlog", Shape::Dumping, "auto", &crash::reached_in(&[Situation::Backlog])).await;
}

/// The old primary's replacement says that it is a primary, too: it is told to follow, and told once more when the
/// operator died right then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn returning() {
    assert_survives_all("returning", Shape::Returning, "auto", &crash::reached_in(&[Situation::Returning])).await;
}

/// A budget holds the eviction of the old primary back: its clients are led away meanwhile, and once more by whoever takes
/// over from an operator that died in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn held() {
    let points = crash::reached_in(&[Situation::Held]);
    let world = World::new("held").await;
    let mut operator = Operator::start(&world, dying("auto", &points)).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    eventually("the switchover", async || world.step().await.filter(|step| step == "Switchover")).await;
    world.allow_disruptions(0).await;
    let all = u32::try_from(points.len()).expect("small");
    see_through(&world, &mut operator, points.len(), async |death| {
        if death == all {
            world.allow_disruptions(1).await;
        }
    })
    .await;
    assert_undisturbed(&world, writer).await;
    assert_eq!(operator.fired(), points.len());
}

/// The operator dies between demote and promote, then the candidate does, and the operator again when it has given the
/// role back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn rolled_back() {
    let candidate = format!("{SET}-1");
    let world = World::new("rolled-back").await;
    let mut points = names(&[Place::Demoted]);
    points.extend(crash::reached_in(&[Situation::RolledBack]));
    let mut operator = Operator::start(&world, dying("guarded", &points)).await;
    let writer = world.writer().await;
    world.apply_policy().await;
    see_through(&world, &mut operator, points.len(), async |death| {
        if death == 1 {
            assert_eq!(world.node.primary().await, None, "nobody takes writes");
            world.kill(&candidate).await;
        } else {
            assert_eq!(world.node.primary().await.as_deref(), Some("redis-0"), "it has its role back");
        }
    })
    .await;
    // The candidate has come back as its template says, and waits for a person: only what we evict gets its settings back.
    let back = world.node.of(&candidate).expect("it is back").process.clone();
    crate::fake_kubelet::patient_ask(back.address(), &["CONFIG", "SET", "maxmemory", "80mb"])
        .await
        .expect("CONFIG SET");
    eventually("the next plan's end", async || world.outcome().await.filter(|outcome| outcome == "Succeeded")).await;
    let mut end = End::undisturbed(world.shape);
    *end.starts.get_mut(&candidate).expect("a member") += 1;
    assert_ends_as(&world, writer, end).await;
    assert_eq!(operator.fired(), points.len());
}

/// A server that says itself why it pauses writes, and for how long: no reason outlives its bound, not even when the
/// operator dies in the middle.
async fn assert_no_pause_is_left(name: &str, method: &str, places: &[Place]) {
    let Some(valkey) = world::other_server("valkey-8.1") else {
        println!("left out: valkey-8.1 cannot be had here");
        return;
    };
    let world = World::with(name, Shape::Replicated, valkey).await;
    let paused = assert_survives(world, method, &names(places)).await.node.pauses();
    assert!(paused.reason_known, "{paused:?}");
    let held = places.iter().any(|place| matches!(place, Place::Paused | Place::CaughtUp | Place::Demoted));
    assert!(!held || !paused.longest_paused_reason.is_zero(), "the pause was not seen: {paused:?}");
}

/// Not more than one death before the roles are exchanged: the second attempt is the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a cluster: make test"]
async fn no_pause_is_left_behind_by_the_word_of_the_server() {
    use Place::{AfterFailoverSent, CaughtUp, Demoted, Exchanged, Paused, Promoted};
    tokio::join!(
        assert_no_pause_is_left("valkey-native", "native", &[AfterFailoverSent, Exchanged]),
        assert_no_pause_is_left("valkey-paused", "guarded", &[Paused, Demoted]),
        assert_no_pause_is_left("valkey-caught-up", "guarded", &[CaughtUp, Promoted]),
    );
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
