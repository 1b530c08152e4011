//! What is done next: by the operator, and by the person who reads it.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{
    super::{
        Input,
        refusals::{self, Lifter},
        sets,
    },
    command, memory, part,
    ruling::{self, Level, Ruling},
};
use crate::api::v1alpha1::{FindingStatus, RedisMemoryPolicyStatus};
use crate::assess::fragmentation::WILL_RESTART;
use crate::domain::{
    blocked::{BlockReason, Blocked},
    duration,
    finding::FindingCode,
    journal::Journal,
    names::PodName,
    policy::Mode,
    sample::Config,
    snapshot::Target,
    step::{Plan, Step},
};

/// Findings that a restart ends: what is in its way is what the reader lifts.
const BY_A_RESTART: [FindingCode; 4] = [
    FindingCode::FragmentationRestartDue,
    FindingCode::FragmentationCritical,
    FindingCode::FragmentationSerious,
    FindingCode::MemoryEfficiencyLow,
];

/// What the operator does next, and when.
pub(super) fn operator(input: &Input<'_>, ruling: &Ruling<'_>, previous: &RedisMemoryPolicyStatus) -> String {
    let refused = |blocked: &Blocked| match blocked.reason.as_str() {
        // What is the matter is not said twice.
        reason if reason == ruling.reason => reason.to_owned(),
        _ => refused(blocked, refusals::since(blocked, previous, input.now)),
    };
    if let Some(journal) = input.journal {
        return under_way(journal, input.blocked.first().map(refused));
    }
    match (input.plan, input.blocked.first()) {
        (Some(plan), Some(first)) if !plan.steps.is_empty() => {
            format!("waits: {}{}; then it {}", refused(first), beside(input), restarts(plan))
        }
        (_, Some(first)) => format!("restarts nothing as long as this holds: {}{}", refused(first), beside(input)),
        (Some(plan), None) => match (input.policy.fragmentation.restart_allowed, input.policy.mode) {
            (false, _) => format!(
                "does nothing: spec.fragmentation.remedies does not contain Restart; else it {}",
                restarts(plan)
            ),
            (true, Mode::Observe) => format!("does nothing in mode Observe; in mode Enforce it {}", restarts(plan)),
            (true, Mode::Enforce) => format!("{}, beginning within a minute", restarts(plan)),
        },
        (None, None) => in_hand(input).unwrap_or_else(|| idle(input, ruling)),
    }
}

/// What findings promise.
fn in_hand(input: &Input<'_>) -> Option<String> {
    let promised: Vec<_> = input.findings.iter().filter(|finding| ruling::is_promised(&finding.remedy)).collect();
    let first = promised.first()?;
    // Several findings of a pod may end by the same.
    let pods: BTreeSet<PodName> =
        promised.iter().filter_map(|finding| finding.pod.as_deref().map(PodName::from)).collect();
    let what = first.remedy.strip_prefix("the operator ").unwrap_or(&first.remedy);
    Some(format!("{what} (within a minute, for {})", sets::list(&pods.into_iter().collect::<Vec<_>>())))
}

fn idle(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    match ruling.level {
        Level::Plan if is_to_be_judged(ruling) => {
            "judges it again, by readings of now, before it does anything about it".to_owned()
        }
        Level::Fine => "has nothing to do and goes on watching".to_owned(),
        Level::Unknown => {
            "does nothing on what it cannot judge; it goes on asking, and judges as soon as it can".to_owned()
        }
        Level::ActNow | Level::Plan => {
            let tried = memory::tried(input, ruling).filter(|_| input.policy.mode == Mode::Enforce);
            tried.unwrap_or_else(|| format!("{}; it looks on, and says so when this is over", not_here(input, ruling)))
        }
    }
}

/// Why nothing is done about what rules, and what lifts that.
fn not_here(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    use FindingCode as C;
    let unset = input.findings.iter().any(|finding| finding.code == C::MaxmemoryUnset.as_str());
    let why = match ruling.code() {
        Some(C::MaxmemoryUnset | C::OomKilled) if unset && !input.policy.headroom.set_maxmemory => {
            "it sets no maxmemory as long as SetMaxmemory is not among spec.headroom.remedies"
        }
        Some(C::TwoPrimaries | C::PrimaryEmpty | C::NoPrimary) => {
            "it makes nobody primary, and restarts none of them until it is clear who is"
        }
        Some(C::EvictionStopsWrites | C::UtilizationWarning | C::UtilizationCritical) => {
            "it deletes no data, and raises no maxmemory that people set: no setting changes that"
        }
        Some(C::NoTargets) => "it begins by itself as soon as the selector matches a pod",
        Some(C::TemplateTooSmall | C::LimitMissing | C::RequestBelowMaxmemory) => "templates are for people",
        _ => "",
    };
    let would = ruling.found().iter().find(|finding| finding.remedy.starts_with("in mode Enforce "));
    match (input.policy.mode, would, why) {
        (Mode::Observe, Some(would), _) => format!("changes nothing in mode Observe; {}", would.remedy),
        (Mode::Observe, None, "") => "changes nothing in mode Observe".to_owned(),
        (Mode::Observe, None, why) => format!("changes nothing in mode Observe, nor would it in Enforce: {why}"),
        (Mode::Enforce, _, "") => "changes nothing here, for a person has to decide".to_owned(),
        (Mode::Enforce, _, why) => format!("changes nothing here: {why}"),
    }
}

fn under_way(journal: &Journal, waits: Option<String>) -> String {
    let since = super::shown(journal.started_at);
    let Some(planned) = journal.planned() else {
        return format!("is finishing the restart of {} that began {since}", journal.workload_name);
    };
    let failed = journal.current.failure.as_ref().map_or_else(String::new, |why| {
        format!("; attempt {} failed ({why}) and is repeated", journal.current.attempt.max(1))
    });
    let doing = format!(
        "carries out step {} of {} of the restart of {} that began {since}: {} {}",
        journal.cursor + 1,
        journal.steps.len(),
        journal.workload_name,
        planned.step.kind(),
        planned.step.pod()
    );
    match waits {
        Some(refused) => format!("{doing}; it waits: {refused}{failed}"),
        None => format!("{doing}{failed}"),
    }
}

/// "restarts redis-1, redis-2, redis-0 one at a time (writes pause for about 300ms)".
fn restarts(plan: &Plan) -> String {
    let evicted = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::Evict { pod } => Some(pod.as_str()),
        _ => None,
    });
    let pods: Vec<&str> = evicted.collect();
    let gap = plan.write_gap.as_ref().map_or_else(String::new, |gap| {
        let gap = Duration::from_millis(u64::try_from(gap.estimated_milliseconds).unwrap_or_default());
        format!(" (writes pause for about {})", duration::format(gap))
    });
    let done = match pods.as_slice() {
        [] => moves_the_role(plan),
        [one] => format!("restarts {one}"),
        many if many.len() <= 4 => format!("restarts {} one at a time", many.join(", ")),
        many => format!("restarts {} pods of {} one at a time", many.len(), plan.workload_name),
    };
    done + &gap
}

/// "moves the primary role of redis from redis-0 to redis-1".
fn moves_the_role(plan: &Plan) -> String {
    let moved = plan.steps.iter().find_map(|planned| match &planned.step {
        Step::Switchover { from, to: Some(to) } => Some(format!(" from {from} to {to}")),
        Step::Switchover { from, to: None } => Some(format!(" away from {from}")),
        _ => None,
    });
    format!("moves the primary role of {}{}", plan.workload_name, moved.unwrap_or_default())
}

/// What else is in the way.
fn beside(input: &Input<'_>) -> String {
    match input.blocked {
        [_, rest @ ..] if !rest.is_empty() => {
            let rest = rest.iter().map(|blocked| blocked.reason.as_str()).collect::<Vec<_>>().join(", ");
            format!("; also in the way: {rest}")
        }
        _ => String::new(),
    }
}

/// A refusal, since when, and what lifts it where no person does; a command in it is the reader's part.
fn refused(blocked: &Blocked, since: Timestamp) -> String {
    let since = super::shown(since);
    let text = blocked.text.find("kubectl ").map_or(blocked.text.as_str(), |at| blocked.text.split_at(at).0);
    let text = part(text.trim_end_matches([' ', ':']));
    let (who, what) = refusals::lifted(blocked.reason);
    let noticed = format!("{} (noticed {since}): {text}", blocked.reason);
    match who {
        Lifter::You | Lifter::Nobody | Lifter::Time => noticed,
        Lifter::ItPasses => format!("{noticed}; it goes on by itself once {what}"),
    }
}

/// What the reader does next.
pub(super) fn you(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    if ruling.level == Level::Fine {
        return "nothing".to_owned();
    }
    let (until, what) = match ruling.level {
        Level::ActNow => ("now".to_owned(), command::against(input, ruling)),
        Level::Unknown if ruling.code() != Some(FindingCode::NoTargets) => ("soon".to_owned(), by_day(input, ruling)),
        _ => ("when it suits".to_owned(), by_day(input, ruling)),
    };
    let what = command::with_files(input, what);
    if what.starts_with("nothing") {
        return what;
    }
    let until = until_full(input, ruling).map_or(until, |time| format!("before {time}"));
    format!("{until}: {what}")
}

/// When the server that rules is full, by the clock, where it grows.
pub(super) fn until_full(input: &Input<'_>, ruling: &Ruling<'_>) -> Option<String> {
    let pods = if ruling.code()? == FindingCode::EvictionStopsWrites { ruling.pods() } else { return None };
    pods.iter().find_map(|pod| {
        let memory = &input.snapshot.target(pod)?.sample()?.memory;
        let growth = input.sets.iter().find(|set| set.pods.contains(pod))?.growth?;
        growth.by(memory.maxmemory.saturating_sub(memory.counted()), input.now)
    })
}

/// What the reader does about what can wait.
fn by_day(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    // What a person has to lift comes before what passes.
    let by_you = |blocked: &&Blocked| refusals::lifted(blocked.reason).0 == Lifter::You;
    if let Some(first) = input.blocked.iter().find(by_you).or_else(|| input.blocked.first())
        && ruling.code().is_none_or(|code| BY_A_RESTART.contains(&code))
    {
        return against(input, ruling, first);
    }
    let policy = input.policy;
    match (input.journal, input.plan) {
        (Some(_), _) => unchain(input).unwrap_or_else(|| "nothing; kubectl get rmp shows how it goes on".to_owned()),
        (None, Some(_)) if !policy.fragmentation.restart_allowed => {
            patch(input, r#"{"spec":{"fragmentation":{"remedies":["Restart"]}}}"#, "lets the operator restart pods")
        }
        (None, Some(plan)) if policy.mode == Mode::Observe => {
            let lets = format!("from then on the operator {}", restarts(plan));
            patch(input, r#"{"spec":{"mode":"Enforce"}}"#, &lets)
        }
        (None, Some(_))
            if ruling.code().is_none_or(|code| BY_A_RESTART.contains(&code))
                || is_cured_by_a_restart(input, ruling) =>
        {
            unchain(input).unwrap_or_else(|| "nothing".to_owned())
        }
        _ if is_to_be_judged(ruling) => "nothing".to_owned(),
        _ if !ruling.found().is_empty()
            && ruling.found().iter().all(|finding| ruling::is_promised(&finding.remedy)) =>
        {
            besides(input)
        }
        _ => command::against(input, ruling),
    }
}

/// What is near its limit is about to be restarted, each of them, and that leads it away from there.
fn is_cured_by_a_restart(input: &Input<'_>, ruling: &Ruling<'_>) -> bool {
    let restarts = |pod: &PodName| {
        let of_it = |finding: &&FindingStatus| finding.pod.as_deref() == Some(pod.as_str());
        input.findings.iter().filter(of_it).any(|finding| finding.remedy == WILL_RESTART)
    };
    ruling.code() == Some(FindingCode::RssNearLimit) && ruling.pods().iter().all(restarts)
}

/// All that rules was found at another look, when the operator was about to end it.
fn is_to_be_judged(ruling: &Ruling<'_>) -> bool {
    !ruling.found().is_empty() && ruling.found().iter().all(|finding| ruling::is_judged_first(finding))
}

/// Besides what the operator is about to do.
fn besides(input: &Input<'_>) -> String {
    let left = |finding: &&FindingStatus| ruling::is_promised(&finding.remedy) && !finding.remedy_afterwards.is_empty();
    let left = input.findings.iter().find(left);
    left.map_or_else(|| "nothing".to_owned(), |finding| format!("nothing now; {}", finding.remedy_afterwards))
}

/// Where the plan restarts the ends of a chain of replicas, and the rest waits for a person: what that one does, now as well as
/// later.
fn unchain(input: &Input<'_>) -> Option<String> {
    let journal = input.journal.map(|journal| &journal.workload_name);
    let planned = journal.or_else(|| input.plan.map(|plan| &plan.workload_name))?;
    let set = input.sets.iter().find(|set| set.name == *planned)?;
    let waits = |finding: &FindingStatus| {
        let of_it = finding.pod.as_deref().is_some_and(|pod| set.pods.iter().any(|one| one.as_str() == pod));
        of_it && finding.remedy.contains(BlockReason::ChainedReplicas.as_str())
    };
    input.findings.iter().any(waits).then(|| command::unchain(input, set)).flatten()
}

/// How a person restarts what rules where the operator never does: in what order, or not at all, where that would lose data.
fn by_hand(input: &Input<'_>, ruling: &Ruling<'_>) -> String {
    let (pods, namespace) = (ruling.pods(), &input.policy.namespace);
    let ruled = || input.sets.iter().filter(|set| pods.is_empty() || set.pods.iter().any(|pod| pods.contains(pod)));
    let alone = ruled().all(|set| set.pods.len() == set.primaries.len());
    let persists = |target: &Target| target.sample()?.config.as_ref().ok().map(Config::persists);
    let saves_nothing = |pod: &&PodName| input.snapshot.target(pod).and_then(persists) == Some(false);
    let lost: Vec<PodName> = ruled().flat_map(|set| &set.pods).filter(saves_nothing).cloned().collect();
    if alone && !lost.is_empty() {
        // First: who reads a command first carries it out first.
        return format!(
            "delete none of these pods as they are: what {} holds is saved nowhere and would be lost, and no replica of them is \
             selected{}",
            sets::list(&lost),
            command::replicas_first(input).unwrap_or_else(|| "; give each a replica or persistence first".to_owned())
        );
    }
    let order = if alone {
        "no replica of them is selected, so that nobody serves a pod's data until it has loaded them"
    } else {
        "replicas first, and a primary only when a replica has taken its role over"
    };
    let leads = |pod: &PodName| input.sets.iter().any(|set| set.primaries.contains(pod));
    let mut named = pods;
    named.sort_by_key(leads);
    let first = named.first().map_or("POD", PodName::as_str);
    format!(
        "restart the pods by hand, {order}, the next when the one before has loaded its data and is Ready: kubectl delete pod {first} \
         -n {namespace}, then the next"
    )
}

/// What lifts that refusal.
fn against(input: &Input<'_>, ruling: &Ruling<'_>, blocked: &Blocked) -> String {
    if blocked.reason == BlockReason::Held {
        let lift = blocked.text.find("kubectl ").map_or("", |at| blocked.text.split_at(at).1);
        return format!(
            "nothing, or ask whoever holds it; only when nobody needs that any more: {lift} (the restart may then begin)"
        );
    }
    if let Some(at) = blocked.text.find("kubectl ") {
        return blocked.text.split_at(at).1.to_owned();
    }
    if let Some(exact) = command::lifting(input, blocked) {
        return exact;
    }
    let (who, what) = refusals::lifted(blocked.reason);
    let explained = command::explain(blocked.reason.as_str());
    match who {
        Lifter::Time => "nothing now".to_owned(),
        Lifter::ItPasses => format!("nothing now; in working hours, if it is still so, {explained} says where to look"),
        Lifter::Nobody => format!("{what}: {}; {explained} says more", by_hand(input, ruling)),
        Lifter::You if ruling.code().is_none() && !ruling.found().is_empty() => command::against(input, ruling),
        Lifter::You => format!("{what}; {explained} says more"),
    }
}

/// A change of the policy.
pub(super) fn patch(input: &Input<'_>, change: &str, effect: &str) -> String {
    let (name, namespace) = (&input.policy.name, &input.policy.namespace);
    format!("kubectl patch rmp {name} -n {namespace} --type merge -p '{change}' ({effect})")
}
