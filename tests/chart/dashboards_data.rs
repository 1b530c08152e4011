//! Every query of the dashboards, asked of a real Prometheus that scrapes an operator's own page: it is read, it finds
//! something, and what it finds is a number and the right one, with pods that have no maxmemory and no sample among them.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use pretty_assertions::assert_eq;
use redis_memory_operator::{
    admin::{Admin, Entrance},
    domain::{
        blocked::BlockReason,
        bytes::Bytes,
        finding::{FindingCode, Severity},
        journal::Outcome,
        ratio::Ratio,
        step::StepKind,
        switchover::SwitchoverMethod,
    },
    metrics::{
        Measured, Metrics, PolicyKey, PolicySeries, ReconcileResult, Source, SwitchoverOutcome, TargetSeries,
        WriteGapSeries,
    },
};
use serde_json::Value;

use crate::{
    boards::{BOARDS, chosen, dashboard, number, queries, variables},
    prometheus::Prometheus,
};

/// How long rates and quantiles may take to be there: several scrapes.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a person has chosen: everything, or the policy that is in trouble.
const CHOSEN: &[(&str, &[(&str, &str)])] =
    &[("fleet", &[("namespace", ".*")]), ("set", &[("namespace", "shop"), ("policy", "sessions"), ("pod", ".*")])];

fn measured(used: u64, resident: u64, maxmemory: u64, limit: u64) -> Measured {
    let signed = |left: u64, right: u64| i64::try_from(left).unwrap() - i64::try_from(right).unwrap();
    let mib = |amount: i64| amount * (1 << 20);
    let bounded = maxmemory > 0;
    Measured {
        used: Some(Bytes::mib(used)),
        resident: Some(Bytes::mib(resident)),
        maxmemory: Some(Bytes::mib(maxmemory)),
        headroom_required: bounded.then(|| Bytes::mib(maxmemory / 2)),
        headroom: bounded.then(|| mib(signed(limit, maxmemory))),
        fragmentation_ratio: Some(Ratio(u32::try_from(resident * 100 / used).unwrap())),
        fragmentation_bytes: Some(mib(signed(resident, used))),
        latest_fork: Some(Duration::from_millis(12)),
        sample_age: Some(Duration::from_secs(3)),
    }
}

fn target(pod: &str, limit: u64, compliant: Option<bool>, measured: Measured) -> TargetSeries {
    TargetSeries {
        pod: pod.to_owned(),
        container: "redis".to_owned(),
        container_limit: Some(Bytes::mib(limit)),
        compliant,
        stale_findings: compliant.is_none().then_some(1),
        measured: Source::new(move || measured),
    }
}

/// An operator that leads. Of one policy the first pod is fragmented and has a limit below its maxmemory, the second has no
/// maxmemory, the third has never answered; a remediation is under way. The other one is fine.
fn operator() -> Metrics {
    let metrics = Metrics::new("ops/redis-memory-operator");
    metrics.show_targets(true);
    metrics.set_leader(true);
    metrics.set_budget(1, 2);
    metrics.unreadable(1);
    let sessions = PolicyKey::new("shop", "sessions");
    let pods = vec![
        target("redis-0", 500, Some(false), measured(200, 450, 512, 500)),
        target("redis-1", 500, Some(false), measured(200, 210, 0, 500)),
        target("redis-2", 500, None, Measured::default()),
    ];
    metrics.publish_targets(&sessions, pods);
    let since = "2026-01-01T00:00:00Z".parse().unwrap();
    let judged = PolicySeries {
        level: "ActNow".to_owned(),
        findings: [((FindingCode::FragmentationRestartDue, Severity::Warning), 1)].into(),
        refusals: [(BlockReason::DisruptionBudget, since)].into(),
        plan: Some(vec![StepKind::Evict, StepKind::Switchover, StepKind::Evict]),
        last: [("redis".to_owned(), (Outcome::Succeeded, since))].into(),
    };
    metrics.publish_policy(&sessions, judged);
    metrics.set_blocked(&sessions, Some("DisruptionBudget"));
    metrics.set_active(&sessions, Some("redis"));
    let gap = WriteGapSeries {
        workload: "redis".to_owned(),
        estimated: Duration::from_millis(40),
        measured: Some(Duration::from_millis(30)),
    };
    metrics.set_write_gaps(&sessions, vec![gap]);
    let carts = PolicyKey::new("cart", "carts");
    metrics.publish_targets(&carts, vec![target("carts-0", 512, Some(true), measured(100, 110, 256, 512))]);
    metrics.publish_policy(&carts, PolicySeries { level: "Fine".to_owned(), ..PolicySeries::default() });
    metrics
}

/// What goes on all the time.
fn go_on(metrics: &Metrics) {
    metrics.reclaimed(&PolicyKey::new("shop", "sessions"), 1 << 20);
    metrics.reclaimed(&PolicyKey::new("cart", "carts"), 0);
    metrics.probe_failed("Unreachable");
    metrics.probe_took(Duration::from_millis(2));
    metrics.watch_failed("Pod");
    metrics.step_taken("Evict", true);
    metrics.write_paused(Duration::from_millis(3));
    metrics.switchover_ended(SwitchoverMethod::Guarded, SwitchoverOutcome::HandedOver, Duration::from_secs(3));
    metrics.reconciled(ReconcileResult::Error, Duration::from_millis(3));
    metrics.answer_observer()(&http::Method::GET, Some(http::StatusCode::OK));
}

/// Every query as Grafana sends it, by board and place.
fn sent() -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for (board, choice) in CHOSEN {
        let of_board = queries(&dashboard(board)).into_iter();
        all.extend(of_board.map(|(place, expr)| (((*board).to_owned(), place), chosen(&expr, choice))));
    }
    assert!(all.len() > 60, "the queries were not found");
    all
}

/// What Prometheus finds for each query, by board and place.
type Answers = BTreeMap<(String, String), Vec<Value>>;

/// Asks until every query finds numbers; panics with those that do not.
#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
fn ask(prometheus: &Prometheus, metrics: &Metrics) -> Answers {
    let mut open = sent();
    let (started, mut answers) = (Instant::now(), Answers::new());
    while !open.is_empty() {
        go_on(metrics);
        open.retain(|place, expr| {
            let found = prometheus.query(expr).unwrap_or_else(|error| panic!("{place:?}: {error}"));
            let is_there = !found.is_empty() && found.iter().all(|series| number(&series["value"][1]).is_some());
            if is_there {
                answers.insert(place.clone(), found);
            }
            !is_there
        });
        assert!(started.elapsed() < PATIENCE, "these find no data, or what is no number: {open:#?}");
        thread::sleep(LOOK_EVERY);
    }
    answers
}

/// Board and place of a query, and what it finds: a label's value (or nothing), and the number.
type Found<'a> = (&'a str, &'a str, &'a [(&'a str, f64)]);

const MIB: f64 = 1_048_576.0;

/// Numbers that a person would act on.
const RIGHT: &[Found<'_>] = &[
    ("fleet", "Policies by verdict / {{level}}", &[("ActNow", 1.0), ("Fine", 1.0), ("Plan", 0.0), ("Unknown", 0.0)]),
    ("fleet", "Pods / without a sample", &[("", 1.0)]),
    ("fleet", "Pods / limit below maxmemory", &[("", 1.0)]),
    ("fleet", "Pods / too little headroom", &[("", 1.0)]),
    ("fleet", "Pods / no maxmemory", &[("", 1.0)]),
    ("fleet", "Pods / not compliant", &[("", 2.0)]),
    ("fleet", "Waste / {{namespace}}/{{policy}}", &[("carts", 10.0 * MIB), ("sessions", 260.0 * MIB)]),
    ("fleet", "Fragmentation ratio / {{namespace}}/{{policy}}", &[("sessions", 2.25)]),
    (
        "fleet",
        "Headroom beyond what is required / {{namespace}}/{{policy}}",
        &[("carts", 128.0 * MIB), ("sessions", -268.0 * MIB)],
    ),
    ("fleet", "Due and under way / due", &[("", 1.0)]),
    ("fleet", "Due and under way / under way", &[("", 1.0)]),
    ("fleet", "How the last ones ended / {{outcome}}", &[("Succeeded", 1.0)]),
    ("fleet", "First reasons / {{reason}}", &[("DisruptionBudget", 1.0)]),
    ("fleet", "Leader / {{name}}", &[("ops/redis-memory-operator", 1.0)]),
    ("fleet", "Namespaces not read / namespaces", &[("", 1.0)]),
    ("set", "Verdict / verdict", &[("sessions", 3.0)]),
    ("set", "Memory of $pod / used", &[("redis-0", 200.0 * MIB), ("redis-1", 200.0 * MIB)]),
    ("set", "Memory of $pod / maxmemory", &[("redis-0", 512.0 * MIB)]),
    ("set", "Memory of $pod / limit", &[("redis-0", 500.0 * MIB), ("redis-1", 500.0 * MIB), ("redis-2", 500.0 * MIB)]),
    ("set", "Headroom / {{pod}}", &[("redis-0", -12.0 * MIB)]),
    ("set", "Headroom / {{pod}} required", &[("redis-0", 256.0 * MIB)]),
    ("set", "Steps of the plan / {{step}}", &[("Evict", 2.0), ("Switchover", 1.0)]),
    ("set", "How long writes stop / {{workload}} {{kind}}", &[("estimated", 0.04), ("measured", 0.03)]),
];

fn has(found: &[Value], label: &str, wanted: f64) -> bool {
    found.iter().any(|series| {
        let labels = series["metric"].as_object().unwrap();
        let named = if label.is_empty() { labels.is_empty() } else { labels.values().any(|value| value == label) };
        named && number(&series["value"][1]).is_some_and(|number| (number - wanted).abs() < 1e-9)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "needs prometheus and curl (make test installs them, or set PROMETHEUS)"]
async fn every_query_finds_the_right_numbers() {
    let metrics = operator();
    go_on(&metrics);
    let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = admin.address().to_string();
    let serving = tokio::spawn(admin.serve_metrics(metrics.clone(), Entrance::default(), std::future::pending()));
    let prometheus = Prometheus::start(None, &address, "");

    let answers = ask(&prometheus, &metrics);
    for (board, place, wanted) in RIGHT {
        let found = &answers[&((*board).to_owned(), (*place).to_owned())];
        let right = found.len() == wanted.len() && wanted.iter().all(|(label, number)| has(found, label, *number));
        assert!(right, "{board}, {place}: {wanted:?} in {found:#?}");
    }

    // And looked back at, as the test on the cluster does.
    let exprs: Vec<String> = sent().into_values().collect();
    for (expr, found) in exprs.iter().zip(prometheus.over_time(&exprs, PATIENCE).unwrap()) {
        let mut values = found.iter().flat_map(|series| series["values"].as_array().unwrap());
        assert!(values.any(|it| number(&it[1]).is_some()), "{expr}: {found:?}");
    }

    // What is not there has no number: a zero would say that all is well.
    for board in BOARDS {
        for (place, expr) in queries(&dashboard(board)).into_iter().filter(|(_, expr)| expr.contains("$namespace")) {
            let nowhere = chosen(&expr, &[("namespace", "nowhere"), ("policy", "none"), ("pod", "none")]);
            assert_eq!(prometheus.query(&nowhere).unwrap(), Vec::<Value>::new(), "{board}, {place}");
        }
    }

    for (board, choice) in CHOSEN {
        for (name, selector, label) in variables(&dashboard(board)) {
            let values = prometheus.label_values(&label, &chosen(&selector, choice)).unwrap();
            let wanted: &[&str] = match name.as_str() {
                "namespace" => &["cart", "shop"],
                "policy" => &["sessions"],
                "pod" => &["redis-0", "redis-1", "redis-2"],
                other => panic!("{other} is checked by nobody"),
            };
            assert_eq!(values, wanted, "{board}, ${name}");
        }
    }
    serving.abort();
}
