//! Puts the files in order and replays them.
//!
//! Invariant: every entry is replayed that a sync covered and that some log still needs, in order, or
//! the opening fails.

use super::damage::Damages;
use super::survey::{Leftover, LogFile, Survey, open, survey};
use super::walk::{Known, Walk, Walked};
use super::{OpenWal, Tail};
use crate::disk::Disk;
use crate::open_error::OpenError;
use crate::wal::config::WalConfig;
use crate::wal::current::Position;
use crate::wal::entry::Sequence;
use crate::wal::format::file_head::{FILE_HEAD_BYTES, Previous};
use crate::wal::format::{BatchHead, Entries, FileHead};
use crate::wal::ledger::{FileInUse, Ledger};
use crate::wal::names::FileName;
use crate::wal::needs::Needs;
use crate::wal::replay::{Replay, ReplayedBody, ReplayedEntry};
use std::sync::Arc;

/// Opens the directory and replays what is in it.
pub(in crate::wal) fn recover(
    disk: Arc<dyn Disk>,
    config: WalConfig,
    replay: &mut dyn Replay,
) -> Result<OpenWal, OpenError> {
    config.check().map_err(OpenError::Config)?;
    disk.create_dir(&config.dir).map_err(|error| OpenError::disk(&config.dir, "created", error))?;
    let Survey { files, leftovers, highest_number, highest_past } = survey(&*disk, &config.dir)?;
    let accepted_below = files.iter().filter_map(|file| file.head).map(|head| head.accepted_below).max();
    let mut recovery = Recovery {
        disk: &*disk,
        config: &config,
        damages: Damages::new(config.accept_damage, accepted_below.unwrap_or(0)),
        leftovers,
        needs: Needs::default(),
        ledger: Ledger::default(),
        next: None,
        previous: None,
        tail: None,
        body_base: 0,
    };
    let chain = recovery.chain(files, highest_past)?;
    for (index, file) in chain.iter().enumerate() {
        recovery.replay_file(file, chain.get(index + 1), replay)?;
    }
    let Recovery { damages, leftovers, needs, ledger, next, previous, tail, .. } = recovery;
    let (next_sequence, next_number) = next.unwrap_or((1, 1));
    let newest = previous.map_or(0, |previous| previous.generation);
    let accepted_below = if damages.list.is_empty() { accepted_below.unwrap_or(0) } else { newest + 1 };
    Ok(OpenWal {
        needs,
        ledger,
        position: Position { next_sequence, next_number, previous, accepted_below },
        leftovers,
        next_file: highest_number + 1,
        tail,
        damage: damages.list,
        disk,
        config,
    })
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    config: &'a WalConfig,
    damages: Damages,
    leftovers: Vec<Leftover>,
    needs: Needs,
    ledger: Ledger,
    /// Sequence and batch number that come next.
    next: Option<(Sequence, u64)>,
    /// The file that was replayed last.
    previous: Option<Previous>,
    tail: Option<Tail>,
    /// Makes the ids of bodies differ between batches.
    body_base: u64,
}

impl Recovery<'_> {
    /// The files to be replayed, in order. All others become leftovers.
    fn chain(&mut self, files: Vec<LogFile>, highest_past: u64) -> Result<Vec<LogFile>, OpenError> {
        let mut begun = Vec::new();
        for file in files {
            if file.head.is_some() || self.first_batch(&file)?.is_some() {
                begun.push(file);
            } else {
                self.leave(&file);
            }
        }
        let oldest = self.oldest(&begun)?;
        let newest = begun.last().map_or(0, |file| file.generation);
        if highest_past > newest {
            let path = self.config.dir.join(FileName::log(highest_past + 1).to_string());
            let what = format!(
                "a spare file was once part of the log, as number {highest_past:016x}; a newer file must \
                 follow it, and there is none"
            );
            self.damages.pass(&path, highest_past, 0, what)?;
        }
        let Some(oldest) = oldest else { return Ok(begun) };
        let (over, chain): (Vec<_>, Vec<_>) = begun.into_iter().partition(|file| file.generation < oldest);
        over.iter().for_each(|file| self.leave(file));
        if chain.first().is_none_or(|file| file.generation != oldest) {
            let path = self.config.dir.join(FileName::log(oldest).to_string());
            let what = "the file is missing, and the newest entries say that it is still needed".to_owned();
            self.damages.pass(&path, oldest, 0, what)?;
        }
        Ok(chain)
    }

    fn leave(&mut self, file: &LogFile) {
        self.leftovers.push(Leftover { name: FileName::log(file.generation), length: file.length });
    }

    fn walk<'f>(&self, file: &'f LogFile, known: Known) -> Result<Walk<'f>, OpenError> {
        Ok(Walk { path: &file.path, window: open(self.disk, &file.path)?, known })
    }

    /// The first batch of a file that has no head.
    fn first_batch(&self, file: &LogFile) -> Result<Option<BatchHead>, OpenError> {
        let known = Known { generation: file.generation, salt: None, end: None, next: None };
        let mut walk = self.walk(file, known)?;
        match walk.find(0, None)? {
            Some(at) => walk.head_at(at),
            None => Ok(None),
        }
    }

    /// What the file's own head or its first batch tells about it.
    fn known(&self, file: &LogFile) -> Result<Known, OpenError> {
        let own = match file.head {
            Some(head) => Some((head.salt, head.first_sequence, head.first_number)),
            None => self.first_batch(file)?.map(|head| (head.salt, head.first_sequence, head.number)),
        };
        Ok(Known {
            generation: file.generation,
            salt: own.map(|(salt, ..)| salt),
            end: None,
            next: own.map(|(_, sequence, number)| (sequence, number)),
        })
    }

    /// Generation of the oldest file still needed, from the newest batch.
    fn oldest(&self, begun: &[LogFile]) -> Result<Option<u64>, OpenError> {
        for file in begun.iter().rev() {
            let walked =
                self.walk(file, self.known(file)?)?.run(&mut Damages::quiet(), &mut |_, _, _| Ok(()))?;
            if let Some((_, head)) = walked.last {
                return Ok(Some(head.oldest));
            }
        }
        // No batch at all: the first file ever, or all that were before it are missing.
        let first = begun.first().and_then(|file| file.head);
        Ok(first.map(|head| head.previous.map_or(head.generation, |previous| previous.generation)))
    }

    fn replay_file(
        &mut self,
        file: &LogFile,
        next: Option<&LogFile>,
        replay: &mut dyn Replay,
    ) -> Result<(), OpenError> {
        self.check_head(file)?;
        let mut known = self.known(file)?;
        known.end = next
            .and_then(|next| next.head?.previous)
            .filter(|previous| previous.generation == file.generation);
        if self.next.is_some() && self.next != known.next {
            let what = "its first entry does not follow the last of the file before".to_owned();
            self.damages.pass(&file.path, file.generation, 0, what)?;
            // Entries that were replayed already are not replayed again.
            known.next = known.next.max(self.next);
        }
        let mut walk = self.walk(file, known)?;
        let (needs, base) = (&mut self.needs, &mut self.body_base);
        let mut on_batch = |at: u64, head: &BatchHead, bytes: &[u8]| {
            let handed = replay_batch(head, bytes, *base, needs, replay);
            *base += 2 * head.length;
            handed.map_err(|why| OpenError::NotUnderstood { path: file.path.clone(), offset: at, why })
        };
        let walked = walk.run(&mut self.damages, &mut on_batch)?;
        if walked.torn {
            tracing::info!(
                path = %file.path.display(),
                offset = walked.end,
                "the last batch of the log was not written completely; the log is cut there"
            );
        }
        self.finish_file(file, next.is_none(), &walked)
    }

    /// A head that is damaged, does not continue the file before, or promises more than is there.
    fn check_head(&mut self, file: &LogFile) -> Result<(), OpenError> {
        let Some(head) = file.head else { return Ok(()) };
        if file.length < head.length {
            let what = format!("the file is shorter than the {} bytes it had", head.length);
            self.damages.pass(&file.path, file.generation, file.length, what)?;
        }
        let (Some(named), Some(found)) = (head.previous, self.previous) else { return Ok(()) };
        if named.generation == found.generation {
            return Ok(());
        }
        let missing = named.generation.max(found.generation);
        let path = self.config.dir.join(FileName::log(missing).to_string());
        let what = if missing == named.generation {
            format!("the file must come before '{}', and is not there", file.path.display())
        } else {
            format!("the file holds entries, and '{}' does not come after it", file.path.display())
        };
        self.damages.pass(&path, missing, 0, what)
    }

    fn finish_file(&mut self, file: &LogFile, is_last: bool, walked: &Walked) -> Result<(), OpenError> {
        let head = match (file.head, walked.last) {
            (Some(head), _) => Some(head),
            (None, Some((_, batch))) => {
                // The first write to the file may have been torn so that only its head is missing.
                let torn = is_last && walked.batches == 1 && !walked.damaged;
                if !torn || walked.end != FILE_HEAD_BYTES as u64 + batch.length {
                    let what = "the head of the file is damaged".to_owned();
                    self.damages.pass(&file.path, file.generation, 0, what)?;
                }
                Some(self.head_for(file, &batch))
            }
            (None, None) => None,
        };
        self.next = walked.next.or(self.next);
        let last_sequence = self.next.map_or(0, |(sequence, _)| sequence.saturating_sub(1));
        self.ledger.push(FileInUse { generation: file.generation, length: file.length, last_sequence });
        self.tail = Some(Tail {
            path: file.path.clone(),
            head: head.filter(|_| walked.batches <= 1),
            batch: walked.last.map(|(at, head)| (at, head.length)),
        });
        self.previous =
            Some(Previous { generation: file.generation, end: walked.end, checksum: walked.checksum });
        Ok(())
    }

    /// The head that a file must have had.
    fn head_for(&self, file: &LogFile, batch: &BatchHead) -> FileHead {
        FileHead {
            generation: file.generation,
            length: file.length,
            salt: batch.salt,
            first_sequence: batch.first_sequence,
            first_number: batch.number,
            oldest: batch.oldest,
            previous: self.previous,
            accepted_below: 0,
        }
    }
}

/// Hands the entries of a batch on.
fn replay_batch(
    head: &BatchHead,
    bytes: &[u8],
    base: u64,
    needs: &mut Needs,
    replay: &mut dyn Replay,
) -> Result<(), String> {
    for (entry, sequence) in Entries::new(bytes, head.count).zip(head.first_sequence..) {
        let Ok(entry) = entry else { return Err("an entry cannot be read".to_owned()) };
        needs.apply(sequence, entry.log, entry.kind);
        let body = entry.body.map(|(place, bytes)| ReplayedBody {
            // An empty body may lie where another one begins.
            id: base + 2 * place.offset + u64::from(place.length == 0),
            bytes,
        });
        replay.entry(ReplayedEntry { sequence, log: entry.log, kind: entry.kind, head: entry.head, body })?;
    }
    Ok(())
}
