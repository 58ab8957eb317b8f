//! Vhosts, their limits and who sees them.

use crate::server::{Server, column};
use serde_json::{Value, json};

#[test]
fn vhosts_are_put_read_and_deleted() {
    let server = Server::start();
    server.put("/api/vhosts/v", json!({"description": "d", "tags": "a,b", "default_queue_type": "quorum"}));
    server.expect(204, "PUT", "/api/vhosts/v", Value::Null);
    let vhost = server.get("/api/vhosts/v");
    let expected = json!({"description": "d", "tags": ["a", "b"], "default_queue_type": "quorum"});
    assert_eq!(vhost["metadata"], expected);
    assert_eq!(vhost["cluster_state"], json!({"leveret@test": "running"}));
    assert_eq!((&vhost["messages"], &vhost["tracing"]), (&json!(0), &json!(false)));
    assert_eq!(column(&server.get("/api/vhosts?columns=name"), "name"), ["/", "v"]);
    assert_eq!(column(&server.get("/api/vhosts/v/permissions"), "user"), ["guest"]);
    server.expect(204, "POST", "/api/vhosts/v/start/leveret@test", Value::Null);
    server.expect(400, "POST", "/api/vhosts/v/start/other", Value::Null);
    server.expect(204, "DELETE", "/api/vhosts/v", Value::Null);
    server.expect(404, "DELETE", "/api/vhosts/v", Value::Null);
    server.expect(404, "GET", "/api/vhosts/v", Value::Null);
}

#[test]
fn tracing_is_switched_in_two_ways() {
    let server = Server::start();
    server.expect(204, "PUT", "/api/vhosts/%2F", json!({"tracing": true}));
    assert_eq!(server.get("/api/vhosts/%2F")["tracing"], true);
    assert_eq!(server.get("/api/vhosts/%2F")["description"], "Default virtual host");
    server.expect(204, "DELETE", "/api/leveret/trace/%2F", Value::Null);
    assert_eq!(server.get("/api/vhosts/%2F")["tracing"], false);
    server.expect(204, "PUT", "/api/leveret/trace/%2F", Value::Null);
    assert_eq!(server.get("/api/vhosts/%2F")["tracing"], true);
    server.expect(404, "PUT", "/api/leveret/trace/nope", Value::Null);
}

#[test]
fn users_see_vhosts_they_may_enter_and_monitors_all() {
    let server = Server::start();
    let user = server.user("u", "management");
    let monitor = server.user("m", "monitoring");
    server.put("/api/vhosts/v", Value::Null);
    server.put("/api/permissions/v/u", json!({"configure": "^mine", "write": ".*", "read": ".*"}));
    let ask = |login: &str, method: &str, path: &str| {
        let answer = server.send(login, method, path, "");
        (answer.status, answer.body)
    };
    assert_eq!(column(&ask(&user, "GET", "/api/vhosts").1, "name"), ["v"]);
    assert_eq!(column(&ask(&monitor, "GET", "/api/vhosts").1, "name"), ["/", "v"]);
    let stranger = json!({"error": "not_authorised", "reason": "User not authorised to access virtual host"});
    for path in ["/api/queues/%2F", "/api/exchanges/%2F", "/api/bindings/%2F", "/api/vhosts/%2F"] {
        assert_eq!(ask(&user, "GET", path), (401, stranger.clone()), "{path}");
        assert_eq!(ask(&monitor, "GET", path).0, 200, "{path}");
    }
    assert_eq!(ask(&monitor, "PUT", "/api/queues/%2F/q"), (401, stranger));
    assert_eq!(ask(&user, "PUT", "/api/queues/v/mine").0, 201);
    let refused = json!({"error": "not_authorised", "reason": "Access refused."});
    for (method, path) in [
        ("PUT", "/api/queues/v/other"),
        ("PUT", "/api/exchanges/v/other"),
        ("DELETE", "/api/exchanges/v/amq.topic"),
    ] {
        assert_eq!(ask(&user, method, path), (401, refused.clone()), "{method} {path}");
    }
    assert_eq!(column(&ask(&user, "GET", "/api/queues").1, "name"), ["mine"]);
    assert_eq!(ask(&user, "GET", "/api/queues/nope").0, 404);
}

#[test]
fn vhost_limits_are_set_read_and_cleared() {
    let server = Server::start();
    server.expect(204, "PUT", "/api/vhost-limits/%2F/max-queues", json!({"value": 1}));
    let row = json!([{"vhost": "/", "value": {"max-queues": 1}}]);
    assert_eq!(server.get("/api/vhost-limits"), row);
    assert_eq!(server.get("/api/vhost-limits/%2F"), row);
    server.put("/api/queues/%2F/one", Value::Null);
    server.expect(400, "PUT", "/api/queues/%2F/two", Value::Null);
    let text = "Validation failed\n\nmax-queues should be a number, actually was <<\"a\">>\n";
    let table = [
        ("/api/vhost-limits/%2F/max-queues", r#"{"value":"a"}"#, text),
        ("/api/vhost-limits/%2F/max-queues", "{}", "[{key_missing,value}]"),
        (
            "/api/vhost-limits/%2F/foo",
            r#"{"value":5}"#,
            "Validation failed\n\nUnrecognised terms [{<<\"foo\">>,5}] in limits\n",
        ),
    ];
    for (path, body, reason) in table {
        assert_eq!(server.refused("PUT", path, body), (400, "bad_request".into(), reason.into()));
    }
    server.expect(204, "DELETE", "/api/vhost-limits/%2F/max-queues", Value::Null);
    server.expect(204, "DELETE", "/api/vhost-limits/%2F/max-queues", Value::Null);
    assert_eq!(server.get("/api/vhost-limits"), json!([]));
}
