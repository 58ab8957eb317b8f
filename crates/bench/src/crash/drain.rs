//! Empties queues: what is still owed must come now.
//!
//! Invariant: a queue counts as drained when the broker says that no message is ready, and nothing came for a
//! while after that, and everything that came is acked and the acks are processed.

use std::time::{Duration, Instant};

use super::history::{Event, QueueAt};
use super::plan::{self, QUEUES};
use super::stage::{Held, MOMENT, Stage};
use crate::client::session;
use crate::error::{Error, Result};
use crate::wire;
use crate::wire::read::Reader;

const PREFETCH: u16 = 2000;
const ACK_EVERY: usize = 250;
/// Without a message and with none ready; a quorum queue's count may be a moment old.
const QUIET: Duration = Duration::from_millis(60);
const QUIET_QUORUM: Duration = Duration::from_millis(600);
/// Messages are ready, but none comes.
const STUCK: Duration = Duration::from_secs(30);

/// No other client may be at work. Gives the number of messages that came.
pub fn drain_all(stage: &Stage) -> Result<u64> {
    let mut taken = 0;
    for at in 0..QUEUES.len() {
        let queue = at as QueueAt;
        taken += drain(stage, queue).map_err(|error| match error {
            error @ Error::Closed { .. } => error,
            error => Error::Protocol(format!("draining {}: {error}", plan::name(queue))),
        })?;
    }
    Ok(taken)
}

fn drain(stage: &Stage, queue: QueueAt) -> Result<u64> {
    let mut attached = stage.attach(queue)?;
    attached.consume(PREFETCH)?;
    let quiet = if queue == plan::QUORUM { QUIET_QUORUM } else { QUIET };
    let mut held: Vec<Held> = Vec::new();
    let mut taken = 0;
    let mut moved_at = Instant::now();
    loop {
        match attached.session()?.next(MOMENT)? {
            Some(session::Event::Delivered(delivery)) => {
                held.push(attached.receive(&delivery));
                taken += 1;
                moved_at = Instant::now();
                if held.len() < ACK_EVERY {
                    continue;
                }
            }
            Some(session::Event::Cancelled) => {
                return Err(Error::Protocol(format!("the consumer of {} was cancelled", plan::name(queue))));
            }
            _ => {}
        }
        if let Some(last) = held.last() {
            let tag = last.tag;
            let ids = held.drain(..).filter_map(|held| held.id);
            let session = attached.number;
            stage.history.record_all(ids.map(|id| Event::Acked { session, queue, id, in_tx: false }));
            attached.session()?.queue(wire::BASIC_ACK, |args| {
                args.u64(tag).u8(1);
            });
            attached.session()?.flush()?;
        } else if moved_at.elapsed() > quiet {
            let ready = ready_messages(attached.session()?, plan::name(queue))?;
            if ready == 0 {
                break;
            }
            if moved_at.elapsed() > STUCK {
                return Err(Error::Stalled(format!(
                    "{ready} messages are ready in {} but do not come",
                    plan::name(queue)
                )));
            }
        }
    }
    attached.sync(PREFETCH)?;
    stage.history.record(Event::Drained(queue));
    attached.close()?;
    Ok(taken)
}

/// The count a passive declare gives.
pub fn ready_messages(session: &mut session::Session, queue: &str) -> Result<u32> {
    const PASSIVE: u8 = 1;
    let reply = session.call(wire::QUEUE_DECLARE, wire::QUEUE_DECLARE_OK, |args| {
        args.u16(0).short(queue).u8(PASSIVE).table(|_| {});
    })?;
    let mut reply = Reader::new(&reply);
    reply.short()?;
    reply.u32()
}
