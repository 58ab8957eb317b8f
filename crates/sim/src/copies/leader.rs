//! Who leads the catalog, what becomes of what is proposed, and what the leader proposes itself.
//!
//! Invariant: nothing is decided while nobody reaches a majority of the machines.

use super::event::{Event, Micros};
use super::invariants::Seen;
use super::machine::Place;
use super::register;
use super::world::World;
use broker::catalog::Command;
use broker::catalog::copies::{self, CopyStep};
use std::collections::BTreeMap;
use types::NodeId;

/// How often the leader looks around, milliseconds.
const LOOK_MS: u64 = 100;
/// Changes of a thousand that are held up on their way.
const HELD_UP: u32 = 40;
/// How long at most, milliseconds.
const HELD_UP_MS: u64 = 4_000;
/// Who is not reached for so long is lost, milliseconds.
const LOST_AFTER_MS: u64 = 1_500;

/// Steps of queues' copies that are proposed at a time.
const STEPS_MAX: usize = 100;

/// Who leads.
#[derive(Debug, Default)]
pub struct Leader {
    /// Where.
    pub place: Option<Place>,
    elects_at: Option<Micros>,
    silent_since: BTreeMap<NodeId, Micros>,
}

impl World {
    fn has_majority(&self, place: Place) -> bool {
        let reached = |other: &Place| self.awake(*other).is_some() && self.is_linked(place, *other);
        self.awake(place).is_some() && 2 * self.places().filter(reached).count() > self.machines.len()
    }

    /// A node proposes a change; it does not hear what it comes to.
    pub fn propose(&mut self, from: Place, change: Command) {
        let Some(leader) = self.leader.place.filter(|leader| self.is_linked(from, *leader)) else { return };
        if self.awake(leader).is_none() {
            return;
        }
        let is_held_up = self.dice.permille(HELD_UP);
        let pause = if is_held_up { self.pause(1, HELD_UP_MS) } else { self.pause(1, 8) };
        self.proposed += 1;
        self.agenda.after(pause, Event::Proposed(Box::new(change)));
    }

    /// A change is decided, or lost with its leader.
    pub fn decide(&mut self, change: &Command) {
        self.proposed -= 1;
        if self.leader.place.is_none_or(|leader| !self.has_majority(leader)) {
            return;
        }
        let before = self.register.latest();
        if self.register.apply(change) {
            let after = self.register.latest();
            self.say(|| format!("{}: {change:?}", after.catalog.version));
            self.show(&Seen::Changed { change, before: &before, after: &after });
        }
    }

    /// The leader looks around, or there is a new one.
    pub fn lead(&mut self) {
        self.agenda.after(LOOK_MS * 1_000, Event::Lead);
        let now = self.now();
        let Some(leader) = self.leader.place.filter(|leader| self.has_majority(*leader)) else {
            self.leader.place = None;
            let pause = self.pause(200, 700);
            if *self.leader.elects_at.get_or_insert(now + pause) <= now {
                let able: Vec<Place> = self.places().filter(|place| self.has_majority(*place)).collect();
                let place = self.dice.one(&able).copied();
                self.leader = Leader { place, ..Leader::default() };
                self.say(|| format!("{place:?} leads"));
            }
            return;
        };
        self.tell_of_lost(leader);
        if self.dice.permille(300) {
            self.walk(leader);
        }
    }

    fn tell_of_lost(&mut self, leader: Place) {
        let (picture, now) = (self.register.latest(), self.now());
        for (node, row) in picture.catalog.nodes.iter().filter(|(_, row)| row.up) {
            let answers = self
                .place_of(*node)
                .is_some_and(|place| self.awake(place).is_some() && self.is_linked(leader, place));
            if answers {
                self.leader.silent_since.remove(node);
                continue;
            }
            let since = *self.leader.silent_since.entry(*node).or_insert(now);
            if now - since >= LOST_AFTER_MS * 1_000 {
                self.propose(leader, Command::NodeLost { id: *node, boot: row.boot });
            }
        }
    }

    /// One step for each queue, or homes are spread.
    fn walk(&mut self, leader: Place) {
        let picture = self.register.latest();
        for (queue, row) in &picture.queues {
            let to = self.dice.one(&row.copies.in_sync).copied();
            if let Some(to) = to.filter(|_| self.is_troubled && self.dice.permille(15)) {
                let at = (row.copies.epoch, row.copies.version);
                self.propose(leader, register::step(*queue, row, at, CopyStep::HandOver(to)));
            }
        }
        let mut changes = copies::next_steps(&picture.catalog, STEPS_MAX);
        if changes.is_empty() && self.dice.permille(50) {
            let serving: Vec<NodeId> = self
                .places()
                .filter(|place| self.awake(*place).is_some())
                .map(|at| self.node_at(at))
                .collect();
            changes = copies::balancing_steps(&picture.catalog, &serving, STEPS_MAX);
        }
        if !changes.is_empty() {
            self.propose(leader, Command::ChangeCopies { changes });
        }
    }
}
