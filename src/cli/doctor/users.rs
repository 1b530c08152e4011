//! The Redis users that a set's policy wants instead of the default one, as the commands that make them. Pure.

use super::{
    Fit,
    found::RedisSet,
    policy::{self, Reach},
};
use crate::{
    cli::{
        acl::{self as commands, ACTOR, OBSERVER},
        layout::{line, paragraph},
    },
    domain::{
        acl::{self, DRYRUN_SINCE, Role},
        recognition::Shape,
        sample::Version,
        switchover::SwitchoverMethod as Method,
    },
};

/// Arguments by which a server is given users or a password.
const GIVES: &[&str] = &["--aclfile", "--user", "--requirepass"];

/// Whether the servers of that set want a login: a password is seen, in what Kubernetes shows or by what a server answered.
pub(super) fn are_used(set: &RedisSet, fit: &Fit) -> bool {
    let told = set.members.iter().any(|member| {
        let container = &member.container;
        let mut words = container.command.iter().chain(&container.args).flatten().flat_map(|it| it.split_whitespace());
        words.any(|word| GIVES.contains(&word))
    });
    told || fit.looked.wants_login || fit.access.redis.password_secret.is_some()
}

/// The commands, each in one line, to be copied.
pub(super) fn text(out: &mut String, set: &RedisSet, fit: &Fit) {
    let Fit { shape, looked, .. } = fit;
    // The words for 7.0 are understood by 6.2 too.
    let version = looked.oldest.unwrap_or(DRYRUN_SINCE);
    let mut users =
        vec![("to look (mode Observe), on every server", OBSERVER, acl::rules(Role::Observe, &[], version))];
    if let Some(methods) = methods(policy::reach(set, *shape), *shape) {
        users.push(("to act (mode Enforce), instead of that one", ACTOR, acl::rules(Role::Act, methods, version)));
    }
    if *shape == Shape::Sentinel {
        let to = "on every Sentinel that has users or a password; its name goes into spec.redis.sentinel.username";
        users.push((to, OBSERVER, acl::sentinel_rules()));
    }
    line(out, "");
    paragraph(
        out,
        "",
        "",
        "Users for it that may do this and no more. Write a password for PASSWORD: it goes into a Secret of its own for \
         spec.redis.passwordSecret, the name into spec.redis.username. ACL SAVE keeps a user where there is an aclfile; else its \
         line belongs into the configuration (`kubectl redis-memory acl --file` prints that form):",
    );
    for (to, name, rules) in users {
        line(out, "");
        line(out, &format!("  # {to}"));
        line(out, &format!("  {}", commands::command(name, &rules)));
    }
}

/// How the role is handed over when the set is restarted, by none: not at all; `None`: nothing is restarted, nor sent.
const fn methods(reach: Reach, shape: Shape) -> Option<&'static [Method]> {
    match (reach, shape) {
        (Reach::Resizes | Reach::Watches, _) => None,
        (Reach::Restarts, Shape::Sentinel) => Some(&[Method::Sentinel]),
        (Reach::Restarts, Shape::Standalone | Shape::FixedPrimary | Shape::PinnedPod) => Some(&[]),
        // Auto takes the Guarded one where its commands are allowed.
        (Reach::Restarts, Shape::RoleLabel | Shape::Untold | Shape::Cluster | Shape::Other) => Some(&[Method::Guarded]),
    }
}

/// The oldest of these versions: what it does not know no line may hold.
pub(super) fn oldest(versions: impl Iterator<Item = Version>) -> Option<Version> {
    versions.filter(|version| *version != Version::UNKNOWN).min()
}
