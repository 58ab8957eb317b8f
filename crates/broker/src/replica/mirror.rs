//! What a mirror of a queue decides: whose frames it takes, what it holds, what it may acknowledge.
//!
//! Invariant: frames are taken from the home of the one epoch that the mirror knows, in order, without gaps; what
//! is held is given out to be applied once it is committed, or when the mirror becomes the home.

use super::acks::Acks;
use crate::catalog::copies::Copies;
use std::collections::BTreeMap;
use types::NodeId;

/// What becomes of an Open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The mirror tells its state, with the number of the Open.
    State(u64),
    /// It waits until its catalog has what the home knows.
    Wait,
    /// It knows this newer epoch.
    Refused(u64),
}

/// A numbered frame of the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The first of a stream.
    Reset,
    /// A turn.
    Turn,
    /// Messages that the mirror lacks.
    Fill,
}

/// Where what is in a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// To disk; every Reset does.
    Disk,
    /// It is only held, or there is nothing in it.
    Memory,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is to be applied.
    Take,
    /// It is of an epoch, or from a node, that the mirror does not follow; the epoch it follows.
    Refuse(u64),
    /// Something is missing before it: the stream has ended, and the home is told so with our epoch.
    Gap(u64),
}

/// A copy of a queue at a node that is not its home. `T` is what is held.
#[derive(Debug)]
pub struct MirrorRole<T> {
    me: NodeId,
    /// The epoch of the copy that was found on disk.
    last_epoch: u64,
    home: NodeId,
    epoch: u64,
    version: u64,
    is_mirror: bool,
    /// Who asked to open for what the catalog does not have here yet: the home, its epoch, version and number.
    waiting: Option<(NodeId, u64, u64, u64)>,
    stream: Stream,
    acks: Acks,
    committed: u64,
    held: BTreeMap<u64, T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Closed,
    Opened,
    Running,
}

impl<T> MirrorRole<T> {
    /// A mirror that knows nothing of its queue's copies yet, but the last epoch in its copy's history: who starts
    /// again may have an older catalog than its copy, and must not take that one's frames.
    pub fn new(me: NodeId, last_epoch: u64) -> MirrorRole<T> {
        MirrorRole {
            me,
            last_epoch,
            home: NodeId::default(),
            epoch: 0,
            version: 0,
            is_mirror: false,
            waiting: None,
            stream: Stream::Closed,
            acks: Acks::default(),
            committed: 0,
            held: BTreeMap::new(),
        }
    }

    /// The epoch that it follows.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The home of that epoch.
    pub fn home(&self) -> NodeId {
        self.home
    }

    /// The catalog has a row; an older one than is known changes nothing. What is held stays until the new home's
    /// Reset, in case that this copy becomes the home before. An Open that waited is answered now, to whom is told.
    pub fn set_copies(&mut self, home: NodeId, copies: &Copies) -> Option<(NodeId, Opened)> {
        if (copies.epoch, copies.version) <= (self.epoch, self.version) {
            return None;
        }
        if copies.epoch != self.epoch {
            (self.stream, self.acks, self.committed) = (Stream::Closed, Acks::default(), 0);
        }
        (self.home, self.epoch, self.version) = (home, copies.epoch, copies.version);
        self.is_mirror = home != self.me && copies.mirrors.contains(&self.me);
        let (from, epoch, version, number) = self.waiting.take()?;
        match self.open(from, epoch, version, number) {
            Opened::Wait => None,
            opened => Some((from, opened)),
        }
    }

    /// The home of an epoch, which knows the row up to a version, asks for the mirror's state. The version matters: a
    /// mirror that is to be dropped and added again must not tell of the copy that it is about to drop.
    pub fn open(&mut self, from: NodeId, epoch: u64, version: u64, number: u64) -> Opened {
        if (epoch, version) > (self.epoch, self.version) {
            if self.waiting.is_none_or(|waiting| waiting.1 <= epoch) {
                self.waiting = Some((from, epoch, version, number));
            }
            return Opened::Wait;
        }
        if !self.follows(from, epoch) {
            return Opened::Refused(self.epoch.max(self.last_epoch));
        }
        self.stream = Stream::Opened;
        Opened::State(number)
    }

    fn follows(&self, from: NodeId, epoch: u64) -> bool {
        epoch == self.epoch && epoch >= self.last_epoch && from == self.home && self.is_mirror
    }

    /// The link to a node has ended.
    pub fn link_down(&mut self, node: NodeId) {
        self.waiting.take_if(|waiting| waiting.0 == node);
        if node == self.home {
            self.stream = Stream::Closed;
        }
    }

    /// A frame has come.
    pub fn frame(&mut self, from: NodeId, epoch: u64, number: u64, frame: Frame, keeping: Keeping) -> Taken {
        if !self.follows(from, epoch) {
            return Taken::Refuse(self.epoch.max(self.last_epoch));
        }
        let is_next = match (self.stream, frame) {
            (Stream::Opened, Frame::Reset) => number > self.acks.taken(),
            (Stream::Running, Frame::Turn | Frame::Fill) => number == self.acks.taken() + 1,
            _ => false,
        };
        if !is_next {
            self.stream = Stream::Closed;
            return Taken::Gap(self.epoch);
        }
        if frame == Frame::Reset {
            self.stream = Stream::Running;
            self.acks.begin(number);
            // The Reset says what became of it, or it comes again behind that.
            self.held.clear();
        }
        self.acks.take(number, keeping == Keeping::Disk || frame == Frame::Reset);
        Taken::Take
    }

    /// Holds what a turn has that is applied once it is committed.
    pub fn hold(&mut self, position: u64, what: T) {
        self.held.insert(position, what);
    }

    /// Everything up to a position of an epoch is committed: what was held of it, in order, to be applied.
    pub fn committed(&mut self, epoch: u64, position: u64) -> Vec<T> {
        if epoch != self.epoch || self.stream != Stream::Running {
            return Vec::new();
        }
        self.committed = self.committed.max(position);
        let later = self.held.split_off(&(self.committed.saturating_add(1)));
        std::mem::replace(&mut self.held, later).into_values().collect()
    }

    /// What the frames of an epoch up to a number wrote is on disk: the number to be acknowledged, if there is one.
    pub fn durable(&mut self, epoch: u64, number: u64) -> Option<u64> {
        if epoch == self.epoch {
            self.acks.durable(number);
        }
        self.ack()
    }

    /// The number to be acknowledged to the home now, if there is a new one; to be asked for after each frame.
    pub fn ack(&mut self) -> Option<u64> {
        if self.stream == Stream::Running { self.acks.due() } else { None }
    }

    /// This node becomes the home: what it held, in order, to be applied.
    pub fn take_held(&mut self) -> Vec<T> {
        std::mem::take(&mut self.held).into_values().collect()
    }

    /// How much is held.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }
}
