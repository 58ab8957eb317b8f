//! What must be true after every step, and of every round of offers.

use super::model::{Model, Place, body};
use broker::message::DeathReason;
use broker::queue::{LogState, Offer, QueueCounts, QueueMachine};
use std::collections::BTreeMap;
use types::ConsumerId;

/// The machine, the model and the replayed log tell the same.
pub fn same(machine: &QueueMachine, model: &Model, replayed: &LogState, paged: bool) {
    machine.validate();
    assert_eq!(machine.state(), replayed, "the log replayed gives another state");
    let state = machine.state();
    let live: Vec<u64> = state.live.ranges().flat_map(|(start, end)| start..end).collect();
    assert_eq!(live, model.messages.keys().copied().collect::<Vec<_>>(), "live messages");
    assert_eq!(state.next, model.next);
    let returns: BTreeMap<u64, u32> = model
        .messages
        .iter()
        .filter(|(_, known)| known.returns > 0)
        .map(|(index, known)| (*index, known.returns))
        .collect();
    assert_eq!(state.returns, returns, "returns");
    let discarding: BTreeMap<u64, DeathReason> = model
        .messages
        .iter()
        .filter_map(|(index, known)| match known.place {
            Place::Discarding(reason) => Some((*index, reason)),
            _ => None,
        })
        .collect();
    assert_eq!(state.discarding, discarding, "discarding");
    assert_eq!(machine.totals(), model.totals);
    counts(machine, model, paged);
    for (index, known) in &model.messages {
        let Some(record) = machine.record(*index) else {
            assert!(paged, "message {index} has no record");
            continue;
        };
        assert_eq!(record.body, body(known.serial, known.message.bytes), "body of {index}");
        assert_eq!(record.head.ttl_ms, known.message.ttl_ms, "time to live of {index}");
        assert_eq!(record.head.priority, known.message.priority, "priority of {index}");
        assert_eq!(record.routing_key(), b"key");
    }
    deadline(machine, model);
}

fn counts(machine: &QueueMachine, model: &Model, paged: bool) {
    let is_ready = |place| matches!(place, Place::Ready(_));
    let is_held = |place| matches!(place, Place::Held(_));
    let held = model.messages.values().filter(|known| is_held(known.place)).count();
    let with_credit = model.consumers.iter().filter(|consumer| model.credit(consumer) > 0).count();
    let expected = QueueCounts {
        ready: model.ready().len() as u64,
        ready_bytes: model.bytes_where(is_ready),
        unacked: held as u64,
        unacked_bytes: model.bytes_where(is_held),
        consumers: model.consumers.len() as u32,
        consumers_with_credit: with_credit as u32,
    };
    let mut counts = machine.counts();
    if paged {
        // Sums of bodies on disk are estimates, but nothing is nothing.
        assert!(counts.ready > 0 || counts.ready_bytes == 0, "bytes of no message");
        assert!(counts.unacked > 0 || counts.unacked_bytes == 0, "bytes of no message");
        (counts.ready_bytes, counts.unacked_bytes) = (expected.ready_bytes, expected.unacked_bytes);
    }
    assert_eq!(counts, expected);
    let facts = |consumer: &broker::queue::Consumer| (consumer.id, consumer.in_flight, consumer.blocked);
    let ours: Vec<_> = machine.consumers().map(facts).collect();
    assert_eq!(ours, model.consumers.iter().map(facts).collect::<Vec<_>>(), "consumers");
    for consumer in &model.consumers {
        assert!(
            consumer.prefetch == 0 || consumer.no_ack || consumer.in_flight <= consumer.prefetch,
            "consumer {} holds more than its prefetch",
            consumer.id
        );
    }
}

/// The timer is never told too late.
fn deadline(machine: &QueueMachine, model: &Model) {
    let ready = model.messages.values().filter(|known| matches!(known.place, Place::Ready(_)));
    let Some(first) = ready.filter_map(|known| model.deadline_ms(known)).min() else { return };
    assert!(machine.next_deadline_ms().is_some_and(|at| at <= first), "a deadline at {first} is not known");
}

fn indexes(offer: &Offer) -> Vec<u64> {
    offer.ranges.iter().flat_map(|(start, end)| *start..*end).collect()
}

/// A round of offers is what the model allows and not less.
pub fn offers(offers: &[Offer], model: &Model) {
    let eligible = eligible(model);
    let mut got: BTreeMap<ConsumerId, u64> = BTreeMap::new();
    let mut all = Vec::new();
    let ready = model.ready();
    let rank: BTreeMap<u64, usize> = ready.iter().enumerate().map(|(rank, index)| (*index, rank)).collect();
    for offer in offers {
        let indexes = indexes(offer);
        assert!(!indexes.is_empty(), "an empty offer");
        assert!(indexes.iter().all(|index| rank.contains_key(index)), "{offer:?} holds what is not ready");
        assert!(indexes.is_sorted_by_key(|index| rank[index]), "{offer:?} is out of order");
        *got.entry(offer.consumer).or_default() += indexes.len() as u64;
        all.extend(indexes);
    }
    assert!(all.is_sorted_by_key(|index| rank[index]), "offers are not in the messages' order");
    let credit = eligible.iter().fold(0u64, |sum, (_, credit)| sum.saturating_add(*credit));
    let count = credit.min(ready.len() as u64) as usize;
    all.sort_by_key(|index| rank[index]);
    assert_eq!(all, &ready[..count], "what is offered is not the front of what is ready");
    for (consumer, count) in &got {
        let known = eligible.iter().find(|(id, _)| id == consumer);
        let (_, credit) = known.unwrap_or_else(|| panic!("{consumer} is not eligible"));
        assert!(count <= credit, "{consumer} is offered {count} with a credit of {credit}");
    }
    fair(&eligible, &got);
}

/// Nobody gets two more than another one who has credit left.
fn fair(eligible: &[(ConsumerId, u64)], got: &BTreeMap<ConsumerId, u64>) {
    let most = got.values().copied().max().unwrap_or(0);
    for (consumer, credit) in eligible {
        let count = got.get(consumer).copied().unwrap_or(0);
        assert!(count + 1 >= most || count == *credit, "{consumer} got {count}, another one {most}");
    }
}

/// Who may be served: id and credit.
fn eligible(model: &Model) -> Vec<(ConsumerId, u64)> {
    let single = model.config.single_active_consumer;
    let with_credit = || {
        model
            .consumers
            .iter()
            .filter(|consumer| model.credit(consumer) > 0)
            .filter(|consumer| !single || model.active == Some(consumer.id))
    };
    let highest = with_credit().map(|consumer| consumer.priority).max();
    with_credit()
        .filter(|consumer| Some(consumer.priority) == highest)
        .map(|consumer| (consumer.id, model.credit(consumer)))
        .collect()
}
