//! What clients were told that was kept, and what became of it: what S2 counts.

/// What became of an acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It must be there.
    Kept,
    /// It may be gone: by somebody else's doing, or evicted where that is allowed.
    Excused,
    /// It was evicted by our doing, and nobody allowed that.
    Taken,
}

/// The acknowledged writes of one set, ascending.
#[derive(Clone, Debug, Default)]
pub struct Acked(Vec<(u32, Fate)>);

impl Acked {
    /// One more.
    pub fn push(&mut self, write: u32) {
        self.0.push((write, Fate::Kept));
    }

    /// Whatever none of these logs holds is lost by somebody else's doing: of what `gone` held, if that is given.
    pub fn excuse(&mut self, logs: &[&[u32]], gone: Option<&[u32]>) {
        for (write, fate) in self.0.iter_mut().filter(|(_, fate)| *fate == Fate::Kept) {
            if !held(logs, *write) && gone.is_none_or(|gone| held(&[gone], *write)) {
                *fate = Fate::Excused;
            }
        }
    }

    /// A server evicts it.
    pub fn evicted(&mut self, write: u32, allowed: bool) {
        let Ok(at) = self.0.binary_search_by_key(&write, |(write, _)| *write) else { return };
        if self.0[at].1 == Fate::Kept {
            self.0[at].1 = if allowed { Fate::Excused } else { Fate::Taken };
        }
    }

    /// How many `old` holds and `new` does not.
    pub fn lost(&self, old: &[u32], new: &[u32]) -> usize {
        let lost = |(write, fate): &&(u32, Fate)| *fate == Fate::Kept && held(&[old], *write) && !held(&[new], *write);
        self.0.iter().filter(lost).count()
    }

    /// How many are missing where these logs are all that is left.
    pub fn missing(&self, logs: &[&[u32]]) -> usize {
        let missing = |(write, fate): &&(u32, Fate)| match fate {
            Fate::Kept => !held(logs, *write),
            Fate::Excused => false,
            Fate::Taken => true,
        };
        self.0.iter().filter(missing).count()
    }
}

fn held(logs: &[&[u32]], write: u32) -> bool {
    logs.iter().any(|log| log.binary_search(&write).is_ok())
}
