//! Several brokers as one cluster, for one test: processes on loopback addresses of their own.
//!
//! Invariant: the addresses belong to this test alone (127.a.b.n, from the test process and a counter), so nodes
//! can be told of each other before they run.

use crate::binary::broker_binary;
use crate::client::Client;
use crate::hosts::{Hosts, in_own_network};
use crate::process::{Broker, run_to_end};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What the nodes of a test's cluster know.
pub const SECRET: &str = "the secret of a test's cluster";

/// Whether tests for one broker are to run against a cluster: set by `LEVERET_TEST_CLUSTER=1`, or `=mirrored` for one in
/// which every queue has mirrors on all nodes.
pub(crate) fn clustered() -> bool {
    std::env::var_os("LEVERET_TEST_CLUSTER").is_some_and(|value| value == "1" || value == "mirrored")
}

/// Whether every queue of such a cluster is to have mirrors.
fn mirrored() -> bool {
    std::env::var_os("LEVERET_TEST_CLUSTER").is_some_and(|value| value == "mirrored")
}

/// A cluster of processes.
pub struct Cluster {
    nodes: Vec<Option<Broker>>,
    places: Vec<Place>,
    /// Nodes that everybody is told of; those that are added later are not.
    founders: usize,
    flags: Vec<String>,
    /// Machines of their own for the nodes; None: all are on this one.
    hosts: Option<Hosts>,
}

/// What a node keeps from one start to the next.
#[derive(Clone)]
struct Place {
    name: String,
    addr: String,
    data_dir: PathBuf,
}

fn places(count: usize) -> Vec<Place> {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let (pid, number) = (std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
    let (a, b) = (10 + pid % 200, (pid / 200 * 7 + number) % 250);
    let nodes = (1..=count).map(|node| Place {
        name: format!("n{node}"),
        addr: format!("127.{a}.{b}.{node}:25672"),
        data_dir: std::env::temp_dir().join(format!("leveret-cluster-{pid}-{number}-{node}")),
    });
    nodes.collect()
}

/// The `node`-th node's place in the network of the first.
fn place_beside(first: &Place, node: usize) -> Place {
    let (network, port) = first.addr.split_once(".1:").expect("the first node's address");
    let dir = first.data_dir.to_string_lossy();
    let dir = dir.strip_suffix("-1").expect("the first node's directory");
    Place {
        name: format!("n{node}"),
        addr: format!("{network}.{node}:{port}"),
        data_dir: PathBuf::from(format!("{dir}-{node}")),
    }
}

/// Runs a test against three nodes that have formed a cluster.
pub fn with_cluster(test: impl AsyncFnOnce(&mut Cluster)) {
    with_cluster_of(3, &[], test);
}

/// Runs a test against three nodes, each on a host of its own that can be cut off from others.
pub fn with_hosts(flags: &[&str], test: impl AsyncFnOnce(&mut Cluster) + Send) {
    in_own_network(|| {
        let mut cluster = Cluster::new(3, flags);
        // Clients are not on the hosts' loopback.
        cluster.flags.extend(["--loopback-users".to_owned(), String::new()]);
        let hosts = Hosts::new(3);
        for (at, place) in cluster.places.iter_mut().enumerate() {
            place.addr = format!("{}:25672", hosts.ip(at));
        }
        cluster.hosts = Some(hosts);
        run(cluster, test);
    });
}

/// Runs a test against so many nodes, started with more flags.
pub fn with_cluster_of(count: usize, flags: &[&str], test: impl AsyncFnOnce(&mut Cluster)) {
    run(Cluster::new(count, flags), test);
}

fn run(mut cluster: Cluster, test: impl AsyncFnOnce(&mut Cluster)) {
    cluster.start_all();
    run_to_end(test(&mut cluster));
    cluster.finish();
}

impl Cluster {
    /// Nodes that are not started yet.
    pub fn new(count: usize, flags: &[&str]) -> Cluster {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let nodes = (0..count).map(|_| None).collect();
        Cluster { nodes, places: places(count), founders: count, flags, hosts: None }
    }

    /// Three nodes that a test for one broker takes for one: clients talk to the first, queues live anywhere.
    pub(crate) fn as_one(flags: &[&str]) -> Broker {
        let mut cluster = Cluster::new(3, flags);
        cluster.flags.extend(["--queue-leader-locator".to_owned(), "random".to_owned()]);
        cluster.start_all();
        // Each process looks after its own directory.
        let mut nodes = std::mem::take(&mut cluster.nodes).into_iter().flatten();
        cluster.places.clear();
        let mut first = nodes.next().expect("three nodes run");
        if mirrored() {
            first.mirror_all();
        }
        first.others = nodes.collect();
        first
    }

    /// One more node, which is told of the others and they not of it; gives where it stands.
    pub fn add(&mut self) -> usize {
        let place = place_beside(&self.places[0], self.places.len() + 1);
        self.places.push(place);
        self.nodes.push(None);
        self.places.len() - 1
    }

    fn join(&self) -> String {
        self.places.iter().take(self.founders).map(|place| place.addr.clone()).collect::<Vec<_>>().join(",")
    }

    /// The flags that node `at` (from 0) is started with.
    pub fn flags_of(&self, at: usize) -> Vec<String> {
        let place = &self.places[at];
        let own = ["--node-name", &place.name, "--cluster-addr", &place.addr, "--cluster-secret", SECRET];
        let mut flags: Vec<String> = own.iter().map(|flag| (*flag).to_owned()).collect();
        flags.extend(["--join".to_owned(), self.join()]);
        flags.extend(self.flags.iter().cloned());
        flags
    }

    fn command(&self, at: usize) -> Command {
        let (place, flags) = (&self.places[at], self.flags_of(at));
        let Some(hosts) = &self.hosts else {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            return Broker::command_in(&place.data_dir, &flags);
        };
        let any_port = format!("{}:0", hosts.ip(at));
        let mut command = hosts.enter(at);
        command.arg(broker_binary()).args(["--amqp-addr", &any_port, "--http-addr", &any_port, "--data-dir"]);
        command.arg(&place.data_dir).args(flags);
        Broker::prepared(command)
    }

    /// The hosts that the nodes are on.
    pub fn hosts(&self) -> &Hosts {
        self.hosts.as_ref().expect("the nodes are on hosts of their own")
    }

    /// Starts all nodes that do not run, at once, and waits until they serve clients.
    pub fn start_all(&mut self) {
        let missing: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_none()).collect();
        self.start_some(&missing);
    }

    /// Starts these nodes at once and waits until they serve clients.
    pub fn start_some(&mut self, which: &[usize]) {
        let starts = which.iter().map(|at| (*at, self.places[*at].data_dir.clone(), self.command(*at)));
        let starts: Vec<_> = starts.collect();
        let started: Vec<(usize, Broker)> = std::thread::scope(|scope| {
            let start = |(at, dir, command)| scope.spawn(move || (at, Broker::run(command, dir)));
            let threads: Vec<_> = starts.into_iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join().expect("a node starts")).collect()
        });
        for (at, broker) in started {
            self.nodes[at] = Some(broker);
        }
    }

    /// Node `at`, from 0; it must run.
    pub fn node(&self, at: usize) -> &Broker {
        self.nodes[at].as_ref().expect("the node runs")
    }

    /// The name of node `at`.
    pub fn name(&self, at: usize) -> &str {
        &self.places[at].name
    }

    /// Where node `at` is reached by others.
    pub fn addr(&self, at: usize) -> &str {
        &self.places[at].addr
    }

    /// A lapin connection to node `at`.
    pub async fn connect(&self, at: usize) -> Client {
        self.node(at).connect().await
    }

    /// Ends node `at`; what it leaves stays. SIGKILL ends it at once, any other signal in order.
    pub fn end(&mut self, at: usize, signal: i32) {
        let mut broker = self.nodes[at].take().expect("the node runs");
        broker.end(signal);
        broker.keep_data();
    }

    /// Waits until node `at` has ended by itself; gives its exit code and its log. What it leaves stays.
    pub fn ended(&mut self, at: usize) -> (Option<i32>, String) {
        let mut broker = self.nodes[at].take().expect("the node runs");
        broker.keep_data();
        broker.ended()
    }

    /// The command that starts node `at` on its data, with more flags.
    pub fn command_with(&self, at: usize, flags: &[&str]) -> Command {
        assert!(self.nodes[at].is_none(), "the node runs");
        let mut command = self.command(at);
        command.args(flags);
        command
    }

    /// Takes the data of a node that was ended away.
    pub fn wipe(&mut self, at: usize) {
        assert!(self.nodes[at].is_none(), "the node runs");
        std::fs::remove_dir_all(&self.places[at].data_dir).expect("the data directory was there");
    }

    /// The data directory of node `at`, whether it runs or not.
    pub fn data_dir(&self, at: usize) -> &Path {
        &self.places[at].data_dir
    }

    /// Gives a node that was ended another address.
    pub fn move_to(&mut self, at: usize, addr: &str) {
        assert!(self.nodes[at].is_none(), "the node runs");
        self.places[at].addr = addr.to_owned();
    }

    /// Ends all nodes and proves that they were well.
    fn finish(mut self) {
        for node in &mut self.nodes {
            if let Some(mut broker) = node.take() {
                broker.end(libc::SIGTERM);
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        for place in &self.places {
            // Some were never started.
            let _ = std::fs::remove_dir_all(&place.data_dir);
        }
    }
}

/// How long a survivor may take to notice a lost node, and what follows from it.
pub const NOTICE: Duration = Duration::from_secs(5);
