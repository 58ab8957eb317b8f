//! What passes over links: the frames of mirrors as in `docs/internals/mirrors.md`, and what clients have forwarded.

use super::contents::Payload;
use broker::replica::History;
use std::collections::BTreeMap;
use types::QueueId;

/// Something for a queue at the other end.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The queue.
    pub queue: QueueId,
    /// What.
    pub what: What,
}

/// A frame's content.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the fields are those of the document
pub enum What {
    Open {
        epoch: u64,
        version: u64,
        number: u64,
    },
    State {
        epoch: u64,
        number: u64,
        history: History,
        next: u64,
        live: BTreeMap<u64, Payload>,
    },
    Reset {
        epoch: u64,
        number: u64,
        committed: u64,
        cut: u64,
        settled: Vec<u64>,
        history: History,
        next: u64,
    },
    Turn {
        epoch: u64,
        number: u64,
        position: u64,
        committed: u64,
        put: Vec<(u64, Payload)>,
        settled: Vec<u64>,
    },
    Fill {
        epoch: u64,
        number: u64,
        put: Vec<(u64, Payload)>,
    },
    Commit {
        epoch: u64,
        committed: u64,
    },
    Ack {
        epoch: u64,
        number: u64,
    },
    Refused {
        epoch: u64,
    },
    /// A client's message on its way to the home.
    Publish {
        payload: Payload,
    },
    /// A message for a client.
    Deliver {
        epoch: u64,
        index: u64,
        payload: Payload,
    },
    /// A client is done with a message.
    Settle {
        epoch: u64,
        index: u64,
    },
}
