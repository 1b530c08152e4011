//! TLS to Redis: the server is verified against the given authorities and nothing else, before a word is said to it.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject as _},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use zeroize::Zeroizing;

use super::{error::RedisError, route};
use crate::domain::tls::TlsProblem;

/// Most certificates of a CA Secret: a whole company's authorities, and still read in no time.
const MAX_AUTHORITIES: usize = 256;

/// What the Secrets hold, as PEM text. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct TlsMaterial {
    /// The certificates of the authorities.
    pub authorities: Zeroizing<String>,
    /// Our certificate with its chain, and its private key.
    pub client: Option<(Zeroizing<String>, Zeroizing<String>)>,
    /// The name that the server's certificate must have; `None`: one of [`Tls::or_named`], else the address that is
    /// connected to.
    pub server_name: Option<String>,
    /// By which it is spoken of.
    pub names: TlsNames,
}

/// What people call the parts of [`TlsMaterial`], where they gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsNames {
    authorities: &'static str,
    certificate: &'static str,
    key: &'static str,
    server_name: &'static str,
}

impl TlsNames {
    /// In `spec.redis.tls`.
    pub const SPEC: Self = Self {
        authorities: "caSecret",
        certificate: "tls.crt of clientCertSecret",
        key: "tls.key of clientCertSecret",
        server_name: "serverName",
    };
    /// On the command line.
    pub const FLAGS: Self =
        Self { authorities: "--cacert", certificate: "--cert", key: "--key", server_name: "--server-name or the host" };
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// How a connection is made private. Cheap to clone. Two are equal when they are clones of one.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    /// Names that the certificate may have instead of the address, when none is prescribed.
    names: Vec<ServerName<'static>>,
}

impl Tls {
    /// Reads the PEM texts. A failure says which text is bad and never quotes it.
    pub fn new(material: &TlsMaterial) -> Result<Self, RedisError> {
        let TlsNames { authorities, certificate, key: key_name, server_name: name } = material.names;
        let mut roots = RootCertStore::empty();
        for authority in certificates(&material.authorities, authorities)? {
            let added = roots.add(authority);
            added.map_err(|_| unusable(&format!("a certificate of {authorities} cannot be that of an authority")))?;
        }
        // The provider is named, so that nothing depends on which one the process has installed.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| RedisError::Tls(TlsProblem::Failed, "TLS is not available".to_owned()))?
            .with_root_certificates(roots);
        let mut config = match &material.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain, certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|_| unusable(&format!("{key_name} holds no private key in PEM form")))?;
                builder.with_client_auth_cert(chain, key).map_err(|_| {
                    unusable(&format!(
                        "{certificate} and {key_name} do not belong together, or are of a kind that is not supported"
                    ))
                })?
            }
        };
        // A resumed session is not verified again: a certificate that has expired since would go unseen.
        config.resumption = Resumption::disabled();
        let server_name = material.server_name.clone().map(ServerName::try_from).transpose();
        let server_name =
            server_name.map_err(|_| unusable(&format!("{name} is neither a DNS name nor an IP address")))?;
        Ok(Self { config: Arc::new(config), server_name, names: Vec::new() })
    }

    /// The same for a server that its certificate may call by any of these names, unless one is prescribed. What is no DNS
    /// name is left out.
    #[must_use]
    pub fn or_named(self, names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().filter_map(|name| ServerName::try_from(name).ok());
        Self { names: names.collect(), ..self }
    }

    /// Connects and shakes hands, until `deadline`. The stream that comes out belongs to a server that is who it must be:
    /// whose certificate has the prescribed name, else one of the names that it may have, else the address.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
        deadline: Duration,
    ) -> Result<TlsStream<TcpStream>, RedisError> {
        if let Some(prescribed) = &self.server_name {
            return self.secure(prescribed.clone(), address, deadline).await;
        }
        for name in &self.names {
            match self.secure(name.clone(), address, deadline).await {
                // Each attempt verifies one name.
                Err(RedisError::Tls(TlsProblem::NameMismatch, _)) => {}
                outcome => return outcome,
            }
        }
        self.secure(ServerName::from(address.ip()), address, deadline).await
    }

    /// The handshake with a server of that name. One that has not finished it after two thirds of `deadline` is looked at
    /// once more: whether it is a plain Redis.
    async fn secure(
        &self,
        name: ServerName<'static>,
        address: SocketAddr,
        deadline: Duration,
    ) -> Result<TlsStream<TcpStream>, RedisError> {
        let tcp = reach(address).await?;
        let handshake = TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp);
        let Ok(handshake) = timeout(deadline.saturating_mul(2) / 3, handshake).await else {
            return Err(if answers_plainly(address).await {
                RedisError::Tls(TlsProblem::NotSpoken, "the port answers in plain text, without TLS".to_owned())
            } else {
                RedisError::timed_out("the TLS handshake", deadline)
            });
        };
        handshake.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => RedisError::Tls(
                TlsProblem::Failed,
                "the server closed the connection in the middle of the handshake".to_owned(),
            ),
            _ => failure(&error).unwrap_or_else(|| RedisError::io("TLS handshake", &error)),
        })
    }
}

/// A TCP connection.
pub(super) async fn reach(address: SocketAddr) -> Result<TcpStream, RedisError> {
    let tcp = route::connect(address).await.map_err(|e| RedisError::io("cannot connect", &e))?;
    tcp.set_nodelay(true).map_err(|e| RedisError::io("cannot connect", &e))?;
    Ok(tcp)
}

/// Whether a plain PING is answered. A plain Redis keeps silent about a TLS handshake: it waits for the end of a line,
/// and looks for it only up to the first NUL. Nothing but the PING is said, and no use is made of the connection.
async fn answers_plainly(address: SocketAddr) -> bool {
    let Ok(mut tcp) = route::connect(address).await else { return false };
    if tcp.write_all(b"PING\r\n").await.is_err() {
        return false;
    }
    let mut first = [0];
    tcp.read_exact(&mut first).await.is_ok() && matches!(first, [b'+' | b'-'])
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.server_name == other.server_name && self.names == other.names
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

fn unusable(text: &str) -> RedisError {
    RedisError::Tls(TlsProblem::SecretUnusable, text.to_owned())
}

fn certificates(text: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, RedisError> {
    let found: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_slice_iter(text.as_bytes()).take(MAX_AUTHORITIES).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(unusable(&format!("{what} holds no certificate in PEM form"))),
    }
}

/// What a TLS failure means; `None`: it is none, but one of the socket. Names in the server's certificate are the
/// server's own words and are not repeated.
pub(super) fn failure(error: &io::Error) -> Option<RedisError> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let (problem, text) = match error {
        rustls::Error::InvalidCertificate(error) => refused(error),
        rustls::Error::InvalidMessage(_) => (TlsProblem::NotSpoken, "what answers does not speak TLS"),
        rustls::Error::AlertReceived(alert) => alerted(*alert),
        rustls::Error::NoCertificatesPresented => {
            (TlsProblem::CertificateInvalid, "the server has shown no certificate")
        }
        rustls::Error::PeerIncompatible(_) => {
            (TlsProblem::Failed, "the server and the operator have no protocol version or cipher in common")
        }
        _ => (TlsProblem::Failed, "the TLS handshake or connection failed"),
    };
    Some(RedisError::Tls(problem, text.to_owned()))
}

/// Why the server's certificate was refused by us.
const fn refused(error: &CertificateError) -> (TlsProblem, &'static str) {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (TlsProblem::Expired, "the server's certificate has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (TlsProblem::NotYetValid, "the server's certificate is not valid yet")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            (TlsProblem::NameMismatch, "the server's certificate is for another name")
        }
        // A forger can give an authority of its own our authority's name; then it is the signature that differs.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            (TlsProblem::UnknownAuthority, "the server's certificate comes from none of the authorities in caSecret")
        }
        _ => (TlsProblem::CertificateInvalid, "the server's certificate cannot be used for a server"),
    }
}

/// Why the server ended it. `handshake_failure` is what a server with TLS 1.2 says to a client without a certificate,
/// and to one that offers nothing that it knows.
const fn alerted(alert: AlertDescription) -> (TlsProblem, &'static str) {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            (TlsProblem::ClientCertificateRefused, "the server wants a client certificate")
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => {
            (TlsProblem::ClientCertificateRefused, "the server refuses the client certificate")
        }
        AlertDescription::HandshakeFailure => (
            TlsProblem::Failed,
            "the server refuses the handshake: it wants a client certificate, or other protocol versions or ciphers",
        ),
        _ => (TlsProblem::Failed, "the server ended the TLS connection with an alert"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn wrapped(error: rustls::Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    #[rstest]
    #[case(CertificateError::Expired, TlsProblem::Expired)]
    #[case(CertificateError::NotValidYet, TlsProblem::NotYetValid)]
    #[case(CertificateError::NotValidForName, TlsProblem::NameMismatch)]
    #[case(CertificateError::UnknownIssuer, TlsProblem::UnknownAuthority)]
    #[case(CertificateError::BadSignature, TlsProblem::UnknownAuthority)]
    #[case(CertificateError::Revoked, TlsProblem::CertificateInvalid)]
    fn each_refused_certificate_has_its_reason(#[case] error: CertificateError, #[case] want: TlsProblem) {
        let failure = failure(&wrapped(rustls::Error::InvalidCertificate(error)));
        assert!(matches!(failure, Some(RedisError::Tls(problem, _)) if problem == want), "{failure:?}");
    }

    #[test]
    fn names_in_a_certificate_are_not_repeated() {
        let error = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("redis").unwrap(),
            presented: vec!["all-is-well.example".into()],
        };
        let failure = failure(&wrapped(rustls::Error::InvalidCertificate(error))).unwrap();
        assert!(!format!("{failure} {failure:?}").contains("all-is-well"), "{failure:?}");
    }

    #[test]
    fn an_error_of_the_socket_is_none_of_tls() {
        assert_eq!(failure(&io::Error::from(io::ErrorKind::ConnectionReset)), None);
    }

    #[rstest]
    #[case("", None, None, "caSecret holds no certificate")]
    #[case(
        "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----",
        None,
        None,
        "cannot be that of an authority"
    )]
    #[case("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----", None, None, "caSecret holds no certificate")]
    fn bad_texts_are_named_and_not_quoted(
        #[case] authorities: &str,
        #[case] client: Option<(Zeroizing<String>, Zeroizing<String>)>,
        #[case] server_name: Option<String>,
        #[case] want: &str,
    ) {
        let material = TlsMaterial {
            authorities: Zeroizing::new(authorities.to_owned()),
            client,
            server_name,
            names: TlsNames::SPEC,
        };
        let Err(RedisError::Tls(TlsProblem::SecretUnusable, text)) = Tls::new(&material) else { panic!("accepted") };
        assert!(text.contains(want) && !text.contains("c2VjcmV0"), "{text}");
    }
}
