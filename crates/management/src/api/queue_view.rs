//! How a queue is shown: what is declared, what it holds, where it is.
//!
//! Invariant: of a queue whose home cannot be asked only what is declared is shown, and that it is down.

use crate::api::Api;
use crate::cluster::Places;
use crate::query::ListQuery;
use crate::sampler::{self, QueueSeries};
use crate::{fields, system};
use broker::catalog::{self, Vhost};
use broker::policy;
use broker::queue::QueueKind;
use engine::queue::{CopyListing, QueueListing};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use types::NodeId;

/// A queue with what it holds and how fast that changes.
pub(crate) struct QueueView {
    pub(crate) listing: QueueListing,
    pub(crate) rates: QueueSeries,
}

impl QueueView {
    /// None while its home cannot be asked: what the home said last may be long over.
    fn of(api: &Api, row: &catalog::Queue) -> Option<QueueView> {
        let listing = api.broker.queue(row.id).filter(|queue| queue.is_reachable())?.listing();
        Some(QueueView { listing, rates: api.samples.queue(row.id) })
    }

    /// Those of a vhost whose homes can be asked.
    pub(crate) fn all(api: &Api, vhost: &Vhost) -> Vec<QueueView> {
        vhost.queues.values().filter_map(|row| QueueView::of(api, row)).collect()
    }
}

fn declared(places: &Places<'_>, row: &catalog::Queue) -> Map<String, Value> {
    let is_reachable = places.api().broker.queue(row.id).is_some_and(|queue| queue.is_reachable());
    let mut map = Map::new();
    map.insert("name".to_owned(), json!(row.name.as_str()));
    map.insert("vhost".to_owned(), json!(row.vhost.as_str()));
    map.insert("type".to_owned(), json!(row.kind.as_str()));
    map.insert("durable".to_owned(), json!(row.durable));
    map.insert("auto_delete".to_owned(), json!(row.auto_delete));
    map.insert("exclusive".to_owned(), json!(row.exclusive.is_some()));
    map.insert("arguments".to_owned(), fields::to_json(&row.arguments));
    map.insert("node".to_owned(), json!(places.home(row)));
    map.insert("state".to_owned(), json!(if is_reachable { "running" } else { "down" }));
    map
}

/// The body of a queue in a listing.
pub(crate) fn show(places: &Places<'_>, row: &catalog::Queue, query: &ListQuery) -> Value {
    let mut map = declared(places, row);
    if !query.stats && !query.totals {
        return Value::Object(map);
    }
    let view = QueueView::of(places.api(), row);
    if query.stats {
        put_policies(&mut map, row);
        put_members(&mut map, places, row, view.is_some());
        put_owner(&mut map, places, row);
    }
    let Some(view) = view else { return Value::Object(map) };
    let counts = &view.listing.counts;
    if !query.stats {
        for (name, count) in [
            ("messages", counts.ready + counts.unacked),
            ("messages_ready", counts.ready),
            ("messages_unacknowledged", counts.unacked),
        ] {
            map.insert(name.to_owned(), json!(count));
        }
        return Value::Object(map);
    }
    sampler::put_counts(&mut map, counts.ready, counts.unacked, &view.rates);
    let stats = sampler::message_stats(&view.listing.totals, &view.rates);
    map.insert("message_stats".to_owned(), Value::Object(stats));
    put_sizes(&mut map, &view.listing);
    Value::Object(map)
}

fn put_owner(map: &mut Map<String, Value>, places: &Places<'_>, row: &catalog::Queue) {
    let Some(id) = row.exclusive else { return };
    let own = places.api().broker.connections().get(id).map(|connection| connection.listing());
    if let Some(owner) = own.as_ref().or_else(|| places.other(id).map(|other| &other.listing)) {
        let details = json!({
            "name": owner.name,
            "peer_host": owner.peer.ip().to_string(),
            "peer_port": owner.peer.port(),
        });
        map.insert("owner_pid_details".to_owned(), details);
    }
}

fn put_sizes(map: &mut Map<String, Value>, listing: &QueueListing) {
    let counts = &listing.counts;
    let bytes = counts.ready_bytes + counts.unacked_bytes;
    // Everything is in memory; RabbitMQ's names for what it holds there.
    for (name, number) in [
        ("messages_ram", counts.ready + counts.unacked),
        ("messages_ready_ram", counts.ready),
        ("messages_unacknowledged_ram", counts.unacked),
        ("messages_paged_out", 0),
        ("message_bytes", bytes),
        ("message_bytes_ready", counts.ready_bytes),
        ("message_bytes_unacknowledged", counts.unacked_bytes),
        ("message_bytes_ram", bytes),
        ("message_bytes_paged_out", 0),
        ("memory", bytes),
        ("reductions", 0),
        ("consumers", u64::from(counts.consumers)),
    ] {
        map.insert(name.to_owned(), json!(number));
    }
    // The share of consumers that could take a message now.
    let capacity = match counts.consumers {
        0 => 0.0,
        all => f64::from(counts.consumers_with_credit.min(all)) / f64::from(all),
    };
    map.insert("consumer_capacity".to_owned(), json!(capacity));
    map.insert("consumer_utilisation".to_owned(), json!(capacity));
    map.insert("head_message_timestamp".to_owned(), Value::Null);
    map.insert("exclusive_consumer_tag".to_owned(), Value::Null);
    map.insert("single_active_consumer_tag".to_owned(), Value::Null);
    map.insert("garbage_collection".to_owned(), json!({}));
    if listing.idle_since_ms > 0 {
        let idle_for_ms = engine::clock::now_ms().saturating_sub(listing.idle_since_ms);
        let since_ms = engine::clock::wall_ms().saturating_sub(idle_for_ms);
        map.insert("idle_since".to_owned(), json!(system::timestamp(since_ms)));
    }
}

fn put_policies(map: &mut Map<String, Value>, row: &catalog::Queue) {
    let name = |policy: Option<&Arc<policy::Policy>>| json!(policy.map(|policy| policy.name.as_str()));
    map.insert("policy".to_owned(), name(row.policy.as_ref()));
    map.insert("operator_policy".to_owned(), name(row.operator_policy.as_ref()));
    let definition = policy::effective_definition(row.policy.as_deref(), row.operator_policy.as_deref());
    map.insert("effective_policy_definition".to_owned(), fields::to_json(&definition));
}

/// Where its copies are: in RabbitMQ's fields, and of those at home here how far they are.
fn put_members(map: &mut Map<String, Value>, places: &Places<'_>, row: &catalog::Queue, is_reachable: bool) {
    let home = places.home(row);
    let copies = row.copies.as_deref();
    let name_of = |node: &NodeId| places.name_of(*node).to_owned();
    let mirrors: Vec<String> = copies.iter().flat_map(|copies| &copies.mirrors).map(name_of).collect();
    let synced = |node: &&NodeId| copies.is_some_and(|copies| copies.in_sync.contains(*node));
    let in_sync: Vec<String> =
        copies.iter().flat_map(|copies| &copies.mirrors).filter(synced).map(name_of).collect();
    if row.kind == QueueKind::Quorum {
        let with_home = |others: &[String]| [&[home.to_owned()], others].concat();
        let online = if is_reachable { with_home(&in_sync) } else { in_sync.clone() };
        map.insert("leader".to_owned(), json!(home));
        map.insert("members".to_owned(), json!(with_home(&mirrors)));
        map.insert("online".to_owned(), json!(online));
        let limit = row.config.delivery_limit;
        map.insert("delivery_limit".to_owned(), limit.map_or(json!("unlimited"), |limit| json!(limit)));
    }
    if row.kind != QueueKind::Quorum || copies.is_some() {
        map.insert("slave_nodes".to_owned(), json!(mirrors));
        map.insert("synchronised_slave_nodes".to_owned(), json!(in_sync));
        map.insert("recoverable_slaves".to_owned(), json!(mirrors));
    }
    let Some(copies) = copies else { return };
    map.insert("epoch".to_owned(), json!(copies.epoch));
    map.insert("min_in_sync".to_owned(), json!(copies.min_in_sync));
    let Some(queue) = places.api().broker.queue(row.id).filter(|queue| !queue.is_away()) else { return };
    let status = queue.copies();
    let mirror = |copy: &CopyListing| {
        json!({
            "node": places.name_of(copy.node),
            "state": copy.state,
            "lag_turns": copy.lag,
            "messages_missing": copy.missing,
        })
    };
    map.insert("mirrors".to_owned(), json!(status.copies.iter().map(mirror).collect::<Vec<_>>()));
    map.insert("waits_for".to_owned(), json!(status.waits_for));
}
