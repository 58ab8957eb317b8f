//! Publishers, consumers and the measured window: what every scenario under load is made of.
//!
//! Invariant: counters are touched once per read or write of a socket, never once per message.

pub mod batch;
pub mod confirms;
pub mod consumer;
pub mod leftovers;
pub mod measure;
pub mod publisher;
pub mod run;
pub mod timetable;

use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other run uses, short because it is carried in every message.
pub fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("b{:x}.{count:x}", std::process::id())
}
