//! The first bytes of a file.
//!
//! Invariant: `decode` takes exactly what `encode` made. Magic, version and checksum stay where they
//! are in every version, so that a newer file is told from a damaged one.

use super::fields::{Fields, put};
use super::{NUMBER_MAX, VERSION, counts};

pub const FILE_HEAD_BYTES: usize = 128;
const MAGIC: [u8; 8] = *b"LVRT-WAL";
const CHECKSUM_AT: usize = 12;

/// What a file says about itself and about the file before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// Number of the file; never used again in this directory.
    pub generation: u64,
    /// Length of the file in bytes.
    pub length: u64,
    /// Random, repeated in each batch, so that no message body passes for a batch of this file.
    pub salt: u64,
    /// Sequence of the first entry in it.
    pub first_sequence: u64,
    /// Number of the first batch in it.
    pub first_number: u64,
    /// Generation of the oldest file that is still needed.
    pub oldest: u64,
    /// The file before, as far as it counts.
    pub previous: Option<Previous>,
    /// Damage in files of generations below this has been accepted.
    pub accepted_below: u64,
}

/// Where a file's entries end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    pub generation: u64,
    /// Offset behind its last batch.
    pub end: u64,
    /// Checksum of its last batch.
    pub checksum: u32,
}

/// Why bytes are not a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not one at all, or damaged.
    Invalid,
    /// A sound one of another format version.
    Version(u32),
}

impl FileHead {
    pub fn encode(&self) -> [u8; FILE_HEAD_BYTES] {
        let mut bytes = [0; FILE_HEAD_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, VERSION.to_le_bytes());
        put(&mut bytes, 16, self.generation.to_le_bytes());
        put(&mut bytes, 24, self.length.to_le_bytes());
        put(&mut bytes, 32, self.salt.to_le_bytes());
        put(&mut bytes, 40, self.first_sequence.to_le_bytes());
        put(&mut bytes, 48, self.first_number.to_le_bytes());
        put(&mut bytes, 56, self.oldest.to_le_bytes());
        if let Some(previous) = self.previous {
            put(&mut bytes, 64, previous.generation.to_le_bytes());
            put(&mut bytes, 72, previous.end.to_le_bytes());
            put(&mut bytes, 80, previous.checksum.to_le_bytes());
        }
        put(&mut bytes, 88, self.accepted_below.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        put(&mut bytes, CHECKSUM_AT, checksum.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; FILE_HEAD_BYTES]) -> Result<Self, HeadError> {
        let mut blank = *bytes;
        put(&mut blank, CHECKSUM_AT, [0; 4]);
        Self::decode_fields(bytes, crc32c::crc32c(&blank)).unwrap_or(Err(HeadError::Invalid))
    }

    fn decode_fields(bytes: &[u8], checksum: u32) -> Option<Result<Self, HeadError>> {
        let mut fields = Fields::new(bytes);
        let magic = fields.run(8)?;
        let version = fields.u32()?;
        if magic != MAGIC || fields.u32()? != checksum {
            return None;
        }
        if version != VERSION {
            return Some(Err(HeadError::Version(version)));
        }
        let mut head = Self {
            generation: fields.u64()?,
            length: fields.u64()?,
            salt: fields.u64()?,
            first_sequence: fields.u64()?,
            first_number: fields.u64()?,
            oldest: fields.u64()?,
            previous: None,
            accepted_below: 0,
        };
        let previous = Previous { generation: fields.u64()?, end: fields.u64()?, checksum: fields.u32()? };
        head.previous = (previous.generation > 0).then_some(previous);
        fields.run(4)?;
        head.accepted_below = fields.u64()?;
        let counted = [head.generation, head.first_sequence, head.first_number, head.length];
        let others = [previous.generation, previous.end, head.oldest, head.accepted_below];
        let sound = counted.into_iter().all(counts) && others.iter().all(|other| *other <= NUMBER_MAX);
        sound.then_some(Ok(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> FileHead {
        FileHead {
            generation: 3,
            length: 4096,
            salt: 0x1122_3344_5566_7788,
            first_sequence: 11,
            first_number: 5,
            oldest: 2,
            previous: Some(Previous { generation: 2, end: 640, checksum: 77 }),
            accepted_below: 1,
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(FileHead::decode(&head().encode()), Ok(head()));
        let first = FileHead { previous: None, ..head() };
        assert_eq!(FileHead::decode(&first.encode()), Ok(first));
    }

    #[test]
    fn a_flipped_bit_anywhere_makes_it_invalid() {
        for bit in 0..FILE_HEAD_BYTES * 8 {
            let mut bytes = head().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHead::decode(&bytes), Err(HeadError::Invalid), "bit {bit}");
        }
    }

    #[test]
    fn a_sound_head_of_another_version_is_told_from_damage() {
        let mut bytes = head().encode();
        put(&mut bytes, 8, 9_u32.to_le_bytes());
        put(&mut bytes, CHECKSUM_AT, [0; 4]);
        let checksum = crc32c::crc32c(&bytes);
        put(&mut bytes, CHECKSUM_AT, checksum.to_le_bytes());
        assert_eq!(FileHead::decode(&bytes), Err(HeadError::Version(9)));
    }
}
