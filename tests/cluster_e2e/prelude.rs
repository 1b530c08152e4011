//! What nearly every test on the cluster uses.

pub(crate) use crate::support::{
    client, eventually,
    operator::{self, Options},
    policy::Policy,
    redis::{Redis, SMALL_KEYS, SMALL_WASTE},
    require,
    space::Space,
    throughout,
    watch::PodWatch,
};

/// Bytes.
pub(crate) const MIB: u64 = 1 << 20;
