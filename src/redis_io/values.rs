//! Replies as values. Only what [`super::frame`] has let pass comes here, of which there is little to tell apart; the
//! client library's parser, made for all of the protocol and for replies in pieces, took an eighth of what a probe cost.

use std::str;

use redis::Value;

/// Deeper than the guard lets pass.
const MAX_DEPTH: usize = 4;
/// More elements than the guard lets pass.
const MAX_ARRAY: usize = 1024;

/// That number of replies from the begin of `bytes`; `None`: they are not there, or are none.
pub(super) fn parse(bytes: &[u8], count: usize) -> Option<Vec<Value>> {
    let mut rest = bytes;
    (0..count).map(|_| value(&mut rest, 0)).collect()
}

/// Takes one value off `rest`.
fn value(rest: &mut &[u8], depth: usize) -> Option<Value> {
    let whole = *rest;
    let line = line(rest)?;
    let (kind, said) = line.split_first()?;
    Some(match kind {
        b'+' if said == b"OK" => Value::Okay,
        b'+' => Value::SimpleString(str::from_utf8(said).ok()?.to_owned()),
        // Rare, and to be classed as the library classes it.
        b'-' => redis::parse_redis_value(whole.get(..line.len().checked_add(2)?)?).ok()?,
        b':' => Value::Int(number(said)?),
        b'$' => match usize::try_from(number(said)?) {
            Ok(length) => {
                let (text, after) = rest.split_at_checked(length)?;
                *rest = after.strip_prefix(b"\r\n")?;
                Value::BulkString(text.to_vec())
            }
            Err(_) => Value::Nil,
        },
        b'*' => match usize::try_from(number(said)?) {
            Ok(length) if length > MAX_ARRAY || depth >= MAX_DEPTH => return None,
            Ok(length) => {
                let mut elements = Vec::with_capacity(length);
                for _ in 0..length {
                    elements.push(value(rest, depth.saturating_add(1))?);
                }
                Value::Array(elements)
            }
            Err(_) => Value::Nil,
        },
        _ => return None,
    })
}

/// Takes one line off `rest`, without its CRLF.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, after) = rest.split_at_checked(end)?;
    *rest = after.get(2..)?;
    Some(line)
}

fn number(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::frame::FrameGuard, *};
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"")]
    #[case(b"$5\r\nab\r\n")]
    #[case(b"$2\r\nabc\r\n")]
    #[case(b"*2\r\n:1\r\n")]
    #[case(b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n")]
    #[case(b"*99999999999\r\n")]
    #[case(b"+\xff\r\n")]
    #[case(b":x\r\n")]
    #[case(b"%1\r\n")]
    fn what_is_no_value_is_none(#[case] bytes: &[u8]) {
        assert_eq!(parse(bytes, 1), None);
    }

    proptest! {
        /// Whatever comes past the guard means what the client library reads in it.
        #[test]
        fn reads_what_the_library_reads(
            parts in proptest::collection::vec(prop_oneof![
                (-1_i64..5).prop_map(|n| format!("*{n}\r\n").into_bytes()),
                (-1_i64..9).prop_map(|n| format!("${n}\r\n").into_bytes()),
                proptest::collection::vec(any::<u8>(), 0..9)
                    .prop_map(|text| [format!("${}\r\n", text.len()).as_bytes(), &text, b"\r\n"].concat()),
                any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
                Just(b"+OK\r\n".to_vec()),
                "[-+:](ERR |NOPERM )?[ -~é\r]{0,20}\r\n".prop_map(String::into_bytes),
                Just(b"\r\n".to_vec()),
            ], 0..30),
        ) {
            let bytes = parts.concat();
            let mut guard = FrameGuard::up_to(1 << 20);
            // Up to where it stops, all that is complete was good.
            let good: Vec<u8> = bytes.iter().copied().take_while(|byte| guard.feed(&[*byte]).is_ok()).collect();
            let (mut parser, mut rest) = (redis::Parser::new(), good.as_slice());
            for count in 1..=guard.complete() {
                let theirs = parser.parse_value(&mut rest).ok();
                let refused = theirs.is_none();
                prop_assert_eq!(parse(&good, count).and_then(|mut values| values.pop()), theirs);
                if refused {
                    break;
                }
            }
        }
    }
}
