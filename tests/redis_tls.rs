//! TLS to a real redis-server: what is accepted, what is refused and by which name, and that a password is never sent
//! to a server that was not verified.
#![cfg(test)]

mod common;

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{
    DEADLINE, eventually,
    pki::{Authority, Leaf, Valid},
    server::RedisServer,
};
use futures::future::BoxFuture;
use redis_memory_operator::{
    clock::Clock,
    domain::{
        policy::SecretKey,
        snapshot::{Observation, ProbeFailure},
        tls::{TlsProblem, TlsRule},
    },
    observe::sampler::{Assignment, CredentialsFor, Sampler, SamplerSettings, SecretSource, TargetKey},
    redis_io::{Connection, Credentials, RedisError, Tls, TlsMaterial, TlsNames},
};
use rstest::rstest;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::Zeroizing;

const PASSWORD: &str = "canary-5f2b7e-password";

/// A server with a plain port for the test itself and a TLS port for the operator.
struct TlsServer {
    redis: RedisServer,
    address: SocketAddr,
    directory: TempDir,
}

impl TlsServer {
    fn start(server: &Leaf, clients: &Authority, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        store(&file("server.crt"), &server.certificate);
        store(&file("server.key"), &server.key);
        store(&file("clients.crt"), &clients.pem);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
        let shown = |path: PathBuf| path.display().to_string();
        let mut arguments: Vec<String> = ["--requirepass", PASSWORD, "--tls-port"].map(str::to_owned).into();
        arguments.push(port.to_string());
        for (option, name) in
            [("--tls-cert-file", "server.crt"), ("--tls-key-file", "server.key"), ("--tls-ca-cert-file", "clients.crt")]
        {
            arguments.extend([option.to_owned(), shown(file(name))]);
        }
        arguments.extend(options.iter().copied().map(str::to_owned));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let redis = RedisServer::start(&arguments);
        Self { redis, address: SocketAddr::from(([127, 0, 0, 1], port)), directory }
    }

    /// Gives it another certificate, as a renewal does.
    fn renew(&self, server: &Leaf) {
        store(&self.directory.path().join("server.crt"), &server.certificate);
        store(&self.directory.path().join("server.key"), &server.key);
        let file = self.directory.path().join("server.crt").display().to_string();
        assert!(self.command(&["CONFIG", "SET", "tls-cert-file", &file]).contains("OK"));
    }

    fn command(&self, command: &[&str]) -> String {
        let mut arguments = vec!["-a", PASSWORD, "--no-auth-warning"];
        arguments.extend(command);
        self.redis.run(&arguments)
    }

    /// How many AUTH commands it was sent; the test's own are not among them.
    fn logins(&self) -> usize {
        let before = self.command(&["INFO", "commandstats"]);
        let calls = before.lines().find_map(|line| line.strip_prefix("cmdstat_auth:calls="));
        let calls = calls.and_then(|line| line.split(',').next()?.parse().ok());
        let mine: usize = self.command(&["GET", "test:calls"]).parse().unwrap_or(0);
        let _one_more = self.command(&["SET", "test:calls", &(mine + 3).to_string()]);
        calls.unwrap_or(0_usize).saturating_sub(mine + 1)
    }
}

fn store(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn material(authority: &Authority, client: Option<&Leaf>, server_name: Option<&str>) -> TlsMaterial {
    TlsMaterial {
        authorities: Zeroizing::new(authority.pem.clone()),
        client: client.map(|leaf| (Zeroizing::new(leaf.certificate.clone()), Zeroizing::new(leaf.key.clone()))),
        server_name: server_name.map(str::to_owned),
        names: TlsNames::SPEC,
    }
}

fn credentials(authority: &Authority, client: Option<&Leaf>, server_name: Option<&str>) -> Credentials {
    let tls = Tls::new(&material(authority, client, server_name)).expect("good material");
    Credentials::new(None, PASSWORD.into()).over(tls)
}

async fn open(address: SocketAddr, credentials: &Credentials) -> Result<Connection, RedisError> {
    Connection::open(address, Some(credentials), DEADLINE).await
}

/// Refused for this reason; the text repeats neither the password nor what the server said.
async fn refused(address: SocketAddr, credentials: &Credentials, want: TlsProblem) {
    let error = open(address, credentials).await.expect_err("it must be refused");
    let failure = ProbeFailure::from(error.clone());
    assert_eq!(failure.reason(), want.reason(), "{failure:?}");
    assert!(!failure.text().is_empty() && !format!("{failure:?} {error}").contains("canary"), "{failure:?}");
}

const NO_CLIENTS: &[&str] = &["--tls-auth-clients", "no"];

#[rstest]
#[case::by_address(&["127.0.0.1"], None)]
#[case::by_name(&["redis.shop.svc"], Some("redis.shop.svc"))]
#[case::by_wildcard(&["*.shop.svc"], Some("redis.shop.svc"))]
#[tokio::test]
async fn a_verified_server_is_spoken_to(#[case] names: &[&str], #[case] server_name: Option<&str>) {
    let authority = Authority::new("shop");
    for protocols in ["TLSv1.2", "TLSv1.3"] {
        let options = ["--tls-auth-clients", "no", "--tls-protocols", protocols];
        let server = TlsServer::start(&authority.server(names, Valid::Now), &authority, &options);
        let mut connection = open(server.address, &credentials(&authority, None, server_name)).await.expect(protocols);
        common::look(&mut connection).await.expect("a sample");
    }
}

#[rstest]
#[case::by_its_name(&["redis-0.redis.shop.svc"], None, None)]
#[case::with_the_cluster_domain(&["*.redis.shop.svc.cluster.local"], None, None)]
#[case::by_its_address(&["127.0.0.1"], None, None)]
#[case::by_another_pods_name(&["redis-1.redis.shop.svc"], None, Some(TlsProblem::NameMismatch))]
#[case::a_prescribed_name_alone_counts(&["redis-0.redis.shop.svc", "127.0.0.1"], Some("redis.shop.svc"), Some(TlsProblem::NameMismatch))]
#[tokio::test]
async fn without_a_server_name_the_pods_dns_name_counts_and_then_its_address(
    #[case] names: &[&str],
    #[case] server_name: Option<&str>,
    #[case] want: Option<TlsProblem>,
) {
    let authority = Authority::new("shop");
    let server = TlsServer::start(&authority.server(names, Valid::Now), &authority, NO_CLIENTS);
    let of_the_pod = ["redis-0.redis.shop.svc.cluster.local", "redis-0.redis.shop.svc"].map(str::to_owned);
    let tls = Tls::new(&material(&authority, None, server_name)).expect("good material").or_named(of_the_pod);
    let credentials = Credentials::new(None, PASSWORD.into()).over(tls);
    match want {
        None => {
            open(server.address, &credentials).await.expect("it is verified");
        }
        Some(problem) => {
            refused(server.address, &credentials, problem).await;
            assert_eq!(server.logins(), 0, "no password was sent");
        }
    }
}

#[tokio::test]
async fn check_speaks_tls_with_what_its_flags_name() {
    let (authority, clients, other) = (Authority::new("shop"), Authority::new("clients"), Authority::new("other"));
    let server = TlsServer::start(&authority.server(&["localhost"], Valid::Now), &clients, &[]);
    let ours = clients.client();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        store(&directory.path().join(name), text);
        directory.path().join(name).display().to_string()
    };
    let (ca, wrong) = (file("ca.crt", &authority.pem), file("other.crt", &other.pem));
    let (cert, key) = (file("tls.crt", &ours.certificate), file("tls.key", &ours.key));
    let check = |host: &str, flags: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
        command.args(["check", &format!("{host}:{}", server.address.port())]).args(flags);
        let ran = command.env("RMO_REDIS_PASSWORD", PASSWORD).output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap())
    };
    let mutual = ["--cacert", ca.as_str(), "--cert", &cert, "--key", &key];
    // The host that was given is the name that is asked for.
    let (code, out, err) = eventually("a fresh server has measured itself", async || {
        let ran = check("localhost", &mutual);
        (ran.0 != 3).then_some(ran)
    })
    .await;
    assert!(code == 2 && out.contains("MaxmemoryUnset"), "{code} {out} {err}");
    let by_address = check("127.0.0.1", &[&mutual[..], &["--server-name", "localhost"]].concat());
    assert_eq!(by_address.0, 2, "{by_address:?}");
    for (host, flags, reason) in [
        ("127.0.0.1", &mutual[..], "TlsNameMismatch"),
        ("localhost", &["--cacert", &wrong, "--cert", &cert, "--key", &key], "TlsUnknownAuthority"),
        ("localhost", &["--cacert", &ca], "TlsClientCertificateRefused"),
        ("localhost", &["--cacert", &ca, "--cert", &cert, "--key", &cert], "--key holds no private key"),
    ] {
        let (code, _, err) = check(host, flags);
        assert!(code == 3 && err.contains(reason) && !err.contains("canary"), "{reason}: {code} {err}");
    }
    let (code, _, err) = check("localhost", &["--cert", &cert]);
    assert!(code == 3 && err.contains("--cacert"), "{code} {err}");
}

#[tokio::test]
async fn mutual_tls_shows_our_certificate() {
    let (authority, clients) = (Authority::new("shop"), Authority::new("clients"));
    for protocols in ["TLSv1.2", "TLSv1.3"] {
        let leaf = authority.server(&["127.0.0.1"], Valid::Now);
        let server = TlsServer::start(&leaf, &clients, &["--tls-protocols", protocols]);
        let mut connection =
            open(server.address, &credentials(&authority, Some(&clients.client()), None)).await.expect(protocols);
        common::look(&mut connection).await.expect("a sample");
    }
}

#[tokio::test]
async fn each_refusal_of_a_server_has_its_name_and_no_password_is_sent() {
    let (ours, other, namesake) = (Authority::new("shop"), Authority::new("other"), Authority::new("shop"));
    let cases = [
        (other.server(&["127.0.0.1"], Valid::Now), None, TlsProblem::UnknownAuthority),
        (namesake.server(&["127.0.0.1"], Valid::Now), None, TlsProblem::UnknownAuthority),
        (ours.server(&["127.0.0.1"], Valid::Expired), None, TlsProblem::Expired),
        (ours.server(&["127.0.0.1"], Valid::NotYet), None, TlsProblem::NotYetValid),
        (ours.server(&["redis.shop.svc"], Valid::Now), None, TlsProblem::NameMismatch),
        (ours.server(&["127.0.0.1"], Valid::Now), Some("redis.shop.svc"), TlsProblem::NameMismatch),
        (ours.client(), None, TlsProblem::CertificateInvalid),
    ];
    for (leaf, server_name, want) in cases {
        let server = TlsServer::start(&leaf, &ours, NO_CLIENTS);
        for _ in 0..2 {
            refused(server.address, &credentials(&ours, None, server_name), want).await;
        }
        assert_eq!(server.logins(), 0, "{want:?}");
    }
}

#[tokio::test]
async fn the_count_of_logins_is_right() {
    let ours = Authority::new("shop");
    let server = TlsServer::start(&ours.server(&["127.0.0.1"], Valid::Now), &ours, NO_CLIENTS);
    assert_eq!(server.logins(), 0);
    let _connection = open(server.address, &credentials(&ours, None, None)).await.unwrap();
    assert_eq!(server.logins(), 1);
}

#[rstest]
#[case("TLSv1.2", TlsProblem::Failed)]
#[case("TLSv1.3", TlsProblem::ClientCertificateRefused)]
#[tokio::test]
async fn a_server_that_wants_a_client_certificate_says_so(#[case] protocols: &str, #[case] want: TlsProblem) {
    let (ours, clients) = (Authority::new("shop"), Authority::new("clients"));
    let leaf = ours.server(&["127.0.0.1"], Valid::Now);
    let server = TlsServer::start(&leaf, &clients, &["--tls-protocols", protocols]);
    for _ in 0..10 {
        refused(server.address, &credentials(&ours, None, None), want).await;
    }
}

#[rstest]
#[case("TLSv1.2")]
#[case("TLSv1.3")]
#[tokio::test]
async fn a_client_certificate_of_another_authority_is_refused(#[case] protocols: &str) {
    let (ours, clients, other) = (Authority::new("shop"), Authority::new("clients"), Authority::new("other"));
    let leaf = ours.server(&["127.0.0.1"], Valid::Now);
    let server = TlsServer::start(&leaf, &clients, &["--tls-protocols", protocols]);
    for _ in 0..10 {
        let wrong = credentials(&ours, Some(&other.client()), None);
        refused(server.address, &wrong, TlsProblem::ClientCertificateRefused).await;
    }
    assert_eq!(server.logins(), 0);
}

#[tokio::test]
async fn a_server_that_wants_tls_is_said_to_want_it() {
    let authority = Authority::new("authority");
    let server = TlsServer::start(&authority.server(&["127.0.0.1"], Valid::Now), &authority, &[]);
    let error = Connection::open(server.address, None, DEADLINE).await.expect_err("it wants TLS");
    let failure = ProbeFailure::from(error);
    assert_eq!(failure.reason(), "Unreachable");
    assert!(failure.text().contains("set spec.redis.tls"), "{}", failure.text());
}

#[tokio::test]
async fn a_plain_port_gets_no_password() {
    let ours = Authority::new("shop");
    let server = TlsServer::start(&ours.server(&["127.0.0.1"], Valid::Now), &ours, NO_CLIENTS);
    refused(server.redis.address(), &credentials(&ours, None, None), TlsProblem::NotSpoken).await;
    assert_eq!(server.logins(), 0);
}

/// Somebody between us and the server who would rather have it plain: it answers the first TLS message with what a
/// plain Redis says, and takes down everything that comes.
#[tokio::test]
async fn a_downgrade_is_refused_and_learns_nothing() {
    for answer in ["-ERR unknown command\r\n", "+OK\r\n", "+OK\r\n+OK\r\n$0\r\n\r\n"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let taken_down = Arc::clone(&heard);
        let eavesdropper = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    taken_down.lock().unwrap().extend_from_slice(&buffer[..length]);
                    let _it_may_have_gone = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        refused(address, &credentials(&Authority::new("shop"), None, None), TlsProblem::NotSpoken).await;
        eavesdropper.abort();
        let heard = heard.lock().unwrap().clone();
        assert!(heard.starts_with(b"\x16\x03"), "the first thing said was no TLS");
        assert!(!String::from_utf8_lossy(&heard).contains("canary") && !heard.windows(4).any(|w| w == b"AUTH"));
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_ends_with_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let credentials = credentials(&Authority::new("shop"), None, None);
    let short = Duration::from_millis(300);
    let opened = Connection::open(listener.local_addr().unwrap(), Some(&credentials), short).await;
    assert!(matches!(opened, Err(RedisError::TimedOut(_))), "{opened:?}");
}

#[test]
fn a_key_of_another_certificate_is_refused_before_it_is_used() {
    let clients = Authority::new("clients");
    let mixed = Leaf { key: clients.client().key, ..clients.client() };
    let refused = Tls::new(&material(&clients, Some(&mixed), None)).unwrap_err();
    let RedisError::Tls(TlsProblem::SecretUnusable, text) = &refused else { panic!("{refused:?}") };
    assert!(text.contains("do not belong together"), "{text}");
    for shown in [format!("{refused:?}"), format!("{:?}", material(&clients, Some(&mixed), None))] {
        assert!(mixed.key.lines().filter(|line| line.len() > 20).all(|line| !shown.contains(line)), "{shown}");
    }
}

/// The Secrets of the namespace.
struct Secrets(Mutex<Vec<(String, String)>>);

impl Secrets {
    fn set(&self, name: &str, value: &str) {
        let mut secrets = self.0.lock().unwrap();
        secrets.retain(|(other, _)| other != name);
        secrets.push((name.to_owned(), value.to_owned()));
    }
}

impl SecretSource for Secrets {
    fn get<'a>(&'a self, _: &'a str, key: &'a SecretKey) -> BoxFuture<'a, Result<Zeroizing<String>, ProbeFailure>> {
        let name = format!("{}/{}", key.name, key.key);
        let found = self.0.lock().unwrap().iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
        let missing = ProbeFailure::SecretUnavailable(format!("there is no {name}"));
        Box::pin(async move { found.map(Zeroizing::new).ok_or(missing) })
    }
}

#[tokio::test]
async fn a_renewed_authority_is_picked_up_in_either_order() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = TlsServer::start(&old.server(&["127.0.0.1"], Valid::Now), &old, NO_CLIENTS);
    let secrets = Arc::new(Secrets(Mutex::default()));
    secrets.set("ca/ca.crt", &old.pem);
    secrets.set("auth/password", PASSWORD);
    let settings = SamplerSettings { interval: Duration::from_millis(100), probe_deadline: DEADLINE, concurrency: 4 };
    let (sampler, _task) = Sampler::spawn(settings, Clock::start(), Arc::<Secrets>::clone(&secrets));
    let key = TargetKey { policy_uid: "policy".into(), pod_uid: "a".into() };
    let secret = |name: &str, key: &str| SecretKey { name: name.into(), key: key.into() };
    let login = CredentialsFor::Secret { namespace: "shop".into(), secret: secret("auth", "password"), username: None };
    let rule = TlsRule { ca: secret("ca", "ca.crt"), client_cert: None, server_name: None };
    let credentials = CredentialsFor::Tls { namespace: "shop".into(), rule, names: Vec::new(), login: Box::new(login) };
    let assignment = Assignment {
        pod_uid: key.pod_uid.clone(),
        set: ("shop/redis".into(), "set".into()),
        address: server.address,
        credentials,
        keep: Duration::from_secs(60),
    };
    sampler.assign("policy", "shop", vec![assignment], Arc::new(|_, _| 0));
    let seen = async || {
        let newest = sampler.latest(&key).1.last().map(|reading| reading.at);
        eventually("fresh samples", async || {
            (sampler.latest(&key).1.last().map(|reading| reading.at) > newest).then_some(())
        })
        .await;
    };
    seen().await;
    // The server first. Its open connections live on; they are cut, as a restart would.
    server.renew(&new.server(&["127.0.0.1"], Valid::Now));
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    eventually("the new certificate is refused", async || {
        matches!(sampler.latest(&key).0, Observation::Failed(ProbeFailure::Tls(TlsProblem::UnknownAuthority, _)))
            .then_some(())
    })
    .await;
    secrets.set("ca/ca.crt", &new.pem);
    let clock = Clock::start();
    seen().await;
    assert!(clock.uptime() < Duration::from_secs(10), "{:?}", clock.uptime());
    // The Secret first, with both authorities in it, as one should.
    secrets.set("ca/ca.crt", &format!("{}{}", new.pem, old.pem));
    server.renew(&old.server(&["127.0.0.1"], Valid::Now));
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let clock = Clock::start();
    seen().await;
    assert!(clock.uptime() < Duration::from_secs(10), "{:?}", clock.uptime());
}
