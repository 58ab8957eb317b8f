//! What others notice when a queue with many bindings is deleted.
//!
//! Invariant: the publisher's schedule does not wait for the deletion, and latency counts from the schedule, so a
//! stall shows in every message it held up; messages due in the moment after the reply count as well.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::client::{Connection, Queue, Target};
use crate::error::Result;
use crate::load::consumer::Consumer;
use crate::load::leftovers::Leftovers;
use crate::load::measure::{Load, Pacing, drain, run_load, sleep_while_running};
use crate::load::run::Run;
use crate::load::unique_name;
use crate::outcome::Outcome;
use crate::scenario::latency::{self, timed_publisher};

/// Brokers may go on working after they have answered.
const AFTERMATH: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, clap::ValueEnum, Copy, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Topic,
}

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Bindings of the queue that is deleted
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub bindings: u32,
    /// Kind of the exchange, which the other publisher uses too
    #[arg(long, value_enum, default_value = "direct")]
    pub exchange: Kind,
    /// Messages per second of the other publisher
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rate: u64,
    /// Body length in bytes
    #[arg(long, default_value_t = 100, value_parser = crate::arguments::stamped_size)]
    pub size: usize,
    /// How often the queue is made and deleted
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
}

/// What the deletions took.
#[derive(Default)]
struct Deletions {
    bind_s: f64,
    delete_ms: Vec<f64>,
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let exchange = unique_name();
    let probe = [format!("{exchange}.probe")];
    let kind = if options.exchange == Kind::Topic { "topic" } else { "direct" };
    let mut leftovers = Leftovers::new(target);
    leftovers.exchange(&exchange);
    let consumers = Consumer::share(target, &probe, 1, 0, |connection, queue| {
        connection.declare_exchange(&exchange, kind)?;
        connection.bind(queue, &exchange, queue)
    })?;
    let pace = latency::Options { rate: options.rate, size: options.size };
    let publisher = timed_publisher(target, &exchange, &probe, &pace)?;
    let run = Run::new(1, pacing.window_msgs(publisher.message_bytes(), 1));
    let load = Load { publishers: vec![publisher], consumers, deliveries_per_publish: 1 };
    let work = |run: &Run| {
        sleep_while_running(run, pacing.warmup)?;
        run.phases[0].begin();
        sleep_while_running(run, pacing.span)?;
        run.phases[0].end();
        let mut deletions = Deletions::default();
        for _ in 0..options.repeats {
            delete_once(target, run, &exchange, options, &mut deletions)?;
        }
        Ok(deletions)
    };
    let (deletions, [normal_ns, during_ns]) = run_load(target, load, &run, work)?;
    let mut outcome = Outcome::new("delete-bindings", &target.name);
    outcome.parameter("bindings", options.bindings);
    outcome.parameter("exchange", kind);
    outcome.parameter("rate", options.rate);
    outcome.parameter("size", options.size);
    outcome.parameter("repeats", options.repeats);
    let mut delete_ms = deletions.delete_ms;
    delete_ms.sort_by(f64::total_cmp);
    outcome.figure(
        "delete_ms_p50",
        delete_ms.get((delete_ms.len().max(1) - 1) / 2).copied().unwrap_or(f64::NAN),
    );
    outcome.figure("delete_ms_max", delete_ms.last().copied().unwrap_or(f64::NAN));
    let bindings = f64::from(options.bindings) * f64::from(options.repeats);
    outcome.figure("bindings_per_s", bindings / deletions.bind_s.max(1e-9));
    outcome.latency("latency_before", &normal_ns);
    outcome.latency("latency_during", &during_ns);
    outcome.figure("latency_during_msgs", during_ns.count() as f64);
    Ok(outcome)
}

fn delete_once(
    target: &Target,
    run: &Run,
    exchange: &str,
    options: &Options,
    deletions: &mut Deletions,
) -> Result<()> {
    let mut connection = Connection::open(target)?;
    let victim = unique_name();
    connection.declare(&victim, &Queue::exclusive())?;
    let began = Instant::now();
    for at in 0..options.bindings {
        let key = if options.exchange == Kind::Topic { format!("key.{at}.*") } else { format!("key.{at}") };
        connection.bind_no_wait(&victim, exchange, &key)?;
    }
    connection.sync()?;
    deletions.bind_s += began.elapsed().as_secs_f64();
    // The messages held up by the binding are not to be counted to the deletion.
    thread::sleep(AFTERMATH);
    let began = Instant::now();
    run.phases[1].begin();
    connection.delete(&victim)?;
    deletions.delete_ms.push(began.elapsed().as_secs_f64() * 1e3);
    sleep_while_running(run, AFTERMATH)?;
    run.phases[1].end();
    // Messages of this phase must have arrived before the next one begins, or they would not be counted.
    drain(run, target.timeout)?;
    connection.close()
}
