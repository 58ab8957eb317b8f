//! What can happen to a queue, as data that a scenario writes down or a property test makes up.

use broker::queue::QueueConfig;

/// A message of a batch.
#[derive(Clone, Debug)]
pub struct Message {
    pub priority: u8,
    pub ttl_ms: Option<u64>,
    pub bytes: usize,
    /// Whether this queue gets it; the others of its chunk go elsewhere.
    pub picked: bool,
    /// Whether it is to survive a restart.
    pub persistent: bool,
}

/// What a connection takes of an offer.
#[derive(Clone, Copy, Debug)]
pub enum Appetite {
    All,
    UpTo(u32),
    /// Takes some and then nothing until it is unblocked.
    Blocked(u32),
}

/// What a client does with messages it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Settle,
    Return,
    Reject,
}

#[derive(Clone, Debug)]
// Not every test's queue goes to the disk.
#[allow(dead_code)]
pub enum Step {
    Enqueue(Vec<Message>),
    AddConsumer {
        priority: i64,
        no_ack: bool,
        exclusive: bool,
        prefetch: u32,
    },
    /// The consumer at this place of the list leaves.
    RemoveConsumer(usize),
    Unblock(usize),
    /// One round of offers, each taken as the next appetite says.
    Deliver(Vec<Appetite>),
    Get {
        no_ack: bool,
    },
    /// About what one holder holds, from some place on.
    Answer {
        answer: Answer,
        holder: usize,
        from: usize,
        count: usize,
    },
    /// About messages nobody holds, as after a failover.
    Stray {
        answer: Answer,
        start: u64,
        count: u64,
    },
    /// Time goes by; what is over leaves.
    Wait(u64),
    EnforceLength,
    Purge,
    Configure(Box<QueueConfig>),
    DeadLetter(usize),
    SettleDown,
    /// Bodies are to leave memory, but for so many bytes at the head.
    PageOut(u64),
    /// The first of the blocks that are being written is there.
    Written,
    /// Blocks that are mostly dead are given up.
    GiveUp,
    /// The log forgets all but what a snapshot needs.
    Checkpoint,
    /// The node stops and starts again.
    Restart,
}
