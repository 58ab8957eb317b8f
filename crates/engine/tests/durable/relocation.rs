//! Block files that are mostly free: what is still needed goes elsewhere, and the disk's room comes back.

use crate::node::{Node, messages};
use engine::QueueCommand;
use std::sync::Arc;
use storage::{CrashDisk, Disk};

#[tokio::test]
async fn what_is_needed_of_a_sparse_file_is_moved_and_survives() {
    const ROUNDS: u64 = 60;
    let disk = CrashDisk::new(1);
    let node = Node::on(&(Arc::new(disk.clone()) as Arc<dyn Disk>)).unwrap();
    let blocks = || node.broker.storage().unwrap().block_stats()[0];
    for name in ["goes", "stays"] {
        node.declare(name, true, &[]).await.unwrap();
    }
    // Blocks of both queues side by side in every file.
    for round in 1..=ROUNDS {
        for (name, bytes) in [("goes", 3_000), ("stays", 900)] {
            let puts = blocks().puts;
            node.publish_safely(name, &messages(round..=round, bytes)).await;
            node.post(&node.queue(name).unwrap(), QueueCommand::Checkpoint(u64::MAX));
            node.until("it is in a block", || blocks().puts > puts).await.unwrap();
        }
    }
    let before = blocks();
    let goes = node.queue("goes").unwrap();
    assert_eq!(node.ask("a purge", &goes, QueueCommand::Purge).await.unwrap(), ROUNDS);
    node.commit(&goes).await.unwrap();
    let is_small = || {
        let now = blocks();
        now.disk_bytes < before.disk_bytes && now.disk_bytes <= 2 * now.live_bytes + 3 * 16 * 1024
    };
    node.until("the room comes back", is_small).await.unwrap();
    let after = blocks();
    assert!(after.relocations > 0, "{before:?}, then {after:?}");

    let disk: Arc<dyn Disk> = Arc::new(disk.crash());
    drop(node);
    let node = Node::on(&disk).unwrap();
    assert_eq!(node.queue("goes").unwrap().counts().ready, 0);
    let found = node.read_all(&node.queue("stays").unwrap()).await.unwrap();
    let found: Vec<u64> = found.iter().map(|seen| seen.id).collect();
    assert_eq!(found, (1..=ROUNDS).collect::<Vec<u64>>());
}
