//! The home of a mirrored queue: each turn goes to its own log and to the mirrors, and what is committed is told.
//!
//! Invariant: who must have a turn before it counts is decided by `HomeRole`; here it is carried out. Settles are
//! written here when they are committed, as everywhere else, so that no log says more than the others may know.

use super::log::{Commit, QueueLog, Turn};
use super::mirroring::{Mirrors, ToHome, ToMirror};
use super::part::{CopiesListing, CopyListing, Part};
use super::turn::tell;
use super::{Queue, QueueCommand, QueueState};
use crate::clock;
use crate::drive::{touch, touch_link};
use crate::node::Broker;
use crate::storage::Waiter;
use broker::catalog;
use broker::queue::{BlockAt, Encoded, IndexSet, Missing, NextFill, QueueMachine, Reach, reach};
use broker::replica::{History, HomeEffect, HomeRole, Sent, Waiting};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::NodeId;
use types::limits::{
    MIRROR_FILL_MAX_BYTES, MIRROR_FILLS_AHEAD, MIRROR_LINK_MAX_BYTES, MIRROR_PENDING_MAX_BYTES,
};

/// A turn that is not committed yet.
struct PendingTurn {
    position: u64,
    /// Where its last record is in the node's log; None when the log has nothing of it.
    sequence: Option<u64>,
    /// Messages below this index are there.
    next: u64,
    bytes: usize,
    /// What is written when it is committed.
    late: Vec<Encoded>,
    waiters: Vec<Waiter>,
}

/// Messages that a mirror does not have.
struct Levelling {
    missing: Missing,
    /// Fills that were sent and are not acknowledged: numbers.
    under_way: VecDeque<u64>,
}

type Action = Box<dyn FnOnce() + Send>;

/// What the home of a mirrored queue keeps.
pub(super) struct Leading {
    role: HomeRole,
    epoch: u64,
    turns: VecDeque<PendingTurn>,
    levelling: BTreeMap<NodeId, Levelling>,
    /// What is to be done when everything up to a position is committed and written.
    after: VecDeque<(u64, Action)>,
    pending_bytes: usize,
    last_position: u64,
    /// What clients asked for before it was known that everything here is committed.
    pub(super) held: Vec<QueueCommand>,
    /// What was asked of the queue behind messages that are not committed: what is below an index has to be.
    looks: VecDeque<(u64, QueueCommand)>,
    /// What mirrors have told that they have, until they are levelled.
    stated: BTreeMap<NodeId, (History, u64, IndexSet)>,
    /// Mirrors that are levelled when the turn is logged: what it has done by now they get no other way.
    level_next: Vec<NodeId>,
}

impl Leading {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    #[inline]
    pub(super) fn is_established(&self) -> bool {
        self.role.is_established()
    }

    /// Whether publishers have to wait for the copies.
    pub(super) fn is_backed_up(&self) -> bool {
        self.pending_bytes > MIRROR_PENDING_MAX_BYTES
    }

    /// The queue is deleted: nobody waits any more. What was to be done after a commit is done after the log's end.
    /// Gives what clients asked for and was not done.
    pub(super) fn end(mut self, log: &dyn QueueLog) -> Vec<QueueCommand> {
        for turn in self.turns.drain(..) {
            turn.waiters.into_iter().for_each(tell);
        }
        self.after.drain(..).for_each(|(_, action)| log.after(action));
        self.held.extend(self.looks.into_iter().map(|(_, command)| command));
        self.held
    }

    /// The queue has no mirrors any more: what waited for them waits for this node's disk alone. Gives what clients
    /// wait for.
    pub(super) fn go_on_alone(mut self, log: &mut dyn QueueLog) -> Vec<QueueCommand> {
        for turn in self.turns.drain(..) {
            let late = append(log, turn.late, true).map(|(_, last)| last);
            match late.or(turn.sequence) {
                Some(sequence) => drop(log.wait(sequence, turn.waiters)),
                None => turn.waiters.into_iter().for_each(tell),
            }
        }
        for (_, action) in self.after {
            log.after(action);
        }
        self.held.extend(self.looks.into_iter().map(|(_, command)| command));
        self.held
    }

    /// Another node is the home now, or none: who waits for a commit is refused; gives what clients wait for.
    pub(super) fn step_down(mut self, log: &mut dyn QueueLog) -> Vec<QueueCommand> {
        for turn in self.turns.drain(..) {
            // The machine has done it; its own log has to agree with it.
            append(log, turn.late, false);
            for waiter in turn.waiters {
                match waiter {
                    Waiter::Ticket(ticket, _) => {
                        ticket.outlet.cut_off(&ticket.ranges);
                        touch(&ticket.outlet);
                    }
                    // Who is not answered hears that the queue is out of reach.
                    Waiter::Fence(_) | Waiter::Queue(_) => {}
                }
            }
        }
        for (_, action) in self.after {
            log.after(action);
        }
        self.held.extend(self.looks.into_iter().map(|(_, command)| command));
        self.held
    }

    /// Copies as operators see them.
    pub(super) fn listing(&self) -> CopiesListing {
        let missing = |node| self.levelling.get(&node).map_or(0, |levelling| levelling.missing.count());
        let listing = |(node, state, lag)| CopyListing { node, state, lag, missing: missing(node) };
        let waiting = |waiting: Waiting| format!("{:?} of node {}", waiting.reason, waiting.node);
        CopiesListing {
            copies: self.role.mirrors().map(listing).collect(),
            waits_for: self.role.waits_for().into_iter().map(waiting).collect(),
        }
    }
}

/// Appends records to the node's log; gives where the last one is.
fn append(log: &mut dyn QueueLog, records: Vec<Encoded>, urgent: bool) -> Option<(u64, u64)> {
    if records.is_empty() {
        return None;
    }
    match log.append(Turn { commands: &[], records, urgent }) {
        Commit::Now => None,
        Commit::At { first, last } => Some((first, last)),
    }
}

fn memory_of((record, chunk): &Encoded) -> usize {
    record.len() + chunk.as_ref().map_or(0, |chunk| chunk.data_bytes())
}

impl Queue {
    /// This node is the home, in an epoch that was given to this start of its process.
    pub(super) fn begin_to_lead(
        self: &Arc<Queue>,
        state: &mut QueueState,
        row: &Arc<catalog::Queue>,
        broker: &Broker,
    ) {
        let Some(copies) = &row.copies else { return };
        let (me, _) = broker.seat();
        let now_ms = clock::now_ms();
        if !state.log.keeps_commands() && row.durable {
            state.log = broker.logs.open(row);
        }
        if state.machine.is_following() {
            state.machine.lead(now_ms);
        }
        state.machine.set_logged(true);
        state.machine.set_gated(true);
        state.machine.begin_epoch(copies.epoch);
        let mut leading = Leading {
            role: HomeRole::new(me, copies),
            epoch: copies.epoch,
            turns: VecDeque::new(),
            levelling: BTreeMap::new(),
            after: VecDeque::new(),
            pending_bytes: 0,
            last_position: 0,
            held: Vec::new(),
            looks: VecDeque::new(),
            stated: BTreeMap::new(),
            level_next: Vec::new(),
        };
        let mirrors = broker.mirrors();
        for node in &copies.mirrors {
            if let Some(link) = mirrors.link(*node) {
                leading.role.link_up(*node, link);
            }
        }
        state.part = Part::Leads(Box::new(leading));
        self.watches_copies.store(true, Ordering::Relaxed);
        self.obey(state, broker);
    }

    /// The same epoch, but other copies.
    pub(super) fn follow_row(
        self: &Arc<Queue>,
        state: &mut QueueState,
        row: &Arc<catalog::Queue>,
        broker: &Broker,
    ) {
        let (Part::Leads(leading), Some(copies)) = (&mut state.part, &row.copies) else { return };
        let mirrors = broker.mirrors();
        let known: Vec<NodeId> = leading.role.mirrors().map(|(node, ..)| node).collect();
        leading.role.set_copies(copies);
        for node in copies.mirrors.iter().filter(|node| !known.contains(node)) {
            if let Some(link) = mirrors.link(*node) {
                leading.role.link_up(*node, link);
            }
        }
        self.obey(state, broker);
    }

    /// The node's log is on disk up to a sequence.
    pub(super) fn synced(self: &Arc<Queue>, state: &mut QueueState, up_to: u64, broker: &Broker) {
        if let Part::Leads(leading) = &mut state.part {
            let is_durable = |turn: &&PendingTurn| turn.sequence.is_none_or(|sequence| sequence <= up_to);
            let durable = leading.turns.iter().take_while(is_durable).last().map(|turn| turn.position);
            if let Some(position) = durable {
                leading.role.own_durable(position);
            }
            self.obey(state, broker);
        }
    }

    /// A link to another node is up, or is not any more.
    pub(super) fn peer_linked(
        self: &Arc<Queue>,
        state: &mut QueueState,
        (node, link): (NodeId, u64),
        is_up: bool,
        broker: &Broker,
    ) {
        let Part::Leads(leading) = &mut state.part else { return };
        if is_up {
            leading.role.link_up(node, link);
        } else {
            leading.role.link_down(node, link);
            leading.levelling.remove(&node);
        }
        self.obey(state, broker);
    }

    /// Time passes while something is waited for.
    pub(super) fn look_at_copies(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker) {
        let Part::Leads(leading) = &mut state.part else { return };
        leading.role.tick(clock::now_ms());
        self.obey(state, broker);
    }

    /// A mirror says something.
    pub(super) fn heard(
        self: &Arc<Queue>,
        state: &mut QueueState,
        (node, link): (NodeId, u64),
        message: ToHome,
        broker: &Broker,
    ) {
        let Part::Leads(leading) = &mut state.part else { return };
        match message {
            ToHome::State { epoch, number, history, next, live } if epoch == leading.epoch => {
                let mut has = IndexSet::default();
                live.into_iter().for_each(|range| has.insert(range));
                leading.stated.insert(node, (history, next, has));
                leading.role.stated(node, link, number);
            }
            ToHome::Ack { epoch, number } if epoch == leading.epoch => {
                if let Some(levelling) = leading.levelling.get_mut(&node) {
                    levelling.under_way.retain(|fill| *fill > number);
                }
                leading.role.acked(node, link, number, clock::now_ms());
            }
            ToHome::Refused { epoch } => leading.role.refused(node, link, epoch),
            // Of an earlier epoch.
            ToHome::State { .. } | ToHome::Ack { .. } => {}
        }
        self.obey(state, broker);
    }

    /// A mirror has told what it has: what is over goes, and what it misses is sent from now on.
    fn begin_to_level(&self, leading: &mut Leading, machine: &QueueMachine, node: NodeId, broker: &Broker) {
        let Some((history, next, has)) = leading.stated.remove(&node) else { return };
        let (reset, missing) = machine.reset_for(&history, next, &has);
        let Some(number) = leading.role.sent(node, Sent::Reset) else { return };
        put(self, broker, node, &ToMirror::Reset { epoch: leading.epoch, number, reset });
        leading.levelling.insert(node, Levelling { missing, under_way: VecDeque::new() });
        self.repeat_turns(leading, node, broker);
    }

    /// What is held until it is committed comes once more behind a Reset, which lets go of what the mirror held.
    fn repeat_turns(&self, leading: &mut Leading, node: NodeId, broker: &Broker) {
        let Leading { role, turns, epoch, .. } = leading;
        for turn in turns.iter() {
            let held = turn.late.iter().filter(|(record, _)| reach(record) == Reach::WhenCommitted);
            let records: Arc<[Encoded]> = held.cloned().collect();
            if records.is_empty() {
                continue;
            }
            let Some(number) = role.sent(node, Sent::Turn(turn.position)) else { return };
            let (epoch, position, committed) = (*epoch, turn.position, role.committed());
            put(self, broker, node, &ToMirror::Turn { epoch, number, position, committed, records });
        }
    }

    /// Carries out what the role has decided.
    fn obey(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker) {
        loop {
            let Part::Leads(leading) = &mut state.part else { return };
            let effects = leading.role.take_effects();
            if effects.is_empty() {
                self.watches_copies.store(!leading.role.is_quiet(), Ordering::Relaxed);
                return;
            }
            for effect in effects {
                match effect {
                    HomeEffect::Open { node, number } => {
                        let version = leading.role.version();
                        put(self, broker, node, &ToMirror::Open { epoch: leading.epoch, version, number });
                    }
                    HomeEffect::CloseStream(node) => drop(leading.levelling.remove(&node)),
                    HomeEffect::Level(node) => leading.level_next.push(node),
                    // The row that says so is on its way.
                    HomeEffect::StepDown(_) => {}
                    HomeEffect::Committed(position) => {
                        self.commit(leading, &mut state.machine, state.log.as_mut(), position, broker);
                    }
                    HomeEffect::Established => {
                        let held = std::mem::take(&mut leading.held);
                        state.machine.commit_below(state.machine.state().next);
                        self.mailbox.lock().commands.splice(0..0, held);
                        let row = self.row.load();
                        tracing::debug!(queue = %row.name, vhost = %row.vhost, epoch = leading.epoch, "the epoch begins");
                    }
                    HomeEffect::Propose(step) => broker.propose_step(&self.row.load(), step),
                }
            }
        }
    }

    /// Turns up to a position are committed.
    fn commit(
        self: &Arc<Queue>,
        leading: &mut Leading,
        machine: &mut QueueMachine,
        log: &mut dyn QueueLog,
        position: u64,
        broker: &Broker,
    ) {
        let mut below = None;
        while leading.turns.front().is_some_and(|turn| turn.position <= position)
            && let Some(turn) = leading.turns.pop_front()
        {
            below = Some(turn.next);
            leading.pending_bytes -= turn.bytes;
            machine.commit_records(&turn.late);
            append(log, turn.late, false);
            turn.waiters.into_iter().for_each(tell);
        }
        while leading.after.front().is_some_and(|(at, _)| *at <= position)
            && let Some((_, action)) = leading.after.pop_front()
        {
            log.after(action);
        }
        if let Some(below) = below {
            machine.commit_below(below);
            self.look_now(leading, machine);
        }
        let message = ToMirror::Commit { epoch: leading.epoch, committed: position };
        for node in leading.role.streams().collect::<Vec<_>>() {
            put(self, broker, node, &message);
        }
    }

    /// Has what a turn did written and sent; true when messages became ready meanwhile.
    pub(super) fn log_mirrored_turn(
        self: &Arc<Queue>,
        state: &mut QueueState,
        from: u64,
        waiters: Vec<Waiter>,
        broker: &Broker,
    ) -> bool {
        let QueueState { machine, log, part: Part::Leads(leading), .. } = state else { return false };
        let records = if machine.has_news_for_log() {
            let commands = machine.take_log();
            machine.records_of(&commands)
        } else {
            Vec::new()
        };
        let (mut own, mut late, mut sent) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            match reach(&record.0) {
                Reach::Own => own.push(record),
                Reach::OwnWhenCommitted => late.push(record),
                Reach::AtOnce => {
                    sent.push(record.clone());
                    own.push(record);
                }
                Reach::WhenCommitted => {
                    sent.push(record.clone());
                    late.push(record);
                }
            }
        }
        let has_news = !own.is_empty() || !sent.is_empty() || !late.is_empty();
        let written = append(log.as_mut(), own, true);
        if let Some((first, _)) = written {
            machine.note_position(from, first);
            log.wake(self);
        }
        if has_news {
            let bytes = sent.iter().map(memory_of).sum();
            let position = leading.role.appended();
            let records: Arc<[Encoded]> = sent.into();
            leading.send_turn(self, position, &records, broker);
            let (sequence, next) = (written.map(|(_, last)| last), machine.state().next);
            leading.pending_bytes += bytes;
            leading.last_position = position;
            leading.turns.push_back(PendingTurn { position, sequence, next, bytes, late, waiters });
            let durable = leading.turns.iter().take_while(|turn| turn.sequence.is_none()).last();
            if let Some(position) = durable.map(|turn| turn.position) {
                leading.role.own_durable(position);
            }
        } else if let Some(last) = leading.turns.back_mut() {
            last.waiters.extend(waiters);
        } else {
            waiters.into_iter().for_each(tell);
        }
        for node in std::mem::take(&mut leading.level_next) {
            self.begin_to_level(leading, machine, node, broker);
        }
        let ready = machine.counts().ready;
        self.obey(state, broker);
        self.fill_mirrors(state, broker);
        state.machine.counts().ready > ready || !self.mailbox.lock().commands.is_empty()
    }

    /// Sends messages that mirrors do not have, as far as they take them.
    fn fill_mirrors(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker) {
        let Part::Leads(leading) = &mut state.part else { return };
        if leading.levelling.is_empty() {
            return;
        }
        let mirrors = broker.mirrors();
        let mut wanted: Vec<(u64, BlockAt)> = Vec::new();
        let mut done = Vec::new();
        for (node, levelling) in &mut leading.levelling {
            while levelling.under_way.len() < MIRROR_FILLS_AHEAD
                && mirrors.buffered_bytes(*node) < MIRROR_LINK_MAX_BYTES
            {
                match state.machine.next_fill(&mut levelling.missing, MIRROR_FILL_MAX_BYTES) {
                    NextFill::Fill(fill) => {
                        let Some(number) = leading.role.sent(*node, Sent::Fill) else { break };
                        let message = ToMirror::Fill { epoch: leading.epoch, number, fill };
                        put(self, broker, *node, &message);
                        levelling.under_way.push_back(number);
                    }
                    NextFill::NeedsLoad(blocks) => {
                        wanted.extend(blocks);
                        break;
                    }
                    NextFill::Done => {
                        done.push(*node);
                        break;
                    }
                }
            }
        }
        for node in done {
            leading.levelling.remove(&node);
            leading.role.filled(node);
        }
        if let Some(storage) = broker.storage().filter(|_| !wanted.is_empty()) {
            self.read(broker, storage, wanted);
        }
        self.obey(state, broker);
    }
}

impl Queue {
    /// What was asked behind messages that are committed now is answered in the next turn.
    fn look_now(&self, leading: &mut Leading, machine: &QueueMachine) {
        let done = leading.looks.iter().take_while(|(next, _)| machine.is_committed_below(*next)).count();
        if done > 0 {
            let commands: Vec<QueueCommand> =
                leading.looks.drain(..done).map(|(_, command)| command).collect();
            self.mailbox.lock().commands.splice(0..0, commands);
        }
    }
}

impl Leading {
    /// Keeps what looks at the queue until everything that was published before is committed.
    pub(super) fn look_later(
        &mut self,
        command: QueueCommand,
        machine: &QueueMachine,
    ) -> Option<QueueCommand> {
        if machine.pending_count() == 0 {
            return Some(command);
        }
        self.looks.push_back((machine.state().next, command));
        None
    }

    /// Sends a turn to all mirrors that are in the stream. Who does not take it in time is not sent more.
    fn send_turn(&mut self, queue: &Arc<Queue>, position: u64, records: &Arc<[Encoded]>, broker: &Broker) {
        let (epoch, committed) = (self.epoch, self.role.committed());
        for node in self.role.streams().collect::<Vec<_>>() {
            if broker.mirrors().buffered_bytes(node) > 8 * MIRROR_LINK_MAX_BYTES
                && !self.role.is_awaited(node)
            {
                self.role.end_stream(node);
                continue;
            }
            let Some(number) = self.role.sent(node, Sent::Turn(position)) else { continue };
            let message = ToMirror::Turn { epoch, number, position, committed, records: records.clone() };
            put(queue, broker, node, &message);
        }
    }

    /// Runs an action when all that was appended so far is committed and written.
    pub(super) fn after(&mut self, log: &dyn QueueLog, action: Action) {
        match self.turns.is_empty() {
            true => log.after(action),
            false => self.after.push_back((self.last_position, action)),
        }
    }
}

/// Sends to a mirror; when there is no link, the link's end is on its way to be told.
fn put(queue: &Queue, broker: &Broker, node: NodeId, message: &ToMirror) {
    let mirrors: Arc<dyn Mirrors> = broker.mirrors();
    if mirrors.put(node, queue.id, message)
        && let Some(outlet) = mirrors.outlet(node)
    {
        touch_link(&outlet);
    }
}
