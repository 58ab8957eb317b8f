//! Clients that connect for one moment: connect, open a channel, declare an exclusive server-named queue, close.
//!
//! Invariant: every cycle is polite; the next begins when the broker has answered the close.

use clap::Args;

use crate::client::{Connection, Queue, Target};
use crate::error::Result;
use crate::load::measure::Pacing;
use crate::outcome::Outcome;
use crate::scenario::rounds::churn;

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub threads: u32,
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let mut outcome = Outcome::new("connection-churn", &target.name);
    outcome.parameter("threads", options.threads);
    let cycle = |(): &mut ()| {
        let mut connection = Connection::open(target)?;
        connection.declare("", &Queue::exclusive())?;
        connection.close()
    };
    churn(target, pacing, options.threads, "cycle", &mut outcome, || Ok(()), cycle, Ok)?;
    Ok(outcome)
}
