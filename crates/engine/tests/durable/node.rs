//! A broker on a disk, with the tasks that a server runs for it.

use crate::client::{Client, Seen};
use crate::message::Message;
use broker::catalog::{Binding, Catalog, Command, Destination};
use broker::queue::{Consumer, Range};
use engine::queue::AddConsumer;
use engine::storage::{BlockSizes, ClusterLog, StorageConfig};
use engine::{Broker, BrokerConfig, Outlet, PublishBatch, Queue, QueueCommand, Seat, Session, record_head};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use storage::Disk;
use storage::wal::WalConfig;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use types::{
    ConnectionId, ConsumerId, ExchangeName, FieldTable, FieldValue, Properties, QueueName, RoutingKey,
    UserName, VhostName,
};

/// The consumer that the driver has on a queue, and the one that looks at everything.
pub const CONSUMER: ConsumerId = ConsumerId(1);
const READER: ConsumerId = ConsumerId(2);
const CONNECTION: ConnectionId = ConnectionId(1);

/// The disk is dead: whoever waits for it waits no more.
#[derive(Debug)]
pub struct Dead;

/// Whether the disk is dead.
pub type Pulse = Arc<dyn Fn() -> bool + Send + Sync>;

pub struct Node {
    pub broker: Arc<Broker>,
    session: Session,
    pulse: Pulse,
    tasks: Vec<JoinHandle<()>>,
}

pub fn data_dir() -> PathBuf {
    PathBuf::from("/data")
}

pub fn vhost() -> VhostName {
    VhostName::from("/")
}

fn user() -> UserName {
    UserName::from("guest")
}

pub fn first_catalog() -> Result<Catalog, String> {
    let all = || ".*".to_owned();
    let (name, tags, description) = (vhost(), Vec::new(), String::new());
    let mut catalog = Catalog::new();
    for command in [
        Command::AddVhost { name, description, tags: tags.clone(), default_queue_type: None },
        Command::PutUser { name: user(), password_hash: None, tags },
        Command::SetPermission { vhost: vhost(), user: user(), configure: all(), write: all(), read: all() },
    ] {
        catalog.apply(command, &mut Vec::new()).map_err(|error| error.to_string())?;
    }
    Ok(catalog)
}

/// Files so small that everything happens often.
pub fn small(disk: Arc<dyn Disk>, dir: &Path) -> StorageConfig {
    let mut wal = WalConfig::new(dir.join("wal"));
    wal.first_file_bytes = 8 * 1024;
    wal.file_bytes = 32 * 1024;
    wal.budget_bytes = 64 * 1024;
    wal.batch_max_bytes = 64 * 1024;
    wal.lazy_ms = 2;
    let blocks = BlockSizes { file_bytes: 16 * 1024, round_max_bytes: 16 * 1024, reserve_bytes: 16 * 1024 };
    StorageConfig {
        data_dir: dir.to_path_buf(),
        disk,
        accept_damage: false,
        wal: Some(wal),
        blocks: Some(blocks),
        lock: false,
        idle: None,
    }
}

fn config() -> BrokerConfig {
    BrokerConfig {
        node_name: "test".to_owned(),
        cluster_name: "test".to_owned(),
        memory_limit_bytes: u64::MAX,
        paging_limit_bytes: 32 * 1024,
        disk_limit_bytes: 0,
        seat: None,
    }
}

pub fn declaration(name: &str, durable: bool, arguments: FieldTable) -> Command {
    Command::DeclareQueue {
        vhost: vhost(),
        name: QueueName::from(name),
        server_named: false,
        durable,
        auto_delete: false,
        exclusive: false,
        connection: CONNECTION,
        arguments,
        user: user(),
    }
}

impl Node {
    /// Opens what is on a disk.
    pub fn open(storage: &StorageConfig, pulse: Pulse) -> Result<Node, String> {
        let broker = Broker::open(config(), storage, first_catalog)?;
        Ok(Node::of(broker, pulse))
    }

    /// Opens what is on a disk that does not die, as a member of a cluster.
    pub fn member(disk: &Arc<dyn Disk>, member: &mut dyn ClusterLog) -> Result<Node, String> {
        Node::seated(disk, member, None)
    }

    /// The same, with its place among the others.
    pub fn seated(
        disk: &Arc<dyn Disk>,
        member: &mut dyn ClusterLog,
        seat: Option<Seat>,
    ) -> Result<Node, String> {
        let storage = small(disk.clone(), &data_dir());
        let config = BrokerConfig { seat, ..config() };
        let broker = Broker::open_member(config, &storage, first_catalog, member)?;
        Ok(Node::of(broker, Arc::new(|| false)))
    }

    fn of(broker: Arc<Broker>, pulse: Pulse) -> Node {
        let tasks = vec![
            tokio::spawn(broker.clone().run_timer()),
            tokio::spawn(broker.clone().run_deletions()),
            tokio::spawn(broker.clone().run_handed_over()),
            tokio::spawn(keep_house(broker.clone())),
        ];
        let session = Session { connection: CONNECTION, user: user(), vhost: vhost() };
        Node { broker, session, pulse, tasks }
    }

    /// On a disk that does not die.
    pub fn on(disk: &Arc<dyn Disk>) -> Result<Node, String> {
        Node::open(&small(disk.clone(), &data_dir()), Arc::new(|| false))
    }

    /// Writes all and lets go of the disk.
    pub fn close(self) -> Result<(), String> {
        self.broker.storage().unwrap().close()
    }

    /// Publishes to a queue and waits until all is confirmed.
    pub async fn publish_safely(&self, queue: &str, messages: &[Message]) {
        let client = Arc::new(Client::default());
        self.publish("", queue, messages, Some((&client, messages[0].id)));
        self.until("all is confirmed", || client.is_confirmed()).await.expect("the disk works");
        assert!(client.refused().is_empty());
    }

    pub fn set_pulse(&mut self, pulse: Pulse) {
        self.pulse = pulse;
    }

    pub fn is_dead(&self) -> bool {
        (self.pulse)()
    }

    /// Waits for something that comes unless the disk dies.
    pub async fn live<T>(&self, what: &str, coming: impl Future<Output = T>) -> Result<T, Dead> {
        let dies = async {
            while !self.is_dead() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            biased;
            value = coming => Ok(value),
            () = dies => Err(Dead),
            _ = self.broker.failed() => Err(Dead),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("{what}: not within 20 seconds"),
        }
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<(), Dead> {
        let comes = async {
            while !holds() {
                self.broker.flush();
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        };
        self.live(what, comes).await
    }

    pub fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.broker.queue_named("/", name)
    }

    pub fn post(&self, queue: &Arc<Queue>, command: QueueCommand) {
        self.broker.post(queue, command);
        self.broker.flush();
    }

    /// Posts what is answered, and waits for the answer.
    pub async fn ask<T>(
        &self,
        what: &str,
        queue: &Arc<Queue>,
        command: impl FnOnce(oneshot::Sender<T>) -> QueueCommand,
    ) -> Result<T, Dead> {
        let (reply, answer) = oneshot::channel();
        self.post(queue, command(reply));
        self.live(what, answer).await.map(|answer| answer.expect("an answer"))
    }

    pub async fn fence(&self, queue: &Arc<Queue>) -> Result<(), Dead> {
        self.ask("a fence", queue, QueueCommand::Fence).await.map(drop)
    }

    /// Waits until all that was posted to a queue is committed.
    pub async fn commit(&self, queue: &Arc<Queue>) -> Result<(), Dead> {
        self.ask("a commit", queue, QueueCommand::CommitFence).await
    }

    pub async fn change(&self, command: Command) -> Result<(), Dead> {
        let outcome = self.live("a change of the catalog", self.broker.change(command)).await?;
        self.broker.flush();
        outcome.expect("the catalog takes it");
        Ok(())
    }

    pub async fn declare(
        &self,
        name: &str,
        durable: bool,
        arguments: &[(&str, FieldValue)],
    ) -> Result<(), Dead> {
        let arguments: FieldTable = arguments.iter().map(|(key, value)| (*key, value.clone())).collect();
        self.change(declaration(name, durable, arguments)).await
    }

    pub async fn declare_exchange(&self, name: &str) -> Result<(), Dead> {
        self.change(Command::DeclareExchange {
            vhost: vhost(),
            name: ExchangeName::from(name),
            kind: "fanout".to_owned(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
            user: user(),
        })
        .await
    }

    pub async fn bind(&self, exchange: &str, queue: &str) -> Result<(), Dead> {
        let binding = Binding {
            source: ExchangeName::from(exchange),
            destination: Destination::Queue(QueueName::from(queue)),
            routing_key: RoutingKey::default(),
            arguments: FieldTable::default(),
        };
        self.change(Command::Bind { vhost: vhost(), binding }).await
    }

    /// Publishes; each message is told to the client with its number, beginning with `first`. Gives the
    /// queues that get it.
    pub fn publish(
        &self,
        exchange: &str,
        key: &str,
        messages: &[Message],
        confirm: Option<(&Arc<Client>, u64)>,
    ) -> Vec<Arc<Queue>> {
        let mut wire = vec![exchange.len() as u8];
        wire.extend_from_slice(exchange.as_bytes());
        wire.push(key.len() as u8);
        wire.extend_from_slice(key.as_bytes());
        let route = self.broker.route(&self.broker.catalog(), &self.session, &wire, None).unwrap();
        let route = Arc::new(route);
        let outlet = confirm.map(|(client, first)| (client.clone() as Arc<dyn Outlet>, first));
        let mut batch = PublishBatch::default();
        for (position, message) in (0..).zip(messages) {
            let raw = message.properties();
            let head = record_head(&Properties::parse(&raw).unwrap()).unwrap();
            if let (Some((client, first)), false) = (confirm, route.queues.is_empty()) {
                client.expect(first + position, route.queues.len());
            }
            let confirm = outlet.as_ref().map(|(outlet, first)| (outlet, first + position));
            batch.push(&route, head, &raw, &message.body(), confirm);
        }
        batch.flush(&self.broker);
        self.broker.flush();
        route.queues.clone()
    }

    pub async fn consume(&self, queue: &Arc<Queue>, client: &Arc<Client>, prefetch: u32) -> Result<(), Dead> {
        self.add_consumer(queue, client, CONSUMER, prefetch).await
    }

    async fn add_consumer(
        &self,
        queue: &Arc<Queue>,
        client: &Arc<Client>,
        id: ConsumerId,
        prefetch: u32,
    ) -> Result<(), Dead> {
        let consumer = Consumer {
            id,
            priority: 0,
            no_ack: false,
            exclusive: false,
            prefetch,
            in_flight: 0,
            blocked: false,
        };
        let add = |reply| {
            QueueCommand::AddConsumer(Box::new(AddConsumer {
                consumer,
                tag: format!("c{}", id.0),
                arguments: FieldTable::default(),
                outlet: client.clone(),
                channel: String::new(),
                reply: Some(reply),
            }))
        };
        self.ask("a consumer", queue, add).await?.expect("it may consume");
        Ok(())
    }

    pub async fn get(
        &self,
        queue: &Arc<Queue>,
        client: &Arc<Client>,
        no_ack: bool,
    ) -> Result<Option<Seen>, Dead> {
        let outlet: Arc<dyn Outlet> = client.clone();
        self.ask("a get", queue, |done| QueueCommand::Get { no_ack, outlet, done }).await?;
        Ok(client.take_got())
    }

    /// All ready messages of a queue, read by a consumer that keeps them.
    pub async fn read_all(&self, queue: &Arc<Queue>) -> Result<Vec<Seen>, Dead> {
        let client = Arc::new(Client::default());
        self.add_consumer(queue, &client, READER, 0).await?;
        self.until("all is read", || queue.counts().ready == 0).await?;
        self.fence(queue).await?;
        assert_eq!(client.wrong(), Vec::<String>::new());
        Ok(client.held(queue.id))
    }

    /// Like `read_all`, and gives everything back.
    pub async fn look(&self, queue: &Arc<Queue>) -> Result<Vec<Seen>, Dead> {
        let seen = self.read_all(queue).await?;
        let gone = |reply| QueueCommand::RemoveConsumer(READER, reply);
        self.ask("a consumer that leaves", queue, gone).await?;
        if !seen.is_empty() {
            self.post(queue, QueueCommand::Return(READER, ranges(&seen)));
        }
        Ok(seen)
    }
}

/// Housekeeping as the broker does it, but more often.
async fn keep_house(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let rows: Vec<_> = {
            let catalog = broker.catalog();
            catalog.vhosts.values().flat_map(|vhost| vhost.queues.values().cloned()).collect()
        };
        for queue in rows.iter().filter_map(|row| broker.queue(row.id)) {
            broker.post(&queue, QueueCommand::Housekeep);
        }
        broker.flush();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Their indexes.
pub fn ranges(seen: &[Seen]) -> Vec<Range> {
    let mut indexes: Vec<u64> = seen.iter().map(|seen| seen.index).collect();
    indexes.sort_unstable();
    indexes.into_iter().map(|index| (index, index + 1)).collect()
}

/// Persistent messages with these numbers.
pub fn messages(ids: std::ops::RangeInclusive<u64>, body_bytes: usize) -> Vec<Message> {
    ids.map(|id| Message::plain(id, body_bytes)).collect()
}
