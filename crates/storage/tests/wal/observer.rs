//! What the tests see of a log: what it replays and what it tells.
//!
//! Invariant: every call of the sink is checked against what a sink is promised.

use parking_lot::{Condvar, Mutex};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::wal::{
    Body, Entry, EntryKind, OpenWal, Replay, ReplayedEntry, Sequence, Wal, WalConfig, WalSink,
};
use storage::{Disk, OpenError};

/// An entry as it was replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub sequence: Sequence,
    pub log: u64,
    pub kind: EntryKind,
    pub head: Vec<u8>,
    pub body: Option<Vec<u8>>,
}

impl Seen {
    /// What `entry` comes back as.
    pub fn of(sequence: Sequence, entry: &Entry) -> Seen {
        let body = entry.body.as_ref().map(|body| [(*body.data).as_ref(), &body.trailer[..]].concat());
        Seen { sequence, log: entry.log, kind: entry.kind, head: entry.head.clone(), body }
    }
}

/// Keeps all that is replayed.
#[derive(Default)]
pub struct Collected {
    pub entries: Vec<Seen>,
    pub body_ids: Vec<Option<u64>>,
}

impl Replay for Collected {
    fn entry(&mut self, entry: ReplayedEntry<'_>) -> Result<(), String> {
        if entry.head == b"not understood" {
            return Err("a record of kind 99".to_owned());
        }
        self.body_ids.push(entry.body.map(|body| body.id));
        self.entries.push(Seen {
            sequence: entry.sequence,
            log: entry.log,
            kind: entry.kind,
            head: entry.head.to_vec(),
            body: entry.body.map(|body| body.bytes.to_vec()),
        });
        Ok(())
    }
}

/// What the log has told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub committed: Sequence,
    pub calls: usize,
    pub urgent: Vec<Vec<u64>>,
    pub checkpoints: Vec<(Sequence, Vec<u64>)>,
    pub failed: Option<String>,
    pub stalls: Vec<bool>,
}

#[derive(Default)]
pub struct Observer {
    told: Mutex<Told>,
    changed: Condvar,
}

impl Observer {
    pub fn told(&self) -> Told {
        self.told.lock().clone()
    }

    /// Waits until what was told is as wanted; panics after ten seconds.
    pub fn wait(&self, what: impl Fn(&Told) -> bool) -> Told {
        let end = Instant::now() + Duration::from_secs(10);
        let mut told = self.told.lock();
        while !what(&told) {
            assert!(!self.changed.wait_until(&mut told, end).timed_out(), "waited too long: {told:?}");
        }
        told.clone()
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        what(&mut self.told.lock());
        self.changed.notify_all();
    }
}

impl WalSink for Observer {
    fn committed(&self, up_to: Sequence, logs: &[u64]) {
        self.tell(|told| {
            assert!(told.failed.is_none(), "committed {up_to} after a failure");
            assert!(up_to > told.committed, "committed {up_to} after {}", told.committed);
            let mut once = logs.to_vec();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), logs.len(), "a log twice: {logs:?}");
            told.committed = up_to;
            told.calls += 1;
            told.urgent.push(logs.to_vec());
        });
    }

    fn checkpoint(&self, up_to: Sequence, logs: Vec<u64>) {
        self.tell(|told| {
            assert!(told.checkpoints.iter().all(|(asked, _)| *asked < up_to), "asked twice: {up_to}");
            told.checkpoints.push((up_to, logs));
        });
    }

    fn failed(&self, why: &str) {
        self.tell(|told| {
            assert!(told.failed.is_none(), "failed twice");
            told.failed = Some(why.to_owned());
        });
    }

    fn stalled(&self, why: Option<&str>) {
        self.tell(|told| told.stalls.push(why.is_some()));
    }
}

/// A configuration with files so small that they are used up all the time.
pub fn tiny() -> WalConfig {
    let mut config = WalConfig::new(PathBuf::from("/data/wal"));
    config.first_file_bytes = 4096;
    config.file_bytes = 16 * 1024;
    config.budget_bytes = 64 * 1024;
    config.batch_max_bytes = 4096;
    config.lazy_ms = 1;
    config
}

pub fn open(disk: &Arc<dyn Disk>, config: &WalConfig) -> Result<(OpenWal, Collected), OpenError> {
    let mut collected = Collected::default();
    let opened = Wal::open(disk.clone(), config.clone(), &mut collected)?;
    Ok((opened, collected))
}

/// Opens and starts a log that must be sound.
pub fn start(disk: &Arc<dyn Disk>, config: &WalConfig) -> (Arc<Wal>, Arc<Observer>, Collected) {
    let (opened, collected) = open(disk, config).unwrap();
    assert_eq!(opened.damage(), &[] as &[String]);
    let observer = Arc::new(Observer::default());
    (opened.start(observer.clone()).unwrap(), observer, collected)
}

pub fn record(log: u64, head: &[u8]) -> Entry {
    Entry { log, kind: EntryKind::Record, head: head.to_vec(), body: None }
}

pub fn snapshot(log: u64, covers: Sequence, needs_from: Option<Sequence>) -> Entry {
    let kind = EntryKind::Snapshot { covers, needs_from };
    Entry { log, kind, head: b"state".to_vec(), body: None }
}

pub fn end(log: u64) -> Entry {
    Entry { log, kind: EntryKind::End, head: Vec::new(), body: None }
}

pub fn body(bytes: Vec<u8>, trailer: &[u8]) -> Body {
    Body { data: Arc::new(bytes), trailer: Arc::from(trailer) }
}

/// Waits until `what` holds; panics with `about` after ten seconds.
pub fn until(what: impl Fn() -> bool, about: impl Fn() -> String) {
    let end = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < end, "waited too long: {}", about());
        std::thread::yield_now();
    }
}
