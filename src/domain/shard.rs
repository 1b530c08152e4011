//! What names one data set durably: in journals, records and the ledger of who is being remediated.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::ControllerUid;

/// Names a shard: the members that replicate one data set.
///
/// Written as one text, `uid` or `uid/shard`, so that what earlier versions stored, which is the UID of a StatefulSet,
/// names the same set. The shards of a Redis Cluster may share a StatefulSet; the second part tells them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ShardId {
    /// UID of the controller of its members, by name the first where they have several; empty: they have none.
    pub set: ControllerUid,
    /// The shard's own name within a Redis Cluster; `None`: the set holds one data set.
    pub shard: Option<Arc<str>>,
}

impl ShardId {
    /// The only data set of that controller.
    pub const fn whole(set: ControllerUid) -> Self {
        Self { set, shard: None }
    }

    /// The members have no controller: nothing is stored under that name.
    pub fn is_nameless(&self) -> bool {
        self.set.is_empty()
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shard {
            Some(shard) => write!(f, "{}/{shard}", self.set),
            None => self.set.fmt(f),
        }
    }
}

impl From<String> for ShardId {
    fn from(text: String) -> Self {
        match text.split_once('/') {
            Some((set, shard)) => Self { set: set.into(), shard: Some(shard.into()) },
            None => Self::whole(text.into()),
        }
    }
}

impl From<ShardId> for String {
    fn from(id: ShardId) -> Self {
        id.to_string()
    }
}

impl JsonSchema for ShardId {
    fn inline_schema() -> bool {
        ControllerUid::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        ControllerUid::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        ControllerUid::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    #[rstest]
    #[case::as_earlier_versions_wrote_it("\"5a1f-4000\"", ShardId::whole("5a1f-4000".into()))]
    #[case::a_shard_of_a_cluster("\"5a1f-4000/07c3\"", ShardId { set: "5a1f-4000".into(), shard: Some("07c3".into()) })]
    #[case::no_controller("\"\"", ShardId::default())]
    fn it_is_stored_as_one_text(#[case] text: &str, #[case] id: ShardId) {
        assert_eq!(serde_json::from_str::<ShardId>(text).unwrap(), id);
        assert_eq!(serde_json::to_string(&id).unwrap(), text);
    }
}
