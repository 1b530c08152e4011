//! One look at one Redis.

use std::time::Duration;

use redis::{Pipeline, Value};

use super::{config, connection::Connection, error::RedisError, info::Info, reply};
use crate::{
    clock::Clock,
    domain::{names::PodUid, sample::Sample, snapshot::ProbeFailure},
};

/// The channel that every Sentinel subscribes to on every server that it watches.
const SENTINEL_CHANNEL: &str = "__sentinel__:hello";
/// Up to this many clients the whole client list is read (about 350 bytes each), beyond it only the subscribers'.
const SMALL_CLIENT_LIST: u64 = 256;
/// Beyond this many clients no list is read: it could go over the cap on replies.
const LARGEST_CLIENT_LIST: u64 = 2000;

/// Reads one sample within `deadline`. Only INFO is indispensable: what CONFIG or the client list refuse is missing
/// from the sample, with the reason.
pub async fn probe(
    connection: &mut Connection,
    pod_uid: &PodUid,
    clock: &Clock,
    deadline: Duration,
) -> Result<Sample, ProbeFailure> {
    let begun = clock.uptime();
    let mut pipeline = redis::pipe();
    pipeline.cmd("INFO");
    config::ask(&mut pipeline);
    pipeline.cmd("PUBSUB").arg("NUMSUB").arg(SENTINEL_CHANNEL);
    let mut replies = connection.request(&pipeline, "INFO", deadline).await?.into_iter();
    let at = clock.now();

    let text = reply::text(replies.next())?;
    let text = String::from_utf8_lossy(&text);
    let info = Info::parse(&text);
    let run_id = info.run_id().map_err(RedisError::from)?;
    if run_id != *connection.run_id() {
        return Err(RedisError::RunIdChanged { expected: connection.run_id().clone(), found: run_id }.into());
    }
    let config: Vec<Value> = replies.by_ref().take(config::COMMANDS).collect();
    let config = config::read(config.into_iter());
    let subscribers = subscribers(replies.next());
    let sample = info.sample(at, pod_uid.clone(), config, None).map_err(RedisError::from)?;
    let left = deadline.saturating_sub(clock.uptime().saturating_sub(begun));
    let sentinel_seen = sentinel_seen(connection, subscribers, info.connected_clients(), left).await;
    Ok(Sample { sentinel_seen, ..sample })
}

/// Whether a Sentinel is connected. Its subscription to its own channel is the sure and cheap sign. A Sentinel that
/// may not subscribe still watches and fails over by its command link, so short client lists are read as well.
async fn sentinel_seen(
    connection: &mut Connection,
    subscribers: Option<u64>,
    clients: u64,
    deadline: Duration,
) -> Option<bool> {
    if subscribers.is_some_and(|count| count > 0) {
        return Some(true);
    }
    let from_channel = subscribers.map(|_| false);
    let mut pipeline = redis::pipe();
    let command = pipeline.cmd("CLIENT").arg("LIST");
    match (clients, from_channel) {
        (0..=SMALL_CLIENT_LIST, _) => {}
        (..=LARGEST_CLIENT_LIST, None) => {
            command.arg("TYPE").arg("pubsub");
        }
        _ => return from_channel,
    }
    list_has_sentinel(connection, &pipeline, deadline).await.or(from_channel)
}

/// A failure here costs the answer, not the sample.
async fn list_has_sentinel(connection: &mut Connection, list: &Pipeline, deadline: Duration) -> Option<bool> {
    let replies = connection.request(list, "CLIENT LIST", deadline).await.ok()?;
    let text = reply::text(replies.into_iter().next()).ok()?;
    Some(has_sentinel(&String::from_utf8_lossy(&text)))
}

/// A client named `sentinel-<8 hex>-cmd` or `sentinel-<8 hex>-pubsub` (`sentinel.c:sentinelSetClientName`).
fn has_sentinel(list: &str) -> bool {
    list.split_ascii_whitespace().filter_map(|word| word.strip_prefix("name=sentinel-")).any(|rest| {
        rest.split_once('-').is_some_and(|(id, link)| {
            id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()) && matches!(link, "cmd" | "pubsub")
        })
    })
}

/// The reply to PUBSUB NUMSUB; `None`: refused.
fn subscribers(reply: Option<Value>) -> Option<u64> {
    match reply::array(reply).ok()?.into_iter().nth(1)? {
        Value::Int(count) => u64::try_from(count).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("id=3 addr=127.0.0.1:4 name=sentinel-1a2b3c4d-cmd age=1 db=0\n", true)]
    #[case("id=3 name= age=1\nid=4 name=sentinel-deadbeef-pubsub age=1\n", true)]
    #[case("id=3 name=sentinel-exporter age=1\n", false)]
    #[case("id=3 name=sentinel-deadbeef-other age=1\n", false)]
    #[case("id=3 name=app cmd=sentinel-deadbeef-cmd\n", false)]
    #[case("", false)]
    fn knows_a_sentinel_by_its_client_name(#[case] list: &str, #[case] seen: bool) {
        assert_eq!(has_sentinel(list), seen);
    }

    #[test]
    fn a_refused_count_is_no_count() {
        let array = Value::Array(vec![Value::BulkString(SENTINEL_CHANNEL.into()), Value::Int(2)]);
        assert_eq!(subscribers(Some(array)), Some(2));
        assert_eq!(subscribers(Some(Value::Okay)), None);
        assert_eq!(subscribers(None), None);
    }
}
