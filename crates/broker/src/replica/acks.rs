//! Which number a mirror may acknowledge: everything up to it is on disk, or needs no disk.
//!
//! Invariant: what is acknowledged never passes a frame whose disk is still waited for, and never goes back.

use std::collections::VecDeque;

/// Frames that were taken in one epoch.
#[derive(Debug, Default)]
pub(super) struct Acks {
    taken: u64,
    acked: u64,
    /// Numbers whose disk is waited for, ascending.
    writing: VecDeque<u64>,
}

impl Acks {
    /// The number of the last frame.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// A stream begins with this number; nothing before it is acknowledged any more.
    pub fn begin(&mut self, number: u64) {
        self.acked = self.acked.max(number.saturating_sub(1));
    }

    /// A frame was taken.
    pub fn take(&mut self, number: u64, is_written: bool) {
        self.taken = number;
        if is_written {
            self.writing.push_back(number);
        }
    }

    /// What frames up to a number wrote is on disk.
    pub fn durable(&mut self, number: u64) {
        while self.writing.pop_front_if(|waits| *waits <= number).is_some() {}
    }

    /// The number to be acknowledged now, if it is another one than the last.
    pub fn due(&mut self) -> Option<u64> {
        let due = self.writing.front().map_or(self.taken, |waits| waits.saturating_sub(1));
        (due > self.acked).then(|| {
            self.acked = due;
            due
        })
    }
}
