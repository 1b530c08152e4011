//! What came of many runs, and the table of it.

use std::fmt::Write as _;

use redis_memory_operator::domain::policy::HeadroomMethod;

use crate::{
    loads::Outcome,
    plan::{Load, Plan, Writes},
};

/// One load under the limit of one method.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) server: String,
    pub(crate) method: HeadroomMethod,
    pub(crate) plan: Plan,
    pub(crate) outcome: Outcome,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Vec<Row>);

impl Tally {
    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        self.0.extend(rows);
    }

    pub(crate) fn count(&self, of: impl Fn(&Row) -> bool) -> usize {
        self.0.iter().filter(|row| of(row)).count()
    }

    pub(crate) fn kills(&self, of: impl Fn(&Row) -> bool) -> usize {
        self.count(|row| of(row) && row.outcome.killed)
    }

    /// The median share of the limit that the peak took, in percent; zero: there was no run.
    pub(crate) fn median(&self, of: impl Fn(&Row) -> bool) -> u64 {
        let mut shares: Vec<u64> = self.0.iter().filter(|row| of(row)).map(|row| row.outcome.share()).collect();
        shares.sort_unstable();
        shares.get(shares.len() / 2).copied().unwrap_or_default()
    }

    /// The largest peak, in percent of `maxmemory`.
    fn most(&self, of: impl Fn(&Row) -> bool) -> u64 {
        let shares = self.0.iter().filter(|row| of(row)).map(|row| row.outcome.peak.0 * 100 / row.plan.maxmemory.0);
        shares.max().unwrap_or_default()
    }

    /// Two Markdown tables: each server and load, and each load and rate of writes.
    pub(crate) fn tables(&self) -> String {
        let mut servers: Vec<&str> = self.0.iter().map(|row| row.server.as_str()).collect();
        servers.sort_unstable();
        servers.dedup();
        let mut text = head("server");
        for server in servers {
            for load in Load::ALL {
                self.line(&mut text, server, load, |row| row.server == server);
            }
        }
        text.push_str(&head("writes"));
        for writes in Writes::ALL {
            for load in Load::ALL {
                self.line(&mut text, writes.text(), load, |row| row.plan.writes == writes);
            }
        }
        for method in METHODS {
            let of = |row: &Row| row.method == method;
            let (kills, all, median) = (self.kills(of), self.count(of), self.median(of));
            writeln!(text, "{method:?}: {kills} kills of {all}, median {median} %").expect("a string grows");
        }
        text
    }

    fn line(&self, text: &mut String, first: &str, load: Load, of: impl Fn(&Row) -> bool) {
        let [measured, fixed] = METHODS.map(|method| {
            let of = |row: &Row| of(row) && (row.plan.load, row.method) == (load, method);
            match self.count(of) {
                0 => "– | –".to_owned(),
                all => format!("{} of {all} | {} %", self.kills(of), self.median(of)),
            }
        });
        let most = self.most(|row| of(row) && row.plan.load == load && row.method == HeadroomMethod::Measured);
        writeln!(text, "| {first} | {} | {measured} | {fixed} | {most} % |", load.text()).expect("a string grows");
    }
}

const METHODS: [HeadroomMethod; 2] = [HeadroomMethod::Measured, HeadroomMethod::Fixed];

fn head(first: &str) -> String {
    let columns = "load | Measured: kills | peak of limit | Fixed: kills | peak of limit | most of maxmemory";
    format!("\n| {first} | {columns} |\n|---|---|---|---|---|---|---|\n")
}
