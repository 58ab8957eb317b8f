//! The pure core: catalog, router, queue machine and channel machines.
//!
//! Invariant: no I/O, no clock, no randomness, no async. Time and random numbers come in as data,
//! what must happen outside goes out as data.

pub mod access;
pub mod argument;
pub mod catalog;
pub mod channel;
// Each of the on-disk forms uses some of the fields.
#[allow(dead_code)]
mod codec;
pub mod message;
pub mod password;
pub mod policy;
pub mod queue;
pub mod replica;
pub mod router;

pub use codec::DecodeError;
