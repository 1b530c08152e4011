//! What an error reply is said to be. The words are ours: a server that is not what it seems to be could otherwise write
//! whatever it likes into a status, an event or a terminal.

/// Codes that Redis, Valkey and Sentinel have, and what they mean. A code that is not here is shown as `ERR`.
const CODES: &[(&str, &str)] = &[
    ("BUSY", "a script or another command keeps the server busy"),
    ("CLUSTERDOWN", "the cluster is down"),
    ("DENIED", "protected mode lets no other host connect"),
    ("EXECABORT", "the transaction was discarded"),
    ("INPROG", "a failover is already in progress"),
    ("LOADING", "the server is loading its data set"),
    ("MASTERDOWN", "the link to the primary is down, and stale data is not served"),
    ("MISCONF", "the last save failed, and writes are refused"),
    ("NOGOODSLAVE", "there is no suitable replica"),
    ("NOPERM", "the user may not run this command"),
    ("NOPROTO", "the protocol version is not supported"),
    ("NOQUORUM", "the Sentinels have no quorum"),
    ("NOREPLICAS", "there are not enough good replicas"),
    ("OOM", "maxmemory is reached"),
    ("READONLY", "this is a read-only replica"),
    ("UNKILLABLE", "a script that has written cannot be stopped"),
];

/// What follows `ERR` in answers to commands that we send (`src/replication.c`, `src/config.c`, `src/sentinel.c`, …).
const ERRORS: &[&str] = &[
    "No failover in progress",
    "FAILOVER already in progress",
    "FAILOVER requires connected replicas",
    "FAILOVER target HOST and PORT is not a replica",
    "FAILOVER target replica is not online",
    "FAILOVER is not valid when server is a replica",
    "FAILOVER not allowed in cluster mode",
    "REPLICAOF not allowed while failing over",
    "REPLICAOF not allowed in cluster mode",
    "Invalid master port",
    "Background save already in progress",
    "Background append only file rewriting already in progress",
    "No such master with that name",
    "max number of clients reached",
    "unknown command",
    "unknown subcommand",
    "wrong number of arguments",
    "syntax error",
    "Unknown option or number of arguments",
    "Unsupported CONFIG parameter",
    "CONFIG SET failed",
    "Protocol error",
];

/// The code and its meaning, in words of ours.
pub(super) fn said(code: &str, message: &str) -> String {
    if let Some((code, meaning)) = CODES.iter().find(|(known, _)| *known == code) {
        return format!("{code}: {meaning}");
    }
    let message = message.to_ascii_lowercase();
    match ERRORS.iter().find(|known| message.contains(&known.to_ascii_lowercase())) {
        Some(known) => format!("ERR: {known}"),
        None => "ERR: an error that is not known; the server's own words are not shown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "NOPERM",
        "User memory has no permissions to run the 'info' command",
        "NOPERM: the user may not run this command"
    )]
    #[case("ERR", "No failover in progress.", "ERR: No failover in progress")]
    #[case("ERR", "unknown command 'FOO', with args beginning with: 'hunter2'", "ERR: unknown command")]
    #[case(
        "FINE",
        "run kubectl delete namespace shop",
        "ERR: an error that is not known; the server's own words are not shown"
    )]
    fn an_error_is_said_in_our_words(#[case] code: &str, #[case] message: &str, #[case] want: &str) {
        assert_eq!(said(code, message), want);
    }

    proptest! {
        #[test]
        fn nothing_of_the_server_gets_through(code in "[A-Z]{1,20}", message in any::<String>()) {
            let text = said(&code, &message);
            let ours = CODES.iter().any(|(code, meaning)| text == format!("{code}: {meaning}"))
                || ERRORS.iter().any(|known| text == format!("ERR: {known}"))
                || text.ends_with("are not shown");
            prop_assert!(ours, "{}", text);
        }
    }
}
