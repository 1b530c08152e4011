//! `spec.redis` of a set: container and port, and the Secrets that its containers themselves get. No Secret is read.

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, Pod},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    clients::{Leads, Way},
    found::RedisSet,
    selector,
};
use crate::{
    api::v1alpha1::{
        Redis, RedisMemoryPolicy, RedisMemoryPolicySpec, RoleAuthority, RoleLabel, SecretKeyRef, SecretRef, Sentinel,
        Tls,
    },
    domain::recognition::{self, SERVER_PORT, Shape},
    observe::pods,
    validate::validate,
};

/// What is put into the policy, and what could not be.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) redis: Redis,
    /// What a person must add or decide.
    pub(super) missing: Vec<String>,
}

/// How the pods of the set are reached, and its Sentinels where they run in others.
pub(super) fn of(set: &RedisSet, ways: &[Way], shape: Shape, sentinels: Option<&RedisSet>) -> Access {
    let mut missing = Vec::new();
    let sentinel = sentinels.and_then(|pods| {
        let access = sentinel(pods);
        if access.is_none() {
            missing
                .push("its Sentinels have no labels that only they have: add spec.redis.sentinel.selector".to_owned());
        }
        access.map(Box::new)
    });
    let tls = set.members.iter().find_map(|member| tls(&member.pod, &member.container));
    let tls = tls.and_then(|tls| tls.map_err(|why| missing.push(why)).ok());
    let its = |name: &str| !name.contains("SENTINEL");
    let password = set.members.iter().find_map(|member| password(&member.pod, &member.container, its));
    let (role_authority, role_label) = authority(set, ways, shape);
    if role_authority == RoleAuthority::Label && set.deployment.is_none_or(|of| of.role_label.is_none()) {
        missing.push(format!(
            "Label: another controller keeps {}. If a person put it on the pods, write Operator: then this operator keeps it",
            role_label.key
        ));
    }
    let rest = Redis { password_secret: password, tls, role_authority, role_label, sentinel, ..Redis::default() };
    let found = candidates(set).into_iter().map(|(container, port)| Redis { container, port, ..rest.clone() });
    let mut found = found.filter(|redis| finds_every_server(set, redis));
    let redis = found.next().unwrap_or_else(|| {
        missing.push(
            "the container of Redis has another name or port in each pod, and spec.redis.container can name one only: \
             give them one name, or declare the port in each"
                .to_owned(),
        );
        rest.clone()
    });
    Access { redis, missing }
}

/// How Sentinels are asked that run in pods of their own; `None`: no selector takes exactly these.
fn sentinel(pods: &RedisSet) -> Option<Sentinel> {
    let usual = Sentinel::default();
    let first = pods.members.first()?;
    let ports = first.container.ports.iter().flatten();
    let declared: Vec<i32> = ports.map(|port| port.container_port).collect();
    let port = match declared.as_slice() {
        [one] => IntOrString::Int(*one),
        _ => usual.port.clone(),
    };
    // A Sentinel is given the server's password too; only one that is called its own need be what it wants itself.
    let password_secret = password(&first.pod, &first.container, |name| name.contains("SENTINEL"));
    Some(Sentinel { selector: Some(selector::exact(pods)?), port, password_secret, ..usual })
}

/// Container and port in the order of preference: what need not be written first.
fn candidates(set: &RedisSet) -> Vec<(Option<String>, IntOrString)> {
    let Some(first) = set.members.first() else { return Vec::new() };
    let name = Some(first.container.name.clone());
    let number = |port: u16| IntOrString::Int(i32::from(port));
    let mut candidates = vec![(None, number(SERVER_PORT)), (name.clone(), number(SERVER_PORT))];
    let own = port(&first.container);
    candidates.extend([(None, number(own)), (name.clone(), number(own))]);
    let named = first.container.ports.iter().flatten().find(|port| port.container_port == i32::from(own));
    if let Some(port) = named.and_then(|port| port.name.clone()) {
        candidates.extend([(None, IntOrString::String(port.clone())), (name, IntOrString::String(port))]);
    }
    candidates
}

/// Whether the operator would find the container and the port of each member by it.
fn finds_every_server(set: &RedisSet, redis: &Redis) -> bool {
    let selector = k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
        match_labels: Some([("any".to_owned(), "any".to_owned())].into()),
        match_expressions: None,
    };
    let spec = RedisMemoryPolicySpec { selector, redis: redis.clone(), ..RedisMemoryPolicySpec::default() };
    let Ok(policy) = validate(&RedisMemoryPolicy::new("any", spec)) else { return false };
    set.members.iter().all(|member| {
        let container = pods::pod(&member.pod, &policy.redis).container;
        container.is_ok_and(|found| found.name == member.container.name && found.port == port(&member.container))
    })
}

/// The port of the server: what its arguments say, else what the container declares, else Redis' own.
fn port(container: &Container) -> u16 {
    let words: Vec<&str> = container.command.iter().chain(&container.args).flatten().map(String::as_str).collect();
    let told = |flag: &str| {
        let pair = words.windows(2).find(|pair| pair.first() == Some(&flag))?;
        pair.last()?.parse::<u16>().ok().filter(|port| *port != 0)
    };
    let declared: Vec<u16> =
        container.ports.iter().flatten().filter_map(|port| u16::try_from(port.container_port).ok()).collect();
    let declared = if declared.contains(&SERVER_PORT) { Some(&SERVER_PORT) } else { declared.first() };
    told("--tls-port").or_else(|| told("--port")).or_else(|| declared.copied()).unwrap_or(SERVER_PORT)
}

/// Who keeps the roles: only where clients follow a label is that anybody's.
fn authority(set: &RedisSet, ways: &[Way], shape: Shape) -> (RoleAuthority, RoleLabel) {
    let usual = RoleLabel::default();
    if shape != Shape::RoleLabel {
        return (RoleAuthority::Auto, usual);
    }
    let kept = set.deployment.and_then(|deployment| deployment.role_label);
    if let Some(kept) = kept {
        let (key, primary, replica) = (kept.key.to_owned(), kept.primary.to_owned(), kept.replica.to_owned());
        return (RoleAuthority::Label, RoleLabel { key, primary, replica });
    }
    let roles = ways.iter().filter_map(|way| match &way.leads {
        Leads::Role { key, value } => Some((key, value)),
        _ => None,
    });
    let roles: Vec<(&String, &String)> = roles.collect();
    if roles.iter().any(|(key, value)| **key == usual.key && **value == usual.primary) {
        return (RoleAuthority::Operator, usual);
    }
    let leads = roles.iter().find(|(_, value)| recognition::reads_as_primary(value));
    let Some((key, primary)) = leads.copied() else { return (RoleAuthority::Auto, usual) };
    let labels = set.members.iter().filter_map(|member| member.pod.metadata.labels.as_ref()?.get(key));
    let labels: Vec<&String> = labels.collect();
    let other = labels.iter().copied().find(|value| *value != primary);
    let replica = other.cloned().unwrap_or_else(|| "replica".to_owned());
    let authority = if labels.is_empty() { RoleAuthority::Operator } else { RoleAuthority::Label };
    (authority, RoleLabel { key: key.clone(), primary: primary.clone(), replica })
}

/// Where the container gets its password from: a variable from a Secret, or a file of a mounted one.
fn password(pod: &Pod, container: &Container, its: impl Fn(&str) -> bool) -> Option<SecretKeyRef> {
    let is_password = |name: &str| {
        let name = name.to_ascii_uppercase();
        (name.contains("PASSWORD") || name.contains("PASSWD") || name.ends_with("AUTH")) && its(&name)
    };
    let variables: Vec<&EnvVar> = container.env.iter().flatten().filter(|it| is_password(&it.name)).collect();
    let of_secret = |variable: &&EnvVar| {
        let key = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
        Some(SecretKeyRef { name: key.name.clone(), key: key.key.clone() })
    };
    let of_file = |variable: &&EnvVar| secret_file(pod, container, variable.value.as_deref()?);
    variables.iter().find_map(of_secret).or_else(|| variables.iter().find_map(of_file))
}

/// The Secret and the key of a mounted file.
fn secret_file(pod: &Pod, container: &Container, path: &str) -> Option<SecretKeyRef> {
    let mut mounts = container.volume_mounts.iter().flatten();
    let below = |mount: &str| path.strip_prefix(mount.trim_end_matches('/'))?.strip_prefix('/').map(str::to_owned);
    let (volume, file) = mounts.find_map(|mount| Some((&mount.name, below(&mount.mount_path)?)))?;
    let volumes = pod.spec.as_ref()?.volumes.iter().flatten();
    let secret = volumes.filter(|it| it.name == *volume).find_map(|it| it.secret.as_ref())?;
    let item = secret.items.iter().flatten().find(|item| item.path == file);
    Some(SecretKeyRef { name: secret.secret_name.clone()?, key: item.map_or(file, |item| item.key.clone()) })
}

/// TLS by the variables of the charts that have them, or by the port; `Err`: it is on, and whose certificates count is not
/// seen.
fn tls(pod: &Pod, container: &Container) -> Option<Result<Tls, String>> {
    let variable = |end: &str| {
        let mut all = container.env.iter().flatten();
        all.find(|it| it.name.ends_with(end)).and_then(|it| it.value.as_deref())
    };
    let words = || container.command.iter().chain(&container.args).flatten();
    let by_port = words().any(|word| word == "--tls-port");
    let by_variable = variable("_TLS_ENABLED").is_some_and(|value| ["yes", "true"].contains(&value));
    if !by_port && !by_variable {
        return None;
    }
    let after = |flag: &str| words().skip_while(|word| *word != flag).nth(1).map(String::as_str);
    let file = |flag: &str, end: &str| secret_file(pod, container, after(flag).or_else(|| variable(end))?);
    let Some(ca_secret) = file("--tls-ca-cert-file", "_TLS_CA_FILE") else {
        return Some(Err("TLS is on, and the Secret of its certificates is not seen: add spec.redis.tls".to_owned()));
    };
    // The server asks for a certificate unless it is told not to.
    let asks = after("--tls-auth-clients").or_else(|| variable("_TLS_AUTH_CLIENTS")) != Some("no");
    let own = file("--tls-cert-file", "_TLS_CERT_FILE").filter(|own| asks && own.key == "tls.crt");
    let client_cert_secret = own.map(|own| SecretRef { name: own.name });
    if asks && client_cert_secret.is_none() {
        return Some(Err(format!(
            "TLS is on and the servers ask for a client certificate: add spec.redis.tls with caSecret {} (key {}) and a \
             clientCertSecret of type kubernetes.io/tls",
            ca_secret.name, ca_secret.key
        )));
    }
    Some(Ok(Tls { ca_secret, client_cert_secret, server_name: None }))
}
