//! What the data of a Redis is for.

use serde::{Deserialize, Serialize};

/// What the data of a Redis is for. It decides which eviction policies endanger it, and whether being full is normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Purpose {
    /// What is evicted is made again from elsewhere: full is normal, and keys may go.
    Cache,
    /// What expires by itself: keys may go when their time comes, the oldest first.
    Session,
    /// The only copy: no key may go.
    Store,
    /// Work that waits to be done: no key may go, and a full server stops those who put work in.
    Queue,
}
