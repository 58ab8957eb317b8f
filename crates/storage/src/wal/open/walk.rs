//! Goes through the batches of one file.
//!
//! Invariant: a batch is handed on only if its checksums are right, it was written for this file, and it
//! follows the one before, or damage in between was passed over.

use super::damage::Damages;
use super::window::{WINDOW_BYTES, Window};
use crate::open_error::OpenError;
use crate::wal::entry::Sequence;
use crate::wal::format::batch_head::BATCH_HEAD_BYTES;
use crate::wal::format::file_head::{FILE_HEAD_BYTES, Previous};
use crate::wal::format::{ALIGNMENT, BatchHead, Entries, chain_seed};
use std::path::Path;

/// Takes a batch: where it begins, its head, its bytes.
pub(super) type OnBatch<'a> = dyn FnMut(u64, &BatchHead, &[u8]) -> Result<(), OpenError> + 'a;

/// What is known about a file before its batches are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub generation: u64,
    /// Of its batches, if its head told.
    pub salt: Option<u64>,
    /// What the head of the next file says about this one.
    pub end: Option<Previous>,
    /// Sequence and number that its first batch must have.
    pub next: Option<(Sequence, u64)>,
}

/// How far the batches go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    /// Offset behind the last batch.
    pub end: u64,
    /// Checksum of the last batch.
    pub checksum: u32,
    /// Sequence and number that come next.
    pub next: Option<(Sequence, u64)>,
    pub batches: u64,
    /// Offset and head of the last batch.
    pub last: Option<(u64, BatchHead)>,
    /// A batch behind the end was not written completely.
    pub torn: bool,
    pub damaged: bool,
}

/// Why what is at an offset does not go on the log.
struct Unfit {
    what: &'static str,
    /// Bytes that cannot hold a batch of their own.
    skip: u64,
    /// It was meant to be a batch of this file.
    begun: bool,
}

/// A file whose batches are read.
pub(super) struct Walk<'a> {
    pub path: &'a Path,
    pub window: Window,
    pub known: Known,
}

impl Walk<'_> {
    /// Hands all batches to `on_batch`.
    pub fn run(&mut self, damages: &mut Damages, on_batch: &mut OnBatch<'_>) -> Result<Walked, OpenError> {
        let mut walked = Walked {
            end: FILE_HEAD_BYTES as u64,
            checksum: chain_seed(self.known.generation),
            next: self.known.next,
            batches: 0,
            last: None,
            torn: false,
            damaged: false,
        };
        let mut after_damage = false;
        while walked.end < self.stop() {
            let at = walked.end;
            match self.follow(&walked, after_damage)? {
                Ok((head, checksum)) => {
                    let bytes = self.batch(at, &head)?;
                    on_batch(at, &head, bytes)?;
                    walked.take(at, head, checksum);
                    after_damage = false;
                }
                Err(unfit) => {
                    let next = self.find(at + unfit.skip, walked.next)?;
                    if next.is_none() && self.known.end.is_none() {
                        walked.torn = unfit.begun;
                        break;
                    }
                    walked.damaged = true;
                    damages.pass(self.path, self.known.generation, at, unfit.what.to_owned())?;
                    let Some(next) = next else { break };
                    (walked.end, after_damage) = (next, true);
                }
            }
        }
        self.compare_end(&mut walked, damages)?;
        Ok(walked)
    }

    /// Offset of the first sound batch from `from` on that comes after what is `next`.
    pub fn find(&mut self, from: u64, next: Option<(Sequence, u64)>) -> Result<Option<u64>, OpenError> {
        let mut at = from.max(FILE_HEAD_BYTES as u64).next_multiple_of(ALIGNMENT);
        let (sequence, number) = next.unwrap_or((0, 0));
        while at + BATCH_HEAD_BYTES as u64 <= self.stop() {
            let length = WINDOW_BYTES.min(self.stop() - at) / ALIGNMENT * ALIGNMENT;
            let generation = self.known.generation;
            let path = self.path;
            let bytes =
                self.window.bytes(at, length).map_err(|error| OpenError::disk(path, "read", error))?;
            let mut units = bytes.unwrap_or_default().chunks_exact(ALIGNMENT as usize);
            let Some(index) = units.position(|unit| BatchHead::may_begin(unit, generation)) else {
                at += length;
                continue;
            };
            at += index as u64 * ALIGNMENT;
            if let Ok((head, _)) = self.sound(at)?
                && head.number >= number
                && head.first_sequence >= sequence
            {
                return Ok(Some(at));
            }
            at += ALIGNMENT;
        }
        Ok(None)
    }

    /// The batch's head at `at`, if the batch is sound and for this file.
    pub fn head_at(&mut self, at: u64) -> Result<Option<BatchHead>, OpenError> {
        Ok(self.sound(at)?.ok().map(|(head, _)| head))
    }

    /// Where batches must end.
    fn stop(&self) -> u64 {
        self.known.end.map_or(self.window.length, |known| known.end.min(self.window.length))
    }

    fn batch(&mut self, at: u64, head: &BatchHead) -> Result<&[u8], OpenError> {
        let path = self.path;
        let bytes = self.window.bytes(at, head.length);
        Ok(bytes.map_err(|error| OpenError::disk(path, "read", error))?.unwrap_or_default())
    }

    /// The batch behind those walked so far.
    fn follow(
        &mut self,
        walked: &Walked,
        after_damage: bool,
    ) -> Result<Result<(BatchHead, u32), Unfit>, OpenError> {
        let (head, checksum) = match self.sound(walked.end)? {
            Ok(sound) => sound,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let unfit = |what| Ok(Err(Unfit { what, skip: 0, begun: true }));
        if after_damage {
            return Ok(Ok((head, checksum)));
        }
        if walked.next.is_some_and(|next| next != (head.first_sequence, head.number)) {
            return unfit("the batch is not the next one: entries before it are missing");
        }
        if head.previous != walked.checksum {
            return unfit("the batch was not written behind the one before it");
        }
        Ok(Ok((head, checksum)))
    }

    /// Checks what does not depend on other batches.
    fn sound(&mut self, at: u64) -> Result<Result<(BatchHead, u32), Unfit>, OpenError> {
        let Known { generation, salt, .. } = self.known;
        let left = self.stop().saturating_sub(at);
        let unfit = |what, skip, begun| Ok(Err(Unfit { what, skip, begun }));
        if left < BATCH_HEAD_BYTES as u64 {
            return unfit("there is no batch where one must be", ALIGNMENT, false);
        }
        let path = self.path;
        let failed = |error| OpenError::disk(path, "read", error);
        let bytes = self.window.bytes(at, BATCH_HEAD_BYTES as u64).map_err(failed)?.unwrap_or_default();
        let Some((head, checksum)) = BatchHead::decode(bytes) else {
            let begun = BatchHead::may_begin(bytes, generation);
            return unfit("the head of the batch is not what was written", ALIGNMENT, begun);
        };
        if head.generation != generation || salt.is_some_and(|salt| salt != head.salt) {
            return unfit("there is a batch of another file", ALIGNMENT, false);
        }
        if head.length > left {
            return unfit("the batch is longer than the file", ALIGNMENT, true);
        }
        let bytes = self.window.bytes(at, head.length).map_err(failed)?.unwrap_or_default();
        let payload = bytes.get(BATCH_HEAD_BYTES..).unwrap_or_default();
        if crc32c::crc32c(payload) != head.payload_checksum {
            return unfit("the batch is not what was written", head.length, true);
        }
        if Entries::new(bytes, head.count).any(|entry| entry.is_err()) {
            return unfit("the entries of the batch make no sense", head.length, true);
        }
        Ok(Ok((head, checksum)))
    }

    /// The batches must end where the next file says they do.
    fn compare_end(&self, walked: &mut Walked, damages: &mut Damages) -> Result<(), OpenError> {
        let Some(known) = self.known.end else { return Ok(()) };
        if walked.damaged || (walked.end, walked.checksum) == (known.end, known.checksum) {
            return Ok(());
        }
        walked.damaged = true;
        let what = if walked.end == known.end {
            "its last batch is not the one that the next file knows".to_owned()
        } else {
            format!("its batches end here; the next file knows that they went on to byte {}", known.end)
        };
        damages.pass(self.path, self.known.generation, walked.end, what)
    }
}

impl Walked {
    fn take(&mut self, at: u64, head: BatchHead, checksum: u32) {
        self.end = at + head.length;
        self.checksum = checksum;
        self.next = Some((head.next_sequence(), head.number + 1));
        self.batches += 1;
        self.last = Some((at, head));
    }
}
