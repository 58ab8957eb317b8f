//! Mandatory messages that no queue gets come back, before they are confirmed.

use integration_tests::{Payload, publish_frames, with_broker};

#[test]
fn an_unroutable_message_comes_back_whole_and_then_its_confirm() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        assert_eq!(peer.call(1, Payload::method(85, 10).octet(0)).await.ids(), (85, 11));
        // content-type "a/b", message-id "7"
        let properties = Payload::default().short(0x8080).text("a/b").text("7").0;
        let body = vec![7_u8; 300_000];
        peer.send(&publish_frames(1, ("amq.direct", "none"), 1, &properties, &body)).await;
        let returned = peer.next_method().await;
        assert_eq!(returned.ids(), (60, 50));
        let mut fields = returned.fields();
        assert_eq!((fields.short(), fields.text()), (312, "NO_ROUTE".to_owned()));
        assert_eq!((fields.text(), fields.text()), ("amq.direct".to_owned(), "none".to_owned()));
        let header = peer.next_method().await;
        assert_eq!(header.kind, 2);
        assert_eq!(&header.payload[12..], properties);
        let mut came = Vec::new();
        while came.len() < body.len() {
            came.extend(peer.next_method().await.payload);
        }
        assert!(came == body);
        let ack = peer.next_method().await;
        assert_eq!((ack.ids(), ack.fields().longlong()), ((60, 80), 1));
    });
}

#[test]
fn a_routable_or_plain_message_does_not_come_back() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.bound_queue("q", "amq.topic", "#").await;
        assert!(channel.publish_mandatory("amq.topic", "any", "m").await.take_message().is_none());
        assert!(channel.publish_mandatory("", "q", "m").await.take_message().is_none());
        assert!(channel.publish("", "none", "m").await.take_message().is_none());
        assert_eq!(channel.depth("q").await, 2);
    });
}

#[test]
fn each_of_many_is_judged_by_itself() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.queue("q").await;
        for number in 0..60 {
            let key = if number % 3 == 0 { "none" } else { "q" };
            let returned = channel.publish_mandatory("", key, &number.to_string()).await.take_message();
            assert_eq!(returned.is_some(), number % 3 == 0, "{number}");
        }
        assert_eq!(channel.depth("q").await, 40);
    });
}

#[test]
fn a_queue_that_is_deleted_makes_its_messages_unroutable_at_once() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        let other = client.channel().await;
        for _ in 0..20 {
            other.queue("q").await;
            assert!(channel.publish_mandatory("", "q", "m").await.take_message().is_none());
            other.queue_delete("q".into(), Default::default()).await.expect("deleted");
            assert!(channel.publish_mandatory("", "q", "m").await.take_message().is_some());
        }
    });
}

#[test]
fn immediate_is_not_implemented() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.send(&publish_frames(1, ("", "q"), 2, &[0, 0], b"m")).await;
        let close = peer.next_close().await;
        assert_eq!((close.channel, close.code, close.ids), (0, 540, (60, 40)));
        assert_eq!(close.text, "NOT_IMPLEMENTED - immediate=true");
    });
}
