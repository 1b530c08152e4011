//! The users of a server as one fingerprint, so that members can be compared by whom they let in. Names, rights and the
//! hashes of passwords are read, hashed with a salt of this process, and dropped.

use std::time::Duration;

use redis::Value;

use super::{config::fingerprint, connection::Connection, reply};
use crate::domain::acl::DRYRUN_SINCE;

impl Connection {
    /// A fingerprint of `ACL LIST` that is equal on members with the same users; `None`: not known, because this user has
    /// no right to `acl|list`. From 7.0 on it is asked before: a refusal is an entry in the server's ACL LOG.
    pub async fn users(&mut self, deadline: Duration) -> Option<String> {
        if self.version() >= DRYRUN_SINCE {
            let mut pipeline = redis::pipe();
            pipeline.cmd("ACL").arg("WHOAMI");
            let user = self.request(&pipeline, "ACL WHOAMI", deadline).await.ok()?.into_iter().next();
            let user = reply::text(user).ok()?;
            let mut pipeline = redis::pipe();
            pipeline.cmd("ACL").arg("DRYRUN").arg(user).arg("ACL").arg("LIST");
            let may = self.request(&pipeline, "ACL DRYRUN", deadline).await.ok()?;
            if !matches!(may.first(), Some(Value::Okay)) {
                return None;
            }
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("ACL").arg("LIST");
        let list = self.request(&pipeline, "ACL LIST", deadline).await.ok()?.into_iter().next();
        let lines = reply::array(list).ok()?.into_iter().map(|line| reply::text(Some(line)).ok());
        lines.collect::<Option<Vec<String>>>().map(of_lines)
    }
}

/// The order of users, and of the passwords of one, says nothing.
fn of_lines(lines: Vec<String>) -> String {
    let mut users: Vec<String> = lines
        .into_iter()
        .map(|line| {
            let (mut passwords, mut words): (Vec<&str>, Vec<&str>) =
                line.split_ascii_whitespace().partition(|word| word.starts_with('#'));
            passwords.sort_unstable();
            words.append(&mut passwords);
            words.join(" ")
        })
        .collect();
    users.sort_unstable();
    fingerprint(users.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> String {
        of_lines(lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn equal_users_are_equal_in_any_order() {
        let one = of(&["user a on #11 #22 ~* +@all", "user default off nopass"]);
        assert_eq!(one, of(&["user default off nopass", "user a on #22 #11 ~* +@all"]));
        assert!(!one.contains("#11") && one.len() == 64, "{one}");
    }

    #[test]
    fn another_password_or_right_is_another() {
        let one = of(&["user a on #11 ~* +@all"]);
        for other in
            ["user a on #12 ~* +@all", "user a off #11 ~* +@all", "user a on #11 ~* +@all -get", "user b on #11"]
        {
            assert_ne!(one, of(&[other]), "{other}");
        }
        assert_ne!(one, of(&["user a on #11 ~* +@all", "user b on nopass"]));
    }
}
