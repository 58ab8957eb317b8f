//! basic.get: one message at a time, with the count of those left.

use integration_tests::{Payload, with_broker};
use lapin::options::BasicGetOptions;

#[test]
fn messages_come_in_order_with_the_count_of_those_left() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        for body in ["a", "b", "c"] {
            channel.publish("", "q", body).await;
        }
        for (body, left) in [(b"a", 2), (b"b", 1), (b"c", 0)] {
            let got = channel.basic_get("q".into(), BasicGetOptions { no_ack: true }).await.expect("got");
            let got = got.expect("a message");
            assert_eq!((got.delivery.data.as_slice(), got.message_count), (body.as_slice(), left));
        }
        assert!(channel.take("q").await.is_none());
    });
}

#[test]
fn a_message_that_was_not_acknowledged_comes_back_when_the_channel_closes() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.queue("q").await;
        channel.publish("", "q", "m").await;
        let other = client.channel().await;
        let got = other.get("q").await.expect("a message");
        assert!(!got.redelivered);
        assert!(channel.take("q").await.is_none(), "it is out");
        other.close(200, "".into()).await.expect("channel.close-ok");
        let again = channel.take("q").await.expect("it is back");
        assert!(again.redelivered);
    });
}

#[test]
fn it_sees_what_its_channel_published_before() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        // A publish and a get in one packet.
        for number in 0..100_u8 {
            let mut bytes = integration_tests::publish_frames(1, ("", "q"), 0, &[0, 0], &[number]);
            let get = Payload::method(60, 70).short(0).text("q").octet(1);
            bytes.extend(integration_tests::frame(1, 1, &get.0));
            peer.send(&bytes).await;
            assert_eq!(peer.next_method().await.ids(), (60, 71), "basic.get-ok for {number}");
            let header = peer.next_method().await;
            assert_eq!(header.kind, 2);
            assert_eq!(peer.next_method().await.payload, [number]);
        }
    });
}

#[test]
fn getting_is_counted_with_delivery_tags_of_its_channel() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.queue("q").await;
        for _ in 0..4 {
            channel.publish("", "q", "m").await;
        }
        let mut tags = Vec::new();
        for _ in 0..3 {
            tags.push(channel.get("q").await.expect("a message").delivery_tag);
        }
        assert_eq!(tags, [1, 2, 3]);
        assert_eq!(client.channel().await.get("q").await.expect("a message").delivery_tag, 1);
    });
}
