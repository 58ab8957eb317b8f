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

/// What a thread repeats.
pub trait Round: Sync {
    /// What one thread keeps from round to round.
    type State;
    /// What a round is called in the figures: `{UNIT}s_per_s`.
    const UNIT: &'static str;

    fn prepare(&self) -> Result<Self::State>;
    fn round(&self, state: &mut Self::State) -> Result<()>;
    fn finish(&self, state: Self::State) -> Result<()>;
}

/// Repeats the round on each thread and reports rounds per second.
pub fn churn<R: Round>(
    target: &Target,
    pacing: &Pacing,
    threads: u32,
    rounds: &R,
    outcome: &mut Outcome,
) -> Result<()> {
    let run = Run::new(1, u64::MAX);
    let rss_before = target.pid.map(|pid| pid.rss_bytes()).transpose()?;
    let repeat = || -> Result<Histogram> {
        let mut durations_ns = Histogram::default();
        let mut state = rounds.prepare()?;
        while run.publishes() {
            let began_ns = clock::now_ns();
            rounds.round(&mut state)?;
            run.received.fetch_add(1, Ordering::Relaxed);
            if run.phases[0].contains(began_ns) {
                durations_ns.record(clock::now_ns() - began_ns);
            }
        }
        rounds.finish(state)?;
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
    outcome.figure(format!("{}s_per_s", R::UNIT), window.received as f64 / window.seconds);
    window.report_cpu(outcome, R::UNIT, window.received as f64);
    outcome.latency(R::UNIT, &durations_ns);
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
