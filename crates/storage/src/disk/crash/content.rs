//! The bytes of one file of a crash disk: what is synced, and what was done since.
//!
//! Invariant: `now` is always `synced` with all of `since` done to it.

use super::random::Random;
use std::io::{self, IoSlice};

/// What a disk writes as one piece.
const SECTOR_BYTES: usize = 512;

/// A change that was not synced.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLength(usize),
}

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    synced: Vec<u8>,
    now: Vec<u8>,
    since: Vec<Change>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.now.len() as u64
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = place(offset)?;
        let from = self.now.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    pub(super) fn write_at(&mut self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        let change = Change::Write { offset: place(offset)?, bytes };
        change.apply(&mut self.now);
        self.since.push(change);
        Ok(())
    }

    pub(super) fn set_len(&mut self, length: u64) -> io::Result<()> {
        let change = Change::SetLength(place(length)?);
        change.apply(&mut self.now);
        self.since.push(change);
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        for change in self.since.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    /// What a power cut leaves: of the changes since the last sync each is there, missing or torn.
    pub(super) fn after_cut(&self, random: &mut Random) -> Content {
        let mut left = self.synced.clone();
        for change in &self.since {
            change.apply_by_chance(&mut left, random);
        }
        Content { synced: left.clone(), now: left, since: Vec::new() }
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => write(to, *offset, bytes),
            Change::SetLength(length) => to.resize(*length, 0),
        }
    }

    fn apply_by_chance(&self, to: &mut Vec<u8>, random: &mut Random) {
        let Change::Write { offset, bytes } = self else {
            if random.below(2) == 0 {
                self.apply(to);
            }
            return;
        };
        match random.below(4) {
            0 => {}
            1 => self.apply(to),
            // A file system may have noted the new length and none or some of the bytes.
            torn => {
                if random.below(2) == 0 && to.len() < offset + bytes.len() {
                    to.resize(offset + bytes.len(), 0);
                }
                let sectors = sectors(*offset, bytes.len());
                let kept_front = random.below(sectors.len() as u64 + 1);
                for (nth, (start, end)) in sectors.into_iter().enumerate() {
                    let kept = if torn == 2 { (nth as u64) < kept_front } else { random.below(2) == 0 };
                    if kept {
                        write(to, offset + start, &bytes[start..end]);
                    }
                }
            }
        }
    }
}

/// The parts of a write of `length` bytes at `offset` that lie in one sector each.
fn sectors(offset: usize, length: usize) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    let mut start = 0;
    while start < length {
        let end = (start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES).min(length);
        parts.push((start, end));
        start = end;
    }
    parts
}

fn write(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
