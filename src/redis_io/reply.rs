//! Replies to their meanings. Each takes what the pipeline gave for one command.

use redis::Value;
use zeroize::Zeroizing;

use super::error::RedisError;

/// A text reply. Bytes that are no UTF-8 (in the name of a client, say) are replaced.
pub(super) fn text(reply: Option<Value>) -> Result<String, RedisError> {
    match reply {
        Some(Value::BulkString(bytes)) => Ok(String::from_utf8(bytes).unwrap_or_else(|error| {
            let bytes = Zeroizing::new(error.into_bytes());
            String::from_utf8_lossy(&bytes).into_owned()
        })),
        Some(Value::SimpleString(line)) => Ok(line),
        other => Err(unexpected(other, "a text")),
    }
}

/// `OK`, also with words behind it: a server that follows somebody already answers REPLICAOF by "OK Already connected to
/// specified master", and it is asked again whenever the first answer was lost.
pub(super) fn ok(reply: Option<Value>) -> Result<(), RedisError> {
    match reply {
        Some(Value::Okay) => Ok(()),
        Some(Value::SimpleString(text)) if text.starts_with("OK ") => Ok(()),
        other => Err(unexpected(other, "OK")),
    }
}

/// An array.
pub(super) fn array(reply: Option<Value>) -> Result<Vec<Value>, RedisError> {
    match reply {
        Some(Value::Array(values)) => Ok(values),
        other => Err(unexpected(other, "an array")),
    }
}

/// The reply to AUTH. The server's text is never shown: `unknown command 'AUTH', with args beginning with: …`
/// repeats the password.
pub(super) fn auth(reply: Option<Value>) -> Result<(), RedisError> {
    match reply {
        Some(Value::ServerError(error)) => Err(RedisError::Auth(match (error.code(), error.details()) {
            ("WRONGPASS", _) => "Redis refused the user name or the password (WRONGPASS)".to_owned(),
            (_, Some(details))
                if details.contains("without any password") || details.contains("no password is set") =>
            {
                "a password is given, but Redis has none for the default user".to_owned()
            }
            (code, _) if code.len() <= 16 && code.bytes().all(|b| b.is_ascii_uppercase()) => {
                format!("Redis refused AUTH ({code})")
            }
            _ => "Redis refused AUTH".to_owned(),
        })),
        reply => ok(reply),
    }
}

/// An error reply, or a reply of another type than the command has.
fn unexpected(reply: Option<Value>, wanted: &str) -> RedisError {
    match reply {
        Some(Value::ServerError(error)) => RedisError::reply(error.code(), error.details().unwrap_or_default()),
        _ => RedisError::NotRedis(format!("the answer is of another type than {wanted}")),
    }
}
