//! Of several installs one carries a remediation out: the one that the journal names and that renews its heartbeat there.

use std::time::Duration;

use crate::domain::journal::JournalOwner;

/// A heartbeat that has stood still for this time belongs to an install that is gone.
pub const SILENCE: Duration = Duration::from_secs(60);

/// Whose a journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ours, or nobody's any more.
    Ours,
    /// Another install's, which is at work.
    Theirs,
    /// Of another policy: it came with a restored backup.
    Restored,
}

/// Judges a journal's owner, whose heartbeat has stood still for `silent`. Pure.
pub fn standing(owner: Option<&JournalOwner>, install: &str, policy_uid: &str, silent: Duration) -> Standing {
    let Some(owner) = owner else { return Standing::Ours };
    if owner.policy_uid != policy_uid {
        Standing::Restored
    } else if owner.install == install || silent >= SILENCE {
        Standing::Ours
    } else {
        Standing::Theirs
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::of_a_version_that_had_no_owner(None, 0, Standing::Ours)]
    #[case::ours_after_a_restart(Some(("ops/a", "u-1")), 0, Standing::Ours)]
    #[case::another_at_work(Some(("ops/b", "u-1")), 0, Standing::Theirs)]
    #[case::another_that_is_slow(Some(("ops/b", "u-1")), 59, Standing::Theirs)]
    #[case::another_that_is_gone(Some(("ops/b", "u-1")), 60, Standing::Ours)]
    #[case::restored(Some(("ops/a", "u-0")), 0, Standing::Restored)]
    #[case::restored_of_another(Some(("ops/b", "u-0")), 0, Standing::Restored)]
    fn whose_a_journal_is(#[case] owner: Option<(&str, &str)>, #[case] silent: u64, #[case] want: Standing) {
        let owner = owner.map(|(install, uid)| JournalOwner {
            install: install.into(),
            policy_uid: uid.into(),
            renewed_at: Timestamp::UNIX_EPOCH,
        });
        assert_eq!(standing(owner.as_ref(), "ops/a", "u-1", Duration::from_secs(silent)), want);
    }
}
