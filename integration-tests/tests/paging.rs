//! Bodies leave memory when there are too many of them: the broker stays small, and everything comes out
//! in order and as it was.

use integration_tests::{
    Broker, Channel, Client, arguments, number_of, persistent, wait_for, with_broker_args, with_restarts,
};
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::types::AMQPValue;
use std::time::Duration;

/// So little that almost everything of a backlog is on the disk.
const SMALL: [&str; 2] = ["--message-memory", "2000000"];
/// What a broker with a large backlog may hold: its code and buffers, and what is on its way to the disk.
const RESIDENT_MAX_BYTES: u64 = 120_000_000;
/// A block file that is still being filled, and a block behind its end.
const ONE_FILE_BYTES: u64 = 17 * 1024 * 1024;
const LIMIT: Duration = Duration::from_secs(60);

fn is_small(broker: &Broker) {
    let resident = broker.resident_bytes();
    assert!(resident < RESIDENT_MAX_BYTES, "{resident} bytes are resident");
}

#[test]
fn two_hundred_megabytes_of_persistent_messages_survive_outside_of_memory() {
    const COUNT: u32 = 8_000;
    with_restarts(&SMALL, async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        channel.publish_numbered("q", 0..COUNT, 25_000, &persistent()).await;
        is_small(broker);
        broker.end(libc::SIGKILL);
        broker.start_again(&SMALL);
        is_small(broker);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.depth("q").await, COUNT);
        let numbers = channel.drain_numbered("q", COUNT as usize, |_| false).await;
        is_small(broker);
        assert!(numbers.into_iter().eq(0..COUNT), "each once and in order");
    });
}

#[test]
fn two_hundred_megabytes_of_transient_messages_leave_memory_too() {
    const COUNT: u32 = 8_000;
    with_broker_args(&SMALL, async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.queue("q").await;
        channel.publish_numbered("q", 0..COUNT, 25_000, &BasicProperties::default()).await;
        is_small(broker);
        assert!(broker.disk_bytes("paged") > 100_000_000, "they are on the disk");
        let numbers = channel.drain_numbered("q", COUNT as usize, |_| false).await;
        is_small(broker);
        assert!(numbers.into_iter().eq(0..COUNT), "each once and in order");
        wait_for(LIMIT, "the end of their files", async || broker.disk_bytes("paged") <= ONE_FILE_BYTES)
            .await;
    });
}

/// 20 MB of messages in the queue `q`, almost all of them in blocks.
async fn paged(broker: &Broker, durable: bool, properties: &BasicProperties) -> (Client, Channel) {
    let client = broker.connect().await;
    let channel = client.confirm_channel().await;
    channel.publish_numbered("q", 0..2_000, 10_000, properties).await;
    let below = if durable { "blocks" } else { "paged" };
    // The reserve of the durable blocks is among their files.
    let reserve = if durable { 32 * 1024 * 1024 } else { 0 };
    wait_for(LIMIT, "blocks", async || broker.disk_bytes(below) > reserve + 15_000_000).await;
    (client, channel)
}

#[test]
fn priorities_hold_for_what_is_in_blocks() {
    with_restarts(&SMALL, async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue_with("q", arguments([("x-max-priority", AMQPValue::LongInt(5))])).await;
        for part in 0..20u32 {
            let properties = persistent().with_priority((part % 4) as u8);
            channel.publish_numbered("q", part * 100..part * 100 + 100, 10_000, &properties).await;
        }
        let expected = || {
            (0..4).rev().flat_map(|priority| (0..2_000).filter(move |number| number / 100 % 4 == priority))
        };
        let mut first: Vec<u32> = Vec::new();
        for _ in 0..50 {
            first.push(number_of(&channel.get("q").await.expect("a message").data));
        }
        assert!(first.into_iter().eq(expected().take(50)), "the highest come first");
        broker.end(libc::SIGKILL);
        broker.start_again(&SMALL);
        let channel = broker.connect().await.channel().await;
        let numbers = channel.drain_numbered("q", 2_000, |_| false).await;
        assert!(numbers.into_iter().eq(expected()), "each once, by priority and then in order");
    });
}

#[test]
fn what_is_in_blocks_comes_back_when_it_is_returned() {
    for durable in [true, false] {
        with_broker_args(&SMALL, async |broker| {
            let channel = broker.connect().await.channel().await;
            if durable {
                channel.durable_queue("q").await;
            } else {
                channel.queue("q").await;
            }
            let (client, _) = paged(broker, durable, &persistent()).await;
            let holder = client.channel().await;
            let mut held = Vec::new();
            for number in 0..600 {
                let delivery = holder.get("q").await.expect("a message");
                assert_eq!(number_of(&delivery.data), number);
                held.push(delivery);
            }
            // Of what is held, one in three is done, one comes back now, one when its channel closes.
            for (number, delivery) in held.iter().enumerate() {
                match number % 3 {
                    0 => delivery.ack(BasicAckOptions::default()).await.expect("ack"),
                    1 => {
                        let requeue = BasicNackOptions { requeue: true, ..Default::default() };
                        delivery.nack(requeue).await.expect("nack")
                    }
                    _ => true,
                };
            }
            holder.sync().await;
            assert_eq!(channel.depth("q").await, 1_400 + 200);
            holder.close(200, "OK".into()).await.expect("channel.close-ok");
            channel.await_depth("q", 1_400 + 400).await;
            let numbers = channel.drain_numbered("q", 1_800, |_| false).await;
            let expected = (0..2_000).filter(|number| *number >= 600 || number % 3 != 0);
            assert!(numbers.into_iter().eq(expected), "in their old places");
        });
    }
}

#[test]
fn a_queue_in_blocks_can_be_read_with_get_purged_and_deleted() {
    with_broker_args(&SMALL, async |broker| {
        let channel = broker.connect().await.channel().await;
        for way in ["get", "purge", "delete"] {
            channel.queue("q").await;
            let (client, _) = paged(broker, false, &BasicProperties::default()).await;
            match way {
                "get" => {
                    for number in 0..2_000 {
                        let delivery = channel.take("q").await.expect("a message");
                        assert_eq!(number_of(&delivery.data), number);
                    }
                }
                "purge" => {
                    let purged = channel.queue_purge("q".into(), Default::default()).await;
                    assert_eq!(purged.expect("queue.purge-ok"), 2_000);
                }
                _ => {
                    let deleted = channel.queue_delete("q".into(), Default::default()).await;
                    assert_eq!(deleted.expect("queue.delete-ok"), 2_000);
                    channel.queue("q").await;
                }
            }
            assert_eq!(channel.depth("q").await, 0, "after {way}");
            assert!(channel.take("q").await.is_none(), "after {way}");
            wait_for(LIMIT, "the end of their files", async || broker.disk_bytes("paged") <= ONE_FILE_BYTES)
                .await;
            client.end().await;
        }
    });
}
