//! Heartbeats both ways.
//!
//! Invariant: something is sent at least every interval; after two intervals without a byte from the
//! client it counts as lost. Source: AMQP 0-9-1 section 4.2.7.

use std::time::Duration;
use tokio::time::Instant;

/// Ticks in one heartbeat interval.
const TICKS_PER_INTERVAL: u32 = 2;
/// Ticks without a byte after which the client is lost.
const SILENT_TICKS_MAX: u32 = 2 * TICKS_PER_INTERVAL;
/// Without heartbeats the task still looks after consumer timeouts this often.
const WATCH_INTERVAL: Duration = Duration::from_secs(15);

/// What a tick asks for.
pub(super) enum Beat {
    Quiet,
    Send,
    Lost,
}

pub(super) struct Heartbeat {
    tick: Duration,
    on: bool,
    next: Instant,
    sent: u64,
    received: u64,
    silent_ticks: u32,
}

impl Heartbeat {
    /// With an interval in seconds; 0 = none.
    pub(super) fn new(interval_s: u16) -> Heartbeat {
        let on = interval_s > 0;
        let interval = Duration::from_secs(interval_s.into());
        let tick = if on { interval / TICKS_PER_INTERVAL } else { WATCH_INTERVAL };
        Heartbeat { tick, on, next: Instant::now() + tick, sent: 0, received: 0, silent_ticks: 0 }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        Some(self.next)
    }

    /// A tick is due; `sent` and `received` are the connection's byte counts, `watched` is false while
    /// the broker itself does not read.
    pub(super) fn tick(&mut self, sent: u64, received: u64, watched: bool) -> Beat {
        let now = Instant::now();
        if now < self.next {
            return Beat::Quiet;
        }
        self.next = now + self.tick;
        if !self.on {
            return Beat::Quiet;
        }
        if received != self.received || !watched {
            self.received = received;
            self.silent_ticks = 0;
        } else {
            self.silent_ticks += 1;
        }
        if self.silent_ticks >= SILENT_TICKS_MAX {
            return Beat::Lost;
        }
        let quiet = sent == self.sent;
        self.sent = sent;
        if quiet { Beat::Send } else { Beat::Quiet }
    }
}
