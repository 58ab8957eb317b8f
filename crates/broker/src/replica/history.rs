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

#[cfg(test)]
mod tests {
    use super::*;

    fn history(pairs: &[(u64, u64)]) -> History {
        History::new(pairs.to_vec()).unwrap()
    }

    fn divergence_of(ours: &[(u64, u64)], our_next: u64, theirs: &[(u64, u64)], their_next: u64) -> u64 {
        let (ours, theirs) = (history(ours), history(theirs));
        let one_way = divergence((&ours, our_next), (&theirs, their_next));
        assert_eq!(one_way, divergence((&theirs, their_next), (&ours, our_next)));
        one_way
    }

    #[test]
    fn pairs_ascend() {
        assert!(History::new(vec![(3, 0), (7, 0), (9, 12)]).is_some());
        assert!(History::new(vec![(3, 0), (3, 5)]).is_none());
        assert!(History::new(vec![(3, 5), (4, 4)]).is_none());
        let mut history = history(&[(3, 0)]);
        history.begin(3, 9);
        history.begin(2, 9);
        assert_eq!(history.pairs(), [(3, 0)]);
        history.begin(5, 9);
        assert_eq!((history.pairs(), history.epoch()), (&[(3, 0), (5, 9)][..], 5));
    }

    #[test]
    fn copies_agree_up_to_the_end_of_the_last_epoch_that_both_have() {
        // A mirror that has less, and an old home that has more than was told to the new one.
        assert_eq!(divergence_of(&[(3, 0)], 90, &[(3, 0)], 70), 70);
        assert_eq!(divergence_of(&[(3, 0), (5, 80)], 120, &[(3, 0)], 90), 80);
        assert_eq!(divergence_of(&[(3, 0), (5, 80)], 120, &[(3, 0)], 60), 60);
        // Two epochs that went on from the same one.
        assert_eq!(divergence_of(&[(3, 0), (5, 80)], 120, &[(3, 0), (6, 85)], 200), 80);
        // The same epoch after different ones never happens; what was before it counts.
        assert_eq!(divergence_of(&[(3, 0), (5, 80), (7, 90)], 120, &[(3, 0), (7, 90)], 200), 80);
    }

    #[test]
    fn what_was_before_the_first_epoch_is_different() {
        assert_eq!(divergence_of(&[], 90, &[], 90), 0);
        assert_eq!(divergence_of(&[(3, 0)], 90, &[], 90), 0);
        assert_eq!(divergence_of(&[(3, 0)], 90, &[(4, 0)], 90), 0);
        assert_eq!(divergence_of(&[(3, 40)], 90, &[(3, 40)], 80), 80);
    }
}
