//! A store of blocks: the bulk bytes of queues that left memory, many logs in the same files.
//!
//! Invariant: a block that was told to be stored is read back exactly as it was put, or reading it
//! says what is wrong; bytes that do not match their checksum never come out. In a durable store that
//! holds after a crash for every block whose log adopts it again. Files are only ever written by the
//! process that made them, and a file in which nobody needs anything is removed.
//! The form of the files is drawn in `docs/internals/blocks.md`.

mod config;
mod error;
mod files;
mod format;
mod location;
mod open;
mod reader;
mod reserve;
mod round;
mod store;
mod sweep;
mod writer;

pub use config::BlockConfig;
pub use error::{BlockError, ReadError};
pub use location::Location;
pub use open::OpenBlocks;
pub use store::{BlockStats, BlockStore};

use std::io;

/// Appends a block's bytes to the buffer, at most
/// [`BLOCK_SIZE_MAX_BYTES`](types::limits::BLOCK_SIZE_MAX_BYTES) and at least one. What the buffer
/// already holds belongs to other blocks. Runs on the writer thread.
pub type Fill = Box<dyn FnOnce(&mut Vec<u8>) + Send>;
/// Hears where a block is stored, or why it is not. Runs on the writer thread.
pub type Stored = Box<dyn FnOnce(io::Result<Location>) + Send>;
/// Hears the bytes of a block, exactly as they were put. Runs on the reader thread.
pub type Loaded = Box<dyn FnOnce(Result<Vec<u8>, ReadError>) + Send>;

/// Whom a store tells what it needs; called on the writer thread, without a lock held.
pub trait BlockSink: Send + Sync {
    /// These blocks of a log sit in files that are mostly free; their owner is to put again what it
    /// still needs of them and free each. Each block is asked for once; some may be freed already.
    fn relocate(&self, log: u64, blocks: Vec<Location>);
    /// `Some(why)`: there is no room on the disk, puts wait or live on what is held in reserve.
    /// `None`: it goes on, the reserve is there again.
    fn stalled(&self, why: Option<&str>);
    /// A sync failed on a durable store: nothing is stored any more. Called once.
    fn failed(&self, why: &str);
}
