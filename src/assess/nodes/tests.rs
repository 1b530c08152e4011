//! Where a node is too full, who is told of it, and what is not said to whom.

use pretty_assertions::assert_eq;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{
    assess::{AssessSettings, Assessment, judged::Judged},
    domain::{
        finding::Severity,
        fixtures::{self, pod_name, policy},
        node::Others,
        pod::{ContainerProblem, Deployment},
        snapshot::{Observation, ProbeFailure},
    },
};

fn node(name: &str, allocatable: Bytes) -> Node {
    Node { name: name.into(), allocatable: Some(allocatable), others: Others::default() }
}

/// Three pods with a limit of 1 GiB each, all of them on node `a`, which gives that number of MiB.
fn on_one(mib: u64) -> Snapshot {
    let mut snapshot = fixtures::three_pods();
    snapshot.targets.iter_mut().for_each(|target| target.pod.node = Some("a".into()));
    snapshot.nodes = vec![node("a", Bytes::mib(mib))];
    snapshot
}

fn limit(snapshot: &mut Snapshot, n: usize, limit: Option<Bytes>) {
    let container = snapshot.targets[n].pod.container.as_mut().unwrap();
    (container.spec_limit, container.live_limit) = (limit, limit);
}

fn pods(snapshot: &Snapshot) -> Vec<String> {
    findings(snapshot).into_iter().map(|finding| finding.pod.unwrap().to_string()).collect()
}

fn judged(snapshot: &Snapshot) -> Vec<bool> {
    let policy = policy();
    let look = Assessment::of(&policy, snapshot, &AssessSettings::default());
    let judged = Judged::of(&look);
    let of = |n| judged.again(FindingCode::NodeOvercommitted, Some(pod_name(n).as_str()));
    (0..3).map(of).collect()
}

#[rstest]
#[case::exactly(Bytes(10 * 3072 * 1024 * 1024 / 8), false)]
#[case::a_byte_less(Bytes(10 * 3072 * 1024 * 1024 / 8 - 1), true)]
#[case::a_byte_more(Bytes(10 * 3072 * 1024 * 1024 / 8 + 1), false)]
fn eighty_percent_is_not_too_much(#[case] allocatable: Bytes, #[case] found: bool) {
    let snapshot = Snapshot { nodes: vec![node("a", allocatable)], ..on_one(0) };
    assert_eq!(pods(&snapshot).len(), if found { 3 } else { 0 });
}

#[test]
fn it_is_said_of_each_pod_in_the_same_words_and_is_a_warning() {
    let found = findings(&on_one(3600));
    let said: Vec<_> = found.iter().map(|finding| (&finding.evidence, &finding.remedy, finding.severity)).collect();
    assert_eq!(said, vec![said[0]; 3]);
    assert_eq!(said[0].2, Severity::Warning);
    assert_eq!(
        found[0].evidence,
        "on node a redis-0, redis-1, redis-2 may take 3 GiB by their limits, 86 % of the 3600 MiB that it gives to pods"
    );
    for words in ["node a ", "podAntiAffinity", "topologySpreadConstraints", "StatefulSet redis", "requests"] {
        assert!(found[0].remedy.contains(words), "{words}: {}", found[0].remedy);
    }
}

#[test]
fn each_node_is_judged_by_itself() {
    let mut snapshot = on_one(2400);
    assert_eq!(pods(&snapshot), ["redis-0", "redis-1", "redis-2"]);
    snapshot.targets[2].pod.node = Some("b".into());
    snapshot.nodes = vec![node("a", Bytes::mib(2400)), node("b", Bytes::mib(8192))];
    assert_eq!(pods(&snapshot), ["redis-0", "redis-1"], "2 GiB of 2400 MiB");
    snapshot.nodes[1] = node("b", Bytes::mib(1100));
    let found = findings(&snapshot);
    let remedies: std::collections::BTreeSet<_> = found.iter().map(|finding| &finding.remedy).collect();
    assert_eq!(remedies.len(), 2, "else they would be stored as one");
    assert!(found[2].evidence.contains("redis-2 may take 1 GiB by its limit, 94 %"), "{found:#?}");
    assert!(found[2].remedy.contains("larger node than b") && !found[2].remedy.contains("spread"), "{found:#?}");
}

#[test]
fn pods_of_other_policies_count_and_only_their_number_is_told() {
    let mut snapshot = on_one(8192);
    assert_eq!(pods(&snapshot), [""; 0]);
    snapshot.nodes[0].others = Others { pods: 1, take: Bytes::mib(4096), incomplete: false };
    let found = findings(&snapshot);
    assert_eq!(
        found[0].evidence,
        "on node a redis-0, redis-1, redis-2, and 1 pod of another policy, may take 7 GiB by their limits, 88 % of the 8 GiB \
         that it gives to pods"
    );
    snapshot.nodes[0].others.pods = 2;
    assert!(findings(&snapshot)[0].evidence.contains(", and 2 pods of other policies,"));
    let alone = Snapshot { targets: snapshot.targets[..1].to_vec(), ..snapshot };
    assert_eq!(pods(&alone), [""; 0], "5 of 8 GiB");
    let nobody = Snapshot { targets: Vec::new(), nodes: vec![node("a", Bytes(1))], ..alone };
    assert_eq!(pods(&nobody), [""; 0], "it is said of pods of the policy only");
}

#[test]
fn a_pod_without_a_limit_counts_by_what_it_may_hold() {
    let mut snapshot = on_one(3000);
    limit(&mut snapshot, 1, None);
    // 1 GiB twice, and maxmemory 512 MiB.
    let found = findings(&snapshot);
    assert!(found[0].evidence.contains("may take 2.50 GiB by their limits, 86 %"), "{}", found[0].evidence);
    let why = "; counted by maxmemory or RSS, whichever is more, for want of a limit: redis-1";
    assert!(found[0].evidence.ends_with(why), "{}", found[0].evidence);
    snapshot.nodes[0].allocatable = Some(Bytes::mib(3200));
    assert_eq!(findings(&snapshot), [], "exactly 80 %");
    snapshot.targets[1].sample_mut().unwrap().memory.rss = Bytes::mib(600);
    assert_eq!(pods(&snapshot).len(), 3, "it holds more than its maxmemory");
    let alone =
        Snapshot { targets: vec![snapshot.targets[1].clone()], nodes: vec![node("a", Bytes::mib(600))], ..snapshot };
    assert!(findings(&alone)[0].evidence.starts_with("on node a redis-1 may take 600 MiB, 100 % of the 600 MiB that"));
}

#[test]
fn what_is_not_known_is_not_counted() {
    let mut snapshot = on_one(2560);
    limit(&mut snapshot, 1, None);
    snapshot.targets[1].redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into()));
    assert_eq!(pods(&snapshot), [""; 0], "2 GiB that are known are exactly 80 %");
    snapshot.nodes[0].allocatable = Some(Bytes::mib(2559));
    assert_eq!(pods(&snapshot), ["redis-0", "redis-2"]);
    snapshot.targets[2].pod.container = Err(ContainerProblem("two containers".into()));
    assert_eq!(pods(&snapshot), [""; 0]);
}

#[test]
fn a_node_that_is_not_known_or_may_not_be_read_is_not_judged() {
    let mut snapshot = on_one(1);
    assert_eq!(judged(&snapshot), [true; 3]);
    snapshot.nodes[0].others.incomplete = true;
    assert_eq!((judged(&snapshot), pods(&snapshot).len()), (vec![false; 3], 3), "too much is too much already");
    snapshot.nodes[0] = Node { allocatable: None, ..node("a", Bytes::ZERO) };
    assert_eq!((judged(&snapshot), pods(&snapshot).len()), (vec![false; 3], 0));
    snapshot.nodes[0].allocatable = Some(Bytes::mib(8192));
    snapshot.targets[1].pod.node = None;
    assert_eq!(judged(&snapshot), [true, false, true], "it is on no node yet");
    // Without the right there is nothing to know: what was found while there was one is over.
    snapshot.nodes.clear();
    assert_eq!((judged(&snapshot), pods(&snapshot).len()), (vec![true; 3], 0));
}

#[test]
fn a_pod_is_judged_in_full_where_its_node_is_not_known() {
    let (policy, mut snapshot) = (policy(), on_one(8192));
    snapshot.nodes[0].allocatable = None;
    let look = Assessment::of(&policy, &snapshot, &AssessSettings::default());
    assert_eq!(Judged::of(&look).lacking("redis-0"), None);
}

#[test]
fn a_deployment_is_named_and_not_its_replica_set() {
    let mut snapshot = on_one(3000);
    let owner = snapshot.targets[0].pod.owner.as_mut().unwrap();
    (owner.kind, owner.uid) = ("ReplicaSet".into(), "rs".into());
    let made = Deployment { uid: "rs".into(), name: "cache".into(), template_limits: Vec::new(), limit_at: None };
    snapshot.deployments.push(made);
    let remedy = &findings(&snapshot)[0].remedy;
    assert!(remedy.contains("in the template of Deployment cache, StatefulSet redis (a change"), "{remedy}");
}

proptest! {
    #[test]
    fn a_larger_node_is_never_worse(
        limits in prop::collection::vec(prop::option::of(any::<u64>()), 3),
        others in (any::<usize>(), any::<u64>()),
        (allocatable, more) in (any::<u64>(), any::<u64>()),
    ) {
        let with = |allocatable: u64| {
            let mut snapshot = on_one(0);
            for (n, each) in limits.iter().enumerate() {
                limit(&mut snapshot, n, each.map(Bytes));
            }
            let others = Others { pods: others.0, take: Bytes(others.1), incomplete: false };
            snapshot.nodes = vec![Node { others, ..node("a", Bytes(allocatable)) }];
            findings(&snapshot).len()
        };
        prop_assert!(with(allocatable.saturating_add(more)) <= with(allocatable));
    }

    #[test]
    fn a_larger_limit_is_never_better(allocatable in any::<u64>(), before in any::<u64>(), more in any::<u64>()) {
        let with = |each: u64| {
            let mut snapshot = Snapshot { nodes: vec![node("a", Bytes(allocatable))], ..on_one(0) };
            limit(&mut snapshot, 1, Some(Bytes(each)));
            findings(&snapshot).len()
        };
        prop_assert!(with(before) <= with(before.saturating_add(more)));
    }
}
