//! What there is of files made ahead, and what is to be done about it.
//!
//! Invariant: `next_job` asks for work only while something is missing, and never for more than the
//! spares that are kept.

use super::ledger::FileInUse;
use crate::disk::DiskFile;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::limits::{WAL_FILE_MIN_BYTES, WAL_ROOM_RETRY_MS, WAL_SPARE_COUNT};

/// A file that can become the next part of the log.
pub(super) struct ReadyFile {
    pub generation: u64,
    pub length: u64,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
}

/// What the log's thread must tell others.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Stalled(Option<String>),
    Failed(String),
}

/// A written-through file without a place in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spare {
    pub number: u64,
    pub length: u64,
}

/// The stock.
pub(super) struct Stock {
    pub ready: Option<ReadyFile>,
    pub spares: Vec<Spare>,
    /// More files should be made ahead.
    pub wanted: bool,
    /// The log's thread waits for a file of at least so many bytes.
    pub needed: Option<u64>,
    pub released: VecDeque<FileInUse>,
    pub next_number: u64,
    /// Size of the next file that is made.
    pub next_length: u64,
    pub retry_at: Option<Instant>,
    pub stalled: bool,
    pub news: VecDeque<News>,
    pub stopping: bool,
}

/// What the filling thread does next.
pub(super) enum Job {
    Recycle(FileInUse),
    /// Takes the name of the ready file back: a larger one must come first.
    PutBack(ReadyFile),
    Promote(Spare),
    Make(u64),
    Wait(Option<Instant>),
    End,
}

impl Stock {
    pub fn new(spares: Vec<Spare>, next_number: u64, next_length: u64) -> Self {
        Self {
            ready: None,
            spares,
            wanted: false,
            needed: None,
            released: VecDeque::new(),
            next_number,
            next_length,
            retry_at: None,
            stalled: false,
            news: VecDeque::new(),
            stopping: false,
        }
    }

    pub fn count(&self) -> usize {
        self.spares.len() + usize::from(self.ready.is_some())
    }

    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    pub fn next_job(&mut self, now: Instant) -> Job {
        if self.stopping {
            return Job::End;
        }
        if let Some(file) = self.released.pop_front() {
            return Job::Recycle(file);
        }
        let least = self.needed.unwrap_or(0);
        if let Some(ready) = self.ready.take_if(|ready| ready.length < least) {
            return Job::PutBack(ready);
        }
        let fitting = self.spares.iter().position(|spare| spare.length >= least);
        let uses_one = self.needed.is_some() || self.wanted;
        if let Some(index) = fitting.filter(|_| self.ready.is_none() && uses_one) {
            return Job::Promote(self.spares.remove(index));
        }
        let lacks = self.needed.is_some() && self.ready.is_none();
        let short = self.wanted && self.count() < WAL_SPARE_COUNT;
        if !lacks && !short {
            self.wanted = false;
            return Job::Wait(None);
        }
        match self.retry_at.filter(|at| *at > now) {
            Some(at) => Job::Wait(Some(at)),
            None if lacks => Job::Make(least.next_multiple_of(WAL_FILE_MIN_BYTES).max(self.next_length)),
            None => Job::Make(self.next_length),
        }
    }

    pub fn no_room(&mut self, length: u64, error: &io::Error) {
        self.retry_at = Some(Instant::now() + Duration::from_millis(WAL_ROOM_RETRY_MS));
        if !self.stalled && (self.count() <= 1 || self.needed.is_some()) {
            self.stalled = true;
            let why = format!("there is no room for a file of {length} bytes: {error}");
            self.news.push_back(News::Stalled(Some(why)));
        }
    }

    pub fn room_again(&mut self) {
        self.retry_at = None;
        if std::mem::take(&mut self.stalled) {
            self.news.push_back(News::Stalled(None));
        }
    }
}
