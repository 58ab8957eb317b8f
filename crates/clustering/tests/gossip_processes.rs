//! Gossip with real processes that are killed and paused, and with threads that keep all cores busy. The long
//! tests measure: `cargo test -p clustering --test gossip_processes -- --ignored --nocapture`.

mod gossiping;

use clustering::gossip::Liveness;
use gossiping::{Node, sees, sees_down, socket, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use types::NodeId;

const SEED: &str = "LEVERET_TEST_GOSSIP_SEED";
const ID: NodeId = NodeId(9);

/// Busy cores are for one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A process that runs one node, and dies with this one.
struct Process(Child);

impl Process {
    fn start(seed: SocketAddr) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_node_in_a_process_of_its_own", "--ignored", "--nocapture"])
            .env(SEED, seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("node is running")));
        Process(child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "is the process that other tests of this file start"]
fn one_node_in_a_process_of_its_own() {
    let Ok(seed) = std::env::var(SEED) else { return };
    let node = Node::start(ID.0, u64::from(std::process::id()), socket(), &[seed.parse().unwrap()]);
    println!("\nnode is running");
    let mut end = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut end);
    node.gossip.stop();
}

fn state(node: &Node) -> Option<Liveness> {
    node.gossip.member(ID).map(|member| member.state)
}

fn two_and_a_process() -> (Vec<Node>, Process) {
    let one = Node::start(1, 1, socket(), &[]);
    let other = Node::start(2, 2, socket(), &[one.addr]);
    let process = Process::start(one.addr);
    let nodes = vec![one, other];
    wait("all are up", || nodes.iter().all(|node| sees(node, &nodes) && state(node) == Some(Liveness::Up)));
    (nodes, process)
}

fn wait_for(nodes: &[Node], wanted: Liveness) -> Duration {
    wait("the state", || nodes.iter().all(|node| state(node) == Some(wanted)))
}

#[test]
fn a_killed_process_is_down_and_its_next_one_up() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (nodes, process) = two_and_a_process();
    process.signal(Signal::KILL);
    let took = wait_for(&nodes, Liveness::Down);
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    let _next = Process::start(nodes[1].addr);
    let took = wait_for(&nodes, Liveness::Up);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_paused_process_is_down_and_comes_back() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (nodes, process) = two_and_a_process();
    process.signal(Signal::STOP);
    let took = wait_for(&nodes, Liveness::Down);
    assert!(took < Duration::from_secs(3), "{took:?}");
    process.signal(Signal::CONT);
    let took = wait_for(&nodes, Liveness::Up);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// Threads that compute without a pause, at the niceness of gossip's threads.
struct Busy(Arc<AtomicBool>, Vec<JoinHandle<u64>>);

impl Busy {
    fn start(count: usize, niceness: i32) -> Busy {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count).map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let _ = rustix::process::setpriority_process(None, niceness);
                let mut sum = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    sum = std::hint::black_box(sum.wrapping_mul(31).rotate_left(7));
                }
                sum
            })
        });
        let threads = threads.collect();
        Busy(stop, threads)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        for thread in self.1.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Nobody is shown as down for a time; tells how often somebody was suspected.
fn nobody_is_down_for(time: Duration, busy: usize, niceness: i32) -> u64 {
    let nodes = gossiping::three();
    wait("all see all", || nodes.iter().all(|node| sees(node, &nodes)));
    let _busy = Busy::start(busy, niceness);
    let mut suspected = 0;
    let mut changes: Vec<_> = nodes.iter().map(|node| node.gossip.changes()).collect();
    let start = Instant::now();
    while start.elapsed() < time {
        for (node, changes) in nodes.iter().zip(&mut changes) {
            if changes.has_changed().unwrap() {
                changes.mark_unchanged();
                for member in node.gossip.members() {
                    assert_ne!(member.state, Liveness::Down, "{member:?} after {:?}", start.elapsed());
                    suspected += u64::from(member.state == Liveness::Suspect);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    suspected
}

#[test]
fn busy_cores_bring_nobody_down() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    nobody_is_down_for(Duration::from_secs(4), 4, -10);
}

#[test]
#[ignore = "takes 3 minutes"]
fn busy_cores_bring_nobody_down_for_long() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (busy, niceness) in [(2, 0), (8, 0), (8, -10)] {
        let suspected = nobody_is_down_for(Duration::from_secs(60), busy, niceness);
        println!("{busy} busy threads of niceness {niceness}: suspected {suspected} times, down never");
    }
}

fn measure(name: &str, rounds: usize, signal: Signal) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|round| {
            let (nodes, process) = two_and_a_process();
            // Not always at the same moment of the probes' round.
            let start = Instant::now();
            let pause = Duration::from_millis(450 * round as u64 / rounds as u64);
            wait("the moment", || start.elapsed() >= pause);
            process.signal(signal);
            let took = wait_for(&nodes, Liveness::Down);
            assert!(sees(&nodes[0], &nodes) && !sees_down(&nodes[1], &nodes[0]));
            took
        })
        .collect();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{name}: {rounds} times, p50 {:?}, p90 {:?}, p99 {:?}, max {:?}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    times
}

#[test]
#[ignore = "takes 8 minutes"]
fn how_long_it_takes_to_notice() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let idle = measure("killed, idle", 100, Signal::KILL);
    assert!(idle[98] < Duration::from_millis(1_500), "{idle:?}");
    let paused = measure("paused, idle", 50, Signal::STOP);
    assert!(paused[49] < Duration::from_secs(3), "{paused:?}");
    let _busy = Busy::start(4, 0);
    let busy = measure("killed, 4 busy threads", 100, Signal::KILL);
    assert!(busy[98] < Duration::from_millis(1_500), "{busy:?}");
}
