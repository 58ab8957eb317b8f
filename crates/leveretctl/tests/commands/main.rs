//! The built binary against a broker with its HTTP API in this process.
//!
//! Invariant: every test has a broker of its own and reaches it as an operator on its machine does, by the
//! token in the data directory.

mod accounts;
mod cluster;
mod definitions;
mod listings;
mod node;
mod others;
mod server;
mod settings;
