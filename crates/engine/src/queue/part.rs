//! What this node is to a queue's copies: it has the only one, it leads, it follows, or it has none.
//!
//! Invariant: the catalog's row decides; a turn that is told of another row changes the part before it does
//! anything else. While it is not known that everything here is committed, clients wait.

use super::following::Following;
use super::leading::Leading;
use super::{AddConsumer, Clients, Enqueue, Queue, QueueCommand, QueueState};
use crate::clock;
use crate::drive::touch;
use crate::node::Broker;
use crate::queue::{NullLog, QueueLog};
use broker::catalog;
use broker::queue::{Consumer, QueueMachine};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::NodeId;
use types::limits::EARLY_WAIT_MS;

/// The part that a node plays.
#[derive(Default)]
pub(super) enum Part {
    /// The queue has no copies elsewhere, or this node has none.
    #[default]
    Alone,
    /// This node is the home, but the catalog has not given this start of its process an epoch yet.
    Waits(Vec<QueueCommand>),
    /// This node is the home of a mirrored queue.
    Leads(Box<Leading>),
    /// This node has a mirror.
    Follows(Box<Following>),
}

/// What the row asks this node to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Alone,
    Waits,
    Leads(u64),
    Follows,
    Nothing,
}

impl Wanted {
    fn of(row: &catalog::Queue, broker: &Broker) -> Wanted {
        let (me, boot) = broker.seat();
        let is_home = row.home == me || row.home == NodeId::default();
        match &row.copies {
            None if is_home => Wanted::Alone,
            None => Wanted::Nothing,
            Some(copies) if is_home && copies.boot == boot => Wanted::Leads(copies.epoch),
            Some(_) if is_home => Wanted::Waits,
            Some(copies) if copies.mirrors.contains(&me) => Wanted::Follows,
            Some(_) => Wanted::Nothing,
        }
    }
}

/// A copy of a mirrored queue as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyListing {
    /// Where it is.
    pub node: NodeId,
    /// What it is doing, in a word.
    pub state: &'static str,
    /// Turns of the home that it has not got.
    pub lag: u64,
    /// Messages that it still has to get before it is level.
    pub missing: u64,
}

/// The copies of a queue, as its home sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopiesListing {
    /// Those on other nodes.
    pub copies: Vec<CopyListing>,
    /// Why nothing is committed, where something waits: what is waited for.
    pub waits_for: Vec<String>,
}

impl Part {
    pub(super) fn is_leading(&self) -> bool {
        matches!(self, Part::Leads(_))
    }

    /// Whether messages may leave: at a home that has heard from the catalog lately, of an epoch that has begun.
    pub(super) fn may_deliver(&self, broker: &Broker) -> bool {
        match self {
            Part::Alone => true,
            Part::Leads(leading) => leading.is_established() && broker.is_current(),
            Part::Waits(_) | Part::Follows(_) => false,
        }
    }

    /// Keeps what clients ask for until it can be done; gives back what is to be done now.
    #[inline]
    pub(super) fn hold_back(
        &mut self,
        command: QueueCommand,
        machine: &QueueMachine,
    ) -> Option<QueueCommand> {
        let held = match self {
            Part::Alone | Part::Follows(_) => return Some(command),
            Part::Leads(leading) if leading.is_established() => match is_look(&command) {
                true => return leading.look_later(command, machine),
                false => return Some(command),
            },
            Part::Leads(leading) => &mut leading.held,
            Part::Waits(held) => held,
        };
        if !is_from_client(&command) {
            return Some(command);
        }
        held.push(command);
        None
    }

    /// The queue is deleted. Gives what clients asked for and was not done.
    pub(super) fn end(&mut self, log: &dyn QueueLog) -> Vec<QueueCommand> {
        match std::mem::take(self) {
            Part::Leads(leading) => leading.end(log),
            Part::Waits(held) => held,
            Part::Alone | Part::Follows(_) => Vec::new(),
        }
    }
}

/// Whether a command comes from a client, or from what was delivered to one.
fn is_from_client(command: &QueueCommand) -> bool {
    matches!(
        command,
        QueueCommand::Enqueue(_)
            | QueueCommand::Settle(..)
            | QueueCommand::SettleLate(_)
            | QueueCommand::Return(..)
            | QueueCommand::PutBack(..)
            | QueueCommand::Reject(..)
            | QueueCommand::AddConsumer(_)
            | QueueCommand::RemoveConsumer(..)
            | QueueCommand::Get { .. }
            | QueueCommand::Purge(_)
            | QueueCommand::Fence(_)
            | QueueCommand::CommitFence(_)
            | QueueCommand::PrepareDelete(..)
    )
}

/// Whether what is answered depends on what was published before.
fn is_look(command: &QueueCommand) -> bool {
    matches!(
        command,
        QueueCommand::Get { .. }
            | QueueCommand::Purge(_)
            | QueueCommand::Fence(_)
            | QueueCommand::PrepareDelete(..)
    )
}

/// Whether a queue that is not at home here does it itself.
pub(super) fn is_for_copy(command: &QueueCommand) -> bool {
    matches!(
        command,
        QueueCommand::ToMirror(_)
            | QueueCommand::FromMirror(..)
            | QueueCommand::PeerLink(..)
            | QueueCommand::LookAtCopies
            | QueueCommand::Early(_)
            | QueueCommand::Configure(_)
            | QueueCommand::Committed(_)
            | QueueCommand::Paged(..)
            | QueueCommand::Loaded(..)
            | QueueCommand::Checkpoint(_)
            | QueueCommand::Relocate(_)
            | QueueCommand::Housekeep
            | QueueCommand::PageOut
    )
}

impl Queue {
    /// Whether a change of the row may change what this node is to the queue.
    pub(crate) fn has_copies(&self) -> bool {
        self.row.load().copies.is_some() || !matches!(self.state.lock().part, Part::Alone)
    }

    /// The row is another one: the next turn acts upon it.
    pub(crate) fn heed(&self) {
        self.row_changed.store(true, Ordering::Release);
    }

    /// Acts upon another row when it is its turn among the commands; true when others wait behind it.
    pub(super) fn heed_row(
        self: &Arc<Queue>,
        state: &mut QueueState,
        commands: &mut Vec<QueueCommand>,
        broker: &Broker,
    ) -> bool {
        let is_change = |command: &QueueCommand| matches!(command, QueueCommand::RowChanged);
        let Some(at) = commands.iter().position(is_change) else { return false };
        if at == 0 {
            commands.remove(0);
            let more = commands.iter().any(is_change);
            self.row_changed.store(more, Ordering::Release);
            self.change_part(state, broker);
            return false;
        }
        // What was posted before the change is done first, in a turn of its own.
        let behind = commands.split_off(at);
        self.mailbox.lock().commands.splice(0..0, behind);
        true
    }

    /// Makes this node what the row asks it to be.
    fn change_part(self: &Arc<Queue>, state: &mut QueueState, broker: &Broker) {
        let row = self.row();
        let wanted = Wanted::of(&row, broker);
        match (&mut state.part, wanted) {
            (Part::Leads(leading), Wanted::Leads(epoch)) if leading.epoch() == epoch => {
                self.follow_row(state, &row, broker);
            }
            // A start may have forgotten that the copies ended.
            (Part::Alone, Wanted::Alone) => state.machine.end_epochs(),
            (Part::Follows(_), Wanted::Follows) => {
                self.follow_home(state, &row, broker);
                self.go_to_home(&row, broker);
            }
            (Part::Alone, Wanted::Nothing) if self.is_away() => self.go_to_home(&row, broker),
            _ => self.take_part(state, &row, wanted, broker),
        }
        let (early, _) = std::mem::take(&mut state.early);
        match self.forwarder() {
            Some(away) => {
                away.set_movable(row.copies.is_some());
                self.refuse(early);
            }
            None => drop(self.mailbox.lock().commands.splice(0..0, early)),
        }
    }

    /// Keeps what others ask of this node as the home until the row says whether it is.
    pub(super) fn keep_early(&self, state: &mut QueueState, command: QueueCommand) {
        let now_ms = clock::now_ms();
        if state.early.0.is_empty() {
            state.early.1 = now_ms;
        }
        state.early.0.push(command);
        self.watches_copies.store(true, Ordering::Relaxed);
    }

    /// Nobody has said for too long that this node is the home.
    pub(super) fn give_up_early(&self, state: &mut QueueState) {
        if clock::now_ms().saturating_sub(state.early.1) >= EARLY_WAIT_MS {
            let (early, _) = std::mem::take(&mut state.early);
            self.refuse(early);
        }
        let watches = !state.early.0.is_empty();
        self.watches_copies.store(watches, Ordering::Relaxed);
    }

    /// This node is not the home: publishes are refused, questions are not answered.
    fn refuse(&self, commands: Vec<QueueCommand>) {
        for command in commands {
            self.waiting_bytes.fetch_sub(command.mailbox_bytes(), Ordering::Relaxed);
            if let QueueCommand::Enqueue(Enqueue { ticket: Some(ticket), .. }) = command {
                ticket.outlet.cut_off(&ticket.ranges);
                touch(&ticket.outlet);
            }
        }
    }

    fn take_part(
        self: &Arc<Queue>,
        state: &mut QueueState,
        row: &Arc<catalog::Queue>,
        wanted: Wanted,
        broker: &Broker,
    ) {
        let clients = self.leave_part(state, row, wanted, broker);
        match wanted {
            Wanted::Alone => {
                if state.machine.is_following() {
                    state.machine.lead(clock::now_ms());
                }
                state.machine.set_gated(false);
                state.machine.set_logged(state.log.keeps_commands());
                state.machine.end_epochs();
                state.part = Part::Alone;
            }
            Wanted::Waits => {
                state.machine.follow(clock::now_ms());
                state.machine.set_logged(state.log.keeps_commands());
                state.part = Part::Waits(Vec::new());
            }
            Wanted::Leads(_) => self.begin_to_lead(state, row, broker),
            Wanted::Follows => self.begin_to_follow(state, row, broker),
            Wanted::Nothing => {
                self.drop_copy(state, broker);
                state.log = Box::new(NullLog);
                state.part = Part::Alone;
            }
        }
        self.bring(clients);
        tracing::debug!(queue = %row.name, vhost = %row.vhost, ?wanted, "part in the queue's copies");
    }

    /// Ends what this node was; gives the clients that were here, for the next home.
    fn leave_part(
        self: &Arc<Queue>,
        state: &mut QueueState,
        row: &Arc<catalog::Queue>,
        wanted: Wanted,
        broker: &Broker,
    ) -> Clients {
        let mut clients = self.take_clients();
        let now_ms = clock::now_ms();
        // What a timer was set for may be over when this node has the queue again.
        state.armed_ms = None;
        match std::mem::take(&mut state.part) {
            Part::Waits(held) => clients.held.extend(held),
            Part::Leads(leading) => {
                let held = match wanted {
                    Wanted::Alone => leading.go_on_alone(state.log.as_mut()),
                    _ => leading.step_down(state.log.as_mut()),
                };
                clients.held.extend(held);
            }
            Part::Follows(following) => following.end(&mut state.machine),
            Part::Alone => {}
        }
        let stays = matches!(wanted, Wanted::Alone | Wanted::Leads(_) | Wanted::Waits);
        if !stays && !self.is_away() {
            clients.consumers = self.give_up_consumers(state);
            state.machine.follow(now_ms);
        }
        let away = (!stays).then(|| broker.forwarder_of(row)).flatten();
        self.set_away(away);
        clients
    }

    /// Takes the consumers out that are clients of this node; those of others join the new home by themselves.
    fn give_up_consumers(self: &Arc<Queue>, state: &mut QueueState) -> Vec<AddConsumer> {
        let mut consumers = Vec::new();
        for outlet in std::mem::take(&mut state.outlets) {
            if outlet.outlet.is_remote() {
                outlet.outlet.moved(self, outlet.id);
                continue;
            }
            let known = state.machine.consumers().find(|consumer| consumer.id == outlet.id);
            let Some(consumer) = known.map(|known| Consumer { in_flight: 0, blocked: false, ..*known })
            else {
                continue;
            };
            consumers.push(AddConsumer {
                consumer,
                tag: outlet.tag,
                arguments: outlet.arguments,
                outlet: outlet.outlet,
                channel: outlet.channel,
                reply: None,
            });
        }
        consumers
    }

    /// Clients that were with another home, or with another part, go on, before anything that was posted since.
    fn bring(self: &Arc<Queue>, clients: Clients) {
        let Clients { consumers, held } = clients;
        let mut commands = Vec::with_capacity(consumers.len() + held.len());
        for add in consumers {
            if self.is_away() && add.outlet.is_remote() {
                // Its node has heard of the new home, too.
                add.outlet.moved(self, add.consumer.id);
            } else if cancels_on_failover(&add) {
                add.outlet.cancelled(add.consumer.id);
                touch(&add.outlet);
            } else {
                let command = QueueCommand::AddConsumer(Box::new(add));
                self.waiting_bytes.fetch_add(command.mailbox_bytes(), Ordering::Relaxed);
                commands.push(command);
            }
        }
        commands.extend(held);
        self.mailbox.lock().commands.splice(0..0, commands);
    }

    /// Takes the clients of the way to a home that is not the home any more.
    fn take_clients(self: &Arc<Queue>) -> Clients {
        let Some(away) = self.forwarder() else { return Clients::default() };
        let clients = away.take_clients(self);
        // Publishes count as waiting until a home has taken them; the rest was counted as done when it was held.
        let is_publish = |command: &&QueueCommand| matches!(command, QueueCommand::Enqueue(_));
        let others = clients.held.iter().filter(|command| !is_publish(command));
        let bytes: usize = others.map(QueueCommand::mailbox_bytes).sum();
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        clients
    }

    /// The way leads to the row's home from now on.
    fn go_to_home(self: &Arc<Queue>, row: &Arc<catalog::Queue>, broker: &Broker) {
        if self.forwarder().is_none_or(|away| away.leads_to() == row.home) {
            return;
        }
        let clients = self.take_clients();
        self.set_away(broker.forwarder_of(row));
        self.bring(clients);
    }
}

/// Whether the client wants to be told of a failover in that way.
fn cancels_on_failover(add: &AddConsumer) -> bool {
    let wish = add.arguments.get("x-cancel-on-ha-failover");
    wish.and_then(types::FieldValue::as_bool) == Some(true)
}
