//! What clients do: fill, overwrite keys at random, write a stream, and ask for replies that they do not read.

use std::{
    io::{Error, ErrorKind, Read as _, Result, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use redis_memory_operator::clock::Clock;
use tokio::net::TcpSocket;

use crate::common::rng::Rng;

/// An answer takes no longer, also on a busy machine.
const ANSWER: Duration = Duration::from_secs(120);
/// How often a thread that waits looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(2);
/// Values are this long and up to [`SPREAD`] longer: small, so that a write a page is few bytes (ADR 0023).
const VALUE: usize = 90;
const SPREAD: u64 = 60;
/// Keys of one MSET while filling, and of all that are sent at once.
const TOGETHER: u64 = 50;
const FILLED_AT_ONCE: u64 = 5_000;
/// Random overwrites that are sent at once.
const OVERWRITTEN_AT_ONCE: u64 = 50;
/// Of the stream: bytes of a value, and its keys. Large, so that much is written in little time.
const STREAMED: usize = 16 * 1024;
const STREAMED_KEYS: usize = 8;
/// The list that is asked for by who does not read: 1 MiB.
const LIST: &str = "big";
const ELEMENTS: usize = 256;
const ELEMENT: usize = 4096;

/// A connection that sends many commands at once and counts the answers, of one line each.
struct Pipe(TcpStream);

impl Pipe {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self(stream))
    }

    /// Says whether all was done, and nothing refused.
    fn exchange(&mut self, batch: &[u8], answers: usize) -> Result<bool> {
        self.0.write_all(batch)?;
        let (mut buffer, mut seen, mut refused) = ([0; 4096], 0, false);
        while seen < answers {
            match self.0.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => {
                    // Each answer ends a line; what is behind the last one is the begin of another.
                    seen += buffer[..read].split(|byte| *byte == b'\n').count() - 1;
                    refused |= buffer[..read].contains(&b'-');
                }
            }
        }
        Ok(!refused)
    }
}

fn push(batch: &mut Vec<u8>, words: &[&[u8]]) {
    batch.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        push_word(batch, word);
    }
}

fn push_word(batch: &mut Vec<u8>, word: &[u8]) {
    batch.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
    batch.extend_from_slice(word);
    batch.extend_from_slice(b"\r\n");
}

fn key(number: u64) -> String {
    format!("k:{number:07}")
}

fn value(rng: &mut Rng) -> Vec<u8> {
    vec![b'x'; VALUE + usize::try_from(rng.range(0, SPREAD)).expect("small")]
}

/// Writes keys from the first on until it is enough; says how many.
pub(crate) fn fill(address: SocketAddr, mut is_enough: impl FnMut() -> bool) -> Result<u64> {
    let (mut pipe, mut rng, mut keys) = (Pipe::open(address)?, Rng::new(1, 1), 0);
    while !is_enough() {
        let mut batch = Vec::new();
        for _ in 0..FILLED_AT_ONCE / TOGETHER {
            batch.extend_from_slice(format!("*{}\r\n$4\r\nMSET\r\n", 1 + 2 * TOGETHER).as_bytes());
            for _ in 0..TOGETHER {
                push_word(&mut batch, key(keys).as_bytes());
                push_word(&mut batch, &value(&mut rng));
                keys += 1;
            }
        }
        pipe.exchange(&batch, usize::try_from(FILLED_AT_ONCE / TOGETHER).expect("small"))?;
    }
    Ok(keys)
}

/// Overwrites random keys at a rate. Dropped: it has ended.
pub(crate) struct Overwriter {
    shared: Arc<(AtomicBool, AtomicU64)>,
    thread: Option<JoinHandle<()>>,
}

impl Overwriter {
    /// So many bytes a second, of keys up to that number. It ends when the server does.
    pub(crate) fn start(address: SocketAddr, keys: u64, rate: u64, seed: u64) -> Self {
        let shared = Arc::new((AtomicBool::new(false), AtomicU64::new(0)));
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let _the_server_may_be_killed = overwrite(&theirs, address, keys, rate, &mut Rng::new(seed, 2));
        });
        Self { shared, thread: Some(thread) }
    }

    /// Bytes that it has written.
    pub(crate) fn written(&self) -> u64 {
        self.shared.1.load(Ordering::Relaxed)
    }
}

impl Drop for Overwriter {
    fn drop(&mut self) {
        self.shared.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _it_may_have_panicked = thread.join();
        }
    }
}

fn overwrite(
    (stop, written): &(AtomicBool, AtomicU64),
    address: SocketAddr,
    keys: u64,
    rate: u64,
    rng: &mut Rng,
) -> Result<()> {
    let (mut pipe, clock) = (Pipe::open(address)?, Clock::start());
    while !stop.load(Ordering::Relaxed) {
        let due = u128::from(rate) * clock.uptime().as_millis() / 1000;
        if u128::from(written.load(Ordering::Relaxed)) > due {
            std::thread::sleep(LOOK);
            continue;
        }
        let mut batch = Vec::new();
        for _ in 0..OVERWRITTEN_AT_ONCE {
            push(&mut batch, &[b"SET", key(rng.range(0, keys)).as_bytes(), &value(rng)]);
        }
        pipe.exchange(&batch, usize::try_from(OVERWRITTEN_AT_ONCE).expect("small"))?;
        written.fetch_add(batch.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Writes so many bytes as fast as it goes, by large values of few keys: it is the stream that counts, not the data.
pub(crate) fn stream(address: SocketAddr, bytes: u64) -> Result<()> {
    let mut pipe = Pipe::open(address)?;
    let mut batch = Vec::new();
    for number in 0..STREAMED_KEYS {
        push(&mut batch, &[b"SET", format!("s:{number}").as_bytes(), &vec![b'z'; STREAMED]]);
    }
    let mut written = 0;
    while written < bytes {
        if !pipe.exchange(&batch, STREAMED_KEYS)? {
            return Err(Error::other("a write of the stream was refused"));
        }
        written += batch.len() as u64;
    }
    Ok(())
}

/// Clients that ask and do not read. Dropped: they are gone.
pub(crate) struct Stalled {
    clients: Vec<TcpStream>,
    next: usize,
}

impl Stalled {
    /// Clients whose kernel takes little for them, and what they will ask for.
    pub(crate) async fn connect(address: SocketAddr, count: usize) -> Result<Self> {
        let (mut batch, mut clients, element) = (Vec::new(), Vec::new(), vec![b'y'; ELEMENT]);
        push(&mut batch, &[b"DEL", LIST.as_bytes()]);
        for _ in 0..ELEMENTS {
            push(&mut batch, &[b"RPUSH", LIST.as_bytes(), &element]);
        }
        Pipe::open(address)?.exchange(&batch, 1 + ELEMENTS)?;
        for _ in 0..count {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4096)?;
            clients.push(socket.connect(address).await?.into_std()?);
        }
        Ok(Self { clients, next: 0 })
    }

    /// The next of them asks for 1 MiB more.
    pub(crate) fn ask(&mut self) -> Result<()> {
        let mut batch = Vec::new();
        push(&mut batch, &[b"LRANGE", LIST.as_bytes(), b"0", b"-1"]);
        let at = self.next % self.clients.len();
        self.next += 1;
        match self.clients[at].write(&batch)? {
            sent if sent == batch.len() => Ok(()),
            sent => Err(Error::other(format!("{sent} of {} bytes were sent", batch.len()))),
        }
    }
}
