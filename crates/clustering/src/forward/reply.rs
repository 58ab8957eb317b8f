//! What this node's threads flush a link with, and the way of direct replies to consumers of another node.
//!
//! Invariant: a reply that cannot go is not taken, as if its consumer had left.

use super::home::Home;
use broker::message::{Chunk, Record};
use engine::outlet::Outlet;
use std::sync::Weak;

/// The link to a node, as an outlet.
pub(super) struct ReplyWay {
    home: Weak<Home>,
}

impl ReplyWay {
    pub(super) fn new(home: Weak<Home>) -> ReplyWay {
        ReplyWay { home }
    }
}

impl Outlet for ReplyWay {
    fn reply(&self, record: &Record<'_>) -> bool {
        let Some(home) = self.home.upgrade() else { return false };
        home.reply(&Chunk::single(record.head, record.route.into(), record.properties, record.body))
    }

    fn flush(&self) {
        if let Some(home) = self.home.upgrade() {
            home.flush();
        }
    }
}
