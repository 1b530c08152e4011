//! Whose a journal is. Two installs never act on one: who carries a remediation out is named in the journal and renews
//! its heartbeat there; another install stands back until that has stood still for a minute, by its own clock. The same
//! install under another process goes on at once: its Lease has seen to it that the other has ended.

use std::time::Duration;

use super::{
    journal,
    perform::AT_ONCE,
    ports::World,
    reconciler::{ReconcileError, Reconciler},
};
use crate::{
    api::v1alpha1::RedisMemoryPolicy,
    clock::Time as _,
    contention::installs::{SILENCE, Standing, standing},
    domain::{
        blocked::BlockReason,
        event::EventType,
        journal::{Journal, JournalOwner},
        policy::Policy,
    },
    metrics::PolicyKey,
    report::{self, conditions, transitions},
};

/// How often the heartbeat is renewed.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
/// One that has stood still for this time is said in the status. Before that its owner writes the status.
const QUIET: Duration = Duration::from_secs(20);

impl<W: World> Reconciler<W> {
    /// `None`: the policy has no journal, or it is ours. Else what was done about it: when to look again.
    pub(super) async fn journal_of_another(
        &self,
        resource: &RedisMemoryPolicy,
        policy: &Policy,
    ) -> Result<Option<Duration>, ReconcileError> {
        let Some(journal) = resource.status.as_ref().and_then(|status| status.journal.as_ref()) else {
            return Ok(None);
        };
        let Some(owner) = &journal.owner else { return Ok(None) };
        let (silent, new) = if owner.install == self.install {
            (Duration::ZERO, false)
        } else {
            self.memory.silence(&policy.uid, owner, self.time().uptime())
        };
        match standing(Some(owner), &self.install, &policy.uid, silent) {
            Standing::Ours => Ok(None),
            Standing::Restored => self.discard(resource, journal, owner).await.map(Some),
            Standing::Theirs => self.stand_back(resource, policy, owner, silent, new).await.map(Some),
        }
    }

    /// A journal that came with a backup tells of pods and processes that are long gone.
    async fn discard(
        &self,
        resource: &RedisMemoryPolicy,
        journal: &Journal,
        owner: &JournalOwner,
    ) -> Result<Duration, ReconcileError> {
        let records = resource.status.as_ref().map(|status| status.workloads.clone()).unwrap_or_default();
        let resource = journal::write(self, resource, None, &records).await?;
        let note = format!(
            "the journal of {} belongs to the policy with UID {}: it came with a backup, and is discarded",
            journal.id, owner.policy_uid
        );
        tracing::warn!(policy = ?resource.metadata.name, namespace = ?resource.metadata.namespace, "{note}");
        self.say(&resource, vec![transitions::event(EventType::Warning, "JournalDiscarded", "Plan", note, None)]).await;
        journal::finalizer(&self.executor.ports, resource, false).await?;
        Ok(AT_ONCE)
    }

    async fn stand_back(
        &self,
        resource: &RedisMemoryPolicy,
        policy: &Policy,
        owner: &JournalOwner,
        silent: Duration,
        new: bool,
    ) -> Result<Duration, ReconcileError> {
        let reason = BlockReason::AnotherOperator.as_str();
        self.metrics.set_blocked(&PolicyKey::new(&policy.namespace, &policy.name), Some(reason));
        let text = format!(
            "the install {} (namespace/name of its Lease) carries a remediation of this policy out; this install, {}, \
             stands back until the other's heartbeat has stood still for {} s. Only one install may watch a cluster: \
             uninstall the other",
            owner.install,
            self.install,
            SILENCE.as_secs()
        );
        if new {
            tracing::warn!(policy = %policy.name, namespace = %policy.namespace, "{text}");
            let event = transitions::event(EventType::Warning, reason, "Plan", text.clone(), None);
            self.say(resource, vec![event]).await;
        }
        let before = resource.status.clone().unwrap_or_default();
        let mut status = report::for_people(before.clone());
        status.operator = Some(self.install.clone());
        let (generation, now) = (policy.generation, self.time().now());
        conditions::replace(&mut status.conditions, conditions::BLOCKED, (true, reason, &text), generation, now);
        let waits = self.memory.pause(&policy.uid, self.time().uptime());
        let news = silent >= QUIET && report::worth_writing(&before, &status, None);
        if news && waits.is_none() {
            self.write_status(resource, &status).await?;
        }
        Ok(next_look_at(silent, waits.filter(|_| news)))
    }

    /// Renews the heartbeat when it is time, and makes the journal ours when it was another's: before anything is done.
    pub(super) async fn beat(&self, resource: RedisMemoryPolicy) -> Result<RedisMemoryPolicy, ReconcileError> {
        let Some(status) = &resource.status else { return Ok(resource) };
        let Some(journal) = &status.journal else { return Ok(resource) };
        let uid = resource.metadata.uid.clone().unwrap_or_default();
        let ours = journal.owner.as_ref().is_some_and(|owner| owner.install == self.install);
        let since = self.memory.since_heartbeat(&uid, self.time().uptime());
        if ours && since.is_some_and(|since| since < HEARTBEAT) {
            return Ok(resource);
        }
        if let Some(owner) = journal.owner.as_ref().filter(|_| !ours) {
            tracing::warn!(policy = ?resource.metadata.name, from = %owner.install, "a remediation is taken over");
        }
        Ok(journal::write(self, &resource, Some(journal), &status.workloads).await?)
    }
}

/// When a heartbeat that has stood still for `silent` is looked at next: when that is to be said, and when its owner counts as
/// gone; `waits`: what is left of the pause before it can be said. A heartbeat that comes is a change, which wakes: to look for
/// it besides would double what standing back costs the API server.
fn next_look_at(silent: Duration, waits: Option<Duration>) -> Duration {
    let until = |time: Duration| time.saturating_sub(silent);
    let next = if silent < QUIET { until(QUIET) } else { until(SILENCE) };
    waits.map_or(next, |waits| next.min(waits))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Found by seed 5519 of the simulator: who stood back looked at each heartbeat, and once more just before the next one came.
    #[test]
    fn who_stands_back_is_woken_by_heartbeats_and_looks_besides_only_when_something_is_due() {
        let at = Duration::from_secs;
        let next = |silent: Duration, waits| silent.saturating_add(next_look_at(silent, waits));
        assert!(next(at(0), None) > HEARTBEAT, "each heartbeat comes first");
        assert_eq!(next(at(0), None), QUIET);
        assert_eq!(next(at(11), None), QUIET);
        assert_eq!(next(QUIET, None), SILENCE);
        assert_eq!(next(QUIET, Some(at(3))), at(23), "what cannot be said yet is said when it can");
        assert_eq!(next(at(59), Some(at(3))), SILENCE);
    }
}
