//! Certificates for the tests, made anew in each run.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub pem: String,
}

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct Leaf {
    pub certificate: String,
    pub key: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub enum Valid {
    Now,
    Expired,
    NotYet,
}

impl Authority {
    /// An authority of that name. Two of one name have different keys.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = called(name);
        let key = KeyPair::generate().expect("a key can be made");
        let pem = params.self_signed(&key).expect("a certificate can be made").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for a server of these names and addresses.
    pub fn server(&self, names: &[&str], valid: Valid) -> Leaf {
        self.leaf(names, valid, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client.
    pub fn client(&self) -> Leaf {
        self.leaf(&["memory-operator"], Valid::Now, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn leaf(&self, names: &[&str], valid: Valid, usage: ExtendedKeyUsagePurpose) -> Leaf {
        let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).expect("these are names");
        params.distinguished_name = called("leaf");
        params.extended_key_usages = vec![usage];
        (params.not_before, params.not_after) = match valid {
            Valid::Now => (date_time_ymd(2000, 1, 1), date_time_ymd(4000, 1, 1)),
            Valid::Expired => (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1)),
            Valid::NotYet => (date_time_ymd(3999, 1, 1), date_time_ymd(4000, 1, 1)),
        };
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate can be made").pem();
        Leaf { certificate, key: key.serialize_pem() }
    }
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}
