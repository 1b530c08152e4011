//! The only place that changes the world: one [`Effect`] at a time, each with its preconditions and behind the fence.

mod clients;
pub mod crash;
mod forget;
pub mod live;
mod maxmemory;
mod persist;
pub mod ports;
mod redis;
pub mod switchover;

use std::time::Duration;

use self::{
    crash::{Boundary, Moment, Place},
    ports::Ports,
};
use crate::{
    domain::{
        bytes::Bytes,
        names::{NodeAddress, PodName},
        policy::Policy,
        step::StepKind,
        switchover::SwitchoverMethod,
    },
    kube_io::{
        fence::Fenced,
        write::{EvictError, PodTarget, WriteError},
    },
    plan::{effect::Effect, switchover::Failure},
    redis_io::RedisError,
};

/// Carries effects out, in the world behind those ports.
#[derive(Clone)]
pub struct Executor<P> {
    /// The world.
    pub ports: P,
    /// How long after an endpoint became ready kube-proxy surely has synced.
    pub endpoint_sync: Duration,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The eviction was accepted.
    Evicted,
    /// The new limit was accepted by the API server; the kubelet acts on it.
    Resized,
    /// The label is set.
    Labelled,
    /// `maxmemory` has the value.
    MaxmemorySet,
    /// The settings were accepted.
    Restored,
    /// The server took the command.
    Sent,
    /// The backlog has that size.
    BacklogSet,
    /// The replica accepted its new primary; by its address, if there is a fallback.
    Repointed(Option<Fallback>),
    /// The old primary accepted the new one as its primary; by its address, if there is a fallback.
    Demoted(Option<Fallback>),
    /// Clients that still stood on the old primary were led away.
    ClientsClosed {
        /// Connections that were closed.
        closed: u32,
    },
    /// The role is handed over and the labels say so.
    SwitchedOver {
        /// By this method; a FAILOVER that was found under way is Native, whatever was ordered.
        method: SwitchoverMethod,
        /// How long writes were held back, as seen from here; `None` when the roles were found exchanged.
        paused: Option<Duration>,
        /// Who was told an address instead of a name.
        fallbacks: Vec<Fallback>,
    },
    /// A Sentinel has forgotten who was gone.
    Forgotten,
    /// A Sentinel has given the role to another member, and the old primary follows.
    FailedOver {
        /// Who is primary now.
        to: PodName,
        /// How long writes were held back or refused, as seen from here; `None` when the roles were found exchanged.
        paused: Option<Duration>,
    },
}

/// A replica follows its primary by an address, which the primary loses when it restarts, because its name did not resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// The replica.
    pub replica: PodName,
    /// The primary's full name.
    pub name: String,
    /// What the replica was told instead.
    pub address: NodeAddress,
}

impl Fallback {
    /// For people.
    pub fn text(&self, primary: &PodName) -> String {
        let Self { replica, name, address } = self;
        format!(
            "{replica} follows {primary} by its address {address}, because {name} does not resolve to it from here; when \
             {primary} restarts, {replica} loses it: see that the name resolves, then give {replica} the name by REPLICAOF"
        )
    }
}

/// Why an effect was not made, named after what failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The lease may have been lost: somebody else may be acting.
    #[error("not done: {0}")]
    Fenced(#[from] Fenced),
    /// The eviction.
    #[error("evicting: {0}")]
    Evict(#[from] EvictError),
    /// A Kubernetes write.
    #[error("{what}: {source}")]
    Write {
        /// What was written.
        what: &'static str,
        /// Why not.
        source: WriteError,
    },
    /// A Kubernetes read that the effect needs.
    #[error("reading {what}: {message}")]
    Read {
        /// What was read.
        what: &'static str,
        /// Why not.
        message: String,
    },
    /// A Redis command.
    #[error("{what} on {pod}: {source}")]
    Redis {
        /// What was sent.
        what: &'static str,
        /// To which pod.
        pod: String,
        /// Why not.
        source: RedisError,
    },
    /// The pod that was to be evicted is the primary now: nothing was done.
    #[error("{pod} is the primary now and is not evicted")]
    NowPrimary {
        /// Which pod.
        pod: String,
    },
    /// The role that an eviction or a REPLICAOF rests on was read, but this process was stopped since, or the answer took
    /// too long: nothing was done.
    #[error("the role of {pod} was read too long ago, and nothing is done on that")]
    RoleReadTooLongAgo {
        /// Which pod.
        pod: String,
    },
    /// The old primary whose clients were to be led away is the primary again: they stay.
    #[error("{pod} is the primary again, and its clients stay")]
    LeadsAgain {
        /// Which pod.
        pod: String,
    },
    /// A server whose `maxmemory` was to be set is not as it was judged: nothing was done.
    #[error("maxmemory of {pod} is not set: {why}")]
    NotSet {
        /// Which pod.
        pod: String,
        /// What was found.
        why: String,
    },
    /// A server that evicted answered late: it has the `maxmemory` again that it had before.
    #[error(
        "{pod} answered after {} ms while it evicted, before that after {} ms: its maxmemory is {before} again",
        took.as_millis(), usual.as_millis()
    )]
    EvictionStopped {
        /// Which pod.
        pod: String,
        /// How long it took to answer.
        took: Duration,
        /// How long it took before.
        usual: Duration,
        /// What it has again.
        before: Bytes,
    },
    /// The pod that was to follow another, or the one that it was to follow, is not what it was when that was decided:
    /// nothing was done.
    #[error("{pod} is not made to follow another: {why}")]
    NotAsJudged {
        /// Which pod was to follow.
        pod: String,
        /// What was found.
        why: String,
    },
    /// The primary that was to be evicted is none now, or does not write its data out well: nothing was done.
    #[error("{pod} is not evicted: {why}")]
    NotAsExpected {
        /// Which pod.
        pod: String,
        /// What is not as it should be.
        why: &'static str,
    },
    /// A Sentinel that was to forget is at something, or names another primary: nothing was done.
    #[error("the Sentinel in {pod} is not made to forget: {why}")]
    SentinelBusy {
        /// Which pod.
        pod: String,
        /// What was found.
        why: String,
    },
    /// The credentials of a target.
    #[error("the password for {pod} cannot be had: {message}")]
    Credentials {
        /// Which pod.
        pod: String,
        /// Why not.
        message: String,
    },
    /// The switchover ended without exchange.
    #[error("{}", .failure.text())]
    Switchover {
        /// Why.
        failure: Failure,
        /// How long writes were held back in vain.
        paused: Option<Duration>,
    },
}

impl<P: Ports> Executor<P> {
    /// Carries one effect of that policy out. `step`: the kind of step that it belongs to, for the crash points; `None` for upkeep.
    pub async fn carry_out(
        &self,
        policy: &Policy,
        effect: &Effect,
        step: Option<StepKind>,
    ) -> Result<Done, ExecuteError> {
        self.ports.may_change()?;
        self.ports.reached(boundary(step, effect, Moment::BeforeEffect)).await;
        let done = self.apply(policy, effect).await?;
        self.ports.reached(boundary(step, effect, Moment::AfterEffect)).await;
        Ok(done)
    }

    async fn apply(&self, policy: &Policy, effect: &Effect) -> Result<Done, ExecuteError> {
        let namespace = &policy.namespace;
        match effect {
            Effect::Evict { peer } => {
                let role = self.still_replica(policy, peer).await?;
                role.still_counts(peer, self.ports.uptime())?;
                self.ports.evict(namespace, &peer.pod, &peer.uid).await?;
                Ok(Done::Evicted)
            }
            Effect::EvictPrimary { peer } => {
                let role = self.still_persisting_primary(policy, peer).await?;
                role.still_counts(peer, self.ports.uptime())?;
                self.ports.evict(namespace, &peer.pod, &peer.uid).await?;
                Ok(Done::Evicted)
            }
            Effect::Send { peer, command } => self.run(policy, peer, *command).await,
            Effect::SetBacklog { peer, size, .. } => self.set_backlog(policy, peer, *size).await,
            Effect::Resize { pod, uid, resource_version, container, limit, request } => {
                let target = PodTarget { namespace, name: pod, uid, resource_version };
                self.ports
                    .resize(target, container, *limit, *request)
                    .await
                    .map_err(|source| ExecuteError::Write { what: "resizing", source })?;
                Ok(Done::Resized)
            }
            Effect::SetMaxmemory { peer, value, before, most_used } => {
                self.set_maxmemory(policy, peer, *value, *before, *most_used).await
            }
            Effect::Label { pod, uid, resource_version, key, value } => {
                let target = PodTarget { namespace, name: pod, uid, resource_version };
                self.ports
                    .set_label(target, key, value)
                    .await
                    .map_err(|source| ExecuteError::Write { what: "labelling", source })?;
                Ok(Done::Labelled)
            }
            Effect::Restore { peer, settings } | Effect::Carry { peer, settings, .. } => {
                self.restore(policy, peer, settings).await
            }
            Effect::Repoint { peer, by_name, to } => self.repoint(policy, peer, by_name.as_ref(), to).await,
            Effect::Demote { peer, by_name, to } => self.demote(policy, peer, by_name.as_ref(), to).await,
            Effect::CloseClients { peer, standing, .. } => self.close_clients(policy, peer, *standing).await,
            Effect::Switchover(order) => self.switch_over(policy, order).await,
            Effect::Failover(order) => self.fail_over(policy, order).await,
            Effect::SetBack { peer, settings } => self.set_back(policy, peer, settings).await,
            Effect::Forget { sentinel, set, primary } => self.forget(policy, sentinel, set, primary).await,
        }
    }
}

/// The boundary before or after an effect: of its step, or of what belongs to no step.
fn boundary(step: Option<StepKind>, effect: &Effect, moment: Moment) -> Boundary {
    let at = |due, made| Boundary::At(if moment == Moment::BeforeEffect { due } else { made });
    match (step, effect) {
        // At whichever step the remediation ends.
        (_, Effect::SetBacklog { back: true, .. } | Effect::Carry { back: true, .. } | Effect::SetBack { .. }) => {
            at(Place::SetBackDue, Place::SetBackMade)
        }
        // At whichever step the old primary is back.
        (_, Effect::Demote { .. }) => at(Place::DemoteDue, Place::DemoteMade),
        // At whichever step the eviction of the old primary is waited for.
        (_, Effect::CloseClients { .. }) => at(Place::CloseDue, Place::CloseMade),
        // At whichever step the next pod would be disturbed, and at the end.
        (_, Effect::Forget { .. }) => at(Place::ForgetDue, Place::ForgetMade),
        (Some(kind), _) => Boundary::Step(kind, moment),
        (_, Effect::SetMaxmemory { .. }) => at(Place::MaxmemoryDue, Place::MaxmemorySet),
        (None, Effect::Resize { .. }) => at(Place::ResizeDue, Place::ResizeMade),
        (None, _) => at(Place::LabelDue, Place::LabelMoved),
    }
}
