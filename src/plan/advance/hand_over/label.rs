//! Where another controller keeps the role label: it has its time to follow the exchange, and then the role goes back, once.

use std::time::Duration;

use super::{super::Advance, Direction, holding::Labels};
use crate::{
    assess::services,
    domain::{
        journal::{Outcome, SwitchoverRecord},
        names::PodName,
        snapshot::Target,
    },
    plan::next::Next,
};

/// Another controller's label follows a new primary within this time, or the role goes back.
const LABEL_DEADLINE: Duration = Duration::from_secs(30);
/// How soon to look again whether it did. A changed pod label wakes the reconciler sooner.
const LABEL_AGAIN: Duration = Duration::from_secs(4);

impl Advance<'_> {
    /// Another controller keeps the label: it has its time to follow, and then the role goes back, once.
    pub(super) fn followed(&self, way: &Direction<'_>, new: &Target) -> Next {
        let Some(record) = &self.journal.current.switchover else {
            return self.go_on(way);
        };
        if record.back {
            let text = format!("{}; {} is primary again", self.complaint(&way.from.pod.name), new.pod.name);
            return self.end(Outcome::LabelDidNotFollow, &text);
        }
        let why = match self.label_at(new, way.from) {
            Ok(()) => return self.settled(new),
            Err(why) => why,
        };
        match record.exchanged_at {
            None => {
                let mut journal = self.journal.clone();
                let exchanged_at = Some(self.ctx.now);
                journal.current.switchover = Some(SwitchoverRecord { exchanged_at, ..record.clone() });
                Next::Record(Box::new(journal))
            }
            Some(since) if self.ctx.since(since) < LABEL_DEADLINE => {
                let why = format!("{} is primary; {why}", new.pod.name);
                self.hold_for(&Labels::Only { primary: new, other: way.from }, why, LABEL_AGAIN)
            }
            Some(_) => {
                // As if it were begun now: what it was, turned round.
                let turned = Direction { from: new, to: Some(way.from), to_name: &way.from.pod.name, back: true };
                match self.fit(new, way.from) {
                    Ok(()) => self.start(&turned, way.from),
                    Err(missing) => self.hold(
                        &Labels::Only { primary: new, other: way.from },
                        format!("{why}, and the role cannot go back yet: {missing}"),
                    ),
                }
            }
        }
    }

    /// Whether the label, and every Service that selects it, point at the new primary and at no other.
    pub(super) fn label_at(&self, new: &Target, old: &Target) -> Result<(), String> {
        let label = &self.ctx.policy.redis.role_label;
        let carries = |target: &Target| target.pod.role_label.as_ref() == Some(&label.primary);
        if !carries(new) {
            return Err(format!("{} does not carry {}={} yet", new.pod.name, label.key, label.primary));
        }
        if carries(old) {
            return Err(format!("{} still carries {}={}", old.pod.name, label.key, label.primary));
        }
        let mut services = services::to_primary(self.shard, label);
        let behind = |target: &Target, pods: &[_]| pods.contains(&target.pod.uid);
        match services.find(|one| !behind(new, &one.ready_pods) || behind(old, &one.ready_pods)) {
            Some(service) => Err(format!("Service {} does not point at {} alone yet", service.name, new.pod.name)),
            None => Ok(()),
        }
    }

    pub(super) fn complaint(&self, pod: &PodName) -> String {
        let label = &self.ctx.policy.redis.role_label;
        let limit = LABEL_DEADLINE.as_secs();
        format!("{}={} and its Services did not follow to {pod} within {limit} s", label.key, label.primary)
    }
}
