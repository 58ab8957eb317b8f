//! One publisher, one fanout exchange, many queues.
//!
//! Invariant: each message is delivered once per queue; rates and CPU time are per delivery.

use clap::Args;

use crate::client::Target;
use crate::error::Result;
use crate::load::consumer::Consumer;
use crate::load::leftovers::Leftovers;
use crate::load::measure::{Load, Pacing, measure};
use crate::load::unique_name;
use crate::outcome::Outcome;
use crate::scenario::many_queues::flood;
use crate::scenario::numbered;

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Queues, each with a consumer
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub queues: u32,
    /// The queues' consumers are spread over this many connections
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub consumer_connections: u32,
    /// Body length in bytes
    #[arg(long, default_value_t = 100)]
    pub size: usize,
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let exchange = unique_name();
    let queues = numbered(&exchange, options.queues as usize, "");
    let mut leftovers = Leftovers::new(target);
    leftovers.exchange(&exchange);
    let consumers =
        Consumer::share(target, &queues, options.consumer_connections as usize, 0, |connection, queue| {
            connection.declare_exchange(&exchange, "fanout")?;
            connection.bind(queue, &exchange, "")
        })?;
    let publishers = flood(target, &exchange, &[String::new()], options.size, 1)?;
    let load = Load { publishers, consumers, deliveries_per_publish: u64::from(options.queues) };
    let measured = measure(target, pacing, load, false)?;
    let mut outcome = Outcome::new("fan-out", &target.name);
    outcome.parameter("queues", options.queues);
    outcome.parameter("consumer_connections", options.consumer_connections);
    outcome.parameter("size", options.size);
    measured.report(&mut outcome, options.size, "latency_under_load");
    Ok(outcome)
}
