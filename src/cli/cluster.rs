//! Which cluster and which namespace a verb is about.

use std::io;

use kube::{Client, ResourceExt as _};
use tokio::runtime::{Builder, Runtime};

use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    kube_io::{
        client::{ClientOptions, client_of_context},
        error::KubeError,
        policies::Policies,
    },
};

/// Where to look. As for kubectl: KUBECONFIG, else `~/.kube/config`, else the pod's service account.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// The namespace. Default: the one of the kubeconfig's context.
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// The context of the kubeconfig. Default: the current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) client: Client,
    /// The namespace that is meant.
    pub(super) namespace: String,
}

impl ClusterArgs {
    /// The client, and the namespace that is meant.
    pub(super) async fn connect(&self) -> Result<Cluster, KubeError> {
        let (client, usual) = client_of_context(self.context.as_deref(), &ClientOptions::default()).await?;
        Ok(Cluster { client, namespace: self.namespace.clone().unwrap_or(usual) })
    }
}

/// No policy has that name.
#[derive(Debug, thiserror::Error)]
#[error("there is no RedisMemoryPolicy {name} in namespace {namespace} (another namespace: -n)")]
pub(super) struct NoSuchPolicy {
    name: String,
    namespace: String,
}

/// What a verb that asks a cluster runs in.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

impl Cluster {
    /// The policy of that name among those of the namespace.
    pub(super) fn named<'a>(
        &self,
        policies: &'a [RedisMemoryPolicy],
        name: &str,
    ) -> Result<&'a RedisMemoryPolicy, NoSuchPolicy> {
        let found = policies.iter().find(|policy| policy.name_any() == name);
        found.ok_or_else(|| NoSuchPolicy { name: name.to_owned(), namespace: self.namespace.clone() })
    }

    /// The policies of the namespace that is meant, or of all.
    pub(super) fn policies(&self, all_namespaces: bool) -> Policies {
        Policies::new(self.client.clone(), (!all_namespaces).then_some(self.namespace.as_str()))
    }
}
