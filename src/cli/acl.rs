//! `acl`: the lines that give a Redis user exactly the rights that the operator uses.

use std::{fmt::Write as _, process::ExitCode};

use super::output;
use crate::domain::{
    acl::{self, Role},
    sample::Version,
    switchover::SwitchoverMethod as Method,
};

/// The name of each user unless another is given; docs and SECURITY.md use them.
pub(super) const OBSERVER: &str = "memory-observe";
pub(super) const ACTOR: &str = "memory-operator";
/// What stands where a password or its hash is to be written.
const PASSWORD: &str = ">PASSWORD";

/// Arguments of `acl`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Replace PASSWORD in the line, or better the whole word >PASSWORD by # and its SHA-256, which is all that \
                  Redis stores: printf %s \"$PASSWORD\" | sha256sum. Passwords are not taken here: others can see the \
                  command line."
)]
pub(super) struct Args {
    /// Name of the user. Default: `memory-observe`, or `memory-operator` to act.
    #[arg(long, value_parser = user, requires = "role")]
    user: Option<String>,
    /// What the user is for. Default: a line for each.
    #[arg(long, value_enum)]
    role: Option<RoleArgument>,
    /// How the primary role is handed over.
    #[arg(long, value_enum, default_value_t = Switchover::Auto)]
    switchover: Switchover,
    /// The oldest server that the line is for, for example 6.2.
    #[arg(long, value_name = "VERSION", value_parser = version, default_value = "7.0")]
    server_version: Version,
    /// Lines for redis.conf or an ACL file, instead of commands.
    #[arg(long)]
    file: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleArgument {
    /// To look.
    Observe,
    /// To look and to act.
    Act,
    /// To ask Sentinels, and to have them fail over: a line for their own users.
    Sentinel,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Switchover {
    /// By FAILOVER.
    Native,
    /// By CLIENT PAUSE and REPLICAOF.
    Guarded,
    /// By any of them, as the set asks for it.
    Auto,
    /// By the Sentinels of the set.
    Sentinel,
}

impl Switchover {
    const fn methods(self) -> &'static [Method] {
        match self {
            Self::Native => &[Method::Native],
            Self::Guarded => &[Method::Guarded],
            Self::Auto => &[Method::Native, Method::Guarded, Method::Sentinel],
            Self::Sentinel => &[Method::Sentinel],
        }
    }
}

pub(super) fn main(args: &Args) -> ExitCode {
    output::answer(&lines(args)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn lines(args: &Args) -> String {
    let rules = |role| acl::rules(role, args.switchover.methods(), args.server_version);
    let users = match args.role {
        Some(RoleArgument::Observe) => vec![(OBSERVER, rules(Role::Observe))],
        Some(RoleArgument::Act) => vec![(ACTOR, rules(Role::Act))],
        Some(RoleArgument::Sentinel) => vec![(OBSERVER, acl::sentinel_rules())],
        None => vec![(OBSERVER, rules(Role::Observe)), (ACTOR, rules(Role::Act))],
    };
    let mut lines = String::new();
    for (name, rules) in users {
        let name = args.user.as_deref().unwrap_or(name);
        let line = if args.file { format!("user {name} on {PASSWORD} {rules}") } else { command(name, &rules) };
        let _writing_to_a_string_cannot_fail = writeln!(lines, "{line}");
    }
    lines
}

/// The command that gives a user exactly these rights. One that exists is begun anew: what it could do before is gone. (A file
/// states users from nothing.)
pub(super) fn command(name: &str, rules: &str) -> String {
    format!("ACL SETUSER {name} reset on {PASSWORD} {rules}")
}

/// As `spec.redis.username` takes it.
fn user(text: &str) -> Result<String, String> {
    let printable = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if printable { Ok(text.to_owned()) } else { Err("use 1 to 128 printable characters without spaces".to_owned()) }
}

fn version(text: &str) -> Result<Version, String> {
    let mut parts = text.split('.').map(str::parse);
    let (Some(Ok(major)), minor, patch) = (parts.next(), parts.next(), parts.next()) else {
        return Err("is no version; write for example 6.2 or 7.0.15".to_owned());
    };
    match (minor.unwrap_or(Ok(0)), patch.unwrap_or(Ok(0)), parts.next()) {
        (Ok(minor), Ok(patch), None) if (major, minor) >= (6, 2) => Ok(Version { major, minor, patch }),
        (Ok(_), Ok(_), None) => Err("is older than 6.2, the oldest server that is acted on".to_owned()),
        _ => Err("is no version; write for example 6.2 or 7.0.15".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use rstest::rstest;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn printed(arguments: &[&str]) -> String {
        let line = Line::try_parse_from(["acl"].iter().chain(arguments)).unwrap_or_else(|error| panic!("{error}"));
        lines(&line.args)
    }

    #[test]
    fn a_line_for_each_user() {
        let lines = printed(&[]);
        let words: Vec<_> = lines.lines().map(|line| line.split(' ').take(6).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            words,
            ["ACL SETUSER memory-observe reset on >PASSWORD", "ACL SETUSER memory-operator reset on >PASSWORD"]
        );
    }

    #[test]
    fn a_sentinel_has_users_of_its_own() {
        let line = printed(&["--role", "sentinel"]);
        assert!(line.starts_with("ACL SETUSER memory-observe reset on >PASSWORD -@all +info "), "{line}");
        assert!(line.ends_with("+sentinel|sentinels +sentinel|failover +sentinel|reset\n"), "{line}");
    }

    #[test]
    fn security_md_has_the_lines_for_a_file() {
        let page = include_str!("../../SECURITY.md");
        for line in printed(&["--file"]).lines() {
            assert!(page.lines().any(|other| other == line), "SECURITY.md lacks: {line}");
        }
    }

    #[rstest]
    #[case("6.2", true)]
    #[case("7", true)]
    #[case("7.0.15", true)]
    #[case("6.0", false)]
    #[case("7.x", false)]
    #[case("", false)]
    #[case("1.2.3.4", false)]
    fn versions(#[case] text: &str, #[case] good: bool) {
        assert_eq!(version(text).is_ok(), good);
    }

    #[test]
    fn a_name_cannot_smuggle_rules_in() {
        for name in ["a +@all", "a\n", ""] {
            let line = Line::try_parse_from(["acl", "--role", "act", "--user", name]);
            assert!(line.is_err(), "{name:?}");
        }
    }

    #[test]
    fn one_name_is_for_one_user() {
        assert!(Line::try_parse_from(["acl", "--user", "ann"]).is_err());
    }
}
