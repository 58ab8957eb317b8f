//! Files made ahead of need: written through with zeros, so that a sync has only data to write.
//!
//! Invariant: a file handed out bears its final name, durably, and is written through. What went wrong
//! with the disk is told to the log's thread, which tells everybody else.

use super::config::WalConfig;
use super::intake::Intake;
use super::ledger::FileInUse;
use super::names::{FileName, Role};
use super::prewrite::prewrite;
use super::stock::{Job, News, ReadyFile, Spare, Stock};
use crate::disk::is_out_of_room;
use crate::disk::{Disk, OpenMode};
use parking_lot::{Condvar, Mutex};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use types::limits::WAL_SPARE_COUNT;

/// The stock of files, shared by the log's thread and the thread that fills it.
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    config: WalConfig,
    intake: Arc<Intake>,
    stock: Mutex<Stock>,
    changed: Condvar,
}

impl Spares {
    pub fn new(
        disk: Arc<dyn Disk>,
        config: WalConfig,
        intake: Arc<Intake>,
        spares: Vec<Spare>,
        next_number: u64,
    ) -> Self {
        let stock = Stock::new(spares, next_number, config.first_file_bytes);
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
        let work = std::panic::AssertUnwindSafe(|| self.work());
        let worked = std::panic::catch_unwind(work)
            .unwrap_or_else(|_| Err("the thread that makes the log's files came upon a fault".to_owned()));
        if let Err(why) = worked {
            self.tell(News::Failed(why));
        }
    }

    fn work(&self) -> Result<(), String> {
        loop {
            match self.wait_for_job() {
                Job::End => return Ok(()),
                job => self.run(job)?,
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
        let goes_on = || !self.stock.lock().stopping;
        let made = prewrite(&*self.disk, &new, length, goes_on).and_then(|complete| {
            if complete {
                self.disk.rename(&new, &self.path(number, Role::Spare))?;
            }
            Ok(complete)
        });
        let mut stock = self.stock.lock();
        match made {
            Ok(false) => return Ok(()),
            Ok(true) => {
                stock.spares.push(Spare { number, length });
                stock.next_length = (length * 2).min(self.config.file_bytes);
                stock.room_again();
            }
            Err(error) if is_out_of_room(&error) => {
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
