//! CA and client certificates, read from the cluster by the same rules as passwords, and built into a TLS
//! configuration once for all targets.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex as AsyncMutex;
use zeroize::Zeroizing;

use super::secrets::{FAILURE_AGE, MAX_AGE, READ_DEADLINE, SecretSource};
use crate::{
    clock::Clock,
    domain::{snapshot::ProbeFailure, tls::TlsRule},
    redis_io::{Tls, TlsMaterial, TlsNames},
};

/// TLS configurations by namespace and rule. As long as the Secrets hold the same, the configuration is the same one,
/// so that connections are kept; when a certificate was renewed it is another, and every target connects anew.
pub(super) struct CertificateCache {
    source: Arc<dyn SecretSource>,
    entries: Mutex<HashMap<(String, TlsRule), Slot>>,
}

/// Locked while it is read, so that all who wait share the one read.
type Slot = Arc<AsyncMutex<Option<Entry>>>;

struct Entry {
    value: Result<Tls, ProbeFailure>,
    /// SHA-256 of what the Secrets held, to tell a renewed certificate; the private key itself is not kept.
    digest: Option<[u8; 32]>,
    read_at: Duration,
}

impl CertificateCache {
    pub(super) fn new(source: Arc<dyn SecretSource>) -> Self {
        Self { source, entries: Mutex::default() }
    }

    /// The TLS configuration, from Secrets that were read at most `max_age` ago.
    pub(super) async fn resolve(
        &self,
        namespace: &str,
        rule: &TlsRule,
        max_age: Duration,
        clock: &Clock,
    ) -> Result<Tls, ProbeFailure> {
        let slot = self.slot(namespace, rule, clock.uptime());
        let mut entry = slot.lock().await;
        let now = clock.uptime();
        if let Some(entry) = entry.as_ref().filter(|entry| entry.is_fresh(max_age, now)) {
            return entry.value.clone();
        }
        let read = tokio::time::timeout(READ_DEADLINE, self.read(namespace, rule)).await.unwrap_or_else(|_| {
            Err(ProbeFailure::SecretUnavailable("reading the Secrets of spec.redis.tls took too long".to_owned()))
        });
        let read_at = clock.uptime();
        let fresh = match read {
            Ok(material) => {
                let digest = Some(digest(&material));
                match entry.take().filter(|entry| entry.digest == digest) {
                    Some(same) => Entry { read_at, ..same },
                    None => Entry { value: Tls::new(&material).map_err(ProbeFailure::from), digest, read_at },
                }
            }
            Err(failure) => Entry { value: Err(failure), digest: None, read_at },
        };
        let value = fresh.value.clone();
        *entry = Some(fresh);
        value
    }

    async fn read(&self, namespace: &str, rule: &TlsRule) -> Result<TlsMaterial, ProbeFailure> {
        let authorities = self.source.get(namespace, &rule.ca).await?;
        let client = match &rule.client_cert {
            Some(name) => Some(self.source.get_pair(namespace, name).await?),
            None => None,
        };
        Ok(TlsMaterial { authorities, client, server_name: rule.server_name.clone(), names: TlsNames::SPEC })
    }

    /// The slot of a rule. Slots that nobody asked for in a while are dropped.
    fn slot(&self, namespace: &str, rule: &TlsRule, now: Duration) -> Slot {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), rule.clone());
        entries.retain(|other, slot| {
            *other == key
                || slot.try_lock().map_or(true, |entry| {
                    entry.as_ref().is_some_and(|entry| now.saturating_sub(entry.read_at) < MAX_AGE.saturating_mul(2))
                })
        });
        Arc::clone(entries.entry(key).or_default())
    }
}

impl Entry {
    fn is_fresh(&self, max_age: Duration, now: Duration) -> bool {
        let limit = if self.value.is_ok() { max_age } else { max_age.min(FAILURE_AGE) };
        now.saturating_sub(self.read_at) < limit
    }
}

impl fmt::Debug for CertificateCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateCache").finish_non_exhaustive()
    }
}

fn digest(material: &TlsMaterial) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let (chain, key) = material.client.as_ref().map_or(("", ""), |(chain, key)| (chain.as_str(), key.as_str()));
    for text in [material.authorities.as_str(), chain, key] {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update(text.len().to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().into()
}

/// The two halves of a `kubernetes.io/tls` Secret: certificate chain and private key, both PEM.
pub type Pair = (Zeroizing<String>, Zeroizing<String>);
