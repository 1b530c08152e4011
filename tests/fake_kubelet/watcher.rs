//! Measures on each server how long it blocks a write: a client that writes all the time, to primaries and replicas
//! alike (a replica refuses at once), and reads what the server says of pauses where it can say so.

use std::{sync::Arc, time::Duration};

use super::{Running, State, process};

/// Time between two writes of the probing client.
const EVERY: Duration = Duration::from_millis(25);
/// No write is waited for longer: by then any bound is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest that servers of one node have blocked a write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pauses {
    /// From sending a write to its answer, whatever the answer is.
    pub longest_write: Duration,
    /// For how long in a row the server named a reason for a pause (Valkey from 8.1); zero where it cannot say so.
    pub longest_paused_reason: Duration,
    /// A server said what it can say of pauses at least once.
    pub reason_known: bool,
    /// How many writes were measured.
    pub writes: u64,
}

/// Until the process ends.
pub(super) async fn measure(state: Arc<State>, running: Running) {
    tokio::join!(writes(&state, &running), reasons(&state, &running));
}

async fn writes(state: &State, running: &Running) {
    let client = redis::Client::open(format!("redis://{}", running.process.address())).expect("an address");
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    while !running.process.ended() {
        if let Ok(mut connection) = client.get_multiplexed_async_connection_with_config(&config).await {
            loop {
                let begun = state.clock.uptime();
                let answer: redis::RedisResult<()> =
                    redis::cmd("SET").arg("pause-probe").arg(1).query_async(&mut connection).await;
                // A connection that breaks with the process has been answered by its end.
                if answer.is_err_and(|error| error.is_io_error() || error.is_connection_dropped()) {
                    break;
                }
                let took = state.clock.uptime().saturating_sub(begun);
                note(state, |pauses| {
                    pauses.longest_write = pauses.longest_write.max(took);
                    pauses.writes += 1;
                });
                tokio::time::sleep(EVERY).await;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn reasons(state: &State, running: &Running) {
    let mut since = None;
    while !running.process.ended() {
        let info = running.process.info("clients").await.unwrap_or_default();
        let now = state.clock.uptime();
        match process::field(&info, "paused_reason") {
            // A server that cannot say so never will.
            None if !info.is_empty() => return,
            None => since = None,
            Some("none") => {
                since = None;
                note(state, |pauses| pauses.reason_known = true);
            }
            Some(_) => {
                let begun = *since.get_or_insert(now);
                let paused = now.saturating_sub(begun);
                note(state, |pauses| pauses.longest_paused_reason = pauses.longest_paused_reason.max(paused));
            }
        }
        tokio::time::sleep(EVERY * 5).await;
    }
}

fn note(state: &State, change: impl FnOnce(&mut Pauses)) {
    change(&mut state.pauses.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
}
