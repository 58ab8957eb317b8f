//! The HTTP API of a broker without an AMQP server, driven over its socket: one module per family of
//! resources.
//!
//! Invariant: every test has a broker of its own.

mod accounts;
mod bindings;
mod cluster;
mod connections;
mod definitions;
mod health;
mod listings;
mod messages;
mod nodes;
mod others;
mod overview;
mod policies;
mod queues;
mod server;
mod vhosts;
