//! A policy and what is true for it now, seen from where the command runs: Kubernetes is read, and each Redis is
//! asked once if it can be reached. Nothing is changed, and nothing is sent to Redis but what a probe sends.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::ResourceExt as _;

use super::{
    cluster::{CannotAsk, Cluster},
    snapshot_file::{Judged, SnapshotFile, WrittenPolicy},
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    clock::Clock,
    contention::claims,
    controller::run::FromKubernetes,
    domain::{
        pod::{Right, Rights},
        policy::Policy,
        snapshot::{Observation, Snapshot, Target},
        volume::Volumes,
    },
    kube_io::{forward::Forward, read::Reader, secrets::Secrets},
    observe::{
        lately::Lately,
        nodes::OnNodes,
        pods,
        sampler::{Sampler, SamplerSettings, TargetKey},
        snapshot::{Observer, Proxies, Sentinels},
    },
    redis_io::route,
    validate,
};

/// One Redis has this long to answer: people wait for it. Through the API server it takes some round trips to it.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);
/// No second look is taken.
const NEVER: Duration = Duration::from_secs(3600);

/// How pods are reached.
#[derive(Debug, clap::Args)]
pub(super) struct ReachArgs {
    /// Reach pods through the API server, as kubectl port-forward does: from where their addresses lead nowhere.
    #[arg(long)]
    port_forward: bool,
}

impl ReachArgs {
    /// Whether it is through the API server.
    pub(super) const fn forwards(&self) -> bool {
        self.port_forward
    }

    /// Sees to it that the pods of these namespaces are reached from here, before any is.
    pub(super) async fn prepare(&self, cluster: &Cluster, namespaces: &[&str]) -> Result<(), CannotAsk> {
        if !self.port_forward {
            return Ok(());
        }
        let reader = Reader::new(cluster.client.clone(), Clock::start());
        let mut pods = Vec::new();
        for namespace in namespaces {
            pods.extend(reader.pods(namespace, "").await?);
        }
        let forward = Forward::new(cluster.client.clone(), pods.iter());
        route::through(Arc::new(move |address| Box::pin(forward.clone().connect(address))));
        Ok(())
    }
}

/// Looks once. `policies`: another one of the namespace's may act instead; those of others do not matter.
///
/// The rights in the snapshot are not those of the person who asks: that the operator has its own is taken for
/// granted here, and what it lacks is in the policy's status.
pub(super) async fn look(
    client: &kube::Client,
    clock: Clock,
    resource: &RedisMemoryPolicy,
    policies: &[RedisMemoryPolicy],
) -> Result<SnapshotFile, CannotAsk> {
    let beside = |other: &&RedisMemoryPolicy| {
        other.namespace() == resource.namespace() && other.name_any() != resource.name_any()
    };
    let others: Vec<_> = policies.iter().filter(beside).cloned().collect();
    let namespace = resource.namespace().unwrap_or_default();
    let selector = validate::selector_string(&resource.spec.selector);
    let found: Vec<KubePod> = Reader::new(client.clone(), clock).pods(&namespace, &selector).await?;
    look_at(client, clock, resource, found.into_iter().map(Arc::new).collect(), &others).await
}

/// The policy that the resource states.
pub(super) fn validated(resource: &RedisMemoryPolicy) -> Result<Policy, CannotAsk> {
    validate::validate(resource).map_err(|problems| CannotAsk::NotValid {
        name: resource.metadata.name.clone().unwrap_or_default(),
        text: validate::in_words(&problems),
    })
}

/// The same of these pods.
pub(super) async fn look_at(
    client: &kube::Client,
    clock: Clock,
    resource: &RedisMemoryPolicy,
    found: Vec<Arc<KubePod>>,
    others: &[RedisMemoryPolicy],
) -> Result<SnapshotFile, CannotAsk> {
    let policy = Arc::new(validated(resource)?);
    let secrets = Arc::new(FromKubernetes(Secrets::new(client.clone())));
    let settings = SamplerSettings { interval: NEVER, probe_deadline: PROBE_DEADLINE, ..SamplerSettings::default() };
    // All probing stops when the task is dropped, at the end of this look.
    let (sampler, _sampling) = Sampler::spawn(settings, clock, secrets);
    let reader = Reader::new(client.clone(), clock);
    let claims = claims::of_others(resource, others.iter(), &found);
    let observer = Observer {
        reader,
        sampler: sampler.clone(),
        clock,
        lately: Lately::default(),
        nodes: OnNodes::default(),
        sentinels: Sentinels::default(),
        proxies: Proxies::default(),
    };
    let digester = |_: &[_]| -> crate::observe::sampler::Digester { Arc::new(|_: Observation, _: Vec<_>| 0) };
    let mut snapshot = Box::pin(observer.cached(&policy, &found, None, &claims, digester)).await?;
    let key = |uid| TargetKey { policy_uid: policy.uid.clone(), pod_uid: uid };
    let keys: Vec<TargetKey> = snapshot.targets.iter().map(|target| key(target.pod.uid.clone())).collect();
    for (probed, observation, history) in sampler.probe_now(&keys).await {
        let target = snapshot.targets.iter_mut().find(|target| target.pod.uid == probed.pod_uid);
        if let Some(target) = target {
            (target.redis, target.history) = (observation, history);
        }
    }
    let pods = found.iter().map(AsRef::as_ref);
    snapshot.sentinels = observer
        .sentinels(&policy, snapshot.targets.iter().filter_map(Target::sample), pods, None, Duration::ZERO)
        .await?;
    let rights = Rights { evict: Right::Granted, resize: Right::Granted, label: Right::Granted };
    // Only then may a primary be restarted in place.
    let pods: Vec<_> = snapshot.targets.iter().map(|target| target.pod.name.clone()).collect();
    let volumes = if policy.restart.allow_downtime {
        observer.volumes(&policy.namespace, &snapshot, &pods, NEVER).await
    } else {
        Volumes::Unread
    };
    let mut snapshot = Snapshot { at: clock.now(), rights, volumes, ..snapshot };
    snapshot.surroundings.hold = pods::hold(&resource.metadata);
    snapshot.surroundings.request = validate::request::pending(resource);
    let mut file = SnapshotFile::new(WrittenPolicy::from(resource), snapshot, Judged::AtOnce);
    if let Some(status) = &resource.status {
        file.snapshot.surroundings.stored = status.shards();
        file.workloads.clone_from(&status.workloads);
        file.journal.clone_from(&status.journal);
    }
    Ok(file)
}
