//! A stand-in for the API server: it answers GETs with what it was given, and a watch line by line.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

/// What it answers, and what it was asked.
#[derive(Default)]
struct Shared {
    answers: Mutex<BTreeMap<String, Value>>,
    watchers: Mutex<Vec<mpsc::Sender<String>>>,
    /// The bodies of PATCHes, in order.
    patches: Mutex<Vec<Value>>,
    /// The headers of all requests, their names in lower case, in order.
    headers: Mutex<Vec<String>>,
    /// Where the ports of each pod are forwarded to.
    forwarded: Mutex<BTreeMap<String, SocketAddr>>,
    /// Watches that were ever opened.
    opened: AtomicUsize,
    stop: AtomicBool,
}

/// Serves until it is dropped.
pub struct FakeApi {
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
    serving: Option<JoinHandle<()>>,
    directory: TempDir,
}

impl FakeApi {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me", "namespace": "shop"}}],
            "users": [{"name": "me", "user": {}}],
        });
        std::fs::write(directory.path().join("kubeconfig"), config.to_string()).unwrap();
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        let serving = thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&serving);
                // The thread ends with its connection: when the client goes, or with its watch.
                thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { shared, address, serving: Some(serving), directory }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// What a GET of this path (without its query) is answered with; anything else is not found.
    pub fn set(&self, path: &str, answer: Value) {
        self.shared.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Forwards every port of that pod there; those of all others are refused.
    #[allow(dead_code, reason = "tests/redis_forward.rs has what is behind a port")]
    pub fn forward(&self, pod: &str, to: SocketAddr) {
        let mut forwarded = self.shared.forwarded.lock().unwrap();
        forwarded.clear();
        forwarded.insert(pod.to_owned(), to);
    }

    /// Sends an event to every watch that is open.
    pub fn tell(&self, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object}).to_string();
        self.shared.watchers.lock().unwrap().retain(|watcher| watcher.send(event.clone()).is_ok());
    }

    /// What was patched so far.
    pub fn patches(&self) -> Vec<Value> {
        self.shared.patches.lock().unwrap().clone()
    }

    /// The headers of that name that were sent so far.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let headers = self.shared.headers.lock().unwrap();
        headers.iter().filter_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned())).collect()
    }

    /// How many watches were opened so far.
    pub fn watches(&self) -> usize {
        self.shared.opened.load(Ordering::SeqCst)
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.watchers.lock().unwrap().clear();
        // A last connection wakes the loop, which then sees that it is to stop.
        let _woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(serving) = self.serving.take() {
            let _ended = serving.join();
        }
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some((method, target, sent)) = request(&mut reader, &shared.headers) {
        let path = target.split('?').next().unwrap_or_default();
        let known = shared.answers.lock().unwrap().get(path).cloned();
        if target.contains("watch=true") || target.contains("watch=1") {
            let (send, events) = mpsc::channel();
            shared.watchers.lock().unwrap().push(send);
            shared.opened.fetch_add(1, Ordering::SeqCst);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            if writer.write_all(head.as_bytes()).is_err() {
                return;
            }
            for event in events {
                let line = event + "\n";
                if write!(writer, "{:x}\r\n{line}\r\n", line.len()).is_err() {
                    return;
                }
            }
            return;
        }
        if let Some(to) = forwarded(path, shared) {
            return forward(writer, to, &target, shared);
        }
        if method == "PATCH" {
            shared.patches.lock().unwrap().push(serde_json::from_slice(&sent).unwrap());
        }
        let (status, body) = match known {
            Some(answer) if ["GET", "POST", "PATCH"].contains(&method.as_str()) => ("200 OK", answer),
            _ => (
                "404 Not Found",
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                 "message": format!("{method} {path} not found"), "reason": "NotFound", "code": 404}),
            ),
        };
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// Method, target and body of the next request; `None`: the client went.
fn request(reader: &mut BufReader<TcpStream>, headers: &Mutex<Vec<String>>) -> Option<(String, String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.split_once(':') else { break };
        let (name, value) = (name.to_lowercase(), value.trim());
        if name == "content-length" {
            length = value.parse().ok()?;
        }
        headers.lock().unwrap().push(format!("{name}: {value}"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = first.split(' ');
    Some((words.next()?.to_owned(), words.next()?.to_owned(), body))
}

/// Where the ports of the pod in that path are forwarded to.
fn forwarded(path: &str, shared: &Shared) -> Option<SocketAddr> {
    let pod = path.strip_suffix("/portforward")?.rsplit('/').next()?;
    shared.forwarded.lock().unwrap().get(pod).copied()
}

/// The API server's end of a forwarded port: two channels, one for data and one for errors, each of which begins with the
/// number of the port.
fn forward(mut stream: TcpStream, to: SocketAddr, target: &str, shared: &Shared) {
    let port: u16 = target.rsplit("ports=").next().and_then(|port| port.parse().ok()).unwrap();
    assert_eq!(port, to.port(), "the port that is asked for");
    let key = shared
        .headers
        .lock()
        .unwrap()
        .iter()
        .rev()
        .find_map(|line| Some(line.strip_prefix("sec-websocket-key: ")?.to_owned()));
    let accept = derive_accept_key(key.unwrap().as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         {accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let (mut client, mut from_client) = socket.split();
        let [low, high] = port.to_le_bytes();
        for channel in [0, 1] {
            client.send(Message::binary(vec![channel, low, high])).await.unwrap();
        }
        let (mut from_server, mut server) = tokio::net::TcpStream::connect(to).await.unwrap().into_split();
        let mut buffer = vec![0; 65536];
        loop {
            tokio::select! {
                message = from_client.next() => match message {
                    Some(Ok(Message::Binary(data))) => server.write_all(&data[1..]).await.unwrap(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return,
                },
                read = from_server.read(&mut buffer) => match read {
                    Ok(length) if length > 0 => {
                        let data = [&[0], &buffer[..length]].concat();
                        if client.send(Message::binary(data)).await.is_err() {
                            return;
                        }
                    }
                    _ => return,
                },
            }
        }
    });
}
