//! Passwords and certificates: keys of one Secret, read when asked for, never kept here.

use std::time::Duration;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    error::{Cause, within},
    read::READ_TIMEOUT,
};
use crate::domain::{policy::SecretKey, snapshot::ProbeFailure};

/// The keys of a Secret of type `kubernetes.io/tls`.
const TLS_CERTIFICATE: &str = "tls.crt";
const TLS_KEY: &str = "tls.key";

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
        let [value] = self.read(namespace, &wanted.name, [&wanted.key]).await?;
        Ok(value)
    }

    /// Certificate chain and private key of a `kubernetes.io/tls` Secret, of one reading.
    pub async fn get_pair(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<(Zeroizing<String>, Zeroizing<String>), ProbeFailure> {
        let [certificate, key] = self.read(namespace, name, [TLS_CERTIFICATE, TLS_KEY]).await?;
        Ok((certificate, key))
    }

    async fn read<const N: usize>(
        &self,
        namespace: &str,
        name: &str,
        keys: [&str; N],
    ) -> Result<[Zeroizing<String>; N], ProbeFailure> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let read = within(self.limit, api.get_opt(name)).await;
        extract(read, namespace, name, keys).map_err(ProbeFailure::SecretUnavailable)
    }
}

/// The values of the keys, or what to tell a person. What else the Secret holds is wiped.
fn extract<const N: usize>(
    read: Result<Option<Secret>, Cause>,
    namespace: &str,
    name: &str,
    keys: [&str; N],
) -> Result<[Zeroizing<String>; N], String> {
    let wanted = keys.join(", ");
    let secret = match read {
        Ok(Some(secret)) => secret,
        Ok(None) => return Err(format!("Secret {namespace}/{name} does not exist (its key {wanted} is wanted)")),
        Err(Cause::Forbidden(_)) => {
            return Err(format!(
                "Secret {namespace}/{name} (key {wanted}) may not be read: grant it with the chart value \
                 `secretAccess: [{{namespace: {namespace}, names: [{name}]}}]`"
            ));
        }
        Err(cause) => return Err(format!("Secret {namespace}/{name} (key {wanted}) cannot be read: {cause}")),
    };
    let mut data = secret.data.unwrap_or_default();
    let found = keys.map(|key| data.remove(key));
    for ByteString(mut other) in data.into_values() {
        other.zeroize();
    }
    let mut values = [const { None }; N];
    for ((slot, found), key) in values.iter_mut().zip(found).zip(keys) {
        *slot = Some(text(found, namespace, name, key)?);
    }
    // Every slot was filled, or the loop returned.
    Ok(values.map(Option::unwrap_or_default))
}

fn text(found: Option<ByteString>, namespace: &str, name: &str, key: &str) -> Result<Zeroizing<String>, String> {
    let Some(ByteString(value)) = found else {
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

    fn get(read: Result<Option<Secret>, Cause>) -> Result<String, String> {
        extract(read, "shop", "redis-auth", ["password"]).map(|[value]| value.to_string())
    }

    fn secret(key: &str, value: &[u8]) -> Secret {
        Secret { data: Some([(key.to_owned(), ByteString(value.to_vec()))].into()), ..Secret::default() }
    }

    #[test]
    fn the_value_is_taken_as_it_is() {
        assert_eq!(get(Ok(Some(secret("password", b"correct horse\n")))).expect("a value"), "correct horse\n");
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
        let text = get(read).expect_err("a failure");
        assert_eq!(text, want);
        assert!(!text.contains(VALUE));
    }

    #[test]
    fn a_pair_comes_from_one_reading_or_not_at_all() {
        let mut stored = secret("tls.crt", b"certificate");
        let read = |stored: &Secret| extract(Ok(Some(stored.clone())), "shop", "client", [TLS_CERTIFICATE, TLS_KEY]);
        assert_eq!(read(&stored).expect_err("half a pair"), "Secret shop/client has no key tls.key");
        stored.data.as_mut().expect("data").insert(TLS_KEY.into(), ByteString(b"key".to_vec()));
        let [certificate, key] = read(&stored).expect("a pair");
        assert_eq!((certificate.as_str(), key.as_str()), ("certificate", "key"));
    }
}
