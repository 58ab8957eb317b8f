//! What a queue was told to do: arguments and policies, merged.
//!
//! Invariant: the catalog computes it; the queue machine only reads it.

use types::{ExchangeName, RoutingKey};

/// The queue type a client asked for with `x-queue-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum QueueKind {
    /// `classic`
    #[default]
    Classic,
    /// `quorum`: the same machine with the refusals and defaults of a quorum queue.
    Quorum,
}

impl QueueKind {
    /// The word in `x-queue-type`.
    pub fn as_str(self) -> &'static str {
        match self {
            QueueKind::Classic => "classic",
            QueueKind::Quorum => "quorum",
        }
    }
}

/// What happens to a message that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The oldest ready messages leave.
    #[default]
    DropHead,
    /// The new message is refused (nack when confirms are on).
    RejectPublish,
    /// The new message is refused and dead-lettered.
    RejectPublishDlx,
}

/// The effective settings of a queue.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct QueueConfig {
    /// `x-message-ttl` / `message-ttl`
    pub message_ttl_ms: Option<u64>,
    /// `x-expires` / `expires`
    pub expires_ms: Option<u64>,
    /// `x-max-length`: ready messages
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`: bodies of ready messages
    pub max_length_bytes: Option<u64>,
    /// `x-overflow` / `overflow`
    pub overflow: Overflow,
    /// `x-dead-letter-exchange` / `dead-letter-exchange`
    pub dead_letter_exchange: Option<ExchangeName>,
    /// `x-dead-letter-routing-key` / `dead-letter-routing-key`
    pub dead_letter_routing_key: Option<RoutingKey>,
    /// `x-max-priority`
    pub max_priority: Option<u8>,
    /// `x-single-active-consumer`
    pub single_active_consumer: bool,
    /// `x-delivery-limit` / `delivery-limit`; None = no limit
    pub delivery_limit: Option<u64>,
    /// `x-consumer-timeout` / `consumer-timeout`; None = off
    pub consumer_timeout_ms: Option<u64>,
    /// Messages whose time is over are routed on by this exchange: the queue holds what is delayed.
    pub release_by: Option<ExchangeName>,
}
