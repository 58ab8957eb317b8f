//! Many queues, reached in turn over the default exchange.
//!
//! Invariant: two messages in a row never go to the same queue, so that batching per queue is as hard as it gets.

use clap::Args;

use crate::client::{Connection, Target};
use crate::error::Result;
use crate::load::batch::{Batch, Kind};
use crate::load::consumer::Consumer;
use crate::load::measure::{Load, Pacing, measure};
use crate::load::publisher::{Pace, Publisher};
use crate::load::unique_name;
use crate::outcome::Outcome;
use crate::scenario::numbered;

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queues: u32,
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub publishers: u32,
    /// The queues' consumers are spread over this many connections
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub consumer_connections: u32,
    /// Body length in bytes
    #[arg(long, default_value_t = 100)]
    pub size: usize,
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let queues = numbered(&unique_name(), options.queues as usize, "");
    let consumers =
        Consumer::share(target, &queues, options.consumer_connections as usize, 0, |_, _| Ok(()))?;
    let publishers = flood(target, "", &queues, options.size, options.publishers)?;
    let measured = measure(target, pacing, Load { publishers, consumers, deliveries_per_publish: 1 }, false)?;
    let mut outcome = Outcome::new("many-queues", &target.name);
    outcome.parameter("queues", options.queues);
    outcome.parameter("publishers", options.publishers);
    outcome.parameter("consumer_connections", options.consumer_connections);
    outcome.parameter("size", options.size);
    measured.report(&mut outcome, options.size, "latency_under_load");
    Ok(outcome)
}

/// Publishers that send transient messages to the keys in turn, as fast as they can.
pub fn flood(
    target: &Target,
    exchange: &str,
    keys: &[String],
    body_bytes: usize,
    count: u32,
) -> Result<Vec<Publisher>> {
    let make_batch = |connection: &Connection| {
        let kind = Kind {
            exchange: exchange.into(),
            persistent: false,
            body_bytes,
            frame_bytes_max: connection.frame_bytes_max,
        };
        Batch::new(&kind, keys)
    };
    (0..count).map(|_| Publisher::open(target, make_batch, Pace::Flood { confirm_window_msgs: 0 })).collect()
}
