//! The HTTP API.

use engine::Broker;
use std::net::TcpListener;
use std::sync::Arc;

/// How the API presents the node.
pub struct ManagementConfig {
    /// The RabbitMQ version whose API is followed.
    pub version: String,
    /// Leveret's own version.
    pub product_version: String,
    /// Users who may only log in from this machine.
    pub loopback_users: Vec<String>,
    /// What the node listens on, as `NAME ADDRESS`.
    pub listeners: Vec<String>,
}

/// A running API.
pub struct Management;

impl Management {
    /// Starts it.
    pub fn start(
        _broker: Arc<Broker>,
        _listener: TcpListener,
        _config: ManagementConfig,
    ) -> std::io::Result<Management> {
        Ok(Management)
    }

    /// Stops it.
    pub async fn stop(self) {}
}
