//! One node: a data directory, a write-ahead log, a catalog, and the group on top of them.

use crate::net::Net;
use broker::catalog::{Catalog, Command, Outcome};
use clustering::catalog::{CatalogGroup, CatalogTarget, Clock, Compaction, Elections, GroupConfig, Member};
use engine::catalog::CatalogStore;
use engine::storage::{ClusterLog, LogHandle};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use storage::wal::{Replay, ReplayedEntry, Wal, WalConfig, WalSink};
use storage::{Disk, RealDisk};
use types::{AmqpError, ConnectionId, FieldTable, NodeId};

/// A directory that goes with the test.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new(what: &str) -> Dir {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("leveret-{what}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A clock that tests can move.
#[derive(Default)]
pub struct TestClock {
    ahead_ms: AtomicU64,
}

impl TestClock {
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        clustering::catalog::BootClock.now() + Duration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
    }
}

/// A catalog without a broker, which can be made to apply nothing for a while.
#[derive(Default)]
pub struct Plain {
    catalog: Mutex<Catalog>,
    applied: AtomicU64,
    shut: Mutex<bool>,
    opened: Condvar,
    pub caught_up: AtomicU64,
    pub installed: AtomicU64,
}

impl Plain {
    pub fn catalog(&self) -> Catalog {
        self.catalog.lock().unwrap().clone()
    }

    /// How many commands were applied.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// Nothing is applied until `open`.
    pub fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    /// Changes it without the cluster, as a node alone does.
    pub fn apply_here(&self, command: Command) {
        self.catalog.lock().unwrap().apply(command, &mut Vec::new()).unwrap();
    }

    pub fn has_queue(&self, name: &str) -> bool {
        self.catalog().vhost("/").is_some_and(|vhost| vhost.queue(name).is_some())
    }

    pub fn queue_count(&self) -> usize {
        self.catalog().vhost("/").map_or(0, |vhost| vhost.queues.len())
    }
}

impl CatalogTarget for Plain {
    fn apply(&self, command: Command) -> Result<Outcome, AmqpError> {
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            shut = self.opened.wait(shut).unwrap();
        }
        drop(shut);
        self.applied.fetch_add(1, Ordering::SeqCst);
        self.catalog.lock().unwrap().apply(command, &mut Vec::new())
    }

    fn is_heavy(&self, _command: &Command) -> bool {
        *self.shut.lock().unwrap()
    }

    fn install(&self, catalog: Catalog) {
        self.installed.fetch_add(1, Ordering::SeqCst);
        *self.catalog.lock().unwrap() = catalog;
    }

    fn snapshot(&self) -> Catalog {
        self.catalog()
    }

    fn caught_up(&self) {
        self.caught_up.fetch_add(1, Ordering::SeqCst);
    }
}

struct NoSink;

impl WalSink for NoSink {
    fn committed(&self, _up_to: u64, _logs: &[u64]) {}
    fn checkpoint(&self, _up_to: u64, _logs: Vec<u64>) {}
    fn failed(&self, _why: &str) {}
    fn stalled(&self, _why: Option<&str>) {}
}

struct Reader<'a>(&'a mut Member);

impl Replay for Reader<'_> {
    fn entry(&mut self, entry: ReplayedEntry<'_>) -> Result<(), String> {
        self.0.replay(entry.kind, entry.head, entry.sequence)
    }
}

/// Reads what a node's directory has.
pub fn read(dir: &Path, member: &mut Member) {
    let config = WalConfig::new(dir.join("wal"));
    Wal::open(Arc::new(RealDisk), config, &mut Reader(member)).unwrap();
}

/// What a node is made of.
#[derive(Clone, Default)]
pub struct Making {
    pub elections: Elections,
    pub compaction: Compaction,
    pub clock: Arc<TestClock>,
}

/// A node that runs.
pub struct Node {
    pub id: u64,
    pub target: Arc<Plain>,
    pub group: Arc<CatalogGroup>,
    pub store: Arc<dyn CatalogStore>,
    wal: Arc<Wal>,
}

static BOOT: AtomicU64 = AtomicU64::new(1);

impl Node {
    /// Starts the node that is in a directory.
    pub async fn start(id: u64, dir: &Path, net: &Net, making: &Making) -> Node {
        Node::start_on(Arc::new(RealDisk), id, dir, net, making).await
    }

    /// Starts the node that is on a disk.
    pub async fn start_on(disk: Arc<dyn Disk>, id: u64, dir: &Path, net: &Net, making: &Making) -> Node {
        let mut member = Member::new(NodeId(id));
        let mut config = WalConfig::new(dir.join("wal"));
        config.file_bytes = 8 * 1024 * 1024;
        let wal = Wal::open(disk, config, &mut Reader(&mut member)).unwrap();
        let catalog = member.catalog(&[]).unwrap().unwrap_or_else(first_catalog);
        let wal = wal.start(Arc::new(NoSink)).unwrap();
        let target = Arc::new(Plain { catalog: Mutex::new(catalog), ..Plain::default() });
        let boot = BOOT.fetch_add(1, Ordering::Relaxed) | (u64::from(std::process::id()) << 32);
        let config = GroupConfig {
            name_of: Arc::new(|node| format!("rabbit@n{}", node.0)),
            clock: making.clock.clone(),
            elections: making.elections,
            compaction: making.compaction,
            ..GroupConfig::new(NodeId(id), boot)
        };
        let log = LogHandle::new(wal.clone());
        let group = CatalogGroup::start(config, member, log, target.clone(), net.from(id)).await.unwrap();
        net.set(id, &group);
        Node { id, target, store: group.store(), group, wal }
    }

    pub async fn change(&self, command: Command) -> Result<Outcome, AmqpError> {
        self.store.propose(command).await
    }

    pub async fn declare(&self, name: &str) -> Result<Outcome, AmqpError> {
        self.change(declare(name)).await
    }

    pub fn leader(&self) -> Option<u64> {
        self.group.changed().borrow().map(|leader| leader.0)
    }

    /// Ends the node, whose disk has lost power: what it wrote does not matter any more.
    pub fn drop_dead(self) {
        self.target.open();
        self.group.stop();
        let _ = self.wal.stop();
    }

    /// Ends the node; what it wrote is in its directory.
    pub fn stop(self) {
        self.target.open();
        self.group.stop();
        self.wal.stop().unwrap();
    }
}

pub fn first_catalog() -> Catalog {
    let mut catalog = Catalog::new();
    let (description, tags) = (String::new(), Vec::new());
    let vhost = Command::AddVhost { name: "/".into(), description, tags, default_queue_type: None };
    catalog.apply(vhost, &mut Vec::new()).unwrap();
    catalog
}

pub fn declare(name: &str) -> Command {
    Command::DeclareQueue {
        vhost: "/".into(),
        name: name.into(),
        server_named: false,
        durable: true,
        auto_delete: false,
        exclusive: false,
        connection: ConnectionId(1),
        arguments: FieldTable::new(),
        user: "guest".into(),
    }
}
