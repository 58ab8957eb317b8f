//! The broker's memory per connection that does nothing, with one channel open.
//!
//! Invariant: the difference of two readings of the resident set, after both have settled; a few connections come
//! before the first one, so that what the broker allocates once is not counted.

use std::thread;
use std::time::Duration;

use clap::Args;

use crate::client::{Connection, Target};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::load::measure::mib;
use crate::outcome::Outcome;
use crate::process;

const FIRST_COUNT: usize = 20;
/// Pid files, standard streams and the like.
const OTHER_FILES: u64 = 50;
const SETTLE: Duration = Duration::from_millis(1000);

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: u32,
}

pub fn run(target: &Target, options: &Options) -> Result<Outcome> {
    let pid = target.pid.ok_or_else(|| {
        Error::Input("idle-connections reads the broker's memory: give --pid or --pid-of".into())
    })?;
    let files_max = process::raise_open_files_max();
    if u64::from(options.count) + FIRST_COUNT as u64 + OTHER_FILES > files_max {
        return Err(Error::Input(format!("{} connections, but only {files_max} open files", options.count)));
    }
    let first = open(target, FIRST_COUNT)?;
    thread::sleep(SETTLE);
    let before_bytes = pid.rss_bytes()?;
    let rest = open(target, options.count as usize)?;
    thread::sleep(SETTLE);
    let after_bytes = pid.rss_bytes()?;
    for connection in first.into_iter().chain(rest) {
        connection.close()?;
    }
    thread::sleep(SETTLE);
    let mut outcome = Outcome::new("idle-connections", &target.name);
    outcome.parameter("count", options.count);
    let grown_bytes = after_bytes as f64 - before_bytes as f64;
    outcome.figure("broker_rss_kib_per_connection", grown_bytes / 1024.0 / f64::from(options.count));
    outcome.figure("broker_rss_mib_before", mib(before_bytes));
    outcome.figure("broker_rss_mib_open", mib(after_bytes));
    outcome.figure("broker_rss_mib_closed", mib(pid.rss_bytes()?));
    Ok(outcome)
}

fn open(target: &Target, count: usize) -> Result<Vec<Connection>> {
    let open_one = |at| {
        interrupt::check()?;
        // The usual reason is the broker's own limit of open files: the number tells.
        Connection::open(target)
            .map_err(|error| Error::Input(format!("connection {} of {count}: {error}", at + 1)))
    };
    (0..count).map(open_one).collect()
}
