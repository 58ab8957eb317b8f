//! What arguments and policies ask of a queue's copies.
//!
//! Invariant: it follows from the catalog alone, so every node comes to the same. A queue that is wanted on one
//! node only is not mirrored; an exclusive queue never is, nor is any before all nodes know what mirrors are.

use super::{Catalog, Copies};
use crate::catalog::Queue;
use crate::policy;
use crate::queue::QueueKind;
use types::limits::{MIRRORS_FEATURE_LEVEL, QUORUM_GROUP_DEFAULT};
use types::{FieldValue, NodeId, QueueId};

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
    /// Nodes that are to have one, ascending, at least one. The home is not among them when it is to move.
    pub nodes: Vec<NodeId>,
    /// So many a commit is to need.
    pub min_in_sync: u32,
    /// A mirror that is not in sync may become the home when nobody else is left.
    pub promote_unsynced: bool,
}

/// The value of a setting of the policies that hold for a queue.
fn setting(queue: &Queue, key: &str) -> Option<FieldValue> {
    policy::effective_value(queue.policy.as_deref(), queue.operator_policy.as_deref(), key)
}

fn count(value: Option<&FieldValue>) -> Option<usize> {
    usize::try_from(value?.as_integer()?).ok().filter(|count| *count > 0)
}

/// The target of a queue, by its kind, arguments and the policies that hold for it.
fn target(queue: &Queue) -> Target {
    if queue.exclusive.is_some() {
        return Target::One;
    }
    if queue.kind == QueueKind::Quorum {
        let argument = count(queue.arguments.get("x-quorum-initial-group-size"));
        let size = argument.or_else(|| count(setting(queue, "target-group-size").as_ref()));
        return Target::Count(size.unwrap_or(QUORUM_GROUP_DEFAULT));
    }
    let mode = setting(queue, "ha-mode");
    match (mode.as_ref().and_then(FieldValue::as_text), setting(queue, "ha-params")) {
        (Some("all"), _) => Target::All,
        (Some("exactly"), params) => count(params.as_ref()).map_or(Target::One, Target::Count),
        (Some("nodes"), Some(FieldValue::Array(words))) => {
            Target::Named(words.iter().filter_map(FieldValue::as_text).map(str::to_owned).collect())
        }
        _ => Target::One,
    }
}

/// Whether a node is called so, with or without RabbitMQ's prefix.
fn is_called(name: &str, word: &str) -> bool {
    name == word || word.strip_prefix("rabbit@").is_some_and(|word| word == name)
}

/// Nodes in turn: each queue begins at another one.
pub(super) fn in_turn(mut nodes: Vec<NodeId>, queue: QueueId) -> Vec<NodeId> {
    let begin = queue.0 % (nodes.len() as u64).max(1);
    nodes.rotate_left(usize::try_from(begin).unwrap_or(0));
    nodes
}

impl Catalog {
    /// What is asked of the copies of a queue.
    pub fn wanted_copies(&self, queue: &Queue) -> Wanted {
        let target = if self.knows_mirrors() { target(queue) } else { Target::One };
        let nodes = self.target_nodes(queue, &target);
        let majority = if nodes.len() > 2 { nodes.len() / 2 + 1 } else { 1 };
        let asked = count(setting(queue, "min-in-sync").as_ref()).unwrap_or(majority);
        let promote = setting(queue, "ha-promote-on-failure");
        Wanted {
            min_in_sync: u32::try_from(asked.clamp(1, nodes.len().max(1))).unwrap_or(1),
            promote_unsynced: promote.as_ref().and_then(FieldValue::as_text) == Some("always"),
            nodes,
        }
    }

    /// Whether all nodes of the cluster know what mirrors are.
    pub(super) fn knows_mirrors(&self) -> bool {
        self.is_cluster() && self.feature_level() >= MIRRORS_FEATURE_LEVEL
    }

    /// Whether a row has or may ask for copies at all: a cheap look before `wanted_copies`.
    pub(super) fn may_want_copies(queue: &Queue) -> bool {
        let asks = |policy: &policy::Policy| policy.definition.get("ha-mode").is_some();
        queue.copies.is_some()
            || (queue.exclusive.is_none()
                && (queue.kind == QueueKind::Quorum
                    || queue.policy.as_deref().is_some_and(asks)
                    || queue.operator_policy.as_deref().is_some_and(asks)))
    }

    /// Whether a node counts as running.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|row| row.up)
    }

    fn target_nodes(&self, queue: &Queue, target: &Target) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = match target {
            Target::One => Vec::new(),
            Target::All => self.nodes.keys().copied().collect(),
            Target::Count(count) => self.chosen(queue, *count),
            Target::Named(names) => self.named(queue, names),
        };
        if nodes.is_empty() {
            nodes.push(queue.home);
        }
        nodes.sort_unstable();
        nodes
    }

    /// Nodes with these names; nobody when none of them is up, unless copies wait there.
    fn named(&self, queue: &Queue, names: &[String]) -> Vec<NodeId> {
        let is_named = |name: &str| names.iter().any(|word| is_called(name, word));
        let named = self.nodes.values().filter(|node| is_named(&node.name));
        let nodes: Vec<NodeId> = named.map(|node| node.id).collect();
        let counts = queue.copies.is_some() || nodes.iter().any(|node| self.is_up(*node));
        if counts { nodes } else { Vec::new() }
    }

    /// So many nodes: the home, those that are up and have all, others that are up and have a copy, any that are
    /// up; then those that are down in the same order.
    fn chosen(&self, queue: &Queue, count: usize) -> Vec<NodeId> {
        let copies = queue.copies.as_deref();
        let in_sync = |node: &NodeId| copies.is_some_and(|copies| copies.in_sync.contains(node));
        let is_mirror = |node: &NodeId| copies.is_some_and(|copies| copies.mirrors.contains(node));
        let mut nodes = vec![queue.home];
        for up in [true, false] {
            for has in [&in_sync as &dyn Fn(&NodeId) -> bool, &is_mirror, &|_| true] {
                let all = self.nodes.values().filter(|node| node.up == up).map(|node| node.id);
                let able: Vec<NodeId> = all.filter(|node| has(node) && !nodes.contains(node)).collect();
                let missing = count.saturating_sub(nodes.len());
                nodes.extend(in_turn(able, queue.id).into_iter().take(missing));
            }
        }
        nodes
    }

    /// The home and the copies that a new queue begins with; None when it is as it should be. Its home is another
    /// one than was asked for when that node is not to have a copy, or is down. It is empty, so everybody who is up
    /// is in sync.
    pub(crate) fn first_copies(&self, queue: &Queue, version: u64) -> Option<(NodeId, Option<Copies>)> {
        if !Catalog::may_want_copies(queue) {
            return None;
        }
        let wanted = self.wanted_copies(queue);
        let able: Vec<NodeId> = wanted.nodes.iter().copied().filter(|node| self.is_up(*node)).collect();
        let home = match able.contains(&queue.home) {
            true => queue.home,
            false => in_turn(able.clone(), queue.id).first().copied().unwrap_or(queue.home),
        };
        let mirrors: Vec<NodeId> = wanted.nodes.iter().copied().filter(|node| *node != home).collect();
        if mirrors.is_empty() {
            return (home != queue.home).then_some((home, None));
        }
        // A home that is down has all there is, too: nothing.
        let in_sync = if able.contains(&home) { able } else { vec![home] };
        let min_in_sync = wanted.min_in_sync.min(u32::try_from(in_sync.len()).unwrap_or(u32::MAX));
        let boot = self.boot_of(home);
        Some((home, Some(Copies { epoch: version, boot, version: 1, mirrors, in_sync, min_in_sync })))
    }
}
