//! Messages that an `x-delayed-message` exchange holds until their time.
//!
//! Invariant: one ordered index per exchange; a message is routed once, at or after its time, and is
//! gone when its exchange is deleted.

use crate::clock;
use crate::node::Broker;
use broker::message::Chunk;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use types::{ExchangeName, VhostName};

/// Messages by their time and arrival.
type Held = BTreeMap<(u64, u64), Arc<Chunk>>;
/// A message whose time has come, and where it waited.
type Due = (VhostName, ExchangeName, Arc<Chunk>);

/// All held messages.
#[derive(Default)]
pub(crate) struct Delayed {
    state: Mutex<DelayedState>,
}

#[derive(Default)]
struct DelayedState {
    by_exchange: HashMap<(VhostName, ExchangeName), Held>,
    sequence: u64,
}

impl Delayed {
    pub(crate) fn forget(&self, vhost: &VhostName, exchange: &ExchangeName) {
        self.state.lock().by_exchange.remove(&(vhost.clone(), exchange.clone()));
    }

    fn take_due(&self, now_ms: u64) -> (Vec<Due>, Option<u64>) {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        let mut next: Option<u64> = None;
        for ((vhost, exchange), held) in &mut state.by_exchange {
            while held.first_key_value().is_some_and(|((at, _), _)| *at <= now_ms) {
                due.extend(held.pop_first().map(|(_, message)| (vhost.clone(), exchange.clone(), message)));
            }
            let first = held.first_key_value().map(|((at, _), _)| *at);
            next = [next, first].into_iter().flatten().min();
        }
        state.by_exchange.retain(|_, held| !held.is_empty());
        (due, next)
    }
}

impl Broker {
    /// Holds a message of one record for `delay_ms`.
    pub(crate) fn hold(
        &self,
        vhost: &VhostName,
        exchange: &ExchangeName,
        delay_ms: u64,
        message: Arc<Chunk>,
    ) {
        let at_ms = clock::now_ms().saturating_add(delay_ms);
        let mut state = self.delayed().state.lock();
        state.sequence += 1;
        let sequence = state.sequence;
        let held = state.by_exchange.entry((vhost.clone(), exchange.clone())).or_default();
        let is_first = held.first_key_value().is_none_or(|((first, _), _)| at_ms < *first);
        held.insert((at_ms, sequence), message);
        drop(state);
        if is_first {
            self.timer().look_again();
        }
    }

    /// How many messages an exchange holds.
    pub fn delayed_count(&self, vhost: &VhostName, exchange: &ExchangeName) -> usize {
        let key = (vhost.clone(), exchange.clone());
        self.delayed().state.lock().by_exchange.get(&key).map_or(0, BTreeMap::len)
    }

    /// Routes what is due; gives the time of the next one.
    pub(crate) fn release_delayed(&self, now_ms: u64) -> Option<u64> {
        let (due, next) = self.delayed().take_due(now_ms);
        for (vhost, exchange, message) in due {
            self.publish_due(&vhost, exchange.as_str(), &message);
        }
        next
    }
}
