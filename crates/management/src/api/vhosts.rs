//! Vhosts: list, put, delete, and what is in them.

use super::queue_view::QueueView;
use super::{permissions, topic_permissions};
use crate::api::Api;
use crate::auth::{Administrator, Anyone, Caller};
use crate::body::{self, Body};
use crate::query::ListQuery;
use crate::reply::{self, Answer, Failure};
use crate::sampler;
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use broker::catalog::{Catalog, Command, Vhost};
use broker::queue::QueueKind;
use engine::cluster::NodeState;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use types::VhostName;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/vhosts", get(list))
        .route("/api/vhosts/{vhost}", get(one).put(put).delete(delete))
        .route("/api/vhosts/{vhost}/permissions", get(permissions_in))
        .route("/api/vhosts/{vhost}/topic-permissions", get(topic_permissions_in))
        .route("/api/vhosts/{vhost}/start/{node}", post(start))
}

/// A vhost of any name, for administrators.
pub(crate) fn find<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Arc<Vhost>, Failure> {
    catalog.vhost(name).ok_or_else(Failure::no_object)
}

fn kind_word(kind: Option<QueueKind>) -> &'static str {
    kind.map_or("undefined", QueueKind::as_str)
}

/// What describes a vhost, as it stands in its own body and in definitions.
pub(crate) fn metadata(vhost: &Vhost) -> Value {
    let mut map = Map::new();
    map.insert("description".to_owned(), json!(vhost.description));
    map.insert("tags".to_owned(), json!(vhost.tags));
    if let Some(kind) = vhost.default_queue_type {
        map.insert("default_queue_type".to_owned(), json!(kind.as_str()));
    }
    Value::Object(map)
}

/// `nodes` are the names of the members that run.
fn show(api: &Api, vhost: &Vhost, nodes: &[String], stats: bool) -> Value {
    let mut map = Map::new();
    if stats {
        let queues = QueueView::all(api, vhost);
        let (sum, rates) = sampler::sum(queues.iter().map(|queue| (&queue.listing, &queue.rates)));
        sampler::put_counts(&mut map, sum.counts.ready, sum.counts.unacked, &rates);
        map.insert("message_stats".to_owned(), Value::Object(sampler::message_stats(&sum.totals, &rates)));
    }
    map.insert("name".to_owned(), json!(vhost.name.as_str()));
    map.insert("description".to_owned(), json!(vhost.description));
    map.insert("tags".to_owned(), json!(vhost.tags));
    map.insert("default_queue_type".to_owned(), json!(kind_word(vhost.default_queue_type)));
    map.insert("metadata".to_owned(), metadata(vhost));
    map.insert("tracing".to_owned(), json!(vhost.tracing));
    let running: Value =
        nodes.iter().map(|name| (name.clone(), json!("running"))).collect::<Map<_, _>>().into();
    map.insert("cluster_state".to_owned(), running);
    Value::Object(map)
}

/// The members that run.
fn running(api: &Api) -> Vec<String> {
    let nodes = api.cluster_status().nodes.into_iter().filter(|node| node.state != NodeState::Down);
    nodes.map(|node| node.name).collect()
}

async fn list(Anyone(caller): Anyone, query: ListQuery) -> Answer {
    if query.stats {
        caller.api.ask_others().await;
    }
    let vhosts = caller.vhosts(&caller.api.catalog());
    let nodes = running(&caller.api);
    query.answer(vhosts, |vhost| vhost.name.as_str(), |vhost| show(&caller.api, vhost, &nodes, query.stats))
}

async fn one(Anyone(caller): Anyone, Path(name): Path<String>, query: ListQuery) -> Answer {
    if query.stats {
        caller.api.ask_others().await;
    }
    let vhost = caller.visible(&caller.api.catalog(), &name)?;
    reply::show(query.project(show(&caller.api, &vhost, &running(&caller.api), query.stats)))
}

async fn put(Administrator(caller): Administrator, Path(name): Path<String>, body: Body) -> Answer {
    let is_new = caller.api.catalog().vhost(&name).is_none();
    put_vhost(&caller, &name, &body).await?;
    if is_new {
        grant_all(&caller, &name).await?;
    }
    reply::put(is_new)
}

/// Who makes a vhost may use it.
async fn grant_all(caller: &Caller, name: &str) -> Result<(), Failure> {
    if !caller.api.catalog().users.contains_key(&caller.user.name) {
        // The operator of this machine is no user.
        return Ok(());
    }
    let all = || ".*".to_owned();
    let command = Command::SetPermission {
        vhost: VhostName::from(name),
        user: caller.user.name.clone(),
        configure: all(),
        write: all(),
        read: all(),
    };
    caller.api.change(command).await?;
    Ok(())
}

/// Adds or overwrites a vhost as a request's body or an entry of a definitions file says; what is not
/// said stays as it was.
pub(crate) async fn put_vhost(caller: &Caller, name: &str, body: &Body) -> Result<(), Failure> {
    let name = VhostName::new(name)
        .filter(|name| !name.as_str().is_empty())
        .ok_or_else(|| Failure::bad_request("the vhost name must have 1 to 255 bytes"))?;
    let old = caller.api.catalog().vhost(name.as_str()).cloned();
    let metadata = match body.get("metadata").and_then(Value::as_object) {
        Some(map) => Body(map.clone()),
        None => Body::default(),
    };
    let described = match body.text("description")? {
        Some(text) => Some(text.to_owned()),
        None => metadata.text("description")?.map(str::to_owned),
    };
    let tags = match body.get("tags").or_else(|| metadata.get("tags")) {
        Some(value) => Some(body::tags(value)?),
        None => None,
    };
    let kind = match body.text("default_queue_type")?.or(metadata.text("default_queue_type")?) {
        None | Some("") => old.as_ref().and_then(|old| old.default_queue_type),
        Some(word) => queue_kind(word)?,
    };
    let command = Command::AddVhost {
        name: name.clone(),
        description: described
            .unwrap_or_else(|| old.as_ref().map(|old| old.description.clone()).unwrap_or_default()),
        tags: tags.unwrap_or_else(|| old.as_ref().map(|old| old.tags.clone()).unwrap_or_default()),
        default_queue_type: kind,
    };
    caller.api.change(command).await?;
    if body.get("tracing").is_some() {
        let on = body.flag("tracing")?;
        caller.api.change(Command::SetTracing { vhost: name, on }).await?;
    }
    Ok(())
}

fn queue_kind(word: &str) -> Result<Option<QueueKind>, Failure> {
    match word {
        "undefined" => Ok(None),
        "classic" => Ok(Some(QueueKind::Classic)),
        "quorum" => Ok(Some(QueueKind::Quorum)),
        other => Err(Failure::bad_request(format!("Unsupported default queue type '{other}'"))),
    }
}

async fn delete(Administrator(caller): Administrator, Path(name): Path<String>) -> Answer {
    let name = find(&caller.api.catalog(), &name)?.name.clone();
    caller.api.change(Command::DeleteVhost { name }).await?;
    reply::done()
}

async fn permissions_in(Administrator(caller): Administrator, Path(name): Path<String>) -> Answer {
    let catalog = caller.api.catalog();
    let vhost = find(&catalog, &name)?;
    reply::show(vhost.permissions.values().map(|row| permissions::show(vhost, row)).collect())
}

async fn topic_permissions_in(Administrator(caller): Administrator, Path(name): Path<String>) -> Answer {
    let catalog = caller.api.catalog();
    let vhost = find(&catalog, &name)?;
    reply::show(vhost.topic_permissions.values().map(|row| topic_permissions::show(vhost, row)).collect())
}

async fn start(Administrator(caller): Administrator, Path((vhost, node)): Path<(String, String)>) -> Answer {
    find(&caller.api.catalog(), &vhost)?;
    let runs = caller.api.member(&node).is_some_and(|node| node.state != NodeState::Down);
    if !runs {
        return Err(Failure::bad_request(format!("Request to node {node} failed with nodedown")));
    }
    reply::done()
}
