//! Where a block is stored.
//!
//! Invariant: no two blocks of a store ever have the same location while either is needed.

/// A block's place in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Number of the file.
    pub file: u64,
    /// Where in the file the block's head starts, in bytes.
    pub offset: u32,
    /// Bytes of the block with its head.
    pub length: u32,
}

impl Location {
    /// Length of the encoded form.
    pub const ENCODED_BYTES: usize = 16;

    /// The form in which logs keep it: file, offset and length, little-endian.
    pub fn encode(&self) -> [u8; Location::ENCODED_BYTES] {
        let mut bytes = [0; Location::ENCODED_BYTES];
        bytes[..8].copy_from_slice(&self.file.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.offset.to_le_bytes());
        bytes[12..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// What [`Location::encode`] gave. Any 16 bytes are some location.
    pub fn decode(bytes: &[u8; Location::ENCODED_BYTES]) -> Location {
        let value = u128::from_le_bytes(*bytes);
        Location { file: value as u64, offset: (value >> 64) as u32, length: (value >> 96) as u32 }
    }

    /// Where in the file the block ends.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }
}
