//! A broker in this process, with a client that is a list of what it got.

use broker::catalog::{Catalog, Command};
use engine::queue::{NullLogs, QueueLogs};
use engine::{Broker, BrokerConfig, PublishBatch, Queue, Session, record_head};
use std::sync::Arc;
use std::time::Duration;
use types::{ConnectionId, FieldTable, FieldValue, Properties, QueueName, UserName, VhostName};

pub const CONNECTION: ConnectionId = ConnectionId(1);

pub struct Stage {
    pub broker: Arc<Broker>,
    session: Session,
}

fn vhost() -> VhostName {
    VhostName::from("/")
}

fn user() -> UserName {
    UserName::from("guest")
}

fn catalog() -> Catalog {
    let all = || ".*".to_owned();
    let (name, tags) = (vhost(), Vec::new());
    let description = String::new();
    let mut catalog = Catalog::new();
    for command in [
        Command::AddVhost { name, description, tags: tags.clone(), default_queue_type: None },
        Command::PutUser { name: user(), password_hash: None, tags },
        Command::SetPermission { vhost: vhost(), user: user(), configure: all(), write: all(), read: all() },
    ] {
        catalog.apply(command, &mut Vec::new()).unwrap();
    }
    catalog
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with_logs(Box::new(NullLogs))
    }

    pub fn with_logs(logs: Box<dyn QueueLogs>) -> Stage {
        let config = BrokerConfig {
            node_name: "test".to_owned(),
            cluster_name: "test".to_owned(),
            memory_limit_bytes: u64::MAX,
            paging_limit_bytes: u64::MAX,
            disk_limit_bytes: 0,
            seat: None,
        };
        let broker = Broker::with_logs(config, catalog(), logs);
        tokio::spawn(broker.clone().run_timer());
        tokio::spawn(broker.clone().run_deletions());
        tokio::spawn(broker.clone().run_handed_over());
        Stage { broker, session: Session { connection: CONNECTION, user: user(), vhost: vhost() } }
    }

    pub async fn declare(&self, name: &str, arguments: &[(&str, FieldValue)]) -> Arc<Queue> {
        self.declare_as(name, false, arguments).await
    }

    pub async fn declare_as(
        &self,
        name: &str,
        auto_delete: bool,
        arguments: &[(&str, FieldValue)],
    ) -> Arc<Queue> {
        let arguments: FieldTable = arguments.iter().map(|(key, value)| (*key, value.clone())).collect();
        let command = Command::DeclareQueue {
            vhost: vhost(),
            name: QueueName::from(name),
            server_named: false,
            durable: false,
            auto_delete,
            exclusive: false,
            connection: CONNECTION,
            arguments,
            user: user(),
        };
        self.broker.change(command).await.unwrap();
        self.queue(name).expect("just declared")
    }

    pub fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.broker.queue_named("/", name)
    }

    /// Publishes to a queue by its name; with a channel that waits for confirms and the first number.
    /// Gives the queue that wants its publishers to wait.
    pub fn publish(
        &self,
        queue: &str,
        bodies: &[&[u8]],
        confirm: Option<(&Arc<dyn engine::Outlet>, u64)>,
    ) -> Option<Arc<Queue>> {
        let properties = Properties::parse(&[0, 0]).unwrap();
        let mut wire = vec![0, queue.len() as u8];
        wire.extend_from_slice(queue.as_bytes());
        let route = self.broker.route(&self.broker.catalog(), &self.session, &wire, Some(&properties));
        let route = Arc::new(route.unwrap());
        let mut batch = PublishBatch::default();
        let head = record_head(&properties).unwrap();
        for (position, body) in (0..).zip(bodies) {
            let confirm = confirm.map(|(outlet, first)| (outlet, first + position));
            batch.push(&route, head, properties.raw(), body, confirm);
        }
        let slow = batch.flush(&self.broker);
        self.broker.flush();
        slow
    }
}

/// Comes back when it holds; fails when it does not within five seconds.
pub async fn wait_for(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..5000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{what}: not within five seconds");
}
