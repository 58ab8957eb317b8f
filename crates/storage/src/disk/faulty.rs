//! A disk that fails when a test wants it to.
//!
//! Invariant: an operation that is not told to fail does what the disk below does. One that fails
//! may have been done in part: a failing write leaves half of its bytes, or as many as there is room.

use super::{Disk, DiskFile, OpenMode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Operations that a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// All of them; `remove` and `free_bytes` are of no other kind.
    Any,
    /// `write_at` and `set_len`.
    Write,
    /// `sync` and `sync_dir`.
    Sync,
    /// `create_dir`, `rename` and opening a new file.
    Create,
    /// `read_at`, `len`, `list` and opening an existing file.
    Read,
}

const KINDS: usize = 5;

/// Another disk with faults that can be set while it is in use, for tests.
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    faults: Arc<Faults>,
    spaces: Mutex<HashMap<PathBuf, Arc<Space>>>,
}

#[derive(Default)]
struct Faults(Mutex<Settings>);

#[derive(Default)]
struct Settings {
    /// Operations so far, by kind.
    counts: [u64; KINDS],
    rules: Vec<Rule>,
    read_only: bool,
    sync_delay: Duration,
    /// Bytes that can still be written where nothing was written before.
    room: Option<u64>,
}

struct Rule {
    kind: FaultKind,
    /// Operations of that kind that still work.
    left: u64,
    goes_on: bool,
}

/// What a file takes up; it gives that back when it is removed and no longer open.
struct Space {
    /// End of what was written. Zeros that `set_len` added take up nothing until they are written.
    end: AtomicU64,
    removed: AtomicU64,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    /// `inner`, without faults so far.
    pub fn new(inner: Arc<dyn Disk>) -> FaultyDisk {
        FaultyDisk { inner, faults: Arc::default(), spaces: Mutex::default() }
    }

    /// The `nth` operation of this kind from now on fails (1 is the next), those after it work.
    pub fn fail_at(&self, kind: FaultKind, nth: u64) {
        let rule = Rule { kind, left: nth.saturating_sub(1), goes_on: false };
        self.faults.0.lock().rules.push(rule);
    }

    /// The `nth` operation of this kind from now on fails (1 is the next), and all that follow.
    pub fn fail_from(&self, kind: FaultKind, nth: u64) {
        let rule = Rule { kind, left: nth.saturating_sub(1), goes_on: true };
        self.faults.0.lock().rules.push(rule);
    }

    /// Takes back all that was set. Counts stay.
    pub fn heal(&self) {
        let mut settings = self.faults.0.lock();
        let counts = settings.counts;
        *settings = Settings { counts, ..Settings::default() };
    }

    /// Room for so many bytes more, `StorageFull` beyond; `None`: the room of the disk below.
    ///
    /// What was written once can be written again without room. Removing a file and closing it, or
    /// cutting it, gives its room back.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.faults.0.lock().room = bytes;
    }

    /// Room that is left, as set by [`FaultyDisk::set_room`].
    pub fn room(&self) -> Option<u64> {
        self.faults.0.lock().room
    }

    /// Whether everything but reading fails with `ReadOnlyFilesystem`.
    pub fn set_read_only(&self, read_only: bool) {
        self.faults.0.lock().read_only = read_only;
    }

    /// Makes each sync take so much longer.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.faults.0.lock().sync_delay = delay;
    }

    /// Operations of this kind so far, failed ones included.
    pub fn operations(&self, kind: FaultKind) -> u64 {
        self.faults.0.lock().counts[kind as usize]
    }

    fn space(&self, path: &Path, file: &Arc<dyn DiskFile>) -> io::Result<Arc<Space>> {
        let mut spaces = self.spaces.lock();
        if let Some(space) = spaces.get(path) {
            return Ok(space.clone());
        }
        let space = Arc::new(Space {
            end: AtomicU64::new(file.len()?),
            removed: AtomicU64::new(0),
            faults: self.faults.clone(),
        });
        spaces.insert(path.to_path_buf(), space.clone());
        Ok(space)
    }

    /// The file at `path` is gone: its space comes back once nobody has it open.
    fn give_back(&self, path: &Path) {
        if let Some(space) = self.spaces.lock().remove(path) {
            space.removed.store(1, Ordering::Relaxed);
        }
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.begin(FaultKind::Create)?;
        self.inner.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.faults.begin(FaultKind::Read)?;
        self.inner.list(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::Create {
            self.faults.begin(FaultKind::Create)?;
            if self.room() == Some(0) {
                return Err(io::ErrorKind::StorageFull.into());
            }
        } else {
            self.faults.begin(FaultKind::Read)?;
        }
        let file = self.inner.open(path, mode)?;
        let space = self.space(path, &file)?;
        Ok(Arc::new(FaultyFile { file, space }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.begin(FaultKind::Create)?;
        self.inner.rename(from, to)?;
        self.give_back(to);
        let mut spaces = self.spaces.lock();
        if let Some(space) = spaces.remove(from) {
            spaces.insert(to.to_path_buf(), space);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.begin(FaultKind::Any)?;
        if let Ok(file) = self.inner.open(path, OpenMode::Read) {
            self.space(path, &file)?;
        }
        self.inner.remove(path)?;
        self.give_back(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.faults.begin_sync()?;
        self.inner.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.faults.begin(FaultKind::Any)?;
        let free = self.inner.free_bytes(dir)?;
        Ok(self.room().map_or(free, |room| room.min(free)))
    }
}

impl Faults {
    /// Counts an operation and says whether it may be done.
    fn begin(&self, kind: FaultKind) -> io::Result<()> {
        let mut settings = self.0.lock();
        settings.counts[FaultKind::Any as usize] += 1;
        if kind != FaultKind::Any {
            settings.counts[kind as usize] += 1;
        }
        let mut fails = false;
        settings.rules.retain_mut(|rule| {
            if rule.kind != FaultKind::Any && rule.kind != kind {
                return true;
            }
            let hit = rule.left == 0;
            rule.left = rule.left.saturating_sub(1);
            fails |= hit;
            !hit || rule.goes_on
        });
        if fails {
            return Err(io::Error::other("a fault that was set for this disk"));
        }
        if settings.read_only && kind != FaultKind::Read {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }

    fn begin_sync(&self) -> io::Result<()> {
        let delay = self.0.lock().sync_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        self.begin(FaultKind::Sync)
    }
}

impl Space {
    /// Takes room for a file that is written up to `end`; gives the end up to which there is room.
    fn grow(&self, end: u64) -> u64 {
        let mut settings = self.faults.0.lock();
        let old = self.end.load(Ordering::Relaxed);
        let mut new = end.max(old);
        if let Some(room) = &mut settings.room {
            new = new.min(old.saturating_add(*room));
            *room -= new - old;
        }
        self.end.store(new, Ordering::Relaxed);
        new
    }

    fn cut(&self, length: u64) {
        let mut settings = self.faults.0.lock();
        let old = self.end.load(Ordering::Relaxed);
        if length < old {
            self.end.store(length, Ordering::Relaxed);
            if let Some(room) = &mut settings.room {
                *room += old - length;
            }
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if *self.removed.get_mut() == 1
            && let Some(room) = &mut self.faults.0.lock().room
        {
            *room += *self.end.get_mut();
        }
    }
}

struct FaultyFile {
    file: Arc<dyn DiskFile>,
    space: Arc<Space>,
}

impl FaultyFile {
    /// Writes the first `length` bytes of `parts`, what a failing write leaves behind.
    fn write_front(&self, offset: u64, parts: &[IoSlice<'_>], length: usize) -> io::Result<()> {
        let front: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).take(length).collect();
        self.file.write_at(offset, &[IoSlice::new(&front)])
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.space.faults.begin(FaultKind::Read)?;
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.space.faults.begin(FaultKind::Read)?;
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let end = offset.saturating_add(length as u64);
        if let Err(error) = self.space.faults.begin(FaultKind::Write) {
            if error.kind() != io::ErrorKind::ReadOnlyFilesystem {
                let room = self.space.grow(offset.saturating_add(length as u64 / 2)).saturating_sub(offset);
                self.write_front(offset, parts, (length / 2).min(room as usize))?;
            }
            return Err(error);
        }
        let room = self.space.grow(end);
        if room < end {
            self.write_front(offset, parts, room.saturating_sub(offset) as usize)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_at(offset, parts)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.space.faults.begin(FaultKind::Write)?;
        self.file.set_len(length)?;
        self.space.cut(length);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.space.faults.begin_sync()?;
        self.file.sync()
    }
}
