//! The only place that prints for people. What is printed on standard output is the answer; on standard error, why
//! there is none.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use super::colour;

/// Whether answers for people are coloured: one fact of the process, as its standard output is.
static COLOURED: AtomicBool = AtomicBool::new(false);

/// Decides once, before anything is printed, whether answers for people are coloured.
pub(super) fn colour(when: colour::When) {
    COLOURED.store(when.holds(), Ordering::Relaxed);
}

/// Prints the answer for a person: as [`answer`], coloured where that is wished.
pub(super) fn tell(text: &str) -> io::Result<()> {
    if COLOURED.load(Ordering::Relaxed) { answer(&colour::painted(text)) } else { answer(text) }
}

/// Prints the answer; what programs read is never coloured.
pub(super) fn print(for_people: bool, text: &str) -> io::Result<()> {
    if for_people { tell(text) } else { answer(text) }
}

/// Prints the answer. A reader that went away (`| head`) is no failure.
pub(super) fn answer(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Says on standard error what a person must know beside the answer.
pub(super) fn complain(text: &str) {
    // Nothing more can be done when even this cannot be written.
    let _written = writeln!(io::stderr(), "{text}");
}

/// Tells a person who waits what is being waited for. Programs that read us are told nothing.
pub(super) fn progress(text: &str) {
    if io::stderr().is_terminal() {
        complain(text);
    }
}

/// Prints why there is no answer, and gives the exit code back.
pub(super) fn failure(text: &str, code: u8) -> ExitCode {
    complain(text);
    ExitCode::from(code)
}
