//! Effects on a primary that nothing takes over from: it writes its data out, and is looked at once more right before
//! its eviction. And the backlog that is raised for a while.

use super::{
    Done, ExecuteError, Executor,
    ports::{Acting as _, Ports},
    redis::{CONNECT_DEADLINE, RoleSeen, redis, replication, set_all},
};
use crate::{
    domain::{acl::PlainCommand, bytes::Bytes, policy::Policy, sample::Role},
    plan::{backlog::SETTING, effect::Peer},
};

impl<P: Ports> Executor<P> {
    /// Sends a command without arguments. What it begins, a save say, is seen to end in the next samples.
    pub(super) async fn run(&self, policy: &Policy, peer: &Peer, command: PlainCommand) -> Result<Done, ExecuteError> {
        let mut connection = self.ports.connect(policy, peer).await?;
        self.ports.may_change()?;
        connection.run(command).await.map_err(|source| redis(command.words().name, peer, source))?;
        Ok(Done::Sent)
    }

    pub(super) async fn set_backlog(&self, policy: &Policy, peer: &Peer, size: Bytes) -> Result<Done, ExecuteError> {
        let mut connection = self.ports.connect(policy, peer).await?;
        set_all(&self.ports, &mut connection, peer, &[(SETTING.to_owned(), size.0.to_string())]).await?;
        Ok(Done::BacklogSet)
    }

    /// Reads role and persistence right before the eviction of a primary: between the look that the gates rest on and
    /// now they may have changed. What is given back must still be fresh when the eviction is sent.
    pub(super) async fn still_persisting_primary(
        &self,
        policy: &Policy,
        peer: &Peer,
    ) -> Result<RoleSeen, ExecuteError> {
        let mut connection = self.ports.connect(policy, peer).await?;
        let seen_at = RoleSeen { at: self.ports.uptime() };
        let role = replication(&mut connection, peer).await?.role;
        let seen = connection.persistence(CONNECT_DEADLINE).await;
        let persistence = seen.map_err(|source| redis("INFO persistence", peer, source))?;
        let problems = [
            (role != Role::Primary, "it is no primary any more"),
            // A save that failed long ago is nothing to a server that has just rewritten its AOF.
            (
                !(persistence.status_ok || persistence.only_save_failed && persistence.aof_enabled),
                "its last save, rewrite or AOF write failed",
            ),
            (persistence.loading, "it is loading its data"),
            (persistence.child_running || persistence.rewrite_scheduled, "it is writing its data out"),
        ];
        match problems.into_iter().find(|(holds, _)| *holds) {
            Some((_, why)) => Err(ExecuteError::NotAsExpected { pod: peer.pod.to_string(), why }),
            None => Ok(seen_at),
        }
    }
}
