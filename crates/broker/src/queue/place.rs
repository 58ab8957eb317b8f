//! Where the messages of a segment are among the records of its chunk.
//!
//! Invariant: later messages have higher ordinals, so both ends can be searched by halving.

use super::index_set::Range;
use super::picks::Picks;

/// Neighbouring messages whose records are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of the first message, from the segment's first index.
    pub offset: u32,
    /// How many messages.
    pub count: u32,
    /// Of the first record.
    pub ordinal: u32,
}

/// Which record each message is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// The message at `first + n` is pick n.
    Picks(Picks),
    /// Runs in order; what is in none of them is gone.
    Runs(Vec<Run>),
}

impl Place {
    /// The ordinal of the message at `offset` from the segment's first.
    #[inline]
    pub(super) fn ordinal(&self, offset: u32) -> Option<u32> {
        match self {
            Place::Picks(picks) => (offset < picks.len()).then(|| picks.ordinal(offset)),
            Place::Runs(runs) => {
                let after = runs.partition_point(|run| run.offset <= offset);
                let run = runs.get(after.checked_sub(1)?)?;
                (offset - run.offset < run.count).then(|| run.ordinal + (offset - run.offset))
            }
        }
    }

    /// Which messages have records, when the segment begins with `first`.
    pub(super) fn ranges(&self, first: u64) -> impl Iterator<Item = Range> + '_ {
        let (picks, runs) = match self {
            Place::Picks(picks) => (Some((first, first + u64::from(picks.len()))), [].as_slice()),
            Place::Runs(runs) => (None, runs.as_slice()),
        };
        let range = move |run: &Run| {
            let start = first + u64::from(run.offset);
            (start, start + u64::from(run.count))
        };
        picks.into_iter().chain(runs.iter().map(range))
    }

    /// Only the first `count` messages are left.
    pub(super) fn limit(&mut self, count: u32) {
        match self {
            Place::Picks(picks) => drop(picks.split_off(count.min(picks.len()))),
            Place::Runs(runs) => {
                runs.retain(|run| run.offset < count);
                if let Some(last) = runs.last_mut() {
                    last.count = last.count.min(count - last.offset);
                }
            }
        }
    }

    /// Takes off what is from `offset` on; that begins anew with 0.
    pub(super) fn split_off(&mut self, offset: u32) -> Place {
        match self {
            Place::Picks(picks) => Place::Picks(picks.split_off(offset.min(picks.len()))),
            Place::Runs(runs) => {
                let mut rest = Vec::new();
                for run in runs.iter() {
                    let skipped = offset.saturating_sub(run.offset);
                    if skipped < run.count {
                        rest.push(Run {
                            offset: run.offset + skipped - offset,
                            count: run.count - skipped,
                            ordinal: run.ordinal + skipped,
                        });
                    }
                }
                self.limit(offset);
                Place::Runs(rest)
            }
        }
    }

    /// Behind the highest ordinal.
    pub(super) fn ordinals_end(&self) -> u32 {
        match self {
            Place::Picks(picks) => picks.len().checked_sub(1).map_or(0, |last| picks.ordinal(last) + 1),
            Place::Runs(runs) => runs.iter().map(|run| run.ordinal + run.count).max().unwrap_or(0),
        }
    }

    /// The runs of `ranges`, which lie at or above `first`, when their records are written one behind the
    /// other.
    pub(super) fn packed(first: u64, ranges: &[Range]) -> Vec<Run> {
        let mut ordinal = 0;
        let mut runs = Vec::with_capacity(ranges.len());
        for (start, end) in ranges {
            let count = (end - start) as u32;
            runs.push(Run { offset: (start - first) as u32, count, ordinal });
            ordinal += count;
        }
        runs
    }
}
