//! What arguments and policies ask of a queue's copies.
//!
//! Invariant: it follows from the catalog alone, so every node comes to the same. A queue that is wanted on one
//! node only is not mirrored; an exclusive queue never is.

use super::{Catalog, Copies};
use crate::catalog::Queue;
use crate::policy;
use crate::queue::QueueKind;
use types::limits::{MIRRORS_FEATURE_LEVEL, QUORUM_GROUP_DEFAULT};
use types::{FieldTable, FieldValue, NodeId};

/// Which nodes are to have a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The home alone.
    One,
    All,
    /// So many, the home among them.
    Count(usize),
    /// Those with these names.
    Named(Vec<String>),
}

/// What is asked of a queue's copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Nodes that are to have one, ascending. The home is not among them when it is to move.
    pub nodes: Vec<NodeId>,
    /// So many a commit is to need.
    pub min_in_sync: u32,
    /// A mirror that is not in sync may become the home when nobody else is left.
    pub promote_unsynced: bool,
}

fn words(table: &FieldTable, key: &str) -> Option<Vec<String>> {
    let Some(FieldValue::Array(values)) = table.get(key) else { return None };
    Some(values.iter().filter_map(FieldValue::as_text).map(str::to_owned).collect())
}

fn count(value: Option<&FieldValue>) -> Option<usize> {
    usize::try_from(value?.as_integer()?).ok().filter(|count| *count > 0)
}

/// The target of a queue, by its kind, arguments and the policies that hold for it.
fn target(queue: &Queue, definition: &FieldTable) -> Target {
    if queue.exclusive.is_some() {
        return Target::One;
    }
    if queue.kind == QueueKind::Quorum {
        let argument = count(queue.arguments.get("x-quorum-initial-group-size"));
        let wanted = argument.or_else(|| count(definition.get("target-group-size")));
        return Target::Count(wanted.unwrap_or(QUORUM_GROUP_DEFAULT));
    }
    let params = definition.get("ha-params");
    match definition.get("ha-mode").and_then(FieldValue::as_text) {
        Some("all") => Target::All,
        Some("exactly") => count(params).map_or(Target::One, Target::Count),
        Some("nodes") => words(definition, "ha-params").map_or(Target::One, Target::Named),
        _ => Target::One,
    }
}

/// Whether a node is called so, with or without RabbitMQ's prefix.
fn is_called(name: &str, word: &str) -> bool {
    name == word || word.strip_prefix("rabbit@").is_some_and(|word| word == name)
}

impl Catalog {
    /// What is asked of the copies of a queue.
    pub fn wanted_copies(&self, queue: &Queue) -> Wanted {
        let definition =
            policy::effective_definition(queue.policy.as_deref(), queue.operator_policy.as_deref());
        let may = self.is_cluster() && self.feature_level() >= MIRRORS_FEATURE_LEVEL;
        let target = if may { target(queue, &definition) } else { Target::One };
        let nodes = self.members(queue, &target);
        let majority = if nodes.len() > 2 { nodes.len() / 2 + 1 } else { 1 };
        let asked = count(definition.get("min-in-sync")).unwrap_or(majority);
        let promote = definition.get("ha-promote-on-failure").and_then(FieldValue::as_text);
        Wanted {
            min_in_sync: u32::try_from(asked.clamp(1, nodes.len().max(1))).unwrap_or(1),
            promote_unsynced: promote == Some("always"),
            nodes,
        }
    }

    /// Whether a row may ask for copies at all: a cheap look before `wanted_copies`.
    pub(crate) fn may_want_copies(queue: &Queue) -> bool {
        let asks = |policy: &policy::Policy| policy.definition.get("ha-mode").is_some();
        queue.copies.is_some()
            || (queue.exclusive.is_none()
                && (queue.kind == QueueKind::Quorum
                    || queue.policy.as_deref().is_some_and(asks)
                    || queue.operator_policy.as_deref().is_some_and(asks)))
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|row| row.up)
    }

    fn members(&self, queue: &Queue, target: &Target) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = match target {
            Target::One => Vec::new(),
            Target::All => self.nodes.keys().copied().collect(),
            Target::Count(count) => self.chosen(queue, *count),
            Target::Named(names) => {
                let named = |name: &str| names.iter().any(|word| is_called(name, word));
                let all: Vec<NodeId> =
                    self.nodes.values().filter(|node| named(&node.name)).map(|node| node.id).collect();
                // None of them there: it stays where it is.
                if all.iter().any(|node| self.is_up(*node)) { all } else { Vec::new() }
            }
        };
        if nodes.is_empty() {
            nodes.push(queue.home);
        }
        nodes.sort_unstable();
        nodes
    }

    /// So many nodes: the home, those that have a copy and are up, others that are up, in turn; then those that are
    /// down.
    fn chosen(&self, queue: &Queue, count: usize) -> Vec<NodeId> {
        let none = Copies::default();
        let copies = queue.copies.as_deref().unwrap_or(&none);
        let mut nodes = vec![queue.home];
        let mut add = |candidates: &mut dyn Iterator<Item = NodeId>| {
            for node in candidates {
                if nodes.len() < count && !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        };
        add(&mut copies.in_sync.iter().copied().filter(|node| self.is_up(*node)));
        add(&mut copies.mirrors.iter().copied().filter(|node| self.is_up(*node)));
        let all: Vec<NodeId> = self.nodes.keys().copied().collect();
        let begin = usize::try_from(queue.id.0).unwrap_or(0) % all.len().max(1);
        let turn = || all.iter().cycle().skip(begin).take(all.len()).copied();
        add(&mut turn().filter(|node| self.is_up(*node)));
        add(&mut copies.mirrors.iter().copied());
        add(&mut turn());
        nodes
    }

    /// The copies that a new queue begins with, and its home, which may be another one than was asked for. It is
    /// empty, so that everybody is in sync.
    pub(crate) fn first_copies(&self, queue: &Queue, version: u64) -> Option<(NodeId, Copies)> {
        if !Catalog::may_want_copies(queue) {
            return None;
        }
        let wanted = self.wanted_copies(queue);
        let home = match wanted.nodes.contains(&queue.home) {
            true => queue.home,
            false => wanted.nodes.iter().copied().find(|node| self.is_up(*node))?,
        };
        let mirrors: Vec<NodeId> = wanted.nodes.iter().copied().filter(|node| *node != home).collect();
        if mirrors.is_empty() {
            return (home != queue.home).then(|| (home, Copies::default()));
        }
        let in_sync: Vec<NodeId> =
            wanted.nodes.iter().copied().filter(|node| *node == home || self.is_up(*node)).collect();
        let min_in_sync = wanted.min_in_sync.min(in_sync.len() as u32);
        let boot = self.nodes.get(&home).map_or(0, |node| node.boot);
        Some((home, Copies { epoch: version, boot, version: 1, mirrors, in_sync, min_in_sync }))
    }
}
