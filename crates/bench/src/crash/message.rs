//! What is known of one message and of its copy in each queue.
//!
//! Invariant: places that end with a life of the broker carry its number, so nothing has to be visited when a life
//! ends.

use std::collections::HashSet;
use std::fmt;

use super::history::{QueueAt, SessionId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Published in a transaction that was not committed.
    InTx,
    /// Sent, and no answer yet.
    Unknown,
    Confirmed,
    Nacked,
    RolledBack,
}

#[derive(Debug)]
pub struct Message {
    pub is_persistent: bool,
    pub priority: u8,
    pub sent_in: u32,
    pub outcome: Outcome,
    pub copies: Vec<Copy>,
}

/// How far an ack is known to have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Sent,
    Committing,
    Processed,
    Committed,
}

/// Where a copy is, with the life in which it got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Ready,
    Out(u32, SessionId),
    AckedInTx(u32, SessionId),
    Acked(u32, Step),
}

/// Why a copy need not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    Purged(u32),
    /// A purge was on its way.
    Maybe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Sent,
    Delivered,
    Redelivered,
    Acked,
    Processed,
    Committed,
    Returned,
    Purged,
}

/// Counters that begin again in each life.
#[derive(Debug, Default)]
pub struct InLife {
    life: u32,
    pub deliveries: u64,
    pub returns: u64,
}

#[derive(Debug)]
pub struct Copy {
    pub queue: QueueAt,
    pub place: Place,
    pub gone: Option<Gone>,
    pub deliveries: u32,
    in_life: InLife,
    marks: Vec<(u32, Mark)>,
}

impl Copy {
    pub fn new(queue: QueueAt) -> Self {
        Self {
            queue,
            place: Place::Ready,
            gone: None,
            deliveries: 0,
            in_life: InLife::default(),
            marks: Vec::new(),
        }
    }

    /// Keeps what happened, for the text of a violation.
    pub fn mark(&mut self, life: u32, mark: Mark) {
        self.marks.push((life, mark));
    }

    pub fn in_life(&mut self, life: u32) -> &mut InLife {
        if self.in_life.life != life {
            self.in_life = InLife { life, ..InLife::default() };
        }
        &mut self.in_life
    }

    /// What was out, or acked in an open transaction, is ready again when its session or the life is over.
    pub fn place_in(&self, life: u32, closed: &HashSet<SessionId>) -> Place {
        match self.place {
            Place::Out(since, session) | Place::AckedInTx(since, session)
                if since != life || closed.contains(&session) =>
            {
                Place::Ready
            }
            place => place,
        }
    }
}

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MARKS_MAX: usize = 16;
        let skipped = self.marks.len().saturating_sub(MARKS_MAX);
        for (at, (life, mark)) in self.marks.iter().skip(skipped).enumerate() {
            let name = match mark {
                Mark::Sent => "sent",
                Mark::Delivered => "delivered",
                Mark::Redelivered => "redelivered",
                Mark::Acked => "acked",
                Mark::Processed => "ack processed",
                Mark::Committed => "ack committed",
                Mark::Returned => "returned",
                Mark::Purged => "purged",
            };
            write!(f, "{}{name} in life {life}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
