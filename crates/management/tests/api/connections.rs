//! Connections and channels of clients, who are played here.

use crate::server::{Server, column};
use engine::ConnectionView;
use engine::registry::{ChannelListing, ConnectionListing};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use types::{FieldTable, FieldValue, UserName, VhostName};

struct Client {
    name: String,
    user: UserName,
    vhost: VhostName,
    closed: Mutex<Option<String>>,
}

impl ConnectionView for Client {
    fn listing(&self) -> ConnectionListing {
        let properties: FieldTable = [("connection_name", FieldValue::text("worker"))].into_iter().collect();
        ConnectionListing {
            name: self.name.clone(),
            user: self.user.clone(),
            vhost: self.vhost.clone(),
            peer: "127.0.0.1:1000".parse().unwrap(),
            local: "127.0.0.1:5672".parse().unwrap(),
            tls: false,
            auth_mechanism: "PLAIN".to_owned(),
            client_properties: properties,
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat_s: 60,
            connected_at_ms: 1,
            received_bytes: 10,
            sent_bytes: 20,
            state: "running",
            channels: 1,
        }
    }

    fn channels(&self) -> Vec<ChannelListing> {
        vec![ChannelListing {
            number: 1,
            name: format!("{} (1)", self.name),
            confirm: true,
            transactional: false,
            prefetch: 3,
            global_prefetch: 0,
            consumers: 0,
            unacknowledged: 2,
            unconfirmed: 1,
            published: 4,
            delivered: 5,
            acknowledged: 3,
        }]
    }

    fn close(&self, reason: &str) {
        *self.closed.lock().unwrap() = Some(reason.to_owned());
    }

    fn user(&self) -> &UserName {
        &self.user
    }

    fn vhost(&self) -> &VhostName {
        &self.vhost
    }
}

fn connect(server: &Server, name: &str, user: &str) -> Arc<Client> {
    let client = Arc::new(Client {
        name: name.to_owned(),
        user: user.into(),
        vhost: "/".into(),
        closed: Mutex::default(),
    });
    let connections = server.broker.connections();
    connections.add(connections.next_id(), client.clone());
    client
}

const FIRST: &str = "127.0.0.1:1000 -> 127.0.0.1:5672";
const FIRST_PATH: &str = "/api/connections/127.0.0.1%3A1000%20-%3E%20127.0.0.1%3A5672";

#[test]
fn connections_and_channels_are_listed() {
    let server = Server::start();
    connect(&server, FIRST, "guest");
    let connection = server.get(FIRST_PATH);
    for (key, value) in [
        ("name", json!(FIRST)),
        ("user", json!("guest")),
        ("vhost", json!("/")),
        ("peer_host", json!("127.0.0.1")),
        ("peer_port", json!(1000)),
        ("port", json!(5672)),
        ("state", json!("running")),
        ("protocol", json!("AMQP 0-9-1")),
        ("channels", json!(1)),
        ("timeout", json!(60)),
        ("recv_oct", json!(10)),
        ("send_oct", json!(20)),
        ("ssl", json!(false)),
        ("user_provided_name", json!("worker")),
        ("client_properties", json!({"connection_name": "worker"})),
    ] {
        assert_eq!(connection[key], value, "{key}");
    }
    for path in ["/api/connections", "/api/vhosts/%2F/connections", "/api/connections/username/guest"] {
        assert_eq!(column(&server.get(path), "name"), [FIRST], "{path}");
    }
    let channel = format!("{FIRST} (1)");
    for path in
        ["/api/channels".to_owned(), "/api/vhosts/%2F/channels".to_owned(), format!("{FIRST_PATH}/channels")]
    {
        assert_eq!(column(&server.get(&path), "name"), [&channel], "{path}");
    }
    let path = format!("/api/channels/{}%20(1)", FIRST_PATH.rsplit('/').next().unwrap());
    let channel = server.get(&path);
    for (key, value) in [
        ("number", json!(1)),
        ("prefetch_count", json!(3)),
        ("messages_unacknowledged", json!(2)),
        ("messages_unconfirmed", json!(1)),
        ("confirm", json!(true)),
        ("consumer_details", json!([])),
    ] {
        assert_eq!(channel[key], value, "{key}");
    }
    assert_eq!(channel["connection_details"]["name"], FIRST);
    assert_eq!(server.get("/api/overview")["object_totals"]["channels"], 1);
    for path in ["/api/connections/nope", "/api/channels/nope", "/api/consumers/nope"] {
        server.expect(404, "GET", path, Value::Null);
    }
    assert_eq!(server.get("/api/consumers"), json!([]));
}

#[test]
fn connections_are_closed_with_a_reason() {
    let server = Server::start();
    let (first, second) = (connect(&server, FIRST, "guest"), connect(&server, "second", "other"));
    server.expect(204, "DELETE", FIRST_PATH, Value::Null);
    assert_eq!(first.closed.lock().unwrap().as_deref(), Some("Closed via management plugin"));
    let answer = server.raw(
        "DELETE /api/connections/username/other HTTP/1.1\r\nhost: x\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
         x-reason: maintenance\r\nconnection: close\r\n\r\n",
    );
    assert_eq!(answer.status, 204);
    assert_eq!(second.closed.lock().unwrap().as_deref(), Some("maintenance"));
    server.expect(404, "DELETE", "/api/connections/nope", Value::Null);
}

#[test]
fn users_see_and_close_their_own_only() {
    let server = Server::start();
    connect(&server, FIRST, "guest");
    let own = connect(&server, "own", "u");
    let (user, monitor) = (server.user("u", "management"), server.user("m", "monitoring"));
    assert_eq!(column(&server.send(&user, "GET", "/api/connections", "").body, "name"), ["own"]);
    assert_eq!(column(&server.send(&monitor, "GET", "/api/connections", "").body, "name"), [FIRST, "own"]);
    for (login, method, path, status) in [
        (&user, "GET", FIRST_PATH, 401),
        (&user, "DELETE", FIRST_PATH, 401),
        (&monitor, "GET", FIRST_PATH, 200),
        (&monitor, "DELETE", FIRST_PATH, 401),
        (&user, "DELETE", "/api/connections/username/guest", 401),
        (&user, "DELETE", "/api/connections/own", 204),
    ] {
        assert_eq!(server.send(login, method, path, "").status, status, "{method} {path}");
    }
    assert!(own.closed.lock().unwrap().is_some());
}
