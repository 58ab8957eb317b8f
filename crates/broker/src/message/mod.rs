//! Messages in memory: chunks of records in the form the log keeps them.
//!
//! Invariant: a message is written into a chunk once; queues, outboxes and logs refer to it there.

mod chunk;
mod dead_letter;
mod record;

pub use chunk::{Chunk, ChunkBuilder, Persistence};
pub use dead_letter::{DeadLetter, DeathReason, dead_letter};
pub use record::{RECORD_HEAD_BYTES, Record, RecordHead};
