//! The loss checker: every acknowledged write must be found, with exactly its value.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use crate::resp::{Connection, Reply, command};

/// Keys of one MGET.
const KEYS_A_READ: usize = 200;
/// MGETs that are sent before their replies are read.
const READS_A_BATCH: usize = 10;
/// At most so many lost numbers are named.
const NAMED_MOST: usize = 20;

/// Which key a write goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    /// Each write has its own.
    Own,
    /// So many keys are written again and again, and memory does not grow.
    Cycle(u64),
}

impl Keys {
    /// The key of write `n`.
    pub(crate) fn key(self, n: u64) -> Vec<u8> {
        match self {
            Self::Own => format!("w:{n}").into_bytes(),
            Self::Cycle(keys) => format!("w:{}", n % keys).into_bytes(),
        }
    }

    /// The acknowledged writes that must be found: all of them, or the last one of each key.
    fn to_find(self, acknowledged: impl Iterator<Item = u64>) -> Vec<u64> {
        match self {
            Self::Own => acknowledged.collect(),
            // They ascend, so the last one of a key stays.
            Self::Cycle(keys) => {
                acknowledged.map(|n| (n % keys, n)).collect::<BTreeMap<_, _>>().into_values().collect()
            }
        }
    }

    /// Whether this is what an acknowledged write `n` leaves: its value, or in a cycle that of a later write to the
    /// same key, whose own acknowledgement may have been lost.
    fn holds(self, n: u64, found: &[u8]) -> bool {
        match self {
            Self::Own => found == value(n),
            Self::Cycle(keys) => number_of(found).is_some_and(|later| later >= n && later % keys == n % keys),
        }
    }
}

/// The value of write `n`: 20 bytes and more, of other allocation sizes than the 100-byte filler of the
/// fragmentation, so that the writes do not fill the holes.
pub(crate) fn value(n: u64) -> Vec<u8> {
    format!("{n}-acknowledged-write").into_bytes()
}

/// The write that has exactly this value.
fn number_of(found: &[u8]) -> Option<u64> {
    let n = std::str::from_utf8(found).ok()?.split('-').next()?.parse().ok()?;
    (value(n) == found).then_some(n)
}

/// What the reading back found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Writes that were read back.
    pub(crate) checked: u64,
    /// Writes that are not there, or not with their value.
    pub(crate) lost: u64,
    /// The first of them.
    pub(crate) lost_numbers: Vec<u64>,
}

impl Findings {
    fn judge(&mut self, keys: Keys, n: u64, found: &Reply) {
        self.checked += 1;
        if !matches!(found, Reply::Bulk(Some(bytes)) if keys.holds(n, bytes)) {
            self.lost += 1;
            if self.lost_numbers.len() < NAMED_MOST {
                self.lost_numbers.push(n);
            }
        }
    }
}

/// Reads all acknowledged writes back. An error means that nothing may be concluded.
pub(crate) fn read_back<S: Read + Write>(
    connection: &mut Connection<S>,
    layout: Keys,
    acknowledged: impl Iterator<Item = u64>,
) -> io::Result<Findings> {
    require_primary(connection)?;
    let mut findings = Findings::default();
    for batch in layout.to_find(acknowledged).chunks(KEYS_A_READ * READS_A_BATCH) {
        let mut wire = Vec::new();
        for chunk in batch.chunks(KEYS_A_READ) {
            let keys: Vec<Vec<u8>> = chunk.iter().map(|n| layout.key(*n)).collect();
            let words: Vec<&[u8]> = std::iter::once(b"MGET".as_slice()).chain(keys.iter().map(Vec::as_slice)).collect();
            wire.extend(command(&words));
        }
        let replies = connection.pipeline(&wire, batch.len().div_ceil(KEYS_A_READ))?;
        for (chunk, reply) in batch.chunks(KEYS_A_READ).zip(replies) {
            match reply {
                Reply::Array(values) if values.len() == chunk.len() => {
                    chunk.iter().zip(&values).for_each(|(n, found)| findings.judge(layout, *n, found));
                }
                other => return Err(io::Error::other(format!("MGET was answered by {other:?}"))),
            }
        }
    }
    // The role may have moved while it was read.
    require_primary(connection)?;
    Ok(findings)
}

fn require_primary<S: Read + Write>(connection: &mut Connection<S>) -> io::Result<()> {
    match connection.call(&[b"ROLE"])? {
        Reply::Array(role) if role.first() == Some(&Reply::Bulk(Some(b"master".to_vec()))) => Ok(()),
        other => Err(io::Error::other(format!("the address leads to no primary: ROLE was answered by {other:?}"))),
    }
}

#[cfg(test)]
#[allow(clippy::single_match_else, reason = "a table of commands reads as one")]
mod tests {
    use super::*;
    use std::{
        collections::BTreeMap,
        net::{TcpListener, TcpStream},
        thread,
    };

    const MASTER: &str = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
    const REPLICA: &str = "*5\r\n$5\r\nslave\r\n$1\r\nx\r\n:1\r\n$9\r\nconnected\r\n:0\r\n";

    /// A server that holds `data` and is a primary or a replica, until the client goes.
    fn serve(data: BTreeMap<Vec<u8>, Vec<u8>>, role: &'static str) -> Connection<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut client = Connection::new(listener.accept().unwrap().0);
            while let Ok(words) = client.pipeline(b"", 1) {
                let Some(Reply::Array(words)) = words.first() else { return };
                let words: Vec<&[u8]> = words
                    .iter()
                    .map(|word| match word {
                        Reply::Bulk(Some(word)) => word.as_slice(),
                        other => panic!("{other:?} in a command"),
                    })
                    .collect();
                let answer = if words[0] == b"ROLE" { role.as_bytes().to_vec() } else { values(&data, &words[1..]) };
                if client.pipeline(&answer, 0).is_err() {
                    return;
                }
            }
        });
        Connection::new(TcpStream::connect(address).unwrap())
    }

    /// The reply to MGET.
    fn values(data: &BTreeMap<Vec<u8>, Vec<u8>>, keys: &[&[u8]]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", keys.len()).into_bytes();
        for key in keys {
            match data.get(*key) {
                Some(value) => {
                    out.extend(format!("${}\r\n", value.len()).as_bytes());
                    out.extend(value);
                    out.extend(b"\r\n");
                }
                None => out.extend(b"$-1\r\n"),
            }
        }
        out
    }

    fn data(numbers: impl Iterator<Item = u64>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        numbers.map(|n| (Keys::Own.key(n), value(n))).collect()
    }

    #[test]
    fn nothing_is_lost_when_everything_is_there() {
        let mut server = serve(data(1..=5000), MASTER);
        let found = read_back(&mut server, Keys::Own, 1..=5000).unwrap();
        assert_eq!(found, Findings { checked: 5000, lost: 0, lost_numbers: vec![] });
    }

    #[test]
    fn a_missing_write_is_lost() {
        let mut server = serve(data((1..=3000).filter(|n| *n != 2500)), MASTER);
        let found = read_back(&mut server, Keys::Own, 1..=3000).unwrap();
        assert_eq!(found, Findings { checked: 3000, lost: 1, lost_numbers: vec![2500] });
    }

    #[test]
    fn another_value_is_a_lost_write() {
        let mut wrong = data(1..=3);
        wrong.insert(Keys::Own.key(2), value(3));
        let found = read_back(&mut serve(wrong, MASTER), Keys::Own, 1..=3).unwrap();
        assert_eq!(found.lost_numbers, [2]);
    }

    #[test]
    fn an_empty_server_has_lost_everything_but_names_only_some() {
        let found = read_back(&mut serve(BTreeMap::new(), MASTER), Keys::Own, 1..=1000).unwrap();
        assert_eq!((found.lost, found.lost_numbers.len()), (1000, NAMED_MOST));
    }

    #[test]
    fn a_replica_proves_nothing() {
        let error = read_back(&mut serve(data(1..=3), REPLICA), Keys::Own, 1..=3).unwrap_err();
        assert!(error.to_string().contains("no primary"), "{error}");
    }

    #[test]
    fn in_a_cycle_each_key_holds_its_last_acknowledged_write_or_a_later_one() {
        let keys = Keys::Cycle(3);
        // 1 to 7 were acknowledged; 8 was not, but has been carried out.
        let held = |three, one, two| -> BTreeMap<Vec<u8>, Vec<u8>> {
            [(keys.key(3), value(three)), (keys.key(1), value(one)), (keys.key(2), value(two))].into()
        };
        let found = read_back(&mut serve(held(6, 7, 8), MASTER), keys, 1..=7).unwrap();
        assert_eq!(found, Findings { checked: 3, lost: 0, lost_numbers: vec![] });
        let found = read_back(&mut serve(held(6, 4, 5), MASTER), keys, 1..=7).unwrap();
        assert_eq!(found.lost_numbers, [7], "4 is older than the acknowledged 7");
        let found = read_back(&mut serve(held(7, 7, 5), MASTER), keys, 1..=7).unwrap();
        assert_eq!(found.lost_numbers, [6], "7 belongs to another key");
    }
}
