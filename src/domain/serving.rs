//! What a server is to its clients beside holding their data. It is compared where a role will move.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings that clients rely on and that a new primary gets from the old one before the role moves, by the names that
/// `CONFIG GET` and `CONFIG SET` take.
pub const CARRIED: [&str; 5] = [
    "client-output-buffer-limit",
    "min-replicas-max-lag",
    "min-replicas-to-write",
    "notify-keyspace-events",
    "timeout",
];

/// What `CONFIG GET` says of it. What is `None` is not known (this server has no such setting, or says what no server
/// says), and that is neither good nor bad.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Serving {
    /// `replica-ignore-maxmemory`: a replica with `no` refuses or evicts by itself what its primary has accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignores_maxmemory: Option<bool>,
    /// `appendfsync`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_fsync: Option<String>,
    /// Fingerprint of `requirepass` (a hash, salted anew in each process: the secret itself is never kept); empty: none
    /// is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<String>,
    /// `maxclients`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_clients: Option<u64>,
    /// `databases`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub databases: Option<u64>,
    /// `port`; zero: no plain connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u64>,
    /// `tls-port`; zero: no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_port: Option<u64>,
    /// `tls-auth-clients`: `yes`: clients must have a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_auth_clients: Option<String>,
    /// `replica-priority`: zero says that it is never to become primary, and of several the lowest is preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_priority: Option<u64>,
    /// `repl-ping-replica-period` in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_ping_period: Option<u64>,
    /// `repl-timeout` in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_timeout: Option<u64>,
    /// The settings of [`CARRIED`] that are known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub carried: BTreeMap<String, String>,
}

impl Serving {
    /// What of it can be set at run time, and so is undone by a restart, by the names that `CONFIG SET` takes.
    pub fn at_run_time(&self) -> BTreeMap<String, String> {
        let yes_no = |on| if on { "yes" } else { "no" }.to_owned();
        let beside = [
            ("appendfsync", self.append_fsync.clone()),
            ("maxclients", self.max_clients.map(|clients| clients.to_string())),
            ("replica-ignore-maxmemory", self.ignores_maxmemory.map(yes_no)),
            ("replica-priority", self.replica_priority.map(|priority| priority.to_string())),
        ];
        let beside = beside.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        self.carried.clone().into_iter().chain(beside).collect()
    }

    /// Nothing of it is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}
