//! Which epoch each index of a queue belongs to.
//!
//! Invariant: epochs and first indexes ascend, epochs strictly. Two copies of a queue that have the same epoch have
//! the same messages in it, as far as both reach.

/// Epochs with the index that each began with, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<(u64, u64)>);

impl History {
    /// Takes pairs that ascend; None when they do not.
    pub fn new(pairs: Vec<(u64, u64)>) -> Option<History> {
        let ascends = pairs.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        ascends.then_some(History(pairs))
    }

    /// The pairs.
    pub fn pairs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The last epoch; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.0.last().map_or(0, |pair| pair.0)
    }

    /// An epoch begins with an index; one that is not later than the last changes nothing.
    pub fn begin(&mut self, epoch: u64, first: u64) {
        if epoch > self.epoch() {
            self.0.push((epoch, first));
        }
    }

    /// Where the epoch at a place ends.
    fn end(&self, at: usize, next: u64) -> u64 {
        self.0.get(at + 1).map_or(next, |pair| pair.1)
    }
}

/// Below this index two copies have the same messages: the end of the last epoch that both know. `next` is the
/// index that each copy's next message would get. What was there before the first epoch (a queue that was not
/// mirrored yet) was only ever at one node and counts as different.
pub fn divergence(ours: (&History, u64), theirs: (&History, u64)) -> u64 {
    let (ours, our_next) = ours;
    let (theirs, their_next) = theirs;
    let common = ours.0.iter().zip(&theirs.0).take_while(|(a, b)| a == b).count();
    match common.checked_sub(1) {
        None => 0,
        Some(last) => ours.end(last, our_next).min(theirs.end(last, their_next)),
    }
}
