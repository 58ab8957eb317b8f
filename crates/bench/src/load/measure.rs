//! Runs publishers and consumers together and measures a window in the middle.
//!
//! Invariant: rates and CPU times are differences of two readings taken at the same two moments, after the warm-up
//! and before anything stops.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::consumer::Consumer;
use super::publisher::Publisher;
use super::run::{PHASES, Run};
use crate::client::Target;
use crate::clock;
use crate::error::{Error, Result};
use crate::histogram::Histogram;
use crate::interrupt;
use crate::outcome::Outcome;

const POLL: Duration = Duration::from_millis(20);

/// How long a scenario warms up and is measured, and how far publishers may run ahead.
#[derive(Debug, Clone)]
pub struct Pacing {
    pub warmup: Duration,
    pub span: Duration,
    /// None: no window at all.
    pub in_flight_bytes: Option<u64>,
}

impl Pacing {
    /// In messages published; one that is delivered many times counts as many.
    pub fn window_msgs(&self, message_bytes: usize, deliveries_per_publish: u64) -> u64 {
        let bytes_each = (message_bytes as u64).saturating_mul(deliveries_per_publish).max(1);
        self.in_flight_bytes.map_or(u64::MAX, |bytes| (bytes / bytes_each).max(1))
    }
}

pub struct Load {
    pub publishers: Vec<Publisher>,
    pub consumers: Vec<Consumer>,
    pub deliveries_per_publish: u64,
}

/// A moment's counters.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    at_ns: u64,
    published: u64,
    received: u64,
    confirmed: u64,
    broker_cpu_ns: Option<u64>,
    client_cpu_ns: u64,
}

impl Reading {
    pub fn take(target: &Target, run: &Run) -> Result<Self> {
        Ok(Self {
            at_ns: clock::now_ns(),
            published: run.published.load(Ordering::Relaxed),
            received: run.received.load(Ordering::Relaxed),
            confirmed: run.confirmed.load(Ordering::Relaxed),
            broker_cpu_ns: target.pid.map(|pid| pid.cpu_ns()).transpose()?,
            client_cpu_ns: clock::own_cpu_ns(),
        })
    }
}

/// What lies between two readings.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub seconds: f64,
    pub published: u64,
    pub received: u64,
    pub confirmed: u64,
    pub broker_cpu_us: Option<f64>,
    pub client_cpu_us: f64,
}

impl Window {
    pub fn between(before: Reading, after: Reading) -> Self {
        let us = |from_ns: u64, to_ns: u64| to_ns.saturating_sub(from_ns) as f64 / 1e3;
        Self {
            seconds: us(before.at_ns, after.at_ns) / 1e6,
            published: after.published - before.published,
            received: after.received - before.received,
            confirmed: after.confirmed - before.confirmed,
            broker_cpu_us: before.broker_cpu_ns.zip(after.broker_cpu_ns).map(|(from, to)| us(from, to)),
            client_cpu_us: us(before.client_cpu_ns, after.client_cpu_ns),
        }
    }

    /// Rates, and CPU time per message; `messages` is what the CPU time is divided by.
    pub fn report(&self, outcome: &mut Outcome, body_bytes: usize) {
        let messages = self.received.max(1) as f64;
        outcome.figure("publish_msgs_per_s", self.published as f64 / self.seconds);
        if self.confirmed > 0 {
            outcome.figure("confirmed_msgs_per_s", self.confirmed as f64 / self.seconds);
        }
        outcome.figure("deliver_msgs_per_s", self.received as f64 / self.seconds);
        let body_mib = (self.received * body_bytes as u64) as f64 / f64::from(1 << 20);
        outcome.figure("deliver_body_mib_per_s", body_mib / self.seconds);
        self.report_cpu(outcome, "msg", messages);
    }

    pub fn report_cpu(&self, outcome: &mut Outcome, unit: &str, count: f64) {
        if let Some(cpu_us) = self.broker_cpu_us {
            outcome.figure(format!("broker_cpu_us_per_{unit}"), cpu_us / count.max(1.0));
            outcome.figure("broker_cpu_cores", cpu_us / 1e6 / self.seconds);
        }
        outcome.figure(format!("client_cpu_us_per_{unit}"), self.client_cpu_us / count.max(1.0));
    }
}

/// Sleeps, but ends with an error when the run fails.
pub fn sleep_while_running(run: &Run, span: Duration) -> Result<()> {
    let until = Instant::now() + span;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        run.check()?;
        thread::sleep(left.min(POLL));
    }
    run.check()
}

/// Waits until everything published so far is received; nothing moving for `timeout` is an error.
pub fn drain(run: &Run, timeout: Duration) -> Result<()> {
    let wanted = run.wanted();
    let mut received = 0;
    let mut moved_at = Instant::now();
    loop {
        run.check()?;
        let now_received = run.received.load(Ordering::Relaxed);
        if now_received >= wanted {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
        if now_received != received {
            received = now_received;
            moved_at = Instant::now();
        } else if moved_at.elapsed() > timeout {
            return Err(Error::Stalled(format!(
                "{received} of {wanted} messages received within {timeout:?}"
            )));
        }
    }
}

/// Runs the load while `work` does what the scenario is about; gives its result and the latencies of each phase.
/// Publishers end first, so that consumers empty what holds them up.
pub fn run_load<T>(
    target: &Target,
    load: Load,
    run: &Run,
    work: impl FnOnce(&Run) -> Result<T>,
) -> Result<(T, [Histogram; PHASES])> {
    let mut histograms: [Histogram; PHASES] = Default::default();
    let worked = thread::scope(|scope| {
        let consumers: Vec<_> = load
            .consumers
            .into_iter()
            .map(|consumer| scope.spawn(move || consumer.consume(run).map_err(|error| run.fail(error))))
            .collect();
        let publishers: Vec<_> = load
            .publishers
            .into_iter()
            .map(|publisher| scope.spawn(move || publisher.publish(run, target.timeout)))
            .collect();
        let worked = work(run);
        run.stop_publishing();
        for publisher in publishers {
            // Its error is kept in the run.
            let _ = publisher.join();
        }
        run.stop_consuming();
        for consumer in consumers {
            if let Ok(Ok(latencies)) = consumer.join() {
                for (all, one) in histograms.iter_mut().zip(&latencies) {
                    all.merge(one);
                }
            }
        }
        worked
    });
    run.check()?;
    Ok((worked?, histograms))
}

/// What a load measured in its window.
pub struct Measured {
    pub window: Window,
    pub latency_ns: Histogram,
    pub confirm_ns: Histogram,
    pub rss_bytes: Option<(u64, u64)>,
    was_blocked: bool,
    nacked: u64,
}

/// Warm-up, then the measured window. `complete` waits for the stragglers, so that their latency counts.
pub fn measure(target: &Target, pacing: &Pacing, load: Load, complete: bool) -> Result<Measured> {
    interrupt::check()?;
    let message_bytes = load.publishers.first().map_or(1, Publisher::message_bytes);
    let run =
        Run::new(load.deliveries_per_publish, pacing.window_msgs(message_bytes, load.deliveries_per_publish));
    let rss_before = target.pid.map(|pid| pid.rss_bytes()).transpose()?;
    let work = |run: &Run| {
        sleep_while_running(run, pacing.warmup)?;
        let before = Reading::take(target, run)?;
        run.phases[0].begin();
        sleep_while_running(run, pacing.span)?;
        run.phases[0].end();
        let after = Reading::take(target, run)?;
        let rss_after = target.pid.map(|pid| pid.rss_bytes()).transpose()?;
        if complete {
            run.stop_publishing();
            drain(run, target.timeout)?;
        }
        Ok((Window::between(before, after), rss_after))
    };
    let ((window, rss_after), [latency_ns, _]) = run_load(target, load, &run, work)?;
    Ok(Measured {
        window,
        latency_ns,
        confirm_ns: run.confirm_ns.lock().map(|confirm_ns| confirm_ns.clone()).unwrap_or_default(),
        rss_bytes: rss_before.zip(rss_after),
        was_blocked: run.was_blocked.load(Ordering::Relaxed),
        nacked: run.nacked.load(Ordering::Relaxed),
    })
}

impl Measured {
    pub fn report(&self, outcome: &mut Outcome, body_bytes: usize, latency_name: &str) {
        self.window.report(outcome, body_bytes);
        outcome.latency(latency_name, &self.latency_ns);
        outcome.latency("confirm", &self.confirm_ns);
        report_rss(outcome, self.rss_bytes);
        if self.was_blocked {
            outcome.note("the broker sent connection.blocked: an alarm held the publishers up");
        }
        if self.nacked > 0 {
            outcome.note(format!("{} publishes were nacked", self.nacked));
        }
    }
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub fn report_rss(outcome: &mut Outcome, rss_bytes: Option<(u64, u64)>) {
    if let Some((before, after)) = rss_bytes {
        outcome.figure("broker_rss_mib_before", mib(before));
        outcome.figure("broker_rss_mib_after", mib(after));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_the_difference_of_two_readings() {
        let before = Reading {
            at_ns: 1_000_000_000,
            published: 10,
            received: 5,
            confirmed: 1,
            broker_cpu_ns: Some(7_000),
            client_cpu_ns: 0,
        };
        let after = Reading {
            at_ns: 3_000_000_000,
            published: 4010,
            received: 2005,
            confirmed: 3001,
            broker_cpu_ns: Some(1_007_000),
            client_cpu_ns: 200_000,
        };
        let mut outcome = Outcome::new("throughput", "here");
        Window::between(before, after).report(&mut outcome, 1 << 20);
        let figure = |name| outcome.get(name).unwrap_or(f64::NAN);
        assert_eq!(figure("publish_msgs_per_s"), 2000.0);
        assert_eq!(figure("confirmed_msgs_per_s"), 1500.0);
        assert_eq!(figure("deliver_msgs_per_s"), 1000.0);
        assert_eq!(figure("deliver_body_mib_per_s"), 1000.0);
        assert_eq!(figure("broker_cpu_us_per_msg"), 0.5);
        assert_eq!(figure("client_cpu_us_per_msg"), 0.1);
    }

    #[test]
    fn the_window_is_counted_in_messages() {
        let mut pacing = Pacing { warmup: Duration::ZERO, span: Duration::ZERO, in_flight_bytes: Some(1000) };
        assert_eq!(pacing.window_msgs(100, 1), 10);
        assert_eq!(pacing.window_msgs(100, 5), 2);
        assert_eq!(pacing.window_msgs(5000, 1), 1, "a message larger than the window still goes");
        pacing.in_flight_bytes = None;
        assert_eq!(pacing.window_msgs(100, 1), u64::MAX);
    }
}
