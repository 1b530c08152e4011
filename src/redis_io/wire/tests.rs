//! What goes out and what comes in, in every order that a server can think of.

use pretty_assertions::assert_eq;
use redis::cmd;
use rstest::rstest;
use tokio::io::{DuplexStream, duplex};

use super::*;

const REFUSED: &[u8] = b"-ERR max number of clients reached\r\n";

/// A wire, and the server's end of it.
fn wire() -> (Wire, DuplexStream) {
    let (ours, theirs) = duplex(1 << 16);
    (Wire::over(Box::new(ours)), theirs)
}

fn commands(count: usize) -> Request {
    let mut pipeline = redis::pipe();
    for _ in 0..count {
        pipeline.cmd("PING");
    }
    Request::from(&pipeline)
}

/// What the server has been sent so far.
fn sent(server: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(1..)) = server.read_buf(&mut bytes).now_or_never() {}
    bytes
}

/// The outcome of one request to a server that answers it by these bytes and closes the connection then.
async fn outcome(count: usize, answer: &[u8]) -> Result<Vec<Value>, RedisError> {
    let ((mut wire, mut server), commands) = (wire(), commands(count));
    let serve = async move {
        let mut asked = [0; 1];
        server.read_exact(&mut asked).await.unwrap();
        server.write_all(answer).await.unwrap();
    };
    tokio::join!(wire.exchange(&commands), serve).0
}

#[rstest]
#[tokio::test]
async fn replies_come_in_any_pieces(#[values(1, 2, 3, 7, 100)] piece: usize) {
    let ((mut wire, mut server), three, one) = (wire(), commands(3), commands(1));
    let answer = b"+OK\r\n-NOPERM no\r\n*2\r\n$3\r\nfoo\r\n$-1\r\n".to_vec();
    let serve = async {
        for bytes in answer.chunks(piece) {
            server.write_all(bytes).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    // The request is sent before the first piece of its reply is there.
    let (replies, ()) = tokio::join!(wire.exchange(&three), serve);
    let replies = replies.unwrap();
    let Value::ServerError(error) = &replies[1] else { panic!("{replies:?}") };
    assert_eq!(error.code(), "NOPERM");
    let array = Value::Array(vec![Value::BulkString(b"foo".to_vec()), Value::Nil]);
    assert_eq!((&replies[0], &replies[2], replies.len()), (&Value::Okay, &array, 3));
    assert_eq!(sent(&mut server), cmd("PING").get_packed_command().repeat(3));

    let (again, ()) = tokio::join!(wire.exchange(&one), async { server.write_all(b":1\r\n").await.unwrap() });
    assert_eq!(again, Ok(vec![Value::Int(1)]), "the wire serves the next exchange");
}

#[tokio::test]
async fn an_exchange_that_was_given_up_cuts_the_wire() {
    let (mut wire, mut server) = wire();
    assert!(wire.exchange(&commands(1)).now_or_never().is_none(), "no reply yet");
    assert!(wire.is_cut());
    assert!(matches!(wire.exchange(&commands(1)).await, Err(RedisError::Connect(_))), "its reply could be the first's");
    let mut all = Vec::new();
    server.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, cmd("PING").get_packed_command(), "the connection is closed at once");
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_has_gone() {
    let (mut wire, server) = wire();
    drop(server);
    let error = wire.exchange(&commands(1)).await.unwrap_err();
    assert_eq!(error, RedisError::Connect("the server closed the connection".to_owned()));
    assert!(wire.is_cut());
}

#[rstest]
#[case(REFUSED, "Refused")]
#[case(b"-DENIED Redis is running in protected mode\r\n", "Refused")]
#[case(b"+OK\r\n", "NotRedis")]
#[case(b"220 mail\r\n", "NotRedis")]
#[tokio::test]
async fn nothing_is_sent_to_a_server_that_speaks_first(#[case] words: &[u8], #[case] kind: &str) {
    let (mut wire, mut server) = wire();
    server.write_all(words).await.unwrap();
    let error = wire.exchange(&commands(1)).await.unwrap_err();
    assert!(format!("{error:?}").starts_with(kind), "{error:?}");
    assert_eq!(sent(&mut server), b"");
    assert!(wire.is_cut());
}

#[rstest]
#[case::a_refused_connection(REFUSED, "Refused")]
#[case::it_may_have_done_the_rest(b"-NOPERM no\r\n", "Connect")]
#[case::half_a_reply(b"+OK\r\n$5\r\nab", "Connect")]
#[case::nothing(b"", "Connect")]
#[case::one_too_many(b"+OK\r\n+OK\r\n+OK\r\n", "NotRedis")]
#[case::one_begun_too_many(b"+OK\r\n+OK\r\n+", "NotRedis")]
#[case::not_a_redis(b"HTTP/1.1 400 Bad Request\r\n", "NotRedis")]
#[tokio::test]
async fn bad_ends_have_their_names(#[case] answer: &[u8], #[case] kind: &str) {
    let error = outcome(2, answer).await.unwrap_err();
    assert!(format!("{error:?}").starts_with(kind), "{error:?}");
}

#[tokio::test]
async fn replies_are_bounded_together() {
    let half = [format!("${}\r\n", MAX_REPLY / 2).into_bytes(), vec![b'x'; MAX_REPLY / 2], b"\r\n".to_vec()].concat();
    assert!(matches!(outcome(2, &half.repeat(2)).await, Err(RedisError::TooLarge(_))));
}
