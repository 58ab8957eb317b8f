//! Deadlines over a restart: those of messages stay, that of an unused queue begins again.

use crate::message::Message;
use crate::node::{Node, messages};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::{CrashDisk, Disk};
use types::FieldValue;

fn open(disk: &CrashDisk) -> Node {
    Node::on(&(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap()
}

async fn pass(since: Instant, time: Duration) {
    while since.elapsed() < time {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_message_keeps_its_deadline() {
    const TTL: Duration = Duration::from_millis(3000);
    let ttl = [("x-message-ttl", FieldValue::I64(TTL.as_millis() as i64))];
    let disk = CrashDisk::new(1);
    let node = open(&disk);
    node.declare("q", true, &ttl).await.unwrap();
    let published = Instant::now();
    node.publish_safely("q", &messages(1..=5, 100)).await;
    node.publish_safely("q", &messages(6..=6, 80_000)).await;
    let committed = Instant::now();
    pass(published, TTL / 2).await;
    let disk = disk.crash();
    drop(node);
    let node = open(&disk);
    let opened = Instant::now();
    let queue = node.queue("q").unwrap();
    let found = queue.counts().ready;
    assert!(found == 6 || published.elapsed() >= TTL, "{found} of 6 after {:?}", published.elapsed());
    node.until("they expire", || queue.counts().ready == 0).await.unwrap();
    let expired = Instant::now();
    assert!(expired >= published + TTL, "{:?} too early", published + TTL - expired);
    let begun_again = opened + TTL;
    let late = expired.saturating_duration_since(committed + TTL);
    assert!(expired < begun_again, "late by {late:?}: as if the time had begun again");
}

#[tokio::test]
async fn what_expired_while_the_node_was_down_is_gone() {
    let disk = CrashDisk::new(2);
    let node = open(&disk);
    node.declare("q", true, &[("x-message-ttl", FieldValue::I64(60))]).await.unwrap();
    node.declare("own", true, &[]).await.unwrap();
    let long = Message { expires: true, ..Message::plain(9, 100) };
    let began = Instant::now();
    node.publish_safely("q", &messages(1..=5, 100)).await;
    node.publish_safely("own", &[long]).await;
    let disk = disk.crash();
    drop(node);
    pass(began, Duration::from_millis(200)).await;
    let node = open(&disk);
    let queue = node.queue("q").unwrap();
    assert_eq!(node.read_all(&queue).await.unwrap(), []);
    // A time to live of its own is kept too.
    let own = node.read_all(&node.queue("own").unwrap()).await.unwrap();
    assert_eq!(own.iter().map(|seen| seen.id).collect::<Vec<_>>(), [9]);
}

#[tokio::test]
async fn an_unused_queue_begins_to_wait_again() {
    const EXPIRES: Duration = Duration::from_millis(600);
    let disk = CrashDisk::new(3);
    let node = open(&disk);
    node.declare("q", true, &[("x-expires", FieldValue::I64(EXPIRES.as_millis() as i64))]).await.unwrap();
    let declared = Instant::now();
    let disk = disk.crash();
    drop(node);
    pass(declared, EXPIRES + EXPIRES / 2).await;
    let before = Instant::now();
    let node = open(&disk);
    assert!(node.queue("q").is_some() || before.elapsed() >= EXPIRES);
    node.until("the queue goes", || node.queue("q").is_none()).await.unwrap();
    assert!(before.elapsed() >= EXPIRES, "after {:?}", before.elapsed());
    // And it does not come back.
    node.close().unwrap();
    assert!(open(&disk.kill()).queue("q").is_none());
}
