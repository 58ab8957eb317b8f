//! Another node as the home of queues: the link to it and who waits for its answers.
//!
//! Invariant: what waits belongs to one link. When that ends, publishes that were not confirmed are refused,
//! questions go unanswered and consumers are cancelled, before anything goes over another link.

use super::Way;
use super::answer::Answer;
use super::away::{AwayQueue, tell};
use super::frame::{self, FromHome, Outgoing};
use super::kept::SentChunks;
use super::reply::ReplyWay;
use broker::message::Chunk;
use broker::queue::{ConsumerError, Handed, QueueCounts};
use dashmap::DashMap;
use engine::outlet::Outlet;
use engine::queue::{DeleteConditions, Ticket};
use engine::{Broker, Queue, QueueCommand};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::sync::oneshot;
use types::{AmqpError, ConsumerId, NodeId, QueueId};

/// What was asked and is not answered yet.
pub(super) enum Request {
    AddConsumer {
        queue: QueueId,
        consumer: ConsumerId,
        reply: Option<oneshot::Sender<Result<(), ConsumerError>>>,
    },
    RemoveConsumer {
        queue: QueueId,
        consumer: ConsumerId,
        reply: oneshot::Sender<bool>,
    },
    Get {
        queue: Arc<Queue>,
        no_ack: bool,
        outlet: Arc<dyn Outlet>,
        done: oneshot::Sender<()>,
    },
    Purge(QueueId, oneshot::Sender<u64>),
    Fence(QueueId, oneshot::Sender<QueueCounts>),
    CommitFence(QueueId, oneshot::Sender<()>),
    PrepareDelete {
        queue: Arc<Queue>,
        conditions: DeleteConditions,
        reply: oneshot::Sender<Result<u64, AmqpError>>,
    },
}

impl Request {
    /// The queue that was asked.
    fn queue(&self) -> QueueId {
        match self {
            Request::AddConsumer { queue, .. }
            | Request::RemoveConsumer { queue, .. }
            | Request::Purge(queue, _)
            | Request::Fence(queue, _)
            | Request::CommitFence(queue, _) => *queue,
            Request::Get { queue, .. } | Request::PrepareDelete { queue, .. } => queue.id,
        }
    }
}

/// How the node can be reached.
enum Phase {
    Down,
    /// It is said to be there; what is posted waits for the link until then.
    Connecting(Instant),
    Live(Arc<dyn Way>),
}

struct HomeState {
    phase: Phase,
    name: String,
    /// The number that the next forwarded publish gets; 0 is nobody's.
    next_number: u64,
    /// Who waits for confirms, by the number of the first publish.
    tickets: BTreeMap<u64, Ticket>,
    /// The number of the last link.
    link: u64,
    next_request: u64,
    requests: BTreeMap<u64, Request>,
    /// What the home keeps of what was sent over this link.
    sent: SentChunks,
    /// Queues in which something waits for the first link.
    held: Vec<Arc<Queue>>,
}

/// A node with queues.
pub(super) struct Home {
    node: NodeId,
    state: Mutex<HomeState>,
    reachable: AtomicBool,
    queues: DashMap<QueueId, Weak<AwayQueue>>,
    /// Clients of some queue wait for another home of it.
    drifting: AtomicBool,
    /// What flushes the link at the end of a piece of work.
    flusher: Arc<dyn Outlet>,
}

impl Home {
    pub(super) fn new(node: NodeId) -> Arc<Home> {
        Arc::new_cyclic(|home: &Weak<Home>| Home {
            node,
            state: Mutex::new(HomeState {
                phase: Phase::Down,
                name: format!("node {node}"),
                next_number: 1,
                tickets: BTreeMap::new(),
                link: 0,
                next_request: 1,
                requests: BTreeMap::new(),
                sent: SentChunks::default(),
                held: Vec::new(),
            }),
            reachable: AtomicBool::new(false),
            queues: DashMap::new(),
            drifting: AtomicBool::new(false),
            flusher: Arc::new(ReplyWay::new(home.clone())),
        })
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Takes back what was asked of a queue and is not answered.
    pub(super) fn take_requests(&self, queue: QueueId) -> Vec<Request> {
        let mut state = self.state.lock();
        let numbers = state.requests.iter().filter(|(_, request)| request.queue() == queue);
        let numbers: Vec<u64> = numbers.map(|(number, _)| *number).collect();
        numbers.iter().filter_map(|number| state.requests.remove(number)).collect()
    }

    pub(super) fn name(&self) -> String {
        self.state.lock().name.clone()
    }

    /// Takes a queue's direct replies and flushes the link.
    pub(super) fn outlet(&self) -> &Arc<dyn Outlet> {
        &self.flusher
    }

    pub(super) fn touch(&self, broker: &Broker) {
        broker.touch(&self.flusher);
    }

    pub(super) fn add_queue(&self, id: QueueId, queue: &Arc<AwayQueue>) {
        self.queues.insert(id, Arc::downgrade(queue));
    }

    pub(super) fn forget_queue(&self, id: QueueId) {
        self.queues.remove(&id);
    }

    pub(super) fn queue(&self, id: QueueId) -> Option<Arc<AwayQueue>> {
        self.queues.get(&id).and_then(|queue| queue.upgrade())
    }

    /// Whether queues there can be asked, now or in a moment.
    pub(super) fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Whether what is posted has to wait for the first link; `queue` is then run again when there is one.
    pub(super) fn is_connecting(&self, queue: &Arc<Queue>) -> bool {
        let mut state = self.state.lock();
        let connecting = matches!(state.phase, Phase::Connecting(_));
        if connecting && !state.held.iter().any(|known| Arc::ptr_eq(known, queue)) {
            state.held.push(queue.clone());
        }
        connecting
    }

    /// The node is said to be there under this name; what is posted waits for the link until `until`.
    pub(super) fn expect(&self, name: &str, until: Instant) {
        let mut state = self.state.lock();
        name.clone_into(&mut state.name);
        if matches!(state.phase, Phase::Down) {
            state.phase = Phase::Connecting(until);
            self.reachable.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn rename(&self, name: &str) {
        name.clone_into(&mut self.state.lock().name);
    }

    fn way(&self) -> Option<Arc<dyn Way>> {
        match &self.state.lock().phase {
            Phase::Live(way) => Some(way.clone()),
            _ => None,
        }
    }

    /// Sends something that has no answer; it is dropped when there is no link.
    pub(super) fn send(&self, mut fill: impl FnMut(&mut Vec<u8>)) {
        let state = self.state.lock();
        if let Phase::Live(way) = &state.phase {
            way.put(&mut fill);
        }
    }

    /// Sends a question; without a link it is dropped and with it whoever waits. False when it was dropped.
    pub(super) fn ask(&self, request: Request, fill: impl Fn(&mut Vec<u8>, u64)) -> bool {
        let mut state = self.state.lock();
        let Phase::Live(way) = &state.phase else { return false };
        let number = state.next_request;
        if !way.put(&mut |out| fill(out, number)) {
            return false;
        }
        state.next_request += 1;
        state.requests.insert(number, request);
        true
    }

    /// Sends publishes; gives the ticket back when there is no link.
    pub(super) fn publish(
        &self,
        ticket: Option<Ticket>,
        enqueue: &Outgoing<'_>,
    ) -> Result<(), Option<Ticket>> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Phase::Live(way) = &state.phase else { return Err(ticket) };
        let number = if ticket.is_some() { state.next_number } else { 0 };
        let form = state.sent.form(enqueue.chunk, enqueue.picks);
        if !way.put(&mut |out| frame::put_enqueue(out, &form, number, enqueue)) {
            return Err(ticket);
        }
        if let Some(ticket) = ticket {
            state.next_number += u64::from(enqueue.picks.len());
            state.tickets.insert(number, ticket);
        }
        Ok(())
    }

    /// A direct reply; false when it cannot go.
    pub(super) fn reply(&self, chunk: &Chunk) -> bool {
        self.way().is_some_and(|way| way.put(&mut |out| frame::put_reply(out, chunk)))
    }

    /// The end of a piece of work: what was put goes out, and what it had kept is forgotten.
    pub(super) fn flush(&self) {
        let way = {
            let mut state = self.state.lock();
            let state = &mut *state;
            let Phase::Live(way) = &state.phase else { return };
            if state.sent.clear() {
                way.put(&mut |out| frame::put_forget(out));
            }
            way.clone()
        };
        way.flush();
    }

    /// A link is up; whatever went over another one has failed.
    pub(super) fn link_up(self: &Arc<Home>, way: Arc<dyn Way>, broker: &Arc<Broker>) -> HomeLink {
        self.cut(None, broker);
        let (held, link) = {
            let mut state = self.state.lock();
            state.phase = Phase::Live(way.clone());
            state.link += 1;
            state.sent.clear();
            self.reachable.store(true, Ordering::Relaxed);
            (std::mem::take(&mut state.held), state.link)
        };
        run_again(held, broker);
        self.come_back(broker);
        broker.peer_linked(self.node, link, true);
        HomeLink { home: self.clone(), link, way, broker: broker.clone() }
    }

    /// Ends waiting for the first link when its time is over.
    pub(super) fn give_up_connecting(&self, now: Instant, broker: &Broker) {
        let held = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Connecting(until) if until <= now => state.phase = Phase::Down,
                _ => return,
            }
            self.reachable.store(false, Ordering::Relaxed);
            std::mem::take(&mut state.held)
        };
        run_again(held, broker);
    }

    /// The link `ended` (any, when None) is over: everything that waits for it has failed.
    fn cut(&self, ended: Option<&Arc<dyn Way>>, broker: &Broker) {
        let (tickets, requests, link) = {
            let mut state = self.state.lock();
            let Phase::Live(way) = &state.phase else { return };
            if ended.is_some_and(|ended| !Arc::ptr_eq(ended, way)) {
                return;
            }
            way.close();
            state.phase = Phase::Down;
            self.reachable.store(false, Ordering::Relaxed);
            let link = state.link;
            (std::mem::take(&mut state.tickets), std::mem::take(&mut state.requests), link)
        };
        tickets.into_values().for_each(|ticket| tell(Some(ticket), true, broker));
        for request in requests.into_values() {
            let away = self.queue(request.queue());
            match (away, request) {
                (Some(away), request) if away.is_movable() => away.ask_again(request),
                // It was never there, so it is not told that it is gone.
                (Some(away), Request::AddConsumer { consumer, .. }) => away.drop_consumer(consumer),
                _ => {}
            }
        }
        let drifts = self.away_queues().iter().filter(|away| away.cut_off(broker)).count();
        self.drifting.fetch_or(drifts > 0, Ordering::AcqRel);
        broker.peer_linked(self.node, link, false);
        broker.flush();
    }

    fn away_queues(&self) -> Vec<Arc<AwayQueue>> {
        self.queues.iter().filter_map(|entry| entry.value().upgrade()).collect()
    }

    /// Clients that waited for this node join their queues again.
    fn come_back(&self, broker: &Broker) {
        for away in self.away_queues() {
            if let Some(queue) = broker.queue(away.id) {
                away.come_back(&queue);
                broker.post(&queue, QueueCommand::Tick);
            }
        }
    }

    /// Ends waiting for another home of queues whose time for that is over.
    pub(super) fn give_up_drifting(&self, now: Instant, broker: &Broker) {
        if !self.drifting.load(Ordering::Acquire) {
            return;
        }
        let all = self.away_queues();
        let given_up = all.iter().filter(|away| away.give_up(now, broker));
        let queues: Vec<Arc<Queue>> = given_up.filter_map(|away| broker.queue(away.id)).collect();
        if !all.iter().any(|away| away.is_adrift()) {
            self.drifting.store(false, Ordering::Release);
        }
        if !queues.is_empty() {
            run_again(queues, broker);
        }
    }

    /// The node is said to be lost: who waits for another home hears of it in a moment, or never.
    pub(super) fn hurry(&self) {
        self.away_queues().iter().for_each(|away| away.hurry());
    }

    /// The number of the link that is up.
    pub(super) fn link(&self) -> Option<u64> {
        let state = self.state.lock();
        matches!(state.phase, Phase::Live(_)).then_some(state.link)
    }

    /// Bytes on their way that have not left.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.way().map_or(0, |way| way.buffered_bytes())
    }

    /// Sends to a copy there; false when there is no link.
    pub(super) fn put(&self, mut fill: impl FnMut(&mut Vec<u8>)) -> bool {
        self.way().is_some_and(|way| way.put(&mut fill))
    }
}

/// Has queues look at what was held back.
fn run_again(queues: Vec<Arc<Queue>>, broker: &Broker) {
    queues.iter().for_each(|queue| broker.post(queue, QueueCommand::Tick));
    broker.flush();
}

/// Takes the tickets whose first number is in the range.
fn take_range(tickets: &mut BTreeMap<u64, Ticket>, first: u64, last: u64) -> Vec<(u64, Ticket)> {
    let mut done = Vec::new();
    while let Some((&start, _)) = tickets.range(first..=last.max(first)).next() {
        done.extend(tickets.remove(&start).map(|ticket| (start, ticket)));
    }
    done
}

/// What comes over the link from a home.
pub struct HomeLink {
    home: Arc<Home>,
    link: u64,
    way: Arc<dyn Way>,
    broker: Arc<Broker>,
}

impl HomeLink {
    /// Takes a frame.
    ///
    /// # Errors
    /// When it is none; the link has to end then.
    pub fn frame(&mut self, frame: &[u8]) -> Result<(), String> {
        let read = FromHome::read(frame).map_err(|malformed| malformed.0.to_owned())?;
        match read {
            FromHome::Deliver { queue, consumer, handed } => self.deliver(queue, consumer, handed),
            FromHome::Got { request, remaining, handed } => self.got(request, remaining, handed),
            FromHome::Cancelled { queue, consumer } => {
                if let Some(away) = self.home.queue(queue) {
                    away.cancelled(consumer, &self.broker);
                }
            }
            FromHome::Confirmed { ranges, refused } => self.confirmed(&ranges, &refused),
            FromHome::Answer { request, answer } => self.answered(request, answer),
            FromHome::Room { queue, bytes } => {
                if let (Some(away), Some(queue)) = (self.home.queue(queue), self.broker.queue(queue)) {
                    away.release(&queue, usize::try_from(bytes).unwrap_or(usize::MAX));
                }
            }
            FromHome::Mirror { queue, message } => {
                self.broker.heard_of_copy(self.home.node, self.link, queue, message);
            }
            FromHome::Held { queue, consumer } => {
                if let (Some(away), Some(queue)) = (self.home.queue(queue), self.broker.queue(queue)) {
                    away.holds(&queue, consumer);
                }
            }
        }
        Ok(())
    }

    /// All that has come for now was taken.
    pub fn batch_end(&mut self) {
        self.broker.flush();
        self.way.flush();
    }

    /// The link has ended.
    pub fn closed(&mut self) {
        self.home.cut(Some(&self.way), &self.broker);
    }

    fn deliver(&self, id: QueueId, consumer: ConsumerId, handed: Handed) {
        // A queue that is gone here is gone at its home, or will be in a moment.
        if let (Some(away), Some(queue)) = (self.home.queue(id), self.broker.queue(id)) {
            away.arrived(&queue, consumer, handed, &self.broker);
        }
    }

    fn got(&self, request: u64, remaining: u64, handed: Option<Handed>) {
        let asked = self.home.state.lock().requests.remove(&request);
        let Some(Request::Get { queue, no_ack, outlet, done }) = asked else { return };
        match &handed {
            None => outlet.got(&queue, true, None, 0),
            Some(handed) => {
                let deliveries = broker::queue::Deliveries::from(handed);
                if let Some(delivery) = deliveries.first(1).next() {
                    outlet.got(&queue, no_ack, Some(delivery), remaining);
                }
            }
        }
        self.broker.touch(&outlet);
        let _ = done.send(());
    }

    /// A range may stand for several tickets: the home joins what became durable at once.
    fn confirmed(&self, ranges: &[(u64, u64)], refused: &[u64]) {
        for (first, last) in ranges {
            let done = take_range(&mut self.home.state.lock().tickets, *first, *last);
            for (start, ticket) in done {
                let numbers: Vec<u64> = refused
                    .iter()
                    .filter_map(|number| ticket.number(u32::try_from(number.checked_sub(start)?).ok()?))
                    .collect();
                ticket.outlet.confirmed(&ticket.ranges, &numbers);
                self.broker.touch(&ticket.outlet);
            }
        }
    }

    fn answered(&self, request: u64, answer: Answer) {
        let Some(request) = self.home.state.lock().requests.remove(&request) else { return };
        match (request, answer) {
            (Request::AddConsumer { reply, .. }, Answer::Added) => {
                let _ = reply.map(|reply| reply.send(Ok(())));
            }
            (Request::AddConsumer { queue, consumer, reply }, answer) => {
                match (self.home.queue(queue), reply) {
                    // It was there before, at another home.
                    (Some(away), None) => away.cancelled(consumer, &self.broker),
                    (away, Some(reply)) => {
                        if let Some(away) = away {
                            away.drop_consumer(consumer);
                        }
                        if answer == Answer::InExclusiveUse {
                            let _ = reply.send(Err(ConsumerError::InExclusiveUse));
                        }
                    }
                    (None, None) => {}
                }
            }
            (Request::RemoveConsumer { queue: id, consumer, reply }, answer) => {
                let (was_there, gone) = match answer {
                    Answer::Removed { was_there, gone } => (was_there, gone),
                    _ => (false, false),
                };
                if let Some(queue) = self.broker.queue(id).filter(|_| gone) {
                    queue.set_gone();
                }
                match self.home.queue(id) {
                    Some(away) => away.left(consumer, was_there, reply),
                    None => drop(reply.send(was_there)),
                }
            }
            (Request::Purge(_, reply), Answer::Count(count)) => drop(reply.send(count)),
            (Request::Fence(_, reply), Answer::Counts(counts)) => drop(reply.send(counts)),
            (Request::CommitFence(_, reply), Answer::Committed) => drop(reply.send(())),
            (Request::PrepareDelete { queue, reply, .. }, Answer::Count(count)) => {
                queue.set_gone();
                let _ = reply.send(Ok(count));
            }
            (Request::PrepareDelete { reply, .. }, Answer::Refused(error)) => drop(reply.send(Err(error))),
            // No answer is an answer too: whoever waits hears that the queue is not there.
            _ => {}
        }
    }
}
