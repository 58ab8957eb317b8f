//! Mirrored queues in tests: the policy that makes them, and what the API says of their copies.
//!
//! Invariant: a test asks a node that runs.

use crate::process::Broker;
use serde_json::Value;

impl Broker {
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
