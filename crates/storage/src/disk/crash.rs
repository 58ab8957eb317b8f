//! A disk in memory whose machine can lose power or whose process can be killed.
//!
//! Invariant: a power cut leaves what was synced, and of everything since then any part: each write
//! is there, missing or torn between sectors of 512 bytes, each change of a length and each file that
//! was created, renamed or removed is so or is not. The same seed and the same operations leave the
//! same. Directories themselves are kept from the moment they are made.

mod content;
mod random;

use super::{Disk, DiskFile, OpenMode};
use content::Content;
use parking_lot::Mutex;
use random::Random;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system in memory, for tests. Clones are handles to the same one.
///
/// [`CrashDisk::crash`] and [`CrashDisk::kill`] give the disk as the next process finds it; from then
/// on the old one and the files opened on it only fail, so that threads of the dead process can
/// change nothing.
#[derive(Clone)]
pub struct CrashDisk(Arc<Mutex<Machine>>);

type Inode = Arc<Mutex<Content>>;
type Entries = BTreeMap<String, Inode>;

struct Machine {
    random: Random,
    /// False from the moment of the power cut or the kill.
    runs: bool,
    /// Operations until the power goes by itself.
    left: Option<u64>,
    operations: u64,
    free_bytes: u64,
    dirs: BTreeMap<PathBuf, Dir>,
}

#[derive(Clone, Default)]
struct Dir {
    synced: Entries,
    now: Entries,
    since: Vec<Change>,
}

/// A change of a directory that was not synced.
#[derive(Clone)]
enum Change {
    Create(String, Inode),
    Rename(String, String, Inode),
    Remove(String, Inode),
}

impl CrashDisk {
    /// An empty disk; `seed` decides what its crashes leave. It says that 1 TiB is free.
    pub fn new(seed: u64) -> CrashDisk {
        CrashDisk::with(Machine {
            random: Random::new(seed),
            runs: true,
            left: None,
            operations: 0,
            free_bytes: 1 << 40,
            dirs: BTreeMap::new(),
        })
    }

    fn with(machine: Machine) -> CrashDisk {
        CrashDisk(Arc::new(Mutex::new(machine)))
    }

    /// Cuts the power now, or takes the moment that [`CrashDisk::cut_after`] set, and gives the disk
    /// that the machine finds when it is switched on again.
    #[must_use = "the disk itself is dead"]
    pub fn crash(&self) -> CrashDisk {
        let mut dead = self.0.lock();
        dead.runs = false;
        let mut random = Random::new(dead.random.next());
        let dirs = dead.dirs.iter().map(|(path, dir)| (path.clone(), dir.after_cut(&mut random))).collect();
        CrashDisk::with(Machine {
            random,
            runs: true,
            left: None,
            operations: 0,
            free_bytes: dead.free_bytes,
            dirs,
        })
    }

    /// Kills the process: all that it wrote is there for the next one, though a later power cut can
    /// still take what was not synced.
    #[must_use = "the disk itself is dead"]
    pub fn kill(&self) -> CrashDisk {
        let mut dead = self.0.lock();
        dead.runs = false;
        CrashDisk::with(Machine {
            random: Random::new(dead.random.next()),
            runs: true,
            left: None,
            operations: 0,
            free_bytes: dead.free_bytes,
            dirs: dead.dirs.clone(),
        })
    }

    /// Lets the power go by itself: the next `operations` work, then one is begun and every one
    /// fails. [`CrashDisk::crash`] then gives what is left.
    pub fn cut_after(&self, operations: u64) {
        self.0.lock().left = Some(operations);
    }

    /// Operations so far, those on open files included.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Sets what [`Disk::free_bytes`] says. Writing does not lower it and is not held back by it.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.0.lock().free_bytes = bytes;
    }

    /// Bytes in all files, for tests that look at how much space is used.
    pub fn used_bytes(&self) -> u64 {
        let machine = self.0.lock();
        machine.dirs.values().flat_map(|dir| dir.now.values()).map(|file| file.lock().len()).sum()
    }

    /// Runs one operation, unless the machine is dead. The one during which the power goes is done,
    /// but nobody hears of it.
    fn operate<T>(&self, what: impl FnOnce(&mut Machine) -> io::Result<T>) -> io::Result<T> {
        let mut machine = self.0.lock();
        if !machine.runs {
            return Err(dead());
        }
        machine.operations += 1;
        if let Some(left) = &mut machine.left {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => machine.runs = false,
            }
        }
        let outcome = what(&mut machine);
        if machine.runs { outcome } else { Err(dead()) }
    }
}

impl Disk for CrashDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.operate(|machine| {
            for path in dir.ancestors() {
                machine.dirs.entry(path.to_path_buf()).or_default();
            }
            Ok(())
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.operate(|machine| Ok(machine.dir(dir)?.now.keys().cloned().collect()))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.operate(|machine| {
            let (dir, name) = machine.entry(path)?;
            match (dir.now.get(&name), mode) {
                (Some(_), OpenMode::Create) => Err(io::ErrorKind::AlreadyExists.into()),
                (Some(content), _) => Ok(content.clone()),
                (None, OpenMode::Create) => {
                    let content = Inode::default();
                    dir.change(Change::Create(name, content.clone()));
                    Ok(content)
                }
                (None, _) => Err(io::ErrorKind::NotFound.into()),
            }
        })?;
        Ok(Arc::new(CrashFile { disk: self.clone(), content, writable: mode != OpenMode::Read }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate(|machine| {
            if from.parent() != to.parent() {
                return Err(io::ErrorKind::CrossesDevices.into());
            }
            let (_, new) = machine.entry(to)?;
            let (dir, old) = machine.entry(from)?;
            let content = dir.now.get(&old).ok_or(io::ErrorKind::NotFound)?.clone();
            dir.change(Change::Rename(old, new, content));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate(|machine| {
            let (dir, name) = machine.entry(path)?;
            let content = dir.now.get(&name).ok_or(io::ErrorKind::NotFound)?.clone();
            dir.change(Change::Remove(name, content));
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operate(|machine| {
            let runs = machine.runs;
            let dir = machine.dir(dir)?;
            if runs {
                dir.synced = dir.now.clone();
                dir.since.clear();
            }
            Ok(())
        })
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        self.operate(|machine| Ok(machine.free_bytes))
    }
}

impl Machine {
    fn dir(&mut self, path: &Path) -> io::Result<&mut Dir> {
        self.dirs.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn entry(&mut self, path: &Path) -> io::Result<(&mut Dir, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.dir(parent)?, name.to_owned()))
    }
}

impl Dir {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.since.push(change);
    }

    fn after_cut(&self, random: &mut Random) -> Dir {
        let mut entries = self.synced.clone();
        for change in &self.since {
            if random.below(2) == 0 {
                change.apply(&mut entries);
            }
        }
        for content in entries.values_mut() {
            let left = content.lock().after_cut(random);
            *content = Arc::new(Mutex::new(left));
        }
        Dir { synced: entries.clone(), now: entries, since: Vec::new() }
    }
}

impl Change {
    fn apply(&self, entries: &mut Entries) {
        let forget = |entries: &mut Entries, name: &String, content: &Inode| {
            // The entry may be an older file of that name, when the change before was lost.
            if entries.get(name).is_some_and(|there| Arc::ptr_eq(there, content)) {
                entries.remove(name);
            }
        };
        match self {
            Change::Create(name, content) => {
                entries.insert(name.clone(), content.clone());
            }
            Change::Rename(from, to, content) => {
                forget(entries, from, content);
                entries.insert(to.clone(), content.clone());
            }
            Change::Remove(name, content) => forget(entries, name, content),
        }
    }
}

struct CrashFile {
    disk: CrashDisk,
    content: Inode,
    writable: bool,
}

impl CrashFile {
    fn write(&self, what: impl FnOnce(&mut Content) -> io::Result<()>) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.operate(|_| what(&mut self.content.lock()))
    }
}

impl DiskFile for CrashFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.operate(|_| Ok(self.content.lock().len()))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.operate(|_| self.content.lock().read_at(offset, buffer))
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.write(|content| content.write_at(offset, parts))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.write(|content| content.set_len(length))
    }

    fn sync(&self) -> io::Result<()> {
        // The power that goes during a sync leaves what chance leaves.
        self.disk.operate(|machine| {
            if machine.runs {
                self.content.lock().sync();
            }
            Ok(())
        })
    }
}

fn dead() -> io::Error {
    io::Error::other("the machine of this disk is dead")
}
