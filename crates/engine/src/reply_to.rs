//! Direct reply-to: names that lead straight to a consumer's channel, unknown to the catalog.
//!
//! Invariant: a name carries the boot and a secret, so it cannot be guessed or outlive its channel.

use crate::outlet::Outlet;
use dashmap::DashMap;
use std::sync::{Arc, Weak};
use types::NodeId;

/// What clients consume from.
pub const REPLY_QUEUE: &str = "amq.rabbitmq.reply-to";

/// Reply names in use.
#[derive(Default)]
pub struct Replies {
    outlets: DashMap<Box<[u8]>, Weak<dyn Outlet>>,
}

impl Replies {
    /// Opens a name for an outlet.
    pub fn open(&self, outlet: &Arc<dyn Outlet>, node: NodeId, connection: u64, channel: u16) -> String {
        let secret = (u128::from(crate::route::random()) << 64) | u128::from(crate::route::random());
        let name = format!("{REPLY_QUEUE}.g1h{:x}.{connection:x}.{channel:x}.{secret:032x}", node.0);
        self.outlets.insert(name.as_bytes().into(), Arc::downgrade(outlet));
        name
    }

    /// Closes a name.
    pub fn close(&self, name: &str) {
        self.outlets.remove(name.as_bytes());
    }

    /// The outlet a routing key leads to.
    pub fn find(&self, key: &[u8]) -> Option<Arc<dyn Outlet>> {
        self.outlets.get(key).and_then(|entry| entry.value().upgrade())
    }
}

/// The node that a reply name leads to.
pub fn node_of(key: &[u8]) -> Option<NodeId> {
    let rest = key.strip_prefix(REPLY_QUEUE.as_bytes())?.strip_prefix(b".g1h")?;
    let node = std::str::from_utf8(rest.split(|byte| *byte == b'.').next()?).ok()?;
    u64::from_str_radix(node, 16).ok().map(NodeId)
}

/// Whether a routing key is a reply name.
pub fn is_reply_name(key: &[u8]) -> bool {
    key.strip_prefix(REPLY_QUEUE.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'.'))
}
