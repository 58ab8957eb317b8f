//! What must hold of copies, whatever happens. One file each.
//!
//! Invariant: they look and never change anything.

mod agreement;
mod committed;
mod copies_stay;
mod kept;
mod one_home;
mod order;
mod rows;
mod settles;

use super::contents::{Contents, Payload};
use super::register::Picture;
use super::world::World;
use broker::catalog::Command;
use types::{NodeId, QueueId};

/// Something that happened.
#[derive(Debug)]
#[allow(missing_docs)] // the fields are what the variants say
pub enum Seen<'a> {
    /// A change of the catalog was decided.
    Changed { change: &'a Command, before: &'a Picture, after: &'a Picture },
    /// A home has appended.
    Appended { queue: QueueId, epoch: u64, node: NodeId, boot: u64 },
    /// A home takes a message for committed.
    Committed { queue: QueueId, index: u64, payload: Payload },
    /// A message was confirmed.
    Confirmed { queue: QueueId, payload: Payload },
    /// A message was handed out.
    Delivered { queue: QueueId, index: u64, payload: Payload },
    /// A client is done with a message.
    Settled { queue: QueueId, payload: Payload },
    /// A home takes settles for committed.
    SettleCommitted { queue: QueueId, indexes: &'a [u64] },
    /// A copy lets go of messages.
    LetGo { queue: QueueId, node: NodeId, indexes: &'a [u64], why: &'static str },
    /// A node drops its copy.
    Dropped { queue: QueueId, node: NodeId },
    /// A copy follows a home of an epoch, after one of another.
    Reset { queue: QueueId, node: NodeId, from: u64, to: u64 },
    /// A home serves.
    Established { queue: QueueId, contents: &'a Contents },
    /// All faults are over, and everything has come to rest.
    Quiet,
}

/// Something that must hold.
pub trait Invariant {
    /// Looks at what happened.
    ///
    /// # Errors
    /// What does not hold, for people.
    fn see(&mut self, world: &World, seen: &Seen<'_>) -> Result<(), String>;
}

/// All of them.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(kept::Kept::default()),
        Box::new(one_home::OneHome::default()),
        Box::new(agreement::Agreement::default()),
        Box::new(committed::Committed::default()),
        Box::new(settles::Settles::default()),
        Box::new(copies_stay::CopiesStay),
        Box::new(rows::Rows),
        Box::new(order::Order),
    ]
}

/// The home of a queue's latest epoch, if it runs and knows that: its contents, and whether it serves.
fn latest_home(world: &World, queue: QueueId) -> Option<(&Contents, bool)> {
    let picture = world.register.pictures.last()?;
    let row = picture.queues.get(&queue)?;
    let process = world.machines.get(world.place_of(row.home)?)?.process.as_ref()?;
    let seat = process.seats.get(&queue)?;
    let role = &seat.home.as_ref().filter(|home| home.role.epoch() == row.copies.epoch)?.role;
    Some((&seat.contents, role.is_established()))
}
