//! Which method hands the role over, and why.
//!
//! Versions do not decide: `CLIENT PAUSE … WRITE` and `FAILOVER` came with the same 6.2, the oldest that is acted on.

use crate::domain::{
    acl,
    names::PodName,
    snapshot::RedisRights,
    switchover::{SwitchoverChoice, SwitchoverMethod},
};

/// The method, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The method.
    pub method: SwitchoverMethod,
    /// One sentence.
    pub why: String,
}

/// Chooses for the members of that name. What is not known to be missing is taken as there: whether it was asked is
/// another gate's question.
pub fn choose<'a>(
    choice: SwitchoverChoice,
    rights: &RedisRights,
    members: impl IntoIterator<Item = &'a PodName>,
) -> Chosen {
    if let SwitchoverChoice::Only(method) = choice {
        let why = format!("--switchover says {}", method.as_str().to_lowercase());
        return Chosen { method, why };
    }
    let members: Vec<&PodName> = members.into_iter().collect();
    match lacking(rights, &members, SwitchoverMethod::Guarded) {
        None => Chosen {
            method: SwitchoverMethod::Guarded,
            why: "every member allows CLIENT PAUSE, which holds writes back for milliseconds".to_owned(),
        },
        Some((pod, _)) if lacking(rights, &members, SwitchoverMethod::Native).is_some() => Chosen {
            method: SwitchoverMethod::Guarded,
            why: format!("the Redis user of {pod} may run the commands of neither method"),
        },
        Some((pod, command)) => Chosen {
            method: SwitchoverMethod::Native,
            why: format!("the Redis user may not run {command} on {pod}, which the Guarded method needs"),
        },
    }
}

/// The first member that forbids a command which only that method sends.
fn lacking<'a>(
    rights: &'a RedisRights,
    members: &[&PodName],
    method: SwitchoverMethod,
) -> Option<(&'a PodName, &'a str)> {
    let RedisRights::Known(missing) = rights else { return None };
    missing.iter().filter(|(pod, _)| members.contains(&pod)).find_map(|(pod, commands)| {
        let own = commands.iter().find(|command| acl::is_own_of(command, method))?;
        Some((pod, own.as_str()))
    })
}

/// What a plan says of the method before the rights are asked.
pub const fn announced(choice: SwitchoverChoice) -> &'static str {
    match choice {
        SwitchoverChoice::Auto => "method Guarded if the Redis user may run CLIENT PAUSE, else Native",
        SwitchoverChoice::Only(SwitchoverMethod::Guarded) => "method Guarded, as --switchover says",
        SwitchoverChoice::Only(SwitchoverMethod::Native) => "method Native, as --switchover says",
        SwitchoverChoice::Only(SwitchoverMethod::Sentinel) => "by a Sentinel",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::pod_name;
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    use SwitchoverMethod::{Guarded, Native};

    #[rstest]
    #[case::nothing_is_missing(SwitchoverChoice::Auto, &[], Guarded)]
    #[case::no_pause(SwitchoverChoice::Auto, &["client|pause"], Native)]
    #[case::no_unpause(SwitchoverChoice::Auto, &["client|unpause"], Native)]
    #[case::no_failover(SwitchoverChoice::Auto, &["failover"], Guarded)]
    #[case::neither(SwitchoverChoice::Auto, &["failover", "client|pause"], Guarded)]
    #[case::common_to_both(SwitchoverChoice::Auto, &["config|set", "replicaof"], Guarded)]
    #[case::told(SwitchoverChoice::Only(Native), &[], Native)]
    #[case::told_whatever_is_missing(SwitchoverChoice::Only(Guarded), &["client|pause"], Guarded)]
    fn rights_choose_unless_told(
        #[case] choice: SwitchoverChoice,
        #[case] missing: &[&str],
        #[case] method: SwitchoverMethod,
    ) {
        let missing = missing.iter().map(|&command| command.to_owned()).collect();
        let rights = RedisRights::Known(vec![(pod_name(0), Vec::new()), (pod_name(1), missing)]);
        let chosen = choose(choice, &rights, &[pod_name(0), pod_name(1)]);
        assert_eq!(chosen.method, method, "{}", chosen.why);
        assert!(chosen.why.len() > 10);
    }

    #[test]
    fn a_pod_of_another_workload_has_no_say() {
        let rights = RedisRights::Known(vec![(pod_name(7), vec!["client|pause".to_owned()])]);
        assert_eq!(choose(SwitchoverChoice::Auto, &rights, &[pod_name(0)]).method, Guarded);
    }

    #[test]
    fn the_reason_names_pod_and_command() {
        let rights = RedisRights::Known(vec![(pod_name(2), vec!["client|unpause".to_owned()])]);
        let why = choose(SwitchoverChoice::Auto, &rights, &[pod_name(2)]).why;
        assert!(why.contains("redis-2") && why.contains("client|unpause"), "{why}");
    }
}
