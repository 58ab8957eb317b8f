//! Listings of a cluster: queues, consumers, connections and channels of other nodes.

use crate::others::{connection, consumer, start};
use crate::server::{Server, column};
use engine::cluster::NodeCounters;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use types::NodeId;

const AWAY: &str = "/api/queues/%2F/away";
const NAME: &str = "127.0.0.9:9000 -> 127.0.0.2:5672";
const PATH: &str = "/api/connections/127.0.0.9%3A9000%20-%3E%20127.0.0.2%3A5672";

fn declare_away(server: &Server) {
    server.put(AWAY, json!({"durable": true, "node": "rabbit@b"}));
}

#[test]
fn queues_of_other_nodes_show_what_their_homes_tell() {
    let (server, others) = start(3);
    others.state.lock().unwrap().truth.ready = 3;
    others.state.lock().unwrap().truth.consumers = vec![consumer("tag", &format!("{NAME} (1)"))];
    others.state.lock().unwrap().truth.connections = vec![connection("leveret@b", 77, NAME, "guest")];
    declare_away(&server);
    server.put("/api/queues/%2F/here", Value::Null);
    let queues = server.get("/api/queues");
    assert_eq!(column(&queues, "name"), ["away", "here"]);
    assert_eq!(column(&queues, "node"), ["leveret@b", "leveret@test"]);
    assert_eq!(column(&queues, "state"), ["running", "running"]);
    assert_eq!(column(&queues, "messages"), [3, 0]);
    let queue = server.get(AWAY);
    assert_eq!((&queue["messages_ready"], &queue["consumers"]), (&json!(3), &json!(1)));
    let details = &queue["consumer_details"][0]["channel_details"];
    assert_eq!((&details["node"], &details["connection_name"]), (&json!("leveret@b"), &json!(NAME)));
    assert_eq!(column(&server.get("/api/consumers"), "consumer_tag"), ["tag"]);
    assert_eq!(server.get("/api/vhosts/%2F")["messages"], 3);
    let overview = server.get("/api/overview");
    assert_eq!(overview["queue_totals"]["messages"], 3);
    let totals = json!({"channels": 1, "connections": 1, "consumers": 1, "exchanges": 7, "queues": 2});
    assert_eq!((&overview["object_totals"], &overview["node"]), (&totals, &json!("leveret@test")));
}

#[test]
fn the_overview_counts_what_all_nodes_have_counted() {
    let (server, others) = start(3);
    let before = server.get("/api/overview");
    let counted = |node, values: &[(&str, u64)]| NodeCounters {
        node: NodeId(node),
        values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
    };
    others.state.lock().unwrap().truth.counters = vec![
        counted(
            2,
            &[("received", 100), ("confirmed", 7), ("connections_opened", 3), ("of a later build", 1)],
        ),
        counted(3, &[("received", 11), ("queues_created", u64::MAX)]),
    ];
    // What was told is good for a moment.
    let deadline = Instant::now() + Duration::from_secs(10);
    let after = loop {
        let overview = server.get("/api/overview");
        if overview["message_stats"]["confirm"] == 7 {
            break overview;
        }
        assert!(Instant::now() < deadline, "{overview}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let more = |section: &str, name: &str| {
        let number = |overview: &Value| overview[section][name].as_u64().unwrap();
        number(&after) - number(&before)
    };
    assert_eq!(more("message_stats", "publish"), 111);
    assert_eq!(more("churn_rates", "connection_created"), 3);
    assert_eq!(after["churn_rates"]["queue_created"], u64::MAX);
    assert_eq!(after["message_stats"]["publish_details"]["rate"], 0.0, "its past is no rate");
}

#[test]
fn a_quorum_queue_names_its_home_as_leader() {
    let (server, others) = start(3);
    let body = json!({"durable": true, "node": "c", "arguments": {"x-queue-type": "quorum"}});
    server.put("/api/queues/%2F/qq", body);
    let queue = server.get("/api/queues/%2F/qq");
    assert_eq!(
        (&queue["leader"], &queue["members"], &queue["online"]),
        (&json!("c"), &json!(["c"]), &json!(["c"]))
    );
    others.state.lock().unwrap().down.insert(3);
    let queue = server.get("/api/queues/%2F/qq");
    assert_eq!(
        (&queue["leader"], &queue["online"], &queue["state"]),
        (&json!("c"), &json!([]), &json!("down"))
    );
}

#[test]
fn a_queue_whose_home_is_down_says_so() {
    let (server, others) = start(3);
    others.state.lock().unwrap().truth.ready = 3;
    declare_away(&server);
    assert_eq!(server.get(AWAY)["messages"], 3);
    others.state.lock().unwrap().down.insert(2);
    let queue = server.get(AWAY);
    assert_eq!(
        (&queue["state"], &queue["node"], queue.get("messages")),
        (&json!("down"), &json!("leveret@b"), None)
    );
    assert_eq!(server.get("/api/overview")["queue_totals"]["messages"], 0, "what is down is not counted");
    assert_eq!(server.get("/api/overview")["object_totals"]["queues"], 1);
    let text = "home node 'leveret@b' of durable queue 'away' in vhost '/' is down or inaccessible";
    let get = r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#;
    for (method, path, body, reason) in [
        ("DELETE", AWAY.to_owned(), "", text.to_owned()),
        ("DELETE", format!("{AWAY}/contents"), "", text.to_owned()),
        ("PUT", AWAY.to_owned(), r#"{"durable":true}"#, text.to_owned()),
        ("POST", format!("{AWAY}/get"), get, format!("NOT_FOUND - {text}")),
    ] {
        assert_eq!(server.refused(method, &path, body), (404, "not_found".into(), reason), "{method} {path}");
    }
    let publish =
        json!({"properties": {}, "routing_key": "away", "payload": "m", "payload_encoding": "string"});
    let publish_path = "/api/exchanges/%2F/amq.default/publish";
    assert_eq!(server.expect(200, "POST", publish_path, publish.clone()), json!({"routed": false}));
    assert_eq!(others.state.lock().unwrap().asked, [] as [&str; 0]);
    others.state.lock().unwrap().down.clear();
    assert_eq!(server.expect(200, "POST", publish_path, publish), json!({"routed": true}));
    let refused = server.refused("PUT", "/api/queues/%2F/q", r#"{"node":"rabbit@nowhere"}"#);
    assert_eq!(refused.2, "node is 'rabbit@nowhere': it must be a node of the cluster that runs");
}

#[test]
fn what_is_done_with_a_queue_goes_to_its_home() {
    let (server, others) = start(3);
    declare_away(&server);
    let get = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"});
    assert_eq!(server.expect(200, "POST", &format!("{AWAY}/get"), get.clone()), json!([]));
    server.expect(204, "DELETE", &format!("{AWAY}/contents"), Value::Null);
    // The home goes without an answer.
    others.state.lock().unwrap().refusal = Some("gone".to_owned());
    for (method, path, body) in [
        ("POST", format!("{AWAY}/get"), get),
        ("DELETE", format!("{AWAY}/contents"), Value::Null),
        ("DELETE", AWAY.to_owned(), Value::Null),
    ] {
        let answer = server.expect(404, method, &path, body);
        assert!(answer["reason"].as_str().unwrap().ends_with("no queue 'away' in vhost '/'"), "{answer}");
    }
    others.state.lock().unwrap().refusal = None;
    server.expect(204, "DELETE", AWAY, Value::Null);
    let asked = ["get at 2", "purge at 2", "get at 2", "purge at 2", "delete at 2", "delete at 2"];
    assert_eq!(others.state.lock().unwrap().asked, asked);
    server.expect(404, "GET", AWAY, Value::Null);
}

#[test]
fn connections_and_channels_of_other_nodes_have_their_pages() {
    let (server, others) = start(3);
    others.state.lock().unwrap().truth.connections =
        vec![connection("leveret@b", 77, NAME, "guest"), connection("c", 78, "other", "u")];
    for path in
        ["/api/connections", "/api/channels", "/api/vhosts/%2F/connections", "/api/vhosts/%2F/channels"]
    {
        assert_eq!(column(&server.get(path), "node"), ["leveret@b", "c"], "{path}");
    }
    assert_eq!(column(&server.get("/api/connections/username/u"), "name"), ["other"]);
    let page = server.get(PATH);
    assert_eq!(
        (&page["node"], &page["recv_oct"], &page["peer_port"]),
        (&json!("leveret@b"), &json!(10), &json!(9000))
    );
    assert_eq!(column(&server.get(&format!("{PATH}/channels")), "prefetch_count"), [7]);
    let channel = server.get(&format!("/api/channels/{}%20(1)", PATH.rsplit('/').next().unwrap()));
    assert_eq!((&channel["node"], &channel["number"]), (&json!("leveret@b"), &json!(1)));
    let user = server.user("u", "management");
    assert_eq!(column(&server.send(&user, "GET", "/api/connections", "").body, "name"), ["other"]);
    assert_eq!(server.send(&user, "DELETE", PATH, "").status, 401);
    server.expect(204, "DELETE", PATH, Value::Null);
    assert_eq!(server.send(&user, "DELETE", "/api/connections/username/u", "").status, 204);
    let reason = "Closed via management plugin";
    let asked = [format!("close 77 at leveret@b: {reason}"), format!("close 78 at c: {reason}")];
    assert_eq!(others.state.lock().unwrap().asked, asked);
    others.state.lock().unwrap().refusal = Some("it does not answer".to_owned());
    let refused = server.refused("DELETE", PATH, "");
    let text = format!("node 'leveret@b' did not close connection '{NAME}': it does not answer");
    assert_eq!(refused, (503, "unavailable".into(), text));
}

#[test]
fn other_nodes_are_asked_by_one_request_at_a_time_and_not_too_often() {
    let (server, others) = start(3);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| drop(server.get("/api/overview"))));
        }
    });
    let state = others.state.lock().unwrap();
    let allowed = 1 + begun.elapsed().as_millis() as usize / 500;
    assert!((1..=allowed).contains(&state.refreshes), "{} of at most {allowed}", state.refreshes);
    assert_eq!(state.asking_most, 1);
}

#[test]
fn what_needs_no_other_node_asks_none() {
    let (server, others) = start(3);
    for path in
        ["/api/queues?disable_stats=true", "/api/vhosts?disable_stats=true", "/api/users", "/api/exchanges"]
    {
        server.get(path);
    }
    assert_eq!(others.state.lock().unwrap().refreshes, 0);
    server.send("Basic eDp4", "GET", "/api/queues", "");
    assert_eq!(others.state.lock().unwrap().refreshes, 0, "a stranger makes nobody ask");
    server.get("/api/queues");
    assert_eq!(others.state.lock().unwrap().refreshes, 1);
}

#[test]
fn a_node_that_is_alone_asks_nobody() {
    let (server, others) = start(1);
    server.put("/api/queues/%2F/q", Value::Null);
    for path in ["/api/queues", "/api/overview", "/api/nodes", "/api/connections", "/api/consumers"] {
        server.get(path);
    }
    assert_eq!(server.get("/api/queues")[0]["node"], "leveret@test");
    assert_eq!(others.state.lock().unwrap().refreshes, 0);
}
