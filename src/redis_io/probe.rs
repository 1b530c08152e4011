//! One look at one Redis.

use std::{sync::LazyLock, time::Duration};

use memchr::memmem::Finder;
use redis::Value;

use super::{config, connection::Connection, error::RedisError, info::Info, reply, wire::Request};
use crate::{
    clock::Clock,
    domain::{
        names::PodUid,
        sample::{Config, ConfigUnreadable, Sample},
        snapshot::ProbeFailure,
    },
};

/// The channel that every Sentinel subscribes to on every server that it watches.
const SENTINEL_CHANNEL: &str = "__sentinel__:hello";
/// Up to this many clients the whole client list is read: about 350 bytes each, so that it stays far below the cap.
const SHORT_CLIENT_LIST: u64 = 256;
/// Up to this many clients at the last look the whole list is asked for with the rest, in one round trip: it may have
/// doubled since and is short still. Should it have grown above the cap on replies, that look fails and the next one
/// asks INFO first.
const TRUSTED_CLIENT_LIST: u64 = SHORT_CLIENT_LIST / 2;
/// Up to this many clients the list of those that subscribe is read. Beyond it not even that, it may be all of them.
const LONGEST_CLIENT_LIST: u64 = 2000;

/// What probes ask, packed once: the settings one by one or at once, and the client list as the last question or not.
static QUESTIONS: LazyLock<[Request; 4]> =
    LazyLock::new(|| [(false, false), (false, true), (true, false), (true, true)].map(questions));
/// The settings one by one.
static SETTINGS: LazyLock<Request> = LazyLock::new(|| {
    let mut pipeline = redis::pipe();
    config::ask(&mut pipeline);
    Request::from(&pipeline)
});

fn questions((at_once, clients): (bool, bool)) -> Request {
    let mut pipeline = redis::pipe();
    pipeline.cmd("INFO");
    let ask = if at_once { config::ask_at_once } else { config::ask };
    ask(&mut pipeline);
    if clients {
        pipeline.cmd("CLIENT").arg("LIST");
    }
    Request::from(&pipeline)
}

/// Reads one sample within `deadline`. Only INFO is indispensable: what CONFIG or the client list refuse is missing
/// from the sample, with the reason.
pub async fn probe(
    connection: &mut Connection,
    pod_uid: &PodUid,
    clock: &Clock,
    deadline: Duration,
) -> Result<Sample, ProbeFailure> {
    let begun = clock.uptime();
    let trusted = connection.clients().is_some_and(|clients| clients <= TRUSTED_CLIENT_LIST);
    let at_once = connection.takes_list() == Some(true);
    let [each, each_and_clients, all, all_and_clients] = &*QUESTIONS;
    let questions = match (at_once, trusted) {
        (false, false) => each,
        (false, true) => each_and_clients,
        (true, false) => all,
        (true, true) => all_and_clients,
    };
    let left = || deadline.saturating_sub(clock.uptime().saturating_sub(begun));
    let mut replies = connection.ask(questions, "INFO", deadline).await?;
    let at = clock.now();
    let listed = if trusted { replies.pop() } else { None };
    let mut replies = replies.into_iter();

    let text = reply::text(replies.next())?;
    let info = Info::parse(&text);
    let run_id = info.run_id().unwrap_or_default();
    if run_id != *connection.run_id() {
        let expected = connection.run_id().clone();
        return Err(RedisError::RunIdChanged { expected, found: run_id, leads: None }.into());
    }
    // One name for all samples of a connection, in memory too.
    let run_id = connection.run_id().clone();
    let config = if at_once { all_at_once(connection, replies.next(), left()).await } else { config::read(replies) };
    let sample = info.sample(at, pod_uid.clone(), config, None).map_err(RedisError::from)?;
    if connection.takes_list().is_none() && sample.config.is_ok() {
        connection.note_list(config::takes_list(&sample.server));
    }
    connection.note_clients(info.connected_clients());
    let sentinel_seen = if let Some(list) = listed {
        shows_sentinel(list)
    } else {
        Box::pin(sentinel_seen(connection, info.connected_clients(), left())).await
    };
    Ok(Sample { run_id, sentinel_seen, ..sample })
}

/// The settings by one command. A server that does not take it after all is asked for each, now and from now on.
async fn all_at_once(
    connection: &mut Connection,
    reply: Option<Value>,
    deadline: Duration,
) -> Result<Config, ConfigUnreadable> {
    let config = config::read_at_once(reply);
    if config.is_ok() {
        return config;
    }
    connection.note_list(false);
    match Box::pin(connection.ask(&SETTINGS, "CONFIG GET", deadline)).await {
        Ok(replies) => config::read(replies.into_iter()),
        Err(_) => config,
    }
}

/// Whether a Sentinel is connected; `None`: could not be told, which costs the answer and not the sample.
///
/// A Sentinel holds a command link and a subscription, and its client names tell it by either. Where the list of
/// clients is long, its subscription alone is asked for: by the channel, and by the list of subscribers where that is
/// short enough, because a user may have the right to one and not to the other.
async fn sentinel_seen(connection: &mut Connection, clients: u64, deadline: Duration) -> Option<bool> {
    let mut pipeline = redis::pipe();
    if clients <= SHORT_CLIENT_LIST {
        pipeline.cmd("CLIENT").arg("LIST");
    } else {
        pipeline.cmd("PUBSUB").arg("NUMSUB").arg(SENTINEL_CHANNEL);
        if clients <= LONGEST_CLIENT_LIST {
            pipeline.cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub");
        }
    }
    let replies = connection.request(&pipeline, "CLIENT LIST", deadline).await.ok()?;
    replies.into_iter().filter_map(shows_sentinel).reduce(|one, other| one || other)
}

/// What a count of subscribers or a client list shows; `None`: refused.
fn shows_sentinel(reply: Value) -> Option<bool> {
    match reply {
        Value::Array(count) => match count.into_iter().nth(1)? {
            Value::Int(count) => Some(count > 0),
            _ => None,
        },
        list => reply::text(Some(list)).ok().map(|list| has_sentinel(&list)),
    }
}

/// A client named `sentinel-<8 hex>-cmd` or `sentinel-<8 hex>-pubsub` (`sentinel.c:sentinelSetClientName`).
fn has_sentinel(list: &str) -> bool {
    const NAME: &str = "name=sentinel-";
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));
    FINDER.find_iter(list.as_bytes()).any(|at| {
        let (before, found) = list.split_at(at);
        // Not the end of another word, such as `lib-name=`.
        let begins = before.bytes().next_back().is_none_or(|byte| byte.is_ascii_whitespace());
        let name = found.get(NAME.len()..).and_then(|rest| rest.split_ascii_whitespace().next());
        let parts = name.and_then(|name| name.split_once('-'));
        begins
            && parts.is_some_and(|(id, link)| {
                id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()) && matches!(link, "cmd" | "pubsub")
            })
    })
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
    #[case("id=3 name=app lib-name=sentinel-deadbeef-cmd\n", false)]
    #[case("id=3 name= sentinel-deadbeef-cmd\n", false)]
    #[case("name=sentinel-deadbeef-cmd\n", true)]
    #[case("id=3 name=sentinel-", false)]
    #[case("", false)]
    fn knows_a_sentinel_by_its_client_name(#[case] list: &str, #[case] seen: bool) {
        assert_eq!(has_sentinel(list), seen);
    }

    #[test]
    fn a_refusal_shows_nothing() {
        let count = |n| Value::Array(vec![Value::BulkString(SENTINEL_CHANNEL.into()), Value::Int(n)]);
        assert_eq!(shows_sentinel(count(2)), Some(true));
        assert_eq!(shows_sentinel(count(0)), Some(false));
        assert_eq!(shows_sentinel(Value::Array(vec![])), None);
        assert_eq!(shows_sentinel(Value::Int(1)), None);
    }
}
