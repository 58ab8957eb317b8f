//! How the home brings a mirror level: what it has to let go of, the turns that are not committed, what it lacks.
//!
//! Invariant: once the last of it is acknowledged the mirror has all that the home had when it began.

use super::bug::Bug;
use super::contents::Payload;
use super::frame::What;
use super::home::Turn;
use super::machine::Place;
use super::world::World;
use broker::replica::{History, Sent, divergence};
use std::collections::{BTreeMap, VecDeque};
use types::{NodeId, QueueId};

/// Messages that go out at a time.
const FILL_MAX: usize = 16;

/// What a mirror has told of itself.
#[derive(Debug)]
pub struct Stated {
    /// Its history.
    pub history: History,
    /// Its next index.
    pub next: u64,
    /// What lives there.
    pub live: BTreeMap<u64, Payload>,
}

impl World {
    /// A mirror has told its state.
    pub fn stated(
        &mut self,
        place: Place,
        queue: QueueId,
        from: NodeId,
        (link, number): (u64, u64),
        stated: Stated,
    ) {
        let takes_any = self.has(Bug::StateOfAnyOpen);
        if let Some(home) = self.home(place, queue) {
            home.stated.insert(from, stated);
            let last = home.opened.get(&from).copied().filter(|_| takes_any);
            home.role.stated(from, link, last.unwrap_or(number));
            self.obey(place, queue);
        }
    }

    /// Begins a stream.
    pub fn level(&mut self, place: Place, queue: QueueId, node: NodeId) {
        let (keeps_tail, repeats) = (self.has(Bug::DivergentTailKept), !self.has(Bug::PendingNotRepeated));
        let Some(seat) = self.seat(place, queue) else { return };
        let contents = &seat.contents;
        let Some(home) = seat.home.as_deref_mut() else { return };
        let Some(stated) = home.stated.remove(&node) else { return };
        let ours = (&contents.history, contents.next);
        let cut = match divergence(ours, (&stated.history, stated.next)) {
            cut if keeps_tail => cut.max(stated.next),
            cut => cut,
        };
        let kept: Vec<u64> = stated.live.keys().copied().filter(|index| *index < cut).collect();
        let (kept, settled): (Vec<u64>, Vec<u64>) =
            kept.into_iter().partition(|index| contents.live.contains_key(index));
        let lacks: VecDeque<u64> =
            contents.live.keys().copied().filter(|index| kept.binary_search(index).is_err()).collect();
        let (epoch, history, next) = (home.role.epoch(), contents.history.clone(), contents.next);
        let committed = home.role.committed();
        home.fills.insert(node, lacks);
        home.repeated.insert(node, home.turns.len());
        let turns: Vec<(u64, Turn)> = home.turns.iter().map(|(at, turn)| (*at, turn.clone())).collect();
        let Some(number) = home.role.sent(node, Sent::Reset) else { return };
        self.send(place, node, queue, What::Reset { epoch, number, committed, cut, settled, history, next });
        for (position, turn) in turns.iter().filter(|(_, turn)| repeats && !turn.settled.is_empty()) {
            self.send_turn(place, queue, node, *position, &[], &turn.settled);
        }
        self.pump(place, queue);
    }

    /// Sends some of what mirrors lack.
    pub fn pump(&mut self, place: Place, queue: QueueId) {
        let Some(home) = self.home(place, queue) else { return };
        let nodes: Vec<NodeId> = home.fills.keys().copied().collect();
        for node in nodes {
            let at = self.place_of(node);
            if at.is_some_and(|at| self.under_way(place, at) > self.habits.link_frames_max / 2) {
                continue;
            }
            self.fill(place, queue, node);
        }
        self.obey(place, queue);
    }

    fn fill(&mut self, place: Place, queue: QueueId, node: NodeId) {
        let Some(seat) = self.seat(place, queue) else { return };
        let Some(home) = seat.home.as_deref_mut() else { return };
        if !home.role.streams().any(|stream| stream == node) {
            home.fills.remove(&node);
            return;
        }
        let Some(lacks) = home.fills.get_mut(&node) else { return };
        let some = lacks.drain(..lacks.len().min(FILL_MAX));
        // What was settled in the meantime is not filled any more.
        let live = &seat.contents.live;
        let put: Vec<(u64, Payload)> = some.filter_map(|index| Some((index, *live.get(&index)?))).collect();
        let is_last = lacks.is_empty();
        let epoch = home.role.epoch();
        let number = if put.is_empty() { None } else { home.role.sent(node, Sent::Fill) };
        if is_last {
            home.fills.remove(&node);
            home.role.filled(node);
        }
        if let Some(number) = number {
            self.send(place, node, queue, What::Fill { epoch, number, put });
        }
    }
}
