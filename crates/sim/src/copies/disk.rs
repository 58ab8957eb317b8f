//! Writes of a node's processes: at once in memory, on disk after a sync, in one order for all queues.
//!
//! Invariant: a crash leaves some beginning of what was written, and all that was synced.

use super::bug::Bug;
use super::contents::Write;
use super::event::Event;
use super::machine::{Disk, Durable, Pending, Place};
use super::world::World;
use types::QueueId;

impl Disk {
    fn take(&mut self, pending: &Pending) {
        self.copies.entry(pending.queue).or_default().apply(&pending.write);
        if let Write::Drop(applied) = pending.write {
            self.applied = self.applied.max(applied);
        }
    }
}

impl World {
    /// Changes a copy in memory and writes it.
    pub fn write(&mut self, place: Place, queue: QueueId, write: Write, then: Option<Durable>) {
        let Some(process) = self.machines.get_mut(place).and_then(|it| it.process.as_mut()) else { return };
        let boot = process.boot;
        if let Some(seat) = process.seats.get_mut(&queue) {
            seat.contents.apply(&write);
            seat.has_copy = !matches!(write, Write::Drop(_));
        }
        process.written += 1;
        process.writes.push_back(Pending { number: process.written, queue, write, then });
        self.sync(place, boot);
    }

    /// Begins to sync what was written, unless a sync goes on.
    fn sync(&mut self, place: Place, boot: u64) {
        let slow_ms = self.machines.get(place).map_or(0, |machine| machine.disk.slow_ms);
        let is_slow = slow_ms > 0 && self.dice.permille(200);
        let pause = if is_slow { self.pause(1, slow_ms + 2) } else { self.pause(0, 4) };
        let Some(process) = self.process(place, boot).filter(|p| !p.is_syncing && !p.writes.is_empty())
        else {
            return;
        };
        process.is_syncing = true;
        let number = process.written;
        self.agenda.after(pause, Event::Synced(place, boot, number));
    }

    /// A sync has ended.
    pub fn synced(&mut self, place: Place, boot: u64, number: u64) {
        if self.is_held(place, boot, || Event::Synced(place, boot, number)) {
            return;
        }
        let Some(machine) = self.machines.get_mut(place) else { return };
        let Some(process) = machine.process.as_mut().filter(|process| process.boot == boot) else { return };
        process.is_syncing = false;
        let mut told = Vec::new();
        while let Some(pending) = process.writes.pop_front_if(|pending| pending.number <= number) {
            machine.disk.take(&pending);
            told.extend(pending.then.map(|then| (pending.queue, then)));
        }
        for (queue, then) in told {
            self.tell_durable(place, queue, then);
        }
        self.sync(place, boot);
    }

    /// Tells who waits for the disk.
    pub fn tell_durable(&mut self, place: Place, queue: QueueId, then: Durable) {
        match then {
            Durable::Turn { home, position } => self.own_durable(place, queue, home, position),
            Durable::Frame { epoch, number } => self.frame_durable(place, queue, epoch, number),
        }
    }

    /// What is on disk after a crash: what was synced, and some of what was written after it.
    pub fn tear(&mut self, place: Place) {
        let written =
            self.machines.get(place).and_then(|it| it.process.as_ref()).map_or(0, |p| p.writes.len());
        let kept = if self.dice.permille(300) { self.dice.below(written + 1) } else { 0 };
        let Some(machine) = self.machines.get_mut(place) else { return };
        let Some(process) = machine.process.as_mut() else { return };
        for pending in process.writes.drain(..).take(kept) {
            machine.disk.take(&pending);
        }
    }

    /// Whether a mirror waits for its disk before it acknowledges.
    pub fn waits_for_disk(&self) -> bool {
        !self.has(Bug::AckBeforeSync)
    }
}
