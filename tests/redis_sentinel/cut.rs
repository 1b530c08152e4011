//! The primary is cut off from its replicas, and from the majority of the Sentinels, in the middle of an exchange: packets are
//! dropped, in a network that the test has for itself. The majority takes a primary that it does not see for dead and promotes
//! another; none of what any server has acknowledged is lost, so that at no time two of them took writes.

use std::{
    future::ready,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
};

use redis_memory_operator::{
    execute::ExecuteError,
    plan::{effect::FailoverOrder, switchover::Failure},
};
use rstest::rstest;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpSocket,
};

use crate::{
    common::{eventually, load::Shape, long::is_long, server::RedisServer, switching::hook_at},
    exchanges::Scene,
    facts::SYSTEM,
    ours::{carry_out, die_at, hooked, is_as_before, order, resumed, winner},
    set::{USUAL, Watched, server},
};

/// Makes a network and runs a command in it. Without rights: in it one is root.
const OWN_NETWORK: [&str; 6] =
    ["--user", "--map-root-user", "--net", "sh", "-c", r#"ip link set lo up && nft list ruleset && exec "$0" "$@""#];
/// Set in the process that runs in it.
const INSIDE: &str = "RMO_IN_OWN_NETWORK";
/// Where Debian keeps `ip` and `nft`.
const PATHS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// From where nothing is ever cut.
const WITNESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);
/// Where every server and Sentinel is called.
const LISTENS: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// From where the operator, the clients and the tests call.
const OPERATOR: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Whether this process has a network for itself. Else the test of that name was run in one that has, where there may be one.
#[allow(clippy::disallowed_methods, reason = "a test that runs itself")]
fn has_own_network(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(OWN_NETWORK).args(words).env("PATH", std::env::var("PATH").unwrap_or_default() + ":" + PATHS);
        command
    };
    let tried = unshare(&["true"]).stdin(Stdio::null()).output().expect("unshare can be run (Debian: util-linux)");
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr);
        println!("left out: no network of our own can be made (it takes nft and user namespaces): {why}");
        return false;
    }
    let own = std::env::current_exe().expect("it is known");
    let words = [&own.display().to_string(), "--exact", test, "--include-ignored", "--nocapture"];
    let status = unshare(&words).env(INSIDE, "1").status().expect("it ran before");
    assert!(status.success(), "in a network of its own: {status}");
    false
}

/// From where that server calls others.
const fn of_server(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 11 + n)
}

/// From where that Sentinel does.
const fn of_sentinel(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 21 + n)
}

/// A set each of whose members calls from an address of its own.
async fn watched() -> Watched {
    let program = Path::new(SYSTEM);
    let calls_from =
        |n| server(program, &["--bind-source-addr", &of_server(n).to_string(), "--replica-announce-ip", "127.0.0.1"]);
    let sentinel = |primary: &RedisServer, n: usize| {
        let from = of_sentinel(u8::try_from(n).expect("three")).to_string();
        let own = ["--bind-source-addr", &from, "--sentinel", "announce-ip", "127.0.0.1"];
        RedisServer::start_sentinel_at(program, primary.address().port(), 2, USUAL, &own)
    };
    Watched::of((0..3).map(calls_from).collect(), sentinel).await
}

/// On which side of the cut the operator and the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Primary,
    Majority,
}

/// Who calls from where, and answers at which port.
#[derive(Default)]
struct Side {
    sources: Vec<String>,
    ports: Vec<String>,
}

/// Between the first server with the first Sentinel and all others nothing gets through.
fn cut(set: &Watched, operator: Beside) -> impl Fn() + Send + Sync + use<> {
    let mut sides = [Side::default(), Side::default()];
    for (members, source) in [(&set.servers, of_server as fn(u8) -> Ipv4Addr), (&set.sentinels, of_sentinel)] {
        for (n, member) in (0..).zip(members) {
            let side = &mut sides[usize::from(n > 0)];
            side.sources.push(source(n).to_string());
            side.ports.push(member.address().port().to_string());
        }
    }
    sides[usize::from(operator == Beside::Majority)].sources.push(OPERATOR.to_string());
    // By where all of them listen too: who calls from elsewhere may be given one of these ports for it.
    let rule = |from: &Side, to: &Side| {
        let (sources, ports) = (from.sources.join(", "), to.ports.join(", "));
        format!(
            "ip saddr {{ {sources} }} ip daddr {LISTENS} tcp dport {{ {ports} }} drop; \
             ip daddr {{ {sources} }} ip saddr {LISTENS} tcp sport {{ {ports} }} drop;"
        )
    };
    let rules = [rule(&sides[0], &sides[1]), rule(&sides[1], &sides[0])].join(" ");
    move || {
        nft(&format!(
            "add table inet cut\nadd chain inet cut input {{ type filter hook input priority 0; {rules} }}\n"
        ));
    }
}

fn heal() {
    nft("delete table inet cut\n");
}

fn nft(rules: &str) {
    let nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn();
    let mut nft = nft.expect("nft can be run (Debian: nftables)");
    nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("it reads");
    assert!(nft.wait().expect("it ends").success(), "{rules}");
}

/// Whom that Sentinel names, asked by the one whom nothing cuts off.
async fn names(sentinel: &RedisServer) -> Option<u16> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::from((WITNESS, 0))).ok()?;
    let mut stream = BufReader::new(socket.connect(sentinel.address()).await.ok()?);
    stream.write_all(b"SENTINEL GET-MASTER-ADDR-BY-NAME demo\r\n").await.ok()?;
    let mut lines = stream.lines();
    for _ in 0..4 {
        lines.next_line().await.ok()??;
    }
    lines.next_line().await.ok()??.parse().ok()
}

/// The majority has promoted another server.
async fn majority_has_another(set: &Watched) {
    let old = set.servers[0].address().port();
    eventually("the majority names another", async || {
        let named = (names(&set.sentinels[1]).await?, names(&set.sentinels[2]).await?);
        (named.0 == named.1 && named.0 != old).then_some(())
    })
    .await;
}

/// Under a light load: who was cut off has to get all that was written meanwhile.
async fn start(seed: u64) -> Scene {
    Scene::of(watched().await, seed, Shape { connections: 4, depth: 4, size: 64 }).await
}

/// The Sentinel was told, and then is alone with the old primary: what has come of it is known when the others are heard again.
#[rstest]
#[case::of_the_primary(Beside::Primary, "cut::what_was_told_is_ended::case_1_of_the_primary")]
#[case::of_the_majority(Beside::Majority, "cut::what_was_told_is_ended::case_2_of_the_majority")]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_is_ended(#[case] operator: Beside, #[case] test: &str) {
    if !has_own_network(test) {
        return;
    }
    let scene = start(21).await;
    let order = order(&scene.set, 0).await;
    die_at("switchover:sentinel-told", &order).await;
    cut(&scene.set, operator)();
    let order = resumed(&order);
    let meanwhile = async {
        majority_has_another(&scene.set).await;
        heal();
    };
    let (mut done, ()) = tokio::join!(carry_out(&order), meanwhile);
    if let Err(error) = &done {
        println!("tried again: {error:?}");
        done = carry_out(&order).await;
    }
    let new = winner(&scene.set, &done.expect("it is carried out")).await;
    assert_ne!(new, 0);
    ends_at(scene, new).await;
}

/// Nothing is lost. Who was cut off has greeted its replicas in vain, and may have to sync fully.
async fn ends_at(scene: Scene, primary: usize) {
    let (set, end) = scene.ended_at(primary).await;
    assert_eq!(end.lost, 0);
    set.settled(primary).await;
    set.servers.iter().for_each(is_as_before);
}

/// Cut off when writes are refused already, and no Sentinel was told: what became of it, and the order for who takes it up.
async fn cut_before_one_is_told(scene: &Scene, operator: Beside) -> (Failure, FailoverOrder) {
    let order = order(&scene.set, 0).await;
    let part = cut(&scene.set, operator);
    let hook = hook_at("switchover:refuses-writes", move || {
        part();
        Box::pin(ready(()))
    });
    match hooked(&order, hook).await {
        Err(ExecuteError::Switchover { failure, .. }) => (failure, resumed(&order)),
        ended => panic!("it ended although the set was in two parts: {ended:?}"),
    }
}

/// The operator is beside the primary: no minority is told, and writes go on as they did. That the majority promotes another is
/// no doing of ours, and what is written here after that goes with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_minority_is_not_told() {
    if !has_own_network("cut::a_minority_is_not_told") {
        return;
    }
    let scene = start(22).await;
    let (failure, order) = cut_before_one_is_told(&scene, Beside::Primary).await;
    assert_eq!(failure, Failure::SentinelsSilent);
    is_as_before(&scene.set.servers[0]);
    majority_has_another(&scene.set).await;
    heal();
    let new = winner(&scene.set, &carry_out(&order).await.expect("what the majority did is taken as the end")).await;
    scene.set.settled(new).await;
    scene.set.servers.iter().for_each(is_as_before);
}

/// The operator is beside the majority, which promotes another by itself: the old primary refuses writes all the while, for
/// nobody can set it back, and that is the end of the exchange. (43 s.)
#[tokio::test(flavor = "multi_thread")]
async fn what_the_majority_did_is_the_end() {
    if !is_long() {
        println!("left out: it takes 43 s (RMO_LONG=1)");
        return;
    }
    if !has_own_network("cut::what_the_majority_did_is_the_end") {
        return;
    }
    let scene = start(23).await;
    let (failure, order) = cut_before_one_is_told(&scene, Beside::Majority).await;
    assert_eq!(failure, Failure::Unclear);
    majority_has_another(&scene.set).await;
    heal();
    let new = winner(&scene.set, &carry_out(&order).await.expect("what the majority did is taken as the end")).await;
    assert_ne!(new, 0);
    ends_at(scene, new).await;
}
