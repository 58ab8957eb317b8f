//! Mirrored queues of three nodes: what a confirm costs, how soon others serve when the home is killed, what many
//! of them cost when nothing happens.
//!
//! Invariant: the queues are quorum queues, so that every node has a copy of each; the nodes are processes of this run.
//! CPU is that of all nodes together.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::cluster::Report;
use super::nodes::Nodes;
use super::{numbered, persistent, throughput};
use crate::broker_process::Ending;
use crate::client::{Connection, Queue, Target};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::load::measure::Pacing;

const KIND: &str = "quorum";

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The broker's program; it is given Leveret's flags
    #[arg(long, value_name = "PROGRAM")]
    pub broker: PathBuf,
    /// At most so many unconfirmed messages; each is measured for --seconds
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000,10000")]
    pub windows: Vec<u64>,
    /// Queues on the node that is killed
    #[arg(long, default_value_t = 1_000)]
    pub failover: u32,
    /// Queues that do nothing; 0 leaves this out
    #[arg(long, default_value_t = 10_000)]
    pub idle: u32,
    /// Connections that declare and look
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub channels: u32,
}

pub fn run(like: &Target, pacing: &Pacing, options: &Options) -> Result<Report> {
    let mut nodes = Nodes::new(like, &options.broker)?;
    let outcome = figures(&mut nodes, pacing, options);
    nodes.end();
    outcome
}

fn figures(nodes: &mut Nodes, pacing: &Pacing, options: &Options) -> Result<Report> {
    let mut report = Report::default();
    nodes.form()?;
    for window in &options.windows {
        for (what, queue_type) in [("on one node", None), ("on three nodes", Some(KIND.to_owned()))] {
            interrupt::check()?;
            eprintln!("bench: {what}, {window} unconfirmed");
            let options = throughput::Options { queue_type, ..persistent::options(*window) };
            let (cpu, began) = (nodes.cpu_ns()?, Instant::now());
            let outcome = throughput::run(&nodes.target(0)?, pacing, &options)?;
            let (cpu, span) = (nodes.cpu_ns()? - cpu, began.elapsed().as_secs_f64());
            let name = format!("{what}, window {window}");
            let rate = outcome.get("confirmed_msgs_per_s").unwrap_or(0.0);
            report.add(&name, "confirmed_msgs_per_s", rate);
            report.add(&name, "confirm_us_p50", outcome.get("confirm_us_p50").unwrap_or(0.0));
            report.add(&name, "confirm_us_p99", outcome.get("confirm_us_p99").unwrap_or(0.0));
            report.add(&name, "cpu_us_per_message", cpu as f64 / 1e3 / (rate * span).max(1.0));
        }
    }
    if options.idle > 0 {
        idle(nodes, options, &mut report)?;
    }
    failover(nodes, options, &mut report)?;
    Ok(report)
}

/// Does something with each queue, over several connections to a node.
fn each(
    target: &Target,
    names: &[String],
    connections: u32,
    act: impl Fn(&mut Connection, &str) -> Result<()> + Sync,
) -> Result<()> {
    let act = &act;
    thread::scope(|scope| {
        let connections = connections as usize;
        let workers: Vec<_> = (0..connections)
            .map(|at| {
                scope.spawn(move || {
                    let mut connection = Connection::open(target)?;
                    for name in names.iter().skip(at).step_by(connections) {
                        interrupt::check()?;
                        act(&mut connection, name)?;
                    }
                    connection.close()
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| Error::Protocol("a thread of the load panicked".into()))?
        })
    })
}

fn declare(target: &Target, names: &[String], connections: u32) -> Result<()> {
    let queue = Queue { kind: Some(KIND.to_owned()), ..Queue::durable() };
    each(target, names, connections, |connection, name| connection.declare(name, &queue).map(drop))
}

/// Many queues in which nothing happens.
fn idle(nodes: &Nodes, options: &Options, report: &mut Report) -> Result<()> {
    eprintln!("bench: {} mirrored queues that do nothing", options.idle);
    let names = numbered("idle", options.idle as usize, "");
    let before = nodes.resident_bytes()?;
    let began = Instant::now();
    declare(&nodes.target(0)?, &names, options.channels)?;
    let what = format!("{} idle mirrored queues", options.idle);
    report.add(&what, "declares_per_s", f64::from(options.idle) / began.elapsed().as_secs_f64());
    // What is given back after the work is not counted.
    thread::sleep(Duration::from_secs(5));
    let grown = nodes
        .resident_bytes()?
        .iter()
        .zip(&before)
        .map(|(after, before)| after.saturating_sub(*before))
        .max();
    report.add(&what, "kib_per_queue_and_node", grown.unwrap_or(0) as f64 / 1024.0 / f64::from(options.idle));
    let (cpu, began) = (nodes.cpu_ns()?, Instant::now());
    thread::sleep(Duration::from_secs(10));
    let share = (nodes.cpu_ns()? - cpu) as f64 / 3.0 / began.elapsed().as_nanos() as f64;
    report.add(&what, "percent_of_a_core_per_node", 100.0 * share);
    each(&nodes.target(1)?, &names, options.channels, Connection::delete)
}

/// The home of many queues is killed.
fn failover(nodes: &mut Nodes, options: &Options, report: &mut Report) -> Result<()> {
    eprintln!("bench: the home of {} mirrored queues is killed", options.failover);
    let names = numbered("failover", options.failover as usize, "");
    declare(&nodes.target(0)?, &names, options.channels)?;
    let look = |connection: &mut Connection, name: &str| connection.ready_messages(name).map(drop);
    each(&nodes.target(1)?, &names, options.channels, look)?;
    let began = Instant::now();
    if let Some(process) = nodes.take(0) {
        process.end(Ending::Killed)?;
    }
    each(&nodes.target(1)?, &names, options.channels, look)?;
    let what = format!("{} mirrored queues, home killed", options.failover);
    report.add(&what, "all_served_after_s", began.elapsed().as_secs_f64());
    Ok(())
}
