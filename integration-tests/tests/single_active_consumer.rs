//! x-single-active-consumer: one consumer at a time, the next takes over when it leaves.

use integration_tests::{Channel, Deliveries, arguments, bodies_of, refusal, with_broker};
use lapin::types::AMQPValue;

async fn declare(channel: &Channel) {
    channel.queue_with("q", arguments([("x-single-active-consumer", AMQPValue::Boolean(true))])).await;
}

#[test]
fn only_the_first_consumer_gets_messages_until_it_leaves() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        declare(&channel).await;
        let mut first = channel.consume("q", "first").await;
        let mut second = channel.consume("q", "second").await;
        let other = client.channel().await;
        let mut third = other.consume("q", "third").await;
        for body in ["a", "b", "c"] {
            channel.publish("", "q", body).await;
        }
        let got = first.deliveries(3).await;
        assert_eq!(bodies_of(&got), ["a", "b", "c"]);
        got[0].ack(Default::default()).await.expect("ack");
        channel.basic_cancel("first".into(), Default::default()).await.expect("basic.cancel-ok");
        // What the first still holds stays with it; the rest goes to the next in line.
        channel.publish("", "q", "d").await;
        assert_eq!(bodies_of(&second.deliveries(1).await), ["d"]);
        assert!(third.waiting().is_empty());
        got[1].reject(lapin::options::BasicRejectOptions { requeue: true }).await.expect("reject");
        let back = second.delivery().await;
        assert_eq!((back.data.as_slice(), back.redelivered), (b"b".as_slice(), true));
    });
}

#[test]
fn the_next_takes_over_when_the_connection_is_lost() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        declare(&channel).await;
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        let consume = integration_tests::Payload::method(60, 20).short(0).text("q").text("first").octet(0);
        assert_eq!(peer.call(1, consume.longtext(b"")).await.ids(), (60, 21));
        let mut second = channel.consume("q", "second").await;
        for body in ["a", "b"] {
            channel.publish("", "q", body).await;
        }
        for body in [b"a", b"b"] {
            assert_eq!(peer.next_method().await.ids(), (60, 60), "the first is active");
            assert_eq!(peer.content().await.1, body);
        }
        assert!(second.waiting().is_empty());
        drop(peer);
        let got = second.deliveries(2).await;
        assert_eq!(bodies_of(&got), ["a", "b"]);
        assert!(got.iter().all(|delivery| delivery.redelivered));
    });
}

#[test]
fn the_consumers_take_turns_in_the_order_they_came() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        declare(&channel).await;
        let mut consumers = Vec::new();
        for tag in ["0", "1", "2"] {
            consumers.push(channel.consume("q", tag).await);
        }
        for (turn, consumer) in consumers.iter_mut().enumerate() {
            let tag = turn.to_string();
            channel.publish("", "q", &tag).await;
            assert_eq!(consumer.delivery().await.data, tag.as_bytes());
            channel.basic_cancel(tag.as_str().into(), Default::default()).await.expect("basic.cancel-ok");
        }
    });
}

#[test]
fn an_exclusive_consumer_is_refused_and_get_works() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        declare(&channel).await;
        channel.publish("", "q", "m").await;
        assert_eq!(channel.bodies("q").await, ["m"]);
        let channel = client.channel().await;
        let alone = lapin::options::BasicConsumeOptions { exclusive: true, ..Default::default() };
        let refused = refusal(channel.consume_with("q", "", alone, Default::default()).await);
        assert_eq!(refused, (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use".to_owned()));
    });
}
