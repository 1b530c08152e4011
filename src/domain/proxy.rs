//! Proxies of other people in front of a set: which server writers meet is decided by them, at intervals of their own.

use serde::{Deserialize, Serialize};

use super::{
    names::{PodName, RunId},
    snapshot::ProbeFailure,
};

/// A Service that leads to a proxy in front of selected pods: which server its clients meet is the proxy's to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// Name of the Service.
    pub service: String,
    /// Names of the selected pods of the same release.
    pub fronts: Vec<PodName>,
    /// What a client meets now, in each of the proxy's pods that takes clients; where none does, in each; `None`: not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Vec<Through>>,
}

/// What a client meets that connects to one pod of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Through {
    /// The proxy's pod.
    pub pod: PodName,
    /// The process of the server that answers, by its own word, or why none does.
    pub met: Result<RunId, ProbeFailure>,
}

impl Proxy {
    /// Whether it is in front of that pod.
    pub fn is_before(&self, pod: &PodName) -> bool {
        self.fronts.contains(pod)
    }

    /// The servers that its pods lead to, each with the pod. None where it was not asked, or nobody answered.
    pub fn led_to(&self) -> impl Iterator<Item = (&PodName, &RunId)> {
        self.all().filter_map(|through| Some((&through.pod, through.met.as_ref().ok()?)))
    }

    /// Its pods that do not tell whom they lead to, each with why.
    pub fn silent(&self) -> impl Iterator<Item = (&PodName, &ProbeFailure)> {
        self.all().filter_map(|through| Some((&through.pod, through.met.as_ref().err()?)))
    }

    /// Whether it leads clients to that process and to no other.
    pub fn leads_to(&self, process: &RunId) -> bool {
        self.led_to().next().is_some() && self.led_to().all(|(_, met)| met == process)
    }

    fn all(&self) -> impl Iterator<Item = &Through> {
        self.through.iter().flatten()
    }
}
