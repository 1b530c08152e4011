//! A server that speaks Redis' language and says whatever it is told to say. It accepts every command and takes down
//! each.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a fake says.
#[derive(Clone, Debug)]
pub struct Script {
    /// INFO, the last one again and again when it has been asked more often.
    pub info: Vec<String>,
    /// Instead of INFO: this error.
    pub error: Option<String>,
    /// CONFIG GET.
    pub config: Vec<(&'static str, String)>,
    /// CLIENT LIST.
    pub clients: String,
}

/// A fake on a free port of 127.0.0.1, gone when dropped.
pub struct FakeRedis {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl FakeRedis {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (heard, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (notes, count) = (Arc::clone(&heard), Arc::clone(&connections));
        let asked = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, script.clone(), Arc::clone(&notes), Arc::clone(&asked)));
            }
        });
        Self { address, heard, connections, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every command so far, its words joined by blanks.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("nobody panicked").clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, script: Script, heard: Arc<Mutex<Vec<String>>>, asked: Arc<AtomicUsize>) {
    let mut pending = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some((command, used)) = parse(&pending) {
            pending.drain(..used);
            heard.lock().expect("nobody panicked").push(command.join(" "));
            if stream.write_all(answer(&command, &script, &asked).as_bytes()).await.is_err() {
                return;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(length @ 1..) => pending.extend_from_slice(&buffer[..length]),
            Ok(0) | Err(_) => return,
        }
    }
}

/// The first whole command and its length in bytes.
fn parse(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut at = 0;
    let count = number(bytes, &mut at, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(bytes, &mut at, b'$')?;
        words.push(String::from_utf8_lossy(bytes.get(at..at + length)?).into_owned());
        at += length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

fn number(bytes: &[u8], at: &mut usize, kind: u8) -> Option<usize> {
    let rest = bytes.get(*at..)?;
    assert_eq!(*rest.first()?, kind, "a command is an array of strings");
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    *at += end + 2;
    std::str::from_utf8(&rest[1..end]).ok()?.parse().ok()
}

fn answer(command: &[String], script: &Script, asked: &AtomicUsize) -> String {
    let word = |n: usize| command.get(n).map(|word| word.to_uppercase()).unwrap_or_default();
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    match (word(0).as_str(), word(1).as_str()) {
        ("INFO", _) => {
            if let Some(error) = &script.error {
                return format!("-{error}\r\n");
            }
            let n = asked.fetch_add(1, Ordering::SeqCst).min(script.info.len() - 1);
            bulk(&script.info[n])
        }
        ("CONFIG", "GET") => {
            let wanted = command.get(2..).unwrap_or_default();
            let found: Vec<_> =
                script.config.iter().filter(|(name, _)| wanted.iter().any(|word| word == name)).collect();
            let pairs: String = found.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect();
            format!("*{}\r\n{pairs}", 2 * found.len())
        }
        ("CLIENT", "LIST") => bulk(&script.clients),
        ("ACL", "WHOAMI") => bulk("default"),
        _ => "+OK\r\n".to_owned(),
    }
}
