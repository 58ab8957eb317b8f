//! Heartbeats both ways, and none when none are agreed.

use integration_tests::{Frame, Payload, Peer, frame, soon, with_broker};
use std::time::{Duration, Instant};

async fn open(broker: &integration_tests::Broker, heartbeat: u16) -> Peer {
    let mut peer = Peer::connect(broker.amqp).await;
    peer.log_in("PLAIN", b"\0guest\0guest").await;
    peer.tune_and_open((2047, 131_072, heartbeat), "/").await;
    peer
}

#[test]
fn the_broker_sends_heartbeats_and_drops_a_silent_client() {
    with_broker(async |broker| {
        let mut peer = open(broker, 1).await;
        peer.channel(1).await;
        let declare = Payload::method(50, 10).short(0).text("q").octet(4).longtext(b"");
        assert_eq!(peer.call(1, declare).await.ids(), (50, 11));
        let start = Instant::now();
        let mut beats = 0;
        while let Some(Frame { kind, channel, payload }) = peer.next_frame().await {
            assert_eq!((kind, channel, payload.len()), (8, 0, 0));
            beats += 1;
        }
        let lived = start.elapsed();
        assert!(beats >= 1, "{beats} heartbeats");
        assert!(lived >= Duration::from_millis(1_500), "dropped after {lived:?}");
        assert!(lived < Duration::from_secs(6), "dropped after {lived:?}");
        // What was exclusive to it is gone.
        let mut other = broker.peer().await;
        other.channel(1).await;
        other.queue(1, "q").await;
    });
}

#[test]
fn a_client_that_sends_heartbeats_stays() {
    with_broker(async |broker| {
        let mut peer = open(broker, 1).await;
        peer.channel(1).await;
        let start = Instant::now();
        // Each heartbeat of the broker is answered with one.
        while start.elapsed() < Duration::from_millis(3_500) {
            let beat = peer.next_frame().await.expect("the connection stays");
            assert_eq!(beat.kind, 8);
            peer.send(&frame(8, 0, b"")).await;
        }
        peer.sync(1).await;
    });
}

#[test]
fn without_heartbeats_nothing_is_sent_and_nobody_is_dropped() {
    with_broker(async |broker| {
        let mut silent = open(broker, 0).await;
        silent.channel(1).await;
        let mut clock = open(broker, 1).await;
        soon("the clock to end", async { while clock.next_frame().await.is_some() {} }).await;
        silent.send(&frame(1, 1, &Payload::method(60, 10).long(0).short(0).octet(0).0)).await;
        let first = silent.next_frame().await.expect("it is there");
        assert_eq!(first.ids(), (60, 11), "no heartbeat came in between");
    });
}

#[test]
fn a_heartbeat_belongs_to_channel_zero() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.send(&frame(8, 0, b"")).await;
        peer.sync(1).await;
        peer.send(&frame(8, 1, b"")).await;
        let close = peer.next_close().await;
        assert_eq!((close.channel, close.code), (0, 505));
        assert_eq!(close.text, "UNEXPECTED_FRAME - type 8, all octets = <<>>");
    });
}
