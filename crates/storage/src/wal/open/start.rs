//! From a directory that was understood to a log that runs.
//!
//! Invariant: what was replayed is durable before anything is built on it: the process before this one
//! may have ended, or have had its sync fail, with the last batch only in memory of the system.

use super::{OpenWal, Tail};
use crate::disk::{Disk, OpenMode};
use crate::wal::Wal;
use crate::wal::intake::Intake;
use crate::wal::names::{FileName, Role};
use crate::wal::sink::WalSink;
use crate::wal::spares::Spares;
use crate::wal::stats::Counters;
use crate::wal::stock::Spare;
use crate::wal::writer::{Writer, WriterParts};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use types::limits::WAL_SPARE_COUNT;

impl OpenWal {
    /// Makes what was replayed durable, tidies the directory, makes the first file and starts the
    /// log's threads.
    ///
    /// # Errors
    /// What the disk answers, with the file and what was tried. Too little room for the first file is
    /// no error: the log starts stalled.
    pub fn start(self, sink: Arc<dyn WalSink>) -> io::Result<Arc<Wal>> {
        if let Some(tail) = &self.tail {
            rewrite(&*self.disk, tail).map_err(|error| told(&tail.path, "written to", &error))?;
        }
        let dir = &self.config.dir;
        for dir in [Some(dir.as_path()), dir.parent()].into_iter().flatten() {
            if !dir.as_os_str().is_empty() {
                self.disk.sync_dir(dir).map_err(|error| told(dir, "synced", &error))?;
            }
        }
        let spares = self.tidy()?;
        let OpenWal { disk, config, needs, ledger, position, next_file, .. } = self;
        let lazy = Duration::from_millis(config.lazy_ms);
        let intake = Arc::new(Intake::new(position.next_sequence - 1, lazy, config.lazy_bytes));
        let counters = Arc::new(Counters::default());
        let spares = Arc::new(Spares::new(disk, config.clone(), intake.clone(), spares, next_file));
        spares.prime().map_err(io::Error::other)?;
        let parts = WriterParts {
            config,
            intake: intake.clone(),
            spares: spares.clone(),
            counters: counters.clone(),
            sink,
            needs,
            ledger,
            position,
        };
        let writer = Writer::new(parts);
        let filler = spares.clone();
        let files = named("leveret-wal-files").spawn(move || filler.serve())?;
        let log = match named("leveret-wal").spawn(move || writer.run()) {
            Ok(log) => log,
            Err(error) => {
                spares.stop();
                return Err(error);
            }
        };
        Ok(Arc::new(Wal::new(intake, spares, counters, vec![log, files])))
    }

    /// Keeps files of full size that are not part of the log as spares and removes the others.
    fn tidy(&self) -> io::Result<Vec<Spare>> {
        let mut spares: Vec<Spare> = Vec::new();
        for left in &self.leftovers {
            let name = left.name;
            let path = self.config.dir.join(name.to_string());
            let spare = FileName { number: name.number, role: Role::Spare };
            let taken = spares.iter().any(|spare| spare.number == name.number);
            let keep = left.length == self.config.file_bytes && spares.len() < WAL_SPARE_COUNT && !taken;
            if !keep {
                self.disk.remove(&path).map_err(|error| told(&path, "removed", &error))?;
                continue;
            }
            if name != spare {
                let to = self.config.dir.join(spare.to_string());
                self.disk.rename(&path, &to).map_err(|error| told(&path, "renamed", &error))?;
            }
            spares.push(Spare { number: name.number, length: left.length });
        }
        Ok(spares)
    }
}

/// Writes the last batch again, as it is, and syncs it. A sync alone is not enough: after one that
/// failed, the system may hold bytes that are not on disk and take them for written.
fn rewrite(disk: &dyn Disk, tail: &Tail) -> io::Result<()> {
    let file = disk.open(&tail.path, OpenMode::Write)?;
    if let Some(head) = tail.head {
        file.write_at(0, &[IoSlice::new(&head.encode())])?;
    }
    if let Some((offset, length)) = tail.batch {
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?];
        file.read_at(offset, &mut bytes)?;
        file.write_at(offset, &[IoSlice::new(&bytes)])?;
    }
    file.sync()
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

fn told(path: &Path, tried: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("'{}' cannot be {tried}: {error}", path.display()))
}
