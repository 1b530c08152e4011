//! Workloads of Kubernetes' own → the Redis servers in their pod templates.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Report,
    documents::{self, Object},
    lines::Step,
    server::{Amounts, Labels, Server},
    start, value,
};
use crate::domain::{
    pod::{Mount, VolumeKind},
    recognition::{self, ContainerSigns, Runs, Seen},
};

/// What containers take their configuration from.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    /// ConfigMaps by namespace and name.
    pub(super) maps: BTreeMap<(Option<&'a str>, &'a str), &'a Value>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(objects: &'a [Object<'_>]) -> Self {
        let maps = objects.iter().filter(|object| object.kind() == "ConfigMap");
        Self { maps: maps.map(|object| ((object.namespace(), object.name()), &object.value)).collect() }
    }

    /// The texts of a ConfigMap; `None`: it is not in the input. One without a namespace is of the namespace in which it is
    /// applied, and so is a workload without one.
    pub(super) fn map(&self, namespace: Option<&str>, name: &str) -> Option<&'a Value> {
        let exact = self.maps.get(&(namespace, name)).copied();
        let mut named = self.maps.iter().filter(|((of, is), _)| *is == name && (of.is_none() || namespace.is_none()));
        exact.or_else(|| named.next().map(|(_, map)| *map))
    }
}

/// Where the pod is, in a kind of workload.
fn template(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Pod" => "",
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => "spec.template",
        "CronJob" => "spec.jobTemplate.spec.template",
        "PodTemplate" => "template",
        _ => return None,
    })
}

/// A pod as its template describes it.
pub(super) struct Template<'a> {
    pub(super) object: &'a Object<'a>,
    pub(super) spec: &'a Value,
    pub(super) labels: Labels,
    /// The path of `spec`.
    pub(super) path: String,
}

/// A container of it.
#[derive(Clone, Copy)]
pub(super) struct Container<'a> {
    pub(super) value: &'a Value,
    /// `containers` or `initContainers`, and its place there.
    pub(super) list: &'static str,
    pub(super) at: usize,
}

impl<'a> Container<'a> {
    pub(super) fn name(&self) -> &'a str {
        value::text(self.value, "name").unwrap_or_default()
    }

    pub(super) fn image(&self) -> &'a str {
        value::text(self.value, "image").unwrap_or_default()
    }

    /// The words of its command line.
    fn words(&self) -> Vec<&'a str> {
        let all = value::texts(self.value, "command").into_iter().chain(value::texts(self.value, "args"));
        all.flat_map(str::split_whitespace).map(|word| word.trim_matches(['"', '\''])).collect()
    }

    fn runs(&self) -> Runs {
        let ports = value::list(self.value, "ports").iter().filter_map(|port| {
            let number = u16::try_from(value::at(port, "containerPort")?.as_u64()?).ok()?;
            Some((number, value::text(port, "name").unwrap_or_default()))
        });
        recognition::runs(&ContainerSigns {
            name: self.name(),
            image: self.image(),
            ports: ports.collect(),
            words: self.words(),
        })
    }
}

impl<'a> Template<'a> {
    fn of(object: &'a Object<'a>) -> Option<Self> {
        let at = template(object.kind())?;
        let template = value::at(&object.value, at)?;
        let labels = value::at(template, "metadata.labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value::plain(value)?)));
        let path = if at.is_empty() { "spec".to_owned() } else { format!("{at}.spec") };
        Some(Self { object, spec: value::at(template, "spec")?, labels: labels.collect(), path })
    }

    /// The containers that stay, those of sidecars among them.
    pub(super) fn containers(&self) -> Vec<Container<'a>> {
        let list = |list: &'static str| {
            value::list(self.spec, list).iter().enumerate().map(move |(at, value)| Container { value, list, at })
        };
        let stays = |container: &Container<'_>| value::text(container.value, "restartPolicy") == Some("Always");
        list("containers").chain(list("initContainers").filter(stays)).collect()
    }

    fn steps<'b>(&'b self, container: &Container<'_>) -> Vec<Step<'b>> {
        value::steps(&self.path).chain([Step::Field(container.list), Step::Item(container.at)]).collect()
    }

    /// How many pods hold the data; `None`: one on each node, or those of a job.
    fn replicas(&self) -> Option<u64> {
        match self.object.kind() {
            // What a job holds is meant to go with it.
            "DaemonSet" | "Job" | "CronJob" => None,
            "Pod" => Some(1),
            // The API server's default is 1.
            _ => Some(value::at(&self.object.value, "spec.replicas").and_then(Value::as_u64).unwrap_or(1)),
        }
    }

    /// The volumes in that container.
    fn mounts(&self, container: &Container<'_>) -> Vec<Mount> {
        let claims = value::list(&self.object.value, "spec.volumeClaimTemplates");
        let claimed = |name: &str| claims.iter().any(|claim| value::text(claim, "metadata.name") == Some(name));
        let volumes = value::list(self.spec, "volumes");
        let kind = |name: &str| {
            let volume = volumes.iter().find(|volume| value::text(volume, "name") == Some(name));
            let has = |field: &str| volume.is_some_and(|volume| volume.get(field).is_some());
            match () {
                () if claimed(name) || has("persistentVolumeClaim") => VolumeKind::Claim,
                () if has("emptyDir") => VolumeKind::EmptyDir,
                () => VolumeKind::Other,
            }
        };
        let all = value::list(container.value, "volumeMounts").iter().filter_map(|mount| {
            let name = value::text(mount, "name")?;
            Some(Mount {
                path: value::text(mount, "mountPath")?.to_owned(),
                volume: kind(name),
                claim: None,
                read_only: value::at(mount, "readOnly").and_then(Value::as_bool).unwrap_or(false),
            })
        });
        all.collect()
    }
}

/// The Redis servers of that object; none, if it makes no pods.
pub(super) fn servers(object: &Object<'_>, parts: &Parts<'_>, report: &mut Report) -> Vec<Server> {
    let Some(template) = Template::of(object) else { return Vec::new() };
    let containers = template.containers();
    let names: Vec<&str> = containers.iter().map(Container::name).collect();
    let seen = Seen { owners: owners(object), labels: vec![&template.labels], containers: vec![names] };
    let product = recognition::deployment(&seen);
    let is_server = |container: &&Container<'_>| container.runs() == Runs::Server;
    let servers = containers.iter().filter(is_server);
    servers.filter_map(|container| server(&template, container, product, parts, report)).collect()
}

fn owners<'a>(object: &'a Object<'_>) -> Vec<&'a str> {
    let owners = value::list(&object.value, "metadata.ownerReferences");
    owners.iter().filter_map(|owner| value::text(owner, "kind")).collect()
}

fn server(
    template: &Template<'_>,
    container: &Container<'_>,
    product: Option<&'static recognition::Deployment>,
    parts: &Parts<'_>,
    report: &mut Report,
) -> Option<Server> {
    let object = template.object;
    let path = template.steps(container);
    if let Some(problem) = unrendered(template, container) {
        report.problems.push(problem);
        return None;
    }
    let none = Value::Null;
    let resources = |value, path: &[Step<'_>], report: &mut Report| {
        let path: Vec<Step<'_>> = path.iter().copied().chain([Step::Field("resources")]).collect();
        Amounts::of(value::at(value, "resources").unwrap_or(&none), object, &path, report)
    };
    let own = resources(container.value, &path, report).ok()?;
    let spec: Vec<Step<'_>> = value::steps(&template.path).collect();
    let pod = resources(template.spec, &spec, report).ok()?;
    let start = start::of(template, container, parts);
    // A primary apart from its replicas is not alone, though its set has one pod.
    let apart = ["app.kubernetes.io/component", "component", "role"]
        .iter()
        .any(|key| template.labels.get(*key).is_some_and(|value| recognition::reads_as_a_role(key, value)));
    let alone = template.replicas() == Some(1) && !apart;
    Some(Server {
        place: object.place(&path),
        source: object.source(),
        object: object.title(),
        container: container.name().to_owned(),
        product,
        namespace: object.namespace().map(str::to_owned),
        labels: Some(template.labels.clone()),
        limit: [own.limit, pod.limit].into_iter().flatten().min(),
        request: own.request,
        settings: start.settings,
        open_because: start.open_because,
        read: start.read,
        alone_on: alone.then(|| template.mounts(container)),
        dir: start.dir,
    })
}

/// A container that a template engine was to fill in.
fn unrendered(template: &Template<'_>, container: &Container<'_>) -> Option<super::Problem> {
    let variables = value::list(container.value, "env").iter().filter_map(|variable| value::text(variable, "value"));
    let written = [container.name(), container.image()];
    let mut all = written.into_iter().chain(value::texts(container.value, "args")).chain(variables);
    let path = template.steps(container);
    all.any(|text| text.contains("{{"))
        .then(|| super::Problem { template: true, ..template.object.problem(&path, documents::TEMPLATE.to_owned()) })
}
