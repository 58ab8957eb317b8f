//! How the log's thread is woken.
//!
//! Invariant: a `wake` after the thread looked for work and before it sleeps is not lost, and costs no
//! system call while the thread is awake. For that, what `has_work` looks at is stored before `wake`,
//! under a lock that `has_work` takes or with sequential consistency.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

const AWAKE: u8 = 0;
/// Asleep until it is woken.
const ASLEEP: u8 = 1;
/// Asleep with a time-out.
const DOZING: u8 = 2;

/// Wakes one thread.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: AtomicU8,
    thread: OnceLock<Thread>,
}

impl Signal {
    /// Names the thread that sleeps here. Called by that thread before anything else.
    pub fn bind(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Wakes the thread if it sleeps.
    pub fn wake(&self) {
        if self.state.load(Ordering::SeqCst) != AWAKE {
            self.unpark();
        }
    }

    /// Wakes the thread if it sleeps without a time-out.
    pub fn wake_if_asleep(&self) {
        if self.state.load(Ordering::SeqCst) == ASLEEP {
            self.unpark();
        }
    }

    fn unpark(&self) {
        self.state.store(AWAKE, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Sleeps until it is woken or `deadline` is reached, unless `has_work` says otherwise once the
    /// thread counts as asleep. It may return early.
    pub fn sleep(&self, deadline: Option<Instant>, has_work: impl FnOnce() -> bool) {
        let state = if deadline.is_some() { DOZING } else { ASLEEP };
        self.state.store(state, Ordering::SeqCst);
        if !has_work() {
            match deadline {
                None => std::thread::park(),
                Some(deadline) => {
                    std::thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
                }
            }
        }
        self.state.store(AWAKE, Ordering::SeqCst);
    }
}

/// Waits for `is_due` for up to `limit` without giving the processor back for long. Says whether it
/// came.
pub(super) fn spin(limit: Duration, is_due: impl Fn() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        for _ in 0..64 {
            if is_due() {
                return true;
            }
            std::hint::spin_loop();
        }
        std::thread::yield_now();
        if Instant::now() >= end {
            return is_due();
        }
    }
}
