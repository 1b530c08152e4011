//! How the primary role is handed over: the methods, who chooses, and which commands each needs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::acl;

/// How the primary role is handed over. docs/adr/0007-two-switchover-methods.md weighs the first two, and
/// docs/adr/0019-the-exchange-under-sentinel.md has the third.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SwitchoverMethod {
    /// `CLIENT PAUSE … WRITE`, offsets equal, demote, promote, `CLIENT UNPAUSE`: the operator drives it.
    Guarded,
    /// `FAILOVER TO … TIMEOUT`: the server drives it.
    Native,
    /// `SENTINEL FAILOVER` under a pause of writes, or `COORDINATED` where that is known: a Sentinel drives it, and chooses
    /// who takes over.
    Sentinel,
}

/// `--switchover`: who chooses the method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SwitchoverChoice {
    /// Guarded where the Redis users may run its commands, else Native. Under Sentinel there is no choice.
    #[default]
    Auto,
    /// This one, whatever is allowed: what it needs and is missing is a refusal.
    Only(SwitchoverMethod),
}

impl SwitchoverMethod {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Guarded, Self::Native, Self::Sentinel];

    /// The name as it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guarded => "Guarded",
            Self::Native => "Native",
            Self::Sentinel => "Sentinel",
        }
    }

    /// Of the missing commands, in the words of ACL rules, those that are in the way of this method.
    pub fn in_the_way(self, missing: &[String]) -> Vec<&str> {
        let words = missing.iter().map(String::as_str);
        let needed = words.filter(|command| !acl::is_courtesy(command));
        needed.filter(|command| acl::methods_of(command).is_none_or(|methods| methods.contains(&self))).collect()
    }
}

/// Of the missing commands those that are in the way by whichever method we move a role: one method may be closed.
pub fn in_every_way(missing: &[String]) -> Vec<&str> {
    let open = [SwitchoverMethod::Guarded, SwitchoverMethod::Native]
        .into_iter()
        .find(|method| !missing.iter().any(|command| acl::is_own_of(command, *method)));
    if let Some(method) = open {
        return method.in_the_way(missing);
    }
    let both = missing.iter().map(String::as_str).filter(|command| !acl::is_courtesy(command));
    both.filter(|command| acl::methods_of(command) != Some(&[SwitchoverMethod::Sentinel])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    #[rstest]
    #[case(SwitchoverMethod::Guarded, &["failover"], &[])]
    #[case(SwitchoverMethod::Guarded, &["client|pause", "failover", "config|set"], &["client|pause", "config|set"])]
    #[case(SwitchoverMethod::Native, &["client|pause", "client|unpause"], &[])]
    #[case(SwitchoverMethod::Native, &["failover", "replicaof"], &["failover", "replicaof"])]
    #[case(SwitchoverMethod::Native, &["client|kill"], &[])]
    #[case(SwitchoverMethod::Guarded, &["client|kill"], &[])]
    #[case(SwitchoverMethod::Guarded, &["config|rewrite"], &[])]
    #[case(SwitchoverMethod::Sentinel, &["config|rewrite", "client|pause", "failover"], &["config|rewrite", "client|pause"])]
    fn a_command_of_the_other_method_is_not_in_the_way(
        #[case] method: SwitchoverMethod,
        #[case] missing: &[&str],
        #[case] in_the_way: &[&str],
    ) {
        let missing: Vec<String> = missing.iter().map(|&command| command.to_owned()).collect();
        assert_eq!(method.in_the_way(&missing), in_the_way);
    }

    #[rstest]
    #[case(&["client|pause"], &[])]
    #[case(&["failover", "config|set"], &["config|set"])]
    #[case(&["failover", "client|pause"], &["failover", "client|pause"])]
    #[case(&["failover", "client|pause", "client|kill"], &["failover", "client|pause"])]
    #[case(&["failover", "client|pause", "config|rewrite"], &["failover", "client|pause"])]
    #[case(&["config|rewrite"], &[])]
    fn one_closed_method_is_no_finding(#[case] missing: &[&str], #[case] found: &[&str]) {
        let missing: Vec<String> = missing.iter().map(|&command| command.to_owned()).collect();
        assert_eq!(in_every_way(&missing), found);
    }
}
