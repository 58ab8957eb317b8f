//! Clients: they publish with confirms and consume with acknowledgements through any node.
//!
//! Invariant: every publish has a payload of its own; of one connection's publishes over one link the later ones have
//! higher ones.

use super::contents::Payload;
use super::event::Event;
use super::frame::What;
use super::invariants::Seen;
use super::machine::Place;
use super::world::World;
use std::collections::BTreeMap;
use types::{NodeId, QueueId};

/// Messages of a thousand that a client does not settle.
const NOT_SETTLED: u32 = 40;

/// A way that messages take in order: the client's machine, its node's start, the link to the home.
pub type Way = (Place, u64, u64);

/// What clients do.
#[derive(Debug, Default)]
pub struct Clients {
    /// They publish.
    pub are_publishing: bool,
    /// They consume.
    pub are_consuming: bool,
    /// The longest pause between two publishes at one node, milliseconds.
    pub pause_ms: u64,
    /// The way that each message took.
    pub ways: BTreeMap<Payload, Way>,
}

/// A message in a client's hands.
#[derive(Clone, Debug)]
pub struct Work {
    place: Place,
    boot: u64,
    home: NodeId,
    queue: QueueId,
    epoch: u64,
    index: u64,
    payload: Payload,
}

impl World {
    /// A client publishes, and will again.
    pub fn publish(&mut self, place: Place) {
        let pause = self.pause(1, self.clients.pause_ms.max(2));
        self.agenda.after(pause, Event::Publish(place));
        if !self.clients.are_publishing {
            return;
        }
        let Some(process) = self.awake(place) else { return };
        let (boot, picture) = (process.boot, process.picture.clone());
        let queues: Vec<QueueId> = picture.queues.keys().copied().collect();
        let Some(queue) = self.dice.one(&queues).copied() else { return };
        let Some(home) = picture.queues.get(&queue).map(|row| row.home) else { return };
        let Some(to) = self.place_of(home) else { return };
        let link = process.links.get(&to).map_or(0, |link| link.number);
        let payload = self.number();
        self.clients.ways.insert(payload, (place, boot, link));
        self.send(place, home, queue, What::Publish { payload });
    }

    /// A message has come to a client.
    pub fn take_delivery(
        &mut self,
        place: Place,
        queue: QueueId,
        home: NodeId,
        (epoch, index, payload): (u64, u64, Payload),
    ) {
        let Some(boot) = self.awake(place).map(|process| process.boot) else { return };
        let pause = self.pause(0, if self.dice.permille(50) { 1_000 } else { 20 });
        let work = Work { place, boot, home, queue, epoch, index, payload };
        self.agenda.after(pause, Event::Worked(work));
    }

    /// A client is done with a message, or was never heard of again.
    pub fn worked(&mut self, work: &Work) {
        let (place, boot, queue) = (work.place, work.boot, work.queue);
        if self.is_held(place, boot, || Event::Worked(work.clone())) || self.process(place, boot).is_none() {
            return;
        }
        if self.is_troubled && self.dice.permille(NOT_SETTLED) {
            return;
        }
        self.show(&Seen::Settled { queue, payload: work.payload });
        self.send(place, work.home, queue, What::Settle { epoch: work.epoch, index: work.index });
    }
}
