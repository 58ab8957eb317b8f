//! Messages that a queue's home has handed to another node, on their way to a consumer there.
//!
//! Invariant: runs are in the order in which the queue handed them out; together they have one index for each
//! record of the chunk.

use super::checkout::Delivery;
use super::index_set::Range;
use crate::message::Chunk;
use std::sync::Arc;

/// Neighbours in the queue's log that were handed out alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedRun {
    /// Index of the first message.
    pub first: u64,
    /// How many messages.
    pub count: u32,
    /// How often each came back before.
    pub returns: u32,
    /// Whether a client may have seen them before.
    pub redelivered: bool,
}

/// Messages for one consumer.
#[derive(Clone, Debug)]
pub struct Handed {
    chunk: Arc<Chunk>,
    runs: Vec<HandedRun>,
    /// How many of them have been taken.
    taken: u32,
}

impl Handed {
    /// Messages as they came from the home; None when runs and records are not equally many.
    pub fn new(chunk: Arc<Chunk>, runs: Vec<HandedRun>) -> Option<Handed> {
        let count: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
        (count == u64::from(chunk.len())).then_some(Handed { chunk, runs, taken: 0 })
    }

    /// How many there were.
    pub fn count(&self) -> u32 {
        self.chunk.len()
    }

    /// How many are left to be taken.
    pub fn left(&self) -> u32 {
        self.chunk.len() - self.taken
    }

    /// Notes that the next `count` were taken.
    pub fn take(&mut self, count: u32) {
        self.taken += count.min(self.left());
    }

    /// Indexes of those that are left.
    pub fn ranges_left(&self) -> Vec<Range> {
        let mut skip = u64::from(self.taken);
        let mut ranges = Vec::new();
        for run in &self.runs {
            let count = u64::from(run.count);
            if skip < count {
                ranges.push((run.first + skip, run.first + count));
            }
            skip = skip.saturating_sub(count);
        }
        ranges
    }

    /// Memory they keep, bytes.
    pub fn bytes(&self) -> usize {
        self.chunk.data_bytes()
    }

    /// Walks those that are left until `take` says no.
    pub(super) fn walk<'a>(&'a self, mut take: impl FnMut(Delivery<'a>) -> bool) {
        let mut ordinal = 0;
        for run in &self.runs {
            for at in 0..run.count {
                if ordinal >= self.taken {
                    let delivery = Delivery {
                        index: run.first + u64::from(at),
                        returns: run.returns,
                        redelivered: run.redelivered,
                        record: self.chunk.record(ordinal),
                        chunk: &self.chunk,
                    };
                    if !take(delivery) {
                        return;
                    }
                }
                ordinal += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ChunkBuilder, RecordHead};

    fn handed() -> Handed {
        let mut builder = ChunkBuilder::default();
        let route: Arc<[u8]> = Arc::from(&b"\0\0"[..]);
        for body in [b"a", b"b", b"c", b"d"] {
            builder.push(RecordHead::default(), &route, &[0, 0], body);
        }
        let run = |first, count, redelivered| HandedRun { first, count, returns: 0, redelivered };
        Handed::new(Arc::new(builder.finish()), vec![run(3, 1, true), run(7, 3, false)]).unwrap()
    }

    #[test]
    fn what_is_left_keeps_its_indexes() {
        let mut handed = handed();
        let walked = |handed: &Handed| {
            let mut all = Vec::new();
            handed.walk(|one| {
                all.push((one.index, one.record.body.to_vec(), one.redelivered));
                true
            });
            all
        };
        assert_eq!(walked(&handed)[0], (3, b"a".to_vec(), true));
        handed.take(2);
        assert_eq!(handed.left(), 2);
        assert_eq!(handed.ranges_left(), vec![(8, 10)]);
        assert_eq!(walked(&handed), vec![(8, b"c".to_vec(), false), (9, b"d".to_vec(), false)]);
        handed.take(9);
        assert_eq!((handed.left(), handed.ranges_left()), (0, vec![]));
    }

    #[test]
    fn runs_must_fit_the_records() {
        let chunk = handed().chunk;
        assert!(
            Handed::new(chunk, vec![HandedRun { first: 0, count: 3, returns: 0, redelivered: false }])
                .is_none()
        );
    }
}
