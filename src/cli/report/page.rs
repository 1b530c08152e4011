//! A report in the order in which it is read, for both renderings: headings, paragraphs, tables, pictures. What it shows is
//! the report's, word by word. Pure.

use super::{
    value::{Counts, Event, PlanPart, PodPart, PolicyPart, Report, SetPart},
    words::{self, many, time},
};
use crate::{
    api::v1alpha1::{FindingStatus, Mode},
    domain::finding::advice,
    report::findings,
};

/// A part of the page.
#[derive(Clone, Debug)]
pub(super) enum Block<'a> {
    /// What the page is.
    Title(String),
    /// Of this level, from 2 on; `id` names it for links.
    Heading {
        level: u8,
        text: String,
        id: String,
    },
    Text(String),
    /// What a reader must know to weigh what follows.
    Note(String),
    Verdict {
        level: &'a str,
        sentence: &'a str,
    },
    /// Names and values.
    Facts(Vec<(&'static str, String)>),
    Table(Table<'a>),
    /// A line for each amount that there are readings of. Markdown has no such picture.
    History(&'a PodPart),
    /// When something happened. Markdown has no such picture.
    TimeLine {
        about: String,
        events: &'a [Event],
    },
}

/// A table; the first cell of a row is its head.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    pub(super) caption: String,
    pub(super) head: &'static [Column],
    pub(super) rows: Vec<Vec<Cell<'a>>>,
}

/// Name of a column, and how its cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column(pub(super) &'static str, pub(super) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// A time, which is not broken over lines.
    When,
    /// A picture of numbers that stand in the columns beside it; Markdown leaves it out.
    Picture,
}

#[derive(Clone, Debug)]
pub(super) enum Cell<'a> {
    Text(String),
    /// Leads to a heading.
    Link {
        text: String,
        to: String,
    },
    /// A verdict or a severity: one of few words.
    Level(String),
    /// What of the memory is used, waste and free. `scale`: what the whole width stands for.
    Bar {
        pod: &'a PodPart,
        scale: u64,
    },
}

/// The column that tells how much is found.
const FOUND: &str = "Findings";

const SETS: &[Column] = &[
    Column("Set", Kind::Text),
    Column("Policy", Kind::Text),
    Column("Verdict", Kind::Text),
    Column("Pods", Kind::Number),
    Column("Limits", Kind::Number),
    Column("Used", Kind::Number),
    Column("Resident", Kind::Number),
    Column("Waste", Kind::Number),
    Column("Worst ratio", Kind::Number),
    Column(FOUND, Kind::Text),
    Column("Restarts give back", Kind::Number),
    Column("Right-sizing saves", Kind::Number),
];

const PODS: &[Column] = &[
    Column("Pod", Kind::Text),
    Column("Role", Kind::Text),
    Column("Used, waste, free", Kind::Picture),
    Column("Used", Kind::Number),
    Column("Resident", Kind::Number),
    Column("Waste", Kind::Number),
    Column("Free to the limit", Kind::Number),
    Column("Limit", Kind::Number),
    Column("Limit needed", Kind::Number),
    Column("maxmemory", Kind::Number),
    Column("Ratio", Kind::Number),
    Column("Mostly", Kind::Text),
    Column("A restart gives back", Kind::Number),
];

const FINDINGS: &[Column] = &[
    Column("Finding", Kind::Text),
    Column("Severity", Kind::Text),
    Column("About", Kind::Text),
    Column("Since", Kind::When),
    Column("Evidence", Kind::Text),
    Column("What to do", Kind::Text),
];

const REFUSALS: &[Column] = &[
    Column("In the way", Kind::Text),
    Column("Since", Kind::When),
    Column("Why", Kind::Text),
    Column("Lifted by", Kind::Text),
];

const ALL_EVENTS: &[Column] = &[
    Column("When", Kind::When),
    Column("Policy", Kind::Text),
    Column("About", Kind::Text),
    Column("What", Kind::Text),
];

/// Events of all policies together that are shown.
const MOST_EVENTS: usize = 20;

const EVENTS: &[Column] = &[Column("When", Kind::When), Column("About", Kind::Text), Column("What", Kind::Text)];

/// How each number came about: the same words as in `explain`.
const MEANING: &[(&str, &str)] = &[
    ("Used", "used_memory: what the server counts as its data and buffers"),
    ("Resident", "used_memory_rss: what the process takes of its node"),
    ("Waste", "resident - used"),
    ("Ratio", "resident / used, as the server says it; the worst of a set is that of a pod with 64 MiB or more"),
    ("Limit needed", "what the policy needs above maxmemory"),
    ("A restart gives back", "resident - (1.10 x used + 12 MiB), as measured on servers that had just loaded"),
    (
        "Right-sizing saves",
        "what limits could be smaller: each as large as the most demanding pod of its set needs, never so small that what is \
         resident now would be near it; only of sets that have run for a day. Nobody but you lowers a limit",
    ),
    ("Unknown", "nobody told it: never zero, and in no sum; \"(2 of 3)\" says of how many a sum is"),
];

/// The page.
pub(super) fn of(report: &Report) -> Vec<Block<'_>> {
    let mut page = vec![Block::Title(format!("Redis memory: {}", report.scope))];
    page.push(Block::Text(format!("Made {}.", time(report.made_at))));
    page.extend(report.notes.iter().cloned().map(Block::Note));
    if report.policies.is_empty() {
        let text =
            "There is no RedisMemoryPolicy here, so nothing is watched. Where to begin: kubectl redis-memory doctor";
        page.push(Block::Text(text.to_owned()));
        return page;
    }
    page.push(Block::Facts(totals(report)));
    page.push(heading(2, "Sets", "sets"));
    page.push(Block::Table(overview(report)));
    page.extend(lately_anywhere(report));
    for (n, policy) in report.policies.iter().enumerate() {
        policy_part(&mut page, policy, n);
    }
    page.push(heading(2, "What the numbers are", "meaning"));
    page.push(Block::Facts(MEANING.iter().map(|(name, text)| (*name, (*text).to_owned())).collect()));
    page
}

fn heading<'a>(level: u8, text: impl Into<String>, id: impl Into<String>) -> Block<'a> {
    Block::Heading { level, text: text.into(), id: id.into() }
}

fn totals(report: &Report) -> Vec<(&'static str, String)> {
    let totals = &report.totals;
    let verdicts: Vec<String> = totals.verdicts.iter().map(|(level, n)| format!("{n} {level}")).collect();
    let memory = &totals.memory;
    vec![
        ("Policies", format!("{}: {}", totals.policies, verdicts.join(", "))),
        ("Sets", totals.sets.to_string()),
        ("Pods", format!("{} looked at, {} answered", totals.pods, totals.answered)),
        ("Limits", words::sum(memory.limit)),
        ("Used", words::sum(memory.used)),
        ("Resident", words::sum(memory.rss)),
        ("Waste", words::sum(memory.waste)),
        ("Restarts would give back", words::sum(memory.restart_gains)),
        ("Right-sizing would save", words::sum(totals.right_sizing_saves)),
    ]
}

fn policy_name(policy: &PolicyPart) -> String {
    format!("{}/{}", policy.namespace, policy.name)
}

/// A row of what is found about no set that was seen; `memory`: what stands in the columns of memory.
fn beside<'a>(policy: &PolicyPart, what: &str, link: Cell<'a>, memory: &str) -> Vec<Cell<'a>> {
    let findings = words::counts(Some(policy.findings_elsewhere));
    let mut row = vec![Cell::Text(what.to_owned()), link, Cell::Level(policy.level().to_owned())];
    let rest = SETS.iter().skip(row.len());
    let texts = rest.map(|column| if column.0 == FOUND { findings.as_str() } else { memory });
    row.extend(texts.map(|text| Cell::Text(text.to_owned())));
    row
}

fn overview(report: &Report) -> Table<'_> {
    let mut rows = Vec::new();
    for (n, policy) in report.policies.iter().enumerate() {
        let link = || Cell::Link { text: policy_name(policy), to: format!("policy-{n}") };
        if policy.sets.is_empty() {
            rows.push(beside(policy, "none known", link(), words::UNKNOWN));
        } else if policy.findings_elsewhere != Counts::default() {
            rows.push(beside(policy, "beside the sets", link(), "n/a"));
        }
        for (m, set) in policy.sets.iter().enumerate() {
            let memory = &set.memory;
            let mut row = vec![Cell::Link { text: set.name.clone(), to: format!("set-{n}-{m}") }, link()];
            row.push(Cell::Level(policy.level().to_owned()));
            let numbers = [
                set.size.to_string(),
                words::sum(memory.limit),
                words::sum(memory.used),
                words::sum(memory.rss),
                words::sum(memory.waste),
                words::worst_ratio(set),
                words::counts(set.findings),
                words::sum(memory.restart_gains),
                words::saves(&set.right_sizing),
            ];
            row.extend(numbers.map(Cell::Text));
            rows.push(row);
        }
    }
    Table { caption: format!("Every set of {}", report.scope), head: SETS, rows }
}

/// The newest events of all policies, where there are several.
fn lately_anywhere(report: &Report) -> Vec<Block<'_>> {
    let parts = report.policies.iter().enumerate();
    let mut events: Vec<(usize, &PolicyPart, &Event)> =
        parts.flat_map(|(n, policy)| policy.lately.iter().map(move |event| (n, policy, event))).collect();
    if report.policies.len() < 2 || events.is_empty() {
        return Vec::new();
    }
    events.sort_by_key(|(n, _, event)| (std::cmp::Reverse(event.at), *n));
    let caption = format!("The newest {} of {}", many(events.len().min(MOST_EVENTS), "event", "events"), report.scope);
    let rows = events.into_iter().take(MOST_EVENTS).map(|(n, policy, event)| {
        vec![
            Cell::Text(time(event.at)),
            Cell::Link { text: policy_name(policy), to: format!("policy-{n}") },
            Cell::Text(event.about.clone()),
            Cell::Text(event.what.clone()),
        ]
    });
    let table = Table { caption, head: ALL_EVENTS, rows: rows.collect() };
    vec![heading(2, "Lately", "lately"), Block::Table(table)]
}

fn policy_part<'a>(page: &mut Vec<Block<'a>>, policy: &'a PolicyPart, n: usize) {
    let name = policy_name(policy);
    page.push(heading(2, &name, format!("policy-{n}")));
    if let Some(verdict) = &policy.verdict {
        page.push(Block::Verdict { level: &verdict.level, sentence: &verdict.sentence });
    }
    page.extend(policy.notes.iter().cloned().map(Block::Note));
    page.push(Block::Facts(said(policy)));
    for (m, set) in policy.sets.iter().enumerate() {
        set_part(page, &name, set, format!("set-{n}-{m}"));
    }
    if !policy.findings.is_empty() {
        page.push(heading(3, "Findings", format!("findings-{n}")));
        let rows = policy.findings.iter().map(finding).collect();
        page.push(Block::Table(Table { caption: format!("Findings of {name}"), head: FINDINGS, rows }));
    }
    if !policy.refusals.is_empty() {
        page.push(heading(3, "In the way", format!("refusals-{n}")));
        let rows = policy.refusals.iter().map(|refusal| {
            let cells = [&refusal.reason, &time(refusal.since), &refusal.text, &refusal.lifted_by];
            cells.map(|text| Cell::Text(text.clone())).to_vec()
        });
        let caption = format!("What keeps a remediation of {name} from its next step");
        page.push(Block::Table(Table { caption, head: REFUSALS, rows: rows.collect() }));
    }
    lately(page, policy, &name, n);
}

/// What the operator says, as `status` says it.
fn said(policy: &PolicyPart) -> Vec<(&'static str, String)> {
    let mode = match (policy.mode, policy.suspend) {
        (Mode::Observe, _) => "Observe: nothing is changed",
        (Mode::Enforce, false) => "Enforce",
        (Mode::Enforce, true) => "Enforce, suspended",
    };
    let mut facts = vec![("Mode", mode.to_owned())];
    if let Some(summary) = &policy.summary {
        let (targets, reachable, compliant) = (summary.targets, summary.reachable, summary.compliant);
        let pods = format!("{targets} selected, {reachable} answer, {compliant} judged and without a Warning or worse");
        let unknown = || words::UNKNOWN.to_owned();
        facts.push(("Pods, by the operator", pods));
        facts.push(("Worst ratio, by the operator", summary.worst_fragmentation.clone().unwrap_or_else(unknown)));
        facts.push(("Waste, by the operator", summary.waste.clone().unwrap_or_else(unknown)));
        facts.extend(summary.last_action.clone().map(|last| ("Last action", last)));
    }
    if let Some(plan) = &policy.plan {
        facts.push(("Plan", planned(plan)));
    }
    facts
}

fn planned(plan: &PlanPart) -> String {
    let (steps, workload) = (many(plan.steps, "step", "steps"), &plan.workload);
    if plan.steps == 0 {
        return format!("due on {workload}, and no step can be taken: see what is in the way");
    }
    let restarts = match plan.restarts.as_slice() {
        [] => "no pod is restarted".to_owned(),
        pods => format!("restarts {}", pods.join(", ")),
    };
    let gap = plan.write_gap_milliseconds.map_or_else(String::new, |gap| format!("; writes stop for about {gap} ms"));
    format!("{steps} on {workload}: {restarts}{gap}")
}

fn set_part<'a>(page: &mut Vec<Block<'a>>, policy: &str, set: &'a SetPart, id: String) {
    page.push(heading(3, format!("Set {}", set.name), id));
    page.extend(set.note.clone().map(Block::Note));
    let primary = match set.primaries.as_slice() {
        [] => words::UNKNOWN.to_owned(),
        names => names.join(", "),
    };
    let saves = match set.right_sizing.saves_bytes {
        None => set.right_sizing.why.clone(),
        Some(_) => format!("{}: {}", words::saves(&set.right_sizing), set.right_sizing.why),
    };
    page.push(Block::Facts(vec![
        ("Primary", primary),
        ("Writes", set.writes.clone()),
        ("Restarts would give back", words::sum(set.memory.restart_gains)),
        ("Right-sizing would save", saves),
    ]));
    if set.pods.is_empty() {
        return;
    }
    let scale = set.pods.iter().flat_map(|pod| [pod.limit_bytes, pod.rss_bytes]).flatten().max().unwrap_or(0);
    let rows = set.pods.iter().map(|pod| pod_row(pod, scale)).collect();
    page.push(Block::Table(Table { caption: format!("Pods of set {} ({policy})", set.name), head: PODS, rows }));
    for pod in &set.pods {
        page.extend(pod.silent.iter().map(|why| Block::Note(format!("{} told nothing: {why}", pod.pod))));
    }
    page.extend(set.pods.iter().filter(|pod| !pod.history.is_empty()).map(Block::History));
}

fn pod_row(pod: &PodPart, scale: u64) -> Vec<Cell<'_>> {
    let mut row = vec![Cell::Text(pod.pod.clone()), Cell::Text(pod.role.to_owned()), Cell::Bar { pod, scale }];
    let needed = match (pod.maxmemory_bytes, pod.needed_bytes) {
        (Some(0), None) => "none is enough".to_owned(),
        (_, amount) => words::bytes(amount),
    };
    let numbers = [
        words::bytes(pod.used_bytes),
        words::bytes(pod.rss_bytes),
        words::bytes(pod.waste_bytes),
        words::free(pod),
        words::limit(pod),
        needed,
        words::maxmemory(pod),
        words::ratio(pod.ratio_percent),
        pod.cause.unwrap_or(words::UNKNOWN).to_owned(),
        words::bytes(pod.restart_gains_bytes),
    ];
    row.extend(numbers.map(Cell::Text));
    row
}

fn finding(finding: &FindingStatus) -> Vec<Cell<'_>> {
    let since = finding.since.map_or_else(|| words::UNKNOWN.to_owned(), time);
    let stale = if finding.stale { "stale: not judged again since; " } else { "" };
    let of = finding.pod.as_ref().filter(|_| finding.pods.len() > 1).map_or_else(String::new, |pod| format!("{pod}: "));
    vec![
        Cell::Text(finding.code.clone()),
        Cell::Level(finding.severity.clone()),
        Cell::Text(findings::about(finding)),
        Cell::Text(since),
        Cell::Text(format!("{stale}{of}{}", finding.evidence)),
        Cell::Text(advice(&finding.remedy, &finding.remedy_afterwards)),
    ]
}

fn lately<'a>(page: &mut Vec<Block<'a>>, policy: &'a PolicyPart, name: &str, n: usize) {
    if policy.lately.is_empty() {
        return;
    }
    page.push(heading(3, "Lately", format!("lately-{n}")));
    page.push(Block::TimeLine { about: name.to_owned(), events: &policy.lately });
    let rows = policy
        .lately
        .iter()
        .map(|event| vec![Cell::Text(time(event.at)), Cell::Text(event.about.clone()), Cell::Text(event.what.clone())]);
    let caption = format!("What happened to {name}, the newest first");
    page.push(Block::Table(Table { caption, head: EVENTS, rows: rows.collect() }));
    if policy.older > 0 {
        page.push(Block::Note(format!("{} before that are not shown", many(policy.older, "event", "events"))));
    }
}
