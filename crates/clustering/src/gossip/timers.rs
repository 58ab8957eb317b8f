//! What is to happen at which time, soonest first.
//!
//! Invariant: what is due at the same time comes in the order in which it was put in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

struct Entry<T> {
    at: Duration,
    number: u64,
    what: T,
}

impl<T> Entry<T> {
    fn key(&self) -> (Duration, u64) {
        (self.at, self.number)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Entry<T>) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Entry<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Entry<T>) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// A list of deadlines. Times are counted from an origin of the caller's choice.
pub(crate) struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    count: u64,
}

impl<T> Timers<T> {
    /// An empty list.
    pub fn new() -> Timers<T> {
        Timers { heap: BinaryHeap::new(), count: 0 }
    }

    /// Puts something in.
    pub fn push(&mut self, at: Duration, what: T) {
        self.count += 1;
        self.heap.push(Reverse(Entry { at, number: self.count, what }));
    }

    /// When the first is due.
    pub fn next_at(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes out the first that is due.
    pub fn pop_due(&mut self, now: Duration) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.what)
    }

    /// Lets everything be due later.
    pub fn shift(&mut self, by: Duration) {
        let entries = std::mem::take(&mut self.heap).into_iter();
        self.heap = entries.map(|Reverse(entry)| Reverse(Entry { at: entry.at + by, ..entry })).collect();
    }

    /// Keeps only what passes.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.heap.retain(|Reverse(entry)| keep(&entry.what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_soonest_comes_first_and_equals_in_order() {
        let mut timers = Timers::new();
        for (at, what) in [(30, 'd'), (10, 'a'), (20, 'b'), (20, 'c')] {
            timers.push(ms(at), what);
        }
        assert_eq!(timers.next_at(), Some(ms(10)));
        assert_eq!(timers.pop_due(ms(9)), None);
        let due: String = std::iter::from_fn(|| timers.pop_due(ms(25))).collect();
        assert_eq!(due, "abc");
        assert_eq!(timers.next_at(), Some(ms(30)));
    }

    #[test]
    fn shifting_keeps_the_order_and_retain_drops() {
        let mut timers = Timers::new();
        for (at, what) in [(10, 'a'), (10, 'b'), (10, 'c'), (15, 'd')] {
            timers.push(ms(at), what);
        }
        timers.shift(ms(100));
        timers.retain(|what| *what != 'b');
        assert_eq!(timers.pop_due(ms(109)), None);
        let due: String = std::iter::from_fn(|| timers.pop_due(ms(115))).collect();
        assert_eq!(due, "acd");
        assert_eq!(timers.next_at(), None);
    }
}
