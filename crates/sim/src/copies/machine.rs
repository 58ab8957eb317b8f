//! A machine of the play: its disk, and the node's process while it runs.
//!
//! Invariant: a process knows nothing of the one before but what was on the disk.

use super::contents::{Contents, Write};
use super::event::{Event, Micros};
use super::frame::Frame;
use super::home::Home;
use super::register::Picture;
use broker::replica::MirrorRole;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use types::{NodeId, QueueId};

/// A machine's number.
pub type Place = usize;

/// A machine.
#[derive(Debug)]
pub struct Machine {
    /// The node that its disk belongs to.
    pub node: NodeId,
    /// What survives a crash.
    pub disk: Disk,
    /// The node, while it runs.
    pub process: Option<Process>,
}

/// What is on a disk.
#[derive(Debug, Default)]
pub struct Disk {
    /// Copies of queues.
    pub copies: BTreeMap<QueueId, Contents>,
    /// A catalog that was known once: how many changes are in it.
    pub applied: usize,
    /// What a write takes, at most, milliseconds.
    pub slow_ms: u64,
}

/// Who is told when something is on disk.
#[derive(Clone, Copy, Debug)]
pub enum Durable {
    /// A home, by its number, of its turns up to one.
    Turn { home: u64, position: u64 },
    /// A mirror, of the home's frames up to one.
    Frame { epoch: u64, number: u64 },
}

/// Something that is written and not synced.
#[derive(Debug)]
pub struct Pending {
    /// Its number.
    pub number: u64,
    /// The queue.
    pub queue: QueueId,
    /// It.
    pub write: Write,
    /// Who is told.
    pub then: Option<Durable>,
}

/// One end of a link.
#[derive(Clone, Copy, Debug)]
pub struct LinkEnd {
    /// The link's number.
    pub number: u64,
    /// Who is at the other end.
    pub peer: NodeId,
    /// Since when nothing came.
    pub silent_since: Option<Micros>,
}

/// A queue at a node.
#[derive(Debug)]
pub struct Seat {
    /// Its copy, as it is in memory.
    pub contents: Contents,
    /// The copy as a mirror; while the node is the home it answers those who do not know that.
    pub mirror: MirrorRole<Vec<u64>>,
    /// The queue, if this is its home.
    pub home: Option<Box<Home>>,
    /// Whether there is a copy.
    pub has_copy: bool,
}

/// A running node.
#[derive(Debug)]
pub struct Process {
    /// This start.
    pub boot: u64,
    /// It stands still.
    pub is_paused: bool,
    /// What happened while it stood still.
    pub held: Vec<Event>,
    /// The catalog as it knows it.
    pub picture: Rc<Picture>,
    /// How many changes are in it.
    pub applied: usize,
    /// So many changes it has to know before it drops copies.
    pub caught_up_at: Option<usize>,
    /// It hears nothing of the catalog until then.
    pub deaf_until: Micros,
    /// When it told last that it runs.
    pub told_at: Option<Micros>,
    /// Its queues.
    pub seats: BTreeMap<QueueId, Seat>,
    /// Its links, by machine.
    pub links: BTreeMap<Place, LinkEnd>,
    /// What is written and not synced.
    pub writes: VecDeque<Pending>,
    /// The number of the last write.
    pub written: u64,
    /// A sync goes on.
    pub is_syncing: bool,
}

/// Frames on their way from one machine to another.
#[derive(Debug, Default)]
pub struct Pipe {
    /// When each arrives, the link it goes over, and it.
    pub frames: VecDeque<(Micros, u64, Frame)>,
}
