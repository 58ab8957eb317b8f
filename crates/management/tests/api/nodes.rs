//! Nodes of a cluster, their health checks, and Leveret's own paths for them.

use crate::others::{Others, start};
use crate::server::{Server, column};
use serde_json::{Value, json};

#[test]
fn nodes_show_what_they_have_told() {
    let (server, others) = start(3);
    others.state.lock().unwrap().down.insert(3);
    let nodes = server.get("/api/nodes");
    assert_eq!(column(&nodes, "name"), ["leveret@test", "leveret@b", "c"]);
    assert_eq!(column(&nodes, "running"), [true, true, false]);
    let own = server.get("/api/nodes/leveret@test");
    assert!(own["fd_total"].as_u64() > Some(0), "{own}");
    let other = server.get("/api/nodes/leveret@b");
    for (key, value) in [
        ("mem_used", json!(4_711)),
        ("disk_free", json!(815)),
        ("mem_alarm", json!(false)),
        ("sockets_used", json!(5)),
        ("type", json!("disc")),
        ("partitions", json!([])),
    ] {
        assert_eq!(other[key], value, "{key}");
    }
    assert!(other["uptime"].as_u64() > Some(1_000_000) && other.get("fd_total").is_none(), "{other}");
    let down = json!({"name": "c", "type": "disc", "running": false, "being_drained": false, "partitions": [],
        "cluster_links": []});
    assert_eq!(server.get("/api/nodes/c"), down);
    assert_eq!(server.get("/api/nodes/rabbit@b")["name"], "leveret@b", "by the host behind the @");
    assert_eq!(server.get("/api/nodes/leveret@b/memory")["memory"]["total"]["rss"], 4_711);
    for path in ["/api/nodes/b", "/api/nodes/rabbit@x", "/api/nodes/c/memory"] {
        server.expect(404, "GET", path, Value::Null);
    }
    let running = json!({"leveret@test": "running", "leveret@b": "running"});
    assert_eq!(server.get("/api/vhosts/%2F")["cluster_state"], running);
    server.expect(204, "POST", "/api/vhosts/%2F/start/leveret@b", Value::Null);
    server.expect(400, "POST", "/api/vhosts/%2F/start/c", Value::Null);
}

/// Asks without a login.
fn ask_as_stranger(server: &Server, path: &str) -> (u16, Value) {
    let answer = server.raw(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    (answer.status, answer.body)
}

#[test]
fn a_node_that_is_not_ready_says_so_to_load_balancers() {
    let (server, others) = start(3);
    let open = ["is-in-service", "ready-to-serve-clients", "below-node-connection-limit"];
    for check in open {
        let answer = ask_as_stranger(&server, &format!("/api/health/checks/{check}"));
        assert_eq!(answer, (200, json!({"status": "ok"})), "{check}");
    }
    assert_eq!(ask_as_stranger(&server, "/api/health/checks/alarms").0, 401);
    others.state.lock().unwrap().not_ready = Some("most nodes do not answer".to_owned());
    let failed = json!({"status": "failed", "reason": "most nodes do not answer"});
    for path in ["/api/health/checks/is-in-service", "/api/health/checks/ready-to-serve-clients"] {
        assert_eq!(ask_as_stranger(&server, path), (503, failed.clone()), "{path}");
    }
    for path in ["/api/healthchecks/node", "/api/healthchecks/node/leveret@test", "/api/aliveness-test/%2F"] {
        assert_eq!(server.expect(503, "GET", path, Value::Null), failed, "{path}");
    }
    server.get("/api/healthchecks/node/leveret@b");
    others.state.lock().unwrap().down.insert(2);
    let down = server.expect(503, "GET", "/api/healthchecks/node/leveret@b", Value::Null);
    assert_eq!(down["reason"], "node 'leveret@b' is down");
}

#[test]
fn alarms_of_other_nodes_are_the_clusters_and_not_this_nodes() {
    let (server, others) = start(3);
    others.state.lock().unwrap().memory_alarm = true;
    // As the node hears of it: publishers are blocked here too.
    server.broker.alarms().set_others(engine::alarm::Alarms { memory: true, disk: false });
    let body = server.expect(503, "GET", "/api/health/checks/alarms", Value::Null);
    assert_eq!(body["alarms"], json!([{"node": "leveret@b", "resource": "memory"}]));
    assert_eq!(server.get("/api/health/checks/local-alarms"), json!({"status": "ok"}));
    assert_eq!(column(&server.get("/api/nodes"), "mem_alarm"), [false, true, false]);
    server.broker.alarms().set_memory(u64::MAX);
    let body = server.expect(503, "GET", "/api/health/checks/local-alarms", Value::Null);
    assert_eq!(body["reason"], "There are alarms in effect on the node");
    assert_eq!(body["alarms"], json!([{"node": "leveret@test", "resource": "memory"}]));
    let body = server.expect(503, "GET", "/api/health/checks/alarms", Value::Null);
    assert_eq!(column(&body["alarms"], "node"), ["leveret@test", "leveret@b"]);
}

#[test]
fn what_would_stop_with_the_node_is_told() {
    let (server, others) = start(3);
    let check = "/api/health/checks/node-is-quorum-critical";
    assert_eq!(server.get(check), json!({"status": "ok"}));
    let quorum = |node: &str| json!({"durable": true, "node": node, "arguments": {"x-queue-type": "quorum"}});
    server.put("/api/queues/%2F/there", quorum("c"));
    server.put("/api/queues/%2F/classic", json!({"durable": true}));
    assert_eq!(server.get(check), json!({"status": "ok"}));
    server.put("/api/queues/%2F/here", quorum("leveret@test"));
    let body = server.expect(503, "GET", check, Value::Null);
    let entry = json!([{"name": "here", "virtual_host": "/", "type": "quorum", "readable_name": "queue 'here' in vhost '/'"}]);
    assert_eq!(body["queues"], entry);
    server.expect(204, "DELETE", "/api/queues/%2F/here", Value::Null);
    others.state.lock().unwrap().down.insert(2);
    let body = server.expect(503, "GET", check, Value::Null);
    assert_eq!(body["reason"], "The catalog would lose its majority if the target node is shut down");

    let check = "/api/health/checks/node-is-mirror-sync-critical";
    assert_eq!(server.get(check), json!({"status": "ok"}));
    server.put("/api/policies/%2F/ha", json!({"pattern": "^cl", "definition": {"ha-mode": "all"}}));
    let body = server.expect(503, "GET", check, Value::Null);
    assert_eq!(column(&body["queues"], "name"), ["classic"]);
}

#[test]
fn quorum_queues_that_nobody_serves_are_told() {
    let (server, others) = start(3);
    let body = json!({"durable": true, "node": "c", "arguments": {"x-queue-type": "quorum"}});
    server.put("/api/queues/%2F/qq", body);
    server.put("/api/vhosts/v", Value::Null);
    let check = "/api/health/checks/quorum-queues-without-elected-leaders";
    server.get(&format!("{check}/all-vhosts"));
    others.state.lock().unwrap().down.insert(3);
    for path in ["all-vhosts", "vhost/%2F", "all-vhosts/pattern/%5Eq", "vhost/%2F/pattern/q"] {
        let body = server.expect(503, "GET", &format!("{check}/{path}"), Value::Null);
        assert_eq!(column(&body["queues"], "name"), ["qq"], "{path}");
    }
    for (path, status) in
        [("vhost/v", 200), ("all-vhosts/pattern/x", 200), ("vhost/nope", 404), ("vhost/v/pattern/(", 400)]
    {
        server.expect(status, "GET", &format!("{check}/{path}"), Value::Null);
    }
}

#[test]
fn the_clusters_status_is_told_to_administrators() {
    let (server, others) = start(3);
    server.put("/api/queues/%2F/q", json!({"node": "c"}));
    {
        let mut state = others.state.lock().unwrap();
        (state.memory_alarm, state.no_majority) = (true, true);
        state.not_ready = Some("alone".to_owned());
        state.down.insert(3);
    }
    let status = server.get("/api/cluster/status");
    assert_eq!(status["id"], "00000000000000000000000000000abc");
    assert_eq!((&status["ready"], &status["not_ready_reason"]), (&json!(false), &json!("alone")));
    let version = server.broker.catalog().version;
    let catalog = json!({"leader": "leveret@b", "term": 3, "version": version, "has_majority": false});
    assert_eq!(status["catalog"], catalog);
    let nodes = &status["nodes"];
    assert_eq!(column(nodes, "id"), ["1", "2", "3"]);
    assert_eq!(column(nodes, "state"), ["up", "up", "down"]);
    assert_eq!(column(nodes, "homes"), [0, 0, 1]);
    assert_eq!(column(nodes, "lag"), [1, 2, 3]);
    assert_eq!(column(nodes, "leads"), [false, true, false]);
    assert_eq!(column(nodes, "alarms"), [&json!([]), &json!(["memory"]), &json!([])]);
    assert_eq!((&nodes[1]["http_addr"], nodes[2].get("http_addr")), (&json!("127.0.0.2:15672"), None));
    let monitor = server.user("m", "monitoring");
    assert_eq!(server.send(&monitor, "GET", "/api/cluster/status", "").status, 401);
}

fn asked(others: &Others) -> Vec<String> {
    std::mem::take(&mut others.state.lock().unwrap().asked)
}

#[test]
fn nodes_are_forgotten_and_leave() {
    let (server, others) = start(3);
    server.expect(204, "DELETE", "/api/cluster/nodes/c", Value::Null);
    server.expect(204, "DELETE", "/api/cluster/nodes/rabbit@b?force=true", Value::Null);
    server.expect(204, "POST", "/api/cluster/leave", Value::Null);
    server.expect(204, "POST", "/api/cluster/leave?force=true", Value::Null);
    let expected = [
        "forget c, force: false",
        "forget leveret@b, force: true",
        "leave, force: false",
        "leave, force: true",
    ];
    assert_eq!(asked(&others), expected);
    let refused = server.refused("DELETE", "/api/cluster/nodes/x", "");
    assert_eq!(refused, (404, "not_found".into(), "there is no node 'x' in the cluster".into()));
    let lost = "1 queues with their messages on node 'c' would be lost: 'q' in vhost '/'; force it to go on";
    others.state.lock().unwrap().refusal = Some(lost.to_owned());
    for (method, path) in [("DELETE", "/api/cluster/nodes/c"), ("POST", "/api/cluster/leave")] {
        assert_eq!(server.refused(method, path, ""), (409, "refused".into(), lost.into()));
    }
    asked(&others);
    let monitor = server.user("m", "monitoring,policymaker");
    for (method, path) in
        [("DELETE", "/api/cluster/nodes/c?force=true"), ("POST", "/api/cluster/leave?force=true")]
    {
        assert_eq!(server.send(&monitor, method, path, "").status, 401);
    }
    assert_eq!(asked(&others), [] as [&str; 0]);
}

#[test]
fn a_node_without_a_cluster_is_one_of_its_own() {
    let server = Server::start();
    let status = server.get("/api/cluster/status");
    assert_eq!((&status["id"], &status["ready"]), (&Value::Null, &json!(true)));
    assert_eq!(
        (&status["catalog"]["leader"], &status["catalog"]["has_majority"]),
        (&json!("leveret@test"), &json!(true))
    );
    assert_eq!(column(&status["nodes"], "name"), ["leveret@test"]);
    for (method, path) in [("DELETE", "/api/cluster/nodes/leveret@test"), ("POST", "/api/cluster/leave")] {
        let refused = server.refused(method, path, "");
        assert_eq!((refused.0, refused.1.as_str()), (400, "bad_request"), "{}", refused.2);
    }
}
