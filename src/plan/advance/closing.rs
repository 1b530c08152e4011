//! The end of a window, in the middle of a remediation.
//!
//! The rule: what is under way is finished, nothing further that disturbs is begun. A pod that was evicted is waited
//! for, gets its settings back and is proven; a switchover that was begun is finished, with its labels and the replicas
//! that follow. Before the next eviction and before the switchover the time that is left must hold that one step;
//! otherwise the remediation ends as `Paused`, and the next window makes a new plan of what then is due. So after
//! a switchover the old primary may stay unrestarted, as a replica, until then.

use super::Advance;
use crate::{
    domain::{
        blocked::BlockReason,
        window::{self, State},
    },
    plan::{estimate, gates, next::Next},
};

impl Advance<'_> {
    /// Ends the remediation when the step that it stands before does not fit into the window any more.
    pub(super) fn window_closed(&self) -> Option<Next> {
        // What was begun is finished: a role that its start does not give is half of a restart.
        if self.journal.hands_back() {
            return None;
        }
        let (need, what) = estimate::unit(self.shard, self.journal.left())?;
        let windows = &self.ctx.policy.restart.windows;
        let why = match window::state(windows, self.ctx.now) {
            State::Always => return None,
            State::Closed => "the window has closed".to_owned(),
            State::Open { closes } => {
                let left = std::time::Duration::try_from(closes.duration_since(self.ctx.now)).unwrap_or_default();
                if need <= left {
                    return None;
                }
                format!(
                    "{what} takes about {}, and the window closes in {}",
                    estimate::shown(need),
                    estimate::shown(left)
                )
            }
        };
        Some(self.pause(BlockReason::WindowClosed, &format!("{why}; {}", gates::next_window(self.ctx))))
    }
}
