//! Clients that connect for one moment: connect, open a channel, declare an exclusive server-named queue, close.
//!
//! Invariant: every cycle is polite; the next begins when the broker has answered the close.

use clap::Args;

use crate::client::{Connection, Queue, Target};
use crate::error::Result;
use crate::load::measure::Pacing;
use crate::outcome::Outcome;
use crate::scenario::rounds::{Round, churn};

#[derive(Debug, Clone, Args)]
pub struct Options {
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub threads: u32,
}

struct Cycle<'a>(&'a Target);

impl Round for Cycle<'_> {
    type State = ();
    const UNIT: &'static str = "cycle";

    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn round(&self, (): &mut ()) -> Result<()> {
        let mut connection = Connection::open(self.0)?;
        connection.declare("", &Queue::exclusive())?;
        connection.close()
    }

    fn finish(&self, (): ()) -> Result<()> {
        Ok(())
    }
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let mut outcome = Outcome::new("connection-churn", &target.name);
    outcome.parameter("threads", options.threads);
    churn(target, pacing, options.threads, &Cycle(target), &mut outcome)?;
    Ok(outcome)
}
