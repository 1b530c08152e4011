//! Reading what a person names with a flag: a file, or standard input.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use super::snapshot_file::{SnapshotFile, SnapshotFileError};

/// A larger file is none of ours: a policy acts on at most some hundred pods.
const MAX_SIZE: u64 = 64 << 20;

/// Why a file could not be had, or says nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} is larger than {} MiB: no snapshot, policy or manifest is", MAX_SIZE >> 20)]
    TooLarge { path: String },
    #[error("{path}: {source}")]
    Snapshot { path: String, source: SnapshotFileError },
}

/// The name of the file, for messages, and what is in it. `-` is standard input.
pub(super) fn read(path: &Path) -> Result<(String, String), FileError> {
    let (name, read) = if path == Path::new("-") {
        ("standard input".to_owned(), capped(io::stdin().lock()))
    } else {
        (path.display().to_string(), fs::File::open(path).and_then(capped))
    };
    match read {
        Ok(Some(text)) => Ok((name, text)),
        Ok(None) => Err(FileError::TooLarge { path: name }),
        Err(source) => Err(FileError::Read { path: name, source }),
    }
}

/// The same of a file that is a snapshot.
pub(super) fn snapshot(path: &Path) -> Result<(String, SnapshotFile), FileError> {
    let (path, text) = read(path)?;
    match SnapshotFile::read(&text) {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(FileError::Snapshot { path, source }),
    }
}

/// All of it, unless it is too large.
fn capped(from: impl Read) -> io::Result<Option<String>> {
    let mut text = String::new();
    from.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    Ok((text.len() as u64 <= MAX_SIZE).then_some(text))
}
