//! Nodes: this one, and the others as they tell of themselves.
//!
//! Invariant: of another node only what it has told is shown; what is not known of it is missing.

use super::overview::exchange_types;
use crate::api::Api;
use crate::auth::Monitor;
use crate::query::ListQuery;
use crate::reply::{Answer, Failure};
use crate::{reply, system};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use engine::cluster::{NodeState, NodeView};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/nodes", get(list))
        .route("/api/nodes/{node}", get(one))
        .route("/api/nodes/{node}/memory", get(memory))
}

async fn list(Monitor(caller): Monitor, query: ListQuery) -> Answer {
    caller.api.ask_others().await;
    let nodes = caller.api.cluster_status().nodes;
    query.answer(nodes, |node| &node.name, |node| show(&caller.api, node))
}

async fn one(Monitor(caller): Monitor, Path(name): Path<String>, query: ListQuery) -> Answer {
    caller.api.ask_others().await;
    let node = caller.api.member(&name).ok_or_else(Failure::no_object)?;
    reply::show(query.project(show(&caller.api, &node)))
}

async fn memory(Monitor(caller): Monitor, Path(name): Path<String>) -> Answer {
    let node = caller.api.member(&name).filter(|node| node.state != NodeState::Down);
    let node = node.ok_or_else(Failure::no_object)?;
    let used =
        if node.is_me { engine::alarm::resident_bytes() } else { node.numbers.map(|told| told.memory_bytes) };
    let used = used.unwrap_or(0);
    reply::show(
        json!({"memory": {"strategy": "rss", "total": {"rss": used, "allocated": used, "erlang": used}}}),
    )
}

fn show(api: &Api, node: &NodeView) -> Value {
    if node.is_me { own(api) } else { other(node) }
}

/// Another node: a few facts when it is down, as RabbitMQ has them, and more when it has told more.
fn other(node: &NodeView) -> Value {
    let mut map = Map::new();
    let facts = [
        ("name", json!(node.name)),
        ("type", json!("disc")),
        ("running", json!(node.state != NodeState::Down)),
        ("being_drained", json!(false)),
        ("partitions", json!([])),
        ("cluster_links", json!([])),
    ];
    map.extend(facts.map(|(key, value)| (key.to_owned(), value)));
    let told = node.numbers.as_ref().filter(|_| node.state != NodeState::Down);
    let Some(told) = told else { return Value::Object(map) };
    let started_ms = told.started_s.saturating_mul(1000);
    let facts = [
        ("uptime", json!(engine::clock::wall_ms().saturating_sub(started_ms))),
        ("mem_used", json!(told.memory_bytes)),
        ("mem_alarm", json!(told.memory_alarm)),
        ("mem_calculation_strategy", json!("rss")),
        ("disk_free", json!(told.disk_free_bytes)),
        ("disk_free_alarm", json!(told.disk_alarm)),
        ("sockets_used", json!(told.connections)),
        ("rates_mode", json!("basic")),
        ("applications", json!([{"name": "leveret", "description": "Leveret", "version": node.version}])),
    ];
    map.extend(facts.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(map)
}

fn own(api: &Api) -> Value {
    let alarms = api.broker.alarms();
    let current = alarms.own();
    let (fd_used, fd_total) = system::descriptors();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let data_dir = api.config.data_dir.as_ref().map(|path| path.display().to_string());
    json!({
        "name": api.node_name(),
        "type": "disc",
        "running": true,
        "being_drained": false,
        "partitions": [],
        "os_pid": std::process::id().to_string(),
        "uptime": api.started.elapsed().as_millis() as u64,
        "mem_used": engine::alarm::resident_bytes().unwrap_or(0),
        "mem_limit": alarms.memory_limit_bytes(),
        "mem_alarm": current.memory,
        "mem_calculation_strategy": "rss",
        "disk_free": alarms.disk_free_bytes(),
        "disk_free_limit": alarms.disk_limit_bytes(),
        "disk_free_alarm": current.disk,
        "fd_used": fd_used,
        "fd_total": fd_total,
        "sockets_used": api.broker.connections().count(),
        "sockets_total": fd_total,
        "proc_used": system::threads(),
        "proc_total": 0,
        "run_queue": 0,
        "processors": processors,
        "rates_mode": "basic",
        "net_ticktime": 60,
        "db_dir": data_dir,
        "config_files": [],
        "log_files": [],
        "enabled_plugins": ["rabbitmq_management"],
        "exchange_types": exchange_types(),
        "auth_mechanisms": [
            {"name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true},
            {"name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true},
        ],
        "applications": [
            {"name": "leveret", "description": "Leveret", "version": api.config.product_version},
        ],
        "contexts": [],
        "cluster_links": [],
    })
}
