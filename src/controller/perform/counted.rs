//! What metrics keep of a step's effect: what came of it, how long a hand-over took, and how long it held back writes.

use std::time::Duration;

use crate::{
    domain::switchover::SwitchoverMethod,
    execute::{Done, ExecuteError},
    metrics::{Metrics, SwitchoverOutcome},
    plan::effect::Effect,
};

/// Counts an effect that took that long.
pub(super) fn count(metrics: &Metrics, effect: &Effect, carried: &Result<Done, ExecuteError>, took: Duration) {
    metrics.step_taken(effect.words().action, carried.is_ok());
    if let Some(paused) = paused(carried) {
        metrics.write_paused(paused);
    }
    let ordered = match effect {
        Effect::Switchover(order) => order.method,
        Effect::Failover(_) => SwitchoverMethod::Sentinel,
        _ => return,
    };
    let method = match carried {
        Ok(Done::SwitchedOver { method, .. }) => *method,
        _ => ordered,
    };
    metrics.switchover_ended(method, outcome(carried), took);
}

/// How long writes were held back, also in vain.
pub(super) fn paused(carried: &Result<Done, ExecuteError>) -> Option<Duration> {
    match carried {
        Ok(Done::SwitchedOver { paused, .. } | Done::FailedOver { paused, .. })
        | Err(ExecuteError::Switchover { paused, .. }) => *paused,
        _ => None,
    }
}

fn outcome(carried: &Result<Done, ExecuteError>) -> SwitchoverOutcome {
    match carried {
        Ok(_) if paused(carried).is_some() => SwitchoverOutcome::HandedOver,
        Ok(_) => SwitchoverOutcome::FoundHandedOver,
        Err(ExecuteError::Switchover { failure, .. }) if failure.restores() => SwitchoverOutcome::RoleStayed,
        Err(_) => SwitchoverOutcome::NotSettled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::switchover::Failure;

    #[test]
    fn an_attempt_that_failed_is_told_from_one_that_nobody_saw_the_end_of() {
        let (some, none) = (Some(Duration::from_millis(4)), None);
        let over = |paused| Ok(Done::SwitchedOver { method: SwitchoverMethod::Native, paused, fallbacks: Vec::new() });
        let failed = |failure| Err(ExecuteError::Switchover { failure, paused: some });
        assert_eq!(outcome(&over(some)), SwitchoverOutcome::HandedOver);
        assert_eq!(outcome(&over(none)), SwitchoverOutcome::FoundHandedOver);
        assert_eq!(outcome(&failed(Failure::NotCaughtUp)), SwitchoverOutcome::RoleStayed);
        assert_eq!(outcome(&failed(Failure::Unclear)), SwitchoverOutcome::NotSettled);
        assert_eq!(paused(&failed(Failure::Behind)), some, "writes waited in vain");
    }
}
