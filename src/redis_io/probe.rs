//! One look at one Redis.

use std::{
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

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
    let sentinels = if let Some(list) = listed {
        shows_sentinels(list)
    } else {
        Box::pin(sentinels(connection, info.connected_clients(), left())).await
    };
    let sentinel_seen = sentinels.as_ref().map(|sentinels| sentinels.connected);
    let sentinel_hosts = sentinels.map(|sentinels| sentinels.hosts).unwrap_or_default();
    Ok(Sample { run_id, sentinel_seen, sentinel_hosts, ..sample })
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

/// The Sentinels that are connected.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sentinels {
    connected: bool,
    /// Where from, sorted; empty also where only their number is known.
    hosts: Vec<IpAddr>,
}

/// Whether Sentinels are connected; `None`: could not be told, which costs the answer and not the sample.
///
/// A Sentinel holds a command link and a subscription, and its client names tell it by either. Where the list of
/// clients is long, its subscription alone is asked for: by the channel, and by the list of subscribers where that is
/// short enough, because a user may have the right to one and not to the other.
async fn sentinels(connection: &mut Connection, clients: u64, deadline: Duration) -> Option<Sentinels> {
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
    replies.into_iter().filter_map(shows_sentinels).reduce(|one, other| Sentinels {
        connected: one.connected || other.connected,
        hosts: if one.hosts.is_empty() { other.hosts } else { one.hosts },
    })
}

/// What a count of subscribers or a client list shows; `None`: refused.
fn shows_sentinels(reply: Value) -> Option<Sentinels> {
    match reply {
        Value::Array(count) => match count.into_iter().nth(1)? {
            Value::Int(count) => Some(Sentinels { connected: count > 0, hosts: Vec::new() }),
            _ => None,
        },
        list => reply::text(Some(list)).ok().map(|list| sentinels_in(&list)),
    }
}

/// Clients named `sentinel-<8 hex>-cmd` or `sentinel-<8 hex>-pubsub` (`sentinel.c:sentinelSetClientName`).
fn sentinels_in(list: &str) -> Sentinels {
    const NAME: &str = "name=sentinel-";
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));
    let mut sentinels = Sentinels::default();
    for at in FINDER.find_iter(list.as_bytes()) {
        let (before, found) = list.split_at(at);
        // Not the end of another word, such as `lib-name=`.
        let begins = before.bytes().next_back().is_none_or(|byte| byte.is_ascii_whitespace());
        let name = found.get(NAME.len()..).and_then(|rest| rest.split_ascii_whitespace().next());
        let parts = name.and_then(|name| name.split_once('-'));
        let is_one = parts.is_some_and(|(id, link)| {
            id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()) && matches!(link, "cmd" | "pubsub")
        });
        if begins && is_one {
            sentinels.connected = true;
            let line = before.rsplit('\n').next().unwrap_or_default();
            let address = line.split(' ').find_map(|field| field.strip_prefix("addr="));
            let address = address.and_then(|address| address.parse::<SocketAddr>().ok());
            sentinels.hosts.extend(address.map(|address| address.ip().to_canonical()));
        }
    }
    sentinels.hosts.sort_unstable();
    sentinels.hosts.dedup();
    sentinels
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
        assert_eq!(sentinels_in(list).connected, seen);
    }

    #[test]
    fn knows_where_sentinels_are_connected_from() {
        let list = "id=3 addr=10.0.0.9:4 laddr=10.0.0.1:6379 fd=8 name=sentinel-1a2b3c4d-cmd age=1\n\
                    id=4 addr=[::ffff:10.0.0.9]:5 fd=9 name=sentinel-1a2b3c4d-pubsub\n\
                    id=5 addr=10.0.0.8:5 name=app\nid=6 addr=/tmp/s:0 name=sentinel-deadbeef-cmd\n\
                    id=7 addr=[2001:db8::7]:5 name=sentinel-deadbeef-cmd\n";
        let hosts: Vec<IpAddr> = ["10.0.0.9", "2001:db8::7"].map(|host| host.parse().expect("an address")).into();
        assert_eq!(sentinels_in(list), Sentinels { connected: true, hosts });
    }

    #[test]
    fn a_refusal_shows_nothing() {
        let count = |n| Value::Array(vec![Value::BulkString(SENTINEL_CHANNEL.into()), Value::Int(n)]);
        assert_eq!(shows_sentinels(count(2)).map(|it| it.connected), Some(true));
        assert_eq!(shows_sentinels(count(0)).map(|it| it.connected), Some(false));
        assert_eq!(shows_sentinels(Value::Array(vec![])), None);
        assert_eq!(shows_sentinels(Value::Int(1)), None);
    }
}
