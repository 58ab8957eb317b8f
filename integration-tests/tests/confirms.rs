//! Publisher confirms: every publish answered once, whatever becomes of it.

use integration_tests::{Payload, arguments, frame, publish_frames, refusal, text, with_broker};
use lapin::BasicProperties;
use lapin::Confirmation;
use lapin::types::AMQPValue;

#[test]
fn each_publish_is_confirmed() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.queue("q").await;
        assert_eq!(channel.publish("", "q", "m").await, Confirmation::Ack(None));
        // To nowhere is confirmed too, when it is not mandatory.
        assert_eq!(channel.publish("", "none", "m").await, Confirmation::Ack(None));
        assert_eq!(channel.publish("amq.fanout", "", "m").await, Confirmation::Ack(None));
        let persistent = BasicProperties::default().with_delivery_mode(2);
        assert_eq!(channel.publish_with("", "q", b"m", persistent).await, Confirmation::Ack(None));
        assert_eq!(channel.depth("q").await, 2);
    });
}

#[test]
fn thousands_in_flight_over_several_channels_are_all_confirmed() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let mut channels = Vec::new();
        for number in 0..4 {
            let channel = client.confirm_channel().await;
            channel.queue(&format!("q{number}")).await;
            channel.bind(&format!("q{number}"), "amq.fanout", "").await;
            channels.push(channel);
        }
        let mut confirms = Vec::new();
        for number in 0..4_000_usize {
            let at = number % 4;
            let (exchange, key) = match number % 7 {
                0 => ("amq.fanout", String::new()),
                1 => ("", "none".to_owned()),
                _ => ("", format!("q{at}")),
            };
            let sent = channels[at].basic_publish(
                exchange.into(),
                key.as_str().into(),
                Default::default(),
                b"m",
                BasicProperties::default(),
            );
            confirms.push(sent.await.expect("sent"));
        }
        for confirm in confirms {
            assert_eq!(confirm.await.expect("a confirm"), Confirmation::Ack(None));
        }
    });
}

#[test]
fn numbers_count_from_the_select_and_multiple_covers_what_is_below() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        peer.send(&publish_frames(1, ("", "q"), 0, &[0, 0], b"before")).await;
        assert_eq!(peer.call(1, Payload::method(85, 10).octet(0)).await.ids(), (85, 11));
        // Selecting twice changes nothing.
        assert_eq!(peer.call(1, Payload::method(85, 10).octet(0)).await.ids(), (85, 11));
        let mut bytes = Vec::new();
        for _ in 0..1_000 {
            bytes.extend(publish_frames(1, ("", "q"), 0, &[0, 0], b"m"));
        }
        peer.send(&bytes).await;
        let mut confirmed = vec![false; 1_001];
        while confirmed.iter().filter(|done| **done).count() < 1_000 {
            let ack = peer.next_method().await;
            assert_eq!(ack.ids(), (60, 80));
            let mut fields = ack.fields();
            let (tag, multiple) = (fields.longlong() as usize, fields.octet() == 1);
            let first =
                if multiple { confirmed.iter().skip(1).position(|done| !done).unwrap_or(0) + 1 } else { tag };
            for (number, done) in confirmed.iter_mut().enumerate().take(tag + 1).skip(first) {
                assert!(multiple || !*done, "{number} was confirmed twice");
                *done = true;
            }
        }
        peer.sync(1).await;
    });
}

#[test]
fn a_select_without_an_answer_counts_too() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        let mut bytes = frame(1, 1, &Payload::method(85, 10).octet(1).0);
        bytes.extend(publish_frames(1, ("", "none"), 0, &[0, 0], b"m"));
        peer.send(&bytes).await;
        let ack = peer.next_method().await;
        assert_eq!((ack.ids(), ack.fields().longlong()), ((60, 80), 1));
    });
}

#[test]
fn channels_that_publish_in_one_packet_get_their_own_confirms() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        for channel in [1, 2, 3] {
            peer.channel(channel).await;
        }
        peer.queue(1, "q").await;
        for channel in [1, 2] {
            assert_eq!(peer.call(channel, Payload::method(85, 10).octet(0)).await.ids(), (85, 11));
        }
        let mut bytes = Vec::new();
        for channel in [1, 2, 3, 2, 1, 1, 3, 2] {
            bytes.extend(publish_frames(channel, ("", "q"), 0, &[0, 0], b"m"));
        }
        peer.send(&bytes).await;
        let mut confirmed = [0_u64; 4];
        while confirmed != [0, 3, 3, 0] {
            let ack = peer.next_method().await;
            assert_eq!(ack.ids(), (60, 80));
            confirmed[usize::from(ack.channel)] = ack.fields().longlong();
        }
        let declare = Payload::method(50, 10).short(0).text("q").octet(1).longtext(b"");
        let mut declared = peer.call(1, declare).await.fields().0.to_vec();
        assert_eq!(declared.split_off(2), [0, 0, 0, 8, 0, 0, 0, 0], "eight messages are there");
    });
}

#[test]
fn one_packet_to_a_free_and_a_full_queue_is_acked_and_nacked() {
    with_broker(async |broker| {
        let setup = broker.connect().await.channel().await;
        setup.queue("free").await;
        let full = [("x-max-length", AMQPValue::LongInt(0)), ("x-overflow", text("reject-publish"))];
        setup.queue_with("full", arguments(full)).await;
        for keys in [["free", "full"], ["full", "free"]] {
            let mut peer = broker.peer().await;
            peer.channel(1).await;
            assert_eq!(peer.call(1, Payload::method(85, 10).octet(0)).await.ids(), (85, 11));
            let parts = keys.map(|key| publish_frames(1, ("", key), 0, &[0, 0], b"m"));
            peer.send(&parts.concat()).await;
            for _ in 0..2 {
                let answer = peer.next_method().await;
                let tag = answer.fields().longlong();
                let expected = if keys[tag as usize - 1] == "full" { (60, 120) } else { (60, 80) };
                assert_eq!(answer.ids(), expected, "{keys:?} publish {tag}");
            }
        }
    });
}

#[test]
fn a_queue_that_is_deleted_meanwhile_does_not_keep_its_confirms() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        let other = client.channel().await;
        for _ in 0..20 {
            other.queue("q").await;
            let mut confirms = Vec::new();
            for _ in 0..50 {
                let properties = BasicProperties::default();
                let sent =
                    channel.basic_publish("".into(), "q".into(), Default::default(), b"m", properties).await;
                confirms.push(sent.expect("sent"));
            }
            other.queue_delete("q".into(), Default::default()).await.expect("deleted");
            for confirm in confirms {
                let confirmed = integration_tests::soon("a confirm", confirm).await;
                assert!(confirmed.expect("a confirm").is_ack());
            }
        }
    });
}

#[test]
fn a_transactional_channel_cannot_confirm() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.tx_select().await.expect("tx.select-ok");
        let refused = refusal(channel.confirm_select(Default::default()).await);
        assert_eq!(refused, (406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode".to_owned()));
    });
}
