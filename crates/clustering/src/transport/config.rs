//! How a node's transport behaves.
//!
//! Invariant: every default is a limit of `types::limits`.

use crate::identity::NodeIdentity;
use crate::secret::ClusterSecret;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use types::limits::{
    LINK_CONTROL_HIGH_WATER_BYTES, LINK_CONTROL_LOW_WATER_BYTES, LINK_DATA_HIGH_WATER_BYTES,
    LINK_DATA_LOW_WATER_BYTES, LINK_DIAL_TIMEOUT_MS, LINK_HANDSHAKE_TIMEOUT_MS, LINK_PING_MS,
    LINK_RECORD_MAX_BYTES, LINK_REDIAL_MAX_MS, LINK_REDIAL_MIN_MS, LINK_SILENCE_MS,
};

/// What a node says of itself; asked anew for each handshake, since the cluster may be learnt later.
pub type Me = Arc<dyn Fn() -> NodeIdentity + Send + Sync>;

/// Certificates for the links between nodes. Both sides show one.
#[derive(Clone)]
pub struct Tls {
    /// For links that others open; must ask for a client's certificate and require it.
    pub server: Arc<rustls::ServerConfig>,
    /// For links that this node opens; has a client certificate.
    pub client: Arc<rustls::ClientConfig>,
    /// The name that every node's certificate carries; None: the IP address that is dialled.
    pub name: Option<ServerName<'static>>,
}

/// Where writers of a link stop and go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Water {
    /// Above this many bytes that wait for the socket, no more should be put in.
    pub high_bytes: usize,
    /// Below this there is room again.
    pub low_bytes: usize,
}

/// How a node's transport behaves.
#[derive(Clone)]
pub struct TransportConfig {
    /// What all nodes of the cluster know.
    pub secret: ClusterSecret,
    /// Links run inside mutual TLS; otherwise they are sealed with the secret.
    pub tls: Option<Tls>,
    /// Threads for data links, at least 1.
    pub data_threads: usize,
    /// A control link sends something this often.
    pub ping: Duration,
    /// A control link on which nothing was heard for this long is closed.
    pub silence: Duration,
    /// Who connects must have proved who it is after this time.
    pub handshake_timeout: Duration,
    /// A connection to another node must be open after this time.
    pub dial_timeout: Duration,
    /// First pause before a node is dialled again.
    pub redial_min: Duration,
    /// Longest such pause.
    pub redial_max: Duration,
    /// Most plaintext in a record, at most `LINK_RECORD_MAX_BYTES`.
    pub record_bytes: usize,
    /// Data links.
    pub data_water: Water,
    /// Control links.
    pub control_water: Water,
}

impl TransportConfig {
    /// Defaults for everything but the secret.
    pub fn new(secret: ClusterSecret) -> TransportConfig {
        TransportConfig {
            secret,
            tls: None,
            data_threads: 2,
            ping: Duration::from_millis(LINK_PING_MS),
            silence: Duration::from_millis(LINK_SILENCE_MS),
            handshake_timeout: Duration::from_millis(LINK_HANDSHAKE_TIMEOUT_MS),
            dial_timeout: Duration::from_millis(LINK_DIAL_TIMEOUT_MS),
            redial_min: Duration::from_millis(LINK_REDIAL_MIN_MS),
            redial_max: Duration::from_millis(LINK_REDIAL_MAX_MS),
            record_bytes: LINK_RECORD_MAX_BYTES,
            data_water: Water {
                high_bytes: LINK_DATA_HIGH_WATER_BYTES,
                low_bytes: LINK_DATA_LOW_WATER_BYTES,
            },
            control_water: Water {
                high_bytes: LINK_CONTROL_HIGH_WATER_BYTES,
                low_bytes: LINK_CONTROL_LOW_WATER_BYTES,
            },
        }
    }

    /// Says what cannot be.
    ///
    /// # Errors
    /// A text that names the setting, its value and what is possible.
    pub fn check(&self) -> Result<(), String> {
        if self.record_bytes == 0 || self.record_bytes > LINK_RECORD_MAX_BYTES {
            let record_bytes = self.record_bytes;
            return Err(format!("record_bytes is {record_bytes}: 1 to {LINK_RECORD_MAX_BYTES} are possible"));
        }
        if self.ping.is_zero() || self.ping * 2 > self.silence {
            let (ping, silence) = (self.ping, self.silence);
            return Err(format!(
                "ping is {ping:?}: it must be at most half of silence, which is {silence:?}"
            ));
        }
        for water in [self.data_water, self.control_water] {
            let Water { high_bytes, low_bytes } = water;
            if low_bytes == 0 || low_bytes >= high_bytes {
                return Err(format!(
                    "low water is {low_bytes}: it must be less than high water, {high_bytes}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_told() {
        let config = TransportConfig::new(ClusterSecret::new("correct horse battery").unwrap());
        assert_eq!(config.check(), Ok(()));
        let wrong = TransportConfig { record_bytes: 70_000, ..config.clone() }.check().unwrap_err();
        assert!(wrong.contains("70000") && wrong.contains("65536"), "{wrong}");
        let wrong =
            TransportConfig { ping: Duration::from_millis(600), ..config.clone() }.check().unwrap_err();
        assert!(wrong.contains("600ms") && wrong.contains("1s"), "{wrong}");
        let wrong = Water { high_bytes: 5, low_bytes: 5 };
        assert!(TransportConfig { data_water: wrong, ..config }.check().is_err());
    }
}
