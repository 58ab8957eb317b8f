//! `x-delayed-message`: a message is routed when its `x-delay` is over, by the rules of the inner type.

use integration_tests::{
    Channel, arguments, bodies_of, body, header, refusal, text, with_broker, with_restarts,
};
use lapin::options::ExchangeDeclareOptions;
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Confirmation};
use std::time::{Duration, Instant};

async fn delayed_exchange(channel: &Channel, inner: &str) {
    channel.exchange_with("delayed", "x-delayed-message", arguments([("x-delayed-type", text(inner))])).await;
}

fn after(delay: i32) -> BasicProperties {
    BasicProperties::default().with_headers(arguments([("x-delay", AMQPValue::LongInt(delay))]))
}

#[test]
fn a_message_comes_when_its_delay_is_over_and_not_before() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        delayed_exchange(&channel, "direct").await;
        channel.bound_queue("q", "delayed", "k").await;
        let start = Instant::now();
        channel.publish_with("delayed", "k", b"late", after(400)).await;
        assert_eq!(channel.depth("q").await, 0);
        let delivery = channel.take_soon("q").await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(395), "came after {waited:?}");
        assert!(waited < Duration::from_millis(1400), "came after {waited:?}");
        assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("delayed", "k"));
        assert_eq!(body(&delivery), "late");
    });
}

#[test]
fn messages_come_in_the_order_of_their_times() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        delayed_exchange(&channel, "fanout").await;
        channel.bound_queue("q", "delayed", "").await;
        for delay in [600, 200, 400] {
            channel.publish_with("delayed", "", delay.to_string().as_bytes(), after(delay)).await;
        }
        channel.publish("delayed", "", "at once").await;
        channel.publish_with("delayed", "", b"zero", after(0)).await;
        channel.await_depth("q", 5).await;
        assert_eq!(channel.bodies("q").await, ["at once", "zero", "200", "400", "600"]);
    });
}

#[test]
fn the_inner_type_routes_when_the_time_has_come() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        delayed_exchange(&channel, "topic").await;
        channel.bound_queue("stars", "delayed", "*.star").await;
        channel.bound_queue("late", "delayed", "never").await;
        channel.publish_with("delayed", "red.star", b"m", after(300)).await;
        // Bindings count as they are at the time of release.
        channel.bind("late", "delayed", "red.#").await;
        channel.await_depth("stars", 1).await;
        assert_eq!(channel.bodies("stars").await, ["m"]);
        assert_eq!(channel.bodies("late").await, ["m"]);
    });
}

#[test]
fn deleting_the_exchange_cancels_what_it_holds() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        delayed_exchange(&channel, "direct").await;
        channel.bound_queue("q", "delayed", "k").await;
        channel.publish_with("delayed", "k", b"cancelled", after(200)).await;
        channel.exchange_delete("delayed".into(), Default::default()).await.expect("exchange.delete-ok");
        delayed_exchange(&channel, "direct").await;
        channel.bind("q", "delayed", "k").await;
        // Comes later than the first would have come.
        channel.publish_with("delayed", "k", b"new", after(400)).await;
        channel.await_depth("q", 1).await;
        assert_eq!(channel.bodies("q").await, ["new"]);
    });
}

#[test]
fn mandatory_and_confirms_are_judged_at_the_publish() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        delayed_exchange(&channel, "direct").await;
        channel.bound_queue("q", "delayed", "k").await;
        let mandatory = lapin::options::BasicPublishOptions { mandatory: true, ..Default::default() };
        let start = Instant::now();
        let confirmed =
            channel.send("delayed", "k", mandatory, b"held", after(2_000)).await.expect("confirm");
        assert_eq!(confirmed, Confirmation::Ack(None));
        assert!(start.elapsed() < Duration::from_millis(1_500), "the confirm does not wait for the delay");
        let confirmed =
            channel.send("delayed", "x", mandatory, b"lost", after(2_000)).await.expect("confirm");
        let returned = confirmed.take_message().expect("a message nobody is bound for comes back");
        assert_eq!((returned.reply_code, returned.reply_text.as_str()), (312, "NO_ROUTE"));
    });
}

#[test]
fn many_delays_are_held_and_all_come() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        delayed_exchange(&channel, "direct").await;
        channel.bound_queue("q", "delayed", "k").await;
        let mut confirms = Vec::new();
        for number in 0..2_000_i32 {
            let properties = after(300 + number % 50);
            let options = Default::default();
            let sent = channel.basic_publish("delayed".into(), "k".into(), options, b"m", properties).await;
            confirms.push(sent.expect("sent"));
        }
        for confirm in confirms {
            assert!(confirm.await.expect("a confirm").is_ack());
        }
        channel.await_depth("q", 2_000).await;
        let all = channel.take_all("q").await;
        assert!(bodies_of(&all).iter().all(|body| body == "m"));
        assert!(header(&all[0], "x-delay").is_some());
    });
}

#[test]
fn the_inner_type_must_exist() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        for arguments in [Default::default(), arguments([("x-delayed-type", text("x-delayed-message"))])] {
            let channel = client.channel().await;
            let declared =
                channel.declare_exchange("d", "x-delayed-message", Default::default(), arguments).await;
            let (code, text) = refusal(declared);
            assert_eq!(code, 406);
            assert!(text.contains("'x-delayed-type' must be an existing exchange type"), "{text}");
        }
    });
}

fn persistent_after(delay: i32) -> BasicProperties {
    after(delay).with_delivery_mode(2)
}

#[test]
fn what_a_durable_exchange_holds_survives_a_kill_and_comes_at_its_time() {
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        with_restarts(&[], async |broker| {
            let channel = broker.connect().await.confirm_channel().await;
            let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
            let inner = arguments([("x-delayed-type", text("direct"))]);
            channel.declare_exchange("delayed", "x-delayed-message", durable, inner).await.unwrap();
            channel.durable_queue("q").await;
            channel.bind("q", "delayed", "k").await;
            let start = Instant::now();
            channel.publish_with("delayed", "k", b"soon", persistent_after(300)).await;
            channel.publish_with("delayed", "k", b"transient", after(300)).await;
            channel.publish_with("delayed", "k", b"later", persistent_after(3000)).await;
            broker.restart(signal);
            let channel = broker.connect().await.channel().await;
            assert_eq!(body(&channel.take_soon("q").await), "soon", "after signal {signal}");
            let later = channel.take_soon("q").await;
            let waited = start.elapsed();
            assert_eq!(body(&later), "later");
            assert!(waited >= Duration::from_millis(2990), "came after {waited:?}");
            assert_eq!(header(&later, "x-death"), None, "a delay is no death");
        });
    }
}

#[test]
fn what_a_deleted_exchange_held_is_gone_for_good() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let inner = arguments([("x-delayed-type", text("fanout"))]);
        channel.durable_queue("q").await;
        for body in ["old", "new"] {
            channel.declare_exchange("delayed", "x-delayed-message", durable, inner.clone()).await.unwrap();
            channel.bind("q", "delayed", "").await;
            channel.publish_with("delayed", "", body.as_bytes(), persistent_after(700)).await;
            if body == "old" {
                channel.exchange_delete("delayed".into(), Default::default()).await.unwrap();
            }
        }
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        assert_eq!(body(&channel.take_soon("q").await), "new");
        assert_eq!(channel.depth("q").await, 0);
    });
}
