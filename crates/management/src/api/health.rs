//! Health checks: 200 with `{"status":"ok"}`, or 503 with the reason.
//!
//! Invariant: the checks that RabbitMQ answers without a login tell nothing but whether clients should come here.

use crate::api::{Api, Listener};
use crate::auth::Anyone;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use engine::alarm::Alarms;
use engine::cluster::NodeState;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/health/checks/is-in-service", get(in_service))
        .route("/api/health/checks/ready-to-serve-clients", get(ready_to_serve))
        .route("/api/health/checks/below-node-connection-limit", get(ok))
        .route("/api/health/checks/virtual-hosts", get(fine))
        .route("/api/health/checks/reached-target-cluster-size", get(fine))
        .route("/api/health/checks/metadata-store/initialized", get(has_catalog))
        .route("/api/health/checks/metadata-store/initialized/with-data", get(has_catalog))
        .route("/api/health/checks/alarms", get(alarms))
        .route("/api/health/checks/local-alarms", get(local_alarms))
        .route("/api/health/checks/port-listener/{port}", get(port_listener))
        .route("/api/health/checks/protocol-listener/{protocols}", get(protocol_listener))
        .route("/api/health/checks/certificate-expiration/{within}/{unit}", get(certificate_expiration))
        .route("/api/aliveness-test/{vhost}", get(aliveness))
        .route("/api/healthchecks/node", get(ready))
        .route("/api/healthchecks/node/{node}", get(node))
}

/// Without a limit of connections every node is below it; asked without a login, as in RabbitMQ.
async fn ok() -> Answer {
    passed()
}

pub(crate) fn passed() -> Answer {
    reply::show(json!({"status": "ok"}))
}

pub(crate) fn failed(body: Value) -> Answer {
    Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, body))
}

async fn fine(Anyone(_caller): Anyone) -> Answer {
    passed()
}

fn serves(api: &Api) -> Answer {
    api.not_ready().map_or_else(passed, |why| failed(json!({"status": "failed", "reason": why})))
}

/// Whether clients should come here; load balancers ask without a login, as they may in RabbitMQ.
async fn in_service(State(api): State<Arc<Api>>) -> Answer {
    serves(&api)
}

/// The same, and that there is a port for them.
async fn ready_to_serve(State(api): State<Arc<Api>>) -> Answer {
    if !api.listeners.iter().any(|listener| ["amqp", "amqp/ssl"].contains(&listener.protocol.as_str())) {
        return failed(json!({"status": "failed", "reason": "no active listeners for AMQP/AMQPS"}));
    }
    serves(&api)
}

async fn ready(Anyone(caller): Anyone) -> Answer {
    serves(&caller.api)
}

/// Whether the node knows what is declared: a node that is to join a cluster does not yet.
async fn has_catalog(Anyone(caller): Anyone) -> Answer {
    let api = &caller.api;
    if api.broker.config().seat.is_none() || api.catalog().is_cluster() {
        return passed();
    }
    failed(json!({"status": "failed", "reason": "Metadata store has not yet been initialized"}))
}

async fn node(Anyone(caller): Anyone, Path(name): Path<String>) -> Answer {
    let node = caller.api.member(&name).ok_or_else(Failure::no_object)?;
    if node.is_me {
        return serves(&caller.api);
    }
    match (node.state, node.numbers) {
        (NodeState::Down, _) => {
            failed(json!({"status": "failed", "reason": format!("node '{}' is down", node.name)}))
        }
        (_, Some(told)) if !told.ready => failed(
            json!({"status": "failed", "reason": format!("node '{}' is not ready to serve clients", node.name)}),
        ),
        _ => passed(),
    }
}

/// The alarms of a node, as RabbitMQ lists them.
fn entries(node: &str, alarms: Alarms) -> impl Iterator<Item = Value> + use<> {
    let node = node.to_owned();
    let on = [(alarms.memory, "memory"), (alarms.disk, "disk")].into_iter().filter(|(is_on, _)| *is_on);
    on.map(move |(_, resource)| json!({"node": node, "resource": resource}))
}

async fn alarms(Anyone(caller): Anyone) -> Answer {
    let api = &caller.api;
    let mut on = Vec::new();
    for node in api.cluster_status().nodes {
        let told = node.numbers.as_ref().filter(|_| !node.is_me);
        let told = told.map(|told| Alarms { memory: told.memory_alarm, disk: told.disk_alarm });
        let alarms = if node.is_me { api.broker.alarms().own() } else { told.unwrap_or_default() };
        on.extend(entries(&node.name, alarms));
    }
    raised(on, "There are alarms in effect in the cluster")
}

async fn local_alarms(Anyone(caller): Anyone) -> Answer {
    let api = &caller.api;
    let on = entries(api.node_name(), api.broker.alarms().own()).collect();
    raised(on, "There are alarms in effect on the node")
}

fn raised(on: Vec<Value>, reason: &str) -> Answer {
    if on.is_empty() {
        return passed();
    }
    failed(json!({"status": "failed", "reason": reason, "alarms": on}))
}

async fn port_listener(Anyone(caller): Anyone, Path(port): Path<String>) -> Answer {
    let port: u16 = port.parse().map_err(|_| Failure::bad_request("Invalid port"))?;
    let ports: Vec<u16> = caller.api.listeners.iter().map(|listener| listener.address.port()).collect();
    if ports.contains(&port) {
        return reply::show(json!({"status": "ok", "port": port}));
    }
    failed(json!({"status": "failed", "reason": "No active listener", "missing": port, "ports": ports}))
}

/// RabbitMQ's other names for a protocol.
fn canonical(protocol: &str) -> &str {
    match protocol {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp-0-9-1" | "amqp10" | "amqp1.0" => "amqp",
        "amqps" | "amqp/tls" => "amqp/ssl",
        other => other,
    }
}

async fn protocol_listener(Anyone(caller): Anyone, Path(wanted): Path<String>) -> Answer {
    let active: Vec<&str> =
        caller.api.listeners.iter().map(|Listener { protocol, .. }| protocol.as_str()).collect();
    let missing: Vec<&str> =
        wanted.split(',').filter(|protocol| !active.contains(&canonical(protocol))).collect();
    if missing.is_empty() {
        let found: Vec<&str> = wanted.split(',').map(canonical).collect();
        return reply::show(json!({"status": "ok", "protocol": found.join(",")}));
    }
    failed(json!({
        "status": "failed",
        "reason": "No active listener",
        "missing": missing.join(","),
        "protocols": active,
    }))
}

/// This API does not know the certificates of the AMQPS port, so none of them is about to expire here.
async fn certificate_expiration(
    Anyone(_caller): Anyone,
    Path((within, unit)): Path<(String, String)>,
) -> Answer {
    if !["days", "weeks", "months", "years"].contains(&unit.as_str()) {
        let reason = "Time unit not recognised. Supported units: days, weeks, months, years.";
        return Err(Failure::bad_request(reason));
    }
    within.parse::<u32>().map_err(|_| Failure::bad_request("Invalid expiration value"))?;
    passed()
}

/// RabbitMQ sends a message through a queue `aliveness-test` that it leaves behind; here it is enough that
/// the vhost would take one.
async fn aliveness(Anyone(caller): Anyone, Path(vhost): Path<String>) -> Answer {
    caller.visible(&caller.api.catalog(), &vhost)?;
    let alarms = caller.api.broker.alarms().current();
    if alarms.any() {
        return failed(json!({"status": "failed", "reason": alarms.reason()}));
    }
    serves(&caller.api)
}
