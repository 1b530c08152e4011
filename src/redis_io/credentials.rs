//! A user name and a password on their way to AUTH.

use std::fmt;

use zeroize::Zeroizing;

/// What AUTH is given. The password is wiped when this is dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: Option<String>,
    password: Zeroizing<String>,
}

impl Credentials {
    /// A password, and the ACL user if it is not the default one.
    pub fn new(username: Option<String>, password: String) -> Self {
        Self { username, password: Zeroizing::new(password) }
    }

    /// The ACL user; `None`: the default user.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password. Only AUTH may see it.
    pub(super) fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).field("password", &"<redacted>").finish()
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
