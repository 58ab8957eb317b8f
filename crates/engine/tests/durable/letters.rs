//! Messages on the way from a queue through its dead-letter exchange to another queue.
//!
//! Invariant of what is tested: such a message is in the first queue or in the second, there at least
//! once, until somebody settles it there.

use crate::client::Seen;
use crate::ledger::Ledger;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, Default)]
struct Letter {
    persistent: bool,
    /// It was promised to be in one of the queues.
    certain: bool,
    /// How often the second queue has it.
    copies: usize,
    /// How many of these were settled there.
    settled: usize,
}

#[derive(Debug, Default)]
pub struct Letters {
    on_the_way: BTreeMap<u64, Letter>,
    /// What must not come again.
    gone: BTreeSet<u64>,
}

impl Letters {
    /// A message was rejected in the first queue.
    pub fn leave(&mut self, id: u64, persistent: bool) {
        self.on_the_way.insert(id, Letter { persistent, copies: 1, ..Letter::default() });
    }

    /// A message was settled in the second queue.
    pub fn settle(&mut self, id: u64) {
        self.on_the_way.entry(id).and_modify(|letter| letter.settled += 1);
    }

    /// Everything in both queues is committed.
    pub fn calm(&mut self) {
        let done: Vec<u64> =
            self.on_the_way.iter().filter(|(_, one)| one.settled >= one.copies).map(|(id, _)| *id).collect();
        for id in done {
            self.on_the_way.remove(&id);
            self.gone.insert(id);
        }
    }

    /// Whether what was found in both queues after a crash may be. `source` is what was asked of the
    /// first one before.
    pub fn check(&mut self, source: &Ledger, first: &[Seen], second: &[Seen]) -> Result<(), String> {
        let in_first: BTreeSet<u64> = first.iter().map(|seen| seen.id).collect();
        let mut in_second: BTreeMap<u64, usize> = BTreeMap::new();
        second.iter().for_each(|seen| *in_second.entry(seen.id).or_default() += 1);
        for id in in_second.keys() {
            if self.gone.contains(id) {
                return Err(format!("dead letter {id} was settled and came again"));
            }
            let Some(letter) = self.on_the_way.get(id) else {
                return Err(format!("{id} never was a dead letter"));
            };
            if in_first.contains(id) {
                return Err(format!("dead letter {id} is in both queues"));
            }
            if !letter.persistent {
                return Err(format!("dead letter {id} is transient"));
            }
        }
        for (id, letter) in &mut self.on_the_way {
            letter.certain |= source.is_promised(*id);
            let copies = in_second.get(id).copied().unwrap_or(0);
            let found = copies > 0 || in_first.contains(id);
            if letter.persistent && letter.certain && letter.settled == 0 && !found {
                return Err(format!("dead letter {id} is lost"));
            }
            (letter.copies, letter.settled) = (copies, 0);
            letter.certain = copies > 0;
        }
        self.on_the_way.retain(|_, letter| letter.copies > 0);
        Ok(())
    }
}
