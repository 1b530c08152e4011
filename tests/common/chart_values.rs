//! The combinations of the chart's switches that are rendered: by tests/chart, and for a real API server.

/// About the whole cluster, or some namespaces.
pub const PLACES: [&str; 2] = ["", "watchNamespaces={shop,cart}"];
/// What it may change.
pub const ACTING: [&str; 2] = ["", "acting.resize=true,acting.restart=true,acting.roleLabel=true,replicas=2"];
/// What is refused at admission.
pub const ADMISSION: [&str; 2] = ["", "admission.enabled=true,admission.action=Warn"];
/// How it is scraped.
pub const MONITORS: [&str; 3] =
    ["", "metrics.serviceMonitor.enabled=true", "metrics.podMonitor.enabled=true,metrics.service.enabled=false"];
/// The definition, and who may reach the operator.
pub const CRDS: [&str; 3] =
    ["", "crds.install=false,networkPolicy.enabled=true", "networkPolicy.enabled=true,crds.keep=false"];

/// Whatever else is set, in half of the combinations. `json:` begins lists and maps.
const MORE: [&str; 13] = [
    r#"json:commonLabels={"team":"data"}"#,
    r#"json:networkPolicy.metricsFrom=[{"namespaceSelector":{"matchLabels":{"a":"b"}}}]"#,
    r#"json:networkPolicy.healthFrom=[{"ipBlock":{"cidr":"10.0.0.0/8"}}]"#,
    r#"json:networkPolicy.egress=[{"to":[{"podSelector":{}}],"ports":[{"port":6379,"protocol":"TCP"}]}]"#,
    "updateStrategy.type=RollingUpdate,updateStrategy.rollingUpdate.maxSurge=50%,dnsPolicy=Default",
    "metrics.service.ipFamilyPolicy=PreferDualStack,metrics.service.ipFamilies={IPv6,IPv4}",
    "secretAccess[0].namespace=shop,secretAccess[0].names={redis-auth},imagePullSecrets[0].name=pull",
    r#"json:serviceAccount.annotations={"a":"b"}"#,
    "metrics.prometheusRule.enabled=true,dashboards.enabled=true,dashboards.folder=Redis",
    r#"json:extraVolumes=[{"name":"v","emptyDir":{}}]"#,
    r#"json:extraVolumeMounts=[{"name":"v","mountPath":"/v"}]"#,
    r#"json:tolerations=[{"key":"a","operator":"Exists"}]"#,
    "metrics.tls.secretName=metrics-tls,aggregateRoles=false",
];
/// What more there is of rights on the whole cluster: about nodes and volumes, and about the tokens of those who scrape.
const OF_THE_CLUSTER: &str = "nodeAccess=true,acting.restartInPlace=true,metrics.tls.clients=token";
/// In namespaces those who scrape show a certificate instead.
const OF_NAMESPACES: &str = "metrics.tls.clients=certificate";

/// The settings of one combination.
pub fn settings(switches: [&'static str; 5]) -> Vec<&'static str> {
    let mut settings: Vec<&str> = switches.into_iter().filter(|setting| !setting.is_empty()).collect();
    if settings.len().is_multiple_of(2) {
        settings.extend(MORE);
        settings.push(if settings.contains(&PLACES[1]) { OF_NAMESPACES } else { OF_THE_CLUSTER });
    }
    settings
}

/// The settings of all of them.
pub fn combinations() -> Vec<Vec<&'static str>> {
    let mut all = Vec::new();
    for place in PLACES {
        for acting in ACTING {
            for admission in ADMISSION {
                for monitor in MONITORS {
                    all.extend(CRDS.map(|crds| settings([place, acting, admission, monitor, crds])));
                }
            }
        }
    }
    all
}

/// The options of `helm` for a setting.
pub fn option(setting: &str) -> [&str; 2] {
    setting.strip_prefix("json:").map_or(["--set", setting], |setting| ["--set-json", setting])
}
