//! Fill a queue without a consumer, then drain it.
//!
//! Invariant: the queue is full when the broker counts all messages in it, not when the last one is written.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::client::{Connection, Queue, Target};
use crate::error::{Error, Result};
use crate::load::batch::{Batch, Kind};
use crate::load::consumer::Consumer;
use crate::load::leftovers::Leftovers;
use crate::load::measure::{Load, Reading, Window, drain, mib, run_load};
use crate::load::publisher::{Pace, Publisher};
use crate::load::run::Run;
use crate::load::unique_name;
use crate::outcome::Outcome;

const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub messages: u64,
    /// Body length in bytes
    #[arg(long, default_value_t = 100)]
    pub size: usize,
    /// Persistent messages
    #[arg(long)]
    pub persistent: bool,
    /// One ack for every N messages; 0 for automatic ones
    #[arg(long, default_value_t = 0)]
    pub ack_every: u64,
}

pub fn run(target: &Target, options: &Options) -> Result<Outcome> {
    let names = [unique_name()];
    let mut leftovers = Leftovers::new(target);
    leftovers.queue(&names[0]);
    let mut control = Connection::open(target)?;
    control.declare(&names[0], &Queue::durable())?;
    let rss = || target.pid.map(|pid| pid.rss_bytes()).transpose();
    let rss_before = rss()?;
    let filled = fill(target, &mut control, &names, options)?;
    let rss_full = rss()?;
    let drained = empty(target, &names, options)?;
    let rss_after = rss()?;
    control.close()?;

    let mut outcome = Outcome::new("backlog", &target.name);
    outcome.parameter("messages", options.messages);
    outcome.parameter("size", options.size);
    outcome.parameter("persistent", options.persistent);
    outcome.parameter("ack_every", options.ack_every);
    let messages = options.messages as f64;
    for (name, window) in [("fill", filled), ("drain", drained)] {
        outcome.figure(format!("{name}_msgs_per_s"), messages / window.seconds);
        if let Some(cpu_us) = window.broker_cpu_us {
            outcome.figure(format!("{name}_broker_cpu_us_per_msg"), cpu_us / messages);
        }
        outcome.figure(format!("{name}_client_cpu_us_per_msg"), window.client_cpu_us / messages);
    }
    if let (Some(before), Some(full), Some(after)) = (rss_before, rss_full, rss_after) {
        outcome.figure("broker_rss_mib_before", mib(before));
        outcome.figure("broker_rss_mib_full", mib(full));
        outcome.figure("broker_rss_mib_drained", mib(after));
        outcome.figure("broker_rss_bytes_per_msg", (full as f64 - before as f64) / messages);
    }
    Ok(outcome)
}

fn fill(target: &Target, control: &mut Connection, names: &[String], options: &Options) -> Result<Window> {
    let make_batch = |connection: &Connection| {
        let kind = Kind {
            exchange: String::new(),
            persistent: options.persistent,
            body_bytes: options.size,
            frame_bytes_max: connection.frame_bytes_max,
        };
        Batch::new(&kind, names)
    };
    let publisher = Publisher::open(target, make_batch, Pace::Count(options.messages))?;
    let run = Run::new(1, u64::MAX);
    let load = Load { publishers: vec![publisher], consumers: Vec::new(), deliveries_per_publish: 1 };
    let work = |run: &Run| {
        let before = Reading::take(target, run)?;
        wait_for_messages(target, control, &names[0], options.messages, run)?;
        Ok(Window::between(before, Reading::take(target, run)?))
    };
    Ok(run_load(target, load, &run, work)?.0)
}

/// Polls the queue's length until everything is in it; no growth for the time-out is an error.
fn wait_for_messages(
    target: &Target,
    control: &mut Connection,
    queue: &str,
    messages: u64,
    run: &Run,
) -> Result<()> {
    let mut newest = 0;
    let mut moved_at = Instant::now();
    loop {
        run.check()?;
        let ready = u64::from(control.ready_messages(queue)?);
        if ready >= messages {
            return Ok(());
        }
        if ready != newest {
            newest = ready;
            moved_at = Instant::now();
        } else if moved_at.elapsed() > target.timeout {
            return Err(Error::Stalled(format!("{ready} of {messages} messages are in the queue")));
        }
        thread::sleep(POLL);
    }
}

fn empty(target: &Target, names: &[String], options: &Options) -> Result<Window> {
    let run = Run::new(1, u64::MAX);
    run.published.store(options.messages, Ordering::Relaxed);
    // Deliveries begin with the consume, so the time does as well.
    let before = Reading::take(target, &run)?;
    let consumer = Consumer::open(target, names, options.ack_every, |_, _| Ok(()))?;
    let load = Load { publishers: Vec::new(), consumers: vec![consumer], deliveries_per_publish: 1 };
    let work = |run: &Run| {
        drain(run, target.timeout)?;
        Reading::take(target, run)
    };
    let after = run_load(target, load, &run, work)?.0;
    Ok(Window::between(before, after))
}
