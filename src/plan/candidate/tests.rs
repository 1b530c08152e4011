//! One test a refusal, and which replica is chosen.

use pretty_assertions::assert_eq;
use rstest::rstest;

use super::*;
use crate::{
    domain::{
        blocked::BlockReason,
        bytes::Bytes,
        fixtures::{self, NOW, pod_name},
        policy::Policy,
        ratio::Ratio,
        sample::ConfigUnreadable,
        snapshot::Observation,
        step::Step,
    },
    plan::{Context, PlanSettings, begin},
};

struct World {
    policy: Policy,
    snapshot: Snapshot,
}

impl World {
    fn new() -> Self {
        let (policy, mut snapshot) = fixtures::enforced();
        for target in &mut snapshot.targets {
            let config = config_of(target);
            config.serving.max_clients = Some(10_000);
            config.serving.databases = Some(16);
            (config.serving.port, config.serving.tls_port) = (Some(6379), Some(0));
            config.serving.tls_auth_clients = Some("yes".into());
            config.serving.client_auth = Some("feed".into());
            config.serving.ignores_maxmemory = Some(true);
            config.serving.append_fsync = Some("everysec".into());
            config.serving.replica_priority = Some(100);
        }
        snapshot.acl_users = (0..3).map(|n| (pod_name(n), "cafe".to_owned())).collect();
        Self { policy, snapshot }
    }

    fn config(&mut self, n: usize) -> &mut Config {
        config_of(&mut self.snapshot.targets[n])
    }

    fn replicas(&mut self, change: fn(&mut Config)) {
        for n in [1, 2] {
            change(self.config(n));
        }
    }

    fn consider(&self) -> begin::Considered {
        let settings = PlanSettings::default();
        let Self { policy, snapshot } = self;
        begin::consider(&Context::of(policy, snapshot, &[], NOW, &settings))
    }

    fn refusal(&self) -> Option<String> {
        let considered = self.consider();
        assert_eq!(considered.begin.is_some(), considered.blocked.is_empty());
        let found = considered.blocked.into_iter().find(|blocked| blocked.reason == BlockReason::CandidateUnfit);
        found.map(|blocked| blocked.text)
    }

    fn candidate(&self) -> Option<String> {
        self.consider().plan?.steps.iter().find_map(|planned| match &planned.step {
            Step::Switchover { to, .. } => to.as_ref().map(ToString::to_string),
            _ => None,
        })
    }
}

fn config_of(target: &mut Target) -> &mut Config {
    match &mut target.redis {
        Observation::Seen(sample) => sample.config.as_mut().expect("readable"),
        Observation::Failed(_) | Observation::Pending => panic!("no sample"),
    }
}

#[rstest]
#[case::evicts(|w: &mut World| w.config(0).maxmemory_policy = "noeviction".into(), &["maxmemory-policy is allkeys-lru on redis-1 and noeviction on redis-0"])]
#[case::refuses_writes(|w: &mut World| w.replicas(|c| c.maxmemory_policy = "noeviction".into()), &["maxmemory-policy is noeviction"])]
#[case::no_aof(|w: &mut World| w.config(0).appendonly = true, &["appendonly is no on redis-1 and yes on redis-0"])]
#[case::lazy_aof(|w: &mut World| {
    for n in 0..3 { w.config(n).appendonly = true; }
    w.config(0).serving.append_fsync = Some("always".into());
}, &["appendfsync is everysec on redis-1 and always on redis-0"])]
#[case::no_save_points(|w: &mut World| w.config(0).save = "3600 1".into(), &["save is \"\" on redis-1 and 3600 1 on redis-0"])]
#[case::rarer_save_points(|w: &mut World| {
    w.config(0).save = "3600 1 60 1000".into();
    w.replicas(|c| c.save = "3600 1 300 1000".into());
}, &["save is 3600 1 300 1000"])]
#[case::writes_that_a_replica_refuses(|w: &mut World| {
    for n in 0..3 {
        w.config(n).maxmemory_policy = "noeviction".into();
        w.config(n).serving.ignores_maxmemory = Some(false);
    }
}, &["replica-ignore-maxmemory is no on redis-1"])]
#[case::password(|w: &mut World| w.replicas(|c| c.serving.client_auth = Some(String::new())), &["requirepass is unset on redis-1 and set on redis-0"])]
#[case::another_password(|w: &mut World| w.replicas(|c| c.serving.client_auth = Some("beef".into())), &["requirepass is set to another password on redis-1"])]
#[case::users(|w: &mut World| for n in [1, 2] { w.snapshot.acl_users[n].1 = "beef".into() }, &["ACL LIST", "redis-1 and redis-0"])]
#[case::clients(|w: &mut World| w.replicas(|c| c.serving.max_clients = Some(100)), &["maxclients is 100 on redis-1 and 10000 on redis-0"])]
#[case::databases(|w: &mut World| w.replicas(|c| c.serving.databases = Some(1)), &["databases is 1"])]
#[case::plain_port(|w: &mut World| w.replicas(|c| c.serving.port = Some(0)), &["port is 0 on redis-1 and 6379 on redis-0"])]
#[case::tls(|w: &mut World| w.config(0).serving.tls_port = Some(6380), &["tls-port is 0 on redis-1 and 6380 on redis-0"])]
#[case::certificates(|w: &mut World| w.config(0).serving.tls_auth_clients = Some("no".into()), &["tls-auth-clients is yes on redis-1 and no on redis-0"])]
#[case::never(|w: &mut World| w.replicas(|c| c.serving.replica_priority = Some(0)), &["redis-1, redis-2", "replica-priority 0"])]
#[case::several(|w: &mut World| {
    w.config(0).appendonly = true;
    w.config(0).serving.databases = Some(32);
}, &["appendonly", "; databases is 16"])]
fn one_that_is_less_does_not_take_over(#[case] worsen: fn(&mut World), #[case] says: &[&str]) {
    let mut world = World::new();
    assert_eq!(world.refusal(), None);
    worsen(&mut world);
    let text = world.refusal().expect("refused");
    for part in says {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    for secret in ["feed", "beef", "cafe"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[rstest]
#[case::more_of_everything(|w: &mut World| w.replicas(|c| {
    (c.appendonly, c.save) = (true, "60 1".into());
    (c.serving.max_clients, c.serving.databases) = (Some(20_000), Some(32));
    c.serving.tls_port = Some(6380);
    c.serving.tls_auth_clients = Some("optional".into());
}))]
#[case::earlier_save_points(|w: &mut World| {
    w.config(0).save = "3600 1".into();
    w.replicas(|c| c.save = "900 1 300 100".into());
})]
#[case::an_aof_holds_more_than_save_points(|w: &mut World| {
    w.config(0).save = "3600 1".into();
    w.replicas(|c| c.appendonly = true);
})]
#[case::another_policy_of_the_kind(|w: &mut World| w.replicas(|c| c.maxmemory_policy = "allkeys-lfu".into()))]
#[case::a_cache_may_evict_by_itself(|w: &mut World| w.replicas(|c| c.serving.ignores_maxmemory = Some(false)))]
#[case::not_known(|w: &mut World| {
    w.config(0).serving.databases = Some(32);
    w.replicas(|c| c.serving = crate::domain::serving::Serving::default());
    w.snapshot.acl_users.truncate(1);
})]
fn one_that_is_as_much_or_of_which_it_is_not_known_may(#[case] change: fn(&mut World)) {
    let mut world = World::new();
    change(&mut world);
    assert_eq!(world.consider().blocked, []);
}

#[test]
fn settings_that_cannot_be_read_are_the_other_gates_business() {
    let mut world = World::new();
    let Observation::Seen(sample) = &mut world.snapshot.targets[1].redis else { panic!("no sample") };
    sample.config = Err(ConfigUnreadable("NOPERM".into()));
    world.config(0).appendonly = true;
    world.config(2).appendonly = true;
    assert_eq!(world.refusal(), None);
}

#[test]
fn the_lowest_priority_is_chosen_and_zero_never() {
    let mut world = World::new();
    assert_eq!(world.candidate().as_deref(), Some("redis-1"), "ties by name");
    world.config(2).serving.replica_priority = Some(10);
    assert_eq!(world.candidate().as_deref(), Some("redis-2"));
    world.config(2).serving.replica_priority = Some(0);
    assert_eq!(world.candidate().as_deref(), Some("redis-1"));
    assert_eq!(world.refusal(), None);
    // A clean one that is never to become primary is not better than one that is restarted.
    world.snapshot.targets[2].history.clear();
    let Observation::Seen(sample) = &mut world.snapshot.targets[2].redis else { panic!("no sample") };
    (sample.memory.rss, sample.memory.ratio) = (Bytes::mib(80), Ratio(115));
    assert_eq!(world.candidate().as_deref(), Some("redis-1"));
    world.config(2).serving.replica_priority = Some(100);
    assert_eq!(world.candidate().as_deref(), Some("redis-2"), "a clean one before the name");
    // Neither is one that is less than the primary.
    world.config(0).appendonly = true;
    world.config(1).appendonly = true;
    assert_eq!(world.candidate().as_deref(), Some("redis-1"));
    assert_eq!(world.refusal(), None);
}

/// A replica ignores its `maxmemory`; what it uses above that it would evict, or refuse writes for, as the primary.
#[test]
fn one_that_uses_more_than_its_maxmemory_does_not_take_over() {
    let mut world = World::new();
    let mut used = |n: usize, used: Bytes| {
        let memory = &mut world.snapshot.targets[n].sample_mut().unwrap().memory;
        (memory.used, memory.maxmemory) = (used, Bytes::mib(512));
        weaker(&world.snapshot, &world.snapshot.targets[0], &world.snapshot.targets[1])
    };
    used(0, Bytes::mib(500));
    assert_eq!(used(1, Bytes::mib(530)), [""; 0]);
    let less = used(1, Bytes::mib(900));
    assert_eq!(
        less,
        ["used memory is 900 MiB of maxmemory 512 MiB on redis-1 and 500 MiB of maxmemory 512 MiB on redis-0"]
    );
    assert_eq!(used(0, Bytes::mib(900)), [""; 0], "the primary has evicted already, or refuses writes already");
}
