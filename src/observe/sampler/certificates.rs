//! CA and client certificates, read from the cluster by the same rules as passwords, and built into a TLS
//! configuration once for all targets.

use std::{fmt, sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{secrets::SecretSource, shared_reads::SharedReads};
use crate::{
    clock::Clock,
    domain::{snapshot::ProbeFailure, tls::TlsRule},
    redis_io::{Tls, TlsMaterial, TlsNames},
};

/// TLS configurations by namespace and rule. As long as the Secrets hold the same, the configuration is the same one,
/// so that connections are kept; when a certificate was renewed it is another, and every target connects anew.
pub(super) struct CertificateCache {
    source: Arc<dyn SecretSource>,
    built: SharedReads<(String, TlsRule), Built>,
}

#[derive(Clone)]
struct Built {
    tls: Tls,
    /// SHA-256 of what the Secrets held, to tell a renewed certificate; the private key itself is not kept.
    digest: [u8; 32],
}

impl CertificateCache {
    pub(super) fn new(source: Arc<dyn SecretSource>) -> Self {
        Self { source, built: SharedReads::default() }
    }

    /// The TLS configuration, from Secrets that were read at most `max_age` ago.
    pub(super) async fn resolve(
        &self,
        namespace: &str,
        rule: &TlsRule,
        max_age: Duration,
        clock: &Clock,
    ) -> Result<Tls, ProbeFailure> {
        let late = || "reading the Secrets of spec.redis.tls took too long".to_owned();
        let build = async |before: Option<Built>| {
            let material = self.read(namespace, rule).await?;
            let digest = digest(&material);
            match before.filter(|before| before.digest == digest) {
                Some(same) => Ok(same),
                None => Ok(Built { tls: Tls::new(&material).map_err(ProbeFailure::from)?, digest }),
            }
        };
        let key = (namespace.to_owned(), rule.clone());
        self.built.get(key, max_age, clock, late, build).await.map(|built| built.tls)
    }

    /// How old a configuration may be while nothing is to be done with it.
    pub(super) fn usual_age(&self) -> Duration {
        self.built.usual_age()
    }

    /// Wipes the configurations that are not needed any more.
    pub(super) fn retain(&self, needed: impl Fn(&(String, TlsRule)) -> bool) {
        self.built.retain(needed);
    }

    async fn read(&self, namespace: &str, rule: &TlsRule) -> Result<TlsMaterial, ProbeFailure> {
        let authorities = self.source.get(namespace, &rule.ca).await?;
        let client = match &rule.client_cert {
            Some(name) => Some(self.source.get_pair(namespace, name).await?),
            None => None,
        };
        Ok(TlsMaterial { authorities, client, server_name: rule.server_name.clone(), names: TlsNames::SPEC })
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
