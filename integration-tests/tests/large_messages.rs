//! Bodies of every size: none, around the frame limit, over many frames, 32 MiB.

use integration_tests::{Deliveries, Payload, frame, with_broker};
use lapin::BasicProperties;

/// Bytes that tell their place.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

#[test]
fn sizes_around_the_frame_limit_come_back_whole() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.queue("q").await;
        let frame_max = 131_072;
        let mut consumer = channel.consume("q", "").await;
        for size in [
            0,
            1,
            16 * 1024,
            16 * 1024 + 1,
            frame_max - 9,
            frame_max - 8,
            frame_max - 7,
            frame_max,
            2 * (frame_max - 8),
            1_000_000,
        ] {
            let body = pattern(size);
            let sent = channel.publish_with("", "q", &body, BasicProperties::default()).await;
            assert!(sent.is_ack(), "{size}");
            let delivery = consumer.delivery().await;
            assert!(delivery.data == body, "{size} bytes came back otherwise");
            delivery.ack(Default::default()).await.expect("ack");
        }
    });
}

#[test]
fn thirty_two_mebibytes_pass_and_go() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        for queue in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            channel.bound_queue(queue, "amq.fanout", "").await;
        }
        let body = pattern(32 << 20);
        let before = broker.resident_bytes();
        let sent = channel.publish_with("amq.fanout", "", &body, BasicProperties::default()).await;
        assert!(sent.is_ack());
        // One copy for all eight queues, apart from what it took to put it together and to send it to other nodes.
        let grown = broker.resident_bytes().saturating_sub(before);
        assert!(grown < 8 * (32 << 20), "grown by {} MiB", grown >> 20);
        for queue in ["a", "b"] {
            let delivery = channel.take(queue).await.expect("a message");
            assert!(delivery.data == body, "{queue}");
        }
        let other = client.channel().await;
        other.publish("", "a", "small").await;
        assert_eq!(other.take_soon("a").await.data, b"small");
    });
}

#[test]
fn many_empty_bodies_are_messages_too() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        for _ in 0..200 {
            channel.publish("", "q", "").await;
        }
        let all = channel.take_all("q").await;
        assert_eq!(all.len(), 200);
        assert!(all.iter().all(|delivery| delivery.data.is_empty()));
    });
}

#[test]
fn two_channels_may_send_their_parts_in_turns() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.channel(2).await;
        peer.queue(1, "q").await;
        let publish = Payload::method(60, 40).short(0).text("").text("q").octet(0);
        let header = Payload::default().short(60).short(0).longlong(6).short(0);
        for channel in [1, 2] {
            peer.method(channel, publish.clone()).await;
        }
        for channel in [2, 1] {
            peer.send(&frame(2, channel, &header.0)).await;
        }
        // An empty body frame in between is allowed.
        for part in ["0", "", "1", "2"] {
            for channel in [1, 2] {
                let bytes = if part.is_empty() { String::new() } else { format!("{channel}{part}") };
                peer.send(&frame(3, channel, bytes.as_bytes())).await;
            }
        }
        peer.sync(1).await;
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let get = Payload::method(60, 70).short(0).text("q").octet(1);
            assert_eq!(peer.call(1, get).await.ids(), (60, 71));
            bodies.push(String::from_utf8(peer.content().await.1).expect("text"));
        }
        assert_eq!(bodies, ["101112", "202122"]);
    });
}
