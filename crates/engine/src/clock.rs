//! The engine's clock: queue time that only goes forward, and the wall clock for headers.
//!
//! Invariant: queue time is the wall clock's when the process started, or what the last process had
//! reached if that is later, and goes on from there: a jump of the wall clock does not move it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far queue time is ahead of this process's own clock: the last process had got further.
static AHEAD_MS: AtomicU64 = AtomicU64::new(0);

fn start() -> (Instant, u64) {
    static START: OnceLock<(Instant, u64)> = OnceLock::new();
    *START.get_or_init(|| (Instant::now(), wall_ms()))
}

/// Queue time when this process started.
fn base_ms() -> u64 {
    start().1.saturating_add(AHEAD_MS.load(Ordering::Relaxed))
}

/// Milliseconds since this process started.
fn elapsed_ms() -> u64 {
    start().0.elapsed().as_millis() as u64
}

/// Queue time was at `at_ms` when the node last stopped: it does not go back behind that.
pub fn begin_at(at_ms: u64) {
    // From here on, not from the start of the process: reading a long log must not expire anything.
    let own_ms = start().1.saturating_add(elapsed_ms());
    AHEAD_MS.fetch_max(at_ms.saturating_sub(own_ms), Ordering::Relaxed);
}

/// Milliseconds of queue time.
pub fn now_ms() -> u64 {
    base_ms().saturating_add(elapsed_ms())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_before_moves_the_clock_no_further_than_that() {
        // Time has passed since the start, as when a long log was read.
        let started = now_ms();
        while now_ms() < started + 30 {
            std::thread::yield_now();
        }
        let before = now_ms();
        begin_at(before);
        assert!(now_ms() >= before && now_ms() < before + 25, "{} is long after {before}", now_ms());
        let ahead = now_ms() + 60_000;
        begin_at(ahead);
        assert!(now_ms() >= ahead && now_ms() < ahead + 10_000);
        begin_at(before);
        assert!(now_ms() >= ahead, "the clock does not go back");
        assert!(instant_at(now_ms() + 1000) <= Instant::now() + Duration::from_millis(1000));
    }
}
