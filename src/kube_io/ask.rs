//! What a person's command line writes: annotations of a policy, by which they ask the operator for something, and its
//! `spec.suspend`. It is their own request, with their own rights, so it passes no fence.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Map, Value, json};

use super::{
    error::{KubeError, within},
    read::READ_TIMEOUT,
};
use crate::api::v1alpha1::RedisMemoryPolicy;

/// The name under which the API server knows the person who asks; `None`: it does not say.
async fn who(client: &Client) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = within(READ_TIMEOUT, api.create(&PostParams::default(), &SelfSubjectReview::default())).await.ok()?;
    review.status?.user_info?.username
}

/// The same, for people.
pub async fn asker(client: &Client) -> String {
    who(client).await.unwrap_or_else(|| "a user whom the API server does not name".to_owned())
}

/// What is changed of a policy. Nothing else ever is, by a person's command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Annotations, each with its value; without one it is taken away.
    pub annotations: Vec<(&'static str, Option<String>)>,
    /// The value of `spec.suspend`; absent: it stays.
    pub suspend: Option<bool>,
}

impl Change {
    /// Sets one annotation.
    pub fn annotation(name: &'static str, value: String) -> Self {
        Self { annotations: vec![(name, Some(value))], suspend: None }
    }

    /// Sets `spec.suspend`.
    pub const fn suspend(value: bool) -> Self {
        Self { annotations: Vec::new(), suspend: Some(value) }
    }

    /// Whether nothing is changed.
    pub const fn is_empty(&self) -> bool {
        self.annotations.is_empty() && self.suspend.is_none()
    }
}

/// Changes a policy, if it is still as it was read.
pub async fn change(client: &Client, policy: &RedisMemoryPolicy, change: &Change) -> Result<(), KubeError> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), json!(policy.meta().resource_version));
    if !change.annotations.is_empty() {
        let each = change.annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        metadata.insert("annotations".to_owned(), Value::Object(each.collect()));
    }
    let mut patch = Map::new();
    patch.insert("metadata".to_owned(), Value::Object(metadata));
    if let Some(suspend) = change.suspend {
        patch.insert("spec".to_owned(), json!({ "suspend": suspend }));
    }
    // Only the answer is cut down to the metadata: the patch is of the whole object.
    let api: Api<RedisMemoryPolicy> = Api::namespaced(client.clone(), &policy.namespace().unwrap_or_default());
    let (name, params, patch) = (policy.name_any(), PatchParams::default(), Patch::Merge(&patch));
    within(READ_TIMEOUT, api.patch_metadata(&name, &params, &patch)).await.map(|_| ()).map_err(KubeError::PatchPolicy)
}
