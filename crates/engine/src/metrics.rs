//! Counters of the node, declared in one table with their help texts.
//!
//! Invariant: a counter only goes up; hot paths add to it once per batch.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident: $help:literal;)*) => {
        /// All counters of a node.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[$doc])* #[doc = $help] pub $name: Counter,)* }

        impl Metrics {
            /// Name, help text and value of each.
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $help, self.$name.get()),)*]
            }
        }
    };
}

/// A number that only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    connections_opened: "Connections opened";
    connections_closed: "Connections closed";
    channels_opened: "Channels opened";
    channels_closed: "Channels closed";
    queues_declared: "Queue declares, also of queues that were there";
    queues_created: "Queues created with their home here";
    queues_deleted: "Queues deleted that had their home here";
    received: "Messages received from publishers";
    received_confirm: "Messages received from publishers that asked for confirms";
    confirmed: "Messages confirmed to publishers";
    routed: "Messages routed to at least one queue";
    unroutable_dropped: "Messages without a queue that were dropped";
    forward_dropped: "Messages dropped because the node of their queue was down; nobody waited for a confirm";
    unroutable_returned: "Messages without a queue that were returned";
    delivered: "Messages delivered to consumers and gets";
    acknowledged: "Messages acknowledged by consumers";
    dead_lettered: "Messages that left for a dead-letter exchange";
    dead_letter_cycles: "Dead letters dropped because they had come in a circle";
}
