//! Messages that clients held when the broker ended: what was not acknowledged is there again, in its old
//! place; what was acknowledged in a transaction is gone.

use integration_tests::{Deliveries, arguments, bodies_of, header, text, with_restarts};
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};
use lapin::types::AMQPValue;
use std::time::Duration;

const SIGNALS: [i32; 2] = [libc::SIGKILL, libc::SIGTERM];

#[test]
fn what_was_not_acknowledged_is_redelivered_in_its_old_place() {
    for signal in SIGNALS {
        with_restarts(&[], async |broker| {
            let channel = broker.connect().await.confirm_channel().await;
            channel.durable_queue("q").await;
            for number in 0..20 {
                channel.publish_persistent("", "q", &number.to_string()).await;
            }
            channel.prefetch(8).await;
            let mut consumer = channel.consume("q", "c").await;
            let held = consumer.deliveries(8).await;
            // In the midst of what is held; one transaction makes it sure that these are gone.
            let other = broker.connect().await.channel().await;
            other.tx_select().await.expect("tx.select-ok");
            let ninth = other.get("q").await.expect("a message");
            ninth.ack(BasicAckOptions::default()).await.expect("ack");
            other.tx_commit().await.expect("tx.commit-ok");
            assert_eq!(bodies_of(&[ninth]), ["8"]);
            drop(held);
            broker.restart(signal);
            let channel = broker.connect().await.channel().await;
            let all = channel.take_all("q").await;
            let expected: Vec<String> =
                (0..20).filter(|number| *number != 8).map(|number| number.to_string()).collect();
            assert_eq!(bodies_of(&all), expected, "after signal {signal}");
            let redelivered: Vec<bool> = all.iter().map(|message| message.redelivered).collect();
            assert!(redelivered[..8].iter().all(|flag| *flag), "they were delivered before: {redelivered:?}");
            assert!(redelivered[9..].iter().all(|flag| !flag), "they were not: {redelivered:?}");
        });
    }
}

#[test]
fn a_transaction_that_was_committed_is_there_and_one_that_was_not_is_not() {
    with_restarts(&[], async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        for queue in ["q", "other"] {
            channel.durable_queue(queue).await;
        }
        channel.tx_select().await.expect("tx.select-ok");
        for number in 0..10 {
            for queue in ["q", "other"] {
                channel.publish_persistent("", queue, &number.to_string()).await;
            }
        }
        channel.tx_commit().await.expect("tx.commit-ok");
        for _ in 0..4 {
            channel.get("q").await.expect("a message").ack(BasicAckOptions::default()).await.expect("ack");
        }
        channel.publish_persistent("", "q", "with the acks").await;
        channel.tx_commit().await.expect("tx.commit-ok");
        // Neither of these was committed.
        channel.get("q").await.expect("a message").ack(BasicAckOptions::default()).await.expect("ack");
        channel.publish_persistent("", "q", "never").await;
        channel.sync().await;
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.bodies("q").await, ["4", "5", "6", "7", "8", "9", "with the acks"]);
        assert_eq!(channel.depth("other").await, 10);
    });
}

#[test]
fn a_transaction_is_safe_in_every_round() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        for number in 0..10 {
            channel.publish_persistent("", "q", &number.to_string()).await;
        }
        for round in 0..10 {
            let channel = broker.connect().await.channel().await;
            channel.tx_select().await.expect("tx.select-ok");
            let first = channel.get("q").await.expect("a message");
            assert_eq!(bodies_of(std::slice::from_ref(&first)), [round.to_string()]);
            first.ack(BasicAckOptions::default()).await.expect("ack");
            channel.tx_commit().await.expect("tx.commit-ok");
            broker.restart(libc::SIGKILL);
        }
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.depth("q").await, 0);
    });
}

#[test]
fn acknowledgements_are_kept_by_an_orderly_stop() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        for number in 0..6 {
            channel.publish_persistent("", "q", &number.to_string()).await;
        }
        let held = [channel.get("q").await, channel.get("q").await, channel.get("q").await];
        for delivery in held.iter().flatten() {
            delivery.ack(BasicAckOptions::default()).await.expect("ack");
        }
        channel.sync().await;
        broker.restart(libc::SIGTERM);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.bodies("q").await, ["3", "4", "5"]);
    });
}

#[test]
fn returns_are_counted_over_restarts() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("dead").await;
        let fields = arguments([
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", AMQPValue::LongInt(3)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("dead")),
        ]);
        channel.durable_queue_with("q", fields).await;
        channel.publish_persistent("", "q", "m").await;
        for round in 0..4 {
            let channel = broker.connect().await.confirm_channel().await;
            let delivery = channel.get("q").await.expect("a message");
            let count = (round > 0).then_some(AMQPValue::LongLongInt(round));
            assert_eq!(header(&delivery, "x-delivery-count"), count, "round {round}");
            assert_eq!(delivery.redelivered, round > 0, "round {round}");
            delivery.reject(BasicRejectOptions { requeue: true }).await.expect("reject");
            channel.sync().await;
            if round < 3 {
                // A confirm for the same queue comes when everything before it is on the disk.
                channel.publish_persistent("", "q", "behind").await;
                broker.restart(SIGNALS[round as usize % 2]);
                let channel = broker.connect().await.channel().await;
                let first = channel.get("q").await.expect("a message");
                assert_eq!(bodies_of(&[first]), ["m"], "it keeps its place");
                // Ended while it is held, that is no return.
                broker.restart(libc::SIGKILL);
            }
        }
        let channel = broker.connect().await.channel().await;
        let dead = channel.take_soon("dead").await;
        assert_eq!(header(&dead, "x-first-death-reason"), Some(text("delivery_limit")));
    });
}

#[test]
fn what_was_given_back_waits_in_its_old_place() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        for number in 0..6 {
            channel.publish_persistent("", "q", &number.to_string()).await;
        }
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(channel.get("q").await.expect("a message"));
        }
        held[2].nack(BasicNackOptions { requeue: true, ..Default::default() }).await.expect("nack");
        held[1].nack(BasicNackOptions { requeue: false, ..Default::default() }).await.expect("nack");
        channel.publish_persistent("", "q", "6").await;
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.bodies("q").await, ["0", "2", "3", "4", "5", "6"]);
    });
}

#[test]
fn a_consumer_with_many_held_messages_finds_them_again() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        for number in 0..2_000u32 {
            let body = number.to_string();
            let properties = integration_tests::persistent();
            let sent =
                channel.basic_publish("".into(), "q".into(), Default::default(), body.as_bytes(), properties);
            sent.await.expect("it is sent");
        }
        channel.wait_for_confirms().await.expect("all are confirmed");
        channel.prefetch(0).await;
        let mut consumer = channel.consume("q", "c").await;
        let held = consumer.deliveries(2_000).await;
        for delivery in held.iter().step_by(3) {
            delivery.ack(BasicAckOptions::default()).await.expect("ack");
        }
        channel.publish_persistent("", "q", "last").await;
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        let mut consumer = channel.consume("q", "c").await;
        let again = tokio::time::timeout(Duration::from_secs(20), consumer.deliveries(1_334)).await;
        let again = bodies_of(&again.expect("they come"));
        let mut expected: Vec<String> =
            (0..2_000u32).filter(|number| number % 3 != 0).map(|number| number.to_string()).collect();
        expected.push("last".to_owned());
        assert_eq!(again, expected);
    });
}
