//! A topic exchange with many bindings.
//!
//! Invariant: every published key matches exactly one binding, so that deliveries equal publishes.

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
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub bindings: u32,
    /// The bindings are spread over this many queues
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub queues: u32,
    /// Different routing keys that are published
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub keys: u32,
    /// Body length in bytes
    #[arg(long, default_value_t = 100)]
    pub size: usize,
}

/// Three in four patterns hold a star, the fourth a hash.
fn pattern(stem: &str, at: usize) -> String {
    let last = if at % 4 == 3 { "#" } else { "*.state" };
    format!("{stem}.{last}")
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let exchange = unique_name();
    let queues = numbered(&exchange, options.queues as usize, "");
    let stems = numbered("device", options.bindings as usize, "");
    let mut leftovers = Leftovers::new(target);
    leftovers.exchange(&exchange);
    let bind_share = |connection: &mut crate::client::Connection, queue: &str| {
        connection.declare_exchange(&exchange, "topic")?;
        let own = queues.iter().position(|name| name == queue).unwrap_or(0);
        for (at, stem) in stems.iter().enumerate().skip(own).step_by(queues.len()) {
            connection.bind_no_wait(queue, &exchange, &pattern(stem, at))?;
        }
        connection.sync()
    };
    let consumers = Consumer::share(target, &queues, 2, 0, bind_share)?;
    // Keys from all over the bindings, in an order that does not follow theirs.
    let stride = (stems.len() / options.keys as usize).max(1);
    let keys: Vec<String> = stems
        .iter()
        .step_by(stride)
        .take(options.keys as usize)
        .map(|stem| format!("{stem}.room.state"))
        .collect();
    let publishers = flood(target, &exchange, &keys, options.size, 1)?;
    let measured = measure(target, pacing, Load { publishers, consumers, deliveries_per_publish: 1 }, false)?;
    let mut outcome = Outcome::new("topic-bindings", &target.name);
    outcome.parameter("bindings", options.bindings);
    outcome.parameter("queues", options.queues);
    outcome.parameter("keys", keys.len());
    outcome.parameter("size", options.size);
    measured.report(&mut outcome, options.size, "latency_under_load");
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_both_kinds() {
        assert_eq!(pattern("device.0", 0), "device.0.*.state");
        assert_eq!(pattern("device.3", 3), "device.3.#");
    }
}
