//! Hands encoded deliveries from the publisher's thread to the consumer's.
//!
//! Invariant: whole buffers change hands, the bytes in them are not touched; a slow consumer stops the publisher
//! after `WAITING_MAX` buffers.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

/// Buffers of about 400 KiB each.
const WAITING_MAX: usize = 16;

#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// Written buffers, to be filled again.
    free: Vec<Vec<u8>>,
    /// A thread sleeps on `changed`: otherwise nobody needs to be woken.
    has_sleeper: bool,
    is_closed: bool,
}

impl Outbox {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep<'a>(&'a self, mut state: std::sync::MutexGuard<'a, State>) -> std::sync::MutexGuard<'a, State> {
        state.has_sleeper = true;
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.has_sleeper) {
            self.changed.notify_all();
        }
    }

    /// A consumer is there: what an earlier one left is thrown away.
    pub fn open(&self) {
        let mut state = self.lock();
        state.waiting.clear();
        state.is_closed = false;
    }

    /// The consumer is going: what is waiting is still written, nothing is added.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        self.wake(&mut state);
    }

    /// Hands over a full buffer and gives an empty one.
    pub fn push(&self, buffer: Vec<u8>) -> Vec<u8> {
        let mut state = self.lock();
        while state.waiting.len() >= WAITING_MAX && !state.is_closed {
            state = self.sleep(state);
        }
        let free = state.free.pop().unwrap_or_default();
        if state.is_closed {
            return free;
        }
        state.waiting.push_back(buffer);
        self.wake(&mut state);
        free
    }

    /// The next buffer to write; takes back the one written before. None when the consumer is gone.
    pub fn pop(&self, mut written: Vec<u8>) -> Option<Vec<u8>> {
        let mut state = self.lock();
        written.clear();
        state.free.push(written);
        loop {
            if let Some(buffer) = state.waiting.pop_front() {
                self.wake(&mut state);
                return Some(buffer);
            }
            if state.is_closed {
                return None;
            }
            state = self.sleep(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_out_in_order_and_are_used_again() {
        let outbox = Outbox::default();
        outbox.open();
        outbox.push(vec![1]);
        outbox.push(vec![2]);
        let first = outbox.pop(Vec::new());
        assert_eq!(first.as_deref(), Some(&[1_u8][..]));
        assert_eq!(outbox.pop(Vec::with_capacity(100)).as_deref(), Some(&[2_u8][..]));
        assert!(outbox.push(vec![3]).capacity() >= 100, "the written buffer comes back empty");
        outbox.close();
        outbox.push(vec![4]);
        assert_eq!(outbox.pop(Vec::new()).as_deref(), Some(&[3_u8][..]), "what waited is still written");
        assert_eq!(outbox.pop(Vec::new()), None, "nothing is added after the close");
    }

    #[test]
    fn a_full_outbox_waits_for_the_consumer() {
        let outbox = Outbox::default();
        outbox.open();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..=WAITING_MAX * 3 {
                    outbox.push(vec![at as u8]);
                }
            });
            for at in 0..=WAITING_MAX * 3 {
                assert_eq!(outbox.pop(Vec::new()), Some(vec![at as u8]));
            }
        });
    }
}
