//! The queue: a pure state machine over a log.
//!
//! The logged part (`live`, delivery counts, configuration) changes by commands only; consumers and
//! credit are volatile and never influence it.

pub mod config;

pub use config::{Overflow, QueueConfig, QueueKind};
