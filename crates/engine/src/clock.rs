//! The engine's clock: queue time that only goes forward, and the wall clock for headers.
//!
//! Invariant: queue time is the wall clock's when the process started, or what the last process had
//! reached if that is later, and goes on from there: a jump of the wall clock does not move it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Queue time that the last process had reached.
static REACHED_MS: AtomicU64 = AtomicU64::new(0);

fn start() -> (Instant, u64) {
    static START: OnceLock<(Instant, u64)> = OnceLock::new();
    *START.get_or_init(|| (Instant::now(), wall_ms()))
}

fn base_ms() -> u64 {
    start().1.max(REACHED_MS.load(Ordering::Relaxed))
}

/// Queue time was at `at_ms` when the node last stopped: it does not go back behind that.
pub fn begin_at(at_ms: u64) {
    REACHED_MS.fetch_max(at_ms, Ordering::Relaxed);
}

/// Milliseconds of queue time.
pub fn now_ms() -> u64 {
    base_ms() + start().0.elapsed().as_millis() as u64
}

/// The instant at which queue time will be `at_ms`.
pub fn instant_at(at_ms: u64) -> Instant {
    let ahead = Duration::from_millis(at_ms.saturating_sub(base_ms()).min(FAR_MS));
    start().0 + ahead
}

/// Further ahead than any deadline that is waited for: a hundred years.
const FAR_MS: u64 = 100 * 365 * 24 * 3_600_000;

/// Milliseconds since 1970.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
