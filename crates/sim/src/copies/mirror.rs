//! A queue at a mirror, and what comes over links for queues.
//!
//! Invariant: what a mirror does with a frame is what its role says.

use super::bug::Bug;
use super::contents::{Payload, Write};
use super::frame::{Frame as LinkFrame, What};
use super::invariants::Seen;
use super::levelling::Stated;
use super::machine::{Durable, Place};
use super::world::World;
use broker::replica::{Frame, Keeping, Opened, Taken};
use types::{NodeId, QueueId};

impl World {
    /// Something has come over a link.
    pub fn receive(&mut self, place: Place, from: NodeId, link: u64, frame: LinkFrame) {
        let queue = frame.queue;
        match frame.what {
            What::Open { epoch, version, number } => {
                let version = if self.has(Bug::OpenWithoutVersion) { 0 } else { version };
                let Some(seat) = self.seat(place, queue) else { return };
                let opened = seat.mirror.open(from, epoch, version, number);
                self.answer_open(place, queue, from, epoch, opened);
            }
            What::State { epoch, number, history, next, live } => {
                if self.home(place, queue).is_some_and(|home| home.role.epoch() == epoch) {
                    self.stated(place, queue, from, (link, number), Stated { history, next, live });
                }
            }
            What::Ack { epoch, number } => {
                let now_ms = self.now_ms();
                if let Some(home) = self.home(place, queue).filter(|home| home.role.epoch() == epoch) {
                    home.role.acked(from, link, number, now_ms);
                    self.obey(place, queue);
                    self.pump(place, queue);
                }
            }
            What::Refused { epoch } => {
                // Without mirrors there is nobody who could refuse.
                if let Some(home) = self.home(place, queue).filter(|home| home.role.epoch() > 0) {
                    home.role.refused(from, link, epoch);
                    self.obey(place, queue);
                }
            }
            What::Publish { payload } => {
                let takes = self.home(place, queue).is_some_and(|home| !home.role.has_stepped_down());
                if takes {
                    self.append(place, queue, &[payload], Vec::new());
                }
            }
            What::Settle { epoch, index } => self.settle(place, queue, epoch, index),
            What::Deliver { epoch, index, payload } => {
                self.take_delivery(place, queue, from, (epoch, index, payload));
            }
            mirrored => self.mirrored(place, queue, from, mirrored),
        }
    }

    /// Tells a home what became of its Open.
    pub fn answer_open(&mut self, place: Place, queue: QueueId, to: NodeId, epoch: u64, opened: Opened) {
        let Some(seat) = self.seat(place, queue) else { return };
        let what = match opened {
            Opened::Wait => return,
            Opened::Refused(epoch) => What::Refused { epoch },
            Opened::State(number) => {
                let contents = seat.contents.clone();
                What::State {
                    epoch,
                    number,
                    history: contents.history,
                    next: contents.next,
                    live: contents.live,
                }
            }
        };
        self.send(place, to, queue, what);
    }

    /// A frame of the home for its mirror.
    fn mirrored(&mut self, place: Place, queue: QueueId, from: NodeId, what: What) {
        let numbered = match &what {
            What::Reset { epoch, number, .. } => Some((*epoch, *number, Frame::Reset, Keeping::Disk)),
            What::Fill { epoch, number, .. } => Some((*epoch, *number, Frame::Fill, Keeping::Disk)),
            What::Turn { epoch, number, put, .. } if put.is_empty() => {
                Some((*epoch, *number, Frame::Turn, Keeping::Memory))
            }
            What::Turn { epoch, number, .. } => Some((*epoch, *number, Frame::Turn, Keeping::Disk)),
            _ => None,
        };
        if numbered.is_none_or(|numbered| self.takes(place, queue, from, numbered)) {
            self.take(place, queue, what);
            self.acknowledge(place, queue);
        }
    }

    fn take(&mut self, place: Place, queue: QueueId, what: What) {
        match what {
            What::Reset { epoch, number, committed, cut, settled, history, next } => {
                let then = Some(Durable::Frame { epoch, number });
                let (node, to) = (self.node_at(place), history.epoch());
                let from = self.seat(place, queue).map_or(0, |seat| seat.contents.history.epoch());
                self.show(&Seen::Reset { queue, node, from, to });
                self.write(place, queue, Write::Reset { cut, settled, history, next }, then);
                self.mirror_committed(place, queue, epoch, committed);
            }
            What::Turn { epoch, number, position, committed, put, settled } => {
                self.put(place, queue, (epoch, number), &put);
                self.hold(place, queue, position, settled);
                self.mirror_committed(place, queue, epoch, committed);
            }
            What::Fill { epoch, number, put } => self.put(place, queue, (epoch, number), &put),
            What::Commit { epoch, committed } => self.mirror_committed(place, queue, epoch, committed),
            _ => {}
        }
    }

    /// Whether a frame is to be applied; the home is told if not.
    fn takes(
        &mut self,
        place: Place,
        queue: QueueId,
        from: NodeId,
        (epoch, number, frame, keeping): (u64, u64, Frame, Keeping),
    ) -> bool {
        let keeping = if self.waits_for_disk() { keeping } else { Keeping::Memory };
        let Some(seat) = self.seat(place, queue) else { return false };
        match seat.mirror.frame(from, epoch, number, frame, keeping) {
            Taken::Take => true,
            Taken::Refuse(epoch) | Taken::Gap(epoch) => {
                self.send(place, from, queue, What::Refused { epoch });
                false
            }
        }
    }

    fn put(&mut self, place: Place, queue: QueueId, (epoch, number): (u64, u64), put: &[(u64, Payload)]) {
        for (at, (index, payload)) in put.iter().enumerate() {
            let then = (at + 1 == put.len()).then_some(Durable::Frame { epoch, number });
            self.write(place, queue, Write::Put(*index, *payload), then);
        }
    }

    fn hold(&mut self, place: Place, queue: QueueId, position: u64, settled: Vec<u64>) {
        if settled.is_empty() {
            return;
        }
        if self.has(Bug::SettleBeforeCommit) {
            return self.let_go(place, queue, &settled, "a mirror takes it for committed");
        }
        if let Some(seat) = self.seat(place, queue) {
            seat.mirror.hold(position, settled);
        }
    }

    fn mirror_committed(&mut self, place: Place, queue: QueueId, epoch: u64, position: u64) {
        let Some(seat) = self.seat(place, queue) else { return };
        let settled: Vec<u64> = seat.mirror.committed(epoch, position).into_iter().flatten().collect();
        if !settled.is_empty() {
            self.let_go(place, queue, &settled, "a mirror takes it for committed");
        }
    }

    /// What a frame wrote is on the mirror's disk.
    pub fn frame_durable(&mut self, place: Place, queue: QueueId, epoch: u64, number: u64) {
        let Some(seat) = self.seat(place, queue) else { return };
        if let Some(number) = seat.mirror.durable(epoch, number) {
            let (home, epoch) = (seat.mirror.home(), seat.mirror.epoch());
            self.send(place, home, queue, What::Ack { epoch, number });
        }
    }

    /// Acknowledges what can be.
    fn acknowledge(&mut self, place: Place, queue: QueueId) {
        let Some(seat) = self.seat(place, queue) else { return };
        if let Some(number) = seat.mirror.ack() {
            let (home, epoch) = (seat.mirror.home(), seat.mirror.epoch());
            self.send(place, home, queue, What::Ack { epoch, number });
        }
    }
}
