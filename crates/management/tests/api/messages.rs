//! Publishing and getting messages.

use crate::server::{Server, column};
use serde_json::{Value, json};

const PUBLISH: &str = "/api/exchanges/%2F/amq.default/publish";
const GET: &str = "/api/queues/%2F/q/get";

fn with_queue() -> Server {
    let server = Server::start();
    server.put("/api/queues/%2F/q", Value::Null);
    server
}

fn message(payload: &str, encoding: &str) -> Value {
    json!({"properties": {}, "routing_key": "q", "payload": payload, "payload_encoding": encoding})
}

#[test]
fn a_message_comes_back_as_it_was_published() {
    let server = with_queue();
    let properties = json!({"delivery_mode": 2, "content_type": "t", "timestamp": 5,
        "headers": {"a": 1, "b": "s", "c": 1.5, "d": [1], "e": {"f": true}}});
    let mut first = message("hello", "string");
    first["properties"] = properties.clone();
    assert_eq!(server.expect(200, "POST", PUBLISH, first), json!({"routed": true}));
    server.expect(200, "POST", PUBLISH, message("/w==", "base64"));
    let wish = json!({"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto", "truncate": 3});
    let got = server.expect(200, "POST", GET, wish);
    let expected = json!([
        {"payload": "hel", "payload_bytes": 5, "payload_encoding": "string", "redelivered": false,
         "exchange": "", "routing_key": "q", "message_count": 1, "properties": properties},
        {"payload": "/w==", "payload_bytes": 1, "payload_encoding": "base64", "redelivered": false,
         "exchange": "", "routing_key": "q", "message_count": 0, "properties": []},
    ]);
    assert_eq!(got, expected);
}

#[test]
fn the_ackmode_says_what_becomes_of_messages() {
    for (ackmode, ready_after, redelivered) in [
        ("ack_requeue_true", 1, true),
        ("reject_requeue_true", 1, true),
        ("ack_requeue_false", 0, false),
        ("reject_requeue_false", 0, false),
    ] {
        let server = with_queue();
        server.expect(200, "POST", PUBLISH, message("m", "string"));
        let wish = json!({"count": 1, "ackmode": ackmode, "encoding": "auto"});
        assert_eq!(column(&server.expect(200, "POST", GET, wish.clone()), "payload"), ["m"], "{ackmode}");
        let queue = server.until("/api/queues/%2F/q", |queue| queue["messages_unacknowledged"] == 0);
        assert_eq!(queue["messages_ready"], ready_after, "{ackmode}");
        let again = server.expect(200, "POST", GET, wish);
        let expected = if redelivered { vec![json!(true)] } else { vec![] };
        assert_eq!(column(&again, "redelivered"), expected.iter().collect::<Vec<_>>(), "{ackmode}");
    }
}

#[test]
fn a_rejected_message_is_dead_lettered() {
    let server = Server::start();
    let arguments = json!({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"});
    server.put("/api/queues/%2F/q", json!({ "arguments": arguments }));
    server.put("/api/queues/%2F/dead", Value::Null);
    server.expect(200, "POST", PUBLISH, message("m", "string"));
    let wish = json!({"count": 1, "ackmode": "reject_requeue_false", "encoding": "auto"});
    server.expect(200, "POST", GET, wish);
    server.until("/api/queues/%2F/dead", |queue| queue["messages_ready"] == 1);
}

#[test]
fn what_goes_nowhere_is_not_routed() {
    let server = with_queue();
    let mut lost = message("m", "string");
    lost["routing_key"] = json!("nope");
    assert_eq!(server.expect(200, "POST", PUBLISH, lost), json!({"routed": false}));
}

#[test]
fn bad_requests_are_refused_in_rabbitmqs_words() {
    let server = with_queue();
    let with = |key: &str, value: Value| {
        let mut body = message("m", "string");
        body[key] = value;
        body.to_string()
    };
    let get = |ackmode: &str, encoding: &str| {
        json!({"count": 1, "ackmode": ackmode, "encoding": encoding}).to_string()
    };
    let nowhere = "/api/exchanges/%2F/nope/publish";
    let internal = "/api/exchanges/%2F/amq.rabbitmq.trace/publish";
    let bad = "bad_request";
    let table = [
        (
            PUBLISH,
            r#"{"routing_key":"q","payload":"x","payload_encoding":"string"}"#.into(),
            400,
            bad,
            "[{key_missing,properties}]",
        ),
        (PUBLISH, with("payload_encoding", json!("foo")), 400, bad, r#"["unsupported_encoding","foo"]"#),
        (PUBLISH, message("!", "base64").to_string(), 400, bad, r#"["not_base64","!"]"#),
        (
            PUBLISH,
            with("properties", json!({"delivery_mode": "x"})),
            400,
            bad,
            r#"["not_int","delivery_mode"]"#,
        ),
        (nowhere, with("payload", json!("x")), 400, bad, "404 NOT_FOUND - no exchange 'nope' in vhost '/'"),
        (internal, with("payload", json!("x")), 401, "not_authorised", "Access refused."),
        (
            PUBLISH,
            with("properties", json!({"user_id": "other"})),
            400,
            bad,
            "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'",
        ),
        (
            PUBLISH,
            with("properties", json!({"expiration": "soon"})),
            400,
            bad,
            "406 PRECONDITION_FAILED - invalid expiration 'soon': no_integer",
        ),
        (GET, r#"{"count":1}"#.into(), 400, bad, "[{key_missing,ackmode},{key_missing,encoding}]"),
        (GET, get("zzz", "auto"), 400, bad, r#"["unsupported_ackmode","zzz"]"#),
        (GET, get("ack_requeue_true", "zzz"), 400, bad, r#"["unsupported_encoding","zzz"]"#),
        (
            "/api/queues/%2F/nope/get",
            get("ack_requeue_true", "auto"),
            404,
            "not_found",
            "NOT_FOUND - no queue 'nope' in vhost '/'",
        ),
    ];
    for (path, body, status, error, reason) in table {
        let refused = server.refused("POST", path, &body);
        assert_eq!(refused, (status, error.to_owned(), reason.to_owned()), "{path} {body}");
    }
}

#[test]
fn counters_count() {
    let server = with_queue();
    for _ in 0..3 {
        server.expect(200, "POST", PUBLISH, message("m", "string"));
    }
    server.expect(200, "POST", GET, json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}));
    let stats = &server.get("/api/queues/%2F/q")["message_stats"];
    assert_eq!(
        (&stats["publish"], &stats["get_no_ack"], &stats["deliver_get"]),
        (&json!(3), &json!(1), &json!(1))
    );
    assert!(stats["publish_details"]["rate"].is_number());
    assert_eq!(server.get("/api/overview")["queue_totals"]["messages"], 2);
    assert_eq!(server.get("/api/vhosts/%2F")["messages_ready"], 2);
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let server = with_queue();
    let answer = server.raw(&format!(
        "POST {PUBLISH} HTTP/1.1\r\nhost: x\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        64 * 1024 * 1024
    ));
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body["reason"], "Exceeded HTTP request body size limit");
}
