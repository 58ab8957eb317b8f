//! Clusters with mirrored queues, for the tests of copies.

use super::every::table;
use broker::catalog::copies::{Copies, CopyChange, CopyStep, next_steps};
use broker::catalog::{Catalog, Command, Event, Node, Queue};
use std::sync::Arc;
use types::{ConnectionId, FieldTable, FieldValue, NodeId};

pub const VHOST: &str = "/";

pub fn node(id: u64, boot: u64) -> Node {
    let addr = format!("127.0.0.{id}:25672");
    Node { id: NodeId(id), name: format!("n{id}"), addr, boot, up: true, feature_level: 2 }
}

pub fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

pub fn lost(id: u64, boot: u64) -> Command {
    Command::NodeLost { id: NodeId(id), boot }
}

pub fn put(node: Node) -> Command {
    Command::PutNode { node }
}

pub fn text(text: &str) -> FieldValue {
    FieldValue::text(text)
}

pub fn names(names: &[&str]) -> FieldValue {
    FieldValue::Array(names.iter().copied().map(FieldValue::text).collect())
}

pub fn policy(pattern: &str, definition: &[(&str, FieldValue)]) -> Command {
    Command::SetPolicy {
        vhost: VHOST.into(),
        name: pattern.into(),
        pattern: pattern.into(),
        apply_to: "queues".into(),
        priority: pattern.len() as i64,
        definition: table(definition),
        operator: false,
    }
}

pub fn clear_policy(pattern: &str) -> Command {
    Command::ClearPolicy { vhost: VHOST.into(), name: pattern.into(), operator: false }
}

pub fn all() -> Command {
    policy("m", &[("ha-mode", text("all"))])
}

pub fn exactly(count: i64) -> Command {
    policy("m", &[("ha-mode", text("exactly")), ("ha-params", FieldValue::I64(count))])
}

pub fn on(names: FieldValue) -> Command {
    policy("m", &[("ha-mode", text("nodes")), ("ha-params", names)])
}

pub fn declare(home: u64, name: &str, durable: bool, exclusive: bool, arguments: FieldTable) -> Command {
    let command = Command::DeclareQueue {
        vhost: VHOST.into(),
        name: name.into(),
        server_named: false,
        durable,
        auto_delete: false,
        exclusive,
        connection: ConnectionId(u64::from(exclusive) * 9),
        arguments,
        user: "u".into(),
    };
    Command::DeclareAt { home: NodeId(home), command: Box::new(command) }
}

pub fn durable(home: u64, name: &str) -> Command {
    declare(home, name, true, false, table(&[]))
}

pub fn transient(home: u64, name: &str) -> Command {
    declare(home, name, false, false, table(&[]))
}

pub fn quorum(home: u64, name: &str, size: Option<i64>) -> Command {
    let mut arguments = table(&[("x-queue-type", text("quorum"))]);
    if let Some(size) = size {
        arguments.insert("x-quorum-initial-group-size", FieldValue::I64(size));
    }
    declare(home, name, true, false, arguments)
}

/// Nodes 1 to `count`, with boots of ten times their ids, and a vhost.
pub fn cluster(count: u64) -> Catalog {
    let mut catalog = Catalog::new();
    let vhost = Command::AddVhost {
        name: VHOST.into(),
        description: String::new(),
        tags: vec![],
        default_queue_type: None,
    };
    apply(&mut catalog, vhost);
    apply(&mut catalog, Command::FormCluster { cluster: 7, node: node(1, 10) });
    (2..=count).for_each(|id| drop(apply(&mut catalog, put(node(id, 10 * id)))));
    catalog
}

pub fn apply(catalog: &mut Catalog, command: Command) -> Vec<Event> {
    let mut events = Vec::new();
    let text = format!("{command:?}");
    catalog.apply(command, &mut events).unwrap_or_else(|error| panic!("{text}: {error}"));
    events
}

pub fn row(catalog: &Catalog, name: &str) -> Arc<Queue> {
    catalog.vhost(VHOST).unwrap().queue(name).unwrap_or_else(|| panic!("no queue {name}")).clone()
}

pub fn is_there(catalog: &Catalog, name: &str) -> bool {
    catalog.vhost(VHOST).unwrap().queue(name).is_some()
}

pub fn copies(catalog: &Catalog, name: &str) -> Copies {
    row(catalog, name).copies.as_deref().unwrap_or_else(|| panic!("{name} is not mirrored")).clone()
}

/// Home, mirrors, who is in sync, and how many commits need.
pub fn picture(catalog: &Catalog, name: &str) -> String {
    let row = row(catalog, name);
    let list = |nodes: &[NodeId]| nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(" ");
    match &row.copies {
        None => format!("{} alone", row.home.0),
        Some(copies) => format!(
            "{} mirrors {}, in sync {}, {} needed",
            row.home.0,
            list(&copies.mirrors),
            list(&copies.in_sync),
            copies.min_in_sync
        ),
    }
}

/// A step for the row as it is.
pub fn change(catalog: &Catalog, name: &str, step: CopyStep) -> CopyChange {
    let row = row(catalog, name);
    CopyChange::of(&row, step)
}

/// Takes one step; whether it fitted.
pub fn step(catalog: &mut Catalog, name: &str, step: CopyStep) -> bool {
    let before = row(catalog, name);
    let changes = vec![change(catalog, name, step)];
    let events = apply(catalog, Command::ChangeCopies { changes });
    let changed = row(catalog, name) != before;
    assert_eq!(changed, !events.is_empty(), "{events:?}");
    changed
}

/// The mirrors that a home has level by and by.
pub fn joins(catalog: &Catalog) -> Vec<CopyChange> {
    let is_up = |node: NodeId| catalog.is_up(node);
    let rows = catalog.vhost(VHOST).unwrap().queues.values().filter(|row| is_up(row.home));
    let joins = rows.filter_map(|row| {
        let copies = row.copies.as_deref()?;
        let joiner = copies.mirrors.iter().find(|node| is_up(**node) && !copies.in_sync.contains(node))?;
        Some(change(catalog, row.name.as_str(), CopyStep::JoinSync(*joiner)))
    });
    joins.collect()
}

/// Goes on until the leader has no step left and no mirror is left to be level; the steps, as text.
pub fn settle(catalog: &mut Catalog) -> Vec<String> {
    let mut taken = Vec::new();
    for _ in 0..200 {
        let steps = next_steps(catalog, 1_000);
        let changes = if steps.is_empty() { joins(catalog) } else { steps };
        let before = catalog.version;
        let texts: Vec<String> = changes.iter().map(|change| format!("{:?}", change.step)).collect();
        apply(catalog, Command::ChangeCopies { changes });
        if catalog.version == before {
            return taken;
        }
        taken.extend(texts);
    }
    panic!("it goes on and on: {:?}", &taken[taken.len() - 12..]);
}
