//! Puts a snapshot together: pods from the cache or live, samples from the sampler or by fresh probes.

mod answers;
mod proxies;
mod sentinels;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod as KubePod;

pub use self::{proxies::Proxies, sentinels::Sentinels};
use self::{
    proxies::{Fronting, PROXIES_BELIEVED},
    sentinels::SENTINELS_BELIEVED,
};
use super::{
    budgets,
    lately::Lately,
    nodes::{self, OnNodes},
    pods,
    sampler::{Assignment, CredentialsFor, Digester, SamplerHandle, TargetKey},
    volumes,
};
use crate::{
    clock::Clock,
    domain::{
        budget::DisruptionBudget,
        names::{ControllerUid, PodName},
        pod::{Owner, Pod, Rights, Service, StatefulSet},
        policy::Policy,
        sample::Reading,
        snapshot::{Observation, ProbeFailure, RedisRights, Snapshot, Target},
        surroundings::Claim,
        volume::Volumes,
    },
    kube_io::{around::Around, error::KubeError, read::Reader},
    redis_io::Connection,
};

/// History is kept for `sustained` and this much more, so that the window is never cut short by a late probe.
const HISTORY_MARGIN: Duration = Duration::from_secs(120);
/// The cluster domain that Kubernetes comes with. Where it is another one, certificates need the shorter name, or the policy
/// says which.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// How old a budget may be that allows something: before an eviction it is read again.
const BUDGETS_BELIEVED: Duration = Duration::from_secs(3600);
/// How old one may be that allows nothing.
const BUDGETS_FRESH: Duration = Duration::from_secs(60);
/// Asking what the Redis user may do.
const RIGHTS_DEADLINE: Duration = Duration::from_secs(2);

/// Reads the world into snapshots. Changes nothing.
#[derive(Clone)]
pub struct Observer {
    /// Live reads of Kubernetes.
    pub reader: Reader,
    /// Redis.
    pub sampler: SamplerHandle,
    /// Now.
    pub clock: Clock,
    /// Who was lately seen to decide the roles of a set.
    pub lately: Lately,
    /// What all policies have on each node.
    pub nodes: OnNodes,
    /// What Sentinels last said.
    pub sentinels: Sentinels,
    /// What proxies in front of sets last said.
    pub proxies: Proxies,
}

impl Observer {
    /// A snapshot of those pods with the sampler's latest samples. What lies around them is as it was last seen, where it is
    /// watched: nothing is asked for then. Without pods there is nothing around them.
    pub async fn cached(
        &self,
        policy: &Arc<Policy>,
        pods: &[Arc<KubePod>],
        around: Option<&Around>,
        claims: &[Claim],
        digester: impl Fn(&[Pod]) -> Digester,
    ) -> Result<Snapshot, KubeError> {
        let found = pods;
        let pods = facts(policy, found.iter().map(AsRef::as_ref));
        if let (Some(around), false) = (around, found.is_empty()) {
            around.begun().await;
        }
        self.assign(policy, &pods, around, digester).await;
        let (services, fronting) = self.services(policy, found.iter().map(AsRef::as_ref), around).await?;
        let rights = self.reader.rights_lately(&policy.namespace, policy.needed_rights()).await;
        let mut frame = Snapshot { services, ..self.frame(policy, &pods, around, claims, rights).await? };
        frame.budgets = self.remembered_budgets(policy, found, around).await;
        frame.nodes = self.reader.node_memory(&nodes::of(&pods)).await;
        let samples = self.latest(policy, &pods);
        let seen = samples.iter().filter_map(|(observation, _)| observation.sample());
        let pods_found = found.iter().map(AsRef::as_ref);
        frame.sentinels = self.sentinels(policy, seen, pods_found, around, SENTINELS_BELIEVED).await?;
        let asked = self.led_through(policy, &fronting, &pods, &frame.sentinels, around, PROXIES_BELIEVED).await;
        frame.proxies = asked.unwrap_or(fronting.proxies);
        Ok(self.complete(policy, frame, pods, samples))
    }

    /// A snapshot of the pods that exist now, each probed now, with what the Redis users may do. The probes come last,
    /// so that roles and offsets are as fresh as can be when a decision is made from them.
    pub async fn live(
        &self,
        policy: &Arc<Policy>,
        selector: &str,
        claims: &[Claim],
        digester: impl Fn(&[Pod]) -> Digester,
    ) -> Result<Snapshot, KubeError> {
        let found = self.reader.pods(&policy.namespace, selector).await?;
        let pods = facts(policy, found.iter());
        self.assign(policy, &pods, None, digester).await;
        let (services, fronting) = self.services(policy, found.iter(), None).await?;
        let rights = self.reader.rights(&policy.namespace).await;
        let mut frame = Snapshot { services, ..self.frame(policy, &pods, None, claims, rights).await? };
        frame.budgets = self.budgets(policy, found.iter(), Duration::ZERO).await;
        frame.nodes = self.reader.remembered_node_memory(&nodes::of(&pods));
        self.ask_redis_rights(policy, &pods, &mut frame).await;
        let latest = self.latest(policy, &pods);
        let seen = latest.iter().filter_map(|(observation, _)| observation.sample());
        frame.sentinels = self.sentinels(policy, seen, found.iter(), None, Duration::ZERO).await?;
        frame.proxies = self.led_through(policy, &fronting, &pods, &frame.sentinels, None, Duration::ZERO).await?;
        let keys: Vec<TargetKey> = pods.iter().map(|pod| key(policy, pod)).collect();
        let mut probed: BTreeMap<_, _> = self
            .sampler
            .probe_now(&keys)
            .await
            .into_iter()
            .map(|(key, observation, history)| (key.pod_uid, (observation, history)))
            .collect();
        let samples =
            pods.iter().map(|pod| probed.remove(&pod.uid).unwrap_or((Observation::Pending, Vec::new()))).collect();
        Ok(self.complete(policy, frame, pods, samples))
    }

    fn latest(&self, policy: &Policy, pods: &[Pod]) -> Vec<(Observation, Vec<Reading>)> {
        pods.iter().map(|pod| self.sampler.latest(&key(policy, pod))).collect()
    }

    /// The snapshot as people are told of it: where the one probe of a live look failed, what was seen before it, until
    /// a second one fails too. For findings and status only, never for a decision.
    pub fn settled(&self, policy: &Policy, snapshot: &Snapshot) -> Snapshot {
        let mut settled = snapshot.clone();
        for target in &mut settled.targets {
            if matches!(target.redis, Observation::Failed(_)) {
                target.redis = self.sampler.latest(&key(policy, &target.pod)).0;
            }
        }
        settled
    }

    async fn assign(
        &self,
        policy: &Arc<Policy>,
        pods: &[Pod],
        around: Option<&Around>,
        digester: impl Fn(&[Pod]) -> Digester,
    ) {
        let keep = policy.fragmentation.sustained + HISTORY_MARGIN;
        let mut proven: BTreeMap<ControllerUid, bool> = BTreeMap::new();
        let mut assignments = Vec::new();
        for pod in pods {
            let (Some(ip), Ok(container), true) = (pod.addresses.first(), &pod.container, pod.running) else {
                continue;
            };
            let credentials = self.credentials_for(policy, pod, around, &mut proven).await;
            assignments.push(Assignment {
                pod_uid: pod.uid.clone(),
                set: set_of(policy, pod),
                address: SocketAddr::new(ip, container.port),
                credentials,
                keep,
            });
        }
        self.sampler.assign(&policy.uid, &policy.namespace, assignments, digester(pods));
    }

    /// How a pod is connected to: over TLS where the policy says so, and not at all on the host's network.
    async fn credentials_for(
        &self,
        policy: &Policy,
        pod: &Pod,
        around: Option<&Around>,
        proven: &mut BTreeMap<ControllerUid, bool>,
    ) -> CredentialsFor {
        if pod.host_network {
            return CredentialsFor::Withheld(ProbeFailure::HostNetwork(format!(
                "{} is on the host's network: what listens on the node's address may belong to any namespace",
                pod.name
            )));
        }
        let login = self.login_for(policy, pod, around, proven).await;
        match &policy.redis.tls {
            Some(rule) => CredentialsFor::Tls {
                namespace: policy.namespace.clone(),
                rule: rule.clone(),
                names: names(pod.dns_name.as_deref()),
                login: Box::new(login),
            },
            None => login,
        }
    }

    /// A password goes only to a pod whose controller exists: a label alone must not catch it.
    async fn login_for(
        &self,
        policy: &Policy,
        pod: &Pod,
        around: Option<&Around>,
        proven: &mut BTreeMap<ControllerUid, bool>,
    ) -> CredentialsFor {
        let Some(secret) = &policy.redis.password else { return CredentialsFor::None };
        let exists = match &pod.owner {
            None => false,
            Some(owner) if !owner.could_have_made(&pod.name) => false,
            Some(owner) => {
                if !proven.contains_key(&owner.uid) {
                    proven.insert(owner.uid.clone(), self.owner_exists(policy, owner, around).await);
                }
                proven.get(&owner.uid).copied().unwrap_or(false)
            }
        };
        if exists {
            return CredentialsFor::Secret {
                namespace: policy.namespace.clone(),
                secret: secret.clone(),
                username: policy.redis.username.clone(),
            };
        }
        CredentialsFor::Withheld(ProbeFailure::OwnerUnproven(format!(
            "the password is not sent: no controller of {} was found in this namespace",
            pod.name
        )))
    }

    /// One that is watched and there is there. Whatever else is read; what was found within the hour is believed in a look
    /// from caches.
    async fn owner_exists(&self, policy: &Policy, owner: &Owner, around: Option<&Around>) -> bool {
        let watched =
            around.filter(|_| owner.kind == "StatefulSet").and_then(|it| it.stateful_set(&owner.name)).flatten();
        if watched.is_some_and(|set| set.metadata.uid.as_deref() == Some(owner.uid.as_str()) && !owner.uid.is_empty()) {
            return true;
        }
        let found = match around {
            Some(_) => self.reader.owner_existed(&policy.namespace, owner).await,
            None => self.reader.owner_exists(&policy.namespace, owner).await,
        };
        found.unwrap_or(false)
    }

    /// The StatefulSets of those names, as they are watched or are now. One that cannot be read is left out: it is not known.
    pub async fn stateful_sets(&self, policy: &Policy, names: &[String], around: Option<&Around>) -> Vec<StatefulSet> {
        let mut found = Vec::new();
        for name in names {
            let set = match around.and_then(|around| around.stateful_set(name)) {
                Some(watched) => watched,
                None => self.reader.stateful_set(&policy.namespace, name).await.ok().flatten().map(Arc::new),
            };
            found.extend(set.map(|set| pods::stateful_set(&set, &policy.redis.role_label)));
        }
        found
    }

    /// What is behind the claims of those pods, no older than that. Nothing is read where none has a claim.
    pub async fn volumes(&self, namespace: &str, snapshot: &Snapshot, of: &[PodName], age: Duration) -> Volumes {
        let pods = snapshot.targets.iter().map(|target| &target.pod).filter(|pod| of.contains(&pod.name));
        let mounts = pods.filter_map(|pod| pod.container.as_ref().ok()).flat_map(|container| &container.mounts);
        let mut claims: Vec<String> = mounts.filter_map(|mount| mount.claim.clone()).collect();
        claims.sort_unstable();
        claims.dedup();
        if claims.is_empty() {
            return Volumes::Unread;
        }
        volumes::all(&self.reader.volumes(namespace, &claims, age).await)
    }

    /// The disruption budgets of the pods, no older than that.
    async fn budgets<'a>(
        &self,
        policy: &Policy,
        pods: impl Iterator<Item = &'a KubePod> + Clone,
        age: Duration,
    ) -> Option<Vec<DisruptionBudget>> {
        let all = self.reader.disruption_budgets(&policy.namespace, age).await?;
        Some(budgets::of(all.iter(), &pods))
    }

    /// As they are watched. Where they are not, as they were read within the hour: while one allows nothing they are read
    /// again every minute, which is one small list, so that who repairs a budget that never allows is not kept waiting.
    async fn remembered_budgets(
        &self,
        policy: &Policy,
        pods: &[Arc<KubePod>],
        around: Option<&Around>,
    ) -> Option<Vec<DisruptionBudget>> {
        let found = pods;
        let pods = || found.iter().map(AsRef::as_ref);
        if found.is_empty() {
            return Some(Vec::new());
        }
        if let Some(watched) = around.and_then(Around::disruption_budgets) {
            return Some(budgets::of(watched.iter().map(AsRef::as_ref), &pods()));
        }
        let known = self.budgets(policy, pods(), BUDGETS_BELIEVED).await?;
        if known.iter().any(|budget| !budget.allows_now()) {
            return self.budgets(policy, pods(), BUDGETS_FRESH).await;
        }
        Some(known)
    }

    /// Everything of a snapshot but the targets and the Services.
    async fn frame(
        &self,
        policy: &Policy,
        pods: &[Pod],
        around: Option<&Around>,
        claims: &[Claim],
        rights: Rights,
    ) -> Result<Snapshot, KubeError> {
        let (mut stateful_sets, mut deployments) = (Vec::new(), Vec::new());
        let mut owners: Vec<&Owner> = pods.iter().filter_map(|pod| pod.owner.as_ref()).collect();
        owners.sort_by(|a, b| a.uid.cmp(&b.uid));
        owners.dedup_by(|a, b| a.uid == b.uid);
        for owner in owners.iter().filter(|owner| owner.kind == "ReplicaSet") {
            let set = match around {
                Some(_) => self.reader.replica_set_lately(&policy.namespace, owner).await?,
                None => self.reader.replica_set(&policy.namespace, &owner.name).await?.map(Arc::new),
            };
            deployments.extend(set.map(|set| pods::deployment(&set)));
        }
        for owner in owners.into_iter().filter(|owner| owner.kind == "StatefulSet") {
            let set = match around.and_then(|around| around.stateful_set(&owner.name)) {
                Some(watched) => watched,
                None => self.reader.stateful_set(&policy.namespace, &owner.name).await?.map(Arc::new),
            };
            stateful_sets.extend(set.map(|set| pods::stateful_set(&set, &policy.redis.role_label)));
        }
        let mut claimed_by_other = Vec::new();
        for claim in claims {
            claimed_by_other.extend(claim.controllers.iter().map(|uid| (uid.clone(), claim.policy.clone())));
        }
        Ok(Snapshot {
            stateful_sets,
            deployments,
            rights,
            resize_supported: self.reader.resize_supported().await,
            claimed_by_other,
            ..Snapshot::at(self.clock.now())
        })
    }

    /// The Services that take any of these pods, and those of proxies in front of them. Those that select the role label come
    /// with who is behind them.
    async fn services<'a>(
        &self,
        policy: &Policy,
        pods: impl Iterator<Item = &'a KubePod> + Clone,
        around: Option<&Around>,
    ) -> Result<(Vec<Service>, Fronting), KubeError> {
        let (namespace, label) = (&policy.namespace, &policy.redis.role_label);
        if pods.clone().next().is_none() {
            return Ok((Vec::new(), Fronting::default()));
        }
        let found = match around.and_then(Around::services) {
            Some(watched) => watched,
            None => self.reader.services(namespace).await?.into_iter().map(Arc::new).collect(),
        };
        let mut services: Vec<Service> =
            found.iter().filter_map(|service| pods::service(service, pods.clone(), label)).collect();
        let of_a_role = || services.iter().filter(|service| service.role.is_some());
        let names: Vec<String> = of_a_role().map(|service| service.name.clone()).collect();
        let watched = around.and_then(|around| around.endpoint_slices(&names));
        for service in services.iter_mut().filter(|service| service.role.is_some()) {
            service.ready_pods = match &watched {
                Some(slices) => pods::ready_pods(slices.get(&service.name).into_iter().flatten().map(AsRef::as_ref)),
                None => pods::ready_pods(&self.reader.endpoint_slices(namespace, &service.name).await?),
            };
        }
        Ok((services, Fronting::of(&found, &pods)))
    }

    fn complete(
        &self,
        policy: &Policy,
        frame: Snapshot,
        pods: Vec<Pod>,
        samples: Vec<(Observation, Vec<Reading>)>,
    ) -> Snapshot {
        let targets = pods.into_iter().zip(samples).map(|(pod, (redis, history))| {
            let peaks = self.sampler.peaks(&key(policy, &pod));
            Target { pod, redis, history, peaks }
        });
        let mut snapshot = Snapshot { at: self.clock.now(), targets: targets.collect(), ..frame };
        self.nodes.look(&policy.uid, &mut snapshot, self.clock.uptime());
        let seen_before = self.lately.look(&snapshot, self.clock.uptime());
        Snapshot { seen_before, ..snapshot }
    }

    /// Asks every member that has an address which acting commands its user may not run, and for the fingerprint of its
    /// users. One that cannot be asked is named: it says nothing about the others.
    async fn ask_redis_rights(&self, policy: &Policy, pods: &[Pod], frame: &mut Snapshot) {
        let mut asked = Vec::new();
        for pod in pods {
            if let (Some(ip), Ok(container)) = (pod.addresses.first(), &pod.container) {
                asked.push(self.missing_commands(policy, pod, SocketAddr::new(ip, container.port)));
            }
        }
        let mut all = Vec::new();
        for (pod, answer) in futures::future::join_all(asked).await {
            match answer {
                Some((missing, users)) => {
                    all.push((pod.clone(), missing));
                    frame.acl_users.extend(users.map(|users| (pod, users)));
                }
                None => frame.unasked.push(pod),
            }
        }
        frame.redis_rights = RedisRights::Known(all);
    }

    async fn missing_commands(
        &self,
        policy: &Policy,
        pod: &Pod,
        address: SocketAddr,
    ) -> (PodName, Option<(Vec<String>, Option<String>)>) {
        let answer = async {
            let credentials = self.sampler.credentials(&key(policy, pod)).await.ok()?;
            let mut connection = Connection::open(address, credentials.as_ref(), RIGHTS_DEADLINE).await.ok()?;
            let missing = connection.acting_rights(RIGHTS_DEADLINE).await.ok()?;
            Some((missing, connection.users(RIGHTS_DEADLINE).await))
        };
        (pod.name.clone(), answer.await)
    }
}

/// The names by which a certificate may call who has that name in DNS: with the usual cluster domain, and without one.
fn names(name: Option<&str>) -> Vec<String> {
    name.map(|name| vec![format!("{name}.{CLUSTER_DOMAIN}"), name.to_owned()]).unwrap_or_default()
}

/// The controller of the pod, else the pod itself.
fn set_of(policy: &Policy, pod: &Pod) -> (String, ControllerUid) {
    let name = pod.owner.as_ref().map_or_else(|| pod.name.as_str(), |owner| owner.name.as_str());
    let uid = pod.owner.as_ref().map(|owner| owner.uid.clone()).unwrap_or_default();
    (format!("{}/{name}", policy.namespace), uid)
}

fn key(policy: &Policy, pod: &Pod) -> TargetKey {
    TargetKey { policy_uid: policy.uid.clone(), pod_uid: pod.uid.clone() }
}

/// What Kubernetes says of each pod that has not finished, by name.
fn facts<'a>(policy: &Policy, found: impl Iterator<Item = &'a KubePod>) -> Vec<Pod> {
    let unfinished = |pod: &&KubePod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
    };
    let mut pods: Vec<Pod> = found.filter(unfinished).map(|pod| pods::pod(pod, &policy.redis)).collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    pods
}

#[cfg(test)]
mod tests;
