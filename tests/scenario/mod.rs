//! The YAML of a scenario, and the resource and snapshot that it stands for. What is not written is as in
//! `domain::fixtures`: healthy, quiet for fifteen minutes, labelled with its role, in StatefulSet `redis`.

mod pod_yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use pod_yaml::{PodYaml, merged};
use redis_memory_operator::{
    api::v1alpha1::{RedisMemoryPolicy, RedisMemoryPolicySpec},
    domain::{
        bytes::Bytes,
        fixtures::{self, NOW},
        names::{ControllerUid, NodeAddress, PodName, PodUid},
        node::Node,
        oom::{Kill, PodKills},
        pod::{
            ContainerProblem, Deployment, Owner, ResizeProgress, Right, Service, StartSettings, StatefulSet, VolumeKind,
        },
        quantity,
        ratio::Ratio,
        recognition::limit_at::LimitAt,
        sample::{ConfigUnreadable, Engine, FailoverState, ReplicaLine, ReplicaLink, Role, Sample, Version},
        sentinel::Sentinel,
        snapshot::{Observation, ProbeFailure, RedisRights, Snapshot, Target},
        surroundings::{Kept, LeftAlone, RefusedLimit, Undone},
        tls::TlsProblem,
    },
    validate::request,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// One situation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub shows: String,
    /// `spec`, merged over one with the selector `app: redis`, Enforce and roleAuthority Operator.
    #[serde(default)]
    policy: Value,
    /// Defaults of every pod.
    #[serde(default)]
    every: Value,
    /// The pods, each merged over `every`.
    pods: BTreeMap<String, Value>,
    /// StatefulSets other than `redis` of the fixtures, or changes to it.
    #[serde(default)]
    sets: BTreeMap<String, Set>,
    /// Rights that are not granted.
    #[serde(default)]
    denied: Vec<String>,
    /// Commands that Redis' users lack, by pod.
    #[serde(default)]
    redis_denied: BTreeMap<String, Vec<String>>,
    /// The API server cannot resize pods.
    #[serde(default)]
    no_resize: bool,
    /// An older policy that acts for the set `redis`.
    #[serde(default)]
    claimed_by: Option<String>,
    /// What of a pod was set again and again, and how that ended; the rest of each is the same everywhere.
    #[serde(default)]
    left_alone: BTreeMap<String, (Kept, String, Undone)>,
    /// Pods of which the API server refused to raise the limit, and what it said.
    #[serde(default)]
    refused_limits: BTreeMap<String, String>,
    /// The nodes of the pods, where they may be read.
    #[serde(default)]
    nodes: Vec<Node>,
    /// Kills by the kernel that are remembered.
    #[serde(default)]
    kills: Vec<PodKills>,
    /// The Services: who they take and, where they follow the role, who is behind them. Absent: one that follows the role
    /// label and takes every pod.
    #[serde(default)]
    services: Option<BTreeMap<String, ServiceYaml>>,
    /// What a person asks for: the annotation redismemory.io/request, without who, when and why.
    #[serde(default)]
    asks: Option<Value>,
    /// The disruption budget over all pods: evictions that it allows now, and the healthy pods that it wants.
    #[serde(default)]
    budget: Option<(u32, u32)>,
    /// The pods with a Sentinel, each of which lists all pods and names the first; what one says otherwise: the pod that it
    /// names (its number), or why it is silent.
    #[serde(default)]
    sentinels: BTreeMap<String, Option<SentinelYaml>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum SentinelYaml {
    Names(u8),
    Silent(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceYaml {
    selector: BTreeMap<String, String>,
    takes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Set {
    template: Option<String>,
    owner: Option<String>,
    role_label: Option<String>,
    update_revision: Option<String>,
    /// What the template's arguments start the server with.
    starts_with: BTreeMap<String, String>,
    replicas: Option<u32>,
    hold: Option<String>,
    /// Where the limit is written for good.
    limit_at: Option<LimitAt>,
}

fn bytes(text: &str) -> Bytes {
    quantity::parse(text).unwrap_or_else(|error| panic!("{text:?} {error}"))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers written by hand")]
fn percent(ratio: f64) -> Ratio {
    Ratio((ratio * 100.0).round() as u32)
}

impl Scenario {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The policy's resource.
    pub fn resource(&self) -> RedisMemoryPolicy {
        let base = json!({
            "selector": {"matchLabels": {"app": "redis"}},
            "mode": "Enforce",
            "redis": {"roleAuthority": "Operator"},
        });
        let spec: RedisMemoryPolicySpec = serde_json::from_value(merged(&base, &self.policy)).unwrap();
        let mut resource = RedisMemoryPolicy::new("sessions", spec);
        resource.metadata.namespace = Some("shop".into());
        resource
    }

    /// What is observed.
    pub fn snapshot(&self) -> Snapshot {
        let pods: Vec<(u8, &str, PodYaml)> = (0..)
            .zip(&self.pods)
            .map(|(n, (name, yaml))| (n, name.as_str(), serde_json::from_value(merged(&self.every, yaml)).unwrap()))
            .collect();
        let mut snapshot = fixtures::three_pods();
        snapshot.targets = pods.iter().map(|(n, name, pod)| target(*n, name, pod, &pods)).collect();
        snapshot.stateful_sets = self.stateful_sets(&pods);
        snapshot.deployments = self.deployments(&pods);
        snapshot.services = self.services(&pods);
        snapshot.budgets =
            self.budget.map(|(allowed, desired)| vec![fixtures::disruption_budget(&snapshot, allowed, desired)]);
        for right in &self.denied {
            let rights = &mut snapshot.rights;
            *match right.as_str() {
                "evict" => &mut rights.evict,
                "resize" => &mut rights.resize,
                "label" => &mut rights.label,
                other => panic!("no right is called {other}"),
            } = Right::Denied;
        }
        let missing = self.redis_denied.iter().map(|(pod, lacks)| (pod.as_str().into(), lacks.clone())).collect();
        let silent = snapshot.targets.iter().filter(|target| matches!(target.redis, Observation::Failed(_)));
        snapshot.unasked = silent.map(|target| target.pod.name.clone()).collect();
        snapshot.redis_rights = RedisRights::Known(missing);
        snapshot.resize_supported = !self.no_resize;
        snapshot.nodes.clone_from(&self.nodes);
        snapshot.surroundings.kills.clone_from(&self.kills);
        snapshot.surroundings.left_alone =
            self.left_alone.iter().map(|(pod, left)| left_alone(pod, left, &pods)).collect();
        snapshot.surroundings.refused_limits = self
            .refused_limits
            .iter()
            .map(|(pod, text)| RefusedLimit { uid: uid_of_pod(pod, &pods), text: text.clone() })
            .collect();
        snapshot.sentinels = self.sentinels(&snapshot);
        snapshot.surroundings.request = self.asks.as_ref().map(|asks| {
            let who = json!({"by": "alice", "at": NOW.to_string(), "reason": "kernel update"});
            request::request(&merged(&who, asks).to_string())
        });
        snapshot.claimed_by_other = self.claimed_by.iter().map(|by| (uid_of("redis"), by.clone())).collect();
        snapshot
    }

    fn sentinels(&self, snapshot: &Snapshot) -> Vec<Sentinel> {
        let all = fixtures::sentinels(snapshot).into_iter();
        let said = all.filter_map(|mut sentinel| {
            match (self.sentinels.get(sentinel.pod.as_str())?, &mut sentinel.said) {
                (Some(SentinelYaml::Names(n)), Ok(said)) => {
                    said.sets.iter_mut().for_each(|set| set.primary = fixtures::address(*n));
                }
                (Some(SentinelYaml::Silent(why)), said) => *said = Err(ProbeFailure::Unreachable(why.clone())),
                (None, _) | (_, Err(_)) => {}
            }
            Some(sentinel)
        });
        said.collect()
    }

    fn services(&self, pods: &[(u8, &str, PodYaml)]) -> Vec<Service> {
        let primaries = |takes: &[PodName]| -> Vec<PodUid> {
            let behind =
                |pod: &&(u8, &str, PodYaml)| pod.2.follows.is_none() && takes.iter().any(|it| it.as_str() == pod.1);
            pods.iter().filter(behind).map(|(n, ..)| fixtures::pod_uid(*n)).collect()
        };
        let Some(written) = &self.services else {
            let takes: Vec<PodName> = pods.iter().map(|(_, name, _)| (*name).into()).collect();
            let ready = primaries(&takes);
            return vec![fixtures::primary_service(takes, ready)];
        };
        let service = |(name, yaml): (&String, &ServiceYaml)| {
            let takes: Vec<PodName> = yaml.takes.iter().map(|pod| pod.as_str().into()).collect();
            let selector: Vec<(&str, &str)> =
                yaml.selector.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let ready_pods = primaries(&takes);
            let service = fixtures::service(name, &selector, takes);
            // Of a Service that does not follow the role nobody asks who is behind it.
            if service.role.is_some() { Service { ready_pods, ..service } } else { service }
        };
        written.iter().map(service).collect()
    }

    fn stateful_sets(&self, pods: &[(u8, &str, PodYaml)]) -> Vec<StatefulSet> {
        let mut names: Vec<&str> = pods
            .iter()
            .filter(|(_, _, pod)| pod.owner_kind == "StatefulSet")
            .filter_map(|(_, _, pod)| pod.set.as_deref())
            .collect();
        // One that wants pods and has none selected is known too.
        names.extend(self.sets.iter().filter(|(_, set)| set.replicas.is_some()).map(|(name, _)| name.as_str()));
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| self.stateful_set(name, pods)).collect()
    }

    fn deployments(&self, pods: &[(u8, &str, PodYaml)]) -> Vec<Deployment> {
        let of = pods.iter().filter(|(_, _, pod)| pod.owner_kind == "ReplicaSet");
        let names: BTreeSet<&str> = of.filter_map(|(_, _, pod)| pod.set.as_deref()).collect();
        let made = names.into_iter().map(|name| Deployment {
            uid: uid_of(name),
            name: format!("{name}-deployment"),
            template_limits: self.stateful_set(name, pods).template_limits,
            limit_at: None,
        });
        made.collect()
    }

    fn stateful_set(&self, name: &str, pods: &[(u8, &str, PodYaml)]) -> StatefulSet {
        let none = Set::default();
        let yaml = self.sets.get(name).unwrap_or(&none);
        let mut set = fixtures::stateful_set();
        set.uid = uid_of(name);
        set.name = name.into();
        let members = pods.iter().filter(|(_, _, pod)| pod.set.as_deref() == Some(name)).count();
        set.replicas = yaml.replicas.unwrap_or(u32::try_from(members).unwrap());
        if let Some(limit) = &yaml.template {
            set.template_limits = vec![("redis".into(), Some(bytes(limit)))];
        }
        set.owner =
            yaml.owner.as_ref().map(|name| Owner { kind: "Redis".into(), name: name.clone(), uid: "owner".into() });
        set.template_role_label.clone_from(&yaml.role_label);
        set.hold.clone_from(&yaml.hold);
        set.limit_at.clone_from(&yaml.limit_at);
        if !yaml.starts_with.is_empty() {
            let settings = yaml.starts_with.clone().into_iter().collect();
            set.start_settings = vec![StartSettings { container: "redis".into(), settings }];
        }
        if let Some(revision) = &yaml.update_revision {
            set.update_revision.clone_from(revision);
        }
        set
    }
}

fn uid_of(set: &str) -> ControllerUid {
    if set == "redis" { fixtures::set_uid() } else { ControllerUid::new(format!("uid-of-{set}")) }
}

fn target(n: u8, name: &str, yaml: &PodYaml, pods: &[(u8, &str, PodYaml)]) -> Target {
    let mut pod = fixtures::pod(n);
    pod.name = name.into();
    let subdomain = yaml.set.as_deref().unwrap_or("none");
    pod.dns_name = Some(format!("{name}.{subdomain}.shop.svc"));
    pod.owner =
        yaml.set.as_ref().map(|set| Owner { kind: yaml.owner_kind.clone(), name: set.clone(), uid: uid_of(set) });
    pod.node = yaml.node.as_deref().map(Into::into);
    pod.ready = !yaml.not_ready;
    pod.terminating = yaml.terminating;
    pod.trouble.clone_from(&yaml.trouble);
    pod.hold.clone_from(&yaml.hold);
    let role = if yaml.follows.is_some() { "replica" } else { "primary" };
    pod.role_label = yaml.label.as_ref().map(|label| if label == "auto" { role.into() } else { label.clone() });
    if let Some(text) = &yaml.resize_deferred {
        pod.resize = ResizeProgress::Deferred(text.clone());
    }
    match (&mut pod.container, &yaml.container_problem) {
        (container, Some(problem)) => *container = Err(ContainerProblem(problem.clone())),
        (Ok(container), None) => {
            container.live_limit = yaml.limit.as_deref().map(bytes);
            container.spec_limit = yaml.spec_limit.as_deref().or(yaml.limit.as_deref()).map(bytes);
            container.spec_request = yaml.request.as_deref().map(bytes);
            container.resize_restarts = yaml.resize_restarts;
            if yaml.on_claim {
                container.mounts.iter_mut().for_each(|mount| {
                    (mount.volume, mount.claim) = (VolumeKind::Claim, Some(format!("data-redis-{n}")));
                });
            }
            container.killed = yaml
                .killed_minutes_ago
                .map(|minutes| Kill { started_at: None, at: fixtures::seconds_ago(minutes * 60) });
            if let Some(minutes) = yaml.started_minutes_ago {
                container.started_at = Some(fixtures::seconds_ago(minutes * 60));
            }
        }
        (Err(problem), None) => panic!("the fixture has no container: {problem:?}"),
    }
    let mut target = fixtures::bare_target(pod, sample(n, yaml, pods));
    (target.history, target.peaks) = (history(n, yaml), yaml.peaks);
    if yaml.pending {
        target.redis = Observation::Pending;
    }
    if let Some((kind, text)) = yaml.failed.iter().flatten().next() {
        target.redis = Observation::Failed(failure(kind, text.clone()));
    }
    target
}

fn failure(kind: &str, text: String) -> ProbeFailure {
    match kind {
        "unreachable" => ProbeFailure::Unreachable(text),
        "timedOut" => ProbeFailure::TimedOut(text),
        "authenticationFailed" => ProbeFailure::AuthenticationFailed(text),
        "secretUnavailable" => ProbeFailure::SecretUnavailable(text),
        "notRedis" => ProbeFailure::NotRedis(text),
        "replyTooLarge" => ProbeFailure::ReplyTooLarge(text),
        "refused" => ProbeFailure::Refused(text),
        "ownerUnproven" => ProbeFailure::OwnerUnproven(text),
        "hostNetwork" => ProbeFailure::HostNetwork(text),
        "tlsUnknownAuthority" => ProbeFailure::Tls(TlsProblem::UnknownAuthority, text),
        other => panic!("no failure is called {other}"),
    }
}

/// RSS from the ratio, so that the two never contradict each other.
fn rss(used: Bytes, ratio: f64) -> Bytes {
    used.percent(percent(ratio).0)
}

fn sample(n: u8, yaml: &PodYaml, pods: &[(u8, &str, PodYaml)]) -> Sample {
    let mut sample = fixtures::sample(role(yaml, pods));
    sample.run_id = fixtures::run_id(n);
    let used = bytes(&yaml.used);
    sample.replication.offset = yaml.offset - bytes(&yaml.behind).0.min(yaml.offset);
    sample.replication.link_down_for = yaml.link_down_minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let memory = &mut sample.memory;
    memory.used = used;
    memory.rss = rss(used, yaml.newest_ratio.unwrap_or(yaml.ratio));
    memory.ratio = percent(yaml.newest_ratio.unwrap_or(yaml.ratio));
    memory.dataset = yaml.dataset.as_deref().map_or(used.percent(95), bytes);
    memory.allocator.clone_from(&yaml.allocator);
    memory.maxmemory = bytes(&yaml.maxmemory);
    memory.maxmemory_policy.clone_from(&yaml.maxmemory_policy);
    let waste = memory.waste();
    memory.allocator_active = memory.rss;
    memory.rss_overhead = yaml.other.as_deref().map_or(waste.percent(3), bytes);
    memory.allocator_rss = yaml.purgeable.as_deref().map_or(waste.percent(7), bytes);
    memory.allocator_frag = waste.saturating_sub(memory.rss_overhead + memory.allocator_rss);
    sample.latest_fork = Duration::from_millis(yaml.fork_ms);
    sample.server.version = version(&yaml.version);
    sample.server.engine = match yaml.engine.as_str() {
        "redis" => Engine::Redis,
        "valkey" => Engine::Valkey,
        "keydb" => Engine::KeyDb,
        "dragonfly" => Engine::Dragonfly,
        other => panic!("no engine is called {other}"),
    };
    sample.server.cluster_enabled = yaml.cluster;
    sample.sentinel_seen = yaml.sentinel_seen;
    if yaml.failing_over {
        sample.replication.failover_state = FailoverState::InProgress;
    }
    if let Ok(config) = &mut sample.config {
        config.maxmemory = bytes(&yaml.maxmemory);
        config.maxmemory_policy.clone_from(&yaml.maxmemory_policy);
        config.appendonly = yaml.appendonly;
        config.save.clone_from(&yaml.save);
        config.diskless_load.clone_from(&yaml.diskless_load);
        config.min_replicas_to_write = yaml.min_replicas_to_write;
        config.serving.replica_priority = yaml.priority;
    }
    sample.persistence.child_running = yaml.child_running;
    sample.persistence.aof_enabled = yaml.appendonly;
    (sample.keys, sample.keys_with_ttl, sample.lookups) = (yaml.keys, yaml.keys_with_ttl, yaml.lookups);
    if let Some(text) = &yaml.config_unreadable {
        sample.config = Err(ConfigUnreadable(text.clone()));
    }
    sample.replication.replicas = lines(n, yaml, pods);
    sample
}

fn role(yaml: &PodYaml, pods: &[(u8, &str, PodYaml)]) -> Role {
    let Some(follows) = &yaml.follows else { return Role::Primary };
    let primary = match pods.iter().find(|(_, name, _)| name == follows) {
        Some((_, name, pod)) => {
            let set = pod.set.as_deref().unwrap_or("none");
            NodeAddress { host: format!("{name}.{set}.shop.svc.cluster.local"), port: fixtures::PORT }
        }
        None => NodeAddress { host: follows.clone(), port: fixtures::PORT },
    };
    Role::Replica(ReplicaLink {
        primary,
        link_up: yaml.link == "up",
        sync_in_progress: yaml.link == "sync",
        read_only: true,
    })
}

/// The members that follow this one, and what else it lists.
fn lines(n: u8, yaml: &PodYaml, pods: &[(u8, &str, PodYaml)]) -> Vec<ReplicaLine> {
    let own = pods.iter().find(|(m, ..)| *m == n).map(|(_, name, _)| *name);
    let follows_us = |pod: &PodYaml| pod.follows.as_deref() == own && pod.listed && pod.link == "up";
    let members = pods.iter().filter(|(_, _, pod)| follows_us(pod)).map(|(m, _, pod)| {
        let line = fixtures::replica_line(*m);
        ReplicaLine { offset: pod.offset.saturating_sub(bytes(&pod.behind).0), ..line }
    });
    let others = yaml.lists.iter().map(|host| ReplicaLine {
        address: NodeAddress { host: host.clone(), port: fixtures::PORT },
        ..fixtures::replica_line(n)
    });
    members.chain(others).collect()
}

fn version(text: &str) -> Version {
    let mut numbers = text.split('.').map(|n| n.parse().unwrap());
    let mut next = || numbers.next().unwrap_or(0);
    Version { major: next(), minor: next(), patch: next() }
}

fn history(n: u8, yaml: &PodYaml) -> Vec<redis_memory_operator::domain::sample::Reading> {
    let used = bytes(&yaml.used);
    let mut readings = fixtures::history(&fixtures::run_id(n), percent(yaml.ratio), used, rss(used, yaml.ratio));
    let keep = usize::from(yaml.minutes) * 4 + 1;
    readings.drain(..readings.len().saturating_sub(keep));
    if let Some(every) = yaml.busy_every {
        readings.iter_mut().step_by(every).for_each(|reading| reading.quiet = false);
    }
    if let Some(grows) = yaml.grows.as_deref().map(bytes) {
        for (before, reading) in (0..).zip(readings.iter_mut().rev()) {
            reading.used = reading.used.saturating_sub(Bytes(grows.0 * before));
        }
    }
    if let (Some(newest), Some(reading)) = (yaml.newest_ratio, readings.last_mut()) {
        reading.ratio = percent(newest);
        reading.rss = rss(used, newest);
    }
    assert!(readings.iter().all(|reading| reading.at <= NOW));
    readings
}

fn uid_of_pod(pod: &str, pods: &[(u8, &str, PodYaml)]) -> PodUid {
    fixtures::pod_uid(pods.iter().find(|(_, name, _)| *name == pod).unwrap().0)
}

fn left_alone(pod: &str, (kept, value, undone): &(Kept, String, Undone), pods: &[(u8, &str, PodYaml)]) -> LeftAlone {
    LeftAlone {
        pod: pod.into(),
        uid: uid_of_pod(pod, pods),
        kept: *kept,
        value: value.clone(),
        times: 3,
        undone: undone.clone(),
        until: NOW + jiff::SignedDuration::from_mins(50),
    }
}
