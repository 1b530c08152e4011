//! The exact change that gives new pods of a set another memory limit or request: a command, or a value of a chart, with real
//! names.
//! Templates are never changed by the operator: this is what people are told.

use std::fmt;

use crate::domain::{
    bytes::Bytes,
    names::in_short,
    pod::{Container, Owner, StatefulSet},
    quantity,
    recognition::limit_at::LimitAt,
    sample::{Config, Role},
    snapshot::{Snapshot, Target},
};

/// What a change of the resource that an operator makes pods from does to them.
const BY_ITS_OPERATOR: &str = "its operator then restarts the pods, the primary too";

/// A change that gives new pods another limit or request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// What is done, and where: "set the limit to 768 MiB in the template of StatefulSet redis".
    pub what: String,
    /// What it does to pods, and what comes before it for that reason: whoever reads a command carries it out.
    pub before: String,
    /// The command.
    pub command: String,
    /// What else is to be known; empty: nothing.
    pub note: String,
}

impl Patch {
    /// What it does to pods, and then the command.
    pub fn exact(&self) -> String {
        let note = if self.note.is_empty() { String::new() } else { format!(" ({})", self.note) };
        format!("{}: {}{note}", self.before, self.command)
    }
}

impl fmt::Display for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.exact())
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
}

impl Maker<'_> {
    /// What a change of it does to its pods, and what comes before that.
    fn rolls(&self, namespace: &str, snapshot: &Snapshot, target: &Target) -> String {
        match self.set {
            Some(set) => rolls(namespace, snapshot, set),
            None => format!("this rolls its pods: {}", anew(target)),
        }
    }
}

/// The change that gives new pods of that target's set the limit; `None`: what makes them is not known.
pub fn of(namespace: &str, snapshot: &Snapshot, target: &Target, to: Bytes) -> Option<Patch> {
    if target.pod.foreign_controller().is_none()
        && let Some(maker) = maker(snapshot, target, target.pod.container.as_ref().ok()?)
        && let Some(gives) = maker.gives.filter(|gives| *gives >= to)
    {
        let what = format!("let the pod be replaced, for the template of {} gives {gives} already", maker.name);
        let (command, before) = replacement(namespace, snapshot, &maker, target);
        return Some(Patch { what, before, command, note: String::new() });
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
    let rolls = maker.rolls(namespace, snapshot, target);
    Some(match maker.limit_at {
        Some(LimitAt::Value { chart, release, path: Some(path) }) => {
            by_chart(namespace, (chart, release), path, wanted, rolls)
        }
        at => {
            let release = match at {
                Some(LimitAt::Value { release, .. }) => Some(release),
                _ => None,
            };
            in_template(namespace, (&maker, rolls), container, release, wanted)
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
    })
}

/// What has a pod made anew from its template, and what that does. A roll-out that is asked for leaves alone the pods of a set
/// whose strategy is OnDelete, and those below its partition; and the mark by which it is asked for (an annotation of the
/// template) is taken back by a controller that owns the set.
fn replacement(namespace: &str, snapshot: &Snapshot, maker: &Maker<'_>, target: &Target) -> (String, String) {
    let rolls = || maker.rolls(namespace, snapshot, target);
    let pod = &target.pod.name;
    let Some(set) = maker.set else {
        return (format!("kubectl rollout restart {} -n {namespace}", maker.object), rolls());
    };
    let held = set.ordinal(pod).filter(|ordinal| !set.on_delete && *ordinal < set.partition);
    if let Some(ordinal) = held.filter(|_| set.current_revision != set.update_revision) {
        let change = format!(r#"{{"spec":{{"updateStrategy":{{"rollingUpdate":{{"partition":{ordinal}}}}}}}}}"#);
        return (
            format!("kubectl patch {} -n {namespace} --type merge -p '{change}'", maker.object),
            format!(
                "below its partition of {} pods are left alone, and this rolls those from number {ordinal} on, a primary among them \
                 only after a replica has taken its role",
                set.partition
            ),
        );
    }
    if !set.on_delete && held.is_none() && set.owner.is_none() {
        return (format!("kubectl rollout restart {} -n {namespace}", maker.object), rolls());
    }
    let because = match (set.on_delete, held, &set.owner) {
        (true, ..) => format!("the strategy of {} is OnDelete, so that a roll-out replaces no pod", maker.name),
        (_, Some(_), _) => format!("it is below the partition of {}, which a roll-out leaves alone", maker.name),
        (.., Some(owner)) => format!("{} {} owns {}, and takes a roll-out back", owner.kind, owner.name, maker.name),
        (.., None) => String::new(),
    };
    let care = match (is_primary(target), saves(target)) {
        (true, Some(false)) => {
            "it is a primary that saves nothing: first let a replica take its role over, or it comes back EMPTY, and its replicas \
             copy that"
        }
        (true, _) => "it is a primary: first let a replica take its role over, or writes stop until it has loaded",
        (false, _) => "one pod after the other, each when the one before has caught up, and a primary last",
    };
    (format!("kubectl delete pod {pod} -n {namespace}"), format!("{because}; {care}"))
}

/// At the resource of the operator that makes the pods.
fn by_operator(namespace: &str, owner: &Owner, at: Option<&LimitAt>, container: &Container, wanted: &Wanted) -> Patch {
    let before = BY_ITS_OPERATOR.to_owned();
    match at {
        Some(LimitAt::Resource { kind, group, name, path: Some(path), .. }) => Patch {
            what: format!("{} in {kind} {name}", wanted.what),
            before,
            command: format!(
                "kubectl patch {} {name} -n {namespace} --type merge -p '{}'",
                resource(kind, group.as_deref()),
                merge(path, wanted)
            ),
            note: String::new(),
        },
        Some(LimitAt::Resource { kind, group, name, said, path: None }) => Patch {
            what: format!("{} in {kind} {name}", wanted.what),
            before,
            command: format!("kubectl edit {} {name} -n {namespace}", resource(kind, group.as_deref())),
            note: format!("{} in {said}", wanted.each(", ", |field, amount| format!("{field}.memory: {amount}"))),
        },
        _ => Patch {
            what: format!("{} in {} {}", wanted.what, owner.kind, owner.name),
            before,
            command: format!("kubectl edit {} {} -n {namespace}", owner.kind.to_lowercase(), owner.name),
            note: format!(
                "set {} there",
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

fn by_chart(namespace: &str, (chart, release): (&str, &str), path: &str, wanted: &Wanted, rolls: String) -> Patch {
    let set = wanted.each(" ", |field, amount| format!("--set {path}.{field}.memory={amount}"));
    Patch {
        what: format!("{} in Helm release {release} ({chart})", wanted.what),
        before: rolls,
        command: format!("helm upgrade {release} CHART -n {namespace} --reuse-values {set}"),
        note: "CHART as it was installed; where GitOps renders it, set the value there".to_owned(),
    }
}

fn in_template(
    namespace: &str,
    (maker, rolls): (&Maker<'_>, String),
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
        before: rolls,
        command: format!("kubectl set resources {} -n {namespace} -c {} {amounts}", maker.object, container.name),
        note: kept,
    }
}

/// What a change of what that target's pods are made from does to them, and what comes before it for that reason; `None`: what
/// makes them is not known.
pub fn rolling(namespace: &str, snapshot: &Snapshot, target: &Target) -> Option<String> {
    let container = target.pod.container.as_ref().ok()?;
    let maker = maker(snapshot, target, container);
    if target.pod.foreign_controller().is_some() || maker.as_ref().is_some_and(|maker| maker.owner.is_some()) {
        return Some(BY_ITS_OPERATOR.to_owned());
    }
    Some(maker?.rolls(namespace, snapshot, target))
}

/// The command by which that target's template is edited; `None`: what makes its pods is not known.
pub fn edit(namespace: &str, snapshot: &Snapshot, target: &Target) -> Option<String> {
    let maker = maker(snapshot, target, target.pod.container.as_ref().ok()?)?;
    Some(format!("kubectl edit {} -n {namespace}", maker.object))
}

fn rolls(namespace: &str, snapshot: &Snapshot, set: &StatefulSet) -> String {
    let of_it = |target: &&Target| target.pod.owner.as_ref().is_some_and(|owner| owner.uid == set.uid);
    let rolled = |target: &&Target| set.ordinal(&target.pod.name).is_none_or(|ordinal| ordinal >= set.partition);
    let members = || snapshot.targets.iter().filter(of_it);
    if set.on_delete {
        return "this rolls no pod, for its strategy is OnDelete: delete them then, one after the other, and a primary only when a \
                replica has taken its role over"
            .to_owned();
    }
    if let (0, 1, Some(only)) = (set.partition, set.replicas, members().next()) {
        return format!("this rolls its only pod: {}", anew(only));
    }
    let which = match set.partition {
        0 => format!("this rolls all {} pods, one after the other", set.replicas),
        partition => format!("this rolls its pods from number {partition} on, one after the other"),
    };
    let primaries: Vec<&Target> = members().filter(|target| is_primary(target)).filter(rolled).collect();
    let names = in_short(&primaries.iter().map(|target| &target.pod.name).collect::<Vec<_>>(), 3);
    match primaries.as_slice() {
        [] => which,
        some if some.iter().any(|target| saves(target) == Some(false)) => {
            let first = keep_out(namespace, set, some, &names);
            format!(
                "{which}, the primary {names} too, which saves nothing and comes back EMPTY, and its replicas copy that: {first}"
            )
        }
        _ => format!("{which}, the primary {names} too: no writes until it is back, or a replica is primary"),
    }
}

/// How the primaries are kept out of a roll-out, which goes from the highest number down.
fn keep_out(namespace: &str, set: &StatefulSet, primaries: &[&Target], names: &str) -> String {
    let highest = primaries.iter().filter_map(|target| set.ordinal(&target.pod.name)).max();
    match highest.map(|ordinal| ordinal.saturating_add(1)).filter(|above| *above < set.replicas) {
        Some(above) => format!(
            "first kubectl patch statefulset/{} -n {namespace} --type merge -p \
             '{{\"spec\":{{\"updateStrategy\":{{\"rollingUpdate\":{{\"partition\":{above}}}}}}}}}' (leaves {names} alone; back to {} when \
             a replica is primary instead), then",
            set.name, set.partition
        ),
        None => format!("first let a replica take the role of {names} over, then"),
    }
}

/// What a start does to a server on which nobody else follows.
fn anew(target: &Target) -> &'static str {
    match saves(target) {
        Some(false) => "Redis starts anew, and EMPTY, for it saves nothing",
        _ => "Redis starts anew, and takes no writes until it has loaded",
    }
}

fn is_primary(target: &Target) -> bool {
    target.sample().is_some_and(|sample| sample.replication.role == Role::Primary)
}

/// Whether it writes its data to disk; `None`: not known.
fn saves(target: &Target) -> Option<bool> {
    target.sample().and_then(|sample| sample.config.as_ref().ok()).map(Config::persists)
}

#[cfg(test)]
mod tests;
