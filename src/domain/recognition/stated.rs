//! Where an operator's resource or the values of a chart state what a Redis may take: the forms that the rows of the
//! recognition table name. Paths are those of the products' own schemas, read in August and November 2026.

/// A form in which people write a Redis down before anything runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Stated {
    /// How it is known.
    pub by: Known,
    /// The kinds of servers that are made of it.
    pub servers: &'static [ServerAt],
}

/// How a form is known.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// A custom resource of that kind, whose API group ends so; one that begins with a dot, or is empty, is not the whole.
    Resource(&'static str, &'static str),
    /// Values of a chart: each path of any of these lists is there.
    Values(&'static [&'static [&'static str]]),
}

/// Where one kind of server of a form is described. Paths are fields joined by dots.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerAt {
    /// What it is called, for a text; empty: there is one kind only.
    pub name: &'static str,
    /// A list whose items each describe a server: the other paths begin in an item. Empty: there is none.
    pub each: &'static str,
    /// Only where each of these fields begins with its word.
    pub only: &'static [(&'static str, &'static str)],
    /// Not where one of these fields begins with its word.
    pub never: &'static [(&'static str, &'static str)],
    /// `resources`; the first that is there counts.
    pub resources: &'static [&'static str],
    /// The name of a size that holds where there are no resources ([`preset_limit`]), and the one that holds by default.
    pub preset: Option<(&'static str, &'static str)>,
    /// The limit where nothing is written.
    pub default_limit: Option<&'static str>,
    /// What it starts with: later ones over earlier ones.
    pub settings: &'static [From],
    /// The labels of its pods, as far as the form fixes them; `NAME` is the name of the resource. Empty: not known.
    pub labels: &'static [(&'static str, &'static str)],
}

/// Where settings are written.
#[derive(Debug, PartialEq, Eq)]
pub enum From {
    /// Whatever is written: lines of a redis.conf.
    Always(&'static str),
    /// Lines of a redis.conf.
    Text(&'static str),
    /// Lines of a redis.conf, else these.
    TextOr(&'static str, &'static str),
    /// Lines of a redis.conf that stand instead of everything before them.
    Instead(&'static str),
    /// A list of lines of a redis.conf.
    Lines(&'static str),
    /// Names with their values.
    Map(&'static str),
    /// A list of options.
    Options(&'static str),
    /// maxmemory in percent of the limit: a number.
    PercentOfLimit(&'static str),
    /// maxmemory is this many percent of the limit.
    OfLimit(u32),
    /// The name of a ConfigMap.
    ConfigMap(&'static str),
    /// Lines that hold where something is there, and others where it is not.
    Where(&'static str, &'static str, &'static str),
}

const NONE: ServerAt = ServerAt {
    name: "",
    each: "",
    only: &[],
    never: &[],
    resources: &[],
    preset: None,
    default_limit: None,
    settings: &[],
    labels: &[],
};

/// The limit of a size of the Bitnami charts (their `common` library, `_resources.tpl`); `None`: no such size, or none.
pub fn preset_limit(name: &str) -> Option<&'static str> {
    Some(match name {
        "nano" => "192Mi",
        "micro" => "384Mi",
        "small" => "768Mi",
        "medium" => "1536Mi",
        "large" => "3072Mi",
        "xlarge" => "6144Mi",
        "2xlarge" => "12288Mi",
        _ => return None,
    })
}

pub(super) const SPOTAHOME: &[Stated] = &[Stated {
    by: Known::Resource("RedisFailover", ""),
    servers: &[ServerAt {
        resources: &["spec.redis.resources"],
        settings: &[From::Always("save 900 1"), From::Lines("spec.redis.customConfig")],
        labels: &[
            ("app.kubernetes.io/component", "redis"),
            ("app.kubernetes.io/name", "NAME"),
            ("app.kubernetes.io/part-of", "redis-failover"),
        ],
        ..NONE
    }],
}];

const OPSTREE: ServerAt = ServerAt {
    resources: &["spec.kubernetesConfig.resources"],
    settings: &[
        From::Where("spec.storage", "appendonly yes\nsave 900 1", "appendonly no\nsave \"\""),
        From::PercentOfLimit("spec.redisConfig.maxMemoryPercentOfLimit"),
        From::ConfigMap("spec.redisConfig.additionalRedisConfig"),
        From::Lines("spec.redisConfig.dynamicConfig"),
    ],
    labels: &[("app", "NAME")],
    ..NONE
};
pub(super) const OPSTREE_REPLICATION: &[Stated] =
    &[Stated { by: Known::Resource("RedisReplication", ".opstreelabs.in"), servers: &[OPSTREE] }];
pub(super) const OPSTREE_REDIS: &[Stated] =
    &[Stated { by: Known::Resource("Redis", ".opstreelabs.in"), servers: &[OPSTREE] }];
pub(super) const OPSTREE_CLUSTER: &[Stated] = &[Stated {
    by: Known::Resource("RedisCluster", ".opstreelabs.in"),
    servers: &[
        ServerAt {
            name: "leader",
            resources: &["spec.redisLeader.resources", "spec.kubernetesConfig.resources"],
            settings: &[
                From::Where("spec.storage", "appendonly yes\nsave 900 1", "appendonly no\nsave \"\""),
                From::PercentOfLimit("spec.redisConfig.maxMemoryPercentOfLimit"),
                From::PercentOfLimit("spec.redisLeader.redisConfig.maxMemoryPercentOfLimit"),
                From::ConfigMap("spec.redisLeader.redisConfig.additionalRedisConfig"),
                From::Lines("spec.redisConfig.dynamicConfig"),
            ],
            labels: &[("cluster", "NAME"), ("role", "leader")],
            ..NONE
        },
        ServerAt {
            name: "follower",
            resources: &["spec.redisFollower.resources", "spec.kubernetesConfig.resources"],
            settings: &[
                From::Where("spec.storage", "appendonly yes\nsave 900 1", "appendonly no\nsave \"\""),
                From::PercentOfLimit("spec.redisConfig.maxMemoryPercentOfLimit"),
                From::PercentOfLimit("spec.redisFollower.redisConfig.maxMemoryPercentOfLimit"),
                From::ConfigMap("spec.redisFollower.redisConfig.additionalRedisConfig"),
                From::Lines("spec.redisConfig.dynamicConfig"),
            ],
            labels: &[("cluster", "NAME"), ("role", "follower")],
            ..NONE
        },
    ],
}];

pub(super) const VALKEY_IO: &[Stated] = &[Stated {
    by: Known::Resource("ValkeyCluster", "valkey.io"),
    servers: &[ServerAt {
        resources: &["spec.resources"],
        settings: &[From::Map("spec.config")],
        labels: &[("valkey.io/cluster", "NAME")],
        ..NONE
    }],
}];

pub(super) const HYPERSPIKE: &[Stated] = &[Stated {
    by: Known::Resource("Valkey", "hyperspike.io"),
    servers: &[ServerAt {
        resources: &["spec.resources"],
        default_limit: Some("192Mi"),
        labels: &[("app.kubernetes.io/name", "valkey"), ("app.kubernetes.io/instance", "NAME")],
        ..NONE
    }],
}];

const KUBEBLOCKS_SERVER: ServerAt = ServerAt {
    only: &[("componentDef", "redis")],
    never: &[("componentDef", "redis-sentinel"), ("componentDef", "redis-twemproxy"), ("name", "redis-sentinel")],
    resources: &["resources"],
    settings: &[From::Always("maxmemory-policy volatile-lru\nappendonly yes"), From::OfLimit(80)],
    labels: &[("app.kubernetes.io/instance", "NAME")],
    ..NONE
};
pub(super) const KUBEBLOCKS: &[Stated] = &[Stated {
    by: Known::Resource("Cluster", "apps.kubeblocks.io"),
    servers: &[
        ServerAt { each: "spec.componentSpecs", ..KUBEBLOCKS_SERVER },
        // What has only the name of the whole definition: its component `redis`.
        ServerAt {
            each: "spec.componentSpecs",
            only: &[("name", "redis")],
            never: KUBEBLOCKS_NAMED,
            ..KUBEBLOCKS_SERVER
        },
        ServerAt {
            each: "spec.shardings",
            only: &[("template.componentDef", "redis")],
            never: &[],
            resources: &["template.resources"],
            ..KUBEBLOCKS_SERVER
        },
    ],
}];
const KUBEBLOCKS_NAMED: &[(&str, &str)] = &[("componentDef", ""), ("name", "redis-sentinel")];

const BITNAMI_CONF: &str = "appendonly yes\nsave \"\"";

pub(super) const BITNAMI: &[Stated] = &[
    Stated {
        by: Known::Values(&[
            &["master", "replica"],
            &["commonConfiguration", "master"],
            &["commonConfiguration", "auth"],
        ]),
        servers: &[
            ServerAt {
                name: "master",
                resources: &["master.resources"],
                preset: Some(("master.resourcesPreset", "nano")),
                settings: &[
                    From::TextOr("commonConfiguration", BITNAMI_CONF),
                    From::Text("master.configuration"),
                    From::Options("master.extraFlags"),
                ],
                never: &[("sentinel.enabled", "true")],
                ..NONE
            },
            BITNAMI_REPLICA,
        ],
    },
    Stated {
        by: Known::Values(&[&["primary", "replica"], &["commonConfiguration", "primary"]]),
        servers: &[
            ServerAt {
                name: "primary",
                resources: &["primary.resources"],
                preset: Some(("primary.resourcesPreset", "nano")),
                settings: &[
                    From::TextOr("commonConfiguration", BITNAMI_CONF),
                    From::Text("primary.configuration"),
                    From::Options("primary.extraFlags"),
                ],
                never: &[("sentinel.enabled", "true")],
                ..NONE
            },
            BITNAMI_REPLICA,
        ],
    },
];
const BITNAMI_REPLICA: ServerAt = ServerAt {
    name: "replica",
    resources: &["replica.resources"],
    preset: Some(("replica.resourcesPreset", "nano")),
    settings: &[
        From::TextOr("commonConfiguration", BITNAMI_CONF),
        From::Text("replica.configuration"),
        From::Options("replica.extraFlags"),
    ],
    never: &[("architecture", "standalone")],
    ..NONE
};

pub(super) const CLUSTER_CHART: &[Stated] = &[
    Stated {
        by: Known::Values(&[&["cluster.nodes", "redis"], &["redis.useAOFPersistence"], &["redis.configmap"]]),
        servers: &[ServerAt {
            resources: &["redis.resources"],
            preset: Some(("redis.resourcesPreset", "nano")),
            settings: &[From::Always("appendonly yes"), From::Text("redis.configmap")],
            ..NONE
        }],
    },
    Stated {
        by: Known::Values(&[&["cluster.nodes", "valkey"], &["valkey.useAOFPersistence"], &["valkey.configmap"]]),
        servers: &[ServerAt {
            resources: &["valkey.resources"],
            preset: Some(("valkey.resourcesPreset", "nano")),
            settings: &[From::Always("appendonly yes"), From::Text("valkey.configmap")],
            ..NONE
        }],
    },
];

pub(super) const REDIS_HA: &[Stated] = &[Stated {
    by: Known::Values(&[&["redis.config"], &["redis.customConfig"], &["redis.masterGroupName"], &["hardAntiAffinity"]]),
    servers: &[ServerAt {
        resources: &["redis.resources"],
        settings: &[
            From::Always("maxmemory 0\nmaxmemory-policy volatile-lru\nsave 900 1"),
            From::Map("redis.config"),
            From::Instead("redis.customConfig"),
        ],
        ..NONE
    }],
}];

pub(super) const GROUNDHOG: &[Stated] = &[Stated {
    by: Known::Values(&[&["redisConfig"], &["haMode"]]),
    servers: &[ServerAt {
        resources: &["resources"],
        settings: &[From::Text("redisConfig"), From::Options("args")],
        ..NONE
    }],
}];

pub(super) const PIRATES: &[Stated] = &[Stated {
    by: Known::Values(&[&["config.content"], &["config.existingConfigmap"], &["clusterReplicaCount"]]),
    servers: &[ServerAt {
        resources: &["resources"],
        settings: &[
            From::Text("config.content"),
            From::Text("extraConfig"),
            From::ConfigMap("config.existingConfigmap"),
            From::Options("extraFlags"),
        ],
        ..NONE
    }],
}];

pub(super) const VALKEY_HELM: &[Stated] = &[Stated {
    by: Known::Values(&[&["valkeyConfig"], &["dataStorage"]]),
    servers: &[ServerAt { resources: &["resources"], settings: &[From::Text("valkeyConfig")], ..NONE }],
}];
