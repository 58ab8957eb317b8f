//! Whether a queue's clients wait for its home: between the loss of the link and the word of the catalog.
//!
//! Invariant: only clients of a queue that has copies wait, and not for longer than `FAILOVER_WAIT_MS`.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use types::limits::{FAILOVER_HURRY_MS, FAILOVER_WAIT_MS};

/// The state of one queue.
#[derive(Default)]
pub(super) struct Drift {
    movable: AtomicBool,
    adrift: AtomicBool,
    until: Mutex<Option<Instant>>,
}

impl Drift {
    /// Whether the queue may get another home.
    pub(super) fn set_movable(&self, movable: bool) {
        self.movable.store(movable, Ordering::Release);
    }

    pub(super) fn is_movable(&self) -> bool {
        self.movable.load(Ordering::Acquire)
    }

    /// The home is out of reach; false when nobody waits for another one.
    pub(super) fn begin(&self) -> bool {
        let movable = self.is_movable();
        if movable {
            *self.until.lock() = Some(Instant::now() + Duration::from_millis(FAILOVER_WAIT_MS));
            self.adrift.store(true, Ordering::Release);
        }
        movable
    }

    #[inline]
    pub(super) fn is_adrift(&self) -> bool {
        self.adrift.load(Ordering::Acquire)
    }

    /// Nobody waits any more; whether somebody did.
    pub(super) fn end(&self) -> bool {
        *self.until.lock() = None;
        self.adrift.swap(false, Ordering::AcqRel)
    }

    /// What there is to wait for is known in a moment.
    pub(super) fn hurry(&self) {
        let soon = Instant::now() + Duration::from_millis(FAILOVER_HURRY_MS);
        let mut until = self.until.lock();
        *until = until.map(|until| until.min(soon));
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.lock().is_some_and(|until| until <= now)
    }
}
