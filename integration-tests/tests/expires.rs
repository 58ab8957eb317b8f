//! x-expires: a queue that nobody uses goes after its time.

use integration_tests::{Channel, Client, WAIT, arguments, refusal, text, wait_for, with_broker};
use lapin::types::AMQPValue;
use std::time::{Duration, Instant};

async fn await_gone(client: &Client, name: &str) {
    wait_for(WAIT, "the queue to expire", async || {
        // Looking counts as use, so the queue is looked for by publishing.
        let channel = client.confirm_channel().await;
        let gone = channel.publish_mandatory("amq.direct", name, "").await.take_message().is_some();
        channel.close(200, "".into()).await.expect("channel.close-ok");
        gone
    })
    .await;
}

async fn expiring_queue(channel: &Channel, name: &str, expires: i32) {
    channel.queue_with(name, arguments([("x-expires", AMQPValue::LongInt(expires))])).await;
    channel.bind(name, "amq.direct", name).await;
}

#[test]
fn an_unused_queue_goes_after_its_time_and_not_before() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        let start = Instant::now();
        expiring_queue(&channel, "q", 400).await;
        await_gone(&client, "q").await;
        let lived = start.elapsed();
        assert!(lived >= Duration::from_millis(395), "gone after {lived:?}");
        assert!(lived < Duration::from_millis(2_000), "gone after {lived:?}");
        assert_eq!(refusal(channel.look("q").await).0, 404);
    });
}

#[test]
fn use_starts_the_time_again_and_a_consumer_stops_it() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        expiring_queue(&channel, "used", 500).await;
        expiring_queue(&channel, "consumed", 150).await;
        let _consumer = channel.consume("consumed", "tag").await;
        let start = Instant::now();
        // Declares, gets and passive looks keep it alive for more than its time.
        let mut turn = 0;
        while start.elapsed() < Duration::from_millis(1_200) {
            match turn % 3 {
                0 => drop(channel.take("used").await),
                1 => drop(channel.look("used").await.expect("alive by use")),
                _ => channel.queue_with("used", arguments([("x-expires", AMQPValue::LongInt(500))])).await,
            }
            turn += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        channel.look("consumed").await.expect("alive by its consumer");
        channel.basic_cancel("tag".into(), Default::default()).await.expect("basic.cancel-ok");
        await_gone(&client, "consumed").await;
        await_gone(&client, "used").await;
    });
}

#[test]
fn messages_of_an_expired_queue_are_not_dead_lettered() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.queue("dead").await;
        let fields = [
            ("x-expires", AMQPValue::LongInt(200)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("dead")),
        ];
        channel.queue_with("q", arguments(fields)).await;
        channel.bind("q", "amq.direct", "q").await;
        channel.publish("", "q", "m").await;
        await_gone(&client, "q").await;
        assert_eq!(channel.depth("dead").await, 0);
    });
}
