//! Links between nodes: in order as long as they last, ended with what was under way, by each end by itself.
//!
//! Invariant: what comes over a link is from the process that the link was made with, in the order it was sent.

use super::event::Event;
use super::frame::{Frame, What};
use super::machine::{LinkEnd, Place};
use super::world::World;
use types::limits::LINK_SILENCE_MS;
use types::{NodeId, QueueId};

/// How often links are looked at, milliseconds.
const LINKS_EVERY_MS: u64 = 50;

impl World {
    /// Whether nothing passes in a direction.
    fn is_cut(&self, from: Place, to: Place) -> bool {
        self.net.cut.contains(&(from, to))
    }

    /// Whether two machines reach each other now.
    pub fn is_linked(&self, one: Place, other: Place) -> bool {
        one == other || !self.is_cut(one, other) && !self.is_cut(other, one)
    }

    fn end(&self, at: Place, to: Place) -> Option<LinkEnd> {
        self.machines.get(at)?.process.as_ref()?.links.get(&to).copied()
    }

    /// Sends something to a node, if there is a link to it.
    pub fn send(&mut self, from: Place, to: NodeId, queue: QueueId, what: What) {
        let Some(at) = self.place_of(to) else { return };
        let link = match self.end(from, at) {
            Some(end) if end.peer == to => end.number,
            _ if at == from => 0,
            _ => return,
        };
        let slow = self.net.slow_ms > 0 && at != from && self.dice.permille(100);
        let far = if at == from { 0 } else { self.habits.far_ms };
        let pause =
            if slow { self.pause(far, far + self.net.slow_ms.max(2)) } else { self.pause(far, far + 2) };
        let pipe = self.pipes.entry((from, at)).or_default();
        let when = pipe.frames.back().map_or(0, |last| last.0).max(self.agenda.now + pause);
        pipe.frames.push_back((when, link, Frame { queue, what }));
        let pause = when - self.agenda.now;
        self.agenda.after(pause, Event::Arrive(from, at));
    }

    /// How much is under way to a machine.
    pub fn under_way(&self, from: Place, to: Place) -> usize {
        self.pipes.get(&(from, to)).map_or(0, |pipe| pipe.frames.len())
    }

    /// What has come from one machine to another is given to the process there.
    pub fn arrive(&mut self, from: Place, to: Place) {
        while !self.is_cut(from, to) {
            if self.machines.get(to).is_some_and(|it| it.process.as_ref().is_some_and(|p| p.is_paused)) {
                return;
            }
            let now = self.agenda.now;
            let Some(pipe) = self.pipes.get_mut(&(from, to)) else { return };
            let Some((_, link, frame)) = pipe.frames.pop_front_if(|frame| frame.0 <= now) else { return };
            let sender = match self.end(to, from) {
                Some(end) if end.number == link => end.peer,
                None if from == to && self.awake(to).is_some() => self.node_at(to),
                _ => continue,
            };
            self.receive(to, sender, link, frame);
        }
    }

    /// Looks whether links have ended or can be made.
    pub fn look_at_links(&mut self) {
        self.agenda.after(LINKS_EVERY_MS * 1_000, Event::Links);
        for one in self.places() {
            for other in self.places().filter(|other| *other != one) {
                self.look_at_end(one, other);
            }
        }
        for one in self.places() {
            for other in one + 1..self.machines.len() {
                self.dial(one, other);
            }
        }
        let stalled: Vec<(Place, Place)> = self.pipes.keys().copied().collect();
        stalled.into_iter().for_each(|(from, to)| self.arrive(from, to));
    }

    fn look_at_end(&mut self, at: Place, to: Place) {
        let Some(end) = self.end(at, to).filter(|_| self.awake(at).is_some()) else { return };
        let is_open = !self.is_cut(to, at);
        let is_there = self.end(to, at).is_some_and(|other| other.number == end.number);
        if is_open && !is_there {
            return self.end_link(at, to);
        }
        let hears = is_open && self.awake(to).is_some();
        let now = self.now();
        let Some(link) = self.machines.get_mut(at).and_then(|it| it.process.as_mut()?.links.get_mut(&to))
        else {
            return;
        };
        let since = *link.silent_since.get_or_insert(now);
        if hears {
            link.silent_since = None;
        } else if now - since >= LINK_SILENCE_MS * 1_000 {
            self.end_link(at, to);
        }
    }

    fn end_link(&mut self, at: Place, to: Place) {
        let end = self.machines.get_mut(at).and_then(|it| it.process.as_mut()?.links.remove(&to));
        if let Some(end) = end {
            self.say(|| format!("{at}: the link to {to} has ended"));
            self.link_down(at, end.peer, end.number);
        }
    }

    fn dial(&mut self, one: Place, other: Place) {
        let is_possible =
            self.awake(one).is_some() && self.awake(other).is_some() && self.is_linked(one, other);
        if !is_possible || self.end(one, other).is_some() || self.end(other, one).is_some() {
            return;
        }
        if !self.dice.permille(600) {
            return;
        }
        let number = self.number();
        let (left, right) = (self.node_at(one), self.node_at(other));
        self.say(|| format!("{one} and {other} are linked"));
        for (at, to, peer) in [(one, other, right), (other, one, left)] {
            let end = LinkEnd { number, peer, silent_since: None };
            if let Some(process) = self.machines.get_mut(at).and_then(|it| it.process.as_mut()) {
                process.links.insert(to, end);
            }
        }
        self.link_up(one, right, number);
        self.link_up(other, left, number);
    }
}
