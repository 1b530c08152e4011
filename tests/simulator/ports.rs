//! The executor's world, and the policies, as the simulated world has them.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, PodCondition, PodStatus},
        discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time as At},
};
use redis_memory_operator::{
    api::v1alpha1::{FINALIZER, RedisMemoryPolicy, RedisMemoryPolicyStatus, StoredPolicy},
    clock::Time,
    controller::ports::{Policies, PolicyVersion},
    domain::{
        bytes::Bytes,
        event::EventNote,
        names::{PodName, PodUid},
    },
    execute::{
        crash::Boundary,
        ports::{Cluster, Ports},
    },
    kube_io::{
        error::{Cause, KubeError},
        event::EventTarget,
        fence::Fenced,
        write::{EvictError, PodTarget, WriteError},
    },
};
use serde_json::Value;

use crate::{
    killed::Raise,
    kubernetes::{self, Refusal, Resource},
    observer::Evicted,
    operator::{Body, Process},
    redis::{Ms, Role},
    replay,
    shape::{self, pod_name, set_name, set_of, set_uid},
    view,
    world::World,
};

impl Time for Process {
    fn now(&self) -> Timestamp {
        view::wall(self.world().now, self.skew)
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.instant())
    }

    fn steps(&self) -> u64 {
        0
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        self.pause(ms(time))
    }
}

pub fn ms(time: Duration) -> Ms {
    time.as_millis().try_into().unwrap_or(Ms::MAX)
}

fn overloaded() -> Cause {
    Cause::Refused { code: 503, message: "the API server is in a mood".into() }
}

/// What a quota on memory says.
const OVER_QUOTA: &str =
    "exceeded quota: memory, requested: limits.memory=1Gi, used: limits.memory=3Gi, limited: limits.memory=3Gi";

fn write_error(refusal: Refusal) -> WriteError {
    match refusal {
        Refusal::Conflict | Refusal::BudgetSaysNo => WriteError::Conflict("another version".into()),
        Refusal::UidChanged => WriteError::UidChanged("another pod".into()),
        Refusal::Gone => WriteError::Gone("not found".into()),
        Refusal::OverQuota => WriteError::Forbidden(OVER_QUOTA.into()),
        Refusal::Unconfirmed => WriteError::Unconfirmed(overloaded()),
    }
}

/// A pod as the API server returns it, as far as the operator looks.
pub fn object(n: usize, pod: &kubernetes::Pod) -> Pod {
    let owner = OwnerReference {
        api_version: "apps/v1".into(),
        kind: "StatefulSet".into(),
        name: set_name(set_of(n)).into(),
        uid: set_uid(set_of(n)).to_string(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    let mut labels =
        BTreeMap::from([("app".to_owned(), set_name(set_of(n)).to_owned()), ("tier".to_owned(), "data".to_owned())]);
    labels.extend(pod.role.map(|role| ("redismemory.io/role".to_owned(), role.to_owned())));
    let ready = PodCondition {
        type_: "Ready".into(),
        status: if pod.ready { "True" } else { "False" }.into(),
        ..PodCondition::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(pod_name(n).to_string()),
            namespace: Some("shop".into()),
            uid: Some(view::uid_text(pod.uid).to_string()),
            resource_version: Some(pod.rv.to_string()),
            labels: Some(labels),
            owner_references: Some(vec![owner]),
            deletion_timestamp: pod.deleted_at.filter(|_| pod.terminating.is_some()).map(|at| At(view::wall(at, 0))),
            ..ObjectMeta::default()
        },
        status: Some(PodStatus { conditions: Some(vec![ready]), ..PodStatus::default() }),
        ..Pod::default()
    }
}

/// What a server may be told that its pod is.
fn role_word(value: &str) -> &'static str {
    if value == "primary" { "primary" } else { "replica" }
}

impl Process {
    /// Evicts by name, and by UID if there is one. `force`: the budget is not asked.
    pub async fn send_eviction(&self, n: usize, uid: Option<u32>, force: bool) -> Result<(), EvictError> {
        let (sender, sent_at) = (self.sender(), self.instant());
        let what = format!("evict {}", pod_name(n));
        let sent = self.write(&what, uid.is_some(), move |world| {
            let now = world.now;
            let begins = match world.kube.evictable(n, uid, now) {
                Err(Refusal::BudgetSaysNo) if force => true,
                other => other?,
            };
            if begins {
                let (lied, remediation) = (world.lied(n), world.remediation(set_of(n)).map(|it| it.id.clone()));
                let World { observer, kube, servers, .. } = world;
                let what = Evicted { pod: n, lied, sent_at };
                observer.evicting(kube, servers, sender, remediation.as_ref(), what, now);
                world.restarts_nobody_for_it(n);
                world.disturbs(sender.identity, set_of(n), Some(n));
                let grace = world.rng.range(200, 2500);
                world.kube.delete(n, now, grace);
            }
            Ok(())
        });
        match sent.await? {
            Ok(()) => Ok(()),
            Err(Refusal::BudgetSaysNo) => Err(EvictError::BudgetSaysNo("it allows 0 disruptions".into())),
            Err(Refusal::Gone) => Err(EvictError::Gone),
            Err(Refusal::UidChanged) => Err(EvictError::UidChanged("another pod".into())),
            Err(Refusal::Conflict | Refusal::Unconfirmed | Refusal::OverQuota) => Err(EvictError::Other(overloaded())),
        }
    }
}

impl Cluster for Process {
    fn may_change(&self) -> Result<(), Fenced> {
        self.fence()
    }

    async fn live_pod(&self, _: &str, name: &PodName, uid: &PodUid) -> Result<Option<Pod>, KubeError> {
        let (n, uid) = (shape::number(name), view::uid_number(uid));
        let read = self.read(|world| world.kube.pod(n).filter(|pod| pod.uid == uid).map(|pod| object(n, pod)));
        read.await.ok_or_else(|| KubeError::GetPod(overloaded()))
    }

    async fn endpoint_slices(&self, _: &str, service: &str) -> Result<Vec<EndpointSlice>, KubeError> {
        let set = shape::set_named(service).expect("a Service of this world");
        let read = self.read(|world| {
            let pods = world.kube.of_set(set).filter_map(|(_, place)| place.pod.as_ref());
            let behind = pods.filter(|pod| pod.slice).map(|pod| Endpoint {
                conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
                target_ref: Some(ObjectReference {
                    kind: Some("Pod".into()),
                    uid: Some(view::uid_text(pod.uid).to_string()),
                    ..ObjectReference::default()
                }),
                ..Endpoint::default()
            });
            vec![EndpointSlice { endpoints: behind.collect(), ..EndpointSlice::default() }]
        });
        read.await.ok_or_else(|| KubeError::ListEndpointSlices(overloaded()))
    }

    async fn evict(&self, _: &str, name: &PodName, uid: &PodUid) -> Result<(), EvictError> {
        self.send_eviction(shape::number(name), Some(view::uid_number(uid)), false).await
    }

    async fn resize(&self, pod: PodTarget<'_>, _: &str, limit: Bytes, _: Option<Bytes>) -> Result<(), WriteError> {
        let (n, uid, rv) = (shape::number(pod.name), view::uid_number(pod.uid), pod.resource_version.parse().ok());
        let limit = limit.0 / Bytes::mib(1).0;
        let what = format!("resize {} to {limit} Mi", pod_name(n));
        let sent = self.write(&what, true, move |world| {
            let before = world.kube.pod(n).map_or(0, |pod| pod.limit_mib);
            let (required, raise) = (world.least_limit(n), world.raise(n));
            if raise == Raise::OverQuota {
                return Err(Refusal::OverQuota);
            }
            world.kube.patch(n, Some(uid), rv, |pod| match raise {
                Raise::NoRoom => pod.asked_mib = Some(limit),
                Raise::Given | Raise::OverQuota => pod.limit_mib = limit,
            })?;
            let now = world.now;
            if limit != before {
                world.observer.set(uid, format!("{limit} Mi"), now);
            }
            world.observer.resizing(n, before, limit, required, now);
            Ok(())
        });
        sent.await?.map_err(write_error)
    }

    async fn set_label(&self, pod: PodTarget<'_>, _: &str, value: &str) -> Result<(), WriteError> {
        let (n, uid, rv) = (shape::number(pod.name), view::uid_number(pod.uid), pod.resource_version.parse().ok());
        let role = role_word(value);
        let what = format!("label {} {role}", pod_name(n));
        let sent = self.write(&what, true, move |world| {
            let before = world.kube.pod(n).and_then(|pod| pod.role);
            world.kube.patch(n, Some(uid), rv, |pod| pod.role = Some(role))?;
            let now = world.now;
            if before != Some(role) {
                world.observer.set(uid, role.to_owned(), now);
            }
            // A label that was wrong is right now: that is progress.
            let leads = world.servers.of_pod(n).is_some_and(|server| server.role == Role::Primary);
            if before != Some(role) && leads == (role == "primary") {
                world.observer.progressed(now);
            }
            Ok(())
        });
        sent.await?.map_err(write_error)
    }
}

impl Ports for Process {
    async fn reached(&self, boundary: Boundary) {
        self.point(&boundary.name()).await;
    }
}

impl Process {
    /// Writes to a policy, if it is still of that version (not `versioned`: whatever it is). `arrives` is told first.
    async fn write_policy(
        &self,
        of: PolicyVersion<'_>,
        versioned: bool,
        what: &str,
        arrives: impl FnOnce(&mut World, usize) + Send,
        change: impl FnOnce(&mut RedisMemoryPolicy) + Send,
    ) -> Result<StoredPolicy, WriteError> {
        let p = Body::number(of.name);
        let version = versioned.then(|| of.version.to_owned());
        let sent = self.write(what, versioned, move |world| {
            world.kube.fits(p, version.as_deref())?;
            arrives(world, p);
            Ok(world.kube.patch_policy(p, change))
        });
        sent.await?.map_err(write_error)
    }

    /// Writes the journal's part of a status, whole.
    pub async fn write_journal(
        &self,
        of: PolicyVersion<'_>,
        versioned: bool,
        part: Value,
    ) -> Result<StoredPolicy, WriteError> {
        let new: RedisMemoryPolicyStatus = serde_json::from_value(part).expect("what the operator writes can be read");
        let what = new.journal.as_ref().map_or("journal: none".to_owned(), |journal| {
            let begun = if journal.current.begun_at.is_some() { ", begun" } else { "" };
            let step = journal.planned().map_or("all done".to_owned(), |planned| format!("{:?}", planned.step));
            format!("journal: step {} {step}{begun}", journal.cursor)
        });
        let journal = new.journal.clone();
        let records = new.workloads.clone();
        let answer = new.request.clone();
        let arrives = move |world: &mut World, p| {
            world.answer_arrives(p, answer.as_ref());
            world.journal_arrives(p, journal.as_ref(), &records);
        };
        let written = self.write_policy(of, versioned, &what, arrives, move |object| {
            let status = object.status.get_or_insert_default();
            (status.journal, status.frozen_spec, status.workloads) = (new.journal, new.frozen_spec, new.workloads);
            status.request = new.request;
        });
        let written = written.await?;
        self.point("journal:written").await;
        Ok(written)
    }
}

impl Policies for Process {
    async fn policy(&self, _: &str, name: &str) -> Result<Option<StoredPolicy>, KubeError> {
        let p = Body::number(name);
        let read = self.read(move |world| Some(&world.kube.policies[p]).filter(|it| !it.gone).map(Resource::stored));
        read.await.ok_or_else(|| KubeError::GetPolicy(overloaded()))
    }

    async fn apply_status(&self, of: PolicyVersion<'_>, part: Value) -> Result<StoredPolicy, WriteError> {
        let new: RedisMemoryPolicyStatus = serde_json::from_value(part).expect("what the operator writes can be read");
        let conditions = new.conditions.iter().find(|it| it.type_ == "RemediationBlocked");
        let what = conditions.map_or("status".to_owned(), |it| format!("status: {}: {}", it.reason, it.message));
        let shown = new.clone();
        let install = self.install;
        let arrives = move |world: &mut World, p: usize| {
            world.wrote(install, p);
            let old = world.kube.policies[p].status().cloned().unwrap_or_default();
            world.note(|| format!("status of policy {p}: {}", replay::changes(&old, &shown)));
        };
        let written = self.write_policy(of, true, &what, arrives, move |object| {
            let old = object.status.take().unwrap_or_default();
            let RedisMemoryPolicyStatus { journal, frozen_spec, workloads, request, .. } = old;
            object.status = Some(RedisMemoryPolicyStatus { journal, frozen_spec, workloads, request, ..new });
        });
        let written = written.await?;
        self.point("status:written").await;
        Ok(written)
    }

    async fn apply_journal(&self, of: PolicyVersion<'_>, part: Value) -> Result<StoredPolicy, WriteError> {
        self.write_journal(of, true, part).await
    }

    async fn set_finalizer(&self, of: PolicyVersion<'_>, present: bool) -> Result<StoredPolicy, WriteError> {
        let what = if present { "finalizer" } else { "finalizer off" };
        let written = self.write_policy(
            of,
            true,
            what,
            |_, _| {},
            move |object| {
                let finalizers = object.metadata.finalizers.get_or_insert_default();
                finalizers.retain(|it| it != FINALIZER);
                if present {
                    finalizers.push(FINALIZER.to_owned());
                }
            },
        );
        written.await
    }

    async fn event(&self, of: &EventTarget, note: &EventNote) -> Result<(), WriteError> {
        let what = format!("event {}: {}", note.reason, note.note);
        let subject = note.note.split(':').next().unwrap_or_default();
        let said = format!("{of:?} {} {subject}", note.reason);
        let sent = self.write(&what, true, |world| {
            world.said(said);
            Ok(())
        });
        sent.await?.map_err(write_error)
    }
}
