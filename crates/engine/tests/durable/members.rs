//! A broker whose catalog is a cluster's: its own log ends, logs of queues wait to be declared, changes and
//! whole catalogs come from outside.

use crate::node::{Node, data_dir, declaration, first_catalog, messages};
use broker::catalog::{Catalog, Command};
use engine::Broker;
use engine::catalog::{CatalogStore, Change};
use engine::storage::ClusterLog;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use storage::wal::{EntryKind, Sequence};
use storage::{CrashDisk, Disk};
use types::FieldTable;

const COUNT: u64 = 60;

/// A cluster's log of which only the catalog that it has is of interest.
#[derive(Default)]
struct Log {
    catalog: Option<Catalog>,
    found: Vec<Vec<u8>>,
}

impl ClusterLog for Log {
    fn replay(&mut self, _kind: EntryKind, head: &[u8], _sequence: Sequence) -> Result<(), String> {
        self.found.push(head.to_vec());
        Ok(())
    }

    fn catalog(&mut self, _damage: &[String]) -> Result<Option<Catalog>, String> {
        Ok(self.catalog.clone())
    }
}

/// A cluster that agrees with everything.
struct Agreeing(Weak<Broker>);

impl CatalogStore for Agreeing {
    fn propose(&self, command: Command) -> Change<'_> {
        let broker = self.0.upgrade().unwrap();
        let outcome = broker.apply_committed(command);
        broker.publish_committed();
        Box::pin(std::future::ready(outcome))
    }
}

fn open(disk: &CrashDisk, catalog: Option<Catalog>) -> Result<(Node, Vec<Vec<u8>>), String> {
    let mut log = Log { catalog, ..Log::default() };
    let node = Node::member(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &mut log)?;
    node.broker.set_catalog_store(Arc::new(Agreeing(Arc::downgrade(&node.broker))));
    Ok((node, log.found))
}

fn picture(node: &Node) -> Catalog {
    (**node.broker.catalog()).clone()
}

/// The files of the node's log, the oldest first.
fn log_files(disk: &CrashDisk) -> Vec<String> {
    let mut names = disk.list(&data_dir().join("wal")).unwrap();
    names.sort_unstable();
    names
}

/// A member with a queue that has messages, in memory and in blocks; stopped.
async fn member_with_messages(disk: &CrashDisk) -> Catalog {
    let (node, _) = open(disk, Some(first_catalog().unwrap())).unwrap();
    node.broker.storage().unwrap().cluster_log().append(vec![(EntryKind::Record, b"mine".to_vec())], true);
    node.declare("q", true, &[]).await.unwrap();
    for first in (1..=COUNT).step_by(6) {
        node.publish_safely("q", &messages(first..=first + 5, 5_000)).await;
    }
    let queue = node.queue("q").unwrap();
    node.until("bodies leave memory", || queue.resident_bytes() < 100_000).await.unwrap();
    let catalog = picture(&node);
    node.close().unwrap();
    catalog
}

#[tokio::test]
async fn a_node_alone_becomes_a_member_with_all_it_has() {
    let disk = CrashDisk::new(1);
    let mut log = Log::default();
    let node = Node::member(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &mut log).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    node.publish_safely("q", &messages(1..=9, 100)).await;
    let handed = node.broker.hand_over_catalog();
    assert_eq!(handed.encode(), picture(&node).encode());
    let refused = node.broker.change(declaration("r", true, FieldTable::new())).await.unwrap_err();
    assert!(refused.explanation.contains("handed over"), "{refused}");
    let handle = node.broker.storage().unwrap().cluster_log();
    handle.append(vec![(EntryKind::Record, b"mine".to_vec())], true);
    node.broker.set_catalog_store(Arc::new(Agreeing(Arc::downgrade(&node.broker))));
    node.declare("r", true, &[]).await.unwrap();
    let catalog = picture(&node);
    node.close().unwrap();

    for _ in 0..2 {
        let (node, found) = open(&disk, Some(catalog.clone())).unwrap();
        assert_eq!(found, [b"mine".to_vec()]);
        assert_eq!(picture(&node).encode(), catalog.encode(), "nothing of its own is applied at a start");
        assert_eq!(node.queue("q").unwrap().counts().ready, 9);
        assert!(node.queue("r").is_some());
        node.close().unwrap();
    }
    let refused = Node::on(&(Arc::new(disk.clone()) as Arc<dyn Disk>)).err().unwrap();
    assert!(refused.contains("--cluster-addr") && refused.contains(".wal"), "{refused}");
}

#[tokio::test]
async fn a_node_that_stopped_while_it_became_a_member_is_one() {
    let disk = CrashDisk::new(2);
    let mut log = Log::default();
    let node = Node::member(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &mut log).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    let catalog = node.broker.hand_over_catalog();
    let handle = node.broker.storage().unwrap().cluster_log();
    handle.append(vec![(EntryKind::Record, b"mine".to_vec())], true);
    // Its own log is not ended yet.
    node.close().unwrap();
    for _ in 0..2 {
        let (node, _) = open(&disk, Some(catalog.clone())).unwrap();
        assert!(node.queue("q").is_some());
        node.close().unwrap();
    }
}

#[tokio::test]
async fn messages_of_a_queue_wait_until_the_catalog_declares_it() {
    let disk = CrashDisk::new(3);
    let catalog = member_with_messages(&disk).await;
    // What the node knew to be agreed on was less than what it had applied.
    for _ in 0..2 {
        let (node, _) = open(&disk, Some(first_catalog().unwrap())).unwrap();
        assert!(node.queue("q").is_none());
        assert_eq!(node.broker.unclaimed_count(), 1);
        node.close().unwrap();
    }
    let (node, _) = open(&disk, Some(first_catalog().unwrap())).unwrap();
    node.declare("q", true, &[]).await.unwrap();
    assert_eq!(node.broker.unclaimed_count(), 0);
    let queue = node.queue("q").unwrap();
    assert_eq!(queue.counts().ready, COUNT);
    assert_eq!(node.broker.drop_unclaimed(), 0);
    node.publish_safely("q", &messages(COUNT + 1..=COUNT + 3, 100)).await;
    let ids = |seen: Vec<crate::client::Seen>| seen.iter().map(|message| message.id).collect::<Vec<_>>();
    assert_eq!(ids(node.look(&queue).await.unwrap()), (1..=COUNT + 3).collect::<Vec<_>>());
    let disk = disk.crash();
    drop(node);
    let (node, _) = open(&disk, Some(catalog)).unwrap();
    let queue = node.queue("q").unwrap();
    assert_eq!(ids(node.look(&queue).await.unwrap()), (1..=COUNT + 3).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_queue_that_the_catalog_does_not_have_goes_when_that_is_sure() {
    let disk = CrashDisk::new(4);
    let catalog = member_with_messages(&disk).await;
    let (node, _) = open(&disk, Some(first_catalog().unwrap())).unwrap();
    let stored = |node: &Node| node.broker.storage().unwrap().block_stats()[0].live_bytes;
    assert!(stored(&node) > 0);
    assert_eq!(node.broker.drop_unclaimed(), COUNT);
    node.until("its blocks are free", || stored(&node) == 0).await.unwrap();
    node.close().unwrap();
    let (node, _) = open(&disk, Some(catalog)).unwrap();
    assert_eq!(node.broker.unclaimed_count(), 0);
    assert_eq!(node.queue("q").unwrap().counts().ready, 0);
    node.close().unwrap();
}

#[tokio::test]
async fn a_whole_catalog_takes_the_place_of_an_older_one() {
    let disk = CrashDisk::new(5);
    let (node, _) = open(&disk, Some(first_catalog().unwrap())).unwrap();
    for name in ["stays", "goes", "again"] {
        node.declare(name, true, &[]).await.unwrap();
        node.publish_safely(name, &messages(1..=3, 100)).await;
    }
    let mut newer = picture(&node);
    for command in [
        delete("goes"),
        delete("again"),
        declaration("again", true, FieldTable::new()),
        declaration("new", true, FieldTable::new()),
    ] {
        newer.apply(command, &mut Vec::new()).unwrap();
    }
    node.broker.install_catalog(Catalog::decode(&newer.encode()).unwrap());
    assert_eq!(picture(&node).encode(), newer.encode());
    assert_eq!(node.broker.queue_count(), 3);
    for (name, count) in [("stays", 3), ("again", 0), ("new", 0)] {
        assert_eq!(node.queue(name).unwrap().counts().ready, count, "{name}");
        node.publish_safely(name, &messages(9..=9, 100)).await;
    }
    node.close().unwrap();
    let (node, _) = open(&disk, Some(newer)).unwrap();
    assert_eq!(node.broker.unclaimed_count(), 0);
    assert_eq!(node.queue("again").unwrap().counts().ready, 1);
    node.close().unwrap();
}

fn delete(name: &str) -> Command {
    Command::DeleteQueue { vhost: crate::node::vhost(), name: name.into(), id: None }
}

#[tokio::test]
async fn the_clusters_log_is_asked_for_a_checkpoint() {
    let disk = CrashDisk::new(6);
    let (node, _) = open(&disk, Some(first_catalog().unwrap())).unwrap();
    let handle = node.broker.storage().unwrap().cluster_log();
    handle.append(vec![(EntryKind::Record, b"old".to_vec())], true);
    node.declare("q", true, &[]).await.unwrap();
    let first_file = log_files(&disk).remove(0);
    let asked = Arc::new(AtomicU64::new(0));
    let fill = async |from: u64, enough: &dyn Fn() -> bool| {
        let mut next = from;
        while !enough() && next < from + 2_000 {
            node.publish_safely("q", &messages(next..=next + 9, 1_000)).await;
            next += 10;
        }
    };
    // Asked before there is anybody: that is not forgotten.
    fill(1, &|| false).await;
    let (told, log) = (asked.clone(), handle.clone());
    node.broker.set_cluster_checkpoint(Arc::new(move || {
        told.fetch_add(1, Ordering::SeqCst);
        let kind = EntryKind::Snapshot { covers: log.last_sequence(), needs_from: None };
        log.append(vec![(kind, b"all".to_vec())], false);
    }));
    // At once for what was asked before; the log's own thread may have asked once more by now.
    assert!(asked.load(Ordering::SeqCst) >= 1);
    asked.store(0, Ordering::SeqCst);
    fill(5_000, &|| asked.load(Ordering::SeqCst) > 0).await;
    assert!(asked.load(Ordering::SeqCst) >= 1);
    // The queue has a checkpoint of its own to make before the file can go.
    fill(8_000, &|| !log_files(&disk).contains(&first_file)).await;
    let catalog = picture(&node);
    node.close().unwrap();
    let (node, found) = open(&disk, Some(catalog)).unwrap();
    assert_eq!(found.last().unwrap(), b"all");
    assert!(!found.contains(&b"old".to_vec()), "its file is gone");
    node.close().unwrap();
}

#[tokio::test]
async fn declares_are_published_together_and_what_takes_away_by_itself() {
    let disk = CrashDisk::new(9);
    let (node, _) = open(&disk, Some(first_catalog().unwrap())).unwrap();
    let names = |node: &Node| {
        let catalog = picture(node);
        catalog
            .vhosts
            .values()
            .flat_map(|vhost| vhost.queues.keys())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let declare = |name: &str| {
        let applied = node.broker.apply_committed(declaration(name, true, FieldTable::new()));
        assert!(applied.unwrap().changed());
    };
    declare("a");
    declare("b");
    assert!(names(&node).is_empty(), "not published yet");
    let vhost = types::VhostName::from("/");
    let delete = Command::DeleteQueue { vhost, name: "a".into(), id: None };
    node.broker.apply_committed(delete).unwrap();
    assert_eq!(names(&node), ["b"]);
    assert!(node.queue("b").is_some() && node.queue("a").is_none());
    // The name means another queue at once.
    declare("a");
    assert_eq!(names(&node), ["b"]);
    node.broker.publish_committed();
    assert_eq!(names(&node), ["a", "b"]);
    let version = picture(&node).version;
    node.broker.apply_committed(declaration("a", true, FieldTable::new())).unwrap();
    node.broker.publish_committed();
    assert_eq!(picture(&node).version, version, "nothing has changed");
    node.close().unwrap();
}
