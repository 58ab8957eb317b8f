//! The head of a batch.
//!
//! Invariant: a head that decodes has its own checksum right; its payload is checked by
//! `payload_checksum`.

use super::fields::{Fields, put};
use super::{ALIGNMENT, NUMBER_MAX, aligned, counts};

pub const BATCH_HEAD_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"LVWB";
/// The checksum covers what follows it.
const COVERED_FROM: usize = 8;

/// What a batch says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    /// Length in bytes, head and padding included; a multiple of `ALIGNMENT`.
    pub length: u64,
    /// Entries in it.
    pub count: u32,
    /// The file it was written for.
    pub generation: u64,
    /// 1, 2, 3 and so on over the life of the directory.
    pub number: u64,
    /// Sequence of its first entry, or of the next one where it has none.
    pub first_sequence: u64,
    /// Generation of the oldest file that is still needed.
    pub oldest: u64,
    /// The file's.
    pub salt: u64,
    /// Checksum in the head of the batch before; of the generation for the first of a file.
    pub previous: u32,
    /// Checksum of all that follows the head.
    pub payload_checksum: u32,
}

impl BatchHead {
    /// The bytes and the checksum in them.
    pub fn encode(&self) -> ([u8; BATCH_HEAD_BYTES], u32) {
        let mut bytes = [0; BATCH_HEAD_BYTES];
        put(&mut bytes, 0, MAGIC);
        let units = u32::try_from(self.length / ALIGNMENT).unwrap_or(u32::MAX);
        put(&mut bytes, 8, units.to_le_bytes());
        put(&mut bytes, 12, self.count.to_le_bytes());
        put(&mut bytes, 16, self.generation.to_le_bytes());
        put(&mut bytes, 24, self.number.to_le_bytes());
        put(&mut bytes, 32, self.first_sequence.to_le_bytes());
        put(&mut bytes, 40, self.oldest.to_le_bytes());
        put(&mut bytes, 48, self.salt.to_le_bytes());
        put(&mut bytes, 56, self.previous.to_le_bytes());
        put(&mut bytes, 60, self.payload_checksum.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[COVERED_FROM..]);
        put(&mut bytes, 4, checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// The head in the first bytes of `bytes` and its checksum, if it is sound.
    pub fn decode(bytes: &[u8]) -> Option<(Self, u32)> {
        let mut fields = Fields::new(bytes.get(..BATCH_HEAD_BYTES)?);
        let magic = fields.run(4)?;
        let checksum = fields.u32()?;
        if magic != MAGIC || checksum != crc32c::crc32c(bytes.get(COVERED_FROM..BATCH_HEAD_BYTES)?) {
            return None;
        }
        let head = Self {
            length: u64::from(fields.u32()?) * ALIGNMENT,
            count: fields.u32()?,
            generation: fields.u64()?,
            number: fields.u64()?,
            first_sequence: fields.u64()?,
            oldest: fields.u64()?,
            salt: fields.u64()?,
            previous: fields.u32()?,
            payload_checksum: fields.u32()?,
        };
        let counted = [head.generation, head.number, head.first_sequence].into_iter().all(counts);
        let sound = counted
            && head.oldest <= NUMBER_MAX
            && head.length >= BATCH_HEAD_BYTES as u64
            && head.length == aligned(head.length);
        sound.then_some((head, checksum))
    }

    /// Whether bytes may be the beginning of a batch for `generation`: quick, for searching.
    pub fn may_begin(bytes: &[u8], generation: u64) -> bool {
        bytes.starts_with(&MAGIC) && bytes.get(16..24) == Some(generation.to_le_bytes().as_slice())
    }

    /// Sequence of the entry behind its last.
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence + u64::from(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_and_no_flipped_bit_is() {
        let head = BatchHead {
            length: 640,
            count: 3,
            generation: 7,
            number: 40,
            first_sequence: 100,
            oldest: 5,
            salt: 0xfeed,
            previous: 8,
            payload_checksum: 9,
        };
        let (bytes, checksum) = head.encode();
        assert_eq!(BatchHead::decode(&bytes), Some((head, checksum)));
        assert!(BatchHead::may_begin(&bytes, 7) && !BatchHead::may_begin(&bytes, 8));
        for bit in 0..BATCH_HEAD_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BatchHead::decode(&bytes), None, "bit {bit}");
        }
    }
}
