//! Several sets in one namespace, Services that take some members only, and Services that hold clients to one pod.

use pretty_assertions::assert_eq;
use rstest::rstest;

use crate::{
    domain::{
        addresses::PodAddresses,
        blocked::BlockReason,
        bytes::Bytes,
        fixtures::{self, pod_name, service},
        journal::Journal,
        names::{ControllerUid, PodName, PodUid},
        pod::Service,
        policy::{AuthorityRule, Policy},
        ratio::Ratio,
        sample::Role,
        snapshot::{Observation, Snapshot, Target},
        step::{Step, StepKind},
    },
    plan::{Context, advance, begin, decide, effect::Effect, gates::tests::World, next::Next},
};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

fn reasons(world: &World) -> Vec<(BlockReason, String)> {
    world.consider().blocked.into_iter().map(|blocked| (blocked.reason, blocked.text)).collect()
}

/// A Service of another set of the namespace, by the default label, as a second chart would bring it.
fn of_another_set() -> Service {
    Service { name: "cart-primary".into(), ..fixtures::primary_service(vec!["cart-0".into()], vec!["cart-0".into()]) }
}

fn pinned_to(pod: u8) -> Service {
    let name = format!("redis-{pod}");
    service("redis", &[("app", "redis"), (POD_NAME, &name)], vec![pod_name(pod)])
}

/// The names of the Services that must lead to both pods before the role moves.
fn ordered(policy: &Policy, snapshot: &Snapshot, mut journal: Journal) -> Vec<String> {
    let world = World { policy: policy.clone(), snapshot: snapshot.clone(), records: Vec::new() };
    let at = journal.steps.iter().position(|planned| planned.step.kind() == StepKind::Switchover).unwrap();
    journal.cursor = u32::try_from(at).unwrap();
    let settings = World::settings();
    let ctx = Context::of(policy, &world.snapshot, &[], fixtures::NOW, &settings);
    match advance::next(&ctx, &journal, false) {
        Next::Act(_, effect) => match *effect {
            Effect::Switchover(order) => order.services,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_sets_service_is_nobodys_business() {
    let mut world = World::good();
    world.snapshot.services.push(of_another_set());
    let journal = world.consider().begin.expect("nothing is in the way");
    assert_eq!(ordered(&world.policy, &world.snapshot, journal), ["redis-primary"]);
}

// Seen in the simulator: of a policy over several sets the refusals of one were shown, and the others stayed as they were
// without a word.
#[test]
fn where_no_set_of_a_policy_can_begin_each_says_why() {
    let mut world = World::good();
    second_set(&mut world.snapshot);
    for target in world.snapshot.targets.iter_mut().filter(|target| target.pod.name.as_str().ends_with("-2")) {
        target.pod.ready = false;
    }
    let settings = World::settings();
    let ctx = Context::of(&world.policy, &world.snapshot, &[], fixtures::NOW, &settings);
    let texts: Vec<String> =
        decide::decide(&ctx, None, false, true).blocked.into_iter().map(|blocked| blocked.text).collect();
    assert!(texts.iter().any(|text| text.contains("cart-2")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("redis-2")), "{texts:?}");
}

#[rstest]
#[case::under_operator(AuthorityRule::Operator)]
#[case::under_label(AuthorityRule::Label)]
fn another_sets_service_is_none_of_this_set(#[case] authority: AuthorityRule) {
    let mut world = World::good();
    world.policy.redis.authority = authority;
    world.snapshot.services = vec![of_another_set()];
    let found: Vec<_> = reasons(&world).into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(found, [BlockReason::NoRoleService]);
}

/// The same set once more, called `cart`, with its own StatefulSet, pods and Service.
fn second_set(snapshot: &mut Snapshot) {
    let uid = |uid: &PodUid| PodUid::new(uid.as_str().replace("00000000-", "11111111-"));
    let moved = |host: &str| host.replace("redis-", "cart-").replace("10.0.0.", "10.0.1.");
    let owner = ControllerUid::from("11111111-0000-4000-8000-0000000000aa");
    let mut set = snapshot.stateful_sets[0].clone();
    (set.name, set.uid) = ("cart".into(), owner.clone());
    snapshot.stateful_sets.push(set);
    let twins: Vec<Target> = snapshot
        .targets
        .iter()
        .map(|target| {
            let mut twin = target.clone();
            twin.pod.name = PodName::new(target.pod.name.as_str().replace("redis", "cart"));
            twin.pod.uid = uid(&target.pod.uid);
            twin.pod.addresses =
                PodAddresses::of(target.pod.addresses.first().map(|ip| moved(&ip.to_string())).as_deref());
            twin.pod.dns_name = target.pod.dns_name.as_deref().map(moved);
            twin.pod.owner.as_mut().unwrap().name = "cart".into();
            twin.pod.owner.as_mut().unwrap().uid = owner.clone();
            let Observation::Seen(sample) = &mut twin.redis else { panic!("the fixture has a sample") };
            sample.pod_uid = twin.pod.uid.clone();
            if let Role::Replica(link) = &mut sample.replication.role {
                link.primary.host = moved(&link.primary.host);
            }
            for line in &mut sample.replication.replicas {
                line.address.host = moved(&line.address.host);
            }
            twin
        })
        .collect();
    let names = twins.iter().map(|twin| twin.pod.name.clone()).collect();
    let ready = vec![twins[0].pod.uid.clone()];
    snapshot.services.push(Service { name: "cart-primary".into(), ..fixtures::primary_service(names, ready) });
    snapshot.targets.extend(twins);
    snapshot.targets.sort_by(|a, b| a.pod.name.cmp(&b.pod.name));
}

#[test]
fn one_policy_over_two_sets_hands_each_over_by_its_own_service() {
    let mut world = World::good();
    second_set(&mut world.snapshot);
    let first = world.consider().begin.expect("nothing is in the way");
    assert_eq!(first.workload_name, "cart");
    assert_eq!(ordered(&world.policy, &world.snapshot, first), ["cart-primary"]);
    for target in world.snapshot.targets.iter_mut().filter(|target| target.pod.name.as_str().starts_with("cart")) {
        let Observation::Seen(sample) = &mut target.redis else { panic!("the fixture has a sample") };
        (sample.memory.rss, sample.memory.ratio) = (Bytes::mib(80), Ratio(115));
        target.history.clear();
    }
    let second = world.consider().begin.expect("nothing is in the way");
    assert_eq!(second.workload_name, "redis");
    assert_eq!(ordered(&world.policy, &world.snapshot, second), ["redis-primary"]);
}

#[rstest]
#[case::beside_one_that_takes_all(false)]
#[case::alone(true)]
fn a_service_that_would_take_some_members_is_refused_before_anything_moves(#[case] alone: bool) {
    let mut world = World::good();
    let label = world.policy.redis.role_label.clone();
    if alone {
        world.snapshot.services.clear();
    }
    let selector = [("zone", "a"), (label.key.as_str(), label.primary.as_str())];
    world.snapshot.services.push(service("zonal", &selector, vec![pod_name(0), pod_name(2)]));
    let [(reason, text)] = reasons(&world).try_into().unwrap();
    assert_eq!(reason, BlockReason::ServiceTakesSome);
    assert!(text.contains("zonal") && text.contains("zone=a") && text.contains("redis-0, redis-2"), "{text}");
    assert_eq!(world.consider().begin, None);
}

#[rstest]
#[case::by_the_pods_name(pinned_to(0))]
#[case::by_a_fixed_label(service("redis", &[("component", "master")], vec![pod_name(0)]))]
fn no_role_is_moved_away_from_a_pod_that_holds_clients(#[case] pins: Service) {
    let mut world = World::good();
    world.snapshot.services.push(pins.clone());
    let [(reason, text)] = reasons(&world).try_into().unwrap();
    assert_eq!(reason, BlockReason::ClientsPinned);
    assert!(text.contains("Service redis ") && text.contains("redis-0"), "{text}");
    // That there is no other Service is not said beside: another one would not help these clients.
    world.snapshot.services = vec![pins];
    let [(reason, _)] = reasons(&world).try_into().unwrap();
    assert_eq!(reason, BlockReason::ClientsPinned);
}

#[test]
fn services_that_hold_clients_to_replicas_or_to_each_pod_alone_are_no_matter() {
    let mut world = World::good();
    world.snapshot.services.push(pinned_to(1));
    assert_eq!(reasons(&world), []);
    world.snapshot.services.extend([pinned_to(0), pinned_to(2)]);
    assert_eq!(reasons(&world), []);
}

#[test]
fn a_pinned_set_still_has_its_replicas_restarted_and_with_consent_its_primary_in_place() {
    let kinds = |world: &World| -> Vec<StepKind> {
        let journal = begin_of(world);
        journal.steps.iter().map(|planned| planned.step.kind()).collect()
    };
    let mut world = World::good();
    world.snapshot.services = vec![pinned_to(0)];
    // Under Operator, when the primary is not due.
    let Observation::Seen(sample) = &mut world.snapshot.targets[0].redis else { panic!() };
    (sample.memory.rss, sample.memory.ratio) = (Bytes::mib(80), Ratio(115));
    world.snapshot.targets[0].history.clear();
    assert!(!kinds(&world).contains(&StepKind::Switchover));

    let mut world = World::good();
    world.snapshot.services = vec![pinned_to(0)];
    world.policy.redis.authority = AuthorityRule::Auto;
    assert!(!kinds(&world).contains(&StepKind::Persist));
    world.policy.restart.allow_downtime = true;
    world.snapshot.targets.iter_mut().for_each(fixtures::on_claim);
    assert!(kinds(&world).contains(&StepKind::Persist));
    assert!(
        begin_of(&world)
            .steps
            .iter()
            .any(|planned| matches!(&planned.step, Step::Evict { pod } if *pod == fixtures::pod_name(0)))
    );
}

fn begin_of(world: &World) -> Journal {
    let considered: begin::Considered = world.consider();
    assert_eq!(considered.blocked, []);
    considered.begin.expect("nothing is in the way")
}

#[test]
fn nobody_is_told_to_move_the_role_away_from_a_pod_that_holds_clients() {
    let (policy, snapshot) = fixtures::standalone();
    let mut world = World { policy, snapshot, records: Vec::new() };
    world.policy.restart.allow_downtime = false;
    let [(reason, text)] = reasons(&world).try_into().unwrap();
    assert_eq!(reason, BlockReason::DowntimeNotAllowed);
    assert!(text.contains("roleAuthority: Operator"), "{text}");
    world.snapshot.services = vec![pinned_to(0)];
    let [(_, text)] = reasons(&world).try_into().unwrap();
    assert!(!text.contains("Operator") && text.contains("Service redis ") && text.contains(POD_NAME), "{text}");
}
