//! Makes a Sentinel forget who is gone.

use std::time::Duration;

use super::{
    Done, ExecuteError, Executor,
    ports::{Ports, Watching as _},
};
use crate::{
    domain::{names::NodeAddress, policy::Policy},
    plan::effect::SentinelPeer,
    redis_io::RedisError,
};

/// One question to a Sentinel.
const ASK_DEADLINE: Duration = Duration::from_secs(1);
/// An answer that is older says nothing: the process may have been stopped since.
const FRESH: Duration = Duration::from_secs(1);

impl<P: Ports> Executor<P> {
    /// `SENTINEL RESET`, unless that Sentinel has begun a failover since: it would forget that too, half way.
    pub(super) async fn forget(
        &self,
        policy: &Policy,
        sentinel: &SentinelPeer,
        set: &str,
        primary: &NodeAddress,
    ) -> Result<Done, ExecuteError> {
        let pod = || sentinel.pod.to_string();
        let redis = |what, source: RedisError| ExecuteError::Redis { what, pod: pod(), source };
        let busy = |why: String| ExecuteError::SentinelBusy { pod: pod(), why };
        let mut connection = self.ports.connect_sentinel(policy, sentinel).await?;
        let asked_at = self.ports.uptime();
        let named = connection.named(set, ASK_DEADLINE).await.map_err(|source| redis("SENTINEL MASTER", source))?;
        if named.failing_over {
            return Err(busy("it carries a failover out".to_owned()));
        }
        if named.primary != *primary {
            return Err(busy(format!("it names {} as primary, and named {primary}", named.primary)));
        }
        self.ports.may_change()?;
        if self.ports.uptime().saturating_sub(asked_at) >= FRESH {
            return Err(busy("its answer is too old".to_owned()));
        }
        connection.sentinel_reset(set).await.map_err(|source| redis("SENTINEL RESET", source))?;
        Ok(Done::Forgotten)
    }
}
