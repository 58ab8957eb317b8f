//! The generator against a program with nothing in it: what no broker can exceed on this machine.
//!
//! Invariant: the same load as against a broker, the same figures, and the program in a process of its own.

use clap::Args;

use crate::client::Target;
use crate::error::Result;
use crate::limit::LimitProcess;
use crate::load::measure::Pacing;
use crate::outcome::Outcome;
use crate::scenario::{latency, throughput};

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Body length in bytes
    #[arg(long, default_value_t = 16)]
    pub size: usize,
    /// Measure latency at this rate instead of throughput
    #[arg(long)]
    pub rate: Option<u64>,
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let limit = LimitProcess::start()?;
    let target = limit.target(target);
    let mut outcome = match options.rate {
        Some(rate) => latency::run(&target, pacing, &latency::Options { rate, size: options.size.max(8) })?,
        None => throughput::run(&target, pacing, &throughput::Options::of_size(options.size))?,
    };
    outcome.note("broker_* is the limit program: parse, copy once, write; two threads");
    Ok(outcome)
}

/// A throughput run, then the limit program under the same load; adds the share that was reached.
pub fn compare_with_limit(
    target: &Target,
    pacing: &Pacing,
    options: &throughput::Options,
) -> Result<(Outcome, Outcome)> {
    let mut outcome = throughput::run(target, pacing, options)?;
    let limit = LimitProcess::start()?;
    let one_to_one = throughput::Options { publishers: 1, consumers: 1, queue_type: None, ..options.clone() };
    let limit = throughput::run(&limit.target(target), pacing, &one_to_one)?;
    add_share(&mut outcome, &limit);
    Ok((outcome, limit))
}

/// What part of the limit's rate was reached, and how many times its CPU time was needed.
pub fn add_share(outcome: &mut Outcome, limit: &Outcome) {
    let pair = |name: &str| Some((outcome.get(name)?, outcome_positive(limit, name)?));
    let rate = pair("deliver_msgs_per_s");
    let cpu = pair("broker_cpu_us_per_msg");
    if let Some((reached, most)) = rate {
        outcome.figure("share_of_limit_percent", reached / most * 100.0);
    }
    if let Some((used, least)) = cpu {
        outcome.figure("broker_cpu_times_limit", used / least);
    }
}

fn outcome_positive(outcome: &Outcome, name: &str) -> Option<f64> {
    outcome.get(name).filter(|value| *value > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_limit() {
        let (mut broker, mut limit) = (Outcome::new("throughput", "b"), Outcome::new("throughput", "limit"));
        broker.figure("deliver_msgs_per_s", 5e6);
        broker.figure("broker_cpu_us_per_msg", 0.2);
        limit.figure("deliver_msgs_per_s", 20e6);
        limit.figure("broker_cpu_us_per_msg", 0.05);
        add_share(&mut broker, &limit);
        assert_eq!(broker.get("share_of_limit_percent"), Some(25.0));
        assert_eq!(broker.get("broker_cpu_times_limit"), Some(4.0));
        let mut without_pid = Outcome::new("throughput", "b");
        without_pid.figure("deliver_msgs_per_s", 5e6);
        add_share(&mut without_pid, &limit);
        assert_eq!(without_pid.get("broker_cpu_times_limit"), None);
    }
}
