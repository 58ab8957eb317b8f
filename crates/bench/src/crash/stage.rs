//! What the threads of one life of the broker share.
//!
//! Invariant: an error of a client is a violation unless the broker was being ended, or the error is the plain
//! result of what another client did.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::history::{Event, History, QueueAt, SessionId};
use super::ledger::Ledger;
use super::plan;
use super::report::Rule;
use super::specimen::{self, Specimen};
use crate::client::Target;
use crate::client::session::{Delivery, Session};
use crate::error::{Error, Result};
use crate::wire;

const NOT_FOUND: u16 = 404;
const CONNECTION_FORCED: u16 = 320;
/// How long a thread waits for something to come before it looks whether the broker is being ended.
pub const MOMENT: Duration = Duration::from_millis(20);

pub struct Stage {
    pub target: Target,
    pub seed: u64,
    pub history: History,
    pub ledger: Ledger,
    pub http_port: Option<u16>,
    /// The broker is about to be ended: errors are to be expected.
    is_doomed: AtomicBool,
    /// The clients should go.
    is_ending: AtomicBool,
    sessions: AtomicU32,
}

impl Stage {
    pub fn new(target: Target, seed: u64, history: History, http_port: Option<u16>) -> Self {
        Self {
            target,
            seed,
            history,
            ledger: Ledger::default(),
            http_port,
            is_doomed: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            sessions: AtomicU32::new(0),
        }
    }

    pub fn begin(&self) {
        self.is_doomed.store(false, Ordering::SeqCst);
        self.is_ending.store(false, Ordering::SeqCst);
    }

    pub fn doom(&self) {
        self.is_doomed.store(true, Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    fn is_doomed(&self) -> bool {
        self.is_doomed.load(Ordering::SeqCst)
    }

    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    /// Judges how a client's work ended.
    pub fn judge(&self, who: &str, result: Result<()>) {
        match result {
            Ok(()) | Err(Error::Interrupted) => {}
            Err(Error::Closed { code: CONNECTION_FORCED, .. }) if self.is_doomed() => {}
            Err(error @ Error::Closed { .. }) => self.history.violate(Rule::Refused, who, error.to_string()),
            Err(_) if self.is_doomed() => {}
            Err(error) => self.history.violate(Rule::Broker, who, error.to_string()),
        }
    }

    /// The queue was deleted under the client.
    pub fn is_expected(queue: QueueAt, error: &Error) -> bool {
        queue == plan::DELETE && matches!(error, Error::Closed { code: NOT_FOUND, .. })
    }

    pub fn attach(&self, queue: QueueAt) -> Result<Attached<'_>> {
        let session = Session::open(&self.target)?;
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(Attached { stage: self, session: Some(session), number, queue })
    }
}

/// A session that takes messages from one queue.
pub struct Attached<'a> {
    stage: &'a Stage,
    session: Option<Session>,
    pub number: SessionId,
    pub queue: QueueAt,
}

impl Attached<'_> {
    pub fn session(&mut self) -> Result<&mut Session> {
        self.session.as_mut().ok_or_else(|| Error::Protocol("the session is closed".into()))
    }

    /// basic.qos and basic.consume.
    pub fn consume(&mut self, prefetch: u16) -> Result<()> {
        let name = plan::name(self.queue);
        self.qos(prefetch)?;
        let session = self.session()?;
        let reply = session.call(wire::BASIC_CONSUME, wire::BASIC_CONSUME_OK, |args| {
            args.u16(0).short(name).short("c").u8(0).table(|_| {});
        });
        reply.map(drop)
    }

    fn qos(&mut self, prefetch: u16) -> Result<()> {
        let reply = self.session()?.call(wire::BASIC_QOS, wire::BASIC_QOS_OK, |args| {
            args.u32(0).u16(prefetch).u8(0);
        });
        reply.map(drop)
    }

    /// A round trip: the acks before it are processed.
    pub fn sync(&mut self, prefetch: u16) -> Result<()> {
        self.qos(prefetch)?;
        self.stage.history.record(Event::Synced(self.number));
        Ok(())
    }

    /// Compares a delivery with what was sent and records it; gives what is to be acked.
    pub fn receive(&self, delivery: &Delivery) -> Held {
        let id = specimen::id_of(delivery);
        let history = &self.stage.history;
        let Some(id) = id else {
            let text = format!("no message id in properties {:?}", delivery.properties);
            history.record(Event::Garbled { queue: self.queue, text });
            return Held { tag: delivery.tag, id: None };
        };
        let mut events = Vec::new();
        let returns = match Specimen::new(self.stage.seed, id).compare(delivery) {
            Ok(returns) => returns,
            Err(text) => {
                events.push(Event::Garbled { queue: self.queue, text });
                None
            }
        };
        events.push(Event::Delivered(super::history::Delivered {
            session: self.number,
            queue: self.queue,
            id,
            redelivered: delivery.redelivered,
            returns,
        }));
        history.record_all(events);
        Held { tag: delivery.tag, id: Some(id) }
    }

    /// What is still out goes back to the queue.
    pub fn close(mut self) -> Result<()> {
        self.record_closing();
        self.session.take().map_or(Ok(()), Session::close)
    }

    fn record_closing(&self) {
        self.stage.history.record(Event::Closing { session: self.number, queue: self.queue });
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if self.session.is_some() {
            self.record_closing();
        }
    }
}

/// A delivery that is not settled yet.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub tag: u64,
    /// None when the message does not say who it is.
    pub id: Option<super::history::Id>,
}
