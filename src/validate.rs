//! Raw spec to validated [`Policy`]: the same rules as the CRD's CEL ([`rules`]), run again, and the few that CEL
//! cannot state. Everything that is wrong is said at once.

pub mod request;
pub mod resolve;
mod selector;
mod syntax;
mod windows;

use std::{fmt, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;

pub use self::selector::selector_string;
use self::syntax::{
    belongs_to_kubernetes, is_eviction_policy, is_label, is_label_key, is_label_value, is_master_name, is_secret_key,
    is_subdomain, port,
};
use crate::{
    api::v1alpha1::{
        self as api, RedisMemoryPolicy,
        rules::{self, Rule},
    },
    domain::{
        bytes::{Bytes, GIB, MIB},
        duration,
        policy::{
            Approval, AuthorityRule, FragmentationRule, HeadroomMethod, HeadroomRule, Mode, Policy, RedisAccess,
            RestartRule, RoleLabel, SecretKey, SentinelAccess,
        },
        purpose::Purpose,
        quantity,
        ratio::Ratio,
        tls::TlsRule,
    },
};

/// One thing that is wrong with a spec. Names the field, and its value where that helps; the spec holds no secret,
/// and names of Secrets are not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the field, for example `spec.headroom.percent`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.message)
    }
}

/// The policy that the resource states, or everything that is wrong with it.
///
/// The resource may have been stored under an older CRD, or under none of our rules: nothing is taken for granted.
pub fn validate(resource: &RedisMemoryPolicy) -> Result<Policy, Vec<Invalid>> {
    let spec = &resource.spec;
    let mut problems = Problems(Vec::new());
    selector::check_own(spec, &mut problems);
    let redis = redis(&spec.redis, &mut problems);
    let headroom = headroom(&spec.headroom, &mut problems);
    let is_cache = spec.purpose == Some(Purpose::Cache);
    let may_evict = is_cache && headroom.set_maxmemory;
    problems.unless(!headroom.allow_eviction || may_evict, "spec", rules::ALLOW_EVICTION);
    let eviction_allowed = eviction(&spec.eviction, &mut problems);
    let fragmentation = fragmentation(&spec.fragmentation, &mut problems);
    let restart = restart(&spec.restart, &mut problems);
    let (Some(redis), true) = (redis, problems.0.is_empty()) else { return Err(problems.0) };
    Ok(Policy {
        namespace: resource.namespace().unwrap_or_default(),
        name: resource.name_any(),
        uid: resource.uid().unwrap_or_default(),
        generation: resource.metadata.generation.unwrap_or_default(),
        created_at: created_at(resource),
        selector: selector_string(&spec.selector),
        mode: match spec.mode {
            api::Mode::Observe => Mode::Observe,
            api::Mode::Enforce => Mode::Enforce,
        },
        suspend: spec.suspend,
        purpose: spec.purpose,
        redis,
        headroom,
        eviction_allowed,
        fragmentation,
        restart,
    })
}

/// A resource without a creation time was never stored; it then counts as the youngest.
fn created_at(resource: &RedisMemoryPolicy) -> Timestamp {
    resource.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0)
}

/// All that is wrong, in one line.
pub fn in_words(problems: &[Invalid]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What is wrong, in the order of the spec.
struct Problems(Vec<Invalid>);

impl Problems {
    fn say(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Invalid { field: field.to_owned(), message: message.into() });
    }

    /// Notes the rule's text when it does not hold.
    fn unless(&mut self, holds: bool, field: &str, rule: Rule) {
        if !holds {
            self.say(&format!("{field}{}", rule.field), rule.message);
        }
    }

    fn range(&mut self, value: u32, least: u32, most: u32, field: &str) {
        if !(least..=most).contains(&value) {
            self.say(field, format!("is {value}; write a whole number from {least} to {most}"));
        }
    }

    fn memory(&mut self, text: &str, least: Bytes, field: &str, rule: Rule) -> Bytes {
        match quantity::parse(text) {
            Ok(bytes) if (least..=Bytes(GIB << 20)).contains(&bytes) => bytes,
            _ => {
                self.say(field, rule.message);
                Bytes::ZERO
            }
        }
    }

    fn duration(&mut self, text: &str, least: Duration, most: Duration, field: &str, rule: Rule) -> Duration {
        match duration::parse(text) {
            Ok(time) if (least..=most).contains(&time) => time,
            _ => {
                self.say(field, rule.message);
                Duration::ZERO
            }
        }
    }

    /// A set of remedies: something is in it, nothing twice, and Report stands alone. True: more than a report.
    fn remedies<T: PartialEq>(&mut self, remedies: &[T], report: &T, field: &str, rule: Rule) -> bool {
        if remedies.is_empty() {
            self.say(field, "must not be empty; write [Report] to have findings reported and nothing done");
        }
        self.set(remedies, field);
        self.unless(!remedies.contains(report) || remedies.len() == 1, field, rule);
        !remedies.contains(report)
    }

    fn set<T: PartialEq>(&mut self, items: &[T], field: &str) {
        let twice = items.iter().enumerate().any(|(n, item)| items.iter().skip(n + 1).any(|other| other == item));
        self.unless(!twice, field, rules::NO_VALUE_TWICE);
    }
}

fn redis(spec: &api::Redis, problems: &mut Problems) -> Option<RedisAccess> {
    const REDIS: &str = "spec.redis";
    if let Some(container) = &spec.container {
        problems.unless(is_label(container), "spec.redis.container", rules::CONTAINER);
    }
    let port = port(&spec.port);
    problems.unless(port.is_some(), "spec.redis.port", rules::PORT);
    let label = &spec.role_label;
    problems.unless(is_label_key(&label.key), "spec.redis.roleLabel.key", rules::LABEL_KEY);
    problems.unless(!belongs_to_kubernetes(&label.key), "spec.redis.roleLabel.key", rules::LABEL_KEY_OWN);
    problems.unless(is_label_value(&label.primary), "spec.redis.roleLabel.primary", rules::LABEL_VALUE);
    problems.unless(is_label_value(&label.replica), "spec.redis.roleLabel.replica", rules::LABEL_VALUE);
    problems.unless(label.primary != label.replica, "spec.redis.roleLabel", rules::ROLES_DIFFER);
    login(spec.username.as_ref(), spec.password_secret.as_ref(), REDIS, problems);
    let tls = spec.tls.as_ref().map(|tls| tls_rule(tls, REDIS, problems));
    let sentinel = spec.sentinel.as_deref().map(|sentinel| sentinel_access(sentinel, problems));
    Some(RedisAccess {
        container: spec.container.clone(),
        port: port?,
        authority: match spec.role_authority {
            api::RoleAuthority::Auto => AuthorityRule::Auto,
            api::RoleAuthority::Label => AuthorityRule::Label,
            api::RoleAuthority::Operator => AuthorityRule::Operator,
        },
        role_label: RoleLabel {
            key: label.key.clone(),
            primary: label.primary.clone(),
            replica: label.replica.clone(),
        },
        username: spec.username.clone(),
        password: spec.password_secret.as_ref().map(secret_key),
        tls,
        sentinel: match sentinel {
            Some(sentinel) => Some(sentinel?),
            None => None,
        },
    })
}

fn sentinel_access(spec: &api::Sentinel, problems: &mut Problems) -> Option<SentinelAccess> {
    const SENTINEL: &str = "spec.redis.sentinel";
    if let Some(selector) = &spec.selector {
        selector::check(selector, "spec.redis.sentinel.selector", problems);
    }
    let port = port(&spec.port);
    problems.unless(port.is_some(), "spec.redis.sentinel.port", rules::PORT);
    if let Some(name) = &spec.master_name {
        problems.unless(is_master_name(name), "spec.redis.sentinel.masterName", rules::MASTER_NAME);
    }
    login(spec.username.as_ref(), spec.password_secret.as_ref(), SENTINEL, problems);
    let tls = spec.tls.as_ref().map(|tls| tls_rule(tls, SENTINEL, problems));
    Some(SentinelAccess {
        selector: spec.selector.as_ref().map(selector_string),
        port: port?,
        master_name: spec.master_name.clone(),
        username: spec.username.clone(),
        password: spec.password_secret.as_ref().map(secret_key),
        tls,
    })
}

/// User and password of what stands at `field`.
fn login(user: Option<&String>, secret: Option<&api::SecretKeyRef>, field: &str, problems: &mut Problems) {
    if let Some(user) = user {
        let printable = (1..=128).contains(&user.len()) && user.bytes().all(|b| b.is_ascii_graphic());
        problems.unless(printable, &format!("{field}.username"), rules::USERNAME);
        problems.unless(secret.is_some(), field, rules::USERNAME_NEEDS_PASSWORD);
    }
    if let Some(secret) = secret {
        problems.unless(is_subdomain(&secret.name), &format!("{field}.passwordSecret.name"), rules::SECRET_NAME);
        problems.unless(is_secret_key(&secret.key), &format!("{field}.passwordSecret.key"), rules::SECRET_KEY);
    }
}

fn secret_key(secret: &api::SecretKeyRef) -> SecretKey {
    SecretKey { name: secret.name.clone(), key: secret.key.clone() }
}

/// The TLS of what stands at `field`.
fn tls_rule(spec: &api::Tls, field: &str, problems: &mut Problems) -> TlsRule {
    let ca = &spec.ca_secret;
    problems.unless(is_subdomain(&ca.name), &format!("{field}.tls.caSecret.name"), rules::SECRET_NAME);
    problems.unless(is_secret_key(&ca.key), &format!("{field}.tls.caSecret.key"), rules::SECRET_KEY);
    if let Some(secret) = &spec.client_cert_secret {
        let field = format!("{field}.tls.clientCertSecret.name");
        problems.unless(is_subdomain(&secret.name), &field, rules::SECRET_NAME);
    }
    if let Some(name) = &spec.server_name {
        let fits = name.len() <= 253 && name.split('.').all(is_label);
        problems.unless(fits, &format!("{field}.tls.serverName"), rules::SERVER_NAME);
    }
    TlsRule {
        ca: secret_key(ca),
        client_cert: spec.client_cert_secret.as_ref().map(|secret| secret.name.clone()),
        server_name: spec.server_name.clone(),
    }
}

fn headroom(spec: &api::Headroom, problems: &mut Problems) -> HeadroomRule {
    problems.range(spec.percent, 10, 400, "spec.headroom.percent");
    let minimum = problems.memory(&spec.minimum, Bytes(MIB), "spec.headroom.minimum", rules::MEMORY);
    let maximum_limit = spec
        .maximum_limit
        .as_ref()
        .map(|text| problems.memory(text, Bytes(MIB), "spec.headroom.maximumLimit", rules::MEMORY));
    // Like the CEL rule, silent when one of the two is no quantity: that has its own text.
    let enough = maximum_limit.is_none_or(|most| most == Bytes::ZERO || most >= minimum);
    problems.unless(enough, "spec.headroom", rules::MAXIMUM_LIMIT);
    problems.remedies(
        &spec.remedies,
        &api::HeadroomRemedy::Report,
        "spec.headroom.remedies",
        rules::HEADROOM_REPORT_ALONE,
    );
    let allows = |remedy| spec.remedies.contains(&remedy);
    HeadroomRule {
        method: match spec.method {
            api::HeadroomMethod::Fixed => HeadroomMethod::Fixed,
            api::HeadroomMethod::Measured => HeadroomMethod::Measured,
        },
        percent: spec.percent,
        minimum,
        resize_pod: allows(api::HeadroomRemedy::ResizePod),
        set_maxmemory: allows(api::HeadroomRemedy::SetMaxmemory),
        maximum_limit,
        requests: spec.requests,
        allow_eviction: spec.allow_eviction,
    }
}

fn eviction(spec: &api::Eviction, problems: &mut Problems) -> Vec<String> {
    problems.set(&spec.allowed, "spec.eviction.allowed");
    for (n, api::EvictionPolicy(name)) in spec.allowed.iter().enumerate() {
        problems.unless(is_eviction_policy(name), &format!("spec.eviction.allowed[{n}]"), rules::EVICTION_POLICY);
    }
    spec.allowed.iter().map(|api::EvictionPolicy(name)| name.clone()).collect()
}

fn fragmentation(spec: &api::Fragmentation, problems: &mut Problems) -> FragmentationRule {
    const FIELD: &str = "spec.fragmentation";
    for (percent, name) in [
        (spec.moderate_percent, "moderatePercent"),
        (spec.serious_percent, "seriousPercent"),
        (spec.critical_percent, "criticalPercent"),
        (spec.restart_percent, "restartPercent"),
    ] {
        problems.range(percent, 101, 10_000, &format!("{FIELD}.{name}"));
    }
    problems.unless(spec.moderate_percent < spec.serious_percent, FIELD, rules::SERIOUS_ABOVE_MODERATE);
    problems.unless(spec.serious_percent < spec.critical_percent, FIELD, rules::CRITICAL_ABOVE_SERIOUS);
    problems.unless(spec.critical_percent < spec.restart_percent, FIELD, rules::RESTART_ABOVE_CRITICAL);
    let restart_allowed = problems.remedies(
        &spec.remedies,
        &api::FragmentationRemedy::Report,
        "spec.fragmentation.remedies",
        rules::FRAGMENTATION_REPORT_ALONE,
    );
    FragmentationRule {
        moderate: Ratio(spec.moderate_percent),
        serious: Ratio(spec.serious_percent),
        critical: Ratio(spec.critical_percent),
        restart: Ratio(spec.restart_percent),
        minimum_waste: problems.memory(
            &spec.minimum_waste,
            Bytes(MIB),
            "spec.fragmentation.minimumWaste",
            rules::MEMORY,
        ),
        sustained: problems.duration(
            &spec.sustained,
            Duration::from_secs(1),
            hours(6),
            "spec.fragmentation.sustained",
            rules::SUSTAINED,
        ),
        restart_allowed,
    }
}

fn restart(spec: &api::Restart, problems: &mut Problems) -> RestartRule {
    let most = spec.maximum_restarts_per_day;
    if let Some(most) = most {
        problems.range(most, 1, 64, "spec.restart.maximumRestartsPerDay");
    }
    problems.range(spec.minimum_synced_replicas, 0, 16, "spec.restart.minimumSyncedReplicas");
    RestartRule {
        windows: windows::windows(&spec.windows, problems),
        approval: match spec.approval {
            api::Approval::Automatic => Approval::Automatic,
            api::Approval::Supervised => Approval::Supervised,
            api::Approval::Manual => Approval::Manual,
        },
        maximum_restarts_per_day: most,
        cooldown: problems.duration(
            &spec.cooldown,
            Duration::ZERO,
            hours(8760),
            "spec.restart.cooldown",
            rules::COOLDOWN,
        ),
        max_replication_lag: problems.memory(
            &spec.max_replication_lag,
            Bytes(1),
            "spec.restart.maxReplicationLag",
            rules::LAG,
        ),
        step_timeout: problems.duration(
            &spec.step_timeout,
            Duration::from_secs(10),
            hours(24),
            "spec.restart.stepTimeout",
            rules::STEP_TIMEOUT,
        ),
        minimum_synced_replicas: spec.minimum_synced_replicas,
        maximum_write_gap: problems.duration(
            &spec.maximum_write_gap,
            Duration::ZERO,
            hours(1),
            "spec.restart.maximumWriteGap",
            rules::MAXIMUM_WRITE_GAP,
        ),
        allow_downtime: spec.allow_downtime,
    }
}

const fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

#[cfg(test)]
mod tests;
