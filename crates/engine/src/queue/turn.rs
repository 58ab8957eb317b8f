//! A turn of a queue: the commands of its mailbox, then deliveries, then what follows from them.
//!
//! Invariant: expiry and overflow come after consumers have had their chance; dead letters are
//! published after the queue's lock is released, a window at a time, so that no two queues are locked
//! at once and cycles cannot deadlock.

use super::command::{AddConsumer, DeleteConditions, Enqueue, QueueCommand};
use super::log::{Commit, Turn};
use super::{ConsumerOutlet, Queue, QueueState, WaitingGet};
use crate::clock;
use crate::drive::touch;
use crate::node::Broker;
use crate::outlet::Outlet;
use crate::storage::Waiter;
use broker::message::{Chunk, DeathReason};
use broker::queue::Overflow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::limits::{CONSUMER_BIAS_BYTES, DEAD_LETTER_RETRY_MS, DEAD_LETTER_WINDOW, QUEUE_TURN_MAX_BYTES};
use types::{AmqpError, ConsumerId};

/// An emptied mailbox of at most this many commands is kept for the next turn.
const SPARE_COMMANDS_MAX: usize = 64;

/// What is left to do when a turn is over.
pub(crate) enum TurnEnd {
    /// The queue is idle again.
    Idle,
    /// It goes on in another turn.
    More,
}

/// What a turn leaves to be done without the queue's lock.
#[derive(Default)]
struct Aftermath {
    dead_letters: Vec<DeadLetterCopy>,
    delete: bool,
}

/// A message on its way out of a queue, taken along so that it can be published without the lock.
pub(crate) struct DeadLetterCopy {
    pub(crate) index: u64,
    pub(crate) reason: DeathReason,
    pub(crate) chunk: Arc<Chunk>,
}

impl Queue {
    /// Runs one turn. The caller is the one thread that holds the running flag.
    pub(crate) fn turn(self: &Arc<Queue>, broker: &Broker) -> TurnEnd {
        let mut aftermath = Aftermath::default();
        let (more, had_commands) = {
            let mut state = self.state.lock();
            let mut commands = std::mem::take(&mut state.commands);
            std::mem::swap(&mut commands, &mut self.mailbox.lock().commands);
            let had_commands = !commands.is_empty();
            let mut more = false;
            if self.row_changed.load(Ordering::Acquire) {
                more = self.heed_row(&mut state, &mut commands, broker);
            }
            match self.forwarder() {
                None => more |= self.work(&mut state, &mut commands, broker, &mut aftermath),
                Some(away) => {
                    self.work_on_copy(&mut state, &mut commands, broker);
                    // The rest is done at the home; no lock of this queue is held meanwhile.
                    drop(state);
                    self.forward(&away, &mut commands, broker);
                    state = self.state.lock();
                }
            }
            // An empty one goes into the mailbox at the next turn, so that a post seldom allocates.
            if commands.capacity() <= SPARE_COMMANDS_MAX {
                state.commands = commands;
            }
            (more, had_commands)
        };
        let lettered = aftermath.dead_letters.len();
        if lettered > 0 {
            broker.publish_dead_letters(self, aftermath.dead_letters);
        }
        if aftermath.delete {
            broker.delete_queue_later(self.clone());
        }
        if more || lettered > 0 {
            return TurnEnd::More;
        }
        let mut mailbox = self.mailbox.lock();
        if mailbox.commands.is_empty() {
            // A turn without commands was somebody's second look; the flag goes down only here.
            mailbox.running = false;
            drop(mailbox);
            if had_commands {
                self.room.notify_waiters();
            }
            return TurnEnd::Idle;
        }
        TurnEnd::More
    }

    fn work(
        self: &Arc<Queue>,
        state: &mut QueueState,
        commands: &mut Vec<QueueCommand>,
        broker: &Broker,
        aftermath: &mut Aftermath,
    ) -> bool {
        let now_ms = clock::now_ms();
        let from = state.machine.state().next;
        let mut waiters = Vec::new();
        let mut bytes_done = 0;
        for command in commands.drain(..) {
            let command = match command {
                QueueCommand::Early(command) => *command,
                command => command,
            };
            let Some(command) = state.part.hold_back(command, &state.machine) else { continue };
            bytes_done += command.mailbox_bytes();
            self.perform(state, command, now_ms, &mut waiters, broker, aftermath);
        }
        self.waiting_bytes.fetch_sub(bytes_done, Ordering::Relaxed);
        let mut more = false;
        if state.part.may_deliver(broker) {
            more |= self.deliver(state);
        }
        let machine = &mut state.machine;
        machine.expire(now_ms);
        if machine.config().overflow == Overflow::DropHead {
            machine.enforce_length(now_ms);
        }
        machine.settle_down(from);
        if !state.gets.is_empty() {
            self.serve_gets(state, now_ms);
        }
        if state.part.is_leading() {
            more |= self.log_mirrored_turn(state, from, waiters, broker);
        } else {
            let commit = log_turn(state, from, !waiters.is_empty());
            conclude(state, commit, waiters);
        }
        self.page(state, broker);
        if state.part.may_deliver(broker) {
            self.collect_dead_letters(state, aftermath);
        }
        self.note_congestion(state);
        self.look_ahead(state, broker, now_ms, aftermath);
        more
    }

    fn perform(
        self: &Arc<Queue>,
        state: &mut QueueState,
        command: QueueCommand,
        now_ms: u64,
        waiters: &mut Vec<Waiter>,
        broker: &Broker,
        aftermath: &mut Aftermath,
    ) {
        match command {
            QueueCommand::Enqueue(enqueue) => self.enqueue(state, enqueue, now_ms, waiters),
            QueueCommand::Settle(consumer, ranges) => {
                state.machine.settle(consumer, &ranges);
            }
            QueueCommand::Return(consumer, ranges) => state.machine.take_back(consumer, &ranges, now_ms),
            QueueCommand::PutBack(consumer, ranges) => state.machine.put_back(consumer, &ranges),
            QueueCommand::Reject(consumer, ranges) => state.machine.reject(consumer, &ranges, now_ms),
            QueueCommand::AddConsumer(add) => self.add_consumer(state, *add, now_ms),
            QueueCommand::RemoveConsumer(id, reply) => {
                let was_there = state.machine.remove_consumer(id, now_ms);
                state.outlets.retain(|outlet| outlet.id != id);
                aftermath.delete |= self.row.load().auto_delete && state.machine.is_abandoned();
                let _ = reply.send(was_there);
            }
            QueueCommand::Unblock(id) => state.machine.unblock(id),
            QueueCommand::Get { no_ack, outlet, done } => {
                // A get sees what was published before it, and what is over is no longer there.
                state.machine.expire(now_ms);
                state.gets.push_back(WaitingGet { no_ack, outlet, done });
                self.serve_gets(state, now_ms);
            }
            QueueCommand::Purge(reply) => {
                let _ = reply.send(state.machine.purge());
            }
            QueueCommand::Fence(reply) => {
                state.machine.touch(now_ms);
                let _ = reply.send(state.machine.counts());
            }
            QueueCommand::PrepareDelete(conditions, reply) => {
                let _ = reply.send(self.prepare_delete(state, conditions));
            }
            QueueCommand::Deleted => self.deleted(state, now_ms),
            QueueCommand::Configure(config) => state.machine.configure(*config, now_ms),
            QueueCommand::Tick => {
                state.armed_ms = None;
                let back = std::mem::take(&mut state.letters_back);
                state.machine.letters_came_back(back.into_iter());
            }
            QueueCommand::LettersCameBack(indexes) => {
                state.letters_back.extend(indexes);
                broker.timer().arm(self.id, now_ms.saturating_add(DEAD_LETTER_RETRY_MS));
            }
            QueueCommand::Committed(position) => {
                Queue::log_went_on(state);
                committed(state, position);
                self.synced(state, position, broker);
            }
            QueueCommand::CommitFence(reply) => waiters.push(Waiter::Fence(reply)),
            QueueCommand::DeadLettered(indexes) => state.machine.dead_lettered(indexes.into_iter()),
            QueueCommand::Paged(job, outcome) => self.paged(state, &job, outcome),
            QueueCommand::Loaded(first, at, read) => self.loaded(state, first, at, read),
            QueueCommand::Checkpoint(up_to) => self.checkpoint(state, up_to),
            QueueCommand::Relocate(blocks) => self.give_up_blocks(state, broker, &blocks),
            QueueCommand::Housekeep => self.keep_house(state, broker),
            of_copies => self.perform_for_copies(state, of_copies, broker),
        }
    }

    /// What is about the queue's copies.
    fn perform_for_copies(self: &Arc<Queue>, state: &mut QueueState, command: QueueCommand, broker: &Broker) {
        match command {
            QueueCommand::SettleLate(ranges) => {
                state.machine.settle_late(&ranges);
            }
            QueueCommand::FromMirror(node, link, message) => {
                self.heard(state, (node, link), *message, broker);
            }
            QueueCommand::PeerLink(node, link, is_up) => self.peer_linked(state, (node, link), is_up, broker),
            QueueCommand::LookAtCopies => self.look_at_copies(state, broker),
            QueueCommand::ToMirror(frame) => self.misdirected(*frame, broker),
            // The turn itself looks at memory, and at the row before anything else; others were done before.
            _ => {}
        }
    }

    fn enqueue(
        self: &Arc<Queue>,
        state: &mut QueueState,
        enqueue: Enqueue,
        now_ms: u64,
        waiters: &mut Vec<Waiter>,
    ) {
        let Enqueue { chunk, mut picks, bytes, ticket } = enqueue;
        if self.is_gone() {
            // As in RabbitMQ, what a deleted queue was still to get counts as confirmed.
            waiters.extend(ticket.map(|ticket| Waiter::Ticket(ticket, Vec::new())));
            return;
        }
        let count = picks.len();
        if state.machine.room_for(&chunk, &picks) >= count {
            state.machine.enqueue(chunk, picks, bytes, now_ms);
            waiters.extend(ticket.map(|ticket| Waiter::Ticket(ticket, Vec::new())));
            return;
        }
        let mut done = 0;
        let mut refused_from = count;
        while !picks.is_empty() {
            let mut room = state.machine.room_for(&chunk, &picks);
            if room == 0 {
                self.deliver(state);
                state.machine.expire(now_ms);
                room = state.machine.room_for(&chunk, &picks);
            }
            if room == 0 {
                refused_from = done;
                break;
            }
            let rest = picks.split_off(room);
            let bytes = picks.body_bytes(&chunk);
            state.machine.enqueue(chunk.clone(), picks, bytes, now_ms);
            done += room;
            picks = rest;
        }
        if refused_from < count && state.machine.config().overflow == Overflow::RejectPublishDlx {
            let bytes = picks.body_bytes(&chunk);
            let refused = u64::from(picks.len());
            let first = state.machine.enqueue(chunk, picks, bytes, now_ms);
            state.machine.refuse((first, first + refused), now_ms);
        }
        if let Some(ticket) = ticket {
            let refused = (refused_from..count).filter_map(|position| ticket.number(position)).collect();
            waiters.push(Waiter::Ticket(ticket, refused));
        }
    }

    pub(super) fn add_consumer(self: &Arc<Queue>, state: &mut QueueState, add: AddConsumer, now_ms: u64) {
        let AddConsumer { consumer, tag, arguments, outlet, channel, reply } = add;
        let id = consumer.id;
        state.machine.touch(now_ms);
        let outcome = state.machine.add_consumer(consumer);
        if outcome.is_ok() {
            state.outlets.push(ConsumerOutlet { id, tag, arguments, channel, outlet });
        }
        let is_gone = reply.is_some_and(|reply| reply.send(outcome).is_err());
        if is_gone && outcome.is_ok() {
            state.machine.remove_consumer(id, now_ms);
            state.outlets.retain(|outlet| outlet.id != id);
        }
    }

    pub(super) fn get(
        self: &Arc<Queue>,
        state: &mut QueueState,
        no_ack: bool,
        outlet: &Arc<dyn Outlet>,
        now_ms: u64,
    ) {
        state.machine.touch(now_ms);
        let Some(offer) = state.machine.next_for_get() else {
            state.machine.got_nothing();
            outlet.got(self, no_ack, None, 0);
            return;
        };
        let remaining = state.machine.counts().ready.saturating_sub(1);
        let mut bytes = 0;
        state.machine.deliveries(&offer.ranges).walk(|delivery| {
            bytes = delivery.record.body.len() as u64;
            outlet.got(self, no_ack, Some(delivery), remaining);
            true
        });
        state.machine.got(&offer, bytes, no_ack);
    }

    /// Hands ready messages out until nobody takes more or the turn's share is used up; true when there
    /// is more to hand out.
    fn deliver(self: &Arc<Queue>, state: &mut QueueState) -> bool {
        let mut budget = QUEUE_TURN_MAX_BYTES as u64;
        loop {
            let offers = state.machine.offers();
            if offers.is_empty() {
                return false;
            }
            let mut progress = false;
            for offer in &offers {
                let Some(to) = outlet_of(state, offer.consumer) else {
                    // Cannot be: consumers and outlets are added and removed together.
                    state.machine.remove_consumer(offer.consumer, clock::now_ms());
                    continue;
                };
                let deliveries = state.machine.deliveries(&offer.ranges);
                let taken = to.deliver(self, offer.consumer, offer.no_ack, &deliveries);
                state.machine.accept(offer, taken.count, taken.bytes, taken.blocked);
                if taken.count > 0 {
                    touch(&to);
                }
                progress |= taken.count > 0 || taken.blocked;
                budget = budget.saturating_sub(taken.bytes + 64 * u64::from(taken.count));
                if u64::from(taken.count) < offer.count() {
                    // What was not taken goes to somebody else before anything behind it does.
                    break;
                }
            }
            if !progress {
                return false;
            }
            if budget == 0 {
                return true;
            }
        }
    }

    fn prepare_delete(&self, state: &QueueState, conditions: DeleteConditions) -> Result<u64, AmqpError> {
        let counts = state.machine.counts();
        let row = self.row.load();
        let refusal = |what: &str| {
            AmqpError::precondition_failed(format!("queue '{}' in vhost '{}' {what}", row.name, row.vhost))
        };
        if conditions.if_unused && counts.consumers > 0 {
            return Err(refusal("in use"));
        }
        if conditions.if_empty && counts.ready > 0 {
            return Err(refusal("not empty"));
        }
        self.set_gone();
        Ok(counts.ready)
    }

    fn deleted(self: &Arc<Queue>, state: &mut QueueState, now_ms: u64) {
        self.set_gone();
        for consumer in std::mem::take(&mut state.outlets) {
            consumer.outlet.cancelled(consumer.id);
            touch(&consumer.outlet);
        }
        self.end_messages(state);
        // It is answered as what comes to a deleted queue is.
        let held = state.part.end(state.log.as_ref());
        self.mailbox.lock().commands.splice(0..0, held);
        // Who waited for the log does so no more.
        committed(state, u64::MAX);
        self.serve_gets(state, now_ms);
    }

    /// All messages go; the log forgets the queue as a whole.
    fn end_messages(&self, state: &mut QueueState) {
        state.machine.clear_consumers();
        state.machine.clear();
        state.machine.take_log();
        state.log.end();
    }

    /// The copy that is here goes, and with it its blocks and its memory.
    pub(super) fn drop_copy(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker) {
        self.end_messages(state);
        self.page(state, broker);
    }

    fn collect_dead_letters(&self, state: &mut QueueState, aftermath: &mut Aftermath) {
        for (index, reason) in state.machine.dead_letters(DEAD_LETTER_WINDOW) {
            let Some(record) = state.machine.record(index) else { continue };
            let chunk = Chunk::single(record.head, record.route.into(), record.properties, record.body);
            aftermath.dead_letters.push(DeadLetterCopy { index, reason, chunk: Arc::new(chunk) });
        }
    }

    fn note_congestion(&self, state: &QueueState) {
        let counts = state.machine.counts();
        let stuck = counts.ready_bytes as usize > CONSUMER_BIAS_BYTES
            && state.machine.consumers().any(|consumer| consumer.blocked);
        self.congested.store(stuck, Ordering::Relaxed);
    }

    fn look_ahead(
        self: &Arc<Queue>,
        state: &mut QueueState,
        broker: &Broker,
        now_ms: u64,
        aftermath: &mut Aftermath,
    ) {
        if self.is_gone() {
            return;
        }
        if state.machine.is_expired(now_ms) {
            aftermath.delete = true;
            return;
        }
        let Some(deadline_ms) = state.machine.next_deadline_ms() else { return };
        if state.armed_ms.is_none_or(|armed| deadline_ms < armed) {
            state.armed_ms = Some(deadline_ms);
            broker.timer().arm(self.id, deadline_ms);
        }
    }
}

fn outlet_of(state: &QueueState, id: ConsumerId) -> Option<Arc<dyn Outlet>> {
    state.outlets.iter().find(|outlet| outlet.id == id).map(|outlet| outlet.outlet.clone())
}

/// Hands what the turn did to the log.
pub(super) fn log_turn(state: &mut QueueState, from: u64, urgent: bool) -> Commit {
    if !state.log.keeps_commands() || !state.machine.has_news_for_log() {
        return Commit::Now;
    }
    let commands = state.machine.take_log();
    let records = state.machine.records_of(&commands);
    let commit = state.log.append(Turn { commands: &commands, records, urgent });
    if let Commit::At { first, .. } = commit {
        state.machine.note_position(from, first);
    }
    commit
}

/// Tells who waits for what is committed, and keeps the rest waiting: with the log, or with the queue.
fn conclude(state: &mut QueueState, commit: Commit, waiters: Vec<Waiter>) {
    let Commit::At { last, .. } = commit else { return conclude_now(state, waiters) };
    if !waiters.is_empty() {
        let left = state.log.wait(last, waiters);
        state.uncommitted.extend(left.into_iter().map(|waiter| (last, waiter)));
    }
}

/// The turn itself has nothing to commit, but a barrier also waits for what earlier turns have appended.
fn conclude_now(state: &mut QueueState, waiters: Vec<Waiter>) {
    let (fences, tickets): (Vec<_>, Vec<_>) =
        waiters.into_iter().partition(|waiter| matches!(waiter, Waiter::Fence(_)));
    tickets.into_iter().for_each(tell);
    if fences.is_empty() {
        return;
    }
    match state.log.force() {
        Commit::Now => fences.into_iter().for_each(tell),
        forced => conclude(state, forced, fences),
    }
}

fn committed(state: &mut QueueState, position: u64) {
    while state.uncommitted.front().is_some_and(|(at, _)| *at <= position) {
        if let Some((_, waiter)) = state.uncommitted.pop_front() {
            tell(waiter);
        }
    }
}

/// What somebody waited for is committed. A queue that waits is woken by the log, not by a queue.
pub(super) fn tell(waiter: Waiter) {
    match waiter {
        Waiter::Ticket(ticket, refused) => {
            ticket.outlet.confirmed(&ticket.ranges, &refused);
            touch(&ticket.outlet);
        }
        Waiter::Fence(reply) => {
            let _ = reply.send(());
        }
        Waiter::Queue(_) => {}
    }
}
