//! AMQP 0-9-1 on bytes: frames, methods, content and the connection's start.
//!
//! ```text
//!           bytes from the socket                        bytes for the socket
//!                    |                                            ^
//!   frame::next_frame | publish::whole_publish        deliver::put_* | Method::put
//!                    v                                            |
//!   Method::decode, assembly::Assembly, deliver::parse_settle     |
//!                    |                                            |
//!                    +------------- the server's channels --------+
//! ```
//! Invariant: pure functions and state machines over slices. No sockets, no tasks, no clock; whatever the
//! peer sends gives a value or an `AmqpError`, never a panic.
#![deny(missing_docs)]

pub mod assembly;
pub mod deliver;
mod fields;
pub mod frame;
pub mod handshake;
pub mod method;
mod octets;
pub mod publish;
mod settle;
#[cfg(test)]
mod tests;

pub use method::Method;
