//! Bindings between exchanges: any shape, also cycles, one copy for each queue.

use integration_tests::{Channel, refusal, with_broker};
use lapin::options::*;
use lapin::types::FieldTable;

async fn bind(channel: &Channel, destination: &str, source: &str, key: &str) {
    let options = ExchangeBindOptions::default();
    let bound =
        channel.exchange_bind(destination.into(), source.into(), key.into(), options, FieldTable::default());
    bound.await.expect("exchange.bind-ok");
}

#[test]
fn a_message_passes_on_with_its_first_exchange_and_key() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("in", "topic").await;
        channel.exchange("out", "direct").await;
        bind(&channel, "out", "in", "a.#").await;
        channel.bound_queue("q", "out", "a.b").await;
        for key in ["a.b", "a.c", "b"] {
            channel.publish("in", key, key).await;
        }
        let delivery = channel.take("q").await.expect("a message");
        assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("in", "a.b"));
        assert!(channel.take("q").await.is_none());
    });
}

#[test]
fn cycles_and_diamonds_bring_one_copy() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        for name in ["a", "b", "c", "d"] {
            channel.exchange(name, "fanout").await;
        }
        // a -> b -> d, a -> c -> d, d -> a, a -> a
        for (source, destination) in [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "a"), ("a", "a")]
        {
            bind(&channel, destination, source, "").await;
        }
        channel.bound_queue("q", "d", "").await;
        channel.bind("q", "b", "").await;
        for (number, exchange) in ["a", "b", "c", "d"].iter().enumerate() {
            channel.publish(exchange, "", &number.to_string()).await;
        }
        assert_eq!(channel.bodies("q").await, ["0", "1", "2", "3"]);
    });
}

#[test]
fn an_unbound_or_deleted_exchange_passes_nothing_on() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        for name in ["source", "one", "two"] {
            channel.exchange(name, "fanout").await;
        }
        for name in ["one", "two"] {
            bind(&channel, name, "source", "").await;
            channel.bound_queue(&format!("q-{name}"), name, "").await;
        }
        channel.publish("source", "", "both").await;
        let options = ExchangeUnbindOptions::default();
        let unbound =
            channel.exchange_unbind("one".into(), "source".into(), "".into(), options, Default::default());
        unbound.await.expect("exchange.unbind-ok");
        channel.publish("source", "", "two").await;
        channel.exchange_delete("two".into(), Default::default()).await.expect("exchange.delete-ok");
        channel.publish("source", "", "none").await;
        assert_eq!(channel.bodies("q-one").await, ["both"]);
        assert_eq!(channel.bodies("q-two").await, ["both", "two"]);
    });
}

#[test]
fn an_internal_exchange_is_fed_only_by_others() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        let internal = ExchangeDeclareOptions { internal: true, ..Default::default() };
        let declared = channel.declare_exchange("inner", "fanout", internal, FieldTable::default()).await;
        declared.expect("exchange.declare-ok");
        channel.exchange("outer", "fanout").await;
        bind(&channel, "inner", "outer", "").await;
        channel.bound_queue("q", "inner", "").await;
        channel.publish("outer", "", "m").await;
        assert_eq!(channel.bodies("q").await, ["m"]);
        let refused = client.confirm_channel().await.refused_publish("inner", "", Default::default()).await;
        assert_eq!(
            refused,
            (403, "ACCESS_REFUSED - cannot publish to internal exchange 'inner' in vhost '/'".to_owned())
        );
    });
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_and_takes_others_along() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        let auto_delete = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
        for name in ["a", "b"] {
            let declared = channel.declare_exchange(name, "fanout", auto_delete, FieldTable::default()).await;
            declared.expect("exchange.declare-ok");
        }
        bind(&channel, "b", "a", "").await;
        channel.bound_queue("q", "b", "").await;
        channel.queue_delete("q".into(), Default::default()).await.expect("queue.delete-ok");
        for name in ["b", "a"] {
            let channel = client.channel().await;
            let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
            let declared = channel.declare_exchange(name, "fanout", passive, FieldTable::default()).await;
            assert_eq!(refusal(declared), (404, format!("NOT_FOUND - no exchange '{name}' in vhost '/'")));
        }
    });
}

#[test]
fn both_ends_must_exist_and_neither_may_be_the_default_exchange() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let default = "ACCESS_REFUSED - operation not permitted on the default exchange";
        let table = [
            ("none", "amq.fanout", 404, "NOT_FOUND - no exchange 'none' in vhost '/'"),
            ("amq.fanout", "none", 404, "NOT_FOUND - no exchange 'none' in vhost '/'"),
            ("", "amq.fanout", 403, default),
            ("amq.fanout", "", 403, default),
        ];
        for (destination, source, code, text) in table {
            let channel = client.channel().await;
            let options = ExchangeBindOptions::default();
            let bound = channel.exchange_bind(
                destination.into(),
                source.into(),
                "".into(),
                options,
                Default::default(),
            );
            assert_eq!(refusal(bound.await), (code, text.to_owned()), "{source} to {destination}");
        }
    });
}
