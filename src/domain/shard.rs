//! What names one data set durably: in journals, records and the ledger of who is being remediated.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::ControllerUid;

/// Of a shard's controllers this many are written: any one of them is enough to know it again.
const STORED_SETS: usize = 12;
/// Room for them (a UID has 36 characters), and for the name of a cluster's shard.
const STORED_LENGTH: usize = 512;

/// Names a shard: the members that replicate one data set.
///
/// Written as one text, `uid` or `uid+uid/shard`, so that what earlier versions stored, which is the UID of a StatefulSet,
/// names the same set. The shards of a Redis Cluster may share a StatefulSet; the last part tells them apart.
///
/// A controller whose pods are all away is not in the name of that moment, so names are compared by [`ShardId::is`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ShardId {
    /// UIDs of the controllers of its members, by the controllers' names; empty: they have none.
    pub sets: Vec<ControllerUid>,
    /// The shard's own name within a Redis Cluster; `None`: the set holds one data set.
    pub shard: Option<Arc<str>>,
}

impl ShardId {
    /// The only data set of that controller.
    pub fn whole(set: ControllerUid) -> Self {
        Self { sets: vec![set], shard: None }
    }

    /// The members have no controller: nothing is stored under that name.
    pub const fn is_nameless(&self) -> bool {
        self.sets.is_empty()
    }

    /// Whether both name the same shard: they share a controller, and are the same part of it.
    pub fn is(&self, other: &Self) -> bool {
        self.shard == other.shard && self.sets.iter().any(|set| other.sets.contains(set))
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets: Vec<&str> = self.sets.iter().take(STORED_SETS).map(ControllerUid::as_str).collect();
        f.write_str(&sets.join("+"))?;
        self.shard.iter().try_for_each(|shard| write!(f, "/{shard}"))
    }
}

impl From<String> for ShardId {
    fn from(text: String) -> Self {
        let (sets, shard) = match text.split_once('/') {
            Some((sets, shard)) => (sets, Some(shard.into())),
            None => (text.as_str(), None),
        };
        Self { sets: sets.split('+').filter(|set| !set.is_empty()).map(ControllerUid::from).collect(), shard }
    }
}

impl From<ShardId> for String {
    fn from(id: ShardId) -> Self {
        id.to_string()
    }
}

impl JsonSchema for ShardId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ShardId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "maxLength": STORED_LENGTH})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    #[rstest]
    #[case::as_earlier_versions_wrote_it("\"5a1f-4000\"", ShardId::whole("5a1f-4000".into()))]
    #[case::a_shard_of_a_cluster("\"5a1f-4000/07c3\"", ShardId { sets: vec!["5a1f-4000".into()], shard: Some("07c3".into()) })]
    #[case::two_sets("\"5a1f+77b0\"", ShardId { sets: vec!["5a1f".into(), "77b0".into()], shard: None })]
    #[case::no_controller("\"\"", ShardId::default())]
    fn it_is_stored_as_one_text(#[case] text: &str, #[case] id: ShardId) {
        assert_eq!(serde_json::from_str::<ShardId>(text).unwrap(), id);
        assert_eq!(serde_json::to_string(&id).unwrap(), text);
    }

    #[rstest]
    #[case::the_same("a+b", "a+b", true)]
    #[case::the_pods_of_one_set_are_away("a+b", "b", true)]
    #[case::another("a+b", "c", false)]
    #[case::another_part_of_it("a/1", "a/2", false)]
    #[case::nothing_is_the_same_as_nothing("", "", false)]
    fn a_name_is_the_same_while_a_set_is_away(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        let id = |text: &str| ShardId::from(text.to_owned());
        assert_eq!(id(one).is(&id(other)), same);
    }
}
