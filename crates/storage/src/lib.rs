//! What the broker keeps on disk: a shared write-ahead log and a store of blocks.
//!
//! This crate knows logs by number, records and blocks as bytes; what they mean is the engine's.
//! Invariant: whoever was told that something is committed or stored finds it after a crash.

pub mod blocks;
pub mod disk;
mod lock;
mod open_error;
pub mod wal;

pub use blocks::{
    BlockConfig, BlockError, BlockSink, BlockStats, BlockStore, Fill, Loaded, Location, OpenBlocks,
    ReadError, Stored,
};
pub use disk::{CrashDisk, Disk, DiskFile, FaultKind, FaultyDisk, OpenMode, RealDisk};
pub use lock::DirLock;
pub use open_error::OpenError;
pub use wal::Wal;
