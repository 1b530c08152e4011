//! `doctor` beside a deployment, and what a person does with the policy that it prints.

use super::support::{client, space::Space};

/// What it said.
#[derive(Debug)]
pub(crate) struct Told {
    /// For people.
    pub(crate) text: String,
    /// The policy, as it is printed.
    pub(crate) policy: String,
}

/// Runs it in the cluster's network, so that it can ask the servers.
pub(crate) fn ask(space: &Space) -> Told {
    let said = |more: &[&str]| {
        let mut command = client::script("tests/cluster/in-netns");
        command.arg(env!("CARGO_BIN_EXE_redis-memory-operator"));
        command.args(["doctor", "--namespace", &space.name, "--read-secrets"]).args(more);
        client::run(command).or_panic("doctor")
    };
    let (text, policies) = (said(&[]), said(&["--output", "yaml"]));
    let documents: Vec<&str> = policies.split("---\n").filter(|document| !document.trim().is_empty()).collect();
    let [policy] = documents.as_slice() else { panic!("not one policy:\n{policies}\n{text}") };
    Told { text, policy: (*policy).to_owned() }
}

/// The policy with mode Enforce, and with these consents, which it names in comments.
pub(crate) fn consented(policy: &str, consents: &[&str]) -> String {
    let mut policy = switched(policy, "  mode: Observe\n", "  mode: Enforce\n");
    if !consents.is_empty() {
        policy = switched(&policy, "  # restart:\n", "  restart:\n");
    }
    for consent in consents {
        policy = switched(&policy, &format!("  #   {consent}\n"), &format!("    {consent}\n"));
    }
    policy
}

fn switched(policy: &str, from: &str, to: &str) -> String {
    assert_eq!(policy.matches(from).count(), 1, "the policy has not one line {from:?}:\n{policy}");
    policy.replacen(from, to, 1)
}

/// The name in its metadata.
pub(crate) fn name_of(policy: &str) -> String {
    let document: serde_yaml::Value = serde_yaml::from_str(policy).unwrap();
    document["metadata"]["name"].as_str().unwrap_or_else(|| panic!("a policy without a name:\n{policy}")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
metadata:
  name: cart
spec:
  mode: Observe
  # restart:
  #   # Restarts only then. Cost: what is due waits for it.
  #   windows: [{schedule: \"0 3 * * SUN\"}]
  #   # The primary is restarted in place.
  #   allowDowntime: true
";

    #[test]
    fn only_what_is_consented_to_is_switched_on() {
        let policy: serde_yaml::Value = serde_yaml::from_str(&consented(PRINTED, &["allowDowntime: true"])).unwrap();
        assert_eq!(policy["spec"]["mode"], "Enforce");
        assert_eq!(policy["spec"]["restart"]["allowDowntime"], true);
        assert!(policy["spec"]["restart"]["windows"].is_null());
        let without: serde_yaml::Value = serde_yaml::from_str(&consented(PRINTED, &[])).unwrap();
        assert!(without["spec"]["restart"].is_null());
        assert_eq!(name_of(PRINTED), "cart");
    }

    #[test]
    #[should_panic(expected = "has not one line")]
    fn a_consent_that_is_not_offered_is_no_consent() {
        consented(PRINTED, &["minimumSyncedReplicas: 0"]);
    }
}
