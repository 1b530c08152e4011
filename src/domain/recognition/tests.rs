//! Each row by the signs that its product's manifests show, and what is near it and is not it.

use rstest::rstest;

use super::*;

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| {
            let key = match key {
                "name" => NAME,
                "component" => COMPONENT,
                other => other,
            };
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

#[rstest]
#[case::static_primary("StatefulSet", &["name=redis component=master", "name=redis component=replica"], &["redis"], "Bitnami chart")]
#[case::static_valkey("StatefulSet", &["name=valkey component=primary"], &["valkey"], "Bitnami chart")]
#[case::sentinel_in_the_pod("StatefulSet", &["name=redis component=node"], &["redis", "sentinel"], "Bitnami chart with Sentinel")]
#[case::redis_ha("StatefulSet", &["app=redis-ha release=a"], &["redis", "sentinel"], "redis-ha chart")]
#[case::redis_ha_of_argo("StatefulSet", &["name=argocd-redis-ha"], &["redis", "sentinel", "split-brain-fix"], "redis-ha chart")]
#[case::groundhog("StatefulSet", &["name=redis"], &["redis-server", "redis-sentinel"], "groundhog2k chart")]
#[case::pirates("StatefulSet", &["name=valkey"], &["valkey"], "CloudPirates chart")]
#[case::valkey_helm("StatefulSet", &["name=valkey"], &["cache"], "valkey-helm chart")]
#[case::spotahome("RedisFailover", &["component=redis name=a"], &["redis"], "spotahome redis-operator")]
#[case::replication("RedisReplication", &["app=a"], &["a"], "OT-CONTAINER-KIT redis-operator")]
#[case::kubeblocks("InstanceSet", &["name=redis"], &["redis"], "KubeBlocks")]
#[case::one_set_a_pod("ValkeyNode", &["valkey.io/cluster=a", "valkey.io/cluster=a"], &["server"], "valkey-io valkey-operator")]
#[case::nobodys("StatefulSet", &["app=redis"], &["redis"], "")]
#[case::not_every_pod("StatefulSet", &["name=redis component=master", "app=other"], &["redis"], "")]
fn a_deployment_shows_its_signs(
    #[case] owner: &str,
    #[case] of_pods: &[&str],
    #[case] containers: &[&str],
    #[case] product: &str,
) {
    let of_pods: Vec<_> = of_pods.iter().map(|text| labels(text)).collect();
    let seen = Seen {
        owners: vec!["StatefulSet", owner],
        labels: of_pods.iter().collect(),
        containers: of_pods.iter().map(|_| containers.to_vec()).collect(),
    };
    assert_eq!(deployment(&seen).map_or("", |row| row.product), product);
}

#[rstest]
#[case::official("main", "docker.io/library/redis:7.2@sha256:0", &[], &[], Runs::Server)]
#[case::own_image("cache", "registry.example:5000/team/cache", &[(6379, "")], &[], Runs::Server)]
#[case::by_port_name("cache", "team/cache", &[(7000, "redis")], &[], Runs::Server)]
#[case::by_program("cache", "team/cache", &[], &["sh", "-c", "/opt/bin/valkey-server", "/etc/v.conf"], Runs::Server)]
#[case::exporter("metrics", "oliver006/redis_exporter", &[(9121, "metrics")], &[], Runs::Other)]
#[case::haproxy("haproxy", "haproxy:3", &[(6379, "redis")], &[], Runs::Other)]
#[case::sentinel("sentinel", "redis:7", &[(26379, "sentinel")], &["redis-server", "/s.conf", "--sentinel"], Runs::Sentinel)]
#[case::sentinel_by_flag("watch", "redis:7", &[], &["redis-server", "/s.conf", "--sentinel"], Runs::Sentinel)]
#[case::a_shell_left_open("debug", "redis:7", &[], &["sleep", "infinity"], Runs::Other)]
#[case::a_client("job", "redis:7", &[], &["redis-cli", "-h", "cache"], Runs::Other)]
#[case::the_registrys_name_says_nothing("web", "redis.example/web", &[(8080, "http")], &[], Runs::Other)]
fn a_container_shows_what_it_runs(
    #[case] name: &str,
    #[case] image: &str,
    #[case] ports: &[(u16, &str)],
    #[case] words: &[&str],
    #[case] expected: Runs,
) {
    assert_eq!(runs(&ContainerSigns { name, image, ports: ports.to_vec(), words: words.to_vec() }), expected);
}

#[test]
fn a_controller_of_an_operator_is_foreign_and_named() {
    let owner = |kind: &str| Owner { kind: kind.to_owned(), name: "a".to_owned(), uid: "u".into() };
    assert!(!is_foreign(&owner("StatefulSet")) && !is_foreign(&owner("ReplicaSet")));
    assert!(is_foreign(&owner("InstanceSet")) && is_foreign(&owner("")));
    assert_eq!(product_of(&owner("RedisFailover")), Some("spotahome redis-operator"));
    // Several operators have a kind of that name.
    assert_eq!((product_of(&owner("Redis")), product_of(&owner("Unheard"))), (None, None));
}

#[rstest]
#[case("role", "master", true)]
#[case("shop.example/redis-role", "secondary", true)]
#[case("shop.example/isLeader", "true", true)]
#[case("canary", "true", false)]
#[case("role", "cache", false)]
fn a_label_reads_as_a_role_by_its_words(#[case] key: &str, #[case] value: &str, #[case] expected: bool) {
    assert_eq!(reads_as_a_role(key, value), expected);
}
