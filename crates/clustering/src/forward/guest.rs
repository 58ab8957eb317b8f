//! The home's side of a link: what another node's clients ask of the queues here.
//!
//! Invariant: frames are done in the order they came. A slow queue is owed its room: the other node stops its
//! publishers, and nothing else of the link waits.

use super::Way;
use super::answer::Answer;
use super::frame::{self, Fate, Question, Registration, ToHome};
use super::guest_outlet::{GetOutlet, GuestLink, GuestOutlet, command_of};
use super::kept::KeptChunks;
use broker::message::Chunk;
use broker::queue::Picks;
use engine::outlet::Outlet;
use engine::queue::{AddConsumer, Enqueue, MirrorFrame, Ticket};
use engine::{Broker, Queue, QueueCommand};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use types::limits::CONSUMER_BIAS_MS;
use types::{ConsumerId, NodeId, QueueId};

/// The clients of one other node.
pub struct Guest {
    broker: Arc<Broker>,
    /// The other node.
    node: NodeId,
    outlet: Arc<GuestOutlet>,
    link: Arc<GuestLink>,
    /// Room for publishes taken in this batch, by queue.
    taken: HashMap<QueueId, (Arc<Queue>, u64)>,
    /// What came for one queue and may be named for others.
    kept: KeptChunks,
    /// Room that slow queues will give, by queue; a task waits for each.
    owed: Arc<Mutex<HashMap<QueueId, u64>>>,
}

impl Guest {
    /// The clients behind a link that another node has opened. Frames are to be taken within a runtime of
    /// tokio, since some answers have to be waited for.
    pub fn new(broker: Arc<Broker>, node: NodeId, way: Arc<dyn Way>) -> Guest {
        let outlet = Arc::new(GuestOutlet::new(way));
        let link = Arc::new(GuestLink::new(outlet.clone()));
        let (taken, kept, owed) = (HashMap::new(), KeptChunks::default(), Arc::default());
        Guest { broker, node, outlet, link, taken, kept, owed }
    }

    /// The link takes more again; from any thread.
    pub fn on_room(&self) -> impl Fn() + Send + Sync + use<> {
        let (outlet, broker) = (Arc::downgrade(&self.outlet), Arc::downgrade(&self.broker));
        move || {
            if let (Some(outlet), Some(broker)) = (outlet.upgrade(), broker.upgrade()) {
                outlet.room(&broker);
                broker.flush();
            }
        }
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// When it is none; the link has to end then.
    pub fn frame(&mut self, frame: &[u8]) -> Result<(), String> {
        match ToHome::read(frame).map_err(|malformed| malformed.0.to_owned())? {
            ToHome::Enqueue { place, queue, ticket, cost, chunk } => {
                let chunk = Arc::new(chunk);
                if let Some(place) = place {
                    self.kept.keep(place, &chunk).map_err(|malformed| malformed.0.to_owned())?;
                }
                let picks = Picks::Span(0, chunk.len());
                self.enqueue(queue, ticket, cost, chunk, picks);
            }
            ToHome::EnqueueAgain { place, queue, ticket, cost, spans } => {
                let again = self.kept.again(place, &spans);
                let (chunk, picks) = again.map_err(|malformed| malformed.0.to_owned())?;
                self.enqueue(queue, ticket, cost, chunk, picks);
            }
            ToHome::Forget => self.kept.clear(),
            ToHome::Settle { queue: id, consumer, fate, ranges } => {
                let (known, unknown) = self.outlet.answered(id, consumer, &ranges);
                let Some(queue) = self.queue(id) else { return Ok(()) };
                if !known.is_empty() {
                    self.post(&queue, command_of(fate, consumer, known));
                }
                // Of a queue with copies it may have gone out of the home before.
                if !unknown.is_empty() && fate == Fate::Settled && queue.row().copies.is_some() {
                    self.post(&queue, QueueCommand::SettleLate(unknown));
                }
            }
            ToHome::AddConsumer { request, queue, registration } => {
                self.add_consumer(request, queue, *registration);
            }
            ToHome::RemoveConsumer { request, queue, consumer } => {
                self.remove_consumer(request, queue, consumer);
            }
            ToHome::Get { request, queue, no_ack } => self.get(request, queue, no_ack),
            ToHome::Ask { request, queue, question } => self.ask(request, queue, question),
            ToHome::Credit { consumer, bytes } => {
                if let Some(queue) = self.outlet.refill(consumer, bytes) {
                    self.post(&queue, QueueCommand::Unblock(consumer));
                }
            }
            ToHome::Reply { chunk } => self.reply(&chunk),
            ToHome::Mirror { queue, message } => {
                let frame = MirrorFrame { from: self.node, link: self.link.clone(), message: *message };
                self.broker.mirror_frame(queue, frame);
            }
            ToHome::Allow { consumer, count } => {
                if let Some(queue) = self.outlet.allow(consumer, count) {
                    self.post(&queue, QueueCommand::Unblock(consumer));
                }
            }
            ToHome::Hold { queue, consumer } => self.outlet.hold(queue, consumer),
        }
        Ok(())
    }

    /// All that has come for now was taken.
    pub fn batch_end(&mut self) {
        for (id, (queue, bytes)) in self.taken.drain() {
            if queue.is_full() || queue.is_congested() || self.owed.lock().contains_key(&id) {
                owe(&self.owed, &self.outlet, queue, bytes);
            } else {
                self.outlet.way().put(&mut |out| frame::put_room(out, id, bytes));
            }
        }
        self.broker.flush();
        self.outlet.way().flush();
    }

    /// The link has ended.
    pub fn closed(&mut self) {
        self.kept.clear();
        self.outlet.close(&self.broker);
        self.broker.flush();
    }

    /// Asks a queue; what comes before this node knows that it is the home waits.
    fn post(&self, queue: &Arc<Queue>, command: QueueCommand) {
        let early = queue.is_away();
        let command = if early { QueueCommand::Early(Box::new(command)) } else { command };
        self.broker.post(queue, command);
    }

    /// A queue whose home is here; or will be in a moment, when the other node has heard of that before this one:
    /// what is asked of it waits with what is asked here.
    fn queue(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.broker.queue(id).filter(|queue| !queue.is_away() || queue.row().copies.is_some())
    }

    fn enqueue(&mut self, id: QueueId, number: u64, cost: u64, chunk: Arc<Chunk>, picks: Picks) {
        let count = picks.len();
        let Some(queue) = self.queue(id) else {
            if number > 0 && count > 0 {
                // A queue that was here is deleted, which counts as done; one that was not may come.
                let refused = !self.broker.catalog().was_given(id) || self.broker.queue(id).is_some();
                self.outlet.confirm(number, number + u64::from(count) - 1, refused);
                self.broker.touch(&self.as_outlet());
            }
            return;
        };
        let ticket = (number > 0 && count > 0).then(|| Ticket {
            outlet: self.as_outlet(),
            ranges: vec![(number, number + u64::from(count) - 1)],
        });
        let bytes = picks.body_bytes(&chunk);
        let enqueue = Enqueue { chunk, picks, bytes, ticket };
        self.post(&queue, QueueCommand::Enqueue(enqueue));
        self.taken.entry(id).or_insert_with(|| (queue, 0)).1 += cost;
    }

    fn as_outlet(&self) -> Arc<dyn Outlet> {
        self.outlet.clone()
    }

    fn add_consumer(&self, request: u64, id: QueueId, registration: Registration) {
        let Some(queue) = self.queue(id) else { return self.answer(request, &Answer::NotThere) };
        let Registration { consumer, tag, arguments, channel, room } = registration;
        let consumer_id = consumer.id;
        self.outlet.add(consumer_id, queue.clone(), room);
        let (reply, outcome) = oneshot::channel();
        let add =
            AddConsumer { consumer, tag, arguments, outlet: self.as_outlet(), channel, reply: Some(reply) };
        self.post(&queue, QueueCommand::AddConsumer(Box::new(add)));
        let outlet = self.outlet.clone();
        self.when(request, outcome, move |outcome| match outcome {
            Ok(Ok(())) => Answer::Added,
            refused => {
                outlet.leave(consumer_id);
                refused.map_or(Answer::NotThere, |_| Answer::InExclusiveUse)
            }
        });
    }

    fn remove_consumer(&self, request: u64, id: QueueId, consumer: ConsumerId) {
        let Some(queue) = self.queue(id) else { return self.answer(request, &Answer::NotThere) };
        let (reply, outcome) = oneshot::channel();
        self.post(&queue, QueueCommand::RemoveConsumer(consumer, reply));
        let outlet = self.outlet.clone();
        self.when(request, outcome, move |was_there| {
            outlet.leave(consumer);
            Answer::Removed { was_there: was_there.unwrap_or(false), gone: queue.is_gone() }
        });
    }

    fn get(&self, request: u64, id: QueueId, no_ack: bool) {
        let Some(queue) = self.queue(id) else { return self.answer(request, &Answer::NotThere) };
        let outlet = Arc::new(GetOutlet { guest: self.outlet.clone(), request });
        // The message itself is the answer; when none can come any more, that is said.
        let (done, gone) = oneshot::channel();
        self.post(&queue, QueueCommand::Get { no_ack, outlet: outlet.clone(), done });
        let way = self.outlet.way().clone();
        tokio::spawn(async move {
            if gone.await.is_err() {
                way.put(&mut |out| frame::put_answer(out, request, &Answer::NotThere));
            }
            way.flush();
        });
    }

    fn ask(&self, request: u64, id: QueueId, question: Question) {
        let Some(queue) = self.queue(id) else { return self.answer(request, &Answer::NotThere) };
        match question {
            Question::Purge => {
                let (reply, outcome) = oneshot::channel();
                self.post(&queue, QueueCommand::Purge(reply));
                self.when(request, outcome, |count| count.map_or(Answer::NotThere, Answer::Count));
            }
            Question::Fence => {
                let (reply, outcome) = oneshot::channel();
                self.post(&queue, QueueCommand::Fence(reply));
                self.when(request, outcome, |counts| counts.map_or(Answer::NotThere, Answer::Counts));
            }
            Question::CommitFence => {
                let (reply, outcome) = oneshot::channel();
                self.post(&queue, QueueCommand::CommitFence(reply));
                self.when(request, outcome, |done| done.map_or(Answer::NotThere, |()| Answer::Committed));
            }
            Question::PrepareDelete { if_unused, if_empty } => {
                let (reply, outcome) = oneshot::channel();
                let conditions = Question::conditions(if_unused, if_empty);
                self.post(&queue, QueueCommand::PrepareDelete(conditions, reply));
                self.when(request, outcome, |outcome| match outcome {
                    Ok(Ok(count)) => Answer::Count(count),
                    Ok(Err(error)) => Answer::Refused(error),
                    Err(_) => Answer::NotThere,
                });
            }
        }
    }

    /// Answers a question now.
    fn answer(&self, request: u64, answer: &Answer) {
        self.outlet.way().put(&mut |out| frame::put_answer(out, request, answer));
    }

    /// Answers a question when the queue has: mostly it has done so already.
    fn when<T: Send + 'static>(
        &self,
        request: u64,
        mut outcome: oneshot::Receiver<T>,
        answer: impl FnOnce(Result<T, oneshot::error::RecvError>) -> Answer + Send + 'static,
    ) {
        if let Ok(done) = outcome.try_recv() {
            return self.answer(request, &answer(Ok(done)));
        }
        let way = self.outlet.way().clone();
        tokio::spawn(async move {
            let answer = answer(outcome.await);
            way.put(&mut |out| frame::put_answer(out, request, &answer));
            way.flush();
        });
    }

    fn reply(&self, chunk: &Chunk) {
        if chunk.is_empty() {
            return;
        }
        let record = chunk.record(0);
        if let Some(outlet) = self.broker.replies().find(record.routing_key())
            && outlet.reply(&record)
        {
            self.broker.touch(&outlet);
        }
    }
}

/// Gives a slow queue's publishers their room when there is some.
fn owe(owed: &Arc<Mutex<HashMap<QueueId, u64>>>, outlet: &Arc<GuestOutlet>, queue: Arc<Queue>, bytes: u64) {
    let mut waiting = owed.lock();
    if let Some(sum) = waiting.get_mut(&queue.id) {
        *sum += bytes;
        return;
    }
    waiting.insert(queue.id, bytes);
    drop(waiting);
    let (owed, way): (_, Arc<dyn Way>) = (owed.clone(), outlet.way().clone());
    tokio::spawn(async move {
        let moment = Duration::from_millis(CONSUMER_BIAS_MS);
        let _ = tokio::time::timeout(moment, queue.room()).await;
        while queue.is_full() {
            let _ = tokio::time::timeout(moment, queue.room()).await;
        }
        let bytes = owed.lock().remove(&queue.id).unwrap_or(0);
        way.put(&mut |out| frame::put_room(out, queue.id, bytes));
        way.flush();
    });
}
