//! Effects on Redis other than the switchover: settings and repointing.

use std::{net::IpAddr, time::Duration};

use super::{
    Done, ExecuteError, Executor, Fallback,
    ports::{Acting, Ports},
};
use crate::{
    clock::within,
    domain::{
        addresses::PodAddresses,
        names::NodeAddress,
        policy::Policy,
        sample::{FailoverState, Replication, Role},
    },
    plan::effect::{MemberName, Peer},
    redis_io::RedisError,
};

/// Opening an acting connection, AUTH included.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Resolving a replica's stable name before it is told to use it.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(2);
/// How long a role that was read before an eviction (invariant S3) or a REPLICAOF (L4) counts.
const ROLE_FRESH: Duration = Duration::from_secs(1);

/// A role that was read right before an eviction or a REPLICAOF.
#[derive(Clone, Copy, Debug)]
#[must_use = "it may be too old when the command is sent"]
pub(super) struct RoleSeen {
    /// Uptime at which it was asked for: the answer is no younger.
    pub(super) at: Duration,
}

impl RoleSeen {
    /// Whether it still counts at `now`: the process may have been stopped since, and the role may have moved meanwhile.
    pub(super) fn is_fresh(self, now: Duration) -> bool {
        now.saturating_sub(self.at) < ROLE_FRESH
    }

    /// An error where it does not.
    pub(super) fn still_counts(self, peer: &Peer, now: Duration) -> Result<(), ExecuteError> {
        if self.is_fresh(now) { Ok(()) } else { Err(ExecuteError::RoleReadTooLongAgo { pod: peer.pod.to_string() }) }
    }
}

impl<P: Ports> Executor<P> {
    /// Reads the role right before an eviction: between the look that the gates rest on and now it may have moved. What
    /// is given back must still be fresh when the eviction is sent.
    pub(super) async fn still_replica(&self, policy: &Policy, peer: &Peer) -> Result<RoleSeen, ExecuteError> {
        let mut connection = self.ports.connect(policy, peer).await?;
        let seen_at = RoleSeen { at: self.ports.uptime() };
        match replication(&mut connection, peer).await?.role {
            Role::Replica(_) => Ok(seen_at),
            // What does not say that it is a replica is not evicted as one.
            Role::Primary | Role::Unknown => Err(ExecuteError::NowPrimary { pod: peer.pod.to_string() }),
        }
    }

    pub(super) async fn restore(
        &self,
        policy: &Policy,
        peer: &Peer,
        settings: &[(String, String)],
    ) -> Result<Done, ExecuteError> {
        let mut connection = self.ports.connect(policy, peer).await?;
        set_all(&self.ports, &mut connection, peer, settings).await?;
        Ok(Done::Restored)
    }

    /// Sets back what held only for the time of an exchange under Sentinel, in the file too: a Sentinel that demotes a server
    /// has it write its settings there.
    pub(super) async fn set_back(
        &self,
        policy: &Policy,
        peer: &Peer,
        settings: &[(String, String)],
    ) -> Result<Done, ExecuteError> {
        let mut connection = self.ports.connect(policy, peer).await?;
        set_all(&self.ports, &mut connection, peer, settings).await?;
        rewrite(&self.ports, &mut connection, peer).await?;
        Ok(Done::Restored)
    }

    /// Makes a replica follow `to`. Both are looked at right before: had the role moved on since the decision, the
    /// replica would hang on another replica, or on itself.
    pub(super) async fn repoint(
        &self,
        policy: &Policy,
        peer: &Peer,
        by_name: Option<&MemberName>,
        to: &Peer,
    ) -> Result<Done, ExecuteError> {
        let off = |why: String| ExecuteError::NotAsJudged { pod: peer.pod.to_string(), why };
        let way = way_to(&self.ports, by_name, to).await;
        let mut primary = self.ports.connect(policy, to).await?;
        let mut connection = self.ports.connect(policy, peer).await?;
        let seen = RoleSeen { at: self.ports.uptime() };
        let leads = replication(&mut primary, to).await?;
        let follows = replication(&mut connection, peer).await?;
        if !simply_primary(&leads) {
            return Err(off(format!("{} is not simply the primary", to.pod)));
        }
        if follows.role == Role::Primary {
            return Err(off(format!("{} is a primary", peer.pod)));
        }
        self.ports.may_change()?;
        seen.still_counts(to, self.ports.uptime())?;
        connection.replicaof(&way.address).await.map_err(|source| redis("REPLICAOF", peer, source))?;
        Ok(Done::Repointed(way.fallback(peer)))
    }
}

impl<P: Ports> Executor<P> {
    /// Demotes a second primary. Both processes are looked at right before: that they are the ones that were judged, that
    /// both still are primaries, and that the one that stays holds data.
    pub(super) async fn demote(
        &self,
        policy: &Policy,
        peer: &Peer,
        by_name: Option<&MemberName>,
        to: &Peer,
    ) -> Result<Done, ExecuteError> {
        let off = |why: String| ExecuteError::NotAsJudged { pod: peer.pod.to_string(), why };
        let way = way_to(&self.ports, by_name, to).await;
        let mut kept = self.ports.connect(policy, to).await?;
        let mut demoted = self.ports.connect(policy, peer).await?;
        let seen = RoleSeen { at: self.ports.uptime() };
        let goes = replication(&mut demoted, peer).await?;
        let keys = kept.keys(CONNECT_DEADLINE).await.map_err(|e| redis("INFO keyspace", to, e))?;
        // Last: without the one that stays nobody would be primary.
        let stays = replication(&mut kept, to).await?;
        if !simply_primary(&stays) {
            return Err(off(format!("{} is not simply the primary", to.pod)));
        }
        if keys == 0 {
            return Err(off(format!("{} holds no key", to.pod)));
        }
        if !simply_primary(&goes) {
            return Err(off(format!("{} is not simply a primary", peer.pod)));
        }
        self.ports.may_change()?;
        seen.still_counts(to, self.ports.uptime())?;
        demoted.replicaof(&way.address).await.map_err(|source| redis("REPLICAOF", peer, source))?;
        Ok(Done::Demoted(way.fallback(peer)))
    }
}

/// What the server says of its replication now.
pub(super) async fn replication<S: Acting>(server: &mut S, peer: &Peer) -> Result<Replication, ExecuteError> {
    server.replication(CONNECT_DEADLINE).await.map_err(|source| redis("INFO replication", peer, source))
}

/// Whether it is a primary that is not about to hand its role over.
fn simply_primary(seen: &Replication) -> bool {
    seen.role == Role::Primary && seen.failover_state == FailoverState::None
}

/// `CONFIG SET` for each of these.
pub(super) async fn set_all<P: Ports>(
    ports: &P,
    connection: &mut P::Server,
    peer: &Peer,
    settings: &[(String, String)],
) -> Result<(), ExecuteError> {
    for (name, value) in settings {
        ports.may_change()?;
        connection.config_set(name, value).await.map_err(|source| redis("CONFIG SET", peer, source))?;
    }
    Ok(())
}

/// `CONFIG REWRITE`, where there is a file.
pub(super) async fn rewrite<P: Ports>(ports: &P, connection: &mut P::Server, peer: &Peer) -> Result<(), ExecuteError> {
    ports.may_change()?;
    let rewritten = connection.config_rewrite().await;
    rewritten.map(|_| ()).map_err(|source| redis("CONFIG REWRITE", peer, source))
}

/// How a replica is told to follow.
pub(super) struct Way {
    /// What is sent.
    pub(super) address: NodeAddress,
    /// The name that would have been sent, had it resolved.
    unresolved: Option<String>,
}

impl Way {
    /// What is to be said when this replica was told.
    pub(super) fn fallback(&self, replica: &Peer) -> Option<Fallback> {
        let name = self.unresolved.clone()?;
        Some(Fallback { replica: replica.pod.clone(), name, address: self.address.clone() })
    }
}

/// The address by which a replica is to follow. A name that does not resolve blocks a replica's main thread for about
/// 20 s at a time (measured), so it is used only when it resolves, from here, to the new primary's pod and nothing else.
pub(super) async fn way_to<P: Ports>(ports: &P, by_name: Option<&MemberName>, to: &Peer) -> Way {
    match by_name {
        Some(name) if resolves_to(ports, name, to).await => Way { address: name.sent.clone(), unresolved: None },
        Some(name) => Way { address: to.node(), unresolved: Some(name.full.clone()) },
        None => Way { address: to.node(), unresolved: None },
    }
}

async fn resolves_to<P: Ports>(ports: &P, name: &MemberName, to: &Peer) -> bool {
    let found = within(ports, RESOLVE_DEADLINE, ports.resolve(&name.full, name.sent.port)).await;
    found.is_some_and(|found| means(&found, &to.addresses))
}

/// Whether a name with these addresses is the pod's: it has some, and every one is the pod's.
fn means(found: &[IpAddr], pod: &PodAddresses) -> bool {
    !found.is_empty() && found.iter().all(|ip| pod.contains(*ip))
}

pub(super) fn redis(what: &'static str, peer: &Peer, source: RedisError) -> ExecuteError {
    ExecuteError::Redis { what, pod: peer.pod.to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    use crate::{
        clock::Clock,
        domain::{fixtures, journal::MemberIdentity, names::RunId},
        execute::switchover::bare::Bare,
    };

    #[test]
    fn a_role_counts_for_less_than_a_second_after_it_was_asked_for() {
        let identity =
            MemberIdentity { pod: fixtures::pod_name(1), uid: fixtures::pod_uid(1), run_id: RunId::new("run") };
        let peer = Peer::gone(&identity);
        let seen = RoleSeen { at: Duration::from_secs(7) };
        let at = |ms| seen.still_counts(&peer, Duration::from_millis(ms));
        assert!(at(7_000).is_ok());
        assert!(at(7_999).is_ok());
        assert!(matches!(at(8_000), Err(ExecuteError::RoleReadTooLongAgo { pod }) if pod == "redis-1"));
        assert!(at(17_000).is_err());
    }

    #[test]
    fn a_name_is_the_pods_when_every_address_of_it_is_the_pods() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (four, six, other) = (ip("10.0.0.1"), ip("fd00::1"), ip("10.0.0.2"));
        let both = PodAddresses::of(["10.0.0.1", "fd00::1"]);
        assert!(means(&[four], &both) && means(&[six], &both) && means(&[six, four], &both), "dual stack");
        assert!(means(&[ip("::ffff:10.0.0.1")], &both));
        assert!(!means(&[four, other], &both));
        assert!(!means(&[six, four], &four.into()), "an address that is not known to be the pod's");
        assert!(!means(&[], &both));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_replaced_by_the_address_and_said() {
        let peer = |n: u8, address: SocketAddr| Peer {
            pod: fixtures::pod_name(n),
            uid: fixtures::pod_uid(n),
            run_id: RunId::new("run"),
            address,
            addresses: address.ip().into(),
            replication_port: address.port(),
        };
        let to = peer(1, ([127, 0, 0, 1], fixtures::PORT).into());
        let sent = NodeAddress { host: "redis-1.redis".into(), port: fixtures::PORT };
        // By its short form it means nothing here; by its full name it does.
        let name = MemberName { sent: sent.clone(), full: "localhost".into() };
        let way = way_to(&Bare::new(Clock::start(), fixtures::policy().redis.role_label), Some(&name), &to).await;
        assert_eq!((way.address.clone(), way.fallback(&to)), (sent.clone(), None));
        let name = MemberName { sent, full: "redis-1.redis.shop.invalid".into() };
        let way = way_to(&Bare::new(Clock::start(), fixtures::policy().redis.role_label), Some(&name), &to).await;
        let said = way.fallback(&peer(2, ([10, 0, 0, 2], fixtures::PORT).into())).expect("it is said");
        assert_eq!(way.address, to.node());
        let said = said.text(&to.pod);
        assert!(said.contains("redis-2") && said.contains("redis-1.redis.shop.invalid"), "{said}");
    }
}
