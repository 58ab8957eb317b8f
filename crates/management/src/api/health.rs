//! Health checks: 200 with `{"status":"ok"}`, or 503 with the reason.
//!
//! Invariant: the two checks that load balancers ask, `is-in-service` and `ready-to-serve-clients`, need no
//! login (RabbitMQ's do not either) and tell nothing but whether and why not.

use crate::api::{Api, Listener};
use crate::auth::Anyone;
use crate::reply::{self, Answer, Failure};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<Arc<Api>> {
    let checks = [
        "virtual-hosts",
        "below-node-connection-limit",
        "reached-target-cluster-size",
        "metadata-store/initialized",
        "metadata-store/initialized/with-data",
        "quorum-queues-without-elected-leaders/all-vhosts",
        "quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
        "quorum-queues-without-elected-leaders/vhost/{vhost}",
        "quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
    ];
    // Whether this one node runs is answered by the answer.
    let mut router = checks
        .iter()
        .fold(Router::new(), |router, check| router.route(&format!("/api/health/checks/{check}"), get(fine)));
    for check in ["node-is-quorum-critical", "node-is-mirror-sync-critical"] {
        router = router.route(&format!("/api/health/checks/{check}"), get(single_node));
    }
    router
        .route("/api/health/checks/is-in-service", get(in_service))
        .route("/api/health/checks/ready-to-serve-clients", get(ready))
        .route("/api/health/checks/alarms", get(alarms))
        .route("/api/health/checks/local-alarms", get(alarms))
        .route("/api/health/checks/port-listener/{port}", get(port_listener))
        .route("/api/health/checks/protocol-listener/{protocols}", get(protocol_listener))
        .route("/api/health/checks/certificate-expiration/{within}/{unit}", get(certificate_expiration))
        .route("/api/aliveness-test/{vhost}", get(aliveness))
        .route("/api/healthchecks/node", get(fine))
        .route("/api/healthchecks/node/{node}", get(node))
}

fn ok() -> Answer {
    reply::show(json!({"status": "ok"}))
}

fn failed(body: Value) -> Answer {
    Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, body))
}

async fn fine(Anyone(_caller): Anyone) -> Answer {
    ok()
}

fn out_of_service(reason: &str) -> Answer {
    failed(json!({"status": "failed", "reason": reason}))
}

async fn in_service(State(api): State<Arc<Api>>) -> Answer {
    match (api.config.in_service)() {
        Ok(()) => ok(),
        Err(why) => out_of_service(&why),
    }
}

/// In service, and there is a port for AMQP clients.
async fn ready(State(api): State<Arc<Api>>) -> Answer {
    if !api.listeners.iter().any(|listener| ["amqp", "amqp/ssl"].contains(&listener.protocol.as_str())) {
        return out_of_service("no active listeners for AMQP/AMQPS");
    }
    in_service(State(api)).await
}

async fn single_node(Anyone(_caller): Anyone) -> Answer {
    reply::show(json!({"status": "ok", "reason": "single node cluster"}))
}

async fn node(Anyone(caller): Anyone, Path(name): Path<String>) -> Answer {
    if name == caller.api.node_name() { ok() } else { Err(Failure::no_object()) }
}

async fn alarms(Anyone(caller): Anyone) -> Answer {
    let current = caller.api.broker.alarms().current();
    let entry = |resource: &str| json!({"node": caller.api.node_name(), "resource": resource});
    let on: Vec<Value> = [(current.memory, "memory"), (current.disk, "disk")]
        .into_iter()
        .filter(|(is_on, _)| *is_on)
        .map(|(_, resource)| entry(resource))
        .collect();
    if on.is_empty() {
        return ok();
    }
    failed(json!({"status": "failed", "reason": "There are alarms in effect in the cluster", "alarms": on}))
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
    ok()
}

/// RabbitMQ sends a message through a queue `aliveness-test` that it leaves behind; here it is enough that
/// the vhost would take one.
async fn aliveness(Anyone(caller): Anyone, Path(vhost): Path<String>) -> Answer {
    caller.visible(&caller.api.catalog(), &vhost)?;
    let alarms = caller.api.broker.alarms().current();
    if alarms.any() {
        return failed(json!({"status": "failed", "reason": alarms.reason()}));
    }
    ok()
}
