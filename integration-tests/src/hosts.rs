//! Hosts in network namespaces that the test has made: each with an address of its own on one bridge, so that
//! what one hears of another can be cut.
//!
//! Invariant: all of it lives in a namespace of the test's own thread and goes with it; the names of the hosts
//! are taken back at the end. The test's clients reach every host whatever is cut.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// An address that no machine has.
const NOBODY: &str = "02:00:00:00:77:ff";

/// Machines with names of their own.
pub struct Hosts {
    names: Vec<String>,
}

/// Runs a command of the system, which must succeed.
fn run(words: &[&str]) {
    let done = Command::new(words[0]).args(&words[1..]).output();
    let done = done.unwrap_or_else(|error| panic!("{} cannot be run: {error}", words[0]));
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Runs `test` on a thread in a network namespace of its own. Where this is not allowed the test is left out, and
/// that is said: it needs root or the right to make namespaces.
pub(crate) fn in_own_network(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: it changes nothing but the network that this thread sees.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                eprintln!("left out: network namespaces need root");
                return;
            }
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

impl Hosts {
    /// Makes so many hosts; the thread must be in a network namespace of its own.
    pub(crate) fn new(count: usize) -> Hosts {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = |host| format!("leveret-{}-{number}-{host}", std::process::id());
        let hosts = Hosts { names: (1..=count).map(name).collect() };
        run(&["ip", "link", "set", "lo", "up"]);
        run(&["ip", "link", "add", "hub", "type", "bridge"]);
        run(&["ip", "addr", "add", "10.77.0.254/24", "dev", "hub"]);
        run(&["ip", "link", "set", "hub", "up"]);
        for (at, name) in hosts.names.iter().enumerate() {
            let port = format!("port{at}");
            run(&["ip", "netns", "add", name]);
            run(&["ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", name]);
            run(&["ip", "link", "set", &port, "master", "hub", "up"]);
            run(&["ip", "-n", name, "link", "set", "lo", "up"]);
            run(&["ip", "-n", name, "addr", "add", &format!("{}/24", hosts.ip(at)), "dev", "eth0"]);
            run(&["ip", "-n", name, "link", "set", "eth0", "up"]);
        }
        hosts
    }

    /// The address of host `at`, from 0.
    pub fn ip(&self, at: usize) -> String {
        format!("10.77.0.{}", at + 1)
    }

    /// What a command has to begin with to run on host `at`.
    pub(crate) fn enter(&self, at: usize) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[at]]);
        command
    }

    /// From now on `to` hears nothing of `from`: what `from` sends there goes to a machine that does not exist.
    pub fn deafen(&self, to: usize, from: usize) {
        let (from, to) = (&self.names[from], self.ip(to));
        run(&[
            "ip",
            "-n",
            from,
            "neigh",
            "replace",
            &to,
            "lladdr",
            NOBODY,
            "dev",
            "eth0",
            "nud",
            "permanent",
        ]);
    }

    /// From now on neither hears of the other.
    pub fn part(&self, one: usize, other: usize) {
        self.deafen(one, other);
        self.deafen(other, one);
    }

    /// All hear all again.
    pub fn heal(&self) {
        for name in &self.names {
            run(&["ip", "-n", name, "neigh", "flush", "dev", "eth0", "nud", "permanent"]);
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            // Not all may have been made.
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}
