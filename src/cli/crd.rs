//! `crd`.

use std::process::ExitCode;

/// Arguments of `crd`.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn main(_args: &Args) -> ExitCode {
    ExitCode::SUCCESS
}
