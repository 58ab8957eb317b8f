//! What happened in a run, as the clients saw it.
//!
//! Invariant: what a client is about to do (send, ack, return, purge, close) is recorded before it is written, what
//! it hears after it is read; so each event is recorded no later than the broker's answer to it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::checker::Checker;
use super::report::{Rule, Violations};
use crate::broker_process::Ending;

/// A message: its publisher, and its number with this publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub publisher: u32,
    pub sequence: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.publisher, self.sequence)
    }
}

/// The place of a queue in the list the checker was made with.
pub type QueueAt = u8;

/// One channel that consumes from one queue; no number is used twice in a run.
pub type SessionId = u32;

#[derive(Debug, Clone)]
pub enum Event {
    LifeBegan,
    LifeEnded(Ending),
    Sent(Sent),
    Confirmed(Id),
    Nacked(Id),
    /// tx.commit is about to be written for these publishes.
    Committing(Vec<Id>),
    Committed(Vec<Id>),
    RolledBack(Vec<Id>),
    Delivered(Delivered),
    /// What was delivered is not what was sent.
    Garbled {
        queue: QueueAt,
        text: String,
    },
    Acked {
        session: SessionId,
        queue: QueueAt,
        id: Id,
        in_tx: bool,
    },
    /// The channel answered a method behind the acks.
    Synced(SessionId),
    /// tx.commit is about to be written for the session's acks.
    AcksCommitting(SessionId),
    AcksCommitted(SessionId),
    /// basic.nack or basic.reject with requeue.
    Returned {
        queue: QueueAt,
        id: Id,
    },
    /// The session goes, and what is out on it goes back to the queue.
    Closing {
        session: SessionId,
        queue: QueueAt,
    },
    /// A purge or a delete is about to be written.
    Purging(QueueAt),
    Purged(QueueAt),
    /// A consumer got and acked everything, and the broker counts no ready message.
    Drained(QueueAt),
}

#[derive(Debug, Clone)]
pub struct Sent {
    pub id: Id,
    /// Every queue the message is routed to.
    pub queues: Vec<QueueAt>,
    pub is_persistent: bool,
    /// As the queue orders by it: 0 where it does not.
    pub priority: u8,
    pub in_tx: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Delivered {
    pub session: SessionId,
    pub queue: QueueAt,
    pub id: Id,
    pub redelivered: bool,
    /// The header x-delivery-count.
    pub returns: Option<u64>,
}

/// The checker and the violations found, shared by all threads of a run.
#[derive(Debug)]
pub struct History {
    checker: Mutex<Checker>,
    violations: Mutex<Violations>,
}

impl History {
    pub fn new(checker: Checker) -> Self {
        Self { checker: Mutex::new(checker), violations: Mutex::new(Violations::default()) }
    }

    pub fn record(&self, event: Event) {
        self.record_all([event]);
    }

    pub fn record_all(&self, events: impl IntoIterator<Item = Event>) {
        let mut checker = self.checker();
        let mut violations = self.violations();
        for event in events {
            checker.apply(event, &mut violations);
        }
    }

    /// Something wrong that is not about one message's history.
    pub fn violate(&self, rule: Rule, subject: &str, text: impl Into<String>) {
        self.violations().add(rule, subject, text);
    }

    pub fn checker(&self) -> MutexGuard<'_, Checker> {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn violations(&self) -> MutexGuard<'_, Violations> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
