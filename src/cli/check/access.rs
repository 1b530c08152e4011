//! How the servers of `check` are got into: password and TLS, from files and the environment.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::redis_io::{Credentials, RedisError, Tls, TlsMaterial, TlsNames};

/// The environment variable with the password.
const PASSWORD: &str = "RMO_REDIS_PASSWORD";

/// Flags about access.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Access {
    /// ACL user. Default: the default user.
    #[arg(long)]
    username: Option<String>,
    /// File with the password. Without it the password is taken from the environment variable `RMO_REDIS_PASSWORD`;
    /// never from the command line, which others can see.
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
    /// TLS, to servers with a certificate of the authorities in this PEM file, and of no other. Without it the connection
    /// is plain.
    #[arg(long, value_name = "PATH")]
    cacert: Option<PathBuf>,
    /// Mutual TLS: PEM file with our certificate and its chain.
    #[arg(long, value_name = "PATH", requires_all = ["cacert", "key"])]
    cert: Option<PathBuf>,
    /// Mutual TLS: PEM file with the private key of `--cert`.
    #[arg(long, value_name = "PATH", requires_all = ["cacert", "cert"])]
    key: Option<PathBuf>,
    /// The name that the servers' certificates must have. Default: the host as it was given.
    #[arg(long, value_name = "NAME", requires = "cacert")]
    server_name: Option<String>,
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error("cannot read {flag} {path}: {source}")]
    File { flag: &'static str, path: PathBuf, source: io::Error },
    #[error("{PASSWORD} is not valid UTF-8")]
    PasswordText,
    #[error("--username needs a password: set {PASSWORD} or --password-file")]
    NoPassword,
    #[error("{0}")]
    Tls(RedisError),
}

/// What every server is told.
pub(super) struct Login {
    password: Option<(Option<String>, Zeroizing<String>)>,
    tls: Option<TlsMaterial>,
}

impl Access {
    /// Reads the files.
    pub(super) fn login(&self) -> Result<Login, AccessError> {
        let password = match &self.password_file {
            // Editors end files with a newline that is no part of the password.
            Some(path) => {
                Some(Zeroizing::new(read("--password-file", path)?.lines().next().unwrap_or_default().to_owned()))
            }
            None => password_from_environment()?,
        };
        if password.is_none() && self.username.is_some() {
            return Err(AccessError::NoPassword);
        }
        let password = password.map(|password| (self.username.clone(), password));
        let tls = match &self.cacert {
            Some(authorities) => Some(self.tls(authorities)?),
            None => None,
        };
        Ok(Login { password, tls })
    }

    fn tls(&self, authorities: &Path) -> Result<TlsMaterial, AccessError> {
        let client = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((read("--cert", cert)?, read("--key", key)?)),
            _ => None,
        };
        let authorities = read("--cacert", authorities)?;
        let material =
            TlsMaterial { authorities, client, server_name: self.server_name.clone(), names: TlsNames::FLAGS };
        // What cannot be used is said once, before any server is asked.
        Tls::new(&material).map_err(AccessError::Tls)?;
        Ok(material)
    }
}

impl Login {
    /// What the server of that host, a name or an address, is told.
    pub(super) fn credentials(&self, host: &str) -> Result<Option<Credentials>, AccessError> {
        let password = self.password.as_ref();
        let credentials = password.map(|(user, password)| Credentials::new(user.clone(), String::clone(password)));
        let Some(material) = &self.tls else { return Ok(credentials) };
        let named = material.server_name.clone().or_else(|| host.parse::<IpAddr>().is_err().then(|| host.to_owned()));
        let tls = Tls::new(&TlsMaterial { server_name: named, ..material.clone() }).map_err(AccessError::Tls)?;
        Ok(Some(match credentials {
            Some(credentials) => credentials.over(tls),
            None => Credentials::tls_only(tls),
        }))
    }
}

fn read(flag: &'static str, path: &Path) -> Result<Zeroizing<String>, AccessError> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    text.map_err(|source| AccessError::File { flag, path: path.to_owned(), source })
}

#[allow(clippy::disallowed_methods, reason = "clap would take it from the command line as well, which others can see")]
fn password_from_environment() -> Result<Option<Zeroizing<String>>, AccessError> {
    match std::env::var(PASSWORD) {
        Ok(password) if password.is_empty() => Ok(None),
        Ok(password) => Ok(Some(Zeroizing::new(password))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(AccessError::PasswordText),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password_in(path: &Path) -> Result<String, AccessError> {
        let access = Access { password_file: Some(path.to_owned()), ..Access::default() };
        access.login().map(|login| login.password.unwrap().1.to_string())
    }

    #[test]
    fn only_the_first_line_of_the_file_is_the_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "s3cr3t\nnot this\n").unwrap();
        assert_eq!(password_in(file.path()).unwrap(), "s3cr3t");
        let error = password_in(Path::new("/nonexistent/password")).unwrap_err().to_string();
        assert!(error.contains("--password-file /nonexistent"), "{error}");
    }

    #[test]
    fn a_bad_authority_is_named_by_its_flag() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let access = Access { cacert: Some(file.path().to_owned()), ..Access::default() };
        let Err(error) = access.login() else { panic!("an empty file has no certificate") };
        assert!(error.to_string().contains("--cacert holds no certificate in PEM form"), "{error}");
    }
}
