//! The certificate of `/metrics`, from the files of a mounted Secret. They are read again at every connection, so that a
//! renewed one is used without a restart.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// Why the files make no server.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of them cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// One of them holds something else than it should.
    #[error("{path} {why}")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// What the files hold, as PEM text.
#[derive(PartialEq, Eq)]
struct Material {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    /// The authorities of clients, where those must show a certificate.
    authorities: Option<Vec<u8>>,
}

/// Serves by the certificate in a directory: `tls.crt` with its chain, `tls.key`, and, where clients must show a certificate,
/// `ca.crt` with the authorities of theirs.
pub(super) struct Tls {
    directory: PathBuf,
    /// Clients must show a certificate.
    mutual: bool,
    /// What was read last, and what was made of the last that was good.
    last: Mutex<(Material, TlsAcceptor)>,
}

impl Tls {
    /// Reads the files for the first time.
    pub(super) fn open(directory: &Path, mutual: bool) -> Result<Self, TlsError> {
        let material = Material::read(directory, mutual)?;
        let acceptor = material.acceptor(directory)?;
        Ok(Self { directory: directory.to_owned(), mutual, last: Mutex::new((material, acceptor)) })
    }

    /// By what the files hold now. As long as they are no good, by what they held before: a Secret may be written half.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let read = Material::read(&self.directory, self.mutual);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(material) if material == last.0 => {}
            Ok(material) => {
                match material.acceptor(&self.directory) {
                    Ok(acceptor) => last.1 = acceptor,
                    Err(error) => tracing::warn!(%error, "/metrics keeps its certificate"),
                }
                last.0 = material;
            }
            Err(error) => tracing::debug!(%error, "/metrics keeps its certificate"),
        }
        last.1.clone()
    }
}

impl Material {
    fn read(directory: &Path, mutual: bool) -> Result<Self, TlsError> {
        let file = |name: &str| {
            let path = directory.join(name);
            fs::read(&path).map_err(|source| TlsError::Unreadable { path, source })
        };
        let authorities = if mutual { Some(file("ca.crt")?) } else { None };
        Ok(Self { certificate: file("tls.crt")?, key: Zeroizing::new(file("tls.key")?), authorities })
    }

    fn acceptor(&self, directory: &Path) -> Result<TlsAcceptor, TlsError> {
        let bad = |name: &str, why: &dyn std::fmt::Display| TlsError::Bad {
            path: directory.join(name),
            why: why.to_string(),
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|error| bad("tls.crt", &format_args!("is no certificate in PEM: {error}")))?;
        if chain.is_empty() {
            return Err(bad("tls.crt", &"holds no certificate"));
        }
        // The text of a key is never quoted.
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| bad("tls.key", &"is no private key in PEM"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| bad("tls.crt", &format_args!("cannot be served: {error}")))?;
        let config = match &self.authorities {
            None => config.with_no_client_auth(),
            Some(text) => {
                let mut roots = RootCertStore::empty();
                for authority in CertificateDer::pem_slice_iter(text) {
                    let added = authority.map_err(|error| error.to_string());
                    let added = added.and_then(|it| roots.add(it).map_err(|error| error.to_string()));
                    added.map_err(|error| bad("ca.crt", &format_args!("is no certificate in PEM: {error}")))?;
                }
                let provider = Arc::new(ring::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(
                    verifier.map_err(|error| bad("ca.crt", &format_args!("names nobody to trust: {error}")))?,
                )
            }
        };
        let config = config.with_single_cert(chain, key);
        let config =
            config.map_err(|error| bad("tls.crt", &format_args!("and the key beside it do not fit: {error}")))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
