//! Channels: opening, closing, numbers, errors that reach one channel and errors that reach all.

use integration_tests::{Payload, Peer, frame, open_channel, with_broker, with_broker_args};

fn close_channel(channel: u16) -> Vec<u8> {
    frame(1, channel, &Payload::method(20, 40).short(200).text("").short(0).short(0).0)
}

fn purge_missing(channel: u16) -> Vec<u8> {
    frame(1, channel, &Payload::method(50, 30).short(0).text("none").octet(0).0)
}

#[test]
fn a_number_can_be_opened_closed_and_opened_again() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        for _ in 0..3 {
            for channel in [1, 7, 2047] {
                peer.send(&open_channel(channel)).await;
                let opened = peer.next_method().await;
                assert_eq!((opened.ids(), opened.channel), ((20, 11), channel));
            }
            for channel in [2047, 1, 7] {
                peer.send(&close_channel(channel)).await;
                let closed = peer.next_method().await;
                assert_eq!((closed.ids(), closed.channel), ((20, 41), channel));
            }
        }
    });
}

#[test]
fn an_error_reaches_only_its_channel() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.channel(2).await;
        peer.send(&purge_missing(1)).await;
        let close = peer.next_close().await;
        assert_eq!((close.channel, close.code, close.ids), (1, 404, (50, 30)));
        peer.sync(2).await;
        // Its number is free again.
        peer.channel(1).await;
        peer.sync(1).await;
    });
}

#[test]
fn until_close_ok_everything_on_a_failed_channel_is_ignored() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        let declare = Payload::method(50, 10).short(0).text("q").octet(0).longtext(b"");
        let mut bytes = purge_missing(1);
        bytes.extend(frame(1, 1, &declare.0));
        bytes.extend(integration_tests::publish_frames(1, ("none", ""), 0, &[0, 0], b"ignored"));
        bytes.extend(frame(2, 1, b"not even a header"));
        peer.send(&bytes).await;
        assert_eq!(peer.next_close().await.code, 404);
        peer.channel(1).await;
        let passive = Payload::method(50, 10).short(0).text("q").octet(1).longtext(b"");
        peer.method(1, passive).await;
        let close = peer.next_close().await;
        assert_eq!(close.text, "NOT_FOUND - no queue 'q' in vhost '/'", "it was not declared");
    });
}

#[test]
fn frames_after_close_ok_are_for_no_channel() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.send(&purge_missing(1)).await;
        peer.next_close().await;
        peer.method(1, Payload::method(60, 10).long(0).short(0).octet(0)).await;
        let close = peer.next_close().await;
        assert_eq!((close.channel, close.code), (0, 504));
        assert_eq!(close.text, "CHANNEL_ERROR - expected 'channel.open'");
    });
}

#[test]
fn closes_of_both_sides_may_cross() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        // The client closes before it has seen the broker's close.
        let mut bytes = purge_missing(1);
        bytes.extend(close_channel(1));
        peer.send(&bytes).await;
        let close = peer.next_close().await;
        assert_eq!((close.channel, close.code), (1, 404));
        assert_eq!(peer.next_method().await.ids(), (20, 41), "the client's close is answered too");
        peer.channel(2).await;
        peer.sync(2).await;
    });
}

#[test]
fn more_channels_than_agreed_are_refused() {
    with_broker(async |broker| {
        let mut peer = Peer::connect(broker.amqp).await;
        peer.log_in("PLAIN", b"\0guest\0guest").await;
        peer.tune_and_open((2, 131_072, 0), "/").await;
        peer.channel(1).await;
        peer.channel(2).await;
        peer.send(&open_channel(3)).await;
        let close = peer.next_close().await;
        assert_eq!((close.channel, close.code), (0, 530));
        let expected =
            "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)";
        assert_eq!(close.text, expected);
    });
}

#[test]
fn the_offer_follows_the_setting() {
    with_broker_args(&["--channel-max", "10", "--frame-max", "8192", "--heartbeat", "7"], async |broker| {
        let mut peer = Peer::connect(broker.amqp).await;
        peer.log_in("PLAIN", b"\0guest\0guest").await;
        let tune = peer.next_method().await;
        let mut fields = tune.fields();
        assert_eq!((fields.short(), fields.long(), fields.short()), (10, 8192, 7));
    });
}

#[test]
fn flow_and_access_are_answered() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        let flow = peer.call(1, Payload::method(20, 20).octet(1)).await;
        assert_eq!((flow.ids(), flow.fields().octet()), ((20, 21), 1));
        let access = peer.call(1, Payload::method(30, 10).text("/data").octet(0x1e)).await;
        assert_eq!((access.ids(), access.fields().short()), ((30, 11), 1));
    });
}

#[test]
fn a_closed_connection_says_goodbye() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        let close = Payload::method(10, 50).short(200).text("bye").short(0).short(0);
        assert_eq!(peer.call(0, close).await.ids(), (10, 51));
        assert!(peer.rest().await.is_empty());
    });
}
