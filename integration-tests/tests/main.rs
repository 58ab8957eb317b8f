//! Every feature of the broker, proven from outside: one module per feature.

mod alternate;
mod auto_delete;
mod cc_bcc;
mod consumer_priority;
mod dead_letter;
mod delayed;
mod exchange_direct;
mod exchange_extra;
mod exchange_fanout;
mod exchange_headers;
mod exchange_to_exchange;
mod exchange_topic;
mod exclusive;
mod expires;
mod max_length;
mod prefetch;
mod priority;
mod queue_declare;
mod single_active_consumer;
mod ttl;
