//! A mirror of a queue: it keeps what the home sends, and says so when it is on disk.
//!
//! Invariant: what lets go of messages is held until the home says that it is committed. Frames of a stream are
//! taken in order and over the link that the home opened it on; of any other nothing is taken.

use super::log::{Commit, Turn};
use super::mirroring::{MirrorFrame, MirrorLink, ToHome, ToMirror};
use super::part::{Part, is_for_copy};
use super::{Queue, QueueCommand, QueueState};
use crate::clock;
use crate::drive::touch_link;
use crate::node::Broker;
use broker::catalog;
use broker::queue::{FillError, Followed, LogCommand, QueueMachine, Reach, reach};
use broker::replica::{Frame, Keeping, MirrorRole, Opened, Taken};
use std::collections::VecDeque;
use std::sync::Arc;
use types::NodeId;

/// What a mirror keeps.
pub(super) struct Following {
    role: MirrorRole<Vec<LogCommand>>,
    /// The link over which the home speaks.
    link: Option<Arc<dyn MirrorLink>>,
    /// Frames that are kept when the node's log is on disk up to a sequence: number, sequence.
    unsynced: VecDeque<(u64, u64)>,
    /// The last frame that was taken and is not acknowledged.
    taken: Option<u64>,
    /// What may be acknowledged and was not yet.
    written: Option<u64>,
}

impl Following {
    /// The mirror is none any more. What it holds is what the home did: a new home goes on with that.
    pub(super) fn end(mut self, machine: &mut QueueMachine) {
        for command in self.role.take_held().into_iter().flatten() {
            machine.follow_command(command);
        }
    }

    fn answer(&self, queue: &Queue, message: &ToHome) {
        if let Some(link) = &self.link {
            link.put(queue.id, message);
            touch_link(&link.outlet());
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
        let (me, _) = broker.seat();
        let mut role = MirrorRole::new(me, state.machine.history().epoch());
        role.set_copies(row.home, copies);
        let following = Following { role, link: None, unsynced: VecDeque::new(), taken: None, written: None };
        state.part = Part::Follows(Box::new(following));
        if let Some(frame) = broker.take_early_open(self.id) {
            self.take_frame(state, frame, broker);
        }
    }

    /// The row is another one; the home may be another one.
    pub(super) fn follow_home(
        self: &Arc<Queue>,
        state: &mut QueueState,
        row: &Arc<catalog::Queue>,
        broker: &Broker,
    ) {
        let (Part::Follows(following), Some(copies)) = (&mut state.part, &row.copies) else { return };
        let before = following.role.epoch();
        let opened = following.role.set_copies(row.home, copies);
        if following.role.epoch() != before {
            // Numbers begin anew: what is still being written says nothing of the new epoch's frames.
            following.unsynced.clear();
            (following.taken, following.written) = (None, None);
        }
        if let Some(frame) = broker.take_early_open(self.id) {
            self.take_frame(state, frame, broker);
        } else if let Some((_, opened)) = opened {
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
        let is_end = |command: &QueueCommand| matches!(command, QueueCommand::Deleted);
        if !commands.iter().any(|command| is_for_copy(command) || is_end(command)) {
            return;
        }
        let mut rest = Vec::with_capacity(commands.len());
        let mut bytes_done = 0;
        for command in commands.drain(..) {
            if is_end(&command) {
                // Nothing comes from the home any more that would say so.
                state.part.end(state.log.as_ref());
                self.drop_copy(state, broker);
            }
            if !is_for_copy(&command) {
                rest.push(command);
                continue;
            }
            if let QueueCommand::Early(command) = command {
                // It counts as waiting until it is done or refused.
                self.keep_early(state, *command);
                continue;
            }
            bytes_done += command.mailbox_bytes();
            match command {
                QueueCommand::LookAtCopies => self.give_up_early(state),
                QueueCommand::ToMirror(frame) if is_follower => self.take_frame(state, *frame, broker),
                QueueCommand::ToMirror(frame) => self.misdirected(*frame, broker),
                QueueCommand::Configure(config) => state.machine.configure(*config, clock::now_ms()),
                QueueCommand::Committed(position) => {
                    Queue::log_went_on(state);
                    self.kept(state, position);
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
        }
        // What comes back from the disk when the copy has gone is given up, too.
        self.page(state, broker);
    }

    /// A home speaks to a copy that this node does not know of: an opening waits for the row.
    pub(super) fn misdirected(&self, frame: MirrorFrame, broker: &Broker) {
        let ToMirror::Open { epoch, version, .. } = frame.message else { return };
        let known = self.row.load().copies.as_ref().map_or((0, 0), |copies| (copies.epoch, copies.version));
        if (epoch, version) > known {
            broker.keep_early_open(self.id, frame);
        } else {
            frame.link.put(self.id, &ToHome::Refused { epoch: known.0 });
            touch_link(&frame.link.outlet());
        }
    }

    fn take_frame(self: &Arc<Queue>, state: &mut QueueState, frame: MirrorFrame, broker: &Broker) {
        let Part::Follows(following) = &mut state.part else { return };
        let MirrorFrame { from, link, message } = frame;
        if let ToMirror::Open { epoch, version, number } = message {
            let opened = following.role.open(from, epoch, version, number);
            following.link = Some(link);
            return self.opened(state, opened);
        }
        // Of a link that has ended, or of a home that has not opened this one.
        if following.link.as_ref().is_none_or(|known| known.number() != link.number()) {
            return;
        }
        self.take(state, from, message, broker);
    }

    fn opened(self: &Arc<Queue>, state: &mut QueueState, opened: Opened) {
        let Part::Follows(following) = &mut state.part else { return };
        match opened {
            Opened::State(number) => {
                let epoch = following.role.epoch();
                let (history, next) = (state.machine.history().clone(), state.machine.state().next);
                let live = state.machine.state().live.ranges().collect();
                following.answer(self, &ToHome::State { epoch, number, history, next, live });
            }
            Opened::Wait => {}
            Opened::Refused(epoch) => following.answer(self, &ToHome::Refused { epoch }),
        }
    }

    fn take(self: &Arc<Queue>, state: &mut QueueState, from: NodeId, message: ToMirror, broker: &Broker) {
        let QueueState { machine, part: Part::Follows(following), .. } = state else { return };
        let (epoch, number, frame) = match &message {
            ToMirror::Reset { epoch, number, .. } => (*epoch, *number, Frame::Reset),
            ToMirror::Turn { epoch, number, .. } => (*epoch, *number, Frame::Turn),
            ToMirror::Fill { epoch, number, .. } => (*epoch, *number, Frame::Fill),
            ToMirror::Commit { epoch, committed } => {
                return apply_held(following, machine, *epoch, *committed);
            }
            ToMirror::Open { .. } => return,
        };
        let keeping = if keeps(&message) { Keeping::Disk } else { Keeping::Memory };
        match following.role.frame(from, epoch, number, frame, keeping) {
            Taken::Take => {}
            Taken::Refuse(epoch) | Taken::Gap(epoch) => {
                return following.answer(self, &ToHome::Refused { epoch });
            }
        }
        if keeping == Keeping::Disk {
            following.taken = Some(number);
        }
        let (me, _) = broker.seat();
        let in_sync = self.row.load().copies.as_ref().is_some_and(|copies| copies.in_sync.contains(&me));
        if let Err(why) = apply(following, machine, message, in_sync) {
            let row = self.row.load();
            tracing::warn!(queue = %row.name, vhost = %row.vhost, "the mirror here begins again: {why}");
            // The home ends the stream, and asks anew what is here.
            following.answer(self, &ToHome::Refused { epoch });
        }
    }

    /// Writes what a turn has taken; what was taken is acknowledged when it is on disk.
    fn keep(self: &Arc<Queue>, state: &mut QueueState) {
        let commit = log_mirror(state);
        let QueueState { log, part: Part::Follows(following), .. } = state else { return };
        let taken = following.taken.take();
        match (commit, taken) {
            (Commit::At { last, .. }, taken) => {
                following.unsynced.extend(taken.map(|number| (number, last)));
                log.wake(self);
            }
            (Commit::Now, Some(number)) => match following.unsynced.back_mut() {
                // It counts when what came before it does.
                Some(last) => last.0 = number,
                None => {
                    let epoch = following.role.epoch();
                    following.written = following.written.max(following.role.durable(epoch, number));
                }
            },
            (Commit::Now, None) => {}
        }
        self.acknowledge(following);
    }

    /// The node's log is on disk up to a sequence.
    fn kept(self: &Arc<Queue>, state: &mut QueueState, up_to: u64) {
        let Part::Follows(following) = &mut state.part else { return };
        let epoch = following.role.epoch();
        while following.unsynced.front().is_some_and(|(_, sequence)| *sequence <= up_to)
            && let Some((number, _)) = following.unsynced.pop_front()
        {
            following.written = following.written.max(following.role.durable(epoch, number));
        }
    }

    /// Tells the home what is kept.
    fn acknowledge(&self, following: &mut Following) {
        let number = following.written.take().max(following.role.ack());
        if let Some(number) = number {
            following.answer(self, &ToHome::Ack { epoch: following.role.epoch(), number });
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

/// Whether a frame has something for the disk.
fn keeps(message: &ToMirror) -> bool {
    match message {
        ToMirror::Reset { .. } | ToMirror::Fill { .. } => true,
        ToMirror::Turn { records, .. } => records.iter().any(|(record, _)| reach(record) == Reach::AtOnce),
        ToMirror::Open { .. } | ToMirror::Commit { .. } => false,
    }
}

/// Does what a frame says.
fn apply(
    following: &mut Following,
    machine: &mut QueueMachine,
    message: ToMirror,
    in_sync: bool,
) -> Result<(), String> {
    match message {
        ToMirror::Reset { reset, .. } => {
            machine.reset(reset);
            Ok(())
        }
        ToMirror::Turn { epoch, position, committed, records, .. } => {
            let mut held = Vec::new();
            for (record, chunk) in records.iter() {
                match machine.followed(record, chunk.clone()).map_err(|error| error.to_string())? {
                    Followed::Applied => {}
                    Followed::Held(command) => held.push(command),
                }
            }
            if !held.is_empty() {
                following.role.hold(position, held);
            }
            apply_held(following, machine, epoch, committed);
            Ok(())
        }
        ToMirror::Fill { fill, .. } => machine.fill(fill).map_err(|error| match error {
            FillError::Malformed(error) => error.to_string(),
            // A home's mistake: it was told what lives here. Others may count on what this copy has; the home has it
            // leave those in sync, since it does not go on, and then it may begin empty.
            FillError::Overlap if in_sync => {
                "a message's place is taken, and this copy is in sync".to_owned()
            }
            FillError::Overlap => {
                machine.empty();
                "a message's place is taken".to_owned()
            }
        }),
        ToMirror::Open { .. } | ToMirror::Commit { .. } => Ok(()),
    }
}

fn apply_held(following: &mut Following, machine: &mut QueueMachine, epoch: u64, committed: u64) {
    for command in following.role.committed(epoch, committed).into_iter().flatten() {
        machine.follow_command(command);
    }
}
