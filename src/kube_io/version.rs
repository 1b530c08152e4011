//! What runs in a cluster, for people: the API server, the definition of the resource, and installs of the operator.

use k8s_openapi::{
    api::apps::v1::Deployment, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client};

use super::{
    error::{KubeError, within},
    read::READ_TIMEOUT,
};

/// The version of the API server, for example "v1.35.0".
pub async fn server(client: &Client) -> Result<String, KubeError> {
    let answer = within(READ_TIMEOUT, client.apiserver_version()).await;
    answer.map(|info| info.git_version).map_err(KubeError::GetVersion)
}

/// The definition of that name; `None`: it is not there.
pub async fn definition(client: &Client, name: &str) -> Result<Option<CustomResourceDefinition>, KubeError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    within(READ_TIMEOUT, api.get_opt(name)).await.map_err(KubeError::GetDefinition)
}

/// A Deployment; `None`: it is not there.
pub async fn deployment(client: &Client, namespace: &str, name: &str) -> Result<Option<Deployment>, KubeError> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    within(READ_TIMEOUT, api.get_opt(name)).await.map_err(KubeError::GetOwner)
}
