//! Deletes what a scenario declared and no connection owns.
//!
//! Invariant: on every way out, an error or an interrupt included, what was registered is deleted, or its name is
//! shown.

use crate::client::{Connection, Target};
use crate::error::Result;

#[derive(Debug)]
pub struct Leftovers {
    target: Target,
    queues: Vec<String>,
    exchanges: Vec<String>,
}

impl Leftovers {
    pub fn new(target: &Target) -> Self {
        let target = Target { heeds_interrupt: false, ..target.clone() };
        Self { target, queues: Vec::new(), exchanges: Vec::new() }
    }

    /// Registers a queue before it is declared.
    pub fn queue(&mut self, name: &str) {
        self.queues.push(name.into());
    }

    pub fn exchange(&mut self, name: &str) {
        self.exchanges.push(name.into());
    }

    fn delete_all(&self) -> Result<()> {
        let mut connection = Connection::open(&self.target)?;
        for queue in &self.queues {
            connection.delete_no_wait(queue)?;
        }
        connection.sync()?;
        for exchange in &self.exchanges {
            connection.delete_exchange(exchange)?;
        }
        connection.close()
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if self.queues.is_empty() && self.exchanges.is_empty() {
            return;
        }
        if let Err(error) = self.delete_all() {
            let names: Vec<&String> = self.queues.iter().chain(&self.exchanges).take(5).collect();
            eprintln!("bench: left on the broker: {names:?} (first 5): {error}");
        }
    }
}
