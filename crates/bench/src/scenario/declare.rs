//! Durable queues, declared and bound one after the other with round trips on one channel.
//!
//! Invariant: bounded in time by the pacing and in number by `--count-max`; all queues are deleted at the end.

use std::sync::Mutex;

use clap::Args;

use crate::client::{Connection, Queue, Target};
use crate::error::{Error, Result};
use crate::load::leftovers::Leftovers;
use crate::load::measure::Pacing;
use crate::load::unique_name;
use crate::outcome::Outcome;
use crate::scenario::rounds::{Round, churn};

const EXCHANGE: &str = "amq.direct";

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Stop with an error beyond this many queues
    #[arg(long, default_value_t = 200_000)]
    pub count_max: u64,
}

struct Pair<'a> {
    target: &'a Target,
    prefix: String,
    count_max: u64,
    leftovers: Mutex<Leftovers>,
}

struct State {
    connection: Connection,
    count: u64,
}

impl Round for Pair<'_> {
    type State = State;
    const UNIT: &'static str = "pair";

    fn prepare(&self) -> Result<State> {
        Ok(State { connection: Connection::open(self.target)?, count: 0 })
    }

    fn round(&self, state: &mut State) -> Result<()> {
        if state.count >= self.count_max {
            return Err(Error::Input(format!("{} queues are declared; raise --count-max", state.count)));
        }
        let name = format!("{}.{}", self.prefix, state.count);
        state.count += 1;
        if let Ok(mut leftovers) = self.leftovers.lock() {
            leftovers.queue(&name);
        }
        state.connection.declare(&name, &Queue::durable())?;
        state.connection.bind(&name, EXCHANGE, &name)
    }

    fn finish(&self, state: State) -> Result<()> {
        state.connection.close()
    }
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let mut outcome = Outcome::new("declare", &target.name);
    let pair = Pair {
        target,
        prefix: unique_name(),
        count_max: options.count_max,
        leftovers: Mutex::new(Leftovers::new(target)),
    };
    churn(target, pacing, 1, &pair, &mut outcome)?;
    Ok(outcome)
}
