//! Copies of queues, as the broker of a node sees to them: links that come and go, steps that homes propose,
//! openings that came before their row.
//!
//! Invariant: nothing here decides; a step that the catalog does not take changes nothing and is proposed again
//! by who still wants it.

use crate::node::Broker;
use crate::queue::{MirrorFrame, Mirrors, Queue, QueueCommand, ToHome};
use broker::catalog::copies::{CopyChange, CopyStep, leaving_steps};
use broker::catalog::{self, Command, Event};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use types::limits::{COPY_LEAVE_MS, COPY_STEPS_MAX, EARLY_OPENS_MAX, MIRROR_LOOK_MS};
use types::{NodeId, QueueId};

/// What waits between queues and the catalog.
#[derive(Default)]
pub(crate) struct CopyDesk {
    steps: Mutex<Vec<CopyChange>>,
    wake: Notify,
    /// Openings of copies that are not known here yet.
    early: Mutex<BTreeMap<QueueId, MirrorFrame>>,
}

impl Broker {
    /// This node, and the start of its process.
    pub(crate) fn seat(&self) -> (NodeId, u64) {
        self.config().seat.as_ref().map_or((NodeId::default(), 0), |seat| (seat.node, seat.boot))
    }

    /// The ways to other nodes' copies. Only a member of a cluster has queues with copies.
    pub(crate) fn mirrors(&self) -> Arc<dyn Mirrors> {
        match &self.config().seat {
            Some(seat) => seat.homes.mirrors(),
            None => Arc::new(NoMirrors),
        }
    }

    /// Proposes a step of a queue's copies, from inside a turn.
    pub(crate) fn propose_step(&self, row: &catalog::Queue, step: CopyStep) {
        if row.copies.is_none() {
            return;
        }
        self.copy_desk.steps.lock().push(CopyChange::of(row, step));
        self.copy_desk.wake.notify_one();
    }

    /// Brings proposed steps to the catalog; to be spawned once.
    pub async fn run_copy_steps(self: Arc<Broker>) {
        loop {
            let changes = {
                let mut steps = self.copy_desk.steps.lock();
                let most = steps.len().min(COPY_STEPS_MAX);
                steps.drain(..most).collect::<Vec<_>>()
            };
            if changes.is_empty() {
                self.copy_desk.wake.notified().await;
                continue;
            }
            if let Err(error) = self.change(Command::ChangeCopies { changes }).await {
                tracing::debug!(%error, "steps of queues' copies cannot be agreed on now");
            }
        }
    }

    /// Has other copies become the homes of mirrored queues that are at home here, before the node stops. Comes back
    /// when that is so, or when it takes too long.
    pub async fn hand_over_homes(&self) {
        let (me, _) = self.seat();
        let until = tokio::time::Instant::now() + Duration::from_millis(COPY_LEAVE_MS);
        while tokio::time::Instant::now() < until {
            let changes = leaving_steps(&self.catalog(), me, COPY_STEPS_MAX);
            if changes.is_empty() {
                return;
            }
            tracing::info!(queues = changes.len(), "other nodes become the homes of mirrored queues");
            let change = self.change(Command::ChangeCopies { changes });
            match tokio::time::timeout_at(until, change).await {
                Ok(Ok(outcome)) if outcome.changed() => {}
                _ => return,
            }
        }
    }

    /// Has homes look at the copies that they wait for; to be spawned once.
    pub async fn run_copy_watch(self: Arc<Broker>) {
        let mut tick = tokio::time::interval(Duration::from_millis(MIRROR_LOOK_MS));
        loop {
            tick.tick().await;
            for queue in self.queues_where(Queue::watches_copies) {
                self.post(&queue, QueueCommand::LookAtCopies);
            }
            self.flush();
        }
    }

    /// A link to another node's copies is up, or is not any more.
    pub fn peer_linked(&self, node: NodeId, link: u64, is_up: bool) {
        let leads = |queue: &Queue| {
            let row = queue.row();
            !queue.is_away() && row.copies.as_ref().is_some_and(|copies| copies.mirrors.contains(&node))
        };
        for queue in self.queues_where(leads) {
            self.post(&queue, QueueCommand::PeerLink(node, link, is_up));
        }
        self.flush();
    }

    /// An opening came before the row that it is of.
    pub(crate) fn keep_early_open(&self, queue: QueueId, frame: MirrorFrame) {
        let mut early = self.copy_desk.early.lock();
        if early.len() < EARLY_OPENS_MAX || early.contains_key(&queue) {
            early.insert(queue, frame);
        }
    }

    pub(crate) fn take_early_open(&self, queue: QueueId) -> Option<MirrorFrame> {
        self.copy_desk.early.lock().remove(&queue)
    }

    /// What a home tells a copy here.
    pub fn mirror_frame(&self, id: QueueId, frame: MirrorFrame) {
        match self.queue(id) {
            Some(queue) => self.post(&queue, QueueCommand::ToMirror(Box::new(frame))),
            None => {
                self.keep_early_open(id, frame);
                // It may have been declared meanwhile.
                if let Some(queue) = self.queue(id)
                    && let Some(frame) = self.take_early_open(id)
                {
                    self.post(&queue, QueueCommand::ToMirror(Box::new(frame)));
                }
            }
        }
    }

    /// What another node's copy tells its home.
    pub fn heard_of_copy(&self, node: NodeId, link: u64, id: QueueId, message: Box<ToHome>) {
        if let Some(queue) = self.queue(id) {
            self.post(&queue, QueueCommand::FromMirror(node, link, message));
        }
    }

    /// The row of a queue with copies is another one.
    pub(crate) fn heed_row(&self, queue: &Arc<Queue>, row: &Arc<catalog::Queue>) {
        queue.set_row(row.clone());
        queue.heed();
        self.post_quietly(queue, QueueCommand::RowChanged);
    }

    /// Acts upon changes of copies, before anybody sees the new picture.
    pub(crate) fn heed_copies(&self, event: &Event) {
        if let Event::CopiesChanged(row) = event
            && let Some(queue) = self.queue(row.id)
        {
            self.heed_row(&queue, row);
        }
    }
}

/// A node that is alone has no other nodes.
pub(crate) struct NoMirrors;

impl Mirrors for NoMirrors {
    fn put(&self, _node: NodeId, _queue: QueueId, _message: &crate::queue::ToMirror) -> bool {
        false
    }

    fn buffered_bytes(&self, _node: NodeId) -> usize {
        0
    }

    fn link(&self, _node: NodeId) -> Option<u64> {
        None
    }

    fn outlet(&self, _node: NodeId) -> Option<Arc<dyn crate::outlet::Outlet>> {
        None
    }
}
