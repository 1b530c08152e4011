//! What a person's command line writes: annotations of a policy, by which they ask the operator for something. It is their
//! own request, with their own rights, so it passes no fence.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    error::{KubeError, within},
    read::READ_TIMEOUT,
};
use crate::api::v1alpha1::RedisMemoryPolicy;

/// The name under which the API server knows whoever asks; `None`: it does not say.
pub async fn who(client: &Client) -> Option<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = within(READ_TIMEOUT, api.create(&PostParams::default(), &SelfSubjectReview::default())).await.ok()?;
    review.status?.user_info?.username
}

/// Sets an annotation, if the policy is still as it was read.
pub async fn annotate(client: &Client, policy: &RedisMemoryPolicy, name: &str, value: &str) -> Result<(), KubeError> {
    let patch = json!({ "metadata": {
        "resourceVersion": policy.meta().resource_version,
        "annotations": { name: value },
    }});
    let api: Api<RedisMemoryPolicy> = Api::namespaced(client.clone(), &policy.namespace().unwrap_or_default());
    let (name, params, patch) = (policy.name_any(), PatchParams::default(), Patch::Merge(&patch));
    within(READ_TIMEOUT, api.patch_metadata(&name, &params, &patch)).await.map(|_| ()).map_err(KubeError::PatchPolicy)
}
