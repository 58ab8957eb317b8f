//! A disk that gives errors: nothing is confirmed that is not safe, and the node says why it stops.

use crate::client::{Client, Seen};
use crate::driver::Driver;
use crate::message::Message;
use crate::node::{Node, data_dir, messages, small};
use engine::storage::StorageConfig;
use std::sync::Arc;
use std::time::Duration;
use storage::{CrashDisk, Disk, FaultKind, FaultyDisk};

/// A disk that fails when it is told to, and the one below.
fn disks(seed: u64) -> (CrashDisk, Arc<FaultyDisk>) {
    let inner = CrashDisk::new(seed);
    let faulty = Arc::new(FaultyDisk::new(Arc::new(inner.clone())));
    (inner, faulty)
}

fn open(disk: &Arc<FaultyDisk>) -> Result<Node, String> {
    Node::on(&(disk.clone() as Arc<dyn Disk>))
}

/// A log whose file never fills: there are no operations on it but its batches.
fn one_log_file(disk: Arc<dyn Disk>) -> StorageConfig {
    let mut config = small(disk, &data_dir());
    let wal = config.wal.as_mut().unwrap();
    (wal.first_file_bytes, wal.file_bytes, wal.budget_bytes) = (1 << 22, 1 << 22, 1 << 30);
    config
}

fn ids(seen: &[Seen]) -> Vec<u64> {
    seen.iter().map(|seen| seen.id).collect()
}

/// What a queue has when the process is killed and the disk works again.
async fn after_kill(disk: CrashDisk, queue: &str) -> Vec<u64> {
    let disk: Arc<dyn Disk> = Arc::new(disk.kill());
    let node = Node::on(&disk).unwrap();
    ids(&node.read_all(&node.queue(queue).unwrap()).await.unwrap())
}

async fn nothing_is_confirmed_after(kind: FaultKind, expected: &str) {
    let (inner, disk) = disks(1);
    let node = open(&disk).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    node.publish_safely("q", &messages(1..=5, 100)).await;
    disk.fail_at(kind, 1);
    let client = Arc::new(Client::default());
    node.publish("", "q", &messages(6..=8, 100), Some((&client, 6)));
    let why = tokio::time::timeout(Duration::from_secs(10), node.broker.failed()).await.unwrap();
    assert!(why.contains("write-ahead log") && why.contains(".wal") && why.contains(expected), "{why}");
    // The disk works again, but what it has of the last write is not known.
    node.publish("", "q", &messages(9..=12, 100), Some((&client, 9)));
    let queue = node.queue("q").unwrap();
    let (reply, mut commit) = tokio::sync::oneshot::channel();
    node.post(&queue, engine::QueueCommand::CommitFence(reply));
    let close = node.broker.storage().unwrap().close().unwrap_err();
    assert!(close.contains(expected), "{close}");
    assert!(client.take_confirmed().is_empty() && commit.try_recv().is_err());
    let found = after_kill(inner, "q").await;
    assert!(found.starts_with(&[1, 2, 3, 4, 5]) && found.len() <= 8, "{found:?}");
}

#[tokio::test]
async fn nothing_is_confirmed_after_a_failed_sync() {
    nothing_is_confirmed_after(FaultKind::Sync, "cannot be synced").await;
}

#[tokio::test]
async fn nothing_is_confirmed_after_a_failed_write() {
    nothing_is_confirmed_after(FaultKind::Write, "cannot be written to").await;
}

#[tokio::test]
async fn a_block_that_cannot_be_synced_stops_the_node() {
    let (inner, disk) = disks(2);
    let node = Node::open(&one_log_file(disk.clone()), Arc::new(|| false)).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    node.publish_safely("q", &messages(1..=1, 1_000)).await;
    disk.fail_from(FaultKind::Sync, 1);
    node.post(&node.queue("q").unwrap(), engine::QueueCommand::Checkpoint(u64::MAX));
    let why = tokio::time::timeout(Duration::from_secs(10), node.broker.failed()).await.unwrap();
    assert!(why.contains("storing messages") && why.contains(".blk"), "{why}");
    // What is refused at once must not be tried again at once, or this would never come back.
    let _ = node.close();
    assert_eq!(after_kill(inner, "q").await, [1]);
}

/// Lives with one error at the `nth` operation; gives how many operations there were.
async fn live_with_error(kind: FaultKind, nth: u64) -> Result<u64, String> {
    let (inner, disk) = disks(nth);
    let mut driver = Driver::new(7);
    disk.fail_at(kind, nth);
    match open(&disk) {
        Ok(node) => {
            let _ = driver.work(&node, 40).await;
            driver.hear();
            let _ = node.close();
        }
        Err(why) if why.contains("a fault that was set") => {}
        Err(why) => return Err(why),
    }
    driver.lose_node();
    let inner: Arc<dyn Disk> = Arc::new(inner.kill());
    driver.check(&Node::on(&inner)?, true).await?;
    Ok(disk.operations(kind))
}

#[tokio::test]
async fn an_error_at_any_operation_loses_nothing() {
    // Every so many operations; with an environment variable each of them.
    let steps = if std::env::var_os("LEVERET_ENGINE_ROUNDS").is_some() { [1, 1, 1] } else { [9, 5, 5] };
    let mut errors = 0;
    for (kind, step) in [FaultKind::Any, FaultKind::Sync, FaultKind::Create].into_iter().zip(steps) {
        let mut nth = 1;
        loop {
            let outcome = live_with_error(kind, nth).await;
            let operations = outcome.unwrap_or_else(|why| panic!("error at {kind:?} operation {nth}: {why}"));
            if nth > operations {
                break;
            }
            errors += 1;
            nth += step;
        }
    }
    println!("{errors} errors");
    assert!(errors > 20);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_refused_with_a_clear_text() {
    let (_, disk) = disks(3);
    disk.set_read_only(true);
    let why = open(&disk).err().expect("it cannot be opened");
    assert!(why.contains("'/data'") && why.contains("read-only"), "{why}");
}

#[tokio::test]
async fn a_block_that_cannot_be_read_is_tried_again() {
    let (_, disk) = disks(4);
    let node = Node::open(&one_log_file(disk.clone()), Arc::new(|| false)).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    node.publish_safely("q", &messages(1..=40, 5_000)).await;
    let queue = node.queue("q").unwrap();
    node.until("bodies leave memory", || queue.resident_bytes() < 100_000).await.unwrap();
    disk.fail_at(FaultKind::Read, 1);
    disk.fail_at(FaultKind::Read, 2);
    let found = ids(&node.read_all(&queue).await.unwrap());
    assert_eq!(found, (1..=40).collect::<Vec<u64>>());
    assert!(node.broker.storage().unwrap().block_stats()[0].read_errors > 0);
}

#[tokio::test]
async fn a_message_is_safe_although_its_block_was_refused() {
    let (inner, disk) = disks(5);
    let node = Node::open(&one_log_file(disk.clone()), Arc::new(|| false)).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    let all: Vec<Message> = messages(1..=30, 9_000);
    // The file that blocks go to, as soon as some leave memory.
    disk.fail_at(FaultKind::Create, 1);
    for some in all.chunks(5) {
        node.publish_safely("q", some).await;
    }
    assert_eq!(after_kill(inner, "q").await, (1..=30).collect::<Vec<u64>>());
}
