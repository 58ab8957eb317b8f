//! The broker of one node: what the server and the management API hold.
//!
//! Invariant: the registry holds exactly the queues of the catalog, give or take the one that is being
//! changed right now.

use crate::alarm::AlarmBoard;
use crate::catalog::{CatalogMachine, CatalogStore, LocalCatalogStore};
use crate::cluster::ClusterView;
use crate::copies::CopyDesk;
use crate::history::Histories;
use crate::metrics::Metrics;
use crate::outlet::Outlet;
use crate::queue::{DeleteConditions, Forwarder, Homes, NullLogs, Queue, QueueCommand, QueueLogs};
use crate::registry::Connections;
use crate::reply_to;
use crate::reply_to::Replies;
use crate::runner::Runners;
use crate::storage::{CatalogLog, CheckpointSeam, PagingBudget, Storage, Unclaimed};
use crate::timer::Timer;
use arc_swap::Guard;
use broker::catalog::{self, Catalog, Command, Event, Outcome};
use dashmap::DashMap;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::{Notify, oneshot};
use types::limits::{HOUSEKEEPING_SECONDS, PAGE_LEAST_BYTES};
use types::{AmqpError, ConnectionId, NodeId, QueueId, VhostName};

/// How soon what a cluster could not agree on is tried again.
const AGREE_AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

/// What a broker is started with.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// The node's name.
    pub node_name: String,
    /// The cluster's name, shown to clients.
    pub cluster_name: String,
    /// Resident bytes above which publishers are blocked.
    pub memory_limit_bytes: u64,
    /// Bytes of messages above which bodies leave memory.
    pub paging_limit_bytes: u64,
    /// Free bytes on the disk below which publishers are blocked.
    pub disk_limit_bytes: u64,
    /// Its place in a cluster; None for a node that is alone.
    pub seat: Option<Seat>,
}

/// A node's place in a cluster.
#[derive(Clone)]
pub struct Seat {
    /// This node.
    pub node: NodeId,
    /// This start of its process.
    pub boot: u64,
    /// The way to queues of other nodes.
    pub homes: Arc<dyn Homes>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {}", self.node)
    }
}

/// A node's broker.
pub struct Broker {
    config: BrokerConfig,
    catalog: CatalogMachine,
    pub(crate) store: parking_lot::RwLock<Arc<dyn CatalogStore>>,
    pub(crate) logs: Box<dyn QueueLogs>,
    storage: Option<Arc<Storage>>,
    pub(crate) unclaimed: Unclaimed,
    pub(crate) cluster_checkpoint: CheckpointSeam,
    pub(crate) copy_desk: CopyDesk,
    paging: PagingBudget,
    me: Weak<Broker>,
    queues: DashMap<QueueId, Arc<Queue>>,
    connections: Connections,
    replies: Replies,
    runners: Runners,
    timer: Timer,
    histories: Histories,
    alarms: AlarmBoard,
    metrics: Metrics,
    /// Queues that deleted themselves, for the task that tells the catalog.
    abandoned: parking_lot::Mutex<Vec<Arc<Queue>>>,
    abandoned_wake: Notify,
    cluster: OnceLock<Arc<dyn ClusterView>>,
}

impl Broker {
    /// A broker that keeps everything in memory; its tasks (`run_timer`, `run_handed_over`,
    /// `run_deletions`) are spawned by the caller.
    pub fn new(config: BrokerConfig, catalog: Catalog) -> Arc<Broker> {
        Broker::with_logs(config, catalog, Box::new(NullLogs))
    }

    /// A broker whose queues have logs.
    pub fn with_logs(config: BrokerConfig, catalog: Catalog, logs: Box<dyn QueueLogs>) -> Arc<Broker> {
        Broker::assemble(config, catalog, logs, None, None)
    }

    pub(crate) fn assemble(
        config: BrokerConfig,
        catalog: Catalog,
        logs: Box<dyn QueueLogs>,
        catalog_log: Option<CatalogLog>,
        storage: Option<Arc<Storage>>,
    ) -> Arc<Broker> {
        let alarms = AlarmBoard::new(config.memory_limit_bytes, config.disk_limit_bytes);
        Arc::new_cyclic(|broker| Broker {
            paging: PagingBudget::new(config.paging_limit_bytes),
            config,
            catalog: CatalogMachine::new(catalog, catalog_log),
            store: parking_lot::RwLock::new(Arc::new(LocalCatalogStore::new(broker.clone()))),
            logs,
            storage,
            unclaimed: Unclaimed::default(),
            cluster_checkpoint: CheckpointSeam::default(),
            copy_desk: CopyDesk::default(),
            me: broker.clone(),
            queues: DashMap::new(),
            connections: Connections::default(),
            replies: Replies::default(),
            runners: Runners::default(),
            timer: Timer::default(),
            histories: Histories::default(),
            alarms,
            metrics: Metrics::default(),
            abandoned: parking_lot::Mutex::default(),
            abandoned_wake: Notify::new(),
            cluster: OnceLock::new(),
        })
    }

    /// What it was started with.
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// The catalog as it is now.
    #[inline]
    pub fn catalog(&self) -> Guard<Arc<Catalog>> {
        self.catalog.current()
    }

    /// What keeps its data; None when everything is in memory.
    pub fn storage(&self) -> Option<&Arc<Storage>> {
        self.storage.as_ref()
    }

    pub(crate) fn paging(&self) -> &PagingBudget {
        &self.paging
    }

    pub(crate) fn weak(&self) -> &Weak<Broker> {
        &self.me
    }

    pub(crate) fn add_queue(&self, id: QueueId, queue: Arc<Queue>) {
        self.queues.insert(id, queue);
    }

    /// Puts the catalog as a whole into its log.
    pub(crate) fn checkpoint_catalog(&self) {
        self.catalog.checkpoint();
    }

    pub(crate) fn catalog_machine(&self) -> &CatalogMachine {
        &self.catalog
    }

    /// Changes the catalog.
    pub async fn change(&self, command: Command) -> Result<Outcome, AmqpError> {
        let command = match &self.config.seat {
            Some(seat) if seat.homes.is_current() => seat.homes.place(command, &self.catalog()),
            // Out of touch with most nodes: what is declared here already is answered by what is known here.
            Some(seat) => match self.answer_alone(&command) {
                Some(outcome) => return Ok(outcome),
                None => seat.homes.place(command, &self.catalog()),
            },
            None => command,
        };
        let store = self.store.read().clone();
        store.propose(command).await
    }

    pub(crate) fn tell_of_node(&self, node: &catalog::Node, is_member: bool) {
        if let Some(seat) = &self.config.seat {
            seat.homes.node_changed(node, is_member);
        }
    }

    /// What a declare or bind comes to that changes nothing.
    fn answer_alone(&self, command: &Command) -> Option<Outcome> {
        if !matches!(
            command,
            Command::DeclareQueue { .. } | Command::DeclareExchange { .. } | Command::Bind { .. }
        ) {
            return None;
        }
        let mut copy = (**self.catalog()).clone();
        copy.apply(command.clone(), &mut Vec::new()).ok().filter(|outcome| !outcome.changed())
    }

    /// Tells the queues of a vhost whether the firehose wants their deliveries.
    fn trace_queues_of(&self, vhost: &VhostName) {
        let catalog = self.catalog();
        let Some(row) = catalog.vhost(vhost.as_str()) else { return };
        for queue in row.queues.values().filter_map(|queue| self.queue(queue.id)) {
            queue.set_traced(row.tracing);
        }
    }

    /// This node; 0 when it is alone.
    pub fn node(&self) -> NodeId {
        self.config.seat.as_ref().map_or(NodeId::default(), |seat| seat.node)
    }

    /// Whether a message that has no route here has none at all.
    pub fn is_current(&self) -> bool {
        self.config.seat.as_ref().is_none_or(|seat| seat.homes.is_current())
    }

    /// The cluster this node belongs to.
    pub fn cluster(&self) -> Option<Arc<dyn ClusterView>> {
        self.cluster.get().cloned()
    }

    /// From now on the node can be asked for its cluster; the first one stays.
    pub fn set_cluster(&self, cluster: Arc<dyn ClusterView>) {
        let _ = self.cluster.set(cluster);
    }

    /// Where direct replies to a name go.
    pub fn reply_outlet(&self, key: &[u8]) -> Option<Arc<dyn Outlet>> {
        let seat = self.config.seat.as_ref();
        match (seat, reply_to::node_of(key)) {
            (Some(seat), Some(node)) if node != seat.node => seat.homes.reply_outlet(node),
            _ => self.replies.find(key),
        }
    }

    /// The way to a queue whose home is another node; None when its home is here.
    pub(crate) fn way_to(&self, row: &Arc<catalog::Queue>) -> Option<Arc<Queue>> {
        Some(Arc::new(Queue::away(row.clone(), self.forwarder_of(row)?)))
    }

    /// The way to the home of a queue when that is another node.
    pub(crate) fn forwarder_of(&self, row: &Arc<catalog::Queue>) -> Option<Arc<dyn Forwarder>> {
        let seat = self.config.seat.as_ref()?;
        let is_here = row.home == seat.node || row.home == NodeId::default();
        (!is_here).then(|| seat.homes.forwarder(row))
    }

    /// Queues for which something holds.
    pub(crate) fn queues_where(&self, holds: impl Fn(&Queue) -> bool) -> Vec<Arc<Queue>> {
        self.queues.iter().filter(|entry| holds(entry.value())).map(|entry| entry.value().clone()).collect()
    }

    /// The queue with an id.
    pub fn queue(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.queues.get(&id).map(|entry| entry.value().clone())
    }

    /// The queue with a name.
    pub fn queue_named(&self, vhost: &str, name: &str) -> Option<Arc<Queue>> {
        let id = self.catalog().vhost(vhost)?.queue(name)?.id;
        self.queue(id)
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// Who is connected.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Direct reply-to names.
    pub fn replies(&self) -> &Replies {
        &self.replies
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Alarms.
    pub fn alarms(&self) -> &AlarmBoard {
        &self.alarms
    }

    pub(crate) fn runners(&self) -> &Runners {
        &self.runners
    }

    pub(crate) fn timer(&self) -> &Timer {
        &self.timer
    }

    pub(crate) fn histories(&self) -> &Histories {
        &self.histories
    }

    /// Creates what a new picture of the catalog will name, before anybody sees it.
    pub(crate) fn before_publication(&self, events: &[Event]) {
        for event in events {
            if let Event::ExchangeDeclared(row) = event
                && let Some(holding) = row.holding_queue()
            {
                self.queues.insert(holding.id, self.make_queue(&holding));
            }
            if let Event::QueueMoved { queue: row, .. } = event {
                self.settle_in(row);
            }
            self.heed_copies(event);
            if let Event::QueueDeclared(row) = event {
                let queue = self.make_queue(row);
                let vhost = row.vhost.as_str();
                queue.set_traced(self.catalog().vhost(vhost).is_some_and(|vhost| vhost.tracing));
                let is_away = queue.is_away();
                self.queues.insert(row.id, queue.clone());
                if row.copies.is_some() {
                    self.heed_row(&queue, row);
                }
                // Each queue is counted by one node of its cluster.
                self.metrics.queues_created.add(u64::from(!is_away));
                if let Some(expires_ms) = row.config.expires_ms.filter(|_| !is_away) {
                    self.timer.arm(row.id, crate::clock::now_ms().saturating_add(expires_ms));
                }
            }
        }
    }

    /// Does what a change asks for, after everybody can see it.
    pub(crate) fn after_publication(&self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::QueueConfigured(row) => {
                    if let Some(queue) = self.queue(row.id) {
                        let config = Box::new(row.config.clone());
                        queue.set_row(row);
                        self.post(&queue, QueueCommand::Configure(config));
                    }
                }
                Event::QueueDeleted(row) => {
                    if let Some((_, queue)) = self.queues.remove(&row.id) {
                        queue.set_gone();
                        self.metrics.queues_deleted.add(u64::from(!queue.is_away()));
                        self.post(&queue, QueueCommand::Deleted);
                    }
                }
                Event::ExchangeDeleted(row) => {
                    if let Some((_, queue)) = row.holding.and_then(|id| self.queues.remove(&id)) {
                        queue.set_gone();
                        self.post(&queue, QueueCommand::Deleted);
                    }
                    self.histories.forget(&row.vhost, &row.name);
                }
                Event::Bound { vhost, binding } => self.recall(&vhost, &binding),
                Event::NodeChanged(node) => self.tell_of_node(&node, true),
                Event::NodeForgotten(node) => self.tell_of_node(&node, false),
                Event::UnsyncedPromoted(row) if row.home == self.node() => tracing::warn!(
                    queue = %row.name, vhost = %row.vhost,
                    "a mirror that was not in sync is the queue's home, as its policy has it: messages may be lost"
                ),
                Event::TracingChanged(vhost) => self.trace_queues_of(&vhost),
                Event::UserDeleted(user) => {
                    let reason = format!("user '{user}' is deleted");
                    self.connections.close_where(&reason, |connection| *connection.user() == user);
                }
                Event::VhostDeleted(vhost) => {
                    let reason = format!("vhost '{vhost}' is down");
                    self.connections.close_where(&reason, |connection| *connection.vhost() == vhost);
                }
                _ => {}
            }
        }
        // Queues whose rows have changed.
        self.run_posted();
    }

    /// A queue has another home. What stays here only learns of it; anything else becomes another queue.
    fn settle_in(&self, row: &Arc<catalog::Queue>) {
        let old = self.queue(row.id);
        if let Some(queue) = old.as_ref().filter(|queue| row.copies.is_some() || queue.has_copies()) {
            self.heed_row(queue, row);
            return;
        }
        if let Some(queue) = old.as_ref().filter(|queue| !queue.is_away() && row.home == self.node()) {
            queue.set_row(row.clone());
            return;
        }
        self.queues.insert(row.id, self.make_queue(row));
        if let Some(old) = old {
            old.set_gone();
            self.post_quietly(&old, QueueCommand::Deleted);
        }
    }

    /// Deletes a queue if the conditions hold; gives the number of messages it had.
    pub async fn delete_queue(
        &self,
        queue: &Arc<Queue>,
        conditions: DeleteConditions,
    ) -> Result<u64, AmqpError> {
        let (reply, answer) = oneshot::channel();
        self.post(queue, QueueCommand::PrepareDelete(conditions, reply));
        let count = answer.await.map_err(|_| queue.no_answer())??;
        let row = queue.row();
        let command =
            Command::DeleteQueue { vhost: row.vhost.clone(), name: row.name.clone(), id: Some(row.id) };
        self.change(command).await?;
        Ok(count)
    }

    /// Deletes a queue that has lost its last consumer or has expired; from inside a turn.
    pub(crate) fn delete_queue_later(&self, queue: Arc<Queue>) {
        queue.set_gone();
        self.abandoned.lock().push(queue);
        self.abandoned_wake.notify_one();
    }

    /// Tells the catalog of queues that deleted themselves; to be spawned once.
    pub async fn run_deletions(self: Arc<Broker>) {
        loop {
            let queues = std::mem::take(&mut *self.abandoned.lock());
            if queues.is_empty() {
                self.abandoned_wake.notified().await;
                continue;
            }
            let mut again = Vec::new();
            for queue in queues {
                let row = queue.row();
                let id = Some(row.id);
                let command = Command::DeleteQueue { vhost: row.vhost.clone(), name: row.name.clone(), id };
                match self.change(command).await {
                    Err(error) if !self.is_current() => {
                        tracing::debug!(queue = %row.name, %error, "the queue's end cannot be agreed on yet");
                        again.push(queue);
                    }
                    Err(error) => {
                        tracing::debug!(queue = %row.name, %error, "queue was deleted before it deleted itself");
                    }
                    Ok(_) => {}
                }
            }
            self.flush();
            if !again.is_empty() {
                self.abandoned.lock().append(&mut again);
                tokio::time::sleep(AGREE_AGAIN).await;
            }
        }
    }

    /// Removes what only lived as long as a connection.
    pub async fn forget_connection(&self, connection: ConnectionId) {
        self.connections.remove(connection);
        if !self.catalog().owns_queues(connection) {
            return;
        }
        if let Err(error) = self.change(Command::DeleteExclusive { connection }).await {
            match self.me.upgrade().filter(|_| !self.is_current()) {
                Some(broker) => drop(tokio::spawn(broker.forget_later(connection))),
                None => {
                    tracing::error!(%connection, %error, "exclusive queues of a closed connection are left");
                }
            }
        }
        self.flush();
    }

    /// Without a majority nothing can be agreed on; the queues go when it is back.
    async fn forget_later(self: Arc<Broker>, connection: ConnectionId) {
        while self.catalog().owns_queues(connection) {
            tokio::time::sleep(AGREE_AGAIN).await;
            if self.is_current()
                && let Err(error) = self.change(Command::DeleteExclusive { connection }).await
            {
                tracing::warn!(%connection, %error, "exclusive queues of a closed connection are left for now");
            }
        }
        self.flush();
    }

    /// Watches memory; to be spawned once.
    pub async fn run_memory_watch(self: Arc<Broker>) {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
        loop {
            tick.tick().await;
            if let Some(bytes) = crate::alarm::resident_bytes() {
                self.alarms.set_memory(bytes);
            }
            if self.paging.is_over() {
                self.relieve_memory();
            }
        }
    }

    /// Has the queues with the most in memory page out, also those where nothing else happens.
    fn relieve_memory(&self) {
        let resident = |queue: &Arc<Queue>| queue.resident_bytes();
        let mut large: Vec<Arc<Queue>> = self
            .queues
            .iter()
            .filter(|entry| resident(entry.value()) > PAGE_LEAST_BYTES)
            .map(|entry| entry.value().clone())
            .collect();
        large.sort_by_key(|queue| std::cmp::Reverse(resident(queue)));
        let mut excess = self.paging.used_bytes().saturating_sub(self.paging.limit_bytes());
        for queue in large {
            self.post(&queue, QueueCommand::PageOut);
            excess = excess.saturating_sub(resident(&queue));
            if excess == 0 {
                break;
            }
        }
        self.flush();
    }

    /// Has queues look after their blocks; to be spawned once.
    pub async fn run_housekeeping(self: Arc<Broker>) {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(HOUSEKEEPING_SECONDS));
        loop {
            tick.tick().await;
            for queue in self.queues_where(Queue::keeps_house) {
                self.post(&queue, QueueCommand::Housekeep);
            }
            self.flush();
        }
    }
}
