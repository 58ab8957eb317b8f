//! Threads that repeat a round trip: what the churn scenarios have in common.
//!
//! Invariant: a round counts when it began and ended within the measured window.

use std::sync::atomic::Ordering;
use std::thread;

use crate::client::Target;
use crate::clock;
use crate::error::Result;
use crate::histogram::Histogram;
use crate::load::measure::{Pacing, Reading, Window, report_rss, sleep_while_running};
use crate::load::run::Run;
use crate::outcome::Outcome;

/// Runs `round` on each thread, with a state of its own made by `prepare`, and reports rounds per second as
/// `{unit}s_per_s`.
pub fn churn<S>(
    target: &Target,
    pacing: &Pacing,
    threads: u32,
    unit: &str,
    outcome: &mut Outcome,
    prepare: impl Fn() -> Result<S> + Sync,
    round: impl Fn(&mut S) -> Result<()> + Sync,
    finish: impl Fn(S) -> Result<()> + Sync,
) -> Result<()> {
    let run = Run::new(1, u64::MAX);
    let rss_before = target.pid.map(|pid| pid.rss_bytes()).transpose()?;
    let repeat = || -> Result<Histogram> {
        let mut durations_ns = Histogram::default();
        let mut state = prepare()?;
        while run.publishes() {
            let began_ns = clock::now_ns();
            round(&mut state)?;
            run.received.fetch_add(1, Ordering::Relaxed);
            if run.phases[0].contains(began_ns) {
                durations_ns.record(clock::now_ns() - began_ns);
            }
        }
        finish(state)?;
        Ok(durations_ns)
    };
    let mut durations_ns = Histogram::default();
    let window = thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| repeat().map_err(|error| run.fail(error)))).collect();
        let window = measure_rounds(target, pacing, &run);
        run.stop_publishing();
        for worker in workers {
            if let Ok(Ok(one)) = worker.join() {
                durations_ns.merge(&one);
            }
        }
        window
    });
    run.check()?;
    let window = window?;
    outcome.figure(format!("{unit}s_per_s"), window.received as f64 / window.seconds);
    window.report_cpu(outcome, unit, window.received as f64);
    outcome.latency(unit, &durations_ns);
    let rss_after = target.pid.map(|pid| pid.rss_bytes()).transpose()?;
    report_rss(outcome, rss_before.zip(rss_after));
    Ok(())
}

fn measure_rounds(target: &Target, pacing: &Pacing, run: &Run) -> Result<Window> {
    sleep_while_running(run, pacing.warmup)?;
    let before = Reading::take(target, run)?;
    run.phases[0].begin();
    sleep_while_running(run, pacing.span)?;
    run.phases[0].end();
    Ok(Window::between(before, Reading::take(target, run)?))
}
