//! The simulated world: Kubernetes, the Redis servers, clients that remember what was acknowledged, and the faults
//! that strike it. Time is a number.

use redis_memory_operator::{
    api::v1alpha1::Mode,
    assess::several::ACCEPT_ANNOTATION,
    domain::{fixtures, journal::Journal, step::Step},
};

use crate::{
    faults::{Fault, Lie, POINTS, Trigger, Whose},
    kubernetes::{Kubernetes, Lease, Mood, PODS, Place, Pod, Resource},
    observer::Observer,
    redis::{Cause, Change, Failover, Host, Link, Ms, Order, Role, Server, Servers},
    rng::Rng,
    schedule::Schedule,
};

/// What strikes a process of the operator; the runner carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    Crash { back_after: Ms },
    Stop { lasts: Ms },
}

/// The world.
pub struct World {
    pub now: Ms,
    pub kube: Kubernetes,
    pub servers: Servers,
    pub observer: Observer,
    pub rng: Rng,
    pub schedule: Schedule,
    /// Not struck yet.
    pending: Vec<(Trigger, Fault)>,
    passed: Vec<(&'static str, u32)>,
    /// What the runner must do to operators.
    pub blows: Vec<(Whose, Blow)>,
    pub lease_blocked: Vec<(Whose, Ms)>,
    pub cache_frozen: Vec<(Whose, Ms)>,
    lies: Vec<(usize, Lie, Ms)>,
    undo: Vec<(Ms, usize, Undo)>,
    /// Commands that lie in the socket of a server that is hung: when, to which process, what.
    late: Vec<(Ms, u32, Order)>,
    next_write: Ms,
    writes: u32,
    edits: u32,
    /// What the volume of each pod holds.
    volumes: Vec<Vec<u32>>,
    next_run: u32,
    /// An operator leads and runs.
    pub someone_works: bool,
    healed: bool,
    person_at: Ms,
    /// Nobody or more than one has been primary since then.
    wrong_since: Option<Ms>,
    trace: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug)]
enum Undo {
    Suspend,
    Observe,
}

impl World {
    pub fn new(schedule: &Schedule, policies: Vec<Resource>, traced: bool) -> Self {
        let mut servers = Servers::default();
        servers.full_sync = schedule.full_sync;
        let mut places = Vec::new();
        let limit = if schedule.tight { 700 } else { 1024 };
        for n in 0..PODS {
            let (uid, ip) = (n as u32 + 1, n as u32 + 10);
            let clean = schedule.clean_member == Some(n);
            let mut server = Server::fresh(uid, ip, n, uid, 0);
            server.old = true;
            server.searching = false;
            server.fragmented = !clean;
            server.replid = 0;
            server.role = if n == 0 { Role::Primary } else { Role::Replica(Host::Pod(0)) };
            server.link = Link::Down;
            servers.by_ip.insert(ip, server);
            let role = if n == 0 { "primary" } else { "replica" };
            let pod = Pod {
                uid,
                rv: 1,
                ip,
                started: 0,
                old: true,
                ready: true,
                terminating: None,
                deleted_at: None,
                role: Some(role),
                limit_mib: limit,
                revision: 1,
                slice: n == 0,
                proxied: n == 0,
                slice_since: 0,
                wanted_since: 0,
            };
            places.push(Place { pod: Some(pod), next_at: 0, container_at: None });
        }
        let kube = Kubernetes {
            places,
            policies,
            lease: Lease::default(),
            mood: Mood::Well,
            mood_until: 0,
            budget_shut_until: 0,
            no_pods_until: 0,
            template_revision: 1,
            template_limit_mib: limit,
            template_maxmemory_mib: if schedule.settings_drift { 500 } else { 512 },
            reuse_address: false,
            freed: Vec::new(),
            serial: 10,
            next_uid: 100,
            next_ip: 100,
            endpoint_delay: schedule.endpoint_delay,
            proxy_delay: 700,
        };
        Self {
            now: 0,
            kube,
            servers,
            observer: Observer::of(schedule.fixed_start),
            rng: Rng::new(schedule.seed, 2),
            pending: schedule.faults.clone(),
            schedule: schedule.clone(),
            passed: Vec::new(),
            blows: Vec::new(),
            lease_blocked: Vec::new(),
            cache_frozen: Vec::new(),
            lies: Vec::new(),
            undo: Vec::new(),
            late: Vec::new(),
            next_write: 500,
            writes: 0,
            edits: 0,
            volumes: vec![Vec::new(); PODS],
            next_run: 1000,
            someone_works: false,
            healed: false,
            person_at: 0,
            wrong_since: None,
            trace: traced.then(Vec::new),
        }
    }

    /// Notes a line for the trace of a failed schedule; the text is made only when it is wanted.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = self.trace.as_mut() {
            trace.push(format!("{:>8.3} {}", now as f64 / 1000.0, text()));
        }
    }

    pub fn trace(&self) -> String {
        self.trace.as_deref().unwrap_or_default().join("\n")
    }

    /// The next time at which something must be looked at.
    fn stride(&self) -> Ms {
        if self.servers.switching() { 20 } else { 200 }
    }

    /// Lets time pass.
    pub fn advance(&mut self, to: Ms) {
        while self.now < to {
            let dt = self.stride().min(to - self.now);
            self.now += dt;
            self.strike_due();
            self.pods();
            self.obey_late();
            let changes = self.servers.step(self.now);
            for change in changes {
                self.changed(change);
            }
            self.kube.follow(self.now);
            self.write();
            // Who is primary cannot be known from one that denies it, nor whether nobody is from one that claims it.
            let lied = |pod| self.lies(pod, Lie::Replica) || self.lies(pod, Lie::Primary);
            let denied = (0..self.kube.places.len()).any(lied);
            self.observer.leaderless(&self.servers, self.someone_works && !denied, dt, self.now);
            self.observer.look(&self.kube, &self.servers, self.someone_works, dt, self.now);
        }
    }

    fn changed(&mut self, change: Change) {
        self.note(|| format!("redis: {change:?}"));
        if let Change::Promoted { ip, cause } = change {
            let id = self.remediation();
            let server = &self.servers.by_ip[&ip];
            let pod = server.pod;
            self.observer.promoted(server, cause, id.as_ref(), self.now);
            if cause == Cause::Ours {
                self.observer.stays(&self.kube, pod, self.now);
            }
            if cause == Cause::Foreign {
                // Whoever moved the role tells the other replicas, too.
                let others: Vec<u32> = self.servers.by_ip.keys().copied().filter(|it| *it != ip).collect();
                for other in others {
                    let _ = self.servers.replicaof(other, Host::Pod(pod), self.now);
                }
            }
        }
    }

    /// A command lies in the socket of a hung server: it is read some time after the server goes on.
    pub fn leave(&mut self, ip: u32, order: Order) {
        let Some(server) = self.servers.by_ip.get(&ip) else { return };
        let (run, due) = (server.run, server.hung_until);
        let due = due + self.rng.range(1, 400);
        self.late.push((due, run, order));
    }

    /// The remediation that is under way by the journals.
    pub fn remediation(&self) -> Option<String> {
        self.kube.policies.iter().find_map(|policy| policy.journal().map(|it| it.id.clone()))
    }

    /// A journal is about to be written.
    pub fn journal_arrives(&mut self, p: usize, new: Option<&Journal>) {
        let old = self.kube.policies[p].journal();
        let (had, same) = (old.is_some(), old.map(|it| it.cursor) == new.map(|it| it.cursor));
        let now = self.now;
        if !same {
            self.observer.progressed(now);
        }
        let restarts = |journal: &Journal| journal.steps.iter().any(|it| matches!(it.step, Step::Evict { .. }));
        if had || !new.is_some_and(restarts) {
            return;
        }
        let due = (0..PODS).any(|n| self.lied(n) || self.servers.of_pod(n).is_some_and(|it| it.fragmented));
        // Who was to be cured may have been killed since.
        if !due && self.kube.down().is_empty() {
            self.observer.flag(now, "S5", "a remediation begins although nothing is fragmented".to_owned());
        }
    }

    /// A switchover takes the role away from that pod, by the journals.
    fn had_the_role(&self, pod: usize) -> bool {
        let name = fixtures::pod_name(pod as u8);
        let from = |policy: &Resource| match policy.journal().and_then(Journal::step) {
            Some(Step::Switchover { from, .. }) => *from == name,
            _ => false,
        };
        self.kube.policies.iter().any(from)
    }

    fn obey_late(&mut self) {
        let now = self.now;
        while let Some(at) = self.late.iter().position(|(due, ..)| *due <= now) {
            let (_, run, order) = self.late.remove(at);
            let ip = self.servers.by_ip.values().find(|server| server.run == run && !server.hung(now)).map(|it| it.ip);
            let Some(ip) = ip else { continue };
            let said = self.obey(ip, &order);
            self.note(|| format!("redis: process {run} reads {order:?} late: {said:?}"));
        }
    }

    /// A server carries a command out.
    pub fn obey(&mut self, ip: u32, order: &Order) -> Result<(), &'static str> {
        let now = self.now;
        match order {
            Order::Failover(to, timeout) => {
                self.servers.failover(ip, *to, *timeout, Cause::Ours, now)?;
                let from = self.servers.by_ip[&ip].pod;
                self.observer.failing_over(from, *timeout, now);
                Ok(())
            }
            Order::Abort => {
                self.servers.abort(ip, Cause::Ours, now)?;
                self.observer.became_primary(Cause::Ours);
                Ok(())
            }
            Order::Set(name, value) => self.configure(ip, name, value),
            Order::WriteOut => {
                let server = self.servers.by_ip.get_mut(&ip).ok_or("no connection")?;
                server.writing_until = now + 1_500;
                Ok(())
            }
            Order::Pause(_) | Order::Unpause | Order::Follow(_) | Order::Lead => self.exchange(ip, order),
        }
    }

    fn configure(&mut self, ip: u32, name: &str, value: &str) -> Result<(), &'static str> {
        let server = self.servers.by_ip.get_mut(&ip).ok_or("no connection")?;
        let number = || value.parse().map_err(|_| "argument couldn't be parsed into an integer");
        match name {
            "maxmemory" => server.maxmemory_mib = number()? >> 20,
            "repl-backlog-size" => server.backlog = number()?,
            _ => {
                server.set.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    /// The commands by which roles move without `FAILOVER`.
    fn exchange(&mut self, ip: u32, order: &Order) -> Result<(), &'static str> {
        let now = self.now;
        let Some(server) = self.servers.by_ip.get_mut(&ip) else { return Err("no connection") };
        match order {
            Order::Pause(bound) => {
                let bound = *bound;
                let until = bound.map_or(Ms::MAX, |bound| now + bound);
                server.paused_until = server.paused_until.max(until);
                let pod = server.pod;
                self.observer.pausing(pod, bound, now);
            }
            Order::Unpause => server.paused_until = 0,
            Order::Follow(host) => {
                let host = *host;
                let (led, run) = (server.role == Role::Primary, server.run);
                self.servers.replicaof(ip, host, now)?;
                if led && !self.servers.by_ip.values().any(|it| it.role == Role::Primary) {
                    self.observer.demoted(run);
                }
            }
            _ if server.failover != Failover::None => return Err("not while failing over"),
            _ => {
                let (led, pod) = (server.role == Role::Primary, server.pod);
                let (back, remediation) = (self.had_the_role(pod), self.remediation());
                self.servers.promote(ip, Cause::Ours, now);
                let server = &self.servers.by_ip[&ip];
                if !led && back {
                    self.observer.took_back(server, now);
                } else if !led {
                    self.observer.promoted(server, Cause::Ours, remediation.as_ref(), now);
                    self.observer.stays(&self.kube, pod, now);
                }
            }
        }
        Ok(())
    }

    /// The clients: one write through one of the Service's endpoints.
    fn write(&mut self) {
        if self.now < self.next_write {
            return;
        }
        self.next_write = self.now + self.schedule.write_every;
        let open: Vec<u32> = self
            .kube
            .places
            .iter()
            .filter_map(|place| place.pod.as_ref())
            .filter(|pod| pod.proxied)
            .map(|pod| pod.ip)
            .collect();
        if open.is_empty() {
            return;
        }
        let ip = self.rng.pick(&open);
        let now = self.now;
        let Some(server) = self.servers.by_ip.get_mut(&ip).filter(|server| server.accepts_writes(now)) else { return };
        self.writes += 1;
        server.log.push(self.writes);
        self.observer.acknowledged(self.writes);
    }

    fn pods(&mut self) {
        for n in 0..PODS {
            if self.kube.pod(n).is_some_and(|pod| pod.terminating.is_some_and(|at| self.now >= at)) {
                self.remove(n);
            }
            let place = &self.kube.places[n];
            if place.pod.is_none() && self.now >= place.next_at.max(self.kube.no_pods_until) {
                self.create(n);
            }
            if self.kube.places[n].container_at.is_some_and(|at| self.now >= at) {
                self.start(n);
            }
            self.readiness(n);
        }
    }

    fn remove(&mut self, n: usize) {
        let Some(pod) = self.kube.places[n].pod.take() else { return };
        self.note(|| format!("kubernetes: redis-{n} (uid {}) is gone", pod.uid));
        if let Some(server) = self.servers.by_ip.remove(&pod.ip) {
            self.volumes[n] = server.log;
        }
        self.kube.freed.push(pod.ip);
        self.kube.places[n].next_at = self.now + self.rng.range(200, 1500);
        self.kube.places[n].container_at = None;
        self.kube.bump();
    }

    fn create(&mut self, n: usize) {
        let ip = if self.kube.reuse_address && !self.kube.freed.is_empty() {
            self.kube.reuse_address = false;
            self.kube.freed.remove(0)
        } else {
            self.kube.next_ip += 1;
            self.kube.next_ip
        };
        self.kube.next_uid += 1;
        let (uid, rv) = (self.kube.next_uid, self.kube.bump());
        self.note(|| format!("kubernetes: redis-{n} is created as uid {uid} at {ip}"));
        self.kube.places[n].pod = Some(Pod {
            uid,
            rv,
            ip,
            started: self.now,
            old: false,
            ready: false,
            terminating: None,
            deleted_at: None,
            role: None,
            limit_mib: self.kube.template_limit_mib,
            revision: self.kube.template_revision,
            slice: false,
            proxied: false,
            slice_since: self.now,
            wanted_since: self.now,
        });
        self.kube.places[n].container_at = Some(self.now + self.rng.range(300, 2000));
    }

    fn start(&mut self, n: usize) {
        self.kube.places[n].container_at = None;
        let Some(pod) = self.kube.pod(n) else { return };
        let (ip, uid) = (pod.ip, pod.uid);
        self.next_run += 1;
        let mut server = Server::fresh(self.next_run, ip, n, uid, self.now);
        server.loading_until = self.now + self.rng.range(100, 900);
        server.retry_at = server.loading_until;
        server.fragmented = !self.schedule.restart_helps;
        server.maxmemory_mib = self.kube.template_maxmemory_mib;
        if self.schedule.fixed_start {
            server.log.clone_from(&self.volumes[n]);
            server.searching = false;
            server.role = if n == 0 { Role::Primary } else { Role::Replica(Host::Pod(0)) };
            if n == 0 {
                self.observer.became_primary(Cause::Initial);
            }
        }
        self.note(|| format!("redis: process {} starts in redis-{n}", server.run));
        self.servers.by_ip.insert(ip, server);
        let now = self.now;
        self.kube.touch(n, |pod| {
            pod.started = now;
            pod.old = false;
        });
    }

    fn readiness(&mut self, n: usize) {
        let now = self.now;
        let Some(pod) = self.kube.pod(n).filter(|pod| pod.terminating.is_none()) else { return };
        let server = self.servers.by_ip.get(&pod.ip).filter(|server| server.uid == pod.uid);
        let ready = match server {
            None => false,
            // A probe fails three times before the kubelet says so.
            Some(server) if server.hung(now) => pod.ready && now < server.hung_since + 8000,
            Some(server) => now >= server.loading_until,
        };
        if ready != pod.ready {
            self.kube.touch(n, |pod| pod.ready = ready);
        }
    }

    /// An operator passes a point; what waits for it strikes.
    pub fn pass(&mut self, point: &str) -> bool {
        let Some(point) = POINTS.iter().find(|it| **it == point) else { return false };
        let count = match self.passed.iter_mut().find(|(name, _)| name == point) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.passed.push((*point, 1));
                1
            }
        };
        if self.now >= self.schedule.calm {
            return false;
        }
        let due = |trigger: &Trigger| matches!(trigger, Trigger::On(name, nth) if name == point && *nth == count);
        let mut struck = false;
        while let Some(at) = self.pending.iter().position(|(trigger, _)| due(trigger)) {
            let (trigger, fault) = self.pending.remove(at);
            self.note(|| format!("FAULT {trigger}: {fault}"));
            self.strike(fault);
            struck = true;
        }
        struck
    }

    fn strike_due(&mut self) {
        let now = self.now;
        let due = |trigger: &Trigger| matches!(trigger, Trigger::At(at) if *at <= now);
        while let Some(at) = self.pending.iter().position(|(trigger, _)| due(trigger)) {
            let (trigger, fault) = self.pending.remove(at);
            self.note(|| format!("FAULT {trigger}: {fault}"));
            self.strike(fault);
        }
        while let Some(at) = self.undo.iter().position(|(at, ..)| *at <= now) {
            let (_, policy, undo) = self.undo.remove(at);
            self.note(|| format!("undone: {undo:?} of policy {policy}"));
            self.revert(policy, undo);
        }
        if now >= self.schedule.calm {
            self.heal();
        }
    }

    fn revert(&mut self, policy: usize, undo: Undo) {
        self.kube.edit(policy, self.now, |object| match undo {
            Undo::Suspend => object.spec.suspend = false,
            Undo::Observe => object.spec.mode = Mode::Enforce,
        });
    }

    fn strike(&mut self, fault: Fault) {
        // What changes is looked at: the pace of a steady state is measured from here.
        self.observer.progressed(self.now);
        let until = |lasts: Ms| (self.now + lasts).min(self.schedule.calm);
        match fault {
            Fault::Crash { operator, back_after } => self.blows.push((operator, Blow::Crash { back_after })),
            Fault::Stop { operator, lasts } => {
                self.blows.push((operator, Blow::Stop { lasts: until(lasts) - self.now }));
            }
            Fault::LeaseBlocked { operator, lasts } => self.lease_blocked.push((operator, until(lasts))),
            Fault::StaleCache { operator, lasts } => self.cache_frozen.push((operator, until(lasts))),
            Fault::Api { mood, lasts } => (self.kube.mood, self.kube.mood_until) = (mood, until(lasts)),
            Fault::BudgetShut { lasts } => self.kube.budget_shut_until = until(lasts),
            Fault::NoPods { lasts } => self.kube.no_pods_until = until(lasts),
            Fault::Kill { pod, hard } => self.kill(pod, if hard { 0 } else { 1500 }),
            Fault::Drain { pod } => self.drain(pod),
            Fault::Restart { pod } => self.restart(pod),
            Fault::MoveRole { to } => self.move_role(to),
            Fault::Relabel { pod } => self.kube.touch(pod, |pod| {
                pod.role = Some(if pod.role == Some("primary") { "replica" } else { "primary" });
            }),
            Fault::Hang { .. } | Fault::Flap { .. } | Fault::Slow { .. } => self.hamper(fault),
            Fault::Lie { pod, lie, lasts } => self.lies.push((pod, lie, until(lasts))),
            Fault::Edit { policy } => {
                self.edits += 1;
                let step_timeout = format!("{}s", 240 + self.edits);
                self.kube.edit(policy, self.now, |object| object.spec.restart.step_timeout = step_timeout);
            }
            Fault::Suspend { policy, lasts } => {
                self.undo.push((until(lasts), policy, Undo::Suspend));
                self.kube.edit(policy, self.now, |object| object.spec.suspend = true);
            }
            Fault::Observe { policy, lasts } => {
                self.undo.push((until(lasts), policy, Undo::Observe));
                self.kube.edit(policy, self.now, |object| object.spec.mode = Mode::Observe);
            }
            Fault::Delete { policy } => self.kube.delete_policy(policy, self.now),
            Fault::Template => self.kube.template_revision += 1,
            Fault::ReuseAddress => self.kube.reuse_address = true,
        }
    }

    fn hamper(&mut self, fault: Fault) {
        let now = self.now;
        let (Fault::Hang { pod, lasts } | Fault::Flap { pod, lasts } | Fault::Slow { pod, lasts }) = fault else {
            return;
        };
        let until = (now + lasts).min(self.schedule.calm);
        let Some(server) = self.servers.of_pod_mut(pod) else { return };
        match fault {
            Fault::Hang { .. } => (server.hung_since, server.hung_until) = (now, until),
            Fault::Flap { .. } => server.flap_until = until,
            _ => server.slow_until = until,
        }
    }

    /// Whether a probe of that pod is answered with that lie now.
    pub fn lies(&self, pod: usize, lie: Lie) -> bool {
        self.lies.iter().any(|(it, told, until)| *it == pod && *told == lie && self.now < *until)
    }

    /// Whether that pod ever claimed to be fragmented.
    pub fn lied(&self, pod: usize) -> bool {
        self.lies.iter().any(|(it, told, _)| *it == pod && *told == Lie::Fragmented)
    }

    /// Somebody else takes a pod away: what only it holds is lost, and that is not our doing.
    fn kill(&mut self, pod: usize, grace: Ms) {
        self.observer.progressed(self.now);
        let ip = self.kube.pod(pod).map(|pod| pod.ip);
        self.kube.delete(pod, self.now, grace);
        if let Some(server) = ip.and_then(|ip| self.servers.by_ip.get_mut(&ip)) {
            // It writes no more while it goes, so that what is excused is known now.
            server.closed_until = Ms::MAX;
        }
        self.observer.excuse(&self.servers, ip, None);
        if grace == 0 {
            self.remove(pod);
        }
    }

    fn drain(&mut self, pod: usize) {
        let others_down = self.kube.down().iter().any(|n| *n != pod);
        if self.now >= self.kube.budget_shut_until && !others_down && self.kube.pod(pod).is_some() {
            self.kill(pod, 1500);
        }
    }

    fn restart(&mut self, n: usize) {
        let Some(ip) = self.kube.pod(n).map(|pod| pod.ip) else { return };
        if self.servers.by_ip.get(&ip).is_none_or(|server| server.uid != self.kube.pod(n).unwrap().uid) {
            return;
        }
        self.observer.excuse(&self.servers, Some(ip), None);
        self.observer.progressed(self.now);
        self.servers.by_ip.remove(&ip);
        self.kube.places[n].container_at = Some(self.now + 500);
    }

    fn move_role(&mut self, to: usize) {
        let now = self.now;
        let Some(target) = self.servers.of_pod(to).map(|server| server.ip) else { return };
        let primary = self.servers.by_ip.values().find(|it| it.role == Role::Primary && !it.hung(now)).map(|it| it.ip);
        if let Some(primary) = primary {
            let _ = self.servers.failover(primary, target, Some(3000), Cause::Foreign, now);
        }
    }

    /// Everything that is wrong passes; a person mends roles that nobody else mends.
    fn heal(&mut self) {
        let now = self.now;
        if !self.healed {
            self.healed = true;
            self.note(|| "everything heals".to_owned());
            self.observer.progressed(now);
            self.pending.clear();
            // A person makes the members and the template equal.
            self.kube.template_maxmemory_mib = 512;
            for server in self.servers.by_ip.values_mut() {
                server.maxmemory_mib = 512;
            }
            for place in &mut self.kube.places {
                if let Some(pod) = place.pod.as_mut() {
                    // The roll-out is finished.
                    pod.revision = self.kube.template_revision;
                }
            }
        }
        if now < self.person_at {
            return;
        }
        let primaries: Vec<u32> =
            self.servers.by_ip.values().filter(|it| it.role == Role::Primary).map(|it| it.ip).collect();
        // A FAILOVER of somebody else whose target is gone hangs for ever: a person sees that, and ends it.
        let hangs = |it: &Server| {
            it.failover_cause == Cause::Foreign
                && matches!(it.failover, Failover::InProgress { to, .. } if !self.servers.by_ip.contains_key(&to))
        };
        let hanging: Vec<u32> = self.servers.by_ip.values().filter(|it| hangs(it)).map(|it| it.ip).collect();
        let failing_over =
            self.servers.by_ip.values().any(|it| it.failover != Failover::None && !hanging.contains(&it.ip));
        self.accept(&primaries);
        if primaries.len() == 1 || failing_over || self.kube.down().len() > 1 {
            self.wrong_since = None;
            return;
        }
        // Nobody comes for what lasts a moment.
        if now < *self.wrong_since.get_or_insert(now) + 10_000 {
            return;
        }
        (self.person_at, self.wrong_since) = (now + 20_000, None);
        for ip in hanging {
            let _ = self.servers.abort(ip, Cause::Foreign, now);
        }
        let Some(best) = self.servers.by_ip.values().max_by_key(|it| it.log.len()) else { return };
        let (ip, pod, log) = (best.ip, best.pod, best.log.clone());
        self.note(|| format!("a person makes redis-{pod} the primary, of {primaries:?}"));
        self.observer.excuse(&self.servers, None, Some(&log));
        if !primaries.contains(&ip) {
            self.servers.promote(ip, Cause::Foreign, now);
        }
        self.observer.became_primary(Cause::Foreign);
        let others: Vec<u32> = self.servers.by_ip.keys().copied().filter(|it| *it != ip).collect();
        for other in others {
            let _ = self.servers.replicaof(other, Host::Pod(pod), now);
        }
    }

    /// A person reads that a label follows nobody, and says who is right.
    fn accept(&mut self, primaries: &[u32]) {
        let [only] = primaries else { return };
        let pod = self.servers.by_ip[only].pod;
        for policy in &mut self.kube.policies {
            let records = policy.status().map(|status| status.workloads.as_slice()).unwrap_or_default();
            let mark = records.iter().find_map(|record| record.several_primaries.as_ref());
            let said = mark.map(|mark| format!("redis-{pod}.{}", mark.seen_at.as_second()));
            let annotations = policy.object.metadata.annotations.get_or_insert_default();
            if annotations.get(ACCEPT_ANNOTATION) == said.as_ref() {
                continue;
            }
            match said {
                Some(said) => annotations.insert(ACCEPT_ANNOTATION.to_owned(), said),
                None => annotations.remove(ACCEPT_ANNOTATION),
            };
            self.kube.serial += 1;
            policy.object.metadata.resource_version = Some(self.kube.serial.to_string());
        }
    }
}
