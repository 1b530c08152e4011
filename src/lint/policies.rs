//! The RedisMemoryPolicy manifests of the input: which of them judges a server.

use kube::core::{Selector, SelectorExt as _};

use super::{Problem, Report, Rule, documents::Object, lines::Step, server::Server, value};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    assess::headroom::Demand,
    domain::{bytes::Bytes, policy::Policy},
    validate::validate,
};

/// The policies of the input.
pub(super) struct Policies(Vec<Selecting>);

/// A policy, and the pods that it selects.
pub(super) struct Selecting {
    pub(super) policy: Policy,
    /// It says in which namespace it is.
    namespaced: bool,
    selector: Selector,
}

impl Selecting {
    /// The rule that it is for its pods.
    pub(super) fn rule(&self) -> Rule {
        Rule { headroom: self.policy.headroom.clone(), purpose: self.policy.purpose }
    }

    fn selects(&self, server: &Server) -> bool {
        // What has no namespace is of the one in which it is applied.
        let same =
            server.namespace.as_ref().is_none_or(|namespace| !self.namespaced || *namespace == self.policy.namespace);
        same && server.labels.as_ref().is_some_and(|labels| self.selector.matches(labels))
    }
}

impl Policies {
    /// Those of the input; one that is not valid is a problem.
    pub(super) fn of(objects: &[Object<'_>], report: &mut Report) -> Self {
        let own =
            objects.iter().filter(|object| object.kind() == "RedisMemoryPolicy" && object.group() == "redismemory.io");
        let mut found = Vec::new();
        for object in own {
            match read(object) {
                Ok(selecting) => found.push(selecting),
                Err(problems) => report.problems.extend(problems),
            }
        }
        Self(found)
    }

    /// The policy that judges that server: of several that select it, the one that wants the most.
    pub(super) fn of_server(&self, server: &Server) -> Option<&Selecting> {
        let wants = |selecting: &&Selecting| Demand::assumed(&selecting.policy.headroom).exactly(Bytes::mib(1024));
        self.0.iter().filter(|selecting| selecting.selects(server)).max_by_key(wants)
    }
}

fn read(object: &Object<'_>) -> Result<Selecting, Vec<Problem>> {
    let title = object.title();
    let one = |text: String| vec![object.problem(&[], format!("{title}: {text}"))];
    let resource: RedisMemoryPolicy =
        serde_json::from_value(object.value.clone()).map_err(|error| one(error.to_string()))?;
    let policy = validate(&resource).map_err(|invalid| {
        let said = invalid.into_iter().map(|it| {
            let path: Vec<Step<'_>> = value::steps(&it.field).collect();
            object.problem(&path, format!("{title}: {it}"))
        });
        said.collect::<Vec<_>>()
    })?;
    let selector =
        Selector::try_from(resource.spec.selector).map_err(|error| one(format!("spec.selector: {error}")))?;
    Ok(Selecting { policy, namespaced: object.namespace().is_some(), selector })
}
