//! Publish-to-deliver latency at a fixed rate.
//!
//! Invariant: latency counts from the time a message was due, not from when it could be sent, and every message
//! due within the window counts, however late it comes.

use clap::Args;

use crate::client::{Connection, Target};
use crate::error::Result;
use crate::load::batch::{Batch, Kind};
use crate::load::consumer::Consumer;
use crate::load::measure::{Load, Pacing, measure};
use crate::load::publisher::{Pace, Publisher};
use crate::load::timetable::Timetable;
use crate::load::unique_name;
use crate::outcome::Outcome;

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Messages per second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub rate: u64,
    /// Body length in bytes
    #[arg(long, default_value_t = 100, value_parser = crate::arguments::stamped_size)]
    pub size: usize,
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let names = [unique_name()];
    let consumers = Consumer::share(target, &names, 1, 0, |_, _| Ok(()))?;
    let publisher = timed_publisher(target, "", &names, options)?;
    let load = Load { publishers: vec![publisher], consumers, deliveries_per_publish: 1 };
    let measured = measure(target, pacing, load, true)?;
    let mut outcome = Outcome::new("latency", &target.name);
    outcome.parameter("rate", options.rate);
    outcome.parameter("size", options.size);
    measured.report(&mut outcome, options.size, "latency");
    Ok(outcome)
}

/// One publisher at a fixed rate.
pub fn timed_publisher(
    target: &Target,
    exchange: &str,
    keys: &[String],
    options: &Options,
) -> Result<Publisher> {
    let make_batch = |connection: &Connection| {
        let kind = Kind {
            exchange: exchange.into(),
            persistent: false,
            body_bytes: options.size,
            frame_bytes_max: connection.frame_bytes_max,
        };
        Batch::new(&kind, keys)
    };
    Publisher::open(target, make_batch, Pace::Timed(Timetable::new(options.rate)))
}
