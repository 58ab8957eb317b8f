//! Persistent messages with confirms to many durable queues, beside the same load on one queue.
//!
//! Invariant: both runs have the same publishers, windows and consumers; only the number of queues differs.

use clap::Args;

use crate::client::{Connection, Queue, Target};
use crate::error::Result;
use crate::load::batch::{Batch, Kind};
use crate::load::consumer::Consumer;
use crate::load::leftovers::Leftovers;
use crate::load::measure::{Load, Measured, Pacing, measure};
use crate::load::publisher::{Pace, Publisher};
use crate::load::unique_name;
use crate::outcome::Outcome;
use crate::scenario::numbered;

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queues: u32,
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub publishers: u32,
    /// At most so many unconfirmed messages of each publisher
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub confirm_window: u64,
    /// The queues' consumers are spread over this many connections
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub consumer_connections: u32,
    /// One ack for every N messages of a connection
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub ack_every: u64,
    /// Body length in bytes
    #[arg(long, default_value_t = 16)]
    pub size: usize,
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let one = load(target, pacing, options, 1)?;
    let many = load(target, pacing, options, options.queues as usize)?;
    let mut outcome = Outcome::new("many-queues-durable", &target.name);
    outcome.parameter("queues", options.queues);
    outcome.parameter("publishers", options.publishers);
    outcome.parameter("confirm_window", options.confirm_window);
    outcome.parameter("consumer_connections", options.consumer_connections);
    outcome.parameter("ack_every", options.ack_every);
    outcome.parameter("size", options.size);
    let rate = |measured: &Measured| measured.window.confirmed as f64 / measured.window.seconds;
    outcome.figure("one_queue_confirmed_msgs_per_s", rate(&one));
    many.report(&mut outcome, options.size, "latency_under_load");
    outcome.figure("share_of_one_queue_percent", 100.0 * rate(&many) / rate(&one).max(1.0));
    Ok(outcome)
}

fn load(target: &Target, pacing: &Pacing, options: &Options, queues: usize) -> Result<Measured> {
    let names = numbered(&unique_name(), queues, "");
    let mut leftovers = Leftovers::new(target);
    names.iter().for_each(|name| leftovers.queue(name));
    let declare =
        |connection: &mut Connection, name: &str| connection.declare(name, &Queue::durable()).map(drop);
    let connections = options.consumer_connections as usize;
    // One queue has a consumer on each connection, many are shared out.
    let share = names.len().div_ceil(connections);
    let consumers = (0..connections)
        .map(|at| names.get(at * share..names.len().min((at + 1) * share)).unwrap_or(&names))
        .map(|names| Consumer::open(target, names, options.ack_every, declare))
        .collect::<Result<Vec<_>>>()?;
    let make_batch = |connection: &Connection| {
        let kind = Kind {
            exchange: String::new(),
            persistent: true,
            body_bytes: options.size,
            frame_bytes_max: connection.frame_bytes_max,
        };
        Batch::new(&kind, &names)
    };
    let pace = || Pace::Flood { confirm_window_msgs: options.confirm_window };
    let publishers = (0..options.publishers)
        .map(|_| Publisher::open(target, make_batch, pace()))
        .collect::<Result<Vec<_>>>()?;
    measure(target, pacing, Load { publishers, consumers, deliveries_per_publish: 1 }, false)
}
