//! The clients of a set: they write through its Service, and the observer remembers what was acknowledged.

use crate::{
    faults::Lie,
    redis::{Ms, Role, Server},
    shape::{Connecting, SetShape},
    world::World,
};

/// Clients that keep their connections.
const CLIENTS: usize = 3;

/// Clients that stand on an old primary are sent on within this time (L9).
const STRANDED: Ms = 90_000;

/// A connection to one process.
#[derive(Clone, Copy, Debug)]
struct Connection {
    id: u64,
    run: u32,
    ip: u32,
    since: Ms,
    /// A write over it was acknowledged once: it led to the primary.
    served: bool,
}

/// The clients of one set.
#[derive(Clone, Debug)]
pub struct Clients {
    next_write: Ms,
    every: Ms,
    connecting: Connecting,
    connections: Vec<Connection>,
    connected: u64,
    /// For how long some of them have stood on a server that is primary no more.
    stranded: Ms,
    /// Until then somebody else had moved the role: who connected before may stand where that left them.
    theirs_until: Ms,
}

impl Clients {
    pub const fn new(shape: &SetShape) -> Self {
        let (every, connecting) = (shape.write_every, shape.connecting);
        let connections = Vec::new();
        Self { next_write: 500, every, connecting, connections, connected: 0, stranded: 0, theirs_until: 0 }
    }

    /// Ids of the clients that were connected to that process before `at`.
    pub fn of_process(&self, run: u32, at: Ms) -> Vec<u64> {
        self.connections.iter().filter(|it| it.run == run && it.since <= at).map(|it| it.id).collect()
    }

    /// Those of that process are closed.
    pub fn leave(&mut self, run: u32) {
        self.connections.retain(|it| it.run != run);
    }

    /// Closes those connections; how many there still were.
    pub fn close(&mut self, ids: &[u64]) -> u32 {
        let before = self.connections.len();
        self.connections.retain(|it| !ids.contains(&it.id));
        (before - self.connections.len()) as u32
    }
}

impl World {
    /// One write, through one of the Service's endpoints or over a connection that a client has kept.
    pub fn write(&mut self, set: usize) {
        let now = self.now;
        let clients = &mut self.clients[set];
        if now < clients.next_write {
            return;
        }
        clients.next_write = now + clients.every;
        let Some(ip) = self.destination(set) else { return };
        let watched = self.is_watched(set);
        let Some(server) = self.servers.by_ip.get_mut(&ip) else { return };
        if !server.accepts_writes(now) {
            // Whoever is refused asks again.
            let held = server.role == Role::Primary && (now < server.paused_until || server.hung(now));
            let run = server.run;
            if watched && !held {
                self.clients[set].leave(run);
            }
            return;
        }
        // Odd ones are evictions.
        self.writes += 2;
        server.append(&[self.writes]);
        self.observer.acknowledged(set, self.writes);
        let run = server.run;
        for connection in self.clients[set].connections.iter_mut().filter(|it| it.run == run) {
            connection.served = true;
        }
    }

    /// Where the next write goes.
    fn destination(&mut self, set: usize) -> Option<u32> {
        let servers = &self.servers;
        let clients = &mut self.clients[set];
        // A connection breaks when its process ends, and not before.
        clients.connections.retain(|it| servers.by_ip.get(&it.ip).is_some_and(|server| server.run == it.run));
        if clients.connecting == Connecting::Keeping && clients.connections.len() == CLIENTS {
            return Some(clients.connections[self.rng.below(CLIENTS)].ip);
        }
        let ip = if self.is_watched(set) { self.sent_by_sentinel(set)? } else { self.sent_by_service(set)? };
        let run = self.servers.by_ip.get(&ip)?.run;
        let clients = &mut self.clients[set];
        if clients.connecting == Connecting::Keeping {
            clients.connected += 1;
            clients.connections.push(Connection { id: clients.connected, run, ip, since: self.now, served: false });
        }
        Some(ip)
    }

    /// One of the Service's endpoints.
    fn sent_by_service(&mut self, set: usize) -> Option<u32> {
        let pods = self.kube.of_set(set).filter_map(|(_, place)| place.pod.as_ref());
        let open: Vec<u32> = pods.filter(|pod| pod.proxied).map(|pod| pod.ip).collect();
        if open.is_empty() { None } else { Some(self.rng.pick(&open)) }
    }

    /// In every step: clients that keep their connection stand on a server that is primary no more, by our doing.
    pub fn stranded(&mut self, set: usize, dt: Ms) {
        if self.observer.theirs(set) {
            self.clients[set].theirs_until = self.now;
        }
        let Clients { connections, theirs_until, .. } = &self.clients[set];
        // Those that ask Sentinels ask again.
        if connections.is_empty() || self.is_watched(set) {
            return;
        }
        let replicas = || self.servers.of_set(set).filter(|server| server.role != Role::Primary);
        // Nobody is sent on to a primary that answers nobody.
        let led = self.servers.of_set(set).any(|server| server.role == Role::Primary && !server.hung(self.now));
        // One that did not answer in the meantime could not be asked to close them.
        let hung = |server: &Server| server.hung_until > server.role_since;
        let on = |run: u32| replicas().any(|server| server.run == run && !hung(server));
        // While one says that it is primary besides the one that is, everything is frozen: which of them has the writes is
        // for a person to say.
        let claimed = self.kube.of_set(set).any(|(n, _)| self.lies(n, Lie::Primary));
        let stranded =
            led && !claimed && connections.iter().any(|it| it.served && it.since > *theirs_until && on(it.run));
        let works = self.someone_works && self.observer.ours(set);
        let waits = &mut self.clients[set].stranded;
        *waits = if stranded { *waits + if works { dt } else { 0 } } else { 0 };
        if *waits > STRANDED {
            let now = self.now;
            let text = "clients stand on a server that is primary no more, by our doing, and nobody sends them on";
            self.observer.flag(now, "L9", text.to_owned());
        }
    }
}
