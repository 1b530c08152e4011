//! Asks the API server whose a token is, and whether that one may read `/metrics`: a TokenReview and a SubjectAccessReview, as
//! every server does that takes tokens of Kubernetes. The operator needs the right to create both (`system:auth-delegator`).

use std::collections::BTreeMap;

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};

use super::{
    error::{Cause, within},
    read::READ_TIMEOUT,
};

/// What the API server says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reviewed {
    /// Its holder may read `/metrics`.
    May,
    /// This user may not.
    MayNot(String),
    /// Nobody's token.
    Unknown,
}

/// What the API server says of that token. `Err`: it gives no answer, or we may not ask.
pub async fn of(client: &Client, token: String) -> Result<Reviewed, Cause> {
    let review = TokenReview {
        spec: TokenReviewSpec { token: Some(token), ..TokenReviewSpec::default() },
        ..TokenReview::default()
    };
    let api: Api<TokenReview> = Api::all(client.clone());
    let status = within(READ_TIMEOUT, api.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
    let (Some(true), Some(user)) = (status.authenticated, status.user) else { return Ok(Reviewed::Unknown) };
    let name = user.username.clone().unwrap_or_else(|| "a user without a name".to_owned());
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = within(READ_TIMEOUT, api.create(&PostParams::default(), &access(user))).await?;
    let allowed = answer.status.is_some_and(|status| status.allowed && status.denied != Some(true));
    Ok(if allowed { Reviewed::May } else { Reviewed::MayNot(name) })
}

/// Whether that user may `get` the path.
fn access(user: UserInfo) -> SubjectAccessReview {
    let extra: Option<BTreeMap<String, Vec<String>>> = user.extra;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some("/metrics".to_owned()),
                verb: Some("get".to_owned()),
            }),
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra,
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
