//! Named stories about one queue. Found failures stay here; every step is compared with the naive model.

mod queue;

use broker::queue::{Overflow, Picks, QueueConfig, QueueMachine};
use queue::drive::{Pair, run};
use queue::step::{Answer, Appetite, Message, Step};
use std::sync::Arc;
use types::ConsumerId;

/// A message that this queue gets.
fn message(bytes: usize) -> Message {
    Message { priority: 0, ttl_ms: None, bytes, picked: true, persistent: true }
}

fn consumer(prefetch: u32) -> Step {
    Step::AddConsumer { priority: 0, no_ack: false, exclusive: false, prefetch }
}

fn unlimited() -> Step {
    Step::AddConsumer { priority: 0, no_ack: false, exclusive: false, prefetch: 0 }
}

fn messages(count: usize) -> Step {
    Step::Enqueue(vec![message(10); count])
}

fn with_ttl(ttl_ms: u64) -> Message {
    Message { ttl_ms: Some(ttl_ms), ..message(10) }
}

fn deliver() -> Step {
    Step::Deliver(vec![Appetite::All])
}

fn answer(answer: Answer, count: usize) -> Step {
    Step::Answer { answer, holder: 0, from: 0, count }
}

/// Who holds what, in the messages' order.
fn holders(pair: &Pair) -> Vec<(u64, u64)> {
    let holder = |(index, known): (&u64, &queue::model::Known)| match known.place {
        queue::model::Place::Held(ConsumerId(id)) => Some((*index, id)),
        _ => None,
    };
    pair.model.messages.iter().filter_map(holder).collect()
}

#[test]
fn an_answer_for_what_is_on_its_way_out_is_passed_over() {
    let config = QueueConfig { dead_letter_exchange: Some("dlx".into()), ..Default::default() };
    for stray in [Answer::Settle, Answer::Return, Answer::Reject] {
        let pair = run(
            config.clone(),
            &[
                Step::Enqueue(vec![with_ttl(5), message(10), message(10)]),
                Step::Wait(5),
                consumer(2),
                deliver(),
                Step::Stray { answer: stray, start: 0, count: 1 },
                Step::DeadLetter(10),
            ],
        );
        assert_eq!(pair.machine.counts().unacked, 2);
        assert_eq!(pair.machine.totals().expired, 1);
    }
}

#[test]
fn an_answer_for_what_is_ready_again_settles_it_and_gives_no_credit() {
    let pair = run(
        QueueConfig::default(),
        &[
            consumer(1),
            messages(4),
            deliver(),
            Step::Stray { answer: Answer::Settle, start: 1, count: 1 },
            deliver(),
        ],
    );
    assert_eq!(holders(&pair), [(0, 1)]);
    assert_eq!(pair.machine.counts().ready, 2);
}

#[test]
fn deadlines_of_what_was_consumed_in_time_are_forgotten() {
    let mut pair = run(QueueConfig::default(), &[consumer(0)]);
    for _ in 0..20 {
        pair.step(&Step::Enqueue(vec![with_ttl(86_400_000); 10]));
        pair.step(&deliver());
        pair.step(&answer(Answer::Settle, 10));
        pair.step(&Step::SettleDown);
    }
    pair.step(&Step::Enqueue(vec![with_ttl(1); 70]));
    pair.step(&deliver());
    pair.step(&Step::SettleDown);
    assert_eq!(pair.machine.next_deadline_ms(), None);
}

#[test]
fn a_message_expires_wherever_it_stands_but_not_in_a_consumers_hands() {
    let mut pair = run(
        QueueConfig::default(),
        &[
            Step::Enqueue(vec![with_ttl(50), message(10), with_ttl(5), message(10)]),
            consumer(1),
            deliver(),
            Step::Wait(60),
        ],
    );
    assert_eq!(pair.machine.state().live.ranges().collect::<Vec<_>>(), [(0, 2), (3, 4)]);
    pair.step(&answer(Answer::Return, 1));
    pair.step(&Step::Wait(0));
    assert_eq!(pair.machine.state().live.ranges().collect::<Vec<_>>(), [(1, 2), (3, 4)]);
}

#[test]
fn what_is_returned_goes_back_to_its_old_place() {
    let pair = run(
        QueueConfig::default(),
        &[
            consumer(3),
            messages(5),
            deliver(),
            Step::Answer { answer: Answer::Return, holder: 0, from: 1, count: 1 },
            Step::RemoveConsumer(0),
            Step::Get { no_ack: false },
        ],
    );
    assert_eq!(holders(&pair), [(0, 1), (1, 0), (2, 1)]);
    assert_eq!(pair.machine.totals().redeliver, 1);
}

#[test]
fn drop_head_drops_what_would_be_delivered_next() {
    let config = QueueConfig { max_length: Some(2), max_priority: Some(9), ..Default::default() };
    let urgent = Message { priority: 9, ..message(10) };
    let pair = run(
        config,
        &[Step::Enqueue(vec![message(10), urgent.clone(), message(10), urgent]), Step::EnforceLength],
    );
    assert_eq!(pair.model.ready(), [0, 2]);
}

#[test]
fn a_full_queue_refuses_by_count_and_by_bytes() {
    let config = QueueConfig {
        max_length: Some(3),
        max_length_bytes: Some(100),
        overflow: Overflow::RejectPublishDlx,
        dead_letter_exchange: Some("dlx".into()),
        ..Default::default()
    };
    let pair = run(config, &[Step::Enqueue(vec![message(60), message(40), message(1)]), messages(2)]);
    assert_eq!(pair.machine.counts().ready, 2);
    assert_eq!(pair.machine.state().discarding.len(), 3);
}

#[test]
fn the_delivery_limit_counts_returns() {
    let config = QueueConfig { delivery_limit: Some(2), ..Default::default() };
    let mut pair = run(config, &[consumer(1), messages(1)]);
    for _ in 0..3 {
        assert_eq!(pair.machine.counts().ready, 1);
        pair.step(&deliver());
        pair.step(&answer(Answer::Return, 1));
    }
    assert_eq!(pair.machine.counts().ready, 0);
    assert_eq!(pair.machine.totals().delivery_limit, 1);
}

#[test]
fn the_single_active_consumer_stays_until_it_leaves() {
    let config = QueueConfig { single_active_consumer: true, ..Default::default() };
    let higher = Step::AddConsumer { priority: 5, no_ack: false, exclusive: false, prefetch: 1 };
    let mut pair = run(config, &[consumer(1), higher, messages(3), deliver()]);
    assert_eq!(holders(&pair), [(0, 1)]);
    pair.step(&deliver());
    assert_eq!(holders(&pair), [(0, 1)], "without credit of the active one nobody is served");
    pair.step(&Step::RemoveConsumer(1));
    pair.step(&deliver());
    assert_eq!(holders(&pair), [(0, 1), (1, 2)]);
}

#[test]
fn consumers_of_one_priority_take_turns() {
    let pair = run(QueueConfig::default(), &[unlimited(), unlimited(), unlimited(), messages(4), deliver()]);
    assert_eq!(holders(&pair), [(0, 1), (1, 2), (2, 3), (3, 1)]);
    let mut pair = pair;
    pair.step(&messages(1));
    pair.step(&deliver());
    assert_eq!(holders(&pair).last(), Some(&(4, 2)));
}

#[test]
fn a_higher_consumer_is_served_while_it_has_credit() {
    let higher = Step::AddConsumer { priority: 1, no_ack: false, exclusive: false, prefetch: 2 };
    let mut pair = run(QueueConfig::default(), &[unlimited(), higher, messages(3), deliver()]);
    assert_eq!(holders(&pair), [(0, 2), (1, 2)]);
    pair.step(&deliver());
    assert_eq!(holders(&pair), [(0, 2), (1, 2), (2, 1)]);
}

#[test]
fn an_unused_queue_expires() {
    let config = QueueConfig { expires_ms: Some(10), ..Default::default() };
    let mut machine = QueueMachine::new(config, false, 0);
    assert_eq!(machine.next_deadline_ms(), Some(10));
    machine.touch(5);
    assert!(!machine.is_expired(14));
    assert!(machine.is_expired(15));
}

#[test]
fn a_message_left_of_a_large_chunk_does_not_keep_all_of_it() {
    let mut builder = broker::message::ChunkBuilder::default();
    let route: Arc<[u8]> = Arc::from(&b"\0\x01k"[..]);
    for body in 0..200u8 {
        builder.push(Default::default(), &route, &[0, 0], &[body; 1000]);
    }
    let mut machine = QueueMachine::new(QueueConfig::default(), false, 0);
    machine.enqueue(Arc::new(builder.finish()), Picks::List(vec![7, 77]), 2000, 0);
    machine.settle_down(0);
    machine.validate();
    machine.deliveries(&[(0, 2)]).walk(|delivery| {
        assert!(delivery.chunk.data_bytes() < 4000);
        assert_eq!(delivery.record.body[0], if delivery.index == 0 { 7 } else { 77 });
        true
    });
}

#[test]
fn a_full_connection_gets_the_rest_when_it_has_room() {
    let mut pair = run(
        QueueConfig::default(),
        &[consumer(0), messages(5), Step::Deliver(vec![Appetite::Blocked(2)]), deliver()],
    );
    assert_eq!(holders(&pair), [(0, 1), (1, 1)]);
    pair.step(&Step::Unblock(0));
    pair.step(&Step::Deliver(vec![Appetite::UpTo(1)]));
    assert_eq!(holders(&pair).len(), 3);
    pair.step(&deliver());
    assert_eq!(holders(&pair).len(), 5);
}

#[test]
fn new_settings_hold_for_what_is_there_and_a_purge_leaves_what_is_held() {
    let shorter = QueueConfig { message_ttl_ms: Some(10), ..Default::default() };
    let mut pair = run(
        QueueConfig::default(),
        &[consumer(1), messages(3), deliver(), Step::Configure(Box::new(shorter)), Step::Wait(10)],
    );
    assert_eq!(pair.machine.totals().expired, 2);
    pair.step(&messages(2));
    pair.step(&Step::Purge);
    assert_eq!(holders(&pair), [(0, 1)]);
    assert_eq!(pair.machine.state().live.count(), 1);
}

#[test]
fn a_backlog_that_left_memory_survives_with_what_was_settled() {
    let steps = [
        messages(40),
        messages(40),
        Step::PageOut(0),
        Step::Written,
        unlimited(),
        deliver(),
        answer(Answer::Settle, 60),
        answer(Answer::Return, 5),
        Step::GiveUp,
        Step::GiveUp,
        Step::Written,
        Step::Checkpoint,
        Step::Written,
        messages(3),
        Step::Restart,
        unlimited(),
        deliver(),
    ];
    let pair = run(QueueConfig::default(), &steps);
    assert_eq!(pair.machine.counts().unacked, 23);
    assert_eq!(pair.machine.state().returns.len(), 5);
}

#[test]
fn a_restart_makes_gaps_of_transient_messages() {
    let transient = Message { persistent: false, ..message(10) };
    let batch = vec![message(10), transient.clone(), message(10), transient];
    let steps =
        [Step::Enqueue(batch.clone()), Step::Enqueue(batch), Step::PageOut(0), Step::Written, Step::Restart];
    let pair = run(QueueConfig::default(), &steps);
    assert_eq!(pair.machine.state().live.ranges().collect::<Vec<_>>(), [(0, 1), (2, 3), (4, 5), (6, 7)]);
}

#[test]
fn after_a_restart_no_new_message_counts_as_seen_before() {
    let transient = Message { persistent: false, ..message(10) };
    let steps = [
        messages(1),
        Step::Enqueue(vec![transient; 5]),
        unlimited(),
        deliver(),
        answer(Answer::Settle, 1),
        Step::Restart,
        messages(3),
        unlimited(),
        deliver(),
    ];
    let pair = run(QueueConfig::default(), &steps);
    assert_eq!(pair.machine.counts().unacked, 3);
}

#[test]
fn what_was_handed_out_before_a_restart_is_redelivered() {
    let pair =
        run(QueueConfig::default(), &[messages(4), consumer(2), deliver(), Step::Restart, unlimited()]);
    let offers = pair.machine.offers();
    let flags: Vec<bool> =
        pair.machine.deliveries(&offers[0].ranges).first(4).map(|delivery| delivery.redelivered).collect();
    assert_eq!(flags, [true, true, false, false]);
}
