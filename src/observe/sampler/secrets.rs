//! Passwords, read from the cluster as seldom as possible and never kept longer than needed.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use zeroize::Zeroizing;

use super::{
    assignment::CredentialsFor,
    certificates::{CertificateCache, Pair},
    shared_reads::SharedReads,
};
use crate::{
    clock::Clock,
    domain::{policy::SecretKey, snapshot::ProbeFailure},
    redis_io::Credentials,
};

/// The keys of a Secret of type `kubernetes.io/tls`.
pub(super) const TLS_CERTIFICATE: &str = "tls.crt";
pub(super) const TLS_KEY: &str = "tls.key";

/// Reads a key of a Secret. Implemented by the Kubernetes side.
pub trait SecretSource: Send + Sync + 'static {
    /// The value of the key. A failure is `SecretUnavailable` with a text that names Secret and key, never a value.
    fn get<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a SecretKey,
    ) -> BoxFuture<'a, Result<Zeroizing<String>, ProbeFailure>>;

    /// `tls.crt` and `tls.key` of a Secret. A source that can reads both at once: between two readings the pair may be
    /// renewed, and a certificate and a key that do not belong together are of no use.
    fn get_pair<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Pair, ProbeFailure>> {
        let key = |key: &str| SecretKey { name: name.to_owned(), key: key.to_owned() };
        let (certificate, private) = (key(TLS_CERTIFICATE), key(TLS_KEY));
        Box::pin(async move { Ok((self.get(namespace, &certificate).await?, self.get(namespace, &private).await?)) })
    }
}

/// Passwords by Secret, shared by all targets: a thousand targets with one Secret cost one read a minute.
pub(super) struct SecretCache {
    source: Arc<dyn SecretSource>,
    passwords: SharedReads<(String, SecretKey), Zeroizing<String>>,
    certificates: CertificateCache,
}

impl SecretCache {
    pub(super) fn new(source: Arc<dyn SecretSource>) -> Self {
        Self { certificates: CertificateCache::new(Arc::clone(&source)), source, passwords: SharedReads::default() }
    }

    /// What to open a connection with, from Secrets that were read at most `max_age` ago.
    pub(super) async fn resolve(
        &self,
        wanted: &CredentialsFor,
        max_age: Duration,
        clock: &Clock,
    ) -> Result<Option<Credentials>, ProbeFailure> {
        match wanted {
            CredentialsFor::None => Ok(None),
            CredentialsFor::Withheld(failure) => Err(failure.clone()),
            CredentialsFor::Secret { namespace, secret, username } => {
                let password = self.password(namespace, secret, max_age, clock).await?;
                Ok(Some(Credentials::new(username.clone(), String::clone(&password))))
            }
            CredentialsFor::Tls { namespace, rule, names, login } => {
                // A login that is withheld is withheld over TLS as well.
                let login = Box::pin(self.resolve(login, max_age, clock)).await?;
                let tls = self.certificates.resolve(namespace, rule, max_age, clock).await?.or_named(names.clone());
                Ok(Some(match login {
                    Some(login) => login.over(tls),
                    None => Credentials::tls_only(tls),
                }))
            }
        }
    }

    /// How old what was read may be while nothing is to be done with it.
    pub(super) fn usual_age(&self) -> Duration {
        self.passwords.usual_age().max(self.certificates.usual_age())
    }

    /// Wipes at once what none of these needs: its policy is gone, and nobody may ask again.
    pub(super) fn retain(&self, needed: &[CredentialsFor]) {
        let (mut passwords, mut rules) = (HashSet::new(), HashSet::new());
        for wanted in needed {
            let login = match wanted {
                CredentialsFor::Tls { namespace, rule, login, .. } => {
                    rules.insert((namespace.clone(), rule.clone()));
                    &**login
                }
                plain => plain,
            };
            if let CredentialsFor::Secret { namespace, secret, .. } = login {
                passwords.insert((namespace.clone(), secret.clone()));
            }
        }
        self.passwords.retain(|key| passwords.contains(key));
        self.certificates.retain(|key| rules.contains(key));
    }

    async fn password(
        &self,
        namespace: &str,
        secret: &SecretKey,
        max_age: Duration,
        clock: &Clock,
    ) -> Result<Zeroizing<String>, ProbeFailure> {
        let late = || format!("reading Secret {}, key {}, took too long", secret.name, secret.key);
        let key = (namespace.to_owned(), secret.clone());
        self.passwords.get(key, max_age, clock, late, |_| self.source.get(namespace, secret)).await
    }
}

impl fmt::Debug for SecretCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::shared_reads::MAX_AGE, *};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts its reads; the key "none" is missing.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl SecretSource for Counting {
        fn get<'a>(&'a self, _: &'a str, key: &'a SecretKey) -> BoxFuture<'a, Result<Zeroizing<String>, ProbeFailure>> {
            let count = self.0.fetch_add(1, Ordering::SeqCst);
            let value = match key.key.as_str() {
                "none" => Err(ProbeFailure::SecretUnavailable("Secret auth has no key none".into())),
                _ => Ok(Zeroizing::new(format!("password {count}"))),
            };
            Box::pin(async { value })
        }
    }

    fn wanted(key: &str) -> CredentialsFor {
        let secret = SecretKey { name: "auth".into(), key: key.into() };
        CredentialsFor::Secret { namespace: "shop".into(), secret, username: Some("memory".into()) }
    }

    #[tokio::test]
    async fn one_read_serves_many_until_it_is_too_old() {
        let source = Arc::new(Counting::default());
        let cache = SecretCache::new(source.clone());
        let clock = Clock::start();
        let first = cache.resolve(&wanted("key"), MAX_AGE, &clock).await.unwrap();
        assert_eq!(first, Some(Credentials::new(Some("memory".into()), "password 0".into())));
        assert_eq!(cache.resolve(&wanted("key"), MAX_AGE, &clock).await.unwrap(), first);
        assert_eq!(source.0.load(Ordering::SeqCst), 1);
        assert_ne!(cache.resolve(&wanted("key"), Duration::ZERO, &clock).await.unwrap(), first);
        assert_eq!(source.0.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_nobody_needs_any_more_is_wiped_at_once() {
        let source = Arc::new(Counting::default());
        let cache = SecretCache::new(source.clone());
        let clock = Clock::start();
        for key in ["mine", "theirs"] {
            cache.resolve(&wanted(key), MAX_AGE, &clock).await.unwrap();
        }
        cache.retain(&[wanted("theirs")]);
        for (key, reads) in [("theirs", 2), ("mine", 3)] {
            cache.resolve(&wanted(key), MAX_AGE, &clock).await.unwrap();
            assert_eq!(source.0.load(Ordering::SeqCst), reads, "{key}");
        }
    }

    #[tokio::test]
    async fn a_missing_key_is_a_failure_that_is_not_asked_for_again_at_once() {
        let source = Arc::new(Counting::default());
        let cache = SecretCache::new(source.clone());
        let clock = Clock::start();
        for _ in 0..3 {
            let failure = cache.resolve(&wanted("none"), MAX_AGE, &clock).await.unwrap_err();
            assert_eq!(failure.reason(), "SecretUnavailable");
        }
        assert_eq!(source.0.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn nothing_is_read_for_a_withheld_password() {
        let source = Arc::new(Counting::default());
        let cache = SecretCache::new(source.clone());
        let withheld = CredentialsFor::Withheld(ProbeFailure::OwnerUnproven("no controller".into()));
        let failure = cache.resolve(&withheld, MAX_AGE, &Clock::start()).await.unwrap_err();
        assert_eq!(failure.reason(), "OwnerUnproven");
        assert_eq!(source.0.load(Ordering::SeqCst), 0);
    }
}
