//! What is recommended passes `lint` and the operator's own judgement, at any size.

use pretty_assertions::assert_eq;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{
    assess::headroom::{Demand, HeadroomVerdict, judge_amounts},
    domain::{bytes::GIB, finding::Severity, policy::HeadroomMethod, quantity},
    lint::{Input, Rule, lint},
};

fn rule(percent: u32, minimum: Bytes) -> HeadroomRule {
    HeadroomRule {
        method: HeadroomMethod::Fixed,
        percent,
        minimum,
        resize_pod: false,
        set_maxmemory: false,
        maximum_limit: None,
        requests: false,
        allow_eviction: false,
    }
}

fn measured(minimum: Bytes) -> HeadroomRule {
    HeadroomRule { method: HeadroomMethod::Measured, ..rule(50, minimum) }
}

fn wish(memory: Memory) -> Wish {
    Wish {
        memory,
        replicas: 2,
        persistence: Persistence::Aof,
        purpose: Purpose::Cache,
        headroom: rule(50, Bytes::mib(64)),
    }
}

/// The recommendation as somebody would write it down.
fn manifests(made: &Recommendation) -> String {
    let conf: String = format!("    {}\n", made.redis_conf.join("\n    "));
    let amount = quantity::format(made.limit);
    format!(
        "kind: ConfigMap\nmetadata: {{name: conf}}\ndata:\n  redis.conf: |\n{conf}---\nkind: StatefulSet\nmetadata: {{name: r}}\nspec:\n  \
         replicas: {}\n  template:\n    spec:\n      containers:\n      - name: redis\n        image: redis\n        args: \
         [/etc/redis.conf]\n        resources: {{requests: {{memory: {amount}}}, limits: {{memory: {amount}}}}}\n        \
         volumeMounts: [{{name: conf, mountPath: /etc/redis.conf, subPath: redis.conf}}, {{name: data, mountPath: /data}}]\n      \
         volumes: [{{name: conf, configMap: {{name: conf}}}}]\n  volumeClaimTemplates: [{{metadata: {{name: data}}}}]\n",
        made.pods
    )
}

fn wishes() -> impl Strategy<Value = Wish> {
    let memory = prop_oneof![64_u64 << 20..8 << 30, 8_u64 << 30..4 << 40, 1_u64..1 << 20];
    let persistence = prop::sample::select(vec![Persistence::None, Persistence::Rdb, Persistence::Aof]);
    (
        memory,
        any::<bool>(),
        0_u32..6,
        persistence,
        prop::sample::select(Purpose::ALL.to_vec()),
        prop_oneof![
            (10_u32..=400, 1_u64..1 << 30).prop_map(|(percent, minimum)| rule(percent, Bytes(minimum))),
            (1_u64..1 << 30).prop_map(|minimum| measured(Bytes(minimum))),
        ],
    )
        .prop_map(|(memory, node, replicas, persistence, purpose, headroom)| Wish {
            memory: if node { Memory::Node(Bytes(memory)) } else { Memory::Container(Bytes(memory)) },
            replicas,
            persistence,
            purpose,
            headroom,
        })
}

proptest! {
    #[test]
    fn what_is_recommended_passes_lint_and_the_operator(wish in wishes()) {
        let Ok(made) = recommend(&wish) else { return Ok(()) };
        let verdict = judge_amounts(&Demand::assumed(&wish.headroom), made.maxmemory, Some(made.limit));
        prop_assert!(matches!(verdict, HeadroomVerdict::Sufficient { .. }), "{verdict:?} {made:?}");
        let more = judge_amounts(&Demand::assumed(&wish.headroom), made.maxmemory + Bytes::mib(1), Some(made.limit));
        prop_assert!(matches!(more, HeadroomVerdict::Insufficient { .. }), "and no more would fit: {made:?}");
        let input = Input { name: "a".into(), text: manifests(&made), named: true };
        let report = lint(&[input], &Rule { headroom: wish.headroom.clone(), purpose: Some(wish.purpose) });
        prop_assert!(report.problems.is_empty() && report.judged.len() == 1, "{report:?}");
        let judged = &report.judged[0];
        prop_assert_eq!(judged.maxmemory.get(), Some(&made.maxmemory));
        // What was asked for against all advice is said.
        let asked = wish.persistence == Persistence::None && !wish.purpose.may_be_lost();
        let worst = judged.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Info);
        prop_assert_eq!(worst > Severity::Info, asked, "{:?}", judged.findings);
        prop_assert!(!asked || made.notes.iter().any(|note| note.contains("without persistence")));
    }

    #[test]
    fn the_node_has_room_for_both(limit in 1_u64..1 << 42) {
        let node = node_for(Bytes(limit));
        prop_assert!(node.saturating_sub(reserve(node)) >= Bytes(limit));
        let less = node.saturating_sub(Bytes::mib(1));
        prop_assert!(less.saturating_sub(reserve(less)) < Bytes(limit), "no smaller one has");
    }

    #[test]
    fn the_reserve_is_within_its_bounds(node in 2_500_000_000_u64..1 << 44) {
        let share = reserve(Bytes(node)).0 * 100 / node;
        prop_assert!((15..=20).contains(&share), "{share} % of {node}");
    }
}

#[rstest]
#[case(1, 500_000_000)]
#[case(2, 500_000_000)]
#[case(4, 858_993_460)]
#[case(6, 1_000_000_000)]
#[case(8, 1_288_490_189)]
fn what_the_system_keeps(#[case] gib: u64, #[case] bytes: u64) {
    assert_eq!(reserve(Bytes(gib * GIB)), Bytes(bytes));
}

#[test]
fn eight_gibibytes() {
    let made = recommend(&wish(Memory::Container(Bytes(8 * GIB)))).unwrap();
    assert_eq!((made.servers, made.pods, made.limit, made.maxmemory), (1, 3, Bytes(8 * GIB), Bytes::mib(5461)));
    assert!(made.redis_conf.contains(&"maxmemory 5461mb".to_owned()), "{:?}", made.redis_conf);
}

/// 5091 × (1.15 × 1.25 + 0.035) + 256 + 16 + 1 + 12 is at most 0.95 × 8192.
#[test]
fn eight_gibibytes_by_what_is_usually_measured() {
    let wish = Wish { headroom: measured(Bytes::mib(64)), ..wish(Memory::Container(Bytes(8 * GIB))) };
    let made = recommend(&wish).unwrap();
    assert_eq!((made.limit, made.maxmemory), (Bytes(8 * GIB), Bytes::mib(5091)));
    let said = made.arithmetic.iter().find(|line| line.starts_with("maxmemory")).unwrap();
    assert!(said.contains("method Measured: data 5.72 GiB (ratio 1.15), buffers 256 MiB"), "{said}");
    assert!(said.contains("(bounds: nothing is measured)"), "{said}");
}

#[test]
fn what_is_too_large_for_one_is_split() {
    let made = recommend(&wish(Memory::Container(Bytes(256 * GIB)))).unwrap();
    assert_eq!((made.servers, made.limit), (7, Bytes(256 * GIB / 7 / MIB * MIB)));
    assert!(made.maxmemory <= LARGEST_INSTANCE);
}

#[test]
fn what_is_too_small_is_refused_with_what_is_needed() {
    let error = recommend(&wish(Memory::Container(Bytes::mib(64)))).unwrap_err().to_string();
    assert_eq!(error, "64 MiB leave no room for data: a container needs at least 65 MiB, 64 MiB of it above maxmemory");
}
