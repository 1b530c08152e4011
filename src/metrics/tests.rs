//! What a scrape shows: the table, no more and no less, and no more series than policies, pods and closed lists have.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::*;
use crate::domain::{
    blocked::BlockReason,
    bytes::Bytes,
    finding::{FindingCode, Severity},
    journal::Outcome,
    ratio::Ratio,
    snapshot::ProbeFailure,
    step::StepKind,
};

fn lines(metrics: &Metrics, prefix: &str) -> Vec<String> {
    let page = metrics.render().expect("a page");
    page.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
}

#[test]
fn counters_have_the_names_that_dashboards_know() {
    let metrics = Metrics::new("operator");
    metrics.probe_failed("Unreachable");
    metrics.step_taken("Evict", true);
    metrics.reconciled(ReconcileResult::Error, Duration::from_millis(3));
    metrics.answer_observer()(&http::Method::PATCH, Some(http::StatusCode::CONFLICT));
    metrics.answer_observer()(&http::Method::GET, None);
    metrics.set_leader(true);
    metrics.watch_failed("Pod");
    for line in [
        "redis_memory_policy_watch_errors_total{kind=\"Pod\"} 1",
        "redis_memory_policy_probe_errors_total{reason=\"Unreachable\"} 1",
        "redis_memory_policy_remediations_total{action=\"Evict\",result=\"Done\"} 1",
        "controller_runtime_reconcile_total{controller=\"redismemorypolicy\",result=\"error\"} 1",
        "controller_runtime_reconcile_errors_total{controller=\"redismemorypolicy\"} 1",
        "rest_client_requests_total{code=\"409\",method=\"PATCH\"} 1",
        "rest_client_requests_total{code=\"<error>\",method=\"GET\"} 1",
        "leader_election_master_status{name=\"operator\"} 1",
    ] {
        assert_eq!(lines(&metrics, line), [line], "in {}", metrics.render().expect("a page"));
    }
}

/// `increase()` sees nothing of a series that appears with 1.
#[test]
fn what_is_counted_begins_at_zero() {
    let before = Metrics::new("operator");
    before.steps_begin_at_zero(&["Evict"]);
    let zeros: BTreeSet<String> = lines(&before, "").into_iter().filter(|line| line.ends_with(" 0")).collect();
    let metrics = Metrics::new("operator");
    for reason in ProbeFailure::reasons() {
        metrics.probe_failed(reason);
    }
    metrics.watch_failed("Service");
    metrics.step_taken("Evict", false);
    for outcome in Outcome::ALL {
        metrics.remediation_ended(outcome);
    }
    metrics.switchover_ended(SwitchoverMethod::Sentinel, SwitchoverOutcome::NotSettled, Duration::from_secs(3));
    metrics.reconciled(ReconcileResult::Error, Duration::from_millis(3));
    let counted: Vec<String> = lines(&metrics, "").into_iter().filter(|line| line.ends_with(" 1")).collect();
    for line in counted.iter().filter(|line| line.contains("_total{")) {
        let zero = format!("{} 0", line.strip_suffix(" 1").expect("a count"));
        assert!(zeros.contains(&zero), "{line} is not there before");
    }
    assert!(counted.len() > 30, "{counted:#?}");
}

#[test]
fn histograms_count_what_was_observed() {
    let metrics = Metrics::new("operator");
    metrics.write_paused(Duration::from_millis(200));
    metrics.probe_took(Duration::from_millis(2));
    let pause = "redis_memory_policy_failover_write_pause_seconds";
    assert_eq!(lines(&metrics, &format!("{pause}_count")), [format!("{pause}_count 1")]);
    assert_eq!(
        lines(&metrics, &format!("{pause}_bucket{{le=\"0.25\"}}")),
        [format!("{pause}_bucket{{le=\"0.25\"}} 1")]
    );
    assert_eq!(lines(&metrics, &format!("{pause}_bucket{{le=\"0.1\"}}")), [format!("{pause}_bucket{{le=\"0.1\"}} 0")]);
    assert_eq!(lines(&metrics, "redis_memory_policy_probe_duration_seconds_count").len(), 1);
}

#[test]
fn the_page_is_closed_as_openmetrics_wants_it() {
    let page = Metrics::new("operator").render().expect("a page");
    assert!(page.ends_with("# EOF\n"), "{page}");
}

fn target(pod: &str) -> TargetSeries {
    let measured = Measured {
        used: Some(Bytes::mib(100)),
        resident: Some(Bytes::mib(150)),
        maxmemory: Some(Bytes::ZERO),
        headroom_required: Some(Bytes::mib(64)),
        headroom: Some(1),
        fragmentation_ratio: Some(Ratio(150)),
        fragmentation_bytes: Some(1),
        latest_fork: Some(Duration::from_millis(12)),
        sample_age: Some(Duration::from_secs(1)),
    };
    TargetSeries {
        pod: pod.to_owned(),
        container: "redis".to_owned(),
        container_limit: Some(Bytes::mib(200)),
        compliant: Some(true),
        stale_findings: Some(1),
        measured: Source::new(move || measured),
    }
}

/// Everything that a look can say at once, and more workloads than a status holds.
fn everything() -> PolicySeries {
    let severities = [Severity::Info, Severity::Warning, Severity::Critical];
    let findings = FindingCode::ALL.iter().flat_map(|code| severities.map(|severity| ((*code, severity), 6)));
    PolicySeries {
        level: "ActNow".to_owned(),
        findings: findings.collect(),
        refusals: BlockReason::ALL.iter().map(|reason| (*reason, Timestamp::UNIX_EPOCH)).collect(),
        plan: Some([StepKind::ALL, StepKind::ALL].concat()),
        last: (0..500).map(|n| (format!("w-{n}"), (Outcome::Succeeded, Timestamp::UNIX_EPOCH))).collect(),
    }
}

/// A process that has done and seen everything.
fn full() -> Metrics {
    let metrics = Metrics::new("operator");
    metrics.show_targets(true);
    metrics.set_leader(true);
    let policy = PolicyKey::new("shop", "sessions");
    metrics.publish_targets(&policy, vec![target("redis-0")]);
    metrics.publish_policy(&policy, everything());
    metrics.set_blocked(&policy, Some("Cooldown"));
    metrics.set_active(&policy, Some("redis"));
    let gap = |n: u32| WriteGapSeries {
        workload: format!("w-{n}"),
        estimated: Duration::from_millis(40),
        measured: Some(Duration::from_millis(30)),
    };
    metrics.set_write_gaps(&policy, (0..500).map(gap).collect());
    metrics.reclaimed(&policy, 1 << 20);
    metrics.set_budget(1, 2);
    metrics.probe_failed("Unreachable");
    metrics.probe_took(Duration::from_millis(2));
    metrics.watch_failed("Pod");
    metrics.step_taken("Evict", true);
    metrics.remediation_ended(Outcome::Succeeded);
    metrics.write_paused(Duration::from_millis(3));
    metrics.switchover_ended(SwitchoverMethod::Guarded, SwitchoverOutcome::HandedOver, Duration::from_secs(3));
    metrics.reconciled(ReconcileResult::Error, Duration::from_millis(3));
    metrics.answer_observer()(&http::Method::GET, None);
    metrics
}

/// Of each family of a page: its kind, and the names of the labels of its series.
fn families(page: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut found: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a kind");
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        found.insert(name, (kind.to_owned(), BTreeSet::new()));
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let (_, labels) = found.get_mut(family).unwrap_or_else(|| unreachable!("{line}: no family"));
        let inside = line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let names = inside.split(',').filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned());
        labels.extend(names.filter(|label| label != "le"));
    }
    found
}

#[test]
fn a_scrape_shows_what_the_table_says() {
    let shown = families(&full().render().expect("a page"));
    let said = |metric: &Metric| {
        let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
        (metric.name.to_owned(), (metric.kind.as_str().to_owned(), labels))
    };
    let mut table: BTreeMap<_, _> = TABLE.iter().map(said).collect();
    // Where files have no bound there is no such series.
    if !shown.contains_key("process_max_fds") {
        table.remove("process_max_fds");
    }
    pretty_assertions::assert_eq!(table, shown);
    assert_eq!(TABLE.len(), TABLE.iter().map(|metric| metric.name).collect::<BTreeSet<_>>().len(), "each once");
}

/// What one policy can cost a Prometheus: closed lists and 100 workloads, however many pods have what is found. Pods cost
/// their own series, and no other.
#[test]
fn the_series_of_a_policy_are_bounded() {
    let count = |metrics: &Metrics| {
        let page = metrics.render().expect("a page");
        page.lines().filter(|line| line.contains("policy=\"") || line.contains("workload=\"")).count()
    };
    let closed = FindingCode::ALL.len() * 3 + BlockReason::ALL.len() * 2 + StepKind::ALL.len() + 4;
    // blocked, plan_due, reclaimed, remediation_active; and of each workload the last remediation and two write gaps.
    let bound = closed + 4 + 100 * 3;
    let of_a_pod = TABLE.iter().filter(|metric| metric.labels.contains(&"pod")).count();
    let metrics = full();
    assert_eq!(count(&metrics), bound + of_a_pod);
    let pods = (0..300).map(|n| target(&format!("redis-{n}"))).collect();
    metrics.publish_targets(&PolicyKey::new("shop", "sessions"), pods);
    assert_eq!(count(&metrics), bound + of_a_pod * 300);
    metrics.forget(&PolicyKey::new("shop", "sessions"));
    assert_eq!(count(&metrics), 0);
}

#[test]
fn a_policy_is_counted_and_its_verdict_is_one_of_four() {
    let metrics = Metrics::new("operator");
    metrics.show_targets(true);
    let policy = PolicyKey::new("shop", "sessions");
    let judged = PolicySeries {
        level: "Plan".to_owned(),
        findings: [((FindingCode::UtilizationWarning, Severity::Warning), 3)].into(),
        plan: Some(vec![StepKind::Evict, StepKind::Prove, StepKind::Evict]),
        ..PolicySeries::default()
    };
    metrics.publish_policy(&policy, judged.clone());
    metrics.reclaimed(&policy, 5);
    metrics.reclaimed(&policy, 7);
    let all = |level: &str| lines(&metrics, &format!("redis_memory_policy_{level}"));
    assert_eq!(
        all("verdict"),
        [("ActNow", 0), ("Plan", 1), ("Fine", 0), ("Unknown", 0)].map(|(level, holds)| format!(
            "redis_memory_policy_verdict{{namespace=\"shop\",policy=\"sessions\",level=\"{level}\"}} {holds}.0"
        ))
    );
    assert!(all("findings")[0].ends_with("code=\"UtilizationWarning\",severity=\"Warning\"} 3.0"));
    assert!(all("plan_due")[0].ends_with(" 1.0"));
    assert!(all("plan_steps")[0].ends_with("step=\"Evict\"} 2.0"), "{:?}", all("plan_steps"));
    assert!(all("reclaimed_bytes_total")[0].ends_with(" 12"));
    metrics.publish_policy(&policy, PolicySeries { level: "Splendid".to_owned(), plan: None, ..judged });
    assert_eq!(all("verdict"), Vec::<String>::new(), "a word that is none of ours is no series");
    assert!(all("plan_due")[0].ends_with(" 0.0"));
    assert_eq!(all("plan_steps"), Vec::<String>::new());
}

#[test]
fn slots_are_shown_by_who_leads() {
    let metrics = Metrics::new("operator");
    metrics.set_budget(1, 2);
    assert_eq!(lines(&metrics, "redis_memory_policy_cluster_budget").len(), 0, "a standby knows nothing of it");
    metrics.show_targets(true);
    metrics.set_budget(1, 2);
    assert_eq!(
        lines(&metrics, "redis_memory_policy_cluster_budget"),
        ["redis_memory_policy_cluster_budget_taken 1", "redis_memory_policy_cluster_budget_most 2"]
    );
    metrics.show_targets(false);
    assert_eq!(lines(&metrics, "redis_memory_policy_cluster_budget").len(), 0);
}
