//! Time to live, length limits and dead-lettering of messages whose bodies left memory.

use integration_tests::{
    Broker, Channel, arguments, number_of, persistent, text, wait_for, with_broker_args,
};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation};
use std::time::Duration;

const SMALL: [&str; 2] = ["--message-memory", "2000000"];
const LIMIT: Duration = Duration::from_secs(60);
const LENGTH: usize = 10_000;

fn dead_lettering<const N: usize>(more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut fields = arguments(more);
    fields.insert("x-dead-letter-exchange".into(), text(""));
    fields.insert("x-dead-letter-routing-key".into(), text("dead"));
    fields
}

async fn set_up(broker: &Broker, fields: FieldTable) -> Channel {
    let channel = broker.connect().await.confirm_channel().await;
    channel.durable_queue("dead").await;
    channel.durable_queue_with("q", fields).await;
    channel
}

async fn await_blocks(broker: &Broker) {
    let reserve = 32 * 1024 * 1024;
    wait_for(LIMIT, "blocks", async || broker.disk_bytes("blocks") > reserve + 8_000_000).await;
}

/// Everything of the queue `dead`, once so many are there.
async fn dead(channel: &Channel, count: usize) -> Vec<u32> {
    wait_for(LIMIT, "the dead letters", async || channel.depth("dead").await as usize == count).await;
    channel.drain_numbered("dead", count, |_| false).await
}

#[test]
fn time_to_live_ends_in_blocks() {
    with_broker_args(&SMALL, async |broker| {
        let channel = set_up(broker, dead_lettering([])).await;
        // Those with a time of their own stand between others.
        let short = persistent().with_expiration("4000".into());
        for part in 0..10 {
            let properties = if part % 2 == 0 { short.clone() } else { persistent() };
            channel.publish_numbered("q", part * 100..part * 100 + 100, LENGTH, &properties).await;
        }
        await_blocks(broker).await;
        let is_short = |number: &u32| (number / 100).is_multiple_of(2);
        let mut found = dead(&channel, 500).await;
        // Their times may end in the same moment.
        found.sort_unstable();
        assert!(found.into_iter().eq((0..1_000).filter(is_short)), "each once");
        let left = channel.drain_numbered("q", 500, |_| false).await;
        assert!(left.into_iter().eq((0..1_000).filter(|number| !is_short(number))), "in order");
    });
}

#[test]
fn a_time_to_live_of_the_queue_ends_in_blocks() {
    with_broker_args(&SMALL, async |broker| {
        let fields = dead_lettering([("x-message-ttl", AMQPValue::LongInt(4_000))]);
        let channel = set_up(broker, fields).await;
        channel.publish_numbered("q", 0..1_000, LENGTH, &persistent()).await;
        await_blocks(broker).await;
        let found = dead(&channel, 1_000).await;
        assert!(found.into_iter().eq(0..1_000), "each once and in order");
        assert_eq!(channel.depth("q").await, 0);
    });
}

#[test]
fn the_head_is_dropped_from_blocks() {
    with_broker_args(&SMALL, async |broker| {
        let fields = dead_lettering([("x-max-length", AMQPValue::LongInt(1_000))]);
        let channel = set_up(broker, fields).await;
        channel.publish_numbered("q", 0..1_000, LENGTH, &persistent()).await;
        await_blocks(broker).await;
        channel.publish_numbered("q", 1_000..1_600, LENGTH, &persistent()).await;
        assert!(dead(&channel, 600).await.into_iter().eq(0..600), "the oldest, in order");
        let left = channel.drain_numbered("q", 1_000, |_| false).await;
        assert!(left.into_iter().eq(600..1_600), "the rest, in order");
    });
}

#[test]
fn a_full_queue_in_blocks_refuses_and_takes_again() {
    with_broker_args(&SMALL, async |broker| {
        let fields = arguments([
            ("x-max-length-bytes", AMQPValue::LongInt(1_000 * LENGTH as i32)),
            ("x-overflow", text("reject-publish")),
        ]);
        let channel = set_up(broker, fields).await;
        channel.publish_numbered("q", 0..1_000, LENGTH, &persistent()).await;
        await_blocks(broker).await;
        let once = async |number: u32| {
            let body = integration_tests::numbered(number, LENGTH);
            let options = BasicPublishOptions::default();
            channel.send("", "q", options, &body, persistent()).await.expect("it is sent")
        };
        assert_eq!(once(1_000).await, Confirmation::Nack(None));
        assert_eq!(number_of(&channel.take("q").await.expect("a message").data), 0);
        assert_eq!(once(1_001).await, Confirmation::Ack(None));
        assert_eq!(once(1_002).await, Confirmation::Nack(None));
        let left = channel.drain_numbered("q", 1_000, |_| false).await;
        assert!(left.into_iter().eq((1..1_000).chain([1_001])), "what was taken, in order");
    });
}

#[test]
fn rejected_messages_go_from_block_to_block() {
    with_broker_args(&SMALL, async |broker| {
        let channel = set_up(broker, dead_lettering([])).await;
        channel.publish_numbered("q", 0..1_000, LENGTH, &persistent()).await;
        await_blocks(broker).await;
        let holder = broker.connect().await.channel().await;
        for _ in 0..1_000 {
            let delivery = holder.get("q").await.expect("a message");
            delivery.reject(Default::default()).await.expect("reject");
        }
        assert!(dead(&channel, 1_000).await.into_iter().eq(0..1_000), "each once and in order");
    });
}

#[test]
fn transient_messages_of_a_durable_queue_leave_memory_and_come_back() {
    with_broker_args(&SMALL, async |broker| {
        let channel = set_up(broker, FieldTable::default()).await;
        for part in 0..10 {
            let properties = if part % 2 == 0 { BasicProperties::default() } else { persistent() };
            channel.publish_numbered("q", part * 100..part * 100 + 100, LENGTH, &properties).await;
        }
        await_blocks(broker).await;
        let numbers = channel.drain_numbered("q", 1_000, |_| false).await;
        assert!(numbers.into_iter().eq(0..1_000), "each once and in order");
    });
}
