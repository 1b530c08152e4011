//! What the data of a Redis is for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::finding::Severity;

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

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 4] = [Self::Cache, Self::Session, Self::Store, Self::Queue];

    /// The name as the resource writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "Cache",
            Self::Session => "Session",
            Self::Store => "Store",
            Self::Queue => "Queue",
        }
    }

    /// The purpose of that name, in any case; `None`: there is none such.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str().eq_ignore_ascii_case(name))
    }

    /// The `maxmemory-policy` that fits it best.
    pub const fn fitting_policy(self) -> &'static str {
        match self {
            Self::Cache => "allkeys-lru",
            Self::Session => "volatile-ttl",
            Self::Store | Self::Queue => "noeviction",
        }
    }

    /// Whether what it holds may be lost with the process.
    pub const fn may_be_lost(self) -> bool {
        matches!(self, Self::Cache)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a `maxmemory-policy` does to a full server that its purpose does not bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// Keys go that must stay.
    LosesKeys,
    /// Keys with a time to live go before their time, though none may.
    LosesKeysWithTtl,
    /// Writes fail, though being full is normal or keys may go.
    StopsWrites,
    /// What is used most goes as easily as what is used least.
    EvictsAtRandom,
}

/// How a `maxmemory-policy` endangers data of that purpose; `None`: not at all, or the name is not known. Without a purpose
/// only what fits none is a danger. A `volatile-*` under which too few keys have a time to live is judged as `noeviction`.
pub fn danger(purpose: Option<Purpose>, policy: &str) -> Option<Danger> {
    let policy = policy.to_ascii_lowercase();
    let (all, volatile) = (policy.starts_with("allkeys-"), policy.starts_with("volatile-"));
    match purpose {
        Some(Purpose::Store | Purpose::Queue) if all => Some(Danger::LosesKeys),
        Some(Purpose::Store | Purpose::Queue) => volatile.then_some(Danger::LosesKeysWithTtl),
        Some(Purpose::Cache | Purpose::Session) if policy == "noeviction" => Some(Danger::StopsWrites),
        Some(Purpose::Cache | Purpose::Session) if policy == "volatile-random" => Some(Danger::EvictsAtRandom),
        Some(Purpose::Cache | Purpose::Session) | None => {
            (policy == "allkeys-random").then_some(Danger::EvictsAtRandom)
        }
    }
}

/// What people are told to set instead of a policy that endangers their data.
pub fn fitting_policies(purpose: Option<Purpose>) -> &'static str {
    purpose.map_or("allkeys-lru, or allkeys-lfu", Purpose::fitting_policy)
}

impl Danger {
    /// How bad it is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::LosesKeys | Self::StopsWrites => Severity::Critical,
            Self::LosesKeysWithTtl | Self::EvictsAtRandom => Severity::Warning,
        }
    }

    /// What happens, as a sentence's end after "when it is full".
    pub const fn then(self) -> &'static str {
        match self {
            Self::LosesKeys => "keys go that must stay",
            Self::LosesKeysWithTtl => "keys with a time to live go before their time",
            Self::StopsWrites => "writes fail",
            Self::EvictsAtRandom => "keys in use go as easily as keys that nobody reads",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const POLICIES: [&str; 10] = [
        "noeviction",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-lrm",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-lrm",
        "volatile-ttl",
        "volatile-random",
    ];

    #[rstest]
    #[case(None, &[("allkeys-random", Danger::EvictsAtRandom)])]
    #[case(Some(Purpose::Cache), &[
        ("noeviction", Danger::StopsWrites), ("allkeys-random", Danger::EvictsAtRandom),
        ("volatile-random", Danger::EvictsAtRandom),
    ])]
    #[case(Some(Purpose::Session), &[
        ("noeviction", Danger::StopsWrites), ("allkeys-random", Danger::EvictsAtRandom),
        ("volatile-random", Danger::EvictsAtRandom),
    ])]
    #[case(Some(Purpose::Store), MUST_STAY)]
    #[case(Some(Purpose::Queue), MUST_STAY)]
    fn the_purpose_decides_what_endangers(#[case] purpose: Option<Purpose>, #[case] expected: &[(&str, Danger)]) {
        let found = POLICIES.iter().filter_map(|policy| Some((*policy, danger(purpose, policy)?)));
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!((danger(purpose, ""), danger(purpose, "something-new")), (None, None));
    }

    const MUST_STAY: &[(&str, Danger)] = &[
        ("allkeys-lru", Danger::LosesKeys),
        ("allkeys-lfu", Danger::LosesKeys),
        ("allkeys-lrm", Danger::LosesKeys),
        ("allkeys-random", Danger::LosesKeys),
        ("volatile-lru", Danger::LosesKeysWithTtl),
        ("volatile-lfu", Danger::LosesKeysWithTtl),
        ("volatile-lrm", Danger::LosesKeysWithTtl),
        ("volatile-ttl", Danger::LosesKeysWithTtl),
        ("volatile-random", Danger::LosesKeysWithTtl),
    ];

    #[test]
    fn what_fits_endangers_nothing() {
        for purpose in Purpose::ALL {
            assert_eq!(danger(Some(purpose), purpose.fitting_policy()), None);
            assert_eq!(Purpose::named(&purpose.as_str().to_lowercase()), Some(purpose));
        }
    }
}
