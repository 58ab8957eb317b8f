//! How the broker's memory grows with a backlog of persistent messages.
//!
//! Invariant: memory is read when so many messages are confirmed, not when they are written.

use clap::Args;

use super::fill_drain::{self, Fill};
use crate::client::{Connection, Queue, Target};
use crate::error::{Error, Result};
use crate::load::leftovers::Leftovers;
use crate::load::measure::mib;
use crate::load::unique_name;
use crate::outcome::Outcome;

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[arg(long, default_value_t = 100_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    pub messages: u64,
    /// Body length in bytes
    #[arg(long, default_value_t = 100, value_parser = crate::arguments::stamped_size)]
    pub size: usize,
    /// At most so many unconfirmed messages
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub confirm_window: u64,
    /// Memory is reported whenever so many more messages are confirmed
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub report_every: u64,
}

pub fn run(target: &Target, options: &Options) -> Result<Outcome> {
    let pid = target.pid.ok_or_else(|| Error::Input("backlog-memory needs --pid or --pid-of".into()))?;
    let name = unique_name();
    let mut leftovers = Leftovers::new(target);
    leftovers.queue(&name);
    let mut control = Connection::open(target)?;
    control.declare(&name, &Queue::durable())?;
    let before = pid.rss_bytes()?;
    let (mut next, mut rss_max, mut steps) = (options.report_every, before, Vec::new());
    let fill = Fill { messages: options.messages, size: options.size, window: options.confirm_window };
    let look = |confirmed: u64, rss: Option<u64>| {
        let rss = rss.unwrap_or(0);
        rss_max = rss_max.max(rss);
        if confirmed >= next {
            next = (confirmed / options.report_every + 1) * options.report_every;
            eprintln!("bench: {confirmed} messages, {:.1} MiB", mib(rss));
            steps.push((confirmed / options.report_every * options.report_every, rss));
        }
    };
    let window = fill.run(target, &name, look)?;
    let full = pid.rss_bytes()?;
    control.close()?;
    let mut outcome = Outcome::new("backlog-memory", &target.name);
    outcome.parameter("messages", options.messages);
    outcome.parameter("size", options.size);
    fill_drain::report(&mut outcome, "fill", options.messages, window);
    outcome.figure("broker_rss_mib_before", mib(before));
    for (messages, rss) in steps {
        outcome.figure(format!("broker_rss_mib_at_{messages}_msgs"), mib(rss));
    }
    outcome.figure("broker_rss_mib_max", mib(rss_max));
    outcome.figure("broker_rss_mib_full", mib(full));
    outcome.figure("broker_rss_bytes_per_msg", (full as f64 - before as f64) / options.messages as f64);
    Ok(outcome)
}
