//! What `x-recent-history` exchanges remember: their last messages, given to each new binding.
//!
//! Invariant: an exchange never keeps more than its length says; its history ends with it.

use crate::node::Broker;
use broker::catalog::{Binding, Destination, ExchangeKind};
use broker::message::Chunk;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use types::{ExchangeName, FieldValue, Properties, VhostName};

/// Messages, oldest first.
type History = VecDeque<Arc<Chunk>>;

/// The last messages of each such exchange.
#[derive(Default)]
pub(crate) struct Histories {
    by_exchange: Mutex<HashMap<(VhostName, ExchangeName), History>>,
}

impl Histories {
    pub(crate) fn forget(&self, vhost: &VhostName, exchange: &ExchangeName) {
        self.by_exchange.lock().remove(&(vhost.clone(), exchange.clone()));
    }
}

impl Broker {
    /// Remembers a message in the exchanges it passed.
    pub(crate) fn remember(&self, vhost: &VhostName, exchanges: &[ExchangeName], message: &Arc<Chunk>) {
        let properties = Properties::parse(message.record(0).properties).ok();
        let headers = properties.and_then(|properties| properties.headers().ok()).unwrap_or_default();
        if headers.get("x-recent-history-no-store") == Some(&FieldValue::Bool(true)) {
            return;
        }
        let catalog = self.catalog();
        for name in exchanges {
            let exchange = catalog.vhost(vhost.as_str()).and_then(|vhost| vhost.exchange(name.as_str()));
            let Some(ExchangeKind::RecentHistory { length }) = exchange.map(|exchange| &exchange.kind) else {
                continue;
            };
            let mut histories = self.histories().by_exchange.lock();
            let history = histories.entry((vhost.clone(), name.clone())).or_default();
            history.push_back(message.clone());
            while history.len() > *length {
                history.pop_front();
            }
        }
    }

    /// Gives a new binding what its exchange remembers.
    pub(crate) fn recall(&self, vhost: &VhostName, binding: &Binding) {
        let key = (vhost.clone(), binding.source.clone());
        let history: Vec<_> = self
            .histories()
            .by_exchange
            .lock()
            .get(&key)
            .map(|all| all.iter().cloned().collect())
            .unwrap_or_default();
        for message in history {
            match &binding.destination {
                Destination::Queue(name) => {
                    let id = self
                        .catalog()
                        .vhost(vhost.as_str())
                        .and_then(|v| v.queue(name.as_str()))
                        .map(|q| q.id);
                    if let Some(queue) = id.and_then(|id| self.queue(id)) {
                        self.enqueue_copy(&queue, message, None);
                    }
                }
                Destination::Exchange(name) => {
                    let record = message.record(0);
                    let key = record.routing_key();
                    self.publish_internal(vhost, name.as_str(), key, record.properties, record.body);
                }
            }
        }
    }
}
