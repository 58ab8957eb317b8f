//! A mirror of a queue: it keeps what the home sends, and says so when it is on disk.
//!
//! Invariant: what lets go of messages is held until the home says that it is committed. Frames of a stream are
//! taken in order and over the link that the home opened it on; of any other nothing is taken.

use super::log::{Commit, Turn};
use super::mirroring::{MirrorFrame, MirrorLink, ToHome, ToMirror};
use super::part::{Part, is_for_copy};
use super::{Queue, QueueCommand, QueueState};
use crate::clock;
use crate::drive::touch;
use crate::node::Broker;
use broker::catalog;
use broker::queue::{FillError, Followed, LogCommand, QueueMachine};
use broker::replica::{MirrorRole, Opened, Taken};
use std::collections::VecDeque;
use std::sync::Arc;
use types::NodeId;

/// What a mirror keeps.
pub(super) struct Following {
    role: MirrorRole<LogCommand>,
    /// The link over which the home speaks.
    link: Option<Arc<dyn MirrorLink>>,
    /// Frames that are kept when the node's log is on disk up to a sequence: number, sequence.
    unsynced: VecDeque<(u64, u64)>,
    /// The last frame that was taken and is not acknowledged.
    taken: Option<u64>,
}

impl Following {
    /// The mirror is none any more. What it holds is what the home did: a new home goes on with that.
    pub(super) fn end(mut self, machine: &mut QueueMachine) {
        for command in self.role.take_held() {
            machine.follow_command(command);
        }
    }

    fn answer(&self, queue: &Queue, message: &ToHome) {
        if let Some(link) = &self.link {
            link.put(queue.id, message);
            touch(&link.outlet());
        }
    }
}

impl Queue {
    /// This node has a mirror from now on.
    pub(super) fn begin_to_follow(
        self: &Arc<Queue>,
        state: &mut QueueState,
        row: &Arc<catalog::Queue>,
        broker: &Broker,
    ) {
        let Some(copies) = &row.copies else { return };
        if !state.log.keeps_commands() && row.durable {
            state.log = broker.logs.open(row);
        }
        state.machine.follow(clock::now_ms());
        state.machine.set_logged(state.log.keeps_commands());
        let role = MirrorRole::new(row.home, copies);
        let following = Following { role, link: None, unsynced: VecDeque::new(), taken: None };
        state.part = Part::Follows(Box::new(following));
        if let Some(frame) = broker.take_early_open(self.id) {
            self.take_frame(state, frame, broker);
        }
    }

    /// The row is another one; the home may be another one.
    pub(super) fn follow_home(self: &Arc<Queue>, state: &mut QueueState, row: &Arc<catalog::Queue>, broker: &Broker) {
        let (Part::Follows(following), Some(copies)) = (&mut state.part, &row.copies) else { return };
        let opened = following.role.set_copies(row.home, copies);
        if let Some(frame) = broker.take_early_open(self.id) {
            self.take_frame(state, frame, broker);
        } else if let Some(opened) = opened {
            self.opened(state, opened);
        }
    }

    /// What a turn of a queue that is not at home here does itself; what is left goes to the home.
    pub(super) fn work_on_copy(
        self: &Arc<Queue>,
        state: &mut QueueState,
        commands: &mut Vec<QueueCommand>,
        broker: &Broker,
    ) {
        let is_follower = matches!(state.part, Part::Follows(_));
        if !commands.iter().any(is_for_copy) {
            return;
        }
        let mut rest = Vec::with_capacity(commands.len());
        let mut bytes_done = 0;
        for command in commands.drain(..) {
            if !is_for_copy(&command) {
                rest.push(command);
                continue;
            }
            bytes_done += command.mailbox_bytes();
            match command {
                QueueCommand::ToMirror(frame) if is_follower => self.take_frame(state, *frame, broker),
                QueueCommand::ToMirror(frame) => self.misdirected(*frame, broker),
                QueueCommand::Configure(config) => state.machine.configure(*config, clock::now_ms()),
                QueueCommand::Committed(position) => {
                    Queue::log_went_on(state);
                    self.acknowledge(state, position);
                }
                QueueCommand::Paged(job, outcome) => self.paged(state, &job, outcome),
                QueueCommand::Loaded(first, at, read) => self.loaded(state, first, at, read),
                QueueCommand::Checkpoint(up_to) => self.checkpoint(state, up_to),
                QueueCommand::Relocate(blocks) => self.give_up_blocks(state, broker, &blocks),
                QueueCommand::Housekeep => self.keep_house(state, broker),
                _ => {}
            }
        }
        *commands = rest;
        self.waiting_bytes.fetch_sub(bytes_done, std::sync::atomic::Ordering::Relaxed);
        if is_follower {
            self.keep(state);
            self.page(state, broker);
        }
    }

    /// A home speaks to a copy that this node does not know of: an opening waits for the row.
    pub(super) fn misdirected(&self, frame: MirrorFrame, broker: &Broker) {
        let ToMirror::Open { epoch } = frame.message else { return };
        let known = self.row.load().copies.as_ref().map_or(0, |copies| copies.epoch);
        if epoch > known {
            broker.keep_early_open(self.id, frame);
        } else {
            frame.link.put(self.id, &ToHome::Refused { epoch: known });
            touch(&frame.link.outlet());
        }
    }

    fn take_frame(self: &Arc<Queue>, state: &mut QueueState, frame: MirrorFrame, broker: &Broker) {
        let Part::Follows(following) = &mut state.part else { return };
        let MirrorFrame { from, link, message } = frame;
        if let ToMirror::Open { epoch } = message {
            let opened = following.role.open(from, epoch);
            following.link = Some(link);
            return self.opened(state, opened);
        }
        // Of a link that has ended, or of a home that has not opened this one.
        if following.link.as_ref().is_none_or(|known| known.number() != link.number()) {
            return;
        }
        self.take(state, from, message);
    }

    fn opened(self: &Arc<Queue>, state: &mut QueueState, opened: Opened) {
        let Part::Follows(following) = &mut state.part else { return };
        match opened {
            Opened::State(epoch) => {
                following.unsynced.clear();
                following.taken = None;
                let (history, next) = (state.machine.history().clone(), state.machine.state().next);
                let live = state.machine.state().live.ranges().collect();
                following.answer(self, &ToHome::State { epoch, history, next, live });
            }
            Opened::Wait => {}
            Opened::Refused(epoch) => following.answer(self, &ToHome::Refused { epoch }),
        }
    }

    fn take(self: &Arc<Queue>, state: &mut QueueState, from: NodeId, message: ToMirror) {
        let QueueState { machine, part: Part::Follows(following), .. } = state else { return };
        let (epoch, number) = match &message {
            ToMirror::Reset { epoch, number, .. }
            | ToMirror::Turn { epoch, number, .. }
            | ToMirror::Fill { epoch, number, .. } => (*epoch, *number),
            ToMirror::Commit { epoch, committed } => {
                if following.role.is_of(from, *epoch) {
                    apply_held(following, machine, *committed);
                }
                return;
            }
            ToMirror::Open { .. } => return,
        };
        match following.role.frame(from, epoch, number) {
            Taken::Take => {}
            Taken::Ignore => return,
            Taken::Refused(epoch) => return following.answer(self, &ToHome::Refused { epoch }),
        }
        let outcome = match message {
            ToMirror::Reset { reset, .. } => {
                machine.reset(reset);
                Ok(())
            }
            ToMirror::Turn { position, committed, records, .. } => {
                let mut outcome = Ok(());
                for (record, chunk) in records.iter() {
                    match machine.followed(record, chunk.clone()) {
                        Ok(Followed::Applied) => {}
                        Ok(Followed::Held(command)) => following.role.hold(position, command),
                        Err(error) => outcome = Err(error.to_string()),
                    }
                }
                apply_held(following, machine, committed);
                outcome
            }
            ToMirror::Fill { fill, .. } => match machine.fill(fill) {
                Ok(()) => Ok(()),
                Err(FillError::Overlap) => {
                    machine.empty();
                    Err("a message's place is taken".to_owned())
                }
                Err(FillError::Malformed(error)) => Err(error.to_string()),
            },
            ToMirror::Open { .. } | ToMirror::Commit { .. } => Ok(()),
        };
        match outcome {
            Ok(()) => following.taken = Some(number),
            Err(why) => self.begin_again(state, epoch, &why),
        }
    }

    /// The stream cannot go on: the mirror says anew what it has.
    fn begin_again(self: &Arc<Queue>, state: &mut QueueState, epoch: u64, why: &str) {
        let row = self.row.load();
        tracing::warn!(queue = %row.name, vhost = %row.vhost, "the mirror here begins again: {why}");
        if let Part::Follows(following) = &mut state.part {
            following.role.begin_again();
        }
        self.opened(state, Opened::State(epoch));
    }

    /// Writes what a turn has taken; what was taken is acknowledged when it is on disk.
    fn keep(self: &Arc<Queue>, state: &mut QueueState) {
        let commit = log_mirror(state);
        let QueueState { log, part: Part::Follows(following), .. } = state else { return };
        let taken = following.taken.take();
        match commit {
            Commit::At { last, .. } => {
                if let Some(number) = taken {
                    following.unsynced.push_back((number, last));
                }
                log.wake(self);
            }
            Commit::Now => {
                let Some(number) = taken else { return };
                match following.unsynced.back_mut() {
                    // It counts when what came before it does.
                    Some(last) => last.0 = number,
                    None => acknowledge(self, following, number),
                }
            }
        }
    }

    /// The node's log is on disk up to a sequence.
    fn acknowledge(self: &Arc<Queue>, state: &mut QueueState, up_to: u64) {
        let Part::Follows(following) = &mut state.part else { return };
        let mut kept = None;
        while following.unsynced.front().is_some_and(|(_, sequence)| *sequence <= up_to) {
            kept = following.unsynced.pop_front().map(|(number, _)| number);
        }
        if let Some(number) = kept {
            acknowledge(self, following, number);
        }
    }
}

/// Hands what a turn has taken to the node's log.
fn log_mirror(state: &mut QueueState) -> Commit {
    if !state.log.keeps_commands() || !state.machine.has_news_for_log() {
        return Commit::Now;
    }
    let commands = state.machine.take_log();
    let records = state.machine.records_of(&commands);
    let commit = state.log.append(Turn { commands: &commands, records, urgent: true });
    if let Commit::At { first, .. } = commit {
        state.machine.note_new(first);
    }
    commit
}

fn acknowledge(queue: &Queue, following: &mut Following, number: u64) {
    if let Some(epoch) = following.role.durable(number) {
        following.answer(queue, &ToHome::Ack { epoch, number });
    }
}

fn apply_held(following: &mut Following, machine: &mut QueueMachine, committed: u64) {
    for command in following.role.committed(committed) {
        machine.follow_command(command);
    }
}
