//! What a channel remembers, next to plain maps: publishes that wait for confirms, and deliveries that
//! wait to be settled.

use broker::channel::{Confirms, Held, SettledGroup, Unacked, UnknownTag};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use types::ConsumerId;

const QUEUES: usize = 3;

/// What a queue will say of some publishes: their ranges, and which of them it refused.
#[derive(Debug, Default)]
struct Ticket {
    ranges: Vec<(u64, u64)>,
    refused: Vec<u64>,
}

#[derive(Debug, Default)]
struct Publishes {
    confirms: Confirms,
    last: u64,
    /// Unanswered publishes: the queues that have not committed, and whether one has refused.
    open: BTreeMap<u64, (BTreeSet<usize>, bool)>,
    tickets: [VecDeque<Ticket>; QUEUES],
}

#[derive(Clone, Debug)]
enum PublishStep {
    /// A batch: for each publish the queues it goes to, and those of them that will refuse it.
    Batch(Vec<(u8, u8)>),
    /// A queue commits what it got first.
    Commit(usize),
}

fn has(set: u8, queue: usize) -> bool {
    set & (1 << queue) != 0
}

impl Publishes {
    /// As a connection does it: neighbours that go to as many queues are one call, neighbours with one
    /// route are one range.
    fn batch(&mut self, publishes: &[(u8, u8)]) {
        let first = self.last + 1;
        for same in publishes.chunk_by(|a, b| a.0.count_ones() == b.0.count_ones()) {
            let got = self.confirms.publish(same.len() as u64, same[0].0.count_ones());
            assert_eq!(got, self.last + 1);
            self.last += same.len() as u64;
        }
        let mut tickets: [Ticket; QUEUES] = Default::default();
        let mut number = first;
        for run in publishes.chunk_by(|a, b| a.0 == b.0) {
            let range = (number, number + run.len() as u64 - 1);
            for queue in (0..QUEUES).filter(|queue| has(run[0].0, *queue)) {
                tickets[queue].ranges.push(range);
            }
            for (route, refusing) in run {
                let queues: BTreeSet<usize> = (0..QUEUES).filter(|queue| has(*route, *queue)).collect();
                for queue in queues.iter().filter(|queue| has(*refusing, **queue)) {
                    tickets[*queue].refused.push(number);
                }
                self.open.insert(number, (queues, false));
                number += 1;
            }
        }
        for (queue, ticket) in tickets.into_iter().enumerate().filter(|(_, ticket)| !ticket.ranges.is_empty())
        {
            self.tickets[queue].push_back(ticket);
        }
    }

    fn commit(&mut self, queue: usize) {
        let Some(ticket) = self.tickets[queue].pop_front() else { return };
        for number in &ticket.refused {
            self.confirms.refused(*number);
            self.open.get_mut(number).expect("answered before its queue committed").1 = true;
        }
        for (first, last) in &ticket.ranges {
            self.confirms.committed(*first, *last);
            for number in *first..=*last {
                let (waits, _) = self.open.get_mut(&number).expect("answered before its queue committed");
                assert!(waits.remove(&queue));
            }
        }
    }

    fn take_replies(&mut self) {
        for reply in self.confirms.take_replies() {
            let first = if reply.multiple { 0 } else { reply.tag };
            let covered: Vec<u64> = self.open.range(first..=reply.tag).map(|(number, _)| *number).collect();
            assert_eq!(covered.last(), Some(&reply.tag), "{reply:?} answers nothing, or again");
            for number in covered {
                let (waits, refused) = self.open.remove(&number).expect("just found");
                assert!(waits.is_empty(), "{reply:?} answers {number}, for which {waits:?} have to commit");
                assert_eq!(reply.nack, refused, "{reply:?} for {number}");
            }
        }
        let front = self.open.first_key_value();
        assert!(front.is_none_or(|(_, (waits, _))| !waits.is_empty()), "{front:?} could be answered");
        assert_eq!(self.confirms.unconfirmed(), self.open.len() as u64);
    }
}

fn any_publish_step() -> impl Strategy<Value = PublishStep> {
    // Often the same route again, as publishers do.
    let route = prop_oneof![Just(1u8), Just(2u8), 0u8..8];
    let refusing = prop_oneof![4 => Just(0u8), 1 => 0u8..8];
    prop_oneof![
        prop::collection::vec((route, refusing), 1..8).prop_map(PublishStep::Batch),
        (0..QUEUES).prop_map(PublishStep::Commit),
    ]
}

#[derive(Clone, Debug)]
enum DeliveryStep {
    Hold {
        queue_slot: u32,
        consumer: u64,
        gap: u64,
    },
    Skip(u64),
    /// About a tag this far behind the next one; all of them with 0 and `multiple`.
    Settle {
        back: u64,
        multiple: bool,
    },
    /// Taken in a transaction.
    Take {
        back: u64,
        multiple: bool,
    },
    Rollback,
    Commit,
}

fn any_delivery_step() -> impl Strategy<Value = DeliveryStep> {
    let hold = (0u32..2, 0u64..3, 0u64..2).prop_map(|(queue_slot, consumer, gap)| DeliveryStep::Hold {
        queue_slot,
        consumer,
        gap,
    });
    prop_oneof![
        8 => hold,
        2 => (0u64..3).prop_map(DeliveryStep::Skip),
        4 => (0u64..9, any::<bool>()).prop_map(|(back, multiple)| DeliveryStep::Settle { back, multiple }),
        2 => (0u64..9, any::<bool>()).prop_map(|(back, multiple)| DeliveryStep::Take { back, multiple }),
        1 => Just(DeliveryStep::Rollback),
        1 => Just(DeliveryStep::Commit),
    ]
}

#[derive(Debug)]
struct Deliveries {
    unacked: Unacked,
    held: BTreeMap<u64, Held>,
    taken: Vec<(u64, Held)>,
    next_tag: u64,
    next_index: u64,
}

impl Deliveries {
    /// Takes what an answer covers out of the plain map.
    fn covered(&mut self, tag: u64, multiple: bool) -> Result<Vec<(u64, Held)>, UnknownTag> {
        let all = multiple && tag == 0;
        if !all && !self.held.contains_key(&tag) {
            return Err(UnknownTag(tag));
        }
        let first = if multiple { 0 } else { tag };
        let last = if all { u64::MAX } else { tag };
        let tags: Vec<u64> = self.held.range(first..=last).map(|(tag, _)| *tag).collect();
        Ok(tags.into_iter().filter_map(|tag| self.held.remove_entry(&tag)).collect())
    }

    fn step(&mut self, step: &DeliveryStep) {
        match step {
            DeliveryStep::Hold { queue_slot, consumer, gap } => {
                self.next_index += gap;
                let (queue_slot, consumer) = (*queue_slot, ConsumerId(*consumer));
                let held = Held { queue_slot, consumer, index: self.next_index };
                self.unacked.hold(held);
                self.held.insert(self.next_tag, held);
                self.next_index += 1;
                self.next_tag += 1;
            }
            DeliveryStep::Skip(count) => {
                self.unacked.skip(*count);
                self.next_tag += count;
            }
            DeliveryStep::Settle { back, multiple } => {
                let tag = if *back == 0 { 0 } else { self.next_tag.saturating_sub(*back) };
                let expected = self.covered(tag, *multiple).map(broker::channel::group);
                let got = self.unacked.settle(tag, *multiple);
                assert_eq!(got.map(|groups| flat(&groups)), expected.map(|groups| flat(&groups)));
            }
            DeliveryStep::Take { back, multiple } => {
                let tag = self.next_tag.saturating_sub(*back);
                let expected = self.covered(tag, *multiple);
                assert_eq!(self.unacked.take(tag, *multiple), expected);
                self.taken.extend(expected.unwrap_or_default());
            }
            DeliveryStep::Rollback => {
                self.held.extend(self.taken.iter().copied());
                self.unacked.put_back(std::mem::take(&mut self.taken));
            }
            DeliveryStep::Commit => self.taken.clear(),
        }
        let consumers = self.held.values().filter(|held| held.consumer != ConsumerId(0)).count();
        assert_eq!(self.unacked.count(), self.held.len());
        assert_eq!(self.unacked.consumer_count(), consumers);
        assert_eq!(self.unacked.next_tag(), self.next_tag);
        assert_eq!(self.unacked.oldest_tag(), self.held.first_key_value().map(|(tag, _)| *tag));
    }
}

/// Each message of the groups, whichever way they are grouped.
fn flat(groups: &[SettledGroup]) -> BTreeSet<(u32, ConsumerId, u64)> {
    let of = |group: &SettledGroup| {
        let (slot, consumer) = (group.queue_slot, group.consumer);
        group.ranges.iter().flat_map(|(a, b)| *a..*b).map(move |index| (slot, consumer, index)).collect()
    };
    groups.iter().flat_map(|group| -> Vec<_> { of(group) }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_publish_is_answered_once_and_not_too_early(
        steps in prop::collection::vec(any_publish_step(), 1..40),
    ) {
        let mut publishes = Publishes::default();
        for step in steps {
            match step {
                PublishStep::Batch(batch) => publishes.batch(&batch),
                PublishStep::Commit(queue) => publishes.commit(queue),
            }
            publishes.take_replies();
        }
        for queue in 0..QUEUES {
            while !publishes.tickets[queue].is_empty() {
                publishes.commit(queue);
                publishes.take_replies();
            }
        }
        prop_assert!(publishes.open.is_empty());
    }

    #[test]
    fn a_delivery_is_settled_once_under_its_tag(
        steps in prop::collection::vec(any_delivery_step(), 1..60),
    ) {
        let unacked = Unacked::default();
        let mut deliveries =
            Deliveries { unacked, held: BTreeMap::new(), taken: Vec::new(), next_tag: 1, next_index: 0 };
        steps.iter().for_each(|step| deliveries.step(step));
    }
}
