//! Prefetch: per consumer, and shared by a channel (global).

use integration_tests::{Channel, Deliveries, bodies_of, with_broker};
use lapin::options::{BasicAckOptions, BasicQosOptions};

async fn fill(channel: &Channel, count: usize) {
    channel.queue("q").await;
    for number in 0..count {
        channel.publish("", "q", &number.to_string()).await;
    }
}

async fn global(channel: &Channel, count: u16) {
    channel.basic_qos(count, BasicQosOptions { global: true }).await.expect("basic.qos-ok");
}

#[test]
fn a_consumer_holds_no_more_than_its_prefetch() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        fill(&channel, 10).await;
        channel.prefetch(3).await;
        let mut consumer = channel.consume("q", "").await;
        let got = consumer.deliveries(3).await;
        assert_eq!(channel.depth("q").await, 7);
        assert!(consumer.waiting().is_empty());
        got[1].ack(Default::default()).await.expect("ack");
        assert_eq!(bodies_of(&consumer.deliveries(1).await), ["3"]);
        channel.basic_ack(0, BasicAckOptions { multiple: true }).await.expect("ack of all");
        assert_eq!(bodies_of(&consumer.deliveries(3).await), ["4", "5", "6"]);
    });
}

#[test]
fn each_consumer_has_what_was_set_before_it() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        fill(&channel, 20).await;
        channel.prefetch(2).await;
        let mut two = channel.consume("q", "two").await;
        assert_eq!(two.deliveries(2).await.len(), 2);
        channel.prefetch(5).await;
        let mut five = channel.consume("q", "five").await;
        assert_eq!(five.deliveries(5).await.len(), 5);
        assert_eq!(channel.depth("q").await, 13);
        channel.prefetch(0).await;
        let mut all = channel.consume("q", "all").await;
        assert_eq!(all.deliveries(13).await.len(), 13);
        assert!(two.waiting().is_empty() && five.waiting().is_empty());
    });
}

#[test]
fn without_acknowledgement_there_is_no_limit() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        fill(&channel, 10).await;
        channel.prefetch(1).await;
        let options = lapin::options::BasicConsumeOptions { no_ack: true, ..Default::default() };
        let mut consumer =
            channel.consume_with("q", "", options, Default::default()).await.expect("consuming");
        assert_eq!(consumer.deliveries(10).await.len(), 10);
    });
}

#[test]
fn a_global_prefetch_is_shared_by_the_consumers_of_a_channel() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        fill(&channel, 10).await;
        global(&channel, 3).await;
        let mut first = channel.consume("q", "first").await;
        let mut second = channel.consume("q", "second").await;
        channel.await_depth("q", 7).await;
        let mut held = first.waiting();
        held.extend(second.waiting());
        assert_eq!(held.len(), 3);
        held[0].ack(Default::default()).await.expect("ack");
        channel.await_depth("q", 6).await;
        // Raising it lets more through at once.
        global(&channel, 8).await;
        channel.await_depth("q", 1).await;
        // Another channel has a limit of its own.
        let other = client.channel().await;
        let mut third = other.consume("q", "third").await;
        assert_eq!(third.deliveries(1).await.len(), 1);
    });
}

#[test]
fn the_smaller_of_both_limits_counts() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        fill(&channel, 10).await;
        channel.prefetch(2).await;
        global(&channel, 3).await;
        let mut consumers = Vec::new();
        for tag in ["a", "b", "c"] {
            consumers.push(channel.consume("q", tag).await);
        }
        channel.await_depth("q", 7).await;
        let counts: Vec<usize> = consumers.iter_mut().map(|consumer| consumer.waiting().len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 3, "{counts:?}");
        assert!(counts.iter().all(|count| *count <= 2), "{counts:?}");
    });
}

#[test]
fn messages_got_one_by_one_are_not_limited() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        fill(&channel, 5).await;
        channel.prefetch(1).await;
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(channel.get("q").await.expect("a message"));
        }
        assert_eq!(held.len(), 5);
    });
}
