//! Looks of the controller against a stand-in for the API server: what is written, in which order, and what is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use http::Method;
use kube::{
    ResourceExt as _,
    runtime::{reflector, watcher::Event},
};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    backoff::Backoff,
    memory::Memory,
    outside::Outside,
    perform::Performed,
    reconciler::{Reconciler, Stop},
    registry::{Guarded, Registry},
    roster::Roster,
    run::FromKubernetes,
    tell::Told,
    turn,
    wakes::Wakes,
};
use crate::{
    api::v1alpha1::{FINALIZER, FindingStatus, RedisMemoryPolicyStatus},
    assess::judged::Judged,
    clock::Clock,
    contention::cluster_budget::{ClusterBudget, ClusterLimits},
    domain::{
        blocked::{BlockReason, Blocked},
        event::EventType,
        fixtures,
        shard::ShardId,
        surroundings::Elsewhere,
    },
    execute::{Executor, live::Live},
    kube_io::{
        fence::Fence,
        overload::Overload,
        read::Reader,
        secrets::Secrets,
        testing::{Answer, Log, Recorded, fake, refusal},
        write::Writer,
    },
    metrics::Metrics,
    observe::{
        lately::Lately,
        nodes::OnNodes,
        sampler::{Sampler, SamplerSettings, SamplerTask},
        snapshot::{Observer, Proxies, Sentinels},
    },
    plan::PlanSettings,
    report::{self, transitions},
};

struct Bench {
    reconciler: Reconciler<Outside>,
    log: Log,
    _sampling: SamplerTask,
}

fn bench(answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> Bench {
    let (client, log) = fake(answer);
    let clock = Clock::start();
    let secrets = Arc::new(FromKubernetes(Secrets::new(client.clone())));
    let (sampler, sampling) = Sampler::spawn(SamplerSettings::default(), clock, secrets);
    let (reader, writer) = (Reader::new(client.clone(), clock), Writer::new(client.clone(), clock, "me"));
    let wakes = Wakes::default();
    let policies = Roster::new(reflector::store().0);
    let (_, annotation) = watch::channel(false);
    let sentinels = Sentinels::default();
    let observer = Observer {
        reader: reader.clone(),
        sampler: sampler.clone(),
        clock,
        lately: Lately::default(),
        nodes: OnNodes::default(),
        sentinels: sentinels.clone(),
        proxies: Proxies::default(),
    };
    let registry = Arc::new(Registry::new(client, wakes.clone(), Arc::new(|_| {})));
    let (overload, metrics) = (Overload::new(clock), Metrics::new("a"));
    let reconciler = Reconciler {
        world: Outside { observer, registry, wakes, policies, overload, metrics: metrics.clone() },
        executor: Executor {
            ports: Live { writer, reader, sampler, sentinels, fence: Fence::always(), clock },
            endpoint_sync: Duration::from_secs(2),
        },
        settings: PlanSettings::default(),
        limits: ClusterLimits { remediations: 1, restarts_per_hour: None },
        cluster_budget: ClusterBudget::default(),
        reverts: Arc::default(),
        stop: Stop { flag: false, annotation, lease: "ops/a".into() },
        metrics,
        backoff: Backoff::default(),
        memory: Memory::default(),
        install: "ops/a".into(),
    };
    Bench { reconciler, log, _sampling: sampling }
}

fn object(spec: &Value, status: &Value, deleted: bool) -> Value {
    let mut metadata = json!({
        "name": "sessions", "namespace": "shop", "uid": "u-1", "generation": 1, "resourceVersion": "7",
        "finalizers": [FINALIZER],
    });
    if deleted {
        // By a clock that is a day ahead of ours: it says nothing.
        metadata["deletionTimestamp"] = json!("2099-01-01T00:00:00Z");
    }
    json!({
        "apiVersion": "redismemory.io/v1alpha1", "kind": "RedisMemoryPolicy", "metadata": metadata, "spec": spec,
        "status": status,
    })
}

fn stored(object: &Value) -> Guarded {
    serde_json::from_value(object.clone()).expect("whatever it says")
}

fn valid() -> Value {
    json!({"selector": {"matchLabels": {"app": "redis"}}})
}

/// Answers with that object, with the status that was last applied.
fn keeps(object: Value) -> impl Fn(&Recorded) -> Answer + Send + Sync + 'static {
    move |request| {
        let mut answer = object.clone();
        if request.uri.contains("/status?") {
            answer["status"] = request.body["status"].clone();
        }
        if request.uri.contains("/events") {
            answer = json!({"metadata": {}, "eventTime": null});
        }
        Answer::Http(200, answer)
    }
}

fn status(code: &str) -> RedisMemoryPolicyStatus {
    let finding = FindingStatus {
        code: code.into(),
        severity: "Warning".into(),
        pod: None,
        pod_uid: None,
        pods: Vec::new(),
        since: None,
        stale: false,
        evidence: "it is so".into(),
        remedy: "mend it".into(),
        remedy_afterwards: String::new(),
    };
    RedisMemoryPolicyStatus { findings: vec![finding], ..RedisMemoryPolicyStatus::default() }
}

fn reasons(log: &Log) -> Vec<String> {
    let events = log.all().into_iter().filter(|request| request.method == Method::POST);
    events.map(|event| event.body["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn events_are_what_was_written_once_each() {
    let bench = bench(keeps(object(&valid(), &json!({}), false)));
    let resource = stored(&object(&valid(), &json!({}), false)).policy().expect("a policy").clone();
    let (_, snapshot) = fixtures::enforced();
    let before = RedisMemoryPolicyStatus::default();
    let done = || vec![transitions::event(EventType::Normal, "PodEvicted", "Evict", "redis-1".into(), None)];
    let pause =
        bench.reconciler.tell(&resource, &before, &status("MaxmemoryUnset"), &snapshot, done()).await.expect("told");
    assert_eq!(pause, None);
    assert_eq!(reasons(&bench.log), ["PodEvicted", "MaxmemoryUnset"]);
    assert_eq!(bench.log.all()[0].method, Method::PATCH, "the status comes first");
    // The cache lags: it still shows the status from before our own write.
    let pause = bench
        .reconciler
        .tell(&resource, &before, &status("MaxmemoryUnset"), &snapshot, Vec::new())
        .await
        .expect("told");
    assert!(pause.is_some(), "and writes have a second between them");
    assert_eq!(reasons(&bench.log).len(), 2);
}

#[tokio::test]
async fn what_could_not_be_written_is_no_news_and_what_was_done_is() {
    let bench = bench(|request| match request.method {
        Method::PATCH => refusal(403, "Forbidden", "no", &json!([])),
        _ => Answer::Http(201, json!({"metadata": {}, "eventTime": null})),
    });
    let resource = stored(&object(&valid(), &json!({}), false)).policy().expect("a policy").clone();
    let (_, snapshot) = fixtures::enforced();
    for _ in 0..3 {
        let done = vec![transitions::event(EventType::Normal, "PodEvicted", "Evict", "redis-1".into(), None)];
        let before = RedisMemoryPolicyStatus::default();
        let told = bench.reconciler.tell(&resource, &before, &status("MaxmemoryUnset"), &snapshot, done).await;
        assert!(told.is_err());
    }
    assert_eq!(reasons(&bench.log), ["PodEvicted"; 3]);
}

/// A scrape and the status tell one story.
#[tokio::test]
async fn what_is_told_is_what_a_scrape_shows() {
    let object = object(&valid(), &json!({}), false);
    let bench = bench(keeps(object.clone()));
    bench.reconciler.metrics.show_targets(true);
    let (policy, snapshot) = fixtures::enforced();
    let settings = PlanSettings::default();
    let ctx = crate::plan::Context::of(&policy, &snapshot, &[], fixtures::NOW, &settings);
    let told = Told {
        policy: Arc::new(policy.clone()),
        snapshot: snapshot.clone(),
        sets: report::sets::of(&ctx.look),
        findings: status("FragmentationRestartDue").findings,
        judged: Judged::of(&ctx.look),
        kills: Vec::new(),
        problem: None,
    };
    let performed = Performed {
        resource: stored(&object).policy().expect("a policy").clone(),
        journal: None,
        records: Vec::new(),
        plan: crate::plan::begin::consider(&ctx).plan,
        blocked: vec![Blocked::new(BlockReason::Held, "people hold it")],
        events: Vec::new(),
        again: Duration::from_secs(60),
        failed: false,
    };
    Box::pin(bench.reconciler.tell_performed(&told, performed)).await.expect("told");
    let page = bench.reconciler.metrics.render().expect("a page");
    let level = &bench.log.all()[0].body["status"]["verdict"]["level"];
    let level = format!("redis_memory_policy_verdict{{namespace=\"shop\",policy=\"sessions\",level={level}}} 1.0");
    for line in [
        level.as_str(),
        "redis_memory_policy_findings{namespace=\"shop\",policy=\"sessions\",code=\"FragmentationRestartDue\",severity=\"Warning\"} 1.0",
        "redis_memory_policy_refusals{namespace=\"shop\",policy=\"sessions\",reason=\"Held\"} 1.0",
        "redis_memory_policy_plan_due{namespace=\"shop\",policy=\"sessions\"} 1.0",
        "redis_memory_policy_plan_steps{namespace=\"shop\",policy=\"sessions\",step=\"Switchover\"} 1.0",
    ] {
        assert!(page.lines().any(|shown| shown == line), "no {line} in {page}");
    }
}

// 304 s for an invalid spec, and never for one that could not be read.
#[tokio::test]
async fn what_cannot_be_evaluated_is_let_go_at_once() {
    let mut unreadable = valid();
    unreadable["mode"] = json!("Oversee");
    let invalid = json!({"selector": {"matchLabels": {"app": "redis"}}, "redis": {"port": 0}});
    for spec in [invalid, unreadable] {
        let object = object(&spec, &json!({}), true);
        let bench = bench(keeps(object.clone()));
        assert_eq!(bench.reconciler.look(&stored(&object)).await.expect("let go"), None);
        let patch = bench.log.all().into_iter().find(|request| request.method == Method::PATCH).expect("a patch");
        assert_eq!(patch.body["metadata"]["finalizers"], json!([]), "{spec}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_in_its_status() {
    let mut spec = valid();
    spec["mode"] = json!("Oversee");
    let mut object = object(&spec, &json!({}), false);
    object["metadata"]["finalizers"] = json!([]);
    let bench = bench(keeps(object.clone()));
    bench.reconciler.metrics.show_targets(true);
    bench.reconciler.look(&stored(&object)).await.expect("said");
    let page = bench.reconciler.metrics.render().expect("a page");
    let verdict = page.lines().find(|line| line.starts_with("redis_memory_policy_verdict{") && line.ends_with(" 1.0"));
    assert!(verdict.is_some(), "what is not evaluated does not vanish from the metrics: {page}");
    let written = bench.log.only();
    let conditions = written.body["status"]["conditions"].as_array().expect("conditions").clone();
    let stalled = conditions.iter().find(|condition| condition["type"] == "Stalled").expect("Stalled");
    assert_eq!((&stalled["status"], &stalled["reason"]), (&json!("True"), &json!("Unreadable")));
    assert!(stalled["message"].as_str().is_some_and(|text| text.contains("Oversee")), "{stalled}");
}

/// A policy with a journal of that owner.
fn remediated(install: &str, policy_uid: &str) -> Value {
    let (rule, snapshot) = fixtures::enforced();
    let (settings, now) = (PlanSettings::default(), fixtures::NOW);
    let ctx = crate::plan::Context::of(&rule, &snapshot, &[], now, &settings);
    let mut journal = json!(crate::plan::begin::consider(&ctx).begin.expect("a remediation begins"));
    journal["owner"] = json!({"install": install, "policyUid": policy_uid, "renewedAt": "2026-01-01T00:00:00Z"});
    object(&valid(), &json!({"journal": journal}), false)
}

#[tokio::test]
async fn a_journal_of_another_policy_is_discarded() {
    let object = remediated("ops/a", "u-0");
    let bench = bench(keeps(object.clone()));
    let again = bench.reconciler.look(&stored(&object)).await.expect("discarded").expect("looked at again");
    assert!(again < Duration::from_secs(1));
    let sent = bench.log.all();
    let journal = sent.iter().find(|request| request.uri.contains("journal")).expect("the journal is written");
    assert_eq!(journal.body["status"], json!({}), "away with it");
    assert_eq!(reasons(&bench.log), ["JournalDiscarded"]);
}

/// A definition that is older than this program: nothing is done that cannot be written down, and people are told what to do.
#[tokio::test]
async fn a_definition_that_does_not_take_the_journal_is_said_with_the_command() {
    let object = remediated("ops/a", "u-0");
    let keeps = keeps(object.clone());
    let bench = bench(move |request| {
        if request.uri.contains("fieldManager=redis-memory-operator-journal") {
            let message = "failed to create typed patch object (shop/sessions): .status.journal.new: field not declared in schema";
            return refusal(500, "", message, &json!([]));
        }
        keeps(request)
    });
    for _ in 0..2 {
        let again = bench.reconciler.look(&stored(&object)).await.expect("said").expect("looked at again");
        assert!(again <= Duration::from_secs(60), "{again:?}");
    }
    let sent = bench.log.all();
    let conditions = |request: &Recorded| request.body["status"]["conditions"].as_array().cloned();
    let written = sent.iter().find_map(conditions).expect("conditions are written");
    let stalled = written.iter().find(|condition| condition["type"] == "Stalled").expect("Stalled");
    assert_eq!((&stalled["status"], &stalled["reason"]), (&json!("True"), &json!("OtherDefinition")));
    let text = stalled["message"].as_str().expect("a message");
    let command = "redis-memory-operator crd | kubectl apply --server-side -f -";
    assert!(text.contains(".status.journal.new") && text.contains(command), "{text}");
    assert_eq!(reasons(&bench.log), ["OtherDefinition"], "an event, once");
}

/// Not even that it is so can be written into the status: the event and the log say it.
#[tokio::test]
async fn a_definition_that_takes_nothing_is_said_in_an_event() {
    let object = remediated("ops/a", "u-0");
    let keeps = keeps(object.clone());
    let bench = bench(move |request| {
        if request.uri.contains("/status?") {
            return refusal(500, "", ".status.verdict: field not declared in schema", &json!([]));
        }
        keeps(request)
    });
    let error = bench.reconciler.look(&stored(&object)).await.expect_err("not written");
    assert_eq!(error.reason(), "OtherDefinition");
    assert_eq!(reasons(&bench.log), ["OtherDefinition"]);
}

#[tokio::test]
async fn another_installs_journal_is_left_alone_and_said_once() {
    let object = remediated("ops/b", "u-1");
    let bench = bench(keeps(object.clone()));
    for _ in 0..2 {
        let again = bench.reconciler.look(&stored(&object)).await.expect("left alone").expect("looked at again");
        assert!(again > Duration::from_secs(10), "each heartbeat, one in 10 s, wakes: {again:?}");
        assert!(again <= Duration::from_secs(20), "its silence is said: {again:?}");
    }
    assert_eq!(reasons(&bench.log), ["AnotherOperator"]);
    let patches = bench.log.all().into_iter().filter(|request| request.method == Method::PATCH).count();
    assert_eq!(patches, 0, "its owner writes the status");
    assert_eq!(stored(&object).name_any(), "sessions");
}

/// Deleting a policy leaves the value, and says so: once, however the deletion is heard of.
#[tokio::test]
async fn a_maxmemory_that_stays_is_said_when_its_policy_is_gone() {
    let member = |n: u8| json!({"pod": format!("redis-{n}"), "uid": format!("p-{n}"), "runId": "a".repeat(40)});
    let own = json!({
        "values": [715_128_832], "end": 715_128_832, "held": 715_128_832, "before": 0, "at": "2026-01-02T03:04:05Z",
        "members": [member(0), member(1)],
    });
    let record = json!({
        "uid": "set", "name": "redis", "remediation": "", "endedAt": "2026-01-02T03:04:05Z", "generation": 1, "message": "",
        "restarts": [], "maxmemory": own,
    });
    let object = object(&valid(), &json!({"workloads": [record]}), false);
    let mut anew = object.clone();
    (anew["metadata"]["uid"], anew["status"]) = (json!("u-2"), json!({}));
    let (seen, gone) = (stored(&object), || vec![Event::Delete(stored(&object))]);
    let ways = [gone(), vec![Event::Apply(stored(&anew))], vec![Event::Init, Event::InitDone]];
    for way in ways {
        let bench = bench(keeps(object.clone()));
        let policies = &bench.reconciler.world.policies;
        policies.told(&Event::Apply(seen.clone()));
        policies.told(&Event::Apply(seen.clone()));
        bench.reconciler.say_left_behind().await;
        assert_eq!(reasons(&bench.log), [""; 0], "it is there");
        for event in &way {
            policies.told(event);
        }
        for _ in 0..2 {
            bench.reconciler.say_left_behind().await;
        }
        assert_eq!(reasons(&bench.log), ["MaxmemoryStays"]);
        let event = bench.log.only().body;
        let about = (&event["regarding"]["kind"], &event["regarding"]["name"], &event["metadata"]["namespace"]);
        assert_eq!(about, (&json!("StatefulSet"), &json!("redis"), &json!("shop")));
        let note = event["note"].as_str().expect("a note");
        assert!(note.contains("682 MiB") && note.ends_with("redis-0, redis-1"), "{note}");
    }
}

#[tokio::test]
async fn a_status_that_we_wrote_ourselves_is_no_reason_to_look_again() {
    let mut object =
        object(&json!({"selector": {"matchLabels": {"app": "redis"}}, "redis": {"port": 0}}), &json!({}), false);
    object["metadata"]["finalizers"] = json!([]);
    let Bench { reconciler, log, _sampling } = bench(keeps(object.clone()));
    let reconciler = Arc::new(reconciler);
    let turn = async || turn::timed(Arc::new(stored(&object)), Arc::clone(&reconciler)).await.expect("looked at");
    let again = turn().await.expect("looked at again");
    let sent = log.all().len();
    assert!(sent > 0, "its status is written");
    let left = turn().await.expect("looked at again");
    assert_eq!(log.all().len(), sent, "its new version is ours");
    assert!(left <= again && left > again / 2, "{left:?} of {again:?}");
    let pause = turn().await.expect("looked at again");
    assert!(pause <= Duration::from_secs(1), "the same version once more is looked at: {pause:?}");
}

#[tokio::test]
async fn a_namespace_is_watched_as_long_as_a_policy_of_it_is_there() {
    let bench = bench(|_| Answer::Silence);
    let registry = &bench.reconciler.world.registry;
    let policy = |uid: &str, namespace: &str, deleted: bool| {
        let mut object = object(&valid(), &json!({}), deleted);
        (object["metadata"]["uid"], object["metadata"]["namespace"]) = (json!(uid), json!(namespace));
        stored(&object)
    };
    for (uid, namespace) in [("a", "shop"), ("b", "shop"), ("c", "cart")] {
        registry.met(&policy(uid, namespace, false), Duration::ZERO);
    }
    registry.met(&policy("d", "old", true), Duration::ZERO);
    let mut invalid = object(&valid(), &json!({}), false);
    invalid["spec"]["redis"] = json!({"port": 0});
    invalid["metadata"]["namespace"] = json!("wrong");
    registry.met(&stored(&invalid), Duration::ZERO);
    assert_eq!(Vec::from_iter(registry.watched()), ["cart", "shop"], "nothing is watched for what is not evaluated");
    registry.forget("a");
    registry.retain(|uid| uid != "c");
    assert_eq!(Vec::from_iter(registry.watched()), ["shop"]);
    registry.forget("b");
    assert!(registry.watched().is_empty());
}

/// What 1,000 policies are told costs by the policy, not by their square: twice as many take about twice as long.
#[tokio::test]
async fn clean_up_and_looking_for_the_others_are_not_quadratic() {
    let time = |number: usize| {
        let (store, mut writer) = reflector::store();
        let roster = Roster::new(store);
        let clock = Clock::start();
        let policies: Vec<Guarded> = (0..number)
            .map(|n| {
                let mut object = object(&valid(), &json!({}), false);
                (object["metadata"]["uid"], object["metadata"]["name"]) =
                    (json!(n.to_string()), json!(format!("p-{n}")));
                stored(&object)
            })
            .collect();
        let made = clock.uptime();
        for policy in policies {
            let event = kube::runtime::watcher::Event::Apply(policy);
            roster.told(&event);
            writer.apply_watcher_event(&event);
            assert!(roster.rivals("shop", &BTreeSet::default()).is_empty() && roster.remediations().is_empty());
        }
        clock.uptime().saturating_sub(made)
    };
    // The quickest of three: the machine may be busy with something else.
    let quickest = |number| (0..3).map(|_| time(number)).min().unwrap_or_default();
    let (few, many) = (quickest(500), quickest(5000));
    assert!(many < few * 40, "{few:?} for 500 policies, {many:?} for 5,000: a square would be 100 times as much");
}

#[test]
fn of_many_that_come_at_once_as_many_get_a_slot_as_the_flag_says() {
    let budget = ClusterBudget::default();
    let elsewhere =
        |n: i32| Elsewhere { policy: format!("shop/w-{n}"), shard: ShardId::whole(format!("w-{n}").as_str().into()) };
    let nothing = BTreeMap::new();
    let taken: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..16)
            .map(|n| {
                let (budget, nothing, elsewhere) = (&budget, &nothing, &elsewhere);
                scope.spawn(move || budget.take(&format!("p-{n}"), elsewhere(n), nothing, 3))
            })
            .collect();
        tries.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
    });
    assert_eq!(taken, 3);
}
