//! Alternate exchanges: what an exchange cannot route goes to the next, until somebody takes it.

use integration_tests::{arguments, refusal, text, with_broker};
use lapin::Confirmation;
use lapin::types::AMQPValue;

#[test]
fn the_unrouted_goes_to_the_alternate_and_keeps_its_exchange_and_key() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("rest", "fanout").await;
        channel.exchange_with("main", "direct", arguments([("alternate-exchange", text("rest"))])).await;
        channel.bound_queue("q", "main", "k").await;
        channel.bound_queue("others", "rest", "").await;
        channel.publish("main", "k", "known").await;
        channel.publish("main", "odd", "unknown").await;
        assert_eq!(channel.bodies("q").await, ["known"]);
        let delivery = channel.take("others").await.expect("the unrouted");
        assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("main", "odd"));
        assert!(channel.take("others").await.is_none());
    });
}

#[test]
fn a_chain_is_followed_until_it_routes_and_a_cycle_ends() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        for (name, next) in [("a", "b"), ("b", "c"), ("c", "a")] {
            channel.exchange_with(name, "direct", arguments([("alternate-exchange", text(next))])).await;
        }
        channel.bound_queue("q", "c", "found").await;
        assert_eq!(channel.publish_mandatory("a", "found", "m").await, Confirmation::Ack(None));
        assert_eq!(channel.bodies("q").await, ["m"]);
        let lost = channel.publish_mandatory("a", "nobody", "lost").await;
        let returned = lost.take_message().expect("nobody took it");
        assert_eq!(returned.reply_code, 312);
        assert_eq!(returned.delivery.exchange.as_str(), "a");
    });
}

#[test]
fn a_missing_alternate_takes_nothing() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.exchange_with("a", "direct", arguments([("alternate-exchange", text("none"))])).await;
        let lost = channel.publish_mandatory("a", "k", "lost").await;
        assert_eq!(lost.take_message().expect("it comes back").reply_code, 312);
        // One that is declared later counts.
        channel.exchange("none", "fanout").await;
        channel.bound_queue("q", "none", "").await;
        assert_eq!(channel.publish_mandatory("a", "k", "m").await, Confirmation::Ack(None));
        assert_eq!(channel.bodies("q").await, ["m"]);
    });
}

#[test]
fn the_alternate_may_be_internal_and_of_any_type() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let internal = lapin::options::ExchangeDeclareOptions { internal: true, ..Default::default() };
        let declared = channel.declare_exchange("hidden", "topic", internal, Default::default()).await;
        declared.expect("exchange.declare-ok");
        channel.exchange_with("main", "fanout", arguments([("alternate-exchange", text("hidden"))])).await;
        channel.bound_queue("q", "hidden", "a.*").await;
        channel.publish("main", "a.b", "m").await;
        channel.publish("main", "c", "lost").await;
        assert_eq!(channel.bodies("q").await, ["m"]);
    });
}

#[test]
fn the_name_of_an_alternate_must_be_text() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let arguments = arguments([("alternate-exchange", AMQPValue::LongInt(1))]);
        let declared = channel.declare_exchange("x", "direct", Default::default(), arguments).await;
        let expected = "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange \
                        'x' in vhost '/'";
        assert_eq!(refusal(declared), (406, expected.to_owned()));
    });
}
