//! Histories made by hand: for each rule one that breaks it, and beside it one that just does not.
//!
//! Invariant: each history names the rule it breaks and no other; the good ones break none.

use super::*;

const PLAIN: QueueAt = 0;
const QUORUM: QueueAt = 1;
const DELETED: QueueAt = 2;

fn id(sequence: u32) -> Id {
    Id { publisher: 1, sequence }
}

fn sent(sequence: u32) -> Event {
    send_to(PLAIN, sequence)
}

fn send_to(queue: QueueAt, sequence: u32) -> Event {
    let queues = vec![queue];
    Event::Sent(Sent { id: id(sequence), queues, is_persistent: true, priority: 0, in_tx: false })
}

fn transient(sequence: u32) -> Event {
    Event::Sent(Sent {
        id: id(sequence),
        queues: vec![PLAIN],
        is_persistent: false,
        priority: 0,
        in_tx: false,
    })
}

fn in_tx(sequence: u32) -> Event {
    Event::Sent(Sent { id: id(sequence), queues: vec![PLAIN], is_persistent: true, priority: 0, in_tx: true })
}

fn confirmed(sequence: u32) -> Event {
    Event::Confirmed(id(sequence))
}

/// A first delivery on session 1.
fn got(sequence: u32) -> Event {
    delivery(PLAIN, 1, sequence, false, None)
}

fn again(sequence: u32) -> Event {
    delivery(PLAIN, 1, sequence, true, None)
}

fn delivery(
    queue: QueueAt,
    session: SessionId,
    sequence: u32,
    redelivered: bool,
    returns: Option<u64>,
) -> Event {
    Event::Delivered(Delivered { session, queue, id: id(sequence), redelivered, returns })
}

fn acked(sequence: u32) -> Event {
    Event::Acked { session: 1, queue: PLAIN, id: id(sequence), in_tx: false }
}

fn acked_in_tx(sequence: u32) -> Event {
    Event::Acked { session: 1, queue: PLAIN, id: id(sequence), in_tx: true }
}

fn returned(sequence: u32) -> Event {
    Event::Returned { queue: PLAIN, id: id(sequence) }
}

fn closing() -> Event {
    Event::Closing { session: 1, queue: PLAIN }
}

fn killed() -> Vec<Event> {
    vec![Event::LifeEnded(Ending::Killed), Event::LifeBegan]
}

fn stopped() -> Vec<Event> {
    vec![Event::LifeEnded(Ending::Stopped), Event::LifeBegan]
}

fn drained() -> Event {
    Event::Drained(PLAIN)
}

/// Everything the checker finds in a history that begins with a first life.
fn broken(history: impl IntoIterator<Item = Vec<Event>>) -> (Vec<(Rule, u64)>, Counts) {
    let rules = |name: &str, is_quorum, is_deleted| QueueRules { name: name.into(), is_quorum, is_deleted };
    let mut checker = Checker::new(vec![
        rules("plain", false, false),
        rules("quorum", true, false),
        rules("deleted", false, true),
    ]);
    let mut violations = Violations::default();
    checker.apply(Event::LifeBegan, &mut violations);
    for event in history.into_iter().flatten() {
        checker.apply(event, &mut violations);
    }
    let found = Rule::ALL.map(|rule| (rule, violations.count(rule)));
    (found.into_iter().filter(|(_, count)| *count > 0).collect(), checker.counts())
}

fn assert_good(history: impl IntoIterator<Item = Vec<Event>>) {
    assert_eq!(broken(history).0, []);
}

fn assert_broken(rule: Rule, history: impl IntoIterator<Item = Vec<Event>>) {
    assert_eq!(broken(history).0, [(rule, 1)]);
}

#[test]
fn a_confirmed_message_that_never_comes_is_lost() {
    assert_broken(Rule::Lost, [vec![sent(0), confirmed(0)], killed(), vec![drained()]]);
    assert_good([vec![sent(0)], killed(), vec![drained()]]);
    assert_good([vec![transient(0), confirmed(0)], killed(), vec![drained()]]);
    assert_broken(Rule::Lost, [vec![transient(0), confirmed(0), drained()]]);
    assert_broken(Rule::Lost, [vec![in_tx(0), Event::Committed(vec![id(0)])], killed(), vec![drained()]]);
}

#[test]
fn a_delivered_message_is_owed_until_it_is_acked() {
    let out = || vec![sent(0), confirmed(0), got(0)];
    assert_broken(Rule::Lost, [out(), killed(), vec![drained()]]);
    assert_broken(Rule::Lost, [out(), vec![returned(0), drained()]]);
    assert_broken(Rule::Lost, [out(), vec![closing(), drained()]]);
    assert_good([out(), vec![acked(0)], killed(), vec![drained()]]);
    assert_good([out(), killed(), vec![again(0), acked(0), drained()]]);
    let acked_only = vec![acked_in_tx(0)];
    assert_broken(Rule::Lost, [out(), acked_only.clone(), killed(), vec![drained()]]);
    assert_good([out(), acked_only, vec![Event::AcksCommitting(1)], killed(), vec![drained()]]);
}

#[test]
fn one_of_several_queues_may_be_the_one_that_lost() {
    let fan = Event::Sent(Sent {
        id: id(0),
        queues: vec![PLAIN, QUORUM],
        is_persistent: true,
        priority: 0,
        in_tx: false,
    });
    let history = [vec![fan, confirmed(0), got(0), acked(0), drained(), Event::Drained(QUORUM)]];
    assert_broken(Rule::Lost, history);
}

#[test]
fn a_committed_ack_is_for_ever() {
    let commit = vec![Event::AcksCommitting(1), Event::AcksCommitted(1)];
    let to_commit = || vec![sent(0), confirmed(0), got(0), acked_in_tx(0)];
    assert_broken(Rule::Resurrected, [to_commit(), commit, killed(), vec![again(0)]]);
    let (found, counts) = broken([to_commit(), vec![Event::AcksCommitting(1)], killed(), vec![again(0)]]);
    assert_eq!((found, counts.back_after_kill), (vec![], 1), "the commit was not answered");
}

#[test]
fn a_plain_ack_may_be_undone_by_one_kill_only() {
    let settled = || vec![sent(0), confirmed(0), got(0), acked(0), Event::Synced(1)];
    let (found, counts) = broken([settled(), killed(), vec![again(0)]]);
    assert_eq!((found, counts.back_after_kill, counts.back_later), (vec![], 1, 0));
    let (found, counts) = broken([settled(), killed(), killed(), vec![again(0)]]);
    assert_eq!((found, counts.back_after_kill, counts.back_later), (vec![], 1, 1));
    assert_broken(Rule::Resurrected, [settled(), killed(), vec![drained()], killed(), vec![again(0)]]);
    assert_good([settled(), vec![drained()], killed(), vec![again(0)]]);
    assert_broken(Rule::Resurrected, [settled(), stopped(), vec![again(0)]]);
    assert_good([vec![sent(0), confirmed(0), got(0), acked(0)], stopped(), vec![again(0)]]);
}

#[test]
fn a_deleted_queue_stays_empty() {
    let gone = || vec![Event::Purging(DELETED), Event::Purged(DELETED)];
    let come_back = || vec![delivery(DELETED, 1, 0, false, None)];
    let sent = || vec![send_to(DELETED, 0), confirmed(0)];
    assert_good([sent(), gone(), killed(), vec![Event::Drained(DELETED)]]);
    assert_broken(Rule::Resurrected, [sent(), gone(), killed(), come_back()]);
    assert_good([sent(), vec![Event::Purging(DELETED)], killed(), come_back()]);
    assert_good([vec![send_to(DELETED, 0)], gone(), killed(), come_back()]);
    let in_between = vec![Event::Purging(DELETED), send_to(DELETED, 0), confirmed(0), Event::Purged(DELETED)];
    assert_good([in_between, killed(), come_back()]);
    assert_broken(Rule::Lost, [gone(), sent(), killed(), vec![Event::Drained(DELETED)]]);
}

#[test]
fn a_purged_message_is_not_lost_and_may_be_undone_by_a_kill() {
    let purge = || vec![Event::Purging(PLAIN), Event::Purged(PLAIN)];
    assert_good([vec![sent(0), confirmed(0)], purge(), vec![drained()]]);
    let (found, counts) = broken([vec![sent(0), confirmed(0)], purge(), killed(), vec![got(0)]]);
    assert_eq!((found, counts.purged_back), (vec![], 1));
}

#[test]
fn twice_in_one_life_is_once_too_often() {
    assert_broken(Rule::Duplicated, [vec![sent(0), got(0), again(0)]]);
    assert_broken(Rule::Duplicated, [vec![sent(0), got(0), acked(0), again(0)]]);
    assert_broken(Rule::Duplicated, [vec![sent(0), got(0), acked_in_tx(0), again(0)]]);
    assert_good([vec![sent(0), got(0), returned(0), again(0)]]);
    assert_good([vec![sent(0), got(0), closing(), again(0)]]);
    assert_good([vec![sent(0), got(0), acked_in_tx(0), closing(), again(0)]]);
    assert_good([vec![sent(0), got(0)], killed(), vec![again(0)]]);
}

#[test]
fn first_deliveries_come_in_order() {
    let two = || vec![sent(0), sent(1)];
    assert_good([two(), vec![got(0), got(1)]]);
    assert_broken(Rule::Reordered, [two(), vec![got(1), got(0)]]);
    assert_broken(Rule::Reordered, [two(), killed(), vec![got(1), got(0)]]);
    // Redelivered after a restart: back in the old places. Returned in this life: anywhere.
    assert_broken(Rule::Reordered, [two(), vec![got(0), got(1)], killed(), vec![again(1), again(0)]]);
    assert_good([two(), vec![got(0), returned(0), got(1), again(0)]]);
    // What one consumer gets first, another may be seen to get later.
    assert_good([two(), vec![delivery(PLAIN, 2, 1, false, None), got(0)]]);
}

#[test]
fn order_is_per_priority() {
    let with = |sequence, priority| {
        let queues = vec![PLAIN];
        Event::Sent(Sent { id: id(sequence), queues, is_persistent: true, priority, in_tx: false })
    };
    assert_good([vec![with(0, 1), with(1, 5), got(1), got(0)]]);
    assert_broken(Rule::Reordered, [vec![with(0, 1), with(1, 5), with(2, 1), got(1), got(2), got(0)]]);
}

#[test]
fn the_redelivered_flag_tells_the_truth() {
    assert_broken(Rule::Redelivered, [vec![sent(0), again(0)]]);
    assert_broken(Rule::Redelivered, [vec![sent(0), got(0), returned(0), got(0)]]);
    assert_good([vec![sent(0), sent(1), got(0), closing(), delivery(PLAIN, 2, 1, true, None)]]);
    assert_good([vec![sent(0)], killed(), vec![again(0)]]);
    let (found, counts) = broken([vec![sent(0), got(0)], killed(), vec![got(0)]]);
    assert_eq!((found, counts.unmarked), (vec![], 1));
}

#[test]
fn a_quorum_queue_counts_returns() {
    let returned = || Event::Returned { queue: QUORUM, id: id(0) };
    let first = || vec![send_to(QUORUM, 0), delivery(QUORUM, 1, 0, false, None), returned()];
    assert_good([first(), vec![delivery(QUORUM, 1, 0, true, Some(1))]]);
    assert_broken(Rule::Redelivered, [first(), vec![delivery(QUORUM, 1, 0, true, None)]]);
    let second = || vec![delivery(QUORUM, 1, 0, true, Some(1)), returned()];
    assert_broken(Rule::Redelivered, [first(), second(), vec![delivery(QUORUM, 1, 0, true, Some(1))]]);
}

#[test]
fn what_is_not_committed_does_not_exist() {
    assert_broken(Rule::Uncommitted, [vec![in_tx(0), got(0)]]);
    assert_broken(Rule::Uncommitted, [vec![in_tx(0)], killed(), vec![got(0)]]);
    assert_broken(Rule::Uncommitted, [vec![in_tx(0), Event::RolledBack(vec![id(0)]), got(0)]]);
    assert_good([vec![in_tx(0), Event::Committing(vec![id(0)])], killed(), vec![got(0)]]);
    assert_good([vec![in_tx(0), Event::Committing(vec![id(0)])], killed(), vec![drained()]]);
}

#[test]
fn a_strange_message_is_garbage() {
    assert_broken(Rule::Garbage, [vec![got(0)]]);
    assert_broken(Rule::Garbage, [vec![send_to(QUORUM, 0), got(0)]]);
    assert_broken(Rule::Garbage, [vec![Event::Garbled { queue: PLAIN, text: "body".into() }]]);
}

#[test]
fn a_nacked_publish_may_come_or_not() {
    assert_good([vec![sent(0), Event::Nacked(id(0))], killed(), vec![drained()]]);
    let (found, counts) = broken([vec![sent(0), Event::Nacked(id(0)), got(0)]]);
    assert_eq!((found, counts.nacked_delivered), (vec![], 1));
}
