//! What a Sentinel is asked, and the two things that it is told: to give the role of a primary to another member, and to
//! forget who is gone.

use std::{collections::HashMap, time::Duration};

use redis::{Pipeline, Value};

use super::{connection::Connection, error::RedisError, info, reply};
use crate::domain::sentinel::{Known, Named, Said, WatchedSet};

/// Longest id and longest name of a set that is taken for one.
const MAX_WORD: usize = 64;

/// Sentinels ask replicas every 10 s, and every second while something goes on.
const FRESH_MILLISECONDS: u64 = 10_000;

/// An instance as a Sentinel describes it: names and values.
type Fields = HashMap<String, String>;

impl Connection {
    /// What a Sentinel says of itself, and of the set of that name, or of every set that it watches.
    pub async fn sentinel(&mut self, only: Option<&str>, deadline: Duration) -> Result<Said, RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("INFO").arg("sentinel");
        ask(&mut pipeline, &["MYID"]);
        match only {
            Some(name) => ask(&mut pipeline, &["MASTER", name]),
            None => ask(&mut pipeline, &["MASTERS"]),
        }
        let mut replies = self.request(&pipeline, "SENTINEL MASTERS", deadline).await?.into_iter();
        let tilt = tilt(&reply::text(replies.next())?)?;
        let id = reply::text(replies.next())?;
        let masters = match only {
            Some(_) => vec![fields(reply::array(replies.next())?)?],
            None => instances(replies.next())?,
        };
        let mut sets = Vec::new();
        for master in &masters {
            let mut pipeline = redis::pipe();
            let name = field(master, "name")?;
            ask(&mut pipeline, &["REPLICAS", name]);
            ask(&mut pipeline, &["SENTINELS", name]);
            let mut replies = self.request(&pipeline, "SENTINEL REPLICAS", deadline).await?.into_iter();
            let mut known = || instances(replies.next())?.iter().map(known).collect::<Result<Vec<_>, _>>();
            sets.push(set(master, known()?, known()?)?);
        }
        Ok(Said { id: word(&id)?, tilt, sets })
    }

    /// Whom a Sentinel names as primary of the set of that name, in one round trip.
    pub async fn named(&mut self, set: &str, deadline: Duration) -> Result<Named, RedisError> {
        let mut pipeline = redis::pipe();
        ask(&mut pipeline, &["MASTER", set]);
        let mut replies = self.request(&pipeline, "SENTINEL MASTER", deadline).await?.into_iter();
        let master = fields(reply::array(replies.next())?)?;
        Ok(Named { primary: known(&master)?.address, failing_over: has_flag(&master, FAILING_OVER)? })
    }

    /// `SENTINEL FAILOVER set`: it gives the role to a replica of its choice, and asks nobody. `coordinated`: by the
    /// server's own FAILOVER, which Valkey knows from 9.0 on; others refuse the word. Of no set by that name nothing comes:
    /// so the right can be tried out.
    pub async fn sentinel_failover(&mut self, set: &str, coordinated: bool) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        let words: &[&str] = if coordinated { &["FAILOVER", set, "COORDINATED"] } else { &["FAILOVER", set] };
        ask(&mut pipeline, words);
        let mut replies = self.request(&pipeline, "SENTINEL FAILOVER", FAILOVER_DEADLINE).await?.into_iter();
        reply::ok(replies.next())
    }

    /// `SENTINEL RESET set`: it forgets the replicas and the other Sentinels of that set, and asks the primary anew. The name is
    /// a pattern to it; none that was read from a Sentinel has a sign of one.
    pub async fn sentinel_reset(&mut self, set: &str) -> Result<(), RedisError> {
        let mut pipeline = redis::pipe();
        ask(&mut pipeline, &["RESET", set]);
        let mut replies = self.request(&pipeline, "SENTINEL RESET", FAILOVER_DEADLINE).await?.into_iter();
        match replies.next() {
            Some(Value::Int(1)) => Ok(()),
            _ => Err(unreadable("that it has forgotten one set")),
        }
    }
}

/// A Sentinel begins a failover at once, and carries it out in the background.
const FAILOVER_DEADLINE: Duration = Duration::from_secs(1);
/// The flag of a primary whose failover a Sentinel carries out.
const FAILING_OVER: &[&str] = &["failover_in_progress"];

fn ask(pipeline: &mut Pipeline, words: &[&str]) {
    pipeline.cmd("SENTINEL").arg(words);
}

fn tilt(info: &str) -> Result<bool, RedisError> {
    let tilt = info.lines().find_map(|line| line.strip_prefix("sentinel_tilt:"));
    tilt.map(|tilt| tilt.trim() != "0").ok_or_else(|| RedisError::NotRedis("no Sentinel answers here".to_owned()))
}

fn instances(reply: Option<Value>) -> Result<Vec<Fields>, RedisError> {
    let all = reply::array(reply)?;
    all.into_iter().map(|one| fields(reply::array(Some(one))?)).collect()
}

fn fields(values: Vec<Value>) -> Result<Fields, RedisError> {
    let mut values = values.into_iter();
    let mut fields = Fields::new();
    while let Some(name) = values.next() {
        fields.insert(reply::text(Some(name))?, reply::text(values.next())?);
    }
    Ok(fields)
}

fn set(master: &Fields, replicas: Vec<Known>, others: Vec<Known>) -> Result<WatchedSet, RedisError> {
    let Known { address, down, .. } = known(master)?;
    Ok(WatchedSet {
        name: word(field(master, "name")?)?,
        primary: address,
        primary_down: down,
        failing_over: has_flag(master, FAILING_OVER)?,
        quorum: number(master, "quorum")?,
        down_after: milliseconds(master, "down-after-milliseconds")?,
        failover_timeout: milliseconds(master, "failover-timeout")?,
        settled_for: milliseconds(master, "role-reported-time")?,
        replicas,
        others,
    })
}

fn known(fields: &Fields) -> Result<Known, RedisError> {
    let address = info::address(field(fields, "ip")?, field(fields, "port")?);
    Ok(Known {
        // Empty for one that has not been reached yet.
        id: word(field(fields, "runid")?)?,
        address: address.ok_or_else(|| unreadable("an address"))?,
        down: has_flag(fields, &["s_down", "o_down", "disconnected"])?,
        fresh: fields.get("info-refresh").is_none_or(|age| is_fresh(age)),
    })
}

/// A Sentinel that has just been told of a replica, and has not asked it yet, says 0.
fn is_fresh(age: &str) -> bool {
    age.parse().is_ok_and(|age: u64| (1..FRESH_MILLISECONDS).contains(&age))
}

fn has_flag(fields: &Fields, flags: &[&str]) -> Result<bool, RedisError> {
    Ok(field(fields, "flags")?.split(',').any(|flag| flags.contains(&flag)))
}

fn field<'a>(fields: &'a Fields, name: &'static str) -> Result<&'a str, RedisError> {
    fields.get(name).map(String::as_str).ok_or_else(|| unreadable(name))
}

fn number<T: std::str::FromStr>(fields: &Fields, name: &'static str) -> Result<T, RedisError> {
    field(fields, name)?.parse().map_err(|_| unreadable(name))
}

fn milliseconds(fields: &Fields, name: &'static str) -> Result<Duration, RedisError> {
    number(fields, name).map(Duration::from_millis)
}

/// A name or an id; it may be empty.
fn word(text: &str) -> Result<String, RedisError> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if plain && text.len() <= MAX_WORD { Ok(text.to_owned()) } else { Err(unreadable("a name")) }
}

fn unreadable(what: &str) -> RedisError {
    RedisError::NotRedis(format!("the Sentinel's answer lacks {what}, or it cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn master(change: impl FnOnce(&mut Fields)) -> Fields {
        let fields = [
            ("name", "mymaster"),
            ("ip", "10.0.0.1"),
            ("port", "6379"),
            ("runid", "0123abcd"),
            ("flags", "master"),
            ("quorum", "2"),
            ("down-after-milliseconds", "5000"),
            ("failover-timeout", "10000"),
            ("role-reported-time", "123456"),
        ];
        let mut fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        change(&mut fields);
        fields
    }

    #[rstest]
    #[case("master", false, false)]
    #[case("s_down,master,disconnected", true, false)]
    #[case("master,failover_in_progress,force_failover", false, true)]
    fn flags_are_read_whole(#[case] flags: &str, #[case] down: bool, #[case] failing_over: bool) {
        let fields = master(|fields| {
            fields.insert("flags".into(), flags.into());
        });
        let read = set(&fields, Vec::new(), Vec::new()).expect("it can be read");
        assert_eq!((read.primary_down, read.failing_over), (down, failing_over));
        assert_eq!((read.quorum, read.settled_for), (2, Duration::from_millis(123_456)));
    }

    #[rstest]
    #[case("ip", Some("10.0.0.1; rm"))]
    #[case("port", Some("65536"))]
    #[case("name", Some("my master\u{1b}[31m"))]
    #[case("quorum", Some("-1"))]
    #[case("role-reported-time", None)]
    #[case("flags", None)]
    fn what_cannot_be_is_refused_in_words_of_ours(#[case] name: &str, #[case] value: Option<&str>) {
        let fields = master(|fields| match value {
            Some(value) => drop(fields.insert(name.into(), value.into())),
            None => drop(fields.remove(name)),
        });
        let error = set(&fields, Vec::new(), Vec::new()).expect_err("it cannot be read").to_string();
        assert!(error.contains("cannot be read") && value.is_none_or(|value| !error.contains(value)), "{error}");
    }

    #[rstest]
    #[case(Some("0"), false)]
    #[case(Some("1"), true)]
    #[case(Some("10000"), false)]
    #[case(None, true)]
    fn what_was_never_heard_is_not_fresh(#[case] age: Option<&str>, #[case] fresh: bool) {
        let fields = master(|fields| {
            age.map(|age| fields.insert("info-refresh".into(), age.into()));
        });
        assert_eq!(known(&fields).expect("it can be read").fresh, fresh);
    }

    #[test]
    fn what_does_not_speak_of_tilt_is_no_sentinel() {
        assert!(tilt("# Sentinel\r\nsentinel_masters:1\r\nsentinel_tilt:1\r\n").expect("a Sentinel"));
        assert!(tilt("").expect_err("a Redis").to_string().contains("no Sentinel answers here"));
    }
}
