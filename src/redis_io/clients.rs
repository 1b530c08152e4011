//! Who is connected to a server, and how ordinary clients are sent away.

use std::time::Duration;

use redis::Value;

use super::{
    connection::{CLIENT_NAME, Connection},
    error::RedisError,
    reply,
    wire::Request,
};

/// Reading the list of clients, and closing some of them.
const DEADLINE: Duration = Duration::from_secs(5);
/// Most bytes of a list of clients. A line has about 350; 10,000 clients are the server's default limit.
const LONGEST_LIST: usize = 8 << 20;

impl Connection {
    /// Ids of ordinary clients that have been connected for at least `age`, in the server's order: no replicas and no
    /// primary, nobody that subscribes or monitors, and no connection of this operator, of any install.
    pub async fn ordinary_clients(&mut self, age: Duration) -> Result<Vec<u64>, RedisError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("CLIENT").arg("LIST").arg("TYPE").arg("normal");
        let request = Request::from(&pipeline).up_to(LONGEST_LIST);
        let list = reply::text(self.ask(&request, "CLIENT LIST", DEADLINE).await?.into_iter().next())?;
        Ok(list.lines().filter_map(|line| ordinary(line, age)).collect())
    }

    /// `CLIENT KILL ID` for each; answers how many there still were. This very connection the server leaves alone.
    pub async fn close_clients(&mut self, ids: &[u64]) -> Result<u32, RedisError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline.cmd("CLIENT").arg("KILL").arg("ID").arg(*id);
        }
        let mut closed = 0_u32;
        for answer in self.request(&pipeline, "CLIENT KILL", DEADLINE).await? {
            match answer {
                Value::Int(count) => closed = closed.saturating_add(u32::try_from(count).unwrap_or(0)),
                other => reply::ok(Some(other))?,
            }
        }
        Ok(closed)
    }
}

/// The id in a line of `CLIENT LIST`, if it is of such a client. A line that lacks a field is of none.
fn ordinary(line: &str, age: Duration) -> Option<u64> {
    let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let none = |name: &str| field(name).is_none_or(|count| count == "0");
    // S replica, M primary, O monitor, P subscriber.
    let plain = !field("flags")?.contains(['S', 'M', 'O', 'P']);
    let listens = !(none("sub") && none("psub") && none("ssub"));
    let old = Duration::from_secs(field("age")?.parse().ok()?) >= age;
    (plain && !listens && old && field("name")? != CLIENT_NAME).then(|| field("id")?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("id=7 addr=10.0.0.9:1 name= age=30 flags=N sub=0 psub=0 ssub=0 cmd=get", Some(7))]
    #[case("id=7 addr=10.0.0.9:1 name=shop age=30 flags=b sub=0 psub=0", Some(7))]
    #[case::too_young("id=7 name= age=29 flags=N sub=0 psub=0", None)]
    #[case::subscribes("id=7 name= age=30 flags=P sub=1 psub=0", None)]
    #[case::subscribes_by_pattern("id=7 name= age=30 flags=N sub=0 psub=1", None)]
    #[case::subscribes_in_a_shard("id=7 name= age=30 flags=N sub=0 psub=0 ssub=1", None)]
    #[case::monitors("id=7 name= age=30 flags=O sub=0 psub=0", None)]
    #[case::a_replica("id=7 name= age=30 flags=S sub=0 psub=0", None)]
    #[case::the_primary("id=7 name= age=30 flags=M sub=0 psub=0", None)]
    #[case::this_operator("id=7 name=redis-memory-operator age=30 flags=N sub=0 psub=0", None)]
    #[case::no_age("id=7 name= flags=N sub=0 psub=0", None)]
    #[case::nothing("", None)]
    fn only_ordinary_clients_are_taken(#[case] line: &str, #[case] id: Option<u64>) {
        assert_eq!(ordinary(line, Duration::from_secs(30)), id);
    }
}
