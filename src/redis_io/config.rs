//! `CONFIG GET` replies to [`Config`]. Before 7.0 CONFIG GET takes one parameter a command; later servers take all at once.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
    sync::LazyLock,
    time::Duration,
};

use redis::{Pipeline, Value};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    error::RedisError,
    reply,
    text::{shown, word},
};
use crate::domain::{
    bytes::Bytes,
    sample::{Config, ConfigUnreadable, Engine, Server},
    serving::Serving,
};

/// The parameters that are asked for, in the order of the replies.
pub const PARAMETERS: [&str; 27] = [
    "maxmemory",
    "maxmemory-policy",
    "save",
    "appendonly",
    "repl-backlog-size",
    "min-replicas-to-write",
    "shutdown-timeout",
    "client-output-buffer-limit",
    "repl-diskless-load",
    "dir",
    "masteruser",
    "masterauth",
    "tls-replication",
    "replica-ignore-maxmemory",
    "appendfsync",
    "requirepass",
    "maxclients",
    "databases",
    "port",
    "tls-port",
    "tls-auth-clients",
    "replica-priority",
    "notify-keyspace-events",
    "timeout",
    "min-replicas-max-lag",
    "repl-ping-replica-period",
    "repl-timeout",
];

/// Adds the CONFIG GET commands.
pub(super) fn ask(pipeline: &mut Pipeline) {
    for name in PARAMETERS {
        pipeline.cmd("CONFIG").arg("GET").arg(name);
    }
}

/// Adds one CONFIG GET command for all of them, which not every server takes: see [`takes_list`].
pub(super) fn ask_at_once(pipeline: &mut Pipeline) {
    pipeline.cmd("CONFIG").arg("GET").arg(&PARAMETERS);
}

/// Whether a server should take [`ask_at_once`]: Redis from 7.0 on, and what came of it.
pub(super) fn takes_list(server: &Server) -> bool {
    match server.engine {
        Engine::Redis => server.version.major >= 7,
        Engine::Valkey => true,
        Engine::KeyDb | Engine::Dragonfly => false,
    }
}

/// Reads the replies to [`ask`].
pub(super) fn read(replies: impl Iterator<Item = Value>) -> Result<Config, ConfigUnreadable> {
    read_values(replies.map(|reply| {
        let mut pair = reply::array(Some(reply)).map_err(|error| unreadable(&error))?.into_iter();
        let _name = pair.next();
        pair.next().map(secret).transpose()
    }))
}

/// Reads the reply to [`ask_at_once`]: names and values come in an order of the server's own.
pub(super) fn read_at_once(reply: Option<Value>) -> Result<Config, ConfigUnreadable> {
    let mut words = reply::array(reply).map_err(|error| unreadable(&error))?.into_iter();
    let mut found: [Option<Value>; PARAMETERS.len()] = [const { None }; PARAMETERS.len()];
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        let Value::BulkString(name) = name else { continue };
        let place = PARAMETERS.iter().position(|parameter| parameter.as_bytes() == name);
        if let Some(place) = place.and_then(|place| found.get_mut(place)) {
            *place = Some(value);
        }
    }
    read_values(found.into_iter().map(|value| value.map(secret).transpose()))
}

/// Reads the value of each of [`PARAMETERS`]; `None`: this server has no such parameter. User and password of replication
/// are hashed here and wiped.
fn read_values(
    mut values: impl Iterator<Item = Result<Option<Zeroizing<String>>, ConfigUnreadable>>,
) -> Result<Config, ConfigUnreadable> {
    let mut next = || values.next().unwrap_or(Ok(None));
    let limits: Option<String>;
    let mut config = Config {
        maxmemory: Bytes(number("maxmemory", next()?)?),
        maxmemory_policy: text("maxmemory-policy", next()?)?,
        save: save_points(&required("save", next()?)?)?,
        appendonly: text("appendonly", next()?)? == "yes",
        repl_backlog_size: Bytes(number("repl-backlog-size", next()?)?),
        min_replicas_to_write: u32::try_from(number("min-replicas-to-write", next()?)?).unwrap_or(u32::MAX),
        // From 7.0 on; before it, SIGTERM waits for no replica.
        shutdown_timeout: Duration::from_secs(next()?.and_then(|text| text.parse().ok()).unwrap_or(0)),
        replica_output_limit: {
            limits = next()?.map(|line| line.to_string());
            replica_output_limit(limits.as_deref().unwrap_or_default())?
        },
        diskless_load: text("repl-diskless-load", next()?)?,
        dir: path(&required("dir", next()?)?)?,
        primary_user: next()?.filter(|user| !user.is_empty()).map(|user| fingerprint([user.as_str()].into_iter())),
        primary_auth: Some(required("masterauth", next()?)?)
            .filter(|password| !password.is_empty())
            .map(|password| fingerprint([password.as_str()].into_iter())),
        // Absent from a server that was built without TLS.
        tls_replication: next()?.is_some_and(|text| text.as_str() == "yes"),
        serving: Serving::default(),
    };
    let carried = carried(limits.as_deref(), config.min_replicas_to_write);
    config.serving = serving(|| next().ok().flatten(), carried);
    Ok(config)
}

/// What no decision rests on alone: a server without such a setting, or with a value that cannot be read, is one of which
/// it is not known.
fn serving(mut next: impl FnMut() -> Option<Zeroizing<String>>, carried: BTreeMap<String, String>) -> Serving {
    let number = |value: Option<Zeroizing<String>>| value.and_then(|text| text.parse().ok());
    let readable = |value: Option<Zeroizing<String>>| value.map(|text| word(&text)).filter(|text| text != "unreadable");
    let mut serving = Serving {
        ignores_maxmemory: next().and_then(|text| match text.as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }),
        append_fsync: readable(next()),
        client_auth: next().map(|password| {
            if password.is_empty() { String::new() } else { fingerprint([password.as_str()].into_iter()) }
        }),
        max_clients: number(next()),
        databases: number(next()),
        port: number(next()),
        tls_port: number(next()),
        tls_auth_clients: readable(next()),
        replica_priority: number(next()),
        replica_ping_period: None,
        replica_timeout: None,
        carried,
    };
    for name in ["notify-keyspace-events", "timeout", "min-replicas-max-lag"] {
        carry(&mut serving.carried, name, next().as_deref().map(String::as_str));
    }
    serving.replica_ping_period = number(next());
    serving.replica_timeout = number(next());
    serving
}

/// Of those that are asked for anyway.
fn carried(output_limits: Option<&str>, min_replicas_to_write: u32) -> BTreeMap<String, String> {
    let mut carried = BTreeMap::new();
    carry(&mut carried, "client-output-buffer-limit", output_limits);
    carry(&mut carried, "min-replicas-to-write", Some(&min_replicas_to_write.to_string()));
    carried
}

/// It is given to another server, so only what such a setting may hold is taken.
fn carry(carried: &mut BTreeMap<String, String>, name: &str, value: Option<&str>) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'$');
    if let Some(value) = value.filter(|value| value.len() <= 256 && value.bytes().all(plain)) {
        carried.insert(name.to_owned(), value.to_owned());
    }
}

/// A value that may be a secret.
fn secret(value: Value) -> Result<Zeroizing<String>, ConfigUnreadable> {
    reply::text(Some(value)).map(Zeroizing::new).map_err(|error| unreadable(&error))
}

fn unreadable(error: &RedisError) -> ConfigUnreadable {
    ConfigUnreadable(shown(&format!("CONFIG GET: {error}")))
}

fn required(name: &str, value: Option<Zeroizing<String>>) -> Result<Zeroizing<String>, ConfigUnreadable> {
    value.ok_or_else(|| ConfigUnreadable(format!("CONFIG GET {name} gives nothing")))
}

fn text(name: &str, value: Option<Zeroizing<String>>) -> Result<String, ConfigUnreadable> {
    required(name, value).map(|text| word(&text))
}

/// An absolute path, compared with the pod's mounts and shown when it lies in none; nothing else is taken for one.
fn path(text: &str) -> Result<String, ConfigUnreadable> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_' | b'+' | b'@' | b'=' | b',');
    if text.len() <= 256 && text.starts_with('/') && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(ConfigUnreadable("CONFIG GET dir gives no plain absolute path".to_owned()))
}

/// `3600 1 300 100`: pairs of numbers. It is given back to a server after a restart, so nothing else is taken.
fn save_points(text: &str) -> Result<String, ConfigUnreadable> {
    if text.len() <= 256 && text.bytes().all(|b| b.is_ascii_digit() || b == b' ') {
        return Ok(text.to_owned());
    }
    Err(ConfigUnreadable("CONFIG GET save gives no save points".to_owned()))
}

fn number(name: &str, value: Option<Zeroizing<String>>) -> Result<u64, ConfigUnreadable> {
    required(name, value)?.parse().map_err(|_| ConfigUnreadable(format!("CONFIG GET {name} gives no number")))
}

/// The hard limit in `normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60`.
fn replica_output_limit(line: &str) -> Result<Bytes, ConfigUnreadable> {
    let mut words = line.split_ascii_whitespace();
    words
        .find(|word| matches!(*word, "slave" | "replica"))
        .and_then(|_| words.next()?.parse().ok())
        .map(Bytes)
        .ok_or_else(|| ConfigUnreadable("CONFIG GET client-output-buffer-limit names no limit for replicas".to_owned()))
}

/// A hash of secrets that is equal where they are equal. It is salted anew in each process, so that a fingerprint that
/// leaked could not be tried against a list of passwords.
pub(super) fn fingerprint<'a>(words: impl Iterator<Item = &'a str>) -> String {
    static SALT: LazyLock<[u64; 2]> =
        LazyLock::new(|| [RandomState::new().hash_one("a"), RandomState::new().hash_one("b")]);
    let mut hasher = Sha256::new();
    for word in *SALT {
        hasher.update(word.to_le_bytes());
    }
    for word in words {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update(word.len().to_le_bytes());
        hasher.update(word.as_bytes());
    }
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        let _writing_to_a_string_cannot_fail = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::serving::CARRIED;
    use rstest::rstest;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    /// What 7.0.15 answers, with one value replaced.
    fn replies(replaced: &str, with: Option<&str>) -> Vec<Value> {
        let values = [
            "1073741824",
            "allkeys-lru",
            "3600 1 300 100",
            "yes",
            "1048576",
            "1",
            "10",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
            "disabled",
            "/data",
            "",
            "hunter2",
            "no",
            "no",
            "everysec",
            "hunter3",
            "10000",
            "16",
            "6379",
            "0",
            "yes",
            "50",
            "AKE",
            "300",
            "10",
        ];
        let reply = |(name, value): (&&str, &str)| match (name == &replaced, with) {
            (true, None) => Value::Array(vec![]),
            (true, Some(other)) => Value::Array(vec![bulk(name), bulk(other)]),
            _ => Value::Array(vec![bulk(name), bulk(value)]),
        };
        PARAMETERS.iter().zip(values).map(reply).collect()
    }

    #[test]
    fn reads_every_parameter() {
        let config = read(replies("", None).into_iter()).unwrap();
        assert_eq!(config.maxmemory, Bytes(1_073_741_824));
        assert_eq!(config.maxmemory_policy, "allkeys-lru");
        assert_eq!(config.save, "3600 1 300 100");
        assert!(config.appendonly);
        assert_eq!((config.tls_port(), config.tls_replication), (None, false));
        assert_eq!(config.repl_backlog_size, Bytes(1_048_576));
        assert_eq!(config.min_replicas_to_write, 1);
        assert_eq!(config.shutdown_timeout, Duration::from_secs(10));
        assert_eq!(config.replica_output_limit, Bytes(268_435_456));
        assert_eq!(config.diskless_load, "disabled");
        assert_eq!(config.dir, "/data");
        assert!(!format!("{config:?}").contains("hunter"));
        let serving = config.serving;
        assert_eq!((serving.ignores_maxmemory, serving.append_fsync.as_deref()), (Some(false), Some("everysec")));
        assert_eq!(
            (serving.max_clients, serving.databases, serving.replica_priority),
            (Some(10_000), Some(16), Some(50))
        );
        assert_eq!(
            (serving.port, serving.tls_port, serving.tls_auth_clients.as_deref()),
            (Some(6379), Some(0), Some("yes"))
        );
        let names: Vec<&str> = serving.carried.keys().map(String::as_str).collect();
        assert_eq!(names, CARRIED);
        assert_eq!(serving.carried["notify-keyspace-events"], "AKE");
        assert_eq!(serving.carried["client-output-buffer-limit"].split(' ').count(), 12);
    }

    #[rstest]
    #[case("", None)]
    #[case("shutdown-timeout", None)]
    #[case("maxmemory", None)]
    #[case("save", Some("never"))]
    fn a_reply_to_all_at_once_is_read_as_many_are(#[case] name: &str, #[case] with: Option<&str>) {
        let one_by_one = replies(name, with);
        let pairs = one_by_one.iter().rev().filter_map(|reply| match reply {
            Value::Array(pair) => Some(pair.clone()),
            _ => None,
        });
        let at_once = read_at_once(Some(Value::Array(pairs.flatten().collect())));
        assert_eq!(at_once, read(one_by_one.into_iter()));
    }

    #[test]
    fn a_refusal_of_all_at_once_is_that_of_each() {
        for refusal in [Value::Nil, Value::Int(1), bulk("no list")] {
            assert_eq!(read_at_once(Some(refusal.clone())), read(std::iter::once(refusal)));
        }
    }

    #[rstest]
    #[case("tls-port", None)]
    #[case("replica-priority", Some("high"))]
    #[case("notify-keyspace-events", Some("A\r\nCONFIG SET dir /"))]
    #[case("requirepass", None)]
    #[case("appendfsync", Some("when it rains"))]
    fn what_a_server_does_not_say_is_not_known(#[case] name: &str, #[case] with: Option<&str>) {
        let serving = read(replies(name, with).into_iter()).unwrap().serving;
        let known = [
            serving.tls_port.is_some(),
            serving.replica_priority.is_some(),
            serving.carried.contains_key("notify-keyspace-events"),
            serving.client_auth.is_some(),
            serving.append_fsync.is_some(),
        ];
        assert_eq!(known.iter().filter(|known| !**known).count(), 1, "{serving:?}");
    }

    #[test]
    fn no_password_is_told_from_another() {
        let print =
            |password: &str| read(replies("requirepass", Some(password)).into_iter()).unwrap().serving.client_auth;
        assert_eq!(print("").as_deref(), Some(""));
        assert_eq!(print("a"), print("a"));
        assert_ne!(print("a"), print("b"));
    }

    #[test]
    fn before_7_0_there_is_no_shutdown_timeout() {
        assert_eq!(read(replies("shutdown-timeout", None).into_iter()).unwrap().shutdown_timeout, Duration::ZERO);
    }

    #[rstest]
    #[case("maxmemory", None)]
    #[case("maxmemory", Some("lots"))]
    #[case("save", None)]
    #[case("appendonly", None)]
    #[case("masterauth", None)]
    #[case("client-output-buffer-limit", Some("normal 0 0 0"))]
    #[case("min-replicas-to-write", Some("-1"))]
    fn what_decisions_rest_on_must_be_there(#[case] name: &str, #[case] with: Option<&str>) {
        let ConfigUnreadable(text) = read(replies(name, with).into_iter()).unwrap_err();
        assert!(text.contains(name), "{text}");
    }

    #[test]
    fn the_fingerprint_tells_passwords_apart_and_users_too() {
        let print = |user: &str, password: &str| {
            let replies = replies("masterauth", Some(password)).into_iter().enumerate();
            let user = Value::Array(vec![bulk("masteruser"), bulk(user)]);
            let config = read(replies.map(|(i, v)| if i == 10 { user.clone() } else { v })).unwrap();
            (config.primary_user, config.primary_auth)
        };
        assert_eq!(print("", ""), (None, None));
        assert_eq!(print("ab", "c"), print("ab", "c"));
        assert_ne!(print("ab", "c"), print("a", "bc"));
        assert_ne!(print("", "x"), print("", "y"));
    }
}
