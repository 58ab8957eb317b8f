//! Messages delivered on a channel and not yet settled: delivery tag to queue and index.
//!
//! Invariant: tags ascend by one per delivery from 1 on, so the ring needs no map; the front entry is
//! never a settled one.

use crate::queue::Range;
use std::collections::VecDeque;
use types::ConsumerId;

/// One unsettled delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which of the channel's queues it came from.
    pub queue_slot: u32,
    /// Who got it; 0 for basic.get.
    pub consumer: ConsumerId,
    /// Its index in the queue's log.
    pub index: u64,
}

impl Held {
    fn is_got(&self) -> bool {
        self.consumer == ConsumerId::default()
    }
}

/// Deliveries settled together that belong to one queue and consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledGroup {
    /// Which of the channel's queues.
    pub queue_slot: u32,
    /// Which consumer.
    pub consumer: ConsumerId,
    /// Indexes in the queue's log.
    pub ranges: Vec<Range>,
}

impl SettledGroup {
    /// How many messages it holds.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }
}

/// A delivery tag that is not unsettled on this channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTag(pub u64);

/// The ring of unsettled deliveries.
#[derive(Debug)]
pub struct Unacked {
    /// Tag of the entry at the front.
    base: u64,
    entries: VecDeque<Option<Held>>,
    count: usize,
    /// Of those, held by basic.get.
    got: usize,
}

impl Default for Unacked {
    fn default() -> Unacked {
        Unacked { base: 1, entries: VecDeque::new(), count: 0, got: 0 }
    }
}

impl Unacked {
    /// The tag that the next delivery gets.
    #[inline]
    pub fn next_tag(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The tag of the oldest unsettled delivery.
    pub fn oldest_tag(&self) -> Option<u64> {
        (self.count > 0).then_some(self.base)
    }

    /// How many are unsettled.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many of them consumers hold; what basic.get took does not count for prefetch.
    pub fn consumer_count(&self) -> usize {
        self.count - self.got
    }

    fn leave(&mut self, held: Held) -> Held {
        self.count -= 1;
        self.got -= usize::from(held.is_got());
        held
    }

    /// Notes a delivery that has to be settled.
    #[inline]
    pub fn hold(&mut self, held: Held) {
        self.entries.push_back(Some(held));
        self.count += 1;
        self.got += usize::from(held.is_got());
    }

    /// Passes over the tags of `count` deliveries that need no settling.
    #[inline]
    pub fn skip(&mut self, count: u64) {
        if self.entries.is_empty() {
            self.base += count;
        } else {
            self.entries.extend((0..count).map(|_| None));
        }
    }

    /// Takes the delivery with `tag`, or with `multiple` all up to it (0 = all), out of the ring.
    pub fn settle(&mut self, tag: u64, multiple: bool) -> Result<Vec<SettledGroup>, UnknownTag> {
        let mut groups = Vec::new();
        self.take_each(tag, multiple, |_, held| add(&mut groups, held))?;
        Ok(groups)
    }

    /// Like `settle`, with each delivery's tag, so that a rollback can put it back.
    pub fn take(&mut self, tag: u64, multiple: bool) -> Result<Vec<(u64, Held)>, UnknownTag> {
        let mut taken = Vec::new();
        self.take_each(tag, multiple, |tag, held| taken.push((tag, held)))?;
        Ok(taken)
    }

    /// Puts deliveries back under their tags.
    pub fn put_back(&mut self, taken: Vec<(u64, Held)>) {
        for (tag, held) in taken.into_iter().rev() {
            while tag < self.base {
                self.entries.push_front(None);
                self.base -= 1;
            }
            if let Some(entry) = self.entries.get_mut((tag - self.base) as usize)
                && entry.replace(held).is_none()
            {
                self.count += 1;
                self.got += usize::from(held.is_got());
            }
        }
    }

    fn take_each(
        &mut self,
        tag: u64,
        multiple: bool,
        mut each: impl FnMut(u64, Held),
    ) -> Result<(), UnknownTag> {
        if !multiple {
            let at = tag.checked_sub(self.base).ok_or(UnknownTag(tag))?;
            let entry = self.entries.get_mut(at as usize).ok_or(UnknownTag(tag))?;
            let held = entry.take().ok_or(UnknownTag(tag))?;
            each(tag, self.leave(held));
        } else {
            let all = tag == 0;
            // As in RabbitMQ the tag itself has to be unsettled, not only some before it.
            let known = |tag: u64| self.entries.get(tag.checked_sub(self.base)? as usize)?.as_ref();
            if !all && known(tag).is_none() {
                return Err(UnknownTag(tag));
            }
            let until = if all { self.next_tag() } else { tag + 1 };
            while self.base < until {
                let Some(entry) = self.entries.pop_front() else { break };
                self.base += 1;
                if let Some(held) = entry {
                    each(self.base - 1, self.leave(held));
                }
            }
        }
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.base += 1;
        }
        if self.entries.is_empty() && self.entries.capacity() > 4096 {
            self.entries = VecDeque::new();
        }
        Ok(())
    }

    /// Takes everything out, as when the channel closes.
    pub fn drain(&mut self) -> Vec<SettledGroup> {
        self.settle(0, true).unwrap_or_default()
    }
}

/// Deliveries by queue and consumer.
pub fn group(taken: impl IntoIterator<Item = (u64, Held)>) -> Vec<SettledGroup> {
    let mut groups = Vec::new();
    taken.into_iter().for_each(|(_, held)| add(&mut groups, held));
    groups
}

fn add(groups: &mut Vec<SettledGroup>, held: Held) {
    let same =
        |group: &&mut SettledGroup| group.queue_slot == held.queue_slot && group.consumer == held.consumer;
    // Most channels consume from few queues: the last group nearly always fits.
    let group = match groups.iter_mut().rev().find(same) {
        Some(group) => group,
        None => {
            groups.push(SettledGroup {
                queue_slot: held.queue_slot,
                consumer: held.consumer,
                ranges: Vec::new(),
            });
            match groups.last_mut() {
                Some(group) => group,
                None => return,
            }
        }
    };
    match group.ranges.last_mut() {
        Some(last) if last.1 == held.index => last.1 += 1,
        _ => group.ranges.push((held.index, held.index + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(queue_slot: u32, index: u64) -> Held {
        Held { queue_slot, consumer: ConsumerId(1), index }
    }

    #[test]
    fn multiple_groups_by_queue_and_joins_neighbours() {
        let mut unacked = Unacked::default();
        for (slot, index) in [(0, 10), (0, 11), (1, 5), (0, 12), (1, 7)] {
            unacked.hold(held(slot, index));
        }
        let groups = unacked.settle(4, true).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].ranges, [(10, 13)]);
        assert_eq!(groups[1].ranges, [(5, 6)]);
        assert_eq!(unacked.count(), 1);
        assert_eq!(unacked.settle(4, true), Err(UnknownTag(4)));
        assert_eq!(unacked.settle(6, true), Err(UnknownTag(6)));
        assert_eq!(unacked.settle(5, false).unwrap()[0].ranges, [(7, 8)]);
    }

    #[test]
    fn what_is_put_back_has_its_old_tag() {
        let mut unacked = Unacked::default();
        (0..4).for_each(|index| unacked.hold(held(0, index)));
        let taken = unacked.take(3, true).unwrap();
        assert_eq!(unacked.settle(2, false), Err(UnknownTag(2)));
        unacked.put_back(taken);
        assert_eq!((unacked.count(), unacked.next_tag()), (4, 5));
        assert_eq!(unacked.settle(2, false).unwrap()[0].ranges, [(1, 2)]);
        assert_eq!(unacked.settle(4, true).unwrap()[0].ranges, [(0, 1), (2, 4)]);
    }

    #[test]
    fn a_tag_is_settled_once() {
        let mut unacked = Unacked::default();
        assert!(unacked.settle(0, true).unwrap().is_empty());
        assert_eq!(unacked.settle(0, false), Err(UnknownTag(0)));
        unacked.hold(held(0, 0));
        unacked.skip(2);
        unacked.hold(held(0, 1));
        assert_eq!(unacked.next_tag(), 5);
        assert_eq!(unacked.settle(2, false), Err(UnknownTag(2)));
        unacked.settle(1, false).unwrap();
        assert_eq!(unacked.settle(1, false), Err(UnknownTag(1)));
        assert_eq!(unacked.settle(4, false).unwrap()[0].ranges, [(1, 2)]);
        assert_eq!((unacked.count(), unacked.next_tag()), (0, 5));
        unacked.skip(3);
        assert_eq!(unacked.next_tag(), 8);
    }
}
