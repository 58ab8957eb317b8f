//! basic.recover: everything that is out goes back and comes again.

use integration_tests::{Deliveries, Payload, bodies_of, with_broker};
use lapin::options::BasicRecoverOptions;

#[test]
fn what_is_out_is_delivered_again() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        for body in ["a", "b", "c"] {
            channel.publish("", "q", body).await;
        }
        let mut consumer = channel.consume("q", "").await;
        let got = consumer.deliveries(3).await;
        got[1].ack(Default::default()).await.expect("ack");
        channel.basic_recover(BasicRecoverOptions { requeue: true }).await.expect("basic.recover-ok");
        let again = consumer.deliveries(2).await;
        assert_eq!(bodies_of(&again), ["a", "c"]);
        assert!(again.iter().all(|delivery| delivery.redelivered));
    });
}

#[test]
fn the_old_form_without_an_answer_does_the_same() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        channel.publish("", "q", "m").await;
        channel.get("q").await.expect("a message");
        let again = lapin::options::BasicRecoverAsyncOptions { requeue: true };
        channel.basic_recover_async(again).await.expect("sent");
        channel.await_depth("q", 1).await;
        assert!(channel.take("q").await.expect("a message").redelivered);
    });
}

#[test]
fn recovering_without_requeue_is_not_implemented() {
    with_broker(async |broker| {
        for method in [100, 110] {
            let mut peer = broker.peer().await;
            peer.channel(1).await;
            peer.method(1, Payload::method(60, method).octet(0)).await;
            let close = peer.next_close().await;
            assert_eq!((close.channel, close.code), (0, 540));
            assert_eq!((close.text.as_str(), close.ids), ("NOT_IMPLEMENTED - requeue=false", (60, method)));
        }
    });
}
