//! The executor's world, and the policies, as the simulated world has them.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

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
    assess::headroom,
    clock::Time,
    controller::ports::{Policies, PolicyVersion},
    domain::{
        acl::PlainCommand,
        bytes::Bytes,
        event::EventNote,
        fixtures,
        names::{NodeAddress, PodName, PodUid},
        policy::Policy,
        sample::{Persistence, Replication},
    },
    execute::{
        ExecuteError,
        crash::Boundary,
        ports::{Acting, Cluster, Ports, Redis},
    },
    kube_io::{
        error::{Cause, KubeError},
        event::EventTarget,
        fence::Fenced,
        write::{EvictError, PodTarget, WriteError},
    },
    plan::effect::Peer,
    redis_io::RedisError,
};
use serde_json::Value;

use crate::{
    kubernetes::{self, Refusal, Resource},
    observer::Evicted,
    operator::{Body, Process},
    redis::{Host, Ms, Order, Role, Server},
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

fn write_error(refusal: Refusal) -> WriteError {
    match refusal {
        Refusal::Conflict | Refusal::BudgetSaysNo => WriteError::Conflict("another version".into()),
        Refusal::UidChanged => WriteError::UidChanged("another pod".into()),
        Refusal::Gone => WriteError::Gone("not found".into()),
        Refusal::Unconfirmed => WriteError::Unconfirmed(overloaded()),
    }
}

/// A pod as the API server returns it, as far as the operator looks.
pub fn object(n: usize, pod: &kubernetes::Pod) -> Pod {
    let owner = OwnerReference {
        api_version: "apps/v1".into(),
        kind: "StatefulSet".into(),
        name: "redis".into(),
        uid: fixtures::set_uid().to_string(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    let mut labels = BTreeMap::from([("app".to_owned(), "redis".to_owned())]);
    labels.extend(pod.role.map(|role| ("redismemory.io/role".to_owned(), role.to_owned())));
    let ready = PodCondition {
        type_: "Ready".into(),
        status: if pod.ready { "True" } else { "False" }.into(),
        ..PodCondition::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(fixtures::pod_name(n as u8).to_string()),
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
        let what = format!("evict redis-{n}");
        let sent = self.write(&what, uid.is_some(), move |world| {
            let now = world.now;
            let begins = match world.kube.evictable(n, uid, now) {
                Err(Refusal::BudgetSaysNo) if force => true,
                other => other?,
            };
            if begins {
                let (lied, remediation) = (world.lied(n), world.remediation());
                let World { observer, kube, servers, .. } = world;
                let what = Evicted { pod: n, lied, sent_at };
                observer.evicting(kube, servers, sender, remediation.as_ref(), what, now);
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
            Err(Refusal::Conflict | Refusal::Unconfirmed) => Err(EvictError::Other(overloaded())),
        }
    }
}

impl Cluster for Process {
    fn may_change(&self) -> Result<(), Fenced> {
        self.fence()
    }

    async fn live_pod(&self, _: &str, name: &PodName, uid: &PodUid) -> Result<Option<Pod>, KubeError> {
        let (n, uid) = (view::ordinal(name), view::uid_number(uid));
        let read = self.read(|world| world.kube.pod(n).filter(|pod| pod.uid == uid).map(|pod| object(n, pod)));
        read.await.ok_or_else(|| KubeError::GetPod(overloaded()))
    }

    async fn endpoint_slices(&self, _: &str, _: &str) -> Result<Vec<EndpointSlice>, KubeError> {
        let read = self.read(|world| {
            let pods = world.kube.places.iter().filter_map(|place| place.pod.as_ref());
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
        self.send_eviction(view::ordinal(name), Some(view::uid_number(uid)), false).await
    }

    async fn resize(&self, pod: PodTarget<'_>, _: &str, limit: Bytes, _: Option<Bytes>) -> Result<(), WriteError> {
        let (n, uid, rv) = (view::ordinal(pod.name), view::uid_number(pod.uid), pod.resource_version.parse().ok());
        let limit = limit.0 / Bytes::mib(1).0;
        let what = format!("resize redis-{n} to {limit} Mi");
        let sent = self.write(&what, true, move |world| {
            let before = world.kube.pod(n).map_or(0, |pod| pod.limit_mib);
            let maxmemory = world.servers.of_pod(n).map_or(0, |server| server.maxmemory_mib);
            let rule = fixtures::policy().headroom;
            let required = headroom::required_limit(&rule, Bytes::mib(maxmemory)).0 / Bytes::mib(1).0;
            world.kube.patch(n, Some(uid), rv, |pod| pod.limit_mib = limit)?;
            let now = world.now;
            world.observer.resizing(n, before, limit, required, now);
            Ok(())
        });
        sent.await?.map_err(write_error)
    }

    async fn set_label(&self, pod: PodTarget<'_>, _: &str, value: &str) -> Result<(), WriteError> {
        let (n, uid, rv) = (view::ordinal(pod.name), view::uid_number(pod.uid), pod.resource_version.parse().ok());
        let role = role_word(value);
        let what = format!("label redis-{n} {role}");
        let sent = self.write(&what, true, move |world| {
            let before = world.kube.pod(n).and_then(|pod| pod.role);
            world.kube.patch(n, Some(uid), rv, |pod| pod.role = Some(role))?;
            // A label that was wrong is right now: that is progress.
            let leads = world.servers.of_pod(n).is_some_and(|server| server.role == Role::Primary);
            if before != Some(role) && leads == (role == "primary") {
                let now = world.now;
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

/// A connection to one process, or (with planted bugs) to whatever listens there.
#[derive(Clone)]
pub struct Connection {
    pub process: Process,
    pub ip: u32,
    pub pod: usize,
    pub meant: u32,
    pub run: Option<u32>,
}

fn broken() -> RedisError {
    RedisError::Connect("the connection was reset".into())
}

fn silent(what: &str) -> RedisError {
    RedisError::TimedOut(format!("no answer to {what}"))
}

impl Process {
    /// Opens a connection. `whoever`: the process is not looked at.
    pub async fn open(&self, peer: &Peer, whoever: bool) -> Result<Connection, RedisError> {
        /// Opening an acting connection, AUTH included.
        const DEADLINE: Ms = 2_000;
        let took = self.random(1, 15);
        self.pause(took).await;
        let (ip, meant) = (address(peer.address.ip()), view::run_number(&peer.run_id));
        let hung = {
            let world = self.world();
            let server = world.servers.by_ip.get(&ip).ok_or_else(broken)?;
            let hung = server.hung(world.now);
            if server.run != meant && !whoever && !hung {
                let (expected, found) = (peer.run_id.clone(), view::run_text(server.run));
                return Err(RedisError::RunIdChanged { expected, found });
            }
            hung
        };
        if hung {
            self.pause(DEADLINE).await;
            return Err(silent("the first commands"));
        }
        let run = (!whoever).then_some(meant);
        Ok(Connection { process: self.clone(), ip, pod: view::ordinal(&peer.pod), meant, run })
    }
}

impl Redis for Process {
    type Server = Connection;

    async fn connect(&self, _: &Policy, peer: &Peer) -> Result<Connection, ExecuteError> {
        let failed = |source| ExecuteError::Redis { what: "connecting", pod: peer.pod.to_string(), source };
        self.open(peer, false).await.map_err(failed)
    }

    /// The names of pods resolve at once, and only while their pods run.
    async fn resolve(&self, name: &str, _: u16) -> Vec<IpAddr> {
        let ordinal = name.split('.').next().and_then(|host| host.rsplit('-').next()?.parse::<usize>().ok());
        let world = self.world();
        let pod = ordinal.filter(|n| *n < kubernetes::PODS).and_then(|n| world.kube.pod(n));
        pod.and_then(|pod| view::ip_text(pod.ip).parse().ok()).into_iter().collect()
    }
}

pub fn address(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(ip) => view::ip_number(&ip.to_string()),
        IpAddr::V6(_) => 0,
    }
}

/// Whom a server is told to follow.
pub fn host(address: &NodeAddress) -> Host {
    match address.host.parse::<IpAddr>() {
        Ok(ip) => Host::Ip(self::address(ip)),
        Err(_) => Host::Pod(view::ordinal(&address.host.split('.').next().unwrap_or_default().into())),
    }
}

impl Connection {
    /// The process at the other end, if it is there.
    fn end<'a>(&self, world: &'a World) -> Option<&'a Server> {
        world.servers.by_ip.get(&self.ip).filter(|server| self.run.is_none_or(|run| run == server.run))
    }

    /// A question, which changes nothing.
    async fn ask<T: Send>(
        &self,
        what: &str,
        deadline: Duration,
        read: impl FnOnce(&World, &Server) -> T + Send,
    ) -> Result<T, RedisError> {
        let took = self.process.random(1, 6);
        self.process.pause(took).await;
        let hung = {
            let mut world = self.process.world();
            let now = world.now;
            let server = self.end(&world).ok_or_else(broken)?;
            let answer = if server.hung(now) { None } else { Some(read(&world, server)) };
            if let Some(answer) = answer {
                world.observer.answered(self.process.identity, self.pod, now);
                return Ok(answer);
            }
            ms(deadline)
        };
        self.process.pause(hung).await;
        Err(silent(what))
    }

    /// A command that changes something: journey, effect, answer. The fence was asked by who sends it. Whoever is hung
    /// finds it in its socket when it goes on.
    pub async fn order(&self, order: Order, deadline: Duration) -> Result<(), RedisError> {
        let process = &self.process;
        let flight = process.fly();
        let took = process.random(1, 6);
        process.pause(took).await;
        drop(flight);
        let answer = {
            let mut world = process.world();
            let (now, sender, what) = (world.now, process.sender(), format!("{order:?}"));
            self.end(&world).ok_or_else(broken)?;
            let World { observer, kube, servers, .. } = &mut *world;
            let server = &servers.by_ip[&self.ip];
            observer.arrived(kube, sender, &what, true, now);
            observer.reached(server, self.meant, &what, now);
            if matches!(order, Order::Pause(_) | Order::Failover(..)) {
                observer.switching(kube, sender, self.pod, &what, now);
            }
            let hung = server.hung(now);
            let answer = if hung {
                world.leave(self.ip, order);
                None
            } else {
                Some(world.obey(self.ip, &order))
            };
            let (slot, pod) = (process.slot, self.pod);
            world.note(|| format!("operator {slot}: {what} on redis-{pod}: {answer:?}"));
            answer
        };
        match answer {
            None => {
                process.pause(ms(deadline)).await;
                Err(silent("a command"))
            }
            Some(answer) => {
                let back = process.random(1, 4);
                process.pause(back).await;
                answer.map_err(|text| RedisError::Refused { code: "ERR".into(), message: text.into() })
            }
        }
    }
}

/// As in `redis_io`.
const QUICK: Duration = Duration::from_secs(1);
const ACT: Duration = Duration::from_secs(3);
const WRITE_OUT: Duration = Duration::from_secs(10);

impl Acting for Connection {
    async fn replication(&mut self, deadline: Duration) -> Result<Replication, RedisError> {
        let skew = self.process.skew;
        let read = self.ask("INFO replication", deadline, |world, server| world.sample(server, skew).replication);
        let replication = read.await?;
        self.process.point("role:read").await;
        Ok(replication)
    }

    async fn role_and_pause(&mut self, deadline: Duration) -> Result<(Replication, Option<bool>), RedisError> {
        let skew = self.process.skew;
        let read = self.ask("INFO replication", deadline, |world, server| {
            let paused = world.schedule.tells_pause.then_some(world.now < server.paused_until);
            (world.sample(server, skew).replication, paused)
        });
        read.await
    }

    async fn keys(&mut self, deadline: Duration) -> Result<u64, RedisError> {
        let skew = self.process.skew;
        self.ask("INFO keyspace", deadline, |world, server| world.sample(server, skew).keys).await
    }

    async fn persistence(&mut self, deadline: Duration) -> Result<Persistence, RedisError> {
        let skew = self.process.skew;
        self.ask("INFO persistence", deadline, |world, server| world.sample(server, skew).persistence).await
    }

    async fn config_set(&mut self, name: &str, value: &str) -> Result<(), RedisError> {
        self.order(Order::Set(name.to_owned(), value.to_owned()), ACT).await
    }

    async fn run(&mut self, _: PlainCommand) -> Result<(), RedisError> {
        self.order(Order::WriteOut, WRITE_OUT).await
    }

    /// Clients of this world connect anew for each write: nobody stands anywhere.
    async fn ordinary_clients(&mut self, _: Duration) -> Result<Vec<u64>, RedisError> {
        self.ask("CLIENT LIST", ACT, |_, _| Vec::new()).await
    }

    async fn close_clients(&mut self, _: &[u64]) -> Result<u32, RedisError> {
        Ok(0)
    }

    async fn replicaof(&mut self, primary: &NodeAddress) -> Result<(), RedisError> {
        self.order(Order::Follow(host(primary)), QUICK).await
    }

    async fn promote(&mut self) -> Result<(), RedisError> {
        self.order(Order::Lead, QUICK).await
    }

    async fn client_pause_writes(&mut self, life: Duration) -> Result<(), RedisError> {
        self.order(Order::Pause(bound(life)), QUICK).await
    }

    async fn client_unpause(&mut self) -> Result<(), RedisError> {
        self.order(Order::Unpause, QUICK).await
    }

    async fn failover_to(&mut self, target: &NodeAddress, timeout: Duration) -> Result<(), RedisError> {
        let Host::Ip(to) = host(target) else { return Err(broken()) };
        self.order(Order::Failover(to, bound(timeout)), ACT).await
    }

    async fn failover_abort(&mut self) -> Result<(), RedisError> {
        self.order(Order::Abort, ACT).await
    }
}

/// A time as a bound; the longest there is means none.
fn bound(time: Duration) -> Option<Ms> {
    Some(ms(time)).filter(|_| time < Duration::MAX)
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
        let arrives = move |world: &mut World, p| world.journal_arrives(p, journal.as_ref());
        let written = self.write_policy(of, versioned, &what, arrives, move |object| {
            let status = object.status.get_or_insert_default();
            (status.journal, status.frozen_spec, status.workloads) = (new.journal, new.frozen_spec, new.workloads);
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
        let written = self.write_policy(
            of,
            true,
            &what,
            |_, _| {},
            move |object| {
                let old = object.status.take().unwrap_or_default();
                let (journal, frozen_spec, workloads) = (old.journal, old.frozen_spec, old.workloads);
                object.status = Some(RedisMemoryPolicyStatus { journal, frozen_spec, workloads, ..new });
            },
        );
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

    async fn event(&self, _: &EventTarget, note: &EventNote) -> Result<(), WriteError> {
        let what = format!("event {}: {}", note.reason, note.note);
        self.write(&what, true, |_| Ok(())).await?.map_err(write_error)
    }
}
