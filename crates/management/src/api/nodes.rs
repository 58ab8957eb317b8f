//! Nodes: this one.

use super::overview::exchange_types;
use crate::api::Api;
use crate::auth::Monitor;
use crate::query::ListQuery;
use crate::reply::{Answer, Failure};
use crate::{reply, system};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/nodes", get(list))
        .route("/api/nodes/{node}", get(one))
        .route("/api/nodes/{node}/memory", get(memory))
}

async fn list(Monitor(caller): Monitor, query: ListQuery) -> Answer {
    let nodes = vec![caller.api.node_name().to_owned()];
    query.answer(nodes, |name| name, |_| node(&caller.api))
}

async fn one(Monitor(caller): Monitor, Path(name): Path<String>, query: ListQuery) -> Answer {
    if name != caller.api.node_name() {
        return Err(Failure::no_object());
    }
    reply::show(query.project(node(&caller.api)))
}

async fn memory(Monitor(caller): Monitor, Path(name): Path<String>) -> Answer {
    if name != caller.api.node_name() {
        return Err(Failure::no_object());
    }
    let used = engine::alarm::resident_bytes().unwrap_or(0);
    reply::show(
        json!({"memory": {"strategy": "rss", "total": {"rss": used, "allocated": used, "erlang": used}}}),
    )
}

fn node(api: &Api) -> Value {
    let alarms = api.broker.alarms();
    let current = alarms.current();
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
