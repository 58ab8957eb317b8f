//! The form of block files: a head, then blocks one behind the other, each with a head of its own.
//!
//! Invariant: the first 32 bytes have this form in every version, so that a file of a newer version
//! is known as such. Every byte of a file that is read is under a checksum.

use super::Location;

/// Bytes before the first block.
pub(super) const FILE_HEAD_BYTES: usize = 32;
/// Bytes before a block's own.
pub(super) const BLOCK_HEAD_BYTES: usize = 24;

const FILE_MAGIC: [u8; 8] = *b"LVRTBLKS";
const BLOCK_MAGIC: [u8; 4] = *b"blk\n";
const VERSION: u32 = 1;
const SUFFIX: &str = ".blk";
const NAME_DIGITS: usize = 16;

/// What is wrong with the head of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    Damaged(String),
    Newer(u32),
}

/// The name of a file.
pub(super) fn name(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

/// The number of the file of this name; `None` if the store does not name its files so.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let lower = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() != NAME_DIGITS || !lower {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// The head of a file: magic, version, four zeros, number, four zeros, checksum of all that.
pub(super) fn file_head(number: u64) -> [u8; FILE_HEAD_BYTES] {
    let mut head = [0; FILE_HEAD_BYTES];
    head[..8].copy_from_slice(&FILE_MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[16..24].copy_from_slice(&number.to_le_bytes());
    let sum = crc32c::crc32c(&head[..28]);
    head[28..].copy_from_slice(&sum.to_le_bytes());
    head
}

/// Whether this is the head of the file of that number.
pub(super) fn check_file_head(head: &[u8; FILE_HEAD_BYTES], number: u64) -> Result<(), HeadError> {
    let damaged = |what: String| Err(HeadError::Damaged(what));
    if head[..8] != FILE_MAGIC {
        return damaged("it does not start as a block file does".into());
    }
    let [sum, expected] = [u32_at(head, 28), crc32c::crc32c(&head[..28])];
    if sum != expected {
        return damaged(format!("the checksum of its head is {sum:08x}, it should be {expected:08x}"));
    }
    let version = u32_at(head, 8);
    if version > VERSION {
        return Err(HeadError::Newer(version));
    }
    if version == 0 {
        return damaged("there is no version 0".into());
    }
    let found = u64_at(head, 16);
    if found != number {
        return damaged(format!("it is the file {}", name(found)));
    }
    Ok(())
}

/// The head of a block: magic, length of its bytes, log, its own offset, checksum of that and the
/// bytes. `bytes` are at most 4 GiB less a head.
pub(super) fn block_head(log: u64, offset: u32, bytes: &[u8]) -> [u8; BLOCK_HEAD_BYTES] {
    let mut head = [0; BLOCK_HEAD_BYTES];
    head[..4].copy_from_slice(&BLOCK_MAGIC);
    head[4..8].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    head[8..16].copy_from_slice(&log.to_le_bytes());
    head[16..20].copy_from_slice(&offset.to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&head[..20]), bytes);
    head[20..].copy_from_slice(&sum.to_le_bytes());
    head
}

/// The log whose block has its head at `location`; the text says what is wrong with the head.
pub(super) fn check_block_head(head: &[u8; BLOCK_HEAD_BYTES], location: Location) -> Result<u64, String> {
    if head[..4] != BLOCK_MAGIC {
        return Err("no block starts there".into());
    }
    let (length, offset) = (u32_at(head, 4), u32_at(head, 16));
    if offset != location.offset {
        return Err(format!("the block there was written for offset {offset}"));
    }
    if u64::from(length) + BLOCK_HEAD_BYTES as u64 != u64::from(location.length) {
        let asked = location.length;
        return Err(format!(
            "the block there has {length} bytes after its head, {asked} with it were asked for"
        ));
    }
    Ok(u64_at(head, 8))
}

/// Whether the bytes behind a head are those that were put; the text says what is wrong.
pub(super) fn check_block(head: &[u8; BLOCK_HEAD_BYTES], bytes: &[u8]) -> Result<(), String> {
    let expected = u32_at(head, 20);
    let sum = crc32c::crc32c_append(crc32c::crc32c(&head[..20]), bytes);
    if sum == expected {
        return Ok(());
    }
    Err(format!("the checksum of the block there is {sum:08x}, it should be {expected:08x}"))
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_store_s_own_names_are_numbers() {
        assert_eq!(number(&name(0x1f)), Some(0x1f));
        assert_eq!(number(&name(u64::MAX)), Some(u64::MAX));
        for foreign in [
            "1.blk",
            "000000000000001F.blk",
            "+00000000000001f.blk",
            "000000000000001f",
            "000000000000001f.blk.old",
        ] {
            assert_eq!(number(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut head = file_head(7);
        assert_eq!(check_file_head(&head, 7), Ok(()));
        assert!(matches!(check_file_head(&head, 8), Err(HeadError::Damaged(_))));
        head[8] = 2;
        assert!(
            matches!(check_file_head(&head, 7), Err(HeadError::Damaged(_))),
            "a flipped bit is no version"
        );
        let sum = crc32c::crc32c(&head[..28]);
        head[28..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(check_file_head(&head, 7), Err(HeadError::Newer(2)));
    }
}
