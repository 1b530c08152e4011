//! Names and identities, each a type of its own so that they cannot be swapped.

use std::{fmt, net::SocketAddr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Cheap to clone: names are kept in every sample, reading and record.
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(#[schemars(length(max = 253))] Arc<str>);

        impl $name {
            /// Wraps the given text unchanged.
            pub fn new(text: impl Into<String>) -> Self {
                Self(Arc::from(text.into()))
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// True when the text is empty: the thing has no such name.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }
    };
}

name_type!(
    /// The name of a pod. A StatefulSet gives the same name to the pod that replaces an evicted one.
    PodName
);
name_type!(
    /// The UID of one pod. Two pods of the same name that lived one after the other differ in it.
    PodUid
);
name_type!(
    /// The `run_id` of one Redis process: forty hexadecimal digits, new at every start.
    RunId
);
name_type!(
    /// The UID of a controller object (a StatefulSet), which names a workload.
    ControllerUid
);
name_type!(
    /// The name of a node of the Kubernetes cluster.
    NodeName
);

/// "redis-0, redis-1 and 3 more": for a text, the first of them, at most that number, and how many there are besides.
pub fn in_short<T: fmt::Display>(names: &[T], most: usize) -> String {
    let shown = names.iter().take(most).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// "1 pod", "3 pods".
pub fn pods<N: Copy + PartialEq + From<u8> + fmt::Display>(n: N) -> String {
    if n == N::from(1) { "1 pod".to_owned() } else { format!("{n} pods") }
}

/// Where a Redis listens or says that another one listens: a host (an IP address or a DNS name) and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeAddress {
    /// IP address or DNS name, exactly as the server wrote it.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl From<SocketAddr> for NodeAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
