//! Opening a data directory: the log is read, queues and catalog are made again, threads are started.
//!
//! Invariant: nothing is served before everything that was committed is known to be there, or the
//! operator has said that damage is accepted.

use super::Storage;
use super::catalog_log::{CATALOG_LOG, CatalogLog};
use super::cluster_log::ClusterLog;
use super::queue_log::WalLogs;
use super::recovery::Recovery;
use super::sink::{Blocks, Sink};
use super::unclaimed::{FoundLog, Unclaimed};
use crate::clock;
use crate::node::{Broker, BrokerConfig};
use crate::queue::QueueCommand;
use broker::catalog::{self, Catalog, Command};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use storage::wal::{Entry, EntryKind, Wal, WalConfig};
use storage::{BlockConfig, BlockStore, DirLock, Disk, OpenBlocks, RealDisk};
use types::NodeId;

/// Where and how a node keeps its data.
#[derive(Clone)]
pub struct StorageConfig {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The disk it is on.
    pub disk: Arc<dyn Disk>,
    /// Starts although the data are damaged, without what cannot be read.
    pub accept_damage: bool,
    /// Sizes of the write-ahead log's files; None for the defaults.
    pub wal: Option<WalConfig>,
    /// Sizes of the files of blocks; None for the defaults.
    pub blocks: Option<BlockSizes>,
    /// Takes the directory for this process alone; only on a real disk.
    pub lock: bool,
    /// Called by threads of the storage when they have nothing to do, to give memory back.
    pub idle: Option<fn()>,
}

impl StorageConfig {
    /// A directory of the machine's disk.
    pub fn new(data_dir: PathBuf) -> StorageConfig {
        StorageConfig {
            data_dir,
            disk: Arc::new(RealDisk),
            accept_damage: false,
            wal: None,
            blocks: None,
            lock: true,
            idle: None,
        }
    }
}

/// Sizes of the files that messages go to when they leave memory.
#[derive(Clone, Copy, Debug)]
pub struct BlockSizes {
    /// Length at which a file is full, bytes.
    pub file_bytes: u64,
    /// Bytes that are written and synced in one go.
    pub round_max_bytes: usize,
    /// Bytes held back for a full disk; 0: none.
    pub reserve_bytes: u64,
}

impl BlockSizes {
    fn apply(sizes: Option<BlockSizes>, config: BlockConfig) -> BlockConfig {
        let Some(BlockSizes { file_bytes, round_max_bytes, reserve_bytes }) = sizes else { return config };
        let reserve_bytes = if config.durable { reserve_bytes } else { 0 };
        BlockConfig { file_bytes, round_max_bytes, reserve_bytes, ..config }
    }
}

/// A queue with what its log had.
struct Found {
    row: Arc<catalog::Queue>,
    log: FoundLog,
}

/// The catalog that a broker begins with.
struct Beginning {
    catalog: Catalog,
    /// Nothing was ever written.
    is_new: bool,
    /// It is a cluster's: kept by the cluster's log.
    is_shared: bool,
}

/// How to go on with data that are damaged.
pub(super) const DAMAGE_ADVICE: &str = "restore the directory from a backup, or start with --accept-damage to go on \
                             without what is lost";

impl Broker {
    /// Opens a data directory and makes the broker that was there, or one with the first catalog.
    ///
    /// # Errors
    /// A text for the operator: what is wrong with which file, and what to do.
    pub fn open(
        config: BrokerConfig,
        storage: &StorageConfig,
        first: impl FnOnce() -> Result<Catalog, String>,
    ) -> Result<Arc<Broker>, String> {
        Broker::open_with(config, storage, first, None)
    }

    /// Opens the data directory of a node that is a member of a cluster, or may become one: `member` keeps
    /// the cluster's log. While that has no catalog, the node goes on with its own.
    ///
    /// Logs of queues that the catalog does not have are kept until they are claimed by a declaration or
    /// `drop_unclaimed` is called: the catalog that a member starts with may be behind.
    ///
    /// # Errors
    /// A text for the operator: what is wrong with which file, and what to do.
    pub fn open_member(
        config: BrokerConfig,
        storage: &StorageConfig,
        first: impl FnOnce() -> Result<Catalog, String>,
        member: &mut dyn ClusterLog,
    ) -> Result<Arc<Broker>, String> {
        Broker::open_with(config, storage, first, Some(member))
    }

    fn open_with(
        config: BrokerConfig,
        storage: &StorageConfig,
        first: impl FnOnce() -> Result<Catalog, String>,
        member: Option<&mut dyn ClusterLog>,
    ) -> Result<Arc<Broker>, String> {
        let dir = &storage.data_dir;
        let disk = &storage.disk;
        disk.create_dir(dir).map_err(|error| format!("data-dir is '{}': {error}", dir.display()))?;
        let lock =
            if storage.lock { Some(DirLock::take(dir).map_err(|error| error.to_string())?) } else { None };
        let open_blocks = |config: BlockConfig| {
            let config = BlockConfig { idle: storage.idle, ..BlockSizes::apply(storage.blocks, config) };
            BlockStore::open(disk.clone(), config).map_err(|error| error.to_string())
        };
        let volatile = open_blocks(BlockConfig::volatile(&dir.join("paged")))?;
        let durable = open_blocks(BlockConfig::durable(&dir.join("blocks")))?;
        let mut wal_config = storage.wal.clone().unwrap_or_else(|| WalConfig::new(dir.join("wal")));
        wal_config.accept_damage = storage.accept_damage;
        let mut recovery = Recovery::new(member);
        let wal = Wal::open(disk.clone(), wal_config, &mut recovery).map_err(|error| error.to_string())?;
        for damage in wal.damage() {
            tracing::error!("data are lost: {damage}");
        }
        let me = config.seat.as_ref().map_or(NodeId::default(), |seat| seat.node);
        let beginning = begin(&mut recovery, wal.damage(), first)?;
        let catalog = &beginning.catalog;
        clock::begin_at(recovery.last_ms());
        let queues = adopt_blocks(&mut recovery, (catalog, me), &durable, storage.accept_damage)?;
        let unclaimed = if beginning.is_shared {
            Unclaimed::adopt(&mut recovery, &durable, storage.accept_damage)?
        } else {
            Default::default()
        };
        durable.recovered().map_err(|error| format!("blocks that nobody needs: {error}"))?;

        let sink = Sink::new();
        let cannot = |error: std::io::Error| format!("threads of the storage cannot be started: {error}");
        let blocks: Arc<Blocks> = Arc::new(Blocks(sink.clone()));
        let durable = durable.start(blocks.clone()).map_err(cannot)?;
        let volatile = volatile.start(blocks).map_err(cannot)?;
        let wal = wal.start(sink.clone()).map_err(cannot)?;
        let found = queues.iter().map(|found| found.row.id);
        let kept = found.chain(unclaimed.keys().copied()).map(|id| id.0).collect();
        begin_log(&wal, &beginning, &recovery, &kept);
        let storage = Storage {
            wal: wal.clone(),
            durable,
            volatile,
            sink: sink.clone(),
            disk: disk.clone(),
            data_dir: dir.clone(),
            _lock: lock,
        };
        let logs = Box::new(WalLogs { wal: wal.clone(), sink: sink.clone() });
        let own_log = (!beginning.is_shared).then(|| CatalogLog::new(wal));
        let broker = Broker::assemble(config, beginning.catalog, logs, own_log, Some(Arc::new(storage)));
        if beginning.is_shared {
            broker.hand_over_catalog();
        }
        sink.connect(&broker).map_err(cannot)?;
        let is_damaged = queues.iter().any(|found| found.log.damaged);
        broker.keep_unclaimed(unclaimed);
        broker.take_over(queues);
        if is_damaged && let Some(storage) = broker.storage() {
            storage.wal.flush()?;
        }
        Ok(broker)
    }

    /// Makes the queues that were found and the ways to those of other nodes, and lets each look at what is
    /// due.
    fn take_over(self: &Arc<Broker>, found: Vec<Found>) {
        let mut waking = Vec::new();
        let catalog = self.catalog().clone();
        for row in rows_of(&catalog) {
            if let Some(away) = self.way_to(&row) {
                self.add_queue(row.id, away);
            }
        }
        let mut copied = Vec::new();
        catalog.nodes.values().for_each(|node| self.tell_of_node(node, true));
        for Found { row, log } in found {
            let id = row.id;
            let (queue, wakes) = self.revive(row, log, false);
            self.add_queue(id, queue.clone());
            waking.extend(wakes.then_some(queue));
        }
        for row in rows_of(&catalog).filter(|row| row.copies.is_some()) {
            copied.extend(self.queue(row.id).map(|queue| (queue, row)));
        }
        // What this node is to its copies comes before anything else is done in them.
        for (queue, row) in copied {
            self.heed_row(&queue, &row);
        }
        self.run_posted();
        for queue in waking {
            self.post(&queue, QueueCommand::Tick);
        }
        self.flush();
    }
}

/// Every queue there is, those of delayed exchanges too.
fn rows_of(catalog: &Catalog) -> impl Iterator<Item = Arc<catalog::Queue>> + '_ {
    let declared = catalog.queues().cloned();
    let exchanges = catalog.vhosts.values().flat_map(|vhost| vhost.exchanges.values());
    declared.chain(exchanges.filter_map(|exchange| exchange.holding_queue()))
}

/// Queues of the catalog that are at home here, or have a mirror here, with what their logs had; their blocks must be there.
fn adopt_blocks(
    recovery: &mut Recovery,
    (catalog, me): (&Catalog, NodeId),
    blocks: &OpenBlocks,
    accept_damage: bool,
) -> Result<Vec<Found>, String> {
    let mut queues = Vec::new();
    let is_here = |row: &Arc<catalog::Queue>| {
        let mirrors = row.copies.as_ref().map_or(&[][..], |copies| &copies.mirrors);
        row.home == me || row.home == NodeId::default() || mirrors.contains(&me)
    };
    for row in rows_of(catalog).filter(is_here) {
        let recovered = recovery.queues.remove(&row.id.0).unwrap_or_default();
        let name = format!("queue '{}' in vhost '{}'", row.name, row.vhost);
        let log = FoundLog::adopt(recovered, row.id, &name, blocks, accept_damage)?;
        queues.push(Found { row, log });
    }
    Ok(queues)
}

/// The catalog to begin with: the cluster's, the node's own as a restart leaves it, or the first one.
fn begin(
    recovery: &mut Recovery<'_>,
    damage: &[String],
    first: impl FnOnce() -> Result<Catalog, String>,
) -> Result<Beginning, String> {
    if let Some(catalog) = recovery.take_shared(damage)? {
        return Ok(Beginning { catalog, is_new: false, is_shared: true });
    }
    let found = recovery.take_catalog()?;
    let is_new = found.is_none();
    let mut catalog = match found {
        Some(catalog) => catalog,
        None => first()?,
    };
    catalog
        .apply(Command::Restart, &mut Vec::new())
        .map_err(|error| format!("the catalog cannot be started again: {error}"))?;
    Ok(Beginning { catalog, is_new, is_shared: false })
}

/// The first entries of this process: the catalog as it starts, and the end of logs that nobody has.
fn begin_log(wal: &Wal, beginning: &Beginning, recovery: &Recovery<'_>, kept: &HashSet<u64>) {
    let entry = |log, kind, head| Entry { log, kind, head, body: None };
    let mut entries = Vec::new();
    if beginning.is_shared {
        // The node may have stopped after the cluster's log had the catalog and before its own was ended.
        let is_left = recovery.logs.contains(&CATALOG_LOG);
        entries.extend(is_left.then(|| entry(CATALOG_LOG, EntryKind::End, Vec::new())));
    } else if beginning.is_new {
        let kind = EntryKind::Snapshot { covers: wal.last_sequence(), needs_from: None };
        entries.push(entry(CATALOG_LOG, kind, beginning.catalog.encode()));
    } else {
        let mut restart = Vec::new();
        Command::Restart.encode(&mut restart);
        entries.push(entry(CATALOG_LOG, EntryKind::Record, restart));
    }
    let mut over: Vec<u64> =
        recovery.logs.iter().copied().filter(|log| *log != CATALOG_LOG && !kept.contains(log)).collect();
    over.sort_unstable();
    entries.extend(over.into_iter().map(|log| entry(log, EntryKind::End, Vec::new())));
    wal.append(entries, true);
}
