//! How often nodes are asked for, and what becomes of each answer.

use pretty_assertions::assert_eq;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::{
    clock::Clock,
    kube_io::testing::{Answer, Log, Recorded, fake, refusal},
};

fn names(names: &[&str]) -> BTreeSet<NodeName> {
    names.iter().map(|name| NodeName::from(*name)).collect()
}

fn node(allocatable: &Value) -> Answer {
    Answer::Http(200, json!({"metadata": {"name": "a"}, "status": {"allocatable": allocatable}}))
}

/// An API server that grants the right to read nodes, or does not, and answers about each node like that.
fn reader(granted: bool, answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> (Reader, Log) {
    let (client, log) = fake(move |request| {
        if request.uri.contains("selfsubjectaccessreviews") {
            let asked = &request.body["spec"]["resourceAttributes"];
            assert_eq!((&asked["verb"], &asked["resource"]), (&json!("get"), &json!("nodes")));
            assert!(asked["namespace"].is_null(), "a node is in none");
            return Answer::Http(201, json!({"spec": {}, "status": {"allowed": granted}}));
        }
        answer(request)
    });
    (Reader::new(client, Clock::start()), log)
}

fn shown(nodes: &[Node]) -> Vec<(&str, Option<Bytes>)> {
    nodes.iter().map(|node| (node.name.as_str(), node.allocatable)).collect()
}

#[tokio::test]
async fn each_node_is_read_once_and_then_remembered() {
    let (reader, log) = reader(true, |_| node(&json!({"memory": "16256032Ki", "cpu": "4"})));
    let gives = Some(Bytes(16_256_032 * 1024));
    for _ in 0..3 {
        assert_eq!(shown(&reader.node_memory(&names(&["a", "b"])).await), [("a", gives), ("b", gives)]);
    }
    assert_eq!(log.len(), 3, "the right, and each node: {:#?}", log.all());
    assert_eq!(log.all()[2].uri.split('?').next(), Some("/api/v1/nodes/b"));
    assert_eq!(shown(&reader.node_memory(&names(&["a", "c"])).await), [("a", gives), ("c", gives)]);
    assert_eq!(log.len(), 4, "only the one that is new");
}

#[tokio::test]
async fn without_the_right_no_node_is_asked_for_and_the_right_once() {
    let (reader, log) = reader(false, |request| panic!("asked for {}", request.uri));
    for _ in 0..3 {
        assert_eq!(reader.node_memory(&names(&["a"])).await, []);
    }
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn where_no_pod_runs_nothing_is_asked() {
    let (reader, log) = reader(true, |request| panic!("asked for {}", request.uri));
    assert_eq!(reader.node_memory(&names(&[])).await, []);
    assert_eq!(log.len(), 0);
}

#[tokio::test]
async fn a_live_look_asks_for_nothing() {
    let (reader, log) = reader(true, |_| node(&json!({"memory": "8Gi"})));
    assert_eq!(shown(&reader.remembered_node_memory(&names(&["a"]))), [("a", None)], "not read yet is not known");
    reader.node_memory(&names(&["a"])).await;
    assert_eq!(shown(&reader.remembered_node_memory(&names(&["a"]))), [("a", Some(Bytes::mib(8192)))]);
    assert_eq!(log.len(), 2);
}

#[rstest]
#[case::gone(refusal(404, "NotFound", "no such node", &json!([])))]
#[case::says_nothing(node(&Value::Null))]
#[case::no_amount(node(&json!({"memory": "much"})))]
#[case::a_virtual_one(node(&json!({"memory": "0"})))]
#[tokio::test]
async fn what_a_node_does_not_say_is_not_known_and_not_asked_again(#[case] answer: Answer) {
    let (reader, log) = reader(true, move |_| answer.clone());
    for _ in 0..2 {
        assert_eq!(shown(&reader.node_memory(&names(&["a"])).await), [("a", None)]);
    }
    assert_eq!(log.len(), 2);
}

#[tokio::test]
async fn after_a_failure_nothing_is_asked_for_a_minute() {
    let (down, log) = reader(true, |_| refusal(500, "InternalError", "etcd", &json!([])));
    for _ in 0..3 {
        assert_eq!(shown(&down.node_memory(&names(&["a", "b"])).await), [("a", None), ("b", None)]);
    }
    assert_eq!(log.len(), 2, "the right, and the first node");
    let (client, log) = fake(|_| refusal(500, "InternalError", "etcd", &json!([])));
    let mute = Reader::new(client, Clock::start());
    for _ in 0..3 {
        assert_eq!(shown(&mute.node_memory(&names(&["a"])).await), [("a", None)], "not known whether it may be read");
    }
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn a_right_that_was_taken_away_is_believed_to_be() {
    let (reader, log) = reader(true, |_| refusal(403, "Forbidden", "no", &json!([])));
    for _ in 0..3 {
        assert_eq!(reader.node_memory(&names(&["a"])).await, []);
    }
    assert_eq!(log.len(), 2);
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn many_nodes_are_read_less_often_each() {
    let mut nodes = Nodes::default();
    let few = names(&["a", "b"]);
    for name in &few {
        nodes.read(name.clone(), None, at(0));
    }
    assert_eq!((nodes.unknown(&few, at(599)).len(), nodes.unknown(&few, at(600)).len()), (0, 2));
    let many: BTreeSet<NodeName> = (0..300).map(|n| NodeName::from(format!("n-{n}"))).collect();
    // Each is asked about all the time, and one look asks about all of them.
    let (mut now, mut requests) = (at(0), 0);
    while now < at(100_000) {
        for name in nodes.unknown(&many, now) {
            nodes.read(name, Some(Bytes::mib(1)), now);
            requests += 1;
        }
        now += at(15);
    }
    assert!((300 * 15..=300 * 18).contains(&requests), "{requests} in 100,000 s: three a minute");
    assert_eq!(nodes.known.len(), 300, "those that nobody asked about are forgotten");
}

#[test]
fn what_failed_is_asked_again_after_a_minute() {
    let nodes = Nodes { failed: Some(at(100)), ..Nodes::default() };
    assert_eq!((nodes.rests(at(159)), nodes.rests(at(160))), (true, false));
}
