//! Setting `maxmemory`, and watching a server that evicts down to it.

use std::time::Duration;

use super::{
    Done, ExecuteError, Executor,
    ports::{Acting, Ports},
    redis::{CONNECT_DEADLINE, redis, set_all},
};
use crate::{
    domain::{
        bytes::Bytes,
        policy::Policy,
        sample::Memory,
        window::{self, State},
    },
    plan::effect::Peer,
};

/// A server that evicts and answers later than before by more than this is told to stop: its clients wait as we do. A slow
/// log counts commands from 10 ms on; people notice five of them.
const LATENCY_STOP: Duration = Duration::from_millis(50);
/// What is not evicted by then goes on without a watcher; the next step waits for it.
const WATCHED_FOR: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

impl<P: Ports> Executor<P> {
    /// Sets `maxmemory` of that process, if it still is what was judged and what is used still fits: both are read right
    /// before, over the same connection. Where keys go by it a window must be open still.
    pub(super) async fn set_maxmemory(
        &self,
        policy: &Policy,
        peer: &Peer,
        value: Bytes,
        before: Bytes,
        most_used: Bytes,
    ) -> Result<Done, ExecuteError> {
        let not_set = |why: String| Err(ExecuteError::NotSet { pod: peer.pod.to_string(), why });
        let mut connection = self.ports.connect(policy, peer).await?;
        let (memory, usual) = self.memory(&mut connection, peer).await?;
        if memory.maxmemory == value {
            return Ok(Done::MaxmemorySet);
        }
        if memory.maxmemory != before {
            return not_set(format!("it is {} now and was {before}", memory.maxmemory));
        }
        if !memory.is_measured() || memory.used > most_used {
            return not_set(format!("{} are used, and {value} is set for at most {most_used}", memory.used));
        }
        let lowered = before == Bytes::ZERO || value < before;
        let evicts = lowered && memory.used > value;
        // The window that was open at the look may have closed since: this process may have been stopped in between.
        if evicts && window::state(&policy.restart.windows, self.ports.now()) == State::Closed {
            return not_set(format!("{} are used, and no window is open any more in which keys may go", memory.used));
        }
        let settings = [("maxmemory".to_owned(), value.0.to_string())];
        set_all(&self.ports, &mut connection, peer, &settings).await?;
        if evicts {
            self.watch_eviction(&mut connection, peer, (value, before), usual).await?;
        }
        Ok(Done::MaxmemorySet)
    }

    /// Waits until the server has evicted down to `value`; one that answers late meanwhile gets back what it had before.
    async fn watch_eviction(
        &self,
        connection: &mut P::Server,
        peer: &Peer,
        (value, before): (Bytes, Bytes),
        usual: Duration,
    ) -> Result<(), ExecuteError> {
        let until = self.ports.uptime() + WATCHED_FOR;
        while self.ports.uptime() < until {
            let (memory, took) = self.memory(connection, peer).await?;
            if took > usual + LATENCY_STOP {
                let settings = [("maxmemory".to_owned(), before.0.to_string())];
                set_all(&self.ports, connection, peer, &settings).await?;
                return Err(ExecuteError::EvictionStopped { pod: peer.pod.to_string(), took, usual, before });
            }
            if memory.has_evicted_to(value) {
                break;
            }
            self.ports.sleep(LOOK).await;
        }
        Ok(())
    }

    /// What is used, and how long the answer took.
    async fn memory(&self, connection: &mut P::Server, peer: &Peer) -> Result<(Memory, Duration), ExecuteError> {
        let asked = self.ports.uptime();
        let memory = connection.memory(CONNECT_DEADLINE).await.map_err(|source| redis("INFO memory", peer, source))?;
        Ok((memory, self.ports.uptime().saturating_sub(asked)))
    }
}
