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
use crate::scenario::rounds::churn;

const EXCHANGE: &str = "amq.direct";

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Stop with an error beyond this many queues
    #[arg(long, default_value_t = 200_000)]
    pub count_max: u64,
}

struct State {
    connection: Connection,
    count: u64,
}

pub fn run(target: &Target, pacing: &Pacing, options: &Options) -> Result<Outcome> {
    let prefix = unique_name();
    let leftovers = Mutex::new(Leftovers::new(target));
    let mut outcome = Outcome::new("declare", &target.name);
    let pair = |state: &mut State| {
        if state.count >= options.count_max {
            return Err(Error::Input(format!("{} queues are declared; raise --count-max", state.count)));
        }
        let name = format!("{prefix}.{}", state.count);
        state.count += 1;
        if let Ok(mut leftovers) = leftovers.lock() {
            leftovers.queue(&name);
        }
        state.connection.declare(&name, &Queue::durable())?;
        state.connection.bind(&name, EXCHANGE, &name)
    };
    let prepare = || Ok(State { connection: Connection::open(target)?, count: 0 });
    churn(target, pacing, 1, "pair", &mut outcome, prepare, pair, |state| state.connection.close())?;
    Ok(outcome)
}
