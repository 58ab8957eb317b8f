//! Sealed records: what a stream between nodes is cut into.
//!
//! A record is the length of its plaintext (u32, little endian), the ciphertext and a tag of 16 bytes. The
//! length is authenticated with it; the nonce is the record's number in its direction and is not sent.
//!
//! Invariant: a record opens only at its own place in its own stream, so nothing can be changed, left out,
//! sent twice or put in another order. After a fixed number of records both sides go on with a key made of
//! the last one.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use types::limits::{LINK_RECORD_MAX_BYTES, LINK_REKEY_RECORD_COUNT};

/// Bytes before a record's ciphertext.
pub(crate) const HEAD_BYTES: usize = 4;
/// Bytes after it.
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes that a record adds to its plaintext.
pub(crate) const OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;

const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;

/// A record cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordError {
    /// Its length is none that a record can have.
    Length(usize),
    /// It was changed, is of another stream, or is not the next one.
    Seal,
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecordError::Length(length) => {
                write!(f, "a record says it has {length} bytes: 1 to {LINK_RECORD_MAX_BYTES} are possible")
            }
            RecordError::Seal => f.write_str("a record does not open: it was changed or is out of order"),
        }
    }
}

impl From<RecordError> for std::io::Error {
    fn from(error: RecordError) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string())
    }
}

struct Okm;

impl KeyType for Okm {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

/// The key of one direction, and the number of the next record.
struct Ratchet {
    key: LessSafeKey,
    bytes: [u8; KEY_BYTES],
    next: u64,
    rekey_after: u64,
}

impl Ratchet {
    fn new(bytes: [u8; KEY_BYTES]) -> Result<Ratchet, RecordError> {
        Ok(Ratchet { key: key(&bytes)?, bytes, next: 0, rekey_after: LINK_REKEY_RECORD_COUNT })
    }

    /// The nonce of the next record, and the key for it.
    fn turn(&mut self) -> Result<(Nonce, &LessSafeKey), RecordError> {
        if self.next != 0 && self.next.is_multiple_of(self.rekey_after) {
            let mut next = [0; KEY_BYTES];
            let derived = Prk::new_less_safe(HKDF_SHA256, &self.bytes);
            let info = [b"leveret next key".as_slice()];
            let filled = derived.expand(&info, Okm).and_then(|okm| okm.fill(&mut next));
            filled.map_err(|_| RecordError::Seal)?;
            self.key = key(&next)?;
            self.bytes = next;
        }
        let mut nonce = [0; NONCE_BYTES];
        nonce[NONCE_BYTES - 8..].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        Ok((Nonce::assume_unique_for_key(nonce), &self.key))
    }
}

fn key(bytes: &[u8; KEY_BYTES]) -> Result<LessSafeKey, RecordError> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| RecordError::Seal)
}

/// Seals the records of one direction.
pub(crate) struct Sealer(Ratchet);

/// Opens the records of one direction.
pub(crate) struct Opener(Ratchet);

impl Sealer {
    /// Starts at record 0 with a key that no other sealer has.
    pub(crate) fn new(key: [u8; KEY_BYTES]) -> Result<Sealer, RecordError> {
        Ratchet::new(key).map(Sealer)
    }

    /// Writes the next record of `plain` to the start of `into`; the number of bytes written.
    pub(crate) fn seal(&mut self, plain: &[u8], into: &mut [u8]) -> Result<usize, RecordError> {
        let length = plain.len();
        let total = length + OVERHEAD_BYTES;
        if length == 0 || length > LINK_RECORD_MAX_BYTES || into.len() < total {
            return Err(RecordError::Length(length));
        }
        let head = (length as u32).to_le_bytes();
        let (into_head, rest) = into.split_at_mut(HEAD_BYTES);
        into_head.copy_from_slice(&head);
        let (cipher, rest) = rest.split_at_mut(length);
        let (nonce, key) = self.0.turn()?;
        key.seal_out_of_place_scatter(nonce, Aad::from(head), plain, cipher, &[], &mut rest[..TAG_BYTES])
            .map_err(|_| RecordError::Seal)?;
        Ok(total)
    }
}

/// A record that has come as a whole.
pub(crate) struct Record<'a> {
    head: [u8; HEAD_BYTES],
    cipher: &'a [u8],
    tag: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the start of `bytes`; None when not all of it is there.
    pub(crate) fn first(bytes: &'a [u8]) -> Result<Option<Record<'a>>, RecordError> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length == 0 || length > LINK_RECORD_MAX_BYTES {
            return Err(RecordError::Length(length));
        }
        let Some((cipher, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        let Some((tag, _)) = rest.split_at_checked(TAG_BYTES) else { return Ok(None) };
        Ok(Some(Record { head: *head, cipher, tag }))
    }

    /// Bytes of its plaintext.
    pub(crate) fn plain_bytes(&self) -> usize {
        self.cipher.len()
    }

    /// Bytes of the whole record.
    pub(crate) fn bytes(&self) -> usize {
        self.cipher.len() + OVERHEAD_BYTES
    }
}

impl Opener {
    /// Starts at record 0.
    pub(crate) fn new(key: [u8; KEY_BYTES]) -> Result<Opener, RecordError> {
        Ratchet::new(key).map(Opener)
    }

    /// Opens the next record into `plain`, which has exactly its size. After an error the stream is over.
    pub(crate) fn open(&mut self, record: &Record<'_>, plain: &mut [u8]) -> Result<(), RecordError> {
        let (nonce, key) = self.0.turn()?;
        key.open_separate_gather(nonce, Aad::from(record.head), record.cipher, record.tag, plain)
            .map_err(|_| RecordError::Seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sealer, Opener) {
        (Sealer::new([7; 32]).unwrap(), Opener::new([7; 32]).unwrap())
    }

    fn sealed(sealer: &mut Sealer, plain: &[u8]) -> Vec<u8> {
        let mut record = vec![0; plain.len() + OVERHEAD_BYTES];
        assert_eq!(sealer.seal(plain, &mut record), Ok(record.len()));
        record
    }

    fn opened(opener: &mut Opener, bytes: &[u8]) -> Result<Vec<u8>, RecordError> {
        let record = Record::first(bytes)?.expect("a whole record");
        let mut plain = vec![0; record.plain_bytes()];
        opener.open(&record, &mut plain)?;
        Ok(plain)
    }

    #[test]
    fn records_open_in_their_order_and_in_no_other() {
        let (mut sealer, mut opener) = pair();
        let records: Vec<Vec<u8>> = (0..3u8).map(|at| sealed(&mut sealer, &[at; 100])).collect();
        assert_eq!(opened(&mut opener, &records[0]), Ok(vec![0; 100]));
        assert_eq!(opened(&mut opener, &records[1]), Ok(vec![1; 100]));
        assert_eq!(opened(&mut pair().1, &records[1]), Err(RecordError::Seal), "one is left out");
        assert_eq!(opened(&mut opener, &records[1]), Err(RecordError::Seal), "sent twice");
        let mut other = Opener::new([8; 32]).unwrap();
        assert_eq!(opened(&mut other, &records[0]), Err(RecordError::Seal), "another key");
    }

    #[test]
    fn no_bit_of_a_record_can_be_changed() {
        let record = sealed(&mut pair().0, b"twenty bytes of text");
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut changed = record.clone();
                changed[at] ^= 1 << bit;
                // A longer length than came is a record that is never whole.
                let never_whole = matches!(Record::first(&changed), Ok(None) | Err(_));
                assert!(never_whole || opened(&mut pair().1, &changed).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn version_1_looks_like_this_for_ever() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut sealer = pair().0;
        assert_eq!(hex(&sealed(&mut sealer, b"frame")), "0500000007aac5df9eaedb00f4b41e5be563cdc72245192c65");
        assert_eq!(hex(&sealed(&mut sealer, b"frame")), "05000000563ad80d515226632845975d6d08e1cac024728897");
        // The first record after a new key.
        sealer.0.next = LINK_REKEY_RECORD_COUNT;
        assert_eq!(hex(&sealed(&mut sealer, b"frame")), "050000002f1241a5e0246af6cdf06afc4fc1fd1341b2c75bb8");
    }

    #[test]
    fn lengths_are_checked() {
        for length in [0, LINK_RECORD_MAX_BYTES as u32 + 1, u32::MAX] {
            let mut bytes = vec![0; 64];
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            assert!(matches!(Record::first(&bytes), Err(RecordError::Length(_))), "{length}");
        }
        let (mut sealer, mut opener) = pair();
        let largest = vec![3; LINK_RECORD_MAX_BYTES];
        let record = sealed(&mut sealer, &largest);
        assert!(matches!(Record::first(&record[..record.len() - 1]), Ok(None)));
        assert_eq!(opened(&mut opener, &record), Ok(largest));
        assert!(sealer.seal(&[], &mut [0; 64]).is_err());
        assert!(sealer.seal(&[1; 64], &mut [0; 64]).is_err());
    }

    #[test]
    fn keys_change_at_the_same_record_on_both_sides() {
        let (mut sealer, mut opener) = pair();
        (sealer.0.rekey_after, opener.0.rekey_after) = (4, 4);
        let mut keys = std::collections::BTreeSet::new();
        for at in 0..20u8 {
            let record = sealed(&mut sealer, &[at; 10]);
            assert_eq!(opened(&mut opener, &record), Ok(vec![at; 10]));
            keys.insert(sealer.0.bytes);
        }
        assert_eq!(keys.len(), 5);
    }
}
