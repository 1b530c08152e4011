//! A password and a private key, traced through everything that is ever written: logs at their most talkative, errors
//! and what is printed of every type, status, metrics, the arguments and the output of the program.
//!
//! One test alone in its program: the log is the whole process'.
#![cfg(test)]

mod common;

use std::{
    error::Error,
    io::Write,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Path, routing::get};
use common::{
    eventually,
    fake::{FakeRedis, Script},
    garbage::{GarbageServer, Manner},
    pki::{Authority, Leaf, Valid},
    server::RedisServer,
};
use futures::{FutureExt as _, future::BoxFuture};
use redis_memory_operator::{
    api::v1alpha1::RedisMemoryPolicyStatus,
    assess::{AssessSettings, Assessment, judged::Judged},
    clock::Clock,
    domain::{
        fixtures,
        policy::SecretKey,
        snapshot::{Observation, ProbeFailure},
        tls::TlsRule,
    },
    kube_io::secrets::Secrets,
    metrics::Metrics,
    observe::sampler::{Assignment, CredentialsFor, Pair, Sampler, SamplerSettings, SecretSource, TargetKey},
    redis_io::{Connection, Credentials, Tls, TlsMaterial, TlsNames},
    report::{self, transitions},
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

const CANARY: &str = "canary-9d41c7e2b0-password";
/// What base64 makes of it, without its uncertain end: Secrets arrive in it.
const CANARY_BASE64: &str = "Y2FuYXJ5LTlkNDFjN2UyYjAtcGFzc3dvcm";

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What must never be seen, and everything that was.
struct Witness {
    secrets: Vec<String>,
    seen: Vec<(String, String)>,
}

impl Witness {
    fn new(key: &str) -> Self {
        let lines = key.lines().filter(|line| line.len() >= 32).map(str::to_owned);
        let secrets = lines.chain([CANARY.to_owned(), CANARY_BASE64.to_owned()]).collect();
        Self { secrets, seen: Vec::new() }
    }

    fn saw(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.seen.push((what.into(), text.into()));
    }

    /// An error, printed in every way, with its sources.
    fn saw_error(&mut self, what: &str, error: &(impl Error + 'static)) {
        self.saw(what, format!("{error} {error:?} {error:#?}"));
        let mut source = error.source();
        while let Some(error) = source {
            self.saw(what, format!("{error} {error:?}"));
            source = error.source();
        }
    }

    fn gave_away(&self) -> Vec<&str> {
        let shows = |text: &str| self.secrets.iter().any(|secret| text.contains(secret));
        self.seen.iter().filter(|(_, text)| shows(text)).map(|(what, _)| what.as_str()).collect()
    }
}

/// The part of an API server that gives Secrets out.
async fn api_server(leaf: &Leaf, authority: &Authority) -> SocketAddr {
    let base64 = |text: &str| json!(k8s_openapi::ByteString(text.as_bytes().to_vec()));
    let secrets = json!({
        "auth": {"password": base64(CANARY)},
        "ca": {"ca.crt": base64(&authority.pem)},
        "client": {"tls.crt": base64(&leaf.certificate), "tls.key": base64(&leaf.key)},
        // A key where the certificate should be, and the other way round.
        "crossed": {"tls.crt": base64(&leaf.key), "tls.key": base64(CANARY)},
    });
    let answer = move |Path(name): Path<String>| {
        let data = secrets[&name].clone();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
        async move { ([("content-type", "application/json")], secret.to_string()) }
    };
    let routes = Router::new().route("/api/v1/namespaces/shop/secrets/{name}", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, routes).into_future());
    address
}

struct FromKubernetes(Secrets);

impl SecretSource for FromKubernetes {
    fn get<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a SecretKey,
    ) -> BoxFuture<'a, Result<Zeroizing<String>, ProbeFailure>> {
        self.0.get(namespace, key).boxed()
    }

    fn get_pair<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Pair, ProbeFailure>> {
        self.0.get_pair(namespace, name).boxed()
    }
}

fn secret(name: &str, key: &str) -> SecretKey {
    SecretKey { name: name.into(), key: key.into() }
}

fn login() -> CredentialsFor {
    let secret = secret("auth", "password");
    CredentialsFor::Secret { namespace: "shop".into(), secret, username: Some("memory-operator".into()) }
}

fn over_tls(client: Option<&str>) -> CredentialsFor {
    let rule = TlsRule { ca: secret("ca", "ca.crt"), client_cert: client.map(str::to_owned), server_name: None };
    CredentialsFor::Tls { namespace: "shop".into(), rule, names: Vec::new(), login: Box::new(login()) }
}

/// Servers that take the password, refuse it, repeat it, or are not there.
struct Servers {
    good: RedisServer,
    wrong: RedisServer,
    renamed: RedisServer,
    echo: GarbageServer,
    http: GarbageServer,
    parrot: FakeRedis,
    /// A TLS server whose certificate is for a name of its own choosing.
    impostor: (RedisServer, SocketAddr, tempfile::TempDir),
}

impl Servers {
    async fn start(authority: &Authority) -> Self {
        let good = RedisServer::start(&[]);
        good.run(&["ACL", "SETUSER", "memory-operator", "on", &format!(">{CANARY}"), "~*", "+@all"]);
        let parrot = Script {
            info: vec![format!("# Server\r\nredis_version:{CANARY}\r\nrun_id:{CANARY}\r\nrole:{CANARY}\r\n")],
            error: None,
            config: Vec::new(),
            clients: String::new(),
        };
        Self {
            good,
            wrong: RedisServer::start(&["--requirepass", "something-else"]),
            renamed: RedisServer::start(&["--rename-command", "AUTH", ""]),
            echo: GarbageServer::start(Manner::Echo).await,
            http: GarbageServer::start(Manner::Http).await,
            parrot: FakeRedis::start(parrot).await,
            impostor: start_tls(&authority.server(&[CANARY], Valid::Now), authority),
        }
    }

    fn targets(&self) -> Vec<(&'static str, SocketAddr, CredentialsFor)> {
        vec![
            ("good", self.good.address(), login()),
            ("wrong", self.wrong.address(), login()),
            ("renamed", self.renamed.address(), login()),
            ("echo", self.echo.address(), login()),
            ("http", self.http.address(), login()),
            ("parrot", self.parrot.address(), login()),
            ("closed", SocketAddr::from(([127, 0, 0, 1], 1)), login()),
            ("plain", self.good.address(), over_tls(Some("client"))),
            ("impostor", self.impostor.1, over_tls(Some("client"))),
            ("crossed", self.impostor.1, over_tls(Some("crossed"))),
            ("echo-tls", self.echo.address(), over_tls(None)),
        ]
    }
}

/// What is concluded from an observation, as it goes into status, events and metrics.
fn concluded(witness: &mut Witness, name: &str, seen: Observation) {
    let (policy, mut snapshot) = fixtures::enforced();
    snapshot.targets[1].redis = seen;
    let settings = AssessSettings::default();
    let look = Assessment::of(&policy, &snapshot, &settings);
    let judged = Judged::of(&look);
    let found = look.findings(&[], None);
    let findings = report::findings::shown(&found, &judged, &snapshot, &RedisMemoryPolicyStatus::default());
    let input = report::Input {
        policy: &policy,
        sets: &report::sets::of(&look),
        generation: 1,
        snapshot: &snapshot,
        findings: &findings,
        judged: &judged,
        kills: &[],
        plan: None,
        blocked: &[],
        journal: None,
        records: &[],
        now: fixtures::NOW,
    };
    let status = report::status(&input, &RedisMemoryPolicyStatus::default());
    witness.saw(format!("status of {name}"), serde_json::to_string(&status).unwrap());
    witness.saw(format!("findings of {name}"), format!("{findings:?}"));
    let events = transitions::between(&RedisMemoryPolicyStatus::default(), &status, |_| true, |_| None);
    witness.saw(format!("events of {name}"), format!("{events:?}"));
    let metrics = Metrics::new("lease");
    metrics.show_targets(true);
    if let Observation::Failed(failure) = &snapshot.targets[1].redis {
        metrics.probe_failed(failure.reason());
    }
    witness.saw(format!("metrics of {name}"), metrics.render().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_seen() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).init();
    let authority = Authority::new("shop");
    let leaf = authority.client();
    let mut witness = Witness::new(&leaf.key);

    let servers = Servers::start(&authority).await;
    let targets = servers.targets();

    let api = api_server(&leaf, &authority).await;
    let config = kube::Config::new(format!("http://{api}").parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let secrets = Arc::new(FromKubernetes(Secrets::new(client)));
    let settings = SamplerSettings {
        interval: Duration::from_millis(200),
        probe_deadline: Duration::from_secs(2),
        concurrency: 16,
    };
    let (sampler, _task) = Sampler::spawn(settings, Clock::start(), secrets);
    let key = |name: &str| TargetKey { policy_uid: "policy".into(), pod_uid: name.into() };
    let assignments: Vec<_> = targets
        .iter()
        .map(|(name, address, credentials)| Assignment {
            set: ("shop/redis".into(), "set".into()),
            pod_uid: (*name).into(),
            address: *address,
            credentials: credentials.clone(),
            keep: Duration::from_secs(60),
        })
        .collect();
    witness.saw("assignments", format!("{assignments:?}"));
    sampler.assign("policy", "shop", assignments, Arc::new(|_, _| 0));
    for (name, ..) in &targets {
        let seen = eventually(name, async || {
            let seen = sampler.latest(&key(name)).0;
            (!matches!(seen, Observation::Pending)).then_some(seen)
        })
        .await;
        // The parrot's INFO says nothing that can be read: it is watched, and never acted on.
        let answers = ["good", "parrot"].contains(name);
        assert_eq!(matches!(seen, Observation::Seen(_)), answers, "{name}: {seen:?}");
        witness.saw(*name, format!("{seen:?} {seen:#?}"));
        concluded(&mut witness, name, seen);
        match sampler.credentials(&key(name)).await {
            Ok(credentials) => {
                witness.saw(format!("credentials of {name}"), format!("{credentials:?} {credentials:#?}"));
                acting(&mut witness, name, credentials.as_ref(), &targets).await;
            }
            Err(failure) => witness.saw(format!("no credentials of {name}"), format!("{failure:?}")),
        }
    }
    witness.saw("sampler", format!("{sampler:?} {:?}", sampler.probe_stats()));
    let material = TlsMaterial {
        authorities: Zeroizing::new(authority.pem.clone()),
        client: Some((Zeroizing::new(leaf.certificate.clone()), Zeroizing::new(leaf.key.clone()))),
        server_name: None,
        names: TlsNames::SPEC,
    };
    witness.saw("material", format!("{material:?} {material:#?}"));
    witness.saw("tls", format!("{0:?} {0:#?}", Tls::new(&material).unwrap()));

    command_line(&mut witness, &targets);
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.len() > 1000 && logged.contains("probe failed"), "the log was taken down: {logged}");
    witness.saw("log", logged);
    assert!(servers.parrot.heard().iter().any(|command| command.contains(CANARY)), "the canary flew");
    assert_eq!(witness.gave_away(), Vec::<&str>::new());
}

/// What an acting connection prints when it fails.
async fn acting(
    witness: &mut Witness,
    name: &str,
    credentials: Option<&Credentials>,
    targets: &[(&str, SocketAddr, CredentialsFor)],
) {
    let address = targets.iter().find(|(other, ..)| *other == name).expect("it is among them").1;
    match Connection::open(address, credentials, Duration::from_secs(2)).await {
        Ok(mut connection) => {
            witness.saw(name, format!("{connection:?}"));
            let outcome = connection.config_set(CANARY, "1").await;
            match outcome {
                Err(error) => witness.saw_error(name, &error),
                // It says yes to everything.
                Ok(()) => assert_eq!(name, "parrot", "there is no such setting"),
            }
        }
        Err(error) => witness.saw_error(name, &error),
    }
}

/// `check`, with the password where it belongs: in the environment.
fn command_line(witness: &mut Witness, targets: &[(&str, SocketAddr, CredentialsFor)]) {
    for (_, address, _) in &targets[..5] {
        for output in ["table", "json"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"));
            command.args(["check", &address.to_string(), "--username", "memory-operator", "--output", output]);
            command.env("RMO_REDIS_PASSWORD", CANARY).env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
            let arguments: Vec<_> = command.get_args().map(|it| it.to_string_lossy().into_owned()).collect();
            let done = command.output().expect("the operator can be run");
            let printed = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert!(!printed.is_empty());
            witness.saw("check", printed);
            witness.saw("arguments", arguments.join(" "));
        }
    }
    let acl = Command::new(env!("CARGO_BIN_EXE_redis-memory-operator"))
        .args(["acl"])
        .env("RMO_REDIS_PASSWORD", CANARY)
        .output()
        .expect("the operator can be run");
    witness.saw("acl", String::from_utf8_lossy(&acl.stdout).into_owned());
}

/// A TLS server whose certificate is for a name of its own choosing.
fn start_tls(leaf: &Leaf, clients: &Authority) -> (RedisServer, SocketAddr, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port();
    let (certificate, key) = (file("server.crt", &leaf.certificate), file("server.key", &leaf.key));
    let (authority, port_text) = (file("clients.crt", &clients.pem), port.to_string());
    let server = RedisServer::start(&[
        "--tls-port",
        &port_text,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
    ]);
    (server, SocketAddr::from(([127, 0, 0, 1], port)), directory)
}

/// The witness sees what there is to be seen.
#[test]
fn a_secret_that_is_seen_is_noticed() {
    let leaf = Authority::new("shop").client();
    let mut witness = Witness::new(&leaf.key);
    let base64: Value = json!(k8s_openapi::ByteString(CANARY.as_bytes().to_vec()));
    witness.saw("nothing", "all is well");
    witness.saw("password", format!("tried {CANARY} in vain"));
    witness.saw("secret", base64.to_string());
    witness.saw("key", leaf.key);
    assert_eq!(witness.gave_away(), ["password", "secret", "key"]);
}
