//! How a node comes to know the catalog, one change after another or by a jump, and what it does about its queues.
//!
//! Invariant: a node is the home of an epoch only if that epoch was given to this start of it, and drops no copy before
//! it knows all that was decided when it started.

use super::bug::Bug;
use super::contents::Write;
use super::event::Event;
use super::invariants::Seen;
use super::machine::{Place, Process, Seat};
use super::register::{self, Picture, Row};
use super::world::World;
use broker::catalog::Command;
use broker::replica::MirrorRole;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use types::{NodeId, QueueId};

/// Steps of a thousand in which a node that is behind gets all at once.
const JUMPS: u32 = 100;
/// A node tells so often that it has started, milliseconds.
const TOLD_EVERY_MS: u64 = 300;

impl World {
    /// Starts a machine's node, if it does not run.
    pub fn start(&mut self, place: Place) {
        let boot = self.number();
        let remembers = !self.has(Bug::EpochForgotten);
        let pictures = &self.register.pictures;
        let Some(machine) = self.machines.get_mut(place).filter(|machine| machine.process.is_none()) else {
            return;
        };
        let seat = |(queue, contents): (&QueueId, &super::contents::Contents)| {
            let epoch = if remembers { contents.history.epoch() } else { 0 };
            let mirror = MirrorRole::new(machine.node, epoch);
            (*queue, Seat { contents: contents.clone(), mirror, home: None, has_copy: true })
        };
        machine.process = Some(Process {
            boot,
            is_paused: false,
            held: Vec::new(),
            picture: Rc::default(),
            applied: machine.disk.applied,
            caught_up_at: None,
            deaf_until: 0,
            told_at: None,
            seats: machine.disk.copies.iter().map(seat).collect(),
            links: BTreeMap::new(),
            writes: VecDeque::new(),
            written: 0,
            is_syncing: false,
        });
        let picture = pictures.get(machine.disk.applied).cloned().unwrap_or_default();
        let applied = machine.disk.applied;
        self.say(|| format!("{place}: starts as {boot}, with the catalog at {applied}"));
        self.take_picture(place, picture, applied);
        self.agenda.after(0, Event::Look(place, boot));
    }

    /// A process looks around.
    pub fn look(&mut self, place: Place, boot: u64) {
        if self.is_held(place, boot, || Event::Look(place, boot)) || self.process(place, boot).is_none() {
            return;
        }
        let pause = self.pause(15, 40);
        self.agenda.after(pause, Event::Look(place, boot));
        self.follow(place, boot);
        self.tell_of_start(place, boot);
        let queues: Vec<QueueId> = self.seats(place);
        for queue in queues {
            self.tick(place, queue);
        }
    }

    /// The queues that a process knows.
    pub fn seats(&self, place: Place) -> Vec<QueueId> {
        let process = self.machines.get(place).and_then(|machine| machine.process.as_ref());
        process.map_or_else(Vec::new, |process| process.seats.keys().copied().collect())
    }

    fn follow(&mut self, place: Place, boot: u64) {
        let hears = self.leader.place.is_some_and(|leader| self.is_linked(place, leader));
        let (share, most_ms) = self.habits.deaf;
        let becomes_deaf = self.is_troubled && self.dice.permille(share);
        let deaf_until = self.now() + self.pause(1, most_ms);
        let (now, length) = (self.now(), self.register.pictures.len() - 1);
        let jumps = self.dice.permille(JUMPS);
        let Some(process) = self.process(place, boot) else { return };
        if becomes_deaf {
            process.deaf_until = deaf_until;
        }
        if !hears || process.deaf_until > now {
            return;
        }
        let target = *process.caught_up_at.get_or_insert(length);
        let applied = process.applied;
        if applied < length {
            let next = if jumps { length } else { applied + 1 };
            let picture = self.register.pictures.get(next).cloned().unwrap_or_default();
            self.take_picture(place, picture, next);
            if applied < target && next >= target {
                self.caught_up(place);
            }
        } else if applied == target {
            self.caught_up(place);
        }
    }

    fn take_picture(&mut self, place: Place, newer: Rc<Picture>, applied: usize) {
        let saves = self.dice.permille(self.habits.saves);
        let Some(machine) = self.machines.get_mut(place) else { return };
        let Some(process) = machine.process.as_mut() else { return };
        let older = std::mem::replace(&mut process.picture, newer.clone());
        process.applied = applied;
        if saves {
            machine.disk.applied = applied;
        }
        for (queue, row) in &newer.queues {
            if older.queues.get(queue) != Some(row) {
                self.take_row(place, *queue, row);
            }
        }
    }

    fn tell_of_start(&mut self, place: Place, boot: u64) {
        let (node, now) = (self.node_at(place), self.now());
        let Some(process) = self.process(place, boot) else { return };
        let is_known = process.picture.catalog.nodes.get(&node).is_some_and(|row| row.boot == boot && row.up);
        let is_due = process.told_at.is_none_or(|at| now - at >= TOLD_EVERY_MS * 1_000);
        if !is_known && is_due {
            process.told_at = Some(now);
            let row = register::node_row(node, &format!("n{place}"), boot);
            self.propose(place, Command::PutNode { node: row });
        }
    }

    /// A queue's row is another one.
    fn take_row(&mut self, place: Place, queue: QueueId, row: &Row) {
        let me = self.node_at(place);
        let (keeps_epoch, serves_any) = (self.has(Bug::EpochOfOldStart), self.has(Bug::ServedByOldRow));
        let Some(process) = self.machines.get_mut(place).and_then(|it| it.process.as_mut()) else { return };
        let boot = process.boot;
        let has_caught_up = process.caught_up_at.is_some_and(|at| process.applied >= at);
        let seat = process.seats.entry(queue).or_insert_with(|| Seat {
            contents: super::contents::Contents::default(),
            mirror: MirrorRole::new(me, 0),
            home: None,
            has_copy: false,
        });
        let answer = seat.mirror.set_copies(row.home, &row.copies);
        let is_same = seat.home.as_ref().is_some_and(|home| home.role.epoch() == row.copies.epoch);
        let is_given = row.home == me
            && match row.copies.epoch {
                // A copy with epochs is one of several: whether it is alone again is known once the catalog is.
                0 => has_caught_up || serves_any || seat.contents.history.epoch() == 0,
                _ => row.copies.boot == boot || keeps_epoch,
            };
        if is_same && is_given {
            self.home_copies(place, queue, &row.copies);
        } else {
            seat.home = None;
            if is_given {
                self.begin_home(place, queue, &row.copies);
            }
        }
        if let Some((to, opened)) = answer {
            self.answer_open(place, queue, to, row.copies.epoch, opened);
        }
        self.drop_if_needless(place, queue);
    }

    /// The node knows what was decided before it started.
    fn caught_up(&mut self, place: Place) {
        let Some(picture) = self.awake(place).map(|process| process.picture.clone()) else { return };
        for (queue, row) in picture.queues.iter().filter(|(_, row)| row.copies.epoch == 0) {
            if self.home(place, *queue).is_none() {
                self.take_row(place, *queue, row);
            }
        }
        for queue in self.seats(place) {
            self.drop_if_needless(place, queue);
        }
    }

    /// A copy that the catalog does not name goes, once the node knows what was decided before it started.
    fn drop_if_needless(&mut self, place: Place, queue: QueueId) {
        let me = self.node_at(place);
        let trusts_any = self.has(Bug::DroppedByOldRow);
        let Some(process) = self.machines.get_mut(place).and_then(|it| it.process.as_mut()) else { return };
        let has_caught_up = trusts_any || process.caught_up_at.is_some_and(|at| process.applied >= at);
        let applied = process.applied;
        let Some(row) = process.picture.queues.get(&queue).cloned() else { return };
        let Some(seat) = process.seats.get_mut(&queue) else { return };
        if !seat.has_copy || !has_caught_up || row.home == me || row.copies.mirrors.contains(&me) {
            return;
        }
        seat.mirror = MirrorRole::new(me, 0);
        seat.mirror.set_copies(row.home, &row.copies);
        self.say(|| format!("{place}: drops its copy of {queue}"));
        self.show(&Seen::Dropped { queue, node: me });
        self.write(place, queue, Write::Drop(applied), None);
    }

    /// A link is there.
    pub fn link_up(&mut self, place: Place, peer: NodeId, link: u64) {
        for queue in self.seats(place) {
            if let Some(home) = self.home(place, queue) {
                home.role.link_up(peer, link);
                self.obey(place, queue);
            }
        }
    }

    /// A link has ended.
    pub fn link_down(&mut self, place: Place, peer: NodeId, link: u64) {
        for queue in self.seats(place) {
            if let Some(seat) = self.seat(place, queue) {
                seat.mirror.link_down(peer);
            }
            if let Some(home) = self.home(place, queue) {
                home.role.link_down(peer, link);
                home.consumer_gone(peer);
                self.obey(place, queue);
            }
        }
    }

    /// A queue at a process.
    pub fn seat(&mut self, place: Place, queue: QueueId) -> Option<&mut Seat> {
        self.machines.get_mut(place)?.process.as_mut()?.seats.get_mut(&queue)
    }
}
