//! What a block store is told when it is opened.
//!
//! Invariant: the two kinds of store take their defaults from the limits.

use std::path::{Path, PathBuf};
use types::limits;

/// Settings of a block store.
#[derive(Clone, Debug)]
pub struct BlockConfig {
    /// Directory of its files, of which nobody else has any; made if it is not there.
    pub dir: PathBuf,
    /// Whether blocks are synced and found again by the next process. A store that is not durable
    /// is emptied when it is opened.
    pub durable: bool,
    /// Length at which a file is full. A block bigger than that gets a file of its own.
    pub file_bytes: u64,
    /// Bytes that are written, and synced, in one go; one bigger block may exceed it.
    pub round_max_bytes: usize,
    /// Length of the file that is removed to make room when the disk is full; 0: none.
    pub reserve_bytes: u64,
    /// Called by a thread that has done all there was to do, to give its memory back: blocks are made on
    /// one thread and dropped on another.
    pub idle: Option<fn()>,
}

impl BlockConfig {
    /// A store that is synced.
    pub fn durable(dir: &Path) -> BlockConfig {
        BlockConfig {
            dir: dir.to_path_buf(),
            durable: true,
            file_bytes: limits::BLOCK_FILE_BYTES,
            round_max_bytes: limits::BLOCK_ROUND_MAX_BYTES,
            reserve_bytes: limits::BLOCK_RESERVE_BYTES,
            idle: None,
        }
    }

    /// A store that is never synced and is emptied when it is opened.
    pub fn volatile(dir: &Path) -> BlockConfig {
        BlockConfig { durable: false, reserve_bytes: 0, ..BlockConfig::durable(dir) }
    }
}
