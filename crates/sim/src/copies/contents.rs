//! What is in a copy of a queue: payloads by index, and the history of its indexes.
//!
//! Invariant: the same writes make the same contents, in memory and on disk.

use broker::replica::History;
use std::collections::BTreeMap;

/// A message's content; every publish has its own.
pub type Payload = u64;

/// One copy's contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Which epoch each index belongs to.
    pub history: History,
    /// The next message's index.
    pub next: u64,
    /// Messages that live.
    pub live: BTreeMap<u64, Payload>,
}

/// A change of a copy.
#[derive(Clone, Debug)]
pub enum Write {
    /// A message, published or filled in.
    Put(u64, Payload),
    /// Messages go.
    Settle(Vec<u64>),
    /// An epoch begins.
    Begin(u64),
    /// A mirror lets go of what its home does not have, and takes over its history.
    Reset { cut: u64, settled: Vec<u64>, history: History, next: u64 },
    /// The queue is not mirrored: nobody else has what it has from now on.
    Alone,
    /// Nothing; to be told when everything before it is on disk.
    Mark,
    /// The copy is not needed any more, by the catalog with so many changes, which is on disk before.
    Drop(usize),
}

impl Contents {
    /// Carries out a change.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Put(index, payload) => {
                self.live.insert(*index, *payload);
                self.next = self.next.max(index + 1);
            }
            Write::Settle(indexes) => indexes.iter().for_each(|index| {
                self.live.remove(index);
            }),
            Write::Begin(epoch) => {
                // The messages of a queue that was never mirrored belong to its first epoch.
                let first = if self.history.epoch() == 0 { 0 } else { self.next };
                self.history.begin(*epoch, first);
            }
            Write::Reset { cut, settled, history, next } => {
                self.live.split_off(cut);
                settled.iter().for_each(|index| {
                    self.live.remove(index);
                });
                self.history = history.clone();
                self.next = *next;
            }
            Write::Alone => self.history = History::default(),
            Write::Mark => {}
            Write::Drop(_) => *self = Contents::default(),
        }
    }
}
