//! Channels that are opened and closed on connections that stay.
//!
//! Invariant: one channel number per connection is used again and again, as most clients do.

use clap::Args;

use crate::client::{Connection, Target};
use crate::error::Result;
use crate::load::measure::Pacing;
use crate::outcome::Outcome;
use crate::scenario::rounds::{Round, churn};

const CHANNEL: u16 = 2;

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Threads, each with a connection
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub threads: u32,
}

struct Cycle<'a>(&'a Target);

impl Round for Cycle<'_> {
    type State = Connection;
    const UNIT: &'static str = "cycle";

    fn prepare(&self) -> Result<Connection> {
        Connection::open(self.0)
    }

    fn round(&self, connection: &mut Connection) -> Result<()> {
        connection.cycle_channel(CHANNEL)
    }

    fn finish(&self, connection: Connection) -> Result<()> {
        connection.close()
    }
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let mut outcome = Outcome::new("channel-churn", &target.name);
    outcome.parameter("threads", options.threads);
    churn(target, pacing, options.threads, &Cycle(target), &mut outcome)?;
    Ok(outcome)
}
