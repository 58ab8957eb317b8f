//! Power cuts: what was answered is there, whatever the disks have lost of the rest.

use crate::cluster::{CLUSTER, Cluster, until};
use crate::net::Net;
use crate::node::{Making, Node, declare};
use clustering::catalog::Compaction;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage::CrashDisk;
use types::NodeId;

/// Small numbers at random, the same for each seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

struct Story {
    net: Net,
    making: Making,
    disks: Vec<CrashDisk>,
    nodes: Vec<Option<Node>>,
    answered: Arc<Mutex<BTreeSet<String>>>,
    count: u64,
}

impl Story {
    async fn begin(seed: u64, making: Making) -> Story {
        let net = Net::default();
        let disks: Vec<CrashDisk> = (0..3).map(|at| CrashDisk::new(seed * 3 + at)).collect();
        let mut nodes = Vec::new();
        for (at, disk) in disks.iter().enumerate() {
            let disk = Arc::new(disk.clone());
            nodes.push(Some(Node::start_on(disk, at as u64 + 1, Path::new("/data"), &net, &making).await));
        }
        let mut story = Story { net, making, disks, nodes, answered: Arc::default(), count: 0 };
        let first = story.nodes[0].as_ref().unwrap();
        first.group.form(CLUSTER).await.unwrap();
        for (at, node) in story.nodes.iter().enumerate().skip(1) {
            node.as_ref().unwrap().group.join(CLUSTER).await.unwrap();
            first.group.add_node(NodeId(at as u64 + 1)).await.unwrap();
        }
        story.settled().await;
        story.declare_some(5);
        story
    }

    async fn settled(&self) {
        until("all nodes vote, and have a leader and leases", || {
            self.nodes.iter().flatten().all(|node| {
                let status = node.group.status().unwrap();
                let votes = status.members.iter().filter(|member| member.votes).count();
                votes == 3 && !status.changing && node.leader().is_some() && node.group.lease_held()
            })
        })
        .await;
    }

    /// Declares on each node that is there, without waiting.
    fn declare_some(&mut self, each: u64) {
        for node in self.nodes.iter().flatten() {
            for _ in 0..each {
                self.count += 1;
                let (name, store) = (format!("q{}", self.count), node.store.clone());
                let answered = self.answered.clone();
                tokio::spawn(async move {
                    if store.propose(declare(&name)).await.is_ok() {
                        answered.lock().unwrap().insert(name);
                    }
                });
            }
        }
    }

    /// Takes power from a node, and gives what its disk has kept to its next start.
    fn cut(&mut self, at: usize) {
        let Some(node) = self.nodes[at].take() else { return };
        let left = self.disks[at].crash();
        self.disks[at] = left;
        node.drop_dead();
    }

    async fn start(&mut self, at: usize) {
        if self.nodes[at].is_none() {
            let disk = Arc::new(self.disks[at].clone());
            let id = at as u64 + 1;
            self.nodes[at] =
                Some(Node::start_on(disk, id, Path::new("/data"), &self.net, &self.making).await);
        }
    }

    /// Starts all nodes, and waits until some changes are answered.
    async fn all_well(&mut self) {
        for at in 0..3 {
            self.start(at).await;
        }
        self.settled().await;
        let count = |story: &Story| story.answered.lock().unwrap().len();
        let wanted = count(self) + 6;
        self.declare_some(2);
        until("changes are answered", || count(self) >= wanted).await;
    }
}

async fn powerless(seed: u64, making: Making) {
    let mut chance = Chance(seed);
    let mut story = Story::begin(seed, making).await;
    for round in 0..6 {
        if round % 2 == 0 {
            story.all_well().await;
        }
        story.declare_some(4);
        tokio::time::sleep(Duration::from_millis(chance.below(60))).await;
        match chance.below(4) {
            0 => (0..3).for_each(|at| story.cut(at)),
            _ => story.cut(chance.below(3) as usize),
        }
        story.declare_some(2);
        tokio::time::sleep(Duration::from_millis(chance.below(300))).await;
        for at in 0..3 {
            if chance.below(3) > 0 {
                story.start((at + chance.below(3) as usize) % 3).await;
            }
        }
    }
    story.all_well().await;
    let nodes: Vec<Node> = story.nodes.drain(..).flatten().collect();
    let cluster = Cluster { net: story.net.clone(), nodes, dirs: Vec::new(), making: story.making.clone() };
    cluster.same().await;
    let answered = story.answered.lock().unwrap().clone();
    assert!(answered.len() >= 24, "only {} changes were answered", answered.len());
    for name in &answered {
        assert!(cluster.nodes[0].target.has_queue(name), "seed {seed}: {name} was answered and is lost");
    }
    cluster.nodes.into_iter().for_each(Node::drop_dead);
}

#[tokio::test]
async fn what_was_answered_survives_power_cuts() {
    for seed in 1..=4 {
        powerless(seed, Making::default()).await;
    }
}

#[tokio::test]
async fn and_so_it_does_while_logs_are_made_shorter() {
    let compaction = Compaction { entries: 5, kept_entries: 2 };
    for seed in 11..=14 {
        powerless(seed, Making { compaction, ..Making::default() }).await;
    }
}

/// A node must not come back with less than it had, but if it does, the others live.
#[tokio::test]
async fn a_node_that_has_lost_its_data_does_not_bring_the_leader_down() {
    let mut story = Story::begin(21, Making::default()).await;
    story.all_well().await;
    let leader = story.nodes[0].as_ref().unwrap().leader().unwrap();
    let (at, keeper) = if leader == 1 { (1, 0) } else { (0, leader as usize - 1) };
    story.nodes[at].take().unwrap().drop_dead();
    story.disks[at] = CrashDisk::new(99);
    story.start(at).await;
    story.nodes[at].as_ref().unwrap().group.join(CLUSTER).await.unwrap();
    story.settled().await;
    story.all_well().await;
    let failure = story.nodes[keeper].as_ref().unwrap().group.status().unwrap().failure;
    assert_eq!(failure, None);
    story.nodes.into_iter().flatten().for_each(Node::drop_dead);
}
