//! The task of one target: keeps a connection, probes in turn or when a gate asks, and reconnects with patience.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    ProbeContext,
    assignment::{Access, CredentialsFor},
    target::{Seen, TargetState},
    timing,
};
use crate::{
    domain::{names::PodUid, sample::Sample, snapshot::ProbeFailure},
    redis_io::{Connection, Credentials, probe},
};

/// A Secret whose password or certificate was refused is read again no sooner than this after the last reading …
const SOONEST_REREAD: Duration = Duration::from_secs(1);
/// … and no later, so that a renewed one is found at the next attempt.
const LATEST_REREAD: Duration = Duration::from_secs(4);
/// Attempts to log in that were refused follow each other no slower: a password that was changed on both sides, in
/// whatever order, is in use within 10 s. It is 8 AUTH a minute, far from what would lock a user out.
const SLOWEST_LOGIN: Duration = Duration::from_secs(8);

/// The task's own state.
pub(super) struct Worker {
    pod_uid: PodUid,
    spread: u64,
    shared: Arc<ProbeContext>,
    state: Arc<TargetState>,
    connection: Option<Connection>,
    /// What the connection was opened with.
    opened_with: Option<Credentials>,
    /// Failures in a row.
    failures: u32,
    /// Process uptime when the password or a certificate was first refused; `None`: it was not.
    refused_since: Option<Duration>,
}

impl Worker {
    pub(super) fn new(pod_uid: PodUid, shared: Arc<ProbeContext>, state: Arc<TargetState>) -> Self {
        let spread = timing::spread(&pod_uid);
        Self { pod_uid, spread, shared, state, connection: None, opened_with: None, failures: 0, refused_since: None }
    }

    /// Probes until the target is let go.
    pub(super) async fn run(
        mut self,
        mut access: watch::Receiver<Access>,
        mut gates: mpsc::Receiver<oneshot::Sender<Seen>>,
    ) {
        // A new target is looked at once, without waiting for its turn.
        let mut wait = Duration::ZERO;
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = access.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.disconnect();
                }
                gate = gates.recv() => match gate {
                    Some(gate) => waiting.push(gate),
                    None => return,
                },
            }
            // Gates that asked before this probe began are all served by it.
            while let Ok(gate) = gates.try_recv() {
                waiting.push(gate);
            }
            let wanted = access.borrow_and_update().clone();
            // Between its turns a task keeps no room for what a probe needs.
            Box::pin(self.turn(&wanted, waiting)).await;
            wait = self.until_next();
        }
    }

    /// One probe and its record.
    async fn turn(&mut self, wanted: &Access, waiting: Vec<oneshot::Sender<Seen>>) {
        let shared = Arc::clone(&self.shared);
        // Connecting is counted apart, so that a crowd of dead targets delays no healthy one. Gates do not queue.
        let permits = if self.connection.is_some() { &shared.probes } else { &shared.connects };
        let _permit = if waiting.is_empty() { permits.acquire().await.ok() } else { None };
        let begun = shared.clock.uptime();
        let outcome = self.look(wanted).await;
        let took = shared.clock.uptime().saturating_sub(begun);
        self.count(&outcome);
        if let Err(failure) = &outcome {
            tracing::debug!(pod_uid = %self.pod_uid, reason = failure.reason(), text = failure.text(), "probe failed");
        }
        self.state.record(outcome, took, &shared);
        for gate in waiting {
            let _who_asked_may_have_gone = gate.send(self.state.latest());
        }
    }

    async fn look(&mut self, wanted: &Access) -> Result<Sample, ProbeFailure> {
        if let CredentialsFor::Withheld(failure) = &wanted.credentials {
            self.disconnect();
            return Err(failure.clone());
        }
        self.renew_credentials(wanted).await?;
        let (clock, deadline) = (self.shared.clock, self.shared.settings.probe_deadline);
        let begun = clock.uptime();
        let left = || deadline.saturating_sub(clock.uptime().saturating_sub(begun));
        if let Some(connection) = &mut self.connection {
            let outcome = probe(connection, &self.pod_uid, &clock, deadline).await;
            if connection.is_closed() {
                self.connection = None;
            }
            // The server may have closed an idle connection (`timeout`), or been restarted: one fresh attempt.
            if !matches!(outcome, Err(ProbeFailure::Unreachable(_))) {
                return outcome;
            }
            self.connection = None;
        }
        // Apart, because it is rare and needs ten times the room.
        Box::pin(async {
            let mut connection = Connection::open(wanted.address, self.opened_with.as_ref(), left()).await?;
            let outcome = probe(&mut connection, &self.pod_uid, &clock, left()).await;
            if !connection.is_closed() {
                self.connection = Some(connection);
            }
            outcome
        })
        .await
    }

    /// Sees to it that the password is not stale: read a minute ago, or longer where there are many, sooner after a refusal. A new password
    /// is tried on a new connection, so that a Secret and a Redis that disagree are noticed.
    async fn renew_credentials(&mut self, wanted: &Access) -> Result<(), ProbeFailure> {
        if wanted.credentials == CredentialsFor::None && self.opened_with.is_none() {
            return Ok(());
        }
        // Half of the time since the first refusal: the time between two readings doubles at first.
        let usual = self.shared.secrets.usual_age();
        let max_age = self.refused_since.map_or(usual, |since| {
            (self.shared.clock.uptime().saturating_sub(since) / 2).clamp(SOONEST_REREAD, LATEST_REREAD)
        });
        match Box::pin(self.shared.secrets.resolve(&wanted.credentials, max_age, &self.shared.clock)).await {
            Ok(credentials) => {
                if credentials != self.opened_with {
                    self.disconnect();
                    self.opened_with = credentials;
                }
                Ok(())
            }
            // A Secret that cannot be read just now takes nothing from a connection that stands.
            Err(_) if self.connection.is_some() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn count(&mut self, outcome: &Result<Sample, ProbeFailure>) {
        match outcome {
            Ok(_) => (self.failures, self.refused_since) = (0, None),
            Err(failure) => {
                self.failures = self.failures.saturating_add(1);
                if matches!(failure, ProbeFailure::AuthenticationFailed(_) | ProbeFailure::Tls(..)) {
                    let now = self.shared.clock.uptime();
                    self.refused_since.get_or_insert(now);
                    self.disconnect();
                }
            }
        }
    }

    fn until_next(&self) -> Duration {
        let interval = self.shared.settings.interval;
        match self.failures {
            0 => timing::until_turn(self.shared.clock.uptime(), interval, self.spread),
            n if self.refused_since.is_some() => timing::until_retry(n, interval.min(SLOWEST_LOGIN), self.spread),
            n => timing::until_retry(n, interval, self.spread),
        }
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.opened_with = None;
    }
}
