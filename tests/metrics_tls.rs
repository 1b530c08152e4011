//! `/metrics` by TLS: whose certificate it shows, whom it lets in, and what it does when the files change.
#![cfg(test)]

#[path = "common/pki.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod pki;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use pki::{Authority, Leaf, Valid};
use pretty_assertions::assert_eq;
use redis_memory_operator::{
    admin::{Access, Admin, AdminError, Entrance, Review, Scrapers},
    clock::Clock,
    kube_io::review::Reviewed,
    metrics::Metrics,
};
use rstest::rstest;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const NAME: &str = "metrics.shop.svc";

/// Answers about tokens, and how often it was asked.
#[derive(Clone, Default)]
struct ApiServer {
    asked: Arc<AtomicUsize>,
    away: Arc<Mutex<bool>>,
}

impl ApiServer {
    fn review(&self) -> Review {
        let server = self.clone();
        Arc::new(move |token| {
            server.asked.fetch_add(1, Ordering::Relaxed);
            let away = *server.away.lock().expect("no panic");
            Box::pin(async move {
                match token.as_str() {
                    _ if away => Err("connection refused".to_owned()),
                    "prometheus" => Ok(Reviewed::May),
                    "somebody" => Ok(Reviewed::MayNot("system:serviceaccount:shop:web".to_owned())),
                    _ => Ok(Reviewed::Unknown),
                }
            })
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The directory of a mounted Secret.
struct Mounted(TempDir);

impl Mounted {
    fn new(leaf: &Leaf, authority: Option<&Authority>) -> Self {
        let mounted = Self(TempDir::new().expect("a directory"));
        mounted.write(leaf);
        if let Some(authority) = authority {
            mounted.put("ca.crt", &authority.pem);
        }
        mounted
    }

    fn write(&self, leaf: &Leaf) {
        self.put("tls.crt", &leaf.certificate);
        self.put("tls.key", &leaf.key);
    }

    fn put(&self, file: &str, text: &str) {
        std::fs::write(self.0.path().join(file), text).expect("it can be written");
    }

    fn access(&self, scrapers: Scrapers) -> Access {
        Access { tls: Some(self.0.path().to_owned()), scrapers }
    }
}

async fn serve(access: &Access, review: Review) -> SocketAddr {
    let entrance = Entrance::open(access, review, Clock::start()).expect("it can be served");
    let admin = Admin::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = admin.address();
    tokio::spawn(admin.serve_metrics(Metrics::new("operator"), entrance, std::future::pending()));
    address
}

/// Scrapes as one who trusts that authority; the answer, or why there is none.
async fn scrape(
    address: SocketAddr,
    trusted: &Authority,
    own: Option<&Leaf>,
    token: Option<&str>,
) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem.as_bytes()).expect("PEM")).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("these versions are known")
        .with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some(leaf) => {
            let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).expect("PEM");
            config.with_client_auth_cert(vec![certificate], key).expect("they fit")
        }
    };
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from(NAME).expect("a name");
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    let login = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!("GET /metrics HTTP/1.1\r\nHost: test\r\n{login}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    Ok(answer)
}

fn is_a_page(answer: &Result<String, String>) -> bool {
    answer.as_ref().is_ok_and(|it| it.starts_with("HTTP/1.1 200") && it.contains("leader_election_master_status"))
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_at_once_and_a_half_written_one_never() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let mounted = Mounted::new(&old.server(&[NAME], Valid::Now), None);
    let address = serve(&mounted.access(Scrapers::Anyone), ApiServer::default().review()).await;
    assert!(is_a_page(&scrape(address, &old, None, None).await));
    assert!(scrape(address, &new, None, None).await.expect_err("not that one's").contains("certificate"));

    let leaf = new.server(&[NAME], Valid::Now);
    mounted.put("tls.crt", &leaf.certificate);
    assert!(is_a_page(&scrape(address, &old, None, None).await), "a key that does not fit is not used");
    mounted.put("tls.key", &leaf.key);
    assert!(is_a_page(&scrape(address, &new, None, None).await));
    std::fs::remove_file(mounted.0.path().join("tls.key")).expect("it is there");
    assert!(is_a_page(&scrape(address, &new, None, None).await), "it is kept");
}

#[tokio::test]
async fn plain_http_gets_nothing_of_a_port_with_tls() {
    let mounted = Mounted::new(&Authority::new("one").server(&[NAME], Valid::Now), None);
    let address = serve(&mounted.access(Scrapers::Anyone), ApiServer::default().review()).await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await.expect("it is sent");
    let mut answer = Vec::new();
    let _ended_by_the_server = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 200"));
}

#[rstest]
#[case::may(Some("prometheus"), "HTTP/1.1 200", "leader_election_master_status")]
#[case::may_not(Some("somebody"), "HTTP/1.1 403", "system:serviceaccount:shop:web may not get /metrics: bind it to")]
#[case::nobodys(Some("made-up"), "HTTP/1.1 401", "the API server knows no such token")]
#[case::none(None, "HTTP/1.1 401", "send a token of a service account")]
#[tokio::test]
async fn whose_token_may_is_let_in(#[case] token: Option<&str>, #[case] status: &str, #[case] text: &str) {
    let authority = Authority::new("one");
    let mounted = Mounted::new(&authority.server(&[NAME], Valid::Now), None);
    let address = serve(&mounted.access(Scrapers::Token), ApiServer::default().review()).await;
    let answer = scrape(address, &authority, None, token).await.expect("an answer");
    assert!(answer.starts_with(status) && answer.contains(text), "{answer}");
}

#[tokio::test]
async fn an_answer_about_a_token_is_kept_and_what_is_nobodys_takes_no_place() {
    let authority = Authority::new("one");
    let mounted = Mounted::new(&authority.server(&[NAME], Valid::Now), None);
    let server = ApiServer::default();
    let address = serve(&mounted.access(Scrapers::Token), server.review()).await;
    for made_up in 0..70 {
        let answer = scrape(address, &authority, None, Some(&format!("made-up-{made_up}"))).await;
        assert!(answer.is_ok_and(|it| it.starts_with("HTTP/1.1 401")));
    }
    assert_eq!(server.asked(), 70);
    for _ in 0..3 {
        assert!(is_a_page(&scrape(address, &authority, None, Some("prometheus")).await));
    }
    assert_eq!(server.asked(), 71);
    *server.away.lock().expect("no panic") = true;
    assert!(is_a_page(&scrape(address, &authority, None, Some("prometheus")).await), "it is known");
    let answer = scrape(address, &authority, None, Some("another")).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("connection refused"), "{answer}");
}

#[tokio::test]
async fn where_clients_show_a_certificate_only_one_of_that_authority_is_let_in() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let mounted = Mounted::new(&ours.server(&[NAME], Valid::Now), Some(&ours));
    let address = serve(&mounted.access(Scrapers::Certificate), ApiServer::default().review()).await;
    assert!(is_a_page(&scrape(address, &ours, Some(&ours.client()), None).await));
    assert!(!is_a_page(&scrape(address, &ours, Some(&theirs.client()), None).await));
    assert!(!is_a_page(&scrape(address, &ours, None, Some("prometheus")).await));
}

#[rstest]
#[case::no_file(|at: &Path| std::fs::remove_file(at.join("tls.crt")).expect("it is there"), "cannot read", "tls.crt")]
#[case::no_certificate(|at: &Path| std::fs::write(at.join("tls.crt"), "").expect("written"), "holds no certificate", "tls.crt")]
#[case::no_key(|at: &Path| std::fs::write(at.join("tls.key"), "S3CRET").expect("written"), "is no private key in PEM", "tls.key")]
#[case::no_authority(|at: &Path| std::fs::write(at.join("ca.crt"), "").expect("written"), "names nobody to trust", "ca.crt")]
#[case::another_key(|at: &Path| {
    let other = Authority::new("two").server(&[NAME], Valid::Now);
    std::fs::write(at.join("tls.key"), other.key).expect("written");
}, "do not fit", "tls.crt")]
fn bad_files_are_named_at_start(#[case] spoil: fn(&Path), #[case] why: &str, #[case] file: &str) {
    let authority = Authority::new("one");
    let mounted = Mounted::new(&authority.server(&[NAME], Valid::Now), Some(&authority));
    spoil(mounted.0.path());
    let opened = Entrance::open(&mounted.access(Scrapers::Certificate), ApiServer::default().review(), Clock::start());
    let error = opened.err().expect("refused").to_string();
    assert!(error.starts_with("--metrics-tls: ") && error.contains(why) && error.contains(file), "{error}");
    assert!(!error.contains("S3CRET"), "{error}");
}

#[rstest]
#[case::token(Scrapers::Token)]
#[case::certificate(Scrapers::Certificate)]
fn a_token_or_a_certificate_without_tls_is_refused(#[case] scrapers: Scrapers) {
    let access = Access { tls: None, scrapers };
    let opened = Entrance::open(&access, ApiServer::default().review(), Clock::start());
    assert!(matches!(opened.err(), Some(AdminError::NeedsTls)));
}
