//! Transactions: publishes and settlements that take effect together.

use integration_tests::{Channel, bodies_of, refusal, with_broker};
use lapin::options::{BasicAckOptions, BasicNackOptions};

async fn transactional(broker: &integration_tests::Broker) -> (Channel, Channel) {
    let client = broker.connect().await;
    let (channel, outside) = (client.channel().await, client.channel().await);
    channel.queue("q").await;
    channel.queue("other").await;
    channel.tx_select().await.expect("tx.select-ok");
    // lapin closes a connection whose last handle is dropped, channels keep it.
    std::mem::forget(client);
    (channel, outside)
}

#[test]
fn publishes_are_seen_at_commit_and_in_order() {
    with_broker(async |broker| {
        let (channel, outside) = transactional(broker).await;
        for number in 0..50 {
            let queue = if number % 2 == 0 { "q" } else { "other" };
            channel.publish("", queue, &number.to_string()).await;
        }
        channel.sync().await;
        assert_eq!((outside.depth("q").await, outside.depth("other").await), (0, 0));
        channel.tx_commit().await.expect("tx.commit-ok");
        let even: Vec<String> = (0..50).step_by(2).map(|number| number.to_string()).collect();
        let odd: Vec<String> = (1..50).step_by(2).map(|number| number.to_string()).collect();
        assert_eq!(outside.bodies("q").await, even);
        assert_eq!(outside.bodies("other").await, odd);
    });
}

#[test]
fn a_rollback_forgets_publishes() {
    with_broker(async |broker| {
        let (channel, outside) = transactional(broker).await;
        channel.publish("", "q", "forgotten").await;
        channel.tx_rollback().await.expect("tx.rollback-ok");
        channel.publish("", "q", "kept").await;
        channel.tx_commit().await.expect("tx.commit-ok");
        assert_eq!(outside.bodies("q").await, ["kept"]);
        // The channel stays transactional.
        channel.publish("", "q", "waits").await;
        channel.sync().await;
        assert_eq!(outside.depth("q").await, 0);
    });
}

#[test]
fn acks_and_rejects_count_at_commit() {
    with_broker(async |broker| {
        let (channel, outside) = transactional(broker).await;
        for body in ["a", "b", "c", "d"] {
            outside.publish("", "q", body).await;
        }
        outside.sync().await;
        for _ in 0..4 {
            channel.get("q").await.expect("a message");
        }
        channel.basic_ack(2, BasicAckOptions { multiple: true }).await.expect("ack");
        let requeue = BasicNackOptions { requeue: true, multiple: false };
        channel.basic_nack(3, requeue).await.expect("nack");
        channel.sync().await;
        assert_eq!(outside.depth("q").await, 0, "nothing is back yet");
        channel.tx_commit().await.expect("tx.commit-ok");
        outside.await_depth("q", 1).await;
        assert_eq!(outside.bodies("q").await, ["c"]);
        channel.close(200, "".into()).await.expect("channel.close-ok");
        outside.await_depth("q", 1).await;
        assert_eq!(bodies_of(&outside.take_all("q").await), ["d"], "only that was never settled");
    });
}

#[test]
fn after_a_rollback_messages_are_held_again() {
    with_broker(async |broker| {
        let (channel, outside) = transactional(broker).await;
        for body in ["a", "b"] {
            outside.publish("", "q", body).await;
        }
        outside.sync().await;
        for _ in 0..2 {
            channel.get("q").await.expect("a message");
        }
        channel.basic_ack(1, BasicAckOptions::default()).await.expect("ack");
        channel.tx_rollback().await.expect("tx.rollback-ok");
        channel.basic_ack(1, BasicAckOptions::default()).await.expect("the same ack again");
        channel.tx_commit().await.expect("tx.commit-ok");
        channel.close(200, "".into()).await.expect("channel.close-ok");
        outside.await_depth("q", 1).await;
        assert_eq!(outside.bodies("q").await, ["b"]);
    });
}

#[test]
fn closing_without_commit_is_a_rollback() {
    with_broker(async |broker| {
        let (channel, outside) = transactional(broker).await;
        outside.publish("", "q", "held").await;
        outside.sync().await;
        channel.get("q").await.expect("a message");
        channel.basic_ack(1, BasicAckOptions::default()).await.expect("ack");
        channel.publish("", "other", "forgotten").await;
        channel.close(200, "".into()).await.expect("channel.close-ok");
        outside.await_depth("q", 1).await;
        assert!(outside.take("q").await.expect("a message").redelivered);
        assert_eq!(outside.depth("other").await, 0);
    });
}

#[test]
fn it_excludes_confirms_and_needs_a_select() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        let refused = refusal(channel.tx_select().await);
        assert_eq!(refused, (406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode".to_owned()));
        for commit in [true, false] {
            let channel = client.channel().await;
            let result = if commit { channel.tx_commit().await } else { channel.tx_rollback().await };
            let expected = "PRECONDITION_FAILED - channel is not transactional";
            assert_eq!(refusal(result), (406, expected.to_owned()));
        }
    });
}
