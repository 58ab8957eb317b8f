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
/// No sequence, generation, batch number or offset is ever as large; larger ones are damage. Leaves
/// room to count on without overflow.
pub(super) const NUMBER_MAX: u64 = u64::MAX >> 2;
/// Batches begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 64;

/// The next multiple of `ALIGNMENT`.
pub(super) const fn aligned(length: u64) -> u64 {
    length.next_multiple_of(ALIGNMENT)
}

/// Whether `number` is one that a log counts: from 1 on.
pub(super) fn counts(number: u64) -> bool {
    (1..=NUMBER_MAX).contains(&number)
}

/// What the first batch of a file names as the checksum of the batch before.
pub(super) fn chain_seed(generation: u64) -> u32 {
    crc32c::crc32c(&generation.to_le_bytes())
}
