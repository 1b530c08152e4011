//! What is known and expected of each deployment.

use rstest::rstest;

use super::run::run;

/// One of them.
#[derive(Debug)]
pub(crate) struct Deployment {
    /// Its file in `tests/deployments`, and its name in the table.
    pub(crate) name: &'static str,
    /// What it is, in a few words.
    pub(crate) title: &'static str,
    /// The headline of `doctor`.
    pub(crate) detected: &'static str,
    /// Its servers' pods; none: the one pod of a Deployment, which has another name with each start.
    pub(crate) pods: &'static [&'static str],
    /// The labels that all of them have.
    pub(crate) selector: &'static str,
    /// The container of the server.
    pub(crate) container: &'static str,
    /// What is rolled out.
    pub(crate) makers: &'static [&'static str],
    /// The claims that need a volume.
    pub(crate) claims: &'static [&'static str],
    /// The Secret of the password, where there is one.
    pub(crate) secret: Option<&'static str>,
    /// What a person consents to, by the comments of the policy.
    pub(crate) consents: &'static [&'static str],
    /// Why none of its pods is ever restarted, where that is so.
    pub(crate) refused: Option<&'static str>,
    /// How clients find the primary.
    pub(crate) way: Way,
    /// Who may be primary.
    pub(crate) primary: Primary,
    /// Services that lead to the primary and to nobody else.
    pub(crate) leading: &'static [&'static str],
    /// The label that its own controller puts on the primary alone.
    pub(crate) role_label: Option<(&'static str, &'static str)>,
    /// Its Sentinels.
    pub(crate) sentinels: Option<Sentinels>,
}

/// How clients find the primary.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Through the Service of that name.
    Service(&'static str),
    /// They ask the Sentinels behind it.
    Sentinel(&'static str),
    /// Through the proxies behind it.
    Proxy(&'static str),
}

impl Way {
    /// Milliseconds that writes may stop for when Sentinels hand the role over: 2 s for clients that ask them, 5 s through a proxy,
    /// which has checks of its own. Seen with two deployments at a time on two processors: 0.2 to 1.2 s, and 3.6 s.
    pub(crate) const fn longest_gap(self) -> f64 {
        match self {
            Self::Service(_) | Self::Sentinel(_) => 2_000.0,
            Self::Proxy(_) => 5_000.0,
        }
    }
}

/// Who may be primary.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Primary {
    /// That pod alone.
    Fixed(&'static str),
    /// Whoever the Sentinels choose.
    Elected,
}

/// The Sentinels of a set.
#[derive(Debug)]
pub(crate) struct Sentinels {
    /// The pods in which they run.
    pub(crate) pods: &'static [&'static str],
    /// Their container.
    pub(crate) container: &'static str,
    /// The name by which they know the set.
    pub(crate) master: &'static str,
    /// Addresses and ids are new with each pod, and nobody makes the Sentinels forget the old ones.
    pub(crate) remember_the_dead: bool,
}

impl Sentinels {
    /// As most have them, in these pods.
    const fn usual(pods: &'static [&'static str]) -> Self {
        Self { pods, container: "sentinel", master: "mymaster", remember_the_dead: false }
    }
}

impl Deployment {
    /// The one of that name.
    pub(crate) fn named(name: &str) -> &'static Self {
        ALL.iter().find(|of| of.name == name).unwrap_or_else(|| panic!("no deployment {name}"))
    }
}

const DOWNTIME: &str = "allowDowntime: true";

/// All of them, in the table's order.
pub(crate) static ALL: &[Deployment] = &[
    Deployment {
        name: "bitnami-static",
        title: "bitnami redis: the primary in a StatefulSet of its own",
        detected: "SET shop-redis: a fixed primary and replicas, Bitnami chart",
        pods: &["shop-redis-master-0", "shop-redis-replicas-0", "shop-redis-replicas-1"],
        selector: "app.kubernetes.io/name=redis,app.kubernetes.io/instance=shop",
        container: "redis",
        makers: &["statefulset/shop-redis-master", "statefulset/shop-redis-replicas"],
        claims: &[
            "redis-data-shop-redis-master-0",
            "redis-data-shop-redis-replicas-0",
            "redis-data-shop-redis-replicas-1",
        ],
        secret: Some("shop-redis"),
        consents: &[DOWNTIME],
        refused: None,
        way: Way::Service("shop-redis-master"),
        primary: Primary::Fixed("shop-redis-master-0"),
        leading: &["shop-redis-master"],
        role_label: None,
        sentinels: None,
    },
    Deployment {
        name: "pod-zero-valkey",
        title: "valkey-helm with replicas: clients pinned to pod 0",
        detected: "SET cart-valkey: clients held to one pod, valkey-helm chart",
        pods: &["cart-valkey-0", "cart-valkey-1", "cart-valkey-2"],
        selector: "app.kubernetes.io/name=valkey,app.kubernetes.io/instance=cart",
        container: "cart-valkey",
        makers: &["statefulset/cart-valkey"],
        claims: &["valkey-data-cart-valkey-0", "valkey-data-cart-valkey-1", "valkey-data-cart-valkey-2"],
        secret: None,
        consents: &[DOWNTIME],
        refused: None,
        way: Way::Service("cart-valkey"),
        primary: Primary::Fixed("cart-valkey-0"),
        leading: &["cart-valkey"],
        role_label: None,
        sentinels: None,
    },
    Deployment {
        name: "pod-zero-redis",
        title: "CloudPirates redis with one replica: clients pinned to pod 0",
        detected: "SET quotes-redis: clients held to one pod, CloudPirates chart",
        pods: &["quotes-redis-0", "quotes-redis-1"],
        selector: "app.kubernetes.io/name=redis,app.kubernetes.io/instance=quotes",
        container: "redis",
        makers: &["statefulset/quotes-redis"],
        claims: &["data-quotes-redis-0", "data-quotes-redis-1"],
        secret: Some("quotes-redis"),
        consents: &[DOWNTIME, "minimumSyncedReplicas: 0"],
        refused: None,
        way: Way::Service("quotes-redis"),
        primary: Primary::Fixed("quotes-redis-0"),
        leading: &["quotes-redis"],
        role_label: None,
        sentinels: None,
    },
    Deployment {
        name: "standalone-aof",
        title: "one pod with an AOF (bitnami redis, standalone)",
        detected: "SET shop-redis-master: one pod, Bitnami chart",
        pods: &["shop-redis-master-0"],
        selector: "app.kubernetes.io/name=redis,app.kubernetes.io/instance=shop",
        container: "redis",
        makers: &["statefulset/shop-redis-master"],
        claims: &["redis-data-shop-redis-master-0"],
        secret: None,
        consents: &[DOWNTIME],
        refused: None,
        way: Way::Service("shop-redis-master"),
        primary: Primary::Fixed("shop-redis-master-0"),
        leading: &["shop-redis-master"],
        role_label: None,
        sentinels: None,
    },
    Deployment {
        name: "bitnami-sentinel",
        title: "bitnami redis with Sentinel in the pods, Service by isMaster",
        detected: "SET chat-redis-node: under Sentinel, Bitnami chart with Sentinel",
        pods: &["chat-redis-node-0", "chat-redis-node-1", "chat-redis-node-2"],
        selector: "app.kubernetes.io/name=redis,app.kubernetes.io/instance=chat",
        container: "redis",
        makers: &["statefulset/chat-redis-node"],
        claims: &["redis-data-chat-redis-node-0", "redis-data-chat-redis-node-1", "redis-data-chat-redis-node-2"],
        secret: Some("chat-redis"),
        consents: &[],
        refused: None,
        way: Way::Sentinel("chat-redis"),
        primary: Primary::Elected,
        leading: &["chat-redis-master"],
        role_label: Some(("isMaster", "true")),
        sentinels: Some(Sentinels::usual(&["chat-redis-node-0", "chat-redis-node-1", "chat-redis-node-2"])),
    },
    Deployment {
        name: "sentinel-apart",
        title: "Sentinels in a StatefulSet of their own, known by pod addresses",
        detected: "SET ledger: under Sentinel",
        pods: &["ledger-0", "ledger-1", "ledger-2"],
        selector: "app=ledger",
        container: "redis",
        makers: &["statefulset/ledger", "statefulset/ledger-sentinel"],
        claims: &[],
        secret: None,
        consents: &[],
        refused: None,
        way: Way::Sentinel("ledger-sentinel"),
        primary: Primary::Elected,
        leading: &[],
        role_label: None,
        sentinels: Some(Sentinels::usual(&["ledger-sentinel-0", "ledger-sentinel-1", "ledger-sentinel-2"])),
    },
    Deployment {
        name: "groundhog2k",
        title: "groundhog2k redis, haMode: Sentinel in the pods, known by pod addresses and new ids",
        detected: "SET mail-redis: under Sentinel, groundhog2k chart",
        pods: &["mail-redis-0", "mail-redis-1", "mail-redis-2"],
        selector: "app.kubernetes.io/name=redis,app.kubernetes.io/instance=mail",
        container: "redis-server",
        makers: &["statefulset/mail-redis"],
        claims: &[],
        secret: None,
        consents: &[],
        refused: None,
        way: Way::Sentinel("mail-redis"),
        primary: Primary::Elected,
        leading: &[],
        role_label: None,
        sentinels: Some(Sentinels {
            pods: &["mail-redis-0", "mail-redis-1", "mail-redis-2"],
            container: "redis-sentinel",
            master: "redisha",
            remember_the_dead: true,
        }),
    },
    Deployment {
        name: "cloudpirates-discovery",
        title: "CloudPirates redis with Sentinel in the pods and a discovery pod",
        detected: "SET feed-redis: under Sentinel, CloudPirates chart",
        pods: &["feed-redis-0", "feed-redis-1", "feed-redis-2"],
        selector: "app.kubernetes.io/name=redis,app.kubernetes.io/instance=feed",
        container: "redis",
        makers: &["statefulset/feed-redis", "deployment/feed-redis-master-discovery"],
        claims: &["data-feed-redis-0", "data-feed-redis-1", "data-feed-redis-2"],
        secret: Some("feed-redis"),
        consents: &[],
        refused: None,
        way: Way::Sentinel("feed-redis-sentinel"),
        primary: Primary::Elected,
        leading: &["feed-redis-master"],
        role_label: None,
        sentinels: Some(Sentinels::usual(&["feed-redis-0", "feed-redis-1", "feed-redis-2"])),
    },
    Deployment {
        name: "redis-ha",
        title: "redis-ha: announce Services, split-brain sidecar, HAProxy",
        detected: "SET argo-redis-ha-server: under Sentinel, redis-ha chart",
        pods: &["argo-redis-ha-server-0", "argo-redis-ha-server-1", "argo-redis-ha-server-2"],
        selector: "app=redis-ha,release=argo",
        container: "redis",
        makers: &["statefulset/argo-redis-ha-server", "deployment/argo-redis-ha-haproxy"],
        claims: &["data-argo-redis-ha-server-0", "data-argo-redis-ha-server-1", "data-argo-redis-ha-server-2"],
        secret: None,
        consents: &[],
        refused: None,
        way: Way::Proxy("argo-redis-ha-haproxy"),
        primary: Primary::Elected,
        leading: &[],
        role_label: None,
        sentinels: Some(Sentinels::usual(&[
            "argo-redis-ha-server-0",
            "argo-redis-ha-server-1",
            "argo-redis-ha-server-2",
        ])),
    },
    Deployment {
        name: "bitnami-valkey",
        title: "bitnami valkey: the primary in a StatefulSet of its own",
        detected: "SET bids-valkey: a fixed primary and replicas, Bitnami chart",
        pods: &["bids-valkey-primary-0", "bids-valkey-replicas-0", "bids-valkey-replicas-1"],
        selector: "app.kubernetes.io/name=valkey,app.kubernetes.io/instance=bids",
        container: "valkey",
        makers: &["statefulset/bids-valkey-primary", "statefulset/bids-valkey-replicas"],
        claims: &[
            "valkey-data-bids-valkey-primary-0",
            "valkey-data-bids-valkey-replicas-0",
            "valkey-data-bids-valkey-replicas-1",
        ],
        secret: Some("bids-valkey"),
        consents: &[DOWNTIME],
        refused: None,
        way: Way::Service("bids-valkey-primary"),
        primary: Primary::Fixed("bids-valkey-primary-0"),
        leading: &["bids-valkey-primary"],
        role_label: None,
        sentinels: None,
    },
    Deployment {
        name: "deployment-pod",
        title: "valkey-helm as it is by default: one pod of a Deployment",
        detected: "SET flags-valkey: one pod, valkey-helm chart",
        pods: &[],
        selector: "app.kubernetes.io/name=valkey,app.kubernetes.io/instance=flags",
        container: "flags-valkey",
        makers: &["deployment/flags-valkey"],
        claims: &[],
        secret: None,
        consents: &[],
        refused: Some("DeploymentPod"),
        way: Way::Service("flags-valkey"),
        primary: Primary::Elected,
        leading: &["flags-valkey"],
        role_label: None,
        sentinels: None,
    },
    Deployment {
        name: "cloudpirates-proxy",
        title: "CloudPirates valkey with Sentinel and an HAProxy in the pods",
        detected: "SET news-valkey: under Sentinel, CloudPirates chart",
        pods: &["news-valkey-0", "news-valkey-1", "news-valkey-2"],
        selector: "app.kubernetes.io/name=valkey,app.kubernetes.io/instance=news",
        container: "valkey",
        makers: &["statefulset/news-valkey"],
        claims: &["data-news-valkey-0", "data-news-valkey-1", "data-news-valkey-2"],
        secret: None,
        consents: &[],
        refused: None,
        way: Way::Proxy("news-valkey-master"),
        primary: Primary::Elected,
        leading: &[],
        role_label: None,
        sentinels: Some(Sentinels::usual(&["news-valkey-0", "news-valkey-1", "news-valkey-2"])),
    },
];

#[rstest]
#[case::bitnami_static("bitnami-static")]
#[case::pod_zero_valkey("pod-zero-valkey")]
#[case::pod_zero_redis("pod-zero-redis")]
#[case::standalone_aof("standalone-aof")]
#[case::bitnami_sentinel("bitnami-sentinel")]
#[case::sentinel_apart("sentinel-apart")]
#[case::groundhog2k("groundhog2k")]
#[case::cloudpirates_discovery("cloudpirates-discovery")]
#[case::redis_ha("redis-ha")]
#[case::bitnami_valkey("bitnami-valkey")]
#[case::deployment_pod("deployment-pod")]
#[case::cloudpirates_proxy("cloudpirates-proxy")]
#[ignore = "needs a cluster: make test"]
fn is_cured_by_the_policy_that_doctor_prints(#[case] name: &str) {
    run(name);
}
