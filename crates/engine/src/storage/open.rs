//! Opening a data directory: the log is read, queues and catalog are made again, threads are started.
//!
//! Invariant: nothing is served before everything that was committed is known to be there, or the
//! operator has said that damage is accepted.

use super::Storage;
use super::catalog_log::{CATALOG_LOG, CatalogLog};
use super::paging::location_of;
use super::queue_log::WalLogs;
use super::recovery::Recovery;
use super::sink::{Blocks, Sink};
use crate::clock;
use crate::node::{Broker, BrokerConfig};
use crate::queue::{Queue, QueueCommand, QueueLogs};
use broker::catalog::{self, Catalog, Command};
use broker::queue::RecoveredQueue;
use std::path::PathBuf;
use std::sync::Arc;
use storage::wal::{Entry, EntryKind, Wal, WalConfig};
use storage::{BlockConfig, BlockStore, DirLock, Disk, OpenBlocks, RealDisk};

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
    recovered: RecoveredQueue,
    /// Some of its messages are lost.
    damaged: bool,
}

/// How to go on with data that are damaged.
const DAMAGE_ADVICE: &str = "restore the directory from a backup, or start with --accept-damage to go on \
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
        let mut recovery = Recovery::default();
        let wal = Wal::open(disk.clone(), wal_config, &mut recovery).map_err(|error| error.to_string())?;
        for damage in wal.damage() {
            tracing::error!("data are lost: {damage}");
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
        clock::begin_at(recovery.last_ms());
        let queues = adopt_blocks(&mut recovery, &catalog, &durable, storage.accept_damage)?;
        durable.recovered().map_err(|error| format!("blocks that nobody needs: {error}"))?;

        let sink = Sink::new();
        let cannot = |error: std::io::Error| format!("threads of the storage cannot be started: {error}");
        let blocks: Arc<Blocks> = Arc::new(Blocks(sink.clone()));
        let durable = durable.start(blocks.clone()).map_err(cannot)?;
        let volatile = volatile.start(blocks).map_err(cannot)?;
        let wal = wal.start(sink.clone()).map_err(cannot)?;
        begin_log(&wal, &catalog, is_new, &recovery, &queues);
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
        let broker =
            Broker::assemble(config, catalog, logs, Some(CatalogLog::new(wal)), Some(Arc::new(storage)));
        sink.connect(&broker).map_err(cannot)?;
        let is_damaged = queues.iter().any(|found| found.damaged);
        broker.take_over(queues);
        if is_damaged && let Some(storage) = broker.storage() {
            storage.wal.flush()?;
        }
        Ok(broker)
    }

    /// Makes the queues that were found, and lets each look at what is due.
    fn take_over(self: &Arc<Broker>, found: Vec<Found>) {
        let now_ms = clock::now_ms();
        let mut waking = Vec::new();
        for Found { row, recovered, damaged } in found {
            let (count, id) = (recovered.count(), row.id);
            let (machine, lost) = recovered.finish(row.config.clone(), now_ms);
            if lost > 0 {
                tracing::error!(queue = %row.name, vhost = %row.vhost, lost, "messages have lost their bytes");
            }
            let mut log = self.logs().open(&row);
            if lost > 0 || damaged {
                // What was accepted once is not asked about again.
                log.checkpoint(machine.snapshot(now_ms), machine.oldest_position());
            }
            let wakes = count > 0 || row.config.expires_ms.is_some();
            let queue = Arc::new(Queue::with(row, log, machine));
            self.add_queue(id, queue.clone());
            waking.extend(wakes.then_some(queue));
        }
        for queue in waking {
            self.post(&queue, QueueCommand::Tick);
        }
        self.flush();
    }

    pub(crate) fn logs(&self) -> &dyn QueueLogs {
        &*self.logs
    }
}

/// Queues of the catalog with what their logs had; their blocks must be there.
fn adopt_blocks(
    recovery: &mut Recovery,
    catalog: &Catalog,
    blocks: &OpenBlocks,
    accept_damage: bool,
) -> Result<Vec<Found>, String> {
    let mut queues = Vec::new();
    let declared = catalog.vhosts.values().flat_map(|vhost| vhost.queues.values().cloned());
    let exchanges = catalog.vhosts.values().flat_map(|vhost| vhost.exchanges.values());
    for row in declared.chain(exchanges.filter_map(|exchange| exchange.holding_queue())) {
        let mut recovered = recovery.queues.remove(&row.id.0).unwrap_or_default();
        let mut damaged = false;
        let needed: Vec<_> = recovered.blocks().collect();
        for at in needed {
            let Err(why) = blocks.adopt(row.id.0, location_of(&at)) else { continue };
            let what = format!("queue '{}' in vhost '{}': {why}", row.name, row.vhost);
            if !accept_damage {
                return Err(format!("{what}; {DAMAGE_ADVICE}"));
            }
            damaged = true;
            let count = recovered.lose_block(at);
            tracing::error!("{count} messages are lost: {what}");
        }
        queues.push(Found { row, recovered, damaged });
    }
    Ok(queues)
}

/// The first entries of this process: the catalog as it starts, and the end of logs that nobody has.
fn begin_log(wal: &Wal, catalog: &Catalog, is_new: bool, recovery: &Recovery, queues: &[Found]) {
    let entry = |log, kind, head| Entry { log, kind, head, body: None };
    let mut entries = Vec::new();
    if is_new {
        let kind = EntryKind::Snapshot { covers: wal.last_sequence(), needs_from: None };
        entries.push(entry(CATALOG_LOG, kind, catalog.encode()));
    } else {
        let mut restart = Vec::new();
        Command::Restart.encode(&mut restart);
        entries.push(entry(CATALOG_LOG, EntryKind::Record, restart));
    }
    let kept: std::collections::HashSet<u64> = queues.iter().map(|found| found.row.id.0).collect();
    let mut over: Vec<u64> =
        recovery.logs.iter().copied().filter(|log| *log != CATALOG_LOG && !kept.contains(log)).collect();
    over.sort_unstable();
    entries.extend(over.into_iter().map(|log| entry(log, EntryKind::End, Vec::new())));
    wal.append(entries, true);
}
