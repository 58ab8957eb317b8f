//! Users, permissions, topic permissions, user limits, and who may log in.

use crate::server::{Server, column};
use serde_json::{Value, json};

const HASH: &str = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";

#[test]
fn a_login_is_needed_and_told_how() {
    let server = Server::start();
    let anonymous = server.raw("GET /api/overview HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!((anonymous.status, &anonymous.body), (401, &Value::Null));
    assert!(anonymous.head.contains("www-authenticate: Basic realm=\"RabbitMQ Management\""));
    let wrong = server.send("Basic Z3Vlc3Q6d3Jvbmc=", "GET", "/api/overview", "");
    assert_eq!(
        (wrong.status, &wrong.body),
        (401, &json!({"error": "not_authorized", "reason": "Login failed"}))
    );
    for login in ["Basic zzz", "Digest x", "Bearer nothing", "x"] {
        assert_eq!(server.send(login, "GET", "/api/overview", "").status, 401, "{login}");
    }
}

#[test]
fn the_token_in_the_data_directory_opens_everything() {
    let server = Server::start();
    let text = std::fs::read_to_string(server.data_dir.join(".ctl-token")).unwrap();
    let (address, secret) = text.trim_end().split_once('\n').unwrap();
    assert_eq!(address, server.address.to_string());
    let login = format!("Bearer {secret}");
    let me = server.send(&login, "GET", "/api/whoami", "");
    assert_eq!(me.body, json!({"name": "leveretctl", "tags": ["administrator"]}));
    let declared = server.send(&login, "PUT", "/api/queues/%2F/q", "");
    assert_eq!(declared.status, 201, "{:?}", declared.body);
    let zeros = "0".repeat(secret.len());
    for wrong in ["", &secret[1..], &format!("{secret}0"), &zeros] {
        let refused = server.send(&format!("Bearer {wrong}"), "GET", "/api/whoami", "");
        assert_eq!(refused.status, 401, "{wrong}");
    }
}

#[test]
fn tags_open_paths() {
    let server = Server::start();
    let logins =
        ["", "management", "policymaker", "monitoring"].map(|tag| server.user(&format!("u{tag}"), tag));
    let table = [
        ("/api/whoami", "Not management user", [401, 200, 200, 200]),
        ("/api/overview", "Not management user", [401, 200, 200, 200]),
        ("/api/parameters", "User not authorised to access object", [401, 401, 200, 401]),
        ("/api/nodes", "Not monitor user", [401, 401, 401, 200]),
        ("/api/users", "Not administrator user", [401, 401, 401, 401]),
        ("/api/definitions", "Not administrator user", [401, 401, 401, 401]),
    ];
    for (path, reason, statuses) in table {
        for (login, status) in logins.iter().zip(statuses) {
            let answer = server.send(login, "GET", path, "");
            assert_eq!(answer.status, status, "{path} {:?}", answer.body);
            if status == 401 && login != &logins[0] {
                assert_eq!(answer.body, json!({"error": "not_authorised", "reason": reason}), "{path}");
            }
        }
    }
}

#[test]
fn users_are_put_read_and_deleted() {
    let server = Server::start();
    server.put("/api/users/a", json!({"password": "x", "tags": "monitoring, own"}));
    server.expect(204, "PUT", "/api/users/a", json!({"password": "x", "tags": ["management"]}));
    server.put("/api/users/b", json!({"password_hash": HASH, "tags": ""}));
    let user = server.get("/api/users/b");
    let expected = json!({"name": "b", "password_hash": HASH, "tags": [], "limits": {},
        "hashing_algorithm": "rabbit_password_hashing_sha256"});
    assert_eq!(user, expected);
    assert_eq!(server.get("/api/users/a")["tags"], json!(["management"]));
    assert_eq!(column(&server.get("/api/users"), "name"), ["a", "b", "guest"]);
    assert_eq!(column(&server.get("/api/users/without-permissions"), "name"), ["a", "b"]);
    server.expect(204, "DELETE", "/api/users/a", Value::Null);
    server.expect(204, "POST", "/api/users/bulk-delete", json!({"users": ["b"]}));
    assert_eq!(column(&server.get("/api/users"), "name"), ["guest"]);
}

#[test]
fn bad_users_are_refused() {
    let server = Server::start();
    let table = [
        ("PUT", "/api/users/x", "{\"password\":\"x\"}", 400, "bad_request", "tags_not_present"),
        ("PUT", "/api/users/x", "garbage", 400, "bad_request", "not_json"),
        ("PUT", "/api/users/x", "[1]", 400, "bad_request", "not_json"),
        (
            "PUT",
            "/api/users/x",
            r#"{"password_hash":"x","tags":""}"#,
            400,
            "bad_request",
            r#"["not_base64","x"]"#,
        ),
        (
            "PUT",
            "/api/users/x",
            r#"{"password":"a","password_hash":"b","tags":""}"#,
            400,
            "bad_request",
            "both_password_and_password_hash_are_provided",
        ),
        ("GET", "/api/users/x", "", 404, "Object Not Found", "Not Found"),
        ("DELETE", "/api/users/x", "", 404, "Object Not Found", "Not Found"),
        (
            "POST",
            "/api/users/bulk-delete",
            r#"{"users":["x"]}"#,
            400,
            "bad_request",
            r#"["no_such_user","x"]"#,
        ),
    ];
    for (method, path, body, status, error, reason) in table {
        let refused = server.refused(method, path, body);
        assert_eq!(refused, (status, error.to_owned(), reason.to_owned()), "{method} {path} {body}");
    }
}

#[test]
fn permissions_are_set_read_and_cleared() {
    let server = Server::start();
    server.user("a", "management");
    let all = json!({"configure": "^c", "write": ".*", "read": ""});
    server.put("/api/permissions/%2F/a", all.clone());
    server.expect(204, "PUT", "/api/permissions/%2F/a", all);
    let row = json!({"user": "a", "vhost": "/", "configure": "^c", "write": ".*", "read": "^$"});
    let got = server.get("/api/permissions/%2F/a");
    assert_eq!((&got["configure"], &got["user"]), (&row["configure"], &row["user"]));
    assert_eq!(server.get("/api/users/a/permissions"), json!([got]));
    assert_eq!(column(&server.get("/api/permissions"), "user"), ["a", "guest"]);
    let table = [
        ("/api/permissions/%2F/a", r#"{"configure":"","write":""}"#, "[{key_missing,read}]"),
        ("/api/permissions/nope/a", r#"{"configure":"","write":"","read":""}"#, "vhost_or_user_not_found"),
        ("/api/permissions/%2F/nope", r#"{"configure":"","write":"","read":""}"#, "vhost_or_user_not_found"),
    ];
    for (path, body, reason) in table {
        assert_eq!(server.refused("PUT", path, body), (400, "bad_request".into(), reason.into()), "{path}");
    }
    server.expect(400, "PUT", "/api/permissions/%2F/a", json!({"configure": "(", "write": "", "read": ""}));
    server.expect(204, "DELETE", "/api/permissions/%2F/a", Value::Null);
    server.expect(404, "DELETE", "/api/permissions/%2F/a", Value::Null);
    server.expect(404, "GET", "/api/permissions/%2F/a", Value::Null);
}

#[test]
fn topic_permissions_are_set_read_and_cleared() {
    let server = Server::start();
    let path = "/api/topic-permissions/%2F/guest";
    server.put(path, json!({"exchange": "amq.topic", "write": "^a", "read": ".*"}));
    server.expect(204, "PUT", path, json!({"exchange": "other", "write": "", "read": ""}));
    assert_eq!(column(&server.get(path), "exchange"), ["amq.topic", "other"]);
    assert_eq!(column(&server.get("/api/topic-permissions"), "write")[0], "^a");
    assert_eq!(server.get("/api/users/guest/topic-permissions").as_array().unwrap().len(), 2);
    server.expect(204, "DELETE", &format!("{path}/other"), Value::Null);
    server.expect(404, "DELETE", &format!("{path}/other"), Value::Null);
    server.expect(204, "DELETE", path, Value::Null);
    server.expect(404, "GET", path, Value::Null);
}

#[test]
fn user_limits_are_set_read_and_cleared() {
    let server = Server::start();
    server.expect(204, "PUT", "/api/user-limits/guest/max-channels", json!({"value": 5}));
    let row = json!([{"user": "guest", "value": {"max-channels": 5}}]);
    assert_eq!(server.get("/api/user-limits"), row);
    assert_eq!(server.get("/api/user-limits/guest"), row);
    assert_eq!(server.get("/api/users/guest")["limits"], json!({"max-channels": 5}));
    server.expect(400, "PUT", "/api/user-limits/guest/bogus", json!({"value": 5}));
    server.expect(404, "GET", "/api/user-limits/nope", Value::Null);
    server.expect(204, "DELETE", "/api/user-limits/guest/max-channels", Value::Null);
    assert_eq!(server.get("/api/user-limits"), json!([]));
}

#[test]
fn a_password_is_hashed_on_request() {
    let server = Server::start();
    let hash = server.get("/api/auth/hash_password/test12")["ok"].as_str().unwrap().to_owned();
    server.put("/api/users/h", json!({"password_hash": hash, "tags": "management"}));
    assert_eq!(server.send("Basic aDp0ZXN0MTI=", "GET", "/api/whoami", "").status, 200);
}
