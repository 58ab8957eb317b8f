//! As many messages as the broker takes through one queue.
//!
//! Invariant: with one consumer and transient messages the queue is exclusive and transient; otherwise it is a
//! durable one, because brokers have begun to refuse queues that are neither.

use clap::Args;

use crate::client::{Connection, Queue, Target};
use crate::error::Result;
use crate::load::batch::{Batch, Kind};
use crate::load::consumer::Consumer;
use crate::load::leftovers::Leftovers;
use crate::load::measure::{Load, Pacing, measure};
use crate::load::publisher::{Pace, Publisher};
use crate::load::unique_name;
use crate::outcome::Outcome;

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Body length in bytes
    #[arg(long, default_value_t = 16)]
    pub size: usize,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub publishers: u32,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub consumers: u32,
    /// Persistent messages in a durable queue
    #[arg(long)]
    pub persistent: bool,
    /// One ack for every N messages; 0 for automatic ones
    #[arg(long, default_value_t = 0)]
    pub ack_every: u64,
    /// At most N unconfirmed messages per publisher; 0 for no confirms
    #[arg(long, default_value_t = 0)]
    pub confirm_window: u64,
    /// x-queue-type of the queue, for example quorum
    #[arg(long)]
    pub queue_type: Option<String>,
    /// Run the limit program right after and show the share of it that was reached
    #[arg(long)]
    pub with_limit: bool,
}

impl Options {
    pub fn of_size(size: usize) -> Self {
        Self {
            size,
            publishers: 1,
            consumers: 1,
            persistent: false,
            ack_every: 0,
            confirm_window: 0,
            queue_type: None,
            with_limit: false,
        }
    }

    fn queue(&self) -> Queue {
        if self.persistent || self.consumers > 1 || self.queue_type.is_some() {
            Queue { kind: self.queue_type.clone(), ..Queue::durable() }
        } else {
            Queue::exclusive()
        }
    }
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let name = unique_name();
    let queue = options.queue();
    let mut leftovers = Leftovers::new(target);
    if !queue.exclusive {
        leftovers.queue(&name);
    }
    let declare = |connection: &mut Connection, name: &str| connection.declare(name, &queue).map(drop);
    let names = [name];
    let consumers = (0..options.consumers)
        .map(|_| Consumer::open(target, &names, options.ack_every, declare))
        .collect::<Result<Vec<_>>>()?;
    let publishers = (0..options.publishers)
        .map(|_| {
            let make_batch = |connection: &Connection| {
                let kind = Kind {
                    exchange: String::new(),
                    persistent: options.persistent,
                    body_bytes: options.size,
                    frame_bytes_max: connection.frame_bytes_max,
                };
                Batch::new(&kind, &names)
            };
            Publisher::open(target, make_batch, Pace::Flood { confirm_window_msgs: options.confirm_window })
        })
        .collect::<Result<Vec<_>>>()?;
    let measured = measure(target, pacing, Load { publishers, consumers, deliveries_per_publish: 1 }, false)?;
    let mut outcome = Outcome::new("throughput", &target.name);
    outcome.parameter("size", options.size);
    outcome.parameter("publishers", options.publishers);
    outcome.parameter("consumers", options.consumers);
    outcome.parameter("persistent", options.persistent);
    outcome.parameter("ack_every", options.ack_every);
    outcome.parameter("confirm_window", options.confirm_window);
    if let Some(kind) = &options.queue_type {
        outcome.parameter("queue_type", kind.as_str());
    }
    measured.report(&mut outcome, options.size, "latency_under_load");
    Ok(outcome)
}
