//! The catalog group of a node: log, state machine, leases and the ways to the other nodes, put together on
//! a thread of their own.
//!
//! Invariant: all of it runs on the thread "leveret-catalog", so that load on the threads that serve clients
//! never looks like the death of a node.

use super::desk::Desk;
use super::leader::Batcher;
use super::lease::{Acks, Book, BootClock, Clock, Holder};
use super::log::LogStore;
use super::machine::{CatalogTarget, Machine};
use super::member::{Beginning, Member};
use super::network::{Network, Rpc};
use super::raft::{LogId, Meta, Metrics, Raft};
use super::record::{Ballot, Membership};
use super::snapshot::State;
use super::store::MemberStore;
use crate::identity::ClusterId;
use bytes::Bytes;
use engine::catalog::CatalogStore;
use engine::storage::LogHandle;
use openraft::{CommittedLeaderId, EmptyNode, SnapshotPolicy, StoredMembership};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use types::NodeId;
use types::limits::{
    CATALOG_ELECTION_MAX_MS, CATALOG_ELECTION_MIN_MS, CATALOG_HEARTBEAT_MS, CATALOG_LOG_ENTRIES,
    CATALOG_LOG_KEPT_ENTRIES, CATALOG_PROPOSALS_MAX, CATALOG_SNAPSHOT_PIECE_BYTES, CATALOG_SNAPSHOT_PIECE_MS,
};

/// How a node is called in messages for people.
pub type NameOf = Arc<dyn Fn(NodeId) -> String + Send + Sync>;

/// What a group is started with.
#[derive(Clone)]
pub struct GroupConfig {
    /// This node.
    pub node: NodeId,
    /// This start of its process: random.
    pub boot: u64,
    /// Names of nodes, for people.
    pub name_of: NameOf,
    /// The clock of leases.
    pub clock: Arc<dyn Clock>,
    /// Times of elections.
    pub elections: Elections,
    /// When the log is made shorter.
    pub compaction: Compaction,
}

impl GroupConfig {
    /// The defaults for a node.
    pub fn new(node: NodeId, boot: u64) -> GroupConfig {
        GroupConfig {
            node,
            boot,
            name_of: Arc::new(|node| format!("{:016x}", node.0)),
            clock: Arc::new(BootClock),
            elections: Elections::default(),
            compaction: Compaction::default(),
        }
    }
}

/// Times of elections, milliseconds. A node that has heard of no leader for `max_ms` and a time between
/// `min_ms` and `max_ms` asks to be it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Elections {
    pub heartbeat_ms: u64,
    pub min_ms: u64,
    pub max_ms: u64,
}

impl Default for Elections {
    fn default() -> Elections {
        Elections {
            heartbeat_ms: CATALOG_HEARTBEAT_MS,
            min_ms: CATALOG_ELECTION_MIN_MS,
            max_ms: CATALOG_ELECTION_MAX_MS,
        }
    }
}

/// When the log is made shorter, in entries.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Compaction {
    pub entries: u64,
    pub kept_entries: u64,
}

impl Default for Compaction {
    fn default() -> Compaction {
        Compaction { entries: CATALOG_LOG_ENTRIES, kept_entries: CATALOG_LOG_KEPT_ENTRIES }
    }
}

/// The group; dropped, it stops.
pub struct CatalogGroup {
    pub(super) core: Arc<Core>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What all parts of the group share.
pub(super) struct Core {
    pub(super) config: GroupConfig,
    pub(super) log: LogStore,
    pub(super) target: Arc<dyn CatalogTarget>,
    pub(super) rpc: Arc<dyn Rpc>,
    pub(super) desk: Arc<Desk>,
    pub(super) holder: Holder,
    pub(super) book: Book,
    pub(super) acks: Arc<Acks>,
    pub(super) batcher: Batcher,
    pub(super) applied: watch::Sender<Option<LogId>>,
    pub(super) leader: watch::Sender<Option<NodeId>>,
    pub(super) proposed: Notify,
    pub(super) places: Arc<Semaphore>,
    /// Changes of members are made one after the other.
    pub(super) members: tokio::sync::Mutex<()>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) failure: watch::Sender<Option<String>>,
    beginning: Mutex<Option<Beginning>>,
    starting: tokio::sync::Mutex<()>,
    running: OnceLock<Running>,
    runtime: Handle,
}

/// What there is once the node is in a cluster.
pub(super) struct Running {
    pub(super) cluster: ClusterId,
    pub(super) raft: Raft,
}

impl CatalogGroup {
    /// Starts the group of a node as its data directory has it: a member goes on where it was, another node
    /// waits for `form` or `join`.
    ///
    /// # Errors
    /// Why it cannot start.
    pub async fn start(
        config: GroupConfig,
        member: Member,
        disk: LogHandle,
        target: Arc<dyn CatalogTarget>,
        rpc: Arc<dyn Rpc>,
    ) -> Result<Arc<CatalogGroup>, String> {
        if member.node() != config.node.0 {
            return Err("the log was opened for another node".to_owned());
        }
        let cluster = member.cluster();
        let Member { log, beginning, .. } = member;
        let stop = watch::Sender::new(false);
        let (runtime, thread) = spawn_thread(stop.subscribe())?;
        let core = Arc::new(Core {
            desk: Arc::new(Desk::new(config.boot)),
            log: LogStore::new(log, disk),
            target,
            rpc,
            holder: Holder::default(),
            book: Book::default(),
            acks: Arc::default(),
            batcher: Batcher::default(),
            applied: watch::Sender::new(None),
            leader: watch::Sender::new(None),
            proposed: Notify::new(),
            places: Arc::new(Semaphore::new(CATALOG_PROPOSALS_MAX)),
            members: tokio::sync::Mutex::default(),
            stop,
            failure: watch::Sender::new(None),
            beginning: Mutex::new(Some(beginning)),
            starting: tokio::sync::Mutex::default(),
            running: OnceLock::new(),
            runtime,
            config,
        });
        let group = Arc::new(CatalogGroup { core, thread: Mutex::new(Some(thread)) });
        if let Some(cluster) = cluster {
            group.on_thread(move |core| async move { core.go_on(cluster).await }).await?;
        }
        Ok(group)
    }

    /// Runs something on the group's thread and waits for it.
    pub(super) async fn on_thread<T, F>(&self, work: impl FnOnce(Arc<Core>) -> F) -> Result<T, String>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, String>> + Send + 'static,
    {
        let core = &self.core;
        match core.spawn(work(core.clone())).await {
            Ok(outcome) => outcome,
            Err(_) => Err("the node is stopping".to_owned()),
        }
    }

    /// The cluster the node is in.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.core.running.get().map(|running| running.cluster)
    }

    /// Forms a cluster of this node alone, with the catalog that it has. Nothing if it has formed it before.
    ///
    /// # Errors
    /// The node is in another cluster, or the disk has failed.
    pub async fn form(&self, cluster: ClusterId) -> Result<(), String> {
        self.on_thread(move |core| async move { core.form(cluster).await }).await
    }

    /// Becomes a node of a cluster, to be added there by `add_node`; its catalog takes the place of this
    /// node's. Nothing if it is one.
    ///
    /// # Errors
    /// The node is in another cluster, has queues of its own, or the disk has failed.
    pub async fn join(&self, cluster: ClusterId) -> Result<(), String> {
        self.on_thread(move |core| async move { core.join(cluster).await }).await
    }

    /// Casts the node's one vote on who forms a cluster, on disk; gives whom it was given to, which may
    /// have been another one before.
    ///
    /// # Errors
    /// The disk has failed.
    pub async fn cast_ballot(&self, ballot: Ballot) -> Result<Ballot, String> {
        self.on_thread(move |core| async move { core.log.cast(ballot).await }).await
    }

    /// The node's one vote on who forms the cluster, if it has cast it.
    pub fn ballot(&self) -> Option<Ballot> {
        self.core.log.state().ballot()
    }

    /// Where changes of the catalog are proposed. Used by the target once the node is in a cluster.
    pub fn store(&self) -> Arc<dyn CatalogStore> {
        Arc::new(MemberStore::new(&self.core))
    }

    /// The leader, as this node knows it, and its changes.
    pub fn changed(&self) -> watch::Receiver<Option<NodeId>> {
        self.core.leader.subscribe()
    }

    /// Comes back with the reason when the group cannot go on.
    pub async fn failed(&self) -> String {
        let mut failure = self.core.failure.subscribe();
        let why = failure.wait_for(Option::is_some).await.map(|why| why.clone().unwrap_or_default());
        match why {
            Ok(why) => why,
            Err(_) => std::future::pending().await,
        }
    }

    /// Writes all of the cluster's log as one record, so that files of earlier ones can go. For the
    /// write-ahead log when it asks.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn checkpoint(&self) -> Result<(), String> {
        self.core.log.checkpoint()
    }

    /// Ends the group and its thread; what is proposed afterwards is refused.
    pub fn stop(&self) {
        self.core.stop.send_replace(true);
        self.core.desk.end();
        self.core.places.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for CatalogGroup {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn_thread(mut stop: watch::Receiver<bool>) -> Result<(Handle, JoinHandle<()>), String> {
    let cannot = |error: std::io::Error| format!("the catalog's thread cannot be started: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .thread_name("leveret-cat-bg")
        .build()
        .map_err(cannot)?;
    let handle = runtime.handle().clone();
    let work = move || {
        runtime.block_on(async {
            let _ = stop.wait_for(|stop| *stop).await;
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    };
    let thread =
        std::thread::Builder::new().name("leveret-catalog".to_owned()).spawn(work).map_err(cannot)?;
    Ok((handle, thread))
}

impl Core {
    /// openraft, once the node is in a cluster.
    pub(super) fn raft(&self) -> Option<&Raft> {
        self.running.get().map(|running| &running.raft)
    }

    pub(super) fn running(&self) -> Result<&Running, String> {
        self.running.get().ok_or_else(|| "this node is in no cluster".to_owned())
    }

    pub(super) fn metrics(&self) -> Option<Metrics> {
        Some(self.raft()?.metrics().borrow().clone())
    }

    /// Has the group's thread do something.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(work)
    }

    pub(super) fn now(&self) -> Duration {
        self.config.clock.now()
    }

    fn check_same(&self, cluster: ClusterId) -> Result<bool, String> {
        match self.running.get() {
            None => Ok(false),
            Some(running) if running.cluster == cluster => Ok(true),
            Some(running) => Err(format!("this node is in the cluster {:032x} already", running.cluster.0)),
        }
    }

    async fn form(self: &Arc<Core>, cluster: ClusterId) -> Result<(), String> {
        let _starting = self.starting.lock().await;
        if self.check_same(cluster)? {
            return Ok(());
        }
        let me = self.config.node.0;
        let state = State { catalog: self.target.hand_over(), ..State::default() };
        // The catalog to begin with stands where the first entry would: nodes that join get it as a snapshot.
        let first = LogId::new(CommittedLeaderId::new(0, 0), 0);
        let nodes = BTreeMap::from([(me, EmptyNode {})]);
        let alone = openraft::Membership::new(vec![BTreeSet::from([me])], nodes);
        let membership = StoredMembership::new(Some(first), alone);
        let meta = Meta {
            last_log_id: Some(first),
            last_membership: membership.clone(),
            snapshot_id: "first".to_owned(),
        };
        let data = Bytes::from(state.encode()?);
        let row = Membership { cluster: cluster.0, node: me };
        self.log.begin(row, Some((meta, data))).await?;
        *self.beginning.lock() = Some(Beginning { state, applied: Some(first), membership });
        self.run(cluster).await
    }

    async fn join(self: &Arc<Core>, cluster: ClusterId) -> Result<(), String> {
        let _starting = self.starting.lock().await;
        if self.check_same(cluster)? {
            return Ok(());
        }
        let queues: usize = self.target.snapshot().vhosts.values().map(|vhost| vhost.queues.len()).sum();
        if queues > 0 {
            return Err(format!(
                "this node has {queues} queues of its own: a node that joins a cluster takes the cluster's \
                 catalog, so delete them or start with an empty data directory"
            ));
        }
        self.target.hand_over();
        self.log.begin(Membership { cluster: cluster.0, node: self.config.node.0 }, None).await?;
        self.run(cluster).await
    }

    async fn go_on(self: &Arc<Core>, cluster: ClusterId) -> Result<(), String> {
        let _starting = self.starting.lock().await;
        self.run(cluster).await
    }

    /// Starts openraft, and what goes with it. Once, with `starting` locked.
    async fn run(self: &Arc<Core>, cluster: ClusterId) -> Result<(), String> {
        let beginning = self.beginning.lock().take().unwrap_or_default();
        let me = self.config.node.0;
        let clock = self.config.clock.clone();
        let network =
            Network { me, cluster, rpc: self.rpc.clone(), acks: self.acks.clone(), clock: clock.clone() };
        let machine = Machine::new(
            beginning,
            self.target.clone(),
            self.log.clone(),
            self.desk.clone(),
            clock,
            self.applied.clone(),
        );
        let config = Arc::new(raft_config(&self.config)?);
        let raft = Raft::new(me, config, network, self.log.clone(), machine)
            .await
            .map_err(|error| format!("the catalog cannot be started: {error}"))?;
        let _ = self.running.set(Running { cluster, raft: raft.clone() });
        self.clone().spawn_tasks();
        self.target.take_over(Arc::new(MemberStore::new(self)));
        let is_alone = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow();
            let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
            voters == [me] && metrics.current_leader.is_none()
        };
        if is_alone {
            raft.trigger().elect().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn spawn_tasks(self: Arc<Core>) {
        tokio::spawn(self.clone().send_proposals());
        tokio::spawn(self.clone().expire_proposals());
        tokio::spawn(self.clone().run_batches());
        tokio::spawn(self.clone().keep_lease());
        tokio::spawn(self.clone().settle_lease());
        tokio::spawn(self.clone().tell_applied());
        tokio::spawn(self.clone().tend_members());
        tokio::spawn(self.clone().tend_log());
        tokio::spawn(self.clone().watch_leader());
        tokio::spawn(self.catch_up_once());
    }
}

fn raft_config(config: &GroupConfig) -> Result<openraft::Config, String> {
    let Elections { heartbeat_ms, min_ms, max_ms } = config.elections;
    let Compaction { entries, kept_entries } = config.compaction;
    openraft::Config {
        cluster_name: "leveret".to_owned(),
        heartbeat_interval: heartbeat_ms,
        election_timeout_min: min_ms,
        election_timeout_max: max_ms,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(entries),
        max_in_snapshot_log_to_keep: kept_entries,
        purge_batch_size: 64,
        replication_lag_threshold: entries,
        snapshot_max_chunk_size: CATALOG_SNAPSHOT_PIECE_BYTES,
        install_snapshot_timeout: CATALOG_SNAPSHOT_PIECE_MS,
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| format!("times of the catalog's elections: {error}"))
}
