//! Messages that tell their number and whether all of them is there, for tests with many of them.
//!
//! Invariant: a body that `number_of` takes is the one that `numbered` made, byte by byte.

use crate::client::{Channel, Deliveries};
use crate::process::Broker;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicPublishOptions};
use std::ops::Range;
use std::path::Path;

/// Publishes whose confirms are waited for at a time.
const WINDOW: u32 = 250;
/// Deliveries that are acknowledged at a time.
const ACKED_AT_ONCE: usize = 100;

/// The body of a message: its number, then bytes that differ from message to message.
pub fn numbered(number: u32, length: usize) -> Vec<u8> {
    let mut body = format!("{number}:").into_bytes();
    let mut word = u64::from(number) << 17 | 1;
    while body.len() < length {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.extend_from_slice(&word.to_le_bytes());
    }
    body.truncate(length);
    body
}

/// The number of a body, all of which must be there.
#[track_caller]
pub fn number_of(body: &[u8]) -> u32 {
    let digits = body.split(|byte| *byte == b':').next().unwrap_or_default();
    let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).expect("a number");
    assert!(body == numbered(number, body.len()), "the body of message {number} is damaged");
    number
}

impl Channel {
    /// Publishes numbered messages on a confirm channel and waits until all are confirmed.
    pub async fn publish_numbered(
        &self,
        queue: &str,
        numbers: Range<u32>,
        length: usize,
        properties: &BasicProperties,
    ) {
        let mut waiting = Vec::new();
        for number in numbers {
            let options = BasicPublishOptions::default();
            let body = numbered(number, length);
            let sent = self.basic_publish("".into(), queue.into(), options, &body, properties.clone()).await;
            waiting.push(sent.expect("it is sent"));
            if number % WINDOW == WINDOW - 1 {
                for confirm in waiting.drain(..) {
                    confirm.await.expect("it is confirmed");
                }
            }
        }
        for confirm in waiting {
            confirm.await.expect("it is confirmed");
        }
    }

    /// Takes so many messages with acknowledgement, except those that `keep` names; gives the numbers.
    pub async fn drain_numbered(&self, queue: &str, count: usize, keep: impl Fn(u32) -> bool) -> Vec<u32> {
        self.prefetch(0).await;
        let mut consumer = self.consume(queue, "drain").await;
        let mut numbers = Vec::with_capacity(count);
        let mut unacked = Vec::new();
        while numbers.len() < count {
            let delivery = consumer.delivery().await;
            let number = number_of(&delivery.data);
            numbers.push(number);
            if !keep(number) {
                unacked.push(delivery);
            }
            if unacked.len() >= ACKED_AT_ONCE || numbers.len() == count {
                for delivery in unacked.drain(..) {
                    delivery.ack(BasicAckOptions::default()).await.expect("ack");
                }
            }
        }
        numbers
    }
}

impl Broker {
    /// Bytes of the files below a directory of the data directory; of a cluster's nodes the one counts that has
    /// most, which is the home of what the test has filled.
    pub fn disk_bytes(&self, below: &str) -> u64 {
        let nodes = std::iter::once(self).chain(&self.others);
        nodes.map(|node| bytes_of(&node.data_dir().join(below))).max().unwrap_or(0)
    }
}

fn bytes_of(dir: &Path) -> u64 {
    // A file may go while its directory is read.
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let length = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_of(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(length).sum()
}
