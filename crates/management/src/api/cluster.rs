//! Leveret's own paths of the cluster: how it is, taking out a node that is lost, and leaving.
//!
//! Invariant: what was begun is seen through, also when the caller hangs up in the middle.

use super::exchanges::asks;
use super::overview::name_of_cluster;
use crate::api::Api;
use crate::auth::Administrator;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use engine::cluster::{ClusterView, NodeNumbers, NodeView};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/cluster/status", get(status))
        .route("/api/cluster/nodes/{node}", delete(forget))
        .route("/api/cluster/leave", post(leave))
}

async fn status(Administrator(caller): Administrator) -> Answer {
    let api = &caller.api;
    let status = api.cluster_status();
    let not_ready = api.not_ready();
    reply::show(json!({
        "name": name_of_cluster(api),
        "id": status.id.map(|id| format!("{id:032x}")),
        "node": api.node_name(),
        "ready": not_ready.is_none(),
        "not_ready_reason": not_ready,
        "catalog": {
            "leader": status.leader,
            "term": status.term,
            "version": status.catalog_version,
            "has_majority": status.has_majority,
        },
        "nodes": status.nodes.iter().map(|node| show(api, node)).collect::<Vec<Value>>(),
    }))
}

fn show(api: &Api, node: &NodeView) -> Value {
    let own = node.is_me.then(|| api.broker.alarms().own());
    let told = node.numbers.as_ref();
    let on = [
        (own.map_or(told.is_some_and(|told| told.memory_alarm), |own| own.memory), "memory"),
        (own.map_or(told.is_some_and(|told| told.disk_alarm), |own| own.disk), "disk"),
    ];
    let alarms: Vec<&str> = on.iter().filter(|(is_on, _)| *is_on).map(|(_, resource)| *resource).collect();
    let mut map = Map::new();
    let facts = [
        ("name", json!(node.name)),
        // As text: JSON's numbers are not exact so far up.
        ("id", json!(node.id.to_string())),
        ("addr", json!(node.addr)),
        ("state", json!(node.state.as_str())),
        ("version", json!(node.version)),
        ("leads", json!(node.leads)),
        ("votes", json!(node.votes)),
        ("lag", json!(node.lag)),
        ("homes", json!(node.homes)),
        ("alarms", json!(alarms)),
    ];
    map.extend(facts.map(|(key, value)| (key.to_owned(), value)));
    if let Some(told) = told {
        put_numbers(&mut map, told);
    }
    Value::Object(map)
}

fn put_numbers(map: &mut Map<String, Value>, told: &NodeNumbers) {
    let facts = [
        ("ready", json!(told.ready)),
        ("catalog_version", json!(told.catalog_version)),
        ("connections", json!(told.connections)),
        ("queues", json!(told.queues)),
        ("memory_bytes", json!(told.memory_bytes)),
        ("disk_free_bytes", json!(told.disk_free_bytes)),
        ("started_s", json!(told.started_s)),
        ("amqp_addr", json!(told.amqp_addr)),
        ("http_addr", json!(told.http_addr)),
    ];
    map.extend(facts.map(|(key, value)| (key.to_owned(), value)));
}

fn cluster(api: &Api) -> Result<Arc<dyn ClusterView>, Failure> {
    let none =
        || Failure::bad_request("this node belongs to no cluster: it was started without cluster-addr");
    api.broker.cluster().ok_or_else(none)
}

/// The reason says what would be lost, or what stands in the way.
fn refused(reason: String) -> Failure {
    Failure::of(StatusCode::CONFLICT, "refused", reason)
}

/// Sees `work` through on its own.
async fn see_through(work: impl Future<Output = Result<(), String>> + Send + 'static) -> Result<(), Failure> {
    let stopping = |_| refused("the node is stopping".to_owned());
    tokio::spawn(work).await.map_err(stopping)?.map_err(refused)
}

async fn forget(
    Administrator(caller): Administrator,
    Path(asked): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let cluster = cluster(&caller.api)?;
    let unknown = || Failure::not_found(format!("there is no node '{asked}' in the cluster"));
    let node = caller.api.member(&asked).ok_or_else(unknown)?;
    let force = asks(&query.unwrap_or_default(), "force");
    tracing::info!(node = node.name, force, user = %caller.user.name, "asked to forget a node");
    see_through(async move { cluster.forget(node.name, force).await }).await?;
    reply::done()
}

async fn leave(Administrator(caller): Administrator, RawQuery(query): RawQuery) -> Answer {
    let cluster = cluster(&caller.api)?;
    let force = asks(&query.unwrap_or_default(), "force");
    tracing::info!(force, user = %caller.user.name, "asked to leave the cluster");
    see_through(async move { cluster.leave(force).await }).await?;
    reply::done()
}
