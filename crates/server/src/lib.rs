//! AMQP over TCP and TLS: listeners, connections and channels on top of the engine.
//!
//! Invariant: wire values and broker values meet here and nowhere else; what decides is below.

mod auth;
mod channel;
mod connection;
mod fault;
mod listener;
mod outbox;
mod port;
pub mod tls;

pub use auth::Authenticator;
pub use listener::{Server, ServerConfig};
