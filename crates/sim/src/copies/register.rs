//! The catalog of a play, as everybody agrees on it: the product's own, changed by one list of commands.
//!
//! It is ideal: what is applied is applied for all, in one order.
//!
//! Invariant: a picture never changes.

use broker::catalog::copies::{Copies, CopyChange, CopyStep};
use broker::catalog::{Catalog, Command, Node};
use std::collections::BTreeMap;
use std::rc::Rc;
use types::limits::CLUSTER_FEATURE_LEVEL;
use types::{ConnectionId, FieldTable, FieldValue, NodeId, QueueId, QueueName};

/// A queue as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: QueueName,
    /// Its home.
    pub home: NodeId,
    /// Its copies; epoch 0 when it is not mirrored.
    pub copies: Copies,
    /// The nodes that are to have one, and how many a commit is to need.
    pub wanted: (Vec<NodeId>, u32),
}

/// The catalog at some version.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// It.
    pub catalog: Catalog,
    /// Its queues.
    pub queues: BTreeMap<QueueId, Row>,
}

/// The one copy of a queue that is not mirrored.
fn alone(home: NodeId) -> Copies {
    Copies { in_sync: vec![home], min_in_sync: 1, ..Copies::default() }
}

impl Picture {
    fn of(catalog: Catalog) -> Picture {
        let queues = catalog.queues();
        let row = |queue: &std::sync::Arc<broker::catalog::Queue>| {
            let (home, wanted) = (queue.home, catalog.wanted_copies(queue));
            let copies = queue.copies.as_deref().cloned().unwrap_or_else(|| alone(home));
            let wanted = (wanted.nodes, wanted.min_in_sync);
            (queue.id, Row { name: queue.name.clone(), home, copies, wanted })
        };
        let queues = queues.map(row).collect();
        Picture { catalog, queues }
    }

    /// Whether a node counts as running.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.catalog.is_up(node)
    }
}

/// All versions of the catalog.
#[derive(Debug)]
pub struct Register {
    /// The catalog after each change; the first has nothing in it.
    pub pictures: Vec<Rc<Picture>>,
}

impl Register {
    /// An empty one.
    pub fn new() -> Register {
        Register { pictures: vec![Rc::default()] }
    }

    /// The latest picture.
    pub fn latest(&self) -> Rc<Picture> {
        self.pictures.last().cloned().unwrap_or_default()
    }

    /// Applies a change; whether anything is different now. What the catalog refuses changes nothing.
    pub fn apply(&mut self, change: &Command) -> bool {
        let mut catalog = self.latest().catalog.clone();
        let changed = catalog.apply(change.clone(), &mut Vec::new()).is_ok_and(|outcome| outcome.changed());
        if changed {
            self.pictures.push(Rc::new(Picture::of(catalog)));
        }
        changed
    }
}

/// The row of a node.
pub fn node_row(node: NodeId, name: &str, boot: u64) -> Node {
    let addr = "127.0.0.1:7000".to_owned();
    Node { id: node, name: name.to_owned(), addr, boot, up: true, feature_level: CLUSTER_FEATURE_LEVEL }
}

/// One step of a queue's copies, for the row as it is known.
pub fn step(queue: QueueId, row: &Row, at: (u64, u64), step: CopyStep) -> Command {
    let (name, (epoch, version)) = (row.name.clone(), at);
    let change = CopyChange { vhost: "/".into(), name, queue, epoch, version, step };
    Command::ChangeCopies { changes: vec![change] }
}

/// The policy of a queue asks for so many copies.
pub fn policy(queue: &str, count: usize, promotes_any: bool) -> Command {
    let count = FieldValue::I64(i64::try_from(count).unwrap_or(1));
    let mut definition = FieldTable::new();
    definition.insert("ha-mode", FieldValue::text("exactly"));
    definition.insert("ha-params", count);
    if promotes_any {
        definition.insert("ha-promote-on-failure", FieldValue::text("always"));
    }
    Command::SetPolicy {
        vhost: "/".into(),
        name: queue.to_owned(),
        pattern: format!("^{queue}$"),
        apply_to: "queues".to_owned(),
        priority: 0,
        definition,
        operator: false,
    }
}

/// The declare of a queue.
pub fn declare(queue: &str, home: NodeId) -> Command {
    let command = Command::DeclareQueue {
        vhost: "/".into(),
        name: queue.into(),
        server_named: false,
        durable: true,
        auto_delete: false,
        exclusive: false,
        connection: ConnectionId(0),
        arguments: FieldTable::new(),
        user: "guest".into(),
    };
    Command::DeclareAt { home, command: Box::new(command) }
}
