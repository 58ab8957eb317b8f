//! Nodes of a cluster, as processes of this run.
//!
//! Invariant: they are on 127.0.x.1 and up, addresses that belong to this run alone; they and their data go when it
//! ends.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::broker_process::{BrokerCommand, BrokerOptions, BrokerProcess, Ending};
use crate::client::Target;
use crate::error::{Error, Result};
use crate::process::Pid;

const AMQP_PORT: u16 = 5672;
const CLUSTER_PORT: u16 = 25672;

/// The nodes, from 0.
pub struct Nodes {
    like: Target,
    broker: PathBuf,
    dir: PathBuf,
    /// The second and third number of the addresses.
    net: (u32, u32),
    running: Vec<Option<BrokerProcess>>,
}

impl Nodes {
    /// None of them runs yet; `broker` is the program.
    pub fn new(like: &Target, broker: &Path) -> Result<Nodes> {
        let pid = std::process::id();
        let dir = std::env::temp_dir().join(format!("bench-cluster-{pid}"));
        fs::create_dir_all(&dir).map_err(|error| Error::io(dir.display().to_string(), &error))?;
        let net = (20 + pid % 200, 1 + pid / 200 % 250);
        Ok(Nodes { like: like.clone(), broker: broker.to_owned(), dir, net, running: Vec::new() })
    }

    /// Starts three nodes; the time until all serve clients, seconds.
    pub fn form(&mut self) -> Result<f64> {
        (0..3).try_for_each(|node| self.start(node))?;
        let formed = (0..3).map(|node| self.await_open(node)).collect::<Result<Vec<f64>>>()?;
        Ok(formed.into_iter().fold(0.0, f64::max))
    }

    /// A node that runs, to be ended.
    pub fn take(&mut self, node: usize) -> Option<BrokerProcess> {
        self.running.get_mut(node)?.take()
    }

    /// Memory of each node that runs, bytes.
    pub fn resident_bytes(&self) -> Result<Vec<u64>> {
        self.running.iter().flatten().map(|process| Pid(process.pid()).rss_bytes()).collect()
    }

    fn ip(&self, node: usize) -> String {
        format!("127.{}.{}.{}", self.net.0, self.net.1, node + 1)
    }

    /// Where a node, from 0, is reached.
    pub fn target(&self, node: usize) -> Result<Target> {
        let address = format!("{}:{AMQP_PORT}", self.ip(node)).parse::<SocketAddr>();
        let address = address.map_err(|_| Error::Input("address of a node".into()))?;
        Ok(self.like.at(&format!("n{}", node + 1), address, None))
    }

    fn command(&self, node: usize) -> Result<BrokerCommand> {
        let ip = self.ip(node);
        let join: Vec<String> = (0..3).map(|at| format!("{}:{CLUSTER_PORT}", self.ip(at))).collect();
        let text = format!(
            "{} --node-name n{} --data-dir {{data-dir}} --log-level warn --amqp-addr {ip}:{{port}} --http-addr none \
             --cluster-addr {ip}:{CLUSTER_PORT} --join {} --cluster-secret the-secret-of-a-measurement",
            self.broker.display(),
            node + 1,
            join.join(","),
        );
        let options = BrokerOptions { broker: None, broker_command: Some(text) };
        BrokerCommand::new(&options, &self.dir.join(format!("n{}", node + 1)), AMQP_PORT, 0)
    }

    /// Starts a node.
    pub fn start(&mut self, node: usize) -> Result<()> {
        let process = self.command(node)?.start()?;
        if self.running.len() <= node {
            self.running.resize_with(node + 1, || None);
        }
        self.running[node] = Some(process);
        Ok(())
    }

    /// Waits until a node serves a client; the time since its start, seconds.
    pub fn await_open(&mut self, node: usize) -> Result<f64> {
        let target = self.target(node)?;
        let log = self.command(node)?.log_tail();
        let Some(process) = self.running[node].as_mut() else { return Ok(0.0) };
        let opened = process.wait_until_open(&target);
        opened.map_err(|error| Error::Protocol(format!("node {}: {error}; {log}", node + 1)))?.close()?;
        Ok(process.started_at.elapsed().as_secs_f64())
    }

    /// CPU of all nodes together.
    pub fn cpu_ns(&self) -> Result<u64> {
        self.running.iter().flatten().map(|process| Pid(process.pid()).cpu_ns()).sum()
    }

    /// Ends the nodes; their data go.
    pub fn end(&mut self) {
        for process in self.running.iter_mut().filter_map(Option::take) {
            let _ = process.end(Ending::Stopped);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
