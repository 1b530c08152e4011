//! The exact change that gives new pods of a set another memory limit or request: a command, or a value of a chart, with real
//! names.
//! Templates are never changed by the operator: this is what people are told.

use std::fmt;

use crate::domain::{
    bytes::Bytes,
    pod::{Container, Owner, StatefulSet},
    quantity,
    recognition::limit_at::LimitAt,
    sample::{Config, Role},
    snapshot::{Snapshot, Target},
};

/// A change that gives new pods another limit or request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// What is done, and where: "set the limit to 768 MiB in the template of StatefulSet redis".
    pub what: String,
    /// The command.
    pub command: String,
    /// What it does to pods, and what else is to be known.
    pub effect: String,
}

impl Patch {
    /// The command, and what it does to pods.
    pub fn exact(&self) -> String {
        format!("{} ({})", self.command, self.effect)
    }
}

impl fmt::Display for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.exact())
    }
}

/// What writes down what that target's pods start with, where that is not their StatefulSet or Deployment alone: a resource
/// of an operator, or a Helm release. What is changed in the set itself it takes back.
pub fn kept_in(snapshot: &Snapshot, target: &Target) -> Option<String> {
    let container = target.pod.container.as_ref().ok()?;
    let maker = maker(snapshot, target, container);
    let at = target.pod.limit_at.as_ref().or_else(|| maker.as_ref()?.limit_at);
    let owner = target.pod.foreign_controller().or_else(|| maker.as_ref()?.owner);
    match at {
        Some(LimitAt::Resource { kind, name, .. }) => Some(format!("{kind} {name}")),
        Some(LimitAt::Value { release, .. }) => Some(format!("Helm release {release}")),
        None => owner.map(|owner| format!("{} {}", owner.kind, owner.name)),
    }
}

/// What new pods are to have.
struct Wanted {
    /// "set the limit to 768 MiB".
    what: String,
    limit: Option<Bytes>,
    request: Option<Bytes>,
}

impl Wanted {
    /// That limit; of a Guaranteed pod the request is the same.
    fn limit(to: Bytes, guaranteed: bool) -> Self {
        Self { what: format!("set the limit to {to}"), limit: Some(to), request: guaranteed.then_some(to) }
    }

    /// That request, and the limit without which it may not be.
    fn request(to: Bytes, limit: Option<Bytes>) -> Self {
        let also = limit.map_or_else(String::new, |limit| format!(" and the limit to {limit}"));
        Self { what: format!("set the memory request to {to}{also}"), limit, request: Some(to) }
    }

    /// The fields of `resources`, each with its amount of memory as Kubernetes writes it.
    fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let fields = [("limits", self.limit), ("requests", self.request)];
        fields.into_iter().filter_map(|(field, amount)| Some((field, quantity::format(amount?))))
    }

    /// Each of these, written so, one after the other.
    fn each(&self, between: &str, write: impl Fn(&str, &str) -> String) -> String {
        let written: Vec<String> = self.fields().map(|(field, amount)| write(field, &amount)).collect();
        written.join(between)
    }
}

/// What makes the pods of a target.
struct Maker<'a> {
    /// "StatefulSet redis".
    name: String,
    /// "statefulset/redis".
    object: String,
    /// It, where it is a StatefulSet.
    set: Option<&'a StatefulSet>,
    /// What owns it.
    owner: Option<&'a Owner>,
    limit_at: Option<&'a LimitAt>,
    /// What its template gives the Redis container.
    gives: Option<Bytes>,
    /// What a change of it does to its pods.
    rolls: String,
}

/// The change that gives new pods of that target's set the limit; `None`: what makes them is not known.
pub fn of(namespace: &str, snapshot: &Snapshot, target: &Target, to: Bytes) -> Option<Patch> {
    if target.pod.foreign_controller().is_none()
        && let Some(maker) = maker(snapshot, target, target.pod.container.as_ref().ok()?)
        && let Some(gives) = maker.gives.filter(|gives| *gives >= to)
    {
        let what = format!("let the pod be replaced, for the template of {} gives {gives} already", maker.name);
        let (command, effect) = replacement(namespace, &maker, target);
        return Some(Patch { what, command, effect });
    }
    change(namespace, snapshot, target, &Wanted::limit(to, target.pod.guaranteed))
}

/// The change that gives them that memory request, and the limit where one is needed for it.
pub fn of_request(
    namespace: &str,
    snapshot: &Snapshot,
    target: &Target,
    to: Bytes,
    limit: Option<Bytes>,
) -> Option<Patch> {
    change(namespace, snapshot, target, &Wanted::request(to, limit))
}

fn change(namespace: &str, snapshot: &Snapshot, target: &Target, wanted: &Wanted) -> Option<Patch> {
    let container = target.pod.container.as_ref().ok()?;
    if let Some(owner) = target.pod.foreign_controller() {
        return Some(by_operator(namespace, owner, target.pod.limit_at.as_ref(), container, wanted));
    }
    let maker = maker(snapshot, target, container)?;
    if let Some(owner) = maker.owner {
        return Some(by_operator(namespace, owner, maker.limit_at, container, wanted));
    }
    Some(match maker.limit_at {
        Some(LimitAt::Value { chart, release, path: Some(path) }) => {
            by_chart(namespace, (chart, release), path, wanted, &maker.rolls)
        }
        at => {
            let release = match at {
                Some(LimitAt::Value { release, .. }) => Some(release),
                _ => None,
            };
            in_template(namespace, &maker, container, release, wanted)
        }
    })
}

fn maker<'a>(snapshot: &'a Snapshot, target: &Target, container: &Container) -> Option<Maker<'a>> {
    let uid = &target.pod.owner.as_ref()?.uid;
    let gives = |limits: &[(String, Option<Bytes>)]| {
        limits.iter().find(|(name, _)| *name == container.name).and_then(|(_, limit)| *limit)
    };
    if let Some(set) = snapshot.stateful_set(uid) {
        return Some(Maker {
            name: format!("StatefulSet {}", set.name),
            object: format!("statefulset/{}", set.name),
            set: Some(set),
            owner: set.owner.as_ref(),
            limit_at: set.limit_at.as_ref(),
            gives: gives(&set.template_limits),
            rolls: rolls(set, target),
        });
    }
    let deployment = snapshot.deployment(uid)?;
    Some(Maker {
        name: format!("Deployment {}", deployment.name),
        object: format!("deployment/{}", deployment.name),
        set: None,
        owner: None,
        limit_at: deployment.limit_at.as_ref(),
        gives: gives(&deployment.template_limits),
        rolls: "rolls its pods: Redis starts anew".to_owned(),
    })
}

/// What has a pod made anew from its template, and what that does. A roll-out that is asked for leaves alone the pods of a set
/// whose strategy is OnDelete, and those below its partition; and the mark by which it is asked for (an annotation of the
/// template) is taken back by a controller that owns the set.
fn replacement(namespace: &str, maker: &Maker<'_>, target: &Target) -> (String, String) {
    let pod = &target.pod.name;
    let Some(set) = maker.set else {
        return (format!("kubectl rollout restart {} -n {namespace}", maker.object), maker.rolls.clone());
    };
    let held = set.ordinal(pod).filter(|ordinal| !set.on_delete && *ordinal < set.partition);
    if let Some(ordinal) = held.filter(|_| set.current_revision != set.update_revision) {
        let change = format!(r#"{{"spec":{{"updateStrategy":{{"rollingUpdate":{{"partition":{ordinal}}}}}}}}}"#);
        return (
            format!("kubectl patch {} -n {namespace} --type merge -p '{change}'", maker.object),
            format!(
                "below its partition of {} pods are left alone: this rolls those from number {ordinal} on",
                set.partition
            ),
        );
    }
    if !set.on_delete && held.is_none() && set.owner.is_none() {
        return (format!("kubectl rollout restart {} -n {namespace}", maker.object), maker.rolls.clone());
    }
    let because = match (set.on_delete, held, &set.owner) {
        (true, ..) => format!("the strategy of {} is OnDelete, so that a roll-out replaces no pod", maker.name),
        (_, Some(_), _) => format!("it is below the partition of {}, which a roll-out leaves alone", maker.name),
        (.., Some(owner)) => format!("{} {} owns {}, and takes a roll-out back", owner.kind, owner.name, maker.name),
        (.., None) => String::new(),
    };
    let is_primary = target.sample().is_some_and(|sample| sample.replication.role == Role::Primary);
    let care = if is_primary {
        "it is a primary: let a replica take its role over first, or writes stop until it has loaded"
    } else {
        "one pod after the other, each when the one before has caught up, and a primary last"
    };
    (format!("kubectl delete pod {pod} -n {namespace}"), format!("{because}; {care}"))
}

/// At the resource of the operator that makes the pods.
fn by_operator(namespace: &str, owner: &Owner, at: Option<&LimitAt>, container: &Container, wanted: &Wanted) -> Patch {
    let effect = "its operator then restarts the pods, the primary too".to_owned();
    match at {
        Some(LimitAt::Resource { kind, group, name, path: Some(path), .. }) => Patch {
            what: format!("{} in {kind} {name}", wanted.what),
            command: format!(
                "kubectl patch {} {name} -n {namespace} --type merge -p '{}'",
                resource(kind, group.as_deref()),
                merge(path, wanted)
            ),
            effect,
        },
        Some(LimitAt::Resource { kind, group, name, said, path: None }) => Patch {
            what: format!("{} in {kind} {name}", wanted.what),
            command: format!("kubectl edit {} {name} -n {namespace}", resource(kind, group.as_deref())),
            effect: format!(
                "{} in {said}; {effect}",
                wanted.each(", ", |field, amount| format!("{field}.memory: {amount}"))
            ),
        },
        _ => Patch {
            what: format!("{} in {} {}", wanted.what, owner.kind, owner.name),
            command: format!("kubectl edit {} {} -n {namespace}", owner.kind.to_lowercase(), owner.name),
            effect: format!(
                "set {} there; {effect}",
                wanted.each(" and ", |field, amount| format!("{field}.memory of {} to {amount}", container.name))
            ),
        },
    }
}

/// How kubectl is told the kind: with the group, where that is known, for several products have a `Cluster`.
fn resource(kind: &str, group: Option<&str>) -> String {
    let kind = kind.to_lowercase();
    group.map_or_else(|| kind.clone(), |group| format!("{kind}.{group}"))
}

/// `{"spec":{"redis":{"resources":{"limits":{"memory":"768Mi"}}}}}`
fn merge(path: &str, wanted: &Wanted) -> String {
    let inner = wanted.each(",", |field, amount| format!(r#""{field}":{{"memory":"{amount}"}}"#));
    path.rsplit('.').fold(format!("{{{inner}}}"), |inner, field| format!(r#"{{"{field}":{inner}}}"#))
}

fn by_chart(namespace: &str, (chart, release): (&str, &str), path: &str, wanted: &Wanted, rolls: &str) -> Patch {
    let set = wanted.each(" ", |field, amount| format!("--set {path}.{field}.memory={amount}"));
    Patch {
        what: format!("{} in Helm release {release} ({chart})", wanted.what),
        command: format!("helm upgrade {release} CHART -n {namespace} --reuse-values {set}"),
        effect: format!("{rolls}; CHART as it was installed; where GitOps renders it, set the value there"),
    }
}

fn in_template(
    namespace: &str,
    maker: &Maker<'_>,
    container: &Container,
    release: Option<&String>,
    wanted: &Wanted,
) -> Patch {
    let kept = match release {
        Some(release) => {
            format!("Helm release {release} made it, so change its values too, or the next upgrade undoes it")
        }
        None => "where a chart or GitOps writes it, change it there".to_owned(),
    };
    let amounts = wanted.each(" ", |field, amount| format!("--{field}=memory={amount}"));
    Patch {
        what: format!("{} in the pod template", wanted.what),
        command: format!("kubectl set resources {} -n {namespace} -c {} {amounts}", maker.object, container.name),
        effect: format!("{}; {kept}", maker.rolls),
    }
}

/// What a change of its template does to its pods.
fn rolls(set: &StatefulSet, target: &Target) -> String {
    let saves = target.sample().and_then(|sample| sample.config.as_ref().ok()).map(Config::persists);
    let primary = match saves {
        Some(false) => {
            "it saves nothing, comes back EMPTY, and its replicas with it, unless a replica is primary by then"
        }
        _ => "no writes until it is back, or a replica is primary",
    };
    if set.on_delete {
        return "rolls no pod, for its strategy is OnDelete: delete them then, one after the other, a primary last"
            .to_owned();
    }
    match set.partition {
        0 if set.replicas == 1 => "rolls its only pod: Redis starts anew".to_owned(),
        0 => format!("rolls all {} pods, one after the other, the primary too: {primary}", set.replicas),
        partition => format!("rolls its pods from number {partition} on, one after the other"),
    }
}

#[cfg(test)]
mod tests;
