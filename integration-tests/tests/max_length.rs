//! x-max-length and x-max-length-bytes with the three ways to overflow.

use integration_tests::{Channel, Deliveries, arguments, header, refusal, text, with_broker};
use lapin::Confirmation;
use lapin::types::{AMQPValue, FieldTable};

async fn limited(channel: &Channel, name: &str, limit: (&str, i32), overflow: Option<&str>) {
    let mut fields = FieldTable::default();
    fields.insert(limit.0.into(), AMQPValue::LongInt(limit.1));
    fields.insert("x-dead-letter-exchange".into(), text(""));
    fields.insert("x-dead-letter-routing-key".into(), text("dead"));
    if let Some(overflow) = overflow {
        fields.insert("x-overflow".into(), text(overflow));
    }
    channel.queue("dead").await;
    channel.queue_with(name, fields).await;
}

#[test]
fn drop_head_keeps_the_newest_and_dead_letters_the_oldest() {
    for overflow in [None, Some("drop-head")] {
        with_broker(async |broker| {
            let channel = broker.connect().await.confirm_channel().await;
            limited(&channel, "q", ("x-max-length", 3), overflow).await;
            for body in ["a", "b", "c", "d", "e"] {
                assert_eq!(channel.publish("", "q", body).await, Confirmation::Ack(None), "{body}");
            }
            channel.await_depth("dead", 2).await;
            assert_eq!(channel.bodies("q").await, ["c", "d", "e"]);
            let dead = channel.take_all("dead").await;
            assert_eq!(integration_tests::bodies_of(&dead), ["a", "b"]);
            assert_eq!(header(&dead[0], "x-first-death-reason"), Some(text("maxlen")));
        });
    }
}

#[test]
fn reject_publish_nacks_the_newest_and_dead_letters_nothing() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        limited(&channel, "q", ("x-max-length", 2), Some("reject-publish")).await;
        let mut outcomes = Vec::new();
        for body in ["a", "b", "c", "d"] {
            outcomes.push(channel.publish("", "q", body).await.is_ack());
        }
        assert_eq!(outcomes, [true, true, false, false]);
        assert_eq!(channel.depth("dead").await, 0);
        // Room again: taken again.
        assert_eq!(channel.take("q").await.expect("a message").data, b"a");
        assert!(channel.publish("", "q", "e").await.is_ack());
        assert_eq!(channel.bodies("q").await, ["b", "e"]);
    });
}

#[test]
fn reject_publish_dlx_also_dead_letters_what_it_rejects() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        limited(&channel, "q", ("x-max-length", 1), Some("reject-publish-dlx")).await;
        assert!(channel.publish("", "q", "a").await.is_ack());
        assert!(channel.publish("", "q", "b").await.is_nack());
        channel.await_depth("dead", 1).await;
        let dead = channel.take("dead").await.expect("the rejected");
        assert_eq!(dead.data, b"b");
        assert_eq!(header(&dead, "x-first-death-reason"), Some(text("maxlen")));
        assert_eq!(channel.bodies("q").await, ["a"]);
    });
}

#[test]
fn bodies_are_counted_in_bytes() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        limited(&channel, "q", ("x-max-length-bytes", 10), None).await;
        for body in ["aaaa", "bbbb", "cccc", "dd"] {
            channel.publish("", "q", body).await;
        }
        channel.await_depth("dead", 1).await;
        assert_eq!(channel.bodies("q").await, ["bbbb", "cccc", "dd"]);
        // One that is larger than the whole queue pushes out everything, and itself.
        channel.publish("", "q", "x").await;
        channel.publish("", "q", "larger than the queue").await;
        channel.await_depth("q", 0).await;
        channel.await_depth("dead", 3).await;
        assert_eq!(channel.bodies("dead").await, ["aaaa", "x", "larger than the queue"]);
        limited(&channel, "strict", ("x-max-length-bytes", 10), Some("reject-publish")).await;
        assert!(channel.publish("", "strict", "1234567890").await.is_ack());
        assert!(channel.publish("", "strict", "x").await.is_nack());
    });
}

#[test]
fn only_ready_messages_count() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.prefetch(2).await;
        limited(&channel, "q", ("x-max-length", 2), None).await;
        let mut consumer = channel.consume("q", "tag").await;
        for body in ["a", "b", "c", "d", "e"] {
            channel.publish("", "q", body).await;
        }
        channel.await_depth("dead", 1).await;
        assert_eq!(integration_tests::bodies_of(&consumer.deliveries(2).await), ["a", "b"]);
        assert_eq!(channel.bodies("dead").await, ["c"]);
        assert_eq!(channel.bodies("q").await, ["d", "e"]);
    });
}

#[test]
fn a_length_of_zero_takes_only_what_a_consumer_waits_for() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        limited(&channel, "q", ("x-max-length", 0), None).await;
        assert!(channel.publish("", "q", "lost").await.is_ack());
        channel.await_depth("dead", 1).await;
        assert_eq!(channel.depth("q").await, 0);
    });
}

#[test]
fn one_rejecting_queue_among_several_makes_a_nack() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        limited(&channel, "full", ("x-max-length", 0), Some("reject-publish")).await;
        channel.bind("full", "amq.fanout", "").await;
        channel.bound_queue("free", "amq.fanout", "").await;
        assert!(channel.publish("amq.fanout", "", "m").await.is_nack());
        assert_eq!(channel.bodies("free").await, ["m"], "the other queue has it all the same");
    });
}

#[test]
fn an_unknown_way_to_overflow_is_refused() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let declared =
            channel.declare("q", Default::default(), arguments([("x-overflow", text("drop-tail"))])).await;
        let expected =
            "PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'q' in vhost '/': invalid_overflow";
        assert_eq!(refusal(declared), (406, expected.to_owned()));
    });
}
