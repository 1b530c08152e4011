//! What the tests with real processes share: Redis servers, servers that answer nonsense, a writer that counts.
//! Everything that is started here is stopped by its own process id when it is dropped, also by a panic.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

pub mod fake;
pub mod garbage;
pub mod load;
pub mod long;
pub mod pki;
#[allow(clippy::cast_possible_truncation, reason = "as in the simulator, whose file it is")]
#[path = "../simulator/rng.rs"]
pub mod rng;
pub mod rounds;
pub mod secret;
pub mod server;
pub mod switching;
pub mod versions;
pub mod writer;

use std::time::Duration;

use redis_memory_operator::{
    clock::Clock,
    domain::{names::PodUid, sample::Sample, snapshot::ProbeFailure},
    redis_io::{Connection, probe},
};

/// The deadline of ordinary requests in the tests: long enough for a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// How long the tests wait for something to come about.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The pod that every probe pretends to look at.
pub fn pod() -> PodUid {
    PodUid::from("2f0f6ae2-0000-4000-8000-000000000001")
}

/// Looks again every 20 ms until the answer is `Some`; fails with `what` when it never is.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let clock = Clock::start();
    while clock.uptime() < PATIENCE {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited {} s in vain: {what}", PATIENCE.as_secs());
}

/// A connection without a password.
pub async fn connect(server: &server::RedisServer) -> Connection {
    Connection::open(server.address(), None, DEADLINE).await.expect("the server accepts connections")
}

/// One probe. A server in its first 100 ms has not measured itself yet: then once more.
pub async fn look(connection: &mut Connection) -> Result<Sample, ProbeFailure> {
    let clock = Clock::start();
    loop {
        match probe(connection, &pod(), &clock, DEADLINE).await {
            Ok(sample) if !sample.memory.is_measured() && clock.uptime() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            outcome => return outcome,
        }
    }
}
