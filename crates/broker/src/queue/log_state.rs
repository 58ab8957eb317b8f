//! The logged part of a queue: what its log says, and nothing else.
//!
//! Invariant: `apply` is deterministic and reads only logged state, so replaying the commands of a
//! queue's log on any node gives the same state.

use super::config::QueueConfig;
use super::index_set::{IndexSet, Range};
use super::picks::Picks;
use super::record::Encoded;
use super::stored_entry::StoredEntry;
use crate::message::{Chunk, DeathReason};
use crate::replica::History;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A change of a queue as its log keeps it.
#[derive(Clone, Debug)]
pub enum LogCommand {
    /// Messages arrived; the first one gets index `first`.
    Enqueue {
        /// Index of the first message.
        first: u64,
        /// Where their bytes are.
        chunk: Arc<Chunk>,
        /// Which records of the chunk.
        picks: Picks,
        /// Queue time of their arrival.
        at_ms: u64,
    },
    /// Messages are done with.
    Settle(Vec<Range>),
    /// Messages leave for the dead-letter exchange; a settle follows when they have arrived there.
    Discard(Vec<Range>, DeathReason, u64),
    /// Messages came back from a consumer.
    Return(Vec<Range>),
    /// All messages below the index that are not checked out are gone.
    Purge(Vec<Range>),
    /// The queue's settings changed.
    Configure(Box<QueueConfig>),
    /// Messages' bytes are in a block.
    Moved(Box<StoredEntry>),
    /// Which epoch each index is of, and the next message's index.
    Epochs {
        /// The epochs.
        history: History,
        /// The index.
        next: u64,
    },
    /// A record as it is, of what was applied already.
    Written(Encoded),
}

/// What the log says of a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogState {
    /// Index of the next message.
    pub next: u64,
    /// Messages that are not settled.
    pub live: IndexSet,
    /// How often a message came back; absent = never.
    pub returns: BTreeMap<u64, u32>,
    /// Messages on their way to the dead-letter exchange.
    pub discarding: BTreeMap<u64, DeathReason>,
    /// The queue's settings.
    pub config: QueueConfig,
    /// Which epoch each index is of; empty for a queue that never had mirrors.
    pub history: History,
}

impl LogState {
    /// Applies one command. Indexes that are not live are passed over, so repeats do no harm.
    pub fn apply(&mut self, command: &LogCommand) {
        match command {
            LogCommand::Enqueue { first, picks, .. } => {
                self.live.insert((*first, first + u64::from(picks.len())));
                self.next = first + u64::from(picks.len());
            }
            LogCommand::Settle(ranges) | LogCommand::Purge(ranges) => {
                ranges.iter().for_each(|range| self.forget(*range));
            }
            LogCommand::Discard(ranges, reason, _) => {
                for range in ranges {
                    let live: Vec<Range> = self.live.within(*range).collect();
                    self.discarding
                        .extend(live.into_iter().flat_map(|(a, b)| a..b).map(|index| (index, *reason)));
                }
            }
            LogCommand::Return(ranges) => {
                for range in ranges {
                    for (start, end) in self.live.within(*range).collect::<Vec<_>>() {
                        for index in start..end {
                            let count = self.returns.entry(index).or_default();
                            *count = count.saturating_add(1);
                        }
                    }
                }
            }
            LogCommand::Configure(config) => self.config = (**config).clone(),
            LogCommand::Epochs { history, next } => {
                (self.history, self.next) = (history.clone(), *next);
            }
            LogCommand::Moved(_) | LogCommand::Written(_) => {}
        }
    }

    fn forget(&mut self, range: Range) {
        self.live.remove(range);
        if !self.returns.is_empty() {
            remove_range(&mut self.returns, range);
        }
        if !self.discarding.is_empty() {
            remove_range(&mut self.discarding, range);
        }
    }
}

fn remove_range<V>(map: &mut BTreeMap<u64, V>, (start, end): Range) {
    while let Some((&index, _)) = map.range(start..end).next() {
        map.remove(&index);
    }
}
