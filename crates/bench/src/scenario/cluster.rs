//! Three nodes as one broker: what the way over other nodes costs, how fast definitions are agreed on, how soon
//! a node is back or new.
//!
//! Invariant: the nodes are processes of this run on 127.0.x.1 to 4; they and their data go when it ends. CPU is
//! that of all nodes together.

use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use clap::Args;

use super::many_queues::flood;
use super::nodes::Nodes;
use super::{latency, numbered};
use crate::broker_process::Ending;
use crate::client::{Connection, Queue, Target};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::load::batch::{Batch, Kind};
use crate::load::consumer::Consumer;
use crate::load::measure::{Load, Measured, Pacing, measure};
use crate::load::publisher::{Pace, Publisher};
use crate::load::unique_name;
use crate::outcome::{Outcome, number, table};

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The broker's program; it is given Leveret's flags
    #[arg(long, value_name = "PROGRAM")]
    pub broker: PathBuf,
    /// Body length in bytes
    #[arg(long, default_value_t = 16)]
    pub size: usize,
    /// Messages per second where latency is measured; 0 leaves it out
    #[arg(long, default_value_t = 1000)]
    pub rate: u64,
    /// Durable queues that are declared, with three bindings each; 0 leaves this out
    #[arg(long, default_value_t = 10_000)]
    pub definitions: u32,
    /// Connections that declare
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(3..=300))]
    pub channels: u32,
}

/// Where clients are, the queue being on the first node.
const PLACES: [(&str, usize, usize); 3] =
    [("all on one node", 0, 0), ("publish on another", 1, 0), ("publish and consume on others", 1, 2)];

/// Queues of one node that each get every message.
const FAN_OUT_QUEUES: usize = 10;

#[derive(Debug, Default)]
pub struct Report {
    outcomes: Vec<Outcome>,
    rows: Vec<Vec<String>>,
}

pub fn run(like: &Target, pacing: &Pacing, options: &Options) -> Result<Report> {
    let mut cluster = Cluster { nodes: Nodes::new(like, &options.broker)?, options: options.clone() };
    let outcome = cluster.figures(pacing);
    cluster.nodes.end();
    outcome
}

/// The nodes, and what is asked for.
struct Cluster {
    nodes: Nodes,
    options: Options,
}

impl Cluster {
    fn figures(&mut self, pacing: &Pacing) -> Result<Report> {
        let mut report = Report::default();
        let formed = self.nodes.form()?;
        report.add("three new nodes", "form_s", formed);
        for (name, publish, consume) in PLACES {
            interrupt::check()?;
            eprintln!("bench: {name}");
            let queue = self.queue()?;
            self.throughput(pacing, &queue, name, publish, consume, &mut report)?;
            if self.options.rate > 0 {
                self.latency(pacing, &queue, name, publish, consume, &mut report)?;
            }
            Connection::open(&self.nodes.target(0)?)?.delete(&queue)?;
        }
        self.fan_out(pacing, &mut report)?;
        if self.options.definitions > 0 {
            self.definitions(&mut report)?;
        }
        Ok(report)
    }

    /// A transient queue on the first node.
    fn queue(&self) -> Result<String> {
        let name = unique_name();
        let mut connection = Connection::open(&self.nodes.target(0)?)?;
        connection.declare(&name, &Queue::default())?;
        connection.close()?;
        Ok(name)
    }

    fn throughput(
        &self,
        pacing: &Pacing,
        queue: &str,
        name: &str,
        publish: usize,
        consume: usize,
        report: &mut Report,
    ) -> Result<()> {
        let names = [queue.to_owned()];
        let consumer = Consumer::open(&self.nodes.target(consume)?, &names, 0, |_, _| Ok(()))?;
        let make_batch = |connection: &Connection| {
            let kind = Kind {
                exchange: String::new(),
                persistent: false,
                body_bytes: self.options.size,
                frame_bytes_max: connection.frame_bytes_max,
            };
            Batch::new(&kind, &names)
        };
        let pace = Pace::Flood { confirm_window_msgs: 0 };
        let publisher = Publisher::open(&self.nodes.target(publish)?, make_batch, pace)?;
        let load = one_to_one(publisher, consumer);
        let (cpu_before, began) = (self.nodes.cpu_ns()?, Instant::now());
        let measured = measure(&self.nodes.target(publish)?, pacing, load, false)?;
        let (cpu_ns, span) = (self.nodes.cpu_ns()? - cpu_before, began.elapsed().as_secs_f64());
        let rate = measured.window.received as f64 / measured.window.seconds;
        report.add(name, "messages_per_s", rate);
        report.add(name, "cpu_us_per_message", cpu_ns as f64 / 1e3 / (rate * span).max(1.0));
        Ok(())
    }

    fn latency(
        &self,
        pacing: &Pacing,
        queue: &str,
        name: &str,
        publish: usize,
        consume: usize,
        report: &mut Report,
    ) -> Result<()> {
        let names = [queue.to_owned()];
        let options = latency::Options { rate: self.options.rate, size: 100 };
        let consumer = Consumer::open(&self.nodes.target(consume)?, &names, 0, |_, _| Ok(()))?;
        let publisher = latency::timed_publisher(&self.nodes.target(publish)?, "", &names, &options)?;
        let load = one_to_one(publisher, consumer);
        let measured: Measured = measure(&self.nodes.target(publish)?, pacing, load, true)?;
        for (figure, share) in [("latency_p50_us", 0.5), ("latency_p99_us", 0.99)] {
            report.add(name, figure, measured.latency_ns.quantile(share) as f64 / 1e3);
        }
        Ok(())
    }

    /// A fanout exchange whose publisher is on the second node, its queues and their consumers on the first.
    fn fan_out(&self, pacing: &Pacing, report: &mut Report) -> Result<()> {
        interrupt::check()?;
        eprintln!("bench: fan-out to {FAN_OUT_QUEUES} queues of one other node");
        let (exchange, home) = (unique_name(), self.nodes.target(0)?);
        let queues = numbered(&exchange, FAN_OUT_QUEUES, "");
        let consumers = Consumer::share(&home, &queues, 2, 0, |connection, queue| {
            connection.declare_exchange(&exchange, "fanout")?;
            connection.bind(queue, &exchange, "")
        })?;
        let publishers = flood(&self.nodes.target(1)?, &exchange, &[String::new()], self.options.size, 1)?;
        let load = Load { publishers, consumers, deliveries_per_publish: FAN_OUT_QUEUES as u64 };
        let (cpu_before, began) = (self.nodes.cpu_ns()?, Instant::now());
        let measured = measure(&self.nodes.target(1)?, pacing, load, false)?;
        let (cpu_ns, span) = (self.nodes.cpu_ns()? - cpu_before, began.elapsed().as_secs_f64());
        let rate = measured.window.received as f64 / measured.window.seconds;
        let name = "fan-out to ten queues of another";
        report.add(name, "deliveries_per_s", rate);
        report.add(name, "cpu_us_per_delivery", cpu_ns as f64 / 1e3 / (rate * span).max(1.0));
        Ok(())
    }

    /// Declares through all nodes at once, while one node is away; then has that node and a new one come.
    fn definitions(&mut self, report: &mut Report) -> Result<()> {
        let queues = self.options.definitions;
        eprintln!("bench: {queues} queues and {} bindings", u64::from(queues) * 3);
        let seconds = self.declare("first", queues, &[0, 1, 2])?;
        report.add("declares, three nodes", "declares_per_s", f64::from(queues) / seconds);
        if let Some(process) = self.nodes.take(2) {
            process.end(Ending::Killed)?;
        }
        eprintln!("bench: the same again with one node away");
        let seconds = self.declare("second", queues, &[0, 1])?;
        report.add("declares, one node away", "declares_per_s", f64::from(queues) / seconds);
        self.nodes.start(2)?;
        let back = self.nodes.await_open(2)?;
        report.add("a node that was away", "back_s", back);
        self.nodes.start(3)?;
        let joined = self.nodes.await_open(3)?;
        report.add("a new node", "joins_s", joined);
        Ok(())
    }

    fn declare(&self, prefix: &str, queues: u32, nodes: &[usize]) -> Result<f64> {
        let names = numbered(prefix, queues as usize, "");
        let channels = self.options.channels as usize;
        let targets =
            (0..channels).map(|at| self.nodes.target(nodes[at % nodes.len()])).collect::<Result<Vec<_>>>()?;
        let began = Instant::now();
        thread::scope(|scope| {
            let workers: Vec<_> = targets
                .iter()
                .enumerate()
                .map(|(at, target)| {
                    let mine: Vec<&String> = names.iter().skip(at).step_by(channels).collect();
                    scope.spawn(move || declare_all(target, &mine))
                })
                .collect();
            for worker in workers {
                worker.join().map_err(|_| Error::Protocol("a declaring thread panicked".into()))??;
            }
            Ok(began.elapsed().as_secs_f64())
        })
    }
}

fn one_to_one(publisher: Publisher, consumer: Consumer) -> Load {
    Load { publishers: vec![publisher], consumers: vec![consumer], deliveries_per_publish: 1 }
}

fn declare_all(target: &Target, names: &[&String]) -> Result<()> {
    let mut connection = Connection::open(target)?;
    for name in names {
        interrupt::check()?;
        connection.declare(name, &Queue::durable())?;
        for exchange in ["amq.direct", "amq.topic", "amq.fanout"] {
            connection.bind_no_wait(name, exchange, name)?;
        }
    }
    connection.sync()?;
    connection.close()
}

impl Report {
    /// One more figure.
    pub fn add(&mut self, what: &str, figure: &str, value: f64) {
        let mut outcome = Outcome::new("cluster", "three nodes");
        outcome.parameter("what", what);
        outcome.figure(figure, value);
        self.outcomes.push(outcome);
        self.rows.push(vec![what.to_owned(), figure.to_owned(), number(value)]);
    }

    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    pub fn table(&self) -> String {
        let head = ["what", "figure", "value"].map(str::to_owned).to_vec();
        table(&[vec![head], self.rows.clone()].concat())
    }
}
