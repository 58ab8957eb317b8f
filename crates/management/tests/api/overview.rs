//! The overview, nodes, and paths that are not there.

use crate::server::Server;
use serde_json::{Value, json};

#[test]
fn the_overview_tells_what_tools_read() {
    let server = Server::start();
    server.put("/api/queues/%2F/q", Value::Null);
    let overview = server.get("/api/overview");
    for (key, value) in [
        ("rabbitmq_version", json!("3.13.7")),
        ("management_version", json!("3.13.7")),
        ("product_name", json!("Leveret")),
        ("cluster_name", json!("leveret@test")),
        ("node", json!("leveret@test")),
        (
            "object_totals",
            json!({"channels": 0, "connections": 0, "consumers": 0, "exchanges": 7, "queues": 1}),
        ),
    ] {
        assert_eq!(overview[key], value, "{key}");
    }
    assert_eq!(overview["listeners"][0]["protocol"], "amqp");
    assert_eq!(overview["listeners"][1]["port"], server.address.port());
    assert!(overview["message_stats"]["publish_details"]["rate"].is_number());
    assert_eq!(overview["churn_rates"]["queue_created"], 1);
}

#[test]
fn there_is_one_node() {
    let server = Server::start();
    let node = server.get("/api/nodes/leveret@test");
    for (key, value) in [
        ("name", json!("leveret@test")),
        ("running", json!(true)),
        ("type", json!("disc")),
        ("partitions", json!([])),
        ("mem_limit", json!(1u64 << 40)),
        ("mem_alarm", json!(false)),
        ("disk_free_alarm", json!(false)),
        ("disk_free_limit", json!(server.broker.alarms().disk_limit_bytes())),
    ] {
        assert_eq!(node[key], value, "{key}");
    }
    assert!(node["mem_used"].as_u64() > Some(0) && node["fd_used"].as_u64() > Some(0));
    server.expect(404, "GET", "/api/nodes/other", Value::Null);
}

#[test]
fn the_clusters_name_can_be_changed() {
    let server = Server::start();
    server.expect(204, "PUT", "/api/cluster-name", json!({"name": "rabbits"}));
    assert_eq!(server.get("/api/cluster-name"), json!({"name": "rabbits"}));
    assert_eq!(server.get("/api/overview")["cluster_name"], "rabbits");
    server.expect(400, "PUT", "/api/cluster-name", json!({}));
}

#[test]
fn what_nobody_knows_is_not_found_and_wrong_methods_are_not_allowed() {
    let server = Server::start();
    let refused = server.refused("GET", "/api/nosuch", "");
    assert_eq!(refused, (404, "Object Not Found".into(), "Not Found".into()));
    for (method, path) in [("PUT", "/api/overview"), ("PATCH", "/api/queues"), ("POST", "/api/users/x")] {
        assert_eq!(server.ask(method, path, "").status, 405, "{method} {path}");
    }
    assert_eq!(server.get("/api/whoami/"), server.get("/api/whoami"), "a slash at the end does not matter");
    assert_eq!(server.get("/api/queues/%2F/"), json!([]));
}

#[test]
fn empty_lists_and_the_welcome_page() {
    let server = Server::start();
    for path in ["/api/extensions", "/api/feature-flags", "/api/deprecated-features", "/api/connections"] {
        assert_eq!(server.get(path), json!([]), "{path}");
    }
    let page = server.raw("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(page.status, 200);
    assert!(page.body.as_str().unwrap().contains("/api/overview"));
}
