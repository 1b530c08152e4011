//! Commands that work as they are printed: over TLS, and where they cannot know a file, with what to put in.

use pretty_assertions::assert_eq;

use super::*;
use crate::domain::{pod::StartSettings, policy::SecretKey, tls::TlsRule};

fn rule(client_cert: Option<&str>) -> TlsRule {
    let ca = SecretKey { name: "redis-ca".into(), key: "ca.crt".into() };
    TlsRule { ca, client_cert: client_cert.map(str::to_owned), server_name: None }
}

/// A set whose members have no maxmemory, asked over TLS; the arguments of its servers.
fn over_tls(client_cert: Option<&str>, arguments: &[(&str, &str)]) -> String {
    let mut scene = healthy();
    scene.0.redis.tls = Some(rule(client_cert));
    scene.1.targets.iter_mut().for_each(|it| it.sample_mut().expect("a sample").memory.maxmemory = Bytes::ZERO);
    let settings = arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    scene.1.stateful_sets[0].start_settings = vec![StartSettings { container: "redis".into(), settings }];
    said(&first(&scene)).sentence.clone()
}

#[rstest]
#[case::by_what_the_server_starts_with(
    None, &[("tls-ca-cert-file", "/tls/ca.crt")],
    "redis-cli -p 6379 --tls --cacert /tls/ca.crt CONFIG SET maxmemory 682mb", None
)]
#[case::with_a_certificate_of_its_own(
    Some("redis-client"), &[("tls-ca-cert-file", "/tls/ca.crt"), ("tls-cert-file", "/tls/tls.crt"), ("tls-key-file", "/tls/tls.key")],
    "--tls --cacert /tls/ca.crt --cert /tls/tls.crt --key /tls/tls.key CONFIG SET", None
)]
#[case::unknown(
    None, &[], "--tls --cacert CA_FILE CONFIG SET",
    Some("; CA_FILE is where the container has the authority of Secret redis-ca (ca.crt)")
)]
#[case::a_word_that_is_no_plain_path(
    None, &[("tls-ca-cert-file", "/tls/ca.crt;reboot")], "--tls --cacert CA_FILE CONFIG SET",
    Some("; CA_FILE is where the container has the authority of Secret redis-ca (ca.crt)")
)]
#[case::all_unknown(
    Some("redis-client"), &[], "--tls --cacert CA_FILE --cert CERT_FILE --key KEY_FILE CONFIG SET",
    Some(
        "; CA_FILE is where the container has the authority of Secret redis-ca (ca.crt), CERT_FILE and KEY_FILE where it has a \
         certificate from there with its key: its own, or that of Secret redis-client"
    )
)]
fn tls_names_the_authority(
    #[case] client_cert: Option<&str>,
    #[case] arguments: &[(&str, &str)],
    #[case] command: &str,
    #[case] told: Option<&str>,
) {
    let sentence = over_tls(client_cert, arguments);
    assert!(sentence.contains(command), "{sentence}");
    match told {
        Some(told) => assert!(sentence.ends_with(told), "{sentence}"),
        None => assert!(!sentence.contains("_FILE"), "{sentence}"),
    }
}

/// Clients may use another port than replicas do.
#[test]
fn a_primary_is_followed_at_the_port_at_which_replicas_follow_it() {
    let mut scene = healthy();
    scene.1.targets[1].sample_mut().expect("a sample").replication.role = Role::Primary;
    for target in &mut scene.1.targets {
        target.sample_mut().expect("a sample").server.tcp_port = Some(7000);
    }
    let status = first(&scene);
    assert_eq!(word(&status), ("ActNow", "TwoPrimaries"));
    let sentence = &said(&status).sentence;
    assert!(
        sentence.contains("REPLICAOF 10.0.0.10 7000") && sentence.contains("REPLICAOF 10.0.0.11 7000"),
        "{sentence}"
    );
}

/// What another set beside it has is no help to it, and no matter of it.
#[test]
fn a_set_without_replicas_is_told_so_beside_one_that_has_some() {
    let mut scene = healthy();
    scene.1.targets[0] = fixtures::three_pods().targets[0].clone();
    scene.1.services.clear();
    scene.1.stateful_sets[0].replicas = 1;
    for target in &mut scene.1.targets[1..] {
        let owner = target.pod.owner.as_mut().expect("an owner");
        (owner.name, owner.uid) = ("cache".into(), "cache-uid".into());
    }
    scene.1.targets[0].sample_mut().expect("a sample").replication.replicas.clear();
    let leads = scene.1.targets[1].sample_mut().expect("a sample");
    (leads.replication.role, leads.replication.replicas) = (Role::Primary, vec![fixtures::replica_line(2)]);
    let follows = &mut scene.1.targets[2].sample_mut().expect("a sample").replication.role;
    if let Role::Replica(link) = follows {
        link.primary = fixtures::address(1);
    }
    let blocked = [Blocked::new(BlockReason::ClusterMode, "a member runs with cluster-enabled yes")];
    let status = look_with(&scene, &RedisMemoryPolicyStatus::default(), &blocked, None);
    let sentence = &said(&status).sentence;
    // Whoever is tired stops reading at the command.
    assert!(!sentence.contains("kubectl delete pod"), "{sentence}");
    let never =
        "delete none of these pods as they are: what redis-0 holds is saved nowhere and would be lost, and no replica";
    assert!(sentence.contains(never), "{sentence}");
}
