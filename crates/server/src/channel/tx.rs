//! tx: publishes and settlements that take effect together at commit.
//!
//! Invariant: before commit nothing of a transaction is seen by anybody; publishes go before
//! settlements; commit-ok leaves when all queues have committed; not atomic across queues, as in RabbitMQ.

use super::port::ChannelPort;
use super::publish::Incoming;
use super::settle::{tag_of, unknown_tag};
use super::{Channel, Mode, Publisher};
use broker::channel::{Held, group};
use engine::{Outlet, Queue, QueueCommand, Route, record_head};
use protocol::deliver::Settle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;
use types::{AmqpError, Properties};

/// What a transaction has gathered.
#[derive(Default)]
pub(crate) struct Transaction {
    publishes: Vec<HeldPublish>,
    settlements: Vec<(Settle, Vec<(u64, Held)>)>,
}

/// Whether a publish of a transaction did not reach one of its queues.
#[derive(Default)]
struct Losses {
    any: AtomicBool,
}

impl Outlet for Losses {
    fn cut_off(&self, _ranges: &[(u64, u64)]) {
        self.any.store(true, Ordering::Release);
    }

    fn flush(&self) {}
}

struct HeldPublish {
    route: Arc<Route>,
    mandatory: bool,
    properties: Vec<u8>,
    body: Vec<u8>,
}

impl Transaction {
    /// Takes deliveries out of the channel's ring, so that a second ack is refused at once.
    pub(crate) fn settle(&mut self, port: &ChannelPort, settle: Settle) -> Result<(), AmqpError> {
        let (tag, multiple) = tag_of(settle);
        let taken = port.state.lock().unacked.take(tag, multiple).map_err(unknown_tag)?;
        self.settlements.push((settle, taken));
        Ok(())
    }
}

impl Channel {
    pub(crate) fn publish_in_transaction(&mut self, incoming: &Incoming<'_>) -> Result<(), AmqpError> {
        let view =
            Properties::parse(incoming.properties).map_err(|error| AmqpError::syntax_error(error.reason))?;
        let broker = self.port.port.broker.clone();
        let route = self.routes.look_up(&broker, &self.session, incoming.wire, &view)?;
        if let Mode::Transactional(transaction) = &mut self.mode {
            transaction.publishes.push(HeldPublish {
                route,
                mandatory: incoming.mandatory,
                properties: incoming.properties.to_vec(),
                body: incoming.body.to_vec(),
            });
        }
        Ok(())
    }

    pub(crate) fn tx_select(&mut self) -> Result<(), AmqpError> {
        match self.mode {
            Mode::Confirm => Err(AmqpError::precondition_failed("cannot switch from confirm to tx mode")),
            Mode::Transactional(_) => Ok(()),
            Mode::Plain => {
                self.mode = Mode::Transactional(Box::default());
                Ok(())
            }
        }
    }

    pub(crate) fn confirm_select(&mut self) -> Result<(), AmqpError> {
        match self.mode {
            Mode::Transactional(_) => {
                Err(AmqpError::precondition_failed("cannot switch from tx to confirm mode"))
            }
            _ => {
                self.mode = Mode::Confirm;
                Ok(())
            }
        }
    }

    fn transaction(&mut self) -> Result<Transaction, AmqpError> {
        match &mut self.mode {
            Mode::Transactional(transaction) => Ok(std::mem::take(transaction)),
            _ => Err(AmqpError::precondition_failed("channel is not transactional")),
        }
    }

    /// Publishes, then settles, and comes back when every queue has committed its part, so that
    /// commit-ok may leave.
    pub(crate) async fn tx_commit(&mut self, publisher: &mut Publisher) -> Result<(), AmqpError> {
        let transaction = self.transaction()?;
        let losses = Arc::new(Losses::default());
        self.committing = Some(losses.clone());
        let mut queues: Vec<Arc<Queue>> = Vec::new();
        for held in &transaction.publishes {
            let view = Properties::parse(&held.properties).ok();
            let head = view.and_then(|view| record_head(&view).ok()).unwrap_or_default();
            let incoming = Incoming {
                wire: &held.route.wire,
                mandatory: held.mandatory,
                immediate: false,
                properties: &held.properties,
                body: &held.body,
            };
            self.publish_routed(publisher, &held.route, head, &incoming);
            queues.extend(held.route.queues.iter().cloned());
            queues.extend(held.route.delays.iter().map(|(holding, _)| holding.clone()));
        }
        self.hand_over(publisher);
        self.committing = None;
        for (settle, taken) in transaction.settlements {
            let groups = group(taken);
            queues.extend(self.port.queues_of(&groups));
            self.port.post_settlement(settle, groups);
        }
        queues.sort_unstable_by_key(|queue| queue.id);
        queues.dedup_by_key(|queue| queue.id);
        let all_committed = self.committed(&queues).await;
        if !all_committed || losses.any.load(Ordering::Acquire) {
            return Err(AmqpError::precondition_failed("partial tx completion"));
        }
        Ok(())
    }

    /// Waits until the queues have committed what was posted to them; false when one could not say so.
    async fn committed(&self, queues: &[Arc<Queue>]) -> bool {
        let broker = &self.port.port.broker;
        let mut answers = Vec::with_capacity(queues.len());
        for queue in queues {
            let (reply, answer) = oneshot::channel();
            broker.post(queue, QueueCommand::CommitFence(reply));
            answers.push(answer);
        }
        let mut all = true;
        for (answer, queue) in answers.into_iter().zip(queues) {
            // A queue that is gone has nothing to commit; one whose home went away may have.
            all &= answer.await.is_ok() || !queue.is_away() || queue.is_gone();
        }
        all
    }

    /// Forgets publishes; what was settled in the transaction is held by the client again.
    pub(crate) fn tx_rollback(&mut self) -> Result<(), AmqpError> {
        let transaction = self.transaction()?;
        let mut state = self.port.state.lock();
        for (_, taken) in transaction.settlements {
            state.unacked.put_back(taken);
        }
        Ok(())
    }
}
