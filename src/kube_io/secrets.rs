//! Passwords: one key of one Secret, read when asked for, never kept here.

use std::time::Duration;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    error::{Cause, within},
    read::READ_TIMEOUT,
};
use crate::domain::{policy::SecretKey, snapshot::ProbeFailure};

/// Reads passwords. Nothing is cached: who asks decides how long a password is kept.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
    limit: Duration,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Reads through this client.
    pub const fn new(client: Client) -> Self {
        Self { client, limit: READ_TIMEOUT }
    }

    /// The value of the key, exactly as stored. The texts of failures name Secret and key, never the value.
    pub async fn get(&self, namespace: &str, wanted: &SecretKey) -> Result<Zeroizing<String>, ProbeFailure> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let read = within(self.limit, api.get_opt(&wanted.name)).await;
        extract(read, namespace, wanted).map_err(ProbeFailure::SecretUnavailable)
    }
}

/// The value, or what to tell a person.
fn extract(
    read: Result<Option<Secret>, Cause>,
    namespace: &str,
    wanted: &SecretKey,
) -> Result<Zeroizing<String>, String> {
    let SecretKey { name, key } = wanted;
    let secret = match read {
        Ok(Some(secret)) => secret,
        Ok(None) => return Err(format!("Secret {namespace}/{name} does not exist (its key {key} is wanted)")),
        Err(Cause::Forbidden(_)) => {
            return Err(format!(
                "Secret {namespace}/{name} (key {key}) may not be read: grant it with the chart value \
                 `secretAccess: [{{namespace: {namespace}, names: [{name}]}}]`"
            ));
        }
        Err(cause) => return Err(format!("Secret {namespace}/{name} (key {key}) cannot be read: {cause}")),
    };
    let mut data = secret.data.unwrap_or_default();
    let value = data.remove(key);
    for ByteString(mut other) in data.into_values() {
        other.zeroize();
    }
    let Some(ByteString(value)) = value else {
        return Err(format!("Secret {namespace}/{name} has no key {key}"));
    };
    match String::from_utf8(value) {
        Ok(text) if text.is_empty() => Err(format!("key {key} of Secret {namespace}/{name} is empty")),
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(format!("key {key} of Secret {namespace}/{name} is not UTF-8 text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const VALUE: &str = "correct horse";

    fn wanted() -> SecretKey {
        SecretKey { name: "redis-auth".into(), key: "password".into() }
    }

    fn secret(key: &str, value: &[u8]) -> Secret {
        Secret { data: Some([(key.to_owned(), ByteString(value.to_vec()))].into()), ..Secret::default() }
    }

    #[test]
    fn the_value_is_taken_as_it_is() {
        let read = extract(Ok(Some(secret("password", b"correct horse\n"))), "shop", &wanted());
        assert_eq!(read.expect("a value").as_str(), "correct horse\n");
    }

    #[rstest]
    #[case(Ok(None), "Secret shop/redis-auth does not exist (its key password is wanted)")]
    #[case(Ok(Some(Secret::default())), "Secret shop/redis-auth has no key password")]
    #[case(Ok(Some(secret("Password", VALUE.as_bytes()))), "Secret shop/redis-auth has no key password")]
    #[case(Ok(Some(secret("password", b""))), "key password of Secret shop/redis-auth is empty")]
    #[case(Ok(Some(secret("password", b"\xff\xfe"))), "key password of Secret shop/redis-auth is not UTF-8 text")]
    #[case(
        Err(Cause::Forbidden("secrets \"redis-auth\" is forbidden".into())),
        "Secret shop/redis-auth (key password) may not be read: grant it with the chart value \
         `secretAccess: [{namespace: shop, names: [redis-auth]}]`"
    )]
    #[case(
        Err(Cause::TimedOut(Duration::from_secs(10))),
        "Secret shop/redis-auth (key password) cannot be read: no answer within 10 s"
    )]
    fn each_failure_has_its_own_text(#[case] read: Result<Option<Secret>, Cause>, #[case] want: &str) {
        let text = extract(read, "shop", &wanted()).expect_err("a failure");
        assert_eq!(text, want);
        assert!(!text.contains(VALUE));
    }
}
