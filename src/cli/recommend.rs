//! `recommend`: the memory of a Redis → redis.conf, resources and what the node must have, with the arithmetic.

use std::{collections::BTreeMap, process::ExitCode};

use serde::Serialize;

use super::{
    Format,
    check::COULD_NOT_LOOK,
    layout::{line, paragraph},
    lint::{MethodArgs, RuleArgs, amount, purpose},
    output, yaml,
};
use crate::{
    domain::{bytes::Bytes, names, purpose::Purpose, quantity},
    lint::recommend::{HUGE_PAGES, Memory, Persistence, Recommendation, Wish, recommend},
};

/// Arguments of `recommend`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is recommended passes lint and the operator's own judgement. Exit code: 0 shown, 3 nothing fits."
)]
pub(super) struct Args {
    /// What one pod may take: the memory limit of its container, for example 8Gi.
    #[arg(long, value_name = "QUANTITY", value_parser = amount, required_unless_present = "node", conflicts_with = "node")]
    memory: Option<Bytes>,
    /// Instead: the memory of a node that holds one Redis; what the system needs is left to it.
    #[arg(long, value_name = "QUANTITY", value_parser = amount)]
    node: Option<Bytes>,
    /// Replicas beside the primary.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    replicas: u32,
    /// How the data is kept. Default: of a cache not at all, of a session by save points, of anything else by an AOF.
    #[arg(long, value_enum)]
    persistence: Option<Kept>,
    /// What the data is for: cache, session, store or queue.
    #[arg(long, value_name = "PURPOSE", value_parser = purpose)]
    purpose: Purpose,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    method: MethodArgs,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How the data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kept {
    /// Not at all.
    None,
    /// By save points.
    Rdb,
    /// By an append-only file.
    Aof,
}

impl Args {
    fn wish(&self) -> Wish {
        let memory = self.memory.map(Memory::Container).or_else(|| self.node.map(Memory::Node));
        Wish {
            // One of both is required.
            memory: memory.unwrap_or(Memory::Container(Bytes::ZERO)),
            replicas: self.replicas,
            persistence: match (self.persistence, self.purpose) {
                (Some(Kept::None), _) | (None, Purpose::Cache) => Persistence::None,
                (Some(Kept::Rdb), _) | (None, Purpose::Session) => Persistence::Rdb,
                (Some(Kept::Aof), _) | (None, Purpose::Store | Purpose::Queue) => Persistence::Aof,
            },
            purpose: self.purpose,
            headroom: self.method.headroom(&self.rule),
        }
    }
}

/// Works it out and prints it.
pub(super) fn main(args: &Args) -> ExitCode {
    let made = match recommend(&args.wish()) {
        Ok(made) => made,
        Err(error) => return output::failure(&error.to_string(), COULD_NOT_LOOK),
    };
    let text = match args.output {
        Format::Text => Ok(text(&made)),
        Format::Json => {
            serde_json::to_string_pretty(&Shown::of(&made)).map(|text| text + "\n").map_err(|e| e.to_string())
        }
        Format::Yaml => yaml::to_string(&Shown::of(&made)).map_err(|error| error.to_string()),
    };
    let printed = text.and_then(|text| output::answer(&text).map_err(|error| error.to_string()));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::failure(&format!("cannot write: {error}"), COULD_NOT_LOOK),
    }
}

fn text(made: &Recommendation) -> String {
    let mut out = String::new();
    let each = if made.servers > 1 { format!("{} servers of ", made.servers) } else { String::new() };
    let pods = names::pods(made.pods);
    line(&mut out, &format!("{each}{pods}; each has"));
    line(&mut out, "");
    line(&mut out, "redis.conf");
    made.redis_conf.iter().for_each(|setting| line(&mut out, &format!("  {setting}")));
    line(&mut out, "resources");
    let amount = quantity::format(made.limit);
    line(&mut out, &format!("  requests: memory {amount}"));
    line(&mut out, &format!("  limits:   memory {amount}"));
    line(&mut out, "node");
    line(&mut out, &format!("  memory {}, of it for the system {}", made.node, made.reserve));
    for (name, value, why) in &made.sysctls {
        paragraph(&mut out, &format!("  {name} = {value}: "), "    ", why);
    }
    paragraph(
        &mut out,
        &format!("  {HUGE_PAGES} = never: "),
        "    ",
        "with huge pages a fork copies 2 MiB for each small write",
    );
    line(&mut out, "arithmetic");
    made.arithmetic.iter().for_each(|step| paragraph(&mut out, "  ", "    ", step));
    line(&mut out, "notes");
    made.notes.iter().for_each(|note| paragraph(&mut out, "  ", "    ", note));
    out
}

/// For programs. The names are stable.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    servers: u64,
    pods_per_server: u64,
    maxmemory_bytes: u64,
    redis_conf: String,
    resources: Resources,
    node: Node,
    arithmetic: Vec<String>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Resources {
    requests: BTreeMap<&'static str, String>,
    limits: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    memory_bytes: u64,
    reserve_bytes: u64,
    sysctls: BTreeMap<&'static str, String>,
    transparent_huge_pages: &'static str,
}

impl Shown {
    fn of(made: &Recommendation) -> Self {
        let amount = BTreeMap::from([("memory", quantity::format(made.limit))]);
        Self {
            servers: made.servers,
            pods_per_server: made.pods,
            maxmemory_bytes: made.maxmemory.0,
            redis_conf: made.redis_conf.join("\n") + "\n",
            resources: Resources { requests: amount.clone(), limits: amount },
            node: Node {
                memory_bytes: made.node.0,
                reserve_bytes: made.reserve.0,
                sysctls: made.sysctls.iter().map(|(name, value, _)| (*name, value.clone())).collect(),
                transparent_huge_pages: "never",
            },
            arithmetic: made.arithmetic.clone(),
            notes: made.notes.clone(),
        }
    }
}
