//! Asks the Sentinels of a policy's sets what they know of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod as KubePod;

use super::{Observer, answers::Answers, pods};
use crate::{
    domain::{
        names::PodUid,
        pod::Pod,
        policy::{Policy, PortRef, RedisAccess, SentinelAccess},
        sample::Sample,
        sentinel::{SENTINEL_PORT, Said, Sentinel},
        snapshot::ProbeFailure,
    },
    kube_io::{around::Around, error::KubeError},
    observe::sampler::CredentialsFor,
    redis_io::Connection,
};

/// A Sentinel answers at once.
const DEADLINE: Duration = Duration::from_secs(1);
/// How old answers may be while nothing is to be done.
pub(super) const SENTINELS_BELIEVED: Duration = Duration::from_secs(30);
/// Sentinels that are asked, by the names of their pods: far more than any set has.
const MOST: usize = 32;
/// What Sentinels last said, and how each is asked, by policy. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Sentinels(Answers<Asked>);

type Asked = (Vec<Sentinel>, BTreeMap<PodUid, CredentialsFor>);

impl Sentinels {
    /// What a connection of that policy to the Sentinel in that pod must authenticate with; `None`: it was not asked.
    pub fn access(&self, policy: &Policy, pod: &PodUid) -> Option<CredentialsFor> {
        self.0.last(policy, |(_, access)| access.get(pod).cloned())
    }
}

impl Observer {
    /// What the Sentinels say, no older than that. Nobody is asked where these samples show no Sentinel and the policy names
    /// none.
    pub async fn sentinels<'a>(
        &self,
        policy: &Policy,
        samples: impl Iterator<Item = &'a Sample> + Clone,
        found: impl Iterator<Item = &'a KubePod>,
        around: Option<&Around>,
        age: Duration,
    ) -> Result<Vec<Sentinel>, KubeError> {
        if policy.redis.sentinel.is_none() && !samples.clone().any(Sample::has_sentinel) {
            return Ok(Vec::new());
        }
        let now = self.clock.uptime();
        if let Some(known) = self.sentinels.0.since(policy, now, age, |(said, _)| said.clone()) {
            return Ok(known);
        }
        let access = access(policy);
        let listed;
        let pods: Vec<&KubePod> = match &access.selector {
            Some(selector) => {
                listed = self.reader.pods(&policy.namespace, selector).await?;
                listed.iter().collect()
            }
            None => found.collect(),
        };
        // As Redis is reached in a pod, so is a Sentinel.
        let redis = RedisAccess {
            port: access.port.clone(),
            username: access.username.clone(),
            password: access.password.clone(),
            tls: access.tls.clone(),
            ..policy.redis.clone()
        };
        let as_redis = Policy { redis, ..policy.clone() };
        let connected: BTreeSet<IpAddr> = samples.flat_map(|sample| sample.sentinel_hosts.iter().copied()).collect();
        let mut proven = BTreeMap::new();
        let mut asked = Vec::new();
        let mut accesses = BTreeMap::new();
        for pod in pods {
            let facts = pods::pod(pod, &as_redis.redis);
            let known = access.selector.is_some() || facts.addresses.iter().any(|ip| connected.contains(&ip));
            let port = pods::sentinel_port(pod, &access, known).filter(|_| facts.running && asked.len() < MOST);
            let (Some(ip), Some(port)) = (facts.addresses.first(), port) else { continue };
            let wanted = self.credentials_for(&as_redis, &facts, around, &mut proven).await;
            accesses.insert(facts.uid.clone(), wanted.clone());
            let container = pods::container_of_port(pod, port);
            let at = SocketAddr::new(ip, port);
            asked.push(self.ask_twice((facts, container), at, wanted, access.master_name.as_deref()));
        }
        let mut said = join_all(asked).await;
        said.sort_by(|a, b| a.pod.cmp(&b.pod));
        self.sentinels.0.remember(policy, now, (said.clone(), accesses));
        Ok(said)
    }

    /// A single question that fails says nothing yet.
    async fn ask_twice(
        &self,
        (pod, container): (Pod, Option<String>),
        at: SocketAddr,
        wanted: CredentialsFor,
        only: Option<&str>,
    ) -> Sentinel {
        let said = match self.ask(at, &wanted, only).await {
            Err(ProbeFailure::Unreachable(_) | ProbeFailure::TimedOut(_)) => self.ask(at, &wanted, only).await,
            said => said,
        };
        Sentinel { pod: pod.name, pod_uid: pod.uid, addresses: pod.addresses, port: at.port(), container, said }
    }

    async fn ask(&self, at: SocketAddr, wanted: &CredentialsFor, only: Option<&str>) -> Result<Said, ProbeFailure> {
        let credentials = self.sampler.resolve(wanted).await?;
        let mut connection = Connection::open(at, credentials.as_ref(), DEADLINE).await?;
        Ok(connection.sentinel(only, DEADLINE).await?)
    }
}

/// As the policy says, else as Redis is asked.
fn access(policy: &Policy) -> SentinelAccess {
    let redis = &policy.redis;
    redis.sentinel.clone().unwrap_or_else(|| SentinelAccess {
        selector: None,
        port: PortRef::Number(SENTINEL_PORT),
        master_name: None,
        username: redis.username.clone(),
        password: redis.password.clone(),
        tls: redis.tls.clone(),
    })
}
