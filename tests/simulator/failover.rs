//! `FAILOVER` as redis-server does it (`replication.c`): TIMEOUT bounds only `waiting-for-sync`; in `failover-in-progress`
//! the old primary is read-only until its target has promoted itself, refused, or ABORT comes.

use crate::{
    redis::{Cause, Failover, Host, Link, Ms, Role},
    replication::{Change, Servers},
};

impl Servers {
    pub fn fail_over(&mut self, ip: u32, now: Ms, changes: &mut Vec<Change>) {
        let me = &self.by_ip[&ip];
        if me.hung(now) {
            return;
        }
        match me.failover {
            Failover::None => {}
            Failover::Waiting { to, since, timeout } => {
                let ready = me.lines.iter().any(|line| line.ip == to && line.online && line.acked == me.position());
                let me = self.by_ip.get_mut(&ip).unwrap();
                if ready {
                    me.role_since = now;
                    me.role = Role::Replica(Host::Ip(to));
                    me.failover = Failover::InProgress { to, since: now };
                } else if timeout.is_some_and(|timeout| now >= since + timeout) {
                    me.failover = Failover::None;
                    changes.push(Change::FailoverWentBack { ip });
                }
            }
            Failover::InProgress { to, .. } => {
                let (replid, cause) = (me.replid, me.failover_cause);
                let Some(target) = self.by_ip.get(&to).filter(|it| !it.hung(now) && now >= it.loading_until) else {
                    return;
                };
                let takes = target.replid == replid && matches!(target.role, Role::Replica(_)) && !target.searching;
                if !takes && target.role != Role::Primary {
                    let me = self.by_ip.get_mut(&ip).unwrap();
                    me.role = Role::Primary;
                    me.role_since = now;
                    me.failover = Failover::None;
                    changes.push(Change::FailoverWentBack { ip });
                    return;
                }
                if now < me.flap_until.max(target.flap_until) {
                    return;
                }
                if takes {
                    // Its answer arrives in a later step, or when the link is there again.
                    debug_assert_eq!(target.position(), me.position(), "the target had acknowledged everything");
                    let history = self.history();
                    self.by_ip.get_mut(&to).unwrap().promote(cause, history, now);
                    changes.push(Change::Promoted { ip: to, cause });
                    return;
                }
                let me = self.by_ip.get_mut(&ip).unwrap();
                me.failover = Failover::None;
                me.link = Link::Down;
                me.retry_at = now;
                me.lines.clear();
            }
        }
    }

    /// `FAILOVER TO address TIMEOUT ms`.
    pub fn failover(
        &mut self,
        ip: u32,
        to: u32,
        timeout: Option<Ms>,
        cause: Cause,
        now: Ms,
    ) -> Result<(), &'static str> {
        let me = self.by_ip.get_mut(&ip).ok_or("no connection")?;
        if me.role != Role::Primary {
            return Err("FAILOVER is not valid when server is a replica");
        }
        if me.failover != Failover::None {
            return Err("FAILOVER already in progress");
        }
        if !me.lines.iter().any(|line| line.ip == to && line.online) {
            return Err("FAILOVER target is not a replica, or not online");
        }
        me.failover = Failover::Waiting { to, since: now, timeout };
        me.failover_cause = cause;
        Ok(())
    }

    /// `FAILOVER ABORT`: in `failover-in-progress` the old primary takes its role back, whatever the target did.
    pub fn abort(&mut self, ip: u32, cause: Cause, now: Ms) -> Result<(), &'static str> {
        let me = self.by_ip.get_mut(&ip).ok_or("no connection")?;
        match me.failover {
            Failover::None => return Err("No failover in progress"),
            Failover::Waiting { .. } => {}
            Failover::InProgress { .. } => {
                me.role = Role::Primary;
                me.role_since = now;
                me.cause = cause;
            }
        }
        me.failover = Failover::None;
        Ok(())
    }
}
