//! One value, two renderings: the same numbers, nothing invented, nobody's markup but ours.

use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::{html, made::Looked, markdown, value::Report};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    cli::snapshot_file::{Judged, SnapshotFile, WrittenPolicy},
    domain::{
        bytes::Bytes,
        fixtures::{self, NOW},
        names::PodName,
        snapshot::{Observation, ProbeFailure, Snapshot},
    },
};

#[allow(clippy::needless_pass_by_value, reason = "a literal at every call")]
pub(super) fn resource(name: &str, status: Value) -> RedisMemoryPolicy {
    let whole = json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy",
        "metadata": {"name": name, "namespace": "shop", "uid": "u", "generation": 3},
        "spec": {"selector": {"matchLabels": {"app": "redis"}}, "mode": "Enforce", "redis": {"roleAuthority": "Operator"}},
        "status": status,
    });
    serde_json::from_value(whole).unwrap()
}

/// What the operator says of a policy whose set was remediated lately.
pub(super) fn told() -> Value {
    json!({
        "observedGeneration": 3,
        "verdict": {"level": "Plan", "reason": "FragmentationRestartDue", "since": "2026-01-02T02:00:00Z",
                    "brief": "a restart is due", "sentence": "A restart of redis-0 is due since 02:00."},
        "summary": {"targets": 3, "reachable": 3, "compliant": 1, "worstFragmentation": "2.9", "waste": "390 MiB",
                    "sets": [{"name": "redis", "pods": 3, "lastPrimary": "redis-0"},
                             {"name": "cart", "pods": 0, "goneSince": "2026-01-01T20:00:00Z"}]},
        "findings": [
            {"code": "FragmentationRestartDue", "severity": "Critical", "pod": "redis-0", "pods": ["redis-0", "redis-1"],
             "since": "2026-01-02T02:00:00Z", "evidence": "ratio 2.9, 2.50 or more for 10m", "remedy": "the operator restarts it"},
            {"code": "KeysWithoutTtl", "severity": "Info", "pod": "redis-2", "stale": true, "evidence": "e", "remedy": "r"}],
        "refusals": [{"reason": "WindowClosed", "since": "2026-01-02T02:00:00Z", "text": "the window opens at 03:00",
                      "liftedBy": "time"}],
        "plan": {"workload": "redis", "hash": "h", "steps": [{"kind": "Evict", "pod": "redis-1", "reason": "r"}]},
        "workloads": [{"uid": "set", "name": "redis", "outcome": "Succeeded", "remediation": "r-1",
                       "endedAt": "2026-01-01T03:14:05Z", "generation": 3, "message": "3 pods restarted, 370 MiB back",
                       "restarts": [{"pod": "redis-1", "at": "2026-01-01T03:05:05Z"}]}],
    })
}

pub(super) fn looked(resource: RedisMemoryPolicy, snapshot: Snapshot) -> Looked {
    let file = SnapshotFile::new(WrittenPolicy::from(&resource), snapshot, Judged::OverTime);
    Looked { resource, seen: Ok(file), notes: Vec::new() }
}

pub(super) fn report(looked: &[Looked]) -> Report {
    Report::of("namespace shop".into(), NOW, Vec::new(), looked)
}

/// A namespace as a reader meets it: three pods with a history, a set that is gone.
pub(super) fn shop() -> Report {
    report(&[looked(resource("sessions", told()), fixtures::three_pods())])
}

fn json_of(report: &Report) -> Value {
    serde_json::to_value(report).unwrap()
}

/// Every amount of the value, by the name of its field; not those of readings, of which a picture is drawn.
fn amounts(value: &Value, found: &mut Vec<(String, u64)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| amounts(item, found)),
        Value::Object(fields) => {
            for (name, field) in fields.iter().filter(|(name, _)| *name != "history") {
                match field.as_u64() {
                    Some(bytes) if name == "bytes" || name.ends_with("Bytes") => found.push((name.clone(), bytes)),
                    _ => amounts(field, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn all_three_say_the_same_numbers() {
    let report = shop();
    let mut found = Vec::new();
    amounts(&json_of(&report), &mut found);
    assert!(found.len() > 30, "{found:?}");
    for (rendered, text) in [("Markdown", markdown::render(&report)), ("HTML", html::render(&report))] {
        for (name, bytes) in &found {
            let shown = Bytes(*bytes).to_string();
            assert!(text.contains(&shown), "{rendered} lacks {name} {shown}");
        }
    }
}

#[test]
fn what_the_operator_says_is_repeated_word_by_word() {
    let report = shop();
    let value = json_of(&report);
    let part = &value["policies"][0];
    for field in ["verdict", "summary"] {
        assert_eq!(part[field], told()[field]);
    }
    for field in ["findings", "refusals"] {
        assert_eq!(part[field].as_array().unwrap().len(), told()[field].as_array().unwrap().len());
    }
    for text in [markdown::render(&report), html::render(&report)] {
        for said in [
            "3 selected, 3 answer, 1 judged and without a Warning or worse",
            "390 MiB",
            "A restart of redis-0 is due since 02:00.",
            "2 pods (redis-0, redis-1)",
            "the operator restarts it",
            "stale: not judged again since",
            "the window opens at 03:00",
            "3 pods restarted, 370 MiB back",
            "restarted by the operator",
            "it has had no pod since 2026-01-01T20:00:00Z",
        ] {
            assert!(text.contains(said), "{said:?} is not in\n{text}");
        }
    }
}

#[test]
fn the_numbers_are_those_of_everything_else() {
    let value = json_of(&shop());
    let set = &value["policies"][0]["sets"][0];
    let pod = &set["pods"][0];
    assert_eq!((pod["pod"].as_str(), pod["role"].as_str()), (Some("redis-0"), Some("primary")));
    let mib = |field: &str| pod[field].as_u64().unwrap() >> 20;
    assert_eq!(
        ["limitBytes", "neededBytes", "usedBytes", "rssBytes", "wasteBytes", "freeBytes", "restartGainsBytes"].map(mib),
        [1024, 768, 69, 201, 132, 823, 113]
    );
    assert_eq!((pod["ratioPercent"].as_u64(), pod["cause"].as_str()), (Some(291), Some("fragmented")));
    assert_eq!(set["findings"], json!({"critical": 2, "warning": 0, "info": 1}));
    assert_eq!(set["rightSizing"]["savesBytes"], 768 << 20);
    assert_eq!(set["waste"], json!({"bytes": 3 * 132 * (1 << 20), "known": 3, "of": 3}));
    let totals = &value["totals"];
    assert_eq!((totals["sets"].as_u64(), totals["pods"].as_u64()), (Some(1), Some(3)), "of sets that have pods");
    assert_eq!(totals["verdicts"], json!({"Plan": 1}));
    assert_eq!(totals["rightSizingSaves"], json!({"bytes": 768 << 20, "known": 1, "of": 1}));
}

#[test]
fn a_pod_that_tells_nothing_is_unknown_and_never_zero() {
    let mut snapshot = fixtures::three_pods();
    for target in &mut snapshot.targets {
        target.redis = Observation::Failed(ProbeFailure::Unreachable("no route".into()));
    }
    snapshot.targets[0].pod.container = Err(crate::domain::pod::ContainerProblem("two containers".into()));
    let report = report(&[looked(resource("sessions", told()), snapshot)]);
    let value = json_of(&report);
    let (totals, pod) = (&value["totals"], &value["policies"][0]["sets"][0]["pods"][0]);
    assert_eq!((totals["used"]["bytes"].clone(), totals["used"]["of"].as_u64()), (Value::Null, Some(3)));
    assert_eq!(totals["rightSizingSaves"]["bytes"], Value::Null);
    for field in ["limitBytes", "limited", "usedBytes", "rssBytes", "wasteBytes", "ratioPercent", "restartGainsBytes"] {
        assert_eq!(pod[field], Value::Null, "{field}");
    }
    let mut found = Vec::new();
    amounts(&value, &mut found);
    assert!(found.iter().all(|(_, bytes)| *bytes > 0), "{found:?}");
    let (text, page) = (markdown::render(&report), html::render(&report));
    let row = text.lines().find(|line| line.starts_with("| redis-0 |")).unwrap();
    assert_eq!(row.matches("unknown").count(), 12 - 1, "all but the name: {row}");
    assert!(!text.contains("0 B") && !page.contains(">0 B<"), "{text}");
    for text in [text, page] {
        assert!(text.contains("0 answered, 3 did not") && text.contains("no route"), "{text}");
        assert!(text.contains("390 MiB"), "what the operator says is still said");
    }
}

#[test]
fn a_limit_that_is_not_there_is_none_and_a_swapped_server_wastes_nothing() {
    let mut snapshot = fixtures::three_pods();
    if let Ok(container) = &mut snapshot.targets[0].pod.container {
        (container.live_limit, container.spec_limit) = (None, None);
    }
    snapshot.targets[1].sample_mut().unwrap().memory.rss = Bytes::mib(40);
    let report = report(&[looked(resource("sessions", told()), snapshot)]);
    let value = json_of(&report);
    let pods = &value["policies"][0]["sets"][0]["pods"];
    assert_eq!((pods[0]["limited"].as_bool(), pods[0]["limitBytes"].clone()), (Some(false), Value::Null));
    assert_eq!((pods[1]["wasteBytes"].as_u64(), pods[1]["freeBytes"].as_u64()), (Some(0), Some(Bytes::mib(984).0)));
    let text = markdown::render(&report);
    let row = text.lines().find(|line| line.starts_with("| redis-0 |")).unwrap();
    assert!(row.contains("| no limit | none |"), "{row}");
}

#[test]
fn almost_empty_servers_have_no_ratio_that_means_anything() {
    let mut snapshot = fixtures::three_pods();
    for target in &mut snapshot.targets {
        let memory = &mut target.sample_mut().unwrap().memory;
        (memory.used, memory.rss) = (Bytes::mib(1), Bytes::mib(10));
    }
    let text = markdown::render(&report(&[looked(resource("sessions", told()), snapshot)]));
    assert!(text.lines().any(|line| line.starts_with("| redis |") && line.contains("| almost empty |")), "{text}");
}

#[test]
fn one_reading_is_no_history_and_neither_are_those_of_another_process() {
    let mut snapshot = fixtures::three_pods();
    snapshot.targets[0].history.truncate(1);
    for reading in &mut snapshot.targets[1].history {
        reading.run_id = fixtures::run_id(9);
    }
    let value = json_of(&report(&[looked(resource("sessions", told()), snapshot)]));
    let pods = &value["policies"][0]["sets"][0]["pods"];
    let readings = [0, 1, 2].map(|n| pods[n]["history"].as_array().unwrap().len());
    assert_eq!((readings[0], readings[1]), (0, 0));
    assert!(readings[2] > 10, "{readings:?}");
}

#[test]
fn without_a_status_the_findings_are_those_of_the_look_and_there_is_no_verdict() {
    let report = report(&[looked(resource("new", Value::Null), fixtures::three_pods())]);
    let value = json_of(&report);
    let part = &value["policies"][0];
    assert_eq!((part["verdict"].clone(), part["summary"].clone()), (Value::Null, Value::Null));
    assert_eq!(part["findings"][0]["code"], "FragmentationRestartDue");
    assert_eq!(value["totals"]["verdicts"], json!({"NotEvaluated": 1}));
    for text in [markdown::render(&report), html::render(&report)] {
        assert!(text.contains("not evaluated yet: does the operator run"), "{text}");
    }
}

#[test]
fn where_nobody_looked_the_sets_are_those_of_the_status() {
    let unseen = Looked {
        resource: resource("sessions", told()),
        seen: Err("its pods were not looked at".into()),
        notes: Vec::new(),
    };
    let value = json_of(&report(&[unseen]));
    let sets = value["policies"][0]["sets"].as_array().unwrap();
    assert_eq!(sets.iter().map(|set| set["name"].as_str().unwrap()).collect::<Vec<_>>(), ["redis", "cart"]);
    assert_eq!((sets[0]["size"].as_u64(), sets[0]["findings"].clone()), (Some(3), Value::Null));
    assert_eq!(sets[0]["used"], json!({"bytes": null, "known": 0, "of": 3}));
    assert_eq!(value["totals"]["pods"], 0);
    assert_eq!(value["policies"][0]["findingsElsewhere"], json!({"critical": 2, "warning": 0, "info": 1}));
}

#[test]
fn a_finding_about_no_pod_that_was_seen_is_counted_all_the_same() {
    let mut status = told();
    status["findings"][0]["pods"] = json!(["redis-0", "redis-9"]);
    let report = report(&[looked(resource("sessions", status), fixtures::three_pods())]);
    let part = &json_of(&report)["policies"][0];
    assert_eq!(part["sets"][0]["findings"], json!({"critical": 1, "warning": 0, "info": 1}));
    assert_eq!(part["findingsElsewhere"], json!({"critical": 1, "warning": 0, "info": 0}));
    let text = markdown::render(&report);
    let row =
        text.lines().find(|line| line.starts_with("| beside the sets | shop/sessions | **Plan** | n/a |")).unwrap();
    assert!(row.ends_with("| 1 Critical | n/a | n/a |"), "{row}");
}

#[test]
fn an_operator_that_gives_no_verdict_has_evaluated_all_the_same() {
    let mut status = told();
    status.as_object_mut().unwrap().remove("verdict");
    let report = report(&[looked(resource("old", status), fixtures::three_pods())]);
    assert_eq!(json_of(&report)["totals"]["verdicts"], json!({"NoVerdict": 1}));
    assert!(!markdown::render(&report).contains("not evaluated yet"));
}

#[test]
fn a_spec_that_breaks_a_rule_and_one_that_is_newer_are_said() {
    let mut wrong = resource("wrong", told());
    wrong.spec.fragmentation.restart_percent = 100;
    wrong.metadata.generation = Some(4);
    let report = report(&[looked(wrong, fixtures::three_pods())]);
    let text = markdown::render(&report);
    assert!(text.contains("is of generation 3: it has not evaluated this one yet"), "{text}");
    assert!(text.contains("restartPercent"), "{text}");
}

#[test]
fn a_namespace_without_a_policy_is_readable() {
    let report = report(&[]);
    for text in [markdown::render(&report), html::render(&report)] {
        assert!(text.contains("There is no RedisMemoryPolicy here"), "{text}");
        assert!(!text.contains("Limits"), "no sums of nothing: {text}");
    }
}

/// Two hundred sets in ten policies, each with three pods.
pub(super) fn fleet() -> Report {
    let policies = (0..10).map(|policy| {
        let mut snapshot = fixtures::three_pods();
        let (targets, sets) = (snapshot.targets.clone(), snapshot.stateful_sets.clone());
        (snapshot.targets, snapshot.stateful_sets) = (Vec::new(), Vec::new());
        snapshot.services = Vec::new();
        for n in 0..20 {
            let name = format!("set-{policy}-{n}");
            for target in &targets {
                let mut target = target.clone();
                target.pod.name = PodName::new(target.pod.name.as_str().replace("redis", &name));
                target.pod.uid = format!("{}-{name}", target.pod.uid).as_str().into();
                if let Some(owner) = &mut target.pod.owner {
                    (owner.name, owner.uid) = (name.clone(), name.as_str().into());
                }
                target.redis = Observation::Failed(ProbeFailure::TimedOut("no answer".into()));
                snapshot.targets.push(target);
            }
            snapshot.stateful_sets.extend(sets.iter().cloned().map(|mut set| {
                (set.name, set.uid) = (name.clone(), name.as_str().into());
                set
            }));
        }
        looked(resource(&format!("policy-{policy}"), told()), snapshot)
    });
    report(&policies.collect::<Vec<_>>())
}

#[test]
fn two_hundred_sets_are_all_there() {
    let report = fleet();
    assert_eq!((report.totals.sets, report.totals.pods), (200, 600));
    let (text, page) = (markdown::render(&report), html::render(&report));
    for n in 0..200 {
        let name = format!("set-{}-{}", n / 20, n % 20);
        assert!(text.contains(&format!("### Set {name}\n")), "{name}");
        assert!(page.contains(&format!(">Set {name}</h3>")), "{name}");
    }
}

/// What somebody may write who wants to be read otherwise.
pub(super) const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg onload=alert(1)>",
    "</title></style></table><b>bold</b>",
    "| a | b |\n| --- | --- |\n# heading",
    "[click](https://evil.example) https://evil.example www.evil.example",
    "`code` *bold* _it_ ~~gone~~ @all $x$ ![i](http://evil.example/i.png)",
    "\u{1b}[2J\u{7}\u{202e}txt.exe",
    "&lt;b&gt; &#60;script&#62;",
    "]]><!-- --><![CDATA[",
];

/// A report in which every text that comes from a cluster is this one.
pub(super) fn hostile(text: &str) -> Report {
    let mut status = told();
    everywhere(&mut status, text);
    let mut resource = resource("x", status);
    resource.metadata.name = Some(text.into());
    resource.metadata.namespace = Some(text.into());
    let mut snapshot = fixtures::three_pods();
    for (n, target) in snapshot.targets.iter_mut().enumerate() {
        target.pod.name = PodName::new(format!("{text}{n}"));
        if let Some(owner) = &mut target.pod.owner {
            owner.name = text.into();
        }
    }
    snapshot.targets[2].redis = Observation::Failed(ProbeFailure::Unreachable(text.into()));
    let mut looked = looked(resource, snapshot);
    // So that the policy is valid, and the look is shown.
    if let Ok(file) = &mut looked.seen {
        (file.policy.name, file.policy.namespace) = ("x".into(), "shop".into());
    }
    Report::of(text.into(), NOW, vec![text.into()], &[looked])
}

/// Puts the text in the place of every one that is neither a time nor one of the words that are read.
fn everywhere(value: &mut Value, text: &str) {
    match value {
        Value::String(old) => {
            let read = old.starts_with("2026-") || ["Evict", "Succeeded"].contains(&old.as_str());
            if !read {
                text.clone_into(old);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| everywhere(item, text)),
        Value::Object(fields) => fields.values_mut().for_each(|field| everywhere(field, text)),
        _ => {}
    }
}

#[test]
fn nobody_writes_markdown_but_we() {
    let plain = markdown::render(&hostile("text"));
    for text in HOSTILE {
        let report = markdown::render(&hostile(text));
        // Without what is escaped nothing of it means anything: as many lines, columns, headings as of a plain text.
        let mut escaped = false;
        let bare: String = report
            .chars()
            .filter(|c| {
                let keep = !escaped && *c != '\\';
                escaped = !escaped && *c == '\\';
                keep
            })
            .collect();
        assert_eq!(bare.lines().count(), plain.lines().count(), "{text:?}");
        for c in ['|', '`', '*', '[', '<', '#', '!', '@', '~', '$'] {
            assert_eq!(bare.matches(c).count(), plain.matches(c).count(), "{c:?} of {text:?} in\n{report}");
        }
        assert!(!bare.contains("://") && !report.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}
