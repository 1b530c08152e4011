//! What this module asks of the API server, as rights: one table, beside the requests. The chart's roles are tested to be
//! exactly these (tests/chart), each request of the unit tests is among them (the stand-in refuses others), and on the
//! real cluster each of them is used (tests/cluster_used_rights.rs).

/// Which role of the chart gives a right, and so when it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Always, for every namespace.
    Base,
    /// Always, in the operator's own namespace.
    Leader,
    /// With `acting.resize`, for every namespace.
    Resize,
    /// With `acting.restart`, for every namespace.
    Restart,
    /// With `acting.restartInPlace`, for the whole cluster.
    InPlace,
    /// With `acting.roleLabel`, for every namespace.
    RoleLabel,
    /// With `nodeAccess`, for the whole cluster.
    Nodes,
    /// In the namespaces of `secretAccess`, for the Secrets that are named there.
    Secrets,
    /// With `metrics.tls.clients: token`, about the whole cluster.
    Metrics,
}

/// One right: verbs on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The role that gives it.
    pub role: Role,
    /// API group; empty: the core group.
    pub group: &'static str,
    /// Resource, and subresource behind a slash.
    pub resource: &'static str,
    /// Verbs, as RBAC has them.
    pub verbs: &'static [&'static str],
    /// Only objects of certain names.
    pub by_name: bool,
}

const fn right(role: Role, group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Right {
    Right { role, group, resource, verbs, by_name: false }
}

const fn named(role: Role, group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Right {
    Right { by_name: true, ..right(role, group, resource, verbs) }
}

/// Every right that is used, and no other.
pub const RIGHTS: &[Right] = &[
    // The watch of policies, the live look at one, its finalizer.
    right(Role::Base, "redismemory.io", "redismemorypolicies", &["get", "list", "watch", "patch"]),
    right(Role::Base, "redismemory.io", "redismemorypolicies/status", &["patch"]),
    // The cache of pods, and the live look at one.
    right(Role::Base, "", "pods", &["get", "list", "watch"]),
    // What lies around the pods is watched while nothing is to be done, and read before anything is.
    right(Role::Base, "", "services", &["list", "watch"]),
    right(Role::Base, "policy", "poddisruptionbudgets", &["list", "watch"]),
    right(Role::Base, "discovery.k8s.io", "endpointslices", &["list", "watch"]),
    right(Role::Base, "apps", "statefulsets", &["get", "list", "watch"]),
    // That a pod's controller exists: no password goes to one whose does not. And the template of a Deployment's pods.
    right(Role::Base, "apps", "replicasets", &["get"]),
    right(Role::Base, "events.k8s.io", "events", &["create"]),
    // RBAC cannot name what does not exist yet.
    right(Role::Leader, "coordination.k8s.io", "leases", &["create"]),
    named(Role::Leader, "coordination.k8s.io", "leases", &["get", "patch"]),
    // The Lease goes with the Deployment.
    named(Role::Leader, "apps", "deployments", &["get"]),
    right(Role::Resize, "", "pods/resize", &["patch"]),
    right(Role::Restart, "", "pods/eviction", &["create"]),
    // Whether a primary that is restarted in place can come back to its volume, and its rewrite has room.
    right(Role::InPlace, "", "persistentvolumeclaims", &["get"]),
    right(Role::InPlace, "", "persistentvolumes", &["get"]),
    right(Role::InPlace, "", "nodes", &["list"]),
    right(Role::RoleLabel, "", "pods", &["patch"]),
    // How much memory the nodes of selected pods give.
    right(Role::Nodes, "", "nodes", &["get"]),
    named(Role::Secrets, "", "secrets", &["get"]),
    // Whose a scraper's token is, and whether that one may read the metrics.
    right(Role::Metrics, "authentication.k8s.io", "tokenreviews", &["create"]),
    right(Role::Metrics, "authorization.k8s.io", "subjectaccessreviews", &["create"]),
];

/// What everybody who is authenticated may ask: about the API server itself, and about one's own rights.
#[cfg(test)]
const FOR_EVERYBODY: &[(&str, &str, &str)] =
    &[("authorization.k8s.io", "selfsubjectaccessreviews", "create"), ("", "", "get")];

/// Group, resource and verb of a request, as the API server's authorizer reads them.
#[cfg(test)]
fn asked(method: &http::Method, uri: &str) -> (String, String, &'static str) {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    let group = match words.first() {
        Some(&"api") => String::new(),
        Some(&"apis") => words.get(1).copied().unwrap_or_default().to_owned(),
        _ => return (String::new(), String::new(), "get"),
    };
    words.drain(..(if group.is_empty() { 2 } else { 3 }).min(words.len()));
    if words.first() == Some(&"namespaces") && words.len() > 2 {
        words.drain(..2);
    }
    let name = words.get(1).is_some();
    let resource = match words.as_slice() {
        [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
        [resource, ..] => (*resource).to_owned(),
        // Discovery.
        [] => return (String::new(), String::new(), "get"),
    };
    let verb = match method.as_str() {
        "GET" if query.split('&').any(|word| word == "watch=true") => "watch",
        "GET" if name => "get",
        "GET" => "list",
        "POST" => "create",
        "PATCH" => "patch",
        "PUT" => "update",
        _ => "delete",
    };
    (group, resource, verb)
}

/// Panics when no right covers this request: it belongs into [`RIGHTS`], and so into the chart.
#[cfg(test)]
pub(super) fn must_cover(method: &http::Method, uri: &str) {
    let (group, resource, verb) = asked(method, uri);
    let everybody = FOR_EVERYBODY.contains(&(group.as_str(), resource.as_str(), verb));
    let covered = RIGHTS.iter().any(|one| one.group == group && one.resource == resource && one.verbs.contains(&verb));
    assert!(everybody || covered, "{method} {uri} needs {verb} on {group}/{resource}: it is not among RIGHTS");
}

#[cfg(test)]
mod tests {
    use http::Method;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Method::GET, "/api/v1/namespaces/shop/pods?labelSelector=a", "", "pods", "list")]
    #[case(Method::GET, "/api/v1/namespaces/shop/pods?&watch=true&labelSelector=a", "", "pods", "watch")]
    #[case(Method::GET, "/api/v1/namespaces/shop/pods/redis-0?", "", "pods", "get")]
    #[case(Method::POST, "/api/v1/namespaces/shop/pods/redis-0/eviction?", "", "pods/eviction", "create")]
    #[case(Method::PATCH, "/apis/a.example/v1/namespaces/shop/things/x/status", "a.example", "things/status", "patch")]
    #[case(Method::GET, "/apis/a.example/v1/things", "a.example", "things", "list")]
    #[case(Method::GET, "/version", "", "", "get")]
    #[case(Method::GET, "/api/v1", "", "", "get")]
    fn a_request_is_read_as_the_authorizer_reads_it(
        #[case] method: Method,
        #[case] uri: &str,
        #[case] group: &str,
        #[case] resource: &str,
        #[case] verb: &str,
    ) {
        assert_eq!(asked(&method, uri), (group.to_owned(), resource.to_owned(), verb));
    }

    #[test]
    #[should_panic(expected = "needs delete on /pods")]
    fn a_request_without_a_right_is_seen() {
        must_cover(&Method::DELETE, "/api/v1/namespaces/shop/pods/redis-0");
    }
}
