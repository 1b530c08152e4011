//! Looks at a remediation, one after another, as the controller makes them.

use redis_memory_operator::domain::blocked::Blocked;

use super::*;

/// Walks until the remediation has ended, where each look is a minute after the one before.
pub(super) fn until_it_ends(world: &mut World, mut journal: Journal) -> WorkloadRecord {
    for _ in 0..100 {
        match advance::next(&world.ctx(), &journal, false) {
            Next::Record(next) => journal = *next,
            Next::Gate(..) => world.tick(60),
            Next::End(record) => return *record,
            other => panic!("{other:?}"),
        }
    }
    panic!("it never ended");
}

impl World {
    /// One look: what it says is written down or done, and an effect takes a second. Whoever asked for it judges what it was.
    pub(super) fn look(&mut self, journal: &mut Journal) -> Next {
        let next = advance::next(&self.ctx(), journal, false);
        if let Next::Record(after) | Next::Act(after, _) = &next {
            journal.clone_from(after);
        }
        if let Next::Act(_, effect) = &next {
            self.apply(effect);
            self.tick(1);
        }
        next
    }

    /// The journal at the first such step, with everything before it done.
    pub(super) fn reach(&mut self, wanted: impl Fn(&Step) -> bool) -> Journal {
        let mut journal = self.begin();
        for _ in 0..400 {
            if journal.step().is_some_and(&wanted) {
                return journal;
            }
            match self.look(&mut journal) {
                Next::Wait(..) => self.tick(5),
                Next::Record(_) | Next::Act(..) => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("it never came to that step; at {:?}", journal.step());
    }

    /// The journal right after the first such effect.
    pub(super) fn reach_after(&mut self, wanted: impl Fn(&Effect) -> bool) -> Journal {
        let mut journal = self.begin();
        for _ in 0..400 {
            match self.look(&mut journal) {
                Next::Act(_, effect) if wanted(&effect) => return journal,
                Next::Wait(..) => self.tick(5),
                Next::Record(_) | Next::Act(..) => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("it never came to that effect; at {:?}", journal.step());
    }

    /// Looks until the remediation ends. What is recorded first at a step of the kind `forget_after` is forgotten, as if the
    /// process were killed before it was written: the next look starts from the journal before.
    pub(super) fn walk(&mut self, mut journal: Journal, forget_after: Option<StepKind>) -> WorkloadRecord {
        let mut forgotten = false;
        for _ in 0..400 {
            let before = journal.clone();
            match self.look(&mut journal) {
                Next::Wait(..) => {
                    self.relearn();
                    self.tick(5);
                }
                Next::Gate(..) if self.is_relearning() => self.relearn(),
                Next::Gate(blocked, _) => panic!("blocked: {blocked:?}"),
                Next::Record(_) => {
                    let step = before.step().map(Step::kind);
                    if !forgotten && step.is_some() && step == forget_after {
                        forgotten = true;
                        journal = before;
                    }
                }
                Next::Act(..) => {}
                Next::End(record) => return *record,
                other => panic!("no look at a remediation says {other:?}"),
            }
        }
        panic!("it did not end; at {:?}", journal.step());
    }

    /// A whole remediation. Right after that number of effects something is changed.
    pub(super) fn walk_changed(&mut self, effects: usize, change: impl Fn(&mut Self)) -> WorkloadRecord {
        let mut journal = self.begin();
        for _ in 0..800 {
            match self.look(&mut journal) {
                Next::Wait(..) => self.tick(5),
                Next::Act(..) if self.done.len() == effects => change(self),
                Next::Record(_) | Next::Act(..) => {}
                Next::End(record) => return *record,
                other => panic!("{other:?}"),
            }
        }
        panic!("it never ended");
    }

    /// Looks until the end, which must come soon: each wait takes ten minutes. Effects may be refused.
    pub(super) fn end_soon(&mut self, mut journal: Journal, refused: impl Fn(&Effect) -> bool) -> WorkloadRecord {
        for _ in 0..20 {
            match advance::next(&self.ctx(), &journal, false) {
                Next::Wait(..) => self.tick(600),
                Next::Record(next) => journal = *next,
                Next::Act(next, effect) => {
                    journal = *next;
                    if refused(&effect) {
                        self.done.push(("Refused", String::new()));
                    } else {
                        self.apply(&effect);
                    }
                }
                Next::End(record) => return *record,
                other => panic!("{other:?}"),
            }
        }
        panic!("it did not end");
    }

    /// Looks until the end, which must come soon: each wait takes an hour. Nothing is done meanwhile.
    pub(super) fn end_in_hours(&mut self, mut journal: Journal) -> WorkloadRecord {
        for _ in 0..5 {
            match advance::next(&self.ctx(), &journal, false) {
                Next::Wait(..) => self.hours(1),
                Next::Record(next) => journal = *next,
                Next::End(record) => return *record,
                other => panic!("{other:?}"),
            }
        }
        panic!("it did not end");
    }

    /// Looks until something is in the way. Nothing is done meanwhile.
    pub(super) fn gate(&mut self, journal: &mut Journal) -> Blocked {
        for _ in 0..20 {
            match advance::next(&self.ctx(), journal, false) {
                Next::Wait(..) => self.tick(5),
                Next::Record(next) => *journal = *next,
                Next::Gate(blocked, _) => return blocked[0].clone(),
                other => panic!("{other:?}"),
            }
        }
        panic!("nothing was in the way");
    }

    pub(super) fn hours(&mut self, hours: i64) {
        self.now = self.now.saturating_add(SignedDuration::from_hours(hours)).expect("in range");
    }

    /// Kinds of the effects, in order.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        self.done.iter().map(|(kind, _)| *kind).collect()
    }

    /// That member's memory is all in use, and has been.
    pub(super) fn without_waste(&mut self, n: usize) {
        let sample = self.sample(n);
        (sample.memory.rss, sample.memory.ratio) = (Bytes::mib(80), Ratio(115));
        let history = fixtures::history(&sample.run_id, Ratio(115), fixtures::USED, Bytes::mib(80));
        self.snapshot.targets[n].history = history;
    }
}
