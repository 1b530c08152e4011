//! What a connection is opened with: a user name and a password on their way to AUTH, and TLS.
//!
//! They are one thing, so that nobody who opens a connection can leave TLS out by forgetting it.

use std::fmt;

use zeroize::Zeroizing;

use super::tls::Tls;

/// What a connection is opened with. The password is wiped when this is dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: Option<String>,
    password: Option<Zeroizing<String>>,
    tls: Option<Tls>,
}

impl Credentials {
    /// A password, and the ACL user if it is not the default one.
    pub fn new(username: Option<String>, password: String) -> Self {
        Self { username, password: Some(Zeroizing::new(password)), tls: None }
    }

    /// TLS, and no AUTH.
    pub const fn tls_only(tls: Tls) -> Self {
        Self { username: None, password: None, tls: Some(tls) }
    }

    /// The same over TLS.
    #[must_use]
    pub fn over(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The ACL user; `None`: the default user.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password; `None`: no AUTH is sent. Only AUTH may see it.
    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|password| password.as_str())
    }

    /// TLS; `None`: a plain connection.
    pub(super) const fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "<redacted>");
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &password)
            .field("tls", &self.tls)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?}", Credentials::new(Some("memory".into()), "hunter2".into()));
        assert!(shown.contains("memory") && !shown.contains("hunter2"), "{shown}");
    }
}
