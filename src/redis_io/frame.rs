//! What a reply may look like, checked byte by byte before it is parsed.
//!
//! RESP3 has much more: arrays nested a hundred deep, lengths that are only noticed when the bytes never come. We ask
//! for little: text, numbers, bulk strings and flat arrays. Anything else did not come from a Redis
//! that answers us, and is refused here. What it may be is said in words of ours; its own are not repeated.

use super::error::RedisError;

/// Most bytes of replies to one request. A full INFO is about 6 KiB; 1 MiB leaves room for hundreds of replicas and
/// databases.
pub(super) const MAX_REPLY: usize = 1 << 20;
/// Longest status or error line in bytes. Redis itself stays far below.
const MAX_LINE: usize = 4096;
/// Longest array: CONFIG GET answers with two elements for each of its names.
const MAX_ARRAY: i64 = 64;
/// An array may hold arrays, those no more.
const MAX_DEPTH: usize = 2;
/// Bytes of a bad reply that it is classed by.
const HEAD: usize = 8;
/// Digits of a length or number: `-9223372036854775808` has twenty characters.
const MAX_DIGITS: usize = 20;

/// Follows a stream of replies and stops at the first byte that cannot be part of one.
#[derive(Debug)]
pub(super) struct FrameGuard {
    state: State,
    /// Elements still to come of the arrays that are open, outermost first.
    open: Vec<i64>,
    /// The first bytes of the reply under way, to tell what else it may be.
    head: Vec<u8>,
    /// Replies that have come whole.
    complete: usize,
    /// Most bytes of a string.
    most: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A reply or an element begins.
    Type,
    /// In a status, error or number line.
    Line { length: usize, cr: bool },
    /// In the length of a bulk string or an array.
    Length { kind: u8, value: Option<i64>, negative: bool, digits: usize, cr: bool },
    /// In a bulk string; the count includes its CRLF.
    Bulk { left: usize },
}

/// Why a stream of replies cannot go on.
enum Stop {
    /// Not what a Redis says.
    Garbage(&'static str),
    /// A string of this many bytes is announced.
    TooLarge(i64),
}

/// What else answers on ports, by the first bytes that it says.
fn kind(head: &[u8]) -> &'static str {
    match head {
        [b'H', b'T', b'T', b'P', b'/', ..] => ": it is a web server's (HTTP)",
        [b'S', b'S', b'H', b'-', ..] => ": it is an SSH server's",
        // An alert or a handshake message of any TLS version.
        [0x15 | 0x16, 0x03, ..] => ": it is TLS; if that is Redis' tls-port, set spec.redis.tls",
        [b'%' | b'~' | b'_' | b'#' | b',' | b'(' | b'=' | b'>', ..] => {
            ": it is of a version of the protocol that was not asked for"
        }
        [b'2', b'2', b'0', ..] => ": it is a mail or file server's",
        _ => "",
    }
}

impl FrameGuard {
    /// No string may have more than that many bytes.
    pub(super) const fn up_to(most: usize) -> Self {
        Self { state: State::Type, open: Vec::new(), head: Vec::new(), complete: 0, most }
    }

    /// How many replies have come whole.
    pub(super) const fn complete(&self) -> usize {
        self.complete
    }

    /// True between two replies: none is under way.
    pub(super) const fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Type) && self.open.is_empty()
    }

    /// Follows the next bytes; an error ends the connection.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), RedisError> {
        let mut rest = bytes;
        self.follow(&mut rest).map_err(|stop| match stop {
            Stop::TooLarge(length) => {
                RedisError::TooLarge(format!("a string of {length} bytes; the cap is {}", self.most))
            }
            Stop::Garbage(how) => {
                self.head.extend(rest.iter().take(HEAD));
                self.head.truncate(HEAD);
                RedisError::NotRedis(format!("the answer {how}{}", kind(&self.head)))
            }
        })
    }

    /// Consumes `bytes` as far as they are good.
    fn follow(&mut self, bytes: &mut &[u8]) -> Result<(), Stop> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let State::Bulk { left } = self.state {
                // Most bytes are here: skip them at once.
                let taken = left.min(bytes.len());
                *bytes = bytes.get(taken..).unwrap_or_default();
                self.state = State::Bulk { left: left - taken };
                if left == taken {
                    self.element_done();
                }
                continue;
            }
            self.step(byte)?;
            if self.head.len() < HEAD {
                self.head.push(byte);
            }
            *bytes = rest;
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), Stop> {
        match self.state {
            State::Type => match byte {
                b'+' | b'-' | b':' => self.state = State::Line { length: 0, cr: false },
                b'$' | b'*' => {
                    self.state = State::Length { kind: byte, value: None, negative: false, digits: 0, cr: false }
                }
                _ => return Err(Stop::Garbage("does not begin as a reply does")),
            },
            State::Line { cr: true, .. } if byte == b'\n' => self.element_done(),
            State::Line { length, .. } => {
                if length >= MAX_LINE {
                    return Err(Stop::Garbage("has a line without an end"));
                }
                self.state = State::Line { length: length + 1, cr: byte == b'\r' };
            }
            State::Length { kind, value, negative, digits, cr } => match byte {
                b'\n' if cr => self.length_done(kind, value, negative)?,
                b'\r' if !cr => self.state = State::Length { kind, value, negative, digits, cr: true },
                b'-' if digits == 0 && !negative => {
                    self.state = State::Length { kind, value, negative: true, digits, cr }
                }
                b'0'..=b'9' if !cr && digits < MAX_DIGITS => {
                    let value = value.unwrap_or(0).saturating_mul(10).saturating_add(i64::from(byte - b'0'));
                    self.state = State::Length { kind, value: Some(value), negative, digits: digits + 1, cr };
                }
                _ => return Err(Stop::Garbage("has a length that is no number")),
            },
            State::Bulk { .. } => {}
        }
        Ok(())
    }

    fn length_done(&mut self, kind: u8, value: Option<i64>, negative: bool) -> Result<(), Stop> {
        let Some(value) = value else {
            return Err(Stop::Garbage("has a length that is no number"));
        };
        if negative {
            if value != 1 {
                return Err(Stop::Garbage("has a negative length"));
            }
            self.element_done();
        } else if kind == b'$' {
            match usize::try_from(value) {
                Ok(length) if length <= self.most => self.state = State::Bulk { left: length + 2 },
                _ => return Err(Stop::TooLarge(value)),
            }
        } else if value > MAX_ARRAY || self.open.len() >= MAX_DEPTH {
            return Err(Stop::Garbage("has an array larger or deeper than any that was asked for"));
        } else if value == 0 {
            self.element_done();
        } else {
            self.open.push(value);
            self.state = State::Type;
        }
        Ok(())
    }

    fn element_done(&mut self) {
        self.state = State::Type;
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.complete += 1;
        self.head.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::values, *};
    use proptest::prelude::*;
    use rstest::rstest;

    /// The verdict on the whole text, fed in pieces of the given size.
    fn verdict(bytes: &[u8], piece: usize) -> Result<(), RedisError> {
        let mut guard = FrameGuard::up_to(MAX_REPLY);
        bytes.chunks(piece).try_for_each(|chunk| guard.feed(chunk))
    }

    #[rstest]
    #[case(b"+OK\r\n")]
    #[case(b"-NOAUTH Authentication required.\r\n")]
    #[case(b":42\r\n:-1\r\n")]
    #[case(b"$5\r\nab\r\nc\r\n$0\r\n\r\n$-1\r\n")]
    #[case(b"*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n+OK\r\n")]
    #[case(b"*0\r\n*-1\r\n")]
    #[case(b"*2\r\n*1\r\n:1\r\n:2\r\n$3\r\nfoo\r\n")]
    fn lets_replies_pass_in_any_pieces(#[case] bytes: &[u8]) {
        for piece in 1..=bytes.len() {
            assert_eq!(verdict(bytes, piece), Ok(()), "pieces of {piece}");
        }
    }

    #[rstest]
    #[case(b"HTTP/1.1 400 Bad Request\r\n", "begin")]
    #[case(b"\x16\x03\x01", "begin")]
    #[case(b"%1\r\n", "begin")]
    #[case(b"*65\r\n", "array")]
    #[case(b"*1\r\n*1\r\n*1\r\n", "array")]
    #[case(b"*9223372036854775807\r\n", "array")]
    #[case(b"$x\r\n", "length")]
    #[case(b"$\r\n", "length")]
    #[case(b"$-7\r\n", "negative")]
    #[case(b"$1\r5", "length")]
    #[case(b"$99999999999999999999999", "length")]
    fn stops_at_what_no_redis_says(#[case] bytes: &[u8], #[case] word: &str) {
        for piece in 1..=bytes.len() {
            let Err(RedisError::NotRedis(text)) = verdict(bytes, piece) else {
                panic!("passed in pieces of {piece}");
            };
            assert!(text.contains(word), "{text}");
        }
    }

    #[rstest]
    #[case(b"$1048577\r\n")]
    #[case(b"$9999999999\r\n")]
    #[case(b"$9223372036854775808\r\n")]
    fn a_string_over_the_cap_is_known_by_its_length(#[case] bytes: &[u8]) {
        assert!(matches!(verdict(bytes, 3), Err(RedisError::TooLarge(_))));
    }

    #[test]
    fn a_line_without_an_end_is_stopped() {
        assert!(matches!(verdict(&[b'+'; MAX_LINE + 2], 100), Err(RedisError::NotRedis(_))));
    }

    #[rstest]
    #[case(b"HTTP/1.1 400 Bad Request\r\n", "HTTP")]
    #[case(b"SSH-2.0-all-is-well\r\n", "SSH")]
    #[case(b"\x15\x03\x03\x00\x02\x02\x28", "spec.redis.tls")]
    #[case(b"%1\r\n+server\r\n", "version of the protocol")]
    #[case(b"all is well\r\n", "does not begin as a reply does")]
    fn the_text_says_what_it_may_be_and_repeats_nothing(#[case] bytes: &[u8], #[case] word: &str) {
        let Err(RedisError::NotRedis(text)) = verdict(bytes, 100) else { panic!("passed") };
        assert!(text.contains(word) && !text.contains("well") && !text.contains("Bad Request"), "{text}");
    }

    proptest! {
        #[test]
        fn never_panics_and_pieces_do_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'),
                Just(b'1'), Just(b'-'), any::<u8>()], 0..200),
            piece in 1_usize..50,
        ) {
            prop_assert_eq!(verdict(&bytes, piece).is_ok(), verdict(&bytes, 1).is_ok());
        }

        /// A panic would end the whole operator.
        #[test]
        fn parsers_survive_what_passes(
            parts in proptest::collection::vec(prop_oneof![
                (-1_i64..70).prop_map(|n| format!("*{n}\r\n").into_bytes()),
                (-1_i64..9).prop_map(|n| format!("${n}\r\n").into_bytes()),
                any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
                "[-+:][ -~é]{0,20}\r\n".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..9),
                Just(b"\r\n".to_vec()),
            ], 0..30),
        ) {
            let bytes = parts.concat();
            if verdict(&bytes, 7).is_ok() {
                let _any_value_or_none = values::parse(&bytes, 1);
                let _any_value_or_error = redis::parse_redis_value(&bytes);
            }
        }
    }
}
