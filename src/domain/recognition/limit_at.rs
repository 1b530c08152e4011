//! Where the memory limit of a set's Redis is written for good, by what is recognised of what made the set: a field of an
//! operator's resource, or a value of a chart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    COMPONENT, Deployment, NAME, OF_A_RELEASE, Seen, Sign, deployment,
    stated::{Known, ServerAt},
};
use crate::domain::pod::Owner;

/// Helm writes the name of the release here, on everything that it makes.
pub const RELEASE_ANNOTATION: &str = "meta.helm.sh/release-name";
/// Charts say here who keeps what they made; older ones in `heritage`.
const MANAGED_BY: [&str; 2] = ["app.kubernetes.io/managed-by", "heritage"];

/// Where the memory limit of a set's Redis is written for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitAt {
    /// In a resource of an operator, which makes the set of it.
    Resource {
        /// Its kind.
        kind: String,
        /// The whole of its API group; `None`: not known.
        group: Option<String>,
        /// Its name.
        name: String,
        /// The field with the `resources` of the Redis container, joined by dots; `None`: which one is not known.
        path: Option<String>,
        /// The same for people, without the name: it may name several fields.
        said: String,
    },
    /// In the values of a chart.
    Value {
        /// The chart, for a text; empty: none that is recognised.
        chart: String,
        /// The Helm release: labels alone are no chart, for people write the same ones.
        release: String,
        /// As for a resource.
        path: Option<String>,
    },
}

/// What Kubernetes shows of what makes pods.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// What owns the set, or the pod.
    pub owner: Option<&'a Owner>,
    /// The annotations of the set.
    pub annotations: Option<&'a BTreeMap<String, String>>,
    /// The labels of its pods.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The containers of its pods.
    pub containers: &'a [&'a str],
}

/// Where the limit of that set's Redis is written; `None`: in the set itself, as far as can be seen.
pub fn limit_at(made: &Made<'_>) -> Option<LimitAt> {
    let none = BTreeMap::new();
    let labels = made.labels.unwrap_or(&none);
    let seen = Seen {
        owners: made.owner.iter().map(|owner| owner.kind.as_str()).collect(),
        labels: vec![labels],
        containers: vec![made.containers.to_vec()],
    };
    let row = deployment(&seen);
    if let Some(resource) = row.and_then(|row| resource(row, made.owner, labels)) {
        return Some(resource);
    }
    // What somebody's resource owns is no release's, whatever its labels say.
    if made.owner.is_some() {
        return None;
    }
    let release = release(made, labels)?;
    let chart = row.filter(|row| row.is_a_chart());
    Some(LimitAt::Value {
        chart: chart.map(|row| row.product.to_owned()).unwrap_or_default(),
        release,
        path: chart.and_then(|row| path(row, labels)),
    })
}

fn resource(row: &Deployment, owner: Option<&Owner>, labels: &BTreeMap<String, String>) -> Option<LimitAt> {
    let of_a_form = row.stated.iter().find_map(|form| match form.by {
        Known::Resource(kind, group) => Some((kind, group, form.servers)),
        Known::Values(_) => None,
    });
    let of_a_sign = row.signs.iter().flat_map(|signs| *signs).find_map(|sign| match sign {
        Sign::Owner(kind) => Some((*kind, "", &[][..])),
        _ => None,
    });
    let (kind, group, servers) = of_a_form.or(of_a_sign)?;
    let owns = owner.filter(|owner| owner.kind == kind).map(|owner| owner.name.clone());
    let labelled = servers.iter().flat_map(|server| server.labels).filter(|(_, value)| *value == "NAME");
    let name = owns.or_else(|| labelled.into_iter().find_map(|(key, _)| labels.get(*key).cloned()))?;
    let said = row.limit_at.split(" of the ").next().unwrap_or_default().to_owned();
    let group = Some(group).filter(|group| !group.is_empty() && !group.starts_with('.')).map(str::to_owned);
    Some(LimitAt::Resource { kind: kind.to_owned(), group, name, path: path(row, labels), said })
}

/// The one field that holds the `resources` of a set with these labels.
fn path(row: &Deployment, labels: &BTreeMap<String, String>) -> Option<String> {
    let kinds = row.stated.iter().map(|form| form.servers.len()).sum::<usize>();
    let fits = |server: &&ServerAt| {
        if kinds == 1 {
            return true;
        }
        let mut fixed = server.labels.iter().filter(|(_, value)| *value != "NAME");
        let named = server.name.is_empty() || fixed.clone().next().is_some();
        fixed.all(|(key, value)| labels.get(*key).is_some_and(|has| has == value))
            && (named || labels.get(COMPONENT).is_some_and(|component| component == server.name))
    };
    let servers = row.stated.iter().flat_map(|form| form.servers).filter(fits);
    // An item of a list has no path that a merge could follow.
    let mut paths: Vec<&str> = servers
        .map(|server| server.resources.first().filter(|_| server.each.is_empty()).map_or("", |path| *path))
        .collect();
    if row.stated.is_empty() {
        paths.extend(row.resources);
    }
    paths.sort_unstable();
    paths.dedup();
    if let [_, _, ..] = paths.as_slice() {
        // Charts that exist once for each product name their first field after it.
        let product = labels.get(NAME).map(String::as_str).unwrap_or_default();
        paths.retain(|path| path.split_once('.').is_some_and(|(first, _)| product.starts_with(first)));
    }
    let [one] = paths.as_slice() else { return None };
    (!one.is_empty()).then(|| (*one).to_owned())
}

/// The Helm release: by Helm's own annotation, else (what is rendered by others lacks it) by the labels of its chart.
fn release(made: &Made<'_>, labels: &BTreeMap<String, String>) -> Option<String> {
    let annotated = made.annotations.and_then(|annotations| annotations.get(RELEASE_ANNOTATION));
    let by_helm = MANAGED_BY.iter().any(|key| labels.get(*key).is_some_and(|by| by == "Helm"));
    let labelled = || OF_A_RELEASE.iter().find_map(|key| labels.get(*key)).filter(|_| by_helm);
    annotated.or_else(labelled).cloned()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use rstest::rstest;

    use super::*;

    fn map(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').expect("a pair"));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn of(owner: &str, release: &str, labels: &str, container: &str) -> Option<LimitAt> {
        let owner = owner.split_once('/').map(|(kind, name)| Owner {
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: "o".into(),
        });
        let annotations =
            if release.is_empty() { BTreeMap::new() } else { map(&format!("{RELEASE_ANNOTATION}={release}")) };
        let labels = map(labels);
        limit_at(&Made {
            owner: owner.as_ref(),
            annotations: Some(&annotations),
            labels: Some(&labels),
            containers: &[container, "exporter"],
        })
    }

    /// Kind, name and path of each operator of the table.
    #[rstest]
    #[case("RedisFailover/shop", "", "RedisFailover shop spec.redis.resources")]
    #[case("RedisReplication/shop", "app=shop", "RedisReplication shop spec.kubernetesConfig.resources")]
    #[case("RedisCluster/shop", "role=leader cluster=shop", "RedisCluster shop spec.redisLeader.resources")]
    #[case("RedisCluster/shop", "role=follower cluster=shop", "RedisCluster shop spec.redisFollower.resources")]
    #[case("Redis/shop", "redis_setup_type=standalone app=shop", "Redis shop spec.kubernetesConfig.resources")]
    #[case::by_its_label("ValkeyNode/shop-0", "valkey.io/cluster=shop", "ValkeyCluster shop spec.resources")]
    #[case("Valkey/shop", "", "Valkey shop spec.resources")]
    #[case("Dragonfly/shop", "role=master", "Dragonfly shop spec.resources")]
    #[case::an_item_of_a_list("InstanceSet/shop-redis", "app.kubernetes.io/instance=shop", "Cluster shop -")]
    fn the_field_of_an_operators_resource(#[case] owner: &str, #[case] labels: &str, #[case] expected: &str) {
        let Some(LimitAt::Resource { kind, group, name, path, said }) = of(owner, "", labels, "redis") else {
            panic!("{:?}", of(owner, "", labels, "redis"))
        };
        assert_eq!(format!("{kind} {name} {}", path.as_deref().unwrap_or("-")), expected);
        assert!(group.is_none_or(|group| group.contains('.')));
        assert!(said.contains("esources") || said.contains("spec."), "{said}");
    }

    #[rstest]
    #[case("app.kubernetes.io/name=redis app.kubernetes.io/component=master", "redis", "master.resources")]
    #[case("app.kubernetes.io/name=valkey app.kubernetes.io/component=primary", "valkey", "primary.resources")]
    #[case("app.kubernetes.io/name=redis app.kubernetes.io/component=replica", "redis", "replica.resources")]
    #[case::sentinel("app.kubernetes.io/name=redis app.kubernetes.io/component=node", "redis", "replica.resources")]
    #[case("app.kubernetes.io/name=redis-cluster", "redis-cluster", "redis.resources")]
    #[case("app.kubernetes.io/name=valkey-cluster", "valkey-cluster", "valkey.resources")]
    #[case("app=redis-ha release=r heritage=Helm", "redis", "redis.resources")]
    #[case::groundhog("app.kubernetes.io/name=redis", "redis-server", "resources")]
    #[case::pirates("app.kubernetes.io/name=redis", "redis", "resources")]
    fn the_value_of_a_chart(#[case] labels: &str, #[case] container: &str, #[case] expected: &str) {
        let Some(LimitAt::Value { release, path, chart }) = of("", "shop", labels, container) else {
            panic!("{:?}", of("", "shop", labels, container))
        };
        assert_eq!((release.as_str(), path.as_deref()), ("shop", Some(expected)));
        assert!(!chart.is_empty());
    }

    #[test]
    fn a_release_is_known_by_the_labels_of_its_chart_too() {
        let labels = "app.kubernetes.io/name=redis app.kubernetes.io/component=master app.kubernetes.io/instance=shop";
        let release = |labels: &str, annotated: &str| match of("", annotated, labels, "redis") {
            Some(LimitAt::Value { release, .. }) => Some(release),
            None => None,
            other @ Some(_) => panic!("{other:?}"),
        };
        assert_eq!(release(labels, ""), None, "people write such labels too");
        let by_helm = format!("{labels} app.kubernetes.io/managed-by=Helm");
        assert_eq!(release(&by_helm, "").as_deref(), Some("shop"));
        assert_eq!(release(&by_helm, "other").as_deref(), Some("other"), "Helm's own word counts");
    }

    #[test]
    fn of_a_chart_that_nobody_knows_the_release_is_said_and_no_value() {
        assert_eq!(
            of("", "shop", "app=mine", "db"),
            Some(LimitAt::Value { chart: String::new(), release: "shop".into(), path: None })
        );
        assert_eq!(of("", "", "app=mine", "db"), None);
        assert_eq!(of("Strange/shop", "shop", "app=mine", "db"), None, "what owns the set writes its limit");
    }
}
