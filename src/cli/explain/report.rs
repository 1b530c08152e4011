//! What `explain` says of one pod. Pure: the numbers and judgements are those of `assess` and `plan`.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    api::v1alpha1::RedisMemoryPolicyStatus,
    assess::{
        fragmentation::{self, Cause, DueReason, Verdict},
        headroom::{self, Demand, HeadroomVerdict},
    },
    cli::{
        judgement::Judgement,
        layout::{line, paragraph, table},
        snapshot_file::{Judged, SnapshotFile},
    },
    domain::{
        bytes::Bytes,
        duration,
        finding::advice,
        policy::{Mode, Policy},
        ratio::Ratio,
        sample::{Memory, Role, Sample},
        snapshot::{Observation, Target},
    },
    plan::{Context, PlanSettings, gates},
    validate::validate,
};

/// Where what is explained was seen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// In a snapshot file.
    File,
    /// In the cluster.
    Cluster {
        /// What the operator says.
        status: &'a RedisMemoryPolicyStatus,
        /// Other policies that select the pod.
        beside: &'a [String],
    },
}

/// One pod, and everything that is said of it.
pub(super) struct Explained<'a> {
    policy: &'a Policy,
    file: &'a SnapshotFile,
    target: &'a Target,
    source: Source<'a>,
    settings: PlanSettings,
    judgement: Judgement<'a>,
    verdict: Verdict,
}

type Rows = Vec<Vec<String>>;

fn row(name: &str, value: impl Into<String>) -> Vec<String> {
    vec![name.to_owned(), value.into()]
}

impl<'a> Explained<'a> {
    pub(super) fn new(policy: &'a Policy, file: &'a SnapshotFile, target: &'a Target, source: Source<'a>) -> Self {
        let settings = file.settings();
        let snapshot = &file.snapshot;
        let judgement = Judgement::of(policy, snapshot, &file.workloads, file.journal.as_ref(), &settings);
        let alone = || fragmentation::judge(policy, target, snapshot.at, &settings.assess);
        let verdict = judgement.look.member(target).map_or_else(alone, |member| member.fragmentation.clone());
        Self { policy, file, target, source, settings, judgement, verdict }
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.head(&mut out);
        match self.target.sample() {
            Some(sample) => {
                section(&mut out, "MEMORY", &self.memory(&sample.memory));
                section(&mut out, "FRAGMENTATION", &self.fragmentation(sample));
            }
            None => self.unseen(&mut out),
        }
        section(&mut out, "HEADROOM", &self.headroom());
        if self.target.sample().is_some() || matches!(self.source, Source::File) {
            self.findings(&mut out);
        }
        self.operator(&mut out);
        self.action(&mut out);
        out
    }

    fn head(&self, out: &mut String) {
        let Policy { namespace, name, .. } = self.policy;
        let pod = &self.target.pod;
        let mode = if self.policy.mode == Mode::Enforce { "Enforce" } else { "Observe" };
        let set = pod.owner.as_ref().map(|owner| format!(", of {} {}", owner.kind, owner.name)).unwrap_or_default();
        let role = match self.target.sample().map(|sample| &sample.replication.role) {
            None => String::new(),
            Some(Role::Unknown) => ", role unknown".to_owned(),
            Some(Role::Primary) => ", primary".to_owned(),
            Some(Role::Replica(link)) => {
                let state = if link.link_up { "" } else { ", link DOWN" };
                format!(", replica of {}{state}", link.primary)
            }
        };
        line(out, &format!("pod {namespace}/{}{set}{role}", pod.name));
        line(out, &format!("policy {name}, mode {mode}; looked at {}", short(self.file.snapshot.at)));
        if let Source::Cluster { beside: [_, ..], .. } = self.source {
            let Source::Cluster { beside, .. } = self.source else { return };
            paragraph(
                out,
                "note: ",
                "      ",
                &format!("selected by {} too; the oldest that enforces acts", beside.join(", ")),
            );
        }
        if self.file.judged == Judged::AtOnce && self.target.sample().is_some() {
            let text = format!(
                "one look, judged at once; the operator acts on what stays so for {}",
                duration::format(self.sustained())
            );
            paragraph(out, "note: ", "      ", &text);
        }
    }

    /// `sustained` as it is written: for one look it is not applied.
    fn sustained(&self) -> Duration {
        let written = validate(&self.file.policy.resource());
        written.map_or(self.policy.fragmentation.sustained, |policy| policy.fragmentation.sustained)
    }

    /// No sample: why, and where the numbers are to be had.
    fn unseen(&self, out: &mut String) {
        let why = match &self.target.redis {
            Observation::Failed(failure) => format!("{}: {}", failure.reason(), failure.text()),
            Observation::Pending | Observation::Seen(_) => "it has no address, or does not run".to_owned(),
        };
        heading(out, "REDIS COULD NOT BE ASKED");
        paragraph(out, "", "", &why);
        if let Source::Cluster { .. } = self.source {
            let advice = "Pods are often not reachable from outside of the cluster. The operator asks them from inside: \
                          what it found is below. To see every number, run this command in a pod of the cluster, or \
                          look at one server with `check` through kubectl port-forward.";
            paragraph(out, "", "", advice);
        }
    }

    fn memory(&self, memory: &Memory) -> Rows {
        let Memory { used, rss, maxmemory, .. } = *memory;
        let mut rows = vec![
            row("used", format!("{used} (data {}), peak {}", memory.dataset, memory.peak)),
            row("rss", rss.to_string()),
            row("ratio", format!("{} (rss / used, as the server says it)", memory.ratio)),
            row("waste", format!("{} (rss - used)", memory.waste())),
        ];
        let Verdict { cause, purgeable, fragmented, other, .. } = &self.verdict;
        rows.push(row(
            "waste by cause",
            match cause {
                Cause::TotalOnly => format!("not told apart by {}", memory.allocator),
                _ => format!(
                    "fragmented {fragmented}, purgeable {purgeable}, outside the allocator {other}: mostly {}",
                    match cause {
                        Cause::Purgeable => "purgeable, which MEMORY PURGE gives back",
                        Cause::Fragmented => "fragmented, which a restart cures",
                        _ => "outside the allocator, which a restart need not cure",
                    }
                ),
            },
        ));
        let gain = fragmentation::expected_gain(memory);
        rows.push(row("restart gains", format!("{gain} (rss - (1.10 x used + 12 MiB))")));
        rows.push(row(
            "efficiency",
            match self.verdict.efficiency {
                Some(share) => format!("{} % of rss is data; low below {} %", share.0, fragmentation::EFFICIENCY_LOW.0),
                None => format!("not judged below {} of used memory", fragmentation::EFFICIENCY_FROM),
            },
        ));
        let policy = &memory.maxmemory_policy;
        rows.push(row(
            "maxmemory",
            match Ratio::of(used, maxmemory) {
                Some(share) => format!("{maxmemory}, {policy}; {} % used", share.0),
                None => "0: nothing bounds the data".to_owned(),
            },
        ));
        rows
    }

    fn fragmentation(&self, sample: &Sample) -> Rows {
        let rule = &self.policy.fragmentation;
        let ratio = self.verdict.ratio;
        let names = ["moderatePercent", "seriousPercent", "criticalPercent", "restartPercent"];
        let bounds = [rule.moderate, rule.serious, rule.critical, rule.restart];
        let mut rows: Rows = names
            .iter()
            .zip(bounds)
            .map(|(name, bound)| row(name, format!("{bound}: {}", reached(ratio >= bound, &ratio.to_string()))))
            .collect();
        let waste = self.verdict.waste;
        let minimum = rule.minimum_waste;
        rows.push(row("minimumWaste", format!("{minimum}: {}", reached(waste >= minimum, &format!("waste {waste}")))));
        let gain = self.verdict.expected_gain;
        let enough = reached(gain >= minimum, &format!("gain {gain}"));
        rows.push(row("", format!("a restart must gain as much: {enough}")));
        rows.push(row(
            "sustained",
            format!("{}: every sample of that time must say the same", duration::format(self.sustained())),
        ));
        let (warm_up, uptime) = (self.settings.assess.warm_up, sample.server.uptime);
        let usual = crate::assess::AssessSettings::default().warm_up;
        let warm = if uptime >= usual.max(warm_up) { "over" } else { "not over: the operator does not judge it yet" };
        rows.push(row(
            "warm-up",
            format!("{}: {warm}, Redis has run for {}", duration::format(usual.max(warm_up)), duration::format(uptime)),
        ));
        rows.push(row("judgement", self.judged()));
        rows
    }

    fn judged(&self) -> String {
        let Verdict { band, falling, restart_due, left_by_eviction, unknown_because, .. } = &self.verdict;
        if let Some(why) = unknown_because {
            return format!("Unknown: {why}");
        }
        let due = match restart_due {
            Some(DueReason::Ratio) => "a restart is due, because of the ratio",
            Some(DueReason::Efficiency) => "a restart is due, because so little of the memory is data",
            Some(DueReason::NearLimit) => "a restart is due, because RSS is near the container limit",
            None if *left_by_eviction => "no restart is due: what is wasted is what the operator let the server evict",
            None if *falling => "no restart is due: the ratio is falling",
            None => "no restart is due",
        };
        format!("{band:?}; {due}")
    }

    fn headroom(&self) -> Rows {
        let container = match &self.target.pod.container {
            Ok(container) => container,
            Err(problem) => return vec![row("container", problem.0.clone())],
        };
        let or_none = |bytes: Option<Bytes>| bytes.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string());
        let mut rows = vec![
            row(
                "limit",
                format!("{} enforced, {} in the spec", or_none(container.live_limit), or_none(container.spec_limit)),
            ),
            row("request", or_none(container.spec_request)),
        ];
        let (rule, demand) = (&self.policy.headroom, self.judgement.look.demand(self.target));
        let formula = match demand {
            Demand::Fixed { percent, minimum } => {
                format!("the larger of maxmemory x {} and maxmemory + {minimum}", Ratio(percent.saturating_add(100)))
            }
            Demand::Measured(terms) => {
                let set = "the terms below, and at least maxmemory +";
                format!("Measured{}: {set} {}", terms.evidence.remark(), terms.minimum)
            }
        };
        rows.push(row(
            "needed",
            match headroom::judge(&demand, self.target) {
                HeadroomVerdict::Sufficient { need, .. } => format!("{need}: sufficient ({formula})"),
                HeadroomVerdict::Insufficient { have, need } => {
                    format!("{need}: INSUFFICIENT by {} ({formula})", need.saturating_sub(have))
                }
                HeadroomVerdict::NotMeasured { need, .. } => {
                    format!("{need} by the bounds: not known yet whether the limit is enough ({formula})")
                }
                HeadroomVerdict::NoLimit => format!("a limit: {formula}"),
                HeadroomVerdict::Unbounded => "no limit is enough: maxmemory is 0".to_owned(),
                HeadroomVerdict::Unknown => format!("not known without an answer of Redis ({formula})"),
            },
        ));
        let maxmemory = self.target.sample().map(|sample| sample.memory.maxmemory).filter(|it| *it > Bytes::ZERO);
        rows.extend(maxmemory.into_iter().flat_map(|maxmemory| terms(&demand, maxmemory)));
        if let (Source::Cluster { .. }, false) = (self.source, demand.is_measured()) {
            let text =
                "this command looks once and measures nothing; what the operator measured is in its findings below";
            rows.push(row("  note", text));
        }
        if let (Some(sample), Some(limit)) = (self.target.sample(), container.limit()) {
            let share = Ratio::of(sample.memory.rss, limit).unwrap_or_default();
            rows.push(row("rss of limit", format!("{} %; critical from 80 %", share.0)));
        }
        rows.extend(rule.maximum_limit.map(|most| row("maximumLimit", format!("{most}: no limit is raised above it"))));
        rows.extend(self.template());
        rows
    }

    /// What a new pod would start with.
    fn template(&self) -> Option<Vec<String>> {
        let owner = self.target.pod.owner.as_ref()?;
        let set = self.file.snapshot.stateful_set(&owner.uid)?;
        let name = &self.target.pod.container.as_ref().ok()?.name;
        let (_, limit) = set.template_limits.iter().find(|(container, _)| container == name)?;
        let given = limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        let Some(sample) = self.target.sample() else { return Some(row("template", given)) };
        let floor = headroom::template_floor(&sample.memory);
        let holds = limit.is_none_or(|limit| limit >= floor);
        let verdict = if holds { "a new pod can load the data" } else { "a new pod could NOT load the data" };
        Some(row("template", format!("{given}, at least {floor} needed to load: {verdict}")))
    }

    /// What is found now. Without an answer of Redis that is only that, and the operator's word is worth more.
    fn findings(&self, out: &mut String) {
        let pod = &self.target.pod.name;
        let findings = self.judgement.findings.iter().filter(|f| f.pod.as_ref().is_none_or(|about| about == pod));
        heading(out, "FINDINGS NOW");
        let mut none = true;
        for finding in findings {
            none = false;
            let about = if finding.pod.is_some() { "" } else { "  (policy)" };
            line(out, &format!("{:<8}  {}{about}", finding.severity.to_string(), finding.code));
            paragraph(out, "          ", "          ", &finding.evidence);
            paragraph(out, "          -> ", "             ", &advice(&finding.remedy, &finding.afterwards));
        }
        if none {
            line(out, "none");
        }
    }

    /// What the operator has written down.
    fn operator(&self, out: &mut String) {
        let Source::Cluster { status, .. } = self.source else { return };
        heading(out, "THE OPERATOR SAYS");
        if status.observed_generation != Some(self.policy.generation) {
            line(out, "it has not evaluated this generation of the policy: does it run?");
        }
        let pod = self.target.pod.name.as_str();
        let findings = status.findings.iter().filter(|f| f.pod.as_deref().is_none_or(|about| about == pod));
        let mut rows: Rows = findings
            .map(|f| {
                let stale = if f.stale { ", stale" } else { "" };
                row(&f.code, format!("{}{stale}: {}", f.severity, f.evidence))
            })
            .collect();
        if rows.is_empty() {
            rows.push(row("findings", "none about this pod"));
        }
        for kind in ["Stalled", "Remediating", "RemediationBlocked"] {
            let Some(condition) = status.conditions.iter().find(|condition| condition.type_ == kind) else { continue };
            let since = short(condition.last_transition_time.0);
            let text = format!("{} since {since}: {}: {}", condition.status, condition.reason, condition.message);
            rows.push(row(kind, text.trim_end_matches(": ")));
        }
        let steps =
            status.plan.iter().flat_map(|plan| plan.steps.iter().enumerate().map(move |(n, step)| (plan, n, step)));
        for (plan, n, planned) in steps.filter(|(_, _, planned)| planned.step.pod().as_str() == pod) {
            let place = format!("step {} of {}", n + 1, plan.steps.len());
            rows.push(row("plan", format!("{place}: {}: {}", planned.step.kind(), planned.reason)));
        }
        table(out, &rows);
    }

    fn action(&self, out: &mut String) {
        let Judgement { decision, next, .. } = &self.judgement;
        let mut rows = Rows::new();
        // From here members may look lost that the operator sees well: nothing is concluded from that.
        let partial = matches!(self.source, Source::Cluster { .. })
            && self.file.snapshot.targets.iter().any(|target| target.sample().is_none());
        if !partial {
            rows.extend(decision.blocked.iter().map(|b| row("in the way", format!("{}: {}", b.reason, b.text))));
        }
        rows.extend(self.cooldown());
        rows.extend(self.last());
        rows.extend(self.under_way());
        if partial {
            let text = "not every member could be asked from here: what is due, and what is in its way, is for the \
                        operator to say (above)";
            rows.push(row("next", text));
        } else {
            rows.extend(next.iter().map(|next| row("next", next.clone())));
        }
        section(out, "WHY SOMETHING OR NOTHING IS DONE", &rows);
    }

    fn cooldown(&self) -> Option<Vec<String>> {
        let snapshot = &self.file.snapshot;
        let records = &self.file.workloads;
        let look = &self.judgement.look;
        let ctx = Context::on(Arc::clone(look), records, snapshot.at, &self.settings);
        let last = gates::last_start(&ctx, look.shard_of(self.target)?, self.target)?;
        let cooldown = self.policy.restart.cooldown;
        let until = last.saturating_add(cooldown).unwrap_or(last);
        let state = if until > snapshot.at { "until" } else { "over since" };
        let text = format!(
            "{state} {}: it started {}, spec.restart.cooldown is {}",
            short(until),
            short(last),
            duration::format(cooldown)
        );
        Some(row("cooldown", text))
    }

    fn last(&self) -> Option<Vec<String>> {
        let record = self.judgement.look.shard_of(self.target)?.record(&self.file.workloads)?;
        let text = format!("{}, ended {}: {}", record.outcome?.as_str(), short(record.ended_at), record.message);
        Some(row("last remediation", text))
    }

    fn under_way(&self) -> Option<Vec<String>> {
        let journal = self.file.journal.as_ref()?;
        let step = journal.planned().map_or_else(
            || "finishing".to_owned(),
            |planned| format!("{} {}: {}", planned.step.kind(), planned.step.pod(), planned.reason),
        );
        let text = format!("{}, step {} of {}: {step}", journal.id, journal.cursor + 1, journal.steps.len());
        Some(row("under way", text))
    }
}

/// What each term of the demand is, and what it is made of.
fn terms(demand: &Demand, maxmemory: Bytes) -> impl Iterator<Item = Vec<String>> {
    demand
        .terms(maxmemory)
        .into_iter()
        .map(|term| row(&format!("  {}", term.name), format!("{}: {}", term.amount, term.why)))
}

fn reached(yes: bool, value: &str) -> String {
    format!("{} ({value})", if yes { "reached" } else { "not reached" })
}

fn short(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn heading(out: &mut String, text: &str) {
    line(out, "");
    line(out, text);
}

fn section(out: &mut String, title: &str, rows: &[Vec<String>]) {
    heading(out, title);
    table(out, rows);
}
