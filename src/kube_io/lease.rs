//! Leadership by a `coordination.k8s.io/v1` Lease, after the idea of kubert's `lease.rs`.
//!
//! No clock of another machine is ever compared with ours: a candidate measures, on its own monotonic clock, how
//! long the record has not changed; the holder counts its term from the moment *before* it sent the renewal that
//! succeeded, and stops a margin early. So the old leader has stopped before the next one may begin, also when
//! clocks differ or the process was paused. A Lease that is not there may have been deleted under a leader a moment
//! ago: it is made when it has been missing for a whole duration.

mod params;
mod record;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use k8s_openapi::{
    Resource as _,
    api::{
        apps::v1::Deployment,
        coordination::v1::{Lease, LeaseSpec},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    sync::{OnceCell, watch},
    task::JoinHandle,
};

pub use self::params::{LeaseError, LeaseParams};
use self::record::{Availability, Record, STOP_ANNOTATION, availability, whole_seconds};
use super::{
    error::{Cause, within},
    fence::{Fence, Term, extend},
};
use crate::clock::Clock;

/// Field manager of the Lease.
const MANAGER: &str = "redis-memory-operator";
/// A renewal that takes longer is tried again. Two attempts fit between `renew` (5 s) and the deadline (10 s).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// The release competes at most with one renewal of our own.
const RELEASE_ATTEMPTS: usize = 3;

/// The running election.
#[derive(Debug)]
pub struct Leadership {
    /// `Some` while we lead: the fence of the present term. A new term brings a new fence.
    pub fence: watch::Receiver<Option<Fence>>,
    /// True while an annotation on the Lease says that people want the operator stopped. Seen by the holder, at each
    /// renewal; known before the fence of a term is.
    pub stop: watch::Receiver<bool>,
    /// What the last look at the Lease has shown.
    pub holder: watch::Receiver<Holder>,
    /// Ends after `shutdown`, once the Lease has been released (or could not be, within 3 s).
    pub task: JoinHandle<()>,
}

/// Who holds the Lease, as it was last read. An API server that does not answer changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The Lease was never read.
    Unread,
    /// Nobody, or somebody who has not renewed it in time.
    Nobody,
    /// This process.
    Us,
    /// Another process.
    Another,
}

/// Starts to contend for the Lease, in a task of its own, until `shutdown` completes or every receiver is gone.
/// Failing requests are repeated for ever: an API server that is away makes a standby, not a crash.
///
/// Let `shutdown` complete only when nothing is left to write: the term is ended first, then the Lease released.
pub fn run(
    params: LeaseParams,
    client: Client,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<Leadership, LeaseError> {
    params.check()?;
    let (publish, fence) = watch::channel(None);
    let (stop, stopped) = watch::channel(false);
    let (holder, held_by) = watch::channel(Holder::Unread);
    let deployments = Api::namespaced(client.clone(), &params.namespace);
    let api = Api::namespaced(client, &params.namespace);
    let election = Election {
        api,
        deployments,
        owner: OnceCell::new(),
        ownership_refused: AtomicBool::new(false),
        params,
        clock,
        publish,
        stop,
        holder,
    };
    let task = tokio::spawn(async move {
        let gone = {
            let publish = election.publish.clone();
            async move { publish.closed().await }
        };
        tokio::select! {
            () = async { tokio::select! { () = shutdown => {}, () = gone => {} } } => {}
            never = election.contend() => match never {},
        }
        election.release().await;
    });
    Ok(Leadership { fence, stop: stopped, holder: held_by, task })
}

struct Election {
    api: Api<Lease>,
    deployments: Api<Deployment>,
    /// The Deployment that the Lease goes with, once it was asked for.
    owner: OnceCell<Option<OwnerReference>>,
    /// The API server refused to change who the Lease goes with: it is not tried again.
    ownership_refused: AtomicBool,
    params: LeaseParams,
    clock: Clock,
    publish: watch::Sender<Option<Fence>>,
    stop: watch::Sender<bool>,
    holder: watch::Sender<Holder>,
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Another process holds the Lease, or somebody deleted it.
    Taken,
    /// No renewal succeeded in time.
    NotRenewed,
}

impl Election {
    /// Claims, holds, loses, claims again. Ends only by being dropped.
    async fn contend(&self) -> std::convert::Infallible {
        loop {
            let (record, term) = self.claim().await;
            let ended = self.hold(record, term).await;
            tracing::warn!(lease = %self.params.name, ?ended, "no longer the leader");
        }
    }

    /// Waits until the Lease is ours.
    async fn claim(&self) -> (Record, Term) {
        let mut seen = None;
        loop {
            match self.try_claim(&mut seen).await {
                Ok(Some(claimed)) => return claimed,
                Ok(None) => {}
                Err(cause) => tracing::warn!(lease = %self.params.name, %cause, "cannot read or claim the lease"),
            }
            tokio::time::sleep(self.params.retry).await;
        }
    }

    /// One look at the Lease, and one attempt to claim it if it is free. `seen` is the record (`None`: there was none)
    /// and since when it has not changed.
    async fn try_claim(
        &self,
        seen: &mut Option<(Option<LeaseSpec>, Duration)>,
    ) -> Result<Option<(Record, Term)>, Cause> {
        let record = within(REQUEST_TIMEOUT, self.api.get_opt(&self.params.name)).await?.map(Record::of);
        let spec = record.as_ref().map(|record| record.spec.clone());
        let now = self.clock.uptime();
        let since = match seen {
            Some((before, since)) if *before == spec => *since,
            _ => now,
        };
        *seen = Some((spec, since));
        if availability(record.as_ref(), &self.params.identity, self.params.duration, since, now) == Availability::Held
        {
            self.holder.send_replace(self.seen(record.as_ref()));
            return Ok(None);
        }
        self.holder.send_replace(Holder::Nobody);
        let claimed = match &record {
            Some(record) => {
                self.owner().await?;
                self.write(record, REQUEST_TIMEOUT).await
            }
            None => self.create().await,
        };
        match claimed {
            Ok(claimed) => Ok(Some(claimed)),
            // Somebody else was faster: look again.
            Err(Cause::Refused { code: 409, .. }) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Who holds a Lease that says this.
    fn seen(&self, record: Option<&Record>) -> Holder {
        match record.and_then(Record::holder) {
            None => Holder::Nobody,
            Some(holder) if holder == self.params.identity => Holder::Us,
            Some(_) => Holder::Another,
        }
    }

    async fn create(&self) -> Result<(Record, Term), Cause> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.params.name.clone()),
                owner_references: self.owner().await?.clone().map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(self.claimed(&Record::default())),
        };
        let sent = self.clock.uptime();
        let post = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let lease = within(REQUEST_TIMEOUT, self.api.create(&post, &lease)).await?;
        Ok((Record::of(lease), self.term(sent)))
    }

    /// The Deployment that the Lease goes with. One that cannot be had is no reason not to lead.
    async fn owner(&self) -> Result<&Option<OwnerReference>, Cause> {
        self.owner.get_or_try_init(|| self.ask_for_owner()).await
    }

    async fn ask_for_owner(&self) -> Result<Option<OwnerReference>, Cause> {
        let Some(name) = &self.params.owner else { return Ok(None) };
        match within(REQUEST_TIMEOUT, self.deployments.get_metadata_opt(name)).await {
            Ok(found) => {
                let uid = found.and_then(|deployment| deployment.metadata.uid);
                if uid.is_none() {
                    tracing::warn!(deployment = %name, "there is no such Deployment: the lease will stay when the operator goes");
                }
                Ok(uid.map(|uid| OwnerReference {
                    api_version: Deployment::API_VERSION.to_owned(),
                    kind: Deployment::KIND.to_owned(),
                    name: name.clone(),
                    uid,
                    ..OwnerReference::default()
                }))
            }
            Err(cause @ Cause::Forbidden(_)) => {
                tracing::warn!(deployment = %name, %cause, "the lease will stay when the operator goes");
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Renews until the term ends, and publishes its fence meanwhile.
    async fn hold(&self, mut record: Record, term: Term) -> Ended {
        tracing::info!(lease = %self.params.name, identity = %self.params.identity, "leading");
        self.tell(&record);
        self.holder.send_replace(Holder::Us);
        let (renewals, term_seen) = watch::channel(Some(term));
        self.publish.send_replace(Some(Fence::of(self.clock, term_seen)));
        // Ends the term on every way out, also when `contend` is dropped at shutdown.
        let guard = EndTerm { renewals, publish: &self.publish };
        let mut deadline = term.deadline;
        let mut pause = self.params.renew;
        loop {
            let left = deadline.saturating_sub(self.clock.uptime());
            tokio::time::sleep(pause.min(left)).await;
            if self.clock.uptime() >= deadline {
                return Ended::NotRenewed;
            }
            match self.renew(&record, deadline).await {
                Ok((renewed, term)) => {
                    if !extend(&guard.renewals, &self.clock, term) {
                        return Ended::NotRenewed;
                    }
                    self.tell(&renewed);
                    record = self.keep_ownership(renewed).await;
                    deadline = term.deadline;
                    pause = self.params.renew;
                }
                Err(Lost::Taken) => return Ended::Taken,
                Err(Lost::Stale(read)) => {
                    record = *read;
                    self.tell(&record);
                    pause = Duration::ZERO;
                }
                Err(Lost::Failed(cause)) => {
                    tracing::warn!(lease = %self.params.name, %cause, "cannot renew the lease yet");
                    pause = self.params.retry;
                }
            }
        }
    }

    /// Passes on what people wrote on the Lease.
    fn tell(&self, record: &Record) {
        let changed = self.stop.send_if_modified(|stop| std::mem::replace(stop, record.stop) != record.stop);
        if changed {
            tracing::warn!(lease = %self.params.name, stop = record.stop, annotation = STOP_ANNOTATION, "the stop of the operator");
        }
    }

    async fn renew(&self, record: &Record, deadline: Duration) -> Result<(Record, Term), Lost> {
        // An answer that comes after the deadline is of no use: the term has ended by then.
        let limit = deadline.saturating_sub(self.clock.uptime()).min(REQUEST_TIMEOUT);
        match self.write(record, limit).await {
            Ok(renewed) => Ok(renewed),
            // Written by another since: by a successor, or by our own request whose answer was lost.
            Err(Cause::Refused { code: 409, .. }) => {
                let read = within(REQUEST_TIMEOUT, self.api.get_opt(&self.params.name)).await.map_err(Lost::Failed)?;
                match read.map(Record::of) {
                    Some(read) if read.holder() == Some(&self.params.identity) => Err(Lost::Stale(Box::new(read))),
                    read => {
                        self.holder.send_replace(self.seen(read.as_ref()));
                        Err(Lost::Taken)
                    }
                }
            }
            Err(Cause::Refused { code: 404, .. }) => Err(Lost::Taken),
            Err(cause) => Err(Lost::Failed(cause)),
        }
    }

    /// The record that makes us the holder.
    fn claimed(&self, before: &Record) -> LeaseSpec {
        let ours = before.holder() == Some(&self.params.identity);
        let now = self.wall();
        let transitions = before.spec.lease_transitions.unwrap_or(0);
        let never_held = before.resource_version.is_empty();
        LeaseSpec {
            holder_identity: Some(self.params.identity.clone()),
            lease_duration_seconds: Some(whole_seconds(self.params.duration)),
            acquire_time: before.spec.acquire_time.clone().filter(|_| ours).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if ours || never_held { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }

    /// Makes us the holder, or renews, if nobody has written since. The term counts from before the request was sent.
    async fn write(&self, before: &Record, limit: Duration) -> Result<(Record, Term), Cause> {
        let sent = self.clock.uptime();
        let patch = json!({ "metadata": { "resourceVersion": before.resource_version }, "spec": self.claimed(before) });
        let lease = within(limit, self.patch(&patch)).await?;
        Ok((Record::of(lease), self.term(sent)))
    }

    /// The Lease goes with the operator's Deployment, but not while it carries people's stop: an operator that is
    /// installed again finds it. A write of its own, because platforms may refuse it (admission plugin
    /// OwnerReferencesPermissionEnforcement), and a renewal must not fail for it.
    async fn keep_ownership(&self, record: Record) -> Record {
        let Some(owner) = self.owner.get().and_then(Option::as_ref) else { return record };
        let wanted = if record.stop { Vec::new() } else { vec![owner.clone()] };
        if record.owners == wanted || self.ownership_refused.load(Ordering::Relaxed) {
            return record;
        }
        let metadata = json!({ "resourceVersion": record.resource_version, "ownerReferences": wanted });
        match within(REQUEST_TIMEOUT, self.patch(&json!({ "metadata": metadata }))).await {
            Ok(lease) => Record::of(lease),
            // Somebody wrote meanwhile: the next renewal reads it, and this comes again.
            Err(Cause::Refused { code: 409, .. }) => record,
            Err(cause) => {
                let lease = &self.params.name;
                tracing::warn!(%lease, %cause, stop = record.stop, "whether the lease goes with the Deployment cannot be changed");
                self.ownership_refused.store(true, Ordering::Relaxed);
                record
            }
        }
    }

    async fn patch(&self, patch: &serde_json::Value) -> Result<Lease, kube::Error> {
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        self.api.patch(&self.params.name, &params, &Patch::Merge(patch)).await
    }

    /// Gives the Lease up, if it is ours, so that a standby takes over at its next look.
    async fn release(&self) {
        self.publish.send_replace(None);
        for _ in 0..RELEASE_ATTEMPTS {
            match self.try_release().await {
                Ok(true) => return tracing::info!(lease = %self.params.name, "released the lease"),
                Ok(false) => return,
                // A renewal was under way when the task was told to stop.
                Err(Cause::Refused { code: 409, .. }) => {}
                Err(cause) => {
                    return tracing::warn!(lease = %self.params.name, %cause, "lease not released: it will expire");
                }
            }
        }
    }

    async fn try_release(&self) -> Result<bool, Cause> {
        let Some(lease) = within(REQUEST_TIMEOUT, self.api.get_opt(&self.params.name)).await? else {
            return Ok(false);
        };
        let record = Record::of(lease);
        if record.holder() != Some(&self.params.identity) {
            return Ok(false);
        }
        let patch = json!({
            "metadata": { "resourceVersion": record.resource_version },
            "spec": { "holderIdentity": "", "renewTime": self.wall() },
        });
        within(REQUEST_TIMEOUT, self.patch(&patch)).await.map(|_| true)
    }

    const fn term(&self, sent: Duration) -> Term {
        Term::renewed(sent, self.params.duration, self.params.margin)
    }

    fn wall(&self) -> MicroTime {
        MicroTime(self.clock.now())
    }
}

/// Why a renewal did not succeed.
enum Lost {
    Taken,
    Stale(Box<Record>),
    Failed(Cause),
}

/// Ends the term and withdraws its fence when dropped.
struct EndTerm<'a> {
    renewals: watch::Sender<Option<Term>>,
    publish: &'a watch::Sender<Option<Fence>>,
}

impl Drop for EndTerm<'_> {
    fn drop(&mut self) {
        self.renewals.send_replace(None);
        self.publish.send_replace(None);
    }
}

#[cfg(test)]
mod tests;
