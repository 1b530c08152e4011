//! What can go wrong when a Redis is asked something.

use std::{fmt, io, time::Duration};

use super::{info::InfoError, refusal, text::shown};
use crate::domain::{names::RunId, snapshot::ProbeFailure, tls::TlsProblem};

/// Why a command or a connection failed. Every text is short, on one line and free of secrets: it may be shown.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// No TCP connection, or it broke.
    #[error("connection: {0}")]
    Connect(String),
    /// No complete answer within the deadline. Whether a command took effect is unknown.
    #[error("timed out: {0}")]
    TimedOut(String),
    /// NOAUTH, WRONGPASS, or AUTH itself refused.
    #[error("authentication: {0}")]
    Auth(String),
    /// No TLS connection; whatever was to be sent has not been sent.
    #[error("TLS: {1}")]
    Tls(TlsProblem, String),
    /// The answer is not one that a Redis gives.
    #[error("not a Redis: {0}")]
    NotRedis(String),
    /// The answer went over the cap.
    #[error("reply too large: {0}")]
    TooLarge(String),
    /// Redis answered with an error. It is shown in words of ours; the message is for telling one from another.
    #[error("{}", refusal::said(code, message))]
    Refused {
        /// First word of the error: `ERR`, `NOPERM`, `LOADING`, …
        code: String,
        /// The rest, capped, in the server's words: never to be shown.
        message: String,
    },
    /// Another process answers than the one that was expected: whatever was decided about it no longer holds.
    #[error("run_id changed: expected {expected}, found {found}")]
    RunIdChanged {
        /// The process that was meant.
        expected: RunId,
        /// The process that answered.
        found: RunId,
        /// Whether that one says that it is primary; `None`: it was not asked, or does not say.
        leads: Option<bool>,
    },
}

impl RedisError {
    /// No answer in time.
    pub(super) fn timed_out(what: &str, deadline: Duration) -> Self {
        Self::TimedOut(format!("no complete answer to {what} within {} ms", deadline.as_millis()))
    }

    /// An error of the socket.
    pub(super) fn io(what: &str, error: &io::Error) -> Self {
        Self::Connect(shown(&format!("{what}: {error}")))
    }

    /// An error reply, sorted by its first word.
    pub(super) fn reply(code: &str, message: &str) -> Self {
        let (code, message) = (shown(code), shown(message));
        match code.as_str() {
            "NOAUTH" => Self::Auth("Redis requires a password".to_owned()),
            "WRONGPASS" => Self::Auth("Redis refused the user name or the password (WRONGPASS)".to_owned()),
            _ => Self::Refused { code, message },
        }
    }

    /// True when the user lacks the right, or the server has no such command.
    pub fn is_forbidden(&self) -> bool {
        let Self::Refused { code, message } = self else { return false };
        code == "NOPERM" || message.starts_with("unknown command")
    }

    /// True when the whole connection is refused, whatever is sent on it: protected mode, or too many clients.
    pub(super) fn is_of_the_connection(&self) -> bool {
        let Self::Refused { code, message } = self else { return false };
        code == "DENIED" || message.starts_with("max number of clients")
    }
}

/// What is shown, also where code is printed for programmers: the words of a server may repeat what it was sent.
impl fmt::Debug for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Connect(_) => "Connect",
            Self::TimedOut(_) => "TimedOut",
            Self::Auth(_) => "Auth",
            Self::Tls(..) => "Tls",
            Self::NotRedis(_) => "NotRedis",
            Self::TooLarge(_) => "TooLarge",
            Self::Refused { .. } => "Refused",
            Self::RunIdChanged { .. } => "RunIdChanged",
        };
        f.debug_tuple(variant).field(&self.to_string()).finish()
    }
}

impl From<InfoError> for RedisError {
    fn from(error: InfoError) -> Self {
        match error {
            InfoError::Missing(_) | InfoError::Unreadable(_) | InfoError::Sentinel => Self::NotRedis(error.to_string()),
        }
    }
}

impl From<RedisError> for ProbeFailure {
    fn from(error: RedisError) -> Self {
        match error {
            RedisError::Connect(text) => Self::Unreachable(text),
            RedisError::TimedOut(text) => Self::TimedOut(text),
            RedisError::Auth(text) => Self::AuthenticationFailed(text),
            RedisError::Tls(problem, text) => Self::Tls(problem, text),
            RedisError::NotRedis(text) => Self::NotRedis(text),
            RedisError::TooLarge(text) => Self::ReplyTooLarge(text),
            RedisError::Refused { .. } => Self::Refused(shown(&error.to_string())),
            RedisError::RunIdChanged { .. } => Self::Unreachable(shown(&error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn refused(code: &str) -> RedisError {
        RedisError::Refused { code: code.into(), message: "text".into() }
    }

    #[rstest]
    #[case(RedisError::Connect("x".into()), "Unreachable")]
    #[case(RedisError::TimedOut("x".into()), "TimedOut")]
    #[case(RedisError::Auth("x".into()), "AuthenticationFailed")]
    #[case(RedisError::NotRedis("x".into()), "NotRedis")]
    #[case(RedisError::TooLarge("x".into()), "ReplyTooLarge")]
    #[case(refused("LOADING"), "Refused")]
    #[case(RedisError::RunIdChanged { expected: "a".into(), found: "b".into(), leads: None }, "Unreachable")]
    fn each_error_has_its_probe_failure(#[case] error: RedisError, #[case] reason: &str) {
        assert_eq!(ProbeFailure::from(error).reason(), reason);
    }

    #[rstest]
    #[case("NOAUTH", "Authentication required.", "AuthenticationFailed")]
    #[case("WRONGPASS", "invalid username-password pair or user is disabled.", "AuthenticationFailed")]
    #[case("NOPERM", "this user has no permissions to run the 'info' command", "Refused")]
    #[case("LOADING", "Redis is loading the dataset in memory", "Refused")]
    #[case("DENIED", "Redis is running in protected mode", "Refused")]
    fn error_replies_are_sorted(#[case] code: &str, #[case] message: &str, #[case] reason: &str) {
        assert_eq!(ProbeFailure::from(RedisError::reply(code, message)).reason(), reason);
    }
}
