//! The data directory grows with what is in the queues and shrinks with it.

use integration_tests::{persistent, wait_for, with_broker_args};
use std::time::Duration;

const SMALL: [&str; 2] = ["--message-memory", "2000000"];
const LIMIT: Duration = Duration::from_secs(60);
const LENGTH: usize = 30_000;
const COUNT: u32 = 10_000;
/// Files of the log beyond which it asks the queues to let go, and its two spare ones.
const LOG_BYTES: u64 = 96 * 1024 * 1024 + 3 * 32 * 1024 * 1024;
/// The reserve of the block store and a few files that are not full or not yet gone.
const FILES_BYTES: u64 = 32 * 1024 * 1024 + 4 * 16 * 1024 * 1024;

#[test]
fn what_was_consumed_leaves_the_disk() {
    with_broker_args(&SMALL, async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        channel.durable_queue("q").await;
        channel.publish_numbered("q", 0..COUNT, LENGTH, &persistent()).await;
        wait_for(LIMIT, "blocks", async || broker.disk_bytes("blocks") > 200_000_000).await;
        let numbers = channel.drain_numbered("q", COUNT as usize, |_| false).await;
        assert!(numbers.into_iter().eq(0..COUNT), "each once and in order");
        wait_for(LIMIT, "the end of the blocks", async || broker.disk_bytes("blocks") <= FILES_BYTES).await;
        wait_for(LIMIT, "the log within its budget", async || broker.disk_bytes("wal") <= LOG_BYTES).await;
    });
}

#[test]
fn a_few_messages_that_are_held_do_not_hold_the_others() {
    with_broker_args(&SMALL, async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        channel.durable_queue("q").await;
        channel.publish_numbered("q", 0..COUNT, LENGTH, &persistent()).await;
        let holder = client.channel().await;
        let numbers = holder.drain_numbered("q", COUNT as usize, |number| number % 1_000 == 0).await;
        assert!(numbers.into_iter().eq(0..COUNT), "each once and in order");
        let live = u64::from(COUNT / 1_000) * LENGTH as u64;
        let blocks = 2 * live + FILES_BYTES;
        wait_for(LIMIT, "the end of the blocks", async || broker.disk_bytes("blocks") <= blocks).await;
        wait_for(LIMIT, "the log within its budget", async || broker.disk_bytes("wal") <= LOG_BYTES).await;
        holder.close(200, "OK".into()).await.expect("channel.close-ok");
        wait_for(LIMIT, "their return", async || channel.depth("q").await == COUNT / 1_000).await;
        let held = channel.drain_numbered("q", COUNT as usize / 1_000, |_| false).await;
        assert!(held.into_iter().eq((0..COUNT).step_by(1_000)), "as they were");
    });
}
