//! The writing itself: one connection at a time, one write at a time.

use std::{
    convert::Infallible,
    io,
    net::TcpStream,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    check::{self, Findings, Keys},
    control,
    ledger::{Ledger, LedgerFile},
    report::{self, Tally},
    resp::{Connection, Reply},
    way::{Found, Timeouts, Way},
};

/// After an error the next connection is tried so much later.
const RECONNECT_AFTER: Duration = Duration::from_millis(5);
/// How often the record is appended to its file.
const RECORD_EVERY: Duration = Duration::from_millis(200);
/// For so long a primary is looked for to read back from.
const READ_BACK_WITHIN: Duration = Duration::from_secs(60);
/// A writer that is started again begins so much above the last recorded number: more than what its predecessor
/// can have written after it last recorded.
const RESTART_JUMP: u64 = 100_000;

/// How to write, and where to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How the primary is found.
    pub(crate) way: Way,
    /// Which key a write goes to.
    pub(crate) keys: Keys,
    /// Least time between two writes.
    pub(crate) interval: Duration,
    /// Longest wait for a reply.
    pub(crate) reply_timeout: Duration,
    /// Longest wait for a connection.
    pub(crate) connect_timeout: Duration,
    /// Where the control socket and the record are.
    pub(crate) dir: PathBuf,
}

impl Settings {
    const fn timeouts(&self) -> Timeouts {
        Timeouts { connect: self.connect_timeout, reply: self.reply_timeout }
    }
}

/// Writes until told to stop, then stays to repeat its verdict until the process is ended.
pub(crate) fn run(settings: &Settings) -> io::Result<Infallible> {
    let (mut file, ledger) = LedgerFile::open(&settings.dir.join("acknowledged"))?;
    let mut n = ledger.last().map_or(0, |last| last + RESTART_JUMP);
    let tally = Arc::new(Mutex::new(Tally::new(ledger, now())));
    let stopping = Arc::new(AtomicBool::new(false));
    let (send_verdict, verdict) = mpsc::channel();
    let found = settings.way.find(settings.timeouts());
    let answers = Answers {
        settings: settings.clone(),
        found: found.clone(),
        tally: Arc::clone(&tally),
        stopping: Arc::clone(&stopping),
        verdict,
        said: Mutex::new(None),
    };
    control::serve(&settings.dir, move |word| answers.to(word))?;

    let mut connection: Option<Connection<TcpStream>> = None;
    let mut connected_before = false;
    let mut due = Instant::now();
    let mut recorded = Instant::now();
    while !stopping.load(Ordering::Acquire) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // No catching up after a gap: a burst would hide how long it was.
        due = due.max(Instant::now()) + settings.interval;
        if recorded.elapsed() >= RECORD_EVERY {
            file.append(&lock(&tally).ledger)?;
            recorded = Instant::now();
        }
        let Some(open) = &mut connection else {
            connection = connect(&found, &tally);
            if connection.is_some() && std::mem::replace(&mut connected_before, true) {
                lock(&tally).reconnects += 1;
            }
            continue;
        };
        // A write that failed is never tried again under its number: its fate may be unknown.
        n += 1;
        if !write(open, settings.keys, n, &tally) {
            connection = None;
            thread::sleep(RECONNECT_AFTER);
        }
    }
    drop(connection);
    file.append(&lock(&tally).ledger)?;

    // Before the reading back, which must not look like a gap.
    let numbers = lock(&tally).to_json(now());
    let verdict = report::verdict(numbers, read_back(settings, &found, &lock(&tally).ledger.clone()));
    if send_verdict.send(verdict.to_string()).is_err() {
        return Err(io::Error::other("the control thread is gone"));
    }
    loop {
        thread::park();
    }
}

/// What the control socket answers.
struct Answers {
    settings: Settings,
    found: Found,
    tally: Arc<Mutex<Tally>>,
    stopping: Arc<AtomicBool>,
    verdict: mpsc::Receiver<String>,
    said: Mutex<Option<String>>,
}

impl Answers {
    fn to(&self, word: &str) -> String {
        match word {
            "status" => lock(&self.tally).to_json(now()).to_string(),
            "mark" => lock(&self.tally).mark(now()).to_string(),
            "check" => self.check(),
            "stop" => self.stop(),
            _ => r#"{"error":"unknown word: status, mark, check or stop"}"#.to_owned(),
        }
    }

    fn check(&self) -> String {
        let (numbers, ledger) = {
            let tally = lock(&self.tally);
            (tally.to_json(now()), tally.ledger.clone())
        };
        report::verdict(numbers, read_back(&self.settings, &self.found, &ledger)).to_string()
    }

    /// Waits for the writing to end. The verdict is given once and repeated from then on.
    fn stop(&self) -> String {
        self.stopping.store(true, Ordering::Release);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.get_or_insert_with(|| {
            self.verdict.recv().unwrap_or_else(|_| r#"{"error":"the writer has ended"}"#.to_owned())
        })
        .clone()
    }
}

/// One write. False: the connection must be dropped.
fn write(connection: &mut Connection<TcpStream>, keys: Keys, n: u64, tally: &Mutex<Tally>) -> bool {
    let answer = connection.call(&[b"SET", &keys.key(n), &check::value(n)]);
    let mut tally = lock(tally);
    match answer {
        Ok(Reply::Simple(word)) if word == "OK" => {
            tally.acknowledged(n, now());
            true
        }
        Ok(Reply::Error(text)) => {
            tally.failed(text.split(' ').next().unwrap_or_default());
            false
        }
        Ok(_) => {
            tally.failed("unexpected");
            false
        }
        Err(_) => {
            tally.unknown += 1;
            tally.failed("reply");
            false
        }
    }
}

fn connect(found: &Found, tally: &Mutex<Tally>) -> Option<Connection<TcpStream>> {
    let connection = found.connect().ok();
    if connection.is_none() {
        lock(tally).failed("connect");
        thread::sleep(RECONNECT_AFTER);
    }
    connection
}

/// Looks for the primary behind the address until it has answered for every acknowledged write.
fn read_back(settings: &Settings, found: &Found, ledger: &Ledger) -> Result<Findings, String> {
    let started = Instant::now();
    loop {
        let tried = found
            .connect()
            .and_then(|mut connection| check::read_back(&mut connection, settings.keys, ledger.numbers()));
        match tried {
            Ok(findings) => return Ok(findings),
            Err(error) if started.elapsed() > READ_BACK_WITHIN => return Err(error.to_string()),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Microseconds since the epoch, by the machine's clock, which the operator's log uses too.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
