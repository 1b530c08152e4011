//! `check`.

use std::process::ExitCode;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_args: &Args) -> ExitCode {
    ExitCode::SUCCESS
}
