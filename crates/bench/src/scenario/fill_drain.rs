//! A backlog of persistent messages: filled without a consumer, then drained, each message counted in its order.
//!
//! Invariant: the fill ends when the last message is confirmed, the drain when the last ack is processed; a message
//! that is missing, twice or out of order is an error.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::client::{Connection, Queue, Target, refuse_close};
use crate::disk_use::bytes_on_disk;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::load::batch::{Batch, Kind};
use crate::load::leftovers::Leftovers;
use crate::load::measure::{Load, Reading, Window, mib, run_load};
use crate::load::publisher::{Pace, Publisher};
use crate::load::run::Run;
use crate::load::unique_name;
use crate::outcome::Outcome;
use crate::wire::scan::{Method, Sink};

/// Between two looks at the broker's memory.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub messages: u64,
    /// Body length in bytes; the first 8 hold the message's number
    #[arg(long, default_value_t = 100, value_parser = crate::arguments::stamped_size)]
    pub size: usize,
    /// At most so many unconfirmed messages while filling
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub confirm_window: u64,
    /// Unacknowledged deliveries while draining
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..))]
    pub prefetch: u16,
    /// One ack for every N messages
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub ack_every: u64,
    /// The broker's data directory: its size is reported
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Wait so long after the drain before memory and disk are looked at
    #[arg(long, default_value_t = 10.0, value_parser = crate::arguments::seconds)]
    pub settle_seconds: f64,
}

pub fn run(target: &Target, options: &Options) -> Result<Outcome> {
    if options.ack_every > u64::from(options.prefetch) {
        return Err(Error::Input(format!(
            "--ack-every {}: the queue would wait for an ack beyond --prefetch {}; make it smaller",
            options.ack_every, options.prefetch
        )));
    }
    let name = unique_name();
    let mut leftovers = Leftovers::new(target);
    leftovers.queue(&name);
    let mut control = Connection::open(target)?;
    control.declare(&name, &Queue::durable())?;
    let before = Room::of(target, options)?;
    let mut rss_max = before.rss;
    let fill = Fill { messages: options.messages, size: options.size, window: options.confirm_window };
    let filled = fill.run(target, &name, |_, rss| rss_max = rss_max.max(rss))?;
    let full = Room::of(target, options)?;
    let in_queue = u64::from(control.ready_messages(&name)?);
    if in_queue != options.messages {
        return Err(Error::Protocol(format!(
            "{} messages are confirmed, {in_queue} are in the queue",
            options.messages
        )));
    }
    let drained = drain(target, &name, options)?;
    wait(Duration::from_secs_f64(options.settle_seconds))?;
    let after = Room::of(target, options)?;
    control.close()?;

    let mut outcome = Outcome::new("fill-drain", &target.name);
    outcome.parameter("messages", options.messages);
    outcome.parameter("size", options.size);
    outcome.parameter("confirm_window", options.confirm_window);
    outcome.parameter("prefetch", options.prefetch);
    outcome.parameter("ack_every", options.ack_every);
    outcome.parameter("settle_seconds", options.settle_seconds);
    for (name, window) in [("fill", filled), ("drain", drained)] {
        report(&mut outcome, name, options.messages, window);
    }
    if let (Some(low), Some(top)) = (before.rss, rss_max) {
        outcome.figure("broker_rss_mib_before", mib(low));
        outcome.figure("broker_rss_mib_above_max", mib(top.saturating_sub(low)));
    }
    for (name, room) in [("full", full), ("drained", after)] {
        room.report(&mut outcome, name, before);
    }
    Ok(outcome)
}

pub fn report(outcome: &mut Outcome, name: &str, messages: u64, window: Window) {
    let messages = messages as f64;
    outcome.figure(format!("{name}_msgs_per_s"), messages / window.seconds);
    if let Some(cpu_us) = window.broker_cpu_us {
        outcome.figure(format!("{name}_broker_cpu_us_per_msg"), cpu_us / messages);
    }
    outcome.figure(format!("{name}_client_cpu_us_per_msg"), window.client_cpu_us / messages);
}

/// What the broker takes of memory and disk, as far as it can be told.
#[derive(Debug, Clone, Copy)]
struct Room {
    rss: Option<u64>,
    disk: Option<u64>,
}

impl Room {
    fn of(target: &Target, options: &Options) -> Result<Self> {
        let rss = target.pid.map(|pid| pid.rss_bytes()).transpose()?;
        let disk = options.data_dir.as_deref().map(bytes_on_disk).transpose()?;
        Ok(Self { rss, disk })
    }

    fn report(self, outcome: &mut Outcome, name: &str, before: Self) {
        if let (Some(rss), Some(before)) = (self.rss, before.rss) {
            outcome.figure(format!("broker_rss_mib_above_{name}"), mib(rss) - mib(before));
        }
        if let (Some(disk), Some(before)) = (self.disk, before.disk) {
            outcome.figure(format!("disk_mib_above_{name}"), mib(disk) - mib(before));
        }
    }
}

fn wait(span: Duration) -> Result<()> {
    let until = Instant::now() + span;
    while Instant::now() < until {
        interrupt::check()?;
        thread::sleep(POLL.min(span));
    }
    Ok(())
}

/// Numbered persistent messages into one queue, each confirmed.
pub struct Fill {
    pub messages: u64,
    pub size: usize,
    pub window: u64,
}

impl Fill {
    /// `look` is told now and then how many messages are confirmed, and the broker's memory in bytes.
    pub fn run(&self, target: &Target, queue: &str, look: impl FnMut(u64, Option<u64>)) -> Result<Window> {
        self.run_keys(target, &[queue.to_string()], look)
    }

    /// To several queues in turn.
    pub fn run_keys(
        &self,
        target: &Target,
        queues: &[String],
        mut look: impl FnMut(u64, Option<u64>),
    ) -> Result<Window> {
        let make_batch = |connection: &Connection| {
            let kind = Kind {
                exchange: String::new(),
                persistent: true,
                body_bytes: self.size,
                frame_bytes_max: connection.frame_bytes_max,
            };
            Batch::new(&kind, queues)
        };
        let pace = Pace::Numbered { messages: self.messages, confirm_window_msgs: self.window };
        let publisher = Publisher::open(target, make_batch, pace)?;
        let run = Run::new(1, u64::MAX);
        let load = Load { publishers: vec![publisher], consumers: Vec::new(), deliveries_per_publish: 1 };
        let work = |run: &Run| {
            let before = Reading::take(target, run)?;
            let (mut newest, mut moved_at) = (0, Instant::now());
            loop {
                run.check()?;
                let confirmed = run.confirmed.load(Ordering::Relaxed);
                look(confirmed, target.pid.map(|pid| pid.rss_bytes()).transpose()?);
                if confirmed >= self.messages {
                    return Ok(Window::between(before, Reading::take(target, run)?));
                }
                if confirmed > newest {
                    (newest, moved_at) = (confirmed, Instant::now());
                } else if moved_at.elapsed() > target.timeout {
                    let of = self.messages;
                    return Err(Error::Stalled(format!("{confirmed} of {of} messages are confirmed")));
                }
                thread::sleep(POLL);
            }
        };
        let window = run_load(target, load, &run, work)?.0;
        match run.nacked.load(Ordering::Relaxed) {
            0 => Ok(window),
            nacked => Err(Error::Protocol(format!("the broker nacked {nacked} messages"))),
        }
    }
}

/// Sees that the numbers come one after the other.
#[derive(Default)]
struct Numbers {
    newest: u64,
    wrong: Option<(u64, u64)>,
}

impl Sink for Numbers {
    fn stamped(&mut self, number: u64) {
        if number != self.newest + 1 && self.wrong.is_none() {
            self.wrong = Some((self.newest + 1, number));
        }
        self.newest = number;
    }

    fn method(&mut self, method: Method<'_>) -> Result<()> {
        refuse_close(&method)
    }
}

fn drain(target: &Target, queue: &str, options: &Options) -> Result<Window> {
    let run = Run::new(1, u64::MAX);
    let mut connection = Connection::open(target)?;
    connection.prefetch(options.prefetch)?;
    connection.expect_stream();
    let before = Reading::take(target, &run)?;
    connection.consume(queue, false)?;
    // Deliveries may have come with the answer; the scanner has counted them, but their numbers are not seen.
    let unseen = connection.scanner.deliveries;
    let mut numbers = Numbers { newest: unseen, wrong: None };
    let (mut acked, mut moved_at) = (0, Instant::now());
    loop {
        let seen = connection.scanner.deliveries;
        if seen - acked >= options.ack_every || (seen == options.messages && acked < seen) {
            connection.ack_up_to(connection.scanner.last_tag)?;
            acked = seen;
        }
        if acked >= options.messages {
            break;
        }
        interrupt::check()?;
        if connection.poll(&mut numbers)? > 0 {
            moved_at = Instant::now();
        } else if moved_at.elapsed() > target.timeout {
            return Err(Error::Stalled(format!("{seen} of {} messages came", options.messages)));
        }
        if let Some((wanted, got)) = numbers.wrong {
            return Err(Error::Protocol(format!("message {got} came where message {wanted} belongs")));
        }
    }
    connection.sync()?;
    run.received.store(acked, Ordering::Relaxed);
    let after = Reading::take(target, &run)?;
    let left = connection.ready_messages(queue)?;
    connection.close()?;
    if left > 0 || acked > options.messages {
        return Err(Error::Protocol(format!(
            "{acked} messages came, {left} are left, {} were sent",
            options.messages
        )));
    }
    Ok(Window::between(before, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_a_repeat_and_a_swap_are_seen() {
        let wrong = |numbers: &[u64]| {
            let mut seen = Numbers::default();
            numbers.iter().for_each(|number| seen.stamped(*number));
            seen.wrong
        };
        assert_eq!(wrong(&[1, 2, 3]), None);
        assert_eq!(wrong(&[2]), Some((1, 2)));
        assert_eq!(wrong(&[1, 1]), Some((2, 1)));
        assert_eq!(wrong(&[1, 3, 2]), Some((2, 3)));
    }
}
