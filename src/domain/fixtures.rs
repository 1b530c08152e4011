//! A healthy shop with one fault, for tests: a three-pod Redis that is fragmented enough for a restart and has
//! nothing else wrong. A test takes it, breaks one thing, and looks at what follows.
//!
//! Always compiled, so that unit tests and the tests in `tests/` share one copy; hidden from the documentation.

mod sentinels;

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

pub use self::sentinels::{sentinels, sentinels_naming, usual_serving};

use super::{
    addresses::PodAddresses,
    budget::DisruptionBudget,
    bytes::Bytes,
    names::{ControllerUid, NodeAddress, PodName, PodUid, RunId},
    peaks::Peaks,
    pod::{
        Container, FieldManagers, Mount, Owner, Pod, ResizeProgress, Right, Rights, Service, StatefulSet, VolumeKind,
    },
    policy::{
        Approval, AuthorityRule, FragmentationRule, HeadroomMethod, HeadroomRule, Mode, Policy, PortRef, RedisAccess,
        RestartRule, RoleLabel,
    },
    ratio::Ratio,
    sample::{
        Config, Engine, FailoverState, Memory, Persistence, Pressure, Reading, ReplicaLine, ReplicaLink, Replication,
        Role, Sample, Server, Version,
    },
    serving::Serving,
    shard::ShardId,
    snapshot::{Observation, RedisRights, Snapshot, Target},
    volume::{ClaimVolume, Volumes},
};

/// When the snapshot was complete: 2026-01-02T03:04:05Z.
pub const NOW: Timestamp = Timestamp::constant(1_767_323_045, 0);
/// Time between two readings of a history.
pub const INTERVAL: Duration = Duration::from_secs(15);
/// How long every process has run.
pub const UPTIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Port of every Redis.
pub const PORT: u16 = 6379;
/// `used_memory` of every member.
pub const USED: Bytes = Bytes::mib(69);
/// `used_memory_rss` of every member.
pub const RSS: Bytes = Bytes::mib(201);
/// Memory limit of every container, and of the template.
pub const LIMIT: Bytes = Bytes::mib(1024);
/// `maxmemory` of every member.
pub const MAXMEMORY: Bytes = Bytes::mib(512);

/// `NOW` less that number of seconds.
pub fn seconds_ago(seconds: i64) -> Timestamp {
    NOW.saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(NOW)
}

/// An acting policy with the defaults of the resource: mode Enforce, authority Operator, all remedies.
pub fn policy() -> Policy {
    Policy {
        namespace: "shop".into(),
        name: "sessions".into(),
        uid: "00000000-0000-4000-8000-00000000000f".into(),
        generation: 1,
        created_at: seconds_ago(30 * 24 * 3600),
        selector: "app=redis".into(),
        mode: Mode::Enforce,
        suspend: false,
        purpose: None,
        redis: RedisAccess {
            container: None,
            port: PortRef::Number(PORT),
            authority: AuthorityRule::Operator,
            role_label: RoleLabel {
                key: "redismemory.io/role".into(),
                primary: "primary".into(),
                replica: "replica".into(),
            },
            username: None,
            password: None,
            tls: None,
            sentinel: None,
        },
        headroom: HeadroomRule {
            method: HeadroomMethod::Fixed,
            percent: 50,
            minimum: Bytes::mib(64),
            resize_pod: true,
            set_maxmemory: false,
            maximum_limit: None,
            requests: false,
            allow_eviction: false,
        },
        eviction_allowed: Vec::new(),
        fragmentation: FragmentationRule {
            moderate: Ratio(130),
            serious: Ratio(150),
            critical: Ratio(200),
            restart: Ratio(250),
            minimum_waste: Bytes::mib(100),
            sustained: Duration::from_secs(600),
            restart_allowed: true,
        },
        restart: RestartRule {
            windows: Vec::new(),
            approval: Approval::Automatic,
            maximum_restarts_per_day: None,
            cooldown: Duration::from_secs(24 * 3600),
            max_replication_lag: Bytes::mib(1),
            step_timeout: Duration::from_secs(1800),
            minimum_synced_replicas: 1,
            maximum_write_gap: Duration::from_secs(5),
            allow_downtime: false,
        },
    }
}

/// StatefulSet `redis` with primary `redis-0` and synced replicas `redis-1` and `redis-2`; every member is
/// fragmented (ratio 2.91, waste 132 MiB, a restart would gain about 113 MiB) for longer than `sustained`.
pub fn three_pods() -> Snapshot {
    Snapshot {
        targets: (0..3).map(target).collect(),
        stateful_sets: vec![stateful_set()],
        services: vec![primary_service((0..3).map(pod_name).collect(), vec![pod_uid(0)])],
        rights: Rights { evict: Right::Granted, resize: Right::Granted, label: Right::Granted },
        volumes: Volumes::Known((0..3).map(claim_volume).collect()),
        ..Snapshot::at(NOW)
    }
}

/// [`three_pods`] under a policy that enforces and keeps the role label: labelled, every right granted, ready to begin.
pub fn enforced() -> (Policy, Snapshot) {
    let mut policy = policy();
    policy.mode = Mode::Enforce;
    policy.redis.authority = AuthorityRule::Operator;
    let mut snapshot = three_pods();
    snapshot.redis_rights = RedisRights::Known(Vec::new());
    for (n, target) in snapshot.targets.iter_mut().enumerate() {
        target.pod.role_label = Some(if n == 0 { "primary" } else { "replica" }.to_owned());
    }
    (policy, snapshot)
}

/// One pod `redis-0` that nothing replicates, with an AOF on a claim, under a policy that consents to its downtime and
/// names no role authority: ready to be restarted as the primary that it is.
pub fn standalone() -> (Policy, Snapshot) {
    let (mut policy, mut snapshot) = enforced();
    policy.redis.authority = AuthorityRule::Auto;
    policy.restart.allow_downtime = true;
    snapshot.targets.truncate(1);
    snapshot.services.clear();
    for set in &mut snapshot.stateful_sets {
        set.replicas = 1;
    }
    for target in &mut snapshot.targets {
        target.pod.role_label = None;
        on_claim(target);
        if let Observation::Seen(sample) = &mut target.redis {
            sample.replication.replicas.clear();
        }
    }
    (policy, snapshot)
}

/// A budget over all pods of the snapshot that allows `allowed` evictions now and wants `desired` of them healthy.
pub fn disruption_budget(snapshot: &Snapshot, allowed: u32, desired: u32) -> DisruptionBudget {
    let expected = u32::try_from(snapshot.targets.len()).unwrap_or(u32::MAX);
    DisruptionBudget {
        name: "redis".into(),
        rule: format!("minAvailable {desired}"),
        pods: snapshot.targets.iter().map(|target| target.pod.uid.clone()).collect(),
        allowed,
        healthy: desired.saturating_add(allowed),
        desired,
        expected,
        observed: true,
    }
}

/// The claim of pod `redis-N`: room enough, on a volume that a node which takes pods can use.
pub fn claim_volume(n: u8) -> ClaimVolume {
    ClaimVolume {
        claim: format!("data-redis-{n}"),
        capacity: Some(Bytes::mib(10 * 1024)),
        tied: true,
        open: Some(format!("node-{n}")),
        closed: Vec::new(),
    }
}

/// Gives the member an AOF in a PersistentVolumeClaim.
pub fn on_claim(target: &mut Target) {
    if let Ok(container) = &mut target.pod.container {
        let claim = Some(format!("data-{}", target.pod.name));
        container.mounts = vec![Mount { claim, ..mount("/data", VolumeKind::Claim) }];
    }
    if let Observation::Seen(sample) = &mut target.redis {
        sample.persistence.aof_enabled = true;
        if let Ok(config) = &mut sample.config {
            config.appendonly = true;
        }
    }
}

/// Member `redis-N` of [`three_pods`]; 0 is the primary.
pub fn target(n: u8) -> Target {
    let sample = if n == 0 { sample(primary_role()) } else { sample(replica_role()) };
    let mut target = bare_target(pod(n), sample);
    if let Observation::Seen(sample) = &mut target.redis {
        sample.run_id = run_id(n);
        if n == 0 {
            sample.replication.replicas = vec![replica_line(1), replica_line(2)];
        }
    }
    target.history = history(&run_id(n), Ratio(291), USED, RSS);
    target
}

/// A target of this pod and sample, without a history.
pub fn bare_target(pod: Pod, mut sample: Sample) -> Target {
    sample.pod_uid = pod.uid.clone();
    Target { pod, redis: Observation::Seen(Box::new(sample)), history: Vec::new(), peaks: Peaks::default() }
}

/// Name `redis-N`.
pub fn pod_name(n: u8) -> PodName {
    PodName::new(format!("redis-{n}"))
}

/// UID of pod `redis-N`.
pub fn pod_uid(n: u8) -> PodUid {
    PodUid::new(format!("00000000-0000-4000-8000-00000000000{n}"))
}

/// `run_id` of the process in pod `redis-N`.
pub fn run_id(n: u8) -> RunId {
    RunId::new(format!("{n}").repeat(40))
}

/// UID of StatefulSet `redis`.
pub fn set_uid() -> ControllerUid {
    ControllerUid::from("00000000-0000-4000-8000-0000000000aa")
}

/// The same as a chart builds it whose primary is in a StatefulSet of its own: `redis-0` in `redis`, the others in
/// `redis-replicas`.
pub fn primary_apart() -> Snapshot {
    let mut snapshot = three_pods();
    let uid = ControllerUid::from("00000000-0000-4000-8000-0000000000bb");
    for owner in snapshot.targets.iter_mut().skip(1).filter_map(|target| target.pod.owner.as_mut()) {
        (owner.name, owner.uid) = ("redis-replicas".into(), uid.clone());
    }
    let replicas = StatefulSet { uid, name: "redis-replicas".into(), replicas: 2, ..stateful_set() };
    snapshot.stateful_sets = vec![StatefulSet { replicas: 1, ..stateful_set() }, replicas];
    snapshot
}

/// What names the shard of the three pods.
pub fn shard_id() -> ShardId {
    ShardId::whole(set_uid())
}

/// Address of pod `redis-N` as `slaveN` lines show it: its IP.
pub fn address(n: u8) -> NodeAddress {
    NodeAddress { host: format!("10.0.0.1{n}"), port: PORT }
}

/// The address of pod `redis-N` of the other family: every pod of the fixtures has both.
pub fn second_address(n: u8) -> NodeAddress {
    NodeAddress { host: format!("2001:db8::1{n}"), port: PORT }
}

/// Stable DNS name of pod `redis-N`, as `replicaof` in a start script would have it.
pub fn stable_address(n: u8) -> NodeAddress {
    NodeAddress { host: format!("redis-{n}.redis.shop.svc.cluster.local"), port: PORT }
}

/// Service `redis-primary`, which selects `app=redis` and the primary's label, takes the first and has the second behind it.
pub fn primary_service(takes: Vec<PodName>, ready_pods: Vec<PodUid>) -> Service {
    let role = policy().redis.role_label;
    Service { ready_pods, ..service("redis-primary", &[("app", "redis"), (&role.key, &role.primary)], takes) }
}

/// A Service with that selector, and nobody behind it.
pub fn service(name: &str, selector: &[(&str, &str)], takes: Vec<PodName>) -> Service {
    let selector: BTreeMap<String, String> =
        selector.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let role = selector.get(&policy().redis.role_label.key).cloned();
    Service { name: name.to_owned(), selector, role, takes, ready_pods: Vec::new(), addresses: PodAddresses::default() }
}

/// StatefulSet `redis`.
pub fn stateful_set() -> StatefulSet {
    StatefulSet {
        uid: set_uid(),
        name: "redis".into(),
        owner: None,
        replicas: 3,
        current_revision: "redis-5d8f".into(),
        update_revision: "redis-5d8f".into(),
        partition: 0,
        on_delete: false,
        observed: true,
        template_limits: vec![("redis".into(), Some(LIMIT))],
        template_role_label: None,
        hold: None,
        start_settings: Vec::new(),
        limit_at: None,
    }
}

/// Pod `redis-N`, Ready, labelled with its role.
pub fn pod(n: u8) -> Pod {
    Pod {
        name: pod_name(n),
        uid: pod_uid(n),
        resource_version: "1000".into(),
        addresses: PodAddresses::of([address(n).host.as_str(), second_address(n).host.as_str()]),
        node: None,
        host_network: false,
        dns_name: Some(format!("redis-{n}.redis.shop.svc")),
        ready: true,
        terminating: false,
        running: true,
        role_label: Some(if n == 0 { "primary" } else { "replica" }.into()),
        owner: Some(Owner { kind: "StatefulSet".into(), name: "redis".into(), uid: set_uid() }),
        revision: Some("redis-5d8f".into()),
        grace_period: Duration::from_secs(60),
        container: Ok(container()),
        guaranteed: false,
        pod_level_resources: false,
        resize: ResizeProgress::None,
        trouble: None,
        hold: None,
        limit_at: None,
        managers: FieldManagers::default(),
    }
}

/// Container `redis` with limit 1Gi and request 512Mi.
pub fn container() -> Container {
    Container {
        name: "redis".into(),
        port: PORT,
        declared_ports: vec![PORT],
        spec_limit: Some(LIMIT),
        spec_request: Some(MAXMEMORY),
        live_limit: Some(LIMIT),
        pod_limit: None,
        resize_restarts: false,
        started_at: Some(seconds_ago(7 * 24 * 3600)),
        restarts: 0,
        killed: None,
        killed_before: None,
        start_took: Duration::ZERO,
        ready_after: Duration::ZERO,
        mounts: vec![mount("/data", VolumeKind::EmptyDir)],
    }
}

/// A volume of that kind there, and nothing of a claim.
pub fn mount(path: &str, volume: VolumeKind) -> Mount {
    Mount { path: path.into(), volume, claim: None, read_only: false }
}

/// A primary.
pub fn primary_role() -> Role {
    Role::Primary
}

/// A replica of `redis-0` by its stable name, link up.
pub fn replica_role() -> Role {
    Role::Replica(ReplicaLink { primary: stable_address(0), link_up: true, sync_in_progress: false, read_only: true })
}

/// The line that the primary shows for replica `redis-N`: online and caught up.
pub fn replica_line(n: u8) -> ReplicaLine {
    ReplicaLine { address: address(n), online: true, offset: 1_000_000, lag: Duration::ZERO }
}

/// A fragmented Redis 7.0.15 of that role that is otherwise well.
pub fn sample(role: Role) -> Sample {
    Sample {
        at: seconds_ago(2),
        pod_uid: pod_uid(0),
        run_id: run_id(0),
        server: Server {
            engine: Engine::Redis,
            version: Version { major: 7, minor: 0, patch: 15 },
            cluster_enabled: false,
            tcp_port: Some(PORT),
            uptime: UPTIME,
        },
        memory: memory(),
        replication: Replication {
            role,
            replid: "a".repeat(40),
            offset: 1_000_000,
            previous: None,
            replicas: Vec::new(),
            failover_state: FailoverState::None,
            link_down_for: None,
            backlog_size: Bytes::mib(64),
        },
        persistence: Persistence {
            loading: false,
            child_running: false,
            rewrite_scheduled: false,
            status_ok: true,
            only_save_failed: false,
            aof_enabled: false,
            aof_size: Some(USED),
            last_save_took: Duration::ZERO,
            copy_on_write: Bytes::ZERO,
            saves: 0,
            rewrites: 0,
            since_last_save: None,
        },
        latest_fork: Duration::from_millis(2),
        keys: 333_334,
        keys_with_ttl: 0,
        lookups: None,
        config: Ok(config()),
        sentinel_seen: Some(false),
        sentinel_hosts: Vec::new(),
        unread: Vec::new(),
    }
}

/// Used 69 MiB, RSS 201 MiB; most of the waste is fragmentation.
pub fn memory() -> Memory {
    Memory {
        used: USED,
        rss: RSS,
        peak: Bytes::mib(180),
        dataset: Bytes::mib(66),
        ratio: Ratio(291),
        maxmemory: MAXMEMORY,
        maxmemory_policy: "allkeys-lru".into(),
        allocator: "jemalloc-5.3.0".into(),
        allocator_active: Bytes::mib(188),
        allocator_frag: Bytes::mib(119),
        allocator_rss: Bytes::mib(9),
        rss_overhead: Bytes::mib(4),
        not_counted_for_evict: Bytes::ZERO,
        clients_normal: Bytes(40 * 1024),
        scripts: Some(Bytes(63_488)),
        sync_buffer: None,
        lazyfree_pending: 0,
        active_defrag_running: false,
    }
}

/// Settings that nothing objects to.
pub fn config() -> Config {
    Config {
        maxmemory: MAXMEMORY,
        save: String::new(),
        appendonly: false,
        maxmemory_policy: "allkeys-lru".into(),
        repl_backlog_size: Bytes::mib(64),
        min_replicas_to_write: 0,
        shutdown_timeout: Duration::from_secs(10),
        primary_auth: None,
        primary_user: None,
        replica_output_limit: Bytes::mib(256),
        diskless_load: "disabled".into(),
        dir: "/data".into(),
        tls_replication: false,
        serving: Serving::default(),
    }
}

/// Quiet readings of one process for the last 15 minutes, all alike; the newest is two seconds old, as
/// [`sample`] is.
pub fn history(run_id: &RunId, ratio: Ratio, used: Bytes, rss: Bytes) -> Vec<Reading> {
    (0..=60)
        .rev()
        .map(|n: u16| {
            let age = INTERVAL.saturating_mul(u32::from(n));
            Reading {
                at: seconds_ago(2).saturating_sub(age).unwrap_or(NOW),
                run_id: run_id.clone(),
                ratio,
                used,
                rss,
                quiet: true,
                steady: true,
                uptime: UPTIME.saturating_sub(age),
                offset: 1_000_000,
                pressure: Pressure { maxmemory: MAXMEMORY, ..Pressure::default() },
            }
        })
        .collect()
}
