//! A way to the ports of pods through the API server, for a person who can reach it and not the pods: `kubectl port-forward`.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use super::{error::within, read::READ_TIMEOUT};

/// Pods by their addresses.
#[derive(Clone)]
pub struct Forward {
    client: Client,
    /// Namespace and name; `None`: several pods have that address, which is their node's.
    pods: BTreeMap<IpAddr, Option<(String, String)>>,
}

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("pods", &self.pods).finish_non_exhaustive()
    }
}

impl Forward {
    /// To these pods.
    pub fn new<'a>(client: Client, pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut known: BTreeMap<IpAddr, Option<(String, String)>> = BTreeMap::new();
        for pod in pods {
            let addresses = pod.status.iter().flat_map(|status| {
                status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).chain(status.pod_ip.clone())
            });
            let mut addresses: Vec<IpAddr> = addresses.filter_map(|ip| ip.parse().ok()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            let name = (pod.namespace().unwrap_or_default(), pod.name_any());
            for address in addresses {
                known.entry(address).and_modify(|other| *other = None).or_insert_with(|| Some(name.clone()));
            }
        }
        Self { client, pods: known }
    }

    /// A connection to a port of the pod that has this address. What is between it and the API server is a connection of this
    /// machine to itself, which nobody else can take: it is accepted once, and only from here.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        let (namespace, name) = match self.pods.get(&address.ip()) {
            Some(Some(pod)) => pod,
            Some(None) => {
                return Err(io::Error::other(format!(
                    "several pods have the address {}: none is forwarded to",
                    address.ip()
                )));
            }
            None => return Err(io::Error::other(format!("no pod of the namespace has the address {}", address.ip()))),
        };
        let api: Api<Pod> = Api::namespaced(self.client, namespace);
        let asked = within(READ_TIMEOUT, api.portforward(name, &[address.port()])).await;
        let mut forwarder =
            asked.map_err(|cause| io::Error::other(format!("no port of pod {name} is forwarded: {cause}")))?;
        let mut remote =
            forwarder.take_stream(address.port()).ok_or_else(|| io::Error::other("no port is forwarded"))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (ours, accepted) = tokio::try_join!(TcpStream::connect(listener.local_addr()?), listener.accept())?;
        let (mut local, from) = accepted;
        if from != ours.local_addr()? {
            return Err(io::Error::other("another program of this machine took the connection"));
        }
        // It ends with either side. The forwarder is kept until then: its task is the connection.
        tokio::spawn(async move {
            let _either_side_ended = copy_bidirectional(&mut local, &mut remote).await;
            forwarder.abort();
        });
        Ok(ours)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_address_that_is_not_one_pods_is_not_forwarded_to() {
        let pod = |name: &str, ip: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "shop"},
                "status": {"podIP": ip, "podIPs": [{"ip": ip}]}}))
            .expect("a pod")
        };
        let pods = [pod("redis-0", "10.0.0.1"), pod("on-the-node", "10.9.9.9"), pod("beside-it", "10.9.9.9")];
        let config = kube::Config::new("http://127.0.0.1:1".parse().expect("a URL"));
        let client =
            super::super::client::build(config, &super::super::client::ClientOptions::default()).expect("a client");
        let forward = Forward::new(client, pods.iter());
        let why = |address: &str| {
            let forward = forward.clone();
            let address = address.parse().expect("an address");
            async move { forward.connect(address).await.expect_err("it is not forwarded").to_string() }
        };
        assert!(why("10.9.9.9:6379").await.contains("several pods have the address 10.9.9.9"));
        assert!(why("10.0.0.7:6379").await.contains("no pod of the namespace has the address 10.0.0.7"));
        let refused = why("10.0.0.1:6379").await;
        assert!(refused.contains("no port of pod redis-0 is forwarded") && refused.contains("refused"), "{refused}");
    }
}
