//! The loss checker: every acknowledged write must be found, with exactly its value.

use std::io::{self, Read, Write};

use crate::resp::{Connection, Reply, command};

/// Keys of one MGET.
const KEYS_A_READ: usize = 200;
/// MGETs that are sent before their replies are read.
const READS_A_BATCH: usize = 10;
/// At most so many lost numbers are named.
const NAMED_MOST: usize = 20;

/// The key of write `n`.
pub(crate) fn key(n: u64) -> Vec<u8> {
    format!("w:{n}").into_bytes()
}

/// The value of write `n`: 20 bytes and more, of other allocation sizes than the 100-byte filler of the
/// fragmentation, so that the writes do not fill the holes.
pub(crate) fn value(n: u64) -> Vec<u8> {
    format!("{n}-acknowledged-write").into_bytes()
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
    fn judge(&mut self, n: u64, found: &Reply) {
        self.checked += 1;
        if *found != Reply::Bulk(Some(value(n))) {
            self.lost += 1;
            if self.lost_numbers.len() < NAMED_MOST {
                self.lost_numbers.push(n);
            }
        }
    }
}

/// Reads all `numbers` back. An error means that nothing may be concluded.
pub(crate) fn read_back<S: Read + Write>(
    connection: &mut Connection<S>,
    numbers: impl Iterator<Item = u64>,
) -> io::Result<Findings> {
    require_primary(connection)?;
    let mut findings = Findings::default();
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() {
        let batch: Vec<u64> = numbers.by_ref().take(KEYS_A_READ * READS_A_BATCH).collect();
        let mut wire = Vec::new();
        for chunk in batch.chunks(KEYS_A_READ) {
            let keys: Vec<Vec<u8>> = chunk.iter().map(|n| key(*n)).collect();
            let words: Vec<&[u8]> = std::iter::once(b"MGET".as_slice()).chain(keys.iter().map(Vec::as_slice)).collect();
            wire.extend(command(&words));
        }
        let replies = connection.pipeline(&wire, batch.len().div_ceil(KEYS_A_READ))?;
        for (chunk, reply) in batch.chunks(KEYS_A_READ).zip(replies) {
            match reply {
                Reply::Array(values) if values.len() == chunk.len() => {
                    chunk.iter().zip(&values).for_each(|(n, found)| findings.judge(*n, found));
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
                let answer = match words[0] {
                    b"ROLE" => role.as_bytes().to_vec(),
                    _ => {
                        let mut out = format!("*{}\r\n", words.len() - 1).into_bytes();
                        for key in &words[1..] {
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
                };
                if client.pipeline(&answer, 0).is_err() {
                    return;
                }
            }
        });
        Connection::new(TcpStream::connect(address).unwrap())
    }

    fn data(numbers: impl Iterator<Item = u64>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        numbers.map(|n| (key(n), value(n))).collect()
    }

    #[test]
    fn nothing_is_lost_when_everything_is_there() {
        let mut server = serve(data(1..=5000), MASTER);
        let found = read_back(&mut server, 1..=5000).unwrap();
        assert_eq!(found, Findings { checked: 5000, lost: 0, lost_numbers: vec![] });
    }

    #[test]
    fn a_missing_write_is_lost() {
        let mut server = serve(data((1..=3000).filter(|n| *n != 2500)), MASTER);
        let found = read_back(&mut server, 1..=3000).unwrap();
        assert_eq!(found, Findings { checked: 3000, lost: 1, lost_numbers: vec![2500] });
    }

    #[test]
    fn another_value_is_a_lost_write() {
        let mut wrong = data(1..=3);
        wrong.insert(key(2), value(3));
        let found = read_back(&mut serve(wrong, MASTER), 1..=3).unwrap();
        assert_eq!(found.lost_numbers, [2]);
    }

    #[test]
    fn an_empty_server_has_lost_everything_but_names_only_some() {
        let found = read_back(&mut serve(BTreeMap::new(), MASTER), 1..=1000).unwrap();
        assert_eq!((found.lost, found.lost_numbers.len()), (1000, NAMED_MOST));
    }

    #[test]
    fn a_replica_proves_nothing() {
        let error = read_back(&mut serve(data(1..=3), REPLICA), 1..=3).unwrap_err();
        assert!(error.to_string().contains("no primary"), "{error}");
    }
}
