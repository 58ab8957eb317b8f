//! A full disk: publishers are told to wait, everybody else goes on, and nothing is lost.

use crate::client::Client;
use crate::node::{CONSUMER, Node, messages, ranges};
use engine::QueueCommand;
use std::sync::Arc;
use storage::{CrashDisk, Disk, FaultyDisk};

#[tokio::test]
async fn a_full_disk_blocks_publishers_and_loses_nothing() {
    let inner = CrashDisk::new(1);
    let disk = Arc::new(FaultyDisk::new(Arc::new(inner.clone())));
    let node = Node::on(&(disk.clone() as Arc<dyn Disk>)).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    let queue = node.queue("q").unwrap();
    node.publish_safely("q", &messages(1..=20, 500)).await;

    disk.set_room(Some(0));
    let client = Arc::new(Client::default());
    let is_alarmed = || node.broker.alarms().current().disk;
    let mut last = 20;
    while !is_alarmed() {
        assert!(last < 2000, "the disk is full and nobody is told");
        node.publish("", "q", &messages(last + 1..=last + 1, 500), Some((&client, last + 1)));
        last += 1;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // Whoever drains the queue is served, and what is committed needs no new room.
    let got = node.get(&queue, &client, true).await.unwrap().unwrap();
    assert_eq!(got.id, 1);
    node.consume(&queue, &client, 4).await.unwrap();
    node.until("deliveries come", || client.held(queue.id).len() == 4).await.unwrap();
    let held = client.held(queue.id);
    node.post(&queue, QueueCommand::Settle(CONSUMER, ranges(&held)));
    node.commit(&queue).await.unwrap();
    assert!(is_alarmed());

    disk.set_room(None);
    node.until("the alarm goes off", || !is_alarmed()).await.unwrap();
    node.until("what waited is confirmed", || client.is_confirmed()).await.unwrap();
    node.publish_safely("q", &messages(last + 1..=last + 10, 500)).await;
    assert_eq!(client.wrong(), Vec::<String>::new());
    drop((node, queue, client));

    let disk: Arc<dyn Disk> = Arc::new(inner.crash());
    let node = Node::on(&disk).unwrap();
    let found = node.read_all(&node.queue("q").unwrap()).await.unwrap();
    let found: Vec<u64> = found.iter().map(|seen| seen.id).collect();
    assert_eq!(found, (6..=last + 10).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_node_stops_on_a_full_disk_and_keeps_what_was_confirmed() {
    let inner = CrashDisk::new(2);
    let disk = Arc::new(FaultyDisk::new(Arc::new(inner.clone())));
    let node = Node::on(&(disk.clone() as Arc<dyn Disk>)).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    node.publish_safely("q", &messages(1..=20, 4_000)).await;
    disk.set_room(Some(0));
    let client = Arc::new(Client::default());
    node.publish("", "q", &messages(21..=80, 4_000), Some((&client, 21)));
    node.until("the alarm", || node.broker.alarms().current().disk).await.unwrap();
    let why = node.close().unwrap_err();
    assert!(why.contains("room"), "{why}");
    let confirmed = client.take_confirmed().into_iter().max().unwrap_or(20);
    let disk: Arc<dyn Disk> = Arc::new(inner.crash());
    let node = Node::on(&disk).unwrap();
    let found = node.read_all(&node.queue("q").unwrap()).await.unwrap();
    let found: Vec<u64> = found.iter().map(|seen| seen.id).collect();
    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<u64>>());
    assert!(found.len() as u64 >= confirmed, "{confirmed} were confirmed, {} are there", found.len());
}
