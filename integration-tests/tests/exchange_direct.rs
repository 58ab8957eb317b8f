//! Direct exchanges and the default exchange: the routing key must be the binding key, byte by byte.

use integration_tests::{arguments, refusal, text, with_broker};
use lapin::options::*;

#[test]
fn a_message_goes_to_every_queue_bound_with_its_key() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("d", "direct").await;
        for (queue, key) in [("a", "red"), ("b", "red"), ("c", "Red"), ("d", "red "), ("e", "")] {
            channel.bound_queue(queue, "d", key).await;
        }
        channel.publish("d", "red", "m").await;
        channel.publish("d", "", "empty key").await;
        for (queue, expected) in
            [("a", &["m"][..]), ("b", &["m"]), ("c", &[]), ("d", &[]), ("e", &["empty key"])]
        {
            assert_eq!(channel.bodies(queue).await, expected, "{queue}");
        }
    });
}

#[test]
fn two_bindings_with_one_key_bring_one_copy() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("d", "direct").await;
        channel.bound_queue("q", "d", "k").await;
        channel.bind("q", "d", "k").await;
        channel.bind_with("q", "d", "k", arguments([("x", text("other"))])).await.expect("bound");
        channel.publish("d", "k", "m").await;
        assert_eq!(channel.bodies("q").await, ["m"]);
        // Without the plain binding the one with arguments is still there.
        let unbound = channel.queue_unbind("q".into(), "d".into(), "k".into(), Default::default());
        unbound.await.expect("queue.unbind-ok");
        channel.publish("d", "k", "again").await;
        assert_eq!(channel.bodies("q").await, ["again"]);
    });
}

#[test]
fn an_unbound_key_brings_nothing_more() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.bound_queue("q", "amq.direct", "one").await;
        channel.bind("q", "amq.direct", "two").await;
        for key in ["one", "two"] {
            channel.publish("amq.direct", key, key).await;
        }
        let unbound = channel.queue_unbind("q".into(), "amq.direct".into(), "one".into(), Default::default());
        unbound.await.expect("queue.unbind-ok");
        for key in ["one", "two"] {
            channel.publish("amq.direct", key, key).await;
        }
        assert_eq!(channel.bodies("q").await, ["one", "two", "two"]);
        // Unbinding what is not bound is no mistake.
        let unbound = channel.queue_unbind("q".into(), "amq.direct".into(), "one".into(), Default::default());
        unbound.await.expect("queue.unbind-ok");
    });
}

#[test]
fn the_default_exchange_knows_each_queue_by_its_name() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.queue("q").await;
        channel.publish("", "q", "m").await;
        channel.publish("", "Q", "lost").await;
        let delivery = channel.take("q").await.expect("a message");
        assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("", "q"));
        assert!(channel.take("q").await.is_none());
        let refused = refusal(channel.bind_with("q", "", "key", Default::default()).await);
        assert_eq!(
            refused,
            (403, "ACCESS_REFUSED - operation not permitted on the default exchange".to_owned())
        );
    });
}

#[test]
fn a_deleted_exchange_is_unknown_to_publishers_at_once() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.exchange("d", "direct").await;
        channel.bound_queue("q", "d", "k").await;
        channel.publish("d", "k", "m").await;
        let deleted = channel.exchange_delete("d".into(), ExchangeDeleteOptions::default());
        deleted.await.expect("exchange.delete-ok");
        let refused = client.confirm_channel().await.refused_publish("d", "k", Default::default()).await;
        assert_eq!(refused, (404, "NOT_FOUND - no exchange 'd' in vhost '/'".to_owned()));
        // The same name again has no bindings of the first.
        let channel = client.channel().await;
        channel.exchange("d", "direct").await;
        channel.publish("d", "k", "nowhere").await;
        assert_eq!(channel.bodies("q").await, ["m"]);
    });
}
