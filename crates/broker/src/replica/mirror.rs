//! A mirror of a queue: whose frames it takes, and what it holds until it is committed.
//!
//! Invariant: frames are taken of the home of one epoch, of one stream, in order and without gaps; an earlier
//! epoch's are refused. What is held is given out once, in order, when the home says that it is committed.

use crate::catalog::copies::Copies;
use std::collections::VecDeque;
use types::NodeId;

/// What becomes of an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The mirror is to say what it has, in this epoch.
    State(u64),
    /// The row of that epoch is not known here yet.
    Wait,
    /// A later epoch is known: that one.
    Refused(u64),
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the next one.
    Take,
    /// It belongs to a stream that is over.
    Ignore,
    /// A later epoch is known: that one.
    Refused(u64),
}

/// The role; `T` is what is held.
#[derive(Debug)]
pub struct MirrorRole<T> {
    home: NodeId,
    /// The row's epoch.
    epoch: u64,
    /// The home that has opened, and its epoch; waits for the row if that is earlier.
    opened: Option<(NodeId, u64)>,
    /// The last frame's number; None before the stream has begun.
    number: Option<u64>,
    held: VecDeque<(u64, T)>,
}

impl<T> MirrorRole<T> {
    /// A mirror by the row that is known.
    pub fn new(home: NodeId, copies: &Copies) -> MirrorRole<T> {
        MirrorRole { home, epoch: copies.epoch, opened: None, number: None, held: VecDeque::new() }
    }

    /// Another row; what becomes of an opening that has waited for it.
    pub fn set_copies(&mut self, home: NodeId, copies: &Copies) -> Option<Opened> {
        if copies.epoch <= self.epoch {
            return None;
        }
        (self.home, self.epoch, self.number) = (home, copies.epoch, None);
        let (from, epoch) = self.opened.take()?;
        Some(self.open(from, epoch))
    }

    /// A home opens its stream.
    pub fn open(&mut self, from: NodeId, epoch: u64) -> Opened {
        if epoch < self.epoch || (epoch == self.epoch && from != self.home) {
            return Opened::Refused(self.epoch);
        }
        self.opened = Some((from, epoch));
        self.number = None;
        if epoch > self.epoch {
            return Opened::Wait;
        }
        self.begin_again();
        Opened::State(epoch)
    }

    /// The stream could not go on: it begins again with the next state.
    pub fn begin_again(&mut self) {
        self.number = Some(0);
        self.held.clear();
    }

    /// Whether a home speaks for the stream that is open.
    pub fn is_of(&self, from: NodeId, epoch: u64) -> bool {
        self.opened == Some((from, epoch)) && epoch == self.epoch
    }

    /// A frame comes.
    pub fn frame(&mut self, from: NodeId, epoch: u64, number: u64) -> Taken {
        if epoch < self.epoch {
            return Taken::Refused(self.epoch);
        }
        match self.number {
            Some(last) if self.is_of(from, epoch) && number == last + 1 => {
                self.number = Some(number);
                Taken::Take
            }
            _ => Taken::Ignore,
        }
    }

    /// Holds something until its position is committed.
    pub fn hold(&mut self, position: u64, held: T) {
        self.held.push_back((position, held));
    }

    /// What was held and is committed.
    pub fn committed(&mut self, position: u64) -> Vec<T> {
        let count = self.held.partition_point(|(at, _)| *at <= position);
        self.held.drain(..count).map(|(_, held)| held).collect()
    }

    /// Everything that is held, for one that becomes the home.
    pub fn take_held(&mut self) -> Vec<T> {
        self.held.drain(..).map(|(_, held)| held).collect()
    }

    /// The epoch in which frames up to a number are acknowledged; None when the stream is another one by now.
    pub fn durable(&self, number: u64) -> Option<u64> {
        self.number.is_some_and(|last| number <= last).then_some(self.epoch)
    }
}
