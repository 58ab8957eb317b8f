//! A thread that reads deliveries as fast as they come.
//!
//! Invariant: the time of arrival is read once per read of the socket, before the messages are counted.

use std::sync::atomic::Ordering;

use super::run::{PHASES, Run};
use crate::client::{Connection, Queue, Target, refuse_close};
use crate::clock;
use crate::error::Result;
use crate::histogram::Histogram;
use crate::wire::scan::{Method, Sink};

#[derive(Debug)]
pub struct Consumer {
    connection: Connection,
    /// An ack for every so many messages; 0 for auto-ack.
    ack_every: u64,
}

struct Latencies<'a> {
    run: &'a Run,
    /// When the newest read came back; 0 when the clock was not asked yet.
    arrived_ns: u64,
    histograms: [Histogram; PHASES],
}

impl Sink for Latencies<'_> {
    fn stamped(&mut self, stamp_ns: u64) {
        if self.arrived_ns == 0 {
            self.arrived_ns = clock::now_ns();
        }
        for (phase, histogram) in self.run.phases.iter().zip(&mut self.histograms) {
            if phase.contains(stamp_ns) {
                histogram.record(self.arrived_ns.saturating_sub(stamp_ns));
            }
        }
    }

    fn method(&mut self, method: Method<'_>) -> Result<()> {
        refuse_close(&method)
    }
}

impl Consumer {
    /// Consumes from queues that are there already, or that `prepare` makes on the consumer's own connection.
    pub fn open(
        target: &Target,
        queues: &[String],
        ack_every: u64,
        prepare: impl Fn(&mut Connection, &str) -> Result<()>,
    ) -> Result<Self> {
        let mut connection = Connection::open(target)?;
        for queue in queues {
            prepare(&mut connection, queue)?;
        }
        for queue in queues {
            connection.consume(queue, ack_every == 0)?;
        }
        connection.expect_stream();
        Ok(Self { connection, ack_every })
    }

    /// `connections` consumers with an equal share of exclusive queues each.
    pub fn share(
        target: &Target,
        queues: &[String],
        connections: usize,
        ack_every: u64,
        prepare: impl Fn(&mut Connection, &str) -> Result<()>,
    ) -> Result<Vec<Self>> {
        let share = queues.len().div_ceil(connections.max(1)).max(1);
        let declare = |connection: &mut Connection, queue: &str| {
            connection.declare(queue, &Queue::exclusive())?;
            prepare(connection, queue)
        };
        queues.chunks(share).map(|queues| Self::open(target, queues, ack_every, declare)).collect()
    }

    /// Reads until the run ends, then closes; gives the latencies of each phase.
    pub fn consume(mut self, run: &Run) -> Result<[Histogram; PHASES]> {
        let mut latencies = Latencies { run, arrived_ns: 0, histograms: Default::default() };
        let mut counted = 0;
        let mut acked = 0;
        while run.consumes() {
            latencies.arrived_ns = 0;
            self.connection.poll(&mut latencies)?;
            let deliveries = self.connection.scanner.deliveries;
            if deliveries > counted {
                run.received.fetch_add(deliveries - counted, Ordering::Relaxed);
                counted = deliveries;
            }
            if self.ack_every > 0 && deliveries - acked >= self.ack_every {
                self.connection.ack_up_to(self.connection.scanner.last_tag)?;
                acked = deliveries;
            }
        }
        self.connection.close()?;
        Ok(latencies.histograms)
    }
}
