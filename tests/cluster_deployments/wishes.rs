//! How its owner wants a deployment to be: every pod Ready, one primary with all replicas linked, the labels, the Services and
//! the Sentinels of one mind.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    deployments::{Primary, Sentinels, Way},
    set::Set,
    support::require,
};

/// Pods by name, as the API server has them.
type Pods = BTreeMap<String, Value>;

impl Set<'_> {
    /// The primary, when everything is as it should be; else what is not.
    pub(crate) fn as_wished(&self) -> Result<String, String> {
        let pods = self.pods();
        require(pods.len() == self.size(), || format!("{} pods, not {}", pods.len(), self.size()))?;
        for pod in &self.names() {
            let found = pods.get(pod).ok_or_else(|| format!("{pod} is not there"))?;
            require(is_ready(found), || format!("{pod} is not Ready, or goes"))?;
        }
        let primary = self.one_primary()?;
        if let Some((key, value)) = self.of.role_label {
            let labelled = |pod: &Value| pod["metadata"]["labels"][key] == value;
            let carry: Vec<&String> = pods.iter().filter(|(_, pod)| labelled(pod)).map(|(name, _)| name).collect();
            require(carry == [&primary], || format!("{primary} is primary, and {key}={value} is on {carry:?}"))?;
        }
        for service in self.of.leading {
            self.leads_to(service, &pods[&primary])?;
        }
        if let Some(sentinels) = &self.of.sentinels {
            for pod in sentinels.pods {
                self.agrees(sentinels, pod, &primary, &pods)?;
            }
        }
        Ok(primary)
    }

    /// Exactly one, with every other linked to it.
    fn one_primary(&self) -> Result<String, String> {
        let mut primaries = Vec::new();
        for pod in &self.names() {
            let info = self.info(pod)?;
            if info.is_primary() {
                let linked = info.field("connected_slaves");
                let others = (self.size() - 1).to_string();
                require(linked == others, || format!("{pod} has {linked} replicas, not {others}"))?;
                primaries.push(pod.clone());
            } else {
                let link = info.field("master_link_status");
                require(link == "up", || format!("{pod} follows {}, link {link}", info.field("master_host")))?;
            }
        }
        let [primary] = primaries.as_slice() else { return Err(format!("not one primary: {primaries:?}")) };
        if let Primary::Fixed(pod) = self.of.primary {
            require(primary == pod, || format!("{primary} is primary, not {pod}"))?;
        }
        Ok(primary.clone())
    }

    /// A Service has the pod behind it, and no other.
    fn leads_to(&self, service: &str, pod: &Value) -> Result<(), String> {
        let slices =
            self.space.get(&["endpointslices", "--selector", &format!("kubernetes.io/service-name={service}")]);
        let slices = slices["items"].as_array().cloned().unwrap_or_default();
        let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        let behind: BTreeSet<String> =
            ready.filter_map(|endpoint| endpoint["addresses"][0].as_str().map(str::to_owned)).collect();
        let wanted = pod["status"]["podIP"].as_str().unwrap_or_default();
        require(behind.len() == 1 && behind.contains(wanted), || format!("{service} leads to {behind:?}, not {wanted}"))
    }

    /// A Sentinel names the primary, every replica and every peer, and takes nobody for dead.
    fn agrees(&self, sentinels: &Sentinels, pod: &str, primary: &str, pods: &Pods) -> Result<(), String> {
        let ask = |words: &[&str]| {
            let words = [&["-p", "26379", "SENTINEL"], words, &[sentinels.master]].concat();
            self.cli(pod, sentinels.container, &words)
        };
        let answer = ask(&["MASTER"])?;
        let lines: Vec<&str> = answer.lines().map(str::trim_end).collect();
        let fields: BTreeMap<&str, &str> = lines.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        let named = self.pod_at(field("ip"), pods);
        require(named.as_deref() == Some(primary), || {
            format!("the Sentinel in {pod} names {} ({named:?}), and {primary} is primary: {answer}", field("ip"))
        })?;
        require(field("flags") == "master", || format!("the Sentinel in {pod} says {}", field("flags")))?;
        let others = |name: &str, wanted: usize| {
            let known: usize = field(name).parse().unwrap_or_default();
            let enough = if sentinels.remember_the_dead { known >= wanted } else { known == wanted };
            require(enough, || format!("the Sentinel in {pod}: {name} is {known}, not {wanted}"))
        };
        others("num-slaves", self.size() - 1)?;
        others("num-other-sentinels", sentinels.pods.len() - 1)?;
        if sentinels.remember_the_dead {
            // After some restarts, whoever's, no majority of all that were ever known is left: the owner's own trouble.
            return Ok(());
        }
        let quorum = ask(&["CKQUORUM"])?;
        require(quorum.starts_with("OK"), || format!("the Sentinel in {pod}: {quorum}"))
    }

    /// Whose address that is: a pod's name in DNS, its IP address, or that of the Service that is pinned to it.
    fn pod_at(&self, address: &str, pods: &Pods) -> Option<String> {
        let is_its = |(name, pod): &(&String, &Value)| {
            address.split('.').next() == Some(name.as_str()) || pod["status"]["podIP"] == address
        };
        if let Some((name, _)) = pods.iter().find(is_its) {
            return Some(name.clone());
        }
        let services = self.space.get(&["services"]);
        let services = services["items"].as_array()?;
        let service = services.iter().find(|service| service["spec"]["clusterIP"] == address)?;
        service["spec"]["selector"]["statefulset.kubernetes.io/pod-name"].as_str().map(str::to_owned)
    }
}

impl Way {
    /// What it is, for the table.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Service(service) => format!("Service {service}"),
            Self::Sentinel(service) => format!("Sentinels behind {service}"),
            Self::Proxy(service) => format!("HAProxy behind {service}"),
        }
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}
