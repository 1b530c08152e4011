//! How TLS to Redis is set up, and the ways in which it fails. Each way has a name of its own, because each has
//! another cure.

use serde::{Deserialize, Serialize};

use super::policy::SecretKey;

/// `spec.redis.tls`. With it, nothing is ever said to Redis in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsRule {
    /// Where the PEM certificates of the only authorities are that a server's certificate may come from.
    pub ca: SecretKey,
    /// The `kubernetes.io/tls` Secret with our own certificate; `None`: the server is shown none.
    pub client_cert: Option<String>,
    /// The name that the server's certificate must have; `None`: the pod's DNS name, else its IP address.
    pub server_name: Option<String>,
}

/// Why there is no TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TlsProblem {
    /// What answers does not speak TLS: a plain port.
    NotSpoken,
    /// The server's certificate comes from none of the authorities in the CA Secret.
    UnknownAuthority,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotYetValid,
    /// The server's certificate is for another name.
    NameMismatch,
    /// The server's certificate cannot be used for a server at all.
    CertificateInvalid,
    /// The server wants a client certificate, or refuses ours.
    ClientCertificateRefused,
    /// A Secret holds no certificate or key that can be used.
    SecretUnusable,
    /// Anything else that ended the handshake.
    Failed,
}

impl TlsProblem {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::NotSpoken,
        Self::UnknownAuthority,
        Self::Expired,
        Self::NotYetValid,
        Self::NameMismatch,
        Self::CertificateInvalid,
        Self::ClientCertificateRefused,
        Self::SecretUnusable,
        Self::Failed,
    ];

    /// A stable word for metrics and reasons.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotSpoken => "TlsNotSpoken",
            Self::UnknownAuthority => "TlsUnknownAuthority",
            Self::Expired => "TlsCertificateExpired",
            Self::NotYetValid => "TlsCertificateNotYetValid",
            Self::NameMismatch => "TlsNameMismatch",
            Self::CertificateInvalid => "TlsCertificateInvalid",
            Self::ClientCertificateRefused => "TlsClientCertificateRefused",
            Self::SecretUnusable => "TlsSecretUnusable",
            Self::Failed => "TlsHandshakeFailed",
        }
    }

    /// What a person can do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NotSpoken => {
                "give Redis a tls-port and name it in spec.redis.port, or remove spec.redis.tls; there is no fallback to a plain connection"
            }
            Self::UnknownAuthority => {
                "put the certificate of the authority that signed the server's certificate into the Secret of spec.redis.tls.caSecret"
            }
            Self::Expired => "renew the server's certificate, and have Redis load it",
            Self::NotYetValid => "check the clocks of the node and of the issuer of the server's certificate",
            Self::NameMismatch => {
                "set spec.redis.tls.serverName to a name in the server's certificate, or add the name to the certificate; without serverName it needs the pod's DNS name or its IP address"
            }
            Self::CertificateInvalid => "give Redis an end-entity certificate for server authentication",
            Self::ClientCertificateRefused => {
                "set spec.redis.tls.clientCertSecret to a certificate that Redis' tls-ca-cert-file trusts, or set tls-auth-clients no"
            }
            Self::SecretUnusable => {
                "put PEM certificates into the CA Secret, and a certificate with its own private key (tls.crt, tls.key) into the client's"
            }
            Self::Failed => "compare tls-protocols and ciphers of Redis: TLS 1.2 or 1.3 is needed",
        }
    }
}

/// The same text of a Sentinel: the fields of its TLS are those of `spec.redis`, in `spec.redis.sentinel`.
pub fn of_sentinels(text: &str) -> String {
    text.replace("spec.redis.tls", "spec.redis.sentinel.tls").replace("spec.redis.port", "spec.redis.sentinel.port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_problem_has_a_reason_and_a_remedy_of_its_own() {
        let reasons: BTreeSet<_> = TlsProblem::ALL.iter().map(|problem| problem.reason()).collect();
        let remedies: BTreeSet<_> = TlsProblem::ALL.iter().map(|problem| problem.remedy()).collect();
        assert_eq!((reasons.len(), remedies.len()), (TlsProblem::ALL.len(), TlsProblem::ALL.len()));
    }
}
