//! Files made ahead of need: written through with zeros, so that a sync has only data to write.
//!
//! Invariant: a file handed out bears its final name, durably, and is written through. What went wrong
//! with the disk is told to the log's thread, which tells everybody else.

use super::config::WalConfig;
use super::intake::Intake;
use super::ledger::FileInUse;
use super::names::{FileName, Role};
use super::prewrite::prewrite;
use crate::disk::{Disk, DiskFile, OpenMode};
use parking_lot::{Condvar, Mutex};
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

/// The stock of files, shared by the log's thread and the thread that fills it.
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    config: WalConfig,
    intake: Arc<Intake>,
    stock: Mutex<Stock>,
    changed: Condvar,
}

struct Stock {
    ready: Option<ReadyFile>,
    spares: Vec<Spare>,
    /// More files should be made ahead.
    wanted: bool,
    /// The log's thread waits for a file of at least so many bytes.
    needed: Option<u64>,
    released: VecDeque<FileInUse>,
    next_number: u64,
    /// Size of the next file that is made.
    next_length: u64,
    retry_at: Option<Instant>,
    stalled: bool,
    news: VecDeque<News>,
    stopping: bool,
}

/// What the filling thread does next.
enum Job {
    Recycle(FileInUse),
    /// Takes the name of the ready file back: a larger one must come first.
    PutBack(ReadyFile),
    Promote(Spare),
    Make(u64),
    Wait(Option<Instant>),
    End,
}

impl Spares {
    pub fn new(
        disk: Arc<dyn Disk>,
        config: WalConfig,
        intake: Arc<Intake>,
        spares: Vec<Spare>,
        next_number: u64,
    ) -> Self {
        let stock = Stock {
            ready: None,
            spares,
            wanted: false,
            needed: None,
            released: VecDeque::new(),
            next_number,
            next_length: config.first_file_bytes,
            retry_at: None,
            stalled: false,
            news: VecDeque::new(),
            stopping: false,
        };
        Self { disk, config, intake, stock: Mutex::new(stock), changed: Condvar::new() }
    }

    /// Makes one file ready on the caller's thread, unless there is no room for it.
    pub fn prime(&self) -> Result<(), String> {
        self.stock.lock().needed = Some(0);
        while self.stock.lock().ready.is_none() {
            let job = self.stock.lock().next_job(Instant::now());
            if matches!(job, Job::Wait(_) | Job::End) {
                break;
            }
            self.run(job)?;
        }
        let mut stock = self.stock.lock();
        stock.needed = None;
        stock.wanted = stock.ready.is_none();
        Ok(())
    }

    /// The next file, if one of at least `least` bytes is ready; it is asked for otherwise.
    pub fn take(&self, least: u64) -> Option<ReadyFile> {
        let mut stock = self.stock.lock();
        let fits = stock.ready.as_ref().is_some_and(|ready| ready.length >= least);
        stock.needed = (!fits).then_some(least);
        let ready = if fits { stock.ready.take() } else { None };
        self.changed.notify_one();
        ready
    }

    /// Asks for files to be made ahead.
    pub fn want(&self) {
        self.stock.lock().wanted = true;
        self.changed.notify_one();
    }

    /// Files that nobody needs any more, and that no restart will look for.
    pub fn release(&self, files: Vec<FileInUse>) {
        self.stock.lock().released.extend(files);
        self.changed.notify_one();
    }

    pub fn next_news(&self) -> Option<News> {
        self.stock.lock().news.pop_front()
    }

    /// Whether there was no room for a file when one was last made.
    pub fn has_no_room(&self) -> bool {
        self.stock.lock().retry_at.is_some()
    }

    pub fn count(&self) -> u64 {
        self.stock.lock().count() as u64
    }

    pub fn stop(&self) {
        self.stock.lock().stopping = true;
        self.changed.notify_one();
    }

    /// The thread that keeps the stock filled.
    pub fn serve(&self) {
        loop {
            let outcome = match self.wait_for_job() {
                Job::End => return,
                job => self.run(job),
            };
            if let Err(why) = outcome {
                self.tell(News::Failed(why));
                return;
            }
        }
    }

    fn wait_for_job(&self) -> Job {
        let mut stock = self.stock.lock();
        loop {
            match stock.next_job(Instant::now()) {
                Job::Wait(None) => self.changed.wait(&mut stock),
                Job::Wait(Some(until)) => {
                    let _ = self.changed.wait_until(&mut stock, until);
                }
                job => return job,
            }
        }
    }

    fn tell(&self, news: News) {
        self.stock.lock().news.push_back(news);
        self.intake.call();
    }

    fn run(&self, job: Job) -> Result<(), String> {
        match job {
            Job::Recycle(file) => self.recycle(file),
            Job::PutBack(ready) => self.put_back(ready)?,
            Job::Promote(spare) => self.promote(spare)?,
            Job::Make(length) => self.make(length)?,
            Job::Wait(_) | Job::End => {}
        }
        Ok(())
    }

    fn path(&self, number: u64, role: Role) -> PathBuf {
        self.config.dir.join(FileName { number, role }.to_string())
    }

    /// A file that stays behind by mistake is found by the next start; so this fails nothing.
    fn recycle(&self, file: FileInUse) {
        let path = self.path(file.generation, Role::Log);
        let keep = file.length == self.config.file_bytes && self.stock.lock().count() < WAL_SPARE_COUNT;
        let outcome = if keep {
            self.disk.rename(&path, &self.path(file.generation, Role::Spare))
        } else {
            self.disk.remove(&path)
        };
        match outcome {
            Ok(()) => {
                let mut stock = self.stock.lock();
                stock.retry_at = None;
                if keep {
                    stock.spares.push(Spare { number: file.generation, length: file.length });
                }
                if stock.count() >= WAL_SPARE_COUNT {
                    stock.room_again();
                }
                drop(stock);
                self.intake.call();
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file of the log that is over stays on disk");
            }
        }
    }

    fn put_back(&self, ready: ReadyFile) -> Result<(), String> {
        let to = self.path(ready.generation, Role::Spare);
        self.disk
            .rename(&ready.path, &to)
            .and_then(|()| self.disk.sync_dir(&self.config.dir))
            .map_err(|error| format!("'{}' cannot be renamed: {error}", ready.path.display()))?;
        self.stock.lock().spares.push(Spare { number: ready.generation, length: ready.length });
        Ok(())
    }

    fn promote(&self, spare: Spare) -> Result<(), String> {
        let generation = self.stock.lock().number();
        let (from, to) = (self.path(spare.number, Role::Spare), self.path(generation, Role::Log));
        let file = self
            .disk
            .rename(&from, &to)
            .and_then(|()| self.disk.sync_dir(&self.config.dir))
            .and_then(|()| self.disk.open(&to, OpenMode::Write))
            .map_err(|error| format!("'{}' cannot be made part of the log: {error}", to.display()))?;
        self.stock.lock().ready = Some(ReadyFile { generation, length: spare.length, path: to, file });
        self.intake.call();
        Ok(())
    }

    fn make(&self, length: u64) -> Result<(), String> {
        let number = self.stock.lock().number();
        let new = self.path(number, Role::New);
        let made = prewrite(&*self.disk, &new, length)
            .and_then(|()| self.disk.rename(&new, &self.path(number, Role::Spare)));
        let mut stock = self.stock.lock();
        match made {
            Ok(()) => {
                stock.spares.push(Spare { number, length });
                stock.next_length = (length * 2).min(self.config.file_bytes);
                stock.room_again();
            }
            Err(error) if is_full(&error) => {
                drop(stock);
                // Half a file would take the room that others need.
                let _ = self.disk.remove(&new);
                stock = self.stock.lock();
                stock.no_room(length, &error);
            }
            Err(error) => return Err(format!("'{}' cannot be made: {error}", new.display())),
        }
        drop(stock);
        self.intake.call();
        Ok(())
    }
}

impl Stock {
    fn count(&self) -> usize {
        self.spares.len() + usize::from(self.ready.is_some())
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    fn next_job(&mut self, now: Instant) -> Job {
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

    fn no_room(&mut self, length: u64, error: &io::Error) {
        self.retry_at = Some(Instant::now() + Duration::from_millis(WAL_ROOM_RETRY_MS));
        if !self.stalled && (self.count() <= 1 || self.needed.is_some()) {
            self.stalled = true;
            let why = format!("there is no room for a file of {length} bytes: {error}");
            self.news.push_back(News::Stalled(Some(why)));
        }
    }

    fn room_again(&mut self) {
        self.retry_at = None;
        if std::mem::take(&mut self.stalled) {
            self.news.push_back(News::Stalled(None));
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
