//! A heavy load: several connections, each on a thread of its own, that send pipelined writes of keys that were never
//! written before, remember every write that was acknowledged, and look later whether all are there. One writer that
//! waits for each answer is too slow to lose anything on loopback, whatever is done to the servers.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Error, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use redis_memory_operator::clock::Clock;

use super::{eventually, rng::Rng};

/// An answer may take as long as the longest pause of writes, and then some.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a thread that waits for an answer looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);
/// Between two batches of a connection, so that the servers get a share of a small machine.
const PACE: Duration = Duration::from_micros(500);
/// Before another address is tried.
const RETRY: Duration = Duration::from_millis(1);
const CONNECT: Duration = Duration::from_millis(250);
/// Keys that are read back in one request.
const CHUNK: usize = 200;
/// Nobody, and nowhere.
const NONE: usize = usize::MAX;

/// How heavy.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub connections: usize,
    /// Writes that a connection sends at once.
    pub depth: u64,
    /// Bytes of a value.
    pub size: usize,
}

impl Shape {
    /// One of those that a seed can give.
    pub fn of(rng: &mut Rng) -> Self {
        Self {
            connections: rng.pick(&[4, 6, 8]),
            depth: rng.pick(&[16, 32, 64]),
            size: rng.pick(&[16, 64, 256, 1024, 2048]),
        }
    }
}

/// The load at work. Dropped: every thread has ended.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<u64>>>,
}

/// What was acknowledged: for each connection the numbers of its writes.
pub struct Acknowledged {
    run: u64,
    size: usize,
    writes: Vec<Vec<u64>>,
}

struct Shared {
    clock: Clock,
    addresses: Vec<SocketAddr>,
    /// Part of every key.
    run: u64,
    shape: Shape,
    stop: AtomicBool,
    /// The server that the clients were told to use, as those do that ask a Sentinel.
    told: AtomicUsize,
    /// For each connection: the server that acknowledged its last write.
    last_at: Vec<AtomicUsize>,
    pulse: Mutex<Pulse>,
}

/// When writes were acknowledged, by whichever connection.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    last: Duration,
    gap: Duration,
}

impl Load {
    /// Writes to whichever of the addresses takes writes. Keys of another run differ.
    pub fn start(addresses: Vec<SocketAddr>, run: u64, shape: Shape) -> Self {
        let clock = Clock::start();
        let shared = Arc::new(Shared {
            clock,
            addresses,
            run,
            shape,
            stop: AtomicBool::new(false),
            told: AtomicUsize::new(NONE),
            last_at: (0..shape.connections).map(|_| AtomicUsize::new(NONE)).collect(),
            pulse: Mutex::new(Pulse { last: clock.uptime(), gap: Duration::ZERO }),
        });
        let thread = |connection| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || Client { shared, connection, next: 0, acknowledged: Vec::new() }.work())
        };
        let threads = (0..shape.connections).map(thread).collect();
        Self { shared, threads }
    }

    /// Waits until every connection had its last write acknowledged by that server.
    pub async fn settled_at(&self, server: usize) {
        eventually("every connection writes there", async || {
            let there = |at: &AtomicUsize| at.load(Ordering::Relaxed) == server;
            self.shared.last_at.iter().all(there).then_some(())
        })
        .await;
    }

    /// Tells the clients where the primary is.
    pub fn tell(&self, server: usize) {
        self.shared.told.store(server, Ordering::Relaxed);
    }

    /// The longest time in which no connection had a write acknowledged, since this was asked last.
    pub fn take_gap(&self) -> Duration {
        std::mem::take(&mut self.shared.pulse().gap)
    }

    /// Ends the load and says what was acknowledged.
    pub fn stop(mut self) -> Acknowledged {
        self.shared.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        let writes = threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect();
        Acknowledged { run: self.shared.run, size: self.shared.shape.size, writes }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _it_may_have_panicked = thread.join();
        }
    }
}

impl Shared {
    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self) {
        let mut pulse = self.pulse();
        let now = self.clock.uptime();
        pulse.gap = pulse.gap.max(now.saturating_sub(pulse.last));
        pulse.last = now;
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn told_elsewhere(&self, at: usize) -> Option<usize> {
        let told = self.told.load(Ordering::Relaxed);
        (told != NONE && told != at).then_some(told)
    }
}

/// One connection.
struct Client {
    shared: Arc<Shared>,
    connection: usize,
    next: u64,
    acknowledged: Vec<u64>,
}

impl Client {
    fn work(mut self) -> Vec<u64> {
        let mut at = 0;
        while !self.shared.stopped() {
            let _the_next_may_do = self.write_on(at);
            at = self.shared.told_elsewhere(at).unwrap_or((at + 1) % self.shared.addresses.len());
            std::thread::sleep(RETRY);
        }
        self.acknowledged
    }

    /// Until a write is refused, the connection breaks, or it is to go elsewhere.
    fn write_on(&mut self, at: usize) -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.shared.addresses[at], CONNECT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(ANSWER))?;
        while !self.shared.stopped() && self.shared.told_elsewhere(at).is_none() {
            stream.write_all(&self.batch())?;
            let begin = self.next;
            // What becomes of these numbers is not known if the connection breaks: they are not used again.
            self.next += self.shared.shape.depth;
            self.read_answers(&mut stream, at, begin)?;
            std::thread::sleep(PACE);
        }
        Ok(())
    }

    fn batch(&self) -> Vec<u8> {
        let Shape { depth, size, .. } = self.shared.shape;
        let mut batch = String::with_capacity((size + 80) * usize::try_from(depth).expect("small"));
        for number in self.next..self.next + depth {
            let (key, value) = (key(self.shared.run, self.connection, number), value(number, size));
            write!(batch, "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n", key.len(), value.len())
                .expect("a string grows");
        }
        batch.into_bytes()
    }

    /// Reads an answer for each write from `begin` on, and remembers those that say OK.
    fn read_answers(&mut self, stream: &mut TcpStream, at: usize, begin: u64) -> std::io::Result<()> {
        let sent_at = self.shared.clock.uptime();
        let (mut number, mut line, mut refused) = (begin, Vec::new(), false);
        let mut buffer = [0; 4096];
        while number < self.next {
            let read = match stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.shared.stopped() || self.shared.clock.uptime().saturating_sub(sent_at) > ANSWER {
                        return Err(error);
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let before = self.acknowledged.len();
            for byte in &buffer[..read] {
                line.push(*byte);
                if line.ends_with(b"\r\n") {
                    if line == b"+OK\r\n" {
                        self.acknowledged.push(number);
                    } else {
                        refused = true;
                    }
                    number += 1;
                    line.clear();
                }
            }
            if self.acknowledged.len() > before {
                self.shared.beat();
                self.shared.last_at[self.connection].store(at, Ordering::Relaxed);
            }
        }
        if refused { Err(Error::other("a write was refused")) } else { Ok(()) }
    }
}

fn key(run: u64, connection: usize, number: u64) -> String {
    format!("w:{run}:{connection}:{number}")
}

/// Says which write it is, and is as long as is asked.
fn value(number: u64, size: usize) -> String {
    format!("{number:x>size$}")
}

impl Acknowledged {
    pub fn count(&self) -> u64 {
        self.writes.iter().map(|numbers| numbers.len() as u64).sum()
    }

    /// How many of the acknowledged writes are not on this server, by connection; one that lost none is not named.
    pub async fn lost(&self, address: SocketAddr) -> BTreeMap<usize, u64> {
        let client = redis::Client::open(format!("redis://{address}")).expect("the address is one");
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
        let mut server = client.get_multiplexed_async_connection_with_config(&config).await.expect("it is up");
        let mut lost = BTreeMap::new();
        for (connection, numbers) in self.writes.iter().enumerate() {
            for chunk in numbers.chunks(CHUNK) {
                let mut command = redis::cmd("MGET");
                for number in chunk {
                    command.arg(key(self.run, connection, *number));
                }
                let values: Vec<Option<String>> = command.query_async(&mut server).await.expect("MGET answers");
                assert_eq!(values.len(), chunk.len());
                let missing = |(number, found): (&u64, &Option<String>)| *found != Some(value(*number, self.size));
                let count = chunk.iter().zip(&values).filter(|&pair| missing(pair)).count() as u64;
                if count > 0 {
                    *lost.entry(connection).or_default() += count;
                }
            }
        }
        lost
    }
}
