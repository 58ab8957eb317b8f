//! The bindings of one exchange, arranged for its type.
//!
//! Invariant: the table holds exactly the bindings whose source the exchange is; clones share structure,
//! so changing one binding costs a few nodes however many there are.

use super::headers::{self, HeaderView};
use super::ring::{HashRing, WEIGHT_MAX};
use super::slots::Slots;
use super::target::{Target, Targets};
use super::topic::TopicTrie;
use crate::catalog::binding::{Binding, BySource};
use crate::catalog::exchange::ExchangeKind;
use imbl::OrdMap;
use types::{AmqpError, RoutingKey};

#[derive(Clone, Debug)]
pub(crate) enum Table {
    Direct(OrdMap<(RoutingKey, Target), u32>),
    /// Every message matches every binding.
    All(Targets),
    Topic(TopicTrie),
    Headers(OrdMap<BySource, Target>),
    Ring(HashRing),
    Slots(Slots),
}

impl Table {
    pub(crate) fn new(kind: &ExchangeKind) -> Table {
        match kind {
            ExchangeKind::Direct => Table::Direct(OrdMap::new()),
            ExchangeKind::Fanout | ExchangeKind::RecentHistory { .. } => Table::All(Targets::new()),
            ExchangeKind::Topic => Table::Topic(TopicTrie::new()),
            ExchangeKind::Headers => Table::Headers(OrdMap::new()),
            ExchangeKind::ConsistentHash { .. } => Table::Ring(HashRing::default()),
            ExchangeKind::Random | ExchangeKind::LocalRandom | ExchangeKind::ModulusHash => {
                Table::Slots(Slots::default())
            }
            ExchangeKind::Delayed { inner } => Table::new(inner),
        }
    }

    /// Refuses a binding that the exchange's type cannot use.
    pub(crate) fn check_binding(&self, binding: &Binding) -> Result<(), AmqpError> {
        match self {
            Table::Headers(_) => headers::check_arguments(&binding.arguments),
            Table::Ring(_) => weight(&binding.routing_key).map(|_| ()),
            _ => Ok(()),
        }
    }

    pub(crate) fn insert(&mut self, row: &BySource, target: &Target) {
        let binding = &*row.0;
        match self {
            Table::Direct(keys) => {
                *keys.entry((binding.routing_key.clone(), target.clone())).or_insert(0) += 1;
            }
            Table::All(targets) => targets.add(target),
            Table::Topic(trie) => trie.insert(binding.routing_key.as_bytes(), target),
            Table::Headers(rows) => {
                rows.insert(row.clone(), target.clone());
            }
            Table::Ring(ring) => {
                if let Ok(weight) = weight(&binding.routing_key) {
                    ring.insert(target, weight);
                }
            }
            Table::Slots(slots) => slots.insert(row, target),
        }
    }

    /// Takes a binding out; `other` is one that still leads from here to the same target.
    pub(crate) fn remove(&mut self, row: &BySource, target: &Target, other: Option<&Binding>) {
        let binding = &*row.0;
        match self {
            Table::Direct(keys) => {
                let key = (binding.routing_key.clone(), target.clone());
                match keys.get_mut(&key) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => {
                        keys.remove(&key);
                    }
                }
            }
            Table::All(targets) => targets.take(target),
            Table::Topic(trie) => trie.remove(binding.routing_key.as_bytes(), target),
            Table::Headers(rows) => {
                rows.remove(row);
            }
            Table::Ring(ring) => {
                let own = weight(&binding.routing_key).ok();
                let other = other.and_then(|other| weight(&other.routing_key).ok());
                // One binding per target counts; another one takes over when that one goes.
                if other.is_none() || ring.weight(target) == own {
                    ring.remove(target);
                    other.into_iter().for_each(|weight| ring.insert(target, weight));
                }
            }
            Table::Slots(slots) => slots.remove(row),
        }
    }

    /// Shows where a message with the routing key `key` matches, for tables that look at keys only.
    pub(crate) fn each_for_key(&self, key: &[u8], mut visit: impl FnMut(&Target)) {
        match self {
            Table::Direct(keys) => {
                let first = (RoutingKey::from(key), Target::FIRST);
                keys.range(first..)
                    .take_while(|((own, _), _)| own.as_bytes() == key)
                    .for_each(|((_, target), _)| visit(target));
            }
            Table::All(targets) => targets.for_each(|target, _| visit(target)),
            Table::Topic(trie) => trie.each_match(key, visit),
            Table::Headers(_) | Table::Ring(_) | Table::Slots(_) => {}
        }
    }

    /// Shows where a message with `headers` matches, for a headers exchange.
    pub(crate) fn each_for_headers(&self, headers: &HeaderView<'_>, mut visit: impl FnMut(&Target)) {
        if let Table::Headers(rows) = self {
            rows.iter()
                .filter(|(row, _)| headers::fits(&row.0.arguments, headers))
                .for_each(|(_, target)| visit(target));
        }
    }
}

/// The weight that the key of a binding to a consistent-hash exchange stands for, at most the largest one.
pub(crate) fn weight(key: &RoutingKey) -> Result<u64, AmqpError> {
    let number: i64 = key.to_text().parse().map_err(|_| {
        AmqpError::precondition_failed(format!(
            "The binding key must be an integer: {}",
            crate::argument::binary_term(key.as_bytes())
        ))
    })?;
    u64::try_from(number)
        .ok()
        .filter(|&weight| weight > 0)
        .map(|weight| weight.min(WEIGHT_MAX))
        .ok_or_else(|| AmqpError::precondition_failed("The binding key must be greater than 0"))
}
