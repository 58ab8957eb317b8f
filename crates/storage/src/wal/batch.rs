//! A batch in the making: entries that go to disk with one write and one sync.
//!
//! Invariant: `length` is what `encode` gives; a body that several entries share is in it once.

use super::entry::{Body, Entry};
use super::format::batch_head::BATCH_HEAD_BYTES;
use super::format::entries::{BodyPlace, entry_bytes, write_entry};
use super::format::{ALIGNMENT, BatchHead, aligned};
use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;

/// Bodies up to this are copied together: handing the system many small pieces costs more.
const COPY_MAX_BYTES: usize = 4 * 1024;
const ZEROS: [u8; ALIGNMENT as usize] = [0; ALIGNMENT as usize];

/// An entry that waits to be written.
#[derive(Debug)]
pub(super) struct Pending {
    pub entry: Entry,
    pub urgent: bool,
}

/// Where a body will be, counted from the beginning of its part of the batch.
#[derive(Clone, Copy, Debug)]
enum Place {
    None,
    Copied(u64),
    Lent(u64),
}

/// Entries and the plan of their bytes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub entries: Vec<Pending>,
    places: Vec<Place>,
    /// Address and lengths of a body, and the first entry that has it.
    bodies: HashMap<(usize, usize, usize), usize>,
    /// Entries whose bodies are written from where they are.
    lent: Vec<usize>,
    /// Entries whose bodies are copied.
    copied: Vec<usize>,
    entries_bytes: u64,
    copied_bytes: u64,
    lent_bytes: u64,
    small: Vec<u8>,
}

/// What the head of a batch says beside what the batch knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchFacts {
    pub generation: u64,
    pub number: u64,
    pub first_sequence: u64,
    pub oldest: u64,
    pub salt: u64,
    pub previous: u32,
}

impl Batch {
    /// Forgets its entries.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.places.clear();
        self.bodies.clear();
        self.lent.clear();
        self.copied.clear();
        (self.entries_bytes, self.copied_bytes, self.lent_bytes) = (0, 0, 0);
        self.small.clear();
        // One large batch must not hold its memory for ever.
        self.small.shrink_to(1024 * 1024);
        self.entries.shrink_to(16 * 1024);
    }

    /// Takes entries from the front of `queue` while the batch stays within `room` and, from the second
    /// on, within `limit`. `Err` is the length the first one needs where it does not fit.
    pub fn fill(&mut self, queue: &mut VecDeque<Pending>, room: u64, limit: u64) -> Result<(), u64> {
        while let Some(next) = queue.front() {
            let shared = self.shared(&next.entry);
            let body = next.entry.body.as_ref().map_or(0, Body::len) as u64;
            let more = entry_bytes(&next.entry) + if shared.is_some() { 0 } else { body };
            let length = self.unpadded() + more;
            if aligned(length) > room {
                return if self.entries.is_empty() { Err(aligned(length)) } else { Ok(()) };
            }
            if !self.entries.is_empty() && length > limit {
                return Ok(());
            }
            if let Some(next) = queue.pop_front() {
                self.add(next, shared);
            }
        }
        Ok(())
    }

    /// Length on disk in bytes.
    pub fn length(&self) -> u64 {
        aligned(self.unpadded())
    }

    fn unpadded(&self) -> u64 {
        BATCH_HEAD_BYTES as u64 + self.entries_bytes + self.copied_bytes + self.lent_bytes
    }

    /// Where the body of `entry` is, if an entry before it has the same.
    fn shared(&self, entry: &Entry) -> Option<Place> {
        let body = entry.body.as_ref()?;
        let index = *self.bodies.get(&key(body))?;
        let other = self.entries.get(index)?.entry.body.as_ref()?;
        if other.trailer != body.trailer {
            return None;
        }
        self.places.get(index).copied()
    }

    fn add(&mut self, next: Pending, shared: Option<Place>) {
        let index = self.entries.len();
        self.entries_bytes += entry_bytes(&next.entry);
        let place = match (&next.entry.body, shared) {
            (_, Some(place)) => place,
            (None, None) => Place::None,
            (Some(body), None) => {
                self.bodies.insert(key(body), index);
                let length = body.len();
                if length <= COPY_MAX_BYTES {
                    self.copied.push(index);
                    self.copied_bytes += length as u64;
                    Place::Copied(self.copied_bytes - length as u64)
                } else {
                    self.lent.push(index);
                    self.lent_bytes += length as u64;
                    Place::Lent(self.lent_bytes - length as u64)
                }
            }
        };
        self.places.push(place);
        self.entries.push(next);
    }

    /// The batch's head, the head's checksum, and the parts that follow it on disk.
    pub fn encode(&mut self, facts: BatchFacts) -> ([u8; BATCH_HEAD_BYTES], u32, Vec<IoSlice<'_>>) {
        let copied_from = BATCH_HEAD_BYTES as u64 + self.entries_bytes;
        let lent_from = copied_from + self.copied_bytes;
        for (pending, place) in self.entries.iter().zip(&self.places) {
            let length = pending.entry.body.as_ref().map_or(0, Body::len) as u64;
            let place = match place {
                Place::None => None,
                Place::Copied(at) => Some(BodyPlace { offset: copied_from + at, length }),
                Place::Lent(at) => Some(BodyPlace { offset: lent_from + at, length }),
            };
            write_entry(&mut self.small, &pending.entry, place);
        }
        let body = |index: &usize| self.entries.get(*index).and_then(|pending| pending.entry.body.as_ref());
        for body in self.copied.iter().filter_map(body) {
            self.small.extend_from_slice(body.data());
            self.small.extend_from_slice(&body.trailer);
        }
        let padding = (self.length() - self.unpadded()) as usize;
        let mut parts = Vec::with_capacity(2 + 2 * self.lent.len());
        parts.push(IoSlice::new(&self.small));
        for body in self.lent.iter().filter_map(body) {
            parts.push(IoSlice::new(body.data()));
            parts.push(IoSlice::new(&body.trailer));
        }
        parts.push(IoSlice::new(&ZEROS[..padding]));
        let checksum = parts.iter().fold(0, |so_far, part| crc32c::crc32c_append(so_far, part));
        let head = BatchHead {
            length: self.length(),
            count: u32::try_from(self.entries.len()).unwrap_or(u32::MAX),
            generation: facts.generation,
            number: facts.number,
            first_sequence: facts.first_sequence,
            oldest: facts.oldest,
            salt: facts.salt,
            previous: facts.previous,
            payload_checksum: checksum,
        };
        let (bytes, checksum) = head.encode();
        (bytes, checksum, parts)
    }
}

/// Bytes at the same address with the same length are the same while both are held.
fn key(body: &Body) -> (usize, usize, usize) {
    (body.data().as_ptr().addr(), body.data().len(), body.trailer.len())
}
