//! The socket over which `status`, `mark`, `check` and `stop` reach the writer: one word in, one line of JSON out.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
};

/// Longest answer that a client reads.
const ANSWER_MOST: u64 = 4 << 20;

/// Sends one word to the writer of `dir` and waits for its answer.
pub(crate) fn ask(dir: &Path, word: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(dir.join("control"))?;
    stream.write_all(format!("{word}\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_MOST).read_to_string(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

/// Answers clients on a thread of its own, for as long as the process lives.
pub(crate) fn serve(dir: &Path, answer: impl Fn(&str) -> String + Send + 'static) -> io::Result<()> {
    let path = dir.join("control");
    // A socket of a writer before this one would refuse the bind.
    if let Err(error) = fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that goes away harms nobody but itself.
            drop(answer_one(&client, &answer));
        }
    });
    Ok(())
}

fn answer_one(mut client: &UnixStream, answer: &impl Fn(&str) -> String) -> io::Result<()> {
    let mut word = String::new();
    BufReader::new(client.take(64)).read_line(&mut word)?;
    client.write_all(answer(word.trim_end()).as_bytes())?;
    client.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_gets_its_answer() {
        let dir = tempfile::tempdir().unwrap();
        serve(dir.path(), |word| format!("{{\"word\":\"{word}\"}}")).unwrap();
        assert_eq!(ask(dir.path(), "status").unwrap(), r#"{"word":"status"}"#);
        assert_eq!(ask(dir.path(), "stop").unwrap(), r#"{"word":"stop"}"#);
    }

    #[test]
    fn without_a_writer_there_is_an_error() {
        assert!(ask(tempfile::tempdir().unwrap().path(), "status").is_err());
    }
}
