//! One run: the deployment is fragmented, cured by the policy that `doctor` prints, looked at for two minutes, and then loses
//! each of its pods once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use redis_memory_operator::clock::Clock;
use serde_json::{Value, json};

use super::{
    chosen,
    deployments::Deployment,
    doctor,
    long::{commit, is_long},
    losses, record,
    set::Set,
    support::{
        client, eventually, operator,
        policy::Policy,
        require,
        space::Space,
        throughout_every,
        watch::{Event, PodWatch},
        writer::Writer,
    },
};

/// What the limit must be in the end: maxmemory is 256 MiB, and a policy wants 50 % more by default.
const NEEDED: u64 = 384 << 20;
/// What it is at first.
const GIVEN: u64 = 320 << 20;
/// How long the set is looked at after its cure, in seconds: in the long run, and every day.
const AFTERWARDS: [u64; 2] = [120, 30];
/// Milliseconds between two acknowledged writes of a client that nothing disturbs: one comes every 5 ms, and the machine is busy.
const UNDISTURBED: f64 = 1_000.0;
/// How long a cure may take, in seconds.
const CURED_WITHIN: u64 = 420;

/// What the cure came to.
#[derive(Debug)]
struct Cured {
    outcome: String,
    gap: Value,
    refusals: BTreeSet<String>,
    seconds: u64,
}

/// Runs the deployment of that name, if this run takes it.
pub(crate) fn run(name: &str) {
    let of = Deployment::named(name);
    if !chosen::is_chosen(of) {
        return;
    }
    let operator = operator::measuring();
    let space = Space::new(of.name);
    let set = Set::deploy(&space, of);
    eventually("it is as its owner wants it", 120, || set.as_wished());
    // Before the cure, so that what a deletion does afterwards has something to be held against.
    let unaided = is_long().then(|| losses::baseline(&set));
    set.fragment();
    let before = set.ratios().unwrap();
    assert_eq!(set.limits().into_values().collect::<BTreeSet<_>>(), [GIVEN].into());
    let writer = set.writer();
    let (watch, uids) = (PodWatch::select(&space, of.selector, set.size()), set.uids());

    let told = doctor::ask(&space);
    println!("{name}: doctor says\n{}", told.text);
    assert!(told.text.contains(of.detected), "doctor does not say {:?}", of.detected);
    let policy = enforce(&set, &told.policy);
    let _before = writer.mark();
    let cured = match of.refused {
        Some(reason) => await_refusal(&set, &policy, reason),
        None => await_cure(&set, &policy),
    };
    eventually("it is as its owner wants it after the cure", 90, || set.as_wished());
    let window = writer.mark();
    let after = assert_cured(&set);
    let _operator = operator.rest();
    stays_as_wished(&set, &writer);
    let replaced = assert_replaced(&set, &watch);
    assert!(of.refused.is_none() || set.uids() == uids, "a pod was replaced: {uids:?}");
    let (code, verdict) = writer.ask("check").unwrap();
    assert_eq!((code, &verdict["lost"]), (0, &json!(0)), "{verdict}");
    let limits = set.limits();
    assert_gap(of, &cured.gap, &window);
    let back = losses::of_each_pod(&set, &writer);
    if of.refused.is_some() {
        eventually("the limit of the next pod is raised, too", 120, || limit_is_kept(&set));
    }
    if let Some(unaided) = &unaided {
        back.assert_like(unaided);
    }
    record::write(
        of,
        &json!({
            "name": of.name, "title": of.title, "detected": of.detected, "way": of.way.text(),
            "ratio": {"before": before, "after": after},
            "limit": {"before": GIVEN, "after": limits},
            "cured": cured.outcome, "seconds": cured.seconds, "refusals": cured.refusals, "replaced": replaced,
            "gap": {"status": cured.gap, "client_milliseconds": window["gap_ms_max"]},
            "acknowledged": verdict["acknowledged"], "lost": verdict["lost"],
            "back": back.to_json(), "unaided": unaided.map(|losses| losses.to_json()),
            "commit": commit(), "date": today(),
        }),
    );
}

/// Applies the policy as it is printed, with the consents, and then shortens its times: a person waits ten minutes until a
/// finding counts, and a day until a pod may be restarted again.
fn enforce<'a>(set: &Set<'a>, printed: &str) -> Policy<'a> {
    if let Some(secret) = set.of.secret {
        let access = json!([{"namespace": set.space.name, "names": [secret]}]);
        set.space.apply(&secret_access(set.space, &access));
    }
    set.space.apply(&doctor::consented(printed, set.of.consents));
    let policy = Policy::existing(set.space, &doctor::name_of(printed));
    policy.patch_spec(&json!({"fragmentation": {"sustained": "10s"}, "restart": {"cooldown": "1s"}}));
    policy
}

/// The rights that the chart gives for this value of `secretAccess`, without the rest: the operator is shared.
fn secret_access(space: &Space, access: &Value) -> String {
    let mut command = client::script("tests/cluster/helm");
    command.arg("template").arg(operator::NAME).arg(client::path("charts/redis-memory-operator"));
    command.args(["--namespace", operator::NAMESPACE, "--show-only", "templates/rbac-namespaced.yaml"]);
    command.args(["--set-json", &format!("secretAccess={access}")]);
    let rendered = client::run(command).or_panic("rendering the chart");
    let own = |document: &&str| document.contains(&format!("namespace: {}\n", space.name));
    let documents: Vec<&str> = rendered.split("\n---\n").filter(own).collect();
    assert_eq!(documents.len(), 2, "a Role and its binding: {rendered}");
    documents.join("\n---\n")
}

/// Waits until what is expected of it is done and nothing is under way.
#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
fn await_cure(set: &Set<'_>, policy: &Policy<'_>) -> Cured {
    let (clock, before) = (Clock::start(), set.uids());
    let mut refusals = BTreeSet::new();
    let outcome = eventually("the cure", CURED_WITHIN, || {
        let blocked = policy.condition("RemediationBlocked").filter(|(status, ..)| status == "True");
        // The one slot of the cluster may be another test's: that says nothing of the deployment.
        if let Some((_, reason, message)) = blocked.as_ref().filter(|(_, reason, _)| reason != "ClusterBudget")
            && refusals.insert(reason.clone())
        {
            println!("{}: refused: {reason}: {message}", set.of.name);
        }
        let status = policy.status();
        let now = set.uids();
        let replaced = now.iter().filter(|(pod, uid)| before.get(*pod) != Some(*uid));
        let replaced: Vec<&str> = replaced.map(|(pod, _)| pod.as_str()).collect();
        let records = status["workloads"].as_array().cloned().unwrap_or_default();
        let outcome = records.iter().find_map(|record| record["outcome"].as_str()).unwrap_or_default().to_owned();
        let done = replaced.len() == set.size() && outcome == "Succeeded" && status["journal"].is_null();
        require(done, || format!("replaced {replaced:?}, {outcome:?}, blocked {blocked:?}: {status}"))?;
        Ok(outcome)
    });
    let status = policy.status();
    let records = status["workloads"].as_array().cloned().unwrap_or_default();
    let gap = records.iter().map(|record| record["writeGap"].clone()).find(|gap| !gap.is_null()).unwrap_or_default();
    Cured { outcome, gap, refusals, seconds: clock.uptime().as_secs() }
}

/// Waits until it is said that no pod of it is restarted, that the limit is raised all the same, and that the template's is
/// judged.
#[allow(clippy::disallowed_methods, reason = "tests wait in real time")]
fn await_refusal(set: &Set<'_>, policy: &Policy<'_>, reason: &str) -> Cured {
    let clock = Clock::start();
    let message = policy.await_blocked(reason);
    println!("{}: refused: {reason}: {message}", set.of.name);
    eventually("the limit is kept", 120, || limit_is_kept(set));
    let maker = set.of.makers[0].replace('/', " ");
    eventually("the limit of the template is judged", 60, || {
        let findings = policy.findings();
        let judged =
            findings.iter().any(|it| it.code == "TemplateTooSmall" && it.evidence.to_lowercase().contains(&maker));
        require(judged, || format!("{findings:?}"))
    });
    let refusals = [reason.to_owned()].into();
    Cured { outcome: "Not restarted".to_owned(), gap: Value::Null, refusals, seconds: clock.uptime().as_secs() }
}

/// Every pod is clean, and the limit is kept everywhere. Where none is restarted nothing but the limit has changed.
fn assert_cured(set: &Set<'_>) -> BTreeMap<String, f64> {
    let wanted = if set.of.refused.is_some() { 0 } else { set.size() };
    let ratios = eventually("the restarted pods are clean", 60, || {
        let ratios = set.ratios()?;
        let clean = ratios.values().filter(|ratio| **ratio < 1.5).count();
        require(clean >= wanted, || format!("{ratios:?}, and {wanted} should be below 1.5"))?;
        Ok(ratios)
    });
    eventually("the limit is kept", 60, || limit_is_kept(set));
    ratios
}

fn limit_is_kept(set: &Set<'_>) -> Result<(), String> {
    let limits = set.limits();
    let kept = limits.len() == set.size() && limits.values().all(|limit| *limit == NEEDED);
    require(kept, || format!("{limits:?}"))
}

/// For two minutes (every day: half of one) everything is as its owner wants it, the same pod is primary, and the client writes.
fn stays_as_wished(set: &Set<'_>, writer: &Writer<'_>) {
    let primary = set.as_wished().unwrap();
    let mut written = 0;
    throughout_every(AFTERWARDS[usize::from(!is_long())], Duration::from_secs(4), || {
        assert_eq!(set.as_wished().as_deref(), Ok(primary.as_str()));
        let now = writer.status()["acknowledged"].as_u64().unwrap();
        assert!(now > written, "nothing was written since the last look: {now}");
        written = now;
    });
}

/// Each pod that was to be replaced was so once, and no container was started again.
fn assert_replaced(set: &Set<'_>, watch: &PodWatch) -> BTreeMap<String, usize> {
    let events = watch.events();
    let times = |pod: &str| events.iter().filter(|event| **event == Event::Restart(pod.to_owned())).count();
    let replaced: BTreeMap<String, usize> = set.names().into_iter().map(|pod| (pod.clone(), times(&pod))).collect();
    assert!(replaced.values().all(|times| *times <= 1), "{events:?}");
    let wanted = if set.of.refused.is_some() { 0 } else { set.size() };
    assert_eq!(replaced.values().sum::<usize>(), wanted, "{events:?}");
    for (name, pod) in set.pods() {
        let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let restarts: u64 = statuses.iter().filter_map(|status| status["restartCount"].as_u64()).sum();
        assert_eq!(restarts, 0, "a container of {name} was started again");
    }
    replaced
}

/// Writes stopped for no more than half as long again as was estimated; at a hand-over by Sentinels for what the promise says;
/// not at all where nothing is restarted.
fn assert_gap(of: &Deployment, status: &Value, window: &Value) {
    let client = window["gap_ms_max"].as_f64().unwrap();
    if of.refused.is_some() {
        assert!(client <= UNDISTURBED, "writes stopped for {client} ms although nothing was restarted");
        return;
    }
    let estimated =
        status["estimatedMilliseconds"].as_f64().unwrap_or_else(|| panic!("no estimate of the gap: {status}"));
    let most = if of.sentinels.is_some() { of.way.longest_gap() } else { estimated * 1.5 };
    assert!(client <= most, "writes stopped for {client} ms: {status}");
}

/// The day of the run.
fn today() -> String {
    let mut date = std::process::Command::new("date");
    date.args(["-u", "+%Y-%m-%d"]);
    client::run(date).stdout.trim().to_owned()
}
