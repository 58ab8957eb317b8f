//! Alarms: when memory or the disk's room runs low, publishers are blocked and consumers go on.
//!
//! Invariant: an alarm only changes through `set_memory`, `set_disk` and `set_others`; everybody who waits sees
//! each change.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Which alarms are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// Memory above its high watermark.
    pub memory: bool,
    /// Disk below its limit.
    pub disk: bool,
}

impl Alarms {
    /// Whether publishers are blocked.
    pub fn any(self) -> bool {
        self.memory || self.disk
    }

    /// The reason in connection.blocked, in RabbitMQ's words.
    pub fn reason(self) -> &'static str {
        match (self.memory, self.disk) {
            (true, true) => "low on memory & low on disk",
            (false, true) => "low on disk",
            _ => "low on memory",
        }
    }
}

/// The node's alarms, and those of others that hold for it too.
#[derive(Debug)]
pub struct AlarmBoard {
    state: watch::Sender<Alarms>,
    own: Mutex<Alarms>,
    others: Mutex<Alarms>,
    memory_limit_bytes: u64,
    disk_limit_bytes: u64,
    /// Free bytes at the last look; u64::MAX before the first.
    disk_free_bytes: AtomicU64,
}

impl AlarmBoard {
    /// No alarm; memory limited to so many resident bytes, publishing to so many free bytes on the disk.
    pub fn new(memory_limit_bytes: u64, disk_limit_bytes: u64) -> AlarmBoard {
        AlarmBoard {
            state: watch::Sender::new(Alarms::default()),
            own: Mutex::default(),
            others: Mutex::default(),
            memory_limit_bytes,
            disk_limit_bytes,
            disk_free_bytes: AtomicU64::new(u64::MAX),
        }
    }

    /// Free bytes on the disk below which the disk alarm goes on.
    pub fn disk_limit_bytes(&self) -> u64 {
        self.disk_limit_bytes
    }

    /// Free bytes on the disk at the last look; None when there is no storage.
    pub fn disk_free_bytes(&self) -> Option<u64> {
        let bytes = self.disk_free_bytes.load(Ordering::Relaxed);
        (bytes != u64::MAX).then_some(bytes)
    }

    /// Raises or clears the disk alarm by what is free; `stalled` when something could not be written.
    pub fn set_disk(&self, free_bytes: u64, stalled: bool) {
        self.disk_free_bytes.store(free_bytes, Ordering::Relaxed);
        let disk = stalled || free_bytes < self.disk_limit_bytes;
        if std::mem::replace(&mut self.own.lock().disk, disk) != disk {
            tracing::warn!(disk, free_bytes, limit_bytes = self.disk_limit_bytes, stalled, "disk alarm");
            self.publish();
        }
    }

    /// Alarms of other nodes of the cluster, which block publishers here too.
    pub fn set_others(&self, others: Alarms) {
        if std::mem::replace(&mut *self.others.lock(), others) != others {
            tracing::warn!(memory = others.memory, disk = others.disk, "alarms of other nodes");
            self.publish();
        }
    }

    /// Alarms of this node alone.
    pub fn own(&self) -> Alarms {
        *self.own.lock()
    }

    fn publish(&self) {
        let (own, others) = (*self.own.lock(), *self.others.lock());
        let both = Alarms { memory: own.memory || others.memory, disk: own.disk || others.disk };
        self.state.send_if_modified(|alarms| std::mem::replace(alarms, both) != both);
    }

    /// Which are on.
    pub fn current(&self) -> Alarms {
        *self.state.borrow()
    }

    /// Sees every change.
    pub fn watch(&self) -> watch::Receiver<Alarms> {
        self.state.subscribe()
    }

    /// Resident bytes above which the memory alarm goes on.
    pub fn memory_limit_bytes(&self) -> u64 {
        self.memory_limit_bytes
    }

    /// Raises or clears the memory alarm by what the process uses.
    pub fn set_memory(&self, resident_bytes: u64) {
        let memory = resident_bytes > self.memory_limit_bytes;
        if std::mem::replace(&mut self.own.lock().memory, memory) != memory {
            tracing::warn!(memory, resident_bytes, limit_bytes = self.memory_limit_bytes, "memory alarm");
            self.publish();
        }
    }
}

/// Bytes of memory this process holds; None where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// Memory this process may use: the machine's, or its control group's if that is less.
pub fn available_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    });
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .min();
    [machine, group].into_iter().flatten().min().unwrap_or(1 << 30)
}
