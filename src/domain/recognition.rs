//! Owners, charts and containers that are recognised: one table of signs, for what is refused and for what people are told.
//!
//! Signs are what Kubernetes shows: owner references, labels, containers, images. What a server itself says wins over
//! them (`topology`). Source of each row: the named product's manifests, read in August 2026.

pub mod limit_at;
pub mod stated;

use std::collections::BTreeMap;

use self::stated::{Known, Stated};
use super::pod::Owner;

/// Controllers of Kubernetes' own: a pod of theirs may differ from its template.
const KUBERNETES: [&str; 4] = ["StatefulSet", "ReplicaSet", "DaemonSet", "ReplicationController"];

/// Whether a pod's controller is none of Kubernetes' own: it may replace a pod that no longer is as its template says.
/// KubeBlocks' `InstanceSet` deletes a pod whose limits were changed.
pub fn is_foreign(controller: &Owner) -> bool {
    !KUBERNETES.contains(&controller.kind.as_str())
}

/// One way in which people run Redis.
#[derive(Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The chart or operator, for a text.
    pub product: &'static str,
    /// Any of these lists of signs is enough; of a list every one.
    signs: &'static [&'static [Sign]],
    /// What it always is; `None`: the number of pods, the containers and the Services tell.
    pub shape: Option<Shape>,
    /// What changes the memory limit of its pods for good.
    pub limit_at: &'static str,
    /// The label by which its own controller tells the roles.
    pub role_label: Option<RoleSign>,
    /// The label that has one value on all pods of a set that has several controllers.
    pub set_label: Option<&'static str>,
    /// What people must know of it.
    pub note: Option<&'static str>,
    /// How it is written down before anything runs.
    pub stated: &'static [Stated],
    /// The field with the `resources` of its Redis, joined by dots, where no form of `stated` says it.
    resources: Option<&'static str>,
}

impl Deployment {
    /// A chart makes it, and no operator.
    fn is_a_chart(&self) -> bool {
        let owned = self.signs.iter().flat_map(|signs| *signs).any(|sign| matches!(sign, Sign::Owner(_)));
        !owned && !self.stated.iter().any(|form| matches!(form.by, Known::Resource(..)))
    }
}

/// A label whose value follows the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleSign {
    /// Its key.
    pub key: &'static str,
    /// The primary's value.
    pub primary: &'static str,
    /// A replica's value.
    pub replica: &'static str,
}

/// One sign of a deployment.
#[derive(Debug, PartialEq, Eq)]
enum Sign {
    /// The set, or what owns it, is owned by something of that kind.
    Owner(&'static str),
    /// Every pod has the label with one of these values.
    Label(&'static str, &'static [&'static str]),
    /// Every pod has the label.
    HasLabel(&'static str),
    /// No pod has the label.
    NoLabel(&'static str),
    /// Every pod has a container of one of these names.
    Container(&'static [&'static str]),
}

/// How the primary of a set is found, as far as Kubernetes shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One pod.
    Standalone,
    /// Start arguments fix the primary: a StatefulSet of its own, others for the replicas.
    FixedPrimary,
    /// Clients are held to one pod, which starts as primary.
    PinnedPod,
    /// A label says the role, and Services follow it.
    RoleLabel,
    /// Sentinels decide.
    Sentinel,
    /// Redis Cluster: the nodes decide, and redirect clients.
    Cluster,
    /// Several pods, and nothing shows how clients find the primary.
    Untold,
    /// A server that does not replicate as Redis does.
    Other,
}

impl Shape {
    /// What it is, for a headline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "one pod",
            Self::FixedPrimary => "a fixed primary and replicas",
            Self::PinnedPod => "clients held to one pod",
            Self::RoleLabel => "primary by role label",
            Self::Sentinel => "under Sentinel",
            Self::Cluster => "Redis Cluster",
            Self::Untold => "several pods",
            Self::Other => "another product",
        }
    }
}

const NAME: &str = "app.kubernetes.io/name";
const COMPONENT: &str = "app.kubernetes.io/component";
const SERVERS: &[&str] = &["redis", "valkey"];
const MASTER_SLAVE: RoleSign = RoleSign { key: "redis-role", primary: "master", replica: "slave" };

const fn row(product: &'static str, signs: &'static [&'static [Sign]], limit_at: &'static str) -> Deployment {
    Deployment {
        product,
        signs,
        shape: None,
        limit_at,
        role_label: None,
        set_label: None,
        note: None,
        stated: &[],
        resources: None,
    }
}

/// The rows, the more particular first.
static DEPLOYMENTS: &[Deployment] = &[
    Deployment {
        shape: Some(Shape::Sentinel),
        role_label: Some(RoleSign { key: "redisfailovers-role", primary: "master", replica: "slave" }),
        note: Some("its operator sets replica-priority and spec.redis.customConfig back every 30 s"),
        stated: stated::SPOTAHOME,
        ..row(
            "spotahome redis-operator",
            &[&[Sign::Owner("RedisFailover")]],
            "spec.redis.resources of the RedisFailover",
        )
    },
    Deployment {
        role_label: Some(MASTER_SLAVE),
        note: Some("every new pod starts as a primary until its operator looks again, after up to 34 s"),
        stated: stated::OPSTREE_REPLICATION,
        ..row(
            "OT-CONTAINER-KIT redis-operator",
            &[&[Sign::Owner("RedisReplication")]],
            "spec.kubernetesConfig.resources of the RedisReplication",
        )
    },
    Deployment {
        shape: Some(Shape::Cluster),
        role_label: Some(MASTER_SLAVE),
        note: Some("without a volume for nodes.conf a pod that is replaced comes back as an empty primary"),
        stated: stated::OPSTREE_CLUSTER,
        ..row(
            "OT-CONTAINER-KIT redis-operator",
            &[&[Sign::Owner("RedisCluster"), Sign::Label("role", &["leader", "follower"])]],
            "spec.redisLeader and spec.redisFollower of the RedisCluster",
        )
    },
    Deployment {
        stated: stated::OPSTREE_REDIS,
        ..row(
            "OT-CONTAINER-KIT redis-operator",
            &[&[Sign::Owner("Redis"), Sign::HasLabel("redis_setup_type")]],
            "spec.kubernetesConfig.resources of the Redis",
        )
    },
    Deployment {
        shape: Some(Shape::Cluster),
        set_label: Some("valkey.io/cluster"),
        note: Some("its operator sets maxmemory back within 60 s where spec.config has it"),
        stated: stated::VALKEY_IO,
        ..row(
            "valkey-io valkey-operator",
            &[&[Sign::HasLabel("valkey.io/cluster")]],
            "spec.resources of the ValkeyCluster",
        )
    },
    Deployment {
        shape: Some(Shape::Cluster),
        stated: stated::HYPERSPIKE,
        ..row("hyperspike valkey-operator", &[&[Sign::Owner("Valkey")]], "spec.resources of the Valkey")
    },
    Deployment {
        role_label: Some(RoleSign { key: "kubeblocks.io/role", primary: "primary", replica: "secondary" }),
        note: Some("it replaces a pod whose live limits differ from its template: no pod of it is resized"),
        stated: stated::KUBEBLOCKS,
        ..row(
            "KubeBlocks",
            &[&[Sign::Owner("InstanceSet")], &[Sign::HasLabel("apps.kubeblocks.io/component-name")]],
            "componentSpecs[].resources of the Cluster",
        )
    },
    Deployment {
        shape: Some(Shape::Other),
        role_label: Some(RoleSign { key: "role", primary: "master", replica: "replica" }),
        resources: Some("spec.resources"),
        ..row("Dragonfly operator", &[&[Sign::Owner("Dragonfly")]], "spec.resources of the Dragonfly")
    },
    Deployment {
        shape: Some(Shape::Sentinel),
        note: Some(
            "where it has the split-brain-fix sidecar, that shuts a server down which disagrees with Sentinel for about a \
             minute",
        ),
        stated: stated::REDIS_HA,
        ..row(
            "redis-ha chart",
            &[&[Sign::Label("app", &["redis-ha"])], &[Sign::Container(&["split-brain-fix"])]],
            "redis.resources of the release (redis-ha.redis.resources under another chart)",
        )
    },
    Deployment {
        shape: Some(Shape::Sentinel),
        resources: Some("replica.resources"),
        ..row(
            "Bitnami chart with Sentinel",
            &[&[Sign::Label(NAME, SERVERS), Sign::Label(COMPONENT, &["node"])]],
            "replica.resources of the release",
        )
    },
    Deployment {
        stated: stated::BITNAMI,
        ..row(
            "Bitnami chart",
            &[&[Sign::Label(NAME, SERVERS), Sign::Label(COMPONENT, &["master", "primary", "replica"])]],
            "master.resources (primary.resources) and replica.resources of the release",
        )
    },
    Deployment {
        shape: Some(Shape::Cluster),
        stated: stated::CLUSTER_CHART,
        ..row(
            "Redis Cluster chart",
            &[&[Sign::Label(NAME, &["redis-cluster", "valkey-cluster"])]],
            "the resources of the release",
        )
    },
    Deployment {
        stated: stated::GROUNDHOG,
        ..row(
            "groundhog2k chart",
            &[&[Sign::Label(NAME, SERVERS), Sign::Container(&["redis-server", "valkey-server"])]],
            "resources of the release",
        )
    },
    Deployment {
        stated: stated::PIRATES,
        ..row(
            "CloudPirates chart",
            &[&[Sign::Label(NAME, SERVERS), Sign::NoLabel(COMPONENT), Sign::Container(SERVERS)]],
            "resources of the release",
        )
    },
    Deployment {
        stated: stated::VALKEY_HELM,
        ..row(
            "valkey-helm chart",
            &[&[Sign::Label(NAME, &["valkey"]), Sign::NoLabel(COMPONENT)]],
            "resources of the release",
        )
    },
];

/// What Kubernetes shows of a set.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Kinds of everything that owns a pod of it, or owns what owns one.
    pub owners: Vec<&'a str>,
    /// The labels of each pod.
    pub labels: Vec<&'a BTreeMap<String, String>>,
    /// The containers of each pod.
    pub containers: Vec<Vec<&'a str>>,
}

/// The deployment with these signs; `None`: nobody's that is known.
pub fn deployment(seen: &Seen<'_>) -> Option<&'static Deployment> {
    let fits = |signs: &&&[Sign]| signs.iter().all(|sign| sign.shows(seen));
    DEPLOYMENTS.iter().find(|row| row.signs.iter().any(|signs| fits(&signs)))
}

/// The product whose operator takes a resource of that kind and API group, and how it states a Redis.
pub fn of_resource(kind: &str, group: &str) -> Option<(&'static Deployment, &'static Stated)> {
    stated(|known| matches!(known, Known::Resource(its, ends) if *its == kind && group.ends_with(ends)))
}

/// The chart that takes these values, and how it states a Redis. `has`: whether something is at that path.
pub fn of_values(has: &dyn Fn(&str) -> bool) -> Option<(&'static Deployment, &'static Stated)> {
    stated(|known| {
        let Known::Values(signs) = known else { return false };
        signs.iter().any(|all| all.iter().all(|path| has(path)))
    })
}

fn stated(fits: impl Fn(&Known) -> bool) -> Option<(&'static Deployment, &'static Stated)> {
    let all = DEPLOYMENTS.iter().flat_map(|row| row.stated.iter().map(move |stated| (row, stated)));
    all.into_iter().find(|(_, stated)| fits(&stated.by))
}

/// The product whose operator owns a set by a resource of that kind; `None`: none that is known, or several have the kind.
pub fn product_of(owner: &Owner) -> Option<&'static str> {
    let alone = |signs: &&[Sign]| matches!(signs, [Sign::Owner(kind)] if *kind == owner.kind);
    DEPLOYMENTS.iter().find(|row| row.signs.iter().any(alone)).map(|row| row.product)
}

/// Whether everything that this resource owns is one set: a Deployment's ReplicaSets, and what the operators of the table
/// make of one resource. Of another owner nothing is known.
pub fn owns_one_set(owner: &Owner) -> bool {
    let mut signs = DEPLOYMENTS.iter().flat_map(|row| row.signs).flat_map(|signs| *signs);
    owner.kind == "Deployment" || signs.any(|sign| matches!(sign, Sign::Owner(kind) if *kind == owner.kind))
}

/// The labels by which charts tell the pods of one release.
pub const OF_A_RELEASE: [&str; 2] = ["app.kubernetes.io/instance", "release"];

/// Whether a Service with that selector leads to a proxy (redis-ha's HAProxy, say) of the release that a pod with these
/// labels belongs to.
pub fn fronts(selector: &BTreeMap<String, String>, labels: Option<&BTreeMap<String, String>>) -> bool {
    let same = |key: &str| labels.and_then(|own| own.get(key)).is_some_and(|own| selector.get(key) == Some(own));
    selector.values().any(|value| value.contains("proxy")) && OF_A_RELEASE.iter().any(|key| same(key))
}

/// Labels that say a role wherever they are, and so move from pod to pod.
pub fn says_a_role(key: &str) -> bool {
    ["redismemory.io/role", "isMaster", "isPrimary"].contains(&key)
}

/// Whether a label that somebody puts on pods says a role by its words: any other may be there for any reason.
pub fn reads_as_a_role(key: &str, value: &str) -> bool {
    let last = key.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let of_a_flag = ["master", "primary", "leader"].iter().any(|word| last.contains(word));
    (reads_as_primary(value) && (value != "true" || of_a_flag))
        || ["replica", "slave", "follower", "secondary", "standby"].contains(&value)
}

/// Whether a role label with that value is the primary's.
pub fn reads_as_primary(value: &str) -> bool {
    ["primary", "master", "leader", "true"].contains(&value)
}

impl Sign {
    fn shows(&self, seen: &Seen<'_>) -> bool {
        let each = |has: &dyn Fn(&BTreeMap<String, String>) -> bool| seen.labels.iter().all(|labels| has(labels));
        match self {
            Self::Owner(kind) => seen.owners.contains(kind),
            Self::Label(key, values) => {
                each(&|labels| labels.get(*key).is_some_and(|value| values.contains(&value.as_str())))
            }
            Self::HasLabel(key) => each(&|labels| labels.contains_key(*key)),
            Self::NoLabel(key) => each(&|labels| !labels.contains_key(*key)),
            Self::Container(names) => seen.containers.iter().all(|of_pod| of_pod.iter().any(|it| names.contains(it))),
        }
    }
}

/// What a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// A Redis server, or one that speaks as it does.
    Server,
    /// A Sentinel.
    Sentinel,
    /// Something else.
    Other,
}

/// What shows what a container runs.
#[derive(Clone, Debug)]
pub struct ContainerSigns<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its image.
    pub image: &'a str,
    /// The ports that it declares, with their names.
    pub ports: Vec<(u16, &'a str)>,
    /// The words of `command` and `args`.
    pub words: Vec<&'a str>,
}

/// Words in a container's or an image's name that make it no server, whatever its ports.
const NO_SERVER: &[&str] = &[
    "exporter",
    "metrics",
    "proxy",
    "envoy",
    "insight",
    "commander",
    "operator",
    "split-brain",
    "discovery",
    "kubectl",
    "backup",
];
/// Programs that keep a container of a server's image open without a server.
const NO_SERVER_PROGRAMS: &[&str] = &["redis-cli", "valkey-cli", "redis-benchmark", "sleep", "tail"];
const SERVER_PROGRAMS: &[&str] = &["redis-server", "valkey-server", "keydb-server", "dragonfly"];
const SENTINEL_PROGRAMS: &[&str] = &["redis-sentinel", "valkey-sentinel", "--sentinel"];
const SERVER_IMAGES: &[&str] = &[
    "redis",
    "redis-cluster",
    "redis-stack",
    "redis-stack-server",
    "valkey",
    "valkey-bundle",
    "valkey-cluster",
    "keydb",
    "dragonfly",
];
const SERVER_CONTAINERS: &[&str] = &["redis", "redis-server", "valkey", "valkey-server", "keydb", "dragonfly"];
const SERVER_PORTS: &[&str] = &["redis", "tcp-redis", "valkey", "tcp-valkey"];
/// The port of a Redis server unless it is told another.
pub const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Whether that image is a server's, by its name.
pub fn is_server_image(image: &str) -> bool {
    SERVER_IMAGES.contains(&image_name(image))
}

/// The name of an image without its registry and its tag.
pub fn image_name(image: &str) -> &str {
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split(['@', ':']).next().unwrap_or_default()
}

/// What a container runs, by its name, image, ports and words: the first of these that tells.
pub fn runs(container: &ContainerSigns<'_>) -> Runs {
    let image = image_name(container.image);
    let called = |word: &str| container.name.contains(word) || image.contains(word);
    let mut programs = container.words.iter().map(|word| word.rsplit('/').next().unwrap_or_default());
    let starts = |names: &[&str]| programs.clone().any(|program| names.contains(&program));
    let declares = |number: u16| container.ports.iter().any(|(port, _)| *port == number);
    if NO_SERVER.iter().any(|word| called(word)) {
        Runs::Other
    } else if called("sentinel") || starts(SENTINEL_PROGRAMS) {
        Runs::Sentinel
    } else if starts(SERVER_PROGRAMS) {
        Runs::Server
    } else if programs.next().is_some_and(|program| NO_SERVER_PROGRAMS.contains(&program)) {
        Runs::Other
    } else if declares(SENTINEL_PORT) && !declares(SERVER_PORT) {
        Runs::Sentinel
    } else if SERVER_IMAGES.contains(&image)
        || SERVER_CONTAINERS.contains(&container.name)
        || declares(SERVER_PORT)
        || container.ports.iter().any(|(_, name)| SERVER_PORTS.contains(name))
    {
        Runs::Server
    } else {
        Runs::Other
    }
}

#[cfg(test)]
mod tests;
