//! The last look at everything that must be true, right before writes are held back: nobody waits for us yet.

use std::{future::Future, time::Duration};

use futures::future::join_all;

use super::watched::Eyes;
use crate::{
    clock::within,
    execute::ports::Ports,
    plan::{candidate, effect::Peer, switchover::Failure},
};

/// All of it, at once.
const DEADLINE: Duration = Duration::from_secs(3);

impl<P: Ports> Eyes<'_, P> {
    /// What is in the way now: the pods of the primary and of the candidates stay, every process answers (one that restarted in
    /// its pod is another, that no gate has looked at), and no candidate uses more than its `maxmemory`. And what was found of
    /// `beside`, which is looked at meanwhile; `None`: all of it took too long.
    pub(super) async fn last_look<T: Send>(
        &self,
        primary: &Peer,
        candidates: &[&Peer],
        others: impl Iterator<Item = &Peer> + Send,
        beside: impl Future<Output = T> + Send,
    ) -> (Option<Failure>, Option<T>) {
        let begun = self.ports.uptime();
        let pods = join_all(candidates.iter().chain([&primary]).map(|peer| self.fit(peer)));
        let memories = join_all(candidates.iter().map(|peer| self.memory(peer)));
        let others = join_all(others.map(|peer| self.memory(peer)));
        let look = async { tokio::join!(pods, self.memory(primary), memories, others, beside) };
        let seen = within(self.ports, DEADLINE, look).await;
        // A process that was stopped meanwhile finds answers that are too old.
        let seen = seen.filter(|_| self.ports.uptime().saturating_sub(begun) < DEADLINE);
        let Some((pods, primary, candidates, others, beside)) = seen else {
            return (Some(Failure::NotConfirmed), None);
        };
        let fuller = |primary| candidates.iter().flatten().any(|it| candidate::is_fuller(primary, it));
        let obstacle = match &primary {
            _ if pods.contains(&Some(false)) => Some(Failure::PodNotFit),
            _ if pods.contains(&None) => Some(Failure::NotConfirmed),
            None => Some(Failure::MemberSilent),
            _ if candidates.contains(&None) || others.contains(&None) => Some(Failure::MemberSilent),
            Some(primary) => fuller(primary).then_some(Failure::Full),
        };
        (obstacle, Some(beside))
    }
}
