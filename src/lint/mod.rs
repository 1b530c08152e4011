//! Manifests before they are deployed: which Redis containers they make, and whether what these may take is right. Pure.
//!
//! `documents` → `objects` → servers (`workloads`, `stated`) → `judge`. Nothing is asked of a cluster; what the input does
//! not show is not known, which is neither good nor bad.

mod documents;
mod judge;
mod lines;
mod policies;
pub mod recommend;
mod script;
mod server;
mod start;
mod stated;
mod value;
mod workloads;

use crate::domain::{
    bytes::Bytes,
    finding::{Finding, Severity},
    policy::HeadroomRule,
    purpose::Purpose,
};

/// A text to look at.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its file, for messages; [`STDIN`] is standard input.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// A person named it: what in it is nothing that is known is said, not passed over.
    pub named: bool,
}

/// The name of standard input.
pub const STDIN: &str = "standard input";

/// What holds where no policy of the input selects the pods.
#[derive(Clone, Debug)]
pub struct Rule {
    /// How far the limit must exceed maxmemory.
    pub headroom: HeadroomRule,
    /// What the data is for.
    pub purpose: Option<Purpose>,
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// Why something could not be judged; the rest is judged all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What it is, and what to do.
    pub text: String,
    /// It is a template that was never rendered.
    pub template: bool,
}

/// A Redis server that the manifests make.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Where its container is described.
    pub place: Place,
    /// The template that Helm made it from, as its output says.
    pub source: Option<String>,
    /// `StatefulSet shop/redis`, or what else describes it.
    pub object: String,
    /// The container, or which of the servers of its object.
    pub container: String,
    /// The chart or operator that is recognised.
    pub product: Option<&'static str>,
    /// The policy of the input by which it is judged.
    pub policy: Option<String>,
    /// The rule by which it is judged.
    pub rule: Rule,
    /// Its memory limit.
    pub limit: Option<Bytes>,
    /// Its memory request.
    pub request: Option<Bytes>,
    /// maxmemory; zero: nothing sets it.
    pub maxmemory: Known<Bytes>,
    /// maxmemory-policy.
    pub eviction: Known<String>,
    /// Whether it has an AOF or save points.
    pub persists: Known<bool>,
    /// What its settings were read from.
    pub read: Vec<String>,
    /// The worst first.
    pub findings: Vec<Finding>,
}

/// Something that the input may not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// It is this.
    Is(T),
    /// It is not known; the reason.
    Not(String),
}

impl<T> Known<T> {
    /// What it is, where it is known.
    pub const fn get(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Not(_) => None,
        }
    }
}

impl Judged {
    /// What is not known of it, and why.
    pub fn notes(&self) -> Vec<String> {
        let all = [
            ("maxmemory", not(&self.maxmemory)),
            ("maxmemory-policy", not(&self.eviction)),
            ("persistence", not(&self.persists)),
        ];
        let known = all.into_iter().filter_map(|(name, why)| Some((name, why?)));
        let mut notes: Vec<(Vec<&str>, &str)> = Vec::new();
        for (name, why) in known {
            match notes.iter_mut().find(|(_, other)| *other == why) {
                Some((names, _)) => names.push(name),
                None => notes.push((vec![name], why)),
            }
        }
        notes.into_iter().map(|(names, why)| format!("{} not known: {why}", names.join(", "))).collect()
    }
}

fn not<T>(known: &Known<T>) -> Option<&str> {
    match known {
        Known::Is(_) => None,
        Known::Not(why) => Some(why),
    }
}

/// What came of a look.
#[derive(Debug, Default)]
pub struct Report {
    /// Every Redis server, by its place.
    pub judged: Vec<Judged>,
    /// What could not be judged.
    pub problems: Vec<Problem>,
    /// Objects that were read.
    pub objects: usize,
}

impl Report {
    /// The worst severity; `Info` when nothing was found.
    pub fn worst(&self) -> Severity {
        let all = self.judged.iter().flat_map(|judged| &judged.findings);
        all.map(|finding| finding.severity).max().unwrap_or(Severity::Info)
    }
}

/// Looks at all inputs together: a ConfigMap of one file counts for the container of another.
pub fn lint(inputs: &[Input], rule: &Rule) -> Report {
    let mut report = Report::default();
    let objects = documents::objects(inputs, &mut report);
    let policies = policies::Policies::of(&objects, &mut report);
    let servers = server::servers(&objects, &mut report);
    report.objects = objects.len();
    report.judged = servers.iter().map(|server| judge::judge(server, &policies, rule)).collect();
    report.judged.sort_by(|a, b| a.place.cmp(&b.place).then_with(|| a.container.cmp(&b.container)));
    report.problems.sort_by(|a, b| a.place.cmp(&b.place));
    report
}

#[cfg(test)]
mod tests;
