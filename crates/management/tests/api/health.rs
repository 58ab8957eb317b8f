//! Health checks and small facts.

use crate::server::Server;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

#[test]
fn a_healthy_node_says_so() {
    let server = Server::start();
    let ok = json!({"status": "ok"});
    for check in [
        "alarms",
        "local-alarms",
        "virtual-hosts",
        "is-in-service",
        "ready-to-serve-clients",
        "certificate-expiration/1/weeks",
    ] {
        assert_eq!(server.get(&format!("/api/health/checks/{check}")), ok, "{check}");
    }
    let single = json!({"status": "ok", "reason": "single node cluster"});
    assert_eq!(server.get("/api/health/checks/node-is-quorum-critical"), single);
    assert_eq!(server.get("/api/health/checks/port-listener/5672"), json!({"status": "ok", "port": 5672}));
    let protocol = json!({"status": "ok", "protocol": "amqp"});
    assert_eq!(server.get("/api/health/checks/protocol-listener/amqp091"), protocol);
    assert_eq!(server.get("/api/aliveness-test/%2F"), ok);
    assert_eq!(server.get("/api/healthchecks/node"), ok);
    assert_eq!(server.get("/api/healthchecks/node/leveret@test"), ok);
}

#[test]
fn what_is_not_there_is_told() {
    let server = Server::start();
    let port = server.expect(503, "GET", "/api/health/checks/port-listener/1", Value::Null);
    assert_eq!((&port["status"], &port["missing"]), (&json!("failed"), &json!(1)));
    let protocol = server.expect(503, "GET", "/api/health/checks/protocol-listener/mqtt", Value::Null);
    let expected = json!({"status": "failed", "reason": "No active listener", "missing": "mqtt",
        "protocols": ["amqp", "http"]});
    assert_eq!(protocol, expected);
    for (path, status) in [
        ("/api/health/checks/port-listener/abc", 400),
        ("/api/health/checks/certificate-expiration/1/zz", 400),
        ("/api/aliveness-test/nope", 404),
        ("/api/healthchecks/node/other", 404),
    ] {
        server.expect(status, "GET", path, Value::Null);
    }
}

#[test]
fn load_balancers_ask_without_a_login() {
    let server = Server::start();
    let ask = |check: &str| {
        server
            .raw(&format!("GET /api/health/checks/{check} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    };
    let open = ["is-in-service", "ready-to-serve-clients"];
    for check in open {
        let answer = ask(check);
        assert_eq!((answer.status, answer.body), (200, json!({"status": "ok"})), "{check}");
    }
    server.stopping.store(true, Ordering::Relaxed);
    for check in open {
        let answer = ask(check);
        let body = json!({"status": "failed", "reason": "the node is stopping"});
        assert_eq!((answer.status, answer.body), (503, body), "{check}");
    }
    // Others tell about the node and want to know who asks.
    for check in ["alarms", "virtual-hosts", "port-listener/5672"] {
        assert_eq!(ask(check).status, 401, "{check}");
    }
}

#[test]
fn a_memory_alarm_fails_the_checks() {
    let server = Server::start();
    server.broker.alarms().set_memory(u64::MAX);
    for check in ["alarms", "local-alarms"] {
        let body = server.expect(503, "GET", &format!("/api/health/checks/{check}"), Value::Null);
        assert_eq!(body["alarms"], json!([{"node": "leveret@test", "resource": "memory"}]));
    }
    assert_eq!(server.get("/api/nodes")[0]["mem_alarm"], true);
    server.broker.alarms().set_memory(0);
    server.get("/api/health/checks/alarms");
}

#[test]
fn a_disk_alarm_fails_the_checks() {
    let server = Server::start();
    server.broker.alarms().set_disk(4_711, true);
    for check in ["alarms", "local-alarms"] {
        let body = server.expect(503, "GET", &format!("/api/health/checks/{check}"), Value::Null);
        assert_eq!(body["alarms"], json!([{"node": "leveret@test", "resource": "disk"}]));
    }
    let node = &server.get("/api/nodes")[0];
    assert_eq!((&node["disk_free_alarm"], &node["disk_free"]), (&json!(true), &json!(4_711)));
    server.broker.alarms().set_disk(u64::MAX - 1, false);
    server.get("/api/health/checks/alarms");
}
