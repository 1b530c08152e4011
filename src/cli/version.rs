//! `version`: of this program, of the API server, of the definition that is installed, and of the operator.

use std::{collections::BTreeSet, process::ExitCode};

use k8s_openapi::{
    api::apps::v1::Deployment, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::ResourceExt as _;
use serde::Serialize;

use super::{
    Format,
    check::COULD_NOT_LOOK,
    cluster::{self, CannotAsk, Cluster, ClusterArgs},
    layout::{self, line},
    list, output,
};
use crate::{
    api::v1alpha1,
    kube_io::{error::KubeError, version},
};

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The operator is found by what the policies' status names, so where no policy is evaluated none is shown.

Exit code: 0 shown, 3 the cluster could not be asked (what is known is shown all the same)."
)]
pub(super) struct Args {
    /// Only this program's: ask no cluster.
    #[arg(long, conflicts_with_all = cluster::FLAGS)]
    client: bool,
    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Everything that is said. The names are stable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    /// This program.
    client: String,
    /// The API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<Definition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operators: Vec<Operator>,
}

/// The definition in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    /// Versions of the resource that are served; none: the definition is not installed.
    served: Vec<String>,
    /// Whether its schema is the one that this program was built with.
    same_as_client: bool,
}

/// An install of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Operator {
    /// Namespace and name.
    install: String,
    /// By its label app.kubernetes.io/version, else its image; absent: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Replicas that are ready, and wanted.
    ready: i32,
    wanted: i32,
}

/// Looks and prints.
pub(super) fn main(args: &Args) -> ExitCode {
    let mut found = Versions { client: env!("CARGO_PKG_VERSION").to_owned(), ..Versions::default() };
    let problems =
        if args.client { Vec::new() } else { cluster::ask(look(args, &mut found)).unwrap_or_else(|error| vec![error]) };
    let text = match args.output {
        Format::Text => Ok(text(&found)),
        Format::Json => list::json(&found),
        Format::Yaml => list::yaml(&found),
    };
    let printed = text.and_then(|text| output::answer(&text).map_err(|error| error.to_string()));
    for problem in &problems {
        output::complain(&format!("cannot say everything: {problem}"));
    }
    match printed {
        Ok(()) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(COULD_NOT_LOOK),
        Err(error) => output::failure(&format!("the answer cannot be written: {error}"), COULD_NOT_LOOK),
    }
}

/// Each thing by itself: what a person may not read keeps nothing else from being said. `Err`: nobody is there to be asked.
async fn look(args: &Args, found: &mut Versions) -> Result<Vec<CannotAsk>, CannotAsk> {
    let cluster = args.cluster.connect().await?;
    found.server = Some(version::server(&cluster.client).await?);
    let mut problems = Vec::new();
    match definition(&cluster).await {
        Ok(definition) => found.definition = Some(definition),
        Err(error) => problems.push(error.into()),
    }
    if found.definition.as_ref().is_none_or(|definition| !definition.served.is_empty()) {
        match operators(&cluster).await {
            Ok(operators) => found.operators = operators,
            Err(error) => problems.push(error.into()),
        }
    }
    Ok(problems)
}

async fn definition(cluster: &Cluster) -> Result<Definition, KubeError> {
    let ours = v1alpha1::crd();
    let there = version::definition(&cluster.client, &ours.name_any()).await?;
    Ok(there.map_or(Definition { served: Vec::new(), same_as_client: false }, |there| compared(&ours, &there)))
}

/// What is served, and whether it is what this program was built with. Of the schemas: what else differs is the cluster's own.
fn compared(ours: &CustomResourceDefinition, there: &CustomResourceDefinition) -> Definition {
    let served = there.spec.versions.iter().filter(|version| version.served).map(|version| version.name.clone());
    let schemas = |crd: &CustomResourceDefinition| {
        let each = crd.spec.versions.iter().map(|version| (version.name.clone(), version.schema.clone()));
        each.collect::<Vec<_>>()
    };
    Definition { served: served.collect(), same_as_client: schemas(ours) == schemas(there) }
}

/// The installs that policies name, of every namespace where that may be read, else of the one that is meant.
async fn operators(cluster: &Cluster) -> Result<Vec<Operator>, KubeError> {
    let listed = match cluster.policies(true).list().await {
        Err(error) if error.is_forbidden() => cluster.policies(false).list().await,
        listed => listed,
    };
    let (policies, _) = listed?;
    let installs: BTreeSet<String> =
        policies.into_iter().filter_map(|policy| policy.status.and_then(|status| status.operator)).collect();
    let mut operators = Vec::new();
    for install in installs {
        let Some((namespace, name)) = install.split_once('/') else { continue };
        let deployment = version::deployment(&cluster.client, namespace, name).await?;
        operators.push(operator(install.clone(), deployment.as_ref()));
    }
    Ok(operators)
}

fn operator(install: String, deployment: Option<&Deployment>) -> Operator {
    let labelled = deployment.and_then(|it| it.labels().get("app.kubernetes.io/version").cloned());
    let spec = deployment.and_then(|it| it.spec.as_ref());
    let container = spec.and_then(|spec| spec.template.spec.as_ref()?.containers.first());
    let image = container.and_then(|container| container.image.clone());
    let ready = deployment.and_then(|it| it.status.as_ref()?.ready_replicas).unwrap_or_default();
    let wanted = spec.map_or(0, |spec| spec.replicas.unwrap_or(1));
    Operator { install, version: labelled.or(image), ready, wanted }
}

fn text(found: &Versions) -> String {
    let mut rows = vec![vec!["client".to_owned(), found.client.clone()]];
    rows.extend(found.server.iter().map(|server| vec!["server".to_owned(), format!("Kubernetes {server}")]));
    rows.extend(found.definition.iter().map(|Definition { served, same_as_client }| {
        let said = match (served.as_slice(), same_as_client) {
            ([], _) => "not installed: redis-memory-operator crd | kubectl apply --server-side -f -".to_owned(),
            (served, true) => format!("{}, the same as the client's", served.join(", ")),
            (served, false) => {
                format!("{}, another than the client's: use the client of the operator's version", served.join(", "))
            }
        };
        vec!["definition".to_owned(), said]
    }));
    rows.extend(found.operators.iter().map(|Operator { install, version, ready, wanted }| {
        let version = version.as_deref().unwrap_or("not known");
        vec!["operator".to_owned(), format!("{version}, Deployment {install}, {ready} of {wanted} ready")]
    }));
    let mut out = String::new();
    layout::table(&mut out, &rows);
    if found.server.is_some() && found.operators.is_empty() {
        line(&mut out, "no policy was evaluated by an operator");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_compared_by_its_schemas() {
        let ours = v1alpha1::crd();
        let mut there = ours.clone();
        there.metadata.resource_version = Some("7".into());
        let same = Definition { served: vec!["v1alpha1".into()], same_as_client: true };
        assert_eq!(compared(&ours, &there), same);
        let schema = there.spec.versions[0].schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        schema.unwrap().description = Some("another".into());
        assert!(!compared(&ours, &there).same_as_client);
    }
}
