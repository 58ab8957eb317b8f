//! Requeued messages: back at their old place, and marked as redelivered.

use integration_tests::{Channel, Deliveries, bodies_of, with_broker};
use lapin::options::{BasicNackOptions, BasicRejectOptions};

async fn fill(channel: &Channel, bodies: &[&str]) {
    channel.queue("q").await;
    for body in bodies {
        channel.publish("", "q", body).await;
    }
}

#[test]
fn a_requeued_message_is_where_it_was() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        fill(&channel, &["a", "b", "c", "d"]).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(channel.get("q").await.expect("a message"));
        }
        // In any order: each goes to its own place.
        for number in [2, 0, 1] {
            held[number].reject(BasicRejectOptions { requeue: true }).await.expect("reject");
        }
        channel.await_depth("q", 4).await;
        let again = channel.take_all("q").await;
        assert_eq!(bodies_of(&again), ["a", "b", "c", "d"]);
        let marks: Vec<bool> = again.iter().map(|delivery| delivery.redelivered).collect();
        assert_eq!(marks, [true, true, true, false]);
    });
}

#[test]
fn many_at_once_keep_their_order() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let bodies: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        let views: Vec<&str> = bodies.iter().map(String::as_str).collect();
        fill(&channel, &views).await;
        let mut last = None;
        for _ in 0..200 {
            last = channel.get("q").await;
        }
        let all = BasicNackOptions { multiple: true, requeue: true };
        last.expect("a message").nack(all).await.expect("nack");
        channel.await_depth("q", 300).await;
        assert_eq!(channel.bodies("q").await, bodies);
    });
}

#[test]
fn a_lost_connection_gives_everything_back_in_order() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        fill(&channel, &["a", "b", "c"]).await;
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        let consume = integration_tests::Payload::method(60, 20).short(0).text("q").text("t").octet(0);
        assert_eq!(peer.call(1, consume.longtext(b"")).await.ids(), (60, 21));
        channel.await_depth("q", 0).await;
        drop(peer);
        channel.await_depth("q", 3).await;
        let again = channel.take_all("q").await;
        assert_eq!(bodies_of(&again), ["a", "b", "c"]);
        assert!(again.iter().all(|delivery| delivery.redelivered));
    });
}

#[test]
fn a_consumer_gets_its_own_requeued_message_again() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        fill(&channel, &["a", "b"]).await;
        channel.prefetch(1).await;
        let mut consumer = channel.consume("q", "").await;
        for round in 0..5 {
            let delivery = consumer.delivery().await;
            assert_eq!((delivery.data.as_slice(), delivery.redelivered), (b"a".as_slice(), round > 0));
            delivery.reject(BasicRejectOptions { requeue: true }).await.expect("reject");
        }
        let delivery = consumer.delivery().await;
        assert_eq!(delivery.data, b"a");
        delivery.ack(Default::default()).await.expect("ack");
        let next = consumer.delivery().await;
        assert_eq!((next.data.as_slice(), next.redelivered), (b"b".as_slice(), false));
    });
}

#[test]
fn what_a_closed_consumer_was_owed_goes_to_the_others() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let first = client.channel().await;
        fill(&first, &["a", "b", "c"]).await;
        let mut consumer = first.consume("q", "").await;
        assert_eq!(consumer.deliveries(3).await.len(), 3);
        let second = client.channel().await;
        let mut other = second.consume("q", "").await;
        assert!(other.waiting().is_empty());
        first.close(200, "".into()).await.expect("channel.close-ok");
        assert_eq!(bodies_of(&other.deliveries(3).await), ["a", "b", "c"]);
    });
}
