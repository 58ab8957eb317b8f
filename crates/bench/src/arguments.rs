//! The command line.
//!
//! Invariant: what is wrong with an argument is found before the first connection, except what only /proc or the
//! resolver can tell.

use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::client::{Target, target};
use crate::crash;
use crate::error::{Error, Result};
use crate::load::measure::Pacing;
use crate::outcome::Outcome;
use crate::process::Pid;
use crate::scenario::{Scenario, cluster, limit, mirrors, persistent, restart_time};
use crate::suite;

/// A load generator for AMQP 0-9-1 brokers.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Scenario(Scenario),
    /// What this client reaches against a program that only parses, copies once and writes
    Limit(limit::Options),
    /// The table of figures the broker is held to, one target
    Suite(suite::Options),
    /// The same table for several targets, alternating between them
    Compare(Compare),
    /// Persistent messages with publisher confirms, windows of several sizes
    Persistent(persistent::Options),
    /// The same side by side for several targets, alternating between them
    ComparePersistent(ComparePersistent),
    /// How long a broker takes from its start to serving, by what it has on disk
    RestartTime(restart_time::Options),
    /// Three nodes as one: the cost of the way over other nodes, declares, joining
    Cluster(cluster::Options),
    /// Three nodes with mirrored queues: what a confirm costs, a failover, many idle ones
    Mirrors(mirrors::Options),
    /// Kill a broker again and again under load, and check that nothing it confirmed is lost
    Crash(crash::Options),
    #[command(hide = true)]
    LimitServe,
}

#[derive(Debug, Args)]
pub struct Common {
    #[arg(long, global = true, default_value = "127.0.0.1")]
    host: String,
    #[arg(long, global = true, default_value_t = 5672)]
    port: u16,
    #[arg(long, global = true, default_value = "guest")]
    user: String,
    #[arg(long, global = true, default_value = "guest")]
    password: String,
    #[arg(long, global = true, default_value = "/", value_parser = short_text)]
    vhost: String,
    /// The broker's process: its CPU time and memory are reported
    #[arg(long, global = true, conflicts_with = "pid_of")]
    pid: Option<u32>,
    /// Find the broker's process by its name
    #[arg(long, global = true, value_name = "NAME")]
    pid_of: Option<String>,
    /// Write the figures as JSON too; "-" for standard output (the table then goes to standard error)
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<String>,
    /// Seconds before the measured window
    #[arg(long, global = true, default_value_t = 1.0, value_parser = seconds)]
    warmup: f64,
    /// Seconds measured
    #[arg(long, global = true, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Seconds without any progress before a run is given up
    #[arg(long, global = true, default_value_t = 30.0, value_parser = seconds)]
    timeout: f64,
    /// How far publishers may be ahead of the consumers
    #[arg(long, global = true, default_value_t = 16 << 20, value_name = "BYTES")]
    in_flight_bytes: u64,
    /// Let publishers run ahead without a limit
    #[arg(long, global = true)]
    no_window: bool,
}

#[derive(Debug, Args)]
pub struct Compare {
    #[command(flatten)]
    pub targets: Targets,
    #[command(flatten)]
    pub suite: suite::Options,
}

#[derive(Debug, Args)]
pub struct ComparePersistent {
    #[command(flatten)]
    pub targets: Targets,
    #[command(flatten)]
    pub persistent: persistent::Options,
    /// How often each window is run for each target; the median of its rate is shown
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub rounds: u32,
}

#[derive(Debug, Args)]
pub struct Targets {
    /// A broker to compare: name=host:port or name=host:port,pid (a number or a process name); repeat it
    #[arg(long = "target", required = true, value_name = "NAME=HOST:PORT[,PID]")]
    targets: Vec<String>,
}

impl Targets {
    pub fn resolve(&self, like: &Target) -> Result<Vec<Target>> {
        let parse =
            |text: &String| target::parse(text).map(|(name, address, pid)| like.at(&name, address, pid));
        self.targets.iter().map(parse).collect()
    }
}

impl Common {
    pub fn pacing(&self) -> Pacing {
        Pacing {
            warmup: Duration::from_secs_f64(self.warmup),
            span: Duration::from_secs_f64(self.seconds),
            in_flight_bytes: (!self.no_window).then_some(self.in_flight_bytes),
        }
    }

    /// The broker named by `--host` and `--port`.
    pub fn target(&self) -> Result<Target> {
        let pid = match (&self.pid, &self.pid_of) {
            (Some(pid), _) => Some(Pid(*pid)),
            (None, Some(name)) => Some(Pid::of_name(name)?),
            (None, None) => None,
        };
        // A wrong number is better told now than after the run.
        pid.map(Pid::cpu_ns).transpose()?;
        Ok(Target { pid, ..self.any_target()? })
    }

    /// Credentials and limits, for targets whose address comes from elsewhere.
    pub fn any_target(&self) -> Result<Target> {
        Ok(Target {
            name: format!("{}:{}", self.host, self.port),
            address: target::resolve(&self.host, self.port)?,
            user: self.user.clone(),
            password: self.password.clone(),
            vhost: self.vhost.clone(),
            pid: None,
            timeout: Duration::from_secs_f64(self.timeout.max(0.1)),
            heeds_interrupt: true,
        })
    }

    /// Prints the table, and writes the JSON where it was asked for.
    pub fn show(&self, table: &str, outcomes: &[Outcome]) -> Result<()> {
        let json = Value::Array(outcomes.iter().map(Outcome::json).collect());
        let print = |out: &mut dyn Write, text: &str| {
            out.write_all(text.as_bytes()).map_err(|error| Error::io("printing the figures", &error))
        };
        match self.json.as_deref() {
            None => print(&mut io::stdout(), table),
            Some("-") => {
                print(&mut io::stderr(), table)?;
                print(&mut io::stdout(), &format!("{json:#}\n"))
            }
            Some(path) => {
                print(&mut io::stdout(), table)?;
                fs::write(path, format!("{json:#}\n")).map_err(|error| Error::io(path, &error))
            }
        }
    }
}

/// AMQP's short strings hold 255 bytes.
fn short_text(text: &str) -> std::result::Result<String, String> {
    if text.len() > 255 { Err("longer than 255 bytes".into()) } else { Ok(text.into()) }
}

/// A day is more than any run needs.
pub fn seconds(text: &str) -> std::result::Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    if (0.0..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("not within 0 and 86400".into()) }
}

/// A body that can hold the time it was sent at.
pub fn stamped_size(text: &str) -> std::result::Result<usize, String> {
    let size: usize = text.parse().map_err(|_| "not a number".to_string())?;
    if size >= 8 { Ok(size) } else { Err("latency needs bodies of 8 bytes or more".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_behind_the_scenario() {
        for line in [
            "bench --port 1 throughput --size 64",
            "bench throughput --size 64 --port 1",
            "bench suite --port 1 --vhost x",
            "bench compare --target a=127.0.0.1:1 --target b=127.0.0.1:2 --seconds 2",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for line in [
            "bench latency --size 7",
            "bench throughput --publishers 0",
            "bench throughput --seconds -1",
            "bench throughput --seconds nan",
            "bench throughput --pid 1 --pid-of x",
            "bench compare",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
