//! As much of the Redis protocol (RESP2) as the writer needs, written out so that each byte that was sent or received
//! is accounted for: a client library may retry or reconnect by itself, and this program must know.

use std::io::{self, BufRead, BufReader, Read, Write};

/// Longest bulk string that is accepted: our own values are far shorter.
const BULK_MOST: usize = 1 << 20;
/// Longest array that is accepted.
const ARRAY_MOST: usize = 1 << 16;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+OK`
    Simple(String),
    /// `-READONLY You can't write …`
    Error(String),
    /// `:42`
    Integer(i64),
    /// `$…`; `None` is the null bulk string.
    Bulk(Option<Vec<u8>>),
    /// `*…`; a null array is an empty one.
    Array(Vec<Self>),
}

/// A command as the wire has it.
pub(crate) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut wire = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        wire.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        wire.extend_from_slice(word);
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

/// A connection on which a reply belongs to the command before it.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Connection<S> {
    /// Over a stream that is connected.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Sends one command and reads its reply. After an error the connection must not be used again.
    pub(crate) fn call(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        self.stream.get_mut().write_all(&command(words))?;
        self.reply()
    }

    /// Sends all commands at once and reads as many replies.
    pub(crate) fn pipeline(&mut self, commands: &[u8], replies: usize) -> io::Result<Vec<Reply>> {
        self.stream.get_mut().write_all(commands)?;
        (0..replies).map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| garbage("an empty line"))?;
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number(rest)?),
            "$" => Reply::Bulk(self.bulk(number(rest)?)?),
            "*" => {
                let length = usize::try_from(number(rest)?.max(0)).unwrap_or(usize::MAX);
                if length > ARRAY_MOST {
                    return Err(garbage("an array that is too long"));
                }
                Reply::Array((0..length).map(|_| self.reply()).collect::<io::Result<_>>()?)
            }
            _ => return Err(garbage("an unknown kind of reply")),
        })
    }

    fn bulk(&mut self, length: i64) -> io::Result<Option<Vec<u8>>> {
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        if length > BULK_MOST {
            return Err(garbage("a bulk string that is too long"));
        }
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.by_ref().take(4096).read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
        }
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| garbage("no number where one must be"))
}

fn garbage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a Redis reply: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// Reads what it was given; what is written to it goes nowhere.
    struct Script(io::Cursor<Vec<u8>>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Script {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answer(wire: &str) -> io::Result<Reply> {
        Connection::new(Script(io::Cursor::new(wire.as_bytes().to_vec()))).call(&[b"PING"])
    }

    #[rstest]
    #[case("+OK\r\n", Reply::Simple("OK".into()))]
    #[case("-READONLY no\r\n", Reply::Error("READONLY no".into()))]
    #[case(":-3\r\n", Reply::Integer(-3))]
    #[case("$3\r\na\r\n\r\n", Reply::Bulk(Some(b"a\r\n".to_vec())))]
    #[case("$-1\r\n", Reply::Bulk(None))]
    #[case("*-1\r\n", Reply::Array(vec![]))]
    #[case("*2\r\n$1\r\nx\r\n$-1\r\n", Reply::Array(vec![Reply::Bulk(Some(b"x".to_vec())), Reply::Bulk(None)]))]
    fn reads(#[case] wire: &str, #[case] reply: Reply) {
        assert_eq!(answer(wire).unwrap(), reply);
    }

    #[rstest]
    #[case("")]
    #[case("+O")]
    #[case("\r\n")]
    #[case("HTTP/1.1 400 Bad Request\r\n")]
    #[case("$99999999\r\n")]
    #[case("*99999999\r\n")]
    #[case("$5\r\nab\r\n")]
    fn refuses(#[case] wire: &str) {
        assert!(answer(wire).is_err());
    }

    #[test]
    fn writes_commands_with_lengths() {
        assert_eq!(command(&[b"SET", b"w:1", b""]), b"*3\r\n$3\r\nSET\r\n$3\r\nw:1\r\n$0\r\n\r\n");
    }
}
