//! Damaged data: the node refuses to start and names the file, or goes on without what is lost and says
//! how much that is.

use crate::listener::Listener;
use crate::node::{Node, data_dir, messages, small};
use engine::storage::StorageConfig;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use storage::{CrashDisk, Disk, OpenMode};

const COUNT: u64 = 60;

/// Hears what threads without a listener of their own say.
fn everybody() -> &'static Listener {
    static EVERYBODY: OnceLock<Listener> = OnceLock::new();
    EVERYBODY.get_or_init(|| {
        let listener = Listener::default();
        tracing::subscriber::set_global_default(listener.clone()).unwrap();
        listener
    })
}

async fn stopped_node(seed: u64) -> CrashDisk {
    let disk = CrashDisk::new(seed);
    let mut config = config(&disk, false);
    // All of the log is kept.
    config.wal.as_mut().unwrap().budget_bytes = 1 << 30;
    let node = Node::open(&config, Arc::new(|| false)).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    for first in (1..=COUNT).step_by(6) {
        node.publish_safely("q", &messages(first..=first + 5, 5_000)).await;
    }
    let queue = node.queue("q").unwrap();
    node.until("bodies leave memory", || queue.resident_bytes() < 100_000).await.unwrap();
    node.commit(&queue).await.unwrap();
    node.close().unwrap();
    disk.crash()
}

fn files(disk: &CrashDisk, dir: &str, ending: &str) -> Vec<PathBuf> {
    let dir = data_dir().join(dir);
    let names = disk.list(&dir).unwrap();
    names.iter().filter(|name| name.ends_with(ending)).map(|name| dir.join(name)).collect()
}

fn flip(disk: &CrashDisk, path: &Path, offset: u64) {
    let file = disk.open(path, OpenMode::Write).unwrap();
    let mut byte = [0];
    file.read_at(offset, &mut byte).unwrap();
    file.write_at(offset, &[IoSlice::new(&[byte[0] ^ 4])]).unwrap();
    file.sync().unwrap();
}

fn config(disk: &CrashDisk, accept_damage: bool) -> StorageConfig {
    StorageConfig { accept_damage, ..small(Arc::new(disk.clone()), &data_dir()) }
}

fn open(disk: &CrashDisk, accept_damage: bool) -> (Result<Node, String>, Listener) {
    let listener = Listener::default();
    let node = tracing::subscriber::with_default(listener.clone(), || {
        Node::open(&config(disk, accept_damage), Arc::new(|| false))
    });
    (node, listener)
}

fn refusal(disk: &CrashDisk) -> String {
    open(disk, false).0.err().expect("it cannot be opened")
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

async fn ids(node: &Node) -> Vec<u64> {
    let seen = node.read_all(&node.queue("q").unwrap()).await.unwrap();
    seen.iter().map(|seen| seen.id).collect()
}

/// What is left, if the queue's own declaration is.
async fn ids_of(node: &Node) -> Vec<u64> {
    if node.queue("q").is_some() { ids(node).await } else { Vec::new() }
}

#[tokio::test]
async fn a_missing_block_file_is_named_with_its_queue() {
    let disk = stopped_node(1).await;
    let blocks = files(&disk, "blocks", ".blk");
    disk.remove(&blocks[0]).unwrap();
    let why = refusal(&disk);
    for word in ["queue 'q'", "vhost '/'", name(&blocks[0]), "--accept-damage"] {
        assert!(why.contains(word), "'{word}' is not in: {why}");
    }
    let (node, listener) = open(&disk, true);
    let node = node.unwrap();
    let left = ids(&node).await;
    node.close().unwrap();
    assert!(!left.is_empty() && (left.len() as u64) < COUNT && left.is_sorted(), "{left:?}");
    let (told, lines) = (listener.lines(), listener.lines().join("\n"));
    let lost = told.iter().filter_map(|line| {
        let (_, told) = line.split_once("message=")?;
        told.split_once(" messages are lost")?.0.parse::<u64>().ok()
    });
    assert_eq!(lost.sum::<u64>(), COUNT - left.len() as u64, "{lines}");
    assert!(listener.heard(&["queue 'q'", name(&blocks[0])]), "{lines}");
    // What was accepted once does not stop the next start.
    let (node, _) = open(&disk, false);
    assert_eq!(ids(&node.unwrap()).await, left);
}

#[tokio::test]
async fn a_block_with_a_damaged_head_is_named_with_its_queue() {
    let disk = stopped_node(2).await;
    let blocks = files(&disk, "blocks", ".blk");
    flip(&disk, &blocks[0], 33);
    let why = refusal(&disk);
    assert!(why.contains("queue 'q'") && why.contains(name(&blocks[0])), "{why}");
    let left = ids(&open(&disk, true).0.unwrap()).await;
    assert!(!left.is_empty() && (left.len() as u64) < COUNT, "{left:?}");
}

#[tokio::test]
async fn a_flipped_bit_in_a_block_costs_the_messages_of_that_block_only() {
    let disk = stopped_node(3).await;
    let blocks = files(&disk, "blocks", ".blk");
    flip(&disk, &blocks[0], 3_000);
    // The damage is found by the thread that reads.
    let listener = everybody();
    let node = open(&disk, false).0.unwrap();
    let left = ids(&node).await;
    assert!(!left.is_empty() && (left.len() as u64) < COUNT && left.is_sorted(), "{left:?}");
    assert_eq!(node.queue("q").unwrap().counts().ready, 0);
    let lost = format!("count={} ", COUNT - left.len() as u64);
    let words = ["messages are lost", name(&blocks[0]), "queue=q", &lost];
    assert!(listener.heard(&words), "{words:?} in {:?}", listener.lines());
    // They are gone for good, and only they.
    let disk = disk.kill();
    drop(node);
    assert_eq!(ids(&open(&disk, false).0.unwrap()).await, left);
}

#[tokio::test]
async fn a_missing_log_file_is_named() {
    let disk = stopped_node(4).await;
    let logs = files(&disk, "wal", ".wal");
    // Behind the last one that was written to is one that was made ahead; of the last one itself nothing
    // else tells that it was there.
    let count = logs.len().saturating_sub(2);
    assert!(count > 3, "{logs:?}");
    for log in &logs[..count] {
        let copy = disk.crash();
        copy.remove(log).unwrap();
        let why = refusal(&copy);
        assert!(why.contains(&format!("'{}' is damaged", log.display())), "{} is missing: {why}", name(log));
        let left = ids_of(&open(&copy, true).0.unwrap()).await;
        assert!(left.is_sorted() && left.len() as u64 <= COUNT, "{left:?}");
    }
}

#[tokio::test]
async fn a_damaged_log_file_is_named_and_can_be_accepted() {
    let disk = stopped_node(5).await;
    let logs = files(&disk, "wal", ".wal");
    flip(&disk, &logs[1], 2_000);
    let why = refusal(&disk);
    assert!(why.contains(name(&logs[1])) && why.contains("damaged at byte"), "{why}");
    let (node, listener) = open(&disk, true);
    let lines = listener.lines().join("\n");
    let node = node.unwrap_or_else(|why| panic!("{why}\n{lines}"));
    assert!(listener.heard(&["data are lost", name(&logs[1])]), "{lines}");
    let left = ids(&node).await;
    assert!(left.len() as u64 <= COUNT && left.is_sorted(), "{left:?}");
    node.publish_safely("q", &messages(100..=105, 500)).await;
    let disk = disk.kill();
    drop(node);
    // What was accepted once does not stop the next start.
    let again = ids(&open(&disk, false).0.unwrap()).await;
    assert!(again.ends_with(&[100, 101, 102, 103, 104, 105]), "{again:?}");
    assert_eq!(again[..again.len() - 6], left);
}

#[tokio::test]
async fn a_directory_is_opened_by_one_node_at_a_time() {
    let dir = std::env::temp_dir().join(format!("leveret-durable-{}", std::process::id()));
    let config = StorageConfig { lock: true, ..small(Arc::new(storage::RealDisk), &dir) };
    let node = Node::open(&config, Arc::new(|| false)).unwrap();
    let why = Node::open(&config, Arc::new(|| false)).err().expect("it is in use");
    assert!(why.contains(&*dir.to_string_lossy()) && why.contains("in use"), "{why}");
    node.declare("q", true, &[]).await.unwrap();
    node.publish_safely("q", &messages(1..=3, 100)).await;
    node.close().unwrap();
    // The tasks of the first one end when they are next run, and with them its lock.
    let mut again = Node::open(&config, Arc::new(|| false));
    for _ in 0..5000 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        again = Node::open(&config, Arc::new(|| false));
    }
    let again = again.unwrap();
    assert_eq!(ids(&again).await, [1, 2, 3]);
    again.close().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}
