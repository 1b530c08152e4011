//! Which cluster and which namespace a verb is about, and as whom it asks.

use std::{io, path::PathBuf};

use kube::{Client, ResourceExt as _};
use tokio::runtime::Builder;

use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    kube_io::{
        client::{Access, ClientOptions, client_of},
        error::KubeError,
        policies::{Policies, Unreadable},
    },
};

/// Where these flags stand in a help text.
const HEADING: &str = "Cluster";

/// Where to look, and as whom. As for kubectl: KUBECONFIG, else `~/.kube/config`, else the pod's service account.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// The namespace. Default: the one of the kubeconfig's context.
    #[arg(long, short, value_name = "NAMESPACE", help_heading = HEADING)]
    pub(super) namespace: Option<String>,
    /// The context of the kubeconfig. Default: the current one.
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    context: Option<String>,
    /// The kubeconfig. Default: what KUBECONFIG names, else ~/.kube/config.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    kubeconfig: Option<PathBuf>,
    /// Ask as this user, with their rights, if you may impersonate them.
    #[arg(long = "as", value_name = "USER", help_heading = HEADING)]
    as_user: Option<String>,
    /// With --as: as a member of this group. May be given several times.
    #[arg(long, value_name = "GROUP", requires = "as_user", help_heading = HEADING)]
    as_group: Vec<String>,
}

/// The flags of [`ClusterArgs`], for what asks no cluster.
pub(super) const FLAGS: [&str; 5] = ["namespace", "context", "kubeconfig", "as_user", "as_group"];

/// A cluster that can be asked.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) client: Client,
    /// The namespace that is meant.
    pub(super) namespace: String,
}

impl ClusterArgs {
    /// The client, and the namespace that is meant.
    pub(super) async fn connect(&self) -> Result<Cluster, CannotAsk> {
        let access = Access {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            user: self.as_user.clone(),
            groups: self.as_group.clone(),
        };
        let (client, usual) = client_of(&access, &ClientOptions::default()).await?;
        Ok(Cluster { client, namespace: self.namespace.clone().unwrap_or(usual) })
    }
}

/// Why a cluster does not give what a verb asks of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotAsk {
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    #[error(transparent)]
    Kubernetes(#[from] KubeError),
    #[error(
        "there is no RedisMemoryPolicy {name} in namespace {namespace}; there {}",
        if others.is_empty() { "is none at all (another namespace: -n)".to_owned() }
        else { format!("are: {} (another namespace: -n)", others.join(", ")) }
    )]
    NoSuchPolicy { name: String, namespace: String, others: Vec<String> },
    #[error("the policy {name} is not valid: {text}")]
    NotValid { name: String, text: String },
}

/// What comes of asking a cluster.
pub(super) fn ask<T, E: From<CannotAsk>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(CannotAsk::Start)?.block_on(work)
}

impl Cluster {
    /// The policy of that name among those of the namespace.
    pub(super) fn named<'a>(
        &self,
        policies: &'a [RedisMemoryPolicy],
        name: &str,
    ) -> Result<&'a RedisMemoryPolicy, CannotAsk> {
        let found = policies.iter().find(|policy| policy.name_any() == name);
        found.ok_or_else(|| CannotAsk::NoSuchPolicy {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
            others: policies.iter().map(kube::ResourceExt::name_any).collect(),
        })
    }

    /// Those policies, and those of them that cannot be read.
    pub(super) async fn listed(
        &self,
        all_namespaces: bool,
    ) -> Result<(Vec<RedisMemoryPolicy>, Vec<Unreadable>), CannotAsk> {
        Ok(self.policies(all_namespaces).list().await?)
    }

    /// The policies of the namespace that is meant, or of all.
    pub(super) fn policies(&self, all_namespaces: bool) -> Policies {
        Policies::new(self.client.clone(), (!all_namespaces).then_some(self.namespace.as_str()))
    }
}
