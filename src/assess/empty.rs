//! A primary that came back empty: the next full sync would wipe what its replicas still hold.

use crate::{
    domain::{
        sample::{Role, Sample},
        snapshot::Target,
    },
    topology::Shard,
};

/// The one primary that holds no key, and a member that still holds some and has not taken the emptiness over.
///
/// A replica in sync with its primary holds what the primary holds: that one of the two samples is a little older, or
/// that keys were deleted on purpose (FLUSHALL), is no loss.
pub fn primary_empty<'a>(shard: &Shard<'a>) -> Option<(&'a Target, &'a Target)> {
    let primary = shard.primary()?;
    let upstream = primary.sample()?;
    if upstream.keys > 0 || upstream.keys_unread() || upstream.persistence.loading {
        return None;
    }
    let holder = shard
        .replicas
        .iter()
        .copied()
        .find(|target| target.sample().is_some_and(|sample| sample.keys > 0 && !same_data_set(upstream, sample)))?;
    Some((primary, holder))
}

/// The replica follows this very history over a live link.
fn same_data_set(primary: &Sample, replica: &Sample) -> bool {
    let linked = match &replica.replication.role {
        Role::Replica(link) => link.link_up && !link.sync_in_progress,
        Role::Primary | Role::Unknown => false,
    };
    linked && primary.replication.replid == replica.replication.replid
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        domain::{fixtures, snapshot::Snapshot},
        topology,
    };

    fn sample(snapshot: &mut Snapshot, n: usize) -> &mut Sample {
        snapshot.targets[n].sample_mut().expect("the fixture has a sample")
    }

    fn link_down(sample: &mut Sample) {
        let Role::Replica(link) = &mut sample.replication.role else { panic!("a replica") };
        link.link_up = false;
    }

    #[rstest]
    #[case::nothing_is_wrong(|_: &mut Snapshot| {}, false)]
    #[case::flushed_and_replicated(|s: &mut Snapshot| sample(s, 0).keys = 0, false)]
    #[case::another_history(|s: &mut Snapshot| {
        sample(s, 0).keys = 0;
        sample(s, 0).replication.replid = "f".repeat(40);
    }, true)]
    #[case::the_link_is_down(|s: &mut Snapshot| {
        sample(s, 0).keys = 0;
        link_down(sample(s, 2));
    }, true)]
    #[case::loading(|s: &mut Snapshot| {
        sample(s, 0).keys = 0;
        sample(s, 0).persistence.loading = true;
        link_down(sample(s, 2));
    }, false)]
    #[case::everything_is_empty(|s: &mut Snapshot| {
        for n in 0..3 { sample(s, n).keys = 0; }
        link_down(sample(s, 2));
    }, false)]
    #[case::a_primary_with_keys(|s: &mut Snapshot| link_down(sample(s, 2)), false)]
    fn when_it_is_empty(#[case] change: fn(&mut Snapshot), #[case] want: bool) {
        let mut snapshot = fixtures::three_pods();
        change(&mut snapshot);
        assert_eq!(primary_empty(&topology::find(&fixtures::policy(), &snapshot)[0]).is_some(), want);
    }
}
