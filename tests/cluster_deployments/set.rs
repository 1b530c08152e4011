//! A deployment in a namespace of its own: its pods, servers and Sentinels, read with `redis-cli` in their containers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    deployments::{Deployment, Way},
    support::{client, disk::Disk, redis::Info, space::Space, writer::Writer},
};

/// Of the servers and the Sentinels, where they have one.
pub(crate) const PASSWORD: &str = "as-the-chart-made-it";
/// So many keys fragment a server by more than the 100 MiB from which a policy acts by default.
const KEYS: u32 = 1_000_000;
/// Writes a second.
const RATE: &str = "200";

/// One that runs.
#[derive(Debug)]
pub(crate) struct Set<'a> {
    pub(crate) space: &'a Space,
    pub(crate) of: &'static Deployment,
    _disks: Vec<Disk>,
}

impl<'a> Set<'a> {
    /// Deploys it and waits until all of it is rolled out.
    pub(crate) fn deploy(space: &'a Space, of: &'static Deployment) -> Self {
        let disk = |claim: &&str| {
            let disk = Disk::new(space, claim);
            let words = [("CLAIM", *claim), ("DIRECTORY", &disk.path())];
            space.apply(&space.render("../deployments/volume.yaml", &words));
            disk
        };
        let set = Self { space, of, _disks: of.claims.iter().map(disk).collect() };
        let images = [
            ("KUBECTL_IMAGE", client::setting("RMO_IMAGE_KUBECTL")),
            ("HAPROXY_IMAGE", client::setting("RMO_IMAGE_HAPROXY")),
        ];
        let images = images.each_ref().map(|(word, image)| (*word, image.as_str()));
        let words = [images.as_slice(), &[("PASSWORD", PASSWORD)]].concat();
        space.apply(&space.render(&format!("../deployments/{}.yaml", of.name), &words));
        for maker in of.makers {
            space.must(&["rollout", "status", maker, "--timeout=300s"]);
        }
        set
    }

    /// Its servers' pods by name, as they are now.
    pub(crate) fn names(&self) -> Vec<String> {
        if self.of.pods.is_empty() {
            return self.pods().into_keys().collect();
        }
        self.of.pods.iter().map(|pod| (*pod).to_owned()).collect()
    }

    /// How many pods it has.
    pub(crate) const fn size(&self) -> usize {
        if self.of.pods.is_empty() { 1 } else { self.of.pods.len() }
    }

    /// Makes most pages of its memory mostly empty.
    pub(crate) fn fragment(&self) {
        let mut command = client::script("tests/manifests/fragment");
        command.args([&self.space.name, self.of.name]).arg(KEYS.to_string());
        command.env("PODS", self.names().join(" ")).env("CONTAINER", self.of.container);
        if self.of.secret.is_some() {
            command.env("PASSWORD", PASSWORD);
        }
        client::run(command).or_panic("fragmenting");
    }

    /// A writer that goes the clients' way, in a pod called `writer`.
    pub(crate) fn writer(&self) -> Writer<'a> {
        let at = |service: &str, port: u16| format!("--address={service}.{}.svc:{port}", self.space.name);
        let mut words = match self.of.way {
            Way::Service(service) | Way::Proxy(service) => vec![at(service, 6379)],
            Way::Sentinel(service) => {
                let master = self.of.sentinels.as_ref().map_or("", |sentinels| sentinels.master);
                vec![at(service, 26379), format!("--sentinel-master={master}")]
            }
        };
        words.extend(self.of.secret.map(|_| format!("--password={PASSWORD}")));
        let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        let words = [("WAY", words.join(", ")), ("RATE", RATE.to_owned())];
        let words = words.each_ref().map(|(word, value)| (*word, value.as_str()));
        Writer::apply(self.space, &self.space.render("../deployments/writer.yaml", &words), "writer")
    }

    /// `redis-cli` in a container.
    pub(crate) fn cli(&self, pod: &str, container: &str, words: &[&str]) -> Result<String, String> {
        let exec = ["exec", pod, "--container", container, "--", "timeout", "5", "redis-cli"];
        let auth: &[&str] = if self.of.secret.is_some() { &["--no-auth-warning", "-a", PASSWORD] } else { &[] };
        let said = self.space.kubectl(&[&exec, auth, words].concat());
        said.into_result().map(|text| text.trim_end().to_owned())
    }

    /// `INFO` of a server.
    pub(crate) fn info(&self, pod: &str) -> Result<Info, String> {
        let text = self.cli(pod, self.of.container, &["INFO", "everything"])?;
        if text.contains("role:") { Ok(Info::parse(&text)) } else { Err(format!("{pod} answers {text:?}")) }
    }

    /// The pods as the API server has them, by name; of a Deployment those that stay.
    pub(crate) fn pods(&self) -> BTreeMap<String, Value> {
        let list = self.space.get(&["pods", "--selector", self.of.selector]);
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        let named = pods.into_iter().filter_map(|pod| Some((pod["metadata"]["name"].as_str()?.to_owned(), pod)));
        let is_its = |(name, pod): &(String, Value)| {
            let stays = self.of.pods.is_empty() && pod["metadata"]["deletionTimestamp"].is_null();
            stays || self.of.pods.contains(&name.as_str())
        };
        named.filter(is_its).collect()
    }

    /// UID by pod.
    pub(crate) fn uids(&self) -> BTreeMap<String, String> {
        let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        self.pods().iter().map(|(name, pod)| (name.clone(), uid(pod))).collect()
    }

    /// The memory limit of each server that its kubelet has in force, in bytes.
    pub(crate) fn limits(&self) -> BTreeMap<String, u64> {
        let limit = |pod: &Value| {
            let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
            let server = statuses.iter().find(|status| status["name"] == self.of.container).cloned();
            bytes(server.unwrap_or_default()["resources"]["limits"]["memory"].as_str().unwrap_or_default())
        };
        self.pods().iter().map(|(name, pod)| (name.clone(), limit(pod))).collect()
    }

    /// Fragmentation by pod.
    pub(crate) fn ratios(&self) -> Result<BTreeMap<String, f64>, String> {
        self.names().into_iter().map(|pod| Ok((pod.clone(), self.info(&pod)?.ratio()))).collect()
    }
}

/// A quantity as the API server writes it.
fn bytes(quantity: &str) -> u64 {
    let digits = quantity.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &quantity[digits.len()..] {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        other => panic!("a limit in {other}"),
    };
    digits.parse::<u64>().map_or(0, |number| number * unit)
}

#[test]
fn a_limit_is_read_in_bytes() {
    assert_eq!(["384Mi", "1Gi", "402653184", ""].map(bytes), [384 << 20, 1 << 30, 384 << 20, 0]);
}
