//! `GET /api/definitions`: all that is declared, in the form an import takes.
//!
//! Invariant: what is exported and imported again is the same; exclusive queues, predeclared and internal
//! exchanges are left out, as in RabbitMQ.

use super::parameters::OPERATOR_POLICY;
use super::{bindings, global_parameters, overview, parameters, permissions, policies, topic_permissions};
use super::{users, vhosts};
use crate::api::Api;
use crate::auth::Administrator;
use crate::fields;
use crate::reply::{self, Answer, Failure};
use axum::extract::Path;
use broker::catalog::{Catalog, Exchange, Queue, Vhost};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /api/definitions`
pub(crate) async fn all(Administrator(caller): Administrator) -> Answer {
    let api = &caller.api;
    reply::show(cluster(api, &api.catalog()))
}

fn cluster(api: &Api, catalog: &Catalog) -> Value {
    let vhosts = || catalog.vhosts.values();
    let of_all = |rows: fn(&Vhost) -> Vec<Value>| -> Value {
        vhosts().flat_map(|vhost| rows(vhost).into_iter().map(|row| with_vhost(row, vhost))).collect()
    };
    json!({
        "rabbit_version": api.config.version,
        "rabbitmq_version": api.config.version,
        "product_name": "Leveret",
        "product_version": api.config.product_version,
        "rabbitmq_definition_format": "cluster",
        "original_cluster_name": overview::name_of_cluster(api),
        "explanation": "Definitions of the cluster",
        "users": catalog.users.values().map(|user| users::show(user)).collect::<Value>(),
        "vhosts": vhosts().map(|vhost| vhost_row(vhost)).collect::<Value>(),
        "permissions": permissions::all(catalog),
        "topic_permissions": topic_permissions::all(catalog),
        "parameters": of_all(parameter_rows),
        "global_parameters": global_parameters::all(catalog),
        "policies": of_all(|vhost| policies::all(vhost, false)),
        "exchanges": of_all(exchange_rows),
        "queues": of_all(queue_rows),
        "bindings": of_all(binding_rows),
    })
}

/// `GET /api/definitions/{vhost}`
pub(crate) async fn one_vhost(Administrator(caller): Administrator, Path(name): Path<String>) -> Answer {
    let catalog = caller.api.catalog();
    let vhost: &Arc<Vhost> = catalog.vhost(&name).ok_or_else(|| Failure::bad_request("vhost_not_found"))?;
    let without = |rows: Vec<Value>| -> Value { rows.into_iter().map(without_vhost).collect() };
    let version = &caller.api.config.version;
    reply::show(json!({
        "rabbit_version": version,
        "rabbitmq_version": version,
        "product_name": "Leveret",
        "product_version": caller.api.config.product_version,
        "rabbitmq_definition_format": "single_virtual_host",
        "original_vhost_name": vhost.name.as_str(),
        "explanation": format!("Definitions of virtual host '{}'", vhost.name),
        "description": vhost.description,
        "metadata": vhosts::metadata(vhost),
        "limits": super::limits::of_vhost(vhost),
        "parameters": without(parameter_rows(vhost)),
        "policies": without(policies::all(vhost, false)),
        "exchanges": without(exchange_rows(vhost)),
        "queues": without(queue_rows(vhost)),
        "bindings": without(binding_rows(vhost)),
    }))
}

fn with_vhost(mut row: Value, vhost: &Vhost) -> Value {
    if let Value::Object(map) = &mut row {
        map.insert("vhost".to_owned(), json!(vhost.name.as_str()));
    }
    row
}

fn without_vhost(mut row: Value) -> Value {
    if let Value::Object(map) = &mut row {
        map.remove("vhost");
    }
    row
}

fn vhost_row(vhost: &Vhost) -> Value {
    json!({
        "name": vhost.name.as_str(),
        "description": vhost.description,
        "tags": vhost.tags,
        "metadata": vhosts::metadata(vhost),
        "limits": [],
    })
}

/// Parameters, limits and operator policies: RabbitMQ exports all three here.
fn parameter_rows(vhost: &Vhost) -> Vec<Value> {
    let mut rows = parameters::all(vhost);
    for mut policy in policies::all(vhost, true) {
        let name = policy["name"].take();
        if let Value::Object(map) = &mut policy {
            map.remove("name");
            map.remove("vhost");
        }
        rows.push(json!({"component": OPERATOR_POLICY, "name": name, "value": policy}));
    }
    rows
}

fn exchange_rows(vhost: &Vhost) -> Vec<Value> {
    let row = |exchange: &Arc<Exchange>| {
        json!({
            "name": exchange.name.as_str(),
            "type": exchange.kind.as_str(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "internal": exchange.internal,
            "arguments": fields::to_json(&exchange.arguments),
        })
    };
    let is_own = |exchange: &&Arc<Exchange>| {
        let name = exchange.name.as_str();
        !(name.is_empty() || name.starts_with("amq."))
    };
    vhost.exchanges.values().filter(is_own).map(row).collect()
}

fn queue_rows(vhost: &Vhost) -> Vec<Value> {
    let row = |queue: &Arc<Queue>| {
        json!({
            "name": queue.name.as_str(),
            "type": queue.kind.as_str(),
            "durable": queue.durable,
            "auto_delete": queue.auto_delete,
            "arguments": fields::to_json(&queue.arguments),
        })
    };
    vhost.queues.values().filter(|queue| queue.exclusive.is_none()).map(row).collect()
}

fn binding_rows(vhost: &Vhost) -> Vec<Value> {
    let is_shared = |name: &str| vhost.queue(name).is_some_and(|queue| queue.exclusive.is_none());
    vhost
        .bindings()
        .filter(|binding| match &binding.destination {
            broker::catalog::Destination::Queue(name) => is_shared(name.as_str()),
            broker::catalog::Destination::Exchange(_) => true,
        })
        .map(|binding| bindings::exported(&binding))
        .collect()
}
