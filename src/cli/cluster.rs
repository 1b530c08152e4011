//! Which cluster and which namespace a verb is about.

use kube::Client;

use crate::kube_io::{
    client::{ClientOptions, client_of_context},
    error::KubeError,
    policies::Policies,
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

impl Cluster {
    /// The policies of the namespace that is meant, or of all.
    pub(super) fn policies(&self, all_namespaces: bool) -> Policies {
        Policies::new(self.client.clone(), (!all_namespaces).then_some(self.namespace.as_str()))
    }
}
