//! Queues: list, declare, delete, purge.
//!
//! Invariant: a listing takes each queue's lock for a moment, and only for the rows that are shown.

use super::exchanges::asks;
use super::queue_view::show;
use super::{bindings, consumers};
use crate::api::Api;
use crate::auth::{Administrator, Anyone, Caller};
use crate::body::Body;
use crate::cluster::Places;
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::routing::{get, post};
use broker::access::{Access, Resource};
use broker::catalog::copies::balancing_steps;
use broker::catalog::{self, Command, Outcome, Vhost, refusal};
use broker::queue::QueueKind;
use engine::cluster::NodeState;
use engine::queue::DeleteConditions;
use engine::{Queue, QueueCommand};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;
use types::limits::COPY_STEPS_MAX;
use types::{AmqpError, ConnectionId, FieldValue, NodeId, QueueName};

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
    let home = wanted_home(&caller.api, &body)?;
    let created = declare(&caller, &vhost, &name, &body, home).await?;
    let queue = caller.api.broker.queue_named(vhost.name.as_str(), &name);
    match queue.and_then(|queue| queue.unreachable()) {
        Some(error) => Err(error.into()),
        None => reply::put(created),
    }
}

/// RabbitMQ declares at the node that a body names, so that the queue's home is there.
fn wanted_home(api: &Api, body: &Body) -> Result<Option<NodeId>, Failure> {
    let Some(asked) = body.text("node")?.filter(|name| !name.is_empty()) else { return Ok(None) };
    if api.cluster().is_none() {
        return Ok(None);
    }
    let node = api.member(asked).filter(|node| node.state != NodeState::Down);
    let refuse =
        || Failure::bad_request(format!("node is '{asked}': it must be a node of the cluster that runs"));
    node.map(|node| Some(node.id)).ok_or_else(refuse)
}

/// Declares a queue as a request's body or an entry of a definitions file says, with a home that was asked for;
/// whether it is new.
pub(crate) async fn declare(
    caller: &Caller,
    vhost: &Vhost,
    name: &str,
    body: &Body,
    home: Option<NodeId>,
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
    let command = match home {
        Some(home) => Command::DeclareAt { home, command: Box::new(command) },
        None => command,
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

/// Spreads the homes of mirrored queues over the nodes that are up; a queue with one copy stays where its messages are.
async fn rebalance(Administrator(caller): Administrator) -> Answer {
    let broker = &caller.api.broker;
    let changes = {
        let catalog = broker.catalog();
        let nodes: Vec<NodeId> = catalog.nodes.keys().copied().collect();
        balancing_steps(&catalog, &nodes, COPY_STEPS_MAX)
    };
    if !changes.is_empty() {
        broker.change(Command::ChangeCopies { changes }).await?;
    }
    reply::done()
}
