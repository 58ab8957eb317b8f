//! The engine's clock: queue time that only goes forward, and the wall clock for headers.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Milliseconds of queue time; a jump of the wall clock does not move it.
pub fn now_ms() -> u64 {
    start().elapsed().as_millis() as u64
}

/// The instant at which queue time will be `at_ms`.
pub fn instant_at(at_ms: u64) -> Instant {
    start() + std::time::Duration::from_millis(at_ms)
}

/// Milliseconds since 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
