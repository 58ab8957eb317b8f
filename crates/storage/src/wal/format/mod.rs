//! The log's bytes: a file's head, a batch's head, the entries in a batch. Drawn in
//! docs/internals/wal.md.
//!
//! Invariant: nothing here reads outside of the bytes it was given, whatever they are.

pub(super) mod batch_head;
pub(super) mod entries;
pub(super) mod fields;
pub(super) mod file_head;

pub(super) use batch_head::BatchHead;
pub(super) use entries::Entries;
pub(super) use file_head::{FileHead, HeadError};

/// The format this build writes, and the only one it reads.
pub(super) const VERSION: u32 = 1;
/// Batches begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 64;

/// The next multiple of `ALIGNMENT`.
pub(super) const fn aligned(length: u64) -> u64 {
    length.next_multiple_of(ALIGNMENT)
}

/// What the first batch of a file names as the checksum of the batch before.
pub(super) fn chain_seed(generation: u64) -> u32 {
    crc32c::crc32c(&generation.to_le_bytes())
}
