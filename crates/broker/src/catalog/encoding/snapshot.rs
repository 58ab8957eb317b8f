//! The whole catalog as bytes.
//!
//! Invariant: rows stand in the order of their names, so equal catalogs have equal bytes. The bindings of an
//! exchange stand in an order that, bound one after the other, gives the exchange's table again.

use super::field::{Field, structures};
use crate::catalog::copies::Copies;
use crate::catalog::exchange::{Exchange, ExchangeKind, HashBy};
use crate::catalog::vhost::Vhost;
use crate::catalog::{Binding, Catalog, Limits, Permission, Queue, TopicPermission, User, UserLimits};
use crate::codec::{self, DecodeError, Reader};
use crate::policy::Policy;
use crate::router::table::{Table, weight};
use imbl::OrdMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::{NodeId, QueueId};

/// First byte of the encoded catalog of a node that is alone.
pub(super) const FORMAT: u8 = 1;
/// First byte of the encoded catalog of a cluster: the same, and the cluster's own rows behind it.
pub(super) const CLUSTER_FORMAT: u8 = 2;
/// First byte of that of a cluster with mirrored queues: the same, and their copies behind it.
pub(super) const COPIES_FORMAT: u8 = 3;

structures! {
    UserLimits { max_connections, max_channels }
    User { name, password_hash, tags, limits }
    Limits { max_connections, max_queues }
}

impl Catalog {
    /// Everything, transient rows too, as bytes; the first one is the version of the format. Equal catalogs
    /// give equal bytes. The bytes carry no checksum: whoever keeps them adds one.
    pub fn encode(&self) -> Vec<u8> {
        let copied = self.copied_queues();
        let mut out = vec![match (self.is_cluster(), copied.is_empty()) {
            (false, _) => FORMAT,
            (true, true) => CLUSTER_FORMAT,
            (true, false) => COPIES_FORMAT,
        }];
        self.version.put(&mut out);
        self.last_queue_id.put(&mut out);
        put_rows(&mut out, &self.users, |out, user| user.put(out));
        put_texts(&mut out, &self.global_parameters, String::put);
        put_rows(&mut out, &self.vhosts, put_vhost);
        if self.is_cluster() {
            self.put_cluster(&mut out);
            if !copied.is_empty() {
                codec::put_count(&mut out, copied.len());
                for (id, copies) in copied {
                    id.put(&mut out);
                    copies.put(&mut out);
                }
            }
        }
        out
    }

    /// Mirrored queues with their copies, by id.
    fn copied_queues(&self) -> BTreeMap<QueueId, &Copies> {
        let queues = self.queues();
        queues.filter_map(|row| Some((row.id, row.copies.as_deref()?))).collect()
    }

    /// The cluster's id, its nodes, and for each node the logs that have their home there.
    fn put_cluster(&self, out: &mut Vec<u8>) {
        self.cluster.put(out);
        put_rows(out, &self.nodes, |out, node| node.put(out));
        let mut homes: BTreeMap<NodeId, Vec<QueueId>> = BTreeMap::new();
        self.homes().for_each(|(id, home)| homes.entry(home).or_default().push(id));
        codec::put_count(out, homes.len());
        for (home, mut ids) in homes {
            ids.sort_unstable();
            home.put(out);
            ids.put(out);
        }
    }
}

/// Rows that hold their own keys.
fn put_rows<K: Ord, V>(out: &mut Vec<u8>, rows: &OrdMap<K, Arc<V>>, put: impl Fn(&mut Vec<u8>, &V)) {
    codec::put_count(out, rows.len());
    rows.values().for_each(|row| put(out, row));
}

/// Texts with their keys in front.
fn put_texts<K: Ord>(out: &mut Vec<u8>, texts: &OrdMap<K, String>, put_key: impl Fn(&K, &mut Vec<u8>)) {
    codec::put_count(out, texts.len());
    for (key, text) in texts {
        put_key(key, out);
        text.put(out);
    }
}

fn put_vhost(out: &mut Vec<u8>, vhost: &Vhost) {
    vhost.name.put(out);
    vhost.description.put(out);
    vhost.tags.put(out);
    vhost.default_queue_type.put(out);
    vhost.tracing.put(out);
    vhost.limits.put(out);
    put_rows(out, &vhost.policies, put_policy);
    put_rows(out, &vhost.operator_policies, put_policy);
    put_rows(out, &vhost.permissions, put_permission);
    put_rows(out, &vhost.topic_permissions, put_topic_permission);
    put_texts(out, &vhost.parameters, |(component, name), out| {
        component.put(out);
        name.put(out);
    });
    put_rows(out, &vhost.exchanges, put_exchange);
    put_rows(out, &vhost.queues, put_queue);
    for exchange in vhost.exchanges.values() {
        let bindings = in_table_order(vhost, exchange);
        codec::put_count(out, bindings.len());
        for binding in bindings {
            binding.destination.put(out);
            binding.routing_key.put(out);
            binding.arguments.put(out);
        }
    }
}

fn put_policy(out: &mut Vec<u8>, policy: &Policy) {
    policy.name.put(out);
    codec::put_text(out, policy.pattern.as_str());
    policy.apply_to.put(out);
    policy.priority.put(out);
    policy.definition.put(out);
}

fn put_permission(out: &mut Vec<u8>, row: &Permission) {
    row.user.put(out);
    for pattern in [&row.configure, &row.write, &row.read] {
        codec::put_text(out, pattern.as_str());
    }
}

fn put_topic_permission(out: &mut Vec<u8>, row: &TopicPermission) {
    row.user.put(out);
    row.exchange.put(out);
    row.write.text.put(out);
    row.read.text.put(out);
}

fn put_exchange(out: &mut Vec<u8>, exchange: &Exchange) {
    exchange.name.put(out);
    exchange.kind.put(out);
    exchange.durable.put(out);
    exchange.auto_delete.put(out);
    exchange.internal.put(out);
    exchange.arguments.put(out);
    exchange.user.put(out);
    exchange.version.put(out);
    exchange.holding.put(out);
}

fn put_queue(out: &mut Vec<u8>, queue: &Queue) {
    queue.name.put(out);
    queue.id.put(out);
    queue.durable.put(out);
    queue.auto_delete.put(out);
    queue.exclusive.put(out);
    queue.kind.put(out);
    queue.arguments.put(out);
    queue.user.put(out);
}

/// The bindings of an exchange in the order of their slots or buckets, where the table has such.
fn in_table_order(vhost: &Vhost, exchange: &Exchange) -> Vec<Arc<Binding>> {
    let mut bindings: Vec<Arc<Binding>> = vhost.bindings_from(exchange.name.as_str()).collect();
    match &exchange.table {
        Table::Slots(slots) => return slots.rows().map(|row| row.0.clone()).collect(),
        // Of the bindings to one target the first one whose weight is the target's stands for it.
        Table::Ring(ring) => bindings.sort_by_cached_key(|binding| {
            let place = vhost.target(&binding.destination).ok().and_then(|target| ring.place(&target));
            let (start, share) = place.unwrap_or((u64::MAX, 0));
            (weight(&binding.routing_key).ok() != Some(share), start)
        }),
        Table::Direct(_) | Table::All(_) | Table::Topic(_) | Table::Headers(_) => {}
    }
    bindings
}

impl Field for ExchangeKind {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            ExchangeKind::Direct => out.push(0),
            ExchangeKind::Fanout => out.push(1),
            ExchangeKind::Topic => out.push(2),
            ExchangeKind::Headers => out.push(3),
            ExchangeKind::ConsistentHash { by } => {
                out.push(4);
                by.put(out);
            }
            ExchangeKind::Random => out.push(5),
            ExchangeKind::LocalRandom => out.push(6),
            ExchangeKind::ModulusHash => out.push(7),
            ExchangeKind::RecentHistory { length } => {
                out.push(8);
                codec::put_count(out, *length);
            }
            ExchangeKind::Delayed { inner } => {
                out.push(9);
                inner.put(out);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<ExchangeKind, DecodeError> {
        let at = reader.position();
        Ok(match reader.u8()? {
            0 => ExchangeKind::Direct,
            1 => ExchangeKind::Fanout,
            2 => ExchangeKind::Topic,
            3 => ExchangeKind::Headers,
            4 => ExchangeKind::ConsistentHash { by: HashBy::read(reader)? },
            5 => ExchangeKind::Random,
            6 => ExchangeKind::LocalRandom,
            7 => ExchangeKind::ModulusHash,
            8 => match usize::try_from(reader.varint()?) {
                Ok(length) => ExchangeKind::RecentHistory { length },
                Err(_) => return reader.refuse(at, "history longer than memory"),
            },
            9 => match ExchangeKind::read_plain(reader)? {
                Some(inner) => ExchangeKind::Delayed { inner: Box::new(inner) },
                None => return reader.refuse(at, "a delayed exchange within a delayed one"),
            },
            other => return reader.refuse(at, format!("unknown exchange type {other}")),
        })
    }
}

impl ExchangeKind {
    /// A type without a delay of its own, so that reading does not nest.
    fn read_plain(reader: &mut Reader<'_>) -> Result<Option<ExchangeKind>, DecodeError> {
        match reader.clone().u8()? {
            9 => Ok(None),
            _ => ExchangeKind::read(reader).map(Some),
        }
    }
}

impl Field for HashBy {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            HashBy::RoutingKey => out.push(0),
            HashBy::Header(name) => {
                out.push(1);
                codec::put_text(out, name);
            }
            HashBy::CorrelationId => out.push(2),
            HashBy::MessageId => out.push(3),
            HashBy::Timestamp => out.push(4),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<HashBy, DecodeError> {
        let at = reader.position();
        Ok(match reader.u8()? {
            0 => HashBy::RoutingKey,
            1 => HashBy::Header(reader.text()?.into()),
            2 => HashBy::CorrelationId,
            3 => HashBy::MessageId,
            4 => HashBy::Timestamp,
            other => return reader.refuse(at, format!("unknown thing to hash {other}")),
        })
    }
}
