//! Which Redis sets a namespace has: its pods that run a server, put together by what made them. Pure.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    core::v1::{Container, Pod, PodSpec, Service},
};
use kube::ResourceExt as _;

use crate::{
    domain::{
        pod::Owner,
        recognition::{self, ContainerSigns, Deployment, Runs, Seen},
    },
    observe::pods::owner,
};

pub(super) type Labels = BTreeMap<String, String>;

/// What was read of a namespace.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) services: Vec<Service>,
    /// What could be read of the pods' controllers.
    pub(super) makers: Vec<Maker>,
    /// Pods, each with the host that its server says that it follows.
    pub(super) told: BTreeMap<String, String>,
    /// Pods, each with the hosts from which Sentinels are connected to its server.
    pub(super) watched_from: BTreeMap<String, Vec<IpAddr>>,
}

/// A controller of pods, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Maker {
    /// The UID that its pods name.
    uid: String,
    /// "StatefulSet" or "Deployment", else the kind that its pods name.
    pub(super) kind: String,
    pub(super) name: String,
    /// Its own owner: another operator's resource.
    pub(super) owner: Option<Owner>,
    /// By which it selects its pods; empty: not read.
    pub(super) selector: Labels,
    /// Which it gives to its pods; empty: not read.
    pub(super) template_labels: Labels,
    pub(super) replicas: usize,
}

impl Maker {
    pub(super) fn of_stateful_set(set: &StatefulSet) -> Self {
        let spec = set.spec.as_ref();
        let template = spec.and_then(|spec| spec.template.metadata.as_ref());
        Self {
            uid: set.uid().unwrap_or_default(),
            kind: "StatefulSet".to_owned(),
            name: set.name_any(),
            owner: owner(&set.metadata),
            selector: spec.and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default(),
            template_labels: template.and_then(|meta| meta.labels.clone()).unwrap_or_default(),
            replicas: wanted(spec.and_then(|spec| spec.replicas)),
        }
    }

    /// A Deployment makes its pods through ReplicaSets: their owner has the name that people know.
    pub(super) fn of_replica_set(set: &ReplicaSet) -> Self {
        let spec = set.spec.as_ref();
        let deployment = owner(&set.metadata);
        let template = spec.and_then(|spec| spec.template.as_ref()).and_then(|template| template.metadata.as_ref());
        let without_hash = |labels: Option<Labels>| {
            let mut labels = labels.unwrap_or_default();
            labels.remove("pod-template-hash");
            labels
        };
        Self {
            uid: set.uid().unwrap_or_default(),
            kind: deployment.as_ref().map_or("ReplicaSet", |owner| owner.kind.as_str()).to_owned(),
            name: deployment.as_ref().map_or_else(|| set.name_any(), |owner| owner.name.clone()),
            owner: deployment,
            selector: without_hash(spec.and_then(|spec| spec.selector.match_labels.clone())),
            template_labels: without_hash(template.and_then(|meta| meta.labels.clone())),
            replicas: wanted(spec.and_then(|spec| spec.replicas)),
        }
    }

    fn unread(owner: &Owner) -> Self {
        Self {
            uid: owner.uid.as_str().to_owned(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            owner: None,
            selector: Labels::new(),
            template_labels: Labels::new(),
            replicas: 0,
        }
    }

    /// "StatefulSet cache".
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

/// The API server's default is 1.
fn wanted(replicas: Option<i32>) -> usize {
    replicas.map_or(1, |wanted| usize::try_from(wanted).unwrap_or(0))
}

/// A pod that runs a Redis server.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) pod: Arc<Pod>,
    /// The container of the server.
    pub(super) container: Container,
    /// A Sentinel runs beside it.
    pub(super) has_sentinel: bool,
}

impl Member {
    fn of(pod: &Arc<Pod>) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let over = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let of_a_job = owner(&pod.metadata).is_some_and(|owner| owner.kind == "Job");
        if of_a_job || matches!(over, Some("Succeeded" | "Failed")) {
            return None;
        }
        let container = spec.containers.iter().find(|container| runs(container) == Runs::Server)?.clone();
        Some(Self { pod: Arc::clone(pod), container, has_sentinel: has_sentinel(pod) })
    }

    pub(super) fn name(&self) -> String {
        self.pod.name_any()
    }

    /// Each name of another server that it is told to follow when it starts: by its arguments, or a chart's variable.
    fn follows(&self) -> Vec<&str> {
        let words = words(&self.container);
        let mut hosts: Vec<&str> = words
            .windows(2)
            .filter(|pair| matches!(pair, [word, _] if word.ends_with("replicaof") || word.ends_with("slaveof")))
            .filter_map(|pair| pair.last().copied())
            .collect();
        let names = |name: &str| name.ends_with("_MASTER_HOST") || name.ends_with("_PRIMARY_HOST");
        let variables = self.container.env.iter().flatten().filter(|variable| names(&variable.name));
        hosts.extend(variables.filter_map(|variable| variable.value.as_deref()));
        hosts
    }
}

fn words(container: &Container) -> Vec<&str> {
    let given = container.command.iter().flatten().chain(container.args.iter().flatten());
    given.flat_map(|word| word.split_whitespace()).map(|word| word.trim_matches(['"', '\''])).collect()
}

fn runs(container: &Container) -> Runs {
    let ports = container.ports.iter().flatten();
    recognition::runs(&ContainerSigns {
        name: &container.name,
        image: container.image.as_deref().unwrap_or_default(),
        ports: ports
            .filter_map(|port| {
                Some((u16::try_from(port.container_port).ok()?, port.name.as_deref().unwrap_or_default()))
            })
            .collect(),
        words: words(container),
    })
}

/// The containers that stay, those of sidecars among them.
fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}

fn has_sentinel(pod: &Pod) -> bool {
    pod.spec.iter().flat_map(containers).any(|container| runs(container) == Runs::Sentinel)
}

/// Pods that replicate one data set, as far as Kubernetes shows it.
#[derive(Debug)]
pub(super) struct RedisSet {
    pub(super) name: String,
    pub(super) members: Vec<Member>,
    pub(super) makers: Vec<Maker>,
    /// Every pod of the namespace that is no member.
    pub(super) strangers: Vec<Arc<Pod>>,
    /// What deployed it, where that is recognised.
    pub(super) deployment: Option<&'static Deployment>,
    /// Pods that are Sentinels and no servers, and by their labels of this set, or connected to its servers.
    pub(super) sentinels: Vec<String>,
    /// Those of the namespace that are of no set by their labels.
    pub(super) other_sentinels: Vec<String>,
}

impl RedisSet {
    fn new(namespace: &Namespace, members: Vec<Member>) -> Self {
        let mut makers = makers(namespace, &members);
        // A Deployment that is rolled out has pods of two ReplicaSets.
        makers.dedup_by(|a, b| a.text() == b.text());
        let is_member = |pod: &&Arc<Pod>| members.iter().any(|member| member.pod.metadata.name == pod.metadata.name);
        let strangers = namespace.pods.iter().filter(|pod| !is_member(pod)).cloned().collect();
        let deployment = recognised(&members, &makers);
        let name = name(&members, &makers, deployment);
        let mut set =
            Self { name, members, makers, strangers, deployment, sentinels: Vec::new(), other_sentinels: Vec::new() };
        let hosts = set.members.iter().filter_map(|member| namespace.watched_from.get(&member.name())).flatten();
        let hosts: Vec<String> = hosts.map(ToString::to_string).collect();
        let watches =
            |pod: &Pod| set.is_alike(pod) || address(pod).is_some_and(|ip| hosts.iter().any(|host| host == ip));
        set.sentinels = sentinels(&set.strangers).filter(|pod| watches(pod)).map(|pod| pod.name_any()).collect();
        set
    }

    /// Its Sentinels that run in pods of their own, as if these were a set: what reaches them is found like what reaches
    /// servers. `None`: it has none.
    pub(super) fn sentinels_apart(&self, namespace: &Namespace) -> Option<Self> {
        let own = namespace.pods.iter().filter(|pod| self.sentinels.contains(&pod.name_any()));
        let members = own.filter_map(|pod| {
            let container = pod.spec.iter().flat_map(containers).find(|it| runs(it) == Runs::Sentinel)?.clone();
            Some(Member { pod: Arc::clone(pod), container, has_sentinel: true })
        });
        let members: Vec<Member> = members.collect();
        let in_its_pods = self.members.iter().any(|member| member.has_sentinel);
        (!members.is_empty() && !in_its_pods).then(|| Self::new(namespace, members))
    }

    /// Its labels name the same release as the members' do.
    fn is_alike(&self, pod: &Pod) -> bool {
        const SAME: [&str; 3] = ["app.kubernetes.io/instance", "app.kubernetes.io/name", "release"];
        let own = self.members.first().map(|member| member.pod.labels());
        let both = SAME.iter().filter_map(|key| Some((own?.get(*key)?, pod.labels().get(*key)?)));
        let both: Vec<_> = both.collect();
        !both.is_empty() && both.iter().all(|(own, other)| own == other)
    }

    /// The label moves from pod to pod with the role: by its name, or because its operator keeps it.
    pub(super) fn says_a_role(&self, key: &str) -> bool {
        let kept = self.deployment.and_then(|deployment| deployment.role_label);
        recognition::says_a_role(key) || kept.is_some_and(|label| label.key == key)
    }

    /// Its pods, as `validate` and the look take them.
    pub(super) fn pods(&self) -> Vec<Arc<Pod>> {
        self.members.iter().map(|member| Arc::clone(&member.pod)).collect()
    }

    /// A server of it is told to be a node of a cluster.
    pub(super) fn clustered(&self) -> bool {
        self.members.iter().any(|member| {
            let words = words(&member.container);
            let told = words.windows(2).any(|pair| matches!(pair, [flag, "yes"] if flag.ends_with("cluster-enabled")));
            told || member.container.ports.iter().flatten().any(|port| port.container_port == 16379)
        })
    }
}

fn sentinels(pods: &[Arc<Pod>]) -> impl Iterator<Item = &Arc<Pod>> {
    pods.iter().filter(|pod| has_sentinel(pod) && Member::of(pod).is_none())
}

fn makers(namespace: &Namespace, members: &[Member]) -> Vec<Maker> {
    let mut makers: Vec<Maker> = Vec::new();
    for owner in members.iter().filter_map(|member| owner(&member.pod.metadata)) {
        if makers.iter().all(|maker| maker.uid != owner.uid.as_str()) {
            let read = namespace.makers.iter().find(|maker| maker.uid == owner.uid.as_str());
            makers.push(read.cloned().unwrap_or_else(|| Maker::unread(&owner)));
        }
    }
    makers.sort_by(|a, b| a.name.cmp(&b.name));
    makers
}

fn recognised(members: &[Member], makers: &[Maker]) -> Option<&'static Deployment> {
    let of_makers = makers.iter().flat_map(|maker| {
        let own = std::iter::once(maker.kind.as_str());
        own.chain(maker.owner.as_ref().map(|owner| owner.kind.as_str()))
    });
    recognition::deployment(&Seen {
        owners: of_makers.collect(),
        labels: members.iter().map(|member| member.pod.labels()).collect(),
        containers: members
            .iter()
            .map(|member| member.pod.spec.iter().flat_map(containers).map(|it| it.name.as_str()).collect())
            .collect(),
    })
}

/// What people call it: the resource of its operator, or what makes its pods, without what tells several of these apart.
fn name(members: &[Member], makers: &[Maker], deployment: Option<&Deployment>) -> String {
    let labels = members.first().map(|member| member.pod.labels());
    if let Some(name) = labels.and_then(|labels| labels.get(deployment?.set_label?)) {
        return name.clone();
    }
    if let [first, rest @ ..] = makers {
        let owner = first.owner.as_ref();
        if let Some(owner) = owner.filter(|of| rest.iter().all(|maker| maker.owner.as_ref() == Some(*of))) {
            return owner.name.clone();
        }
        let common = rest.iter().fold(first.name.as_str(), |common, maker| common_begin(common, &maker.name));
        let common = common.trim_end_matches(['-', '.']);
        if !common.is_empty() {
            return common.to_owned();
        }
        return first.name.clone();
    }
    members.first().map(Member::name).unwrap_or_default()
}

fn common_begin<'a>(a: &'a str, b: &str) -> &'a str {
    let end = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    a.get(..end).unwrap_or_default()
}

/// The Redis sets of the namespace, by name; no two have the same name.
pub(super) fn sets(namespace: &Namespace) -> Vec<RedisSet> {
    let mut groups: Vec<Vec<Member>> = Vec::new();
    for member in namespace.pods.iter().filter_map(Member::of) {
        // It may be what holds several groups together.
        let (mut one, others): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(|other| belong(namespace, other, &member)));
        groups = others;
        let mut joined: Vec<Member> = one.drain(..).flatten().collect();
        joined.push(member);
        groups.push(joined);
    }
    let mut sets: Vec<RedisSet> = groups
        .into_iter()
        .map(|mut members| {
            members.sort_by_key(Member::name);
            RedisSet::new(namespace, members)
        })
        .collect();
    sets.sort_by(|a, b| {
        a.name.cmp(&b.name).then_with(|| a.members.first().map(Member::name).cmp(&b.members.first().map(Member::name)))
    });
    let claimed: Vec<String> = sets.iter().flat_map(|set| set.sentinels.clone()).collect();
    let all = sentinels(&namespace.pods).map(|pod| pod.name_any());
    let others: Vec<String> = all.filter(|name| !claimed.contains(name)).collect();
    let mut taken = Vec::new();
    for set in &mut sets {
        set.other_sentinels.clone_from(&others);
        set.name = unused(&set.name, &taken);
        taken.push(set.name.clone());
    }
    sets
}

/// The name, with a number where it is taken.
pub(super) fn unused(name: &str, taken: &[String]) -> String {
    let free = |name: &String| !taken.contains(name);
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned()).chain(numbered).find(free).unwrap_or_default()
}

/// Whether two pods are of one set.
fn belong(namespace: &Namespace, a: &Member, b: &Member) -> bool {
    let of = |member: &Member| makers(namespace, std::slice::from_ref(member)).into_iter().next();
    let (of_a, of_b) = (of(a), of(b));
    if let (Some(a), Some(b)) = (&of_a, &of_b)
        && (a.uid == b.uid || a.owner == b.owner && a.owner.as_ref().is_some_and(recognition::owns_one_set))
    {
        return true;
    }
    let shared = |member: &Member, maker: &Option<Maker>| {
        let makers: Vec<Maker> = maker.iter().cloned().collect();
        let key = recognised(std::slice::from_ref(member), &makers)?.set_label?;
        member.pod.labels().get(key).map(|value| (key, value.clone()))
    };
    let (set_of_a, set_of_b) = (shared(a, &of_a), shared(b, &of_b));
    (set_of_a.is_some() && set_of_a == set_of_b) || leads_to(namespace, a, b) || leads_to(namespace, b, a)
}

/// Whether one follows the other, by its name or address or by those of a Service which takes it: as it is told to when it
/// starts, or as its server says.
fn leads_to(namespace: &Namespace, from: &Member, to: &Member) -> bool {
    let takes = |service: &Service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| !selector.is_empty() && has_all(to.pod.labels(), selector))
    };
    let address_of = |service: &Service| service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
    let is_it = |host: &str| {
        let name = host.split('.').next().unwrap_or_default();
        name == to.name()
            || address(&to.pod) == Some(host)
            || namespace.services.iter().any(|service| {
                (service.name_any() == name || address_of(service).as_deref() == Some(host)) && takes(service)
            })
    };
    let said = namespace.told.get(&from.name()).map(String::as_str);
    from.follows().into_iter().chain(said).any(is_it)
}

fn address(pod: &Pod) -> Option<&str> {
    pod.status.as_ref().and_then(|status| status.pod_ip.as_deref())
}

/// Whether the labels have all of these.
pub(super) fn has_all(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}
