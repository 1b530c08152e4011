//! Sentinels that are reached by TLS alone as far as the operator is concerned, with a client certificate, as are their
//! servers, and speak it with each other. The test itself uses the plain ports.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use redis_memory_operator::{
    clock::Clock,
    domain::{fixtures, names::NodeAddress, sample::Role, sentinel::Said, snapshot::ProbeFailure, tls::TlsProblem},
    execute::switchover::{bare::Bare, fail_over},
    redis_io::{Connection, Credentials, RedisError, Tls, TlsMaterial, TlsNames},
    topology,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::{
    common::{
        DEADLINE, connect, eventually,
        load::{Load, Shape},
        pki::{Authority, Valid},
        rng::Rng,
        server::RedisServer,
    },
    facts::{SYSTEM, addresses},
    ours::{is_as_before, order, winner},
    reading::{texts, told},
    set::{USUAL, Watched, role},
};

/// A set under Sentinel, and the ports at which TLS is spoken.
struct Secured {
    set: Watched,
    servers: Vec<SocketAddr>,
    sentinels: Vec<SocketAddr>,
    authority: Authority,
    _directory: TempDir,
}

impl Secured {
    async fn start() -> Self {
        let authority = Authority::new("shop");
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let files = certificates(&authority, directory.path());
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let (mut servers, mut ports) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let port = free_port();
            let own = ["--tls-port", &port.port().to_string(), "--repl-backlog-size", "256mb"].map(str::to_owned);
            let own: Vec<&str> = own.iter().map(String::as_str).chain(files.iter().copied()).collect();
            servers.push(RedisServer::start_program(Path::new(SYSTEM), &own));
            ports.push(port);
        }
        for replica in &servers[1..] {
            connect(replica).await.replicaof(&node(ports[0])).await.expect("REPLICAOF is accepted");
            eventually("it follows by TLS", async || {
                matches!(role(replica).await?, Role::Replica(link) if link.link_up && !link.sync_in_progress)
                    .then_some(())
            })
            .await;
        }
        let (mut sentinels, mut doors) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let door = free_port();
            let own = ["--tls-port", &door.port().to_string()].map(str::to_owned);
            let own: Vec<&str> = own.iter().map(String::as_str).chain(files.iter().copied()).collect();
            sentinels.push(RedisServer::start_sentinel_at(Path::new(SYSTEM), ports[0].port(), 2, USUAL, &own));
            doors.push(door);
        }
        let set = Watched { servers, sentinels };
        let all = Self { set, servers: ports, sentinels: doors, authority, _directory: directory };
        for n in 0..3 {
            all.knows_everybody(n, 0).await;
        }
        all
    }

    /// What the operator shows and believes.
    fn credentials(&self) -> Credentials {
        let ours = self.authority.client();
        let material = TlsMaterial {
            authorities: Zeroizing::new(self.authority.pem.clone()),
            client: Some((Zeroizing::new(ours.certificate), Zeroizing::new(ours.key))),
            server_name: None,
            names: TlsNames::SPEC,
        };
        Credentials::tls_only(Tls::new(&material).expect("good material"))
    }

    /// What a Sentinel says by TLS once it knows everybody, and names that server.
    async fn knows_everybody(&self, n: usize, primary: usize) -> Said {
        let credentials = self.credentials();
        eventually("a Sentinel knows everybody, by TLS", async || {
            let mut sentinel = Connection::open(self.sentinels[n], Some(&credentials), DEADLINE).await.ok()?;
            let said = sentinel.sentinel(None, DEADLINE).await.ok()?;
            let [set] = said.sets.as_slice() else { return None };
            let well = set.replicas.iter().chain(&set.others).all(|known| !known.down);
            let all = (set.replicas.len(), set.others.len()) == (2, 2);
            (set.primary == node(self.servers[primary]) && well && all).then_some(said)
        })
        .await
    }
}

/// Cuts and keys, as options of a server or a Sentinel.
fn certificates(authority: &Authority, directory: &Path) -> Vec<String> {
    let (server, client) = (authority.server(&["127.0.0.1"], Valid::Now), authority.client());
    let mut options = ["--tls-replication", "yes"].map(str::to_owned).to_vec();
    for (option, text) in [
        ("--tls-ca-cert-file", &authority.pem),
        ("--tls-cert-file", &server.certificate),
        ("--tls-key-file", &server.key),
        ("--tls-client-cert-file", &client.certificate),
        ("--tls-client-key-file", &client.key),
    ] {
        let file = directory.join(option);
        std::fs::write(&file, text).expect("a file can be written");
        options.extend([option.to_owned(), file.display().to_string()]);
    }
    options
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free")
}

fn node(address: SocketAddr) -> NodeAddress {
    NodeAddress { host: address.ip().to_string(), port: address.port() }
}

/// Sentinels and servers are spoken to by TLS alone, and the role is moved: nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn the_role_is_moved_by_tls() {
    let all = Secured::start().await;
    let said = all.knows_everybody(1, 0).await;
    assert_eq!((said.sets[0].name.as_str(), said.sets[0].quorum), ("demo", 2));
    let plain = Connection::open(all.sentinels[1], None, DEADLINE).await.map(drop);
    assert!(plain.is_err(), "nobody is let in without TLS");
    let load = Load::start(addresses(&all.set), 21, Shape::of(&mut Rng::new(21, 5)));
    load.settled_at(0).await;
    let full_syncs = all.set.full_syncs();

    let mut order = order(&all.set, 0).await;
    let replicas = order.replicas.iter_mut().map(|(peer, _)| peer);
    for (peer, address) in std::iter::once(&mut order.from).chain(replicas).zip(&all.servers) {
        (peer.address, peer.replication_port) = (*address, address.port());
    }
    for (sentinel, address) in order.sentinels.iter_mut().zip(&all.sentinels) {
        sentinel.address = *address;
    }
    let bare = Bare {
        credentials: Some(all.credentials()),
        sentinels: Some(all.credentials()),
        ..Bare::new(Clock::start(), fixtures::policy().redis.role_label)
    };
    let done = fail_over(&bare, &fixtures::policy(), &order).await.expect("it is carried out");
    let new = winner(&all.set, &done).await;
    assert_ne!(new, 0);
    load.tell(new);
    load.settled_at(new).await;
    for n in 0..3 {
        all.knows_everybody(n, new).await;
    }
    let gap = load.take_gap();
    let acknowledged = tokio::task::block_in_place(|| load.stop());
    let lost: u64 = acknowledged.lost(all.set.servers[new].address()).await.values().sum();
    let full_syncs = all.set.full_syncs() - full_syncs;
    println!("by TLS: {lost} of {} lost, {full_syncs} full syncs, writes stopped for {gap:?}", acknowledged.count());
    assert_eq!((lost, full_syncs), (0, 0), "lost, and full syncs");
    all.set.servers.iter().for_each(is_as_before);
    assert!(gap < Duration::from_secs(5), "{gap:?}");
}

/// The certificate of another authority: what is wrong, and what to do about it, by the fields of the Sentinels.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_authority_is_a_refusal_that_says_what_to_do() {
    let all = Secured::start().await;
    let (other, ours) = (Authority::new("other"), all.authority.client());
    let material = TlsMaterial {
        authorities: Zeroizing::new(other.pem.clone()),
        client: Some((Zeroizing::new(ours.certificate), Zeroizing::new(ours.key))),
        server_name: None,
        names: TlsNames::SPEC,
    };
    let wrong = Credentials::tls_only(Tls::new(&material).expect("good material"));
    let error = Connection::open(all.sentinels[1], Some(&wrong), DEADLINE).await.map(drop).expect_err("it is refused");
    assert!(matches!(error, RedisError::Tls(TlsProblem::UnknownAuthority, _)), "{error}");
    let mut snapshot = told(&all.set).await;
    snapshot.sentinels[1].said = Err(ProbeFailure::from(error));
    let faults = texts(topology::find(&fixtures::policy(), &snapshot)[0].sentinel_faults());
    let said = faults.iter().find(|fault| fault.starts_with("the Sentinel in sentinel-1 gives no answer"));
    let said = said.unwrap_or_else(|| panic!("{faults:?}"));
    assert!(said.contains("put the certificate of the authority"), "{said}");
    assert!(said.ends_with("into the Secret of spec.redis.sentinel.tls.caSecret"), "{said}");
}
