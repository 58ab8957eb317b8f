//! The engine: runs the pure machines. Queue owners, publish, deliver, timers, alarms, and the seams
//! to storage and cluster.
//!
//! Invariant: whatever decides is in `broker`; here is what needs a clock, a thread or another queue.
//! Knows no frames and no sockets.

pub mod alarm;
pub mod catalog;
pub mod clock;
pub mod cluster;
mod committed;
mod copies;
mod dead_letter;
mod delayed;
mod drive;
mod history;
pub mod metrics;
pub mod node;
pub mod outlet;
pub mod publish;
pub mod queue;
pub mod registry;
pub mod reply_to;
pub mod route;
mod runner;
pub mod storage;
mod timer;

pub use node::{Broker, BrokerConfig, Seat};
pub use outlet::{Outlet, Taken};
pub use publish::{PublishBatch, record_head};
pub use queue::{Queue, QueueCommand};
pub use registry::{ConnectionView, Session};
pub use route::Route;
