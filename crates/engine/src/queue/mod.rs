//! A queue that runs: a mailbox and an idle/running flag around the pure machine.
//!
//! Invariant: one thread at a time runs a queue, the one that turned its flag from idle to running;
//! commands are done in the order they were posted. No lock is held across two queues.

mod away;
mod command;
mod following;
mod leading;
mod log;
mod mirroring;
mod paging;
mod part;
mod turn;

pub(crate) use turn::{DeadLetterCopy, TurnEnd};

pub use away::{Clients, Forwarder, Homes};
pub use command::{AddConsumer, DeleteConditions, Enqueue, QueueCommand, Ticket};
pub use log::{Commit, NullLog, NullLogs, QueueLog, QueueLogs, Turn};
pub use mirroring::{MirrorFrame, MirrorLink, Mirrors, ToHome, ToMirror};
pub use paging::BlockRead;
pub use part::{CopiesListing, CopyListing};

use crate::clock;
use crate::outlet::Outlet;
use crate::storage::Waiter;
use arc_swap::{ArcSwap, ArcSwapOption};
use broker::catalog;
use broker::queue::{QueueCounts, QueueMachine, QueueTotals};
use parking_lot::Mutex;
use part::Part;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{Notify, oneshot};
use types::limits::{FORWARD_PUBLISH_MAX_BYTES, QUEUE_MAILBOX_MAX_BYTES};
use types::{ConsumerId, FieldTable, QueueId};

/// A queue: on its home node the queue itself, elsewhere the way to it.
pub struct Queue {
    /// Its id in the catalog.
    pub id: QueueId,
    row: ArcSwap<catalog::Queue>,
    /// The way to its home when that is another node.
    away: ArcSwapOption<Arc<dyn Forwarder>>,
    is_away: AtomicBool,
    /// The row was changed in a way that the next turn has to act upon.
    row_changed: AtomicBool,
    /// It has copies that somebody should look at now and then.
    watches_copies: AtomicBool,
    mailbox: Mutex<Mailbox>,
    state: Mutex<QueueState>,
    waiting_bytes: AtomicUsize,
    gone: AtomicBool,
    counts_deliveries: AtomicBool,
    traced: AtomicBool,
    /// Whether ready messages pile up although consumers read as fast as their sockets allow.
    congested: AtomicBool,
    /// Whether publishers have to wait for its log or for its bodies to leave memory.
    backed_up: AtomicBool,
    /// Memory of its messages.
    resident_bytes: AtomicU64,
    /// Whether it has blocks or a checkpoint to look after.
    keeps_house: AtomicBool,
    room: Notify,
}

#[derive(Default)]
struct Mailbox {
    commands: Vec<QueueCommand>,
    running: bool,
}

/// What only the running thread touches, and listings look at.
struct QueueState {
    machine: QueueMachine,
    log: Box<dyn QueueLog>,
    /// What this node is to the queue's copies.
    part: Part,
    /// What others ask of this node as the home, which it does not know to be yet; since when the oldest waits.
    early: (Vec<QueueCommand>, u64),
    /// Consumers with their ways out, by id.
    outlets: Vec<ConsumerOutlet>,
    /// Who waits for positions of a log that leaves the telling to the queue.
    uncommitted: VecDeque<(u64, Waiter)>,
    /// Gets that wait for the next message to be in memory.
    gets: VecDeque<WaitingGet>,
    paging: paging::Paging,
    /// Dead letters to be tried again at the next tick.
    letters_back: Vec<u64>,
    /// An empty mailbox.
    commands: Vec<QueueCommand>,
    /// The deadline the timer knows of.
    armed_ms: Option<u64>,
}

struct WaitingGet {
    no_ack: bool,
    outlet: Arc<dyn Outlet>,
    done: oneshot::Sender<()>,
}

struct ConsumerOutlet {
    id: ConsumerId,
    tag: String,
    arguments: FieldTable,
    channel: String,
    outlet: Arc<dyn Outlet>,
}

/// A consumer as listings show it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ConsumerListing {
    pub id: ConsumerId,
    pub tag: String,
    pub channel: String,
    pub arguments: FieldTable,
    pub priority: i64,
    pub no_ack: bool,
    pub exclusive: bool,
    pub prefetch: u32,
    /// False while another one is the single active consumer.
    pub active: bool,
}

/// A queue as listings show it.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct QueueListing {
    pub counts: QueueCounts,
    pub totals: QueueTotals,
    pub dead_lettering: u64,
    pub idle_since_ms: u64,
}

impl Queue {
    /// An empty queue for a row of the catalog.
    pub fn new(row: Arc<catalog::Queue>, log: Box<dyn QueueLog>) -> Queue {
        let machine = QueueMachine::new(row.config.clone(), log.keeps_commands(), clock::now_ms());
        Queue::with(row, log, machine)
    }

    /// A queue whose home is another node.
    pub fn away(row: Arc<catalog::Queue>, forwarder: Arc<dyn Forwarder>) -> Queue {
        let machine = QueueMachine::new(row.config.clone(), false, clock::now_ms());
        let queue = Queue::with(row, Box::new(NullLog), machine);
        queue.set_away(Some(forwarder));
        queue
    }

    /// A queue with what its log had.
    pub(crate) fn with(row: Arc<catalog::Queue>, log: Box<dyn QueueLog>, machine: QueueMachine) -> Queue {
        let armed_ms = None;
        Queue {
            id: row.id,
            counts_deliveries: AtomicBool::new(row.config.delivery_limit.is_some()),
            traced: AtomicBool::new(false),
            row: ArcSwap::new(row),
            away: ArcSwapOption::empty(),
            is_away: AtomicBool::new(false),
            row_changed: AtomicBool::new(false),
            watches_copies: AtomicBool::new(false),
            mailbox: Mutex::default(),
            state: Mutex::new(QueueState {
                machine,
                log,
                part: Part::default(),
                early: (Vec::new(), 0),
                outlets: Vec::new(),
                uncommitted: VecDeque::new(),
                gets: VecDeque::new(),
                paging: paging::Paging::default(),
                letters_back: Vec::new(),
                commands: Vec::new(),
                armed_ms,
            }),
            waiting_bytes: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            congested: AtomicBool::new(false),
            backed_up: AtomicBool::new(false),
            resident_bytes: AtomicU64::new(0),
            keeps_house: AtomicBool::new(false),
            room: Notify::new(),
        }
    }

    /// The catalog's row.
    pub fn row(&self) -> Arc<catalog::Queue> {
        self.row.load_full()
    }

    pub(crate) fn set_row(&self, row: Arc<catalog::Queue>) {
        self.counts_deliveries.store(row.config.delivery_limit.is_some(), Ordering::Relaxed);
        self.row.store(row);
    }

    /// Whether its consumers are told how often a message was delivered.
    #[inline]
    pub fn counts_deliveries(&self) -> bool {
        self.counts_deliveries.load(Ordering::Relaxed)
    }

    /// Whether the firehose wants its deliveries.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.traced.load(Ordering::Relaxed)
    }

    pub(crate) fn set_traced(&self, traced: bool) {
        self.traced.store(traced, Ordering::Relaxed);
    }

    /// Whether the catalog has deleted it.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Nothing is accepted any more; the catalog is to delete it, or has done so.
    pub fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Whether publishers should let its consumers catch up.
    pub fn is_congested(&self) -> bool {
        self.congested.load(Ordering::Relaxed)
    }

    /// Whether so much waits in the mailbox, for the log or in memory that publishers have to wait.
    pub fn is_full(&self) -> bool {
        let most = if self.is_away() { FORWARD_PUBLISH_MAX_BYTES } else { QUEUE_MAILBOX_MAX_BYTES };
        self.waiting_bytes.load(Ordering::Relaxed) > most || self.backed_up.load(Ordering::Relaxed)
    }

    /// Memory of its messages, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Ordering::Relaxed)
    }

    /// Whether it has blocks or a checkpoint to look after.
    pub(crate) fn keeps_house(&self) -> bool {
        self.keeps_house.load(Ordering::Relaxed)
    }

    /// Whether somebody should look at its copies now and then.
    pub(crate) fn watches_copies(&self) -> bool {
        self.watches_copies.load(Ordering::Relaxed)
    }

    /// Its copies on other nodes, as its home sees them.
    pub fn copies(&self) -> CopiesListing {
        match &self.state.lock().part {
            Part::Leads(leading) => leading.listing(),
            Part::Waits(_) => {
                let waits_for = vec!["the catalog to give this start of the node an epoch".to_owned()];
                CopiesListing { copies: Vec::new(), waits_for }
            }
            Part::Alone | Part::Follows(_) => CopiesListing::default(),
        }
    }

    /// Comes back when a turn has made room in the mailbox or among the ready messages.
    pub async fn room(&self) {
        self.room.notified().await;
    }

    /// Puts a command into the mailbox; true when the caller has to run the queue.
    #[must_use]
    pub(crate) fn post(&self, command: QueueCommand) -> bool {
        self.waiting_bytes.fetch_add(command.mailbox_bytes(), Ordering::Relaxed);
        let mut mailbox = self.mailbox.lock();
        mailbox.commands.push(command);
        !std::mem::replace(&mut mailbox.running, true)
    }

    /// What is in it and what it has done.
    pub fn listing(&self) -> QueueListing {
        if let Some(away) = self.forwarder() {
            return away.listing();
        }
        let state = self.state.lock();
        QueueListing {
            counts: state.machine.counts(),
            totals: state.machine.totals(),
            dead_lettering: state.machine.state().discarding.len() as u64,
            idle_since_ms: 0,
        }
    }

    /// What is in it.
    pub fn counts(&self) -> QueueCounts {
        if let Some(away) = self.forwarder() {
            return away.listing().counts;
        }
        self.state.lock().machine.counts()
    }

    /// Its consumers.
    pub fn consumers(&self) -> Vec<ConsumerListing> {
        if let Some(away) = self.forwarder() {
            return away.consumers();
        }
        let state = self.state.lock();
        let single = state.machine.config().single_active_consumer;
        let active = state.machine.active_consumer();
        let listing = |consumer: &broker::queue::Consumer| {
            let outlet = state.outlets.iter().find(|outlet| outlet.id == consumer.id)?;
            Some(ConsumerListing {
                id: consumer.id,
                tag: outlet.tag.clone(),
                channel: outlet.channel.clone(),
                arguments: outlet.arguments.clone(),
                priority: consumer.priority,
                no_ack: consumer.no_ack,
                exclusive: consumer.exclusive,
                prefetch: consumer.prefetch,
                active: !single || active == Some(consumer.id),
            })
        };
        state.machine.consumers().filter_map(listing).collect()
    }
}
