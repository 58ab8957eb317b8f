//! Persistent messages to a durable queue, with confirms in windows of several sizes.
//!
//! Invariant: each window is the throughput scenario with the same other options, on a queue of its own.

use clap::Args;

use super::throughput;
use crate::client::Target;
use crate::error::Result;
use crate::interrupt;
use crate::load::measure::Pacing;
use crate::outcome::Outcome;

const ACK_EVERY: u64 = 100;
const BODY_BYTES: usize = 16;

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// At most so many unconfirmed messages; each is measured for --seconds
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000,10000",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub windows: Vec<u64>,
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for window in &options.windows {
        interrupt::check()?;
        let outcome = throughput::run(target, pacing, &self::options(*window))?;
        outcomes.push(Outcome { scenario: "persistent".into(), ..outcome });
    }
    Ok(outcomes)
}

/// One publisher, and one consumer with manual acks.
pub fn options(window: u64) -> throughput::Options {
    throughput::Options {
        persistent: true,
        ack_every: ACK_EVERY,
        confirm_window: window,
        ..throughput::Options::of_size(BODY_BYTES)
    }
}
