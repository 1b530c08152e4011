//! Kubernetes objects as the domain sees them. Pure: no client, no clock. What is read here must be kept by the
//! pruning of `kube_io::cache`.

mod made;
mod trouble;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, StatefulSet as K8sStatefulSet},
        core::v1::{
            Container as K8sContainer, ContainerPort, ContainerStatus, Pod as K8sPod, PodCondition, PodSpec, PodStatus,
            Probe, ResourceRequirements, Service as K8sService,
        },
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};

use super::managers;
use crate::{
    domain::{
        addresses::PodAddresses,
        bytes::Bytes,
        names::{ControllerUid, NodeName, PodName, PodUid},
        pod::{
            Container, ContainerProblem, Deployment, HOLD_ANNOTATION, Mount, Owner, Pod, ResizeProgress, Service,
            StartSettings, StatefulSet, VolumeKind,
        },
        policy::{PortRef, RedisAccess, RoleLabel, SentinelAccess},
        quantity,
        start::{self, CommandLine},
    },
    kube_io::text::plain,
};

/// The label by which a pod names the revision that it was made from.
const REVISION_LABEL: &str = "controller-revision-hash";
/// The API server's default for `terminationGracePeriodSeconds`.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The longest text of the kubelet's that is kept.
const TEXT_CAP: usize = 256;
const MEMORY: &str = "memory";

/// What Kubernetes says of one pod.
pub fn pod(pod: &K8sPod, access: &RedisAccess) -> Pod {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let meta = &pod.metadata;
    let conditions: &[PodCondition] = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let container = container(pod, access);
    Pod {
        name: PodName::new(meta.name.clone().unwrap_or_default()),
        uid: PodUid::new(meta.uid.clone().unwrap_or_default()),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        addresses: addresses(status),
        node: spec.and_then(|spec| spec.node_name.clone()).filter(|name| !name.is_empty()).map(NodeName::from),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        dns_name: dns_name(meta, spec),
        ready: is_true(conditions, "Ready").is_some(),
        terminating: meta.deletion_timestamp.is_some(),
        running: status.and_then(|status| status.phase.as_deref()) == Some("Running"),
        role_label: label(meta.labels.as_ref(), &access.role_label.key),
        owner: owner(meta),
        revision: label(meta.labels.as_ref(), REVISION_LABEL),
        grace_period: spec
            .and_then(|spec| spec.termination_grace_period_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DEFAULT_GRACE, Duration::from_secs),
        guaranteed: status.and_then(|status| status.qos_class.as_deref()) == Some("Guaranteed"),
        pod_level_resources: spec.and_then(|spec| spec.resources.as_ref()).is_some_and(|r| !is_empty(r)),
        resize: resize_progress(conditions),
        trouble: trouble::of(pod),
        hold: hold(meta),
        limit_at: made::pod(pod),
        managers: managers::of(pod, &access.role_label.key, container.as_ref().ok().map(|found| found.name.as_str())),
        container,
    }
}

/// Whether the pod is Ready and nobody is deleting it.
pub fn stays(pod: &K8sPod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none() && is_true(conditions, "Ready").is_some()
}

/// What Kubernetes says of a `StatefulSet`. A template container whose limit cannot be read is left out of
/// `template_limits`: unknown is neither "no limit" nor a limit.
pub fn stateful_set(set: &K8sStatefulSet, role_label: &RoleLabel) -> StatefulSet {
    let meta = &set.metadata;
    let spec = set.spec.as_ref();
    let status = set.status.as_ref();
    let strategy = spec.and_then(|spec| spec.update_strategy.as_ref());
    let partition = strategy
        .and_then(|strategy| strategy.rolling_update.as_ref())
        .and_then(|rolling| rolling.partition)
        .map_or(0, clamped);
    let template = spec.map(|spec| &spec.template);
    let spec_of_pods = template.and_then(|template| template.spec.as_ref());
    let containers = spec_of_pods.map(lasting).unwrap_or_default();
    StatefulSet {
        uid: ControllerUid::new(meta.uid.clone().unwrap_or_default()),
        name: meta.name.clone().unwrap_or_default(),
        owner: owner(meta),
        // The API server's default is 1.
        replicas: spec.and_then(|spec| spec.replicas).map_or(1, clamped),
        current_revision: status.and_then(|status| status.current_revision.clone()).unwrap_or_default(),
        update_revision: status.and_then(|status| status.update_revision.clone()).unwrap_or_default(),
        partition,
        on_delete: strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete"),
        observed: meta.generation.is_some() && status.and_then(|status| status.observed_generation) == meta.generation,
        template_limits: containers.iter().filter_map(|container| template_limit(container, spec_of_pods)).collect(),
        template_role_label: template
            .and_then(|template| template.metadata.as_ref())
            .and_then(|meta| label(meta.labels.as_ref(), &role_label.key)),
        hold: hold(meta),
        start_settings: containers
            .iter()
            .map(|container| start_settings(container))
            .filter(|start| !start.settings.is_empty())
            .collect(),
        limit_at: made::set(meta, owner(meta).as_ref(), template, &containers),
    }
}

/// What Kubernetes says of a ReplicaSet and the Deployment that owns it.
pub fn deployment(set: &ReplicaSet) -> Deployment {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let spec = template.and_then(|template| template.spec.as_ref());
    let containers = spec.map(lasting).unwrap_or_default();
    Deployment {
        uid: ControllerUid::new(set.metadata.uid.clone().unwrap_or_default()),
        name: owner(&set.metadata)
            .map_or_else(|| set.metadata.name.clone().unwrap_or_default(), |deployment| deployment.name),
        template_limits: containers.iter().filter_map(|container| template_limit(container, spec)).collect(),
        // A Deployment's annotations are on its ReplicaSets too; who owns the Deployment is not read.
        limit_at: made::set(&set.metadata, None, template, &containers),
    }
}

/// What Kubernetes says of a Service that takes some of these pods, without its endpoints. `None`: it takes none, or has
/// no selector that Kubernetes follows.
pub fn service<'a>(
    service: &K8sService,
    pods: impl IntoIterator<Item = &'a K8sPod>,
    role_label: &RoleLabel,
) -> Option<Service> {
    let (spec, selector) = (service.spec.as_ref()?, selector(service)?);
    let wanted = |pod: &&K8sPod| selector.iter().all(|(key, value)| *key == role_label.key || has(pod, key, value));
    let names = pods.into_iter().filter(wanted).filter_map(|pod| pod.metadata.name.clone());
    let mut takes: Vec<PodName> = names.map(PodName::new).collect();
    takes.sort_unstable();
    (!takes.is_empty()).then(|| Service {
        name: service.metadata.name.clone().unwrap_or_default(),
        selector: selector.clone(),
        role: selector.get(&role_label.key).cloned(),
        takes,
        ready_pods: Vec::new(),
        addresses: PodAddresses::of(
            spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()).map(String::as_str),
        ),
    })
}

/// The labels by which a Service takes pods; `None`: it has none that Kubernetes follows.
pub fn selector(service: &K8sService) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

/// UIDs of the pods behind ready endpoints, sorted.
pub fn ready_pods<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> Vec<PodUid> {
    let mut ready_pods: Vec<PodUid> = slices
        .into_iter()
        .flat_map(|slice| &slice.endpoints)
        // The API says of `ready`: "A nil value should be interpreted as true."
        .filter(|endpoint| endpoint.conditions.as_ref().and_then(|state| state.ready).unwrap_or(true))
        .filter_map(|endpoint| endpoint.target_ref.as_ref())
        .filter(|target| target.kind.as_deref() == Some("Pod"))
        .filter_map(|target| target.uid.clone().map(PodUid::new))
        .collect();
    // A dual-stack Service has a slice per address family, with the same pods.
    ready_pods.sort_unstable();
    ready_pods.dedup();
    ready_pods
}

/// `podIP` first: `podIPs` has it too, and one of each other family.
fn addresses(status: Option<&PodStatus>) -> PodAddresses {
    let first = status.and_then(|status| status.pod_ip.as_deref());
    let all = status.and_then(|status| status.pod_ips.as_deref()).unwrap_or_default();
    PodAddresses::of(first.into_iter().chain(all.iter().map(|address| address.ip.as_str())))
}

/// The containers that run as long as the pod: those, and the init containers that stay (sidecars).
fn lasting(spec: &PodSpec) -> Vec<&K8sContainer> {
    let stays = |container: &&K8sContainer| container.restart_policy.as_deref() == Some("Always");
    spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(stays)).collect()
}

fn container(pod: &K8sPod, access: &RedisAccess) -> Result<Container, ContainerProblem> {
    let containers = pod.spec.as_ref().map(lasting).unwrap_or_default();
    let found = choose(&containers, access)?;
    let statuses = pod.status.iter().flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    let status = statuses.into_iter().find(|status| status.name == found.name);
    let asked = found.resources.as_ref();
    let live = status.and_then(|status| status.resources.as_ref());
    Ok(Container {
        port: port_number(found, &access.port)?,
        declared_ports: tcp_ports(found).filter_map(|port| u16::try_from(port.container_port).ok()).collect(),
        spec_limit: amount(found, "limit", asked.and_then(|r| r.limits.as_ref()))?,
        spec_request: amount(found, "request", asked.and_then(|r| r.requests.as_ref()))?,
        live_limit: amount(found, "limit", live.and_then(|r| r.limits.as_ref()))?,
        pod_limit: pod_limit(pod.spec.as_ref())?,
        resize_restarts: found
            .resize_policy
            .iter()
            .flatten()
            .any(|policy| policy.resource_name == MEMORY && policy.restart_policy == "RestartContainer"),
        started_at: status.and_then(started_at),
        restarts: status.map_or(0, |status| clamped(status.restart_count)),
        killed: status.and_then(trouble::killed),
        killed_before: status.and_then(trouble::killed_before),
        start_took: status
            .filter(|status| status.restart_count == 0)
            .and_then(started_at)
            .and_then(|at| {
                let created = pod.metadata.creation_timestamp.as_ref()?;
                // Both are whole seconds.
                Some(Duration::try_from(at.duration_since(created.0)).ok()?.max(Duration::from_secs(1)))
            })
            .unwrap_or_default(),
        ready_after: ready_after(found),
        mounts: mounts(pod.spec.as_ref(), found),
        name: found.name.clone(),
    })
}

/// When the kubelet is to be expected to take a healthy server for ready, after its start. It asks once a period, from some
/// moment on that has nothing to do with the delay: half a period later than the delay, on average. A startup probe comes
/// before, and where it says yes the readiness probe is asked at once. Defaults are the API server's: no delay, ten seconds,
/// one success.
fn ready_after(container: &K8sContainer) -> Duration {
    let number = |value: Option<i32>, default: u32| u64::from(value.map_or(default, clamped));
    let period = |probe: &Probe| Duration::from_secs(number(probe.period_seconds, 10));
    let first = |probe: &Probe| Duration::from_secs(number(probe.initial_delay_seconds, 0)) + period(probe) / 2;
    let started = container.startup_probe.as_ref().map(first).unwrap_or_default();
    let Some(probe) = &container.readiness_probe else { return started };
    let more = u32::try_from(number(probe.success_threshold, 1).saturating_sub(1)).unwrap_or(u32::MAX);
    let delayed = container.startup_probe.is_none() || number(probe.initial_delay_seconds, 0) > 0;
    let asked = if delayed { started.max(first(probe)) } else { started };
    asked.saturating_add(period(probe).saturating_mul(more))
}

/// The volumes in that container.
fn mounts(spec: Option<&PodSpec>, container: &K8sContainer) -> Vec<Mount> {
    let volumes = spec.and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let kind = |name: &str| match volumes.iter().find(|volume| volume.name == name) {
        Some(volume) if volume.persistent_volume_claim.is_some() => VolumeKind::Claim,
        Some(volume) if volume.empty_dir.is_some() => VolumeKind::EmptyDir,
        Some(_) | None => VolumeKind::Other,
    };
    let all = container.volume_mounts.iter().flatten();
    all.map(|mount| Mount {
        path: mount.mount_path.clone(),
        volume: kind(&mount.name),
        claim: volumes
            .iter()
            .find(|volume| volume.name == mount.name)
            .and_then(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone())),
        read_only: mount.read_only == Some(true)
            || volumes.iter().any(|volume| {
                volume.name == mount.name
                    && volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.read_only == Some(true))
            }),
    })
    .collect()
}

/// The named container; else the only one, which alone can answer; else the only one that declares the port.
fn choose<'a>(containers: &[&'a K8sContainer], access: &RedisAccess) -> Result<&'a K8sContainer, ContainerProblem> {
    let there = || containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = &access.container {
        return containers
            .iter()
            .copied()
            .find(|container| container.name == *wanted)
            .ok_or_else(|| ContainerProblem(format!("no container is named `{wanted}`; there are: {}", there())));
    }
    if let [only] = containers {
        return Ok(only);
    }
    let wanted = port_text(&access.port);
    let declaring: Vec<_> = containers.iter().copied().filter(|one| declared(one, &access.port).is_some()).collect();
    match declaring.as_slice() {
        [one] => Ok(one),
        [] => Err(ContainerProblem(format!(
            "no container declares {wanted}; there are: {}; name one in `redis.container`",
            there()
        ))),
        several => {
            let names: Vec<_> = several.iter().map(|container| container.name.as_str()).collect();
            Err(ContainerProblem(format!(
                "several containers declare {wanted}: {}; name one in `redis.container`",
                names.join(", ")
            )))
        }
    }
}

/// The port of the Sentinel in that pod: one that a container declares. `known`: one does run there, and a port need not be
/// declared to be open.
pub fn sentinel_port(pod: &K8sPod, access: &SentinelAccess, known: bool) -> Option<u16> {
    let containers = pod.spec.as_ref().map(lasting).unwrap_or_default();
    let found = containers.into_iter().find_map(|container| declared(container, &access.port));
    match (&access.port, found) {
        (_, Some(found)) => u16::try_from(found.container_port).ok(),
        (PortRef::Number(number), None) if known => Some(*number),
        _ => None,
    }
}

/// The container that declares that port, or the only one of the pod.
pub fn container_of_port(pod: &K8sPod, port: u16) -> Option<String> {
    let containers = pod.spec.as_ref().map(lasting).unwrap_or_default();
    let found = containers.iter().find(|container| declared(container, &PortRef::Number(port)).is_some());
    let only = || containers.first().filter(|_| containers.len() == 1);
    found.or_else(only).map(|container| container.name.clone())
}

/// Whether the pod has that label.
pub(super) fn has(pod: &K8sPod, key: &str, value: &str) -> bool {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|it| it == value)
}

/// The number of the TCP port to which a container of the pod gives that name.
pub(super) fn named_port(pod: &K8sPod, name: &str) -> Option<u16> {
    let containers = pod.spec.as_ref().map(lasting).unwrap_or_default();
    let named = PortRef::Name(name.to_owned());
    let found = containers.into_iter().find_map(|container| declared(container, &named))?;
    u16::try_from(found.container_port).ok()
}

fn port_text(port: &PortRef) -> String {
    match port {
        PortRef::Number(number) => format!("port {number}"),
        PortRef::Name(name) => format!("a port named `{name}`"),
    }
}

fn tcp_ports(container: &K8sContainer) -> impl Iterator<Item = &ContainerPort> {
    let ports = container.ports.iter().flatten();
    ports.filter(|declared| declared.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
}

fn declared<'a>(container: &'a K8sContainer, port: &PortRef) -> Option<&'a ContainerPort> {
    tcp_ports(container).find(|declared| match port {
        PortRef::Number(number) => declared.container_port == i32::from(*number),
        PortRef::Name(name) => declared.name.as_deref() == Some(name),
    })
}

fn port_number(container: &K8sContainer, port: &PortRef) -> Result<u16, ContainerProblem> {
    let name = match port {
        // A port need not be declared to be open.
        PortRef::Number(number) => return Ok(*number),
        PortRef::Name(name) => name,
    };
    declared(container, port).and_then(|declared| u16::try_from(declared.container_port).ok()).ok_or_else(|| {
        let names: Vec<_> = container.ports.iter().flatten().filter_map(|port| port.name.as_deref()).collect();
        let there = if names.is_empty() { "it names none".to_owned() } else { format!("it has: {}", names.join(", ")) };
        ContainerProblem(format!("container `{}` has no TCP port named `{name}`; {there}", container.name))
    })
}

fn amount(
    container: &K8sContainer,
    what: &str,
    amounts: Option<&BTreeMap<String, Quantity>>,
) -> Result<Option<Bytes>, ContainerProblem> {
    memory(amounts, || format!("memory {what} of container `{}`", container.name))
}

/// The limit of the pod as a whole.
fn pod_limit(spec: Option<&PodSpec>) -> Result<Option<Bytes>, ContainerProblem> {
    let limits = spec.and_then(|spec| spec.resources.as_ref()).and_then(|resources| resources.limits.as_ref());
    memory(limits, || "memory limit of the whole pod".to_owned())
}

fn memory(
    amounts: Option<&BTreeMap<String, Quantity>>,
    what: impl FnOnce() -> String,
) -> Result<Option<Bytes>, ContainerProblem> {
    let Some(Quantity(text)) = amounts.and_then(|amounts| amounts.get(MEMORY)) else { return Ok(None) };
    quantity::parse(text).map(Some).map_err(|error| ContainerProblem(format!("{} cannot be read: {error}", what())))
}

fn template_limit(container: &K8sContainer, spec: Option<&PodSpec>) -> Option<(String, Option<Bytes>)> {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let both = [amount(container, "limit", limits).ok()?, pod_limit(spec).ok()?];
    Some((container.name.clone(), both.into_iter().flatten().min()))
}

/// The settings in that container's `command` and `args`.
fn start_settings(container: &K8sContainer) -> StartSettings {
    fn texts(words: Option<&Vec<String>>) -> Vec<&str> {
        words.into_iter().flatten().map(String::as_str).collect()
    }
    let variables = container.env.iter().flatten();
    let line = CommandLine {
        command: texts(container.command.as_ref()),
        args: texts(container.args.as_ref()),
        // One without a value is empty; what another object says is not seen.
        env: variables
            .map(|variable| {
                let literal = variable.value_from.is_none().then(|| variable.value.as_deref().unwrap_or_default());
                (variable.name.as_str(), literal)
            })
            .collect(),
    };
    let settings = start::of(&line).map(|start| start.settings().known()).unwrap_or_default();
    StartSettings { container: container.name.clone(), settings }
}

fn started_at(status: &ContainerStatus) -> Option<jiff::Timestamp> {
    let running = status.state.as_ref()?.running.as_ref()?;
    running.started_at.as_ref().map(|time| time.0)
}

fn is_true<'a>(conditions: &'a [PodCondition], type_: &str) -> Option<&'a PodCondition> {
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// A pending resize says more than one in progress: it is the newer wish, and it may never come true.
fn resize_progress(conditions: &[PodCondition]) -> ResizeProgress {
    if let Some(pending) = is_true(conditions, "PodResizePending") {
        let text = plain(pending.message.as_deref().unwrap_or_default(), TEXT_CAP);
        return match pending.reason.as_deref() {
            Some("Infeasible") => ResizeProgress::Infeasible(text),
            _ => ResizeProgress::Deferred(text),
        };
    }
    match is_true(conditions, "PodResizeInProgress") {
        // The kubelet tries and fails: an error is no progress.
        Some(tried) if tried.reason.as_deref() == Some("Error") => {
            ResizeProgress::Error(plain(tried.message.as_deref().unwrap_or_default(), TEXT_CAP))
        }
        Some(_) => ResizeProgress::InProgress,
        None => ResizeProgress::None,
    }
}

/// The controller of an object; `None`: nothing controls it.
pub fn owner(meta: &ObjectMeta) -> Option<Owner> {
    let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some(Owner {
        kind: controller.kind.clone(),
        name: controller.name.clone(),
        uid: ControllerUid::new(controller.uid.clone()),
    })
}

fn dns_name(meta: &ObjectMeta, spec: Option<&PodSpec>) -> Option<String> {
    let spec = spec?;
    let hostname = spec.hostname.as_deref().filter(|name| !name.is_empty())?;
    let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty())?;
    Some(format!("{hostname}.{subdomain}.{}.svc", meta.namespace.as_deref()?))
}

fn label(labels: Option<&BTreeMap<String, String>>, key: &str) -> Option<String> {
    labels.and_then(|labels| labels.get(key)).cloned()
}

fn is_empty(resources: &ResourceRequirements) -> bool {
    let none = |amounts: &Option<BTreeMap<String, Quantity>>| amounts.as_ref().is_none_or(BTreeMap::is_empty);
    none(&resources.limits) && none(&resources.requests)
}

/// The value of the annotation by which people hold the object; `None`: nobody does.
pub fn hold(meta: &ObjectMeta) -> Option<String> {
    let value = meta.annotations.as_ref()?.get(HOLD_ANNOTATION)?;
    Some(plain(value.trim(), TEXT_CAP))
}

/// Negative counts do not occur; should one, it is no reason to panic.
fn clamped(count: i32) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests;
