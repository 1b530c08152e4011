//! With `nodeAccess` the operator compares what Redis may take of a node with what the node gives.

use crate::prelude::*;

#[test]
#[ignore = "needs a cluster: make test"]
fn a_limit_that_is_more_than_the_node_gives_is_found_where_nodes_may_be_read() {
    let options = Options { set: vec!["nodeAccess=true".to_owned()], crash_image: false };
    let _operator = operator::special(&options);
    let space = Space::new("nodes");
    // Only requests must fit.
    let set = Redis::deploy(&space, "redis", 1, &[("MAXMEMORY", "512mb"), ("LIMIT", "4Ti")]);
    let node = set.pod_objects()[0]["spec"]["nodeName"].as_str().unwrap().to_owned();
    let policy = Policy::apply(&space, "redis", &[]);
    let found = policy.await_finding("NodeOvercommitted", "redis-0");
    let said = format!("on node {node} redis-0");
    assert!(found.evidence.starts_with(&said) && found.evidence.contains("may take 4 TiB"), "{found:?}");
    assert!(policy.status()["plan"].is_null(), "it is no reason for a restart: {}", policy.status());
}
