//! A queue at its home: what is published and settled there, what is ready, what follows from commits.
//!
//! Invariant: a message is handed out and confirmed, and a settle applied, once its turn is committed.

use super::bug::Bug;
use super::contents::{Payload, Write};
use super::frame::What;
use super::invariants::Seen;
use super::levelling::Stated;
use super::machine::{Durable, Place};
use super::register;
use super::world::World;
use broker::catalog::copies::{Copies, CopyStep};
use broker::replica::{HomeEffect, HomeRole, MirrorRole, Sent};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use types::{NodeId, QueueId};

/// Messages of one consumer that are not settled.
const IN_HAND_MAX: usize = 10;
/// What a consumer does not settle for so long goes back, milliseconds.
const BACK_AFTER_MS: u64 = 2_500;
/// With the bug: an outcome that did not come for so long is taken for a refusal, milliseconds.
const IMPATIENT_MS: u64 = 100;

/// What one turn did.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// Messages that came.
    pub put: Vec<(u64, Payload)>,
    /// Messages that are done with.
    pub settled: Vec<u64>,
}

/// A queue's home.
#[derive(Debug)]
pub struct Home {
    /// What decides.
    pub role: HomeRole,
    /// Turns that are not committed.
    pub turns: BTreeMap<u64, Turn>,
    /// Messages that may be handed out.
    pub ready: BTreeSet<u64>,
    /// Messages with consumers: with whom, since when.
    pub unsettled: BTreeMap<u64, (NodeId, u64)>,
    /// What mirrors have told of themselves.
    pub stated: BTreeMap<NodeId, Stated>,
    /// The last Open to each mirror; with the bug any State is taken for its answer.
    pub opened: BTreeMap<NodeId, u64>,
    /// How many turns were repeated to each mirror when its stream began.
    pub repeated: BTreeMap<NodeId, usize>,
    /// What mirrors lack.
    pub fills: BTreeMap<NodeId, VecDeque<u64>>,
    /// Which home it is.
    number: u64,
    /// With the bug: how much newer the role believes its row to be.
    shift: u64,
    /// With the bug: when a join was proposed.
    join_at: Option<u64>,
}

impl Home {
    /// A consumer's node is out of reach: what it had goes back.
    pub fn consumer_gone(&mut self, node: NodeId) {
        self.take_back(|with, _| with == node);
    }

    fn serves(&self) -> bool {
        self.role.is_established() && !self.role.has_stepped_down()
    }

    fn take_back(&mut self, which: impl Fn(NodeId, u64) -> bool) {
        let back: Vec<u64> = self
            .unsettled
            .iter()
            .filter(|(_, held)| which(held.0, held.1))
            .map(|(index, _)| *index)
            .collect();
        for index in back {
            self.unsettled.remove(&index);
            self.ready.insert(index);
        }
    }
}

impl World {
    /// A queue whose home this is, as far as the process knows.
    pub fn home(&mut self, place: Place, queue: QueueId) -> Option<&mut Home> {
        self.seat(place, queue)?.home.as_deref_mut()
    }

    /// A node becomes the home: what it held is applied, its epoch begins.
    pub fn begin_home(&mut self, place: Place, queue: QueueId, copies: &Copies) {
        let (node, number) = (self.node_at(place), self.number());
        let Some(seat) = self.seat(place, queue) else { return };
        let held: Vec<u64> = seat.mirror.take_held().into_iter().flatten().collect();
        if copies.epoch == 0 {
            // Without mirrors it follows nobody, and takes nothing of who has not heard that.
            seat.mirror = MirrorRole::new(node, 0);
        }
        seat.home = Some(Box::new(Home {
            role: HomeRole::new(node, copies),
            turns: BTreeMap::new(),
            ready: BTreeSet::new(),
            unsettled: BTreeMap::new(),
            stated: BTreeMap::new(),
            opened: BTreeMap::new(),
            repeated: BTreeMap::new(),
            fills: BTreeMap::new(),
            number,
            shift: 0,
            join_at: None,
        }));
        self.say(|| format!("{place}: is the home of {queue} in epoch {}", copies.epoch));
        if !held.is_empty() {
            self.let_go(place, queue, &held, "it is the home now");
        }
        let epoch = copies.epoch;
        let Some(process) = self.machines.get_mut(place).and_then(|it| it.process.as_mut()) else { return };
        let (boot, links) = (process.boot, process.links.clone());
        let Some(home) = self.home(place, queue) else { return };
        links.values().for_each(|link| home.role.link_up(link.peer, link.number));
        let position = home.role.appended();
        home.turns.insert(position, Turn::default());
        let begin = match epoch {
            0 => Write::Alone,
            _ => Write::Begin(epoch),
        };
        self.write(place, queue, begin, Some(Durable::Turn { home: number, position }));
        self.show(&Seen::Appended { queue, epoch, node, boot });
        self.obey(place, queue);
    }

    /// The catalog has a later row of the home's epoch.
    pub fn home_copies(&mut self, place: Place, queue: QueueId, copies: &Copies) {
        let Some(process) = self.machines.get_mut(place).and_then(|it| it.process.as_mut()) else { return };
        let links = process.links.clone();
        let Some(home) = self.home(place, queue) else { return };
        let known: Vec<NodeId> = home.role.copies().mirrors.clone();
        home.role.set_copies(&Copies { version: copies.version + home.shift, ..copies.clone() });
        home.join_at = None;
        for link in links.values().filter(|link| !known.contains(&link.peer)) {
            home.role.link_up(link.peer, link.number);
        }
        self.obey(place, queue);
    }

    /// Time passes for a queue at its home.
    pub fn tick(&mut self, place: Place, queue: QueueId) {
        let now_ms = self.now_ms();
        let is_impatient = self.has(Bug::TimeoutIsOutcome);
        let Some(home) = self.home(place, queue) else { return };
        if is_impatient && home.join_at.is_some_and(|at| now_ms - at >= IMPATIENT_MS) {
            home.join_at = None;
            home.shift += 1;
            let copies = home.role.copies();
            let unchanged = Copies { version: copies.version + 1, ..copies.clone() };
            home.role.set_copies(&unchanged);
        }
        home.role.tick(now_ms);
        home.take_back(|_, since| now_ms - since >= BACK_AFTER_MS);
        self.obey(place, queue);
        self.pump(place, queue);
        self.deliver(place, queue);
    }

    /// Appends a turn, and sends it to everybody who gets turns.
    pub fn append(&mut self, place: Place, queue: QueueId, put: &[Payload], settled: Vec<u64>) {
        let node = self.node_at(place);
        let Some(process) = self.machines.get_mut(place).and_then(|it| it.process.as_mut()) else { return };
        let boot = process.boot;
        let Some(seat) = process.seats.get_mut(&queue) else { return };
        let Some(home) = seat.home.as_deref_mut() else { return };
        let (epoch, number) = (home.role.epoch(), home.number);
        let position = home.role.appended();
        let put: Vec<(u64, Payload)> = (seat.contents.next..).zip(put.iter().copied()).collect();
        home.turns.insert(position, Turn { put: put.clone(), settled: settled.clone() });
        self.show(&Seen::Appended { queue, epoch, node, boot });
        for (index, payload) in &put {
            self.write(place, queue, Write::Put(*index, *payload), None);
            if self.has(Bug::ConfirmBeforeCommit) {
                self.show(&Seen::Confirmed { queue, payload: *payload });
            }
        }
        // The home's disk has a position when all that was written before it is synced.
        self.write(place, queue, Write::Mark, Some(Durable::Turn { home: number, position }));
        let Some(home) = self.home(place, queue) else { return };
        let nodes: Vec<NodeId> = home.role.streams().collect();
        for to in nodes {
            self.send_turn(place, queue, to, position, &put, &settled);
        }
        self.obey(place, queue);
    }

    /// Sends a turn to a mirror.
    pub fn send_turn(
        &mut self,
        place: Place,
        queue: QueueId,
        to: NodeId,
        position: u64,
        put: &[(u64, Payload)],
        settled: &[u64],
    ) {
        let under_way = self.place_of(to).map_or(0, |at| self.under_way(place, at));
        let most = self.habits.link_frames_max;
        let Some(home) = self.home(place, queue) else { return };
        // What is repeated is as much as there is.
        let repeated = home.repeated.get(&to).copied().unwrap_or(0);
        if under_way > most + repeated {
            return home.role.end_stream(to);
        }
        let (epoch, committed) = (home.role.epoch(), home.role.committed());
        if let Some(number) = home.role.sent(to, Sent::Turn(position)) {
            let (put, settled) = (put.to_vec(), settled.to_vec());
            self.send(place, to, queue, What::Turn { epoch, number, position, committed, put, settled });
        }
    }

    /// The home's own disk has everything up to a position.
    pub fn own_durable(&mut self, place: Place, queue: QueueId, number: u64, position: u64) {
        if let Some(home) = self.home(place, queue).filter(|home| home.number == number) {
            home.role.own_durable(position);
            self.obey(place, queue);
        }
    }

    /// Does what the role says.
    pub fn obey(&mut self, place: Place, queue: QueueId) {
        loop {
            let effects = self.home(place, queue).map(|home| home.role.take_effects()).unwrap_or_default();
            if effects.is_empty() {
                return self.deliver(place, queue);
            }
            effects.into_iter().for_each(|effect| self.carry_out(place, queue, effect));
        }
    }

    fn carry_out(&mut self, place: Place, queue: QueueId, effect: HomeEffect) {
        let now_ms = self.now_ms();
        let Some(home) = self.home(place, queue) else { return };
        let (epoch, version) = (home.role.epoch(), home.role.version() - home.shift);
        match effect {
            HomeEffect::Open { node, number } => {
                home.opened.insert(node, number);
                self.send(place, node, queue, What::Open { epoch, version, number });
            }
            HomeEffect::Level(node) => self.level(place, queue, node),
            HomeEffect::CloseStream(node) => {
                home.fills.remove(&node);
                home.stated.remove(&node);
            }
            HomeEffect::Propose(step) => {
                if matches!(step, CopyStep::JoinSync(_)) {
                    home.join_at.get_or_insert(now_ms);
                }
                self.say(|| format!("{place}: proposes {step:?} for {queue} at {epoch}/{version}"));
                let row = self.awake(place).and_then(|process| process.picture.queues.get(&queue).cloned());
                if let Some(row) = row {
                    self.propose(place, register::step(queue, &row, (epoch, version), step));
                }
            }
            HomeEffect::StepDown(newer) => {
                home.ready.clear();
                self.say(|| format!("{place}: {queue} has an epoch {newer}"));
            }
            HomeEffect::Established => self.established(place, queue),
            HomeEffect::Committed(position) => self.committed(place, queue, position),
        }
    }

    /// All that the home had when its epoch began is committed.
    fn established(&mut self, place: Place, queue: QueueId) {
        let Some(seat) = self.seat(place, queue) else { return };
        let Some(home) = seat.home.as_deref_mut() else { return };
        let later: BTreeSet<u64> =
            home.turns.values().flat_map(|turn| turn.put.iter().map(|put| put.0)).collect();
        let before: Vec<(u64, Payload)> = seat.contents.live.iter().map(|(at, what)| (*at, *what)).collect();
        let before: Vec<(u64, Payload)> = before.into_iter().filter(|put| !later.contains(&put.0)).collect();
        home.ready.extend(before.iter().map(|put| put.0));
        let (epoch, contents) = (home.role.epoch(), seat.contents.clone());
        self.say(|| format!("{place}: {queue} is established in epoch {epoch}"));
        for (index, payload) in before {
            self.show(&Seen::Committed { queue, index, payload });
        }
        self.show(&Seen::Established { queue, contents: &contents });
    }

    fn committed(&mut self, place: Place, queue: QueueId, position: u64) {
        let Some(home) = self.home(place, queue) else { return };
        let epoch = home.role.epoch();
        let later = home.turns.split_off(&(position + 1));
        let turns = std::mem::replace(&mut home.turns, later);
        let put: Vec<(u64, Payload)> = turns.values().flat_map(|turn| turn.put.iter().copied()).collect();
        let settled: Vec<u64> = turns.values().flat_map(|turn| turn.settled.iter().copied()).collect();
        home.ready.extend(put.iter().map(|put| put.0));
        for (index, payload) in put {
            self.show(&Seen::Committed { queue, index, payload });
            self.show(&Seen::Confirmed { queue, payload });
        }
        if !settled.is_empty() {
            self.show(&Seen::SettleCommitted { queue, indexes: &settled });
            self.let_go(place, queue, &settled, "it is committed");
        }
        let Some(home) = self.home(place, queue) else { return };
        let nodes: Vec<NodeId> = home.role.streams().collect();
        for to in nodes {
            self.send(place, to, queue, What::Commit { epoch, committed: position });
        }
    }

    /// A copy applies settles.
    pub fn let_go(&mut self, place: Place, queue: QueueId, indexes: &[u64], why: &'static str) {
        let node = self.node_at(place);
        self.show(&Seen::LetGo { queue, node, indexes, why });
        self.write(place, queue, Write::Settle(indexes.to_vec()), None);
    }

    /// Hands out what is ready to whoever consumes.
    fn deliver(&mut self, place: Place, queue: QueueId) {
        if !self.clients.are_consuming {
            return;
        }
        let me = self.node_at(place);
        let Some(process) = self.machines.get(place).and_then(|it| it.process.as_ref()) else { return };
        let mut nodes: Vec<NodeId> = process.links.values().map(|link| link.peer).collect();
        nodes.push(me);
        let now_ms = self.now_ms();
        loop {
            let Some(home) = self.home(place, queue).filter(|home| home.serves()) else { return };
            let in_hand = |node: NodeId| home.unsettled.values().filter(|held| held.0 == node).count();
            nodes.retain(|node| in_hand(*node) < IN_HAND_MAX);
            let Some(index) = home.ready.first().copied() else { return };
            let epoch = home.role.epoch();
            let Some(to) = self.dice.one(&nodes).copied() else { return };
            let Some(seat) = self.seat(place, queue) else { return };
            let payload = seat.contents.live.get(&index).copied();
            if let Some(home) = seat.home.as_deref_mut() {
                home.ready.remove(&index);
                home.unsettled.insert(index, (to, now_ms));
            }
            let Some(payload) = payload else {
                return self.fail(format!("{queue}: ready message {index} is not there"));
            };
            self.show(&Seen::Delivered { queue, index, payload });
            self.send(place, to, queue, What::Deliver { epoch, index, payload });
        }
    }

    /// A client is done with a message.
    pub fn settle(&mut self, place: Place, queue: QueueId, epoch: u64, index: u64) {
        let Some(home) = self.home(place, queue).filter(|home| home.role.epoch() == epoch) else { return };
        if !home.role.has_stepped_down() && home.unsettled.remove(&index).is_some() {
            self.append(place, queue, &[], vec![index]);
        }
    }
}
