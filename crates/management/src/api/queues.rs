//! Queues: list, declare, delete, purge.
//!
//! Invariant: a listing takes each queue's lock for a moment, and only for the rows that are shown.

use super::exchanges::asks;
use super::{bindings, consumers};
use crate::api::Api;
use crate::auth::{Administrator, Anyone, Caller};
use crate::body::Body;
use crate::cluster::Places;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use crate::sampler::{self, QueueSeries};
use crate::{fields, system};
use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::routing::{get, post};
use broker::access::{Access, Resource};
use broker::catalog::{self, Command, Outcome, Vhost, refusal};
use broker::policy;
use broker::queue::QueueKind;
use engine::queue::{DeleteConditions, QueueListing};
use engine::{Queue, QueueCommand};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;
use types::{AmqpError, ConnectionId, FieldValue, QueueName};

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/queues", get(|caller, query| list(caller, None, query)))
        .route("/api/queues/detailed", get(|caller, query| list(caller, None, query)))
        .route("/api/queues/{vhost}", get(|caller, path, query| list(caller, Some(path), query)))
        .route("/api/queues/{vhost}/{queue}", get(one).put(put).delete(delete))
        .route("/api/queues/{vhost}/{queue}/contents", axum::routing::delete(purge))
        .route("/api/queues/{vhost}/{queue}/bindings", get(bindings::of_queue))
        .route("/api/queues/{vhost}/{queue}/actions", post(act))
        .route("/api/rebalance/queues", post(rebalance))
}

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

fn show(places: &Places<'_>, row: &catalog::Queue, query: &ListQuery) -> Value {
    let mut map = declared(places, row);
    if !query.stats && !query.totals {
        return Value::Object(map);
    }
    let view = QueueView::of(places.api(), row);
    if query.stats {
        put_policies(&mut map, row);
        put_members(&mut map, places.home(row), row, view.is_some());
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

fn put_members(map: &mut Map<String, Value>, home: &str, row: &catalog::Queue, is_reachable: bool) {
    if row.kind == QueueKind::Quorum {
        let online = if is_reachable { json!([home]) } else { json!([]) };
        map.insert("leader".to_owned(), json!(home));
        map.insert("members".to_owned(), json!([home]));
        map.insert("online".to_owned(), online);
        let limit = row.config.delivery_limit;
        map.insert("delivery_limit".to_owned(), limit.map_or(json!("unlimited"), |limit| json!(limit)));
    } else {
        map.insert("slave_nodes".to_owned(), json!([]));
        map.insert("synchronised_slave_nodes".to_owned(), json!([]));
    }
}

async fn list(Anyone(caller): Anyone, vhost: Option<Path<String>>, query: ListQuery) -> Answer {
    if query.stats || query.totals {
        caller.api.ask_others().await;
    }
    let catalog = caller.api.catalog();
    let vhosts = caller.some_vhosts(&catalog, vhost.as_ref().map(|path| path.0.as_str()))?;
    let rows: Vec<&Arc<catalog::Queue>> = vhosts.iter().flat_map(|vhost| vhost.queues.values()).collect();
    let places = Places::of(&caller.api);
    query.answer(rows, |row| row.name.as_str(), |row| show(&places, row, &query))
}

/// The queue that a path names.
pub(crate) fn find<'a>(vhost: &'a Vhost, name: &str) -> Result<&'a Arc<catalog::Queue>, Failure> {
    vhost.queue(name).ok_or_else(Failure::no_object)
}

/// The queue of a row, if nobody else's connection owns it and its home is there.
pub(crate) fn open(caller: &Caller, row: &catalog::Queue) -> Result<Arc<Queue>, AmqpError> {
    if row.exclusive.is_some() {
        return Err(refusal::locked(&row.vhost, row.name.as_str()));
    }
    let queue = caller.api.broker.queue(row.id);
    let queue = queue.ok_or_else(|| refusal::no_queue(&row.vhost, row.name.as_str()))?;
    queue.unreachable().map_or(Ok(queue), Err)
}

type Place = Path<(String, String)>;

async fn one(Anyone(caller): Anyone, Path((vhost, name)): Place, query: ListQuery) -> Answer {
    if query.stats || query.totals {
        caller.api.ask_others().await;
    }
    let vhost = caller.visible(&caller.api.catalog(), &vhost)?;
    let row = find(&vhost, &name)?;
    let places = Places::of(&caller.api);
    let mut value = show(&places, row, &query);
    if query.stats
        && let Value::Object(map) = &mut value
    {
        map.insert("consumer_details".to_owned(), Value::Array(consumers::of_queue(&places, row)));
        map.insert("incoming".to_owned(), json!([]));
        map.insert("deliveries".to_owned(), json!([]));
    }
    reply::show(query.project(value))
}

async fn put(Anyone(caller): Anyone, Path((vhost, name)): Place, body: Body) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    reply::put(declare(&caller, &vhost, &name, &body).await?)
}

/// Declares a queue as a request's body or an entry of a definitions file says; whether it is new.
pub(crate) async fn declare(
    caller: &Caller,
    vhost: &Vhost,
    name: &str,
    body: &Body,
) -> Result<bool, Failure> {
    let name = QueueName::new(name)
        .ok_or_else(|| Failure::bad_request("the queue name is longer than 255 bytes"))?;
    let arguments = body.table("arguments")?;
    caller.check(vhost, Access::Configure, Resource::Queue(name.as_str()))?;
    if let Some(exchange) = arguments.get("x-dead-letter-exchange").and_then(FieldValue::as_text) {
        caller.check(vhost, Access::Read, Resource::Queue(name.as_str()))?;
        caller.check(vhost, Access::Write, Resource::Exchange(exchange))?;
    }
    let command = Command::DeclareQueue {
        vhost: vhost.name.clone(),
        name,
        server_named: false,
        durable: body.flag("durable")?,
        auto_delete: body.flag("auto_delete")?,
        exclusive: false,
        // No client's: ids of connections begin with 1.
        connection: ConnectionId(0),
        arguments,
        user: caller.user.name.clone(),
    };
    caller.api.broker.metrics().queues_declared.add(1);
    Ok(matches!(caller.api.change(command).await?, Outcome::Queue { created: true, .. }))
}

async fn delete(Anyone(caller): Anyone, Path((vhost, name)): Place, RawQuery(query): RawQuery) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    let row = find(&vhost, &name)?;
    caller.check(&vhost, Access::Configure, Resource::Queue(&name))?;
    let queue = open(&caller, row)?;
    let query = query.unwrap_or_default();
    let conditions =
        DeleteConditions { if_unused: asks(&query, "if-unused"), if_empty: asks(&query, "if-empty") };
    if row.kind == QueueKind::Quorum && (conditions.if_unused || conditions.if_empty) {
        let flag = if conditions.if_unused { "if-unused" } else { "if-empty" };
        let text = refusal::queue_text(&vhost.name, &name);
        let text = format!(
            "cannot delete {text}. queue.delete operations with {flag} flag set are not supported by quorum queues"
        );
        return Err(Failure::bad_request(text));
    }
    let outcome = caller.api.broker.delete_queue(&queue, conditions).await;
    caller.api.broker.flush();
    outcome?;
    reply::done()
}

async fn purge(Anyone(caller): Anyone, Path((vhost, name)): Place) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    let row = find(&vhost, &name)?;
    caller.check(&vhost, Access::Read, Resource::Queue(&name))?;
    let queue = open(&caller, row)?;
    let (reply, answer) = oneshot::channel();
    caller.api.broker.post(&queue, QueueCommand::Purge(reply));
    caller.api.broker.flush();
    match answer.await {
        // No answer at home means that the queue is gone, and with it its messages.
        Err(_) if queue.is_away() => Err(queue.no_answer().into()),
        _ => reply::done(),
    }
}

/// `sync` and `cancel_sync` of mirrored queues: a queue with one copy is always in sync.
async fn act(Administrator(caller): Administrator, Path((vhost, name)): Place, body: Body) -> Answer {
    let vhost = caller.vhost(&caller.api.catalog(), &vhost)?;
    find(&vhost, &name)?;
    match body.required_text("action")? {
        "sync" | "cancel_sync" => reply::done(),
        other => Err(Failure::bad_request(json!(["unknown", other]))),
    }
}

/// RabbitMQ moves leaders of replicated queues: a queue with one copy stays where its messages are.
async fn rebalance(Administrator(_caller): Administrator) -> Answer {
    reply::done()
}
