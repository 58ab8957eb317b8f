//! An error on its way to the client: what to say, on which channel, about which method.
//!
//! Invariant: an error on channel 0 always closes the connection, whatever its code.

use types::{AmqpError, Reach};

/// A refusal with its place.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) error: AmqpError,
    pub(crate) channel: u16,
    pub(crate) class_method: (u16, u16),
    hard: bool,
}

impl Fault {
    /// An error caused by a method on a channel.
    pub(crate) fn new(error: AmqpError, channel: u16, class_method: (u16, u16)) -> Fault {
        Fault { error, channel, class_method, hard: false }
    }

    /// An error that closes the connection although its code would not.
    pub(crate) fn hard(error: AmqpError, channel: u16, class_method: (u16, u16)) -> Fault {
        Fault { error, channel, class_method, hard: true }
    }

    pub(crate) fn reach(&self) -> Reach {
        if self.hard || self.channel == 0 { Reach::Connection } else { self.error.reach() }
    }
}
