//! Which writes were acknowledged: ranges in memory, and the same as lines `first last` in a file, so that a writer
//! that is started again still knows what it must find.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

/// The numbers of all acknowledged writes. They only ever come in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    ranges: Vec<(u64, u64)>,
    count: u64,
}

impl Ledger {
    /// Remembers that write `n` was acknowledged. A number that is not above all others is ignored.
    pub(crate) fn acknowledge(&mut self, n: u64) {
        match self.ranges.last_mut() {
            Some((_, last)) if n <= *last => return,
            Some((_, last)) if n == *last + 1 => *last = n,
            _ => self.ranges.push((n, n)),
        }
        self.count += 1;
    }

    /// How many writes were acknowledged.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The highest acknowledged number.
    pub(crate) fn last(&self) -> Option<u64> {
        self.ranges.last().map(|(_, last)| *last)
    }

    /// All acknowledged numbers, ascending.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The acknowledged ranges above `n`.
    fn above(&self, n: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let from = self.ranges.partition_point(|(_, last)| *last <= n);
        self.ranges.iter().skip(from).map(move |(first, last)| ((*first).max(n + 1), *last))
    }
}

/// The file behind a [`Ledger`].
#[derive(Debug)]
pub(crate) struct LedgerFile {
    file: File,
    written: u64,
}

impl LedgerFile {
    /// Opens the file and reads what a writer before this one left there.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Ledger)> {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut ledger = Ledger::default();
        for line in BufReader::new(&file).lines() {
            let line = line?;
            // The last line may be cut short when the writer was killed: what it does not say was not recorded.
            let Some((first, last)) = parse_line(&line) else { continue };
            (first..=last).for_each(|n| ledger.acknowledge(n));
        }
        let written = ledger.last().unwrap_or(0);
        Ok((Self { file, written }, ledger))
    }

    /// Appends what the file does not have yet.
    pub(crate) fn append(&mut self, ledger: &Ledger) -> io::Result<()> {
        let mut lines = String::new();
        for (first, last) in ledger.above(self.written) {
            let _ = writeln!(lines, "{first} {last}.");
        }
        self.file.write_all(lines.as_bytes())?;
        self.written = ledger.last().unwrap_or(self.written);
        Ok(())
    }
}

/// `first last.`: the full stop shows that the line is whole.
fn parse_line(line: &str) -> Option<(u64, u64)> {
    let (first, last) = line.strip_suffix('.')?.split_once(' ')?;
    Some((first.parse().ok()?, last.parse().ok()?)).filter(|(first, last)| first <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(numbers: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        for n in numbers {
            ledger.acknowledge(*n);
        }
        ledger
    }

    #[test]
    fn holes_stay_holes() {
        let ledger = ledger(&[1, 2, 3, 7, 9, 10]);
        assert_eq!(ledger.ranges, [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(ledger.count(), 6);
        assert_eq!(ledger.numbers().collect::<Vec<_>>(), [1, 2, 3, 7, 9, 10]);
    }

    #[test]
    fn a_number_counts_once() {
        assert_eq!(ledger(&[4, 4, 3]).count(), 1);
    }

    #[test]
    fn appends_only_what_is_new() {
        let ledger = ledger(&[1, 2, 3, 7, 9, 10]);
        assert_eq!(ledger.above(0).collect::<Vec<_>>(), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(ledger.above(2).collect::<Vec<_>>(), [(3, 3), (7, 7), (9, 10)]);
        assert_eq!(ledger.above(8).collect::<Vec<_>>(), [(9, 10)]);
        assert_eq!(ledger.above(10).count(), 0);
    }

    #[test]
    fn a_new_writer_knows_what_the_old_one_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acknowledged");
        let (mut file, mut first) = LedgerFile::open(&path).unwrap();
        for n in [1, 2, 3, 7] {
            first.acknowledge(n);
            file.append(&first).unwrap();
        }
        // Killed in the middle of a line.
        file.file.write_all(b"8 12").unwrap();
        drop(file);
        assert_eq!(LedgerFile::open(&path).unwrap().1, ledger(&[1, 2, 3, 7]));
    }
}
