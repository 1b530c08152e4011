//! `ack-writer`: a client that writes to a Redis through one address, remembers every write that was acknowledged,
//! and at the end reads all of them back. The cluster tests run it in a pod to show that no acknowledged write is lost.
//!
//! `run` writes until told to stop; `status`, `mark`, `check` and `stop` talk to it from the same container (`kubectl exec`).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program of the tests")]
#![allow(clippy::disallowed_methods, reason = "it measures real time; its bookkeeping takes time as an argument")]

mod check;
mod control;
mod gaps;
mod ledger;
mod report;
mod resp;
mod way;
mod writer;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

/// Writes to a Redis, records every acknowledgement, and reads all of them back at the end.
#[derive(Debug, Parser)]
#[command(name = "ack-writer")]
struct Cli {
    /// Where the control socket and the record of acknowledgements are.
    #[arg(long, global = true, default_value = "/data")]
    dir: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write, one acknowledged write after another, until `stop`.
    Run {
        /// Host and port of the Service that leads to the primary. Resolved once, at the start.
        #[arg(long)]
        address: String,
        /// The address is that of Sentinels, which are asked before each connection where the primary of that name is.
        #[arg(long)]
        sentinel_master: Option<String>,
        /// The password of the servers, and of the Sentinels.
        #[arg(long)]
        password: Option<String>,
        /// At most so many writes a second.
        #[arg(long, default_value_t = 800)]
        rate: u32,
        /// Write so many keys again and again, so that memory does not grow; 0: each write has its own key.
        #[arg(long, default_value_t = 0)]
        keys: u64,
        /// A reply that takes longer is given up; the fate of its write is then unknown.
        #[arg(long, default_value_t = 3000)]
        timeout_ms: u64,
        /// A connection that takes longer is given up.
        #[arg(long, default_value_t = 250)]
        connect_timeout_ms: u64,
    },
    /// Print the numbers so far, without stopping.
    Status,
    /// Close the present window of the gap statistics, print it, and open the next one.
    Mark,
    /// Read every write that is acknowledged by now back from the present primary, without stopping.
    Check,
    /// Stop writing, read every acknowledged write back from the present primary, print the result.
    /// Exit code, of `check` too: 0 nothing lost, 2 something lost, 3 it could not be read back.
    Stop,
}

fn main() -> ExitCode {
    let Cli { dir, verb } = Cli::parse();
    let answer = match verb {
        Verb::Run { address, sentinel_master, password, rate, keys, timeout_ms, connect_timeout_ms } => {
            let settings = writer::Settings {
                way: way::Way { address, sentinel_master, password },
                keys: if keys == 0 { check::Keys::Own } else { check::Keys::Cycle(keys) },
                interval: Duration::from_secs(1) / rate.max(1),
                reply_timeout: Duration::from_millis(timeout_ms.max(1)),
                connect_timeout: Duration::from_millis(connect_timeout_ms.max(1)),
                dir,
            };
            return match writer::run(&settings) {
                Ok(never) => match never {},
                Err(error) => fail(&error),
            };
        }
        Verb::Status => control::ask(&dir, "status"),
        Verb::Mark => control::ask(&dir, "mark"),
        Verb::Check => control::ask(&dir, "check"),
        Verb::Stop => control::ask(&dir, "stop"),
    };
    match answer {
        Ok(line) => {
            println!("{line}");
            ExitCode::from(report::exit_code(&line))
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("ack-writer: {error}");
    ExitCode::from(3)
}
