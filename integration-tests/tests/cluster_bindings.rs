//! Bindings that a client does not wait for: they go with what follows them, and count before it does.

use integration_tests::{Payload, Peer, frame, publish_frames, refusal, with_broker, with_cluster};

fn declare(name: &str) -> Vec<u8> {
    frame(1, 1, &Payload::method(50, 10).short(0).text(name).octet(0).longtext(b"").0)
}

/// queue.bind; `no_wait` 1 asks for no answer.
fn bind(queue: &str, exchange: &str, key: &str, no_wait: u8) -> Vec<u8> {
    let method = Payload::method(50, 20).short(0).text(queue).text(exchange).text(key);
    frame(1, 1, &method.octet(no_wait).longtext(b"").0)
}

/// Takes the answer to a declare.
async fn declared(peer: &mut Peer, name: &str) {
    let answer = peer.next_method().await;
    assert_eq!((answer.ids(), answer.fields().text().as_str()), ((50, 11), name));
}

const EXCHANGES: [&str; 3] = ["amq.direct", "amq.topic", "amq.fanout"];

#[test]
fn they_count_on_every_node_once_the_next_declare_is_answered() {
    with_cluster(async |cluster| {
        let (mut peers, mut others) = (Vec::new(), Vec::new());
        for node in 0..3 {
            peers.push(cluster.node(node).peer().await);
            others.push(cluster.connect(node).await.confirm_channel().await);
        }
        for (node, peer) in peers.iter_mut().enumerate() {
            peer.channel(1).await;
            peer.queue(1, &format!("{node}.0")).await;
        }
        for round in 0..60 {
            let (node, name, next) = (
                round % 3,
                format!("{}.{}", round % 3, round / 3),
                format!("{}.{}", round % 3, round / 3 + 1),
            );
            let mut bytes: Vec<u8> =
                EXCHANGES.iter().flat_map(|exchange| bind(&name, exchange, &name, 1)).collect();
            bytes.extend(declare(&next));
            peers[node].send(&bytes).await;
            declared(&mut peers[node], &next).await;
            let other = &others[(node + 1) % 3];
            for exchange in EXCHANGES {
                let sent = other.publish_mandatory(exchange, &name, exchange).await;
                assert!(sent.is_ack() && sent.take_message().is_none(), "round {round}: {exchange}");
            }
            assert!(other.publish_mandatory("", &next, "m").await.take_message().is_none(), "round {round}");
        }
    });
}

#[test]
fn what_follows_on_the_channel_finds_them() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        let mut bytes = Vec::new();
        for number in 0..200 {
            bytes.extend(bind("q", "amq.direct", &format!("k{number}"), 1));
        }
        bytes.extend(publish_frames(1, ("amq.direct", "k199"), 0, &[0, 0], b"m"));
        bytes.extend(bind("q", "amq.topic", "#", 1));
        bytes.extend(bind("q", "amq.fanout", "", 0));
        peer.send(&bytes).await;
        assert_eq!(peer.next_method().await.ids(), (50, 21));
        let channel = broker.connect().await.confirm_channel().await;
        for (exchange, key) in [("amq.direct", "k0"), ("amq.topic", "any"), ("amq.fanout", "")] {
            assert!(channel.publish(exchange, key, exchange).await.is_ack());
        }
        assert_eq!(channel.bodies("q").await, ["m", "amq.direct", "amq.topic", "amq.fanout"]);
    });
}

#[test]
fn one_that_fails_closes_the_channel_before_anything_behind_it_is_done() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.exchange("hash", "x-consistent-hash").await;
        let weight = "PRECONDITION_FAILED - The binding key must be greater than 0";
        let missing = "NOT_FOUND - no exchange 'none' in vhost '/'";
        for (exchange, code, text) in [("hash", 406, weight), ("none", 404, missing)] {
            let mut peer = broker.peer().await;
            peer.channel(1).await;
            peer.queue(1, "q").await;
            let parts = [
                bind("q", "amq.direct", "before", 1),
                bind("q", exchange, "0", 1),
                bind("q", "amq.direct", "behind", 1),
                declare("behind"),
                publish_frames(1, ("", "q"), 0, &[0, 0], b"m"),
            ];
            peer.send(&parts.concat()).await;
            let close = peer.next_close().await;
            assert_eq!((close.channel, close.code, close.text.as_str()), (1, code, text));
            assert_eq!(close.ids, (50, 20));
            // Nothing else comes, not even another channel.close.
            peer.method(1, Payload::method(20, 41)).await;
            peer.channel(1).await;
            assert!(channel.publish_mandatory("amq.direct", "before", "m").await.take_message().is_none());
            assert!(channel.publish_mandatory("amq.direct", "behind", "m").await.take_message().is_some());
            assert_eq!(channel.bodies("q").await, ["m"]);
        }
        assert_eq!(refusal(channel.look("behind").await).0, 404);
    });
}
