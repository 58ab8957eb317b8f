//! The entries in a batch.
//!
//! Invariant: bytes that `write_entry` did not make give an error, never an entry with bytes from
//! outside of its batch.

use super::batch_head::BATCH_HEAD_BYTES;
use super::fields::Fields;
use crate::wal::entry::{Entry, EntryKind};

const RECORD: u8 = 1;
const SNAPSHOT: u8 = 2;
const END: u8 = 3;
/// Set in the kind's second byte where a body follows.
const HAS_BODY: u8 = 1;
/// Kind, flags, length of the head, log.
const FIXED_BYTES: u64 = 16;
/// `covers` and `needs_from`; offset and length of a body.
const PAIR_BYTES: u64 = 16;

/// Where in its batch a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPlace {
    /// From the beginning of the batch.
    pub offset: u64,
    pub length: u64,
}

/// An entry as it lies in a batch.
#[derive(Clone, Copy, Debug)]
pub struct RawEntry<'a> {
    pub log: u64,
    pub kind: EntryKind,
    pub head: &'a [u8],
    pub body: Option<(BodyPlace, &'a [u8])>,
}

/// Bytes that `write_entry` takes for `entry`.
pub fn entry_bytes(entry: &Entry) -> u64 {
    let snapshot = matches!(entry.kind, EntryKind::Snapshot { .. });
    let pairs = u64::from(snapshot) + u64::from(entry.body.is_some());
    FIXED_BYTES + pairs * PAIR_BYTES + entry.head.len() as u64
}

/// Appends an entry; `body` is where its body will be.
pub fn write_entry(out: &mut Vec<u8>, entry: &Entry, body: Option<BodyPlace>) {
    let kind = match entry.kind {
        EntryKind::Record => RECORD,
        EntryKind::Snapshot { .. } => SNAPSHOT,
        EntryKind::End => END,
    };
    out.push(kind);
    out.push(if body.is_some() { HAS_BODY } else { 0 });
    out.extend_from_slice(&(entry.head.len() as u64).to_le_bytes()[..6]);
    out.extend_from_slice(&entry.log.to_le_bytes());
    if let EntryKind::Snapshot { covers, needs_from } = entry.kind {
        out.extend_from_slice(&covers.to_le_bytes());
        out.extend_from_slice(&needs_from.unwrap_or(0).to_le_bytes());
    }
    if let Some(place) = body {
        out.extend_from_slice(&place.offset.to_le_bytes());
        out.extend_from_slice(&place.length.to_le_bytes());
    }
    out.extend_from_slice(&entry.head);
}

/// The entries of a batch, one after the other.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    batch: &'a [u8],
    fields: Fields<'a>,
    left: u32,
}

impl<'a> Entries<'a> {
    /// The `count` entries of `batch`, which begins with its head.
    pub fn new(batch: &'a [u8], count: u32) -> Self {
        Self { batch, fields: Fields::starting_at(batch, BATCH_HEAD_BYTES), left: count }
    }

    fn read(&mut self) -> Option<RawEntry<'a>> {
        let word = self.fields.u64()?;
        let [kind, flags, ..] = word.to_le_bytes();
        let head_length = usize::try_from(word >> 16).ok()?;
        let log = self.fields.u64()?;
        let kind = match kind {
            RECORD => EntryKind::Record,
            SNAPSHOT => {
                let covers = self.fields.u64()?;
                let needs_from = Some(self.fields.u64()?).filter(|from| *from > 0);
                EntryKind::Snapshot { covers, needs_from }
            }
            END => EntryKind::End,
            _ => return None,
        };
        let body = match flags {
            0 => None,
            HAS_BODY => Some(self.body()?),
            _ => return None,
        };
        Some(RawEntry { log, kind, head: self.fields.run(head_length)?, body })
    }

    fn body(&mut self) -> Option<(BodyPlace, &'a [u8])> {
        let place = BodyPlace { offset: self.fields.u64()?, length: self.fields.u64()? };
        let end = usize::try_from(place.offset.checked_add(place.length)?).ok()?;
        let start = usize::try_from(place.offset).ok().filter(|start| *start >= BATCH_HEAD_BYTES)?;
        Some((place, self.batch.get(start..end)?))
    }
}

/// `Err` once, where the bytes are no entry; nothing after it.
impl<'a> Iterator for Entries<'a> {
    type Item = Result<RawEntry<'a>, ()>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.read().ok_or(());
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}
