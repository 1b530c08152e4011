//! A set that nobody leads because we demoted its primary (L4).

use std::collections::BTreeMap;

use crate::{
    observer::HALF_DONE,
    redis::{Failover, Ms, Role},
    replication::Servers,
};

/// What is known of one set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaderless {
    /// The last change of a role was a demotion of ours, and nobody was promoted since.
    demoted: Option<Demoted>,
    /// Nobody has been primary for this long, with an operator at work.
    lasts: Ms,
}

/// The process that we demoted.
#[derive(Clone, Copy, Debug)]
struct Demoted {
    run: u32,
    /// The process of the operator that did.
    by: u32,
    /// It is gone, with the knowledge that nothing was lost until then.
    alone: bool,
}

impl Leaderless {
    pub const fn demoted(&mut self, run: u32, by: u32) {
        self.demoted = Some(Demoted { run, by, alone: false });
    }

    /// Somebody became primary.
    pub const fn is_led(&mut self) {
        self.demoted = None;
    }

    pub const fn is_ours(&self) -> bool {
        self.demoted.is_some()
    }

    /// That process of the operator has ended, or its term has.
    pub fn left(&mut self, identity: u32) {
        if let Some(demoted) = self.demoted.as_mut().filter(|it| it.by == identity) {
            demoted.alone = true;
        }
    }

    /// Whether it has been so for too long. `ended`: processes that somebody else ended.
    pub fn look<V>(
        &mut self,
        set: usize,
        servers: &Servers,
        ended: &BTreeMap<u32, V>,
        at_work: Option<Ms>,
        now: Ms,
    ) -> bool {
        let Some(demoted) = self.demoted else { return false };
        // Lost by somebody else before anybody could go on: from then on it is the loss of a primary, and nobody knows
        // any more what the others lack. A person decides.
        if demoted.alone && ended.contains_key(&demoted.run) {
            self.demoted = None;
            return false;
        }
        let led = servers.of_set(set).any(|it| it.role == Role::Primary || it.failover != Failover::None);
        let well = servers.of_set(set).all(|it| !it.hung(now) && now >= it.flap_until.max(it.loading_until));
        self.lasts = if led { 0 } else { self.lasts + at_work.filter(|_| well).unwrap_or_default() };
        self.lasts > HALF_DONE
    }
}
