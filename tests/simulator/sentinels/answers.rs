//! What Sentinels say when the operator asks them, and what servers show of them.

use std::time::Duration;

use redis_memory_operator::domain::{
    addresses::PodAddresses,
    fixtures,
    names::{NodeAddress, PodName},
    sample::Sample,
    sentinel::{Known, Named, SENTINEL_PORT, Said, Sentinel as Asked, WatchedSet},
    snapshot::ProbeFailure,
};

use super::{Sentinel, instance::Instance};
use crate::{
    redis::{Host, Ms, Server},
    shape::{self, Watch, pod_name, set_name, set_of},
    view,
    world::World,
};

/// What a Sentinel that is as old as the world says that it has long seen.
const LONG: Ms = 86_400_000;

impl World {
    /// What every Sentinel of that set answers now.
    pub fn ask_sentinels(&self, set: usize) -> Vec<Asked> {
        let Some(watch) = &self.schedule.sets[set].watch else { return Vec::new() };
        self.sentinels.of_set(set).filter_map(|at| self.asked(at, watch)).collect()
    }

    fn asked(&self, at: usize, watch: &Watch) -> Option<Asked> {
        let me = &self.sentinels.all[at];
        let (pod, uid, ip) = if watch.within {
            let n = shape::pod(me.set, me.n);
            let pod = self.kube.pod(n)?;
            // Whether it runs, by the API server.
            self.kube.places[&n].container_at.is_none().then_some(())?;
            (pod_name(n), pod.uid, pod.ip)
        } else {
            (PodName::new(format!("{}-sentinel-{}", set_name(me.set), me.n)), me.uid, me.ip)
        };
        let said = if !me.up || me.ip != ip {
            Err(ProbeFailure::Unreachable("connection refused".into()))
        } else if me.awake(self.now) {
            Ok(self.says(me, watch))
        } else {
            Err(ProbeFailure::TimedOut("no answer within 1 s".into()))
        };
        let addresses = PodAddresses::of([view::ip_text(ip).as_str()]);
        Some(Asked { pod, pod_uid: view::uid_text(uid), addresses, port: SENTINEL_PORT, container: None, said })
    }

    fn says(&self, me: &Sentinel, watch: &Watch) -> Said {
        let now = self.now;
        let replica = |(host, it): (&Host, &Instance)| Known {
            id: it.info.map_or(String::new(), |info| view::run_text(info.run).to_string()),
            address: view::address(*host),
            down: it.down || self.servers.resolve(*host).is_none(),
            fresh: it.is_fresh(now),
        };
        let peer = |(id, (n, heard_at)): (&u32, &(usize, Ms))| Known {
            id: name(*id),
            address: NodeAddress { port: SENTINEL_PORT, ..self.sentinel_address(me.set, *n, *id, watch) },
            down: now > heard_at + watch.down_after,
            fresh: true,
        };
        let since = now.saturating_sub(me.master.role_since) + if me.old { LONG } else { 0 };
        let set = WatchedSet {
            name: set_name(me.set).to_owned(),
            primary: view::address(me.primary),
            primary_down: me.master.down || me.o_down,
            failing_over: me.attempt.is_some(),
            quorum: watch.quorum as u32,
            down_after: Duration::from_millis(watch.down_after),
            failover_timeout: Duration::from_millis(watch.failover_timeout),
            settled_for: Duration::from_millis(since),
            replicas: me.replicas.iter().map(replica).collect(),
            others: me.peers.iter().map(peer).collect(),
        };
        Said { id: name(me.id), tilt: me.tilts(now), sets: vec![set] }
    }

    /// Where the others know that Sentinel; an address that nobody has, if it is gone.
    fn sentinel_address(&self, set: usize, n: usize, id: u32, watch: &Watch) -> NodeAddress {
        if watch.by_name && watch.within {
            return view::address(Host::Pod(shape::pod(set, n)));
        }
        let of = self.sentinels.all.iter().find(|it| it.set == set && it.id == id);
        view::address(Host::Ip(of.map_or(60_000 + id, |it| it.ip)))
    }

    /// What `SENTINEL MASTER` says while a role moves.
    pub fn named(&self, at: usize) -> Named {
        let me = &self.sentinels.all[at];
        Named { primary: view::address(me.primary), failing_over: me.attempt.is_some() }
    }

    /// What a server under Sentinel shows besides.
    pub fn dress(&self, server: &Server, sample: &mut Sample) {
        let set = set_of(server.pod);
        let connected = self.sentinels.all.iter().filter(|it| it.set == set && it.is_connected(self, server));
        sample.sentinel_hosts = connected.filter_map(|it| view::ip_text(it.ip).parse().ok()).collect();
        sample.sentinel_hosts.sort_unstable();
        sample.sentinel_seen = Some(!sample.sentinel_hosts.is_empty());
        let Ok(config) = sample.config.as_mut() else { return };
        let before = std::mem::replace(&mut config.serving, fixtures::usual_serving());
        config.serving.replica_priority = before.replica_priority;
        config.serving.ignores_maxmemory = before.ignores_maxmemory.or(config.serving.ignores_maxmemory);
        config.serving.carried.extend(before.carried);
        config.serving.carried.remove("repl-ping-replica-period");
        config.serving.replica_ping_period = Some(server.setting("repl-ping-replica-period", 10));
        config.min_replicas_to_write = server.setting("min-replicas-to-write", 0) as u32;
    }
}

/// The id of a Sentinel.
fn name(id: u32) -> String {
    format!("sentinel-{id}")
}
