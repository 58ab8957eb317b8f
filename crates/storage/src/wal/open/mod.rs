//! Opens a log's directory: finds out what is there, replays it, and hands over to the running log. The
//! decisions are the table in docs/internals/recovery.md.
//!
//! Invariant: opening changes nothing on disk; `start` does, once everything was understood.

mod damage;
mod recover;
mod start;
mod survey;
mod walk;
mod window;

use super::config::WalConfig;
use super::current::Position;
use super::entry::Sequence;
use super::format::FileHead;
use super::ledger::Ledger;
use super::needs::Needs;
use crate::disk::Disk;
use std::path::PathBuf;
use std::sync::Arc;
use survey::Leftover;

pub(super) use recover::recover;

/// A directory that was opened and replayed.
pub struct OpenWal {
    disk: Arc<dyn Disk>,
    config: WalConfig,
    needs: Needs,
    ledger: Ledger,
    position: Position,
    leftovers: Vec<Leftover>,
    /// The number of the next file.
    next_file: u64,
    tail: Option<Tail>,
    damage: Vec<String>,
}

/// The end of what was found: the only part that may not have been synced.
struct Tail {
    path: PathBuf,
    /// To be written again: it stands before the only batch.
    head: Option<FileHead>,
    /// Offset and length of the last batch.
    batch: Option<(u64, u64)>,
}

impl OpenWal {
    /// Sequence that the next entry gets.
    pub fn next_sequence(&self) -> Sequence {
        self.position.next_sequence
    }

    /// What `accept_damage` passed over; empty if nothing is wrong.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }
}
