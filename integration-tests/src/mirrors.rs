//! Mirrored queues in tests: the policy that makes them, and what the API says of their copies.
//!
//! Invariant: a test asks a node that runs.

use crate::process::Broker;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

impl Broker {
    /// Has every queue of the vhost `/` mirrored on all nodes, by an operator's policy, which tests' own do not replace.
    pub(crate) fn mirror_all(&self) {
        let body = r#"{"pattern":".*","apply-to":"queues","definition":{"ha-mode":"all"}}"#;
        let addr = self.http.expect("the node has an API");
        let request = format!(
            "PUT /api/operator-policies/%2f/mirrors HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(addr).expect("the API answers");
        stream.write_all(request.as_bytes()).expect("the API takes the policy");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    /// Sets a policy for all queues whose name begins with `prefix`.
    pub async fn set_policy(&self, prefix: &str, definition: &str) {
        let body = format!(r#"{{"pattern":"^{prefix}","apply-to":"queues","definition":{definition}}}"#);
        self.http_put(&format!("/api/policies/%2f/of-{prefix}"), &body).await;
    }

    /// What the API says of a queue.
    pub async fn queue_row(&self, queue: &str) -> Value {
        let (code, body) = self.http("GET", &format!("/api/queues/%2f/{queue}"), "").await;
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The home of a queue, and its mirrors that are in sync.
    pub async fn copies(&self, queue: &str) -> (String, Vec<String>) {
        let row = self.queue_row(queue).await;
        let names = |field: &str| -> Vec<String> {
            let list = row[field].as_array().cloned().unwrap_or_default();
            list.iter().filter_map(|name| name.as_str().map(short)).collect()
        };
        let home = short(row["node"].as_str().unwrap_or_default());
        (home, names("synchronised_slave_nodes"))
    }
}

/// A node's name without RabbitMQ's prefix.
fn short(name: &str) -> String {
    name.strip_prefix("rabbit@").unwrap_or(name).to_owned()
}
