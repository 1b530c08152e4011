//! What a new user types, in this order. docs/getting-started.md has these commands (tests/docs/getting_started.rs compares
//! them), and tests/cluster_getting_started.rs runs them on a real cluster.

/// One command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// In one line.
    pub(crate) command: &'static str,
    /// Whether one of the commands before has printed it. The others stand on the page alone.
    pub(crate) printed: bool,
    /// What its output has: it is typed again until then, as a person does who waits.
    pub(crate) has: &'static [&'static str],
    /// What its output has no more then.
    pub(crate) lacks: &'static [&'static str],
}

/// From nothing to limits that are kept.
pub(crate) const STEPS: [Step; 9] = [
    Step {
        command: "kubectl redis-memory doctor -n shop --port-forward",
        printed: false,
        has: &["SET sessions", "3 of 3 answered", "kind: RedisMemoryPolicy"],
        lacks: &[],
    },
    Step {
        command: "helm install redis-memory-operator charts/redis-memory-operator --namespace redis-memory-operator \
                  --create-namespace --set image.registry=registry.example --set image.tag=0.1.0",
        printed: false,
        has: &["STATUS: deployed", "is installed in namespace redis-memory-operator"],
        lacks: &[],
    },
    Step {
        command: "helm test redis-memory-operator --namespace redis-memory-operator",
        printed: true,
        has: &["Succeeded"],
        lacks: &[],
    },
    Step {
        command: "kubectl redis-memory doctor -n shop --port-forward -o yaml | kubectl apply -f -",
        printed: true,
        has: &["sessions created"],
        lacks: &[],
    },
    Step {
        command: "kubectl redis-memory status -n shop",
        printed: true,
        has: &["Plan", "Observe", "3/3"],
        lacks: &[],
    },
    Step {
        command: "kubectl redis-memory status sessions -n shop",
        printed: true,
        has: &["HeadroomInsufficient", "You:"],
        lacks: &[],
    },
    Step {
        command: "helm upgrade redis-memory-operator charts/redis-memory-operator --namespace redis-memory-operator \
                  --reset-then-reuse-values --set acting.resize=true,acting.restart=true,acting.roleLabel=true",
        printed: true,
        has: &["STATUS: deployed"],
        lacks: &[],
    },
    Step {
        command: r#"kubectl patch redismemorypolicies sessions --namespace shop --type merge --patch '{"spec":{"mode":"Enforce"}}'"#,
        printed: true,
        has: &["sessions patched"],
        lacks: &[],
    },
    Step {
        command: "kubectl redis-memory status sessions -n shop",
        printed: true,
        has: &["Enforce"],
        lacks: &["HeadroomInsufficient"],
    },
];

/// The installed operator has judged the set when this one has ended.
pub(crate) const FIRST_VERDICT: usize = 4;
/// What begins the install.
pub(crate) const INSTALL: usize = 1;

/// A command in one line, however it is broken into several.
pub(crate) fn in_one_line(text: &str) -> String {
    text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}
