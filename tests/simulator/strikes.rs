//! Faults strike the simulated world: at a time, or when an operator passes a point.

use redis_memory_operator::{
    api::v1alpha1::Mode,
    domain::{
        bytes::Bytes,
        request::{Ask, REQUEST_ANNOTATION, Wanted},
    },
    validate::request,
};

use crate::{
    faults::{Fault, MAXMEMORY_POINTS, POINTS, Trigger, WATCHED_POINTS},
    redis::{Cause, Ms, Role},
    shape::{pod_name, set_name, set_of},
    view,
    world::{Blow, World},
};

/// What is taken back when it has lasted long enough.
#[derive(Clone, Copy, Debug)]
pub enum Undo {
    Suspend,
    Observe,
}

impl World {
    /// An operator passes a point; what waits for it strikes.
    pub fn pass(&mut self, point: &str) -> bool {
        let Some(point) = POINTS.iter().chain(WATCHED_POINTS).chain(MAXMEMORY_POINTS).find(|it| **it == point) else {
            return false;
        };
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

    pub fn strike_due(&mut self) {
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
        self.kube.edit(policy, |object| match undo {
            Undo::Suspend => object.spec.suspend = false,
            Undo::Observe => object.spec.mode = Mode::Enforce,
        });
    }

    /// Until when something lasts: no longer than until everything heals, unless it never does.
    pub fn until(&self, lasts: Ms) -> Ms {
        if lasts == Ms::MAX { Ms::MAX } else { (self.now + lasts).min(self.schedule.calm) }
    }

    fn strike(&mut self, fault: Fault) {
        self.struck = true;
        // What changes is looked at: the pace of a steady state is measured from here.
        self.observer.progressed(self.now);
        match fault {
            Fault::Crash { operator, back_after } => self.blows.push((operator, Blow::Crash { back_after })),
            Fault::Stop { operator, lasts } => {
                let lasts = self.until(lasts) - self.now;
                self.blows.push((operator, Blow::Stop { lasts }));
            }
            Fault::LeaseBlocked { operator, lasts } => self.lease_blocked.push((operator, self.until(lasts))),
            Fault::StaleCache { operator, lasts } => self.cache_frozen.push((operator, self.until(lasts))),
            Fault::Api { mood, lasts } => (self.kube.mood, self.kube.mood_until) = (mood, self.until(lasts)),
            Fault::BudgetShut { set, lasts } => self.kube.sets[set].budget_shut_until = self.until(lasts),
            Fault::NoPods { set, lasts } => self.kube.sets[set].no_pods_until = self.until(lasts),
            Fault::NoRoom { set, lasts } => self.kube.sets[set].no_room_until = self.until(lasts),
            Fault::Scale { set, to } => self.scale(set, to),
            Fault::SetsBack { set, what } => self.people.set_back(set, what),
            Fault::Template { set } => self.kube.sets[set].revision += 1,
            Fault::Limits { set, mib } => self.person_limits(set, mib),
            Fault::ReuseAddress => self.kube.reuse_address = true,
            Fault::Edit { .. }
            | Fault::Suspend { .. }
            | Fault::Asks { .. }
            | Fault::Observe { .. }
            | Fault::Delete { .. } => {
                self.strike_policy(fault);
            }
            Fault::Sentinels { set, of: (first, count), what } => {
                let struck: Vec<usize> = self.sentinels.of_set(set).skip(first).take(count).collect();
                for at in struck {
                    self.strike_sentinel(at, what);
                }
            }
            _ => self.strike_pod(fault),
        }
    }

    fn strike_policy(&mut self, fault: Fault) {
        match fault {
            Fault::Edit { policy } => {
                self.edits += 1;
                let step_timeout = format!("{}s", 240 + self.edits);
                self.kube.edit(policy, |object| object.spec.restart.step_timeout = step_timeout);
            }
            Fault::Suspend { policy, lasts } => {
                self.undo.push((self.until(lasts), policy, Undo::Suspend));
                self.kube.edit(policy, |object| object.spec.suspend = true);
            }
            Fault::Asks { policy, set } => {
                let wanted = Wanted::Switchover { set: set_name(set).to_owned(), to: None };
                let ask = Ask { wanted, by: "alice".into(), at: view::wall(self.now, 0), reason: "by hand".into() };
                self.kube.edit(policy, |object| {
                    let annotations = object.metadata.annotations.get_or_insert_default();
                    annotations.insert(REQUEST_ANNOTATION.to_owned(), request::written(&ask));
                    // An annotation is no change of the spec.
                    object.metadata.generation = object.metadata.generation.map(|generation| generation - 1);
                });
            }
            Fault::Observe { policy, lasts } => {
                self.undo.push((self.until(lasts), policy, Undo::Observe));
                self.kube.edit(policy, |object| object.spec.mode = Mode::Observe);
            }
            Fault::Delete { policy } => self.kube.delete_policy(policy, self.now),
            _ => {}
        }
    }

    fn strike_pod(&mut self, fault: Fault) {
        match fault {
            Fault::Kill { pod, hard } => self.kill(pod, if hard { 0 } else { 1500 }),
            Fault::Drain { pod, prestop } => self.drain(pod, prestop),
            Fault::Restart { pod } => self.restart(pod, true),
            Fault::OutOfMemory { pod } => self.kill_process(pod),
            Fault::Outgrows { pod, percent } => self.outgrows(pod, percent),
            Fault::MoveRole { to } => self.move_role(to),
            Fault::Relabel { pod } => self.kube.touch(pod, |pod| {
                pod.role = Some(if pod.role == Some("primary") { "replica" } else { "primary" });
            }),
            Fault::Lie { pod, lie, lasts } => self.lies.push((pod, lie, self.until(lasts))),
            Fault::Bounds { pod, kib } => self.person_bounds(pod, Bytes(kib << 10)),
            Fault::Configure { pod } => {
                if let Some(server) = self.servers.of_pod_mut(pod) {
                    server.set.insert("timeout".to_owned(), "300".to_owned());
                }
            }
            _ => self.hamper(fault),
        }
    }

    fn hamper(&mut self, fault: Fault) {
        let now = self.now;
        let (Fault::Hang { pod, lasts }
        | Fault::Flap { pod, lasts }
        | Fault::Slow { pod, lasts }
        | Fault::Fork { pod, lasts }) = fault
        else {
            let Fault::Grow { pod, mib } = fault else { return };
            if let Some(server) = self.servers.of_pod_mut(pod) {
                server.grows_to_mib = mib;
            }
            return;
        };
        let until = self.until(lasts);
        let Some(server) = self.servers.of_pod_mut(pod) else { return };
        match fault {
            Fault::Hang { .. } => (server.hung_since, server.hung_until) = (now, until),
            Fault::Flap { .. } => server.flap_until = until,
            Fault::Fork { .. } => server.write_out(now, until - now),
            _ => server.slow_until = until,
        }
    }

    /// Somebody else takes a pod away: what only it holds is lost, and that is not our doing.
    pub fn kill(&mut self, n: usize, grace: Ms) {
        self.observer.progressed(self.now);
        let ip = self.kube.pod(n).map(|pod| pod.ip);
        self.take(n, grace);
        if let Some(server) = ip.and_then(|ip| self.servers.by_ip.get_mut(&ip)) {
            // It writes no more while it goes, so that what is excused is known now.
            server.closed_until = Ms::MAX;
        }
        if let Some(ip) = ip {
            self.observer.ends(&self.servers, ip, self.now);
        }
        if grace == 0 {
            self.remove(n, false);
        }
    }

    fn take(&mut self, n: usize, grace: Ms) {
        self.kube.delete(n, self.now, grace);
        if let Some(pod) = self.kube.pod_mut(n) {
            pod.taken = true;
        }
    }

    /// A node is drained. With a preStop hook the server goes on for a while, and takes writes.
    fn drain(&mut self, n: usize, prestop: Ms) {
        let set = set_of(n);
        let others_down = self.kube.down(set).iter().any(|other| *other != n);
        if self.now < self.kube.sets[set].budget_shut_until || others_down || self.kube.pod(n).is_none() {
            return;
        }
        if prestop == 0 {
            self.kill(n, 1500);
        } else {
            self.take(n, prestop);
        }
    }

    fn move_role(&mut self, to: usize) {
        let now = self.now;
        let Some(target) = self.servers.of_pod(to).map(|server| server.ip) else { return };
        let mut servers = self.servers.of_set(set_of(to));
        let primary = servers.find(|it| it.role == Role::Primary && !it.hung(now)).map(|it| it.ip);
        drop(servers);
        if let Some(primary) = primary {
            let moved = self.servers.failover(primary, target, Some(3000), Cause::Foreign, now);
            self.note(|| format!("somebody hands the role over to {}: {moved:?}", pod_name(to)));
        }
    }
}
