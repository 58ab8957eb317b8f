//! basic.cancel both ways.

use integration_tests::{Deliveries, Payload, publish_frames, with_broker};

#[test]
fn a_client_that_understands_hears_that_its_queue_is_gone() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.channel(2).await;
        peer.queue(1, "q").await;
        let consume = Payload::method(60, 20).short(0).text("q").text("tag").octet(0).longtext(b"");
        assert_eq!(peer.call(1, consume).await.ids(), (60, 21));
        peer.method(2, Payload::method(50, 40).short(0).text("q").octet(0)).await;
        let mut heard = Vec::new();
        for _ in 0..2 {
            let frame = peer.next_method().await;
            heard.push((frame.channel, frame.ids()));
            if frame.ids() == (60, 30) {
                let mut fields = frame.fields();
                assert_eq!((fields.text(), fields.octet()), ("tag".to_owned(), 1));
            }
        }
        heard.sort_unstable();
        assert_eq!(heard, [(1, (60, 30)), (2, (50, 41))]);
        // The tag is free, the channel is open.
        peer.queue(1, "q").await;
        let consume = Payload::method(60, 20).short(0).text("q").text("tag").octet(0).longtext(b"");
        assert_eq!(peer.call(1, consume).await.ids(), (60, 21));
    });
}

#[test]
fn a_cancelled_consumer_gets_nothing_more_and_keeps_what_it_has() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.queue("q").await;
        let mut consumer = channel.consume("q", "tag").await;
        channel.publish("", "q", "a").await;
        let held = consumer.delivery().await;
        channel.basic_cancel("tag".into(), Default::default()).await.expect("basic.cancel-ok");
        assert_eq!(channel.consumer_count("q").await, 0);
        channel.publish("", "q", "b").await;
        assert_eq!(channel.depth("q").await, 1);
        held.ack(Default::default()).await.expect("ack");
        channel.close(200, "".into()).await.expect("channel.close-ok");
        assert_eq!(client.channel().await.bodies("q").await, ["b"]);
    });
}

#[test]
fn cancelling_what_is_not_there_is_answered() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        let cancel_ok = peer.call(1, Payload::method(60, 30).text("none").octet(0)).await;
        assert_eq!((cancel_ok.ids(), cancel_ok.fields().text()), ((60, 31), "none".to_owned()));
    });
}

#[test]
fn a_cancel_without_an_answer_counts_at_once() {
    with_broker(async |broker| {
        let mut peer = broker.peer().await;
        peer.channel(1).await;
        peer.queue(1, "q").await;
        let consume = Payload::method(60, 20).short(0).text("q").text("tag").octet(0).longtext(b"");
        assert_eq!(peer.call(1, consume).await.ids(), (60, 21));
        peer.method(1, Payload::method(60, 30).text("tag").octet(1)).await;
        peer.send(&publish_frames(1, ("", "q"), 0, &[0, 0], b"m")).await;
        let get = Payload::method(60, 70).short(0).text("q").octet(1);
        assert_eq!(peer.call(1, get).await.ids(), (60, 71), "no delivery came before");
    });
}
