//! Setting `maxmemory`.

use super::{
    Done, ExecuteError, Executor,
    ports::{Acting as _, Ports},
    redis::{CONNECT_DEADLINE, redis, set_all},
};
use crate::{
    domain::{bytes::Bytes, policy::Policy},
    plan::effect::Peer,
};

impl<P: Ports> Executor<P> {
    /// Sets `maxmemory` of that process, if it still is what was judged and what is used still fits: both are read right
    /// before, over the same connection.
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
        let memory = connection.memory(CONNECT_DEADLINE).await.map_err(|source| redis("INFO memory", peer, source))?;
        if memory.maxmemory == value {
            return Ok(Done::MaxmemorySet);
        }
        if memory.maxmemory != before {
            return not_set(format!("it is {} now and was {before}", memory.maxmemory));
        }
        if !memory.is_measured() || memory.used > most_used {
            return not_set(format!("{} are used, and {value} is set for at most {most_used}", memory.used));
        }
        let settings = [("maxmemory".to_owned(), value.0.to_string())];
        set_all(&self.ports, &mut connection, peer, &settings).await?;
        Ok(Done::MaxmemorySet)
    }
}
