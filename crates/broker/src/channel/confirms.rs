//! Publisher confirms of one channel: which publishes are committed in all the queues they went to.
//!
//! Invariant: each publish is answered once; runs of publishes with the same fate are one range, and
//! what is done at the front leaves as one `multiple` answer.

use std::collections::VecDeque;

/// An answer to the publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmReply {
    /// The publish, or the last of several.
    pub tag: u64,
    /// Everything up to the tag that was not answered yet.
    pub multiple: bool,
    /// Refused instead of confirmed.
    pub nack: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    first: u64,
    last: u64,
    /// Queues that have not committed yet.
    waits: u32,
    nacked: bool,
    answered: bool,
}

/// Publishes in order, with what each waits for.
#[derive(Debug, Default)]
pub struct Confirms {
    last_tag: u64,
    pending: VecDeque<Pending>,
    /// Ranges done while older ones are not.
    early: Vec<u64>,
    confirmed: u64,
}

impl Confirms {
    /// Numbers `count` publishes that go to `queues` queues each; gives the first number.
    pub fn publish(&mut self, count: u64, queues: u32) -> u64 {
        let first = self.last_tag + 1;
        self.last_tag += count;
        match self.pending.back_mut() {
            Some(back) if back.waits == 0 && queues == 0 && !back.nacked && !back.answered => {
                back.last = self.last_tag;
            }
            _ => self.pending.push_back(Pending {
                first,
                last: self.last_tag,
                waits: queues,
                nacked: false,
                answered: false,
            }),
        }
        first
    }

    /// How many publishes have no answer yet.
    pub fn unconfirmed(&self) -> u64 {
        self.pending.iter().filter(|range| !range.answered).map(|range| range.last - range.first + 1).sum()
    }

    /// How many publishes were confirmed, and not refused, since the last call.
    pub fn take_confirmed(&mut self) -> u64 {
        std::mem::take(&mut self.confirmed)
    }

    fn position(&self, tag: u64) -> usize {
        self.pending.partition_point(|range| range.last < tag)
    }

    /// Makes a range begin at `tag` if one holds it; gives the position of the first that is not before.
    fn cut(&mut self, tag: u64) -> usize {
        let at = self.position(tag);
        let Some(range) = self.pending.get_mut(at).filter(|range| range.first < tag) else { return at };
        let rest = Pending { first: tag, ..*range };
        range.last = tag - 1;
        self.pending.insert(at + 1, rest);
        at + 1
    }

    /// A queue has committed the publishes `first` to `last`.
    pub fn committed(&mut self, first: u64, last: u64) {
        // Publishes of one range may have gone to different queues.
        let mut at = self.cut(first);
        self.cut(last + 1);
        while let Some(range) = self.pending.get_mut(at) {
            if range.first > last {
                break;
            }
            range.waits = range.waits.saturating_sub(1);
            if range.waits == 0 && at > 0 {
                self.early.push(range.first);
            }
            at += 1;
        }
    }

    /// A queue has refused publish `tag`; it still has to be counted as committed there.
    pub fn refused(&mut self, tag: u64) {
        let at = self.cut(tag);
        self.cut(tag + 1);
        if let Some(range) = self.pending.get_mut(at).filter(|range| range.first == tag) {
            range.nacked = true;
        }
    }

    /// Answers that can leave now.
    pub fn take_replies(&mut self) -> Vec<ConfirmReply> {
        let mut replies: Vec<ConfirmReply> = Vec::new();
        // The publishes since the last answer that are done: from and to.
        let mut run: Option<(u64, u64)> = None;
        while let Some(range) = self.pending.front().copied() {
            if range.waits > 0 {
                break;
            }
            self.pending.pop_front();
            if range.answered {
                continue;
            }
            if range.nacked {
                flush(&mut run, &mut replies, false);
                run = Some((range.first, range.last));
                flush(&mut run, &mut replies, true);
            } else {
                self.confirmed += range.last - range.first + 1;
                run = Some((run.map_or(range.first, |(first, _)| first), range.last));
            }
        }
        flush(&mut run, &mut replies, false);
        for first in std::mem::take(&mut self.early) {
            let at = self.position(first);
            let Some(range) = self.pending.get_mut(at) else { continue };
            if range.first != first || range.answered || range.waits > 0 {
                continue;
            }
            range.answered = true;
            let nack = range.nacked;
            if !nack {
                self.confirmed += range.last - range.first + 1;
            }
            replies.extend((range.first..=range.last).map(|tag| ConfirmReply { tag, multiple: false, nack }));
        }
        replies
    }
}

fn flush(run: &mut Option<(u64, u64)>, replies: &mut Vec<ConfirmReply>, nack: bool) {
    if let Some((first, last)) = run.take() {
        replies.push(ConfirmReply { tag: last, multiple: first < last, nack });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(tag: u64, multiple: bool, nack: bool) -> ConfirmReply {
        ConfirmReply { tag, multiple, nack }
    }

    #[test]
    fn a_batch_leaves_as_one_answer() {
        let mut confirms = Confirms::default();
        assert_eq!(confirms.publish(3, 1), 1);
        assert_eq!(confirms.publish(1, 0), 4);
        assert_eq!(confirms.publish(2, 2), 5);
        assert!(confirms.take_replies().is_empty());
        confirms.committed(1, 3);
        assert_eq!(confirms.take_replies(), [reply(4, true, false)]);
        confirms.committed(5, 6);
        assert!(confirms.take_replies().is_empty());
        confirms.committed(5, 6);
        assert_eq!(confirms.take_replies(), [reply(6, true, false)]);
        assert_eq!(confirms.unconfirmed(), 0);
        assert_eq!((confirms.take_confirmed(), confirms.take_confirmed()), (6, 0));
    }

    #[test]
    fn what_overtakes_is_answered_alone() {
        let mut confirms = Confirms::default();
        confirms.publish(1, 1);
        confirms.publish(2, 1);
        confirms.committed(2, 3);
        assert_eq!(confirms.take_replies(), [reply(2, false, false), reply(3, false, false)]);
        assert_eq!(confirms.take_confirmed(), 2);
        assert_eq!(confirms.unconfirmed(), 1);
        confirms.committed(1, 1);
        assert_eq!(confirms.take_replies(), [reply(1, false, false)]);
        assert_eq!(confirms.unconfirmed(), 0);
    }

    #[test]
    fn a_queue_answers_only_for_what_it_got() {
        let mut confirms = Confirms::default();
        // 1 and 3 went to one queue, 2 and 4 to another.
        confirms.publish(4, 1);
        confirms.committed(1, 1);
        confirms.committed(3, 3);
        assert_eq!(confirms.take_replies(), [reply(1, false, false), reply(3, false, false)]);
        confirms.refused(4);
        confirms.committed(2, 2);
        confirms.committed(4, 4);
        assert_eq!(confirms.take_replies(), [reply(2, false, false), reply(4, false, true)]);
        assert_eq!(confirms.unconfirmed(), 0);
    }

    #[test]
    fn a_refused_publish_is_nacked_between_confirmed_ones() {
        let mut confirms = Confirms::default();
        confirms.publish(5, 1);
        confirms.refused(3);
        confirms.committed(1, 5);
        let replies = confirms.take_replies();
        assert_eq!(replies, [reply(2, true, false), reply(3, false, true), reply(5, true, false)]);
    }
}
