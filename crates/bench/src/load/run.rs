//! What the threads of one run share: counters, flags, the in-flight window and the first error.
//!
//! Invariant: publishers are never more than the window (and one write each) ahead of the consumers, so a slow
//! broker does not fill its memory; and after `fail` every thread ends soon.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock;
use crate::error::{Error, Result};
use crate::histogram::Histogram;
use crate::interrupt;

/// Latencies are kept apart by the time a message was sent at: normal running, and while something happens.
pub const PHASES: usize = 2;

/// A span of send times, open until it is ended.
#[derive(Debug)]
pub struct Phase {
    from_ns: AtomicU64,
    until_ns: AtomicU64,
}

impl Default for Phase {
    fn default() -> Self {
        Self { from_ns: AtomicU64::new(u64::MAX), until_ns: AtomicU64::new(u64::MAX) }
    }
}

impl Phase {
    pub fn begin(&self) {
        self.from_ns.store(u64::MAX, Ordering::SeqCst);
        self.until_ns.store(u64::MAX, Ordering::SeqCst);
        self.from_ns.store(clock::now_ns(), Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.until_ns.store(clock::now_ns(), Ordering::SeqCst);
    }

    pub fn contains(&self, stamp_ns: u64) -> bool {
        stamp_ns >= self.from_ns.load(Ordering::Relaxed) && stamp_ns < self.until_ns.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct Run {
    pub published: AtomicU64,
    pub received: AtomicU64,
    pub nacked: AtomicU64,
    pub confirmed: AtomicU64,
    /// How long the confirm of each message of the first phase took.
    pub confirm_ns: Mutex<Histogram>,
    pub phases: [Phase; PHASES],
    /// The broker sent connection.blocked at least once.
    pub was_blocked: AtomicBool,
    stop_publishing: AtomicBool,
    stop_consuming: AtomicBool,
    failure: Mutex<Option<Error>>,
    deliveries_per_publish: u64,
    window_msgs: u64,
}

impl Run {
    pub fn new(deliveries_per_publish: u64, window_msgs: u64) -> Self {
        Self {
            published: AtomicU64::new(0),
            received: AtomicU64::new(0),
            nacked: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            confirm_ns: Mutex::default(),
            phases: Default::default(),
            was_blocked: AtomicBool::new(false),
            stop_publishing: AtomicBool::new(false),
            stop_consuming: AtomicBool::new(false),
            failure: Mutex::new(None),
            deliveries_per_publish: deliveries_per_publish.max(1),
            window_msgs: window_msgs.max(1),
        }
    }

    /// How many messages may be published now.
    pub fn room_msgs(&self) -> u64 {
        let received = self.received.load(Ordering::Relaxed) / self.deliveries_per_publish;
        let ahead = self.published.load(Ordering::Relaxed).saturating_sub(received);
        self.window_msgs.saturating_sub(ahead)
    }

    pub fn window_msgs(&self) -> u64 {
        self.window_msgs
    }

    /// How many deliveries what was published so far makes.
    pub fn wanted(&self) -> u64 {
        self.published.load(Ordering::Relaxed) * self.deliveries_per_publish
    }

    pub fn publishes(&self) -> bool {
        !self.stop_publishing.load(Ordering::Relaxed)
    }

    pub fn consumes(&self) -> bool {
        !self.stop_consuming.load(Ordering::Relaxed)
    }

    pub fn stop_publishing(&self) {
        self.stop_publishing.store(true, Ordering::Relaxed);
    }

    pub fn stop_consuming(&self) {
        self.stop_consuming.store(true, Ordering::Relaxed);
    }

    /// Keeps the first error, but lets the broker's own words replace a broken pipe they caused.
    pub fn fail(&self, error: Error) {
        if let Ok(mut failure) = self.failure.lock() {
            let is_better = matches!(error, Error::Closed { .. });
            let has_best = matches!(*failure, Some(Error::Closed { .. }));
            if failure.is_none() || (is_better && !has_best) {
                *failure = Some(error);
            }
        }
        self.stop_publishing();
        self.stop_consuming();
    }

    /// An error when the run has failed or was interrupted.
    pub fn check(&self) -> Result<()> {
        interrupt::check()?;
        match self.failure.lock().ok().and_then(|failure| failure.clone()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Scope;

    #[test]
    fn the_window_follows_the_consumers() {
        let run = Run::new(3, 100);
        assert_eq!(run.room_msgs(), 100);
        run.published.store(60, Ordering::Relaxed);
        assert_eq!(run.room_msgs(), 40);
        run.received.store(30, Ordering::Relaxed);
        assert_eq!(run.room_msgs(), 50, "three deliveries make one message");
        run.published.store(500, Ordering::Relaxed);
        assert_eq!(run.room_msgs(), 0);
        assert_eq!(run.wanted(), 1500);
    }

    #[test]
    fn the_brokers_words_win_over_a_broken_pipe() {
        let run = Run::new(1, 1);
        let closed =
            |code| Error::Closed { scope: Scope::Connection, code, text: String::new(), class: 0, method: 0 };
        run.fail(Error::Protocol("broken pipe".into()));
        run.fail(closed(320));
        run.fail(closed(541));
        run.fail(Error::Protocol("later".into()));
        assert!(matches!(run.check(), Err(Error::Closed { code: 320, .. })));
        assert!(!run.publishes() && !run.consumes());
    }

    #[test]
    fn a_phase_holds_what_was_sent_within_it() {
        let phase = Phase::default();
        assert!(!phase.contains(clock::now_ns()));
        phase.begin();
        let within_ns = clock::now_ns();
        assert!(phase.contains(within_ns));
        phase.end();
        assert!(phase.contains(within_ns), "it is still counted when it arrives late");
        assert!(!phase.contains(clock::now_ns() + 1));
    }
}
