//! Asks the proxies in front of a policy's sets whom they lead clients to: each of their pods, as a client is led.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod as KubePod, Service as KubeService};

use super::{Observer, answers::Answers, names, pods};
use crate::{
    domain::{
        names::RunId,
        pod::Pod,
        policy::Policy,
        proxy::{Proxy, Through},
        sentinel::Sentinel,
        snapshot::ProbeFailure,
    },
    kube_io::{around::Around, error::KubeError},
    observe::{proxies, sampler::CredentialsFor},
    redis_io::Connection,
};

/// A proxy that has a server leads there at once.
const DEADLINE: Duration = Duration::from_secs(1);
/// How old answers may be while nothing is to be done: they are for the words of a plan.
pub(super) const PROXIES_BELIEVED: Duration = Duration::from_secs(600);
/// Pods of one proxy that are asked, by their names: far more than any proxy has.
const MOST: usize = 16;
/// What proxies last said, by policy. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Answers<Vec<Proxy>>);

/// Proxies in front of these pods, and the Services that lead to them, in the same order.
#[derive(Default)]
pub(super) struct Fronting {
    pub(super) proxies: Vec<Proxy>,
    services: Vec<Arc<KubeService>>,
}

impl Fronting {
    pub(super) fn of<'a>(services: &[Arc<KubeService>], pods: &(impl Iterator<Item = &'a KubePod> + Clone)) -> Self {
        let found = services.iter().filter_map(|it| Some((proxies::proxy(it, pods.clone())?, Arc::clone(it))));
        let (proxies, services) = found.unzip();
        Self { proxies, services }
    }
}

impl Observer {
    /// The proxies, with what a client of each of their pods meets, no older than that.
    pub(super) async fn led_through(
        &self,
        policy: &Policy,
        fronting: &Fronting,
        members: &[Pod],
        sentinels: &[Sentinel],
        around: Option<&Around>,
        age: Duration,
    ) -> Result<Vec<Proxy>, KubeError> {
        let now = self.clock.uptime();
        let unasked = |proxy: &Proxy| Proxy { through: None, ..proxy.clone() };
        let same = |known: &Vec<Proxy>| known.iter().map(unasked).eq(fronting.proxies.iter().cloned());
        // Only where Sentinels move the role does the way through a proxy decide anything.
        if fronting.proxies.is_empty() || sentinels.is_empty() {
            return Ok(fronting.proxies.clone());
        }
        if let Some(known) = self.proxies.0.since(policy, now, age, Vec::clone).filter(same) {
            return Ok(known);
        }
        let mut asked = Vec::new();
        for (proxy, service) in fronting.proxies.iter().zip(&fronting.services) {
            let through = Some(self.through(policy, proxy, service, members, around).await?);
            asked.push(Proxy { through, ..proxy.clone() });
        }
        self.proxies.0.remember(policy, now, asked.clone());
        Ok(asked)
    }

    /// Each pod is asked at its own address: a Service would choose one, and may lead out of the namespace.
    async fn through(
        &self,
        policy: &Policy,
        proxy: &Proxy,
        service: &KubeService,
        members: &[Pod],
        around: Option<&Around>,
    ) -> Result<Vec<Through>, KubeError> {
        let mut found = self.reader.pods(&policy.namespace, &proxies::query(service)).await?;
        // Those that are not Ready take no clients, unless there are no others.
        if found.iter().any(pods::stays) {
            found.retain(pods::stays);
        }
        let of_servers: Vec<u16> = members.iter().filter_map(|pod| Some(pod.container.as_ref().ok()?.port)).collect();
        let fronted = members.iter().filter(|pod| proxy.is_before(&pod.name));
        let certified: Vec<String> = [Some(format!("{}.{}.svc", proxy.service, policy.namespace))]
            .into_iter()
            .chain(fronted.map(|pod| pod.dns_name.clone()))
            .flat_map(|name| names(name.as_deref()))
            .collect();
        let mut proven = BTreeMap::new();
        let mut asked = Vec::new();
        for pod in found.iter().take(MOST) {
            let at = proxies::port(service, pod, &of_servers);
            // As Redis is reached in a pod, so is a proxy: who speaks through it says the same to both.
            let facts = pods::pod(pod, &policy.redis);
            let mut wanted = self.credentials_for(policy, &facts, around, &mut proven).await;
            if let CredentialsFor::Tls { names, .. } = &mut wanted {
                names.clone_from(&certified);
            }
            asked.push(async move {
                let met = match (at, facts.addresses.first()) {
                    (Ok(port), Some(ip)) => self.meet(SocketAddr::new(ip, port), &wanted).await,
                    (Err(why), _) => Err(ProbeFailure::Unreachable(why)),
                    (_, None) => Err(ProbeFailure::Unreachable("the pod has no address".to_owned())),
                };
                Through { pod: facts.name, met }
            });
        }
        let mut through = join_all(asked).await;
        through.sort_by(|a, b| a.pod.cmp(&b.pod));
        Ok(through)
    }

    /// The process that answers there: connecting asks for it, and nothing else is asked.
    async fn meet(&self, at: SocketAddr, wanted: &CredentialsFor) -> Result<RunId, ProbeFailure> {
        let credentials = self.sampler.resolve(wanted).await?;
        let connection = Connection::open(at, credentials.as_ref(), DEADLINE).await?;
        let process = connection.run_id().clone();
        if process == RunId::default() {
            return Err(ProbeFailure::NotRedis("the server does not say which process it is".to_owned()));
        }
        Ok(process)
    }
}
